// mesh quorum, run as a program: what it refuses, and the decisions of the specification.
#include <nlohmann/json.hpp>

#include "tests/tools/run_mesh.hpp"

namespace mesh::testing {
namespace of_quorum_test {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Counts {
  std::uint64_t ready, conflict, transit;
};

Ran quorum(const Counts& counts, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"quorum",
                                    "--ready",
                                    std::to_string(counts.ready),
                                    "--conflict",
                                    std::to_string(counts.conflict),
                                    "--transit",
                                    std::to_string(counts.transit)};
  words.insert(words.end(), more.begin(), more.end());
  return run_mesh(words);
}

nlohmann::json decided(const Counts& counts, std::vector<std::string> more = {}) {
  more.emplace_back("--json");
  const Ran ran = quorum(counts, more);
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  return nlohmann::json::parse(ran.out);
}

void expect_refused(const Ran& ran, const std::string& sentence) {
  EXPECT_EQ(ran.exit_code, 2) << ran.out << ran.err;
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr(sentence));
}

TEST(QuorumVerb, RefusesCountsThatAreNone) {
  expect_refused(run_mesh({"quorum", "--ready", "1", "--conflict", "1"}), "--transit");
  expect_refused(run_mesh({"quorum", "--ready", "-1", "--conflict", "1", "--transit", "0"}),
                 "--ready");
  expect_refused(run_mesh({"quorum", "--ready", "1", "--conflict", "0.5", "--transit", "0"}),
                 "--conflict \"0.5\"");
  expect_refused(run_mesh({"quorum", "--ready", "1", "--conflict", "0", "--transit", "4294967296"}),
                 "from 0 to 4294967295");
}
TEST(QuorumVerb, RefusesThresholdsThatAreNoShares) {
  expect_refused(quorum({1, 0, 0}, {"--ready-min", "1.01"}), "--ready-min \"1.01\"");
  expect_refused(quorum({1, 0, 0}, {"--conflict-max", "nan"}), "--conflict-max");
  expect_refused(quorum({1, 0, 0}, {"--transit-max", "much"}), "--transit-max");
}
TEST(QuorumVerb, HasNothingToDecideWithoutResponses) {
  const Ran ran = quorum({0, 0, 0}, {"--json"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.out, IsEmpty());
  EXPECT_THAT(ran.err, HasSubstr("no responses"));
}

TEST(QuorumVerb, DecidesInTheOrderOfTheSpecification) {
  const std::vector<std::pair<Counts, std::string>> golden = {{{95, 5, 0}, "PROCEED"},
                                                              {{30, 0, 0}, "PROCEED"},
                                                              {{94, 0, 6}, "RETRY"},
                                                              {{90, 0, 10}, "RETRY"},
                                                              {{89, 0, 11}, "WAIT"},
                                                              {{50, 25, 25}, "WAIT"},
                                                              {{94, 6, 0}, "RESOLVE_CONFLICTS"},
                                                              {{50, 40, 10}, "RESOLVE_CONFLICTS"},
                                                              {{90, 5, 5}, "RETRY"},
                                                              {{4294967295, 0, 0}, "PROCEED"},
                                                              {{949'999, 50'000, 1}, "RETRY"}};
  for (const auto& [counts, decision] : golden) {
    const nlohmann::json report = decided(counts);
    EXPECT_EQ(report["decision"], decision) << report;
    EXPECT_EQ(report["confidence"].is_null(), decision != "PROCEED") << report;
    EXPECT_EQ(report["responses"], counts.ready + counts.conflict + counts.transit);
  }
}

TEST(QuorumVerb, ConfidenceIsTheReadyRateLessHalfTheConflictRate) {
  const nlohmann::json report = decided({95, 5, 0});
  EXPECT_DOUBLE_EQ(report["confidence"].get<double>(), 0.925);
  EXPECT_DOUBLE_EQ(report["ready_rate"].get<double>(), 0.95);
  EXPECT_DOUBLE_EQ(report["conflict_rate"].get<double>(), 0.05);
  EXPECT_DOUBLE_EQ(report["transit_rate"].get<double>(), 0);
}

TEST(QuorumVerb, TakesThresholds) {
  EXPECT_EQ(decided({60, 5, 35}, {"--ready-min", "0.5"})["decision"], "PROCEED");
  EXPECT_EQ(decided({60, 10, 30}, {"--ready-min", "0.5"})["decision"], "RESOLVE_CONFLICTS");
  EXPECT_EQ(decided({60, 10, 30}, {"--ready-min", "0.5", "--conflict-max", "0.1"})["decision"],
            "PROCEED");
  EXPECT_EQ(decided({89, 0, 11}, {"--transit-max", "0.2"})["decision"], "RETRY");
  const nlohmann::json report = decided({1, 0, 0}, {"--transit-max", "0.25"});
  EXPECT_DOUBLE_EQ(report["ready_min"].get<double>(), 0.95);
  EXPECT_DOUBLE_EQ(report["conflict_max"].get<double>(), 0.05);
  EXPECT_DOUBLE_EQ(report["transit_max"].get<double>(), 0.25);
}

TEST(QuorumVerb, SaysItInASentence) {
  EXPECT_EQ(quorum({95, 5, 0}).out,
            "proceed: 95 of 100 responses ready, 95.00 %; confidence 0.925\n");
  EXPECT_EQ(quorum({94, 6, 0}).out,
            "resolve conflicts: 6 of 100 responses in conflict, 6.00 %; at most 5.00 % is "
            "allowed\n");
}

}  // namespace of_quorum_test
}  // namespace mesh::testing
