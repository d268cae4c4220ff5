// The usual example of the gossip engine, three ways (three_ways.hpp).
#include "engine/coordination/gossip_engine.hpp"
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

}  // namespace of_three_ways_gossip_test
}  // namespace mesh::coordination
