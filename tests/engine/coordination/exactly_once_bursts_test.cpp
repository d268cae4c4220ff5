// A queue's bursts of completions, the rate of its redrives, the priority that it lends.
#include "engine/coordination/exactly_once_queue.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination {
namespace of_exactly_once_bursts_test {

using testing::by;
using testing::done;
using testing::seconds;
using testing::small_queue;
using testing::task;

std::string claimed(ExactlyOnceQueue& queue, const std::string& worker, Nanos now) {
  const auto reply = queue.apply(by(worker), now);
  return reply.tasks.empty() ? "" : reply.tasks.front().id;
}

TEST(ExactlyOnceQueue, CompletesABurstEachByItself) {
  ExactlyOnceQueue queue(small_queue());
  for (const auto* id : {"a", "b", "c"}) queue.apply(task(id), Nanos{0});
  queue.apply(once::Claim{"w", 1, 3, false}, Nanos{0});
  const auto reply = queue.apply(
      once::CompleteAll{{done("a", 1), done("b", 9), done("no", 1), done("c", 3)}}, Nanos{1});
  EXPECT_EQ(reply.code, Errc::ok);
  EXPECT_EQ(reply.count, 2U);
  EXPECT_EQ(reply.codes, (std::vector{Errc::ok, Errc::stale_token, Errc::not_found, Errc::ok}));
  EXPECT_EQ(queue.counters().completed, 2U);
  EXPECT_EQ(queue.counters().refused, 0U) << "the command was not";
  const once::CompleteAll too_many{std::vector<once::Complete>(9, done("a", 1))};
  testing::expect_all_refused<ExactlyOnceQueue>(
      queue, {{"of nothing", once::CompleteAll{}, Errc::invalid_argument, Nanos{1}},
              {"a burst too large", too_many, Errc::invalid_argument, Nanos{1}}});
}

TEST(ExactlyOnceQueue, RedrivesNoFasterThanItIsTold) {
  auto config = small_queue();
  config.redrive_rate_per_s = 2;
  ExactlyOnceQueue queue(config);
  for (const auto* id : {"a", "b", "c", "d"}) {
    queue.apply(task(id), Nanos{0});
    const auto claimed = queue.apply(by("w"), Nanos{0}).tasks.at(0);
    queue.apply(once::Nack{claimed.id, claimed.fence, true, Nanos{0}}, Nanos{0});
  }
  const auto first = queue.apply(once::Redrive{"", 4}, seconds(1));
  EXPECT_EQ(first.count, 2U);
  EXPECT_EQ(first.refusal, Refusal::rejected_rate);
  EXPECT_EQ(first.retry_after, seconds(0.5));
  EXPECT_EQ(queue.apply(once::Redrive{"d", 1}, seconds(1)).state, TaskState::dead);
  EXPECT_EQ(queue.apply(once::Redrive{"d", 1}, seconds(1.5)).state, TaskState::ready);
  EXPECT_EQ(queue.view().counts.dead, 1U);
  EXPECT_EQ(queue.counters().redrives_held, 2U);
}

// Of one key in order: what the urgent one waits for is as urgent, or others would hold both up.
TEST(ExactlyOnceQueue, LendsItsPriorityToWhatItWaitsFor) {
  auto config = small_queue();
  config.affinity = Affinity::strict;
  ExactlyOnceQueue queue(config);
  const auto enqueue = [&](std::string id, std::string key, std::uint32_t priority) {
    auto one = task(std::move(id));
    one.affinity_key = std::move(key);
    one.priority = priority;
    queue.apply(one, Nanos{0});
  };
  enqueue("low", "key", 0);
  enqueue("middle", "", 2);
  enqueue("urgent", "key", 3);
  EXPECT_EQ(claimed(queue, "w", Nanos{0}), "low") << "the urgent one waits for it";
  EXPECT_EQ(claimed(queue, "w", Nanos{0}), "middle");
  EXPECT_EQ(claimed(queue, "w", Nanos{0}), "") << "one of a key in flight";
  queue.apply(done("low", 1), Nanos{0});
  EXPECT_EQ(claimed(queue, "w", Nanos{0}), "urgent");
}

}  // namespace of_exactly_once_bursts_test
}  // namespace mesh::coordination
