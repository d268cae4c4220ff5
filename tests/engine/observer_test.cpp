// Observers: the table alone, read-only, for any process that may attach.
#include "engine/observer.hpp"

#include <sys/mman.h>

#include "engine/station/control_protocol.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_observer_test {

using engine::AgentState;
using engine::Observer;

TEST(Observer, RefusesAnotherBuildAndSaysThatNoEngineRunsThere) {
  const ScratchDirectory directory;
  const auto nobody = Observer::open(directory.path(), {});
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error().code, Errc::no_mesh);
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto client = engine::ControlClient::connect(directory.path(), {});
  ASSERT_TRUE(client.has_value());
  const auto answer =
      client->request(R"({"op":"observe","version":)" + std::to_string(engine::kControlVersion) +
                      R"(,"page_bytes":4096,"layout_hash":"0xbad"})");
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, Errc::layout_mismatch);
}

TEST(Observer, ReadsWhoIsThereAndCannotChangeIt) {
  const ScratchDirectory directory;
  const Child alice([](const Channel& channel) { return faithful_listener(channel, "alice"); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto observer = Observer::open(directory.path(), {});
  ASSERT_TRUE(observer.has_value()) << observer.error().sentence;
  EXPECT_EQ((*observer)->rows(), 64U);
  EXPECT_EQ((*observer)->agent(AgentIndex{0}), std::nullopt);
  alice.tell(directory.path());
  ASSERT_EQ(alice.hear(), "enrolled");
  const auto seen = (*observer)->agent(AgentIndex{0});
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->name, "alice");
  EXPECT_EQ(seen->state, AgentState::active);
  EXPECT_EQ(seen->station, StationId{1});
  EXPECT_EQ(seen->incarnation, 1U);
  EXPECT_EQ(seen->id, engine->find("alice").value());
  EXPECT_LT(seen->heartbeat_age_ms, 600'000U);
  EXPECT_FALSE((*observer)->counters("scheduler").empty());
  EXPECT_TRUE((*observer)->counters("nobody").empty());
  EXPECT_GE((*observer)->now(), engine->now() - Nanos{kNsPerSecond});
  auto* const bytes = const_cast<std::byte*>((*observer)->table().data());
  EXPECT_EQ(::mprotect(bytes, 4'096, PROT_READ | PROT_WRITE), -1) << "an observer could write";
  EXPECT_EQ(engine->status()->stations, 1U) << "an observer counts as a station";
}

TEST(Observer, KeepsTheLastThatADeadEngineWrote) {
  const ScratchDirectory directory;
  EngineProcess engine(engine_options(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  auto observer = Observer::open(directory.path(), {});
  ASSERT_TRUE(observer.has_value()) << observer.error().sentence;
  EXPECT_TRUE((*observer)->engine_is_there());
  engine.kill();
  EXPECT_TRUE(eventually([&] { return !(*observer)->engine_is_there(); }));
  EXPECT_EQ((*observer)->agent(AgentIndex{0}), std::nullopt);
  const HostTime before = (*observer)->now();
  EngineProcess next(engine_options(directory.path()));
  ASSERT_EQ(next.hear(), "up");
  EXPECT_GE((*observer)->now(), before) << "the clock stepped back";
}

}  // namespace of_observer_test
}  // namespace mesh::testing
