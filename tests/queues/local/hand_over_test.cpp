#include "queues/local/hand_over.hpp"

#include <thread>

namespace mesh::queues::local {
namespace of_hand_over_test {

TEST(HandOver, EmptyGivesNothing) {
  HandOver<int> queue(64, 1, 1);
  int room[4];
  EXPECT_EQ(queue.pop(room), 0U);
}

TEST(HandOver, RefusesWhenTheRoomIsUsedUpAndLosesNothingItTook) {
  HandOver<int> queue(64, 1, 0);
  auto lane = queue.lane();
  int pushed = 0;
  while (lane.try_push(pushed)) ++pushed;
  EXPECT_EQ(pushed, 64);
  std::vector<int> room(1000);
  ASSERT_EQ(queue.pop(room), static_cast<std::size_t>(pushed));
  for (int i = 0; i < pushed; ++i) EXPECT_EQ(room[static_cast<std::size_t>(i)], i);
}

// Also where the values take more blocks than the library's own index of a thread has room for.
TEST(HandOver, OneThreadAloneMayTakeAllOfTheRoomAgainAndAgain) {
  for (const std::size_t capacity : {std::size_t{16'384}, HandOver<std::size_t>::kOneThreadMax}) {
    HandOver<std::size_t> queue(capacity, 1, 1);
    auto lane = queue.lane();
    std::vector<std::size_t> room(capacity + 1);
    for (const bool by_lane : {true, false, true, false}) {
      std::size_t pushed = 0;
      while (by_lane ? lane.try_push(pushed) : queue.try_push(pushed)) ++pushed;
      ASSERT_EQ(pushed, capacity) << "by a lane: " << by_lane;
      ASSERT_EQ(queue.pop(room), capacity);
      for (std::size_t i = 0; i < capacity; ++i) ASSERT_EQ(room[i], i);
    }
    // Not emptied at once: an offset into a block, and a lap of the index.
    std::size_t next = 0;
    std::size_t expected = 0;
    for (int lap = 0; lap < 5; ++lap) {
      while (lane.try_push(next)) ++next;
      const std::size_t count = queue.pop(std::span(room).first(capacity - 5));
      for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(room[i], expected++);
      ASSERT_EQ(next - expected, 5U);
    }
  }
}

TEST(HandOver, ABulkGoesInWholeOrNotAtAll) {
  HandOver<int> queue(64, 1, 0);
  auto lane = queue.lane();
  std::vector<int> many(10'000);
  EXPECT_FALSE(lane.try_push(many));
  EXPECT_EQ(queue.size_hint(), 0U);
  many.resize(32);
  EXPECT_TRUE(lane.try_push(many));
}

TEST(HandOver, MovesValuesThatCannotBeCopied) {
  HandOver<std::unique_ptr<int>> queue(64, 1, 1);
  ASSERT_TRUE(queue.try_push(std::make_unique<int>(7)));
  std::unique_ptr<int> room[1];
  ASSERT_EQ(queue.pop(room), 1U);
  EXPECT_EQ(*room[0], 7);
}

// Under the thread sanitizer: what the pushing thread wrote is the popping one's without a lock.
TEST(HandOver, HandsOverWhatAValuePointsTo) {
  constexpr int kEach = 2'000;
  HandOver<std::unique_ptr<int>> queue(64, 1, 1);
  std::thread pushing([&queue] {
    for (int i = 0; i < kEach; ++i) {
      // Refused, the value is gone: so only where there is room.
      while (queue.size_hint() >= 64) std::this_thread::yield();
      EXPECT_TRUE(queue.try_push(std::make_unique<int>(i)));
    }
  });
  std::array<std::unique_ptr<int>, 16> room;
  for (int taken = 0; taken < kEach;) {
    const std::size_t count = queue.pop(room);
    if (count == 0) std::this_thread::yield();
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(*room[i], taken++);
  }
  pushing.join();
}

TEST(HandOver, KeepsTheOrderOfEachOfFourThreadsLosesNothingAndStarvesNone) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kEach = 20'000;
  HandOver<std::uint64_t> queue(1024, kThreads, 0);
  std::vector<std::thread> threads;
  for (std::uint64_t who = 0; who < kThreads; ++who) {
    threads.emplace_back([&queue, who] {
      auto lane = queue.lane();
      for (std::uint64_t i = 0; i < kEach; ++i)
        while (!lane.try_push(who << 32 | i)) std::this_thread::yield();
    });
  }
  std::array<std::uint64_t, kThreads> next{};
  std::uint64_t taken = 0;
  std::array<std::uint64_t, 64> room{};
  while (taken < kThreads * kEach) {
    const std::size_t count = queue.pop(room);
    if (count == 0) std::this_thread::yield();
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t who = room[i] >> 32;
      EXPECT_EQ(room[i] & 0xFFFF'FFFF, next[who]++);
    }
    taken += count;
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(queue.pop(room), 0U);
}

}  // namespace of_hand_over_test
}  // namespace mesh::queues::local
