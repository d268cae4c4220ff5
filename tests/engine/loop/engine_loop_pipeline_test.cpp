// Pipelines on virtual time: agents in order, each given the answer of the one before it.
#include <random>

#include "engine/pipeline.hpp"
#include "sched/lead_time.hpp"
#include "shm/base/point.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/loop/pipeline_mesh.hpp"
#include "tests/seed.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::engine {
namespace of_engine_loop_pipeline_test {

using ::testing::HasSubstr;

#if defined(MESH_FAULTS)
constexpr bool kFaults = true;
#else
constexpr bool kFaults = false;
#endif

constexpr std::int64_t kBucket = kMs;

std::string text_of(const FinishedPipeline& finished) {
  return {reinterpret_cast<const char*>(finished.body.data()), finished.body.size()};
}
std::vector<StepState> states_of(const FinishedPipeline& finished) {
  std::vector<StepState> states;
  for (const PipelineStep& step : finished.steps) states.push_back(step.state);
  return states;
}
// Of an agent of class A without history, as it is sent something of weight 1.
std::int64_t prior_lead_ns() {
  const auto plan = sched::nominal({.agent_class = sched::AgentClass::edge,
                                    .latency_ms = sched::prior_latency_ms(sched::AgentClass::edge),
                                    .drift = sched::kPriorDrift,
                                    .reliability = sched::kPriorReliability},
                                   {.weight = 1});
  return static_cast<std::int64_t>(plan.lead_ms * static_cast<double>(kNsPerMs));
}
using States = std::vector<StepState>;

TEST(EngineLoopPipeline, RefusesWhatCannotBe) {
  Line mesh;
  const auto& a = mesh.agents;
  const auto refusal = [&](std::vector<AgentId> targets, PipelineRequest request = {}) {
    const auto opened = mesh.try_open(std::move(targets), request);
    return opened ? Errc::ok : opened.error().code;
  };
  EXPECT_EQ(refusal({}), Errc::invalid_argument);
  EXPECT_EQ(refusal(std::vector<AgentId>(kPipelineStepsMax + 1, a[0])), Errc::invalid_argument);
  EXPECT_EQ(refusal({a[0]}, {.window = Nanos{0}}), Errc::invalid_argument);
  EXPECT_EQ(refusal({a[0]}, {.horizon = Nanos{-1}}), Errc::invalid_argument);
  EXPECT_EQ(refusal({a[0]}, {.weight = -1}), Errc::invalid_argument);
  const auto nobody = mesh.try_open({a[0], AgentId{99}});
  EXPECT_EQ(nobody.error().code, Errc::no_such_agent);
  EXPECT_THAT(nobody.error().sentence, HasSubstr("step 2"));
  must(mesh.loop->route_around(a[1], true));
  EXPECT_EQ(refusal({a[0], a[1]}), Errc::not_routable);
  must(mesh.loop->route_around(a[1], false));
  const auto soon = mesh.try_open({a[0], a[1]}, {.horizon = Nanos{30 * kMs}});
  EXPECT_EQ(soon.error().code, Errc::no_schedulable_agents);
  EXPECT_THAT(soon.error().sentence, HasSubstr("2 steps need 49 ms, T is in 30 ms"));
  EXPECT_EQ(mesh.loop->counters().pipelines, 0U);
  for (std::uint32_t i = 0; i < kMaxPipelines; ++i) mesh.open({a[0]});
  EXPECT_EQ(refusal({a[0]}), Errc::capacity);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, EachIsGivenTheAnswerOfTheOneBeforeAndTheLastOnesIsTheResult) {
  Line mesh;
  mesh.open({mesh.agents[2], mesh.agents[0], mesh.agents[1]}, "x:");
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::success);
  EXPECT_EQ(text_of(*finished), "x:cab");
  EXPECT_EQ(finished->state, TrinaryState::ready);
  EXPECT_EQ(finished->done(), 3U);
  ASSERT_EQ(mesh.seen.size(), 3U);
  EXPECT_EQ(mesh.seen[0].body, "x:");
  EXPECT_EQ(mesh.seen[1].body, "x:c");
  EXPECT_EQ(mesh.seen[2].body, "x:ca");
  EXPECT_EQ(mesh.loop->counters().pipelines_done, 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, ItsStepsArePlannedBackFromT) {
  Line mesh;
  const std::int64_t target_ns = mesh.now_ns + 500 * kMs;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "", {.target = from_ns(target_ns)});
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  const std::int64_t lead = prior_lead_ns();
  EXPECT_NEAR(static_cast<double>(lead), 24.4545e6, 1e3)
      << "6 one way, 15 of work, 1.645 x 0.1 of it";
  EXPECT_EQ(to_ns(finished->target), target_ns);
  for (std::size_t at = 0; at < 3; ++at) {
    const std::int64_t its = target_ns - static_cast<std::int64_t>(2 - at) * lead;
    EXPECT_NEAR(static_cast<double>(to_ns(finished->steps[at].target)), static_cast<double>(its),
                2'000);
    ASSERT_GT(mesh.seen.size(), at);
    // Answered at once, it makes nothing early: each leaves its own lead before its target.
    EXPECT_NEAR(static_cast<double>(mesh.seen[at].sent_ns), static_cast<double>(its - lead),
                2.0 * kBucket);
    EXPECT_EQ(mesh.seen[at].target_ns, to_ns(finished->steps[at].target));
  }
}

TEST(EngineLoopPipeline, WithoutATItIsTheNearestThatTheLeadsAllow) {
  Line mesh;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]});
  const std::int64_t begun = mesh.now_ns;
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::success);
  EXPECT_NEAR(static_cast<double>(to_ns(finished->target) - begun),
              static_cast<double>(3 * prior_lead_ns()), 3.0 * kBucket);
}

TEST(EngineLoopPipeline, OneStepIsAPipelineToo) {
  Line mesh;
  mesh.open({mesh.agents[3]}, "only ");
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(text_of(*finished), "only d");
}

TEST(EngineLoopPipeline, TheSameAgentMayComeAgain) {
  Line mesh;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[0]});
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(text_of(*finished), "aba");
}

TEST(EngineLoopPipeline, AnAnswerWithoutABodyIsAnEmptyMessageToTheNext) {
  Line mesh;
  mesh.does[1] = Works::answers_nothing;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "gone");
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  ASSERT_EQ(mesh.seen.size(), 3U);
  EXPECT_EQ(mesh.seen[1].body, "gonea");
  EXPECT_EQ(mesh.seen[2].body, "");
  EXPECT_EQ(text_of(*finished), "c");
}

TEST(EngineLoopPipeline, BodiesOfSeveralBlocksPassWhole) {
  Line mesh;
  const std::string body(5'000, 'x');
  mesh.open({mesh.agents[0], mesh.agents[1]}, body);
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(text_of(*finished), body + "ab");
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, ALateAnswerMakesTheNextLeaveAtOnce) {
  Line mesh;
  mesh.takes[0] = 300 * kMs;  // its target is 24 ms away, its deadline 524
  mesh.open({mesh.agents[0], mesh.agents[1]});
  const std::int64_t begun = mesh.now_ns;
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::success);
  ASSERT_EQ(mesh.seen.size(), 2U);
  EXPECT_GE(mesh.seen[1].sent_ns, begun + 300 * kMs);
  EXPECT_LE(mesh.seen[1].sent_ns, begun + 310 * kMs);
  EXPECT_EQ(mesh.seen[1].target_ns, 0) << "there is no T that it could be in time for";
}

TEST(EngineLoopPipeline, NoAnswerByItsDeadlineEndsItAndALaterOneChangesNothing) {
  Line mesh;
  mesh.takes[1] = 700 * kMs;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "x");
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::failed_at_step);
  EXPECT_EQ(states_of(*finished),
            (States{StepState::ready, StepState::no_answer, StepState::none}));
  EXPECT_EQ(text_of(*finished), "xa") << "the last answer that came";
  const std::int64_t deadline = to_ns(finished->steps[1].target) + 500 * kMs;
  EXPECT_GE(mesh.now_ns, deadline);
  EXPECT_LE(mesh.now_ns, deadline + 3 * kMs);
  for (int i = 0; i < 1'000; ++i) mesh.turn();
  EXPECT_EQ(mesh.seen.size(), 2U) << "the third is never sent anything";
  EXPECT_FALSE(take_finished_pipeline(*mesh.loop));
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, AConflictOrARefusalEndsIt) {
  for (const auto& [works, state] : std::map<Works, StepState>{
           {Works::conflicts, StepState::conflict}, {Works::refuses, StepState::declined}}) {
    Line mesh;
    mesh.does[1] = works;
    mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]});
    const auto finished = mesh.carry_on();
    ASSERT_TRUE(finished);
    EXPECT_EQ(finished->status, PipelineStatus::failed_at_step);
    EXPECT_EQ(states_of(*finished), (States{StepState::ready, state, StepState::none}));
    EXPECT_EQ(mesh.loop->counters().pipelines_done, 0U);
    EXPECT_EQ(mesh.loop->counters().pipelines_ended, 1U);
    EXPECT_TRUE(mesh.loop->verify());
  }
}

TEST(EngineLoopPipeline, AnAgentThatIsAwayAtItsTurnIsWaitedForUntilItsDeadline) {
  for (const bool comes_back : {true, false}) {
    Line mesh;
    mesh.open({mesh.agents[0], mesh.agents[1]}, "x");
    mesh.die(2);
    mesh.run(200 * kMs, kMs, [&] {
      for (auto& station : mesh.stations)
        for (const auto& delivery : station->poll()) mesh.take(*station, delivery);
    });
    if (comes_back) mesh.come_back(2);
    const auto finished = mesh.carry_on();
    ASSERT_TRUE(finished);
    if (comes_back) {
      EXPECT_EQ(text_of(*finished), "xab");
    } else {
      EXPECT_EQ(states_of(*finished), (States{StepState::ready, StepState::unreachable}));
    }
    EXPECT_TRUE(mesh.loop->verify());
  }
}

TEST(EngineLoopPipeline, AStepWhoseProcessDiesIsGivenToTheNextOneThatHasItsAgent) {
  Line mesh;
  mesh.does[1] = Works::not_at_all;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "x");
  while (mesh.seen.size() != 2) mesh.turn();
  mesh.die(2);
  mesh.turn();
  mesh.does[1] = Works::answers;
  mesh.come_back(2);
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::success);
  EXPECT_EQ(text_of(*finished), "xabc");
  ASSERT_EQ(mesh.seen.size(), 4U);
  EXPECT_EQ(mesh.seen[2].body, "xa");
  EXPECT_TRUE(mesh.seen[2].redelivered);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, AStepWhoseProcessDiesForGoodEndsItAtItsDeadline) {
  Line mesh;
  mesh.does[1] = Works::not_at_all;
  mesh.open({mesh.agents[0], mesh.agents[1]}, "x");
  while (mesh.seen.size() != 2) mesh.turn();
  mesh.die(2);
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(states_of(*finished), (States{StepState::ready, StepState::no_answer}));
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopPipeline, OneWhoIsRoutedAroundMeanwhileIsNotSentTo) {
  Line mesh;
  mesh.open({mesh.agents[0], mesh.agents[1]});
  must(mesh.loop->route_around(mesh.agents[1], true));
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(states_of(*finished), (States{StepState::ready, StepState::unreachable}));
  EXPECT_EQ(mesh.seen.size(), 1U);
}

// A step whose target is farther away than any plan: it waits, and leaves in time.
TEST(EngineLoopPipeline, TMayBeFartherThanAnOperationsHorizon) {
  Line mesh;
  mesh.open({mesh.agents[0], mesh.agents[1]}, "", {.horizon = Nanos{60 * kNsPerSecond}});
  const std::int64_t begun = mesh.now_ns;
  mesh.run(59'000 * kMs, 10 * kMs);
  EXPECT_TRUE(mesh.seen.empty());
  const auto finished = mesh.carry_on();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->status, PipelineStatus::success);
  EXPECT_NEAR(static_cast<double>(mesh.seen[1].sent_ns),
              static_cast<double>(begun + 60'000 * kMs - prior_lead_ns()), 2.0 * kBucket);
}

TEST(EngineLoopPipeline, ManyGoOnBesideEachOther) {
  Line mesh;
  std::map<OperationId, std::string> expected;
  for (std::size_t i = 0; i < kMaxPipelines; ++i) {
    const std::string body = std::to_string(i) + ":";
    const std::size_t first = i % Line::kAgents;
    const std::size_t second = (i + 1) % Line::kAgents;
    expected[mesh.open({mesh.agents[first], mesh.agents[second]}, body)] =
        body + static_cast<char>('a' + first) + static_cast<char>('a' + second);
  }
  while (!expected.empty()) {
    const auto finished = mesh.carry_on();
    ASSERT_TRUE(finished);
    EXPECT_EQ(text_of(*finished), expected[finished->id]);
    expected.erase(finished->id);
  }
  EXPECT_TRUE(mesh.loop->verify());
}

// The engine.

TEST(EngineLoopPipeline, ATickOfOneAllocatesNothing) {
  Line mesh;
  mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, std::string(3'000, 'x'));
  for (std::optional<FinishedPipeline> finished; !finished;) {
    mesh.now_ns += kMs;
    const std::uint64_t before = testing::allocation_count();
    mesh.loop->tick(from_ns(mesh.now_ns));
    ASSERT_EQ(testing::allocation_count(), before);
    for (auto& station : mesh.stations)
      for (const auto& delivery : station->poll()) mesh.take(*station, delivery);
    finished = take_finished_pipeline(*mesh.loop);
  }
}

TEST(EngineLoopPipeline, ASuccessorGoesOnFromEveryTickAndSendsNoStepTwice) {
  for (int at = 0; at < 90; at += 3) {
    Line mesh;
    mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "x");
    std::optional<FinishedPipeline> finished;
    for (int i = 0; i < at && !finished; ++i) {
      mesh.turn();
      finished = take_finished_pipeline(*mesh.loop);
    }
    if (!finished) {
      mesh.restart();
      finished = mesh.carry_on();
    }
    ASSERT_TRUE(finished) << "after tick " << at;
    EXPECT_EQ(text_of(*finished), "xabc") << "after tick " << at;
    std::map<std::size_t, std::set<OperationId>> operations;
    for (const Line::Seen& one : mesh.seen) operations[one.agent].insert(one.operation);
    for (const auto& [agent, its] : operations) EXPECT_EQ(its.size(), 1U) << "after tick " << at;
    ASSERT_TRUE(mesh.loop->verify()) << "after tick " << at;
  }
}

// A result that nobody took is gone with its engine, and its body's blocks are free.
TEST(EngineLoopPipeline, ASuccessorForgetsWhatWasOver) {
  Line mesh;
  mesh.open({mesh.agents[0]}, "x");
  for (int i = 0; i < 100; ++i) mesh.turn();
  mesh.restart();
  EXPECT_FALSE(take_finished_pipeline(*mesh.loop));
  EXPECT_TRUE(mesh.loop->verify());
  mesh.open({mesh.agents[0]}, "y");
  EXPECT_EQ(text_of(*mesh.carry_on()), "ya");
}

TEST(EngineLoopPipeline, KilledAtEachPointItGoesOnAndPassesEachAnswerOnce) {
  if (!kFaults) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  constexpr const char* kPoints[] = {"pipeline.publish:before_state",
                                     "pipeline.send:before_progress", "pipeline.keep:after_body",
                                     "pipeline.move_on:before_body", "pipeline.end:before_state"};
  for (const char* const point : kPoints)
    for (const unsigned at_count : {1U, 2U}) {
      const std::string where = std::string(point) + ", time " + std::to_string(at_count);
      Line mesh;
      const int status = testing::status_of_child([&] {
        points::arm(
            point, at_count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
        mesh.open({mesh.agents[0], mesh.agents[1], mesh.agents[2]}, "x");
        static_cast<void>(mesh.carry_on());
        return 0;
      });
      EXPECT_TRUE(WIFSIGNALED(status) || at_count != 1) << where << " was never reached";
      if (!WIFSIGNALED(status)) continue;
      for (auto& station : mesh.stations) station->attach();
      mesh.now_ns += 80 * kMs;  // later than the child's clock, and within every window
      mesh.restart();
      const auto finished = mesh.carry_on();
      const bool is_none = std::string_view(point) == kPoints[0];  // before it was published
      ASSERT_EQ(finished.has_value(), !is_none) << where;
      if (finished) {
        EXPECT_EQ(text_of(*finished), "xabc") << where;
      }
      ASSERT_TRUE(mesh.loop->verify()) << where;
    }
}

// Who answers how, and how late.
void draw_works(Line& mesh, std::mt19937_64& random) {
  for (std::size_t agent = 0; agent < Line::kAgents; ++agent) {
    if (random() % 10 == 0) mesh.does[agent] = static_cast<Works>(random() % 5);
    if (random() % 5 == 0) mesh.takes[agent] = static_cast<std::int64_t>(random() % 600) * kMs;
  }
}
void die_now_and_then(Line& mesh, std::mt19937_64& random) {
  const std::uint64_t what = random() % 400;
  const auto number = static_cast<std::uint16_t>(1 + random() % Line::kAgents);
  if (what == 0) mesh.restart();
  if (what != 1) return;
  mesh.die(number);
  mesh.turn();
  mesh.come_back(number);
}
// What the last of those that were READY said.
std::string said_by(Line& mesh, const std::vector<AgentId>& targets, std::size_t done) {
  std::string said = "x";
  for (std::size_t at = 0; at < done; ++at) {
    const std::size_t agent = mesh.agent_of(targets[at]);
    if (mesh.does[agent] == Works::answers_nothing)
      said.clear();
    else
      said += static_cast<char>('a' + agent);
  }
  return said;
}

// Whatever agents do, whoever dies and returns, and however often the engine does: it ends, what
// each was given is what the one before it answered, and nothing of it stays behind.
TEST(EngineLoopPipeline, AlwaysEndsAndPassesOnWhatWasAnsweredUnderRandomFaults) {
  const std::uint64_t seed = testing::seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    Line mesh;
    std::vector<AgentId> targets;
    for (std::uint64_t i = 0, count = 1 + random() % 6; i < count; ++i)
      targets.push_back(mesh.agents[random() % Line::kAgents]);
    draw_works(mesh, random);
    mesh.open(targets, "x");
    std::optional<FinishedPipeline> finished;
    for (int i = 0; i < 20'000 && !finished; ++i) {
      mesh.turn();
      finished = take_finished_pipeline(*mesh.loop);
      if (!finished) die_now_and_then(mesh, random);
    }
    ASSERT_TRUE(finished);
    const std::size_t done = finished->done();
    EXPECT_EQ(finished->status == PipelineStatus::success, done == targets.size());
    if (done != 0 && finished->state == TrinaryState::ready) {
      EXPECT_EQ(text_of(*finished), said_by(mesh, targets, done));
    }
    ASSERT_TRUE(mesh.loop->verify());
  }
}

}  // namespace of_engine_loop_pipeline_test
}  // namespace mesh::engine
