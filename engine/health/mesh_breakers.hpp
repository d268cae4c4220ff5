// MeshBreakers: the mesh's own breakers in a running engine: what is counted as a failure comes in
// from the loop and from upkeep, and each breaker's state stands in the table.
//
// A failure is (mesh.md part 12): a crash, an undeliverable or refused message, an agent's third
// unanswered message in a row. One process that dies is one crash of each cluster in which it had
// agents. A crash is counted once its cluster has not been whole again for `crash_grace`; a cluster
// that was has its crashes taken back, once in a window: who crashes again and again is failing.
//
// Callers     the engine's scheduler thread, the one writer of these columns.
// Progress    failed(), crashed(): a few steps. look(): as BreakerTree::tick. No allocation after
//             create().
// Ordering    a breaker's word and open_until_ns belong together under its row's sequence; the word
//             alone is what is_routable() loads.
// Units       HostTime of the mesh's clock. Breakers by place: breaker_tree.hpp.
// If the      engine dies: what was open stays open until the same moment. adopt() takes state,
// other side  epoch and open_until_ns from the table; windows, probes and what was not yet handed
// dies        over are gone. What stands there and is no state is closed.
// Errors      create -> invalid_config, and as Layout::column.
// Layout      health_columns.hpp, breaker.*.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/health/breaker_tree.hpp"
#include "engine/health/health_columns.hpp"
#include "engine/health/watch_options.hpp"
#include "engine/topology.hpp"

namespace mesh::engine::health {

struct BreakerCounts {
  std::uint64_t opened = 0;      // each time one opened
  std::uint64_t failures = 0;    // that counted
  std::uint64_t taken_back = 0;  // crashes that did not
};

class MeshBreakers {
 public:
  static Result<MeshBreakers> create(const shm::Layout& layout, std::span<std::byte> table,
                                     const TopologySize& size, const BreakerOptions& options);
  void adopt(HostTime now) noexcept;

  // Of clusters that there are none they count nothing.
  void failed(std::uint32_t cluster) noexcept;
  // A process died. begin_crash(), then crashed() for each of its agents: a cluster counts once.
  void begin_crash() noexcept { ++crash_; }
  void crashed(std::uint32_t cluster, HostTime now) noexcept;
  void trip_sector(std::uint32_t sector, HostTime now) noexcept;

  // The operator's word on one: closed, with nothing counted; or open until it is reset. The state
  // that it had. Places as in the table.
  coordination::BreakerState reset(std::size_t place, HostTime now) noexcept;
  coordination::BreakerState hold_open(std::size_t place, HostTime now) noexcept;

  // What upkeep saw of a cluster: what was counted goes to its breakers, and their time passes.
  struct Sight {
    std::uint32_t cluster = 0;
    bool is_whole = true;     // nobody is missed
    std::uint16_t score = 0;  // kScoreOfNobody: nobody is there who may be asked
  };
  static constexpr std::uint16_t kScoreOfNobody = BreakerTree::kScoreOfNobody;
  void look(const Sight& sight, HostTime now) noexcept;

  [[nodiscard]] TreeReply admit(std::uint32_t cluster, HostTime now) noexcept;
  void record(const TreePermit& permit, coordination::CallOutcome outcome, HostTime now) noexcept;
  // The engine's own probe (BreakerTree::probe).
  [[nodiscard]] bool is_probe_due(std::uint32_t cluster, HostTime now) noexcept;
  [[nodiscard]] TreeReply probe(std::uint32_t cluster, HostTime now) noexcept;

  [[nodiscard]] bool is_known(std::uint32_t cluster) const noexcept {
    return cluster < clusters_.size();
  }
  // Nothing is refused anywhere.
  [[nodiscard]] bool all_closed() const noexcept { return tree_.restricted() == 0; }
  [[nodiscard]] bool is_closed(std::uint32_t cluster) const noexcept {
    return tree_.is_closed(cluster);
  }
  [[nodiscard]] bool is_routable(std::uint32_t cluster) const noexcept {
    return tree_.is_routable(cluster);
  }
  // Whether any of the permit's breakers is still in the state in which it was given.
  [[nodiscard]] bool is_current(const TreePermit& permit) const noexcept;
  [[nodiscard]] const BreakerTree& tree() const noexcept { return tree_; }
  [[nodiscard]] const BreakerCounts& counts() const noexcept { return counts_; }
  // Its own, and that the table shows it.
  [[nodiscard]] Status verify() const;

 private:
  struct Cluster {
    std::uint32_t failures = 0;  // not yet handed over
    std::uint32_t crashes = 0;   // not yet counted
    std::uint32_t crash = 0;     // the last that it counted
    HostTime crashed_at{};
    HostTime takes_back_from{};
  };
  MeshBreakers(const BreakerTreeConfig& config, const BreakerOptions& options);
  [[nodiscard]] std::uint32_t take_crashes(Cluster& cluster, bool is_whole, HostTime now) noexcept;
  void publish(std::uint32_t cluster) noexcept;
  void publish_one(std::size_t place) noexcept;

  BreakerTree tree_;
  BreakerRows<Written, WrittenBytes> rows_;
  std::vector<Cluster> clusters_;
  bool is_adopted_ = false;
  std::uint32_t crash_ = 0;
  Nanos crash_grace_;
  Nanos window_;
  BreakerCounts counts_;
};

}  // namespace mesh::engine::health
