// SlotSet: which of a fixed number of slots are in use; the lowest free one comes next. What is
// free follows from what is in use alone, so a restored service goes on with the same slots.
//
// Callers     one thread.  Progress  wait-free.  Cost  take, free: three words at most.
// Units       up to 262,144 slots.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mesh::coordination {

class SlotSet {
 public:
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  static constexpr std::uint32_t kSlotsMax = 64U * 64U * 64U;

  explicit SlotSet(std::uint32_t slots)
      : slots_(slots), low_((slots + 63) / 64 + 1), middle_((low_.size() + 63) / 64 + 1) {
    for (std::uint32_t slot = 0; slot < slots; ++slot) set_free(slot);
  }

  // The lowest free slot, which is in use from now on; kNone: all are.
  [[nodiscard]] std::uint32_t take() noexcept {
    if (used_ == slots_) return kNone;
    const auto m = static_cast<std::uint32_t>(std::countr_zero(top_));
    const auto l = m * 64 + static_cast<std::uint32_t>(std::countr_zero(middle_[m]));
    const auto slot = l * 64 + static_cast<std::uint32_t>(std::countr_zero(low_[l]));
    use(slot);
    return slot;
  }
  // False: it is no slot, or in use already.
  bool use(std::uint32_t slot) noexcept {
    if (slot >= slots_ || is_used(slot)) return false;
    low_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    if (low_[slot / 64] == 0) middle_[slot / 4096] &= ~(std::uint64_t{1} << (slot / 64 % 64));
    if (middle_[slot / 4096] == 0) top_ &= ~(std::uint64_t{1} << (slot / 4096));
    ++used_;
    return true;
  }
  void free(std::uint32_t slot) noexcept {
    set_free(slot);
    --used_;
  }
  [[nodiscard]] bool is_used(std::uint32_t slot) const noexcept {
    return slot < slots_ && (low_[slot / 64] >> (slot % 64) & 1U) == 0;
  }
  [[nodiscard]] std::uint32_t used() const noexcept { return used_; }
  [[nodiscard]] std::uint32_t left() const noexcept { return slots_ - used_; }
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }

 private:
  void set_free(std::uint32_t slot) noexcept {
    low_[slot / 64] |= std::uint64_t{1} << (slot % 64);
    middle_[slot / 4096] |= std::uint64_t{1} << (slot / 64 % 64);
    top_ |= std::uint64_t{1} << (slot / 4096);
  }

  std::uint32_t slots_;
  std::uint32_t used_ = 0;
  std::vector<std::uint64_t> low_;  // a bit a slot: free
  std::vector<std::uint64_t> middle_;
  std::uint64_t top_ = 0;
};

}  // namespace mesh::coordination
