// The console's pure parts: answers counted, tasks handed on.
#include "engine/console/answer_groups.hpp"
#include "engine/console/delegation.hpp"
#include "engine/console/routing_rules.hpp"
#include "engine/console/wait_graph.hpp"

namespace mesh::console {
namespace of_console_test {

TEST(AnswerGroups, CountsTheSameBytesTogetherMostOftenFirst) {
  AnswerGroups groups;
  for (int i = 0; i < 7; ++i) groups.add(AnswerKind::ready, "a" + std::to_string(i), "2.0\n");
  groups.add(AnswerKind::ready, "b", "1.9");
  groups.add(AnswerKind::ready, "c", "1.8");
  groups.add(AnswerKind::conflict, "d", "2.0");
  groups.add(AnswerKind::declined, "e", "");
  groups.add(AnswerKind::unanswered, "f", "");
  const auto ready = groups.groups();
  ASSERT_EQ(ready.size(), 3U);
  EXPECT_EQ(ready[0].answer, "2.0");
  EXPECT_EQ(ready[0].count, 7U);
  EXPECT_EQ(ready[0].agents, (std::vector<std::string>{"a0", "a1", "a2", "a3", "a4"}));
  EXPECT_EQ(ready[1].answer, "1.8") << "as often: by their bytes";
  ASSERT_EQ(groups.conflicts().size(), 1U);
  EXPECT_EQ(groups.conflicts()[0].count, 1U);
  EXPECT_EQ(groups.count(AnswerKind::declined), 1U);
  EXPECT_EQ(groups.count(AnswerKind::refused), 0U);
}

TEST(AnswerGroups, AddsUpToWhatWasAdded) {
  EXPECT_TRUE(rc::check([](const std::vector<std::pair<std::uint8_t, std::uint8_t>>& added) {
    AnswerGroups groups;
    for (const auto& [kind, answer] : added)
      groups.add(static_cast<AnswerKind>(kind % 5), "x", std::to_string(answer % 4));
    std::uint32_t all = 0;
    for (std::uint8_t kind = 0; kind < 5; ++kind)
      all += groups.count(static_cast<AnswerKind>(kind));
    RC_ASSERT(all == added.size());
    std::uint32_t ready = 0;
    for (const AnswerGroup& group : groups.groups()) ready += group.count;
    RC_ASSERT(ready == groups.count(AnswerKind::ready));
  }));
}

TEST(Delegation, GivesTheTaskToOneAfterAnotherUntilItIsDone) {
  Delegation task({{AgentId{1}, "a"}, {AgentId{2}, "b"}, {AgentId{3}, "c"}}, 100);
  EXPECT_EQ(task.next(100)->name, "a");
  task.ended(AttemptEnd::refused, 110, "full");
  EXPECT_EQ(task.next(110)->name, "b");
  task.ended(AttemptEnd::done, 150);
  EXPECT_EQ(task.next(150), nullptr);
  EXPECT_TRUE(task.is_done());
  ASSERT_EQ(task.attempts().size(), 2U);
  EXPECT_EQ(task.attempts()[0].sentence, "full");
  EXPECT_EQ(task.attempts()[1].took_ns, 40);
  EXPECT_EQ(task.took_ns(), 50);
}

TEST(Delegation, EndsUndoneWhenAllHaveFailed) {
  Delegation task({{AgentId{1}, "a"}}, 0);
  ASSERT_NE(task.next(0), nullptr);
  task.ended(AttemptEnd::timed_out, 30);
  EXPECT_EQ(task.next(30), nullptr);
  EXPECT_FALSE(task.is_done());
  EXPECT_FALSE(Delegation({}, 0).is_done());
}

Doing waits(std::string agent, std::string on, std::int64_t age_ns = 0) {
  return {.agent = std::move(agent), .task = "work", .waiting_on = std::move(on), .age_ns = age_ns};
}
std::string held_by(const WaitGraph& graph, const std::string& agent) {
  const Held& held = graph.held(graph.find(agent).value());
  if (held.in_circle) return "circle";
  return held.holder == Held::kNobody ? "nobody" : graph.agents()[held.holder].agent;
}

TEST(WaitGraph, NamesTheAgentAtTheEndOfTheChain) {
  const WaitGraph graph({waits("a", "b", 5), waits("b", "c", 9), waits("c", ""), waits("d", "c", 7),
                         waits("e", "the disk", 3), waits("f", "")});
  EXPECT_EQ(held_by(graph, "a"), "c");
  EXPECT_EQ(held_by(graph, "b"), "c");
  EXPECT_EQ(held_by(graph, "c"), "nobody");
  EXPECT_EQ(held_by(graph, "e"), "nobody") << "words name nobody";
  ASSERT_EQ(graph.holders().size(), 2U);
  const Holder& first = graph.holders()[0];
  EXPECT_EQ(graph.agents()[first.agent].agent, "c");
  EXPECT_EQ(first.directly, 2U);
  EXPECT_EQ(first.in_all, 3U);
  EXPECT_EQ(first.oldest_ns, 9);
  EXPECT_EQ(graph.agents()[graph.holders()[1].agent].agent, "b");
  EXPECT_EQ(graph.holders()[1].oldest_ns, 5);
  EXPECT_TRUE(graph.circles().empty());
}

TEST(WaitGraph, FindsCirclesAndWhoWaitsBehindThem) {
  const WaitGraph graph({waits("x", "a"), waits("a", "b"), waits("b", "c"), waits("c", "a"),
                         waits("self", "self"), waits("y", "x"), waits("ok", "works"),
                         waits("works", "")});
  for (const char* const agent : {"a", "b", "c", "x", "y", "self"})
    EXPECT_EQ(held_by(graph, agent), "circle") << agent;
  EXPECT_EQ(held_by(graph, "ok"), "works");
  const auto circles = graph.circles();
  ASSERT_EQ(circles.size(), 2U);
  EXPECT_EQ(circles[0], (std::vector<std::size_t>{1, 2, 3}));
  EXPECT_EQ(circles[1], std::vector<std::size_t>{4});
}

// Whatever they say: each is stuck on somebody who waits on no agent, or in or behind a circle.
TEST(WaitGraph, LeavesNobodyWithoutAnEnd) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& on) {
    std::vector<Doing> agents;
    for (std::size_t i = 0; i < on.size(); ++i)
      agents.push_back(waits(std::to_string(i), std::to_string(on[i] % (on.size() + 2))));
    const WaitGraph graph(agents);
    std::size_t direct = 0;
    for (std::size_t i = 0; i < on.size(); ++i) {
      const Held& held = graph.held(i);
      direct += held.next != Held::kNobody ? 1U : 0U;
      std::size_t at = i;
      for (std::size_t steps = 0; steps <= on.size() && graph.held(at).next != Held::kNobody;
           ++steps)
        at = graph.held(at).next;
      const bool ends = graph.held(at).next == Held::kNobody;
      RC_ASSERT(held.in_circle == !ends);
      RC_ASSERT(held.holder == (ends && at != i ? at : Held::kNobody));
    }
    std::size_t counted = 0;
    for (const Holder& holder : graph.holders()) counted += holder.directly;
    RC_ASSERT(counted == direct);
    for (const auto& circle : graph.circles()) {
      for (std::size_t i = 0; i < circle.size(); ++i)
        RC_ASSERT(graph.held(circle[i]).next == circle[(i + 1) % circle.size()]);
    }
  }));
}

// Nobody's words cost more than they should: a chain through 30,000 agents.
TEST(WaitGraph, CountsALongChainOnlySoFar) {
  std::vector<Doing> agents;
  for (int i = 0; i < 30'000; ++i)
    agents.push_back(waits(std::to_string(i), std::to_string(i + 1)));
  const WaitGraph graph(std::move(agents));
  EXPECT_EQ(graph.agents()[graph.held(0).holder].agent, "29999");
  for (const Holder& holder : graph.holders()) ASSERT_LE(holder.in_all, kChainMax);
}

std::string lines_of(const RoutingRules& rules) {
  std::string text;
  for (const RoutingRule& rule : rules.list())
    text += RoutingRules::line_of(rule.allow ? RuleChange::allow : RuleChange::deny, rule) + "\n";
  return text;
}

TEST(RoutingRules, RefusesWhatIsNoRule) {
  RoutingRules rules;
  for (const char* const line :
       {"", "deny", "deny class", "deny class G x", "deny class E", "refuse class E x",
        "deny agent pi x", "deny agent 9 pi x", "deny agent 2 pi", "deny agent 2 pi ",
        "deny agent 0  x", "deny class E \x01", "deny somebody 2 pi x"})
    EXPECT_FALSE(rules.apply_line(line)) << line;
  EXPECT_FALSE(rules.apply_line("deny class A " + std::string(64, 'x')));
  EXPECT_TRUE(rules.list().empty());
  for (std::size_t i = 0; i < kRulesMax; ++i)
    ASSERT_TRUE(rules.apply_line("deny class A c" + std::to_string(i)));
  EXPECT_EQ(rules.apply_line("deny class A one more").error().code, Errc::capacity);
  EXPECT_TRUE(rules.apply_line("allow class A c7")) << "it is there already";
}

TEST(RoutingRules, PutAnAgentsRuleBeforeThatOfItsClass) {
  RoutingRules rules;
  ASSERT_TRUE(rules.apply_line("deny class E inference"));
  ASSERT_TRUE(rules.apply_line("allow agent 4 pi 7 inference"));
  using sched::AgentClass;
  EXPECT_FALSE(rules.allows("inference", AgentClass::local, "pi 6"));
  EXPECT_TRUE(rules.allows("inference", AgentClass::local, "pi 7"));
  EXPECT_TRUE(rules.allows("inference", AgentClass::gpu, "g"));
  EXPECT_TRUE(rules.allows("inference", AgentClass::gpu, ""));
  EXPECT_FALSE(rules.allows("inference", AgentClass::local, ""));
  EXPECT_TRUE(rules.allows("ocr", AgentClass::local, "pi 6"));
  EXPECT_FALSE(
      rules
          .change(RuleChange::deny,
                  {.capability = "inference", .agent = {}, .agent_class = AgentClass::local})
          .value())
      << "it was so before";
  EXPECT_TRUE(
      rules
          .change(RuleChange::drop,
                  {.capability = "inference", .agent = "pi 7", .agent_class = AgentClass::edge})
          .value());
  EXPECT_FALSE(rules.allows("inference", AgentClass::local, "pi 7"));
}

// What the journal says makes the same rules again, whatever the names are.
TEST(RoutingRules, ComeBackFromTheirLines) {
  EXPECT_TRUE(
      rc::check([](const std::vector<std::tuple<std::uint8_t, std::string, std::string>>& changes) {
        RoutingRules rules;
        RoutingRules again;
        for (const auto& [what, agent, capability] : changes) {
          const auto change = static_cast<RuleChange>(what % 3);
          const RoutingRule rule{.capability = capability,
                                 .agent = agent,
                                 .agent_class = static_cast<sched::AgentClass>(what / 3 % 6)};
          if (!rules.change(change, rule)) continue;
          RC_ASSERT(again.apply_line(RoutingRules::line_of(change, rule)).has_value());
        }
        RC_ASSERT(again.list() == rules.list());
        RoutingRules copy;
        std::istringstream lines(lines_of(rules));
        for (std::string line; std::getline(lines, line);)
          RC_ASSERT(copy.apply_line(line).has_value());
        RC_ASSERT(copy.list() == rules.list());
      }));
}

}  // namespace of_console_test
}  // namespace mesh::console
