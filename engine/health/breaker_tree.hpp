// BreakerTree: the mesh's own breakers: a cluster, its sector, the whole mesh. A failure counts in
// the agent's cluster and in its sector; the mesh opens when too many sectors are open.
//
// Callers     one thread, the engine's. Any process may read the words of open_bits().
// Progress    wait-free. admit with everything closed: three loads; while the mesh or a sector
//             waits for its probe, one look at the clusters after each that changed. No allocation
//             after construction.
// Recovery    probe_then_ratio at each level. A sector and the mesh are probed through their
//             healthiest cluster (one in which somebody is active, and that is not open itself, if
//             there is one): another cluster's message is refused while they are open. Whichever
//             comes first is the probe: a message that is admitted, or the owner's own (probe()).
// If the      probe is never answered: another goes out after probe_retry_ns.
// other side
// dies
// Invariants  a bit of open_bits() is set if and only if that breaker is open or forced open.
//             While more than open_sectors_max sectors are open the mesh is not closed.
// Errors      validate -> invalid_config. A cluster out of range is refused: rejected_policy.
// Layout      a breaker's place: 0 the mesh, then the sectors, then the clusters. Its bit in
//             open_bits: the same number, 64 a word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/circuit_breaker.hpp"

namespace mesh::engine::health {

struct BreakerTreeConfig {
  std::vector<std::uint32_t> sector_of_cluster;
  std::uint32_t sectors = 0;
  std::uint32_t open_sectors_max = 10;
  coordination::CircuitBreakerConfig cluster =
      coordination::CircuitBreakerConfig::preset("mesh-cluster").value();
  coordination::CircuitBreakerConfig sector =
      coordination::CircuitBreakerConfig::preset("mesh-sector").value();
  coordination::CircuitBreakerConfig mesh =
      coordination::CircuitBreakerConfig::preset("mesh-global").value();
};

// What an admitted message holds until its outcome: a permit of each level, in that order.
struct TreePermit {
  static constexpr std::uint8_t kOfAll = 0b111;
  std::uint32_t cluster = 0;
  std::uint8_t levels = kOfAll;  // that it is a permit of: bit 0 the mesh, 1 sector, 2 cluster
  coordination::Permit of_mesh;
  coordination::Permit of_sector;
  coordination::Permit of_cluster;
};

struct TreeReply {
  coordination::Refusal refusal = coordination::Refusal::none;
  TreePermit permit;
  Nanos retry_after{0};
};

// Where a CIRCUIT message says something has changed.
struct CircuitScope {
  enum class Level : std::uint8_t { mesh, sector, cluster };
  Level level = Level::mesh;
  std::uint32_t index = 0;
};

class BreakerTree {
 public:
  static Status validate(const BreakerTreeConfig& config);
  explicit BreakerTree(const BreakerTreeConfig& config);

  // One message to an agent of this cluster.
  [[nodiscard]] TreeReply admit(std::uint32_t cluster, Nanos now) noexcept;
  void record(const TreePermit& permit, coordination::CallOutcome outcome, Nanos now) noexcept;
  // The owner's own probe: a permit of those of the cluster's three breakers that are open. What is
  // half-open is not asked, and nothing of the outcome counts there: that is for messages.
  [[nodiscard]] TreeReply probe(std::uint32_t cluster, Nanos now) noexcept;
  // Whether probe() would give one: something is open, all that is open waits for its probe, and
  // this cluster is the one through which it goes.
  [[nodiscard]] bool is_probe_due(std::uint32_t cluster, Nanos now) noexcept;
  // Failures that belong to no admitted message: crashes, missed heartbeats. Half-open they count
  // beside what passes; while it is open nobody asks.
  void record_failure(std::uint32_t cluster, Nanos now, std::uint32_t count = 1) noexcept;
  // Opens a sector for a reason that it cannot count itself: a cascade of failures.
  void trip_sector(std::uint32_t sector, Nanos now) noexcept;
  // The operator's word on one place: closed, with nothing counted; or open until it is reset.
  void reset(std::size_t place, Nanos now) noexcept;
  void hold_open(std::size_t place, Nanos now) noexcept;
  // 0..1000, the lower the healthier; which cluster a probe goes to. kScoreOfNobody: nobody is in
  // it who could answer one.
  static constexpr std::uint16_t kScoreOfNobody = 0xFFFF;
  void set_score(std::uint32_t cluster, std::uint16_t score) noexcept;
  // From another host: the newer epoch wins, open wins a tie.
  void mirror(const CircuitScope& scope, const coordination::breaker::Mirror& other,
              Nanos now) noexcept;
  void tick(Nanos now) noexcept;
  // This cluster, its sector and the mesh.
  void tick(std::uint32_t cluster, Nanos now) noexcept;

  // On restart, by place, before anything is admitted.
  void adopt(std::size_t place, const coordination::BreakerView& view, Nanos now) noexcept;
  [[nodiscard]] const coordination::CircuitBreaker& at(std::size_t place) const noexcept;
  [[nodiscard]] std::size_t places() const noexcept {
    return 1 + sectors_.size() + clusters_.size();
  }
  // Of the mesh, the cluster's sector and the cluster.
  struct Places {
    std::size_t of[3] = {};
  };
  [[nodiscard]] Places places_of(std::uint32_t cluster) const noexcept {
    return {{0, std::size_t{1} + sector_of_[cluster], 1 + sectors_.size() + cluster}};
  }

  [[nodiscard]] bool is_routable(std::uint32_t cluster) const noexcept {
    if (cluster >= sector_of_.size()) return false;
    return !is_open_bit(0) && !is_open_bit(1 + sector_of_[cluster]) &&
           !is_open_bit(1 + sectors_.size() + cluster);
  }
  // Closed at all three levels: admit() would say yes.
  [[nodiscard]] bool is_closed(std::uint32_t cluster) const noexcept {
    if (restricted_ == 0) return cluster < sector_of_.size();
    if (cluster >= sector_of_.size()) return false;
    return !is_restricted_bit(0) && !is_restricted_bit(1 + sector_of_[cluster]) &&
           !is_restricted_bit(1 + sectors_.size() + cluster);
  }
  // Breakers that are neither closed nor disabled.
  [[nodiscard]] std::uint32_t restricted() const noexcept { return restricted_; }
  [[nodiscard]] std::span<const std::uint64_t> open_bits() const noexcept { return open_bits_; }
  [[nodiscard]] const coordination::CircuitBreaker& breaker(
      const CircuitScope& scope) const noexcept;
  [[nodiscard]] std::uint32_t open_sectors() const noexcept { return open_sectors_; }
  [[nodiscard]] Status verify() const;

 private:
  [[nodiscard]] bool is_open_bit(std::size_t bit) const noexcept {
    return (open_bits_[bit / 64] >> (bit % 64) & 1U) != 0;
  }
  [[nodiscard]] bool is_restricted_bit(std::size_t bit) const noexcept {
    return (restricted_bits_[bit / 64] >> (bit % 64) & 1U) != 0;
  }
  void note(std::size_t bit, const coordination::CircuitBreaker& breaker) noexcept;
  [[nodiscard]] coordination::CircuitBreaker& at_place(std::size_t place) noexcept;
  void note_all(std::uint32_t cluster, Nanos now) noexcept;
  void note_mesh(Nanos now) noexcept;
  [[nodiscard]] bool is_better(std::uint32_t a, std::uint32_t b) const noexcept;
  void find_healthiest() noexcept;
  [[nodiscard]] bool is_for_another(std::uint32_t cluster) noexcept;

  std::uint32_t open_sectors_max_;
  std::uint32_t open_sectors_ = 0;
  std::uint32_t restricted_ = 0;
  std::vector<std::uint32_t> sector_of_;
  std::vector<std::uint16_t> scores_;
  coordination::CircuitBreaker mesh_;
  std::vector<coordination::CircuitBreaker> sectors_;
  std::vector<coordination::CircuitBreaker> clusters_;
  std::vector<std::uint64_t> open_bits_;
  std::vector<std::uint64_t> restricted_bits_;
  // Made anew when a score or a state has changed, and somebody asks.
  std::vector<std::uint32_t> healthiest_of_;  // by sector
  std::uint32_t healthiest_ = UINT32_MAX;
  bool is_healthiest_stale_ = true;
};

}  // namespace mesh::engine::health
