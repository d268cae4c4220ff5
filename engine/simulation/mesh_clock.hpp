// MeshClock: the time that a simulated host's engine and stations read, over the time in which its
// agents live.
//
// They are the same until the host's clock is set: then the engine slews what it publishes there,
// by at most kSlewPpm (sched/clock.hpp does so with real counters), and agents take as long as they
// take. So what a step does to a mesh is that mesh time runs a little fast or slow for a while.
//
// Callers     one thread.
// Units       nanoseconds. True time is that of the simulation's events.
#pragma once

#include <algorithm>
#include <cstdint>

namespace mesh::engine::simulation {

class MeshClock {
 public:
  static constexpr std::int64_t kSlewPpm = 500;
  static constexpr std::int64_t kMillion = 1'000'000;

  explicit MeshClock(std::int64_t start_ns) noexcept
      : now_true_(start_ns), base_true_(start_ns), base_mesh_(start_ns) {}

  void advance_to(std::int64_t true_ns) noexcept { now_true_ = std::max(now_true_, true_ns); }
  // The host's clock is set, now.
  void step(std::int64_t by_ns) noexcept {
    const std::int64_t done = slewed_until(now_true_);
    base_mesh_ = mesh_at(now_true_);
    base_true_ = now_true_;
    left_ += by_ns - done;
  }

  // The same of a mesh that does not slew: what it publishes is set, too. Forward alone.
  void jump(std::int64_t by_ns) noexcept {
    const std::int64_t done = slewed_until(now_true_);
    base_mesh_ = mesh_at(now_true_) + by_ns;
    base_true_ = now_true_;
    left_ -= done;
  }

  [[nodiscard]] std::int64_t true_ns() const noexcept { return now_true_; }
  [[nodiscard]] std::int64_t mesh_ns() const noexcept { return mesh_at(now_true_); }
  [[nodiscard]] std::int64_t mesh_at(std::int64_t true_ns) const noexcept {
    return base_mesh_ + (true_ns - base_true_) + slewed_until(true_ns);
  }
  // The first moment at which mesh time is not before `mesh_ns`.
  [[nodiscard]] std::int64_t true_at(std::int64_t mesh_ns) const noexcept {
    const std::int64_t span = mesh_ns - base_mesh_;
    if (left_ == 0) return base_true_ + span;
    std::int64_t guess = base_true_ + span - slewed_until(base_true_ + span);
    while (mesh_at(guess) < mesh_ns) guess += std::max<std::int64_t>(mesh_ns - mesh_at(guess), 1);
    while (mesh_at(guess - 1) >= mesh_ns) --guess;
    return guess;
  }

 private:
  [[nodiscard]] std::int64_t slewed_until(std::int64_t true_ns) const noexcept {
    const std::int64_t most =
        std::max<std::int64_t>(true_ns - base_true_, 0) / kMillion * kSlewPpm +
        std::max<std::int64_t>(true_ns - base_true_, 0) % kMillion * kSlewPpm / kMillion;
    return left_ >= 0 ? std::min(left_, most) : std::max(left_, -most);
  }

  std::int64_t now_true_;
  std::int64_t base_true_;
  std::int64_t base_mesh_;
  std::int64_t left_ = 0;  // to be slewed from base_true_ on
};

}  // namespace mesh::engine::simulation
