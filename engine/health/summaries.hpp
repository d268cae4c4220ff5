// Summaries: what a cluster, a sector and the mesh look like from above: how many are active, and
// how high their impedance stands (mesh.md part 10).
//
// A cluster is summarized from its agents, thirty by default; what sectors and the mesh are follows
// from the clusters' summaries by differences: update() takes the old one out and puts the new one
// in. All sums are of integers, so that a thousand updates give what one count from the start gives
// (verify()).
//
// What is counted of scores is counted over active agents: the last score of one who is away
// measures nothing. A cluster without an active agent has no mean, and is in no mean of means.
//
// Callers     one thread, the one that writes the table's summaries.
// Progress    summarize: O(n log n) for a cluster's n agents. update: O(1). sector: the clusters of
//             one sector. mesh: kScoreBins / 64 steps. No allocation after create().
// Units       p95 of scores in 1/20: position 0.95 (n + 1) is a multiple of 1/20, so that it is
//             exact. p95 of p95s in 1/400, exact too. Means in 1/65536, rounded down.
// Errors      create -> invalid_argument. verify -> corrupt.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::engine::health {

inline constexpr std::uint32_t kNobody = ~std::uint32_t{0};  // row or cluster
inline constexpr std::uint32_t kMeanUnit = 65'536;
inline constexpr std::uint32_t kP95Unit = 20;
inline constexpr std::uint32_t kP95OfP95sUnit = kP95Unit * 20;
inline constexpr std::uint32_t kScoreMax = 1'000;
inline constexpr std::uint16_t kDegradedScore = 800;  // above it: flagged degraded
inline constexpr float kUnstableDrift = 0.5F;         // above it: flagged unstable

// Of n ascending values: position 0.95 (n + 1), linear between neighbours, clamped to [1, n]. In
// 1/20 of the values' unit; `values` is not empty.
[[nodiscard]] std::uint64_t p95_times_20(std::span<const std::uint32_t> ascending) noexcept;

struct Member {
  std::uint32_t row = 0;
  std::uint16_t score = 0;
  float drift = 0;
  bool is_active = false;
};

struct ClusterSummary {
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::uint32_t degraded = 0;  // active, with a score above kDegradedScore
  std::uint32_t unstable = 0;  // active, with a drift above kUnstableDrift
  std::uint32_t mean = 0;      // kMeanUnit; none active: 0, and counts nowhere
  std::uint32_t p95 = 0;       // kP95Unit
  std::uint32_t slowest = kNobody;
  std::uint32_t fastest = kNobody;  // ties: the lower row
  friend bool operator==(const ClusterSummary&, const ClusterSummary&) = default;
};

struct SectorSummary {
  std::uint32_t clusters = 0;  // that have an agent
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::uint32_t mean = 0;              // of its clusters' means; kMeanUnit
  std::uint32_t healthiest = kNobody;  // the cluster with the lowest mean
  std::uint32_t sickest = kNobody;     // one where nobody is active, else with the highest mean
  bool is_healthy = false;             // active / agents > 0.95; nobody there: neither
  friend bool operator==(const SectorSummary&, const SectorSummary&) = default;
};

struct MeshSummary {
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::uint32_t mean = 0;  // of the clusters' means; kMeanUnit
  std::uint32_t p95 = 0;   // of the clusters' p95s; kP95OfP95sUnit
  std::uint32_t healthy_sectors = 0;
  std::uint32_t degraded_sectors = 0;
  friend bool operator==(const MeshSummary&, const MeshSummary&) = default;
};

[[nodiscard]] constexpr bool is_healthy(std::uint64_t active, std::uint64_t agents) noexcept {
  return active * 100 > agents * 95;
}

class Summaries {
 public:
  struct Size {
    std::uint32_t sectors = 0;
    std::uint32_t clusters_per_sector = 0;
    std::uint32_t agents_per_cluster = 0;
  };
  static Result<Summaries> create(const Size& size);

  // At most agents_per_cluster members, in any order.
  [[nodiscard]] ClusterSummary summarize(std::span<const Member> members) noexcept;
  void update(std::uint32_t cluster, const ClusterSummary& now) noexcept;

  [[nodiscard]] const ClusterSummary& cluster(std::uint32_t cluster) const noexcept {
    return clusters_[cluster];
  }
  [[nodiscard]] SectorSummary sector(std::uint32_t sector) const noexcept;
  [[nodiscard]] MeshSummary mesh() const noexcept;
  [[nodiscard]] const Size& size() const noexcept { return size_; }

  // Counts again from the clusters' summaries and compares.
  [[nodiscard]] Status verify() const;

 private:
  // Of a sector, or of all.
  struct Sums {
    std::uint32_t clusters = 0;  // with an agent
    std::uint32_t measured = 0;  // with an active one: those that have a mean
    std::uint32_t agents = 0;
    std::uint32_t active = 0;
    std::uint64_t means = 0;
    friend bool operator==(const Sums&, const Sums&) = default;
  };
  static constexpr std::uint32_t kScoreBins = kScoreMax * kP95Unit + 1;
  static constexpr std::uint32_t kBinsPerBlock = 64;

  explicit Summaries(const Size& size);
  static void count(Sums& sums, const ClusterSummary& cluster, bool in) noexcept;
  void count_p95(const ClusterSummary& cluster, bool in) noexcept;
  void count_sector(const Sums& sector, bool in) noexcept;
  // The p95 of the clusters that stands at `position`, counted from 1.
  [[nodiscard]] std::uint32_t nth_p95(std::uint32_t position) const noexcept;

  Size size_;
  std::vector<std::uint32_t> scratch_;
  std::vector<ClusterSummary> clusters_;
  std::vector<Sums> sectors_;
  Sums all_;
  std::uint32_t healthy_sectors_ = 0;
  std::uint32_t degraded_sectors_ = 0;
  std::vector<std::uint32_t> p95_bins_;    // clusters with that p95
  std::vector<std::uint32_t> p95_blocks_;  // sums of kBinsPerBlock bins
};

}  // namespace mesh::engine::health
