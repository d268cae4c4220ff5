// Operations as mesh top lists them, and cascades among the KPIs.
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
  EXPECT_GE(status["mean_impedance_ms"].get<double>(), 0);  // whole ms: of the fast it may be 0
  EXPECT_TRUE(status["conflicts_last_hour"].is_number_unsigned());
  EXPECT_EQ(status["last_cascade"]["strategy"], "parallel");
  EXPECT_EQ(status["last_cascade"]["status"], "SUCCESS");
  EXPECT_EQ(status["last_cascade"]["targeted"], 40);
  EXPECT_GT(status["last_cascade"]["ended_unix_ms"].get<std::int64_t>(), 1'600'000'000'000);
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
