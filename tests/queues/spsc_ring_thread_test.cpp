// Writer and reader as threads over one ring: what a sanitizer needs to see both sides. Order and
// content of every record, writers that take over from one another, a reader that parks.
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

#include "queues/wait_strategy.hpp"
#include "tests/queues/ring_fixture.hpp"
#include "tests/sanitizers.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_spsc_ring_thread_test {

using testing::Host;
using testing::SharedRing;

constexpr std::uint64_t kCapacity = 256;
constexpr std::uint64_t kStart = std::uint64_t{0} - 100'000;  // the counters wrap on the way

// Counts instead of expecting: gtest's macros take a lock, and so would order what they check.
struct Seen {
  std::uint64_t expected;
  std::uint64_t wrong = 0;

  template <class View>
  void operator()(const View& view) {
    if (view.position() != expected || !testing::is_whole(view)) ++wrong;
    ++expected;
  }
};

// Publishes up to `end` in batches of 1 to 64, and calls `revealed` after each.
template <class Writer, class Revealed>
void write_until(Writer& writer, std::uint64_t end, std::mt19937_64& random, Revealed&& revealed) {
  while (before(writer.head(), end)) {
    const auto batch = std::min<std::uint64_t>(1 + random() % 64, end - writer.head());
    if (writer.free_slots() < batch) {
      std::this_thread::yield();
      continue;
    }
    for (std::uint64_t left = batch; left != 0;) {
      const auto run = writer.claim(left);
      writer.fill(run, [](auto& slot, std::uint64_t at) { testing::build(slot, at); });
      left -= run.slots.size();
    }
    revealed(writer);
  }
}

TEST(SpscRingThread, EveryRecordArrivesWholeAndInOrder) {
  constexpr std::uint64_t kRecords = 1'000'000;
  SharedRing ring(kCapacity, kStart);
  std::thread writing([&] {
    std::mt19937_64 random(testing::seed());
    auto writer = ring.take_over().value();
    write_until(writer, kStart + kRecords, random, [](auto& of) { of.reveal(); });
  });
  std::mt19937_64 random(testing::seed() + 1);
  auto reader = ring.attach().value();
  Seen seen{kStart};
  while (seen.expected != kStart + kRecords)
    if (reader.poll(1 + random() % 100, seen) == 0) std::this_thread::yield();
  writing.join();
  EXPECT_EQ(seen.wrong, 0U);
  EXPECT_EQ(reader.poll(kCapacity, seen), 0U);
}

// Each writer leaves a batch open, as one that was killed; the next takes over once it has ended,
// while the reader goes on.
TEST(SpscRingThread, TwentyWritersTakeOverFromOneAnotherUnderTheReadersEyes) {
  constexpr std::uint64_t kWriters = 20;
  constexpr std::uint64_t kEach = 10'000;
  SharedRing ring(kCapacity, kStart);
  std::thread reading([&] {
    auto reader = ring.attach().value();
    Seen seen{kStart};
    while (seen.expected != kStart + kWriters * kEach)
      if (reader.poll(kCapacity / 4, seen) == 0) std::this_thread::yield();
    EXPECT_EQ(seen.wrong, 0U);
  });
  for (std::uint64_t turn = 0; turn < kWriters; ++turn) {
    std::thread([&, turn] {
      std::mt19937_64 random(testing::seed() + turn);
      auto writer = ring.take_over().value();
      EXPECT_EQ(writer.head(), kStart + turn * kEach);
      write_until(writer, kStart + (turn + 1) * kEach, random, [](auto& of) { of.reveal(); });
      const auto open = writer.claim(1 + random() % 64);
      writer.fill(open, [](auto& slot, std::uint64_t at) { testing::build(slot, ~at); });
    }).join();
  }
  reading.join();
}

HostTime host_now() { return from_ns(std::chrono::steady_clock::now().time_since_epoch().count()); }

TEST(SpscRingThread, AParkingReaderMissesNothing) {
  constexpr std::uint64_t kRecords = 50'000;
  SharedRing ring(kCapacity, kStart);
  auto wake = shm::EventFd::create().value();
  std::thread writing([&] {
    std::mt19937_64 random(testing::seed());
    auto writer = ring.take_over().value();
    write_until(writer, kStart + kRecords, random, [&](auto& of) {
      if (of.reveal_checked()) static_cast<void>(wake.signal());
      if (random() % 4 == 0) std::this_thread::yield();
    });
  });
  auto reader = ring.attach().value();
  Seen seen{kStart};
  const WaitOptions park{.policy = WaitPolicy::kPark};
  bool lost = false;
  while (seen.expected != kStart + kRecords && !lost) {
    const HostTime deadline = host_now() + std::chrono::seconds(60);  // beyond any scheduler
    lost = wait_until(reader, {wake, park}, deadline, host_now) == WaitResult::kTimedOut;
    reader.poll(kCapacity, seen);
  }
  EXPECT_FALSE(lost) << "a wake-up was lost before position " << seen.expected;
  EXPECT_EQ(seen.wrong, 0U);
  while (seen.expected != kStart + kRecords)  // lets the writer end
    if (reader.poll(kCapacity, seen) == 0) std::this_thread::yield();
  writing.join();
}

// The proof that the sanitizer watches these bytes: the same ring, its release stores relaxed.
struct RelaxedMemory : HostMemory {
  template <class T>
  struct Word : ShmWord<T> {
    void store_release(T value) noexcept { this->store_relaxed(value); }
  };
};

void run_without_release() {
  using Weak = SpscRing<RelaxedMemory>;
  SharedRing ring(kCapacity, kStart);
  std::thread writing([&] {
    std::mt19937_64 random(testing::seed());
    auto writer = ring.take_over<Weak>().value();
    write_until(writer, kStart + 1'000, random, [](auto& of) { of.reveal(); });
  });
  auto reader = ring.attach<Weak>().value();
  Seen seen{kStart};
  while (seen.expected != kStart + 1'000)
    if (reader.poll(kCapacity, seen) == 0) std::this_thread::yield();
  writing.join();
}

TEST(SpscRingThreadDeathTest, ThreadSanitizerReportsAPublishWithoutRelease) {
  if (!testing::kUnderThreadSanitizer) GTEST_SKIP() << "built without the thread sanitizer";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr int kExitOfThreadSanitizer = 66;
  const auto run = [] {
    run_without_release();
    std::exit(0);  // the sanitizer turns it into its own exit code if it found something
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(kExitOfThreadSanitizer), "data race");
}

}  // namespace of_spsc_ring_thread_test
}  // namespace mesh::queues
