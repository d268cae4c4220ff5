#include "engine/delegate_reputation.hpp"

#include <optional>

namespace mesh::engine {
namespace {

namespace reputation = coordination::reputation;
using console::AttemptEnd;
using coordination::FailureKind;

constexpr std::uint64_t kNoDraws = 1;  // it is asked for reputations, and never to route

coordination::ReputationConfig of_agents_alone() {
  coordination::ReputationConfig config;
  config.agents_max = kReputedMax;
  config.capabilities_max = 1;
  config.rows_max = 1;
  config.origins_max = 0;
  return config;
}

std::optional<FailureKind> failure_of(AttemptEnd end) {
  switch (end) {
    case AttemptEnd::declined:
      return FailureKind::error;
    case AttemptEnd::expired:
    case AttemptEnd::timed_out:
      return FailureKind::timeout;
    case AttemptEnd::done:
    case AttemptEnd::conflict:
    case AttemptEnd::refused:
      break;
  }
  return std::nullopt;
}

}  // namespace

DelegateReputation::DelegateReputation() : router_(of_agents_alone(), kNoDraws) {}

void DelegateReputation::record(AgentId agent, const console::Attempt& attempt, Nanos now) {
  const std::optional<FailureKind> failure = failure_of(attempt.end);
  if (attempt.end != AttemptEnd::done && !failure) return;
  const std::lock_guard lock(mutex_);
  const std::uint32_t place = place_of(agent, now);
  if (failure)
    static_cast<void>(
        router_.apply(reputation::RecordFailure{.agent = place, .kind = *failure}, now));
  else
    static_cast<void>(router_.record({.agent = place, .latency = Nanos{attempt.took_ns}}, now));
}

std::uint32_t DelegateReputation::place_of(AgentId agent, Nanos now) {
  if (const auto found = places_.find(agent); found != places_.end()) return found->second;
  auto place = static_cast<std::uint32_t>(order_.size());
  if (place == kReputedMax) {
    const auto oldest = places_.extract(order_.front());
    order_.pop_front();
    place = oldest.mapped();
    static_cast<void>(router_.apply(reputation::Leave{place}, now));
  }
  static_cast<void>(router_.apply(reputation::Join{place}, now));
  places_.emplace(agent, place);
  order_.push_back(agent);
  return place;
}

std::vector<DelegateReputation::Known> DelegateReputation::known(Nanos now) const {
  const std::lock_guard lock(mutex_);
  std::vector<Known> all;
  all.reserve(places_.size());
  for (const auto& [agent, place] : places_)
    all.push_back({agent, router_.reputation(place, coordination::kAnyCapability, now)});
  return all;
}

}  // namespace mesh::engine
