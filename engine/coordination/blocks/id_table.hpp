// IdTable: from an IdHash to a number, in a table that was allocated once: open addressing, at most
// half full, and an erased place is closed up, so that no probe grows with what was.
//
// Callers     one thread.  Progress  wait-free.  Cost  one cache line a call, mostly.
// Units       capacity in ids; the caller keeps count() at or below it. Never iterated: the order
//             of a hash table is no order to go by.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {

class IdTable {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;

  explicit IdTable(std::size_t capacity)
      : places_(std::bit_ceil(2 * (capacity == 0 ? 1 : capacity))), mask_(places_.size() - 1) {}

  [[nodiscard]] std::uint32_t find(const IdHash& id) const noexcept {
    for (std::size_t at = home(id);; at = (at + 1) & mask_) {
      if (places_[at].value == kNone) return kNone;
      if (places_[at].id == id) return places_[at].value;
    }
  }
  // A new id, or a new number for one that is there. `value` is not kNone.
  void set(const IdHash& id, std::uint32_t value) noexcept {
    std::size_t at = home(id);
    while (places_[at].value != kNone && places_[at].id != id) at = (at + 1) & mask_;
    count_ += places_[at].value == kNone ? 1U : 0U;
    places_[at] = {id, value};
  }
  void erase(const IdHash& id) noexcept {
    std::size_t hole = home(id);
    while (places_[hole].value == kNone || places_[hole].id != id) {
      if (places_[hole].value == kNone) return;
      hole = (hole + 1) & mask_;
    }
    for (std::size_t at = (hole + 1) & mask_; places_[at].value != kNone; at = (at + 1) & mask_) {
      // What sits at `at` may fill the hole unless its home lies after the hole.
      const std::size_t distance = (at - home(places_[at].id)) & mask_;
      if (distance < ((at - hole) & mask_)) continue;
      places_[hole] = places_[at];
      hole = at;
    }
    places_[hole].value = kNone;
    --count_;
  }
  void prefetch(const IdHash& id) const noexcept { __builtin_prefetch(&places_[home(id)]); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  struct Place {
    IdHash id;
    std::uint32_t value = kNone;
  };
  [[nodiscard]] std::size_t home(const IdHash& id) const noexcept {
    return static_cast<std::size_t>(id.low) & mask_;
  }

  std::vector<Place> places_;
  std::size_t mask_;
  std::size_t count_ = 0;
};

}  // namespace mesh::coordination
