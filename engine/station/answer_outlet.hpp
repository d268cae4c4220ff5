// AnswerOutlet: the way of answers from other threads to their station's pump.
//
// Callers     push: any thread. take: the pump. close: the pump, when the station goes.
// Progress    push: lock-free while fewer than `capacity` answers wait; beyond that it takes a lock
//             which nobody holds for longer than a push to a vector. It never waits for the pump.
// Ordering    none between answers: each is of another message.
// Errors      none: after close() an answer is dropped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "engine/station/bell.hpp"
#include "engine/station/delivery.hpp"
#include "queues/local/hand_over.hpp"

namespace mesh::engine {

class AnswerOutlet {
 public:
  AnswerOutlet(std::size_t capacity, std::shared_ptr<const shm::EventFd> signal)
      : bell_(std::move(signal)), waiting_(capacity, 0, kThreadsExpected) {}

  void push(LateAnswer answer, bool dropped);
  // Fills `room`; 0: none waits.
  std::size_t take(std::span<LateAnswer> room);
  // relaxed: an answer on its way now is dropped or not, as if it came a moment sooner or later.
  void close() noexcept { closed_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] Bell& bell() noexcept { return bell_; }
  // Replies that went unanswered; counted, not ordered.
  [[nodiscard]] std::uint64_t dropped() const noexcept {
    return dropped_.load(std::memory_order_relaxed);  // relaxed: a count that orders nothing
  }

 private:
  static constexpr std::size_t kThreadsExpected = 16;

  Bell bell_;
  queues::local::HandOver<LateAnswer> waiting_;
  std::mutex overflow_mutex_;
  std::vector<LateAnswer> overflow_;
  std::atomic<bool> overflowed_{false};
  std::atomic<bool> closed_{false};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace mesh::engine
