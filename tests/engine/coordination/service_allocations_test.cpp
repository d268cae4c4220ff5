// What a service allocates in a step: nothing; and where a reply holds bytes, those bytes alone.
#include <array>
#include <cstdint>

#include <gtest/gtest.h>

#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/vector_clock.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination {
namespace of_service_allocations_test {

using mesh::testing::allocation_count;
using testing::by;
using testing::done;
using testing::seconds;
using testing::small_queue;
using testing::task;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

TEST(ServiceAllocations, TheFederationRouterMakesNoneInAnyCommandButAddNetwork) {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.shed_ppm = {0, 0, 0};
  config.queue_max = 64;
  FederationRouter router(config);
  for (const auto* name : {"a", "b"}) {
    router.apply(federation::AddNetwork{name, 3, 1'000'000, 1'000, seconds(10), 1}, Nanos{0});
  }
  const FederationRouter::Command negotiate = federation::Negotiate{{{1, 5}}};
  std::array<Dispatched, 8> sent{};
  std::array<Completion, 16> taken{};
  FederationActions actions;
  std::uint64_t answered = 0;
  const std::uint64_t before = allocation_count();
  for (std::int64_t i = 0; i < 2'000; ++i) {
    const Nanos now = ms(10 * i);
    federation::Submit one;
    one.network = i % 3 == 0 ? kAnyNetwork : static_cast<std::uint32_t>(i % 2);
    one.priority = static_cast<std::uint32_t>(i % 4);
    one.requester = static_cast<std::uint32_t>(i % 5);
    one.coalesce_key = static_cast<std::uint64_t>(i % 7);
    one.may_hedge = i % 2 == 0;
    router.apply(one, now);
    const std::size_t count = router.dispatch(now, sent);
    for (std::size_t k = 0; k < count; ++k) {
      const auto outcome = i % 50 == 0 ? RequestOutcome::rate_limited : RequestOutcome::ok;
      router.apply(federation::Complete{sent[k].request, outcome, Nanos{0}, sent[k].network}, now);
    }
    answered += router.take_completions(taken);
    if (i % 20 == 0) router.apply(federation::Borrow{0, 1, 5, 10}, now);
    if (i % 30 == 0) router.apply(federation::Reclaim{0}, now);
    if (i % 40 == 0) router.apply(negotiate, now);
    if (i % 60 == 0) router.apply(federation::StationClosed{2}, now);
    if (i % 70 == 0) router.apply(federation::BridgeDied{}, now);
    router.apply(federation::WantCredit{0, 1, 2}, now);
    router.tick(now, actions);
  }
  EXPECT_EQ(allocation_count(), before);
  EXPECT_GT(answered, 1'000U);
}

// What a claim hands out are the caller's own copies: a list, and of each task its id and payload.
TEST(ServiceAllocations, TheExactlyOnceQueueMakesNoneButTheBytesOfItsReplies) {
  auto config = small_queue();
  config.ttl_ns = seconds(1'000);
  ExactlyOnceQueue queue(config);
  std::vector<ExactlyOnceQueue::Command> tasks;
  for (int i = 0; i < 400; ++i) tasks.emplace_back(task("t" + std::to_string(i), "payload"));
  const ExactlyOnceQueue::Command claim = by("w");
  ExactlyOnceQueueActions actions;
  std::uint64_t in_claims = 0;
  std::uint64_t claimed = 0;
  std::uint64_t elsewhere = 0;
  const auto counted = [](std::uint64_t& into, auto&& step) {
    const std::uint64_t before = allocation_count();
    auto reply = step();
    into += allocation_count() - before;
    return reply;
  };
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const Nanos now = seconds(20.0 * static_cast<double>(i));  // ids are forgotten on the way
    counted(elsewhere, [&] { return queue.apply(tasks[i], now).code; });
    counted(elsewhere, [&] { return queue.apply(tasks[i], now).code; });  // a duplicate
    const auto got = counted(in_claims, [&] { return queue.apply(claim, now); });
    ASSERT_EQ(got.tasks.size(), 1U);
    ++claimed;
    counted(elsewhere, [&] { return queue.apply(claim, now).refusal; });
    const std::uint64_t fence = got.tasks[0].fence;
    const ExactlyOnceQueue::Command renew = once::Renew{got.tasks[0].id, fence, seconds(40)};
    const ExactlyOnceQueue::Command nack = once::Nack{got.tasks[0].id, fence, false, Nanos{0}};
    const ExactlyOnceQueue::Command over = done(got.tasks[0].id, fence);
    counted(elsewhere, [&] { return queue.apply(renew, now).code; });
    if (i % 5 == 0) {
      counted(elsewhere, [&] { return queue.apply(nack, now).code; });
      const auto again = counted(in_claims, [&] { return queue.apply(claim, now); });
      ASSERT_EQ(again.tasks.size(), 1U);
      ++claimed;
      const ExactlyOnceQueue::Command then = done(again.tasks[0].id, again.tasks[0].fence);
      counted(elsewhere, [&] { return queue.apply(then, now).code; });
    } else {
      counted(elsewhere, [&] { return queue.apply(over, now).code; });
    }
    counted(elsewhere, [&] {
      queue.tick(now, actions);
      return 0;
    });
  }
  EXPECT_EQ(elsewhere, 0U);
  EXPECT_LE(in_claims, 2 * claimed) << "the list and the payload; a short id takes none";
  EXPECT_TRUE(queue.verify());
}

// A delivery is told as a list of dots, an emitted event with its clock.
TEST(ServiceAllocations, TheVectorClockMakesNoneButTheBytesOfItsReplies) {
  CausalityConfig config;
  config.self = 1;
  config.members_max = 6;
  config.buffer_max = 16;
  config.log_max = 16;
  config.store_bytes = 64'000;
  config.payload_bytes_max = 1'000;
  VectorClockCausality one(config);
  for (std::uint64_t id = 2; id <= 4; ++id) one.apply(causal::AddMember{id}, Nanos{0});
  one.apply(causal::Reserve{1, 1'000'000}, Nanos{0});
  CausalityActions actions;
  one.tick(Nanos{0}, actions);
  std::vector<VectorClockCausality::Command> buffered;
  std::vector<VectorClockCausality::Command> ready;
  std::vector<VectorClockCausality::Command> heard;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    buffered.emplace_back(causal::Receive{3, i, 0, {{2, i}, {3, i}}, testing::bytes("late")});
    ready.emplace_back(causal::Receive{2, i, 0, {{2, i}}, testing::bytes("first")});
    const causal::Clock all{{2, i}, {3, i}};
    heard.emplace_back(causal::Hear{{{2, all}, {3, all}, {4, all}}});
  }
  std::uint64_t replies = 0;
  const std::uint64_t before = allocation_count();
  for (std::size_t i = 0; i < ready.size(); ++i) {
    const Nanos now = ms(static_cast<std::int64_t>(i));
    const auto waits = one.apply(buffered[i], now);
    replies += waits.delivered.empty() ? 0U : 100U;
    const auto delivers = one.apply(ready[i], now);
    ASSERT_EQ(delivers.delivered.size(), 2U);
    replies += 2;  // a list that grows from one to two
    one.apply(heard[i], now);
    one.apply(causal::Stamp{}, now);
    one.tick(now, actions);
  }
  EXPECT_LE(allocation_count() - before, replies);
  EXPECT_GT(one.counters().truncated, 300U) << "what is known everywhere is let go";
  EXPECT_TRUE(one.verify());
}

}  // namespace of_service_allocations_test
}  // namespace mesh::coordination
