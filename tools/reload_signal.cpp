#include "tools/reload_signal.hpp"

#include <atomic>
#include <cerrno>
#include <utility>

#include "shm/system_error.hpp"

namespace mesh::tools {
namespace {

static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch nothing else");
std::atomic<bool> reload_requested{false};

extern "C" void on_reload_signal(int /*number*/) {
  // relaxed: a flag on its own; the file it stands for is read anew.
  reload_requested.store(true, std::memory_order_relaxed);
}

}  // namespace

Result<ReloadSignal> ReloadSignal::create() {
  ReloadSignal signal;
  reload_requested.store(false, std::memory_order_relaxed);  // relaxed: no handler is there yet
  struct sigaction action {};
  action.sa_handler = &on_reload_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGHUP, &action, &signal.former_) != 0) {
    return shm::system_failure("sigaction SIGHUP", errno);
  }
  signal.installed_ = true;
  return signal;
}

ReloadSignal::ReloadSignal(ReloadSignal&& other) noexcept
    : former_(other.former_), installed_(std::exchange(other.installed_, false)) {}

ReloadSignal::~ReloadSignal() {
  if (installed_) sigaction(SIGHUP, &former_, nullptr);
}

bool ReloadSignal::take() noexcept {
  return reload_requested.exchange(false, std::memory_order_relaxed);  // relaxed: as above
}

}  // namespace mesh::tools
