// The KPIs of mesh.md part 14, row by row: each with its target and ours, judged at the limit and
// just beyond it.
#include "engine/reports/kpi.hpp"

#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/reports/mesh_counters.hpp"

namespace mesh::testing {
namespace of_kpi_test {

using engine::reports::KpiRow;
using engine::reports::KpiVerdict;
using engine::reports::MeshCounters;
using Counted = std::map<std::string, std::uint64_t>;

MeshCounters counters_of_an_hour(const Counted& counted) {
  MeshCounters counters;
  // The rows keep views of their names.
  for (const auto& [label, value] : counted)
    counters.rows.push_back({{label, "", engine::CounterKind::total, ""}, value, 0, {}});
  return counters;
}

struct Row {
  std::string name;
  std::string target;
  std::string ours;
  Counted meets_ours;   // at the limit
  Counted misses_ours;  // just beyond it, and still in the target
  Counted misses_target;
};

// A verdict that a row does not give is `reported`.
const std::vector<Row>& part_14() {
  static const std::vector<Row> rows = {
      {"operations reaching quorum",
       ">= 99 %",
       ">= 99.9 %",
       {{"operations_ended", 1'000}, {"operations_quorum", 999}},
       {{"operations_ended", 1'000}, {"operations_quorum", 990}},
       {{"operations_ended", 1'000}, {"operations_quorum", 989}}},
      {"agents inside the arrival window",
       ">= 95 %",
       ">= 99 %",
       {{"timed_sent", 1'000}, {"arrived_in_500ms", 990}},
       {{"timed_sent", 1'000}, {"arrived_in_500ms", 950}},
       {{"timed_sent", 1'000}, {"arrived_in_500ms", 949}}},
      {"arrival error within 50 ms",
       ">= 90 %",
       "reported",
       {},
       {{"timed_arrived", 1'000}, {"arrived_in_50ms", 900}},
       {{"timed_arrived", 1'000}, {"arrived_in_50ms", 899}}},
      {"arrival error within 5 ms",
       "-",
       ">= 99 %",
       {{"timed_arrived", 1'000}, {"arrived_in_5ms", 990}},
       {},
       {}},
      {"conflict rate",
       "<= 1 %",
       "reported",
       {},
       {{"ready", 990}, {"conflicts", 10}},
       {{"ready", 989}, {"conflicts", 11}}},
      {"time with >= 95 % active",
       ">= 99.9 %",
       "reported",
       {},
       {{"time_watched", 1'000}, {"time_active", 999}},
       {{"time_watched", 1'000}, {"time_active", 998}}},
      {"cascade p95",
       "<= 1000 ms",
       "<= 10 ms",
       {{"cascades_ended", 100}, {"cascades_in_1s", 95}, {"cascades_own_in_10ms", 95}},
       {{"cascades_ended", 100}, {"cascades_in_1s", 95}, {"cascades_own_in_10ms", 94}},
       {{"cascades_ended", 100}, {"cascades_in_1s", 94}, {"cascades_own_in_10ms", 95}}},
      {"recovery of a cluster",
       "<= 5 min",
       "<= 1 s",
       {{"cluster_recoveries", 9}, {"cluster_recovery_time", 9'000}},
       {{"cluster_recoveries", 9}, {"cluster_recoveries_over_1s", 1}},
       {{"cluster_recoveries", 9}, {"cluster_recoveries_over_5min", 1}}},
      {"recovery of a sector",
       "<= 15 min",
       "<= 10 s",
       {{"sector_recoveries", 9}, {"sector_recovery_time", 90'000}},
       {{"sector_recoveries", 9}, {"sector_recoveries_over_10s", 1}},
       {{"sector_recoveries", 9}, {"sector_recoveries_over_15min", 1}}}};
  return rows;
}

KpiRow judged(std::size_t row, const Counted& counted) {
  return engine::reports::kpis_of(counters_of_an_hour(counted))[row];
}

TEST(KpiTable, HasTheRowsOfPart14WithTheirTargets) {
  const auto rows = engine::reports::kpis_of({});
  ASSERT_EQ(rows.size(), part_14().size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].name, part_14()[i].name);
    EXPECT_EQ(rows[i].target, part_14()[i].target) << rows[i].name;
    EXPECT_EQ(rows[i].ours, part_14()[i].ours) << rows[i].name;
    EXPECT_EQ(rows[i].hour.target, KpiVerdict::unknown) << rows[i].name << ": nothing was counted";
  }
}

TEST(KpiTable, EveryRowPassesAtItsLimitAndFailsBeyondIt) {
  for (std::size_t i = 0; i < part_14().size(); ++i) {
    const Row& row = part_14()[i];
    if (!row.meets_ours.empty()) {
      EXPECT_EQ(judged(i, row.meets_ours).hour.ours, KpiVerdict::pass) << row.name;
    }
    if (!row.misses_ours.empty()) {
      EXPECT_EQ(judged(i, row.misses_ours).hour.target, KpiVerdict::pass) << row.name;
      if (row.ours != "reported") {
        EXPECT_EQ(judged(i, row.misses_ours).hour.ours, KpiVerdict::fail) << row.name;
      }
    }
    if (!row.misses_target.empty()) {
      EXPECT_EQ(judged(i, row.misses_target).hour.target, KpiVerdict::fail) << row.name;
    }
  }
}

}  // namespace of_kpi_test
}  // namespace mesh::testing
