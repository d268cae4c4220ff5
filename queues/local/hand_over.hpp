// HandOver<T>: threads of one process give values to another. Process-private: never in shared
// memory.
//
// Callers     try_push: any thread. pop: any thread, usually one. A Lane belongs to one thread.
// Progress    lock-free.
// Ordering    FIFO for each pushing thread (each Lane), none between them. What was written before
//             try_push happens-before the pop that returns the value.
// Cost        try_push never allocates: false when `capacity` values wait (a few more where threads
//             race).
// Errors      false: full (push). 0: empty (pop).
// Source      moodycamel::ConcurrentQueue. Its author says that it does not work between processes.
//             A lane of it keeps every block it ever used, so without our bound on all that waits
//             the first lanes to run ahead take every block and the others are refused for ever
//             (seen with 4 threads on 2 cores). Each pushing thread has an index of its blocks,
//             which a push that may not allocate does not grow: with the library's 32 entries it
//             refuses after 1,024 values, whatever the capacity. Ours has room for kOneThreadMax.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include <concurrentqueue/concurrentqueue.h>

namespace mesh::queues::local {

struct HandOverTraits : moodycamel::ConcurrentQueueDefaultTraits {
  static constexpr std::size_t EXPLICIT_INITIAL_INDEX_SIZE = 1'024;
  static constexpr std::size_t IMPLICIT_INITIAL_INDEX_SIZE = 1'024;
};

template <class T>
class HandOver {
 public:
  // Of the capacity, what one thread alone may take: less one block that is being emptied and one
  // that is being filled.
  static constexpr std::size_t kOneThreadMax =
      (HandOverTraits::EXPLICIT_INITIAL_INDEX_SIZE - 2) * HandOverTraits::BLOCK_SIZE;

  // Room for at least `capacity` values, with up to `lanes` lanes and `other_threads` threads that
  // push without.
  HandOver(std::size_t capacity, std::size_t lanes, std::size_t other_threads)
      : queue_(capacity, lanes, other_threads), capacity_(capacity) {}

  // A thread's own way in: faster than try_push, and the unit of FIFO order.
  class Lane {
   public:
    [[nodiscard]] bool try_push(T value) noexcept {
      return owner_->has_room(1) && owner_->queue_.try_enqueue(token_, std::move(value));
    }
    // Moves from `value` only where it is taken: refused, it is still the caller's.
    [[nodiscard]] bool try_push_from(T& value) noexcept {
      return owner_->has_room(1) && owner_->queue_.try_enqueue(token_, std::move(value));
    }
    // All of them or none.
    [[nodiscard]] bool try_push(std::span<T> values) noexcept {
      return owner_->has_room(values.size()) &&
             owner_->queue_.try_enqueue_bulk(token_, std::make_move_iterator(values.begin()),
                                             values.size());
    }

   private:
    friend class HandOver;
    explicit Lane(HandOver& owner) : owner_(&owner), token_(owner.queue_) {}
    HandOver* owner_;
    moodycamel::ProducerToken token_;
  };

  [[nodiscard]] Lane lane() { return Lane(*this); }
  [[nodiscard]] bool try_push(T value) noexcept {
    return has_room(1) && queue_.try_enqueue(std::move(value));
  }
  // Moves from `value` only where it is taken: refused, it is still the caller's.
  [[nodiscard]] bool try_push_from(T& value) noexcept {
    return has_room(1) && queue_.try_enqueue(std::move(value));
  }
  // Fills `room` from the front; returns how many.
  [[nodiscard]] std::size_t pop(std::span<T> room) noexcept {
    return queue_.try_dequeue_bulk(room.begin(), room.size());
  }
  // Not exact while others push or pop.
  [[nodiscard]] std::size_t size_hint() const noexcept { return queue_.size_approx(); }

 private:
  bool has_room(std::size_t count) const noexcept {
    return queue_.size_approx() + count <= capacity_;
  }

  moodycamel::ConcurrentQueue<T, HandOverTraits> queue_;
  std::size_t capacity_;
};

}  // namespace mesh::queues::local
