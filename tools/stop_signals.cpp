#include "tools/stop_signals.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <utility>

#include <unistd.h>

#include "shm/system_error.hpp"

namespace mesh::tools {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "a signal handler may touch nothing else");
std::atomic<bool> stop_requested{false};
std::atomic<int> stop_fd{-1};

extern "C" void on_stop_signal(int /*number*/) {
  const int error = errno;
  // relaxed: a flag on its own; who reads it late reads it with the next turn.
  stop_requested.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  // relaxed: set before the handler was installed.
  if (const int fd = stop_fd.load(std::memory_order_relaxed); fd >= 0) {
    [[maybe_unused]] const ssize_t wrote = write(fd, &one, sizeof one);
  }
  errno = error;
}

}  // namespace

Result<StopSignals> StopSignals::create() {
  MESH_TRY(shm::EventFd event, shm::EventFd::create());
  StopSignals signals(std::move(event));
  // relaxed, both: the handler is installed below, by this thread.
  stop_requested.store(false, std::memory_order_relaxed);
  stop_fd.store(signals.fd(), std::memory_order_relaxed);
  struct sigaction action {};
  action.sa_handler = &on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    if (sigaction(kSignals[i], &action, &signals.former_[i]) != 0) {
      return shm::system_failure("sigaction " + std::to_string(kSignals[i]), errno);
    }
  }
  signals.installed_ = true;
  return signals;
}

StopSignals::StopSignals(StopSignals&& other) noexcept
    : event_(std::move(other.event_)),
      former_(other.former_),
      installed_(std::exchange(other.installed_, false)) {}

StopSignals::~StopSignals() {
  if (!installed_) return;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &former_[i], nullptr);
  // relaxed: no handler of ours is installed any more.
  stop_fd.store(-1, std::memory_order_relaxed);
}

bool StopSignals::requested() const noexcept {
  // relaxed: a flag on its own.
  return stop_requested.load(std::memory_order_relaxed);
}

}  // namespace mesh::tools
