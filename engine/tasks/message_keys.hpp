// Under which numbers a message router finds what it has, and the bits of its windows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/id_hash.hpp"
#include "engine/coordination/blocks/sequence_window.hpp"

namespace mesh::tasks {

// Of a message, and of the request that it is.
[[nodiscard]] inline coordination::IdHash hash_of_number(std::uint64_t number) noexcept {
  return coordination::hash_of_serial(number);
}
[[nodiscard]] inline coordination::IdHash hash_of_pair(std::uint32_t from, std::uint32_t to,
                                                       std::uint32_t lane) noexcept {
  return coordination::hash_of(std::uint64_t{from} << 32 | to, lane);
}
// Of one from another host: 2^40 sequences of 2^18 pairs.
[[nodiscard]] inline coordination::IdHash hash_of_place(std::uint32_t pair, std::uint64_t epoch,
                                                        std::uint64_t sequence) noexcept {
  return coordination::hash_of(sequence << 18 | pair, epoch);
}

// A sequence in a window of as many bits as a receiver remembers.
[[nodiscard]] constexpr std::uint64_t bit_of(std::uint64_t sequence) noexcept {
  return std::uint64_t{1} << (sequence % 64);
}
[[nodiscard]] constexpr std::size_t word_of(std::uint64_t sequence) noexcept {
  return static_cast<std::size_t>(sequence % coordination::SequenceWindow::kWidth / 64);
}

}  // namespace mesh::tasks
