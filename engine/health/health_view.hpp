// HealthView: clusters, sectors and the mesh as any attached process sees them in the table, and
// who in it is best for a piece of work.
//
// Callers     any thread of any process that has the table mapped; one thread at a time.
// Progress    a summary: wait-free, at most shm::kReadAttempts tries. find_best: one pass over the
//             rows; best_in_cluster: one pass over the column of clusters. is_routable: six loads.
// Ordering    a summary is one state of its row. Agents are read one by one: an answer may be as
//             old as the reading, and its agent gone since.
// If the      engine dies: the last that it wrote stands; summarized_mesh_ms says of when it is.
// other side  It lies: numbers are numbers, rows out of range are not followed.
// dies
// or lies
// Errors      over -> as Layout::column. best_in_cluster -> no_capable_agent.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/agent_rows.hpp"
#include "engine/capabilities.hpp"
#include "engine/coordination/blocks/selector.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/health/health_columns.hpp"
#include "engine/health/operating_modes.hpp"
#include "engine/health/summaries.hpp"

namespace mesh::engine::health {

struct Stamp {
  std::uint32_t mesh_ms = 0;  // of the summary
};
struct ClusterSeen : Stamp {
  ClusterSummary summary;
  std::uint32_t lead = kNobody;
};
struct SectorSeen : Stamp {
  SectorSummary summary;
  std::uint32_t coordinator = kNobody;
};
struct MeshSeen : Stamp {
  MeshSummary summary;
  std::optional<OperatingMode> mode;
  std::uint32_t mode_since_mesh_ms = 0;
};

struct Candidate {
  AgentIndex agent = kNoAgent;
  std::uint16_t score = 0;
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

inline constexpr std::uint16_t kBestScoreMax = 500;
// Where reputation counts: one failure, of nothing else known, weighs as much as 167 ms.
inline constexpr coordination::SelectTerms kBestWeights{.reputation = 0.5, .impedance = 0.5};

class HealthView {
 public:
  static Result<HealthView> over(const shm::Layout& layout, std::span<const std::byte> table);

  // None: never summarized, out of range, or it changes too fast to be read just now.
  [[nodiscard]] std::optional<ClusterSeen> cluster(std::uint32_t cluster) const noexcept;
  [[nodiscard]] std::optional<SectorSeen> sector(std::uint32_t sector) const noexcept;
  [[nodiscard]] std::optional<MeshSeen> mesh() const noexcept;

  // A breaker as it stands; by place: 0 the mesh, then its sectors, then its clusters.
  [[nodiscard]] std::optional<coordination::BreakerView> breaker(std::size_t place) const noexcept;
  [[nodiscard]] std::size_t breakers() const noexcept { return breakers_.word.rows(); }
  [[nodiscard]] std::size_t place_of_sector(std::uint32_t sector) const noexcept {
    return std::size_t{1} + sector;
  }
  [[nodiscard]] std::size_t place_of_cluster(std::uint32_t cluster) const noexcept {
    return std::size_t{1} + sectors() + cluster;
  }

  // Attached, not quarantined, not routed around, and behind no open breaker.
  [[nodiscard]] bool is_routable(AgentIndex agent) const noexcept;

  struct Wanted {
    CapabilitySet capabilities{};
    std::uint32_t count = 1;
    std::uint16_t score_max = kBestScoreMax;
    std::optional<sched::AgentClass> agent_class{};
    // In 0..1, .5 where nothing is known. None: by impedance alone.
    std::function<double(AgentIndex)> reputation{};
  };
  // The routable agents with the lowest scores, lowest first; ties: the lower row. With a
  // reputation: the highest of the two terms weighed by kBestWeights first.
  [[nodiscard]] std::vector<Candidate> find_best(const Wanted& wanted) const;
  // All that could be taken, in order of their rows.
  [[nodiscard]] std::vector<AgentIndex> find_routable(const CapabilitySet& capabilities) const;
  // Of one cluster, whatever its score.
  [[nodiscard]] Result<Candidate> best_in_cluster(std::uint32_t cluster,
                                                  const CapabilitySet& capabilities) const;

  [[nodiscard]] std::uint32_t clusters() const noexcept {
    return static_cast<std::uint32_t>(clusters_.sequence.rows());
  }
  [[nodiscard]] std::uint32_t sectors() const noexcept {
    return static_cast<std::uint32_t>(sectors_.sequence.rows());
  }

 private:
  [[nodiscard]] bool is_open(std::size_t breaker) const noexcept;
  [[nodiscard]] bool has(std::size_t row, const CapabilitySet& wanted) const noexcept;
  [[nodiscard]] bool is_of(std::size_t row, std::optional<sched::AgentClass> wanted) const noexcept;

  ClusterRows<Viewed, ViewedBytes> clusters_;
  SectorRows<Viewed, ViewedBytes> sectors_;
  GlobalRows<Viewed, ViewedBytes> mesh_;
  BreakerRows<Viewed, ViewedBytes> breakers_;
  Viewed<std::uint8_t> state_, routing_, agent_class_;
  Viewed<std::uint16_t> score_;
  Viewed<std::uint32_t> sector_, cluster_;
  Viewed<std::uint64_t> capabilities_;
};

}  // namespace mesh::engine::health
