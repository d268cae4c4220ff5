// The writer is killed at every machine instruction of append and advance_tail, single-stepped
// through ptrace: proof that the access-by-access enumeration misses no store, in the code that
// ships (HostMemory, this build's optimisation).
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tests/queues/payload_log_fixture.hpp"

namespace mesh::queues {
namespace of_payload_log_step_test {

#if defined(__x86_64__)  // whose registers it knows

using testing::HostLog;
using testing::SharedLog;

constexpr std::uint64_t kCapacity = 256;
constexpr std::uint32_t kVictimNumber = 99;

struct Case {
  const char* name;
  std::uint64_t start;
  std::vector<std::uint32_t> before;
  std::uint32_t length;
};
const Case kCases[] = {
    {"empty", 0, {}, 40},
    {"a skip at the wrap of region and counter", std::uint64_t{0} - 32, {}, 29},
    {"full, freeing the oldest", 64, {112, 48, 48}, 100},
};

// The victim's steps, between two breakpoints: it frees the oldest entry if it must, and appends.
void append_between_breakpoints(SharedLog& log, const Case& at) {
  auto writer = log.take_over().value();
  const auto body = testing::make_body(kVictimNumber, at.length);
  const std::uint64_t oldest_end =
      log.report().count > 1 ? log.report().told[1].position : writer.head();
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  asm volatile("int3" ::: "memory");
  auto done = writer.append(body, kVictimNumber);
  if (done.status == AppendStatus::kFull && writer.advance_tail(oldest_end))
    done = writer.append(body, kVictimNumber);
  asm volatile("int3" ::: "memory");
  ::_exit(done.status == AppendStatus::kOk ? 0 : 1);
}

// Steps `count` instructions past the first breakpoint; false when the second came before.
bool step(pid_t child, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    user_regs_struct registers{};
    ::ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    const long word = ::ptrace(PTRACE_PEEKTEXT, child, registers.rip, nullptr);
    if ((word & 0xFF) == 0xCC) return false;
    ::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    int status = 0;
    ::waitpid(child, &status, 0);
  }
  return true;
}

void check_survivors(SharedLog& log, bool finished) {
  auto writer = log.take_over();
  ASSERT_TRUE(writer) << writer.error().sentence;
  const auto reader = log.attach().value();
  ASSERT_TRUE(reader.verify());
  bool stands = false;
  const auto walked = writer->walk(writer->head(), [&](const HostLog::Body& body) {
    EXPECT_TRUE(testing::is_body(body.bytes(), body.kind)) << "torn at " << body.position;
    stands = stands || body.kind == kVictimNumber;
  });
  ASSERT_EQ(walked.status, WalkStatus::kDone);
  ASSERT_EQ(walked.position, writer->head());
  if (finished) {
    EXPECT_TRUE(stands);
  }
  std::vector<std::byte> out(kCapacity);
  for (std::uint64_t i = 0; i < log.report().count; ++i) {
    const auto& told = log.report().told[i];
    const bool is_free = before(told.position, writer->tail());
    EXPECT_EQ(reader.copy(told.position, out).status,
              is_free ? BodyStatus::kGone : BodyStatus::kRead);
    EXPECT_TRUE(!is_free || i == 0);
  }
  for (std::uint32_t length = 0; length <= 112; length += 8) log.append(*writer, length);
  EXPECT_TRUE(reader.verify());
}

TEST(PayloadLogStep, AWriterKilledAtEveryInstructionLosesNothingAndLeavesNothingHalf) {
  SharedLog log(kCapacity);
  for (const Case& at : kCases) {
    bool finished = false;
    unsigned count = 0;
    for (; !finished && !HasFatalFailure(); ++count) {
      SCOPED_TRACE(::testing::Message() << at.name << ", instruction " << count);
      log.reset(at.start);
      auto writer = log.take_over().value();
      for (const std::uint32_t length : at.before) log.append(writer, length);
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) append_between_breakpoints(log, at);
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
      finished = !step(child, count);
      ::kill(child, SIGKILL);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ASSERT_TRUE(WIFSIGNALED(status));
      check_survivors(log, finished);
    }
    std::cout << at.name << ": killed at each of " << count - 1 << " instructions\n";
    EXPECT_GT(count, 20U);
  }
}

#endif

}  // namespace of_payload_log_step_test
}  // namespace mesh::queues
