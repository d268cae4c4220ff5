#include "engine/health/breaker_tree.hpp"

#include <string>

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

// Whether it is open and only a probe may pass.
bool wants_probe(const CircuitBreaker& breaker) noexcept {
  return breaker.state() == BreakerState::open;
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
      open_bits_((1 + sectors_.size() + clusters_.size() + 63) / 64) {}

std::uint32_t BreakerTree::healthiest_of(std::uint32_t sector) const noexcept {
  std::uint32_t best = UINT32_MAX;
  for (std::uint32_t cluster = 0; cluster < sector_of_.size(); ++cluster) {
    if (sector_of_[cluster] != sector) continue;
    if (best == UINT32_MAX || scores_[cluster] < scores_[best]) best = cluster;
  }
  return best;
}

std::uint32_t BreakerTree::healthiest() const noexcept {
  std::uint32_t best = UINT32_MAX;
  for (std::uint32_t cluster = 0; cluster < sector_of_.size(); ++cluster) {
    if (best == UINT32_MAX || scores_[cluster] < scores_[best]) best = cluster;
  }
  return best;
}

TreeReply BreakerTree::admit(std::uint32_t cluster, Nanos now) noexcept {
  TreeReply reply;
  reply.permit.cluster = cluster;
  if (cluster >= sector_of_.size()) {
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  CircuitBreaker& sector = sectors_[sector_of_[cluster]];
  // Who may not be the probe is refused before any level has counted it.
  const bool for_others = (wants_probe(mesh_) && cluster != healthiest()) ||
                          (wants_probe(sector) && cluster != healthiest_of(sector_of_[cluster]));
  if (for_others) {
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

void BreakerTree::record(const TreePermit& permit, CallOutcome outcome, Nanos now) noexcept {
  if (permit.cluster >= sector_of_.size()) return;
  clusters_[permit.cluster].record({permit.of_cluster, outcome, Nanos{0}, Nanos{0}}, now);
  sectors_[sector_of_[permit.cluster]].record({permit.of_sector, outcome, Nanos{0}, Nanos{0}}, now);
  // While it is closed the mesh counts open sectors, not failures.
  if (mesh_.state() != BreakerState::closed) {
    mesh_.record({permit.of_mesh, outcome, Nanos{0}, Nanos{0}}, now);
  }
  note_all(permit.cluster, now);
}

void BreakerTree::record_failure(std::uint32_t cluster, Nanos now) noexcept {
  if (cluster >= sector_of_.size()) return;
  CircuitBreaker& sector = sectors_[sector_of_[cluster]];
  for (CircuitBreaker* breaker : {&clusters_[cluster], &sector}) {
    if (breaker->state() != BreakerState::closed) continue;
    const Permit permit{breaker->epoch(), 0};
    breaker->record({permit, CallOutcome::fail, Nanos{0}, Nanos{0}}, now);
  }
  note_all(cluster, now);
}

void BreakerTree::set_score(std::uint32_t cluster, std::uint16_t score) noexcept {
  if (cluster < scores_.size()) scores_[cluster] = score;
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

void BreakerTree::note(std::size_t bit, const CircuitBreaker& breaker) noexcept {
  const bool open = is_open(breaker);
  if (open == is_open_bit(bit)) return;
  open_bits_[bit / 64] ^= std::uint64_t{1} << (bit % 64);
  if (bit >= 1 && bit < 1 + sectors_.size()) open_sectors_ += open ? 1 : UINT32_MAX;
}

void BreakerTree::note_all(std::uint32_t cluster, Nanos now) noexcept {
  note(1 + sectors_.size() + cluster, clusters_[cluster]);
  note(1 + sector_of_[cluster], sectors_[sector_of_[cluster]]);
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
  if (open != open_sectors_) return fail(Errc::corrupt, "breaker tree: the count of open sectors");
  if (is_open(mesh_) != is_open_bit(0)) return fail(Errc::corrupt, "breaker tree: the mesh's bit");
  return {};
}

}  // namespace mesh::engine::health
