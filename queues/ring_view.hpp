// RingRecord, RingView: what a ring's slot holds, for who takes it out.
//
// Callers     whoever the ring gives a view to, while it gives it.
// Cost        read: one load a word.
// If the      lies: any bytes. Check and use the copy, never the slot.
// other side
// lies
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "queues/ring_layout.hpp"

namespace mesh::queues {

template <std::size_t kWords>
struct RingRecord {
  std::uint64_t words[kWords];
};

// A record in its slot. read() copies it once to private memory.
template <class Memory, std::size_t kWords>
class RingView {
 public:
  using Slot = RingSlot<Memory, kWords>;
  using Record = RingRecord<kWords>;
  static constexpr bool kNoThrow = Memory::kNoThrow;

  RingView(const Slot& slot, std::uint64_t position) noexcept : slot_(slot), position_(position) {}
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  [[nodiscard]] std::uint64_t word(std::size_t index) const noexcept(kNoThrow) {
    return slot_.words[index].get();
  }
  [[nodiscard]] Record read() const noexcept(kNoThrow) {
    // Word by word without a loop: g++ leaves one of seven turns rolled, at half the rate.
    return [this]<std::size_t... kIndex>(std::index_sequence<kIndex...>) {
      return Record{{slot_.words[kIndex].get()...}};
    }
    (std::make_index_sequence<kWords>());
  }
  template <class T>
  [[nodiscard]] T read_as() const noexcept(kNoThrow) {
    static_assert(sizeof(T) == sizeof(Record) && std::is_trivially_copyable_v<T>);
    return std::bit_cast<T>(read());
  }

 private:
  const Slot& slot_;
  std::uint64_t position_;
};

}  // namespace mesh::queues
