#include "sched/pinning.hpp"

#include <thread>

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>

namespace mesh::sched {
namespace of_pinning_test {

using ::testing::HasSubstr;

// Whatever a test does to a thread, it does to its own.
template <class Body>
void on_own_thread(Body body) {
  std::thread(body).join();
}

constexpr ThreadCalls kGranting{[](int) { return 0; }, [](std::uint64_t) { return 0; },
                                [](int) { return 0; }};
constexpr ThreadCalls kRefusing{[](int) { return EPERM; }, [](std::uint64_t) { return ENOSYS; },
                                [](int) { return EPERM; }};

TEST(Pinning, RefusesACpuItMayNotUseAndNamesThoseItMay) {
  const auto allowed = allowed_cpus();
  ASSERT_TRUE(allowed);
  ASSERT_FALSE(allowed->empty());
  for (const int cpu : {-1, 60'000, INT_MAX}) {
    ThreadOptions options;
    options.cpu = cpu;
    const auto report = prepare_thread(options, kGranting);
    ASSERT_FALSE(report) << cpu;
    EXPECT_EQ(report.error().code, Errc::invalid_argument);
    EXPECT_EQ(report.error().detail, cpu);
    EXPECT_THAT(report.error().sentence, HasSubstr("cpu " + std::to_string(cpu)));
    EXPECT_THAT(report.error().sentence, HasSubstr(format_cpus(*allowed)));
  }
}

TEST(Pinning, RefusesAPriorityThatDoesNotExist) {
  for (const int priority : {-1, 100}) {
    ThreadOptions options;
    options.fifo_priority = priority;
    const auto report = prepare_thread(options, kGranting);
    ASSERT_FALSE(report) << priority;
    EXPECT_EQ(report.error().code, Errc::invalid_argument);
    EXPECT_EQ(report.error().detail, priority);
  }
}

ThreadOptions everything() {
  ThreadOptions options;
  options.cpu = allowed_cpus().value().back();
  options.fifo_priority = 10;
  return options;
}

TEST(Pinning, GoesOnWithoutRightsAndListsEachMissingOneWithItsReason) {
  const auto report = prepare_thread(everything(), kRefusing);
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->complete());
  ASSERT_EQ(report->rights.size(), 3U);
  EXPECT_EQ(report->find(ThreadRight::affinity)->error, EPERM);
  EXPECT_EQ(report->find(ThreadRight::timer_slack)->error, ENOSYS);
  const RightReport* fifo = report->find(ThreadRight::fifo);
  EXPECT_FALSE(fifo->granted);
  EXPECT_THAT(fifo->sentence, HasSubstr("SCHED_FIFO 10"));
  EXPECT_THAT(fifo->sentence, HasSubstr("CAP_SYS_NICE"));
  EXPECT_THAT(fifo->sentence, HasSubstr("errno 1"));
}

TEST(Pinning, UnderRequireRefusesToStartAndNamesAllThatIsMissing) {
  ThreadOptions options = everything();
  options.require_all = true;
  const auto refused = prepare_thread(options, kRefusing);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::permission_denied);
  EXPECT_EQ(refused.error().detail, EPERM);
  EXPECT_THAT(refused.error().sentence, HasSubstr("not pinned"));
  EXPECT_THAT(refused.error().sentence, HasSubstr("timer slack not set"));
  EXPECT_THAT(refused.error().sentence, HasSubstr("no SCHED_FIFO 10"));
  const auto granted = prepare_thread(options, kGranting);
  ASSERT_TRUE(granted);
  EXPECT_TRUE(granted->complete());
}

TEST(Pinning, AsksOnlyForWhatIsWanted) {
  ThreadOptions options;
  options.timer_slack_ns = 0;
  const auto report = prepare_thread(options, kRefusing);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->rights.empty());
  EXPECT_TRUE(report->complete());
  EXPECT_EQ(report->find(ThreadRight::fifo), nullptr);
}

TEST(Pinning, RunsOnTheCpuAskedForWithTheSlackAskedFor) {
  on_own_thread([] {
    ThreadOptions options;
    options.cpu = allowed_cpus().value().back();
    const auto report = prepare_thread(options);
    ASSERT_TRUE(report) << report.error().sentence;
    EXPECT_TRUE(report->complete());
    EXPECT_EQ(sched_getcpu(), *options.cpu);
    EXPECT_EQ(allowed_cpus().value(), std::vector<int>{*options.cpu});
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), 1);
  });
}

// Holds with the right and without it: what is reported is what the kernel says.
TEST(Pinning, ReportsSchedFifoAsTheKernelDecidedIt) {
  on_own_thread([] {
    ThreadOptions options;
    options.fifo_priority = 1;
    const auto report = prepare_thread(options);
    ASSERT_TRUE(report) << report.error().sentence;
    const RightReport* fifo = report->find(ThreadRight::fifo);
    ASSERT_NE(fifo, nullptr);
    const int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    EXPECT_EQ(fifo->granted, policy == SCHED_FIFO) << fifo->sentence;
    EXPECT_EQ(fifo->granted, fifo->error == 0);
    EXPECT_FALSE(fifo->sentence.empty());
  });
}

TEST(Pinning, WritesCpusAsTheKernelDoes) {
  EXPECT_EQ(format_cpus({}), "");
  EXPECT_EQ(format_cpus({3}), "3");
  EXPECT_EQ(format_cpus({0, 1, 2, 3, 6, 8, 9}), "0-3,6,8-9");
  EXPECT_EQ(name_of(ThreadRight::timer_slack), "timer_slack");
}

}  // namespace of_pinning_test
}  // namespace mesh::sched
