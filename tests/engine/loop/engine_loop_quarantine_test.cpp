// The mesh's own hold on an agent, beside the operator's; what is withdrawn from an agent.
#include <rapidcheck.h>

#include "engine/console_view.hpp"
#include "engine/health/health_view.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/healing.hpp"
#include "engine/loop/incident_facts.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_quarantine_test {

struct Held : Pair {
  using Pair::Pair;
  AgentId bob_id() { return ids[2][0]; }
  Errc post_code(AgentId target, const CapabilitySet& asks = {}) {
    const auto posted =
        loop->post({.target = target, .capabilities = asks, .body = bytes("?")}, from_ns(now_ns));
    return posted ? Errc::ok : posted.error().code;
  }
  bool is_routable(AgentId agent) {
    const auto view = must(health::HealthView::over(must(table_layout(size)), table.span()));
    return view.is_routable(index_of(agent));
  }
};

TEST(Quarantine, RefusesWhoIsNobody) {
  Held mesh;
  EXPECT_EQ(mesh.loop->quarantine(AgentId{0}, true).error().code, Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->expect_context(AgentId{0}, 7).error().code, Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->withdraw(AgentId{0}, {}).error().code, Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->known(AgentId{0}).error().code, Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->gauges().quarantined, 0U);
}

TEST(Quarantine, NothingNewIsSentToTheAgentUntilItIsLifted) {
  Held mesh;
  EXPECT_TRUE(must(mesh.loop->quarantine(mesh.bob_id(), true)));
  EXPECT_FALSE(must(mesh.loop->quarantine(mesh.bob_id(), true))) << "it was so before";
  EXPECT_EQ(mesh.loop->gauges().quarantined, 1U);
  EXPECT_EQ(mesh.loop->gauges().routed_around, 0U);
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::not_routable);
  EXPECT_EQ(mesh.post_code(mesh.ids[2][1]), Errc::ok) << "its neighbour is sent to";
  EXPECT_FALSE(mesh.is_routable(mesh.bob_id())) << "every process sees it";
  EXPECT_TRUE(must(mesh.loop->known(mesh.bob_id())).is_quarantined);
  EXPECT_TRUE(must(mesh.loop->quarantine(mesh.bob_id(), false)));
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::ok);
  must(mesh.loop->verify());
}

// The bits that the loop keeps are those of the column, whatever is done in whatever order, and a
// successor finds the same.
TEST(Quarantine, EveryHoldStandsForItselfAndOutlivesTheEngine) {
  EXPECT_TRUE(rc::check("holds", [](const std::vector<std::uint8_t>& acts) {
    Held mesh;
    bool is_around = false;
    bool is_quarantined = false;
    for (const std::uint8_t act : acts) {
      const bool on = (act & 1U) != 0;
      if ((act & 2U) != 0) {
        RC_ASSERT(must(mesh.loop->route_around(mesh.bob_id(), on)) == (on != is_around));
        is_around = on;
      } else {
        RC_ASSERT(must(mesh.loop->quarantine(mesh.bob_id(), on)) == (on != is_quarantined));
        is_quarantined = on;
      }
      if ((act & 12U) == 12U) mesh.restart();
      RC_ASSERT(mesh.loop->gauges().routed_around == (is_around ? 1U : 0U));
      RC_ASSERT(mesh.loop->gauges().quarantined == (is_quarantined ? 1U : 0U));
      RC_ASSERT(mesh.is_routable(mesh.bob_id()) == (!is_around && !is_quarantined));
      must(mesh.loop->verify());
    }
    const Errc expected = is_around || is_quarantined ? Errc::not_routable : Errc::ok;
    RC_ASSERT(mesh.post_code(mesh.bob_id()) == expected);
  }));
}

TEST(Quarantine, WhatIsWithdrawnIsNotSaidOfTheAgentAnyMore) {
  Held mesh;
  const CapabilityBit see = must(mesh.loop->capability("see"));
  const CapabilityBit hear = must(mesh.loop->capability("hear"));
  CapabilitySet both;
  both.insert(see);
  both.insert(hear);
  mesh.add(3, 1, "dora");
  const std::vector<AgentSpec> spec{{.name = "dora-0", .capabilities = both}};
  const AgentId dora = must(mesh.loop->enrol(StationId{3}, spec)).front();
  CapabilitySet sees;
  sees.insert(see);
  CapabilitySet hears;
  hears.insert(hear);
  EXPECT_EQ(mesh.post_code(dora, sees), Errc::ok);
  EXPECT_TRUE(must(mesh.loop->withdraw(dora, sees)));
  EXPECT_FALSE(must(mesh.loop->withdraw(dora, sees))) << "it was not said before";
  EXPECT_EQ(mesh.post_code(dora, sees), Errc::capability_mismatch);
  EXPECT_EQ(mesh.post_code(dora, hears), Errc::ok);
  must(mesh.loop->enrol(StationId{3}, spec));
  EXPECT_EQ(mesh.post_code(dora, sees), Errc::ok) << "who enrols again says it anew";
}

// Bob, whose station says what his context is, and whom alice asks.
struct Answering : Held {
  void say(std::uint64_t hash) {
    must(bob.out_layout.column<std::uint64_t>(bob.out.span(), "self.context_hash"))
        .store_relaxed(0, hash);
  }
  void expect(std::uint64_t hash) { must(loop->expect_context(bob_id(), hash)); }
  enum class Kind : std::uint8_t { bare, with_header };
  // What alice is told of his answer; `meanwhile` happens between his having the question and it.
  template <class Meanwhile>
  sched::AnswerContext ask(Kind kind, Meanwhile&& meanwhile) {
    EXPECT_TRUE(kind == Kind::bare ? alice.send_bare(ids[1][0], bob_id(), bytes("?"), now_ns)
                                   : alice.send(message("?")));
    tick(kMs);
    const auto got = bob.poll();
    EXPECT_EQ(got.size(), 1U);
    tick(kMs);
    meanwhile();
    EXPECT_TRUE(bob.answer(got.at(0), TrinaryState::ready, now_ns));
    tick(kMs);
    const auto back = alice.poll();
    EXPECT_EQ(back.size(), 1U);
    return as<sched::ReplyHead>(alice.read(back.at(0)).body).context;
  }
  sched::AnswerContext ask(Kind kind) {
    return ask(kind, [] {});
  }
};

TEST(AnswerContext, IsToldToWhoAskedByEitherWay) {
  using sched::AnswerContext;
  for (const auto kind : {Answering::Kind::bare, Answering::Kind::with_header}) {
    Answering mesh;
    mesh.say(77);
    EXPECT_EQ(mesh.ask(kind), AnswerContext::unknown) << "nothing is expected of him";
    mesh.expect(77);
    EXPECT_EQ(mesh.ask(kind), AnswerContext::current);
    mesh.say(0);
    EXPECT_EQ(mesh.ask(kind), AnswerContext::unknown) << "he does not say";
    mesh.say(78);
    EXPECT_EQ(mesh.ask(kind), AnswerContext::other);
    EXPECT_EQ(mesh.ask(kind,
                       [&] {
                         mesh.expect(78);
                         mesh.say(78);
                       }),
              AnswerContext::changed);
    EXPECT_EQ(mesh.ask(kind, [&] { mesh.expect(78); }), AnswerContext::current) << "the same again";
    mesh.restart();
    EXPECT_EQ(mesh.ask(kind), AnswerContext::current);
  }
}

TEST(AnswerContext, IsKnownOfAnswersToTheEnginesOwnQuestions) {
  Answering mesh;
  mesh.expect(77);
  mesh.say(78);
  must(mesh.loop->post({.target = mesh.bob_id(), .body = bytes("?")}, from_ns(mesh.now_ns)));
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick(kMs);
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered.has_value());
  EXPECT_EQ(answered->context, sched::AnswerContext::other);
}

TEST(Quarantine, WhatAContextShouldBeStandsInTheTable) {
  Held mesh;
  must(mesh.loop->expect_context(mesh.bob_id(), 77));
  EXPECT_EQ(must(mesh.loop->known(mesh.bob_id())).context_hash, 77U);
  EXPECT_EQ(must(mesh.loop->known(mesh.bob_id())).name, "bob-0");
  EXPECT_EQ(must(mesh.loop->known(mesh.bob_id())).station, StationId{2});
  mesh.restart();
  EXPECT_EQ(must(mesh.loop->known(mesh.bob_id())).context_hash, 77U);
}

// Quarantine is a hold and no state of the row: who asks for ailing agents is told all the same.
TEST(Quarantine, IsNamedByHealingIncidentsAndWho) {
  Held mesh;
  mesh.run(1'500 * kMs, 10 * kMs);
  const auto ailing = [&] { return must(ailing_agents(*mesh.loop, {})); };
  const auto in_quarantine = [&] {
    std::uint32_t count = 0;
    for (const auto& one : must(incident_facts(*mesh.loop, {}, from_ns(mesh.now_ns))).clusters)
      count += one.quarantined;
    return count;
  };
  const auto state = [&] {
    const auto view = must(ConsoleView::over(mesh.size, mesh.table.span()));
    return must(view.find("bob-0")).state;
  };
  EXPECT_TRUE(ailing().empty());
  EXPECT_EQ(in_quarantine(), 0U);
  EXPECT_EQ(state(), AgentState::active);
  must(mesh.loop->quarantine(mesh.bob_id(), true));
  ASSERT_EQ(ailing().size(), 1U);
  EXPECT_EQ(ailing()[0].id, mesh.bob_id());
  EXPECT_TRUE(ailing()[0].is_quarantined);
  EXPECT_EQ(in_quarantine(), 1U);
  EXPECT_EQ(state(), AgentState::quarantined);
  mesh.lose(2);
  ASSERT_EQ(ailing().size(), 2U);
  EXPECT_FALSE(ailing()[0].is_quarantined) << "it is away: that is mended first";
  EXPECT_EQ(in_quarantine(), 1U);
  mesh.add(3, 2, "bob");
  must(mesh.loop->quarantine(mesh.bob_id(), false));
  EXPECT_TRUE(ailing().empty());
  EXPECT_EQ(in_quarantine(), 0U);
}

}  // namespace of_engine_loop_quarantine_test
}  // namespace mesh::engine
