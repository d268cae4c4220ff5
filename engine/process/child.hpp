// Child: another program, started by this process and reaped by it, that outlives it.
//
// It is in a session of its own: no signal of a terminal reaches it. Its standard input, output and
// error are /dev/null: a pipe of ours would stay open as long as it lives.
//
// Callers     one thread at a time.
// Progress    start: as posix_spawn, which forks nothing of this process's memory. wait: until it
//             ends, or `patience` has passed.
// If the      ends: has_ended(). This process ends first: it goes on, and init reaps it. Destroyed
// other side  before it was reaped it is a zombie until this process ends.
// dies
// Errors      start -> not_found (no such program), system_error, no_memory.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

struct ChildProgram {
  std::vector<std::string> words;  // the program, looked for in PATH, and its arguments
  std::vector<std::pair<std::string, std::string>> environment{};  // beside ours
  std::string errors_to{};  // a file, written anew; empty: nowhere
};
// A line of /bin/sh.
[[nodiscard]] ChildProgram shell_command(std::string command);

class Child {
 public:
  static Result<Child> start(const ChildProgram& program);
  Child(Child&&) noexcept = default;
  Child& operator=(Child&&) noexcept = default;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // Reaps.
  [[nodiscard]] bool has_ended() noexcept;
  // False: it runs still.
  [[nodiscard]] bool wait(Nanos patience) noexcept;
  void kill(int signal) noexcept;
  // Once it has: 0, or what it ended with.
  [[nodiscard]] bool is_good() const noexcept;
  [[nodiscard]] std::string ending() const;  // "exit code 3", "signal 9", "it runs"

 private:
  Child() = default;
  pid_t pid_ = 0;
  shm::Descriptor pidfd_;
  std::optional<int> status_;
};

}  // namespace mesh::engine
