// Who crashed and is back gets nothing before its context is loaded; on virtual time.
#include "engine/loop/context_holds.hpp"
#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_context_hold_test {

using Texts = std::vector<std::string>;
using Ids = std::vector<AgentId>;

constexpr std::uint64_t kHash = 77;
constexpr Nanos kWait{500 * kMs};

LoopOptions waiting(Nanos wait = kWait) {
  LoopOptions options;
  options.context_wait = wait;
  return options;
}

// alice on station 1; bob's two agents on station 2, the first of whom handed over a context.
struct Crashing : LoopFixture {
  explicit Crashing(Nanos wait = kWait)
      : LoopFixture(10, 3, waiting(wait)), alice(add(1, 1, "alice")), bob(&add(2, 2, "bob")) {
    must(loop->expect_context(bob_id(), kHash));
  }
  void come_back() { bob = &add(3, 2, "bob"); }
  void crash(Departure departure = Departure::lost) {
    lose(2, departure);
    bob = nullptr;
  }
  Errc post(AgentId target, std::string_view text) {
    const auto posted = loop->post({.target = target, .body = bytes(text)}, from_ns(now_ns));
    return posted ? Errc::ok : posted.error().code;
  }
  Texts heard() {
    Texts texts;
    for (const auto& delivery : bob->poll()) {
      texts.push_back(bob->read(delivery).body);
      bob->answer(delivery, TrinaryState::ready, now_ns);
    }
    return texts;
  }
  // Who was sent something.
  Ids asked() {
    Ids targets;
    for (const auto& delivery : bob->poll()) {
      targets.push_back(static_cast<AgentId>(delivery.target));
      bob->answer(delivery, TrinaryState::ready, now_ns);
    }
    return targets;
  }
  // As the scheduler's thread does, with each tick.
  void pass(std::int64_t length_ns) {
    run(length_ns, kMs, [this] {
      if (has_overdue_contexts(*loop, from_ns(now_ns)))
        release_overdue_contexts(*loop, from_ns(now_ns));
    });
  }
  AgentId bob_id(std::size_t at = 0) { return ids[2][at]; }
  RawStation& alice;
  RawStation* bob;
};

TEST(ContextHold, HoldsNobodyWhoLeftWhoHandedOverNothingOrWhereNobodyLoadsContexts) {
  Crashing left;
  left.crash(Departure::left);
  left.come_back();
  EXPECT_FALSE(awaits_context(*left.loop, left.bob_id()));
  Crashing crashed;
  EXPECT_FALSE(awaits_context(*crashed.loop, crashed.bob_id())) << "it came for the first time";
  crashed.crash();
  EXPECT_FALSE(awaits_context(*crashed.loop, crashed.bob_id())) << "it is away";
  crashed.come_back();
  EXPECT_TRUE(awaits_context(*crashed.loop, crashed.bob_id()));
  EXPECT_FALSE(awaits_context(*crashed.loop, crashed.bob_id(1))) << "it handed over nothing";
  Crashing unwatched(Nanos{0});
  unwatched.crash();
  unwatched.come_back();
  EXPECT_FALSE(awaits_context(*unwatched.loop, unwatched.bob_id()));
  EXPECT_EQ(release_for_context(*crashed.loop, AgentId{99}, from_ns(crashed.now_ns)).error().code,
            Errc::no_such_agent);
}

TEST(ContextHold, TheContextComesBeforeWhatWaitedAndWhatIsSentMeanwhile) {
  Crashing mesh;
  ASSERT_EQ(mesh.post(mesh.bob_id(), "not answered"), Errc::ok);
  mesh.tick();
  mesh.crash();
  ASSERT_EQ(mesh.post(mesh.bob_id(), "while it was away"), Errc::ok);
  mesh.come_back();
  ASSERT_EQ(mesh.post(mesh.bob_id(), "while it loads"), Errc::ok);
  ASSERT_EQ(mesh.post(mesh.bob_id(1), "to the other"), Errc::ok);
  mesh.pass(kWait.count() / 2);
  EXPECT_EQ(mesh.heard(), Texts{"to the other"});
  must(mesh.loop->verify());
  EXPECT_EQ(mesh.loop->gauges().frozen, 0U) << "the operator froze nobody";
  EXPECT_EQ(mesh.loop->gauges().awaiting_context, 1U);
  EXPECT_EQ(mesh.loop->counters().contexts_awaited, 1U);
  EXPECT_TRUE(must(release_for_context(*mesh.loop, mesh.bob_id(), from_ns(mesh.now_ns))));
  EXPECT_FALSE(must(release_for_context(*mesh.loop, mesh.bob_id(), from_ns(mesh.now_ns))));
  mesh.tick();
  EXPECT_EQ(mesh.loop->gauges().awaiting_context, 0U);
  EXPECT_EQ(mesh.loop->counters().contexts_overdue, 0U) << "it was loaded";
  EXPECT_EQ(mesh.heard(), (Texts{"not answered", "while it was away", "while it loads"}));
  mesh.tick();
  must(mesh.loop->verify());
}

TEST(ContextHold, ABoundPassesAndWhatWaitedComesWithoutAContext) {
  Crashing mesh;
  mesh.crash();
  ASSERT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  mesh.come_back();
  mesh.pass(kWait.count() - 2 * kMs);
  EXPECT_EQ(mesh.heard(), Texts{});
  EXPECT_EQ(mesh.loop->counters().contexts_overdue, 0U);
  mesh.pass(3 * kMs);
  EXPECT_EQ(mesh.loop->counters().contexts_overdue, 1U);
  EXPECT_EQ(mesh.loop->gauges().awaiting_context, 0U);
  EXPECT_EQ(mesh.heard(), Texts{"one"});
  EXPECT_FALSE(awaits_context(*mesh.loop, mesh.bob_id()));
}

TEST(ContextHold, WhatAnOperationHadSentItComesAfterItsContext) {
  Crashing mesh;
  ASSERT_TRUE(mesh.alice.send(to_all(mesh)));
  mesh.pass(600 * kMs);
  ASSERT_EQ(mesh.bob->poll().size(), 2U);
  mesh.crash();
  mesh.come_back();
  mesh.pass(20 * kMs);
  EXPECT_EQ(mesh.asked(), Ids{mesh.bob_id(1)}) << "the one that handed over nothing";
  must(release_for_context(*mesh.loop, mesh.bob_id(), from_ns(mesh.now_ns)));
  mesh.pass(5 * kMs);
  EXPECT_EQ(mesh.asked(), Ids{mesh.bob_id()});
}

TEST(ContextHold, AnOperationThatIsOpenedMeanwhileSkipsIt) {
  Crashing mesh;
  mesh.crash();
  mesh.come_back();
  ASSERT_TRUE(mesh.alice.send(to_all(mesh)));
  mesh.pass(kWait.count() / 2);
  must(release_for_context(*mesh.loop, mesh.bob_id(), from_ns(mesh.now_ns)));
  mesh.pass(600 * kMs);
  EXPECT_EQ(mesh.asked(), Ids{mesh.bob_id(1)});
}

TEST(ContextHold, ThawingDoesNotBringWhatAwaitsAContextNorTheContextWhatIsFrozen) {
  constexpr auto kAll = sched::selector(sched::SelectorKind::all);
  Crashing mesh;
  mesh.crash();
  mesh.come_back();
  ASSERT_EQ(must(mesh.loop->freeze(kAll, true, from_ns(mesh.now_ns))).changed, 3U);
  ASSERT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  EXPECT_EQ(mesh.loop->gauges().frozen, 3U);
  must(mesh.loop->freeze(kAll, false, from_ns(mesh.now_ns)));
  mesh.pass(10 * kMs);
  EXPECT_EQ(mesh.heard(), Texts{});
  must(mesh.loop->freeze(kAll, true, from_ns(mesh.now_ns)));
  must(release_for_context(*mesh.loop, mesh.bob_id(), from_ns(mesh.now_ns)));
  mesh.pass(10 * kMs);
  EXPECT_EQ(mesh.heard(), Texts{});
  must(mesh.loop->freeze(kAll, false, from_ns(mesh.now_ns)));
  mesh.tick();
  EXPECT_EQ(mesh.heard(), Texts{"one"});
  must(mesh.loop->verify());
}

TEST(ContextHold, ASecondCrashEndsItAndItBeginsAnew) {
  Crashing mesh;
  mesh.crash();
  mesh.come_back();
  ASSERT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  mesh.lose(3);
  EXPECT_FALSE(awaits_context(*mesh.loop, mesh.bob_id()));
  mesh.pass(2 * kWait.count());
  mesh.bob = &mesh.add(2, 2, "bob");
  EXPECT_TRUE(awaits_context(*mesh.loop, mesh.bob_id()));
  mesh.pass(kWait.count() / 2);
  EXPECT_EQ(mesh.heard(), Texts{}) << "its time began with its second return";
  mesh.pass(kWait.count());
  EXPECT_EQ(mesh.heard(), Texts{"one"});
  must(mesh.loop->verify());
}

TEST(ContextHold, ASuccessorFindsItAndLetsGoAfterABoundOfItsOwn) {
  Crashing mesh;
  mesh.crash();
  mesh.come_back();
  ASSERT_EQ(mesh.post(mesh.bob_id(), "one"), Errc::ok);
  mesh.tick();
  mesh.restart();
  EXPECT_TRUE(awaits_context(*mesh.loop, mesh.bob_id()));
  mesh.pass(kWait.count() / 2);
  EXPECT_EQ(mesh.heard(), Texts{});
  must(mesh.loop->verify());
  mesh.pass(kWait.count());
  EXPECT_EQ(mesh.heard(), Texts{"one"});
}

}  // namespace of_engine_loop_context_hold_test
}  // namespace mesh::engine
