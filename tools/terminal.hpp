// Terminal: a screen of our own on standard output, and keys from standard input; both as they were
// once the object is gone.
//
// Callers     one thread, one at a time.
// Progress    show: one write. wait_key: until a key, the signal's descriptor, or the time.
// If the      terminal goes away: show() is io_error.
// other side  This process is killed: nothing can put the terminal back; `reset` does.
// dies
// Errors      open -> unsupported (standard output is no terminal, or one without escapes),
//             system_error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <termios.h>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

class Terminal {
 public:
  static Result<Terminal> open();
  ~Terminal();
  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  struct Size {
    std::uint32_t columns = 80;
    std::uint32_t rows = 24;
    friend bool operator==(const Size&, const Size&) = default;
  };
  [[nodiscard]] Size size() const noexcept;
  // Over what is there, line by line, so that nothing flickers.
  Status show(const std::vector<std::string>& lines);
  // A key, or none: the time passed, or `stop_fd` is readable.
  [[nodiscard]] std::optional<char> wait_key(int stop_fd, Nanos time);
  [[nodiscard]] bool has_keys() const noexcept { return former_.has_value(); }

 private:
  Terminal() = default;
  std::optional<termios> former_;  // of standard input, where it is a terminal
  bool is_open_ = false;
  bool has_input_ended_ = false;
};

}  // namespace mesh::tools
