// ProgressBar: one line of a terminal that says how far something is; gone with the object.
//
// Callers     one thread. Without a stream it does nothing.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string_view>

namespace mesh::tools {

class ProgressBar {
 public:
  explicit ProgressBar(std::ostream* terminal) noexcept : terminal_(terminal) {}
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(std::uint64_t done, std::uint64_t of, std::string_view what);

 private:
  std::ostream* terminal_;
  bool shown_ = false;
};

}  // namespace mesh::tools
