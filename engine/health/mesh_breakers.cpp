#include "engine/health/mesh_breakers.hpp"

#include <string>
#include <utility>

namespace mesh::engine::health {

using coordination::BreakerState;
using coordination::BreakerView;
using coordination::CircuitBreakerConfig;

namespace {

Nanos instant(HostTime now) noexcept { return Nanos{to_ns(now)}; }

CircuitBreakerConfig config_of(const BreakerOptions& options, std::uint32_t failures_max) {
  CircuitBreakerConfig config = CircuitBreakerConfig::preset("mesh-cluster").value();
  config.failure_threshold = failures_max + 1;
  config.window_ns = options.window;
  config.open_ns = options.open;
  config.open_multiplier = 1;
  config.open_ns_max = options.open;
  config.probe_retry_ns = options.probe_retry;
  config.half_open_pass_every = options.half_open_pass_every;
  config.half_open_ns = options.half_open;
  config.half_open_failure_ppm = options.half_open_failure_ppm;
  config.events_max = 1;  // the table and the counters tell
  return config;
}

BreakerTreeConfig tree_of(const TopologySize& size, const BreakerOptions& options) {
  BreakerTreeConfig config;
  config.sectors = size.sectors;
  const std::uint32_t clusters = size.sectors * size.clusters_per_sector;
  config.sector_of_cluster.reserve(clusters);
  for (std::uint32_t cluster = 0; cluster < clusters; ++cluster)
    config.sector_of_cluster.push_back(cluster / size.clusters_per_sector);
  config.open_sectors_max = options.open_sectors_max;
  config.cluster = config_of(options, options.cluster_failures_max);
  config.sector = config_of(options, options.sector_failures_max);
  config.mesh = config_of(options, options.open_sectors_max);
  return config;
}

}  // namespace

MeshBreakers::MeshBreakers(const BreakerTreeConfig& config, const BreakerOptions& options)
    : tree_(config),
      clusters_(config.sector_of_cluster.size()),
      crash_grace_(options.crash_grace),
      window_(options.window) {}

Result<MeshBreakers> MeshBreakers::create(const shm::Layout& layout, std::span<std::byte> table,
                                          const TopologySize& size, const BreakerOptions& options) {
  if (options.crash_grace < Nanos{0})
    return fail(Errc::invalid_config,
                "breakers: crash_grace of " + std::to_string(options.crash_grace.count()) +
                    " ns is below 0",
                options.crash_grace.count());
  for (const std::uint32_t most : {options.cluster_failures_max, options.sector_failures_max})
    if (most == UINT32_MAX)
      return fail(Errc::invalid_config, "breakers: more failures than can be counted", most);
  const BreakerTreeConfig config = tree_of(size, options);
  MESH_CHECK_OK(BreakerTree::validate(config));
  MeshBreakers breakers(config, options);
  MESH_TRY(breakers.rows_, decltype(breakers.rows_)::in(layout, table));
  if (breakers.rows_.word.rows() < breakers.tree_.places())
    return fail(Errc::layout_mismatch, "breakers: the table has " +
                                           std::to_string(breakers.rows_.word.rows()) +
                                           ", the mesh " + std::to_string(breakers.tree_.places()));
  return breakers;
}

void MeshBreakers::adopt(HostTime now) noexcept {
  for (std::size_t place = 0; place < tree_.places(); ++place) {
    // relaxed, both: our own columns, and their writer is dead.
    const BreakerView view{rows_.word.load_relaxed(place), rows_.open_until_ns.load_relaxed(place)};
    if (view.word != 0) tree_.adopt(place, view, instant(now));
    publish_one(place);
  }
  counts_ = {};  // it was open before
  is_adopted_ = true;
}

// Facts.

void MeshBreakers::failed(std::uint32_t cluster) noexcept {
  if (is_known(cluster)) ++clusters_[cluster].failures;
}

void MeshBreakers::crashed(std::uint32_t cluster, HostTime now) noexcept {
  if (!is_known(cluster) || clusters_[cluster].crash == crash_) return;
  Cluster& its = clusters_[cluster];
  its.crash = crash_;
  if (its.crashes++ == 0) its.crashed_at = now;
}

void MeshBreakers::trip_sector(std::uint32_t sector, HostTime now) noexcept {
  const std::uint64_t before = tree_.breaker({CircuitScope::Level::sector, sector}).epoch();
  tree_.trip_sector(sector, instant(now));
  const std::uint64_t after = tree_.breaker({CircuitScope::Level::sector, sector}).epoch();
  if (before == after) return;
  publish_one(std::size_t{1} + sector);
  publish_one(0);
}

BreakerState MeshBreakers::reset(std::size_t place, HostTime now) noexcept {
  const BreakerState before = tree_.at(place).state();
  const std::size_t clusters_from = tree_.places() - clusters_.size();
  if (place >= clusters_from) clusters_[place - clusters_from] = {};
  tree_.reset(place, instant(now));
  publish_one(place);
  publish_one(0);
  return before;
}

BreakerState MeshBreakers::hold_open(std::size_t place, HostTime now) noexcept {
  const BreakerState before = tree_.at(place).state();
  tree_.hold_open(place, instant(now));
  publish_one(place);
  publish_one(0);
  return before;
}

// How many of them count now.
std::uint32_t MeshBreakers::take_crashes(Cluster& cluster, bool is_whole, HostTime now) noexcept {
  if (cluster.crashes == 0) return 0;
  const bool may_take_back = now >= cluster.takes_back_from;
  if (may_take_back && is_whole) {
    counts_.taken_back += std::exchange(cluster.crashes, 0);
    cluster.takes_back_from = now + window_;
    return 0;
  }
  if (may_take_back && now - cluster.crashed_at < crash_grace_) return 0;
  return std::exchange(cluster.crashes, 0);
}

void MeshBreakers::look(const Sight& sight, HostTime now) noexcept {
  if (!is_known(sight.cluster)) return;
  Cluster& its = clusters_[sight.cluster];
  tree_.set_score(sight.cluster, sight.score);
  tree_.tick(sight.cluster, instant(now));
  const std::uint32_t crashes = take_crashes(its, sight.is_whole, now);
  std::uint32_t failures = std::exchange(its.failures, 0);
  counts_.failures += crashes + failures;
  // What an open or half-open breaker lets pass brings its own outcome.
  if (!tree_.is_closed(sight.cluster)) failures = 0;
  if (const std::uint32_t count = crashes + failures; count != 0)
    tree_.record_failure(sight.cluster, instant(now), count);
  publish(sight.cluster);
}

TreeReply MeshBreakers::admit(std::uint32_t cluster, HostTime now) noexcept {
  TreeReply reply = tree_.admit(cluster, instant(now));
  if (is_known(cluster)) publish(cluster);
  return reply;
}

void MeshBreakers::record(const TreePermit& permit, coordination::CallOutcome outcome,
                          HostTime now) noexcept {
  tree_.record(permit, outcome, instant(now));
  if (is_known(permit.cluster)) publish(permit.cluster);
}

bool MeshBreakers::is_probe_due(std::uint32_t cluster, HostTime now) noexcept {
  return !all_closed() && tree_.is_probe_due(cluster, instant(now));
}

TreeReply MeshBreakers::probe(std::uint32_t cluster, HostTime now) noexcept {
  TreeReply reply = tree_.probe(cluster, instant(now));
  if (is_known(cluster)) publish(cluster);
  return reply;
}

bool MeshBreakers::is_current(const TreePermit& permit) const noexcept {
  if (!is_known(permit.cluster)) return false;
  const BreakerTree::Places places = tree_.places_of(permit.cluster);
  const std::uint32_t epochs[] = {permit.of_mesh.epoch, permit.of_sector.epoch,
                                  permit.of_cluster.epoch};
  for (std::size_t level = 0; level < std::size(epochs); ++level) {
    if ((permit.levels >> level & 1U) == 0) continue;
    const coordination::CircuitBreaker& breaker = tree_.at(places.of[level]);
    if (breaker.state() != BreakerState::closed && breaker.epoch() == epochs[level]) return true;
  }
  return false;
}

// What readers see.

void MeshBreakers::publish(std::uint32_t cluster) noexcept {
  for (const std::size_t place : tree_.places_of(cluster).of) publish_one(place);
}

void MeshBreakers::publish_one(std::size_t place) noexcept {
  const BreakerView view = tree_.at(place).view();
  const std::uint64_t before = rows_.word.load_relaxed(place);  // relaxed: our own column
  // relaxed: as above
  if (before == view.word && rows_.open_until_ns.load_relaxed(place) == view.open_until_ns) return;
  const bool has_opened = BreakerView::state_of(view.word) == BreakerState::open &&
                          BreakerView::epoch_of(view.word) != BreakerView::epoch_of(before);
  counts_.opened += has_opened ? 1 : 0;
  shm::RowWriter<HostMemory>(rows_.sequence)
      .write(place, [&](const shm::RowStores<HostMemory>& row) {
        row.store(rows_.open_until_ns, view.open_until_ns);
        row.store(rows_.word, view.word);
      });
}

Status MeshBreakers::verify() const {
  MESH_CHECK_OK(tree_.verify());
  if (!is_adopted_) return {};  // the table shows the engine before this one
  for (std::size_t place = 0; place < tree_.places(); ++place) {
    // relaxed: our own column
    if (rows_.word.load_relaxed(place) == tree_.at(place).view().word) continue;
    return fail(Errc::corrupt,
                "breakers: the table does not show breaker " + std::to_string(place) + " as it is");
  }
  return {};
}

}  // namespace mesh::engine::health
