// RecoveryClock: how long clusters and sectors go without agents that were lost.
//
//     cluster   from its first agent lost to the last of them back
//     sector    from its first agent lost, where more than 5 % came to be missing, to no more than
//               5 % missing
//
// An agent whose name is given up is missed no more: that ends an outage, too, and it was a long
// one. Outages that an engine's death cuts are not counted as recovered.
//
// Callers     the engine's scheduler thread.
// Progress    a few steps each; no allocation after construction.
// Units       HostTime of the mesh's clock; counts in milliseconds, rounded up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "shm/base/nanos.hpp"

namespace mesh::engine::health {

struct RecoveryCounts {
  std::uint64_t outages = 0;
  std::uint64_t recoveries = 0;
  std::uint64_t recovery_ms = 0;  // all together
  std::uint64_t over_ours = 0;    // slower than 1 s; a sector: 10 s
  std::uint64_t over_target = 0;  // slower than 5 min; a sector: 15 min
};

class RecoveryClock {
 public:
  struct Size {
    std::size_t rows = 0;
    std::uint32_t sectors = 0;
    std::uint32_t clusters_per_sector = 1;
  };
  explicit RecoveryClock(const Size& size)
      : clusters_per_sector_(size.clusters_per_sector),
        missing_from_(size.rows, kNowhere),
        clusters_(std::size_t{size.sectors} * size.clusters_per_sector),
        sectors_(size.sectors) {}

  struct Place {
    std::uint32_t row = 0;
    std::uint32_t cluster = 0;
  };
  // `sector_agents`: that stand in the sector, the lost ones too; 0: not known yet.
  void lost(const Place& place, std::uint32_t sector_agents, HostTime now) noexcept {
    if (place.row >= missing_from_.size() || place.cluster >= clusters_.size()) return;
    if (missing_from_[place.row] != kNowhere) return;
    missing_from_[place.row] = place.cluster;
    Outage& cluster = clusters_[place.cluster];
    if (cluster.missing++ == 0) {
      cluster.since = now;
      ++cluster_counts_.outages;
    }
    Outage& sector = sectors_[place.cluster / clusters_per_sector_];
    if (sector.missing++ == 0) sector.since = now;
    sector.agents = sector_agents;
    if (!sector.is_out && is_out(sector)) {
      sector.is_out = true;
      ++sector_counts_.outages;
    }
  }
  // It is back, or nobody is to come back.
  void back(std::uint32_t row, HostTime now) noexcept {
    if (row >= missing_from_.size() || missing_from_[row] == kNowhere) return;
    const std::uint32_t place = std::exchange(missing_from_[row], kNowhere);
    Outage& cluster = clusters_[place];
    if (--cluster.missing == 0) count(cluster_counts_, now - cluster.since, kCluster);
    Outage& sector = sectors_[place / clusters_per_sector_];
    --sector.missing;
    if (!sector.is_out || is_out(sector)) return;
    sector.is_out = false;
    count(sector_counts_, now - sector.since, kSector);
  }

  [[nodiscard]] const RecoveryCounts& clusters() const noexcept { return cluster_counts_; }
  [[nodiscard]] const RecoveryCounts& sectors() const noexcept { return sector_counts_; }

 private:
  struct Outage {
    std::uint32_t missing = 0;
    std::uint32_t agents = 0;
    bool is_out = false;
    HostTime since{};
  };
  struct Limits {
    Nanos ours;
    Nanos target;
  };
  static constexpr std::uint32_t kNowhere = UINT32_MAX;
  static constexpr Limits kCluster{Nanos{kNsPerSecond}, Nanos{300 * kNsPerSecond}};
  static constexpr Limits kSector{Nanos{10 * kNsPerSecond}, Nanos{900 * kNsPerSecond}};

  // mesh.md part 10: healthy when active / total > 0.95.
  [[nodiscard]] static bool is_out(const Outage& sector) noexcept {
    return sector.agents != 0 && std::uint64_t{sector.missing} * 20 >= sector.agents;
  }
  static void count(RecoveryCounts& counts, Nanos took, const Limits& limits) noexcept {
    ++counts.recoveries;
    counts.recovery_ms += static_cast<std::uint64_t>((took.count() + kNsPerMs - 1) / kNsPerMs);
    counts.over_ours += took > limits.ours ? 1U : 0U;
    counts.over_target += took > limits.target ? 1U : 0U;
  }

  std::uint32_t clusters_per_sector_;
  std::vector<std::uint32_t> missing_from_;  // cluster, by row
  std::vector<Outage> clusters_;
  std::vector<Outage> sectors_;
  RecoveryCounts cluster_counts_;
  RecoveryCounts sector_counts_;
};

}  // namespace mesh::engine::health
