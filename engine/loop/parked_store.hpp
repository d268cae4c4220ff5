// ParkedStore: bodies that their log had to give up, in chains of blocks in `engine` memory.
//
// A body is written whole, then named by its first block in something that governs: an unanswered
// message or an operation. Which blocks are in use follows from those names alone, so a death
// between the writing and the naming leaves free blocks and nothing else.
//
//     next[b]: the block after b in its chain; kEnd after the last
//
// Callers     the scheduler thread; a successor adopts every name it finds, then seals.
// Progress    bounded by the body's blocks. No allocation after over().
// Ordering    blocks and links are stored before the name that the caller stores with release.
// Cost        a copy of the body each way; a link for each KiB.
// Units       blocks of kParkedBlockBytes; bodies in bytes, their header included.
// If the      writer dies anywhere: what is not named is free again; what is named is whole.
// other side
// dies
// Errors      over -> invalid_argument, truncated. put -> kNone: full; nothing was kept.
//             adopt -> corrupt: a chain that leaves the store, meets another, or is too short.
// Layout      regions parked.index (a u32 a block) and parked.bodies.
// Invariant   blocks in use + free == blocks
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kParkedBlockBytes = 1'024;

template <class Memory = HostMemory>
class ParkedStore {
 public:
  using Next = typename Memory::template Word<std::uint32_t>;
  using Parts = std::span<const std::span<const std::byte>>;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  ParkedStore() = default;
  // All blocks are taken to be free: adopt() what is named, then seal().
  static Result<ParkedStore> over(std::span<Next> next, std::span<std::byte> bytes) {
    if (next.empty() || next.size() >= kEnd) {
      return fail(Errc::invalid_argument,
                  "parked store: " + std::to_string(next.size()) + " blocks, it has at least one");
    }
    if (bytes.size() / kParkedBlockBytes < next.size()) {
      return fail(Errc::truncated,
                  "parked store: " + std::to_string(next.size()) + " blocks need " +
                      std::to_string(next.size() * kParkedBlockBytes) + " bytes, there are " +
                      std::to_string(bytes.size()),
                  static_cast<std::int64_t>(bytes.size()));
    }
    ParkedStore store;
    store.next_ = next;
    store.bytes_ = bytes;
    store.in_use_.assign(next.size(), false);
    store.free_.reserve(next.size());
    store.seal();
    return store;
  }

  // After a restart: this name stands for a body of so many bytes.
  [[nodiscard]] Status adopt(std::uint32_t first, std::size_t size_bytes) {
    std::uint32_t block = first;
    for (std::size_t left = blocks_of(size_bytes); left != 0; --left) {
      if (block >= next_.size() || in_use_[block]) {
        return fail(Errc::corrupt, "parked store: the chain from block " + std::to_string(first) +
                                       " comes to block " + std::to_string(block) + " of " +
                                       std::to_string(next_.size()) + ", outside or another's");
      }
      in_use_[block] = true;
      block = next_[block].load_relaxed();  // relaxed: its writer is dead, or this thread
    }
    if (block == kEnd) return {};
    return fail(Errc::corrupt, "parked store: the chain from block " + std::to_string(first) +
                                   " is longer than its body of " + std::to_string(size_bytes) +
                                   " bytes");
  }
  // What was not adopted is free, lowest block first.
  void seal() {
    free_.clear();
    for (std::size_t block = in_use_.size(); block-- > 0;) {
      if (!in_use_[block]) free_.push_back(static_cast<std::uint32_t>(block));
    }
  }

  // The parts one after the other as one body: its first block, or kNone.
  [[nodiscard]] std::uint32_t put(Parts parts) noexcept {
    std::size_t size_bytes = 0;
    for (const auto part : parts) size_bytes += part.size();
    const std::size_t count = blocks_of(size_bytes);
    if (count > free_.size()) return kNone;
    // Taken from the end of the list, so that the chain is free_.back(), the one before it, ...
    const std::size_t last = free_.size() - count;
    Cursor cursor{*this, free_.size() - 1};
    for (const auto part : parts) cursor.write(part);
    for (std::size_t at = free_.size() - 1;; --at) {
      // relaxed: the name that the caller stores publishes it.
      next_[free_[at]].store_relaxed(at == last ? kEnd : free_[at - 1]);
      in_use_[free_[at]] = true;
      if (at == last) break;
    }
    const std::uint32_t first = free_.back();
    free_.resize(last);
    return first;
  }
  [[nodiscard]] std::uint32_t put(std::span<const std::byte> body) noexcept {
    return put(Parts(&body, 1));
  }
  // Copies bytes [from, from + out.size()) of a body out; they are within it.
  void copy(std::uint32_t first, std::size_t from, std::span<std::byte> out) const noexcept {
    std::uint32_t block = first;
    // relaxed: this thread's own stores, or those of a dead predecessor.
    for (; from >= kParkedBlockBytes; from -= kParkedBlockBytes)
      block = next_[block].load_relaxed();  // relaxed: as above
    while (!out.empty()) {
      const std::size_t bytes = std::min<std::size_t>(out.size(), kParkedBlockBytes - from);
      std::memcpy(out.data(), block_at(block) + from, bytes);
      out = out.subspan(bytes);
      from = 0;
      if (!out.empty()) block = next_[block].load_relaxed();  // relaxed: as above
    }
  }
  // Calls fn(span) for the parts of a body, in order.
  template <class Fn>
  void for_each_part(std::uint32_t first, std::size_t size_bytes, Fn&& fn) const {
    for (std::uint32_t block = first; size_bytes != 0;) {
      const std::size_t bytes = std::min<std::size_t>(size_bytes, kParkedBlockBytes);
      fn(std::span<const std::byte>(block_at(block), bytes));
      size_bytes -= bytes;
      block = next_[block].load_relaxed();  // relaxed: this thread's own store, or a dead one's
    }
  }
  // The name must be gone from where it governed.
  void release(std::uint32_t first, std::size_t size_bytes) noexcept {
    std::uint32_t block = first;
    for (std::size_t left = blocks_of(size_bytes); left != 0; --left) {
      MESH_ASSERT(block < next_.size());
      MESH_ASSERT(in_use_[block]);
      in_use_[block] = false;
      free_.push_back(block);
      block = next_[block].load_relaxed();  // relaxed: this thread's own store
    }
  }

  [[nodiscard]] std::size_t blocks() const noexcept { return next_.size(); }
  [[nodiscard]] std::size_t free_blocks() const noexcept { return free_.size(); }
  // A body without a byte still has a name.
  [[nodiscard]] static constexpr std::size_t blocks_of(std::size_t size_bytes) noexcept {
    return std::max<std::size_t>((size_bytes + kParkedBlockBytes - 1) / kParkedBlockBytes, 1);
  }

 private:
  static constexpr std::uint32_t kEnd = kNone - 1;

  struct Cursor {
    ParkedStore& store;
    std::size_t at;  // in free_
    std::size_t used = 0;
    void write(std::span<const std::byte> part) noexcept {
      while (!part.empty()) {
        if (used == kParkedBlockBytes) used = 0, --at;
        const std::size_t bytes = std::min<std::size_t>(part.size(), kParkedBlockBytes - used);
        std::memcpy(store.block_at(store.free_[at]) + used, part.data(), bytes);
        part = part.subspan(bytes);
        used += bytes;
      }
    }
  };
  [[nodiscard]] std::byte* block_at(std::uint32_t block) const noexcept {
    return bytes_.data() + std::size_t{block} * kParkedBlockBytes;
  }

  std::span<Next> next_;
  std::span<std::byte> bytes_;
  std::vector<bool> in_use_;
  std::vector<std::uint32_t> free_;  // its capacity is all blocks
};

}  // namespace mesh::engine
