// What `mesh scatter` prints, word for word.
#include "tools/gather_report.hpp"

#include <sstream>

#include <nlohmann/json.hpp>

namespace mesh::testing {
namespace of_gather_report_test {

using Json = nlohmann::ordered_json;

std::string report_of(const Json& answer) {
  std::ostringstream out;
  tools::write_gather(answer, out);
  return out.str();
}

Json answer() {
  return Json::parse(R"({"operation": 65600, "verdict": "success", "advice": "none",
      "targeted": 2, "sent": 2, "ready": 2, "conflict": 0, "straggler": 0, "declined": 0, "late": 0,
      "ready_rate": 1.0, "coverage": 1.0, "compared": null, "took_ns": 1495521436,
      "skipped": {"insufficient_lead_time": 0, "invalid_impedance": 0, "capability_mismatch": 0,
                  "not_routable": 0},
      "errors": {"count": 2, "inside": 2, "p50_ns": 4521983, "p90_ns": -4653055, "p99_ns": 4653055,
                 "max_ns": 4715052},
      "quorum": {"sentence": "proceed: 2 of 2 responses ready, 100.00 %"},
      "cost": {"plan_ns": 257338, "dispatch_ns": 17303, "gather_ns": 49615, "wake_ns": 12243,
               "wakes": 2}})");
}

TEST(GatherReport, SaysOnlyWhatThereIs) {
  EXPECT_EQ(report_of(answer()),
            "SUCCESS: 2 of 2 agents that were sent to are READY (100.0 %), of 2 targeted 100.0 %\n"
            "arrivals   from T: p50 4.52 ms, p90 4.65, p99 4.65, at most 4.72; 2 of 2 inside\n"
            "quorum     proceed: 2 of 2 responses ready, 100.00 %\n"
            "engine     plan 257 us, dispatch 17, gather 50; 2 wakes 12\n"
            "operation  65600, 1.496 s; every figure: --json\n");
}

TEST(GatherReport, SaysWhyAgentsAreNotReadyAndWhatWouldHelp) {
  Json partial = answer();
  partial.update(Json::parse(R"({"verdict": "partial", "advice": "retry_with_larger_window",
      "targeted": 14, "sent": 10, "ready": 5, "conflict": 1, "straggler": 4, "declined": 2,
      "late": 1, "ready_rate": 0.5, "coverage": 0.357,
      "skipped": {"insufficient_lead_time": 3, "invalid_impedance": 0, "capability_mismatch": 0,
                  "not_routable": 1},
      "compared": {"verdict": "byzantine", "answers": 6, "majority_count": 5}})"));
  const std::string report = report_of(partial);
  EXPECT_NE(
      report.find("PARTIAL: 5 of 10 agents that were sent to are READY (50.0 %), of 14 "
                  "targeted 35.7 %\n"
                  "not ready  1 in CONFLICT, 4 still in TRANSIT (2 declined, 1 answered after "
                  "the end)\n"
                  "skipped    3 too slow for this T, 1 not routable\n"
                  "advice     a larger window would help: --window-ms\n"),
      report.npos)
      << report;
  EXPECT_NE(report.find("\ncompared   byzantine: 5 of 6 answers agree\n"), report.npos) << report;
}

// An engine of another build, or one that lies, is shown as it is and harms no terminal.
TEST(GatherReport, OfAnAnswerThatLacksEverythingNothingIsMadeUp) {
  const std::string report = report_of(Json::object({{"verdict", "odd\x1b[2J"}}));
  EXPECT_EQ(report.find('\x1b'), report.npos) << report;
  EXPECT_EQ(report.find("arrivals"), report.npos) << report;
}

}  // namespace of_gather_report_test
}  // namespace mesh::testing
