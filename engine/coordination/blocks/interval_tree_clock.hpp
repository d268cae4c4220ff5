// IntervalTreeClock: happened-before among agents that come and go: one forks another off and gives
// it half of its own identity, one that retires gives it back. No agent has a number, and the clock
// shrinks again with the agents.
//
// Callers     one thread a value; every operation returns a new one, and trees are shared.
// Cost        an operation: one walk over the trees, which have as many leaves as identities were
//             split off and not joined again. It allocates.
// Guarantees  compare is happened-before, exactly, as long as no two live stamps own the same part:
//             fork before handing a stamp on, and do not go on with what was joined.
// Errors      event of an anonymous stamp (peek) -> invalid_argument; join of two that own the same
//             part -> conflict; a count at its end -> overflow.
// Limits      trees deeper than kDepthMax are refused (capacity): fork a stamp that is less split.
// Source      Almeida, Baquero & Fonte: Interval Tree Clocks, 2008.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "engine/coordination/blocks/version_vector.hpp"

namespace mesh::coordination {

class IntervalTreeClock {
 public:
  static constexpr unsigned kDepthMax = 64;

  // The seed: owns everything, has seen nothing.
  IntervalTreeClock();

  // Two that have seen what this one has, each with half of its identity.
  [[nodiscard]] Result<std::pair<IntervalTreeClock, IntervalTreeClock>> fork() const;
  // What both have seen, with both identities.
  [[nodiscard]] Result<IntervalTreeClock> join(const IntervalTreeClock& other) const;
  // One event more.
  [[nodiscard]] Result<IntervalTreeClock> event() const;
  // What it has seen and no identity: for a message.
  [[nodiscard]] IntervalTreeClock peek() const;

  [[nodiscard]] bool is_anonymous() const noexcept;
  [[nodiscard]] std::size_t leaves() const noexcept;  // of both trees: what it would cost to send

  friend CausalOrder compare(const IntervalTreeClock& a, const IntervalTreeClock& b) noexcept;

 private:
  // Of the interval: owned or not as a whole, or by halves.
  struct Part {
    bool is_owned = false;
    std::shared_ptr<const Part> left;
    std::shared_ptr<const Part> right;
  };
  // So many events everywhere in the interval, and more in its halves. One of them has a half of 0.
  struct Count {
    std::uint64_t base = 0;
    std::shared_ptr<const Count> left;
    std::shared_ptr<const Count> right;
  };
  using PartPtr = std::shared_ptr<const Part>;
  using CountPtr = std::shared_ptr<const Count>;
  struct Grown;
  struct Trees;  // the functions over both; interval_tree_clock.cpp

  IntervalTreeClock(PartPtr part, CountPtr count)
      : part_(std::move(part)), count_(std::move(count)) {}

  PartPtr part_;
  CountPtr count_;
};

[[nodiscard]] CausalOrder compare(const IntervalTreeClock& a, const IntervalTreeClock& b) noexcept;

}  // namespace mesh::coordination
