// The usual examples of the gossip engine and the chaos harness, three ways (three_ways.hpp).
#include "engine/coordination/gossip_engine.hpp"
#include "tests/engine/coordination/chaos_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"
#include "tests/engine/store/three_ways.hpp"

namespace mesh::coordination {
namespace of_three_ways_gossip_test {

using testing::bytes;
using testing::Script;
using testing::seconds;

TEST(ThreeWays, AGossipEngineProbesAndTellsARumourUntilItsTimeIsOver) {
  GossipConfig config;
  config.members_max = 16;
  config.messages_max = 64;
  config.store_bytes = 32'768;
  config.outbox_bytes = 1U << 18;
  Script<GossipEngine> script(config);
  script.say(Nanos{0}, gossip::AddMember{2, "tls://host-002", 1, ""},
             [](const auto& engine, const auto& reply) {
               EXPECT_EQ(reply.code, Errc::ok);
               EXPECT_EQ(engine.view().alive, 2U);
             });
  script.say(Nanos{0}, gossip::CreateRumor{"task-available-42", bytes("go"), seconds(30), 10},
             [](const auto& engine, const auto&) { EXPECT_EQ(engine.view().active_rumors, 1U); });
  script.tick(Nanos{0}, [](const auto& engine, const auto& actions) {
    ASSERT_EQ(actions.probes.size(), 1U);
    EXPECT_NE(actions.probes[0].sequence, 0U);
    EXPECT_EQ(actions.rumor_pushes.size(), 1U);
    EXPECT_EQ(engine.swim().probed(), 2U);
  });
  script.tick(seconds(30),
              [](const auto& engine, const auto&) { EXPECT_EQ(engine.view().active_rumors, 0U); });
  script.say(seconds(30), gossip::AddMember{1, "tls://self", 1, ""},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::invalid_argument); });
  script.say(seconds(31), gossip::SetSummary{"load", bytes("17")},
             [](const auto& engine, const auto&) {
               EXPECT_EQ(engine.summary("load")->payload, bytes("17"));
             });
  script.run();
}

TEST(ThreeWays, AChaosHarnessBreaksAnAgentUndoesItAndReports) {
  using Chaos = Script<ChaosHarness>;
  Chaos script(testing::small_chaos());
  script.say(Nanos{0}, chaos::AddMetric{"success_rate"});
  for (std::uint32_t agent = 0; agent < 4; ++agent) {
    script.say(Nanos{0}, chaos::SetAgent{agent, 0, 0, ChaosRole::member, 1});
  }
  script.say(Nanos{0}, testing::small_plan(), [](const auto&, const auto& reply) {
    EXPECT_EQ(reply.state, ExperimentState::draft);
  });
  script.say(Nanos{0}, chaos::Start{0});
  const auto measure = [&](std::int64_t second) {
    script.say(seconds(static_cast<double>(second)), chaos::Sample{0, 1});
  };
  measure(1);
  script.tick(seconds(2), [](const auto& harness, const auto& actions) {
    EXPECT_TRUE(harness.is_armed());
    EXPECT_EQ(actions.orders.size(), 1U);
  });
  script.say(seconds(2), chaos::Confirm{1, Errc::ok});
  measure(6);
  script.tick(seconds(7), [](const auto&, const auto& actions) {
    ASSERT_EQ(actions.orders.size(), 1U);
    EXPECT_TRUE(actions.orders[0].is_undo);
  });
  script.say(seconds(7), chaos::Undone{1});
  script.say(seconds(7), chaos::Recovered{3});
  script.tick(seconds(8));
  for (std::int64_t second = 9; second <= 14; ++second) {
    measure(second);
    script.tick(seconds(static_cast<double>(second)));
  }
  script.say(seconds(14), chaos::Report{0}, [](const auto& harness, const auto& reply) {
    EXPECT_TRUE(reply.report.hypothesis_held);
    EXPECT_EQ(reply.report.injections.size(), 1U);
    EXPECT_FALSE(harness.is_armed());
  });
  script.run(8);
}

}  // namespace of_three_ways_gossip_test
}  // namespace mesh::coordination
