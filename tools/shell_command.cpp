#include "tools/shell_command.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/descriptor.hpp"
#include "shm/system_error.hpp"

namespace mesh::tools {
namespace {

struct Pipe {
  shm::Descriptor reading;
  shm::Descriptor writing;
};
Result<Pipe> make_pipe() {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return shm::system_failure("pipe2", errno);
  return Pipe{shm::Descriptor(ends[0]), shm::Descriptor(ends[1])};
}

// 0 or an errno.
int spawn_shell(const std::string& command, int input, int output, pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (const int error = posix_spawn_file_actions_init(&actions); error != 0) return error;
  if (const int error = posix_spawnattr_init(&attributes); error != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return error;
  }
  // SIGPIPE is ignored here, which a command would inherit.
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  int error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &defaults);
  if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  std::string text = command;
  std::string shell = "sh";
  std::string option = "-c";
  std::array<char*, 4> argv = {shell.data(), option.data(), text.data(), nullptr};
  if (error == 0) {
    error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, argv.data(), environ);
  }
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

// Writes what the command takes and reads what it gives, whichever it wants first.
class Exchange {
 public:
  Exchange(const ShellRequest& request, shm::Descriptor to, shm::Descriptor from)
      : request_(request), left_(request.input), to_(std::move(to)), from_(std::move(from)) {
    fcntl(to_.get(), F_SETFL, O_NONBLOCK);
    if (left_.empty()) to_.close();
  }

  Status run() {
    while (from_) {
      pollfd both[] = {{from_.get(), POLLIN, 0}, {to_.get(), POLLOUT, 0}};  // -1: passed over
      if (poll(both, 2, -1) < 0) {
        if (errno == EINTR) continue;
        return shm::system_failure("poll", errno);
      }
      if (both[1].revents != 0) write_some();
      if (both[0].revents != 0) read_some();
    }
    return {};
  }
  [[nodiscard]] std::vector<std::byte> take_output() { return std::move(output_); }

 private:
  void write_some() {
    const ssize_t wrote = write(to_.get(), left_.data(), left_.size());
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return;
    // EPIPE: it wants no more.
    left_ =
        wrote < 0 ? std::span<const std::byte>{} : left_.subspan(static_cast<std::size_t>(wrote));
    if (left_.empty()) to_.close();
  }
  void read_some() {
    std::array<std::byte, 4'096> room;
    const ssize_t got = read(from_.get(), room.data(), room.size());
    if (got < 0 && errno == EINTR) return;
    if (got <= 0) {
      from_.close();
      return;
    }
    const std::size_t kept =
        std::min(static_cast<std::size_t>(got), request_.output_max - output_.size());
    output_.insert(output_.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(kept));
  }

  const ShellRequest& request_;
  std::span<const std::byte> left_;
  shm::Descriptor to_;
  shm::Descriptor from_;
  std::vector<std::byte> output_;
};

}  // namespace

Result<ShellResult> run_shell_command(const ShellRequest& request) {
  MESH_TRY(Pipe input, make_pipe());
  MESH_TRY(Pipe output, make_pipe());
  pid_t pid = 0;
  const int error = spawn_shell(request.command, input.reading.get(), output.writing.get(), pid);
  if (error != 0) return shm::system_failure("start /bin/sh", error);
  input.reading.close();
  output.writing.close();
  Exchange exchange(request, std::move(input.writing), std::move(output.reading));
  const Status exchanged = exchange.run();
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return shm::system_failure("waitpid", errno);
  }
  MESH_CHECK_OK(exchanged);
  ShellResult result;
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.killed_by = WTERMSIG(status);
  result.output = exchange.take_output();
  return result;
}

}  // namespace mesh::tools
