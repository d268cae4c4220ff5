// ProcessGuard: a process beside ours that stops, slows, kills and starts processes which were
// registered with it, and lets go of them at their time also when we have died.
//
// It knows a process by its pidfd: another one that gets the same number later is never hit.
// Stopped is SIGSTOP; slowed is SIGSTOP and SIGCONT in turn, so that of `factor` thousandths of
// time one thousand is run; killed is SIGKILL, and its command starts it anew at its time.
//
// The guard has a witness, a third process, which waits for the guard's end and does nothing else.
//
//     ours gone (its pidfd says so):  all that is held goes on at once, what was killed is started,
//                                     and so is what ends by itself until its time; then the guard
//                                     ends
//     the guard gone, ours or not:    its witness does the same, and ends
//     the witness gone:               the guard starts another one
//     guard and witness gone:         ours lets go of what it had stopped at the next call
//     all three, at one instant:      what was stopped stays so until somebody sends SIGCONT
//
// Callers     one thread. start(): before this process has threads of its own, or with them: its
//             child only makes system calls.
// Progress    each call waits for the guard's answer.
// Units       Nanos of CLOCK_MONOTONIC.
// Limits      kProcessesMax processes; kHoldsMax holds of one at a time; commands of kCommandBytes.
// Errors      add -> not_found (it has ended), not_yours (another one has its number now),
//             capacity, invalid_argument. hold, crash, expect -> not_found, capacity, unsupported
//             (no command to start it anew). All: closed, where the guard has gone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

// Since the boot, in ticks of the kernel: with its number it names one process of all there were.
Result<std::uint64_t> process_start(pid_t process);

struct GuardedProcess {
  pid_t process = 0;
  std::uint64_t started = 0;           // process_start(), when it was chosen
  std::vector<std::string> command{};  // absolute; starts it anew. None: killed for good or never
};

class ProcessGuard {
 public:
  static constexpr std::uint32_t kProcessesMax = 256;
  static constexpr std::uint32_t kHoldsMax = 8;
  static constexpr std::size_t kCommandBytes = 2'048;
  static constexpr std::uint32_t kFactorMax = 100'000;  // thousandths

  static Result<ProcessGuard> start();
  ProcessGuard(ProcessGuard&& other) noexcept;
  ProcessGuard& operator=(ProcessGuard&& other) noexcept = delete;
  ~ProcessGuard();

  // Its key from now on.
  Result<std::uint32_t> add(const GuardedProcess& process);
  struct Hold {
    std::uint64_t injection = 0;
    std::uint32_t key = 0;
    std::uint32_t factor_milli = 0;  // 0: stopped; else slowed by so much
    Nanos until{0};
  };
  // Given again for the same injection and process: what it says now counts.
  Status hold(const Hold& hold);
  struct Crash {
    std::uint64_t injection = 0;
    std::uint32_t key = 0;
    Nanos started_at{0};       // when its command is run, unless release() comes first
    bool is_for_good = false;  // it is never run: at that time it is held no longer, and dead
  };
  // Kills. Its command is run once it is really gone, so that what it had locked is free.
  Status crash(const Crash& crash);
  struct End {
    std::uint64_t injection = 0;
    std::uint32_t key = 0;
    Nanos until{0};            // it ends by then, or not at all
    Nanos away{0};             // so long after its end its command is run; 0: at `until`
    bool is_for_good = false;  // as of a Crash
  };
  // It will end by itself, at a step of its own. Released, it is watched for a second more: it may
  // be ending just then.
  Status expect(const End& end);
  // All of an injection; of one that is not there: nothing.
  Status release(std::uint64_t injection);
  // How many processes it holds still, or has not started anew.
  Result<std::uint32_t> held(std::uint64_t injection);
  struct State {
    pid_t process = 0;  // of its last start
    bool is_running = false;
    bool is_stopped = false;
  };
  Result<State> state(std::uint32_t key);
  [[nodiscard]] pid_t process() const noexcept { return guard_; }
  Result<pid_t> witness();  // who it is now

 private:
  ProcessGuard(pid_t guard, shm::Descriptor socket);
  struct Asked;
  struct Answer;
  Result<Answer> ask(const Asked& asked, int descriptor = -1);
  void let_go() noexcept;

  pid_t guard_ = 0;
  shm::Descriptor socket_;
  std::vector<shm::Descriptor> processes_;  // pidfds, by key: for the case that the guard dies
};

}  // namespace mesh::engine
