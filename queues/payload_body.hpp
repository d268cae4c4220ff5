// PayloadBody, PayloadStores, PayloadReservation, PayloadShape: one entry of a payload log, whose
// contract stands in queues/payload_log.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "queues/payload_log_layout.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/word.hpp"

namespace mesh::queues {

enum class AppendStatus : std::uint8_t {
  kOk,
  kFull,     // it would overwrite the tail: free `bytes_short` bytes, or refuse the sender
  kTooLong,  // longer than body_bytes_max(): no freeing helps
};

// What an entry's first word says; only numbers within the region come out.
struct PayloadShape {
  std::uint32_t length = 0;
  std::uint32_t kind = 0;
  bool fits = false;  // within the longest entry and the region's end
};
constexpr PayloadShape decode_payload(std::uint64_t word, std::uint64_t position,
                                      std::uint64_t capacity) noexcept {
  PayloadShape shape{static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32),
                     false};
  const std::uint64_t to_end = capacity - (position & (capacity - 1));
  const std::uint64_t size = payload_entry_bytes(shape.length);
  shape.fits =
      size <= to_end && (shape.kind == kPayloadSkipKind ? size == to_end : size <= capacity / 2);
  return shape;
}

// A body in place.
template <class Memory>
struct PayloadBody {
  using Word = typename Memory::template Word<std::uint64_t>;

  std::uint64_t position = 0;  // of its entry; the bytes start 16 further on
  std::uint32_t length = 0;
  std::uint32_t kind = 0;
  const Word* words = nullptr;

  // Plain bytes: only while nobody may free the entry (the caller is the writer, or the cursor that
  // frees it is the caller's own and has not passed it).
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    static_assert(sizeof(Word) == sizeof(std::uint64_t));
    return {reinterpret_cast<const std::byte*>(words), length};
  }
};

// Given to whoever builds a body: the only way to store is the one that readers rely on.
template <class Memory>
class PayloadStores {
 public:
  using Word = typename Memory::template Word<std::uint64_t>;
  static constexpr bool kNoThrow = Memory::kNoThrow;

  PayloadStores() = default;
  explicit PayloadStores(std::span<Word> words) noexcept : words_(words) {}

  // The body's words; the last may be padding, which readers do not see.
  [[nodiscard]] std::size_t size() const noexcept { return words_.size(); }
  void store(std::size_t index, std::uint64_t value) const noexcept(kNoThrow) {
    MESH_DCHECK(index < words_.size());
    // SYNC payload.word release: whoever reads this word sees that the tail has passed what stood
    // here.
    words_[index].store_release(value);
  }
  // Appends bytes to those put before. Bytes beyond the reserved length are our own mistake.
  void put(std::span<const std::byte> bytes) noexcept(kNoThrow) {
    MESH_ASSERT(bytes.size() <= words_.size() * sizeof(std::uint64_t) - at_);
    if (bytes.empty()) return;  // its data() may be null
    if (const std::size_t filled = at_ % sizeof open_; filled != 0) {
      const std::size_t taken = std::min(sizeof open_ - filled, bytes.size());
      put_in_open_word(bytes.first(taken));
      bytes = bytes.subspan(taken);
    }
    for (; bytes.size() >= sizeof open_; bytes = bytes.subspan(sizeof open_)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), sizeof word);
      store(at_ / sizeof word, word);
      at_ += sizeof word;
    }
    if (!bytes.empty()) put_in_open_word(bytes);
  }

 private:
  void put_in_open_word(std::span<const std::byte> bytes) noexcept(kNoThrow) {
    if (at_ % sizeof open_ == 0) open_ = 0;
    std::memcpy(reinterpret_cast<std::byte*>(&open_) + at_ % sizeof open_, bytes.data(),
                bytes.size());
    store(at_ / sizeof open_, open_);
    at_ += bytes.size();
  }

  std::span<Word> words_;
  std::size_t at_ = 0;      // bytes put
  std::uint64_t open_ = 0;  // the word that holds byte at_, when at_ is inside a word
};

// Room for a body, or why there is none.
template <class Memory>
struct PayloadReservation {
  AppendStatus status = AppendStatus::kFull;
  std::uint64_t position = 0;     // what commit() will return
  std::uint64_t bytes_short = 0;  // if kFull: the tail must move on at least so far
  PayloadStores<Memory> body;
};

}  // namespace mesh::queues
