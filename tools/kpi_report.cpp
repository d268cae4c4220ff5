#include "tools/kpi_report.hpp"

#include <cmath>
#include <sstream>

#include "tools/text.hpp"
#include "tools/text_table.hpp"
#include "tools/top_frame.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;

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

std::string value_text(const KpiRow& row, const KpiValue& value) {
  if (!value.value) return "unknown";
  if (!row.is_share) return fmt::format("{:.3f} s", *value.value);
  // Never rounded up to what it is not.
  return fmt::format("{:.2f} %", std::floor(*value.value * 10'000) / 100);
}

Json value_json(const KpiValue& value) {
  return {{"value", value.value ? Json(*value.value) : Json(nullptr)},
          {"of", value.of},
          {"target", name_of(value.target)},
          {"ours", name_of(value.ours)}};
}

std::string hour_text(const KpiHead& head) {
  return head.hour_ms >= 3'600'000 ? std::string("last hour")
                                   : fmt::format("last {}", duration_text(head.hour_ms));
}

TextTable cells_of(const KpiHead& head, const std::vector<KpiRow>& rows) {
  TextTable table;
  const std::string hour = hour_text(head);
  table.heads = {"KPI",    hour,   "of",  "all time", "of",   "",
                 "target", "hour", "all", "ours",     "hour", "all"};
  for (const KpiRow& row : rows) {
    table.rows.push_back({std::string(row.name), value_text(row, row.hour),
                          fmt::format("{}", row.hour.of), value_text(row, row.all),
                          fmt::format("{}", row.all.of), std::string(row.of),
                          std::string(row.target), std::string(name_of(row.hour.target)),
                          std::string(name_of(row.all.target)), std::string(row.ours),
                          std::string(name_of(row.hour.ours)), std::string(name_of(row.all.ours))});
  }
  return table;
}

std::string notes_text(const std::vector<KpiRow>& rows, const char* before) {
  std::string text;
  for (const KpiRow& row : rows) {
    if (!row.note.empty()) text += fmt::format("{}{}: {}\n", before, row.name, row.note);
  }
  return text;
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

Json kpi_json(const KpiHead& head, const std::vector<KpiRow>& rows) {
  Json report = {{"directory", head.directory},
                 {"at", head.at},
                 {"age_ms", head.age_ms},
                 {"hour_ms", head.hour_ms}};
  Json list = Json::array();
  for (const KpiRow& row : rows) {
    list.push_back({{"kpi", row.name},
                    {"unit", row.is_share ? "share" : "s"},
                    {"of", row.of},
                    {"target", row.target},
                    {"ours", row.ours},
                    {"hour", value_json(row.hour)},
                    {"all", value_json(row.all)},
                    {"note", row.note}});
  }
  report["kpis"] = std::move(list);
  return report;
}

std::string kpi_text(const KpiHead& head, const std::vector<KpiRow>& rows) {
  std::ostringstream out;
  out << fmt::format("{}, {}, counters {} old\n\n", printable(head.directory), head.at,
                     duration_text(head.age_ms));
  cells_of(head, rows).write(out);
  out << '\n' << notes_text(rows, "");
  return out.str();
}

std::string kpi_markdown(const KpiHead& head, const std::vector<KpiRow>& rows) {
  const TextTable table = cells_of(head, rows);
  std::string text = fmt::format("# KPIs of {}\n\n{}; counters {} old.\n\n",
                                 printable(head.directory), head.at, duration_text(head.age_ms));
  const auto line = [&text](const TextTable::Row& cells) {
    for (const std::string& cell : cells) text += "| " + cell + " ";
    text += "|\n";
  };
  line(table.heads);
  line(TextTable::Row(table.heads.size(), "---"));
  for (const TextTable::Row& row : table.rows) line(row);
  return text + "\n" + notes_text(rows, "* ");
}

}  // namespace mesh::tools
