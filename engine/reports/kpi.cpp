#include "engine/reports/kpi.hpp"

#include <algorithm>
#include <utility>

namespace mesh::engine::reports {
namespace {

// The counters of a time.
class Sums {
 public:
  Sums(const MeshCounters& counters, bool is_hour) : counters_(counters), is_hour_(is_hour) {}
  [[nodiscard]] std::uint64_t operator()(std::string_view label) const {
    for (const CounterSeen& row : counters_.rows) {
      if (row.says.label != label) continue;
      if (!is_hour_) return row.value;
      return row.value >= row.hour_ago ? row.value - row.hour_ago : 0;
    }
    return 0;
  }

 private:
  const MeshCounters& counters_;
  bool is_hour_;
};

struct ShareLimits {
  double target = 0;
  std::optional<double> ours{};  // none: only reported
  bool is_at_most = false;
};

KpiValue share(std::uint64_t part, std::uint64_t of, const ShareLimits& limits) {
  KpiValue value{.of = of};
  if (of == 0) return value;
  const double found = static_cast<double>(part) / static_cast<double>(of);
  value.value = found;
  const auto verdict = [&](double limit) {
    const bool is_met = limits.is_at_most ? found <= limit : found >= limit;
    return is_met ? KpiVerdict::pass : KpiVerdict::fail;
  };
  value.target = verdict(limits.target);
  value.ours = limits.ours ? verdict(*limits.ours) : KpiVerdict::reported;
  return value;
}

// Every recovery is judged, not their mean, which is what is shown.
KpiValue recovery(const Sums& sum, const std::string& what, const char* ours, const char* target) {
  KpiValue value{.of = sum(what + "_recoveries")};
  if (value.of == 0) return value;
  value.value =
      static_cast<double>(sum(what + "_recovery_time")) / 1'000 / static_cast<double>(value.of);
  const auto verdict = [&](const char* over) {
    return sum(what + "_recoveries_over_" + over) == 0 ? KpiVerdict::pass : KpiVerdict::fail;
  };
  value.target = verdict(target);
  value.ours = verdict(ours);
  return value;
}

Json kpi_value_json(const KpiValue& value) {
  return {{"value", or_null(value.value)},
          {"of", value.of},
          {"target", name_of(value.target)},
          {"ours", name_of(value.ours)}};
}

}  // namespace

std::string_view name_of(KpiVerdict verdict) noexcept {
  switch (verdict) {
    case KpiVerdict::pass:
      return "pass";
    case KpiVerdict::fail:
      return "fail";
    case KpiVerdict::reported:
      return "reported";
    default:
      return "unknown";
  }
}

std::vector<KpiRow> kpis_of(const MeshCounters& counters) {
  const Sums hour(counters, true);
  const Sums all(counters, false);
  std::vector<KpiRow> rows;
  const auto add = [&](KpiRow row, const auto& value) {
    row.hour = value(hour);
    row.all = value(all);
    rows.push_back(row);
  };
  add({.name = "operations reaching quorum",
       .target = ">= 99 %",
       .ours = ">= 99.9 %",
       .of = "operations"},
      [](const Sums& sum) {
        return share(sum("operations_quorum") + sum("cascades_quorum"),
                     sum("operations_ended") + sum("cascades_ended"), {0.99, 0.999});
      });
  add({.name = "agents inside the arrival window",
       .target = ">= 95 %",
       .ours = ">= 99 %",
       .of = "targets",
       .note = "of those that were sent to: within 500 ms of T"},
      [](const Sums& sum) {
        return share(sum("arrived_in_500ms"), sum("timed_sent"), {0.95, 0.99});
      });
  add({.name = "arrival error within 50 ms",
       .target = ">= 90 %",
       .ours = "reported",
       .of = "arrivals"},
      [](const Sums& sum) {
        return share(sum("arrived_in_50ms"), sum("timed_arrived"), {0.90, std::nullopt});
      });
  add({.name = "arrival error within 5 ms",
       .target = "-",
       .ours = ">= 99 %",
       .of = "arrivals",
       .note = "ours is of agents whose own jitter allows it; those are not told apart here"},
      [](const Sums& sum) {
        KpiValue value = share(sum("arrived_in_5ms"), sum("timed_arrived"), {0, 0.99});
        if (value.target == KpiVerdict::pass) value.target = KpiVerdict::reported;
        // What all of them reach those whose jitter is small do, too; less says nothing of them.
        if (value.ours == KpiVerdict::fail) value.ours = KpiVerdict::unknown;
        return value;
      });
  add({.name = "conflict rate", .target = "<= 1 %", .ours = "reported", .of = "answers"},
      [](const Sums& sum) {
        return share(sum("conflicts"), sum("conflicts") + sum("ready"),
                     {.target = 0.01, .is_at_most = true});
      });
  add({.name = "time with >= 95 % active",
       .target = ">= 99.9 %",
       .ours = "reported",
       .of = "ms",
       .note = "of the time that an engine watched"},
      [](const Sums& sum) {
        return share(sum("time_active"), sum("time_watched"), {0.999, std::nullopt});
      });
  add({.name = "cascade p95",
       .target = "<= 1000 ms",
       .ours = "<= 10 ms",
       .of = "cascades",
       .note =
           "shown is the share that took no longer; ours is of the engine's own time. 95 % pass"},
      [](const Sums& sum) {
        KpiValue value = share(sum("cascades_in_1s"), sum("cascades_ended"), {0.95, std::nullopt});
        value.ours = share(sum("cascades_own_in_10ms"), sum("cascades_ended"), {0.95, 0.95}).ours;
        return value;
      });
  add({.name = "recovery of a cluster",
       .target = "<= 5 min",
       .ours = "<= 1 s",
       .is_share = false,
       .of = "recoveries",
       .note = "shown is the mean; each is judged. From the first agent lost "
               "to the last one back"},
      [](const Sums& sum) { return recovery(sum, "cluster", "1s", "5min"); });
  add({.name = "recovery of a sector",
       .target = "<= 15 min",
       .ours = "<= 10 s",
       .is_share = false,
       .of = "recoveries",
       .note = "the same, while more than 5 % of its agents were lost"},
      [](const Sums& sum) { return recovery(sum, "sector", "10s", "15min"); });
  return rows;
}

bool misses_a_target(const std::vector<KpiRow>& rows) noexcept {
  return std::any_of(rows.begin(), rows.end(),
                     [](const KpiRow& row) { return row.hour.target == KpiVerdict::fail; });
}

Result<KpiReport> report_kpis(const std::string& directory) {
  MESH_TRY(const SeenMesh seen, SeenMesh::open(directory));
  MESH_TRY(const MeshCounters counters, read_counters(seen.table));
  return KpiReport{.directory = seen.mesh.directory(),
                   .at = utc_text(unix_now_ns()),
                   .age_ms = counters.age_ms(),
                   .hour_ms = (counters.at - counters.hour_from).count() / kNsPerMs,
                   .rows = kpis_of(counters)};
}

Json kpi_json(const KpiReport& report) {
  Json object = {{"directory", report.directory},
                 {"at", report.at},
                 {"age_ms", report.age_ms},
                 {"hour_ms", report.hour_ms}};
  Json list = Json::array();
  for (const KpiRow& row : report.rows) {
    list.push_back({{"kpi", row.name},
                    {"unit", row.is_share ? "share" : "s"},
                    {"of", row.of},
                    {"target", row.target},
                    {"ours", row.ours},
                    {"hour", kpi_value_json(row.hour)},
                    {"all", kpi_value_json(row.all)},
                    {"note", row.note}});
  }
  object["kpis"] = std::move(list);
  return object;
}

}  // namespace mesh::engine::reports
