// Random schedules of the lock manager with deaths, watched from outside; and what the two schemes
// of prevention need, shown by their broken variants.
#include <optional>

#include "tests/engine/coordination/lock_kit.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_lock_schedule_test {

using testing::Death;
using testing::lock_ms;
using testing::LockPlayer;
using testing::LockWitness;
using testing::small_locks;
using testing::want;
using enum LockMode;

// A journaled manager that dies now and then at a step of its commit, or between commands. Whoever
// had no answer asks again and gets the first.
class MortalLocks {
 public:
  using Journaled = JournaledService<LockManager>;

  MortalLocks(const LockManagerConfig& config, Rng& rng) : config_(config), rng_(rng) { open(); }

  LockReply apply(const LockCommand& command, Nanos now) {
    const Journaled::Request request{{1, ++sequence_}, command};
    if (rng_.below(30) == 0) left_ = 1 + rng_.below(6);
    try {
      auto reply = locks_->execute(request, now);
      left_ = 0;
      return reply.value();
    } catch (const Death&) {
      die();
    }
    return locks_->execute(request, now).value();
  }
  void tick(Nanos now, LockActions& actions) {
    EXPECT_TRUE(locks_->tick(now, actions));
    if (rng_.below(20) == 0) {
      EXPECT_TRUE(locks_->checkpoint());
    }
  }
  [[nodiscard]] const LockManager& service() const { return locks_->service(); }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  void die() {
    ++deaths_;
    left_ = 0;
    journal_.crash(rng_.below(journal_.unsynced_bytes() + 1));
    open();
  }
  void open() {
    JournalOptions options;
    options.replies_max = 8;
    options.context = this;
    options.at_step = [](void* self, CommitStep) {
      auto& left = static_cast<MortalLocks*>(self)->left_;
      if (left != 0 && --left == 0) throw Death{};
    };
    auto opened = Journaled::open(config_, journal_, options);
    ASSERT_TRUE(opened) << opened.error().sentence;
    locks_.emplace(std::move(*opened));
  }

  LockManagerConfig config_;
  Rng& rng_;
  MemoryJournal journal_;
  std::optional<Journaled> locks_;
  std::uint64_t sequence_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t deaths_ = 0;
};

void step(MortalLocks& locks, LockPlayer& player, LockWitness& witness) {
  const auto move = player.next(witness);
  const auto reply = locks.apply(move.command, move.now);
  tell(witness, move.command, reply, move.now);
  LockActions actions;
  locks.tick(move.now, actions);
  witness.hear(actions.news);
  ASSERT_TRUE(witness.is_exclusive());
  ASSERT_FALSE(witness.waits_past(move.now)) << "a wait outlived its deadline";
}

// Commands of one schedule; the stress tier runs a million of them.
TEST(LockManagerSchedule, NeverHasTwoExclusiveHoldersHoweverOftenItDies) {
  constexpr std::uint64_t kCommands = 200;
  Rng seeds(mesh::testing::seed());
  std::uint64_t deaths = 0;
  for (mesh::testing::Repeats schedules(30); schedules.next();) {
    const auto prevention = static_cast<Prevention>(seeds.below(3));
    auto config = small_locks(prevention);
    if (seeds.below(2) == 0) config.wound_grace_ns = lock_ms(100);
    if (prevention == Prevention::none && seeds.below(2) == 0) {
      config.fairness = Fairness::priority;
    }
    LockPlayer player(seeds.next());
    LockWitness witness;
    MortalLocks locks(config, player.rng());
    SCOPED_TRACE("schedule " + std::to_string(schedules.count()));
    for (std::uint64_t i = 0; i < kCommands; ++i) {
      SCOPED_TRACE("command " + std::to_string(i));
      step(locks, player, witness);
      if (::testing::Test::HasFatalFailure()) return;
      if (i % 10 == 9) {
        const auto sound = locks.service().verify();
        ASSERT_TRUE(sound) << sound.error().sentence;
      }
    }
    deaths += locks.deaths();
  }
  EXPECT_GT(deaths, 0U);
}

TEST(LockManagerSchedule, EndsEveryDeadlockWithin250MsOfVirtualTime) {
  auto config = LockManagerConfig::preset("standard").value();
  config.prevention = Prevention::none;
  config.fairness = Fairness::fifo;
  config.agents_max = 16;
  Rng rng(mesh::testing::seed());
  LockManager locks(config);
  LockActions actions;
  std::int64_t since_ms = -1;
  std::uint64_t seen = 0;
  for (std::int64_t at = 0; at < 60'000; ++at) {
    const auto agent = static_cast<std::uint32_t>(rng.below(16));
    if (rng.below(4) == 0) {
      auto wanted = want(agent, "r" + std::to_string(rng.below(6)), rng.below(2) == 0 ? s : x, at);
      wanted.lease = lock_ms(2'000);
      locks.apply(wanted, lock_ms(at));
    }
    locks.tick(lock_ms(at), actions);
    if (!locks.has_deadlock()) {
      since_ms = -1;
      continue;
    }
    if (since_ms < 0) ++seen;
    since_ms = since_ms < 0 ? at : since_ms;
    ASSERT_LE(at - since_ms, 250) << "at " << at << " ms";
  }
  EXPECT_GT(seen, 50U) << "the schedule makes deadlocks";
}

// Twelve transactions over six resources: how often some of them wait for each other.
class Transactions {
 public:
  Transactions(const LockManagerConfig& config, std::uint64_t seed) : locks_(config), rng_(seed) {
    for (std::int64_t i = 0; i < 12; ++i) timestamps_.push_back(i);
  }
  std::uint64_t cycles() {
    std::uint64_t cycles = 0;
    for (int i = 0; i < 3'000; ++i) {
      step(static_cast<std::uint32_t>(rng_.below(12)));
      if (!locks_.has_deadlock()) continue;
      ++cycles;
      hear(locks_.apply(lock::Detect{}, Nanos{0}).news);
    }
    return cycles;
  }

 private:
  void step(std::uint32_t agent) {
    if (rng_.below(4) == 0) {
      if (locks_.waits(agent) != 0) return;
      drop(agent);
      timestamps_[agent] = next_++;
      return;
    }
    const std::string resource = "r" + std::to_string(rng_.below(6));
    const LockMode mode = rng_.below(2) == 0 ? s : x;
    if (locks_.waits(agent) != 0 || locks_.mode_of(agent, resource) != none) return;
    const auto wanted = want(agent, resource, mode, timestamps_[agent]);
    const auto reply = locks_.apply(wanted, Nanos{0});
    witness_.answered(wanted, reply, Nanos{0});
    if (reply.code == Errc::deadlock_victim) drop(agent);
    drop_losers(reply.news);
  }
  void hear(const std::vector<LockNews>& news) {
    witness_.hear(news);
    drop_losers(news);
  }
  // Who lost a lock or its wait starts over, as old as it was.
  void drop_losers(const std::vector<LockNews>& news) {
    for (const auto& one : news) {
      if (one.kind == LockNotice::revoked || one.kind == LockNotice::victim) drop(one.agent);
    }
  }
  void drop(std::uint32_t agent) {
    if (const auto ticket = locks_.waits(agent); ticket != 0) {
      const auto reply = locks_.apply(lock::Cancel{agent, ticket, 0}, Nanos{0});
      witness_.cancelled(ticket);
      witness_.hear(reply.news);
    }
    for (const auto grant : witness_.grants_of(agent)) {
      while (witness_.held().contains(grant)) {
        witness_.released(grant, locks_.apply(lock::Release{grant, 0}, Nanos{0}));
      }
    }
  }

  LockManager locks_;
  Rng rng_;
  std::vector<std::int64_t> timestamps_;
  std::int64_t next_ = 12;
  LockWitness witness_;
};

std::uint64_t cycles_of(const LockManagerConfig& config, std::uint64_t seed) {
  return Transactions(config, seed).cycles();
}

LockManagerConfig twelve(Prevention prevention) {
  auto config = small_locks(prevention);
  config.agents_max = 12;
  config.queue_max = 16;
  config.detection_depth = 100;
  return config;
}

TEST(LockManagerSchedule, WoundWaitNeedsItsQueueByAgeAndTheRequesterInItFirst) {
  auto in_order_of_arrival = twelve(Prevention::wound_wait);
  in_order_of_arrival.fairness = Fairness::fifo;
  auto late = twelve(Prevention::wound_wait);
  late.fault = LockFault::wounds_before_it_queues;
  std::uint64_t fifo = 0;
  std::uint64_t wounds_first = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    EXPECT_EQ(cycles_of(twelve(Prevention::wound_wait), seed), 0U) << seed;
    fifo += cycles_of(in_order_of_arrival, seed);
    wounds_first += cycles_of(late, seed);
  }
  EXPECT_GT(fifo, 0U) << "mutant: a fifo queue";
  EXPECT_GT(wounds_first, 0U) << "mutant: the freed lock went to a younger one";
}

TEST(LockManagerSchedule, WaitDieMustAskThoseThatWaitToo) {
  auto holders_alone = twelve(Prevention::wait_die);
  holders_alone.fault = LockFault::asks_holders_alone;
  std::uint64_t cycles = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    EXPECT_EQ(cycles_of(twelve(Prevention::wait_die), seed), 0U) << seed;
    cycles += cycles_of(holders_alone, seed);
  }
  EXPECT_GT(cycles, 0U) << "mutant: it asks the holders alone";
}

// Two agents of one age, each holding what the other wants: who gives way.
std::uint32_t victim_of(std::uint32_t first_priority, std::uint32_t second_priority,
                        std::uint32_t more_locks_of) {
  LockManager locks(testing::small_locks());
  locks.apply(testing::want(0, "r0", LockMode::x, 5), Nanos{0});
  locks.apply(testing::want(1, "r1", LockMode::x, 5), Nanos{0});
  if (more_locks_of < 2) {
    locks.apply(testing::want(more_locks_of, "more", LockMode::x, 5), Nanos{0});
  }
  auto first = testing::want(0, "r1", LockMode::x, 5);
  first.priority = first_priority;
  auto second = testing::want(1, "r0", LockMode::x, 5);
  second.priority = second_priority;
  locks.apply(first, Nanos{1});
  locks.apply(second, Nanos{1});
  for (const auto& news : locks.apply(lock::Detect{}, Nanos{2}).news) {
    if (news.kind == LockNotice::victim) return news.agent;
  }
  return UINT32_MAX;
}

TEST(LockVictims, OfOneAgeAreTheLeastUrgentThenWhoHoldsLeastThenTheHighestNumber) {
  EXPECT_EQ(victim_of(1, 5, 2), 0U) << "less urgent";
  EXPECT_EQ(victim_of(5, 1, 2), 1U);
  EXPECT_EQ(victim_of(1, 1, 1), 0U) << "holds less";
  EXPECT_EQ(victim_of(1, 1, 0), 1U);
  EXPECT_EQ(victim_of(1, 1, 2), 1U) << "alike: the higher number";
}

TEST(LockRenewal, IsDueWhenHalfOfTheLeaseIsOver) {
  LockManager locks(LockManagerConfig::preset("fast-locks").value());
  const Nanos now = testing::lock_ms(300);
  const auto held = locks.apply(testing::want(0, "r", LockMode::x), now);
  const Nanos due = renewal_of(now, held.expires);
  EXPECT_EQ(due, testing::lock_ms(2'800)) << "of five seconds";
  EXPECT_EQ(locks.apply(lock::Renew{held.grant, Nanos{0}, 0}, due).expires,
            testing::lock_ms(7'800));
}

}  // namespace of_lock_schedule_test
}  // namespace mesh::coordination
