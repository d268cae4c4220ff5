#include "tests/tools/run_mesh.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mesh::testing {
namespace {

// A descriptor that is closed. Files, not pipes: nobody has to drain them while the program runs.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("run_mesh", MFD_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("memfd_create failed");
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }

  void write_whole(const std::string& text) const {
    for (std::size_t at = 0; at < text.size();) {
      const ssize_t wrote = write(fd_, text.data() + at, text.size() - at);
      if (wrote <= 0) throw std::runtime_error("writing the input failed");
      at += static_cast<std::size_t>(wrote);
    }
    lseek(fd_, 0, SEEK_SET);
  }

  [[nodiscard]] std::string read_whole() const {
    std::string text(static_cast<std::size_t>(lseek(fd_, 0, SEEK_END)), '\0');
    if (pread(fd_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
      throw std::runtime_error("reading the output failed");
    }
    return text;
  }

 private:
  int fd_;
};

// What stands before the program: an emulator when the tests are built for another machine.
std::vector<std::string> command_line(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  std::istringstream emulator(MESH_EMULATOR);
  for (std::string word; std::getline(emulator, word, ';');) words.push_back(word);
  words.emplace_back(MESH_PROGRAM);
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

}  // namespace

std::string mesh_command() {
  std::string text;
  for (const std::string& word : command_line({})) text += (text.empty() ? "'" : " '") + word + "'";
  return text;
}

Ran run_mesh(const std::vector<std::string>& arguments, const std::string& standard_input,
             const std::string& stdout_path) {
  const MemoryFile in;
  const MemoryFile out;
  const MemoryFile err;
  in.write_whole(standard_input);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.fd(), STDIN_FILENO);
  if (stdout_path.empty()) {
    posix_spawn_file_actions_adddup2(&actions, out.fd(), STDOUT_FILENO);
  } else {
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, stdout_path.c_str(), O_WRONLY, 0);
  }
  posix_spawn_file_actions_adddup2(&actions, err.fd(), STDERR_FILENO);
  std::vector<std::string> words = command_line(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cannot start " + words[0]);
  int status = 0;
  if (waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out.read_whole(),
          err.read_whole()};
}

StartedMesh::StartedMesh(const std::vector<std::string>& arguments) {
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  out_ = ends[0];
  err_ = memfd_create("started_mesh", MFD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err_, STDERR_FILENO);
  std::vector<std::string> words = command_line(arguments);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) throw std::runtime_error("cannot start " + words[0]);
}

StartedMesh::~StartedMesh() {
  if (pid_ != 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(out_);
  close(err_);
}

std::string StartedMesh::line() {
  for (;;) {
    if (const auto end = read_.find('\n'); end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    char room[4'096];
    const ssize_t got = read(out_, room, sizeof room);
    if (got <= 0) return {};
    read_.append(room, static_cast<std::size_t>(got));
  }
}

void StartedMesh::signal(int number) const { kill(pid_, number); }

Ran StartedMesh::wait() {
  std::string rest;
  for (std::string next = line(); !next.empty(); next = line()) rest += next + '\n';
  int status = 0;
  if (waitpid(std::exchange(pid_, 0), &status, 0) < 0) throw std::runtime_error("waitpid failed");
  std::string error(static_cast<std::size_t>(lseek(err_, 0, SEEK_END)), '\0');
  if (pread(err_, error.data(), error.size(), 0) != static_cast<ssize_t>(error.size())) {
    throw std::runtime_error("reading the output failed");
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), rest + read_, error};
}

TemporaryFile::TemporaryFile(const std::string& content) {
  const char* const folder = std::getenv("TMPDIR");
  path_ = std::string(folder != nullptr ? folder : "/tmp") + "/mesh_test_XXXXXX";
  const int fd = mkstemp(path_.data());
  if (fd < 0 || write(fd, content.data(), content.size()) != static_cast<ssize_t>(content.size())) {
    throw std::runtime_error("cannot write " + path_);
  }
  close(fd);
}

TemporaryFile::~TemporaryFile() { unlink(path_.c_str()); }

Folder::Folder() : path_("/dev/shm/mesh_test_XXXXXX") {
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
}
Folder::~Folder() { std::filesystem::remove_all(path_); }

}  // namespace mesh::testing
