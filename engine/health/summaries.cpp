#include "engine/health/summaries.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine::health {
namespace {

// Position 0.95 (n + 1), in 1/20, clamped to [1, n].
std::uint64_t p95_position(std::uint64_t count) noexcept {
  return std::clamp<std::uint64_t>(19 * (count + 1), 20, 20 * count);
}

void add(std::uint32_t& sum, std::uint32_t value, bool in) noexcept {
  sum = in ? sum + value : sum - value;
}

}  // namespace

std::uint64_t p95_times_20(std::span<const std::uint32_t> ascending) noexcept {
  MESH_ASSERT(!ascending.empty());
  const std::uint64_t position = p95_position(ascending.size());
  const std::uint64_t below = ascending[position / 20 - 1];
  const std::uint64_t share = position % 20;
  if (share == 0) return below * 20;
  return below * (20 - share) + std::uint64_t{ascending[position / 20]} * share;
}

Summaries::Summaries(const Size& size)
    : size_(size),
      clusters_(std::size_t{size.sectors} * size.clusters_per_sector),
      sectors_(size.sectors),
      p95_bins_(kScoreBins),
      p95_blocks_(kScoreBins / kBinsPerBlock + 1) {
  scratch_.reserve(size.agents_per_cluster);
}

Result<Summaries> Summaries::create(const Size& size) {
  // Divided, not multiplied: the sizes may be any numbers.
  const bool fits =
      size.sectors >= 1 && size.clusters_per_sector >= 1 && size.agents_per_cluster >= 1 &&
      size.sectors <= 2 * kMaxAgents / size.clusters_per_sector &&
      size.sectors * size.clusters_per_sector <= 2 * kMaxAgents / size.agents_per_cluster;
  if (fits) return Summaries(size);
  return fail(Errc::invalid_argument,
              "summaries: " + std::to_string(size.sectors) + " sectors of " +
                  std::to_string(size.clusters_per_sector) + " clusters of " +
                  std::to_string(size.agents_per_cluster) + " agents; 1 to " +
                  std::to_string(2 * kMaxAgents) + " agents in all");
}

ClusterSummary Summaries::summarize(std::span<const Member> members) noexcept {
  MESH_ASSERT(members.size() <= size_.agents_per_cluster);
  ClusterSummary summary;
  summary.agents = static_cast<std::uint32_t>(members.size());
  scratch_.clear();
  std::uint64_t sum = 0;
  const Member* slowest = nullptr;
  const Member* fastest = nullptr;
  const auto is_before = [](const Member& a, const Member* b, bool by_score) {
    return b == nullptr || by_score || (a.score == b->score && a.row < b->row);
  };
  for (const Member& member : members) {
    if (!member.is_active) continue;
    const std::uint32_t score = std::min<std::uint32_t>(member.score, kScoreMax);
    scratch_.push_back(score);
    sum += score;
    summary.degraded += member.score > kDegradedScore ? 1 : 0;
    summary.unstable += member.drift > kUnstableDrift ? 1 : 0;
    if (is_before(member, slowest, slowest != nullptr && member.score > slowest->score))
      slowest = &member;
    if (is_before(member, fastest, fastest != nullptr && member.score < fastest->score))
      fastest = &member;
  }
  if (scratch_.empty()) return summary;
  std::sort(scratch_.begin(), scratch_.end());
  summary.active = static_cast<std::uint32_t>(scratch_.size());
  summary.mean = static_cast<std::uint32_t>(sum * kMeanUnit / summary.active);
  summary.p95 = static_cast<std::uint32_t>(p95_times_20(scratch_));
  summary.slowest = slowest->row;
  summary.fastest = fastest->row;
  return summary;
}

void Summaries::update(std::uint32_t cluster, const ClusterSummary& now) noexcept {
  MESH_ASSERT(cluster < clusters_.size());
  MESH_ASSERT(now.active <= now.agents);
  ClusterSummary& before = clusters_[cluster];
  if (before == now) return;
  Sums& sector = sectors_[cluster / size_.clusters_per_sector];
  count_sector(sector, false);
  count(sector, before, false);
  count(all_, before, false);
  count_p95(before, false);
  before = now;
  count(sector, now, true);
  count(all_, now, true);
  count_p95(now, true);
  count_sector(sector, true);
}

void Summaries::count(Sums& sums, const ClusterSummary& cluster, bool in) noexcept {
  add(sums.clusters, cluster.agents != 0 ? 1 : 0, in);
  add(sums.measured, cluster.active != 0 ? 1 : 0, in);
  add(sums.agents, cluster.agents, in);
  add(sums.active, cluster.active, in);
  sums.means = in ? sums.means + cluster.mean : sums.means - cluster.mean;
}

void Summaries::count_p95(const ClusterSummary& cluster, bool in) noexcept {
  if (cluster.active == 0) return;
  const std::uint32_t bin = std::min(cluster.p95, kScoreBins - 1);
  add(p95_bins_[bin], 1, in);
  add(p95_blocks_[bin / kBinsPerBlock], 1, in);
}

void Summaries::count_sector(const Sums& sector, bool in) noexcept {
  if (sector.agents == 0) return;
  add(health::is_healthy(sector.active, sector.agents) ? healthy_sectors_ : degraded_sectors_, 1,
      in);
}

SectorSummary Summaries::sector(std::uint32_t sector) const noexcept {
  MESH_ASSERT(sector < sectors_.size());
  const Sums& sums = sectors_[sector];
  SectorSummary summary{.clusters = sums.clusters, .agents = sums.agents, .active = sums.active};
  if (sums.measured != 0) summary.mean = static_cast<std::uint32_t>(sums.means / sums.measured);
  summary.is_healthy = sums.agents != 0 && health::is_healthy(sums.active, sums.agents);
  const std::uint32_t first = sector * size_.clusters_per_sector;
  const auto rank = [this](std::uint32_t at) {  // one without anybody active is the sickest
    return clusters_[at].active == 0 ? ~std::uint32_t{0} : clusters_[at].mean;
  };
  for (std::uint32_t at = first; at < first + size_.clusters_per_sector; ++at) {
    if (clusters_[at].agents == 0) continue;
    if (clusters_[at].active != 0 &&
        (summary.healthiest == kNobody || rank(at) < rank(summary.healthiest)))
      summary.healthiest = at;
    if (summary.sickest == kNobody || rank(at) > rank(summary.sickest)) summary.sickest = at;
  }
  return summary;
}

std::uint32_t Summaries::nth_p95(std::uint32_t position) const noexcept {
  std::uint32_t block = 0;
  while (position > p95_blocks_[block]) position -= p95_blocks_[block++];
  std::uint32_t bin = block * kBinsPerBlock;
  while (position > p95_bins_[bin]) position -= p95_bins_[bin++];
  return bin;
}

MeshSummary Summaries::mesh() const noexcept {
  MeshSummary summary{.agents = all_.agents,
                      .active = all_.active,
                      .healthy_sectors = healthy_sectors_,
                      .degraded_sectors = degraded_sectors_};
  if (all_.measured == 0) return summary;
  summary.mean = static_cast<std::uint32_t>(all_.means / all_.measured);
  const std::uint64_t position = p95_position(all_.measured);
  const auto share = static_cast<std::uint32_t>(position % 20);
  const auto whole = static_cast<std::uint32_t>(position / 20);
  summary.p95 = nth_p95(whole) * (20 - share);
  if (share != 0) summary.p95 += nth_p95(whole + 1) * share;
  return summary;
}

Status Summaries::verify() const {
  Summaries again(size_);
  for (std::uint32_t cluster = 0; cluster < clusters_.size(); ++cluster)
    again.update(cluster, clusters_[cluster]);
  if (again.all_ != all_) return fail(Errc::corrupt, "summaries: the mesh's sums have gone astray");
  for (std::uint32_t sector = 0; sector < sectors_.size(); ++sector) {
    if (again.sectors_[sector] == sectors_[sector]) continue;
    return fail(Errc::corrupt,
                "summaries: the sums of sector " + std::to_string(sector) + " have gone astray",
                sector);
  }
  if (again.p95_bins_ != p95_bins_ || again.p95_blocks_ != p95_blocks_)
    return fail(Errc::corrupt, "summaries: the counts of clusters' p95 have gone astray");
  if (again.healthy_sectors_ != healthy_sectors_ || again.degraded_sectors_ != degraded_sectors_)
    return fail(Errc::corrupt, "summaries: the counts of healthy sectors have gone astray");
  return {};
}

}  // namespace mesh::engine::health
