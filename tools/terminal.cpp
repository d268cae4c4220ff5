#include "tools/terminal.hpp"

#include <cerrno>
#include <cstdlib>

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::tools {
namespace {

constexpr std::string_view kEnter = "\x1b[?1049h\x1b[?25l\x1b[2J";  // other screen, no cursor
constexpr std::string_view kLeave = "\x1b[0m\x1b[?25h\x1b[?1049l";

bool write_all(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t wrote = ::write(STDOUT_FILENO, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return true;
}

}  // namespace

Result<Terminal> Terminal::open() {
  const char* const kind = std::getenv("TERM");
  if (::isatty(STDOUT_FILENO) == 0 || kind == nullptr || std::string_view(kind) == "dumb") {
    return fail(Errc::unsupported, "standard output is no terminal that takes ANSI escapes");
  }
  Terminal made;
  termios now{};
  if (::isatty(STDIN_FILENO) != 0 && ::tcgetattr(STDIN_FILENO, &now) == 0) {
    termios raw = now;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    // Stopped or quit it would leave the screen as it is.
    raw.c_cc[VSUSP] = _POSIX_VDISABLE;
    raw.c_cc[VQUIT] = _POSIX_VDISABLE;
    if (::tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) {
      return shm::system_failure("set the terminal", errno);
    }
    made.former_ = now;
  }
  made.is_open_ = true;
  if (!write_all(kEnter)) return fail(Errc::io_error, "the terminal cannot be written");
  return made;
}

Terminal::Terminal(Terminal&& other) noexcept
    : former_(std::exchange(other.former_, std::nullopt)),
      is_open_(std::exchange(other.is_open_, false)),
      has_input_ended_(other.has_input_ended_) {}

Terminal::~Terminal() {
  if (is_open_) static_cast<void>(write_all(kLeave));
  if (former_) static_cast<void>(::tcsetattr(STDIN_FILENO, TCSAFLUSH, &*former_));
}

Terminal::Size Terminal::size() const noexcept {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

Status Terminal::show(const std::vector<std::string>& lines) {
  std::string text = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i != 0) text += "\r\n";
    text += lines[i];
    text += "\x1b[K";
  }
  text += "\x1b[J";
  if (write_all(text)) return {};
  return fail(Errc::io_error, "the terminal cannot be written");
}

std::optional<char> Terminal::wait_key(int stop_fd, Nanos time) {
  pollfd of[2] = {{stop_fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  const nfds_t count = former_ && !has_input_ended_ ? 2 : 1;
  if (::poll(of, count, static_cast<int>(time.count() / kNsPerMs)) <= 0 || count == 1) return {};
  if (of[1].revents == 0) return {};
  char key = 0;
  if (::read(STDIN_FILENO, &key, 1) == 1) return key;
  has_input_ended_ = true;  // the other end of the terminal is gone
  return {};
}

}  // namespace mesh::tools
