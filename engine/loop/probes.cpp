#include "engine/loop/probes.hpp"

#include <algorithm>
#include <optional>
#include <span>
#include <tuple>

#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"
#include "engine/loop/trials.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kOfRetry = 12;  // of probe_retry a twelfth: 5 s of a minute

bool may_be_asked(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const OperatorHolds& holds = loop.gate.holds;
  return loop.is_active(row) && !holds.is_around(row) && !holds.is_frozen(row) &&
         loop.state_of(row) != AgentState::quarantined;
}

// Who has left the last messages unanswered is asked only where everybody has.
std::optional<std::uint32_t> soonest_of(const EngineLoop::State& loop,
                                        std::uint32_t cluster) noexcept {
  const auto rank = [&](std::uint32_t row) {
    return std::tuple(loop.gate.watch->is_silent(row), own(loop.agents.score, row));
  };
  std::optional<std::uint32_t> best;
  for (const std::uint32_t row : loop.topology->agents_of(cluster))
    if (may_be_asked(loop, row) && (!best || rank(row) < rank(*best))) best = row;
  return best;
}

// Below probe_retry, after which the breaker takes the probe for lost.
Nanos patience_for(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const std::int64_t retry_ns = loop.options.watch.breakers.probe_retry.count();
  const std::int64_t wanted_ns = std::max(retry_ns / kOfRetry, 2 * loop.lead_ns(row, 1));
  return Nanos{std::clamp<std::int64_t>(wanted_ns, 1, retry_ns - retry_ns / kOfRetry)};  // from 1
}

void send_probe(EngineLoop::State& loop, std::uint32_t row) noexcept {
  sched::MessageHeader header = loop.own_header(AgentId{}, {});
  header.strategy = sched::Strategy::broadcast;
  header.verb = sched::Verb::sync;
  header.priority = sched::Priority::critical;  // a full inbox is not what it asks about
  const AgentId target = loop.registry->id_of(agent_index(row));
  // Where there is no room for it, the next turn has some.
  static_cast<void>(loop.open_operation({.targets = sched::selector(sched::SelectorKind::list),
                                         .list = std::span(&target, 1),
                                         .timeout = patience_for(loop, row),
                                         .verb = header.verb,
                                         .priority = header.priority,
                                         .at_once = true,
                                         .part_of = kProbePart},
                                        header, {}));
}

}  // namespace

void send_probes(EngineLoop::State& loop) noexcept {
  for (const std::uint32_t cluster : loop.gate.watch->probes_due()) {
    if (loop.gate.trials.size() >= kProbesMax) end_stale_trials(loop);
    if (loop.gate.trials.size() >= kProbesMax) return;
    // An earlier one of this turn may have been it, for their sector.
    if (!loop.gate.watch->breakers().is_probe_due(cluster, from_ns(loop.now_ns))) continue;
    if (const auto row = soonest_of(loop, cluster)) send_probe(loop, *row);
  }
}

}  // namespace mesh::engine
