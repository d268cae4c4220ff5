// Real deaths while an agent is quarantined and reloaded: of the engine before and after each step,
// of the agent's process while it loads. The case goes on, and ends as if nobody had died.
#include <nlohmann/json.hpp>

#include "tests/engine/context_mesh.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_strategies_crash_test {

using engine::Answer;
using engine::ConflictState;
using engine::Delivery;
using engine::Station;
using nlohmann::json;

// One agent, "a", that hands over "good" and answers everything in HASH_MISMATCH. Tells "ready",
// "loaded <what>", "back". With `hangs` it never comes back from its first load.
int corrupted_agent(const Channel& channel, bool hangs) {
  engine::StationOptions options{.name = "agent"};
  options.engine_patience = kForEver;
  options.connect.patience = kForEver;
  options.load_context = [&](AgentId, std::span<const std::byte> context) -> Status {
    channel.tell("loaded " +
                 std::string(reinterpret_cast<const char*>(context.data()), context.size()));
    if (hangs) (void)channel.hear();  // for ever: the test kills us here
    return {};
  };
  const std::string directory = channel.hear();
  auto attached = Station::attach(directory, options);
  if (!attached) return 1;
  Station& station = **attached;
  const auto ids = station.enrol(std::vector<engine::AgentDeclaration>{{.name = "a"}});
  if (!ids || !station.set_context(ids->at(0), as_context("good"))) return 1;
  channel.tell("ready");
  for (std::uint64_t returns = 0; !station.is_lost();) {
    station.poll(16, [](const Delivery& delivery) {
      // What the mesh tells the coordinator, which it is, is taken.
      return delivery.text() == "?"
                 ? Answer::in_conflict(sched::ConflictType::hash_mismatch, {1, 2})
                 : Answer::ready();
    });
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
    if (station.reattached() == returns) continue;
    returns = station.reattached();
    channel.tell("back");
  }
  return 0;
}

class StrategiesCrash : public ::testing::Test {
 protected:
  engine::EngineOptions options(const std::function<void(std::string_view, bool)>& at_step = {}) {
    engine::EngineOptions options = engine_options(directory_.path());
    options.conflicts = {.store = where_, .load_patience = kForEver, .at_step = at_step};
    return options;
  }
  // Of the agent's words, the first that begins so.
  static std::string heard(const Child& agent, const std::string& begin) {
    for (;;) {
      const std::string word = agent.hear();
      if (word.starts_with(begin) || word == kGone) return word;
    }
  }
  void expect_resolved(EngineProcess& engine) {
    const auto found = reader_.wait_for(ConflictState::resolved);
    ASSERT_EQ(found.size(), 1U);
    std::vector<std::string> steps;
    for (const engine::Record& record : reader_.history(found[0].subject)) {
      if (record.step != 0 && record.state != ConflictState::resolved) {
        EXPECT_EQ(record.state, ConflictState::resolving);
      }
      if (record.step != 0) steps.push_back(record.expected);
    }
    EXPECT_THAT(steps, ::testing::ElementsAre("quarantine_agent", "load_snapshot", "check_hash",
                                              "release_agent"))
        << "each once";
    EXPECT_TRUE(eventually([&] { return engine.status()["agents_quarantined"] == 0; }));
    const auto verified = reader_.open()->verify({});
    EXPECT_TRUE(verified && verified->whole);
  }

  ScratchDirectory directory_;
  ScratchDirectory files_;
  std::string where_ = files_.path() + "/conflicts.db";
  ConflictReader reader_{where_};
};

struct Moment {
  const char* step;
  bool is_done;
};
class EngineDies : public StrategiesCrash, public ::testing::WithParamInterface<Moment> {};

INSTANTIATE_TEST_SUITE_P(
    At, EngineDies,
    ::testing::Values(Moment{"quarantine_agent", false}, Moment{"quarantine_agent", true},
                      Moment{"load_snapshot", false}, Moment{"load_snapshot", true},
                      Moment{"check_hash", false}, Moment{"check_hash", true},
                      Moment{"release_agent", false}, Moment{"release_agent", true}),
    [](const auto& moment) {
      return std::string(moment.param.step) + (moment.param.is_done ? "_done" : "_begun");
    });

TEST_P(EngineDies, TheNextOneTakesTheCaseOverAndEndsIt) {
  const Child agent([](const Channel& channel) { return corrupted_agent(channel, false); });
  const Moment moment = GetParam();
  {
    EngineProcess first(options([moment](std::string_view step, bool is_done) {
      if (step == moment.step && is_done == moment.is_done) ::kill(::getpid(), SIGKILL);
    }));
    ASSERT_EQ(first.hear(), "up");
    agent.tell(directory_.path());
    ASSERT_EQ(agent.hear(), "ready");
    first.send("a", "?");
    ASSERT_TRUE(first.dies());
  }
  EngineProcess second(options());
  ASSERT_EQ(second.hear(), "up");
  ASSERT_EQ(heard(agent, "back"), "back");
  expect_resolved(second);
  EXPECT_EQ(second.end(), 0);
}

TEST_F(StrategiesCrash, TheHoldOutlivesTheEngineThatMadeIt) {
  const Child agent([](const Channel& channel) { return corrupted_agent(channel, true); });
  {
    EngineProcess first(options());
    ASSERT_EQ(first.hear(), "up");
    agent.tell(directory_.path());
    ASSERT_EQ(agent.hear(), "ready");
    first.send("a", "?");
    ASSERT_EQ(agent.hear(), "loaded good");
    EXPECT_EQ(first.status()["agents_quarantined"], 1);
    first.kill();
  }
  EngineProcess second(options());
  ASSERT_EQ(second.hear(), "up");
  EXPECT_EQ(second.status()["agents_quarantined"], 1);
  EXPECT_EQ(second.end(), 0);
}

TEST_F(StrategiesCrash, AnAgentThatDiesWhileItLoadsLoadsWhenItIsBack) {
  EngineProcess engine(options());
  ASSERT_EQ(engine.hear(), "up");
  {
    const Child first([](const Channel& channel) { return corrupted_agent(channel, true); });
    first.tell(directory_.path());
    ASSERT_EQ(first.hear(), "ready");
    engine.send("a", "?");
    ASSERT_EQ(first.hear(), "loaded good");
  }  // killed inside its handler
  EXPECT_TRUE(eventually([&] { return engine.status()["agents_active"] == 0; }));
  EXPECT_EQ(engine.status()["agents_quarantined"], 1);
  const Child again([](const Channel& channel) { return corrupted_agent(channel, false); });
  again.tell(directory_.path());
  ASSERT_EQ(heard(again, "loaded"), "loaded good");
  expect_resolved(engine);
  EXPECT_EQ(engine.end(), 0);
}

TEST_F(StrategiesCrash, BothDieAndTheCaseWaitsForBoth) {
  {
    const Child first([](const Channel& channel) { return corrupted_agent(channel, true); });
    EngineProcess engine(options());
    ASSERT_EQ(engine.hear(), "up");
    first.tell(directory_.path());
    ASSERT_EQ(first.hear(), "ready");
    engine.send("a", "?");
    ASSERT_EQ(first.hear(), "loaded good");
    engine.kill();
  }
  engine::EngineOptions second = options();
  second.reconnect = Nanos{0};
  EngineProcess engine(second);
  ASSERT_EQ(engine.hear(), "up");
  const Child again([](const Channel& channel) { return corrupted_agent(channel, false); });
  again.tell(directory_.path());
  ASSERT_EQ(heard(again, "loaded"), "loaded good");
  expect_resolved(engine);
  EXPECT_EQ(engine.end(), 0);
}

}  // namespace of_strategies_crash_test
}  // namespace mesh::testing
