#include "tools/child_process.hpp"

#include <cerrno>
#include <csignal>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/base/assert.hpp"
#include "shm/system_error.hpp"

namespace mesh::tools {
namespace {

constexpr const char* kOwnProgram = "/proc/self/exe";

// What the child is to find; freed with the object.
class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  // 0 or an errno.
  int prepare(int report) {
    sigset_t none;
    sigemptyset(&none);
    int error = posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0) {
      error = posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    }
    // Where both are the same number dup2 would leave it close-on-exec; glibc clears that.
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions_, report, kReportFd);
    if (error == 0) error = posix_spawnattr_setpgroup(&attributes_, 0);
    if (error == 0) error = posix_spawnattr_setsigmask(&attributes_, &none);
    if (error != 0) return error;
    return posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  }
  int spawn(const std::vector<std::string>& arguments, pid_t& pid) {
    std::vector<std::string> words = {"mesh"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    return posix_spawn(&pid, kOwnProgram, &actions_, &attributes_, argv.data(), environ);
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

}  // namespace

Result<ChildProcess> ChildProcess::spawn(const std::vector<std::string>& arguments) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) return shm::system_failure("pipe2", errno);
  ChildProcess child;
  child.report_ = shm::Descriptor(ends[0]);
  const shm::Descriptor writing(ends[1]);
  SpawnSetup setup;
  int error = setup.prepare(writing.get());
  if (error == 0) error = setup.spawn(arguments, child.pid_);
  if (error != 0) {
    child.pid_ = 0;
    return shm::system_failure("start another mesh process", error);
  }
  child.pidfd_ = shm::Descriptor(static_cast<int>(syscall(SYS_pidfd_open, child.pid_, 0)));
  if (!child.pidfd_) return shm::system_failure("pidfd_open", errno);
  return child;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      pidfd_(std::move(other.pidfd_)),
      report_(std::move(other.report_)),
      status_(other.status_) {}

ChildProcess::~ChildProcess() { stop(kChildPatience); }

bool ChildProcess::has_ended() {
  if (pid_ == 0 || status_) return true;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
  status_ = status;
  return true;
}

std::string ChildProcess::ending() const {
  if (!status_) return "it runs";
  if (WIFEXITED(*status_)) return fmt::format("exit code {}", WEXITSTATUS(*status_));
  return fmt::format("signal {}", WTERMSIG(*status_));
}

void ChildProcess::ask_to_stop() noexcept {
  if (!has_ended()) kill(pid_, SIGTERM);
}

void ChildProcess::stop(Nanos patience) noexcept {
  if (has_ended()) return;
  ask_to_stop();
  if (pidfd_) {
    pollfd waiting{pidfd_.get(), POLLIN, 0};
    const auto milliseconds = static_cast<int>(patience.count() / kNsPerMs);
    while (poll(&waiting, 1, milliseconds) < 0 && errno == EINTR) {
    }
  }
  if (has_ended()) return;
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = status;
}

Status end_with_parent(pid_t parent) {
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) {
    return shm::system_failure("prctl PR_SET_PDEATHSIG", errno);
  }
  if (getppid() != parent) return fail(Errc::closed, "the process that started this one is gone");
  return {};
}

}  // namespace mesh::tools
