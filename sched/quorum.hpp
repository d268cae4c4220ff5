// trinary_quorum(): what to do with a set of READY, CONFLICT and TRANSIT.
//
// In this order, of all responses:
//     1. ready >= ready_min and conflict <= conflict_max    proceed, with a confidence
//     2. ready <  ready_min and transit  >  transit_max     wait: extend the arrival window
//     3. conflict > conflict_max                            resolve_conflicts
//     4. else                                               retry: adjust the compensation
// A rate that is exactly a threshold satisfies it: 95 ready of 100 is enough, 5 conflicts are
// within bound, 10 in transit are not over it. Comparisons are of integers (sched/share.hpp), so 95
// of 100 at 0.95 passes and 949,999 of 1,000,000 does not, on every machine.
//
// Callers     anyone: a lead for its 30, the engine for a cascade's phase. Pure functions.
// Progress    judge: four comparisons, no allocation.
// Errors      kNoResponses in the decision; trinary_quorum -> no_responses, invalid_argument
//             (a threshold above 1).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sched/records.hpp"
#include "sched/share.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

struct QuorumThresholds {
  Share ready_min{950'000};
  Share conflict_max{50'000};
  Share transit_max{100'000};
};

struct QuorumCounts {
  std::uint32_t ready = 0;
  std::uint32_t conflict = 0;
  std::uint32_t transit = 0;
  [[nodiscard]] constexpr std::uint64_t total() const noexcept {
    return std::uint64_t{ready} + conflict + transit;
  }
  friend constexpr bool operator==(const QuorumCounts&, const QuorumCounts&) = default;
};
// For a lead that is told what came of its own operation: who was sent to and said nothing is in
// TRANSIT. It does not count itself.
[[nodiscard]] constexpr QuorumCounts counts_of(const ResultBody& result) noexcept {
  return {result.ready, result.conflict, result.straggler};
}
// A byte that is no state counts as TRANSIT: its outcome is unknown.
[[nodiscard]] QuorumCounts count_states(std::span<const TrinaryState> states) noexcept;

enum class QuorumDecision : std::uint8_t {
  kProceed = 0,
  kWait,
  kResolveConflicts,
  kRetry,
  kNoResponses,
};
[[nodiscard]] std::string_view name_of(QuorumDecision decision) noexcept;

[[nodiscard]] QuorumDecision judge(const QuorumCounts& counts,
                                   const QuorumThresholds& thresholds) noexcept;

// ready_rate - 0.5 * conflict_rate, rounded once; 0 of nothing. Means something when it proceeds.
[[nodiscard]] double confidence_of(const QuorumCounts& counts) noexcept;

struct QuorumVerdict {
  QuorumDecision decision = QuorumDecision::kNoResponses;
  double confidence = 0;  // 0 unless it proceeds
  std::string sentence;   // for people; resolve_conflicts gives the rate
};
// The same for who wants the sentence too. Cold.
[[nodiscard]] Result<QuorumVerdict> trinary_quorum(const QuorumCounts& counts,
                                                   const QuorumThresholds& thresholds = {});
// For who knows how many responses there were: invalid_argument where the counts do not add up to
// that.
[[nodiscard]] Result<QuorumVerdict> trinary_quorum(std::uint64_t responses,
                                                   const QuorumCounts& counts,
                                                   const QuorumThresholds& thresholds = {});

}  // namespace mesh::sched
