#include "engine/reports/mesh_counters.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fnmatch.h>

#include "sched/clock.hpp"

namespace mesh::engine::reports {
namespace {

Json or_unknown(const std::optional<double>& value) {
  return value ? Json(std::round(*value * 1'000) / 1'000) : Json(nullptr);
}

std::int64_t ms_between(HostTime from, HostTime to) noexcept {
  return std::max<std::int64_t>((to - from).count() / kNsPerMs, 0);
}

void append_page(MeshCounters& counters, const CounterView& view, const CounterReading& reading) {
  counters.is_whole &= reading.is_whole;
  for (std::size_t i = 0; i < view.rows().size(); ++i) {
    counters.rows.push_back({view.rows()[i], reading.values[i], reading.hour_ago[i], reading.at});
  }
}

std::string_view name_of(CounterKind kind) noexcept {
  return kind == CounterKind::total ? "total" : "now";
}

}  // namespace

std::optional<std::uint64_t> MeshCounters::value(std::string_view label) const noexcept {
  for (const CounterSeen& row : rows) {
    if (row.says.label == label) return row.value;
  }
  return std::nullopt;
}

std::int64_t MeshCounters::age_ms() const noexcept { return ms_between(at, now); }

Result<MeshCounters> read_counters(const ObservedMesh::Memory& table) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  MeshCounters counters;
  MESH_TRY(const auto scheduler, CounterView::over(table.layout, bytes, "scheduler"));
  MESH_TRY(const CounterReading of_scheduler, scheduler.read());
  append_page(counters, scheduler, of_scheduler);
  counters.at = of_scheduler.at;
  counters.hour_from = of_scheduler.hour_from;
  MESH_TRY(const auto control, CounterView::over(table.layout, bytes, "control"));
  MESH_TRY(const CounterReading of_control, control.read());
  append_page(counters, control, of_control);
  counters.control_at = of_control.at;
  counters.now = reader.now();
  return counters;
}

bool matches(std::string_view label, const std::string& pattern) {
  if (pattern.empty()) return true;
  if (pattern.find_first_of("*?[") == pattern.npos) return label.find(pattern) != label.npos;
  return ::fnmatch(pattern.c_str(), std::string(label).c_str(), 0) == 0;
}

std::vector<CounterRate> rates_between(const MeshCounters& before, const MeshCounters& after) {
  std::vector<CounterRate> rates;
  for (std::size_t i = 0; i < after.rows.size(); ++i) {
    const CounterSeen& now = after.rows[i];
    CounterRate rate{now.says, now.value, std::nullopt};
    const bool is_rate = now.says.kind == CounterKind::total && i < before.rows.size();
    if (is_rate) {
      const CounterSeen& then = before.rows[i];
      // A thread that had nothing to write has changed nothing, as long as the engine goes on.
      if (now.value == then.value && after.at > before.at) rate.per_second = 0;
      const double seconds =
          static_cast<double>((now.at - then.at).count()) / static_cast<double>(kNsPerSecond);
      if (seconds > 0 && now.value >= then.value) {
        rate.per_second = static_cast<double>(now.value - then.value) / seconds;
      }
    }
    rates.push_back(rate);
  }
  return rates;
}

Status follow(const Looks& looks, const LookPlan& plan,
              const std::function<void(const MeshCounters&, const MeshCounters&)>& show) {
  constexpr Nanos kMore{100 * kNsPerMs};
  constexpr int kMoreMax = 15;  // an engine that runs has written by then
  MESH_TRY(MeshCounters before, looks.look());
  for (std::uint64_t shown = 0; plan.count == 0 || shown < plan.count; ++shown) {
    if (!looks.wait(plan.interval)) return {};
    MESH_TRY(MeshCounters after, looks.look());
    for (int more = 0; more < kMoreMax && after.at == before.at; ++more) {
      if (!looks.wait(kMore)) return {};
      MESH_TRY(after, looks.look());
    }
    show(before, after);
    before = std::move(after);
  }
  return {};
}

Status check_pattern(const MeshCounters& counters, const std::string& pattern) {
  for (const CounterSeen& row : counters.rows)
    if (matches(row.says.label, pattern)) return {};
  return fail(Errc::bad_input,
              "no counter is called \"" + pattern + "\"; mesh stat lists them all");
}

Result<CounterReport> report_counters(const std::string& directory, const std::string& pattern) {
  MESH_TRY(const SeenMesh seen, SeenMesh::open(directory));
  MESH_TRY(MeshCounters counters, read_counters(seen.table));
  MESH_CHECK_OK(check_pattern(counters, pattern));
  std::erase_if(counters.rows,
                [&](const CounterSeen& row) { return !matches(row.says.label, pattern); });
  return CounterReport{seen.whence(), std::move(counters)};
}

Json counters_json(const CounterReport& report) {
  const MeshCounters& counters = report.counters;
  Json object = {{"directory", report.whence.directory},
                 {"engine_running", or_null(report.whence.engine.running)},
                 {"age_ms", counters.age_ms()},
                 {"control_age_ms", ms_between(counters.control_at, counters.now)},
                 {"is_whole", counters.is_whole}};
  Json list = Json::array();
  for (const CounterSeen& row : counters.rows) {
    list.push_back({{"counter", row.says.label},
                    {"value", row.value},
                    {"unit", row.says.unit},
                    {"kind", name_of(row.says.kind)},
                    {"means", row.says.means}});
  }
  object["counters"] = std::move(list);
  return object;
}

Json rates_json(const MeshCounters& before, const MeshCounters& after, const RatesWanted& wanted) {
  Json report = {{"interval_ms", ms_between(before.at, after.at)}, {"age_ms", after.age_ms()}};
  Json list = Json::array();
  for (const CounterRate& rate : rates_between(before, after)) {
    if (rate.says.kind != CounterKind::total) continue;
    if (!matches(rate.says.label, wanted.pattern)) continue;
    const bool is_at_rest = rate.per_second ? *rate.per_second == 0 : rate.value == 0;
    if (is_at_rest && !wanted.all) continue;
    list.push_back({{"counter", rate.says.label},
                    {"per_second", or_unknown(rate.per_second)},
                    {"unit", std::string(rate.says.unit) + "/s"},
                    {"total", rate.value}});
  }
  report["rates"] = std::move(list);
  return report;
}

}  // namespace mesh::engine::reports
