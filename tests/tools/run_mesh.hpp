// Runs the built `mesh` program as a user would and keeps what it said.
#pragma once

#include <string>
#include <vector>

namespace mesh::testing {

struct Ran {
  int exit_code = -1;  // 128 + signal when killed by one
  std::string out;
  std::string err;
};

// `stdout_path`: a file to write to in place of the captured output.
Ran run_mesh(const std::vector<std::string>& arguments, const std::string& standard_input = "",
             const std::string& stdout_path = "");

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

}  // namespace mesh::testing
