#include "shm/event_fd.hpp"

#include <csignal>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "shm/files.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::shm {
namespace of_event_fd_test {

constexpr HostTime kNow = from_ns(5'000);
constexpr HostTime kFarAway = from_ns(5'000 + 600 * kNsPerSecond);

TEST(EventFd, AdoptRefusesEverythingElse) {
  EXPECT_EQ(EventFd::adopt(Descriptor()).error().code, Errc::not_yours);
  EXPECT_EQ(EventFd::adopt(Descriptor(open("/dev/null", O_RDWR | O_CLOEXEC))).error().code,
            Errc::not_yours);
  auto memory = create_sealed_memory("anon_inode:[eventfd]", 4096).value();
  const auto refused = EventFd::adopt(std::move(memory.descriptor));
  EXPECT_EQ(refused.error().code, Errc::not_yours);
  EXPECT_THAT(refused.error().sentence, ::testing::HasSubstr("memfd:"));
}

TEST(EventFd, IsStickyASignalBeforeTheWaitEndsItAtOnce) {
  const auto event = EventFd::create().value();
  EXPECT_EQ(event.signal(), SignalStatus::kSignalled);
  EXPECT_EQ(event.wait_until(kFarAway, kNow), WaitStatus::kSignalled);
  EXPECT_EQ(event.wait_until(kFarAway, kNow), WaitStatus::kSignalled);  // until it is drained
  EXPECT_EQ(event.drain(), 1U);
  EXPECT_EQ(event.wait_until(kNow, kNow), WaitStatus::kTimedOut);
}

TEST(EventFd, DrainCountsTheSignalsAndNeverWaits) {
  const auto event = EventFd::create().value();
  EXPECT_EQ(event.drain(), 0U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(event.signal(), SignalStatus::kSignalled);
  EXPECT_EQ(event.drain(), 5U);
  EXPECT_EQ(event.drain(), 0U);
}

TEST(EventFd, ADeadlineInThePastTimesOutAtOnce) {
  const auto event = EventFd::create().value();
  EXPECT_EQ(event.wait_until(from_ns(0), kNow), WaitStatus::kTimedOut);
  EXPECT_EQ(event.wait_until(from_ns(-1'000'000), kNow), WaitStatus::kTimedOut);
  EXPECT_EQ(event.wait_until(from_ns(to_ns(kNow) + 1), kNow), WaitStatus::kTimedOut);
}

TEST(EventFd, AFullCounterIsASignalNotAWait) {
  const auto event = EventFd::create().value();
  const std::uint64_t full = ~std::uint64_t{0} - 1;
  ASSERT_EQ(write(event.fd(), &full, sizeof full), 8);
  EXPECT_EQ(event.signal(), SignalStatus::kSignalled);
  EXPECT_EQ(event.drain(), full);
}

TEST(EventFd, IsPollableCloseOnExecAndNonBlockingWhenAdopted) {
  Descriptor blocking(eventfd(0, EFD_CLOEXEC));
  const auto event = EventFd::adopt(std::move(blocking)).value();
  EXPECT_EQ(event.drain(), 0U);  // would hang if it blocked
  EXPECT_EQ(fcntl(event.fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  pollfd entry{event.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&entry, 1, 0), 0);
  EXPECT_EQ(event.signal(), SignalStatus::kSignalled);
  EXPECT_EQ(poll(&entry, 1, 0), 1);
}

TEST(EventFd, EveryParkIsEndedByItsSignalAcrossThreads) {
  const auto ping = EventFd::create().value();
  const auto pong = EventFd::create().value();
  constexpr int kTurns = 2'000;
  std::thread other([&] {
    for (int turn = 0; turn < kTurns; ++turn) {
      if (ping.wait_until(kFarAway, kNow) != WaitStatus::kSignalled || ping.drain() != 1) return;
      static_cast<void>(pong.signal());
    }
  });
  int answered = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    static_cast<void>(ping.signal());
    if (pong.wait_until(kFarAway, kNow) != WaitStatus::kSignalled || pong.drain() != 1) break;
    ++answered;
  }
  other.join();
  EXPECT_EQ(answered, kTurns);
}

TEST(EventFd, ASignalHandlerEndsAWaitWithInterrupted) {
  const auto event = EventFd::create().value();
  const int answer = testing::answer_of_child([&] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    if (sigaction(SIGALRM, &action, nullptr) != 0) return 1;
    // It repeats, so that one that fires before the wait has begun does not decide the test.
    const itimerval timer{{0, 1000}, {0, 1000}};
    if (setitimer(ITIMER_REAL, &timer, nullptr) != 0) return 2;
    return event.wait_until(kFarAway, kNow) == WaitStatus::kInterrupted ? 0 : 3;
  });
  EXPECT_EQ(answer, 0);
}

// A peer shares the open file: it may make it blocking and fill it. A watchdog's signal gets us
// out.
TEST(EventFd, ASignalHandlerFreesASignalThatAHostilePeerBlocks) {
  const auto event = EventFd::create().value();
  const int answer = testing::answer_of_child([&] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    if (sigaction(SIGALRM, &action, nullptr) != 0) return 1;
    const std::uint64_t full = ~std::uint64_t{0} - 1;
    if (write(event.fd(), &full, sizeof full) != 8) return 2;
    if (fcntl(event.fd(), F_SETFL, 0) != 0) return 3;
    const itimerval timer{{0, 1000}, {0, 1000}};
    if (setitimer(ITIMER_REAL, &timer, nullptr) != 0) return 4;
    return event.signal() == SignalStatus::kInterrupted ? 0 : 5;
  });
  EXPECT_EQ(answer, 0);
}

}  // namespace of_event_fd_test
}  // namespace mesh::shm
