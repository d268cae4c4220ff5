// judge(): what a scatter-gather came to, from its counts.
//
// Two questions, both exact (sched/share.hpp): were enough of those sent to READY (ready / sent
// against ready_min), and enough of those meant (coverage: ready / targeted against coverage_min)?
// The rate is never shown alone, so that 1 agent reached of 30,000 is no success.
//
//     sent = 0                      no_schedulable_agents, before anything is divided
//     both                          success
//     rate below its minimum        partial, retry_with_larger_window
//     coverage below its minimum    partial, give_more_lead_time
//     both below                    partial, and the advice is what would cure it: when as many
//                                   were sent to as the coverage asks for, a larger window can
//                                   lift both (retry_with_larger_window); when fewer were, no
//                                   window can (give_more_lead_time)
//
// Callers     anyone; pure functions.
// Errors      status_of -> no_schedulable_agents, with the reasons of the skipped counted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sched/error_histogram.hpp"
#include "sched/share.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

inline constexpr Share kReadyMin{950'000};
inline constexpr Share kCoverageMin{500'000};
inline constexpr Nanos kGatherWindow{500 * kNsPerMs};
inline constexpr Nanos kGatherTimeout{5'000 * kNsPerMs};
inline constexpr Nanos kArrivalTolerance{50 * kNsPerMs};
inline constexpr Nanos kGatherSpanMax{(std::int64_t{1} << 62) - 1};  // T + it fits

// Targets that got nothing, by reason.
struct SkipCounts {
  std::uint32_t insufficient_lead_time = 0;
  std::uint32_t invalid_impedance = 0;
  std::uint32_t capability_mismatch = 0;
  std::uint32_t not_routable = 0;  // breaker open, offline, quarantined
  friend constexpr bool operator==(const SkipCounts&, const SkipCounts&) = default;
  [[nodiscard]] constexpr std::uint64_t total() const noexcept {
    return std::uint64_t{insufficient_lead_time} + invalid_impedance + capability_mismatch +
           not_routable;
  }
};

enum class GatherEnd : std::uint8_t { kOpen = 0, kComplete, kWindow, kTimeout, kCancelled };
enum class GatherVerdict : std::uint8_t { kSuccess = 0, kPartial, kNoSchedulableAgents };
enum class GatherAdvice : std::uint8_t { kNone = 0, kLargerWindow, kMoreLeadTime };

[[nodiscard]] std::string_view name_of(GatherEnd end) noexcept;
[[nodiscard]] std::string_view name_of(GatherVerdict verdict) noexcept;
[[nodiscard]] std::string_view name_of(GatherAdvice advice) noexcept;

// Until the operation ends, these are of now.
// ready + conflict + straggler == sent; sent + skipped == targeted; declined <= straggler.
struct GatherCounts {
  std::uint32_t sent = 0;
  std::uint32_t ready = 0;
  std::uint32_t conflict = 0;
  std::uint32_t declined = 0;  // will never answer, and said so: part of the stragglers
  std::uint32_t late = 0;      // stragglers whose answer came after the end
  SkipCounts skipped;
  // Records that changed nothing. A burst read again after a restart is counted here again.
  std::uint64_t duplicate = 0;      // the row had answered, the same or in its own later words
  std::uint64_t contradiction = 0;  // READY after CONFLICT or the reverse: the first stands
  std::uint64_t not_scheduled = 0;  // from a row that was sent nothing
  std::uint64_t invalid = 0;        // a row or state that does not exist

  [[nodiscard]] constexpr std::uint32_t straggler() const noexcept {
    return sent - ready - conflict;
  }
  [[nodiscard]] constexpr std::uint64_t targeted() const noexcept { return sent + skipped.total(); }
};

struct GatherMinima {
  Share ready_min = kReadyMin;
  Share coverage_min = kCoverageMin;
};

struct GatherJudgement {
  GatherVerdict verdict = GatherVerdict::kNoSchedulableAgents;
  GatherAdvice advice = GatherAdvice::kNone;
  friend constexpr bool operator==(const GatherJudgement&, const GatherJudgement&) = default;
};
[[nodiscard]] GatherJudgement judge(const GatherCounts& counts,
                                    const GatherMinima& minima) noexcept;

struct GatherResult {
  GatherJudgement judgement;
  GatherEnd end = GatherEnd::kOpen;
  GatherMinima minima;
  GatherCounts counts;
  ErrorSummary errors;  // of every arrival: READY and CONFLICT
  std::int64_t took_ns = 0;

  [[nodiscard]] double ready_rate() const noexcept { return rate(counts.ready, counts.sent); }
  [[nodiscard]] double coverage() const noexcept { return rate(counts.ready, counts.targeted()); }
};

// Cold: for replies and logs.
[[nodiscard]] Status status_of(const GatherResult& result);
[[nodiscard]] std::string sentence_of(const GatherResult& result);

}  // namespace mesh::sched
