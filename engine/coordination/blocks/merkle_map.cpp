#include "engine/coordination/blocks/merkle_map.hpp"

#define XXH_INLINE_ALL  // no library to link
#include <xxhash.h>

namespace mesh::coordination {
namespace {

__extension__ using Wide = unsigned __int128;

Wide wide(const IdHash& hash) noexcept { return (static_cast<Wide>(hash.high) << 64) | hash.low; }
IdHash narrow(Wide value) noexcept {
  return {static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(value >> 64)};
}
IdHash hash_of_words(const void* words, std::size_t size_bytes) noexcept {
  const XXH128_hash_t hash = XXH3_128bits(words, size_bytes);
  return {hash.low64, hash.high64};
}

}  // namespace

MerkleMap::MerkleMap(std::size_t capacity)
    : sums_(kBuckets),
      inner_(place(kDepth, 0)),
      is_old_(inner_.size(), 1),
      heads_(kBuckets, kNone),
      entries_(capacity) {}

void MerkleMap::change(std::uint32_t bucket) noexcept {
  std::uint32_t index = bucket;
  for (std::uint32_t level = kDepth; level-- != 0;) {
    index /= kFan;
    std::uint8_t& old = is_old_[place(level, index)];
    if (old != 0) return;  // and so is everything above it
    old = 1;
  }
}

void MerkleMap::set(std::uint32_t entry, const IdHash& key, std::uint64_t version) noexcept {
  Entry& one = entries_[entry];
  if (one.is_used && one.key != key) erase(entry);
  const std::uint32_t bucket = bucket_of(key);
  const std::array<std::uint64_t, 3> words{key.low, key.high, version};
  const IdHash digest = hash_of_words(words.data(), sizeof(words));
  if (!one.is_used) {
    one = {key, {}, heads_[bucket], kNone, true};
    if (one.next != kNone) entries_[one.next].previous = entry;
    heads_[bucket] = entry;
    ++count_;
  }
  sums_[bucket] = narrow(wide(sums_[bucket]) - wide(one.digest) + wide(digest));
  one.digest = digest;
  change(bucket);
}

void MerkleMap::erase(std::uint32_t entry) noexcept {
  Entry& one = entries_[entry];
  if (!one.is_used) return;
  const std::uint32_t bucket = bucket_of(one.key);
  sums_[bucket] = narrow(wide(sums_[bucket]) - wide(one.digest));
  (one.previous == kNone ? heads_[bucket] : entries_[one.previous].next) = one.next;
  if (one.next != kNone) entries_[one.next].previous = one.previous;
  one = {};
  --count_;
  change(bucket);
}

MerkleMap::Children MerkleMap::children(std::uint32_t level, std::uint32_t index) noexcept {
  Children all;
  for (std::uint32_t i = 0; i < kFan; ++i) {
    const std::uint32_t child = kFan * index + i;
    all[i] = level + 1 == kDepth ? sums_[child] : digest(level + 1, child);
  }
  return all;
}

// Recursion ends at kDepth.
IdHash MerkleMap::digest(std::uint32_t level, std::uint32_t index) noexcept {
  const std::size_t at = place(level, index);
  if (is_old_[at] != 0) {
    const Children all = children(level, index);
    static_assert(sizeof(all) == kFan * 16);
    inner_[at] = hash_of_words(all.data(), sizeof(all));
    is_old_[at] = 0;
  }
  return inner_[at];
}

bool MerkleMap::is_consistent() const noexcept {
  std::size_t found = 0;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    Wide sum = 0;
    for_bucket(bucket, [&](std::uint32_t entry) {
      sum += wide(entries_[entry].digest);
      ++found;
    });
    if (narrow(sum) != sums_[bucket]) return false;
  }
  return found == count_;
}

}  // namespace mesh::coordination
