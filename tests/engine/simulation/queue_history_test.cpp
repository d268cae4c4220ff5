// Histories of an ExactlyOnceQueue whose callers overlap: each could be that of a queue that does
// one thing at a time (linearizability, Wing & Gong), and those of one that forgets are found.
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/simulation/history.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::engine::simulation {
namespace of_queue_history_test {

using coordination::ExactlyOnceQueue;
using coordination::ExactlyOnceQueueConfig;
using coordination::Rng;
using coordination::Snapshot;
using coordination::testing::by;
using coordination::testing::done;
using coordination::testing::seconds;
using coordination::testing::small_queue;
using coordination::testing::task;

// Callers that ask a queue at the same time: each command takes effect somewhere between its call
// and its return. What a lease's end or a station's death moves is written down as it happens.
class Callers {
 public:
  Callers(std::uint64_t seed, bool forgets) : rng_(seed), forgets_(forgets) {}

  std::vector<HistoryOp> play(int rounds) {
    for (int i = 0; i < rounds; ++i) round();
    return history_;
  }
  [[nodiscard]] std::size_t claimed() const { return claimed_; }

 private:
  static constexpr std::uint32_t kCallers = 4;
  struct Pending {
    HistoryOp op;
    std::uint64_t fence = 0;
    bool is_applied = false;
  };
  struct Held {
    std::uint64_t key = 0;
    std::uint64_t fence = 0;
  };

  // Up to ten operations that overlap, then nobody is under way.
  void round() {
    end_leases();
    for (std::size_t asked = 0; asked < 8 || !pending_.empty();) {
      ++now_;
      const auto who = static_cast<std::uint32_t>(rng_.below(kCallers));
      const auto found = pending_.find(who);
      if (found == pending_.end()) {
        if (asked < 8) pending_[who] = ask(who), ++asked;
      } else if (!found->second.is_applied) {
        take_effect(found->second);
      } else {
        found->second.op.returned_ns = now_;
        history_.push_back(found->second.op);
        pending_.erase(found);
      }
    }
    ++now_;
  }
  // Between rounds: leases run out, or a station dies. Each task that it frees is an operation.
  void end_leases() {
    if (rng_.below(2) == 0) return;
    ++now_;
    const bool dies = rng_.below(2) == 0;
    const auto station = static_cast<std::uint32_t>(rng_.below(kCallers));
    if (forgets_) before_ = queue_.snapshot();
    if (dies) {
      queue_.apply(coordination::once::StationClosed{station}, virtual_now());
    } else {
      clock_ += seconds(31);
    }
    for (auto& [who, held] : held_) {
      for (const auto& one : held) {
        if (dies && who != station) continue;
        HistoryOp over;
        over.kind = HistoryKind::expire;
        over.key = one.key;
        over.invoked_ns = over.returned_ns = ++now_;
        history_.push_back(over);
      }
      if (!dies || who == station) held.clear();
    }
    now_ += 1;
  }
  Pending ask(std::uint32_t who) {
    Pending pending;
    pending.op.process = who;
    pending.op.invoked_ns = now_;
    auto& held = held_[who];
    const std::uint64_t choice = rng_.below(3);
    if (choice == 0) {
      pending.op.kind = HistoryKind::enqueue;
      pending.op.key = 1 + rng_.below(12);  // some are known already
    } else if (choice == 1 || held.empty()) {
      pending.op.kind = HistoryKind::claim;
    } else {
      pending.op.kind = HistoryKind::complete;
      pending.op.key = held.back().key;
      pending.fence = held.back().fence;
      held.pop_back();
    }
    return pending;
  }
  void take_effect(Pending& pending) {
    pending.is_applied = true;
    HistoryOp& op = pending.op;
    const std::string id = std::to_string(op.key);
    if (op.kind == HistoryKind::enqueue) {
      op.result = queue_.apply(task(id), virtual_now()).code == Errc::ok ? 1 : 0;
    } else if (op.kind == HistoryKind::claim) {
      claim(op);
    } else {
      const auto reply = queue_.apply(done(id, pending.fence), virtual_now());
      op.result = reply.code == Errc::ok ? 1 : 0;
    }
  }
  void claim(HistoryOp& op) {
    if (forgets_ && rng_.below(3) == 0) before_ = queue_.snapshot();
    const auto reply =
        queue_.apply(by("w" + std::to_string(op.process), op.process), virtual_now());
    if (reply.tasks.empty()) return;
    op.result = std::stoull(reply.tasks[0].id);
    held_[op.process].push_back({op.result, reply.tasks[0].fence});
    ++claimed_;
    if (!forgets_ || before_.bytes.empty() || rng_.below(2) == 0) return;
    queue_ = std::move(*ExactlyOnceQueue::restore(config(), before_));  // the lease is lost
  }
  static ExactlyOnceQueueConfig config() {
    auto config = small_queue();
    config.attempts_max = 0;
    config.poison_stations = 0;
    return config;
  }
  Nanos virtual_now() { return clock_ += Nanos{1}; }

  Rng rng_;
  bool forgets_;
  ExactlyOnceQueue queue_{config()};
  Snapshot before_;
  std::int64_t now_ = 0;  // of the history
  Nanos clock_{0};
  std::map<std::uint32_t, Pending> pending_;
  std::map<std::uint32_t, std::vector<Held>> held_;
  std::vector<HistoryOp> history_;
  std::size_t claimed_ = 0;
};

TEST(QueueHistories, AreThoseOfAQueueThatDoesOneThingAtATime) {
  EXPECT_TRUE(rc::check("linearizable", [](std::uint64_t seed) {
    Callers callers(seed, false);
    std::size_t at = 0;
    const auto history = callers.play(12);
    const auto verdict = linearize<QueueModel>(history, &at);
    RC_LOG() << "window at " << at << " of " << history.size();
    RC_ASSERT(verdict == HistoryVerdict::holds);
    RC_ASSERT(callers.claimed() > 0U);
  }));
}

TEST(QueueHistories, OfOneThatForgetsALeaseAreFound) {
  int found = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Callers callers(seed, true);
    const auto verdict = linearize<QueueModel>(callers.play(12));
    EXPECT_NE(verdict, HistoryVerdict::too_long) << seed;
    found += verdict == HistoryVerdict::fails ? 1 : 0;
  }
  EXPECT_GT(found, 30) << "of 40";
}

}  // namespace of_queue_history_test
}  // namespace mesh::engine::simulation
