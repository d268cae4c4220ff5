#include "engine/process/child.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

// What the child is to find; freed with the object.
class Setup {
 public:
  Setup() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~Setup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  // 0 or an errno. Signals that this process blocks or passes over are as they are by default.
  int prepare(const std::string& errors_to) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (error == 0)
      error = posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (error == 0)
      error = posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO,
                                               errors_to.empty() ? "/dev/null" : errors_to.c_str(),
                                               O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (error == 0) error = posix_spawnattr_setsigmask(&attributes_, &none);
    if (error == 0) error = posix_spawnattr_setsigdefault(&attributes_, &all);
    if (error != 0) return error;
    return posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  int spawn(std::vector<std::string>& words, std::vector<std::string>& environment, pid_t& pid) {
    std::vector<char*> argv;
    std::vector<char*> envp;
    for (std::string& word : words) argv.push_back(word.data());
    for (std::string& one : environment) envp.push_back(one.data());
    argv.push_back(nullptr);
    envp.push_back(nullptr);
    return posix_spawnp(&pid, argv[0], &actions_, &attributes_, argv.data(), envp.data());
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::vector<std::string> environment_of(const ChildProgram& program) {
  std::vector<std::string> lines;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string_view line = *one;
    const std::string_view name = line.substr(0, line.find('='));
    bool is_ours = true;
    for (const auto& [key, value] : program.environment) is_ours = is_ours && key != name;
    if (is_ours) lines.emplace_back(line);
  }
  for (const auto& [key, value] : program.environment) lines.push_back(key + "=" + value);
  return lines;
}

}  // namespace

ChildProgram shell_command(std::string command) {
  return {.words = {"/bin/sh", "-c", std::move(command)}};
}

Result<Child> Child::start(const ChildProgram& program) {
  if (program.words.empty()) return fail(Errc::invalid_argument, "start: no program is named");
  Setup setup;
  std::vector<std::string> words = program.words;
  std::vector<std::string> environment = environment_of(program);
  Child child;
  int error = setup.prepare(program.errors_to);
  if (error == 0) error = setup.spawn(words, environment, child.pid_);
  if (error != 0) return shm::system_failure("start '" + words[0] + "'", error);
  child.pidfd_ = shm::Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0)));
  return child;
}

bool Child::has_ended() noexcept {
  if (status_) return true;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
  status_ = status;
  return true;
}

bool Child::wait(Nanos patience) noexcept {
  if (has_ended()) return true;
  ::pollfd waiting{pidfd_.get(), POLLIN, 0};
  const std::int64_t ms = patience.count() / kNsPerMs;
  while (::poll(&waiting, 1, static_cast<int>(std::min<std::int64_t>(ms, INT32_MAX))) < 0 &&
         errno == EINTR) {
  }
  return has_ended();
}

void Child::kill(int signal) noexcept {
  if (!has_ended()) ::kill(pid_, signal);
}

bool Child::is_good() const noexcept {
  return status_ && WIFEXITED(*status_) && WEXITSTATUS(*status_) == 0;
}

std::string Child::ending() const {
  if (!status_) return "it runs";
  if (WIFEXITED(*status_)) return "exit code " + std::to_string(WEXITSTATUS(*status_));
  return "signal " + std::to_string(WTERMSIG(*status_));
}

}  // namespace mesh::engine
