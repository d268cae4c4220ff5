// WorkCrew<T>: threads of one process share work: a queue each, and who finds its own empty takes
// from another's. Process-private: never in shared memory.
//
//   give, push --> a worker's queue --take--> its worker
//                                   --steal, half of it, burst_max at most--> an idle one
//
// Callers     try_give, queued: any thread. A Worker belongs to one thread at a time.
// Progress    lock-free. take() waits: `spins` looks, then pauses that double, then yields.
// Ordering    FIFO for each giving thread and queue, as far as nothing is stolen. What was written
//             before a push happens-before the take that returns the value.
// Cost        push and take of one's own: two atomic operations each, no allocation. A steal: two
//             hints and one bulk take; a look that finds nothing: a hint for each queue.
// Guarantees  each value is taken once, by whom ever. Nothing that was accepted stays behind: false
//             of try_take says that it found each queue empty in turn, not all at one instant.
// If the      worker's thread stalls: the others take what waits in its queue; only what it has
// other side  stolen and not begun (burst_max - 1 at most) waits for it. A Worker that ends gives
// dies        that back.
// Errors      Errc::capacity (its queue is full), Errc::not_found (no such worker): the value is
//             still the caller's. Options: invalid_argument, which names the value.
// Source      a queue a thread with random victims: Blumofe & Leiserson 1999; the better of two:
//             Mitzenmacher 2001. Below it moodycamel::ConcurrentQueue, by HandOver.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sched.h>

#include "queues/local/hand_over.hpp"
#include "queues/wait_strategy.hpp"
#include "shm/base/result.hpp"

namespace mesh::queues::local {

inline constexpr std::uint32_t kStealMax = 64;

struct CrewOptions {
  std::uint32_t workers = 2;         // 1..1024
  std::size_t capacity = 1'024;      // values that wait in one queue, at least
  std::uint32_t giving_threads = 1;  // that push without being a worker
  std::uint32_t burst_max = 2;       // of one steal: 1..kStealMax
  std::uint32_t spins = 64;          // looks before a worker that waits backs off
  std::uint64_t seed = 1;            // of whom it looks at
};

[[nodiscard]] inline Status validate(const CrewOptions& options) {
  const auto refuse = [](const char* what, std::uint64_t value) {
    return fail(Errc::invalid_argument, std::string(what) + " is " + std::to_string(value));
  };
  if (options.workers == 0 || options.workers > 1'024) return refuse("workers", options.workers);
  if (options.capacity == 0) return refuse("capacity", options.capacity);
  if (options.burst_max == 0 || options.burst_max > kStealMax) {
    return refuse("burst_max", options.burst_max);
  }
  return {};
}

struct CrewCounters {
  std::uint64_t taken = 0;   // those stolen too
  std::uint64_t stolen = 0;  // values
  std::uint64_t steals = 0;  // that brought any
  std::uint64_t misses = 0;  // looks at every queue that found nothing
};

template <class T>
class WorkCrew {
 public:
  // `options` are validated ones.
  explicit WorkCrew(const CrewOptions& options) : options_(options) {
    MESH_ASSERT(validate(options).has_value());
    for (std::uint32_t i = 0; i < options.workers; ++i) {
      queues_.push_back(std::make_unique<Queue>(options.capacity, 1, options.giving_threads));
    }
  }

  class Worker {
   public:
    Worker(WorkCrew& crew, std::uint32_t index)
        : crew_(&crew),
          index_(index),
          lane_(crew.queues_[index]->lane()),
          state_(crew.options_.seed + index) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() {
      while (next_ != loot_count_) crew_->queues_[index_]->put_back(std::move(loot_[next_++]));
    }

    // Into its own queue. Moves from `value` only where it is taken.
    [[nodiscard]] Errc try_push(T& value) noexcept {
      return lane_.try_push_from(value) ? Errc::ok : Errc::capacity;
    }
    [[nodiscard]] bool try_take(T& out) noexcept {
      if (next_ == loot_count_ && crew_->queues_[index_]->pop({&out, 1}) == 1) {
        ++counters_.taken;
        return true;
      }
      if (next_ == loot_count_ && !steal()) {
        ++counters_.misses;
        return false;
      }
      out = std::move(loot_[next_++]);
      ++counters_.taken;
      return true;
    }
    // Waits for a value; false: `stop()` said so, and nothing was taken.
    template <class Stop>
    [[nodiscard]] bool take(T& out, Stop&& stop) {
      std::uint32_t pauses = 1;
      for (std::uint32_t looks = 0;; ++looks) {
        if (try_take(out)) return true;
        if (stop()) return false;
        if (looks < crew_->options_.spins) {
          relax_cpu();
        } else if (pauses < kPausesMax) {
          for (std::uint32_t i = 0; i < pauses; ++i) relax_cpu();
          pauses *= 2;
        } else {
          ::sched_yield();
        }
      }
    }
    [[nodiscard]] const CrewCounters& counters() const noexcept { return counters_; }

   private:
    static constexpr std::uint32_t kPausesMax = 1'024;

    std::uint64_t draw() noexcept {  // splitmix64
      std::uint64_t mixed = state_ += 0x9E37'79B9'7F4A'7C15U;
      mixed = (mixed ^ mixed >> 30) * 0xBF58'476D'1CE4'E5B9U;
      mixed = (mixed ^ mixed >> 27) * 0x94D0'49BB'1331'11EBU;
      return mixed ^ mixed >> 31;
    }
    // Another than itself; there must be one.
    std::uint32_t other() noexcept {
      const auto others = static_cast<std::uint32_t>(crew_->queues_.size() - 1);
      const auto drawn = static_cast<std::uint32_t>((draw() >> 32) * others >> 32);
      return drawn + (drawn >= index_ ? 1U : 0U);
    }
    [[nodiscard]] bool steal_from(std::uint32_t victim) noexcept {
      Queue& queue = *crew_->queues_[victim];
      const std::size_t half = (queue.size_hint() + 1) / 2;
      if (half == 0) return false;
      const std::size_t count = std::min<std::size_t>(half, crew_->options_.burst_max);
      next_ = 0;
      loot_count_ = queue.pop(std::span(loot_).first(count));
      if (loot_count_ == 0) return false;
      ++counters_.steals;
      counters_.stolen += loot_count_;
      return true;
    }
    // The fuller of two; where that brings nothing, each of the others in turn.
    [[nodiscard]] bool steal() noexcept {
      const auto workers = static_cast<std::uint32_t>(crew_->queues_.size());
      if (workers == 1) return false;
      const std::uint32_t first = other();
      const std::uint32_t second = other();
      const bool is_fuller =
          crew_->queues_[second]->size_hint() > crew_->queues_[first]->size_hint();
      if (steal_from(is_fuller ? second : first)) return true;
      for (std::uint32_t step = 1; step < workers; ++step) {
        if (steal_from((index_ + step) % workers)) return true;
      }
      return false;
    }
    WorkCrew* crew_;
    std::uint32_t index_;
    typename HandOver<T>::Lane lane_;
    std::uint64_t state_;
    std::array<T, kStealMax> loot_{};
    std::size_t next_ = 0;
    std::size_t loot_count_ = 0;
    CrewCounters counters_;
  };

  // One for each index, made by the thread that uses it, or before.
  [[nodiscard]] Worker worker(std::uint32_t index) {
    MESH_ASSERT(index < queues_.size());
    return Worker(*this, index);
  }
  // Moves from `value` only where it is taken.
  [[nodiscard]] Errc try_give(std::uint32_t worker, T& value) noexcept {
    if (worker >= queues_.size()) return Errc::not_found;
    return queues_[worker]->try_push_from(value) ? Errc::ok : Errc::capacity;
  }
  // Not exact while others push or take.
  [[nodiscard]] std::size_t queued(std::uint32_t worker) const noexcept {
    return worker < queues_.size() ? queues_[worker]->size_hint() : 0;
  }

 private:
  using Queue = HandOver<T>;

  CrewOptions options_;
  std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace mesh::queues::local
