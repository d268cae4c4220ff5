#include "engine/loop/operator_holds.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>

#include "engine/loop/context_holds.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using Bits = std::vector<std::uint64_t>;

constexpr std::uint8_t kNothingNew = kRoutedAround | kQuarantined | kNewcomer;

void set_bit(Bits& bits, std::uint32_t row, bool on, std::uint32_t& count) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << (row % 64);
  if (((bits[row / 64] & bit) != 0) == on) return;
  bits[row / 64] ^= bit;
  count += on ? 1U : ~std::uint32_t{0};
}

bool has(const EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold) noexcept {
  return (own(loop.agents.routing, row) & hold) != 0;
}

void follow_column(OperatorHolds& holds, std::uint32_t row, std::uint8_t routing) noexcept {
  set_bit(holds.around, row, (routing & kNothingNew) != 0, holds.around_count);
  set_bit(holds.frozen, row, (routing & (kFrozen | kAwaitsContext)) != 0, holds.frozen_count);
  set_bit(holds.awaiting, row, (routing & (kFrozen | kAwaitsContext)) == kAwaitsContext,
          holds.awaiting_count);
  set_bit(holds.quarantined, row, (routing & kQuarantined) != 0, holds.quarantined_count);
  set_bit(holds.routed_around, row, (routing & kRoutedAround) != 0, holds.routed_around_count);
  set_bit(holds.newcomers, row, (routing & kNewcomer) != 0, holds.newcomer_count);
  set_bit(holds.spiking, row, (routing & kSpiking) != 0, holds.spiking_count);
}

// The column is stored first: whoever dies here has held the agent for his successor.
void set(EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold, bool on) noexcept {
  const std::uint8_t before = own(loop.agents.routing, row);
  const auto after = static_cast<std::uint8_t>(on ? before | hold : before & ~hold);
  put(loop.agents.routing, row, after);
  follow_column(loop.gate.holds, row, after);
}

// Who is held leads no longer. Once all of them are known to be held: nobody of them is promoted.
void replace_leaders(EngineLoop::State& loop, const std::vector<std::uint32_t>& changed) noexcept {
  for (const std::uint32_t row : changed)
    static_cast<void>(loop.topology->refresh(agent_index(row)));
  for (const std::uint32_t row : changed)
    loop.topology->fill(loop.topology->refresh(agent_index(row)));
}

void adopt(const EngineLoop::State& loop, OperatorHolds& holds) {
  for (Bits* const bits : {&holds.around, &holds.frozen, &holds.awaiting, &holds.quarantined,
                           &holds.routed_around, &holds.newcomers, &holds.spiking})
    bits->assign(loop.active.size(), 0);
  holds.around_count = holds.frozen_count = holds.awaiting_count = 0;
  holds.quarantined_count = holds.routed_around_count = holds.newcomer_count = 0;
  holds.spiking_count = 0;
  for (std::uint32_t row = 0; row < loop.row_count; ++row)
    follow_column(holds, row, own(loop.agents.routing, row));
}

bool is_in(const EngineLoop::State& loop, std::uint32_t row, sched::Selector scope) noexcept {
  if (loop.registry->id_of(agent_index(row)) == AgentId{0}) return false;
  const std::uint32_t value = sched::value_of(scope);
  switch (sched::kind_of(scope)) {
    case sched::SelectorKind::sector:
      return own(loop.agents.sector, row) == value;
    case sched::SelectorKind::cluster:
      return own(loop.agents.cluster, row) == value;
    case sched::SelectorKind::agent_class:
      return own(loop.agents.agent_class, row) == value;
    default:
      return true;
  }
}

}  // namespace

void adopt_holds(EngineLoop::State& loop) {
  adopt(loop, loop.gate.holds);
  loop.gate.holds.wrong_hash.assign(loop.row_count, 0);
  loop.gate.holds.context_since_ns.assign(loop.row_count, 0);
  adopt_newcomers(loop);
  adopt_context_holds(loop);
}

void take_hold(EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold) noexcept {
  set(loop, row, hold, true);
}

void release_hold(EngineLoop::State& loop, std::uint32_t row, std::uint8_t hold) noexcept {
  set(loop, row, hold, false);
  static_cast<void>(loop.topology->refresh(agent_index(row)));
}

std::uint32_t drop_held(EngineLoop::State& loop, ToNewcomers to) noexcept {
  const OperatorHolds& holds = loop.gate.holds;
  if (holds.around_count == 0 && holds.frozen_count == 0) return 0;
  std::uint32_t dropped = 0;
  std::uint64_t* const words = loop.eligible.front().words;
  const std::size_t end = std::min(loop.eligible_end, holds.around.size());
  for (std::size_t word = loop.eligible_first; word < end; ++word) {
    const std::uint64_t around = to == ToNewcomers::theirs
                                     ? holds.routed_around[word] | holds.quarantined[word]
                                     : holds.around[word];
    const std::uint64_t held = around | holds.frozen[word];
    const std::uint64_t not_meant = to == ToNewcomers::not_meant ? holds.newcomers[word] : 0;
    dropped += static_cast<std::uint32_t>(std::popcount(words[word] & held & ~not_meant));
    words[word] &= ~held;
  }
  return dropped;
}

std::uint32_t drop_spiking(EngineLoop::State& loop) noexcept {
  const OperatorHolds& holds = loop.gate.holds;
  if (holds.spiking_count == 0) return 0;
  std::uint32_t dropped = 0;
  std::uint64_t* const words = loop.eligible.front().words;
  const std::size_t end = std::min(loop.eligible_end, holds.spiking.size());
  for (std::size_t word = loop.eligible_first; word < end; ++word) {
    dropped += static_cast<std::uint32_t>(std::popcount(words[word] & holds.spiking[word]));
    words[word] &= ~holds.spiking[word];
  }
  return dropped;
}

namespace {

// By the names of capabilities that have a bit: nobody can have another.
template <class IsDenied>
CapabilitySet denied_of(const EngineLoop::State& loop, IsDenied&& is_denied) {
  CapabilitySet denied;
  std::string_view before;
  for (const console::RoutingRule& rule : loop.gate.holds.rules.list()) {
    if (rule.capability == before) continue;
    before = rule.capability;
    const auto bit = loop.capabilities->find(rule.capability);
    if (bit && is_denied(rule.capability)) denied.insert(*bit);
  }
  return denied;
}

bool has_rule(const console::RoutingRules& rules, std::string_view agent) {
  return std::any_of(rules.list().begin(), rules.list().end(),
                     [&](const console::RoutingRule& rule) { return rule.agent == agent; });
}

}  // namespace

void obey_rules(EngineLoop::State& loop, std::uint32_t row) {
  OperatorHolds& holds = loop.gate.holds;
  if (holds.denied.empty()) return;
  const auto agent_class = static_cast<sched::AgentClass>(own(loop.agents.agent_class, row));
  const NameBytes name = loop.registry->name_of(agent_index(row));
  if (!sched::is_known(agent_class) || name.length() == 0) {
    holds.denied[row] = {};
  } else if (!has_rule(holds.rules, name.view())) {
    holds.denied[row] = holds.denied_by_class[static_cast<std::size_t>(agent_class)];
  } else {
    holds.denied[row] = denied_of(loop, [&](std::string_view capability) {
      return !holds.rules.allows(capability, agent_class, name.view());
    });
  }
}

// Those that no rule names have what their class has: 30,000 rows cost a copy each.
void obey_rules(EngineLoop::State& loop) {
  OperatorHolds& holds = loop.gate.holds;
  holds.denied.assign(holds.rules.list().empty() ? 0 : loop.row_count, {});
  if (holds.denied.empty()) return;
  for (std::size_t i = 0; i < holds.denied_by_class.size(); ++i) {
    holds.denied_by_class[i] = denied_of(loop, [&](std::string_view capability) {
      return !holds.rules.allows(capability, static_cast<sched::AgentClass>(i), {});
    });
  }
  for (std::uint32_t row = 0; row < loop.row_count; ++row) {
    const auto agent_class = own(loop.agents.agent_class, row);
    if (agent_class < holds.denied_by_class.size())
      holds.denied[row] = holds.denied_by_class[agent_class];
  }
  for (const console::RoutingRule& rule : holds.rules.list()) {
    if (rule.agent.empty()) continue;
    const auto found = loop.registry->find(rule.agent);
    if (found) obey_rules(loop, static_cast<std::uint32_t>(index_of(*found)));
  }
}

void EngineLoop::obey(const console::RoutingRules& rules) {
  state_->gate.holds.rules = rules;
  obey_rules(*state_);
}

StationLink* route_of(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  return loop.gate.holds.is_frozen(row) ? nullptr : loop.link_of_row(row);
}

Status verify_holds(const EngineLoop::State& loop) {
  OperatorHolds counted;
  adopt(loop, counted);
  const OperatorHolds& holds = loop.gate.holds;
  const auto counts = [](const OperatorHolds& of) {
    return std::array{of.around_count,      of.frozen_count,        of.awaiting_count,
                      of.quarantined_count, of.routed_around_count, of.spiking_count};
  };
  if (counted.around == holds.around && counted.frozen == holds.frozen &&
      counted.quarantined == holds.quarantined && counted.routed_around == holds.routed_around &&
      counted.spiking == holds.spiking && counts(counted) == counts(holds))
    return {};
  return fail(Errc::corrupt, "holds: the table holds back " + std::to_string(counted.around_count) +
                                 " agents, " + std::to_string(counted.frozen_count) +
                                 " frozen and " + std::to_string(counted.quarantined_count) +
                                 " in quarantine, others here");
}

Result<bool> EngineLoop::route_around(AgentId agent, bool around) {
  State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  if (has(state, row, kRoutedAround) == around) return false;
  set(state, row, kRoutedAround, around);
  replace_leaders(state, {row});
  return true;
}

Result<bool> EngineLoop::quarantine(AgentId agent, bool on) {
  State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  if (has(state, row, kQuarantined) == on) return false;
  set(state, row, kQuarantined, on);
  replace_leaders(state, {row});
  state.gate.holds.wrong_hash[row] = 0;
  return true;
}

Status EngineLoop::expect_context(AgentId agent, std::uint64_t hash) {
  State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  if (own(state.agents.context_hash, row) != hash)
    state.gate.holds.context_since_ns[row] = state.clock();
  put(state.agents.context_hash, row, hash);
  state.gate.holds.wrong_hash[row] = 0;
  return {};
}

Result<bool> EngineLoop::withdraw(AgentId agent, const CapabilitySet& capabilities) {
  State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  bool is_changed = false;
  for (std::size_t i = 0; i < CapabilitySet::kWords; ++i) {
    const std::size_t at = std::size_t{row} * CapabilitySet::kWords + i;
    const std::uint64_t before = own(state.agents.capabilities, at);
    const std::uint64_t after = before & ~capabilities.words()[i];
    is_changed = is_changed || after != before;
    put(state.agents.capabilities, at, after);
  }
  return is_changed;
}

Result<EngineLoop::KnownAgent> EngineLoop::known(AgentId agent) const {
  const State& state = *state_;
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  const StationLink* const link = state.link_of_row(row);
  const bool has_words = link != nullptr && state.self_place[row] < link->self.sequence.rows();
  return KnownAgent{
      .name = std::string(state.registry->name_of(index).view()),
      .uid = own(state.owners.uid, row),
      .station = state.registry->station_of(index),
      .context_hash = own(state.agents.context_hash, row),
      .said_hash = has_words ? peer(link->self.context_hash, state.self_place[row]) : 0,
      .is_quarantined = state.gate.holds.is_quarantined(row)};
}

namespace {

// Messages to frozen agents that wait for room in their station's inbox wait for the thaw instead;
// the rest of each list keeps its order.
void hold_pending(EngineLoop::State& loop) {
  std::vector<PendingNode> nodes;
  for (StationLink* const link : loop.live) {
    for (std::uint32_t priority = 0; priority < kPriorities; ++priority) {
      nodes.clear();
      while (const PendingNode* const node = loop.pending->front(*link, priority)) {
        nodes.push_back(*node);
        loop.pending->take(*link, priority, nodes.back().count);
      }
      for (const PendingNode& node : nodes) {
        const bool is_message = node.kind == PendingNode::Kind::entry && !loop.is_over[node.first];
        const auto row = static_cast<std::uint32_t>(
            is_message ? index_of(loop.entries.get(node.first).target) : AgentIndex{0});
        if (is_message && loop.gate.holds.is_frozen(row)) {
          ++loop.held[row];
          ++loop.held_count;
        } else {
          const bool is_kept = loop.pending->push(*link, priority, node);
          MESH_ASSERT(is_kept);  // it had a node a moment ago
        }
      }
    }
  }
}

}  // namespace

// What waits for those that are thawed goes on its way in its turn.
Result<EngineLoop::Frozen> EngineLoop::freeze(sched::Selector scope, bool frozen, HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  if (sched::kind_of(scope) == sched::SelectorKind::list)
    return fail(Errc::invalid_argument, "freeze: the mesh, a sector, a cluster or a class");
  Frozen result;
  std::vector<std::uint32_t> changed;
  std::vector<std::uint32_t> to_bring;
  for (std::uint32_t row = 0; row < state.row_count; ++row) {
    if (!is_in(state, row, scope)) continue;
    result.agents.push_back(state.registry->id_of(agent_index(row)));
    result.messages += state.held[row];
    if (has(state, row, kFrozen) == frozen) continue;
    set(state, row, kFrozen, frozen);
    changed.push_back(row);
    const bool goes_on = !state.gate.holds.is_frozen(row);
    if (goes_on && state.link_of_row(row) != nullptr) to_bring.push_back(row);
  }
  result.changed = changed.size();
  replace_leaders(state, changed);
  if (result.agents.empty()) return fail(Errc::no_such_agent, "freeze: no agent is there");
  if (frozen && result.changed != 0) hold_pending(state);
  if (!to_bring.empty() && state.held_count != 0) state.bring_messages(to_bring);
  return result;
}

}  // namespace mesh::engine
