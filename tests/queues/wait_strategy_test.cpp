#include "queues/wait_strategy.hpp"

#include <chrono>
#include <random>

#include "tests/queues/ring_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace {

using testing::SharedRing;

// Becomes ready at the n-th look; counts what was asked of it.
struct FakeSource {
  int ready_at = -1;  // never
  int looks = 0;
  int parks = 0;
  int unparks = 0;
  bool ready() { return ++looks == ready_at; }
  bool prepare_to_park() {
    ++parks;
    return true;
  }
  void unpark() { ++unparks; }
};

// Time moves by one nanosecond a look.
struct CountingClock {
  std::int64_t now = 0;
  HostTime operator()() { return from_ns(++now); }
};

HostTime host_now() { return from_ns(std::chrono::steady_clock::now().time_since_epoch().count()); }

TEST(WaitStrategy, SpinNeverParksAndEndsAtItsDeadline) {
  auto wake = shm::EventFd::create().value();
  FakeSource source;
  CountingClock clock;
  EXPECT_EQ(wait_until(source, wake, from_ns(5000), {.policy = WaitPolicy::kSpin}, clock),
            WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 0);
  EXPECT_EQ(source.looks, 5000);
}

TEST(WaitStrategy, AdaptiveSpinsThenYieldsThenParks) {
  auto wake = shm::EventFd::create().value();
  FakeSource source;
  CountingClock clock;
  const WaitOptions options{.policy = WaitPolicy::kAdaptive, .spins = 7, .yields = 5};
  EXPECT_EQ(wait_until(source, wake, from_ns(12), options, clock), WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 0) << "12 looks are spins and yields";
  source = {};
  clock = {};
  EXPECT_EQ(wait_until(source, wake, from_ns(13), options, clock), WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 1);
  EXPECT_EQ(source.unparks, 1);
}

TEST(WaitStrategy, ParkParksAtOnce) {
  auto wake = shm::EventFd::create().value();
  ASSERT_EQ(wake.signal(), shm::SignalStatus::kSignalled);
  FakeSource source;
  CountingClock clock;
  EXPECT_EQ(wait_until(source, wake, from_ns(1'000'000'000), {.policy = WaitPolicy::kPark}, clock),
            WaitResult::kSignalled);
  EXPECT_EQ(source.parks, 1);
  EXPECT_EQ(wake.drain(), 0U) << "the signal was taken";
}

TEST(WaitStrategy, ASignalWithARecordIsReady) {
  auto wake = shm::EventFd::create().value();
  ASSERT_EQ(wake.signal(), shm::SignalStatus::kSignalled);
  FakeSource source{.ready_at = 2};
  CountingClock clock;
  EXPECT_EQ(wait_until(source, wake, from_ns(1'000'000'000), {.policy = WaitPolicy::kPark}, clock),
            WaitResult::kReady);
}

TEST(WaitStrategy, ARecordThatCameWhileParkingIsNotSleptOver) {
  SharedRing ring(8);
  auto wake = shm::EventFd::create().value();
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(testing::write_batch(writer, 1));
  EXPECT_EQ(wait_until(reader, wake, HostTime::max(), {.policy = WaitPolicy::kPark}, host_now),
            WaitResult::kReady);
  EXPECT_EQ(ring.page<testing::Host>().parked.load_relaxed(), 0U);
}

TEST(WaitStrategy, NamesEveryPolicy) {
  EXPECT_EQ(name_of(WaitPolicy::kSpin), "spin");
  EXPECT_EQ(name_of(WaitPolicy::kAdaptive), "adaptive");
  EXPECT_EQ(name_of(WaitPolicy::kPark), "park");
  EXPECT_EQ(name_of(WaitPolicy{9}), "unknown");
}

// Two processes, random pauses, the reader parks whenever it finds nothing. A lost wake-up would be a wait that ends
// at its deadline; the deadline is far beyond anything a scheduler does.
TEST(WaitStrategy, NoWakeUpIsLostIn200000PublishesBetweenProcesses) {
  constexpr std::uint64_t kRecords = 200'000;
  SharedRing ring(64);
  auto wake = shm::EventFd::create().value();
  const std::uint64_t child_seed = testing::seed();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::mt19937_64 random(child_seed);
    auto writer = ring.take_over().value();
    while (writer.head() < kRecords) {
      const auto run = writer.claim(1 + random() % 3);
      if (run.status != ClaimStatus::kOk) {
        ::sched_yield();
        continue;
      }
      for (std::size_t i = 0; i < run.slots.size(); ++i)
        testing::build(run.slots[i], run.position + i);
      if (writer.publish_checked(run.slots.size())) (void)wake.signal();
      for (std::uint64_t pause = random() % 200; pause != 0; --pause) relax_cpu();
    }
    ::_exit(0);
  }
  auto reader = ring.attach().value();
  std::uint64_t expected = 0;
  std::uint64_t parks = 0;
  while (expected < kRecords) {
    const HostTime deadline = host_now() + std::chrono::seconds(20);
    const auto result = wait_until(reader, wake, deadline, {.policy = WaitPolicy::kPark}, host_now);
    ASSERT_NE(result, WaitResult::kTimedOut) << "a wake-up was lost at " << expected;
    ++parks;
    reader.poll(16, [&](auto view) {
      EXPECT_EQ(view.position(), expected++);
      EXPECT_TRUE(testing::is_whole(view));
    });
  }
  EXPECT_GT(parks, 1000U) << "the reader hardly ever waited: nothing was tried";
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace mesh::queues
