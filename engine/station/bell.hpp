// Bell: threads of this process tell the pump that they have left something for it. Rung while it
// is already raised it costs no system call.
//
// Callers     ring: any thread, after it has pushed. take: the pump, before it looks what there is.
// Progress    lock-free; at most one eventfd signal for each take().
// Ordering    what was pushed before ring() is seen by who looks after take().     SYNC bell.raised
// If the      pump is gone: the signal goes nowhere.
// other side
// dies
// Errors      ring(): none. A signal that fails is seen by the pump's next deadline.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "shm/event_fd.hpp"

namespace mesh::engine {

class Bell {
 public:
  explicit Bell(std::shared_ptr<const shm::EventFd> signal) : signal_(std::move(signal)) {}

  void ring() noexcept {
    // SYNC bell.raised release: the push before it. Whoever finds it raised leaves the signal to
    // who raised it: the pump takes it down before it looks.
    if (!raised_.exchange(true, std::memory_order_acq_rel)) static_cast<void>(signal_->signal());
  }
  // SYNC bell.raised acquire: pairs with ring(). A pump asks several times a turn, and an exchange
  // costs as much as a cache line: it looks first.
  bool take() noexcept { return raised() && raised_.exchange(false, std::memory_order_acq_rel); }
  // relaxed: take() looks again, and its look is the ordered one.
  [[nodiscard]] bool raised() const noexcept { return raised_.load(std::memory_order_relaxed); }
  // Before sleeping, after the pump said so: one that rings later signals.
  [[nodiscard]] bool raised_ordered() const noexcept {
    return raised_.load(std::memory_order_acquire);  // SYNC bell.raised acquire
  }

 private:
  std::shared_ptr<const shm::EventFd> signal_;
  std::atomic<bool> raised_{false};
};

}  // namespace mesh::engine
