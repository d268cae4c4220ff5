#include "queues/local/steal_deque.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <deque>
#include <thread>
#include <vector>

#include "tests/allocations.hpp"
#include "tests/repeats.hpp"

namespace mesh::queues::local {
namespace of_steal_deque_test {

using Deque = StealDeque<std::uint64_t>;

TEST(StealDeque, RefusesAPushWhereItIsFullAndKeepsWhatItHas) {
  Deque deque(4);
  for (std::uint64_t value = 0; value < 4; ++value) ASSERT_TRUE(deque.try_push(value));
  EXPECT_FALSE(deque.try_push(4));
  EXPECT_FALSE(deque.try_push(4));
  EXPECT_EQ(deque.size_hint(), 4U);
  std::uint64_t out = 9;
  ASSERT_EQ(deque.try_steal(out), StealStatus::kTaken);
  EXPECT_EQ(out, 0U);
  EXPECT_TRUE(deque.try_push(4)) << "a steal makes room";
  EXPECT_FALSE(deque.try_push(5));
}

TEST(StealDeque, AnEmptyOneGivesNothingAndLeavesTheValueAlone) {
  Deque deque(4);
  std::uint64_t out = 9;
  EXPECT_FALSE(deque.try_take(out));
  EXPECT_EQ(deque.try_steal(out), StealStatus::kEmpty);
  EXPECT_EQ(out, 9U);
  ASSERT_TRUE(deque.try_push(1));
  ASSERT_TRUE(deque.try_take(out));
  EXPECT_FALSE(deque.try_take(out));
  EXPECT_EQ(deque.try_steal(out), StealStatus::kEmpty);
  EXPECT_EQ(deque.size_hint(), 0U);
}

TEST(StealDeque, RoundsItsCapacityUpToAPowerOfTwo) {
  for (const std::size_t asked : {1U, 2U, 3U, 4U, 5U, 1'000U, 1'024U}) {
    EXPECT_EQ(Deque(asked).capacity(), std::bit_ceil(asked));
  }
  Deque one(1);
  EXPECT_TRUE(one.try_push(7));
  EXPECT_FALSE(one.try_push(8));
}

TEST(StealDeque, ItsOwnerTakesTheNewestAThiefTheOldest) {
  Deque deque(8);
  for (std::uint64_t value = 0; value < 6; ++value) ASSERT_TRUE(deque.try_push(value));
  std::uint64_t out = 0;
  ASSERT_TRUE(deque.try_take(out));
  EXPECT_EQ(out, 5U);
  ASSERT_EQ(deque.try_steal(out), StealStatus::kTaken);
  EXPECT_EQ(out, 0U);
  ASSERT_TRUE(deque.try_take(out));
  EXPECT_EQ(out, 4U);
  ASSERT_EQ(deque.try_steal(out), StealStatus::kTaken);
  EXPECT_EQ(out, 1U);
  EXPECT_EQ(deque.size_hint(), 2U);
}

TEST(StealDeque, NothingAllocatesAfterItIsMade) {
  Deque deque(64);
  const auto before = testing::allocation_count();
  std::uint64_t out = 0;
  for (int round = 0; round < 100; ++round) {
    for (std::uint64_t value = 0; deque.try_push(value); ++value) continue;
    while (deque.try_steal(out) == StealStatus::kTaken && deque.try_take(out)) continue;
  }
  EXPECT_EQ(testing::allocation_count(), before);
}

// Against a plain deque, over many laps of a small array.
TEST(StealDeque, InAnyOrderOfOperationsItIsAPlainDequeOfThatCapacity) {
  EXPECT_TRUE(rc::check([] {
    Deque deque(*rc::gen::inRange<std::size_t>(1, 9));
    std::deque<std::uint64_t> model;
    const auto steps =
        *rc::gen::container<std::vector<std::uint8_t>>(500, rc::gen::inRange<std::uint8_t>(0, 4));
    std::uint64_t next = 0;
    for (const std::uint8_t step : steps) {
      std::uint64_t out = UINT64_MAX;
      if (step < 2) {
        const bool has_room = model.size() < deque.capacity();
        RC_ASSERT(deque.try_push(next) == has_room);
        if (has_room) model.push_back(next++);
      } else if (model.empty()) {
        RC_ASSERT(!deque.try_take(out) && deque.try_steal(out) == StealStatus::kEmpty);
      } else if (step == 2) {
        RC_ASSERT(deque.try_take(out) && out == model.back());
        model.pop_back();
      } else {
        RC_ASSERT(deque.try_steal(out) == StealStatus::kTaken && out == model.front());
        model.pop_front();
      }
      RC_ASSERT(deque.size_hint() == model.size());
    }
  }));
}

// A bit for each handle, set by its taker.
class TakenOnce {
 public:
  explicit TakenOnce(std::uint64_t handles) : words_(handles / 64 + 1) {}
  // False: it was taken before.
  [[nodiscard]] bool take(std::uint64_t handle) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << handle % 64;
    return (words_[handle / 64].fetch_or(bit, std::memory_order_relaxed) & bit) == 0;
  }

 private:
  std::vector<std::atomic<std::uint64_t>> words_;
};

// What eight thieves and an owner share: a cell behind each handle, written before its push, read
// by its taker, and used again after that.
struct Shared {
  static constexpr std::uint64_t kCells = 4'096;  // more than can wait

  explicit Shared(std::uint64_t handles) : taken(handles), left(handles) {
    for (auto& one : is_read) one.store(true, std::memory_order_relaxed);
  }
  void see(std::uint64_t handle) {
    const std::uint64_t cell = handle % kCells;
    if (!taken.take(handle) || behind[cell] != ~handle) {
      wrong.fetch_add(1, std::memory_order_relaxed);
    }
    is_read[cell].store(true, std::memory_order_release);
    left.fetch_sub(1, std::memory_order_acq_rel);
  }
  // Until all are taken; yields where there is nothing, for there are two cores.
  void steal_all() {
    std::uint64_t mine = 0;
    while (left.load(std::memory_order_acquire) != 0) {
      std::uint64_t handle = 0;
      const StealStatus status = deque.try_steal(handle);
      if (status == StealStatus::kEmpty) std::this_thread::yield();
      if (status != StealStatus::kTaken) continue;
      see(handle);
      ++mine;
    }
    stolen.fetch_add(mine, std::memory_order_relaxed);
  }
  void take() {
    std::uint64_t handle = 0;
    if (deque.try_take(handle)) see(handle);
  }
  void push(std::uint64_t handle) {
    const std::uint64_t cell = handle % kCells;
    while (!is_read[cell].exchange(false, std::memory_order_acquire)) {
      std::this_thread::yield();  // a thief that has it does not run
    }
    behind[cell] = ~handle;
    while (!deque.try_push(handle)) take();
    if (handle % 3 == 0) take();
  }

  StealDeque<std::uint64_t> deque{256};
  TakenOnce taken;
  std::vector<std::uint64_t> behind = std::vector<std::uint64_t>(kCells);
  std::vector<std::atomic<bool>> is_read = std::vector<std::atomic<bool>>(kCells);
  std::atomic<std::uint64_t> left;
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::uint64_t> stolen{0};
};

// 100,000,000 of them in the stress tier; a few, also under the thread sanitizer, in every run.
TEST(StealDeque, EightThievesAndItsOwnerTakeEachHandleOnce) {
  const std::uint64_t handles = testing::repeats(40'000);
  Shared shared(handles);
  std::vector<std::thread> thieves;
  for (int i = 0; i < 8; ++i) thieves.emplace_back([&] { shared.steal_all(); });
  for (std::uint64_t handle = 0; handle < handles; ++handle) shared.push(handle);
  while (shared.deque.size_hint() != 0) shared.take();
  for (auto& thief : thieves) thief.join();
  std::printf("%llu handles, %llu stolen\n", static_cast<unsigned long long>(handles),
              static_cast<unsigned long long>(shared.stolen.load(std::memory_order_relaxed)));
  EXPECT_EQ(shared.wrong.load(std::memory_order_relaxed), 0U);
  EXPECT_EQ(shared.left.load(std::memory_order_relaxed), 0U);  // with none wrong: each was taken
}

// The last value of a pile, again and again: that is where owner and thief meet.
TEST(StealDeque, OfOneValueEitherItsOwnerOrAThiefHasIt) {
  const std::uint64_t rounds = 20'000;
  Deque deque(1);
  std::atomic<bool> is_over{false};
  std::uint64_t by_thief = 0;
  std::uint64_t sum_of_thief = 0;
  std::thread thief([&] {
    std::uint64_t out = 0;
    while (!is_over.load(std::memory_order_acquire)) {
      if (deque.try_steal(out) != StealStatus::kTaken) continue;
      ++by_thief;
      sum_of_thief += out;
    }
  });
  std::uint64_t by_owner = 0;
  std::uint64_t sum = 0;
  for (std::uint64_t value = 1; value <= rounds; ++value) {
    while (!deque.try_push(value)) std::this_thread::yield();
    std::uint64_t out = 0;
    if (!deque.try_take(out)) continue;
    ++by_owner;
    sum += out;
  }
  while (deque.size_hint() != 0) std::this_thread::yield();
  is_over.store(true, std::memory_order_release);
  thief.join();
  EXPECT_EQ(by_owner + by_thief, rounds);
  EXPECT_EQ(sum + sum_of_thief, rounds * (rounds + 1) / 2);
}

}  // namespace of_steal_deque_test
}  // namespace mesh::queues::local
