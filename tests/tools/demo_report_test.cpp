// The figures of `mesh demo`, against numbers worked by hand.
#include "tools/demo_report.hpp"

#include <nlohmann/json.hpp>

namespace mesh::testing {
namespace of_demo_report_test {

using ::testing::HasSubstr;
using ::testing::Not;
using tools::DemoOperation;
using tools::DemoReport;
using tools::DemoTarget;
using tools::percentiles_ms;

constexpr std::int64_t kTargetNs = 5'000'000'000;

DemoTarget target(std::uint32_t index, std::int64_t error_ns, sched::TrinaryState state) {
  DemoTarget made;
  made.index = index;
  made.drawn.rtt_mean_ms = 100;
  made.drawn.cv = index % 2 == 0 ? 0.01 : 0.3;  // a jitter of 0.5 ms, of 15 ms
  made.median_ms = tools::median_ms(made.drawn, 1, 1);
  made.drawn_ns = 88'000'000;
  made.trace.state = state;
  made.trace.lead_us = 90'000;
  made.trace.sent_ns = kTargetNs - 90'000'000;
  if (state != sched::TrinaryState::transit) made.trace.finished_ns = kTargetNs + error_ns;
  return made;
}

// 10 READY at -10, -20 .. -100 ms, a CONFLICT at +40 ms, one that never answered, one of class F
// that was not sent to.
DemoOperation example() {
  DemoOperation operation;
  operation.agents = 13;
  operation.processes = 2;
  for (std::uint32_t i = 1; i <= 10; ++i) {
    operation.targets.push_back(
        target(i, -std::int64_t{i} * 10 * kNsPerMs, sched::TrinaryState::ready));
  }
  operation.targets.push_back(target(11, 40 * kNsPerMs, sched::TrinaryState::conflict));
  operation.targets.push_back(target(12, 0, sched::TrinaryState::transit));
  DemoTarget skipped = target(13, 0, sched::TrinaryState::transit);
  skipped.drawn.agent_class = sched::AgentClass::human;
  skipped.trace.sent_ns = 0;
  operation.targets.push_back(skipped);
  engine::FinishedOperation& finished = operation.finished;
  finished.target = from_ns(kTargetNs);
  finished.result.counts.sent = 12;
  finished.result.counts.ready = 10;
  finished.result.counts.conflict = 1;
  finished.result.counts.skipped.insufficient_lead_time = 1;
  finished.result.judgement.verdict = sched::GatherVerdict::kPartial;
  finished.cost = {.plan_ns = 12'500,
                   .dispatch_ns = 64'000,
                   .gather_ns = 125'000,
                   .wake_ns = 13'000,
                   .wakes = 2};
  return operation;
}

nlohmann::ordered_json json_of(const DemoReport& report) {
  std::ostringstream out;
  report.write_json({.seed = 7, .enrol_ms = 81.5, .total_s = 2.5}, out);
  return nlohmann::ordered_json::parse(out.str());
}
std::string table_of(const DemoReport& report) {
  std::ostringstream out;
  report.write_table({.seed = 7, .enrol_ms = 81.5, .total_s = 2.5}, out);
  return out.str();
}

TEST(Percentiles, AreNothingOfNothing) { EXPECT_EQ(percentiles_ms({}), std::nullopt); }
TEST(Percentiles, AreTheElementsOfTheExactRanks) {
  std::vector<std::int64_t> errors;
  for (std::int64_t i = 200; i >= 1; --i) errors.push_back(i * kNsPerMs);
  EXPECT_EQ(percentiles_ms(errors), (tools::ErrorPercentiles{100, 180, 198}));
  std::vector<std::int64_t> one = {1'500'000};
  EXPECT_EQ(percentiles_ms(one), (tools::ErrorPercentiles{1.5, 1.5, 1.5}));
  std::vector<std::int64_t> three = {3, 1, 2};
  EXPECT_EQ(percentiles_ms(three), (tools::ErrorPercentiles{2e-6, 3e-6, 3e-6}));
}

TEST(DemoReport, HasTheFiguresOfTheWorkedExample) {
  DemoReport report;
  report.add(example());
  auto operation = json_of(report)["operations"][0];
  operation.erase("nominal");  // shown by a test of their own
  operation.erase("oracle");
  EXPECT_EQ(operation.dump(),
            R"({"agents":13,"processes":2,"targeted":13,"scheduled":12,"skipped":1,"ready":10,)"
            R"("conflict":1,"straggler":1,"rate":0.8333333333333334,)"
            R"("coverage":0.7692307692307693,"status":"PARTIAL",)"
            R"("arrival_error_ms":{"p50":50.0,"p90":90.0,"p99":100.0},)"
            R"("arrival_error_low_jitter_ms":{"p50":60.0,"p90":100.0,"p99":100.0},)"
            R"("swarm_late_ms":{"p50":0.0,"p90":0.0,"p99":42.0},)"
            R"("inside_50ms":0.5454545454545454,)"
            R"("engine_us":{"plan":12.5,"dispatch":64.0,"gather":125.0},"wakes":2,)"
            R"("wake_us":13.0})");
}

TEST(DemoReport, SumsOperationsAndPoolsTheirErrors) {
  DemoReport report;
  report.add(example());
  DemoOperation second = example();
  for (DemoTarget& of : second.targets) {
    if (of.trace.finished_ns != 0) of.trace.finished_ns = kTargetNs + kNsPerMs;
  }
  second.finished.result.judgement.verdict = sched::GatherVerdict::kSuccess;
  report.add(second);
  const auto summary = json_of(report)["summary"];
  EXPECT_EQ(summary["operations"], 2);
  EXPECT_EQ(summary["agents"], 13);
  EXPECT_EQ(summary["targeted"], 26);
  EXPECT_EQ(summary["ready"], 20);
  EXPECT_EQ(summary["status"], "SUCCESS");
  EXPECT_EQ(summary["rate"], 20.0 / 24);
  EXPECT_EQ(summary["arrival_error_ms"]["p50"], 1.0);
  EXPECT_EQ(summary["arrival_error_ms"]["p90"], 80.0);  // element 20 of 22
  EXPECT_EQ(summary["engine_us"]["gather"], 250.0);
  EXPECT_EQ(summary["wakes"], 4);
  EXPECT_EQ(summary["seed"], 7);
  EXPECT_EQ(summary["profile"], "mixed");
}

TEST(DemoReport, SucceedsByItsLastOperationAlone) {
  DemoReport report;
  EXPECT_FALSE(report.succeeded());
  DemoOperation good = example();
  good.finished.result.judgement.verdict = sched::GatherVerdict::kSuccess;
  report.add(good);
  EXPECT_TRUE(report.succeeded());
  report.add(example());
  EXPECT_FALSE(report.succeeded());
}

TEST(DemoReport, SaysNothingOfWhatWasNotMeasured) {
  DemoOperation nobody;
  nobody.agents = 1;
  nobody.finished.target = from_ns(kTargetNs);
  nobody.finished.result.counts.skipped.insufficient_lead_time = 1;
  nobody.finished.result.judgement.verdict = sched::GatherVerdict::kNoSchedulableAgents;
  DemoReport report;
  report.add(nobody);
  const auto operation = json_of(report)["operations"][0];
  EXPECT_TRUE(operation["rate"].is_null());
  EXPECT_EQ(operation["coverage"], 0.0);
  EXPECT_TRUE(operation["arrival_error_ms"].is_null());
  EXPECT_TRUE(operation["arrival_error_low_jitter_ms"].is_null());
  EXPECT_TRUE(operation["inside_50ms"].is_null());
  EXPECT_EQ(operation["status"], "NO_SCHEDULABLE_AGENTS");
  EXPECT_THAT(table_of(report), Not(HasSubstr("within")));
}

TEST(DemoReport, WithoutOperationsIsStillJson) {
  const auto document = json_of(DemoReport());
  EXPECT_TRUE(document["operations"].empty());
  EXPECT_TRUE(document["summary"]["rate"].is_null());
}

TEST(DemoReport, TellsPeopleWhatHappenedAndWhoWasLeftOut) {
  DemoReport report;
  report.add(example());
  const std::string table = table_of(report);
  EXPECT_THAT(table, HasSubstr("PARTIAL"));
  EXPECT_THAT(table, HasSubstr("1 of class F (HUMAN)"));
  EXPECT_THAT(table, HasSubstr("83.3%"));
  EXPECT_THAT(table, HasSubstr("76.9% of everybody"));
  EXPECT_THAT(table, HasSubstr("seed 7"));
}

TEST(DemoTrace, HasEverythingThatTheFiguresAreMadeOf) {
  std::ostringstream out;
  tools::write_trace_header(out);
  tools::write_trace(3, example(), out);
  std::istringstream lines(out.str());
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line,
            "operation,agent,class,rtt_mean_ms,cv,bias,send_lead_us,sent_ns,finished_ns,"
            "target_ns,state,nominal_lead_us,confidence,drawn_us");
  std::vector<std::string> rows;
  while (std::getline(lines, line)) rows.push_back(line);
  ASSERT_EQ(rows.size(), 13U);
  EXPECT_EQ(rows[0], "3,1,A,100,0.3,1,90000,4910000000,4990000000,5000000000,1,0,0,88000");
  EXPECT_EQ(rows[10], "3,11,A,100,0.3,1,90000,4910000000,5040000000,5000000000,-1,0,0,88000");
  EXPECT_EQ(rows[11], "3,12,A,100,0.01,1,90000,4910000000,,5000000000,0,0,0,88000");
  EXPECT_EQ(rows[12], "3,13,F,100,0.3,1,,,,5000000000,0,,,");
}

// Each took 90 ms and its error: a nominal lead of 60 ms is 30 ms short of that, and the oracle's
// is the agent's own median.
TEST(DemoReport, ShowsOtherModelsByTheSameAnswers) {
  DemoReport report;
  DemoOperation operation = example();
  for (DemoTarget& target : operation.targets) target.trace.nominal_lead_us = 60'000;
  report.add(operation);
  const auto json = json_of(report);
  // 90 - 10 i - 60 for the ten and 90 + 40 - 60: 0 10 10 20 20 30 40 50 60 70 70.
  EXPECT_DOUBLE_EQ(json["operations"][0]["nominal"]["arrival_error_ms"]["p50"], 30);
  EXPECT_DOUBLE_EQ(json["operations"][0]["nominal"]["inside_50ms"], 8.0 / 11);
  // Index 2 took 90 - 20.
  DemoOperation one = example();
  one.targets = {operation.targets[1]};
  one.targets[0].median_ms = 65;
  DemoReport alone;
  alone.add(one);
  EXPECT_DOUBLE_EQ(json_of(alone)["operations"][0]["oracle"]["arrival_error_ms"]["p50"], 5);
  EXPECT_FALSE(json["summary"].contains("nominal")) << "of single operations alone";
}

TEST(DemoReport, HoldsWhatWasSaidAgainstWhatCame) {
  DemoReport report;
  DemoOperation operation = example();
  for (DemoTarget& target : operation.targets) target.trace.confidence = 0.93;
  report.add(operation);
  const auto steps = json_of(report)["summary"]["reliability"];
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_NEAR(steps[0]["said"].get<double>(), 0.93, 1e-12);
  EXPECT_EQ(steps[0]["n"], 12) << "the one that was not sent to was not said to come";
  EXPECT_DOUBLE_EQ(steps[0]["hit"], 6.0 / 12) << "-10 .. -50 ms and the conflict at +40";
}

TEST(DemoReport, HoldsTheLastFiveOperationsToTheirWord) {
  DemoReport report;
  DemoOperation operation = example();
  for (unsigned i = 0; i < 8; ++i) {
    for (DemoTarget& target : operation.targets) target.trace.confidence = i < 3 ? 0.61 : 0.93;
    report.add(operation);
  }
  const auto steps = json_of(report)["summary"]["reliability"];
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_NEAR(steps[0]["said"].get<double>(), 0.93, 1e-12);
  EXPECT_EQ(steps[0]["n"], 5 * 12);
}

}  // namespace of_demo_report_test
}  // namespace mesh::testing
