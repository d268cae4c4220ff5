#include "engine/loop/context_holds.hpp"

#include <algorithm>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

bool is_held(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  return (own(loop.agents.routing, row) & kAwaitsContext) != 0;
}

std::vector<ContextHolds::Held>& held_in(EngineLoop::State& loop) noexcept {
  return loop.gate.contexts.all;
}

// It may lead again, and takes what waited.
void let_go(EngineLoop::State& loop, std::uint32_t row) {
  end_context_hold(loop, row);
  loop.topology->fill(loop.topology->refresh(agent_index(row)));
  StationLink* const link = loop.link_of_row(row);
  if (link != nullptr) loop.bring(*link, std::span(&row, 1));
}

}  // namespace

void hold_for_context(EngineLoop::State& loop, std::uint32_t row) {
  const std::int64_t wait_ns = loop.options.context_wait.count();
  if (wait_ns <= 0 || own(loop.agents.context_hash, row) == 0) return;
  take_hold(loop, row, kAwaitsContext);
  ++loop.counters.contexts_awaited;
  // It may have been promoted a moment ago.
  loop.topology->fill(loop.topology->refresh(agent_index(row)));
  held_in(loop).push_back(
      {.id = loop.registry->id_of(agent_index(row)), .until_ns = loop.now_ns + wait_ns});
}

void end_context_hold(EngineLoop::State& loop, std::uint32_t row) noexcept {
  if (!is_held(loop, row)) return;
  release_hold(loop, row, kAwaitsContext);
  std::erase_if(held_in(loop), [row](const ContextHolds::Held& one) {
    return static_cast<std::uint32_t>(index_of(one.id)) == row;
  });
}

void adopt_context_holds(EngineLoop::State& loop) {
  std::vector<ContextHolds::Held> all;
  for (std::uint32_t row = 0; row < loop.row_count; ++row) {
    if (!is_held(loop, row)) continue;
    const AgentId id = loop.registry->id_of(agent_index(row));
    const auto known = std::find_if(held_in(loop).begin(), held_in(loop).end(),
                                    [id](const ContextHolds::Held& one) { return one.id == id; });
    all.push_back(known == held_in(loop).end() ? ContextHolds::Held{.id = id} : *known);
  }
  held_in(loop) = std::move(all);
}

bool awaits_context(const EngineLoop& loop, AgentId agent) noexcept {
  const AgentIndex index = loop.state().registry->resolve(agent);
  return index != kNoAgent && is_held(loop.state(), static_cast<std::uint32_t>(index));
}

Result<bool> release_for_context(EngineLoop& loop, AgentId agent, HostTime now) {
  EngineLoop::State& state = loop.state();
  MESH_TRY(const AgentIndex index, state.registry->find(agent));
  const auto row = static_cast<std::uint32_t>(index);
  if (!is_held(state, row)) return false;
  state.advance_to(now);
  let_go(state, row);
  return true;
}

bool has_overdue_contexts(const EngineLoop& loop, HostTime now) noexcept {
  const auto& all = loop.state().gate.contexts.all;
  return std::any_of(all.begin(), all.end(), [now](const ContextHolds::Held& one) {
    return one.until_ns == 0 || one.until_ns <= to_ns(now);
  });
}

void release_overdue_contexts(EngineLoop& loop, HostTime now) {
  EngineLoop::State& state = loop.state();
  state.advance_to(now);
  std::vector<std::uint32_t> overdue;
  for (ContextHolds::Held& one : held_in(state)) {
    if (one.until_ns == 0) one.until_ns = state.now_ns + state.options.context_wait.count();
    if (one.until_ns <= state.now_ns)
      overdue.push_back(static_cast<std::uint32_t>(index_of(one.id)));
  }
  for (const std::uint32_t row : overdue) let_go(state, row);
  state.counters.contexts_overdue += overdue.size();
}

}  // namespace mesh::engine
