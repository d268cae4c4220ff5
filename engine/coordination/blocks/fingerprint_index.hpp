// FingerprintIndex: from an IdHash to the number of the entry that holds it. Of the hash it keeps
// 32 bits: a place takes 8 bytes instead of 24, and whether the entry is the one is asked of the
// entry itself. Open addressing, at most half full; an erased place is closed up.
//
// Callers     one thread.  Progress  wait-free.
// Cost        find: one line mostly, and the entry's. Memory: 16 bytes an id of capacity, 32 at the
//             most; a page of it costs none until it is touched.
// Units       capacity in ids, up to 2^28; the caller keeps count() at or below it. Never iterated.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/id_hash.hpp"
#include "engine/coordination/blocks/zeroed.hpp"

namespace mesh::coordination {

class FingerprintIndex {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;

  explicit FingerprintIndex(std::size_t capacity)
      : places_(std::bit_ceil(2 * (capacity == 0 ? 1 : capacity))), mask_(places_.size() - 1) {}

  // The entry of which is_it(entry) is true, among those whose fingerprint is this id's.
  template <class IsIt>
  [[nodiscard]] std::uint32_t find(const IdHash& id, IsIt&& is_it) const noexcept {
    const std::uint32_t fingerprint = fingerprint_of(id);
    for (std::size_t at = fingerprint & mask_; places_[at].entry_1 != 0; at = (at + 1) & mask_) {
      const Place place = places_[at];
      if (place.fingerprint == fingerprint && is_it(place.entry_1 - 1)) return place.entry_1 - 1;
    }
    return kNone;
  }
  // An id that is not there; `entry` is not kNone.
  void add(const IdHash& id, std::uint32_t entry) noexcept {
    const std::uint32_t fingerprint = fingerprint_of(id);
    std::size_t at = fingerprint & mask_;
    while (places_[at].entry_1 != 0) at = (at + 1) & mask_;
    places_[at] = {fingerprint, entry + 1};
    ++count_;
  }
  // The id as it was added, with its entry.
  void erase(const IdHash& id, std::uint32_t entry) noexcept {
    std::size_t hole = fingerprint_of(id) & mask_;
    while (places_[hole].entry_1 != entry + 1) {
      if (places_[hole].entry_1 == 0) return;
      hole = (hole + 1) & mask_;
    }
    for (std::size_t at = (hole + 1) & mask_; places_[at].entry_1 != 0; at = (at + 1) & mask_) {
      // What sits at `at` may fill the hole unless its home lies after the hole.
      const std::size_t distance = (at - places_[at].fingerprint) & mask_;
      if (distance < ((at - hole) & mask_)) continue;
      places_[hole] = places_[at];
      hole = at;
    }
    places_[hole] = {};
    --count_;
  }
  void prefetch(const IdHash& id) const noexcept {
    __builtin_prefetch(&places_[fingerprint_of(id) & mask_]);
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  struct Place {
    std::uint32_t fingerprint = 0;
    std::uint32_t entry_1 = 0;  // the entry + 1; 0: the place is free
  };
  [[nodiscard]] static std::uint32_t fingerprint_of(const IdHash& id) noexcept {
    return static_cast<std::uint32_t>(id.low);
  }

  Zeroed<Place> places_;
  std::size_t mask_;
  std::size_t count_ = 0;
};

}  // namespace mesh::coordination
