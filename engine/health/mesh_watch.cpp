#include "engine/health/mesh_watch.hpp"

#include <algorithm>
#include <utility>

namespace mesh::engine::health {
namespace {

// An idle engine looks at least so often (scheduler_thread.cpp).
constexpr Nanos kLookEvery{100 * kNsPerMs};

std::uint32_t mesh_ms(HostTime at, std::int64_t mesh_start_ns) noexcept {
  return static_cast<std::uint32_t>((to_ns(at) - mesh_start_ns) / kNsPerMs);
}
std::uint32_t row_or_nobody(AgentIndex agent) noexcept {
  return static_cast<std::uint32_t>(agent);  // kNoAgent is kNobody
}
static_assert(static_cast<std::uint32_t>(kNoAgent) == kNobody);

// By which a cluster is chosen for a probe.
std::uint16_t score_of(const ClusterSummary& summary, bool may_be_asked) noexcept {
  if (!may_be_asked) return MeshBreakers::kScoreOfNobody;
  return static_cast<std::uint16_t>(std::min<std::uint32_t>(summary.mean / kMeanUnit, 0xFFFE));
}

}  // namespace

MeshWatch::MeshWatch(Parts parts)
    : summaries_(std::move(parts.summaries)),
      modes_(parts.modes),
      failures_(std::move(parts.failures)),
      breakers_(std::move(parts.breakers)),
      recovery_({.rows = parts.rows,
                 .sectors = summaries_.size().sectors,
                 .clusters_per_sector = summaries_.size().clusters_per_sector}),
      reliability_(parts.rows),
      suspects_((parts.rows + 63) / 64),
      silent_(suspects_.size()),
      members_(summaries_.size().agents_per_cluster),
      fell_silent_(std::size_t{summaries_.size().sectors} * summaries_.size().clusters_per_sector),
      sector_is_degraded_(summaries_.size().sectors),
      per_turn_(clusters_per_turn(summaries_.size().agents_per_cluster)) {
  probes_due_.reserve(per_turn_);
  to_tell_.reserve(members_.size() * per_turn_);
  silences_.reserve(per_turn_);
  changes_.reserve(members_.size() * per_turn_);
}

Result<MeshWatch> MeshWatch::create(const shm::Layout& layout, std::span<std::byte> table,
                                    const TopologySize& size, const WatchOptions& options) {
  MESH_TRY(Summaries summaries,
           Summaries::create({size.sectors, size.clusters_per_sector, size.agents_per_cluster}));
  MESH_TRY(const OperatingModes modes, OperatingModes::create(options.modes));
  MESH_TRY(const auto states, layout.column<std::uint8_t>(table, "agent.state"));
  MESH_TRY(FailureDetector failures,
           FailureDetector::create({.rows = static_cast<std::uint32_t>(states.rows()),
                                    .clusters = size.sectors * size.clusters_per_sector,
                                    .sectors = size.sectors},
                                   options.failures));
  MESH_TRY(MeshBreakers breakers, MeshBreakers::create(layout, table, size, options.breakers));
  MeshWatch watch(Parts{.summaries = std::move(summaries),
                        .modes = modes,
                        .failures = std::move(failures),
                        .breakers = std::move(breakers),
                        .rows = states.rows()});
  MESH_TRY(watch.cluster_rows_, decltype(watch.cluster_rows_)::in(layout, table));
  MESH_TRY(watch.sector_rows_, decltype(watch.sector_rows_)::in(layout, table));
  MESH_TRY(watch.global_rows_, decltype(watch.global_rows_)::in(layout, table));
  return watch;
}

// Facts of agents.

namespace {
Whereabouts where_is(std::uint32_t row, const AgentRows<HostMemory>& agents) noexcept {
  // relaxed, both: our own columns.
  return {.row = row,
          .cluster = agents.cluster.load_relaxed(row),
          .sector = agents.sector.load_relaxed(row)};
}
}  // namespace

void MeshWatch::lost(std::uint32_t row, const AgentRows<HostMemory>& agents,
                     HostTime now) noexcept {
  const Failure failure = failures_.lost(where_is(row, agents), now);
  suspect(row, false);
  failures_.answered(failure.where);  // a new process begins with nothing unanswered
  breakers_.crashed(failure.where.cluster, now);
  reliability_.failed(row);
  const std::uint32_t sector = failure.where.sector;
  const bool is_placed = sector < summaries_.size().sectors;
  recovery_.lost({.row = row, .cluster = failure.where.cluster},
                 is_placed ? summaries_.sector(sector).agents : 0, now);
}

void MeshWatch::forget(std::uint32_t row, HostTime now) noexcept {
  suspect(row, false);
  failures_.forget(row, now);
  reliability_.forget(row);
  recovery_.back(row, now);
}

void MeshWatch::refused(std::uint32_t row, const AgentRows<HostMemory>& agents,
                        HostTime now) noexcept {
  reliability_.failed(row);
  breakers_.failed(failures_.refused(where_is(row, agents), now).where.cluster);
}

void MeshWatch::unanswered(std::uint32_t row, const AgentRows<HostMemory>& agents,
                           HostTime now) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << (row % 64);
  if ((silent_[row / 64] & bit) != 0) return;
  const Failure failure = failures_.unanswered(where_is(row, agents), now);
  suspect(row, true);
  if (!failure.counts) return;
  silent_[row / 64] |= bit;
  reliability_.failed(row);
  breakers_.failed(failure.where.cluster);
  if (failure.escalates && failure.where.cluster < fell_silent_.size())
    fell_silent_[failure.where.cluster] = row + 1;
}

void MeshWatch::differs(std::uint32_t row, const AgentRows<HostMemory>& agents,
                        const FailureDetector::Outcomes& outcomes, HostTime now) noexcept {
  static_cast<void>(failures_.differs(where_is(row, agents), outcomes, now));
}

void MeshWatch::answered(std::uint32_t row) noexcept {
  suspect(row, false);
  failures_.answered({.row = row});
}

void MeshWatch::suspect(std::uint32_t row, bool is_suspect) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << (row % 64);
  if (((suspects_[row / 64] & bit) != 0) == is_suspect) return;
  suspects_[row / 64] ^= bit;
  silent_[row / 64] &= ~bit;
  suspect_count_ += is_suspect ? 1 : UINT32_MAX;
}

bool MeshWatch::turn(const Seen& seen) noexcept {
  probes_due_.clear();
  changes_.clear();
  to_tell_.clear();
  silences_.clear();
  if (!is_adopted_) adopt_mode(seen.now, seen.mesh_start_ns);
  failures_.tick(looked_ + kLookEvery, seen.now);
  for (const std::uint32_t sector : failures_.cascading()) breakers_.trip_sector(sector, seen.now);
  looked_ = seen.now;
  const std::uint32_t clusters = seen.topology.cluster_count();
  const std::int64_t elapsed = std::min(seen.now - turned_, seen.period).count();
  const std::int64_t due = elapsed * clusters / seen.period.count();
  const auto count = static_cast<std::uint32_t>(std::clamp<std::int64_t>(due, 0, per_turn_));
  if (count == 0) return false;
  turned_ += Nanos{count * seen.period.count() / clusters};
  if (due > count) turned_ = seen.now;
  bool is_round_over = false;
  for (std::uint32_t i = 0; i < count; ++i) {
    look_at(next_, seen);
    next_ = next_ + 1 == clusters ? 0 : next_ + 1;
    is_round_over |= next_ == 0;
  }
  is_whole_ |= is_round_over;
  // Before every cluster was looked at once, those who have not been seem to be missing.
  if (is_whole_) {
    const MeshSummary mesh = summaries_.mesh();
    if (modes_.observe(mesh.active, mesh.agents, seen.now)) ++mode_changes_;
    publish_mesh(seen);
  }
  return is_round_over;
}

void MeshWatch::look_at(std::uint32_t cluster, const Seen& seen) noexcept {
  std::size_t count = 0;
  bool is_whole = true;       // quarantined or not: its process is there
  bool may_be_asked = false;  // somebody, by a message
  for (const std::uint32_t row : seen.topology.agents_of(cluster)) {
    static_cast<void>(seen.topology.refresh(agent_index(row)));
    // relaxed, all: our own columns.
    const auto state = static_cast<AgentState>(seen.agents.state.load_relaxed(row));
    const bool has_left = seen.owners.departed.load_relaxed(row) != 0;
    const bool is_active = state == AgentState::active || state == AgentState::degraded;
    if (!is_active) failures_.calm(row);
    if (state == AgentState::offline && has_left) continue;  // who has left is not missed
    is_whole &= state != AgentState::offline;
    Member& member = members_[count++];
    // relaxed, both: our own columns.
    member = {.row = row,
              .score = seen.agents.score.load_relaxed(row),
              .drift = seen.agents.drift.load_relaxed(row),
              .is_active = is_active};
    if (!is_active) continue;
    const std::uint8_t routing = seen.agents.routing.load_relaxed(row);  // relaxed: as above
    may_be_asked |= (routing & ~kSpiking) == 0;
    // Its heartbeat says when it last worked: an agent without work, whose station is parked, is
    // not silent. That its process is gone, or reads nothing, is known by its connection and its
    // cursor.
    const auto failure =
        failures_.look({.where = {.row = row,
                                  .cluster = cluster,
                                  .sector = cluster / summaries_.size().clusters_per_sector},
                        .heartbeat = seen.now,
                        .score = member.score},
                       seen.now);
    if (failure && failure->escalates)
      to_tell_.push_back({.cluster = cluster, .last = row, .spiking = 0, .active = 0});
  }
  const std::uint32_t its_sector = seen.topology.sector_of(cluster);
  seen.topology.fill({.cluster = cluster, .sector = its_sector});
  const bool is_last = cluster + 1 == (its_sector + 1) * summaries_.size().clusters_per_sector;
  seen.topology.relieve({.cluster = cluster, .sector = is_last ? its_sector : kNoPlace});
  summaries_.update(cluster, summaries_.summarize({members_.data(), count}));
  publish_cluster(cluster, seen);
  look_for_spikes(cluster, seen);
  look_for_silence(cluster, seen);
  breakers_.look({.cluster = cluster,
                  .is_whole = is_whole,
                  .score = score_of(summaries_.cluster(cluster), may_be_asked)},
                 seen.now);
  if (breakers_.is_probe_due(cluster, seen.now)) probes_due_.push_back(cluster);
  const std::uint32_t sector = cluster / summaries_.size().clusters_per_sector;
  if (cluster + 1 == (sector + 1) * summaries_.size().clusters_per_sector)
    publish_sector(sector, seen);
}

// Who is away spikes no more, and is looked at all the same: the table may say that it does.
void MeshWatch::look_for_spikes(std::uint32_t cluster, const Seen& seen) noexcept {
  const std::uint32_t spiking = failures_.spiking_in(cluster);
  const std::uint32_t active = summaries_.cluster(cluster).active;
  const bool is_everybody = 2 * spiking > active;
  for (const std::uint32_t row : seen.topology.agents_of(cluster)) {
    const std::uint8_t routing = seen.agents.routing.load_relaxed(row);  // relaxed: our own column
    const bool is_to_be = failures_.is_spiking(row) && !is_everybody;
    if (is_to_be != ((routing & kSpiking) != 0))
      changes_.push_back({.row = row, .begins = is_to_be});
  }
  for (Spikes& spikes : to_tell_) {
    if (spikes.cluster != cluster) continue;
    spikes.spiking = spiking;
    spikes.active = active;
  }
}

// Who fell silent and has answered meanwhile, or is somewhere else, is no news.
void MeshWatch::look_for_silence(std::uint32_t cluster, const Seen& seen) noexcept {
  const std::uint32_t last = std::exchange(fell_silent_[cluster], 0);
  if (last == 0 || !is_silent(last - 1)) return;
  Silence silence{.cluster = cluster,
                  .last = last - 1,
                  .silent = 0,
                  .active = summaries_.cluster(cluster).active};
  for (const std::uint32_t row : seen.topology.agents_of(cluster))
    silence.silent += is_silent(row) ? 1U : 0U;
  if (silence.silent != 0) silences_.push_back(silence);
}

void MeshWatch::publish_cluster(std::uint32_t cluster, const Seen& seen) const noexcept {
  const ClusterSummary& summary = summaries_.cluster(cluster);
  const auto& rows = cluster_rows_;
  shm::RowWriter<HostMemory>(rows.sequence)
      .write(cluster, [&](const shm::RowStores<HostMemory>& row) {
        row.store(rows.summarized_mesh_ms, mesh_ms(seen.now, seen.mesh_start_ns));
        row.store(rows.agents, summary.agents);
        row.store(rows.active, summary.active);
        row.store(rows.degraded, summary.degraded);
        row.store(rows.unstable, summary.unstable);
        row.store(rows.mean, summary.mean);
        row.store(rows.p95, summary.p95);
        row.store(rows.slowest, summary.slowest);
        row.store(rows.fastest, summary.fastest);
        row.store(rows.lead, row_or_nobody(seen.topology.lead(cluster)));
      });
}

void MeshWatch::publish_sector(std::uint32_t sector, const Seen& seen) noexcept {
  const SectorSummary summary = summaries_.sector(sector);
  sector_is_degraded_[sector] = summary.agents != 0 && !summary.is_healthy;
  const auto& rows = sector_rows_;
  shm::RowWriter<HostMemory>(rows.sequence)
      .write(sector, [&](const shm::RowStores<HostMemory>& row) {
        row.store(rows.summarized_mesh_ms, mesh_ms(seen.now, seen.mesh_start_ns));
        row.store(rows.clusters, summary.clusters);
        row.store(rows.agents, summary.agents);
        row.store(rows.active, summary.active);
        row.store(rows.mean, summary.mean);
        row.store(rows.healthiest, summary.healthiest);
        row.store(rows.sickest, summary.sickest);
        row.store(rows.healthy, summary.is_healthy ? 1U : 0U);
        row.store(rows.coordinator, row_or_nobody(seen.topology.coordinator(sector)));
      });
}

void MeshWatch::publish_mesh(const Seen& seen) const noexcept {
  const MeshSummary summary = summaries_.mesh();
  const auto& rows = global_rows_;
  shm::RowWriter<HostMemory>(rows.sequence).write(0, [&](const shm::RowStores<HostMemory>& row) {
    row.store(rows.summarized_mesh_ms, mesh_ms(seen.now, seen.mesh_start_ns));
    row.store(rows.agents, summary.agents);
    row.store(rows.active, summary.active);
    row.store(rows.mean, summary.mean);
    row.store(rows.p95, summary.p95);
    row.store(rows.healthy_sectors, summary.healthy_sectors);
    row.store(rows.degraded_sectors, summary.degraded_sectors);
    row.store(rows.mode, static_cast<std::uint32_t>(modes_.mode()) + 1);
    row.store(rows.mode_since_mesh_ms, mesh_ms(modes_.since(), seen.mesh_start_ns));
  });
}

// The mode of the engine before this one; what stands there and is none is left alone.
void MeshWatch::adopt_mode(HostTime now, std::int64_t mesh_start_ns) noexcept {
  is_adopted_ = true;
  turned_ = looked_ = now;
  const std::uint32_t word = global_rows_.mode.load_relaxed(0);  // relaxed: our own column
  if (word == 0 || word > kOperatingModes) return;
  // relaxed: our own column
  const std::int64_t since_ms = global_rows_.mode_since_mesh_ms.load_relaxed(0);
  modes_.resume(static_cast<OperatingMode>(word - 1), from_ns(mesh_start_ns + since_ms * kNsPerMs));
}

}  // namespace mesh::engine::health
