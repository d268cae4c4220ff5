#include "engine/health/breaker_tree.hpp"

#include <algorithm>
#include <string>

#include "shm/base/assert.hpp"

namespace mesh::engine::health {

using coordination::BreakerReply;
using coordination::BreakerState;
using coordination::CallOutcome;
using coordination::CircuitBreaker;
using coordination::Permit;
using coordination::Refusal;

namespace {

bool is_open(const CircuitBreaker& breaker) noexcept {
  return breaker.state() == BreakerState::open || breaker.state() == BreakerState::forced_open;
}

bool is_restricted(const CircuitBreaker& breaker) noexcept {
  return breaker.state() != BreakerState::closed && breaker.state() != BreakerState::disabled;
}

// Whether it is open and only a probe may pass.
bool wants_probe(const CircuitBreaker& breaker) noexcept {
  return breaker.state() == BreakerState::open;
}
bool is_too_early(const CircuitBreaker& breaker, Nanos now) noexcept {
  return wants_probe(breaker) && now < breaker.open_until();
}

}  // namespace

Status BreakerTree::validate(const BreakerTreeConfig& config) {
  if (config.sectors == 0) return fail(Errc::invalid_config, "breaker tree: there is no sector");
  for (const auto sector : config.sector_of_cluster) {
    if (sector < config.sectors) continue;
    return fail(Errc::invalid_config, "breaker tree: a cluster of sector " + std::to_string(sector),
                sector);
  }
  for (const auto* level : {&config.cluster, &config.sector, &config.mesh}) {
    MESH_CHECK_OK(CircuitBreaker::validate(*level));
    if (level->recovery != coordination::BreakerRecovery::probe_then_ratio) {
      return fail(Errc::invalid_config, "breaker tree: recovery is not probe_then_ratio");
    }
  }
  return {};
}

BreakerTree::BreakerTree(const BreakerTreeConfig& config)
    : open_sectors_max_(config.open_sectors_max),
      sector_of_(config.sector_of_cluster),
      scores_(config.sector_of_cluster.size()),
      mesh_(config.mesh),
      sectors_(config.sectors, CircuitBreaker(config.sector)),
      clusters_(config.sector_of_cluster.size(), CircuitBreaker(config.cluster)),
      open_bits_((places() + 63) / 64),
      restricted_bits_(open_bits_.size()),
      healthiest_of_(config.sectors) {}

// Where a probe is of most use: somebody is there, behind as few open breakers as there are; then
// by score.
bool BreakerTree::is_better(std::uint32_t a, std::uint32_t b) const noexcept {
  const bool is_empty[] = {scores_[a] == kScoreOfNobody, scores_[b] == kScoreOfNobody};
  if (is_empty[0] != is_empty[1]) return is_empty[1];
  const bool is_sector_open[] = {is_open_bit(1 + sector_of_[a]), is_open_bit(1 + sector_of_[b])};
  if (is_sector_open[0] != is_sector_open[1]) return is_sector_open[1];
  const std::size_t first = 1 + sectors_.size();
  const bool is_open[] = {is_open_bit(first + a), is_open_bit(first + b)};
  if (is_open[0] != is_open[1]) return is_open[1];
  return scores_[a] < scores_[b];
}

void BreakerTree::find_healthiest() noexcept {
  if (!is_healthiest_stale_) return;
  is_healthiest_stale_ = false;
  std::fill(healthiest_of_.begin(), healthiest_of_.end(), UINT32_MAX);
  healthiest_ = UINT32_MAX;
  for (std::uint32_t cluster = 0; cluster < sector_of_.size(); ++cluster) {
    std::uint32_t& of_sector = healthiest_of_[sector_of_[cluster]];
    if (of_sector == UINT32_MAX || is_better(cluster, of_sector)) of_sector = cluster;
    if (healthiest_ == UINT32_MAX || is_better(cluster, healthiest_)) healthiest_ = cluster;
  }
}

// Who may not be the probe is refused before any level has counted it.
bool BreakerTree::is_for_another(std::uint32_t cluster) noexcept {
  const std::uint32_t sector = sector_of_[cluster];
  const bool of_mesh = wants_probe(mesh_);
  const bool of_sector = wants_probe(sectors_[sector]);
  if (!of_mesh && !of_sector) return false;
  find_healthiest();
  return (of_mesh && cluster != healthiest_) || (of_sector && cluster != healthiest_of_[sector]);
}

TreeReply BreakerTree::admit(std::uint32_t cluster, Nanos now) noexcept {
  TreeReply reply;
  reply.permit.cluster = cluster;
  if (cluster >= sector_of_.size()) {
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  CircuitBreaker& sector = sectors_[sector_of_[cluster]];
  for (const CircuitBreaker* above : {&mesh_, &sector}) {
    if (!is_too_early(*above, now)) continue;
    reply.refusal = Refusal::rejected_open;
    reply.retry_after = above->open_until() - now;
    return reply;
  }
  if (is_for_another(cluster)) {
    reply.refusal = Refusal::rejected_open;
    return reply;
  }
  struct Level {
    CircuitBreaker& breaker;
    Permit& permit;
  };
  Level levels[] = {{mesh_, reply.permit.of_mesh},
                    {sector, reply.permit.of_sector},
                    {clusters_[cluster], reply.permit.of_cluster}};
  for (std::size_t i = 0; i < std::size(levels); ++i) {
    const BreakerReply answer = levels[i].breaker.allow(now);
    levels[i].permit = answer.permit;
    if (answer.refusal == Refusal::none) continue;
    reply.refusal = answer.refusal;
    reply.retry_after = answer.retry_after;
    for (std::size_t above = 0; above < i; ++above) {  // their probes were not used
      levels[above].breaker.record({levels[above].permit, CallOutcome::ignored, Nanos{0}, Nanos{0}},
                                   now);
    }
    break;
  }
  note_all(cluster, now);
  return reply;
}

bool BreakerTree::is_probe_due(std::uint32_t cluster, Nanos now) noexcept {
  if (cluster >= sector_of_.size()) return false;
  bool is_any_open = false;
  for (const std::size_t place : places_of(cluster).of) {
    if (!is_open_bit(place)) continue;
    if (!at(place).is_probe_due(now)) return false;
    is_any_open = true;
  }
  return is_any_open && !is_for_another(cluster);
}

TreeReply BreakerTree::probe(std::uint32_t cluster, Nanos now) noexcept {
  TreeReply reply;
  reply.permit.cluster = cluster;
  reply.permit.levels = 0;
  if (!is_probe_due(cluster, now)) {
    reply.refusal = Refusal::rejected_open;
    return reply;
  }
  const Places places = places_of(cluster);
  Permit* const permits[] = {&reply.permit.of_mesh, &reply.permit.of_sector,
                             &reply.permit.of_cluster};
  for (std::size_t level = 0; level < std::size(permits); ++level) {
    if (!is_open_bit(places.of[level])) continue;
    const BreakerReply answer = at_place(places.of[level]).allow(now);
    MESH_ASSERT(answer.refusal == Refusal::none);  // it said so
    *permits[level] = answer.permit;
    reply.permit.levels |= static_cast<std::uint8_t>(1U << level);
  }
  note_all(cluster, now);
  return reply;
}

void BreakerTree::record(const TreePermit& permit, CallOutcome outcome, Nanos now) noexcept {
  if (permit.cluster >= sector_of_.size()) return;
  const auto record_at = [&](CircuitBreaker& breaker, const Permit& of) {
    // One message that nobody answered is no failure, but to a breaker that tries whether anybody
    // does.
    const bool is_straggler =
        outcome == CallOutcome::timeout && breaker.state() == BreakerState::closed;
    breaker.record({of, is_straggler ? CallOutcome::ignored : outcome, Nanos{0}, Nanos{0}}, now);
  };
  const auto is_of = [&](unsigned level) { return (permit.levels >> level & 1U) != 0; };
  if (is_of(2)) record_at(clusters_[permit.cluster], permit.of_cluster);
  if (is_of(1)) record_at(sectors_[sector_of_[permit.cluster]], permit.of_sector);
  // While it is closed the mesh counts open sectors, not failures.
  if (is_of(0) && mesh_.state() != BreakerState::closed) {
    mesh_.record({permit.of_mesh, outcome, Nanos{0}, Nanos{0}}, now);
  }
  note_all(permit.cluster, now);
}

void BreakerTree::record_failure(std::uint32_t cluster, Nanos now, std::uint32_t count) noexcept {
  if (cluster >= sector_of_.size() || count == 0) return;
  CircuitBreaker& sector = sectors_[sector_of_[cluster]];
  for (CircuitBreaker* breaker : {&clusters_[cluster], &sector})
    breaker->apply(coordination::breaker::RecordSums{breaker->epoch(), 0, count, 0}, now);
  note_all(cluster, now);
}

void BreakerTree::trip_sector(std::uint32_t sector, Nanos now) noexcept {
  if (sector >= sectors_.size()) return;
  CircuitBreaker& breaker = sectors_[sector];
  if (breaker.state() != BreakerState::closed && breaker.state() != BreakerState::half_open) return;
  breaker.trip(now);
  note(1 + sector, breaker);
  note_mesh(now);
}

void BreakerTree::set_score(std::uint32_t cluster, std::uint16_t score) noexcept {
  if (cluster >= scores_.size() || scores_[cluster] == score) return;
  scores_[cluster] = score;
  is_healthiest_stale_ = true;
}

void BreakerTree::mirror(const CircuitScope& scope, const coordination::breaker::Mirror& other,
                         Nanos now) noexcept {
  const auto apply = [&](std::vector<CircuitBreaker>& breakers, std::size_t first_bit) {
    if (scope.index >= breakers.size()) return;
    breakers[scope.index].apply(other, now);
    note(first_bit + scope.index, breakers[scope.index]);
  };
  switch (scope.level) {
    case CircuitScope::Level::mesh:
      mesh_.apply(other, now);
      note(0, mesh_);
      break;
    case CircuitScope::Level::sector:
      apply(sectors_, 1);
      break;
    case CircuitScope::Level::cluster:
      apply(clusters_, 1 + sectors_.size());
      break;
  }
}

void BreakerTree::tick(Nanos now) noexcept {
  coordination::BreakerActions changed;
  for (auto& cluster : clusters_) cluster.tick(now, changed);
  for (auto& sector : sectors_) sector.tick(now, changed);
  mesh_.tick(now, changed);
  for (std::uint32_t cluster = 0; cluster < clusters_.size(); ++cluster) note_all(cluster, now);
}

void BreakerTree::tick(std::uint32_t cluster, Nanos now) noexcept {
  if (cluster >= sector_of_.size()) return;
  coordination::BreakerActions changed;
  clusters_[cluster].tick(now, changed);
  sectors_[sector_of_[cluster]].tick(now, changed);
  mesh_.tick(now, changed);
  note_all(cluster, now);
}

void BreakerTree::adopt(std::size_t place, const coordination::BreakerView& view,
                        Nanos now) noexcept {
  CircuitBreaker& breaker = at_place(place);
  breaker.adopt(view, now);
  note(place, breaker);
}

CircuitBreaker& BreakerTree::at_place(std::size_t place) noexcept {
  const std::size_t sectors_end = 1 + sectors_.size();
  return place == 0            ? mesh_
         : place < sectors_end ? sectors_[place - 1]
                               : clusters_[place - sectors_end];
}

void BreakerTree::reset(std::size_t place, Nanos now) noexcept {
  CircuitBreaker& breaker = at_place(place);
  breaker.apply(coordination::breaker::Reset{}, now);
  note(place, breaker);
  // Where too many sectors are open still, the mesh's opens again at once.
  note_mesh(now);
}

void BreakerTree::hold_open(std::size_t place, Nanos now) noexcept {
  CircuitBreaker& breaker = at_place(place);
  breaker.apply(coordination::breaker::ForceOpen{}, now);
  note(place, breaker);
  note_mesh(now);
}

const CircuitBreaker& BreakerTree::at(std::size_t place) const noexcept {
  if (place == 0) return mesh_;
  const std::size_t sectors_end = 1 + sectors_.size();
  return place < sectors_end ? sectors_[place - 1] : clusters_[place - sectors_end];
}

void BreakerTree::note(std::size_t bit, const CircuitBreaker& breaker) noexcept {
  if (const bool restricted = is_restricted(breaker); restricted != is_restricted_bit(bit)) {
    restricted_bits_[bit / 64] ^= std::uint64_t{1} << (bit % 64);
    restricted_ += restricted ? 1 : UINT32_MAX;
  }
  const bool open = is_open(breaker);
  if (open == is_open_bit(bit)) return;
  is_healthiest_stale_ = true;
  open_bits_[bit / 64] ^= std::uint64_t{1} << (bit % 64);
  if (bit >= 1 && bit < 1 + sectors_.size()) open_sectors_ += open ? 1 : UINT32_MAX;
}

void BreakerTree::note_all(std::uint32_t cluster, Nanos now) noexcept {
  note(1 + sectors_.size() + cluster, clusters_[cluster]);
  note(1 + sector_of_[cluster], sectors_[sector_of_[cluster]]);
  note_mesh(now);
}

void BreakerTree::note_mesh(Nanos now) noexcept {
  if (open_sectors_ > open_sectors_max_ && mesh_.state() == BreakerState::closed) mesh_.trip(now);
  note(0, mesh_);
}

const CircuitBreaker& BreakerTree::breaker(const CircuitScope& scope) const noexcept {
  if (scope.level == CircuitScope::Level::mesh) return mesh_;
  return scope.level == CircuitScope::Level::sector ? sectors_[scope.index]
                                                    : clusters_[scope.index];
}

Status BreakerTree::verify() const {
  std::uint32_t open = 0;
  MESH_CHECK_OK(mesh_.verify());
  for (std::size_t i = 0; i < sectors_.size(); ++i) {
    MESH_CHECK_OK(sectors_[i].verify());
    open += is_open(sectors_[i]) ? 1U : 0U;
    if (is_open(sectors_[i]) != is_open_bit(1 + i)) {
      return fail(Errc::corrupt, "breaker tree: the bit of sector " + std::to_string(i));
    }
  }
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    MESH_CHECK_OK(clusters_[i].verify());
    if (is_open(clusters_[i]) != is_open_bit(1 + sectors_.size() + i)) {
      return fail(Errc::corrupt, "breaker tree: the bit of cluster " + std::to_string(i));
    }
  }
  std::uint32_t restricted = 0;
  for (std::size_t place = 0; place < places(); ++place) {
    restricted += is_restricted(at(place)) ? 1U : 0U;
    if (is_restricted(at(place)) != is_restricted_bit(place))
      return fail(Errc::corrupt, "breaker tree: the restriction of " + std::to_string(place));
  }
  if (restricted != restricted_)
    return fail(Errc::corrupt, "breaker tree: the count of breakers that are not closed");
  if (open != open_sectors_) return fail(Errc::corrupt, "breaker tree: the count of open sectors");
  if (is_open(mesh_) != is_open_bit(0)) return fail(Errc::corrupt, "breaker tree: the mesh's bit");
  return {};
}

}  // namespace mesh::engine::health
