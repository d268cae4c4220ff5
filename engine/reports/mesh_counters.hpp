// MeshCounters: every counter of a mesh, as its table has them. No engine is asked, so it works
// beside one that hangs and on what a dead one left; how old they are is said with them.
//
// Callers     one thread, cold.
// Ordering    counters of one thread of the engine are of one moment; the threads' are not.
// Units       as engine/counter_list.hpp says; ages by the mesh's clock.
// Errors      as CounterView: not_ready where no engine has published yet.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/counter_page.hpp"
#include "engine/reports/report_json.hpp"
#include "engine/reports/seen_mesh.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

struct CounterSeen {
  CounterDescription says;
  std::uint64_t value = 0;
  std::uint64_t hour_ago = 0;
  HostTime at{};  // when its thread wrote it
};

struct MeshCounters {
  std::vector<CounterSeen> rows;
  HostTime now{};  // when they were read
  HostTime at{};   // when the scheduler thread wrote its own
  HostTime control_at{};
  HostTime hour_from{};  // what `hour_ago` is of
  bool is_whole = true;  // false: a writer died while it wrote

  // None: there is no such counter.
  [[nodiscard]] std::optional<std::uint64_t> value(std::string_view label) const noexcept;
  [[nodiscard]] std::int64_t age_ms() const noexcept;
};

Result<MeshCounters> read_counters(const ObservedMesh::Memory& table);

// "mode*" as a shell would; a word without * or ? also finds what it is part of. Empty: all.
[[nodiscard]] bool matches(std::string_view label, const std::string& pattern);

// How fast each changed between two looks, from when its thread wrote it, not from when we looked.
struct CounterRate {
  CounterDescription says;
  std::uint64_t value = 0;
  // None: nothing was written between the two, or an engine began to count anew.
  std::optional<double> per_second;
};
[[nodiscard]] std::vector<CounterRate> rates_between(const MeshCounters& before,
                                                     const MeshCounters& after);

// Counters whose names match; bad_input where none is called so.
struct CounterReport {
  Whence whence;
  MeshCounters counters;
};
Result<CounterReport> report_counters(const std::string& directory, const std::string& pattern);
// {directory, engine_running, age_ms, control_age_ms, is_whole, counters: [...]}.
[[nodiscard]] Json counters_json(const CounterReport& report);

struct RatesWanted {
  std::string pattern{};
  bool all = false;  // those that did not move, too
};
[[nodiscard]] Status check_pattern(const MeshCounters& counters, const std::string& pattern);
// {interval_ms, age_ms, rates: [...]}: totals that moved, or with `all` every one.
[[nodiscard]] Json rates_json(const MeshCounters& before, const MeshCounters& after,
                              const RatesWanted& wanted);

// Looks again and again, and shows each two that follow one another.
struct Looks {
  std::function<Result<MeshCounters>()> look;
  std::function<bool(Nanos)> wait;  // false: it was stopped
};
struct LookPlan {
  Nanos interval{kNsPerSecond};
  std::uint64_t count = 1;  // 0: until it is stopped
};
// An engine writes its counters once a second: where it has not since, it is waited for a little.
Status follow(const Looks& looks, const LookPlan& plan,
              const std::function<void(const MeshCounters&, const MeshCounters&)>& show);

}  // namespace mesh::engine::reports
