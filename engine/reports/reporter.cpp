#include "engine/reports/reporter.hpp"

#include <utility>

namespace mesh::engine::reports {

void Reporter::post(Work work) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    due_.emplace(Clock::now(), std::move(work));
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  wake_.notify_all();
}

void Reporter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  due_.clear();
}

std::optional<Reporter::Work> Reporter::next() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) return std::nullopt;
    if (due_.empty()) {
      wake_.wait(lock);
    } else if (const Clock::time_point at = due_.begin()->first; at > Clock::now()) {
      wake_.wait_until(lock, at);
    } else {
      return std::move(due_.extract(due_.begin()).mapped());
    }
  }
}

void Reporter::run() {
  while (auto work = next()) {
    const std::optional<Nanos> again = (*work)();
    if (!again) continue;
    const std::lock_guard lock(mutex_);
    due_.emplace(Clock::now() + *again, std::move(*work));
  }
}

}  // namespace mesh::engine::reports
