// MerkleMap: which keys a replica has and in which version, as a tree of digests, so that two
// replicas find what differs by a few digests and not by all their keys.
//
//   root -> 16 -> 256 -> 4,096 -> 65,536 buckets
//   bucket = sum of XXH3-128(key, version) mod 2^128     inner = XXH3-128 of its 16 children
//
// Callers     one thread.  Progress  wait-free.
// Cost        set, erase: one hash and two loads; no rebuild, for a sum can be taken from. root,
//             children: the inner digests on the way to what changed since. 1.2 MiB, and 56 bytes
//             an entry; no allocation after construction.
// Units       an entry is the caller's number below the capacity. Level 0 is the root.
// Guarantees  equal maps have equal roots, however they came about; unequal ones have unequal
//             roots but with a chance of 2^-128 times the entries.
// If the      other replica lies: it can have its own keys asked for, nothing more.
// Source      Merkle 1987; DeCandia et al. 2007 (Dynamo); the sum in place of a hash of a list
//             after Bellare & Micciancio 1997. Not against an adversary who picks versions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {

class MerkleMap {
 public:
  static constexpr std::uint32_t kFan = 16;
  static constexpr std::uint32_t kDepth = 4;
  static constexpr std::uint32_t kBuckets = 65'536;
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  using Children = std::array<IdHash, kFan>;

  explicit MerkleMap(std::size_t capacity);

  // A new entry, or a new version of one that is there under the same key.
  void set(std::uint32_t entry, const IdHash& key, std::uint64_t version) noexcept;
  void erase(std::uint32_t entry) noexcept;

  [[nodiscard]] IdHash root() noexcept { return digest(0, 0); }
  // Of node `index` of `level`, which is below kDepth; those of level 3 are buckets.
  [[nodiscard]] Children children(std::uint32_t level, std::uint32_t index) noexcept;
  [[nodiscard]] static constexpr std::uint32_t nodes_of(std::uint32_t level) noexcept {
    return std::uint32_t{1} << (4 * level);
  }
  [[nodiscard]] static constexpr std::uint32_t bucket_of(const IdHash& key) noexcept {
    return static_cast<std::uint32_t>(key.high >> 48);
  }
  // Calls visit(entry) for each of the bucket, in no order to go by.
  template <class Visit>
  void for_bucket(std::uint32_t bucket, Visit&& visit) const {
    for (std::uint32_t at = heads_[bucket]; at != kNone; at = entries_[at].next) visit(at);
  }
  // What set() is about to touch: of the key, and, once it is known, of the entry.
  void prefetch(const IdHash& key) const noexcept {
    const std::uint32_t bucket = bucket_of(key);
    __builtin_prefetch(&sums_[bucket]);
    __builtin_prefetch(&heads_[bucket]);
    __builtin_prefetch(&is_old_[place(kDepth - 1, bucket / kFan)]);
  }
  void prefetch_entry(std::uint32_t entry) const noexcept { __builtin_prefetch(&entries_[entry]); }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  // O(n): each bucket is the sum of its entries.
  [[nodiscard]] bool is_consistent() const noexcept;

 private:
  struct Entry {
    IdHash key;
    IdHash digest;
    std::uint32_t next = kNone;
    std::uint32_t previous = kNone;
    bool is_used = false;
  };
  // Inner nodes of all levels, one level after another.
  [[nodiscard]] static constexpr std::size_t place(std::uint32_t level,
                                                   std::uint32_t index) noexcept {
    return (nodes_of(level) - 1) / (kFan - 1) + index;
  }
  [[nodiscard]] IdHash digest(std::uint32_t level, std::uint32_t index) noexcept;
  void change(std::uint32_t bucket) noexcept;

  std::vector<IdHash> sums_;  // by bucket
  std::vector<IdHash> inner_;
  std::vector<std::uint8_t> is_old_;  // by inner node: something below has changed
  std::vector<std::uint32_t> heads_;  // by bucket
  std::vector<Entry> entries_;
  std::size_t count_ = 0;
};

}  // namespace mesh::coordination
