// Runs the built `mesh` program as a user would and keeps what it said.
#pragma once

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sys/types.h>

namespace mesh::testing {

struct Ran {
  int exit_code = -1;  // 128 + signal when killed by one
  std::string out;
  std::string err;
};

// `stdout_path`: a file to write to in place of the captured output.
Ran run_mesh(const std::vector<std::string>& arguments, const std::string& standard_input = "",
             const std::string& stdout_path = "");

// The program as a shell takes it, an emulator before it where there is one.
std::string mesh_command();

// Bad input: nothing on its standard output, and this in what it says.
inline void expect_refusal(const std::vector<std::string>& arguments, const std::string& sentence) {
  const Ran ran = run_mesh(arguments);
  EXPECT_EQ(ran.exit_code, 2) << sentence;
  EXPECT_THAT(ran.out, ::testing::IsEmpty());
  EXPECT_THAT(ran.err, ::testing::HasSubstr(sentence));
}

// A `mesh` that goes on running beside the test; killed with the object.
class StartedMesh {
 public:
  explicit StartedMesh(const std::vector<std::string>& arguments);
  ~StartedMesh();
  StartedMesh(const StartedMesh&) = delete;
  StartedMesh& operator=(const StartedMesh&) = delete;

  // The next line of its standard output, waited for; empty at its end.
  std::string line();
  void signal(int number) const;
  // Readable when there is more of it to read.
  [[nodiscard]] int fd() const noexcept { return out_; }
  // Waits for its end. `out` is what line() has not given.
  Ran wait();
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_ = 0;
  int out_ = -1;  // of a pipe
  int err_ = -1;  // a file
  std::string read_;
};

// Removed with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
};

// A folder of its own on a tmpfs, removed with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string mesh() const { return path_ + "/mesh"; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace mesh::testing
