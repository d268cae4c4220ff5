// FenceCounter: the number of a grant, only ever incremented: a resource refuses a lower one.
//
// Rebuilt     from the journal with its owner; without a journal it starts at boot_count << 40,
//             above everything an earlier life gave out (2^40 grants a boot: 12 days at a million a
//             second).
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

enum class FenceVerdict : std::uint8_t { kCurrent, kStale, kFromTheFuture };

class FenceCounter {
 public:
  constexpr FenceCounter() noexcept = default;
  [[nodiscard]] static constexpr FenceCounter after_boot(std::uint64_t boot_count) noexcept {
    FenceCounter counter;
    counter.last_ = boot_count << 40;
    return counter;
  }

  constexpr std::uint64_t next() noexcept { return ++last_; }
  [[nodiscard]] constexpr std::uint64_t last() const noexcept { return last_; }
  // A number that was never given out is no better than a stale one.
  [[nodiscard]] constexpr FenceVerdict judge(std::uint64_t token) const noexcept {
    if (token == last_ && token != 0) return FenceVerdict::kCurrent;
    return token > last_ ? FenceVerdict::kFromTheFuture : FenceVerdict::kStale;
  }

  void save(StateWriter& writer) const { writer.put(last_); }
  void load(StateReader& reader) { reader.get(last_); }

 private:
  std::uint64_t last_ = 0;
};

}  // namespace mesh::coordination
