#include "tools/kpi_report.hpp"

#include <cmath>
#include <sstream>

#include "tools/text.hpp"
#include "tools/text_table.hpp"

namespace mesh::tools {
namespace {

using engine::reports::duration_text;
using engine::reports::KpiReport;
using engine::reports::KpiRow;
using engine::reports::KpiValue;

std::string value_text(const KpiRow& row, const KpiValue& value) {
  if (!value.value) return "unknown";
  if (!row.is_share) return fmt::format("{:.3f} s", *value.value);
  // Never rounded up to what it is not.
  return fmt::format("{:.2f} %", std::floor(*value.value * 10'000) / 100);
}

std::string hour_text(const KpiReport& report) {
  return report.hour_ms >= 3'600'000 ? std::string("last hour")
                                     : fmt::format("last {}", duration_text(report.hour_ms));
}

TextTable cells_of(const KpiReport& report) {
  TextTable table;
  const std::string hour = hour_text(report);
  table.heads = {"KPI",    hour,   "of",  "all time", "of",   "",
                 "target", "hour", "all", "ours",     "hour", "all"};
  for (const KpiRow& row : report.rows) {
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

std::string kpi_text(const KpiReport& report) {
  std::ostringstream out;
  out << fmt::format("{}, {}, counters {} old\n\n", printable(report.directory), report.at,
                     duration_text(report.age_ms));
  cells_of(report).write(out);
  out << '\n' << notes_text(report.rows, "");
  return out.str();
}

std::string kpi_markdown(const KpiReport& report) {
  const TextTable table = cells_of(report);
  std::string text =
      fmt::format("# KPIs of {}\n\n{}; counters {} old.\n\n", printable(report.directory),
                  report.at, duration_text(report.age_ms));
  const auto line = [&text](const TextTable::Row& cells) {
    for (const std::string& cell : cells) text += "| " + cell + " ";
    text += "|\n";
  };
  line(table.heads);
  line(TextTable::Row(table.heads.size(), "---"));
  for (const TextTable::Row& row : table.rows) line(row);
  return text + "\n" + notes_text(report.rows, "* ");
}

}  // namespace mesh::tools
