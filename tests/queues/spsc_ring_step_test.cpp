// The writer is killed at every machine instruction of stage and reveal, single-stepped through
// ptrace: proof that the access-by-access enumeration misses no store, in the code that ships
// (HostMemory, this build's optimisation).
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tests/queues/ring_fixture.hpp"

namespace mesh::queues {
namespace of_spsc_ring_step_test {

#if defined(__x86_64__)  // whose int3 and registers it knows

using testing::Host;
using testing::SharedRing;

constexpr std::uint64_t kCapacity = 8;

struct Case {
  const char* name;
  std::uint64_t start;
  std::uint64_t consumed;
  std::uint64_t unread;
  std::size_t batch;
};
constexpr Case kCases[] = {
    {"index 0", 0, 0, 0, 1},
    {"wrap of ring and counter", std::uint64_t{0} - 8, 7, 0, 2},
    {"last slot, one free", 0, 0, 7, 1},
};

void wait_for(pid_t child, int* status) { ASSERT_EQ(::waitpid(child, status, 0), child); }

// Forks a writer that stops at its first int3, just before claim, and reveals its batch before the
// second.
pid_t start_writer(SharedRing& ring, std::size_t batch) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto writer = ring.take_over().value();
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    asm volatile("int3" ::: "memory");
    testing::write_batch(writer, batch);
    asm volatile("int3" ::: "memory");
    ::_exit(0);
  }
  return child;
}

bool next_is_breakpoint(pid_t child) {
  user_regs_struct registers{};
  ::ptrace(PTRACE_GETREGS, child, nullptr, &registers);
  const long word = ::ptrace(PTRACE_PEEKTEXT, child, registers.rip, nullptr);
  return (word & 0xFF) == 0xCC;
}

// Steps `count` instructions past the first int3; false when the batch was finished before.
bool step(pid_t child, unsigned count) {
  int status = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (next_is_breakpoint(child)) return false;
    ::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
  }
  return true;
}

void check_survivors(SharedRing& ring, const Case& at, bool finished) {
  auto reader = ring.attach().value();
  std::uint64_t expected = at.start + at.consumed;
  const auto take = [&](auto view) {
    EXPECT_EQ(view.position(), expected++);
    EXPECT_TRUE(testing::is_whole(view));
  };
  while (reader.poll(kCapacity, take) != 0) {
  }
  const std::uint64_t news = expected - (at.start + at.consumed + at.unread);
  EXPECT_TRUE(news == 0 || news == at.batch) << news;
  if (finished) {
    EXPECT_EQ(news, at.batch);
  }
  auto writer = ring.take_over();
  ASSERT_TRUE(writer) << writer.error().sentence;
  ASSERT_EQ(writer->head(), expected);
  for (int round = 0; round < 8; ++round) {
    ASSERT_TRUE(testing::write_batch(*writer, 3));
    EXPECT_EQ(reader.poll(kCapacity, take), 3U) << "a phantom or a stuck reader";
  }
}

TEST(SpscRingStep, AWriterKilledAtEveryInstructionLosesNothingAndLeavesNothing) {
  SharedRing ring(kCapacity);
  for (const Case& at : kCases) {
    bool finished = false;
    unsigned count = 0;
    for (; !finished && !HasFatalFailure(); ++count) {
      SCOPED_TRACE(::testing::Message() << at.name << ", instruction " << count);
      ring.reset(at.start);
      auto writer = ring.take_over().value();
      auto reader = ring.attach().value();
      for (std::uint64_t i = 0; i < at.consumed; ++i) {
        ASSERT_TRUE(testing::write_batch(writer, 1));
        ASSERT_EQ(reader.poll(1, [](auto) {}), 1U);
      }
      if (at.unread != 0) {
        ASSERT_TRUE(testing::write_batch(writer, at.unread));
      }
      const pid_t child = start_writer(ring, at.batch);
      int status = 0;
      wait_for(child, &status);
      ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
      finished = !step(child, count);
      ::kill(child, SIGKILL);
      wait_for(child, &status);
      ASSERT_TRUE(WIFSIGNALED(status));
      check_survivors(ring, at, finished);
    }
    std::cout << at.name << ": killed at each of " << count - 1 << " instructions\n";
    EXPECT_GT(count, 20U);
  }
}

#endif

}  // namespace of_spsc_ring_step_test
}  // namespace mesh::queues
