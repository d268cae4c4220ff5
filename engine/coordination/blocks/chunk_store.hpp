// ChunkStore: byte strings of any length in chunks that were allocated once.
//
// Callers     one thread.  Progress  wait-free.  Cost  one copy; a chunk for each 240 bytes.
// Invariants  chunks in use + free == chunks.
// Errors      put() gives nothing where the free chunks do not suffice; nothing is written then.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace mesh::coordination {

class ChunkStore {
 public:
  static constexpr std::size_t kChunkBytes = 240;
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  struct Bytes {
    std::uint32_t first = kNone;
    std::uint32_t size_bytes = 0;
  };

  explicit ChunkStore(std::size_t bytes) : chunks_((bytes + kChunkBytes - 1) / kChunkBytes) {
    for (std::size_t i = 0; i < chunks_.size(); ++i) {
      chunks_[i].next = i + 1 < chunks_.size() ? static_cast<std::uint32_t>(i + 1) : kNone;
    }
    free_ = chunks_.empty() ? kNone : 0;
    free_count_ = chunks_.size();
  }

  [[nodiscard]] bool fits(std::size_t size_bytes) const noexcept {
    return chunks_for(size_bytes) <= free_count_;
  }
  // fits() must have said so.
  [[nodiscard]] Bytes put(std::span<const std::byte> bytes) noexcept {
    Bytes stored{kNone, static_cast<std::uint32_t>(bytes.size())};
    std::uint32_t* link = &stored.first;
    while (!bytes.empty() && free_ != kNone) {
      const std::uint32_t index = free_;
      Chunk& chunk = chunks_[index];
      free_ = chunk.next;
      --free_count_;
      const std::size_t size = std::min(bytes.size(), kChunkBytes);
      std::memcpy(chunk.bytes.data(), bytes.data(), size);
      bytes = bytes.subspan(size);
      chunk.next = kNone;
      *link = index;
      link = &chunk.next;
    }
    return stored;
  }
  // The first chunk that put() will take, and that of what is stored.
  void prefetch_free() const noexcept {
    if (free_ != kNone) prefetch(free_, kChunkBytes);
  }
  void prefetch(const Bytes& stored) const noexcept {
    if (stored.first != kNone) prefetch(stored.first, stored.size_bytes);
  }
  void free(Bytes& stored) noexcept {
    for (std::uint32_t index = stored.first; index != kNone;) {
      const std::uint32_t next = chunks_[index].next;
      chunks_[index].next = free_;
      free_ = index;
      ++free_count_;
      index = next;
    }
    stored = {};
  }
  // A copy: allocates.
  [[nodiscard]] std::vector<std::byte> get(const Bytes& stored) const {
    std::vector<std::byte> bytes(stored.size_bytes);
    std::size_t done = 0;
    for (std::uint32_t index = stored.first; index != kNone; index = chunks_[index].next) {
      const std::size_t size = std::min(bytes.size() - done, kChunkBytes);
      std::memcpy(bytes.data() + done, chunks_[index].bytes.data(), size);
      done += size;
    }
    return bytes;
  }
  // The first bytes of it, as many as `into` takes and it has; how many that were.
  std::size_t copy_head(const Bytes& stored, std::span<std::byte> into) const noexcept {
    const std::size_t wanted = std::min<std::size_t>(into.size(), stored.size_bytes);
    std::size_t done = 0;
    for (std::uint32_t index = stored.first; done < wanted; index = chunks_[index].next) {
      const std::size_t size = std::min(wanted - done, kChunkBytes);
      std::memcpy(into.data() + done, chunks_[index].bytes.data(), size);
      done += size;
    }
    return done;
  }
  [[nodiscard]] std::size_t free_count() const noexcept { return free_count_; }
  [[nodiscard]] std::size_t chunk_count() const noexcept { return chunks_.size(); }
  [[nodiscard]] static constexpr std::size_t chunks_for(std::size_t size_bytes) noexcept {
    return (size_bytes + kChunkBytes - 1) / kChunkBytes;
  }

 private:
  struct Chunk {
    std::uint32_t next = kNone;
    std::array<std::byte, kChunkBytes> bytes;
  };
  void prefetch(std::uint32_t chunk, std::size_t size_bytes) const noexcept {
    const auto* const bytes = reinterpret_cast<const std::byte*>(&chunks_[chunk]);
    const std::size_t end = std::min(sizeof(Chunk), sizeof(Chunk::next) + size_bytes);
    for (std::size_t at = 0; at < end; at += 64) __builtin_prefetch(bytes + at);
  }

  std::vector<Chunk> chunks_;
  std::uint32_t free_ = kNone;
  std::size_t free_count_ = 0;
};

}  // namespace mesh::coordination
