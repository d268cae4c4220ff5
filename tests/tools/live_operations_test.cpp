// Operations as mesh top lists them, cascades among the KPIs, and the mesh as a whole.
#include <cmath>
#include <map>

#include "tests/tools/live_mesh.hpp"

namespace mesh::testing {
namespace of_live_operations_test {

using Json = nlohmann::json;

TEST(Kpi, CountsTheAnswersToCascades) {
  Live live;
  live.enrol("40");
  ASSERT_EQ(live.run({"cascade", "hello", "--strategy", "parallel"}).exit_code, 0);
  ASSERT_TRUE(live.publishes("cascades_quorum", 1));
  ASSERT_TRUE(live.publishes("ready", 38));
  const Json kpis = Json::parse(live.run({"kpi", "--json"}).out)["kpis"];
  EXPECT_EQ(kpis[0]["hour"]["of"], 1) << "an operation that reached its quorum";
  EXPECT_EQ(kpis[0]["hour"]["target"], "pass");
  EXPECT_EQ(kpis[4]["kpi"], "conflict rate");
  EXPECT_GE(kpis[4]["hour"]["of"], 38) << "one in two hundred is silent";
  EXPECT_EQ(kpis[6]["hour"]["of"], 1);
}
// mesh.md part 13: agents active / total, sectors healthy, mean impedance, conflicts in the last
// hour, mode, last cascade.
TEST(Status, SaysWhatTheMeshIsLikeAsAWhole) {
  Live live;
  live.enrol("40");
  const Json before = live.seen({"status"});
  EXPECT_TRUE(before["last_cascade"].is_null());
  EXPECT_EQ(before["agents_active"], 40);
  EXPECT_EQ(before["agents_enrolled"], 40);
  ASSERT_EQ(live.run({"cascade", "hello", "--strategy", "parallel"}).exit_code, 0);
  Json status;
  do status = live.seen({"status"});
  while (status["last_cascade"].is_null() || status["mode"].is_null() ||
         status["mean_impedance_ms"].is_null() || status["sectors_healthy"] == 0);
  EXPECT_EQ(status["mode"], "FULL");
  EXPECT_EQ(status["sectors_healthy"], 1);
  EXPECT_EQ(status["sectors_degraded"], 0);
  EXPECT_TRUE(status["conflicts_last_hour"].is_number_unsigned());
  EXPECT_EQ(status["last_cascade"]["strategy"], "parallel");
  EXPECT_EQ(status["last_cascade"]["status"], "SUCCESS");
  EXPECT_EQ(status["last_cascade"]["targeted"], 40);
  EXPECT_GT(status["last_cascade"]["ended_unix_ms"].get<std::int64_t>(), 1'600'000'000'000);
}
// Agents that were never asked have the scores of their classes' priors (mesh.md parts 4 and 5):
// the lead of a payload of weight 1, (latency / 2 + 1.5 base) * (1 + 1.645 * 0.1), in ms. The mean
// is that of the clusters' means, whatever clusters they were placed in: not that of the agents.
TEST(Status, TheMeanImpedanceIsTheMeanOfTheClustersMeanScores) {
  const std::map<std::string, int> scores = {{"A", 24}, {"D", 378}};
  Live live;
  live.enrol("40");
  StartedMesh slow(
      {"agent", "--name", "slow", "--class", "D", "--exec", "cat", "--dir", live.mesh()});
  ASSERT_TRUE(live.publishes("agents_active", 41));
  std::map<int, std::pair<double, int>> clusters;  // sum, and how many
  std::map<std::string, int> of_class;
  const Json table = live.seen({"inspect", "agents"});
  for (const Json& agent : table["agents"]) {
    const std::string its_class = agent["class"];
    ASSERT_TRUE(scores.contains(its_class)) << "the swarm's first forty are of class A";
    EXPECT_EQ(agent["score"], scores.at(its_class)) << agent["name"];
    ++of_class[its_class];
    auto& [sum, count] = clusters[agent["cluster"].get<int>()];
    sum += scores.at(its_class);
    ++count;
  }
  EXPECT_EQ(of_class, (std::map<std::string, int>{{"A", 40}, {"D", 1}}));
  ASSERT_GT(clusters.size(), 1U);
  double means = 0;
  for (const auto& [cluster, of] : clusters) means += of.first / of.second;
  const double mean = means / static_cast<double>(clusters.size());
  ASSERT_GT(std::abs(mean - (40 * 24 + 378) / 41.0), 1) << "the two means are the same here";
  // Added up each tenth of a second; as long as it is another one, it is looked at again.
  double said = -1;
  for (int looks = 0; looks < 3'000 && std::abs(said - mean) > 1e-3; ++looks) {
    const Json status = live.seen({"status"});
    if (status["mean_impedance_ms"].is_number()) said = status["mean_impedance_ms"];
  }
  EXPECT_NEAR(said, mean, 1e-3);
}
TEST(Top, ListsOperationsThatRunAndTheLastThatEndedAlsoOfADeadEngine) {
  Live live;
  live.enrol("40");
  StartedMesh asking({"agent", "--name", "never", "--exec", "cat", "--dir", live.mesh()});
  ASSERT_TRUE(live.publishes("agents_active", 41));
  ASSERT_EQ(live.run({"scatter", "first"}).exit_code, 0);
  ASSERT_EQ(live.run({"cascade", "second", "--strategy", "parallel"}).exit_code, 0);
  StartedMesh running({"scatter", "third", "--horizon-ms", "15000", "--dir", live.mesh()});
  Json frame;
  do frame = live.seen({"top"});
  while (frame["operations_running"] == 0);
  const Json& first = frame["operations"][0];
  EXPECT_EQ(first["kind"], "scatter");
  EXPECT_EQ(first["running"], true);
  EXPECT_EQ(first["targeted"], 41);
  EXPECT_GT(first["to_t_ms"], 0);
  EXPECT_LE(first["to_t_ms"], 15'000);
  std::map<std::string, int> answered;
  for (const Json& one : frame["operations"])
    if (one["running"] == false) answered[one["kind"]] += one["answered"].get<int>();
  EXPECT_EQ(answered["scatter"], 41);
  EXPECT_EQ(answered["parallel"], 41);
  live.kill_engine();
  const Json dead = live.seen({"top"});
  EXPECT_EQ(dead["engine_running"], false);
  EXPECT_EQ(dead["operations_running"], 1) << "a successor goes on with it";
}

}  // namespace of_live_operations_test
}  // namespace mesh::testing
