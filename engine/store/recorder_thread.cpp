#include "engine/store/recorder_thread.hpp"

#include <chrono>

namespace mesh::engine {
namespace {

constexpr Nanos kNap{kNsPerMs};
constexpr Nanos kLongNap{5 * kNsPerMs};
constexpr unsigned kNapsUntilLong = 200;

HostTime now() { return from_ns(std::chrono::steady_clock::now().time_since_epoch().count()); }

}  // namespace

void RecorderThread::start() {
  stopping_ = false;
  thread_ = std::thread([this] { run(); });
}

std::uint64_t RecorderThread::stop() {
  if (!thread_.joinable()) return 0;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  while (recorder_->unsettled() != 0 && recorder_->turn(now())) {
  }
  return recorder_->unsettled();
}

bool RecorderThread::nap(Nanos length) {
  std::unique_lock lock(mutex_);
  return wake_.wait_for(lock, length, [this] { return stopping_; });
}

void RecorderThread::run() {
  unsigned naps = 0;
  for (;;) {
    if (recorder_->turn(now())) {
      naps = 0;
      if (nap(Nanos{0})) return;
      continue;
    }
    if (nap(++naps > kNapsUntilLong ? kLongNap : kNap)) return;
  }
}

}  // namespace mesh::engine
