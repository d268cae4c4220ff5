// CapabilitySet, CapabilityTable: what agents can do, a bit for each name.
//
// A mesh knows at most 256 names. The engine gives a name the next bit when it first meets it; the
// bit is that name's while the mesh's directory lives, so a set that somebody read an hour ago
// still means what it meant.
//
// Callers     CapabilityTable: the one thread that writes the region. name_at: any thread of any
//             process. CapabilitySet: a plain value.
// Progress    wait-free; intern stores eight words.
// Ordering    a name's words happen-before the name_at() that sees its length.
//                                                                        SYNC capability.name
// If the      writer dies in intern: the name is there whole or not at all; the next writer gives
// other side  the bit again, to whichever name comes first.
// dies
// Errors      create -> invalid_argument, corrupt. intern -> invalid_argument, capacity.
// Layout      region `capability_names`: kCapabilities names as engine/agent_name.hpp lays them.
//             The region governs; the index is filled from it. Bits are given from 0, so the first
//             empty name ends it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/agent_name.hpp"
#include "engine/name_index.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/columns.hpp"

namespace mesh::engine {

enum class CapabilityBit : std::uint8_t {};
static_assert(kCapabilities == 256, "a bit's number fills a byte");

class CapabilitySet {
 public:
  static constexpr std::size_t kWords = kCapabilities / 64;
  using Words = std::array<std::uint64_t, kWords>;

  constexpr CapabilitySet() = default;
  constexpr explicit CapabilitySet(const Words& words) noexcept : words_(words) {}

  constexpr void insert(CapabilityBit bit) noexcept { word(bit) |= mask(bit); }
  constexpr void erase(CapabilityBit bit) noexcept { word(bit) &= ~mask(bit); }
  [[nodiscard]] constexpr bool contains(CapabilityBit bit) const noexcept {
    return (words_[index(bit)] & mask(bit)) != 0;
  }
  // Whether this agent may be given what requires `required`. No branch: four words.
  [[nodiscard]] constexpr bool contains_all(const CapabilitySet& required) const noexcept {
    std::uint64_t missing = 0;
    for (std::size_t i = 0; i < kWords; ++i) missing |= required.words_[i] & ~words_[i];
    return missing == 0;
  }
  [[nodiscard]] constexpr const Words& words() const noexcept { return words_; }
  friend constexpr bool operator==(const CapabilitySet&, const CapabilitySet&) = default;

 private:
  static constexpr std::size_t index(CapabilityBit bit) noexcept {
    return static_cast<std::size_t>(bit) / 64;
  }
  static constexpr std::uint64_t mask(CapabilityBit bit) noexcept {
    return std::uint64_t{1} << (static_cast<unsigned>(bit) % 64);
  }
  constexpr std::uint64_t& word(CapabilityBit bit) noexcept { return words_[index(bit)]; }

  Words words_{};
};

// Puts a name where none stands: the word with its length last.
template <class Memory>
void store_capability_name(const shm::Column<Memory, std::uint64_t>& names, CapabilityBit bit,
                           const NameBytes& name) noexcept {
  const std::size_t first = static_cast<std::size_t>(bit) * kNameWords;
  for (std::size_t i = kNameWords - 1; i > 0; --i) {
    names.word(first + i).store_relaxed(name.words[i]);  // relaxed: word 0 publishes it
  }
  MESH_POINT("capabilities.intern:before_length");
  // SYNC capability.name release: whoever sees the length sees the text.
  names.word(first).store_release(name.words[0]);
}

// The name of a bit as any process reads it: length 0 while the bit is not given. To decode().
template <class Memory>
std::array<std::uint64_t, kNameWords> capability_name_at(
    const shm::ColumnView<Memory, std::uint64_t>& names, CapabilityBit bit) noexcept {
  const std::size_t first = static_cast<std::size_t>(bit) * kNameWords;
  std::array<std::uint64_t, kNameWords> words{};
  words[0] = names.word(first).load_acquire();  // SYNC capability.name acquire
  if (NameBytes::length_of(words[0]) == 0) return {};
  for (std::size_t i = 1; i < kNameWords; ++i) {
    words[i] = names.word(first + i).load_relaxed();  // relaxed: word 0 was acquired, never changes
  }
  return words;
}

class CapabilityTable {
 public:
  using Names = shm::Column<HostMemory, std::uint64_t>;  // kCapabilities * kNameWords words

  // Goes on from what stands in the region: zeros when it is new.
  static Result<CapabilityTable> create(Names names, std::uint64_t hash_seed);

  // The name's bit: the one it has, or the next.
  Result<CapabilityBit> intern(std::string_view name);
  // Its bit, if it has one.
  [[nodiscard]] std::optional<CapabilityBit> find(std::string_view name) const noexcept;
  // Empty for a bit that is not given.
  [[nodiscard]] NameBytes name_of(CapabilityBit bit) const noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return index_.count(); }

 private:
  CapabilityTable(Names names, std::uint64_t hash_seed)
      : names_(names), index_(kCapabilities, hash_seed) {}

  Names names_;
  NameIndex index_;
};

}  // namespace mesh::engine
