// What a conflict means: its priority, its strategy, by when it should be resolved and who hears of
// it (mesh.md part 11). Pure functions over tables.
//
//   type                 priority                          strategy
//   context_divergence   3 if depth > 10, else 2           branch_and_reconcile
//   data_contradiction   3 if it affects > 100, else 2     provenance_trace
//   temporal_paradox     4                                 clock_reconciliation
//   capability_mismatch  1                                 reroute
//   hash_mismatch        4                                 quarantine_and_reload
//   anything else        2                                 human_review
//
// Callers     anyone.
// Progress    no allocation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sched/records.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

enum class ConflictStrategy : std::uint8_t {
  none = 0,
  branch_and_reconcile,
  provenance_trace,
  clock_reconciliation,
  reroute,
  quarantine_and_reload,
  human_review,
};
[[nodiscard]] std::string_view name_of(ConflictStrategy strategy) noexcept;

// What is done, one after the other. Each that was done is a record of its own.
enum class ConflictStep : std::uint8_t {
  none = 0,
  keep_branches,      // both contexts stand beside their common ancestor
  merge_branches,     // at the convergence point (context_branches.hpp)
  load_merged,        // every branch's agent gets the result
  trace_origins,      // of each value
  take_stronger,      // provenance.hpp
  collect_clocks,     // vector clocks of the events concerned
  rebuild_order,      // causal_order.hpp
  mend_capabilities,  // what the agent cannot do is no longer said of it
  route_elsewhere,    // the work goes to an agent that can
  quarantine_agent,   // nothing is routed to it
  load_snapshot,      // the last good one
  check_hash,         // the agent has the context it should have
  release_agent,      // work is routed to it again
  ask_person,         // waits for somebody
};
[[nodiscard]] std::string_view name_of(ConflictStep step) noexcept;
[[nodiscard]] std::span<const ConflictStep> steps_of(ConflictStrategy strategy) noexcept;

enum class Audience : std::uint8_t { none = 0, sector_coordinator, operator_too };

inline constexpr std::uint32_t kDeepContext = 10;    // more is priority 3
inline constexpr std::uint32_t kManyAffected = 100;  // more is priority 3

struct ConflictFacts {
  sched::ConflictType type = sched::ConflictType::other;
  std::uint32_t depth = 0;        // how far the contexts have gone apart
  std::uint32_t affected = 0;     // agents
  bool has_context_calls = true;  // set_context and load_context; without: a person's task
};
struct ConflictJudgement {
  std::uint8_t priority = 0;
  ConflictStrategy strategy = ConflictStrategy::human_review;
  Audience audience = Audience::none;
  friend bool operator==(const ConflictJudgement&, const ConflictJudgement&) = default;
};
[[nodiscard]] ConflictJudgement judge(const ConflictFacts& facts) noexcept;

inline constexpr std::uint8_t kConflictPriorityMax = 4;
// How long a conflict of this priority may take. Nothing for 0: when convenient.
[[nodiscard]] std::optional<Nanos> resolve_within(std::uint8_t priority) noexcept;
// "At once" is late after this: what a resolution that needs no person may take.
inline constexpr Nanos kAtOnce{100 * kNsPerMs};
// >= 3: the sector's coordinator; >= 4: the operator too.
[[nodiscard]] Audience audience_of(std::uint8_t priority) noexcept;

}  // namespace mesh::engine
