// What an operator has a mesh do, as calls of an embedded engine.
#include <algorithm>
#include <thread>
#include <utility>

#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_acting_test {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::Station;

// Agents "a" and "b" of class A, "c" of class D; all can see. "a" declines, the others say who they
// are; "b" waits on "c".
class Crew {
 public:
  explicit Crew(const Engine& engine) : pump_([this, &engine] { run(engine); }) {}
  ~Crew() {
    over_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
    pump_.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

 private:
  void run(const Engine& engine) {
    const std::vector<engine::AgentDeclaration> agents = {
        {.name = "a", .capabilities = {"see"}},
        {.name = "b", .capabilities = {"see"}},
        {.name = "c", .agent_class = sched::AgentClass::gpu, .capabilities = {"see"}}};
    auto station = Station::attach(engine.directory(), {.name = "crew", .agents = 3});
    ASSERT_TRUE(station.has_value()) << station.error().sentence;
    const auto ids = (*station)->enrol(agents);
    ASSERT_TRUE(ids.has_value()) << ids.error().sentence;
    EXPECT_TRUE((*station)->report(ids->at(1), {.task = "look", .waiting_on = "c"}));
    while (!over_.load(std::memory_order_relaxed)) {  // relaxed: as above
      (*station)->poll(16, [&](const Delivery& delivery) {
        const std::string& name = agents[delivery.agent].name;
        return delivery.agent == 0 ? Answer::declined()
                                   : Answer::ready(std::as_bytes(std::span(name)));
      });
      (void)(*station)->wait((*station)->now() + Nanos{10 * kNsPerMs});
    }
  }

  std::atomic<bool> over_{false};
  std::thread pump_;
};

class ActingEngine : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(engine_, nullptr);
    ASSERT_TRUE(eventually([&] {
      const auto who = engine_->who({});
      return who && who->said == 1;
    }));
  }
  ScratchDirectory directory_;
  std::unique_ptr<Engine> engine_ = start_engine(directory_.path());
  Crew crew_{*engine_};
};

TEST_F(ActingEngine, RefusesABackupIntoNowhereAndToHealWhereNothingIs) {
  EXPECT_EQ(engine_->backup("").error().code, Errc::bad_input);
  EXPECT_EQ(engine_->backup("/no/such/place").error().code, Errc::not_found);
  EXPECT_EQ(engine_->heal({.scope = {console::ScopeKind::sector, 1U << 20}}).error().code,
            Errc::invalid_argument);
}

TEST_F(ActingEngine, MakesABackupOfItsAgentsAndSaysThatThereIsNothingToHeal) {
  const ScratchDirectory elsewhere;
  const auto made = engine_->backup(elsewhere.file("backups"));
  ASSERT_TRUE(made.has_value()) << made.error().sentence;
  EXPECT_EQ(made->agents, 3U);
  EXPECT_FALSE(made->store.has_value()) << "it has none";
  EXPECT_TRUE(engine::check_backup(made->path).has_value());
  const auto healed = engine_->heal({});
  ASSERT_TRUE(healed.has_value()) << healed.error().sentence;
  EXPECT_TRUE(healed->agents.empty());
  EXPECT_TRUE(healed->breakers.empty());
}

TEST_F(ActingEngine, RefusesWhatCannotBe) {
  const std::vector<std::string> names = {"b", "nobody"};
  EXPECT_EQ(engine_->route_around(names, true).error().code, Errc::no_such_agent);
  EXPECT_EQ(engine_->status()->gauges.routed_around, 0U) << "all or none";
  EXPECT_EQ(engine_->find_best({.capabilities = {"fly"}}).error().code, Errc::not_found);
  EXPECT_EQ(engine_->delegate({.task = "t", .attempts = 0}).error().code, Errc::bad_input);
  EXPECT_EQ(engine_->delegate({.task = "t", .agent = "nobody"}).error().code, Errc::no_such_agent);
  EXPECT_EQ(engine_->delegate({.task = "t", .agent_class = sched::AgentClass::human}).error().code,
            Errc::no_capable_agent);
  EXPECT_EQ(engine_->ask(engine::SampleRequest{.question = "?", .count = 201}).error().code,
            Errc::bad_input);
  EXPECT_EQ(engine_->who({.agents = {"nobody"}}).error().code, Errc::no_such_agent);
  EXPECT_EQ(engine_->freeze({.scope = {console::ScopeKind::sector, 9}}).error().code,
            Errc::no_such_agent);
  EXPECT_EQ(engine_->change_rule(console::RuleChange::deny, {}).error().code,
            Errc::invalid_argument);
}

TEST_F(ActingEngine, RefusesAQuorumOfNoClusterAPipelineOfNobodyAndToBeScaledWithoutACommand) {
  EXPECT_EQ(engine_->quorum({.cluster = 9'999}).error().code, Errc::invalid_argument);
  EXPECT_EQ(engine_->pipeline({}).error().code, Errc::invalid_argument);
  EXPECT_EQ(engine_->scale({.count = 0}).error().code, Errc::bad_input);
  EXPECT_EQ(engine_->scale({.count = 3}).error().code, Errc::not_ready);
  const auto progress = engine_->scale_progress({.prefix = "agent", .first = 1, .last = 9});
  ASSERT_TRUE(progress.has_value()) << progress.error().sentence;
  EXPECT_EQ(progress->awaited + progress->settling + progress->admitted, 0U);
}

// "a" declines: of three that is more in transit than a quorum bears.
TEST_F(ActingEngine, HasALeadAskItsClusterAndAgentsWorkInOrder) {
  const auto quorum = engine_->quorum({.question = "?",
                                       .lead_window = Nanos{15 * kNsPerSecond},
                                       .window = Nanos{15 * kNsPerSecond}});
  ASSERT_TRUE(quorum.has_value()) << quorum.error().sentence;
  EXPECT_EQ(quorum->lead, "b");
  EXPECT_EQ(quorum->agents.targeted, 2U) << "the third is of another class";
  EXPECT_EQ(quorum->verdict.decision, sched::QuorumDecision::kWait);
  ASSERT_EQ(quorum->not_ready.size(), 1U);
  EXPECT_EQ(quorum->not_ready[0].name, "a");
  const std::vector<AgentId> targets = {*engine_->find("c"), *engine_->find("b")};
  const auto done = engine_->pipeline({.targets = targets, .window = Nanos{60 * kNsPerSecond}});
  ASSERT_TRUE(done.has_value()) << done.error().sentence;
  EXPECT_EQ(done->status, engine::PipelineStatus::success);
  EXPECT_EQ(done->done(), 2U);
  EXPECT_EQ(done->body, std::vector<std::byte>{std::byte{'b'}});
}

TEST_F(ActingEngine, DelegatesAsksAndSaysWhoHoldsWhom) {
  const auto done = engine_->delegate({.task = "t", .capabilities = {"see"}});
  ASSERT_TRUE(done.has_value()) << done.error().sentence;
  EXPECT_TRUE(done->is_done);
  ASSERT_EQ(done->attempts.size(), 2U);
  EXPECT_EQ(done->attempts[0].agent.name, "a");
  EXPECT_EQ(done->attempts[0].end, console::AttemptEnd::declined);
  EXPECT_EQ(done->attempts[1].agent.name, "b");
  EXPECT_GE(done->took, Nanos{done->attempts[1].took_ns});
  const auto answers = engine_->ask(engine::SampleRequest{.question = "?", .seed = 1});
  ASSERT_TRUE(answers.has_value()) << answers.error().sentence;
  EXPECT_EQ(answers->asked, 3U);
  EXPECT_EQ(answers->answers.groups().size(), 2U);
  EXPECT_EQ(answers->answers.count(console::AnswerKind::declined), 1U);
  const auto who = engine_->who({.agents = {"b"}});
  ASSERT_TRUE(who.has_value()) << who.error().sentence;
  ASSERT_EQ(who->holders.size(), 1U);
  EXPECT_EQ(who->agents[who->holders[0].agent].name, "c");
}

// "a" has the lower row and the same delays; it declines, and that is remembered.
TEST_F(ActingEngine, DelegatesByWhatWasMadeOfEarlierTasks) {
  for (int i = 0; i < 3; ++i) {
    const auto done = engine_->delegate({.task = "t", .agent_class = sched::AgentClass::edge});
    ASSERT_TRUE(done.has_value()) << done.error().sentence;
    ASSERT_TRUE(done->is_done);
    EXPECT_EQ(done->attempts.size(), i == 0 ? 2U : 1U);
    EXPECT_EQ(done->attempts.back().agent.name, "b");
  }
  // Their scores follow what is measured meanwhile; whatever they are, nothing else is asked.
  const auto best = engine_->find_best({.capabilities = {"see"}, .count = 3, .score_max = 1'000});
  EXPECT_EQ(best->size(), 3U);
  EXPECT_TRUE(std::is_sorted(best->begin(), best->end(), [](const auto& left, const auto& right) {
    return std::pair(left.score, left.row) < std::pair(right.score, right.row);
  })) << "that is by impedance alone";
  EXPECT_EQ(engine_->delegate({.task = "t", .agent = "a"})->attempts.front().agent.name, "a");
}

TEST_F(ActingEngine, PassesOverWhoIsRoutedAroundFrozenOrDenied) {
  const auto best = [&] {
    const auto found =
        engine_->find_best({.capabilities = {"see"}, .count = 3, .score_max = 1'000});
    std::string names;
    for (const engine::FoundAgent& agent : *found) names += agent.name;
    return names;
  };
  EXPECT_EQ(best(), "abc");
  const std::vector<std::string> a = {"a"};
  EXPECT_TRUE(engine_->route_around(a, true)->front().is_changed);
  EXPECT_EQ(best(), "bc");
  const console::RoutingRule rule{
      .capability = "see", .agent = {}, .agent_class = sched::AgentClass::gpu};
  EXPECT_TRUE(engine_->change_rule(console::RuleChange::deny, rule).value());
  EXPECT_FALSE(engine_->change_rule(console::RuleChange::deny, rule).value());
  EXPECT_EQ(engine_->rules().size(), 1U);
  EXPECT_EQ(best(), "b");
  const auto frozen = engine_->freeze({.frozen = true});
  ASSERT_TRUE(frozen.has_value()) << frozen.error().sentence;
  EXPECT_EQ(frozen->agents, 3U);
  ASSERT_TRUE(frozen->snapshot.has_value()) << frozen->no_snapshot;
  EXPECT_EQ(best(), "");
  const auto thawed = engine_->freeze({.frozen = false});
  ASSERT_TRUE(thawed.has_value()) << thawed.error().sentence;
  EXPECT_EQ(thawed->snapshot->checksum, frozen->snapshot->checksum);
  EXPECT_EQ(best(), "b");
}

}  // namespace of_engine_acting_test
}  // namespace mesh::testing
