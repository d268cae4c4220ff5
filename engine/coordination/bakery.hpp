// BakeryParticipant, BakeryLock: mutual exclusion from loads and stores alone, first come first
// served after the doorway. For threads of one process, and for a model checker; not for a mesh:
// everyone waits for a participant that is dead.
//
// Callers     participant i: one thread. choosing[i] and number[i] are written by it alone.
// Progress    step: wait-free, one access of a shared word. lock: blocking.
// Ordering    sequentially consistent accesses: the argument needs one order of all of them.
// Cost        lock: 3 n accesses without contention.
// If the      participant dies in between: nobody passes any more. That is why no lock stands in
// other side  memory that processes share.
// dies
// Source      Lamport 1974. Numbers start over when nobody is inside: the largest seen is 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace mesh::coordination {

// Words has: choosing(i), number(i), set_choosing(i, bool), set_number(i, u64).
template <class Words>
class BakeryParticipant {
 public:
  BakeryParticipant(Words& words, std::uint32_t self, std::uint32_t count) noexcept
      : words_(&words), self_(self), count_(count) {}

  // One access. True: it is inside.
  bool step() noexcept {
    switch (at_) {
      case At::outside:
        words_->set_choosing(self_, true);
        return go(At::choosing);
      case At::choosing:
        if (other_ < count_) {
          const std::uint64_t seen = words_->number(other_++);
          if (seen > number_) number_ = seen;
          return false;
        }
        words_->set_number(self_, ++number_);
        return go(At::doorway);
      case At::doorway:
        words_->set_choosing(self_, false);
        return go(At::asking);
      case At::asking:
        return ask();
      case At::comparing:
        return compare();
      case At::inside:
        return true;
    }
    return false;
  }
  void leave() noexcept {
    words_->set_number(self_, 0);
    number_ = 0;
    go(At::outside);
  }
  [[nodiscard]] bool is_inside() const noexcept { return at_ == At::inside; }
  // True from the end of the doorway on: who is through it before another enters goes first.
  [[nodiscard]] bool is_through_doorway() const noexcept { return at_ >= At::asking; }
  [[nodiscard]] bool is_outside() const noexcept { return at_ == At::outside; }
  // All that decides its next steps, for a model checker.
  [[nodiscard]] std::uint64_t state() const noexcept {
    return static_cast<std::uint64_t>(at_) | std::uint64_t{other_} << 4 | number_ << 12;
  }

 private:
  enum class At : std::uint8_t { outside, choosing, doorway, asking, comparing, inside };
  bool go(At at) noexcept {
    at_ = at;
    other_ = 0;
    return false;
  }
  bool ask() noexcept {
    if (other_ == self_) ++other_;
    if (other_ >= count_) {
      at_ = At::inside;
      return true;
    }
    if (!words_->choosing(other_)) at_ = At::comparing;
    return false;
  }
  bool compare() noexcept {
    const std::uint64_t theirs = words_->number(other_);
    const bool passes = theirs == 0 || std::pair{theirs, other_} > std::pair{number_, self_};
    if (!passes) return false;
    ++other_;
    at_ = At::asking;
    return false;
  }

  Words* words_;
  std::uint64_t number_ = 0;
  std::uint32_t self_;
  std::uint32_t count_;
  std::uint32_t other_ = 0;
  At at_ = At::outside;
};

class BakeryLock {
 public:
  explicit BakeryLock(std::uint32_t participants) : words_(participants) {
    for (std::uint32_t i = 0; i < participants; ++i) inside_.emplace_back(words_, i, participants);
  }
  // Waits by yielding: a participant may share its core with whom it waits for.
  void lock(std::uint32_t self) noexcept {
    while (!inside_[self].step()) {
      if (inside_[self].is_through_doorway()) std::this_thread::yield();
    }
  }
  void unlock(std::uint32_t self) noexcept { inside_[self].leave(); }

 private:
  struct AtomicWords {
    explicit AtomicWords(std::uint32_t count) : choosers(count), tickets(count) {}
    [[nodiscard]] bool choosing(std::uint32_t i) const noexcept {
      // SYNC bakery.choosing seq_cst: who is seen not to choose has its number in the one order.
      return choosers[i].load(std::memory_order_seq_cst) != 0;
    }
    [[nodiscard]] std::uint64_t number(std::uint32_t i) const noexcept {
      // SYNC bakery.number seq_cst: a number seen as 0 belongs to one that comes after.
      return tickets[i].load(std::memory_order_seq_cst);
    }
    void set_choosing(std::uint32_t i, bool value) noexcept {
      // SYNC bakery.choosing seq_cst: pairs with choosing().
      choosers[i].store(value ? 1 : 0, std::memory_order_seq_cst);
    }
    void set_number(std::uint32_t i, std::uint64_t value) noexcept {
      // SYNC bakery.number seq_cst: pairs with number(); what was written inside is before its 0.
      tickets[i].store(value, std::memory_order_seq_cst);
    }
    std::vector<std::atomic<std::uint32_t>> choosers;
    std::vector<std::atomic<std::uint64_t>> tickets;
  };

  AtomicWords words_;
  std::vector<BakeryParticipant<AtomicWords>> inside_;
};

}  // namespace mesh::coordination
