// What the lock manager does, one behaviour a test.
#include <algorithm>

#include "engine/coordination/lock_manager.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/lock_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_lock_behaviour_test {

using testing::lock_trace;
using testing::small_locks;
using testing::want;
using enum LockMode;

constexpr Nanos ms(std::int64_t count) { return testing::lock_ms(count); }

LockReply take(LockManager& locks, const lock::Acquire& wanted, Nanos now = Nanos{0}) {
  return locks.apply(wanted, now);
}
// Of the news those of one kind: their agents.
std::vector<std::uint32_t> told(const std::vector<LockNews>& news, LockNotice kind) {
  std::vector<std::uint32_t> agents;
  for (const auto& one : news) {
    if (one.kind == kind) agents.push_back(one.agent);
  }
  return agents;
}

// --- behaviour ---------------------------------------------------------------------------------

TEST(LockManager, TriesWithoutWaiting) {
  LockManager locks(small_locks());
  const auto held = take(locks, want(0, "r", x));
  auto attempt = want(1, "r", x);
  attempt.timeout = Nanos{0};
  const auto reply = take(locks, attempt);
  EXPECT_EQ(reply.refusal, Refusal::would_block);
  EXPECT_EQ(reply.ticket, 0U);
  EXPECT_TRUE(locks.apply(lock::Release{held.grant, 0}, Nanos{1}).news.empty())
      << "what was refused is not granted later";
}

TEST(LockManager, CountsReentriesAndReleasesAtTheLast) {
  LockManager locks(small_locks());
  const auto first = take(locks, want(0, "r", x));
  const auto second = take(locks, want(0, "r", s));
  EXPECT_EQ(second.grant, first.grant);
  EXPECT_EQ(second.count, 2U);
  take(locks, want(1, "r", x));
  EXPECT_EQ(locks.apply(lock::Release{first.grant, 0}, Nanos{1}).count, 1U);
  const auto last = locks.apply(lock::Release{first.grant, 0}, Nanos{1});
  EXPECT_EQ(told(last.news, LockNotice::granted), std::vector{1U});
  EXPECT_EQ(locks.apply(lock::Release{first.grant, 0}, Nanos{1}).code, Errc::not_owner);
}

TEST(LockManager, TakesIntentionsFromTheRootAndGivesThemBackFromTheLeaf) {
  LockManager locks(small_locks());
  const auto leaf = take(locks, want(0, "db/table/row", x));
  EXPECT_EQ(locks.mode_of(0, "db"), ix);
  EXPECT_EQ(locks.mode_of(0, "db/table"), ix);
  EXPECT_EQ(take(locks, want(1, "db", s)).refusal, Refusal::would_block);
  EXPECT_NE(take(locks, want(2, "other", s)).grant, 0U);
  const auto reply = locks.apply(lock::Release{leaf.grant, 0}, Nanos{1});
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{1U});
  EXPECT_EQ(locks.locks_of(0), 0U);
}

TEST(LockManager, ConvertsSharedAndIntentionIntoBoth) {
  LockManager locks(small_locks());
  const auto table = take(locks, want(0, "t", s));
  take(locks, want(0, "t/row", x));
  EXPECT_EQ(locks.mode_of(0, "t"), six);
  EXPECT_EQ(take(locks, want(1, "t", is)).refusal, Refusal::none);
  EXPECT_EQ(take(locks, want(2, "t", ix)).refusal, Refusal::would_block);
  EXPECT_EQ(locks.judge("t", table.fence), Errc::ok)
      << "it asked for the row, not for more of this";
  const auto stronger = take(locks, want(0, "u", s));
  EXPECT_GT(take(locks, want(0, "u", x)).fence, stronger.fence) << "it asked: a new token";
}

TEST(LockManager, AnUpgradeIntentSparesTheConversionDeadlock) {
  LockManager locks(small_locks());
  take(locks, want(0, "r", s));
  take(locks, want(1, "r", u));
  EXPECT_EQ(take(locks, want(2, "r", u)).refusal, Refusal::would_block)
      << "only one means to write";
  EXPECT_EQ(take(locks, want(1, "r", x)).refusal, Refusal::would_block);
  EXPECT_FALSE(locks.has_deadlock());
}

TEST(LockManager, NewReadersDoNotOvertakeAWriterThatWaits) {
  LockManager locks(small_locks());
  const auto reader = take(locks, want(0, "r", s));
  take(locks, want(1, "r", x));
  for (std::uint32_t agent = 2; agent < 6; ++agent) {
    EXPECT_EQ(take(locks, want(agent, "r", s)).refusal, Refusal::would_block);
  }
  const auto reply = locks.apply(lock::Release{reader.grant, 0}, Nanos{1});
  ASSERT_EQ(told(reply.news, LockNotice::granted), std::vector{1U});
  const auto after = locks.apply(lock::Release{reply.news[0].grant, 0}, Nanos{2});
  EXPECT_EQ(told(after.news, LockNotice::granted), (std::vector{2U, 3U, 4U, 5U}))
      << "readers together";
}

TEST(LockManager, WakesWhoeverStandsWithAllThatStayBefore) {
  LockManager locks(small_locks());
  take(locks, want(0, "r", s));
  const auto writer = take(locks, want(1, "r", x));
  take(locks, want(2, "r", ix));
  take(locks, want(3, "r", is));
  const auto reply = locks.apply(lock::Cancel{1, writer.ticket, 0}, Nanos{1});
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{3U}) << "IS stands with S and IX";
  EXPECT_TRUE(locks.verify());
}

TEST(LockManager, TimesOutAndIsNeverGrantedAfterwards) {
  LockManager locks(small_locks());
  const auto held = take(locks, want(0, "r", x));
  auto wanted = want(1, "r", x);
  wanted.timeout = ms(100);
  take(locks, wanted);
  LockActions actions;
  locks.tick(ms(99), actions);
  EXPECT_TRUE(actions.news.empty());
  EXPECT_EQ(actions.next_tick, ms(100));
  locks.tick(ms(100), actions);
  EXPECT_EQ(told(actions.news, LockNotice::timed_out), std::vector{1U});
  EXPECT_TRUE(locks.apply(lock::Release{held.grant, 0}, ms(101)).news.empty());
}

TEST(LockManager, EndsALeaseAndRefusesItsHolderByItsToken) {
  LockManager locks(small_locks());
  auto wanted = want(0, "shared-db", x);
  wanted.lease = ms(1'000);
  const auto first = take(locks, wanted);
  EXPECT_EQ(locks.apply(lock::Validate{"shared-db", 1}, ms(999)).code, Errc::ok);
  EXPECT_EQ(locks.apply(lock::Renew{first.grant, Nanos{0}, 0}, ms(999)).expires, ms(1'999));
  take(locks, want(1, "shared-db", x), ms(1'000));
  LockActions actions;
  locks.tick(ms(1'999), actions);
  EXPECT_EQ(told(actions.news, LockNotice::expired), std::vector{0U});
  EXPECT_EQ(told(actions.news, LockNotice::granted), std::vector{1U});
  EXPECT_EQ(locks.view("shared-db").fence, 2U);
  EXPECT_EQ(locks.apply(lock::Release{first.grant, 0}, ms(2'000)).code, Errc::expired);
  EXPECT_EQ(locks.apply(lock::Validate{"shared-db", 1}, ms(2'000)).code, Errc::stale_token);
}

TEST(LockManager, ALeaseThatEndsAboveLeavesWhatStandsBelow) {
  LockManager locks(small_locks());
  auto above = want(0, "p", x);
  above.lease = ms(100);
  const auto parent = take(locks, above);
  const auto child = take(locks, want(0, "p/c", x));
  LockActions actions;
  locks.tick(ms(100), actions);
  EXPECT_EQ(locks.mode_of(0, "p"), ix) << "what the child needs";
  EXPECT_EQ(locks.apply(lock::Release{parent.grant, 0}, ms(101)).code, Errc::expired);
  EXPECT_EQ(locks.apply(lock::Release{child.grant, 0}, ms(101)).code, Errc::ok);
  EXPECT_EQ(locks.locks_of(0), 0U);
}

TEST(LockManager, FreesTheLocksOfAStationAtOnceAndOfASuspectAfterTheGrace) {
  LockManager locks(small_locks());
  take(locks, want(0, "a", x));  // station 1
  take(locks, want(1, "b", x));  // station 2
  take(locks, want(2, "a", x));
  auto reply = locks.apply(lock::StationClosed{1}, ms(1));
  EXPECT_EQ(told(reply.news, LockNotice::phantom), std::vector{0U});
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{2U});
  locks.apply(lock::AgentDead{1}, ms(2));
  LockActions actions;
  locks.tick(ms(501), actions);
  EXPECT_TRUE(actions.news.empty());
  locks.tick(ms(502), actions);
  EXPECT_EQ(told(actions.news, LockNotice::phantom), std::vector{1U});
  locks.apply(lock::AgentDead{2}, ms(600));
  locks.apply(lock::AgentAlive{2}, ms(700));
  locks.tick(ms(5'000), actions);
  EXPECT_EQ(locks.locks_of(2), 1U) << "it was alive";
}

TEST(LockManager, AWoundedHolderHasItsGraceAndThenLosesItsLock) {
  auto config = small_locks(Prevention::wound_wait);
  config.wound_grace_ns = ms(100);
  LockManager locks(config);
  const auto young = take(locks, want(0, "r", x, 9));
  auto reply = take(locks, want(1, "r", x, 4));
  EXPECT_EQ(told(reply.news, LockNotice::wounded), std::vector{0U});
  EXPECT_EQ(locks.view("r").first_holder, 0U);
  EXPECT_EQ(locks.apply(lock::Renew{young.grant, ms(60'000), 0}, ms(50)).expires, ms(100))
      << "no renewal beyond the grace";
  LockActions actions;
  locks.tick(ms(100), actions);
  EXPECT_EQ(told(actions.news, LockNotice::revoked), std::vector{0U});
  EXPECT_EQ(told(actions.news, LockNotice::granted), std::vector{1U});
}

// pitfalls A1: wounding one holder grants nothing while others remain incompatible.
TEST(LockManager, DoesNotGrantWhenOneOfTwoHoldersIsWounded) {
  LockManager locks(small_locks(Prevention::wound_wait));
  take(locks, want(0, "r", s, 1));
  take(locks, want(1, "r", s, 9));
  const auto reply = take(locks, want(2, "r", x, 5));
  EXPECT_EQ(told(reply.news, LockNotice::wounded), std::vector{1U});
  EXPECT_TRUE(told(reply.news, LockNotice::granted).empty()) << "the older reader still reads";
  EXPECT_EQ(locks.view("r").holders, 1U);
}

TEST(LockManager, DoesNotWoundWhoMustNotBe) {
  LockManager locks(small_locks(Prevention::wound_wait));
  auto firm = want(0, "r", x, 9);
  firm.preemptible = false;
  take(locks, firm);
  EXPECT_TRUE(take(locks, want(1, "r", x, 4)).news.empty());
}

TEST(LockManager, ARevokedParentTakesWhatStandsOnItAlong) {
  LockManager locks(small_locks(Prevention::wound_wait));
  const auto row = take(locks, want(0, "t/r", x, 9));
  take(locks, want(1, "t/q", x, 8));
  const auto reply = take(locks, want(2, "t", x, 1));
  EXPECT_EQ(told(reply.news, LockNotice::wounded), (std::vector{0U, 1U}));
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{2U});
  EXPECT_EQ(locks.apply(lock::Release{row.grant, 0}, Nanos{1}).code, Errc::expired);
  EXPECT_TRUE(locks.verify());
}

TEST(LockManager, WaitDieRefusesTheYoungerAndLetsTheOlderWait) {
  LockManager locks(small_locks(Prevention::wait_die));
  take(locks, want(0, "r", x, 5));
  EXPECT_EQ(take(locks, want(1, "r", x, 3)).refusal, Refusal::would_block);
  EXPECT_EQ(take(locks, want(2, "r", x, 4)).code, Errc::deadlock_victim)
      << "older than the holder, younger than who waits before it";
  EXPECT_EQ(take(locks, want(3, "r", x, 9)).code, Errc::deadlock_victim);
}

TEST(LockManager, EndsADeadlockWithinItsIntervalAndKeepsTheVictimsLocks) {
  LockManager locks(small_locks());
  const auto a = take(locks, want(0, "r1", x, 1), ms(1));
  take(locks, want(1, "r2", x, 2), ms(1));
  LockActions actions;
  locks.tick(ms(2), actions);
  take(locks, want(0, "r2", x, 1), ms(3));
  take(locks, want(1, "r1", x, 2), ms(3));
  EXPECT_TRUE(locks.has_deadlock());
  std::vector<LockNews> news;
  for (int at = 4; at <= 253; ++at) {
    locks.tick(ms(at), actions);
    news.insert(news.end(), actions.news.begin(), actions.news.end());
  }
  EXPECT_EQ(told(news, LockNotice::victim), std::vector{1U}) << "the younger";
  EXPECT_FALSE(locks.has_deadlock());
  EXPECT_EQ(locks.mode_of(1, "r2"), x) << "its lock is its own until it gives it back";
  EXPECT_NE(locks.waits(0), 0U);
  EXPECT_EQ(locks.mode_of(0, "r1"), x);
  EXPECT_EQ(locks.apply(lock::Release{a.grant, 0}, ms(300)).code, Errc::ok);
}

TEST(LockManager, TakesTheVictimsLocksWhereItIsToldTo) {
  auto config = small_locks();
  config.abort_victim_locks = true;
  LockManager locks(config);
  take(locks, want(0, "r1", x, 1));
  take(locks, want(1, "r2", x, 2));
  take(locks, want(0, "r2", x, 1));
  take(locks, want(1, "r1", x, 2));
  const auto reply = locks.apply(lock::Detect{}, Nanos{1});
  EXPECT_EQ(told(reply.news, LockNotice::revoked), std::vector{1U});
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{0U});
}

// pitfalls B10: the graph counts every waiter, not the first of each queue.
TEST(LockManager, DoesNotMissADeadlockThroughTheMiddleOfAQueue) {
  LockManager locks(small_locks());
  take(locks, want(0, "r1", s, 1));
  take(locks, want(1, "r2", x, 2));
  take(locks, want(2, "r1", x, 3));  // waits for 0
  take(locks, want(1, "r1", s, 2));  // waits for 2, in the queue alone
  EXPECT_FALSE(locks.has_deadlock());
  take(locks, want(0, "r2", x, 1));  // waits for 1: 0 -> 1 -> 2 -> 0
  EXPECT_TRUE(locks.has_deadlock());
}

TEST(LockManager, LooksForADeadlockWhenAQueueGetsLong) {
  auto config = small_locks();
  config.detection_depth = 1;
  LockManager locks(config);
  take(locks, want(0, "r1", x, 1));
  take(locks, want(1, "r2", x, 2));
  take(locks, want(0, "r2", x, 1));
  take(locks, want(2, "r1", x, 5));
  const auto reply = take(locks, want(1, "r1", x, 2));
  EXPECT_EQ(told(reply.news, LockNotice::victim), std::vector{1U}) << "no tick in between";
}

TEST(LockManager, PriorityServesTheUrgentAndLetsWaitingCount) {
  auto config = small_locks();
  config.fairness = Fairness::priority;
  LockManager locks(config);
  const auto held = take(locks, want(0, "r", x));
  take(locks, want(1, "r", x), ms(0));
  auto urgent = want(2, "r", x);
  urgent.priority = 2;
  take(locks, urgent, ms(1'500));
  auto late = want(3, "r", x);
  late.priority = 2;
  take(locks, late, ms(2'500));
  auto reply = locks.apply(lock::Release{held.grant, 0}, ms(2'600));
  ASSERT_EQ(told(reply.news, LockNotice::granted), std::vector{2U});
  reply = locks.apply(lock::Release{reply.news[0].grant, 0}, ms(2'700));
  EXPECT_EQ(told(reply.news, LockNotice::granted), std::vector{1U}) << "it has waited two levels";
}

TEST(LockManager, CoarsensManyChildrenIntoTheirParentAndRefinesForAnother) {
  LockManager locks(small_locks());
  std::vector<LockReply> rows;
  for (const char* row : {"t/1", "t/2", "t/3"}) rows.push_back(take(locks, want(0, row, x)));
  EXPECT_EQ(locks.counters().coarsened, 1U);
  EXPECT_EQ(locks.mode_of(0, "t"), x);
  EXPECT_EQ(locks.view("t/1").holders, 0U);
  EXPECT_EQ(locks.judge("t/1", rows[0].fence), Errc::ok) << "its parent stands for it";
  EXPECT_EQ(take(locks, want(1, "t/4", x)).refusal, Refusal::none) << "refined for another";
  EXPECT_EQ(locks.mode_of(0, "t"), ix);
  EXPECT_EQ(take(locks, want(2, "t/1", s)).refusal, Refusal::would_block);
  EXPECT_TRUE(locks.verify());
  for (const auto& row : rows) {
    EXPECT_EQ(locks.apply(lock::Release{row.grant, 0}, Nanos{1}).code, Errc::ok);
  }
  EXPECT_EQ(locks.locks_of(0), 0U);
}

// pitfalls A1: coarsening by a common prefix locks a different thing.
TEST(LockManager, DoesNotTakeACommonPrefixForAParent) {
  LockManager locks(small_locks());
  for (const char* name : {"ab", "abc", "ab1", "ab2"}) take(locks, want(0, name, x));
  EXPECT_EQ(locks.counters().coarsened, 0U);
  EXPECT_EQ(take(locks, want(1, "ab3", x)).refusal, Refusal::none);
}

TEST(LockManager, ForgetsIdleNamesButNeverTheirTokens) {
  auto config = small_locks();
  config.resources_max = 8;
  LockManager locks(config);
  std::uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::string name = "n" + std::to_string(i);
      const auto held = take(locks, want(0, name, x));
      if (i == 0) {
        EXPECT_GT(held.fence, last);
        last = held.fence;
      }
      locks.apply(lock::Release{held.grant, 0}, Nanos{1});
    }
  }
  EXPECT_GT(locks.counters().forgotten, 0U);
}

TEST(LockManager, StartsAboveAllEarlierTokensWhereItIsNotDurable) {
  auto config = small_locks();
  config.durable = false;
  config.boot_count = 3;
  LockManager locks(config);
  EXPECT_EQ(take(locks, want(0, "r", x)).fence, (std::uint64_t{3} << 40) + 1);
}

TEST(LockManager, RaisesAVersionOnlyFromTheOneThatWasRead) {
  LockManager locks(small_locks());
  EXPECT_EQ(locks.read_version("doc"), 0U);
  EXPECT_EQ(locks.apply(lock::RaiseVersion{"doc", 0}, Nanos{0}).version, 1U);
  const auto late = locks.apply(lock::RaiseVersion{"doc", 0}, Nanos{0});
  EXPECT_EQ(late.code, Errc::conflict);
  EXPECT_EQ(late.version, 1U);
}

TEST(LockManager, KnowsWhatIsMostWaitedForAndHowLongLocksAreHeld) {
  LockManager locks(small_locks());
  const auto held = take(locks, want(0, "hot", x));
  take(locks, want(1, "hot", x));
  take(locks, want(2, "cold", x));
  locks.apply(lock::Release{held.grant, 0}, ms(5));
  const auto top = locks.top_contended(4);
  ASSERT_EQ(top.size(), 1U);
  EXPECT_EQ(top[0].name, "hot");
  EXPECT_EQ(top[0].waits, 1U);
  EXPECT_NEAR(static_cast<double>(locks.hold_times().quantile(1).value()), 5e6, 1e5);
}

TEST(LockManager, SaysOfATicketWhoIsInItsWay) {
  LockManager locks(small_locks());
  EXPECT_EQ(locks.poll(0).ticket, 0U);
  take(locks, want(0, "a", s));
  take(locks, want(1, "a", s));
  const auto first = locks.apply(want(2, "a", x), ms(7));
  const auto second = locks.apply(want(3, "a", s), ms(7));
  LockWaitView view = locks.poll(first.ticket);
  EXPECT_EQ(view.agent, 2U);
  EXPECT_EQ(view.resource, "a");
  EXPECT_EQ(view.ahead, 0U);
  EXPECT_EQ(view.wanted, x);
  EXPECT_EQ(view.until, ms(7) + small_locks().timeout_ns);
  EXPECT_EQ(view.in_its_way, (std::vector<std::uint32_t>{0, 1}));
  view = locks.poll(second.ticket);
  EXPECT_EQ(view.ahead, 1U);
  EXPECT_EQ(view.in_its_way, std::vector<std::uint32_t>{2})
      << "the waiter before it, and no holder";
  const auto below = locks.apply(want(4, "a/b", x), ms(8));
  EXPECT_EQ(locks.poll(below.ticket).resource, "a") << "the level that it did not get";
  locks.apply(lock::Cancel{2, first.ticket, want(2, "a", x).station}, ms(9));
  EXPECT_EQ(locks.poll(first.ticket).ticket, 0U) << "it waits no more";
}

// A deadlock is a circle of those.
TEST(LockManager, SaysOfTicketsWhatItGoesByItself) {
  std::uint64_t deadlocks = 0;
  for (std::uint64_t i = 0; i < 32; ++i) {
    const std::uint64_t seed = mesh::testing::seed() + i;
    const auto config = small_locks();
    LockManager locks(config, seed);
    for (const auto& one : testing::lock_trace(config, 300, seed)) {
      locks.apply(one.command, one.now);
      std::vector<std::vector<std::uint32_t>> waits_for(config.agents_max);
      for (std::uint32_t agent = 0; agent < config.agents_max; ++agent)
        waits_for[agent] = locks.poll(locks.waits(agent)).in_its_way;
      // Whoever waits for nobody that waits is none of them: taken away until nobody is left, or a
      // circle is.
      bool goes_on = true;
      while (goes_on) {
        goes_on = false;
        for (auto& its : waits_for) {
          const auto before = its.size();
          std::erase_if(its, [&](std::uint32_t other) { return waits_for[other].empty(); });
          goes_on = goes_on || its.size() != before;
        }
      }
      const bool is_circle = std::any_of(waits_for.begin(), waits_for.end(),
                                         [](const auto& its) { return !its.empty(); });
      ASSERT_EQ(locks.has_deadlock(), is_circle) << "seed " << seed;
      deadlocks += is_circle ? 1U : 0U;
    }
  }
  EXPECT_GT(deadlocks, 0U);
}

TEST(LockManager, AllocatesNothingWhileNobodyIsToldAnything) {
  LockManager locks(small_locks());
  const auto wanted = want(0, "shared-db", x);
  const auto deep = want(1, "a/b/c", s);
  bool sound = true;
  const std::uint64_t before = mesh::testing::allocation_count();
  LockActions actions;
  for (int i = 0; i < 1'000; ++i) {
    const auto one = locks.apply(wanted, ms(i));
    const auto two = locks.apply(deep, ms(i));
    sound = sound && one.grant != 0 && two.grant != 0;
    locks.apply(lock::Release{one.grant, 0}, ms(i));
    locks.apply(lock::Release{two.grant, 0}, ms(i));
    locks.tick(ms(i), actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
}

TEST(LockManager, ReplaysToTheSameBytes) {
  for (const auto prevention : {Prevention::none, Prevention::wound_wait, Prevention::wait_die}) {
    SCOPED_TRACE(static_cast<int>(prevention));
    const auto config = small_locks(prevention);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      testing::expect_replays<LockManager>(config, lock_trace(config, 300, seed));
    }
  }
}

TEST(LockManager, FindsADamagedSnapshot) {
  LockManager locks(small_locks());
  for (const auto& [now, command] : lock_trace(small_locks(), 20, 4)) locks.apply(command, now);
  testing::expect_damage_found(locks, small_locks());
}

TEST(LockManager, SurvivesADeathAtEachStepOfItsJournal) {
  for (const auto prevention : {Prevention::none, Prevention::wound_wait}) {
    const auto config = small_locks(prevention);
    testing::CrashSweep<LockManager> sweep(config, lock_trace(config, 30, 5));
    sweep.with_ticks();
    EXPECT_GT(sweep.run(5), 3U * 30 * 4);
  }
}

}  // namespace of_lock_behaviour_test
}  // namespace mesh::coordination
