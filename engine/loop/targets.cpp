// Phase 2, plan: who is meant by a request, and of those who may be sent anything.
#include <algorithm>
#include <bit>

#include "engine/loop/own_operations.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

// Whether its sender leaves it to the engine who gets it: pipelines, probes and lists name them.
bool may_route_around(const OperationRequest& request) noexcept {
  if (sched::kind_of(request.targets) != sched::SelectorKind::list) return !request.to_newcomers;
  return request.part_of != 0 && part_of(request.part_of).cascade < kFirstPipelinePart;
}

}  // namespace

EngineLoop::State::Meant EngineLoop::State::mark_eligible(
    const OperationRequest& request) noexcept {
  Meant meant;
  meant.newcomers =
      request.to_newcomers ? ToNewcomers::theirs
      : sched::kind_of(request.targets) == sched::SelectorKind::list && request.part_of == 0
          ? ToNewcomers::named
          : ToNewcomers::not_meant;
  std::uint64_t* const words = eligible.front().words;
  bound_eligible(request);
  std::fill(words + eligible_first, words + eligible_end, 0);
  const std::uint32_t value = sched::value_of(request.targets);
  switch (sched::kind_of(request.targets)) {
    case sched::SelectorKind::all:
      mark_all(meant);
      break;
    case sched::SelectorKind::agent_class:
      mark_where(agents.agent_class, value, meant);
      break;
    case sched::SelectorKind::sector:
      mark_where(agents.sector, value, meant);
      break;
    case sched::SelectorKind::cluster:
      mark_where(agents.cluster, value, meant);
      break;
    case sched::SelectorKind::list:
      for (const AgentId id : request.list) mark(registry->resolve(id), meant);
      break;
  }
  if (!(request.capabilities == CapabilitySet{})) drop_incapable(request.capabilities, meant);
  meant.skipped.not_routable += drop_held(*this, meant.newcomers);
  if (may_route_around(request)) meant.skipped.not_routable += drop_spiking(*this);
  meant.skipped.not_routable += drop_unroutable(*this, request.part_of == kProbePart);
  for (std::size_t word = eligible_first; word < eligible_end; ++word)
    meant.eligible += static_cast<std::uint32_t>(std::popcount(words[word]));
  return meant;
}

// Of a list that makes no wide operation, the words in which its rows stand: a cluster's thirty do
// not cost a pass over everybody.
void EngineLoop::State::bound_eligible(const OperationRequest& request) noexcept {
  eligible_first = 0;
  eligible_end = eligible.size() * 8;
  if (sched::kind_of(request.targets) != sched::SelectorKind::list) return;
  if (request.list.size() > kWideTargets) return;
  std::size_t first = eligible_end;
  std::size_t end = 0;
  for (const AgentId id : request.list) {
    const auto row = static_cast<std::size_t>(index_of(id));
    if (row >= row_count) continue;
    first = std::min(first, row / 64);
    end = std::max(end, row / 64 + 1);
  }
  eligible_first = std::min(first, end);
  eligible_end = end;
}

// Nobody, and who is away or quarantined, is counted and not sent to.
void EngineLoop::State::mark(AgentIndex index, Meant& meant) noexcept {
  const auto row = static_cast<std::uint32_t>(index);
  if (index == kNoAgent || !is_active(row)) {
    const bool is_meant = index == kNoAgent || meant.newcomers != ToNewcomers::not_meant ||
                          !gate.holds.is_newcomer(row);
    meant.skipped.not_routable += is_meant ? 1U : 0U;
    return;
  }
  eligible.front().words[row / 64] |= std::uint64_t{1} << (row % 64);
}

void EngineLoop::State::mark_all(Meant& meant) noexcept {
  std::copy(active.begin(), active.end(), eligible.front().words);
  std::uint32_t others = 0;  // who is here, and newcomers that are not
  for (std::size_t word = 0; word < active.size(); ++word)
    others += static_cast<std::uint32_t>(std::popcount(active[word] | gate.holds.newcomers[word]));
  meant.skipped.not_routable = static_cast<std::uint32_t>(registry->taken()) - others;
}

template <class T>
void EngineLoop::State::mark_where(const shm::Column<HostMemory, T>& column, std::uint32_t value,
                                   Meant& meant) noexcept {
  for (std::uint32_t row = 0; row < row_count; ++row)
    if (own(column, row) == value && registry->id_of(agent_index(row)) != AgentId{0})
      mark(agent_index(row), meant);
}

void EngineLoop::State::drop_incapable(const CapabilitySet& required, Meant& meant) noexcept {
  std::uint64_t* const words = eligible.front().words;
  for (std::size_t word = eligible_first; word < eligible_end; ++word) {
    for (std::uint64_t bits = words[word]; bits != 0; bits &= bits - 1) {
      const auto bit = static_cast<std::uint32_t>(std::countr_zero(bits));
      const auto row = static_cast<std::uint32_t>(word * 64) + bit;
      if (capabilities_of(row).contains_all(required)) continue;
      words[word] &= ~(std::uint64_t{1} << bit);
      ++meant.skipped.capability_mismatch;
    }
  }
  counters.capability_mismatch += meant.skipped.capability_mismatch;
}

}  // namespace mesh::engine
