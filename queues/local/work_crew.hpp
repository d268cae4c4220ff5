// WorkCrew<T>: threads of one process share work: a pile and an inbox each, and who finds its own
// empty takes from another's. Process-private: never in shared memory.
//
//   push --> a worker's pile --take, the newest--> its worker
//                           \--steal, the oldest, half, burst_max at most--> an idle one's pile
//   give --> its inbox, in order --take where its pile is empty--> its worker; or steal, as above
//
// Callers     try_give, queued: any thread. A Worker belongs to one thread at a time.
// Progress    lock-free. take() waits: `spins` looks, then pauses that double, then yields.
// Ordering    of its own pushes a worker takes the newest first, a thief the oldest. What is given
//             is FIFO for each giving thread and inbox, as far as nothing is stolen. What was
//             written before a push or a give happens-before the take that returns the value.
// Cost        push: a store or two. take: one locked instruction. A steal: two hints and a locked
//             instruction a value; a look that finds nothing: two hints for each other. No
//             allocation.
// Guarantees  each value is taken once, by whom ever. Nothing that was accepted stays behind: false
//             of try_take says that it found each pile empty in turn, not all at one instant. What
//             is stolen and not begun can be stolen again.
// If the      worker's thread stalls: the others take all that waits for it. A Worker that ends
// other side  leaves what it had to the others, and to the next of its index.
// dies
// Errors      Errc::capacity (its pile or inbox is full), Errc::not_found (no such worker): the
//             value is still the caller's. Options: invalid_argument, which names the value.
// Source      a deque a thread with random victims: Blumofe & Leiserson 1999, Chase & Lev 2005
//             (StealDeque); the better of two: Mitzenmacher 2001. Inboxes: HandOver.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <sched.h>

#include "queues/local/hand_over.hpp"
#include "queues/local/steal_deque.hpp"
#include "queues/wait_strategy.hpp"
#include "shm/base/result.hpp"

namespace mesh::queues::local {

inline constexpr std::uint32_t kStealMax = 64;

struct CrewOptions {
  std::uint32_t workers = 2;         // 1..1024
  std::size_t capacity = 1'024;      // values that wait in one pile, and in one inbox, at least
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
  if (options.capacity == 0 || options.capacity > kStealCapacityMax) {
    return refuse("capacity", options.capacity);
  }
  if (options.burst_max == 0 || options.burst_max > kStealMax) {
    return refuse("burst_max", options.burst_max);
  }
  return {};
}

struct CrewCounters {
  std::uint64_t taken = 0;   // those stolen too
  std::uint64_t stolen = 0;  // values
  std::uint64_t steals = 0;  // that brought any
  std::uint64_t misses = 0;  // looks at all of them that found nothing
};

template <StealableHandle T>
class WorkCrew {
  struct Member;

 public:
  // `options` are validated ones.
  explicit WorkCrew(const CrewOptions& options) : options_(options) {
    MESH_ASSERT(validate(options).has_value());
    for (std::uint32_t i = 0; i < options.workers; ++i) {
      members_.push_back(std::make_unique<Member>(options));
    }
  }

  class Worker {
   public:
    Worker(WorkCrew& crew, std::uint32_t index)
        : crew_(&crew),
          own_(crew.members_[index].get()),
          index_(index),
          state_(crew.options_.seed + index) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Onto its own pile.
    [[nodiscard]] Errc try_push(T value) noexcept {
      return own_->pile.try_push(value) ? Errc::ok : Errc::capacity;
    }
    [[nodiscard]] bool try_take(T& out) noexcept {
      if (own_->pile.try_take(out) || own_->inbox.pop({&out, 1}) == 1 || steal(out)) {
        ++counters_.taken;
        return true;
      }
      ++counters_.misses;
      return false;
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
      const auto others = static_cast<std::uint32_t>(crew_->members_.size() - 1);
      const auto drawn = static_cast<std::uint32_t>((draw() >> 32) * others >> 32);
      return drawn + (drawn >= index_ ? 1U : 0U);
    }
    // Half of what waits there, the oldest first. The first is `out`, the others come onto its own
    // pile, which is empty.
    [[nodiscard]] bool steal_from(std::uint32_t victim, T& out) noexcept {
      Member& member = *crew_->members_[victim];
      const std::size_t half = (member.waiting() + 1) / 2;
      if (half == 0) return false;
      const std::size_t most = std::min<std::size_t>(half, crew_->options_.burst_max);
      std::array<T, kStealMax> loot;
      std::size_t count = 0;
      for (StealStatus status = StealStatus::kTaken;
           status != StealStatus::kEmpty && count < most;) {
        status = member.pile.try_steal(loot[count]);
        if (status == StealStatus::kTaken) ++count;
      }
      count += member.inbox.pop(std::span(loot).subspan(count, most - count));
      if (count == 0) return false;
      ++counters_.steals;
      counters_.stolen += count;
      out = loot[0];
      for (std::size_t i = 1; i < count; ++i) {
        const bool has_room = own_->pile.try_push(loot[i]);
        MESH_ASSERT(has_room);
      }
      return true;
    }
    // The fuller of two; where that brings nothing, each of the others in turn.
    [[nodiscard]] bool steal(T& out) noexcept {
      const auto workers = static_cast<std::uint32_t>(crew_->members_.size());
      if (workers == 1) return false;
      const std::uint32_t first = other();
      const std::uint32_t second = other();
      const bool is_fuller = crew_->members_[second]->waiting() > crew_->members_[first]->waiting();
      if (steal_from(is_fuller ? second : first, out)) return true;
      for (std::uint32_t step = 1; step < workers; ++step) {
        if (steal_from((index_ + step) % workers, out)) return true;
      }
      return false;
    }
    WorkCrew* crew_;
    Member* own_;
    std::uint32_t index_;
    std::uint64_t state_;
    CrewCounters counters_;
  };

  // One for each index, made by the thread that uses it, or before.
  [[nodiscard]] Worker worker(std::uint32_t index) {
    MESH_ASSERT(index < members_.size());
    return Worker(*this, index);
  }
  [[nodiscard]] Errc try_give(std::uint32_t worker, T value) noexcept {
    if (worker >= members_.size()) return Errc::not_found;
    return members_[worker]->inbox.try_push(value) ? Errc::ok : Errc::capacity;
  }
  // Not exact while others push or take.
  [[nodiscard]] std::size_t queued(std::uint32_t worker) const noexcept {
    return worker < members_.size() ? members_[worker]->waiting() : 0;
  }

 private:
  struct Member {
    // A burst has room on an empty pile.
    explicit Member(const CrewOptions& options)
        : pile(std::max<std::size_t>(options.capacity, kStealMax)),
          inbox(options.capacity, 0, options.giving_threads) {}
    [[nodiscard]] std::size_t waiting() const noexcept {
      return pile.size_hint() + inbox.size_hint();
    }
    StealDeque<T> pile;
    HandOver<T> inbox;
  };

  CrewOptions options_;
  std::vector<std::unique_ptr<Member>> members_;
};

}  // namespace mesh::queues::local
