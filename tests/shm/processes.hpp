// What the tests of shm/ need of the system: children that end in known ways, another uid, a
// directory of their own, and the number of open descriptors.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sanitizers.hpp"

namespace mesh::testing {

inline std::size_t count_open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries))) - 1;  // its own
}

// Runs `body` in a forked child and returns its wait status. The child leaves by _exit(body()).
inline int status_of_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return status;
}

// The child's answer; a child that was killed has none and fails the test.
inline int answer_of_child(const std::function<int()>& body) {
  const int status = status_of_child(body);
  EXPECT_TRUE(WIFEXITED(status)) << "child ended by signal " << WTERMSIG(status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline constexpr uid_t kAnotherUid = 1000;
inline bool can_become_another_uid() { return geteuid() == 0; }
inline bool become_another_uid() {
  return setresgid(kAnotherUid, kAnotherUid, kAnotherUid) == 0 &&
         setresuid(kAnotherUid, kAnotherUid, kAnotherUid) == 0;
}

// A directory on tmpfs for the length of a test.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = "/dev/shm/mesh-test-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) {
      pattern = "/tmp/mesh-test-XXXXXX";
      EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    }
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace mesh::testing
