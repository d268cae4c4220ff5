// What is recorded of conflicts, from a store: each with what has come of it, the newest first; and
// whether the chain of records is whole.
//
// Callers     any thread, cold; blocking, as the store is. Never from the scheduler's thread.
// Errors      as engine/store/store.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/reports/report_json.hpp"
#include "engine/store/store.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

// By sched/conflict_names.hpp; none: it is not one of a conflict's.
[[nodiscard]] std::optional<sched::ConflictType> conflict_type_of(std::string_view name) noexcept;
[[nodiscard]] std::optional<ConflictState> conflict_state_of(std::string_view name) noexcept;

struct ConflictSeen {
  Record record;                              // as it was found
  ConflictState state = ConflictState::none;  // that it has come to
  std::uint32_t steps = 0;
  std::string outcome{};  // of the last step; empty: none was taken
};
// `query`.kind is a conflict's, whatever it says.
[[nodiscard]] Result<std::vector<ConflictSeen>> find_conflicts(Store& store, RecordQuery query);
// {conflicts: [...]}.
[[nodiscard]] Json conflicts_json(const std::vector<ConflictSeen>& conflicts);

// "POSITION:HASH", as verify prints a head. bad_input: it is none.
[[nodiscard]] Result<ChainHead> chain_head_of(const std::string& text);
// {whole, checked, head, broken_position, sentence}.
[[nodiscard]] Json verification_json(const Verification& verification);

}  // namespace mesh::engine::reports
