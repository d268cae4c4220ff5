// NameIndex: from a name's hash to the entry that holds the name. Open addressing, linear probing.
//
// The entries, and so the names, are the caller's: the index holds 32 bits of each hash and the
// entry's number, and asks `is_it(entry)` where the bits agree. It can be lost at any time: whoever
// holds the names fills it again.
//
// Callers     one thread; process-private memory.
// Progress    at most half of the slots are used, so every probe ends. No allocation after
//             construction.
// Cost        one cache line, mostly, and one call of is_it.
// If someone  chooses names to collide: the hash is multiplied by a random odd number (seed), of
// lies        which the top bits are the slot, so names cannot be chosen without knowing it.
// Source      Knuth 6.4, algorithm R (deletion without tombstones: the run stays as if the entry
//             had never been); Dietzfelbinger 1997 (multiplicative hashing).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "shm/base/assert.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {

class NameIndex {
 public:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  NameIndex(std::size_t entries, std::uint64_t seed)
      : multiplier_(0x9E37'79B9'7F4A'7C15U ^ (seed << 1)),
        entries_max_(entries),
        slots_(std::bit_ceil(2 * entries)),
        mask_(slots_.size() - 1),
        shift_(32U - static_cast<unsigned>(std::countr_zero(slots_.size()))) {
    MESH_ASSERT(entries >= 1);
    MESH_ASSERT(slots_.size() <= std::size_t{1} << 31);
  }

  [[nodiscard]] std::uint32_t key(std::string_view name) const noexcept {
    return static_cast<std::uint32_t>((shm::hash64(name) * multiplier_) >> 32);
  }

  template <class IsIt>
  [[nodiscard]] std::uint32_t find(std::uint32_t key, IsIt&& is_it) const noexcept {
    for (std::size_t at = home(key); slots_[at].entry_plus_1 != 0; at = (at + 1) & mask_) {
      if (slots_[at].key == key && is_it(slots_[at].entry_plus_1 - 1)) {
        return slots_[at].entry_plus_1 - 1;
      }
    }
    return kNone;
  }
  // Of an entry that is not in it.
  void insert(std::uint32_t key, std::uint32_t entry) noexcept {
    MESH_ASSERT(count_ < entries_max_);
    std::size_t at = home(key);
    while (slots_[at].entry_plus_1 != 0) at = (at + 1) & mask_;
    slots_[at] = {key, entry + 1};
    ++count_;
  }
  // Of an entry that is in it, with the key it was given.
  void erase(std::uint32_t key, std::uint32_t entry) noexcept {
    std::size_t hole = home(key);
    while (slots_[hole].entry_plus_1 != entry + 1) {
      MESH_ASSERT(slots_[hole].entry_plus_1 != 0);
      hole = (hole + 1) & mask_;
    }
    // Whoever stands behind the hole and may stand in it moves up, and leaves the next hole.
    for (std::size_t at = (hole + 1) & mask_; slots_[at].entry_plus_1 != 0; at = (at + 1) & mask_) {
      const std::size_t from_home = (at - home(slots_[at].key)) & mask_;
      if (from_home >= ((at - hole) & mask_)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = {};
    --count_;
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  struct Slot {
    std::uint32_t key = 0;           // its top bits are the slot where it would like to stand
    std::uint32_t entry_plus_1 = 0;  // 0: empty
  };
  [[nodiscard]] std::size_t home(std::uint32_t key) const noexcept { return key >> shift_; }

  std::uint64_t multiplier_;  // odd
  std::size_t entries_max_;
  std::size_t count_ = 0;
  std::vector<Slot> slots_;
  std::size_t mask_;
  unsigned shift_;
};

}  // namespace mesh::engine
