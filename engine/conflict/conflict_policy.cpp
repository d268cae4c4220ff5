#include "engine/conflict/conflict_policy.hpp"

#include <array>

namespace mesh::engine {
namespace {

using enum ConflictStep;

constexpr std::array kBranchSteps = {keep_branches, merge_branches, load_merged};
constexpr std::array kProvenanceSteps = {trace_origins, take_stronger};
constexpr std::array kClockSteps = {collect_clocks, rebuild_order};
constexpr std::array kRerouteSteps = {mend_capabilities, route_elsewhere};
constexpr std::array kReloadSteps = {quarantine_agent, load_snapshot, check_hash, release_agent};
constexpr std::array kPersonSteps = {ask_person};

// Which strategies hand contexts to agents.
bool needs_context_calls(ConflictStrategy strategy) noexcept {
  return strategy == ConflictStrategy::branch_and_reconcile ||
         strategy == ConflictStrategy::quarantine_and_reload;
}

}  // namespace

std::string_view name_of(ConflictStrategy strategy) noexcept {
  constexpr std::array<std::string_view, 7> kNames = {
      "none",    "BRANCH_AND_RECONCILE",  "PROVENANCE_TRACE", "CLOCK_RECONCILIATION",
      "REROUTE", "QUARANTINE_AND_RELOAD", "HUMAN_REVIEW"};
  const auto at = static_cast<std::size_t>(strategy);
  return at < kNames.size() ? kNames[at] : "unknown";
}

std::string_view name_of(ConflictStep step) noexcept {
  constexpr std::array<std::string_view, 15> kNames = {"none",
                                                       "keep_branches",
                                                       "merge_branches",
                                                       "load_merged",
                                                       "trace_origins",
                                                       "take_stronger",
                                                       "collect_clocks",
                                                       "rebuild_order",
                                                       "mend_capabilities",
                                                       "route_elsewhere",
                                                       "quarantine_agent",
                                                       "load_snapshot",
                                                       "check_hash",
                                                       "release_agent",
                                                       "ask_person"};
  const auto at = static_cast<std::size_t>(step);
  return at < kNames.size() ? kNames[at] : "unknown";
}

std::span<const ConflictStep> steps_of(ConflictStrategy strategy) noexcept {
  switch (strategy) {
    case ConflictStrategy::branch_and_reconcile:
      return kBranchSteps;
    case ConflictStrategy::provenance_trace:
      return kProvenanceSteps;
    case ConflictStrategy::clock_reconciliation:
      return kClockSteps;
    case ConflictStrategy::reroute:
      return kRerouteSteps;
    case ConflictStrategy::quarantine_and_reload:
      return kReloadSteps;
    case ConflictStrategy::human_review:
      return kPersonSteps;
    case ConflictStrategy::none:
      break;
  }
  return {};
}

ConflictJudgement judge(const ConflictFacts& facts) noexcept {
  using sched::ConflictType;
  ConflictJudgement judged{.priority = 2, .strategy = ConflictStrategy::human_review};
  switch (facts.type) {
    case ConflictType::context_divergence:
      judged = {.priority = static_cast<std::uint8_t>(facts.depth > kDeepContext ? 3 : 2),
                .strategy = ConflictStrategy::branch_and_reconcile};
      break;
    case ConflictType::data_contradiction:
      judged = {.priority = static_cast<std::uint8_t>(facts.affected > kManyAffected ? 3 : 2),
                .strategy = ConflictStrategy::provenance_trace};
      break;
    case ConflictType::temporal_paradox:
      judged = {.priority = 4, .strategy = ConflictStrategy::clock_reconciliation};
      break;
    case ConflictType::capability_mismatch:
      judged = {.priority = 1, .strategy = ConflictStrategy::reroute};
      break;
    case ConflictType::hash_mismatch:
      judged = {.priority = 4, .strategy = ConflictStrategy::quarantine_and_reload};
      break;
    case ConflictType::none:
    case ConflictType::other:
      break;
  }
  if (!facts.has_context_calls && needs_context_calls(judged.strategy))
    judged.strategy = ConflictStrategy::human_review;
  judged.audience = audience_of(judged.priority);
  return judged;
}

std::optional<Nanos> resolve_within(std::uint8_t priority) noexcept {
  constexpr std::array<std::int64_t, 5> kSeconds = {-1, 3'600, 600, 60, 0};
  if (priority == 0) return {};
  return Nanos{kSeconds[priority > kConflictPriorityMax ? kConflictPriorityMax : priority] *
               kNsPerSecond};
}

Audience audience_of(std::uint8_t priority) noexcept {
  if (priority >= 4) return Audience::operator_too;
  return priority >= 3 ? Audience::sector_coordinator : Audience::none;
}

}  // namespace mesh::engine
