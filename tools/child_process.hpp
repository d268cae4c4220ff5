// ChildProcess: this program run once more, with other arguments; ended and reaped with the object.
//
// It is in a process group of its own, so that Ctrl-C on a terminal reaches its parent alone, which
// then ends it in order. Its standard input and output are /dev/null, its standard error is ours.
// Descriptor kReportFd of the child is the writing end of a pipe whose reading end is report().
//
// Callers     one thread at a time.
// Progress    stop: waits up to `patience` after SIGTERM, then kills. The destructor: stop() with
//             kChildPatience.
// If the      dies: has_ended() says so, and fd() becomes readable. This process dies without a
// other side  destructor: the child's kernel sends it SIGTERM, if it called end_with_parent().
// dies
// Errors      spawn -> system_error, no_memory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::tools {

inline constexpr int kReportFd = 3;
inline constexpr Nanos kChildPatience{2 * kNsPerSecond};

class ChildProcess {
 public:
  static Result<ChildProcess> spawn(const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // A pidfd: readable once the child has ended.
  [[nodiscard]] int fd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] int report() const noexcept { return report_.get(); }

  // Reaps. Whether it has ended, and how: "exit code 3", "signal 9".
  [[nodiscard]] bool has_ended();
  [[nodiscard]] std::string ending() const;
  void ask_to_stop() noexcept;  // SIGTERM
  void stop(Nanos patience) noexcept;

 private:
  ChildProcess() = default;
  pid_t pid_ = 0;
  shm::Descriptor pidfd_;
  shm::Descriptor report_;
  std::optional<int> status_;  // of waitpid; set: reaped
};

// In the child: SIGTERM when `parent` ends, at once if it has ended already.
Status end_with_parent(pid_t parent);

}  // namespace mesh::tools
