#include "engine/simulation/history.hpp"

namespace mesh::engine::simulation {

std::optional<QueueModel::State> QueueModel::apply(State state, const HistoryOp& op) {
  const auto known = state.find(op.key);
  switch (op.kind) {
    case HistoryKind::enqueue:
      if (op.returned_ns != kNeverReturned && (known == state.end()) != (op.result != 0))
        return std::nullopt;  // taken once, and again it is a duplicate
      state.try_emplace(op.key, Task::ready);
      return state;
    case HistoryKind::claim: {
      if (op.returned_ns == kNeverReturned) return std::nullopt;  // it holds nothing that is known
      const bool has_ready = std::any_of(
          state.begin(), state.end(), [](const auto& task) { return task.second == Task::ready; });
      if (op.result == 0) return has_ready ? std::nullopt : std::optional(state);
      const auto task = state.find(op.result);
      if (task == state.end() || task->second != Task::ready) return std::nullopt;
      task->second = Task::leased;
      return state;
    }
    case HistoryKind::complete: {
      const bool is_leased = known != state.end() && known->second == Task::leased;
      if (op.returned_ns != kNeverReturned && is_leased != (op.result != 0)) return std::nullopt;
      if (is_leased) known->second = Task::completed;
      return state;
    }
    case HistoryKind::expire:
      if (known == state.end() || known->second != Task::leased) return std::nullopt;
      known->second = Task::ready;
      return state;
    default:
      return std::nullopt;
  }
}

std::optional<LockModel::State> LockModel::apply(State state, const HistoryOp& op) {
  const bool is_free = state.holder_fence == 0;
  switch (op.kind) {
    case HistoryKind::acquire:
      if (op.returned_ns == kNeverReturned) return std::nullopt;  // under no token that is known
      if (op.result == 0) return is_free ? std::nullopt : std::optional(state);
      if (!is_free || op.result <= state.last_fence) return std::nullopt;
      return State{op.result, op.result};
    case HistoryKind::release: {
      const bool is_holders = !is_free && op.argument == state.holder_fence;
      if (op.returned_ns != kNeverReturned && is_holders != (op.result != 0)) return std::nullopt;
      if (is_holders) state.holder_fence = 0;
      return state;
    }
    case HistoryKind::expire:
      if (is_free || op.argument != state.holder_fence) return std::nullopt;
      state.holder_fence = 0;
      return state;
    default:
      return std::nullopt;
  }
}

std::optional<RegisterModel::State> RegisterModel::apply(State state, const HistoryOp& op) {
  if (op.kind == HistoryKind::write) return op.argument;
  if (op.kind != HistoryKind::read) return std::nullopt;
  const bool is_seen = op.returned_ns == kNeverReturned || op.result == state;
  return is_seen ? std::optional(state) : std::nullopt;
}

LedgerVerdict conserve(std::span<const LedgerMove> moves,
                       const std::map<std::uint32_t, std::uint64_t>& balances) {
  LedgerVerdict verdict;
  std::map<std::uint32_t, std::uint64_t> has;
  std::set<std::uint64_t> booked;
  for (const LedgerMove& move : moves) {
    verdict.is_twice = verdict.is_twice || !booked.insert(move.id).second;
    if (move.from != kOutside) {
      verdict.is_overdrawn = verdict.is_overdrawn || has[move.from] < move.amount;
      has[move.from] -= std::min(has[move.from], move.amount);
    }
    if (move.to != kOutside) has[move.to] += move.amount;
    const bool is_wrong = verdict.is_twice || verdict.is_overdrawn;
    if (is_wrong && !verdict.move) verdict.move = move.id;
  }
  const auto drop_zeros = [](std::map<std::uint32_t, std::uint64_t> of) {
    std::erase_if(of, [](const auto& one) { return one.second == 0; });
    return of;
  };
  for (const auto& [account, amount] : has) verdict.missing += static_cast<std::int64_t>(amount);
  for (const auto& [account, amount] : balances)
    verdict.missing -= static_cast<std::int64_t>(amount);
  verdict.holds = !verdict.move && drop_zeros(has) == drop_zeros(balances);
  return verdict;
}

}  // namespace mesh::engine::simulation
