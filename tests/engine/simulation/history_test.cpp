// The checkers of histories: what they pass, what they must not pass, and that they agree with one
// that tries every order.
#include "engine/simulation/history.hpp"

#include <numeric>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/lock_manager.hpp"

namespace mesh::engine::simulation {
namespace of_history_test {

using Kind = HistoryKind;
using Verdict = HistoryVerdict;

HistoryOp op(Kind kind, std::int64_t from, std::int64_t to) {
  HistoryOp made;
  made.kind = kind;
  made.invoked_ns = from;
  made.returned_ns = to;
  return made;
}
HistoryOp enqueue(std::int64_t from, std::int64_t to, std::uint64_t key, bool is_new = true) {
  HistoryOp made = op(Kind::enqueue, from, to);
  made.key = key;
  made.result = is_new ? 1 : 0;
  return made;
}
HistoryOp claim(std::int64_t from, std::int64_t to, std::uint64_t got) {
  HistoryOp made = op(Kind::claim, from, to);
  made.result = got;
  return made;
}
HistoryOp complete(std::int64_t from, std::int64_t to, std::uint64_t key, bool counts = true) {
  HistoryOp made = op(Kind::complete, from, to);
  made.key = key;
  made.result = counts ? 1 : 0;
  return made;
}
HistoryOp acquire(std::int64_t from, std::int64_t to, std::uint64_t fence) {
  HistoryOp made = op(Kind::acquire, from, to);
  made.result = fence;
  return made;
}
HistoryOp ends(Kind kind, std::int64_t from, std::int64_t to, std::uint64_t fence) {
  HistoryOp made = op(kind, from, to);
  made.argument = fence;
  made.result = 1;
  return made;
}
HistoryOp write(std::int64_t from, std::int64_t to, std::uint64_t value) {
  HistoryOp made = op(Kind::write, from, to);
  made.argument = value;
  return made;
}
HistoryOp read(std::int64_t from, std::int64_t to, std::uint64_t value) {
  HistoryOp made = op(Kind::read, from, to);
  made.result = value;
  return made;
}

TEST(History, OfNothingIsNoPass) { EXPECT_EQ(linearize<RegisterModel>({}), Verdict::empty); }

TEST(History, AWindowThatIsTooLongIsNoPass) {
  std::vector<HistoryOp> many;
  for (std::uint64_t i = 0; i <= kWindowMax; ++i) many.push_back(write(0, 100, i));
  std::size_t at = 99;
  EXPECT_EQ(linearize<RegisterModel>(many, &at), Verdict::too_long);
  EXPECT_EQ(at, 0U);
  many.pop_back();
  EXPECT_EQ(linearize<RegisterModel>(many), Verdict::holds);
}

TEST(History, AReadSeesTheLastWriteOrOneThatIsUnderWay) {
  EXPECT_EQ(linearize<RegisterModel>({write(0, 1, 7), read(2, 3, 7)}), Verdict::holds);
  EXPECT_EQ(linearize<RegisterModel>({write(0, 1, 7), read(2, 3, 0)}), Verdict::fails);
  EXPECT_EQ(linearize<RegisterModel>({write(0, 9, 7), read(2, 3, 7)}), Verdict::holds);
  EXPECT_EQ(linearize<RegisterModel>({write(0, 9, 7), read(2, 3, 0)}), Verdict::holds);
  EXPECT_EQ(linearize<RegisterModel>({write(0, 20, 7), read(2, 3, 7), read(4, 5, 0)}),
            Verdict::fails)
      << "what was seen once cannot be unseen";
}

TEST(History, AWriteThatNeverReturnedMayHaveHappened) {
  for (const std::uint64_t seen : {0U, 7U}) {
    EXPECT_EQ(linearize<RegisterModel>({write(0, kNeverReturned, 7), read(2, 3, seen)}),
              Verdict::holds);
  }
  EXPECT_EQ(linearize<RegisterModel>({write(0, kNeverReturned, 7), read(2, 3, 8)}), Verdict::fails);
}

TEST(History, SaysInWhichWindowItFails) {
  std::size_t at = 0;
  EXPECT_EQ(linearize<RegisterModel>({write(0, 1, 7), read(2, 3, 7), read(4, 5, 8)}, &at),
            Verdict::fails);
  EXPECT_EQ(at, 2U);
}

TEST(QueueHistory, ATaskIsOneWorkersAtATimeAndCompletedOnce) {
  EXPECT_EQ(linearize<QueueModel>({enqueue(0, 1, 5), claim(2, 3, 5), complete(4, 5, 5)}),
            Verdict::holds);
  EXPECT_EQ(linearize<QueueModel>({enqueue(0, 1, 5), claim(2, 3, 5), claim(2, 4, 5)}),
            Verdict::fails)
      << "leased twice";
  EXPECT_EQ(linearize<QueueModel>(
                {enqueue(0, 1, 5), claim(2, 3, 5), complete(4, 5, 5), complete(6, 7, 5)}),
            Verdict::fails)
      << "completed twice";
  EXPECT_EQ(linearize<QueueModel>({enqueue(0, 1, 5), claim(2, 3, 0)}), Verdict::fails)
      << "it was there";
  EXPECT_EQ(linearize<QueueModel>({claim(0, 3, 5), enqueue(1, 2, 5)}), Verdict::holds);
  EXPECT_EQ(linearize<QueueModel>({enqueue(0, 1, 5), enqueue(2, 3, 5)}), Verdict::fails);
  EXPECT_EQ(linearize<QueueModel>({enqueue(0, 1, 5), enqueue(2, 3, 5, false)}), Verdict::holds);
}

TEST(QueueHistory, ALeaseThatEndsGivesTheTaskToTheNext) {
  HistoryOp over = op(Kind::expire, 4, 5);
  over.key = 5;
  EXPECT_EQ(linearize<QueueModel>(
                {enqueue(0, 1, 5), claim(2, 3, 5), over, claim(6, 7, 5), complete(8, 9, 5)}),
            Verdict::holds);
}

TEST(LockHistory, OneHoldsItAndFencesOnlyIncrease) {
  EXPECT_EQ(linearize<LockModel>({acquire(0, 1, 3), acquire(2, 3, 0), ends(Kind::release, 4, 5, 3),
                                  acquire(6, 7, 4)}),
            Verdict::holds);
  EXPECT_EQ(linearize<LockModel>({acquire(0, 1, 3), acquire(2, 3, 4)}), Verdict::fails)
      << "two hold it";
  EXPECT_EQ(
      linearize<LockModel>({acquire(0, 1, 3), ends(Kind::release, 2, 3, 3), acquire(4, 5, 3)}),
      Verdict::fails)
      << "the same token";
  EXPECT_EQ(linearize<LockModel>({acquire(0, 1, 3), ends(Kind::expire, 2, 3, 3), acquire(4, 5, 9)}),
            Verdict::holds);
  EXPECT_EQ(linearize<LockModel>({ends(Kind::release, 2, 3, 3)}), Verdict::fails);
}

// --- against every order -----------------------------------------------------------------------

template <class Model>
bool any_order(const std::vector<HistoryOp>& ops) {
  std::vector<std::size_t> order(ops.size());
  std::iota(order.begin(), order.end(), 0U);
  do {
    std::optional<typename Model::State> state{typename Model::State{}};
    bool is_in_time = true;
    for (std::size_t i = 0; i < order.size() && state; ++i) {
      for (std::size_t j = i + 1; j < order.size(); ++j)
        is_in_time = is_in_time && ops[order[j]].returned_ns >= ops[order[i]].invoked_ns;
      state = Model::apply(*state, ops[order[i]]);
    }
    if (state && is_in_time) return true;
  } while (std::next_permutation(order.begin(), order.end()));
  return false;
}

TEST(HistoryProperty, AgreesWithOneThatTriesEveryOrder) {
  EXPECT_TRUE(rc::check([] {
    std::vector<HistoryOp> ops;
    const auto count = *rc::gen::inRange(1, 7);
    for (int i = 0; i < count; ++i) {
      const auto from = *rc::gen::inRange<std::int64_t>(0, 12);
      const auto to = from + *rc::gen::inRange<std::int64_t>(0, 6);
      const auto value = *rc::gen::inRange<std::uint64_t>(0, 3);
      ops.push_back(*rc::gen::arbitrary<bool>() ? write(from, to, value) : read(from, to, value));
    }
    const bool holds = linearize<RegisterModel>(ops) == Verdict::holds;
    RC_CLASSIFY(holds);
    RC_ASSERT(holds == any_order<RegisterModel>(ops));
  }));
}

// --- of the services themselves ----------------------------------------------------------------

// Three clients of the real queue, whose commands overlap: each is carried out at a moment between
// when it was asked for and when its answer came.
std::vector<HistoryOp> queue_history(std::uint64_t seed, bool lies) {
  namespace once = coordination::once;
  coordination::ExactlyOnceQueueConfig config;
  config.capacity = 64;
  config.dedup_capacity = 256;
  config.expected_rate_per_s = 1;
  config.store_bytes = 1U << 16;
  config.workers_max = 4;
  config.producers_max = 4;
  coordination::ExactlyOnceQueue queue(config);
  coordination::Rng rng(seed);
  std::vector<HistoryOp> history;
  std::map<std::uint64_t, std::uint64_t> fences;  // of what is leased
  std::int64_t now = 0;
  for (int i = 0; i < 60; ++i) {
    now += 10 + static_cast<std::int64_t>(rng.below(10));
    const auto spread = static_cast<std::int64_t>(rng.below(12));
    const std::uint64_t key = 1 + rng.below(6);
    HistoryOp made = op(Kind::claim, now - spread, now + spread);
    const std::uint64_t what = rng.below(3);
    if (what == 0) {
      made.kind = Kind::enqueue;
      made.key = key;
      once::Enqueue task;
      task.id = std::to_string(key);
      made.result = queue.apply(task, Nanos{now}).code == Errc::ok ? 1 : 0;
    } else if (what == 1) {
      const auto said = queue.apply(once::Claim{"w", 1, 1, false}, Nanos{now});
      if (!said.tasks.empty()) {
        made.result = std::stoull(said.tasks[0].id);
        fences[made.result] = said.tasks[0].fence;
      }
    } else if (!fences.empty()) {
      made.kind = Kind::complete;
      made.key = fences.begin()->first;
      const once::Complete done{std::to_string(made.key), fences.begin()->second, {}};
      made.result = queue.apply(done, Nanos{now}).code == Errc::ok ? 1 : 0;
      fences.erase(fences.begin());
    } else {
      continue;
    }
    history.push_back(made);
  }
  if (lies) {  // one claim is answered with what another one has
    for (HistoryOp& one : history) {
      if (one.kind != Kind::claim || one.result == 0) continue;
      history.push_back(one);
      history.back().invoked_ns = history.back().returned_ns = now + 100;
      break;
    }
  }
  return history;
}

TEST(QueueHistory, OfTheRealQueueHoldsAndOneThatLiesIsCaught) {
  std::uint64_t judged = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const auto honest = queue_history(seed, false);
    const Verdict verdict = linearize<QueueModel>(honest);
    EXPECT_NE(verdict, Verdict::fails) << seed;
    judged += verdict == Verdict::holds ? 1U : 0U;
    const auto lying = queue_history(seed, true);
    if (verdict == Verdict::holds && lying.size() != honest.size()) {
      EXPECT_EQ(linearize<QueueModel>(lying), Verdict::fails) << seed;
    }
  }
  EXPECT_GE(judged, 30U) << "the others have windows that are too long";
}

// Four agents of the real lock manager, who try, release, and let leases end.
TEST(LockHistory, OfTheRealLockManagerHolds) {
  namespace lock = coordination::lock;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    coordination::LockManagerConfig config;
    config.lease_ns = Nanos{100};
    config.agents_max = 4;
    config.locks_max = 16;
    config.resources_max = 16;
    coordination::LockManager locks(config);
    coordination::LockActions actions;
    coordination::Rng rng(seed);
    std::vector<HistoryOp> history;
    std::uint64_t grant = 0;
    std::uint64_t fence = 0;
    std::int64_t expires = 0;
    std::int64_t now = 1;
    for (int i = 0; i < 50; ++i) {
      now += 1 + static_cast<std::int64_t>(rng.below(60));
      if (grant != 0 && now >= expires) {
        history.push_back(ends(Kind::expire, expires, expires, fence));
        grant = 0;
      }
      locks.tick(Nanos{now}, actions);
      HistoryOp made = op(Kind::acquire, now, now);
      if (rng.below(2) == 0 || grant == 0) {
        lock::Acquire wanted;
        // Another one than the holder: that one would only take it again.
        wanted.agent = static_cast<std::uint32_t>(rng.below(2)) + (grant != 0 ? 2U : 0U);
        wanted.resource = "r";
        wanted.timeout = Nanos{0};
        const auto said = locks.apply(wanted, Nanos{now});
        const bool is_granted =
            said.code == Errc::ok && said.refusal == coordination::Refusal::none;
        if (is_granted) {
          grant = said.grant;
          fence = said.fence;
          expires = now + 100;
          made.result = fence;
        }
      } else {
        const bool is_done = locks.apply(lock::Release{grant}, Nanos{now}).code == Errc::ok;
        made = ends(Kind::release, now, now, fence);
        made.result = is_done ? 1 : 0;
        grant = 0;
      }
      history.push_back(made);
    }
    EXPECT_EQ(linearize<LockModel>(history), Verdict::holds) << seed;
  }
}

// --- conservation ------------------------------------------------------------------------------

TEST(LedgerHistory, SaysWhatIsWrongWithIt) {
  const std::vector<LedgerMove> moves{{1, kOutside, 7, 100}, {2, 7, 8, 30}, {3, 8, kOutside, 10}};
  EXPECT_TRUE(conserve(moves, {{7, 70}, {8, 20}}).holds);
  EXPECT_TRUE(conserve(moves, {{7, 70}, {8, 20}, {9, 0}}).holds) << "nothing is nobody's";
  const auto lost = conserve(moves, {{7, 70}, {8, 15}});
  EXPECT_FALSE(lost.holds);
  EXPECT_EQ(lost.missing, 5);
  EXPECT_FALSE(conserve(moves, {{7, 65}, {8, 25}}).holds) << "the sum is right, the balances not";
  auto twice = moves;
  twice.push_back(moves[1]);
  const auto booked_again = conserve(twice, {{7, 40}, {8, 50}});
  EXPECT_TRUE(booked_again.is_twice);
  EXPECT_EQ(booked_again.move, 2U);
  const auto overdrawn = conserve(std::vector<LedgerMove>{{1, 7, 8, 1}}, {{8, 1}});
  EXPECT_TRUE(overdrawn.is_overdrawn);
  EXPECT_FALSE(overdrawn.holds);
}

TEST(LedgerHistoryProperty, HoldsForWhatWasMovedAndForNothingElse) {
  EXPECT_TRUE(rc::check([] {
    std::vector<LedgerMove> moves;
    std::map<std::uint32_t, std::uint64_t> has;
    const auto count = *rc::gen::inRange(1, 40);
    for (int i = 0; i < count; ++i) {
      LedgerMove move;
      move.id = static_cast<std::uint64_t>(i);
      move.to = *rc::gen::inRange(0U, 4U);
      move.amount = *rc::gen::inRange<std::uint64_t>(1, 50);
      move.from = *rc::gen::inRange(0U, 4U);
      if (has[move.from] < move.amount) move.from = kOutside;
      if (move.from != kOutside) has[move.from] -= move.amount;
      has[move.to] += move.amount;
      moves.push_back(move);
    }
    RC_ASSERT(conserve(moves, has).holds);
    ++has[*rc::gen::inRange(0U, 4U)];
    RC_ASSERT(!conserve(moves, has).holds);
    RC_ASSERT(conserve(moves, has).missing == -1);
  }));
}

}  // namespace of_history_test
}  // namespace mesh::engine::simulation
