#include "sched/gather_result.hpp"

namespace mesh::sched {
namespace {

std::string of_skipped(const SkipCounts& skipped) {
  return std::to_string(skipped.insufficient_lead_time) + " insufficient_lead_time, " +
         std::to_string(skipped.invalid_impedance) + " invalid_impedance, " +
         std::to_string(skipped.capability_mismatch) + " capability_mismatch, " +
         std::to_string(skipped.not_routable) + " not_routable";
}

}  // namespace

std::string_view name_of(GatherEnd end) noexcept {
  switch (end) {
    case GatherEnd::kOpen:
      return "open";
    case GatherEnd::kComplete:
      return "complete";
    case GatherEnd::kWindow:
      return "window";
    case GatherEnd::kTimeout:
      return "timeout";
    case GatherEnd::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view name_of(GatherVerdict verdict) noexcept {
  switch (verdict) {
    case GatherVerdict::kSuccess:
      return "success";
    case GatherVerdict::kPartial:
      return "partial";
    case GatherVerdict::kNoSchedulableAgents:
      return "no_schedulable_agents";
  }
  return "unknown";
}

std::string_view name_of(GatherAdvice advice) noexcept {
  switch (advice) {
    case GatherAdvice::kNone:
      return "none";
    case GatherAdvice::kLargerWindow:
      return "retry_with_larger_window";
    case GatherAdvice::kMoreLeadTime:
      return "give_more_lead_time";
  }
  return "unknown";
}

GatherJudgement judge(const GatherCounts& counts, const GatherMinima& minima) noexcept {
  if (counts.sent == 0) return {GatherVerdict::kNoSchedulableAgents, GatherAdvice::kNone};
  const std::uint64_t targeted = counts.targeted();
  const bool enough_ready = is_at_least(counts.ready, counts.sent, minima.ready_min);
  const bool enough_covered = is_at_least(counts.ready, targeted, minima.coverage_min);
  if (enough_ready && enough_covered) return {GatherVerdict::kSuccess, GatherAdvice::kNone};
  const bool window_can_cure =
      enough_covered || (!enough_ready && is_at_least(counts.sent, targeted, minima.coverage_min));
  return {GatherVerdict::kPartial,
          window_can_cure ? GatherAdvice::kLargerWindow : GatherAdvice::kMoreLeadTime};
}

Status status_of(const GatherResult& result) {
  if (result.judgement.verdict != GatherVerdict::kNoSchedulableAgents) return {};
  return fail(Errc::no_schedulable_agents,
              "gather: of " + std::to_string(result.counts.targeted()) +
                  " targets none was sent anything; skipped: " + of_skipped(result.counts.skipped),
              static_cast<std::int64_t>(result.counts.targeted()));
}

std::string sentence_of(const GatherResult& result) {
  const GatherCounts& counts = result.counts;
  if (const Status status = status_of(result); !status) return status.error().sentence;
  std::string text = "gather: ";
  text += name_of(result.judgement.verdict);
  text += ", " + std::to_string(counts.ready) + " ready of " + std::to_string(counts.sent) +
          " sent and " + std::to_string(counts.targeted()) + " targeted; " +
          std::to_string(counts.conflict) + " conflict, " + std::to_string(counts.straggler()) +
          " straggler; skipped: " + of_skipped(counts.skipped);
  if (result.judgement.advice != GatherAdvice::kNone) {
    text += "; ";
    text += name_of(result.judgement.advice);
  }
  return text;
}

}  // namespace mesh::sched
