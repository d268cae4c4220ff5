// MeshWatch: what upkeep makes of all rows: summaries of clusters, sectors and the mesh, and the
// operating mode, published in the table; which agents failed; and the breakers that this opens.
//
// Callers     the engine's scheduler thread, the one writer of these columns.
// Progress    turn(): at most clusters_per_turn() clusters, a sector for each of its clusters'
//             last, and the mesh; while the mesh or a sector waits for its probe, also one look at
//             the clusters after each that changed. No allocation after create().
// Units       HostTime of the mesh's clock; mesh_ms counts from the mesh's start.
// If the      engine dies: readers keep the last summaries, with their time. create() over the same
// other side  memory goes on in the mode that stands there.
// dies
// Errors      create -> invalid_argument, and as Layout::column.
// Layout      health_columns.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/agent_rows.hpp"
#include "engine/health/failure_detector.hpp"
#include "engine/health/health_columns.hpp"
#include "engine/health/mesh_breakers.hpp"
#include "engine/health/operating_modes.hpp"
#include "engine/health/recovery_clock.hpp"
#include "engine/health/reliability.hpp"
#include "engine/health/summaries.hpp"
#include "engine/health/watch_options.hpp"
#include "engine/topology.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine::health {

// As many clusters as upkeep looks at rows.
[[nodiscard]] constexpr std::uint32_t clusters_per_turn(std::uint32_t agents_per_cluster) noexcept {
  return (kUpkeepRowsPerTick + agents_per_cluster - 1) / agents_per_cluster;
}

class MeshWatch {
 public:
  static Result<MeshWatch> create(const shm::Layout& layout, std::span<std::byte> table,
                                  const TopologySize& size, const WatchOptions& options);

  // What a turn looks at.
  struct Seen {
    Topology& topology;
    const AgentRows<HostMemory>& agents;
    const OwnerRows<HostMemory>& owners;
    HostTime now{};
    std::int64_t mesh_start_ns = 0;
    Nanos period{};  // within which every cluster is summarized
  };
  // The agent's station is gone, and had not said that it leaves (after begin_crash() of
  // breakers()); or the row is nobody's any more.
  void lost(std::uint32_t row, const AgentRows<HostMemory>& agents, HostTime now) noexcept;
  void forget(std::uint32_t row, HostTime now) noexcept;
  // A lost one is back.
  void returned(std::uint32_t row, HostTime now) noexcept { recovery_.back(row, now); }
  // What came of a message to the agent; refused: or it could not be delivered. Who has left the
  // last one unanswered is suspected until it answers; the third in a row is a failure, the fourth
  // is none: one agent that is silent does not open its cluster.
  void refused(std::uint32_t row, const AgentRows<HostMemory>& agents, HostTime now) noexcept;
  void unanswered(std::uint32_t row, const AgentRows<HostMemory>& agents, HostTime now) noexcept;
  void answered(std::uint32_t row) noexcept;
  // BYZANTINE_BEHAVIOR: quarantine answers it, and no breaker counts it.
  void differs(std::uint32_t row, const AgentRows<HostMemory>& agents,
               const FailureDetector::Outcomes& outcomes, HostTime now) noexcept;
  [[nodiscard]] std::uint32_t suspects() const noexcept { return suspect_count_; }
  // It has left the last three messages to it unanswered.
  [[nodiscard]] bool is_silent(std::uint32_t row) const noexcept {
    return (silent_[row / 64] >> (row % 64) & 1U) != 0;
  }
  // visit(row), which may call answered().
  template <class Visit>
  void for_each_suspect(Visit&& visit) const {
    if (suspect_count_ == 0) return;
    for (std::size_t word = 0; word < suspects_.size(); ++word)
      for (std::uint64_t bits = suspects_[word]; bits != 0; bits &= bits - 1)
        visit(static_cast<std::uint32_t>(word * 64) +
              static_cast<std::uint32_t>(std::countr_zero(bits)));
  }
  [[nodiscard]] MeshBreakers& breakers() noexcept { return breakers_; }
  [[nodiscard]] const MeshBreakers& breakers() const noexcept { return breakers_; }
  [[nodiscard]] const FailureDetector& failures() const noexcept { return failures_; }
  // Failures are its own to count; answers are who takes them in's.
  [[nodiscard]] ReliabilityBook& reliability() noexcept { return reliability_; }

  // Two compares, so that a tick with nothing due costs nothing else.
  [[nodiscard]] bool is_due(HostTime now, Nanos period) const noexcept {
    const auto clusters = static_cast<std::int64_t>(cluster_rows_.sequence.rows());
    return std::min(now - turned_, period) * clusters >= period;
  }
  // As many clusters as are due. True: a whole round is over.
  bool turn(const Seen& seen) noexcept;

  // Of the clusters that the last turn looked at: who is to be routed around from now on, because
  // its score is over twice its own, or no longer; and of which several agents spike since then.
  // Where more than half of a cluster's active agents spike it is not they: nobody of it is routed
  // around, as capability_health.hpp's panic.
  struct SpikeChange {
    std::uint32_t row = 0;
    bool begins = false;
  };
  struct Spikes {
    std::uint32_t cluster = 0;
    std::uint32_t last = 0;  // row
    std::uint32_t spiking = 0;
    std::uint32_t active = 0;
  };
  [[nodiscard]] std::span<const SpikeChange> spike_changes() const noexcept { return changes_; }
  [[nodiscard]] std::span<const Spikes> spikes_to_tell() const noexcept { return to_tell_; }

  // Of the clusters that the last turn looked at, those of which agents left their third message in
  // a row unanswered since it was looked at before.
  struct Silence {
    std::uint32_t cluster = 0;
    std::uint32_t last = 0;    // row
    std::uint32_t silent = 0;  // with those who were so before
    std::uint32_t active = 0;
  };
  [[nodiscard]] std::span<const Silence> silences_to_tell() const noexcept { return silences_; }

  // Of the clusters that the last turn looked at, those whose probe is due.
  [[nodiscard]] std::span<const std::uint32_t> probes_due() const noexcept { return probes_due_; }

  [[nodiscard]] const Summaries& summaries() const noexcept { return summaries_; }
  [[nodiscard]] const RecoveryClock& recovery() const noexcept { return recovery_; }
  // Every cluster was looked at: how much of the mesh is active is known.
  [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }
  [[nodiscard]] OperatingMode mode() const noexcept { return modes_.mode(); }
  [[nodiscard]] std::uint64_t mode_changes() const noexcept { return mode_changes_; }
  [[nodiscard]] bool is_sector_healthy(std::uint32_t sector) const noexcept {
    return sector >= sector_is_degraded_.size() || !sector_is_degraded_[sector];
  }
  [[nodiscard]] Status verify() const {
    MESH_CHECK_OK(breakers_.verify());
    return summaries_.verify();
  }

 private:
  struct Parts {
    Summaries summaries;
    OperatingModes modes;
    FailureDetector failures;
    MeshBreakers breakers;
    std::size_t rows = 0;
  };
  explicit MeshWatch(Parts parts);
  void suspect(std::uint32_t row, bool is_suspect) noexcept;
  void look_at(std::uint32_t cluster, const Seen& seen) noexcept;
  void look_for_silence(std::uint32_t cluster, const Seen& seen) noexcept;
  void look_for_spikes(std::uint32_t cluster, const Seen& seen) noexcept;
  void publish_cluster(std::uint32_t cluster, const Seen& seen) const noexcept;
  void publish_sector(std::uint32_t sector, const Seen& seen) noexcept;
  void publish_mesh(const Seen& seen) const noexcept;
  void adopt_mode(HostTime now, std::int64_t mesh_start_ns) noexcept;

  Summaries summaries_;
  OperatingModes modes_;
  FailureDetector failures_;
  MeshBreakers breakers_;
  RecoveryClock recovery_;
  ReliabilityBook reliability_;
  std::vector<std::uint64_t> suspects_;  // by row
  std::vector<std::uint64_t> silent_;    // those of them whose third has been counted
  std::uint32_t suspect_count_ = 0;
  ClusterRows<Written, WrittenBytes> cluster_rows_;
  SectorRows<Written, WrittenBytes> sector_rows_;
  GlobalRows<Written, WrittenBytes> global_rows_;
  std::vector<Member> members_;            // of the cluster that is looked at
  std::vector<std::uint32_t> probes_due_;  // clusters
  std::vector<SpikeChange> changes_;
  std::vector<Spikes> to_tell_;
  std::vector<Silence> silences_;
  std::vector<std::uint32_t> fell_silent_;  // by cluster: the last that did, + 1; 0: nobody
  std::vector<bool> sector_is_degraded_;
  std::uint32_t per_turn_ = 0;  // clusters
  std::uint32_t next_ = 0;      // cluster
  HostTime turned_{};
  HostTime looked_{};
  bool is_adopted_ = false;
  bool is_whole_ = false;  // every cluster was looked at
  std::uint64_t mode_changes_ = 0;
};

}  // namespace mesh::engine::health
