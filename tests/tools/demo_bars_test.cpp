// The bars of `mesh demo`, on a mesh that a commit can afford: every figure that it prints is
// worked out again from its trace, and each target's state from what it was drawn to do. Ready
// rate, coverage and status are judged in every operation in which, by the same trace, its
// processes had the processor when they needed it. The stress tier runs 30,000 agents.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/repeats.hpp"
#include "tests/seed.hpp"
#include "tests/tools/run_mesh.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::testing {
namespace of_demo_bars_test {

using Json = nlohmann::json;
using tools::DeliveryOutcome;

constexpr double kReadyBar = 0.98;         // of those sent to
constexpr double kCoverageBar = 0.90;      // of all: class F is skipped
constexpr double kFairMs = 25;             // beyond what it was drawn to take: for want of a cpu
constexpr std::uint64_t kFairOneIn = 200;  // of those sent to: the machine had no part in the rest
constexpr std::int64_t kWindowNs = 500'000'000;
constexpr std::uint64_t kFullAgents = 30'000;

// A line of the trace.
struct Target {
  std::uint64_t operation = 0;
  std::uint32_t agent = 0;
  char agent_class = '?';
  double jitter_ms = 0;
  bool is_sent = false;
  bool is_answered = false;
  int state = 0;
  double error_ms = 0;  // of those that answered: |finished - T|
  double late_ms = 0;   // beyond what it was drawn to take
  std::int64_t drawn_us = 0;
  bool is_in_time = false;  // that much after it was sent the operation still gathers
  DeliveryOutcome outcome = DeliveryOutcome::silent;  // that it was drawn to have, if it was sent

  // Its answer is late, or was not there in time, and no draw is why.
  [[nodiscard]] bool wanted_a_cpu() const {
    if (is_answered) return late_ms >= kFairMs;
    return is_in_time && outcome != DeliveryOutcome::silent;
  }
};

std::vector<Target> read_trace(const std::string& path) {
  std::ifstream lines(path);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line,
            "operation,agent,class,rtt_mean_ms,cv,bias,send_lead_us,sent_ns,finished_ns,target_ns,"
            "state,nominal_lead_us,confidence,drawn_us");
  std::vector<Target> targets;
  while (std::getline(lines, line)) {
    std::vector<std::string> cells;
    std::istringstream row(line);
    for (std::string cell; std::getline(row, cell, ',');) cells.push_back(cell);
    cells.resize(14);  // getline knows no empty last cell
    Target target;
    target.operation = std::stoull(cells[0]);
    target.agent = static_cast<std::uint32_t>(std::stoul(cells[1]));
    target.agent_class = cells[2].front();
    target.jitter_ms = std::stod(cells[3]) / 2 * std::stod(cells[4]);
    target.is_sent = !cells[7].empty();
    target.state = std::stoi(cells[10]);
    if (target.is_sent) {
      target.drawn_us = std::stoll(cells[13]);
      const std::int64_t fair_us = target.drawn_us + static_cast<std::int64_t>(kFairMs * 1e3);
      target.is_in_time = std::stoll(cells[7]) + fair_us * 1'000 < std::stoll(cells[9]) + kWindowNs;
    }
    target.is_answered = target.state != 0 && !cells[8].empty();
    if (target.is_answered) {
      const std::int64_t finished_ns = std::stoll(cells[8]);
      const std::int64_t took_ns = finished_ns - std::stoll(cells[7]);
      target.error_ms = static_cast<double>(std::abs(finished_ns - std::stoll(cells[9]))) / 1e6;
      target.late_ms = std::max(
          static_cast<double>(took_ns) / 1e6 - static_cast<double>(target.drawn_us) / 1e3, 0.0);
    }
    targets.push_back(target);
  }
  return targets;
}

// Of an operation, or of all.
struct Worked {
  std::uint64_t targeted = 0, sent = 0, ready = 0, conflict = 0;
  std::uint64_t inside = 0, wanted_a_cpu = 0;
  std::map<char, std::uint64_t> skipped, of_class;
  std::vector<double> errors_ms, low_jitter_ms, late_ms;

  void add(const Target& target) {
    ++targeted;
    ++of_class[target.agent_class];
    sent += target.is_sent ? 1U : 0U;
    if (!target.is_sent) ++skipped[target.agent_class];
    ready += target.state == 1 ? 1U : 0U;
    conflict += target.state == -1 ? 1U : 0U;
    wanted_a_cpu += target.wanted_a_cpu() ? 1U : 0U;
    if (!target.is_answered) return;
    inside += target.error_ms <= 50 ? 1U : 0U;
    errors_ms.push_back(target.error_ms);
    late_ms.push_back(target.late_ms);
    if (target.jitter_ms < 2) low_jitter_ms.push_back(target.error_ms);
  }
  [[nodiscard]] double rate() const {
    return static_cast<double>(ready) / static_cast<double>(sent);
  }
  [[nodiscard]] double coverage() const {
    return static_cast<double>(ready) / static_cast<double>(targeted);
  }
  [[nodiscard]] bool had_the_processor() const { return wanted_a_cpu * kFairOneIn <= sent; }
  // Element ceil(percent / 100 * n) of the n, counted from 1.
  static double at(std::vector<double> values, std::size_t percent) {
    std::sort(values.begin(), values.end());
    return values.empty() ? -1 : values[(values.size() * percent + 99) / 100 - 1];
  }
};

void expect_percentiles(const Json& said, const std::vector<double>& worked, double tolerance_ms) {
  if (worked.empty()) {
    EXPECT_TRUE(said.is_null());
    return;
  }
  for (const std::size_t percent : {50U, 90U, 99U}) {
    EXPECT_NEAR(said["p" + std::to_string(percent)].get<double>(), Worked::at(worked, percent),
                tolerance_ms)
        << percent;
  }
}

// Every count and share, by the definitions of mesh.md parts 7 and 14.
void expect_same(const Json& said, const Worked& worked) {
  EXPECT_EQ(said["targeted"], worked.targeted);
  EXPECT_EQ(said["scheduled"], worked.sent);
  EXPECT_EQ(said["skipped"], worked.targeted - worked.sent);
  EXPECT_EQ(said["ready"], worked.ready);
  EXPECT_EQ(said["conflict"], worked.conflict);
  EXPECT_EQ(said["straggler"], worked.sent - worked.ready - worked.conflict);
  EXPECT_EQ(said["rate"], worked.rate());
  EXPECT_EQ(said["coverage"], worked.coverage());
  expect_percentiles(said["arrival_error_ms"], worked.errors_ms, 1e-9);
  expect_percentiles(said["arrival_error_low_jitter_ms"], worked.low_jitter_ms, 1e-9);
  expect_percentiles(said["swarm_late_ms"], worked.late_ms, 0.002);  // drawn_us are whole
  EXPECT_EQ(said["inside_50ms"],
            static_cast<double>(worked.inside) / static_cast<double>(worked.errors_ms.size()));
}

// What each was drawn to do, by the seed that the demo was given.
void draw(std::vector<Target>& targets, std::uint64_t operations) {
  const tools::SwarmPopulation population(
      {.seed = seed(), .change_at = static_cast<std::uint32_t>(operations / 2)});
  std::map<std::uint32_t, std::uint32_t> deliveries;
  for (Target& target : targets) {
    if (!target.is_sent) continue;
    const tools::DeliveryDraw drawn =
        population.delivery(target.agent, {.delivery = deliveries[target.agent]++});
    target.outcome = drawn.outcome;
    EXPECT_NEAR(static_cast<double>(drawn.delay_ns + drawn.processing_ns) / 1e3,
                static_cast<double>(target.drawn_us), 1)
        << "agent " << target.agent << " in operation " << target.operation;
  }
}

// However late it is, nobody is what it was not drawn to be.
void expect_drawn(const Target& target) {
  if (target.state == 0) return;
  EXPECT_TRUE(target.is_sent) << target.agent;
  EXPECT_EQ(target.outcome, target.state == 1 ? DeliveryOutcome::ready : DeliveryOutcome::conflict)
      << "agent " << target.agent << " in operation " << target.operation;
}

// The bars of one operation.
void expect_met(const Json& said, const Worked& one) {
  if (!one.had_the_processor()) return;
  // What is drawn scatters: four standard errors of the bar's own share.
  const double slack = 4 * std::sqrt(kReadyBar * (1 - kReadyBar) / static_cast<double>(one.sent));
  EXPECT_GE(one.rate(), kReadyBar - slack) << "the machine is not why";
  EXPECT_GE(one.coverage(), kCoverageBar) << "the machine is not why";
  EXPECT_EQ(said["status"], "SUCCESS") << "the machine is not why";
}

TEST(DemoBars, EveryFigureFollowsFromTheTraceAndEveryOperationMeetsTheBars) {
  const std::uint64_t agents = repeats(3'000);
  const bool is_full = agents >= kFullAgents;
  const std::uint64_t operations = is_full ? 10 : 3;
  const TemporaryFile trace("");
  const Ran ran = run_mesh({"demo", "--agents", std::to_string(agents), "--processes",
                            is_full ? "8" : "4", "--operations", std::to_string(operations),
                            "--seed", std::to_string(seed()), "--trace", trace.path(), "--json"});
  ASSERT_TRUE(ran.exit_code == 0 || ran.exit_code == 1) << ran.exit_code << ": " << ran.err;
  const Json document = Json::parse(ran.out);
  ASSERT_EQ(document["operations"].size(), operations);
  std::vector<Target> targets = read_trace(trace.path());
  draw(targets, operations);
  std::vector<Worked> worked(operations);
  Worked all;
  for (const Target& target : targets) {
    expect_drawn(target);
    worked.at(target.operation - 1).add(target);
    all.add(target);
  }
  for (std::uint64_t i = 0; i < operations; ++i) {
    SCOPED_TRACE("operation " + std::to_string(i + 1));
    const Json& said = document["operations"][i];
    Worked& one = worked[i];
    ASSERT_NE(one.sent, 0U);
    EXPECT_EQ(one.targeted, agents);
    expect_same(said, one);
    const bool is_success = one.rate() >= 0.95 && one.coverage() >= 0.5;
    EXPECT_EQ(said["status"], is_success ? "SUCCESS" : "PARTIAL");
    // Whom a message reaches a minute after it was sent cannot be READY in a second and a half.
    EXPECT_NE(one.of_class['F'], 0U);
    EXPECT_EQ(one.skipped['F'], one.of_class['F']);
    expect_met(said, one);
    std::printf("operation %d: rate %.4f, coverage %.4f, %llu of %llu wanted a cpu%s\n",
                static_cast<int>(i + 1), one.rate(), one.coverage(),
                static_cast<unsigned long long>(one.wanted_a_cpu),
                static_cast<unsigned long long>(one.sent),
                one.had_the_processor() ? "" : ": its bars are not judged");
  }
  expect_same(document["summary"], all);
  const std::string last = document["operations"][operations - 1]["status"];
  EXPECT_EQ(document["summary"]["status"], last);
  EXPECT_EQ(ran.exit_code, last == "SUCCESS" ? 0 : 1);
}

}  // namespace of_demo_bars_test
}  // namespace mesh::testing
