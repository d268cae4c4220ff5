#include "engine/recovery/replacement_plan.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace mesh::engine {

std::string key_of(const LostProcess& process) {
  return process.agents.empty() ? std::string() : process.agents.front().name;
}

void ReplacementPlan::set(Process& process, ReplacementState state, HostTime since) noexcept {
  out_ -= process.state == ReplacementState::out ? 1U : 0U;
  process.state = state;
  process.since = since;
  out_ += state == ReplacementState::out ? 1U : 0U;
}

Nanos ReplacementPlan::pause_after(std::uint32_t failures) const noexcept {
  Nanos pause = options_.backoff;
  for (std::uint32_t i = 1; i < failures && pause < options_.backoff_max; ++i) pause += pause;
  return std::min(pause, options_.backoff_max);
}

void ReplacementPlan::lost(const LostProcess& process, HostTime now) {
  if (process.agents.empty()) return;
  const auto [found, is_new] = known_.try_emplace(key_of(process));
  Process& known = found->second;
  known.of = process;
  if (is_new) return set(known, ReplacementState::waiting, now);
  switch (known.state) {
    case ReplacementState::out:  // it attached, and is gone before it was whole
      return failed(found->first, "it was lost again", now);
    case ReplacementState::back: {
      const bool is_calm = now - known.since >= options_.calm;
      if (is_calm) {
        known = {.of = process};
        return set(known, ReplacementState::waiting, now);
      }
      return failed(found->first, "it was lost again", now);
    }
    case ReplacementState::waiting:
    case ReplacementState::given_up:
      return;
  }
}

void ReplacementPlan::heal(const LostProcess& process, HostTime now) {
  if (process.agents.empty()) return;
  Process& known = known_[key_of(process)];
  known.failures = 0;
  known.is_escalated = false;
  known.is_to_begin_anew = known.state == ReplacementState::out;
  if (known.is_to_begin_anew) return;
  known.of = process;
  set(known, ReplacementState::waiting, now);
}

void ReplacementPlan::failed(const std::string& key, const std::string& why, HostTime now) {
  const auto found = known_.find(key);
  if (found == known_.end()) return;
  Process& process = found->second;
  // Of what nobody started nothing has failed.
  if (process.state != ReplacementState::out && process.state != ReplacementState::back) return;
  ++process.failed_ever;
  process.last_failure = why;
  if (std::exchange(process.is_to_begin_anew, false))
    return set(process, ReplacementState::waiting, now);
  process.failures = std::min(process.failures + 1, options_.attempts);
  if (!process.is_escalated) {
    process.is_escalated = true;
    escalations_.push_back({ReplacementAction::Kind::escalate, key, why});
  }
  if (process.failures >= options_.attempts) return set(process, ReplacementState::given_up, now);
  set(process, ReplacementState::waiting, now + pause_after(process.failures));
}

void ReplacementPlan::back(const std::string& key, HostTime now) {
  const auto found = known_.find(key);
  if (found == known_.end() || found->second.state == ReplacementState::back) return;
  set(found->second, ReplacementState::back, now);
}

std::vector<ReplacementAction> ReplacementPlan::tick(HostTime now) {
  std::vector<ReplacementAction> actions = std::move(escalations_);
  escalations_.clear();
  for (auto at = known_.begin(); at != known_.end();) {
    Process& process = at->second;
    const bool is_late =
        process.state == ReplacementState::out && now - process.since >= options_.patience;
    if (is_late)
      failed(at->first,
             "its agents were not back within " +
                 std::to_string(options_.patience.count() / kNsPerMs) + " ms",
             now);
    const bool is_due = process.state == ReplacementState::waiting && now >= process.since;
    if (is_due && out_ < kReplacementsOut) {
      set(process, ReplacementState::out, now);
      actions.push_back({ReplacementAction::Kind::spawn, at->first, {}});
    }
    const bool is_over =
        process.state == ReplacementState::back && now - process.since >= options_.calm;
    at = is_over ? known_.erase(at) : std::next(at);
  }
  std::move(escalations_.begin(), escalations_.end(), std::back_inserter(actions));
  escalations_.clear();
  return actions;
}

std::optional<HostTime> ReplacementPlan::next_due() const {
  std::optional<HostTime> next;
  const auto at = [&next](HostTime when) { next = next ? std::min(*next, when) : when; };
  if (!escalations_.empty()) at(HostTime{});
  for (const auto& [key, process] : known_) {
    const bool has_room = out_ < kReplacementsOut;
    if (process.state == ReplacementState::waiting && has_room) at(process.since);
    if (process.state == ReplacementState::out) at(process.since + options_.patience);
    if (process.state == ReplacementState::back) at(process.since + options_.calm);
  }
  return next;
}

const ReplacementPlan::Process* ReplacementPlan::find(const std::string& key) const {
  const auto found = known_.find(key);
  return found == known_.end() ? nullptr : &found->second;
}

}  // namespace mesh::engine
