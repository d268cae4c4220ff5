#include "sched/quorum.hpp"

#include <array>
#include <utility>

namespace mesh::sched {
namespace {

// "5.26 %", half up. The counts stand beside it, because a rounded rate can look like the bound
// that it is over.
std::string percent(std::uint64_t count, std::uint64_t total) {
  const std::uint64_t hundredths = (count * 10'000 + total / 2) / total;
  const std::string fraction = std::to_string(hundredths % 100);
  return std::to_string(hundredths / 100) + (fraction.size() == 1 ? ".0" : ".") + fraction + " %";
}

std::string of_all(const char* what, std::uint32_t count, std::uint64_t total) {
  return std::to_string(count) + " of " + std::to_string(total) + " responses " + what + ", " +
         percent(count, total);
}

std::string sentence_of(QuorumDecision decision, const QuorumCounts& counts,
                        const QuorumThresholds& thresholds) {
  const std::uint64_t total = counts.total();
  const std::string ready = of_all("ready", counts.ready, total);
  const std::string least = "; at least " + percent(thresholds.ready_min.ppm, kShareOne);
  switch (decision) {
    case QuorumDecision::kProceed:
      return "proceed: " + ready;
    case QuorumDecision::kWait:
      return "wait: " + ready + least + " is needed, and " +
             of_all("in transit", counts.transit, total) + ", is more than " +
             percent(thresholds.transit_max.ppm, kShareOne) + ": extend the arrival window";
    case QuorumDecision::kResolveConflicts:
      return "resolve conflicts: " + of_all("in conflict", counts.conflict, total) + "; at most " +
             percent(thresholds.conflict_max.ppm, kShareOne) + " is allowed";
    case QuorumDecision::kRetry:
      return "retry: " + ready + least + " is needed: adjust the compensation";
    case QuorumDecision::kNoResponses:
      break;
  }
  return "quorum: no responses";
}

}  // namespace

std::string_view name_of(QuorumDecision decision) noexcept {
  switch (decision) {
    case QuorumDecision::kProceed:
      return "proceed";
    case QuorumDecision::kWait:
      return "wait";
    case QuorumDecision::kResolveConflicts:
      return "resolve_conflicts";
    case QuorumDecision::kRetry:
      return "retry";
    case QuorumDecision::kNoResponses:
      return "no_responses";
  }
  return "unknown";
}

QuorumCounts count_states(std::span<const TrinaryState> states) noexcept {
  QuorumCounts counts;
  for (const TrinaryState state : states) {
    counts.ready += state == TrinaryState::ready ? 1 : 0;
    counts.conflict += state == TrinaryState::conflict ? 1 : 0;
  }
  counts.transit = static_cast<std::uint32_t>(states.size()) - counts.ready - counts.conflict;
  return counts;
}

QuorumDecision judge(const QuorumCounts& counts, const QuorumThresholds& thresholds) noexcept {
  const std::uint64_t total = counts.total();
  if (total == 0) return QuorumDecision::kNoResponses;
  const bool enough_ready = is_at_least(counts.ready, total, thresholds.ready_min);
  const bool few_conflicts = is_at_most(counts.conflict, total, thresholds.conflict_max);
  const bool few_in_transit = is_at_most(counts.transit, total, thresholds.transit_max);
  if (enough_ready && few_conflicts) return QuorumDecision::kProceed;
  if (!enough_ready && !few_in_transit) return QuorumDecision::kWait;
  if (!few_conflicts) return QuorumDecision::kResolveConflicts;
  return QuorumDecision::kRetry;
}

double confidence_of(const QuorumCounts& counts) noexcept {
  const std::uint64_t total = counts.total();
  if (total == 0) return 0;
  const auto twice = 2 * static_cast<std::int64_t>(counts.ready) - counts.conflict;
  return static_cast<double>(twice) / static_cast<double>(2 * total);
}

Result<QuorumVerdict> trinary_quorum(const QuorumCounts& counts,
                                     const QuorumThresholds& thresholds) {
  const std::array<std::pair<const char*, Share>, 3> named = {
      {{"ready_min", thresholds.ready_min},
       {"conflict_max", thresholds.conflict_max},
       {"transit_max", thresholds.transit_max}}};
  for (const auto& [name, share] : named) {
    if (share.ppm <= kShareOne) continue;
    return fail(Errc::invalid_argument,
                std::string("quorum: ") + name + " of " + std::to_string(share.ppm) +
                    " millionths is above 1",
                share.ppm);
  }
  QuorumVerdict verdict;
  verdict.decision = judge(counts, thresholds);
  if (verdict.decision == QuorumDecision::kNoResponses) {
    return fail(Errc::no_responses, "quorum: no responses, so no rate to judge by");
  }
  if (verdict.decision == QuorumDecision::kProceed) verdict.confidence = confidence_of(counts);
  verdict.sentence = sentence_of(verdict.decision, counts, thresholds);
  return verdict;
}

Result<QuorumVerdict> trinary_quorum(std::uint64_t responses, const QuorumCounts& counts,
                                     const QuorumThresholds& thresholds) {
  if (counts.total() != responses)
    return fail(Errc::invalid_argument,
                "trinary quorum: " + std::to_string(responses) +
                    " responses, and the counts add up to " + std::to_string(counts.total()),
                static_cast<std::int64_t>(responses));
  return trinary_quorum(counts, thresholds);
}

}  // namespace mesh::sched
