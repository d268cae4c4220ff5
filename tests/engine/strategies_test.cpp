// Strategies of conflicts, carried out in a running engine with real stations.
#include <latch>

#include "tests/engine/context_mesh.hpp"

namespace mesh::testing {
namespace of_strategies_test {

using engine::Answer;
using engine::ConflictState;
using engine::Delivery;
using engine::Engine;
using nlohmann::json;
using sched::ConflictType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Answer objects(ConflictType type, std::uint64_t expected = 1, std::uint64_t received = 2,
               std::string_view carried = {}) {
  return Answer::in_conflict(type, {expected, received}, as_context(carried));
}
// To what the test asks. What the mesh tells a coordinator of it is taken.
std::function<Answer(const Delivery&)> objecting(ConflictType type, std::uint64_t expected = 1,
                                                 std::uint64_t received = 2,
                                                 std::string carried = {}) {
  return
      [=, carried = std::make_shared<std::string>(std::move(carried))](const Delivery& delivery) {
        return delivery.text().ends_with('?') ? objects(type, expected, received, *carried)
                                              : Answer::ready();
      };
}
std::uint64_t hash_of(const std::string& text) { return shm::hash64(std::string_view(text)); }

class Strategies : public ::testing::Test {
 protected:
  void SetUp() override { start(); }
  void start(Nanos load_patience = Nanos{60 * kNsPerSecond}) {
    engine_.reset();
    engine::EngineOptions options;
    options.directory = directory_.path();
    options.size = {.agents = 64, .stations = 8};
    options.loop.upkeep = Nanos{10 * kNsPerMs};
    options.conflicts = {.store = where_, .load_patience = load_patience};
    auto engine = Engine::start(options);
    ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
    engine_ = std::move(*engine);
  }
  // The agent answers in CONFLICT.
  void ask(AgentId agent) {
    const auto answer = engine_->ask(agent, as_context("?"), Nanos{60 * kNsPerSecond});
    ASSERT_TRUE(answer.has_value()) << answer.error().sentence;
    ASSERT_EQ(answer->state, sched::TrinaryState::conflict);
  }
  std::size_t quarantined() { return engine_->status()->gauges.quarantined; }
  // What was done about the one conflict that came to this state.
  std::vector<std::string> steps(ConflictState state) {
    const auto found = reader_.wait_for(state);
    return found.empty() ? std::vector<std::string>() : lines_of(reader_.history(found[0].subject));
  }
  void resolve(const engine::SubjectId& subject) {
    auto client = engine::ControlClient::connect(directory_.path(), {});
    const json request = {
        {"op", "resolve"}, {"conflict", engine::name_of(subject)}, {"decision", "seen to"}};
    EXPECT_TRUE(eventually([&] { return client->request(request.dump()).has_value(); }));
  }

  ScratchDirectory directory_;
  ScratchDirectory files_;
  std::string where_ = files_.path() + "/conflicts.db";
  ConflictReader reader_{where_};
  std::unique_ptr<Engine> engine_;
};

// QUARANTINE_AND_RELOAD

TEST_F(Strategies, AWrongHashIsQuarantinedReloadedCheckedAndReleased) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .handler = objecting(ConflictType::hash_mismatch)});
  ASSERT_TRUE(agents.set(0, "old"));
  ASSERT_TRUE(agents.set(0, "good"));
  ask(agents.id(0));
  const std::string hash = std::to_string(hash_of("good"));
  EXPECT_THAT(steps(ConflictState::resolved),
              ElementsAre("conflict", "quarantine_agent: nothing is routed to it",
                          "load_snapshot: version 2, 4 bytes with the hash " + hash + ", is loaded",
                          "check_hash: its context has the hash that it should have, " + hash,
                          "release_agent: it is routed to again"));
  ASSERT_EQ(agents.loaded().size(), 1U);
  EXPECT_EQ(agents.loaded()[0], std::pair(agents.id(0), std::string("good")));
  EXPECT_EQ(quarantined(), 0U);
  EXPECT_TRUE(engine_->send(agents.id(0), as_context("again")));
  EXPECT_EQ(engine_->status()->counters.context_corruptions, 1U) << "a failure of the agent";
}

TEST_F(Strategies, WhileItLoadsNothingIsRoutedToIt) {
  std::latch loading(1);
  std::latch go_on(1);
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .load = [&](AgentId, auto) -> Status {
                                             loading.count_down();
                                             go_on.wait();
                                             return {};
                                           },
                                           .handler = objecting(ConflictType::hash_mismatch)});
  ASSERT_TRUE(agents.set(0, "good"));
  ask(agents.id(0));
  loading.wait();
  EXPECT_EQ(quarantined(), 1U);
  const Status sent = engine_->send(agents.id(0), as_context("now?"));
  EXPECT_EQ(sent.error().code, Errc::not_routable);
  EXPECT_THAT(sent.error().sentence, HasSubstr("in quarantine"));
  EXPECT_TRUE(engine_->find_best({.score_max = 1'000})->empty());
  go_on.count_down();
  EXPECT_EQ(steps(ConflictState::resolved).size(), 5U);
  EXPECT_EQ(quarantined(), 0U);
}

TEST_F(Strategies, AnAgentWithoutAContextOrAHandlerIsAPersonsTaskAndIsNotHeld) {
  for (const bool has_context : {false, true}) {
    ContextAgents agents(directory_.path(), {.agents = {{.name = has_context ? "a" : "b"}},
                                             .loads = !has_context,
                                             .handler = objecting(ConflictType::hash_mismatch)});
    if (has_context) {
      ASSERT_TRUE(agents.set(0, "good"));
    }
    ask(agents.id(0));
    const auto found = reader_.wait_for(ConflictState::for_person, has_context ? 2 : 1);
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found[0].strategy, static_cast<std::uint8_t>(engine::ConflictStrategy::human_review));
    EXPECT_EQ(found[0].priority, 4);
    EXPECT_EQ(quarantined(), 0U);
  }
}

TEST_F(Strategies, AHandlerThatFailsLeavesTheAgentInQuarantineUntilAPersonDecides) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .load = [](AgentId, auto) -> Status {
                                             throw std::runtime_error("no room here");
                                           },
                                           .handler = objecting(ConflictType::hash_mismatch)});
  ASSERT_TRUE(agents.set(0, "good"));
  ask(agents.id(0));
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_THAT(lines[2], StartsWith("load_snapshot: the agent's process could not load it"));
  EXPECT_THAT(lines[2], HasSubstr("no room here"));
  EXPECT_EQ(quarantined(), 1U);
  resolve(reader_.wait_for(ConflictState::for_person)[0].subject);
  EXPECT_TRUE(eventually([&] { return quarantined() == 0; }));
}

TEST_F(Strategies, AnAgentThatDoesNotAnswerInTimeIsAPersons) {
  start(Nanos{50 * kNsPerMs});
  std::latch go_on(1);
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .load = [&](AgentId, auto) -> Status {
                                             go_on.wait();
                                             return {};
                                           },
                                           .handler = objecting(ConflictType::hash_mismatch)});
  ASSERT_TRUE(agents.set(0, "good"));
  ask(agents.id(0));
  const auto lines = steps(ConflictState::for_person);
  go_on.count_down();
  ASSERT_GE(lines.size(), 3U);
  EXPECT_EQ(
      lines[2],
      "load_snapshot: it could not be loaded within 50 ms: the agent's process did not answer");
  EXPECT_EQ(quarantined(), 1U);
}

TEST_F(Strategies, TheOperatorsHoldStandsBesideTheMeshsOwn) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .handler = objecting(ConflictType::hash_mismatch)});
  ASSERT_TRUE(agents.set(0, "good"));
  ask(agents.id(0));
  const std::vector<std::string> names = {"a"};
  ASSERT_TRUE(engine_->route_around(names, true));
  EXPECT_EQ(steps(ConflictState::resolved).size(), 5U);
  const auto status = engine_->status();
  EXPECT_EQ(status->gauges.quarantined, 0U);
  EXPECT_EQ(status->gauges.routed_around, 1U);
  EXPECT_EQ(engine_->send(agents.id(0), as_context("x")).error().code, Errc::not_routable);
  ASSERT_TRUE(engine_->route_around(names, false));
  EXPECT_TRUE(engine_->send(agents.id(0), as_context("x")));
}

TEST_F(Strategies, AContextThatDriftsFromWhatWasHandedOverIsFoundByTheHeartbeat) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}, {.name = "b"}}});
  ASSERT_TRUE(agents.set(0, "good"));
  const auto say = [&](std::size_t agent, std::uint64_t hash) {
    return agents.call(
        [&](engine::Station& station) { return station.report_context(agents.id(agent), hash); });
  };
  EXPECT_TRUE(say(0, 0));
  EXPECT_TRUE(say(1, 77)) << "it has handed none over: nothing is expected of it";
  EXPECT_TRUE(say(0, hash_of("bad")));
  const auto found = reader_.wait_for(ConflictState::resolved);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].type, ConflictType::hash_mismatch);
  EXPECT_EQ(found[0].agent, agents.id(0));
  EXPECT_EQ(found[0].expected, std::to_string(hash_of("good")));
  EXPECT_EQ(found[0].received, std::to_string(hash_of("bad")));
  ASSERT_EQ(agents.loaded().size(), 1U);
  EXPECT_EQ(agents.loaded()[0].second, "good");
  EXPECT_EQ(quarantined(), 0U);
  EXPECT_EQ(engine_->status()->counters.context_corruptions, 1U);
  EXPECT_EQ(engine_->status()->counters.breaker_failures, 1U) << "mesh.md part 12: a failure";
}

// REROUTE

TEST_F(Strategies, WorkThatAnAgentCannotDoGoesElsewhereAndItIsNotSaidOfItAnyMore) {
  ContextAgents bad(directory_.path(), {.agents = {{.name = "bad", .capabilities = {"see"}}},
                                        .handler = objecting(ConflictType::capability_mismatch)});
  std::string work;
  ContextAgents good(directory_.path(), {.agents = {{.name = "good", .capabilities = {"see"}}},
                                         .handler = [&](const Delivery& delivery) {
                                           work = std::string(delivery.text());
                                           return Answer::ready(as_context("a cat"));
                                         }});
  auto client = engine::ControlClient::connect(directory_.path(), {});
  const auto sent = client->request(
      R"({"op": "send", "to": "bad", "text": "what is it?", "wait": true, "require": ["see"]})");
  ASSERT_TRUE(sent.has_value()) << sent.error().sentence;
  EXPECT_THAT(steps(ConflictState::resolved),
              ElementsAre("conflict", "mend_capabilities: see is not said of it any more",
                          R"(route_elsewhere: {"agent":"good","answer":"a cat"})"));
  EXPECT_EQ(work, "what is it?");
  EXPECT_EQ(engine_->find_best({.capabilities = {"see"}, .count = 5, .score_max = 1'000})->size(),
            1U);
}

TEST_F(Strategies, WithoutAnotherThatCanItIsAPersonsWithTheReason) {
  ContextAgents bad(directory_.path(), {.agents = {{.name = "bad", .capabilities = {"see"}}},
                                        .handler = objecting(ConflictType::capability_mismatch)});
  auto client = engine::ControlClient::connect(directory_.path(), {});
  ASSERT_TRUE(client->request(
      R"({"op": "send", "to": "bad", "text": "what?", "wait": true, "require": ["see"]})"));
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_THAT(lines[2], HasSubstr("no agent that is active and routable fits"));
}

// It would be the best fit, and is the one that wanted it done.
TEST_F(Strategies, WorkIsNotReroutedToWhoSentIt) {
  std::atomic<bool> has_come_back{false};
  ContextAgents asker(directory_.path(), {.agents = {{.name = "asker", .capabilities = {"see"}}},
                                          .handler = [&](const Delivery& delivery) {
                                            // relaxed: a flag that stands alone.
                                            if (delivery.text() == "what is it?")
                                              has_come_back.store(true, std::memory_order_relaxed);
                                            return Answer::ready();
                                          }});
  ContextAgents bad(directory_.path(), {.agents = {{.name = "bad", .capabilities = {"see"}}},
                                        .handler = objecting(ConflictType::capability_mismatch)});
  const auto send = [&] {
    return asker.call([&](engine::Station& station) {
      engine::SendOptions options{.source = asker.id(0), .target = bad.id(0)};
      EXPECT_TRUE(station.require("see", options));
      return station.send_until(station.now() + Nanos{60 * kNsPerSecond}, options,
                                as_context("what is it?"));
    });
  };
  ASSERT_EQ(send(), engine::SendStatus::sent);
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_EQ(lines[1], "mend_capabilities: see is not said of it any more");
  EXPECT_THAT(lines[2], HasSubstr("no agent that is active and routable fits"));
  EXPECT_FALSE(has_come_back.load(std::memory_order_relaxed));  // relaxed: as above
}

TEST_F(Strategies, AMessageThatAskedForNothingCannotBeRerouted) {
  ContextAgents bad(directory_.path(), {.agents = {{.name = "bad"}},
                                        .handler = objecting(ConflictType::capability_mismatch)});
  ask(bad.id(0));
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_THAT(lines[1], HasSubstr("the message asked for no capability"));
}

// BRANCH_AND_RECONCILE

class Branches : public Strategies {
 protected:
  // a and b come from one context and go on to these; then a objects to b's.
  void diverge(const std::string& ours, const std::string& theirs, bool has_ancestor = true) {
    agents_ = std::make_unique<ContextAgents>(
        directory_.path(), ContextAgents::Options{.agents = {{.name = "a"}, {.name = "b"}},
                                                  .handler = [=](const auto&) {
                                                    return objects(ConflictType::context_divergence,
                                                                   hash_of(ours), hash_of(theirs));
                                                  }});
    for (std::size_t agent : {0U, 1U})
      if (has_ancestor) {
        ASSERT_TRUE(agents_->set(agent, R"({"x":1,"y":1})"));
      }
    ASSERT_TRUE(agents_->set(0, ours));
    ASSERT_TRUE(agents_->set(1, theirs));
    ask(agents_->id(0));
  }
  std::unique_ptr<ContextAgents> agents_;
};

TEST_F(Branches, AreKeptMergedAndLoadedByBoth) {
  diverge(R"({"x":2,"y":1})", R"({"x":1,"y":1,"z":[3]})");
  const auto lines = steps(ConflictState::resolved);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_THAT(lines[1], HasSubstr(R"("ours":{"agent":"a")"));
  EXPECT_THAT(lines[2], HasSubstr(R"("entries":3)"));
  EXPECT_EQ(lines[3], "load_merged: the merged context is loaded by a, b");
  const std::string merged = R"({"x":2,"y":1,"z":[3]})";
  EXPECT_THAT(agents_->loaded(),
              ElementsAre(std::pair(agents_->id(0), merged), std::pair(agents_->id(1), merged)));
  EXPECT_EQ(quarantined(), 0U);
  const auto store = reader_.open();
  const std::string subject = engine::name_of(reader_.wait_for(ConflictState::resolved)[0].subject);
  EXPECT_EQ(store->newest_snapshot("conflict " + subject + " theirs")->bytes,
            R"({"x":1,"y":1,"z":[3]})");
  EXPECT_EQ(store->contexts({"b", ::geteuid()})->front().bytes, merged);
  EXPECT_EQ(engine_->status()->counters.context_corruptions, 0U);
}

TEST_F(Branches, ThatContradictEachOtherAreAPersonsAndBothStay) {
  diverge(R"({"x":2,"y":1})", R"({"x":3,"y":1})");
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_EQ(lines[2], "merge_branches: both changed, each in its way: x");
  EXPECT_TRUE(agents_->loaded().empty());
}

TEST_F(Branches, WithoutACommonAncestorAreAPersons) {
  diverge(R"({"x":2})", R"({"x":3})", false);
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_EQ(lines[1], "keep_branches: no context that both come from is kept");
}

TEST_F(Branches, ThatAreNoObjectsAreAPersons) {
  diverge("not JSON", R"({"x":3})");
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  EXPECT_EQ(lines[2], "merge_branches: the agent's context is no JSON object: it cannot be merged");
}

// PROVENANCE_TRACE

TEST_F(Strategies, ValuesAreTracedToTheirOriginsAndAnEvenMatchIsAPersons) {
  ContextAgents knows(directory_.path(),
                      {.agents = {{.name = "knows"}},
                       .handler = objecting(ConflictType::data_contradiction, 4, 5)});
  ContextAgents says(directory_.path(), {.agents = {{.name = "says"}}});
  const auto sent = says.call([&](engine::Station& station) {
    return station.send({.source = says.id(0), .target = knows.id(0)}, as_context("is it 5?"));
  });
  EXPECT_EQ(sent, engine::SendStatus::sent);
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 3U);
  const json traced = json::parse(lines[1].substr(std::string("trace_origins: ").size()));
  ASSERT_EQ(traced["testimonies"].size(), 2U);
  EXPECT_EQ(traced["testimonies"][0]["value"], "5");
  EXPECT_EQ(traced["testimonies"][0]["origin"], static_cast<std::uint64_t>(says.id(0)));
  EXPECT_EQ(traced["testimonies"][1]["value"], "4");
  EXPECT_THAT(lines[2], StartsWith("take_stronger: the evidence is too even"));
}

TEST_F(Strategies, WhatTheOperatorSaysIsNotWeighed) {
  ContextAgents knows(directory_.path(),
                      {.agents = {{.name = "knows"}},
                       .handler = objecting(ConflictType::data_contradiction, 4, 5)});
  ask(knows.id(0));
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_THAT(lines[1], StartsWith("trace_origins: the message came from the operator"));
}

// CLOCK_RECONCILIATION

TEST_F(Strategies, TheOrderOfEventsIsRebuiltFromTheirVectorClocks) {
  const std::string events = R"({"events":[
    {"agent":"b","at_ns":100,"clock":{"a":1,"b":1}},
    {"agent":"a","at_ns":200,"clock":{"a":1}}]})";
  ContextAgents agents(directory_.path(),
                       {.agents = {{.name = "a"}},
                        .handler = objecting(ConflictType::temporal_paradox, 1, 2, events)});
  ask(agents.id(0));
  const auto lines = steps(ConflictState::resolved);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[2],
            R"(rebuild_order: {"order":[{"agent":"a","event":1},{"agent":"b","event":0}]})")
      << "although b's wall clock says that it was first";
}

TEST_F(Strategies, WithoutVectorClocksATemporalParadoxIsAPersons) {
  ContextAgents agents(directory_.path(), {.agents = {{.name = "a"}},
                                           .handler = objecting(ConflictType::temporal_paradox)});
  ask(agents.id(0));
  const auto lines = steps(ConflictState::for_person);
  ASSERT_GE(lines.size(), 2U);
  EXPECT_EQ(lines[1],
            "collect_clocks: the answer carries no vector clocks of the events concerned");
}

// BYZANTINE_BEHAVIOR: quarantined, evidence kept, escalated at once.

TEST_F(Strategies, WhoDiffersFromALargeMajorityIsHeldUntilAPersonHasDecided) {
  for (const bool has_context : {false, true}) {
    start();
    std::vector<engine::AgentDeclaration> names;
    for (int i = 0; i < 8; ++i) names.push_back({"a-" + std::to_string(i)});
    ContextAgents agents(directory_.path(),
                         {.agents = names, .handler = [&](const Delivery& delivery) {
                            return Answer::ready(as_context(
                                delivery.agent == 7 && delivery.text() == "?" ? "8" : "7"));
                          }});
    if (has_context) {
      ASSERT_TRUE(agents.set(7, "what it knows"));
    }
    engine::OperationRequest request;
    request.horizon = request.window = Nanos{60 * kNsPerSecond};  // ended by the last answer
    request.timeout = Nanos{600 * kNsPerSecond};
    request.at_once = request.comparable = true;
    request.body = as_context("?");
    const auto done = engine_->scatter(request, false);
    ASSERT_TRUE(done.has_value()) << done.error().sentence;
    EXPECT_EQ(done->finished.compared.verdict, engine::OutcomesCompared::Verdict::outliers);
    const auto found = reader_.wait_for(ConflictState::for_person);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].agent, agents.id(7));
    EXPECT_EQ(found[0].priority, 4) << "told to the coordinator and the operator";
    EXPECT_EQ(found[0].expected, std::to_string(hash_of("7")));
    EXPECT_EQ(found[0].received, std::to_string(hash_of("8")));
    EXPECT_TRUE(json::parse(found[0].detail)["byzantine"]);
    EXPECT_THAT(lines_of(reader_.history(found[0].subject)),
                ElementsAre("conflict", "quarantine_agent: nothing is routed to it",
                            "load_snapshot: it differs from a large majority: it is held until "
                            "somebody has looked at it"));
    EXPECT_EQ(quarantined(), 1U);
    EXPECT_TRUE(agents.loaded().empty());
    EXPECT_EQ(engine_->send(agents.id(7), as_context("!")).error().code, Errc::not_routable);
    resolve(found[0].subject);
    EXPECT_TRUE(eventually([&] { return quarantined() == 0; }));
    EXPECT_TRUE(engine_->send(agents.id(7), as_context("!")));
  }
}

// What a conflicting answer carried.

TEST_F(Strategies, WhatAnAnswerCarriedStandsInItsRecordAlsoWhereItIsNoText) {
  std::string carried = "a claim";
  ContextAgents agents(directory_.path(),
                       {.agents = {{.name = "a"}}, .handler = [&](const Delivery& delivery) {
                          return delivery.text() == "?"
                                     ? objects(ConflictType::other, 1, 2, carried)
                                     : Answer::ready();
                        }});
  ask(agents.id(0));
  auto found = reader_.wait_for(ConflictState::for_person);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(json::parse(found[0].detail)["carried"], "a claim");
  carried = std::string("\xFF\x00\x01", 3);
  ask(agents.id(0));
  found = reader_.wait_for(ConflictState::for_person, 2);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(json::parse(found[0].detail)["carried"]["hex"], "ff0001") << "the newest first";
}

}  // namespace of_strategies_test
}  // namespace mesh::testing
