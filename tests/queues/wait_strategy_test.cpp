#include "queues/wait_strategy.hpp"

#include <chrono>
#include <random>

#include "tests/queues/ring_fixture.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_wait_strategy_test {

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
  EXPECT_EQ(wait_until(source, {wake, {.policy = WaitPolicy::kSpin}}, from_ns(5000), clock),
            WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 0);
  EXPECT_EQ(source.looks, 5000);
}

TEST(WaitStrategy, AdaptiveSpinsThenYieldsThenParks) {
  auto wake = shm::EventFd::create().value();
  FakeSource source;
  CountingClock clock;
  const WaitOptions options{.policy = WaitPolicy::kAdaptive, .spins = 7, .yields = 5};
  EXPECT_EQ(wait_until(source, {wake, options}, from_ns(12), clock), WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 0) << "12 looks are spins and yields";
  source = {};
  clock = {};
  EXPECT_EQ(wait_until(source, {wake, options}, from_ns(13), clock), WaitResult::kTimedOut);
  EXPECT_EQ(source.parks, 1);
  EXPECT_EQ(source.unparks, 1);
}

TEST(WaitStrategy, ParkParksAtOnce) {
  auto wake = shm::EventFd::create().value();
  ASSERT_EQ(wake.signal(), shm::SignalStatus::kSignalled);
  FakeSource source;
  CountingClock clock;
  EXPECT_EQ(
      wait_until(source, {wake, {.policy = WaitPolicy::kPark}}, from_ns(1'000'000'000), clock),
      WaitResult::kSignalled);
  EXPECT_EQ(source.parks, 1);
  EXPECT_EQ(wake.drain(), 0U) << "the signal was taken";
}

TEST(WaitStrategy, ASignalWithARecordIsReady) {
  auto wake = shm::EventFd::create().value();
  ASSERT_EQ(wake.signal(), shm::SignalStatus::kSignalled);
  FakeSource source{.ready_at = 2};
  CountingClock clock;
  EXPECT_EQ(
      wait_until(source, {wake, {.policy = WaitPolicy::kPark}}, from_ns(1'000'000'000), clock),
      WaitResult::kReady);
}

TEST(WaitStrategy, ARecordThatCameWhileParkingIsNotSleptOver) {
  SharedRing ring(8);
  auto wake = shm::EventFd::create().value();
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(testing::write_batch(writer, 1));
  EXPECT_EQ(wait_until(reader, {wake, {.policy = WaitPolicy::kPark}}, HostTime::max(), host_now),
            WaitResult::kReady);
  EXPECT_EQ(ring.page<testing::Host>().parked.load_relaxed(), 0U);
}

TEST(WaitStrategy, NamesEveryPolicy) {
  EXPECT_EQ(name_of(WaitPolicy::kSpin), "spin");
  EXPECT_EQ(name_of(WaitPolicy::kAdaptive), "adaptive");
  EXPECT_EQ(name_of(WaitPolicy::kPark), "park");
  EXPECT_EQ(name_of(WaitPolicy{9}), "unknown");
}

// Two processes; the reader parks whenever it finds nothing, and the writer publishes just then and
// waits for it: a lost wake-up leaves both waiting, which no later publish heals. The deadline is
// far beyond anything a scheduler does.
void hand_over(std::uint64_t records, std::uint64_t child_seed) {
  SharedRing ring(64);
  auto wake = shm::EventFd::create().value();
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::mt19937_64 random(child_seed);
    auto writer = ring.take_over().value();
    while (writer.head() < records) {
      const auto run = writer.claim(1);
      testing::build(run.slots[0], run.position);
      if (writer.publish_checked(1)) (void)wake.signal();
      while (writer.free_slots() != writer.capacity()) ::sched_yield();
      for (std::uint64_t pause = random() % 16; pause != 0; --pause) relax_cpu();
    }
    ::_exit(0);
  }
  auto reader = ring.attach().value();
  std::uint64_t expected = 0;
  bool lost = false;
  while (expected < records && !lost) {
    const HostTime deadline = host_now() + std::chrono::seconds(20);
    (void)wait_until(reader, {wake, {.policy = WaitPolicy::kPark}}, deadline, host_now);
    lost = host_now() >= deadline;  // whatever it then found
    reader.poll(16, [&](auto view) {
      EXPECT_EQ(view.position(), expected++);
      EXPECT_TRUE(testing::is_whole(view));
    });
  }
  EXPECT_FALSE(lost) << "a wake-up was lost at " << expected;
  if (lost) ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(WaitStrategy, NoWakeUpIsLostBetweenProcesses) {
  std::mt19937_64 random(testing::seed());
  for (testing::Repeats rounds(10); !HasFailure() && rounds.next();) hand_over(10'000, random());
}

}  // namespace of_wait_strategy_test
}  // namespace mesh::queues
