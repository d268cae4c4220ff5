// What a mesh was and did, from its store: the results of its operations, and how many agents there
// were of it, so many minutes to a row.
//
// Callers     any thread, cold; blocking, as the store is. Never from the scheduler's thread.
// Units       minutes of the wall clock.
// Errors      bad_input: a number out of its range, or a sector and a cluster, which it names; and
//             as engine/store/store.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/memory_map.hpp"
#include "engine/reports/report_json.hpp"
#include "engine/result_note.hpp"
#include "engine/store/store.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

inline constexpr std::uint64_t kHistoryMinutesMax = 5'256'000;  // ten years
inline constexpr std::uint64_t kHistorySectorMax = 100'000;
inline constexpr std::uint64_t kHistoryClusterMax = 1'000'000;

struct HistoryWanted {
  std::uint64_t since_min = 1'440;  // the last so many minutes
  // Of operations.
  std::uint64_t limit = 50;
  std::optional<ResultKind> kind{};
  std::optional<ResultVerdict> verdict{};
  // Of agents: minutes to a row, and of what; none: of the mesh.
  std::uint64_t step_min = 60;
  std::optional<std::uint64_t> sector{};
  std::optional<std::uint64_t> cluster{};
};
[[nodiscard]] Status validate(const HistoryWanted& wanted);

[[nodiscard]] std::string_view name_of(ResultVerdict verdict) noexcept;
[[nodiscard]] std::optional<ResultKind> result_kind_of(std::string_view name) noexcept;
[[nodiscard]] std::optional<ResultVerdict> result_verdict_of(std::string_view name) noexcept;

[[nodiscard]] Result<std::vector<OperationResult>> past_operations(Store& store,
                                                                   const HistoryWanted& wanted,
                                                                   std::int64_t now_unix_ns);
// `shape`: how many clusters a sector has.
[[nodiscard]] Result<std::vector<TrendRow>> past_agents(Store& store, const HistoryWanted& wanted,
                                                        const MeshSize& shape,
                                                        std::int64_t now_unix_ns);
// {operations: [...]}, {agents: [...]}.
[[nodiscard]] Json past_operations_json(const std::vector<OperationResult>& operations);
[[nodiscard]] Json past_agents_json(const std::vector<TrendRow>& rows);

// Of the mesh in a directory; where there is none any more, that of one that says nothing else.
[[nodiscard]] MeshSize shape_of(const std::string& directory);

}  // namespace mesh::engine::reports
