// BloomFilter: "surely new", or "perhaps seen". Two generations of it forget what is two
// windows old.
//
// Callers     one thread.  Progress  wait-free.  Cost  add, may_contain: one cache line a hash.
// Guarantees  an id that was added within the last window is never called new.
// Source      Bloom 1970; two hashes make the k of them (Kirsch & Mitzenmacher 2006).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {

struct BloomShape {
  std::uint64_t bits = 0;
  std::uint32_t hashes = 0;
  double rate = 0;  // of false "perhaps", when full

  [[nodiscard]] static BloomShape of(std::uint64_t items, double rate) noexcept {
    const double ln2 = std::log(2.0);
    const auto n = static_cast<double>(items);
    BloomShape shape;
    shape.bits = static_cast<std::uint64_t>(std::ceil(-n * std::log(rate) / (ln2 * ln2)));
    shape.hashes = static_cast<std::uint32_t>(
        std::max(1.0, std::nearbyint(static_cast<double>(shape.bits) / n * ln2)));
    const double filled =
        1 - std::exp(-static_cast<double>(shape.hashes) * n / static_cast<double>(shape.bits));
    shape.rate = std::pow(filled, shape.hashes);
    return shape;
  }
};

class BloomFilter {
 public:
  explicit BloomFilter(const BloomShape& shape)
      : shape_(shape), newer_((shape.bits + 63) / 64), older_((shape.bits + 63) / 64) {}

  void add(const IdHash& id) noexcept {
    for (std::uint32_t i = 0; i < shape_.hashes; ++i) {
      const std::uint64_t bit = bit_of(id, i);
      newer_[bit / 64] |= std::uint64_t{1} << (bit % 64);
    }
  }
  [[nodiscard]] bool may_contain(const IdHash& id) const noexcept {
    return all_set(newer_, id) || all_set(older_, id);
  }
  // The older generation is forgotten: O(bits / 64).
  void rotate() noexcept {
    std::swap(newer_, older_);
    std::fill(newer_.begin(), newer_.end(), 0);
  }

 private:
  [[nodiscard]] std::uint64_t bit_of(const IdHash& id, std::uint32_t i) const noexcept {
    return (id.low + i * (id.high | 1U)) % shape_.bits;
  }
  [[nodiscard]] bool all_set(const std::vector<std::uint64_t>& words,
                             const IdHash& id) const noexcept {
    for (std::uint32_t i = 0; i < shape_.hashes; ++i) {
      const std::uint64_t bit = bit_of(id, i);
      if ((words[bit / 64] >> (bit % 64) & 1U) == 0) return false;
    }
    return true;
  }

  BloomShape shape_;
  std::vector<std::uint64_t> newer_;
  std::vector<std::uint64_t> older_;
};

}  // namespace mesh::coordination
