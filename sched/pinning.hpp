// prepare_thread: pins the calling thread, sets its timer slack, asks for SCHED_FIFO; says what it
// got.
//
// A missing right is no error: the engine runs without it, later and less evenly, and `status`
// prints the sentence. With require_all it is one: better no engine than a slow one.
//
// Callers     the thread that it is for, once at its start: slack and affinity belong to a thread.
// Cost        four system calls; allocates.
// Errors      invalid_argument (a cpu that this thread may not use, a priority that does not
//             exist), permission_denied (require_all, and something is missing), system_error.
// Source      sched_setaffinity(2), sched_setscheduler(2), PR_SET_TIMERSLACK of prctl(2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shm/base/result.hpp"

namespace mesh::sched {

enum class ThreadRight : std::uint8_t { affinity, timer_slack, fifo };
[[nodiscard]] std::string_view name_of(ThreadRight right) noexcept;

struct RightReport {
  ThreadRight right = ThreadRight::affinity;
  bool granted = false;
  int error = 0;         // errno, if not granted
  std::string sentence;  // what it is, or what is missing, why, and how to grant it
};

struct ThreadReport {
  std::vector<RightReport> rights;  // those that were asked for, in the order of ThreadRight
  [[nodiscard]] bool complete() const noexcept;
  // The report on one right; null if it was not asked for.
  [[nodiscard]] const RightReport* find(ThreadRight right) const noexcept;
};

struct ThreadOptions {
  std::optional<int> cpu;            // none: stays where the kernel puts it
  std::uint64_t timer_slack_ns = 1;  // 0: leave it. The default of 50,000 is all of our lateness
  int fifo_priority = 0;             // 1-99: SCHED_FIFO; 0: do not ask
  bool require_all = false;          // --rt=require
};

// The system calls; tests put refusing ones in their place. Each returns 0 or an errno.
struct ThreadCalls {
  int (*pin)(int cpu);
  int (*set_timer_slack)(std::uint64_t slack_ns);
  int (*set_fifo)(int priority);
};
[[nodiscard]] const ThreadCalls& system_thread_calls() noexcept;

// The cpus that the calling thread may use, ascending: cgroup and taskset narrow them.
[[nodiscard]] Result<std::vector<int>> allowed_cpus();
// "0-3,6": as taskset and the kernel write it.
[[nodiscard]] std::string format_cpus(const std::vector<int>& cpus);

[[nodiscard]] Result<ThreadReport> prepare_thread(const ThreadOptions& options,
                                                  const ThreadCalls& calls = system_thread_calls());

}  // namespace mesh::sched
