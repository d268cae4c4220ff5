// RowBitmap: one bit a row, in words of a memory policy, so that it can live in shared memory and
// outlive its writer.
//
// Setting a bit twice is setting it once, and how many are set is counted, not kept: so a burst
// that is read again after a restart changes nothing that the first reading had changed.
//
// Invariants  bits at and beyond rows() are 0, so counts need no mask (verified by has_tail()).
// Callers     one thread writes; a successor reads after its death. The map is a view: whoever made
//             it owns the words.
// Progress    wait-free. set, test: one word. The rest: one pass over the words.
// Ordering    every change is stored with release: what its writer stored before is there for who
//             sees the word through test_acquire (tag rows.set).
// Cost        set: 1 load and at most 1 store. count: a load and a popcnt for 64 rows.
// If the      writer dies anywhere: every word is valid; a bit is set or not. A clear_all() that
// other side  died half-way has cleared the words before some point: the owner clears again before
// dies        it says that the map is in use.
// Errors      over() -> invalid_argument, truncated, misaligned.
// Layout      row r is bit r % 64 of word r / 64; words padded to whole cache lines, padding 0.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"

namespace mesh::sched {

inline constexpr std::uint32_t kRowsPerWord = 64;
inline constexpr std::uint32_t kWordsPerLine = kCacheLine / sizeof(std::uint64_t);

constexpr std::size_t row_bitmap_words(std::uint32_t rows) noexcept {
  const std::size_t words = (std::size_t{rows} + kRowsPerWord - 1) / kRowsPerWord;
  return (words + kWordsPerLine - 1) / kWordsPerLine * kWordsPerLine;
}
constexpr std::size_t row_bitmap_bytes(std::uint32_t rows) noexcept {
  return row_bitmap_words(rows) * sizeof(std::uint64_t);
}

template <class Memory = HostMemory>
class RowBitmap {
 public:
  using Word = typename Memory::template Word<std::uint64_t>;

  RowBitmap() = default;

  // The edge where bytes become a bitmap; they keep what they hold. They may be more than needed.
  static Result<RowBitmap> over(std::span<std::byte> bytes, std::uint32_t rows) {
    if (rows > kMaxAgents) {
      return fail(Errc::invalid_argument,
                  "row bitmap: " + std::to_string(rows) + " rows asked for, the limit is " +
                      std::to_string(kMaxAgents),
                  kMaxAgents);
    }
    if (bytes.size() < row_bitmap_bytes(rows)) {
      return fail(Errc::truncated,
                  "row bitmap: " + std::to_string(rows) + " rows need " +
                      std::to_string(row_bitmap_bytes(rows)) + " bytes, there are " +
                      std::to_string(bytes.size()),
                  static_cast<std::int64_t>(bytes.size()));
    }
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kCacheLine != 0) {
      return fail(Errc::misaligned, "row bitmap: its first byte is not on a cache line of " +
                                        std::to_string(kCacheLine) + " bytes");
    }
    return RowBitmap(reinterpret_cast<Word*>(bytes.data()), rows);
  }

  [[nodiscard]] std::uint32_t rows() const noexcept { return rows_; }
  static constexpr std::uint64_t mask_of(std::uint32_t row) noexcept {
    return std::uint64_t{1} << (row % kRowsPerWord);
  }

  // A row number that came from a peer is checked before.
  [[nodiscard]] bool test(std::uint32_t row) const noexcept {
    MESH_DCHECK(row < rows_);
    return (load(row / kRowsPerWord) & mask_of(row)) != 0;
  }
  // For who takes over from a dead writer.
  [[nodiscard]] bool test_acquire(std::uint32_t row) const noexcept {
    MESH_DCHECK(row < rows_);
    // SYNC rows.set acquire: pairs with set() of the writer that died.
    return (words_[row / kRowsPerWord].load_acquire() & mask_of(row)) != 0;
  }
  // True if it was not set before; a second set stores nothing.
  bool set(std::uint32_t row) noexcept {
    MESH_DCHECK(row < rows_);
    Word& word = words_[row / kRowsPerWord];
    const std::uint64_t old = word.load_relaxed();  // relaxed: this thread is the only writer
    if ((old & mask_of(row)) != 0) return false;
    // SYNC rows.set release: what the writer stored for this row stands before its bit does.
    word.store_release(old | mask_of(row));
    return true;
  }
  // For who goes over many rows and keeps the word at hand: 64 rows at once. `bits` keeps what was
  // set.
  [[nodiscard]] std::uint64_t word_of(std::uint32_t row) const noexcept {
    MESH_DCHECK(row < rows_);
    return load(row / kRowsPerWord);
  }
  void store_word_of(std::uint32_t row, std::uint64_t bits) noexcept {
    MESH_DCHECK(row < rows_);
    // SYNC rows.set release: as in set()
    words_[row / kRowsPerWord].store_release(bits);
  }
  // Exactly these rows; words beyond them are cleared.
  void assign(std::span<const std::uint64_t> rows) noexcept {
    for (std::size_t i = 0; i < words(); ++i) {
      // SYNC rows.set release: as in set()
      words_[i].store_release(i < rows.size() ? rows[i] : 0);
    }
  }
  void clear_all() noexcept {
    for (std::size_t i = 0; i < words(); ++i) {
      words_[i].store_release(0);  // SYNC rows.set release: its owner said before that it is free
    }
  }
  // This and not other: takes away every row that `other` has. Both over the same rows.
  void subtract(const RowBitmap& other) noexcept {
    MESH_DCHECK(other.rows_ == rows_);
    for (std::size_t i = 0; i < words(); ++i) {
      words_[i].store_release(load(i) & ~other.load(i));  // SYNC rows.set release: as in set()
    }
  }

  [[nodiscard]] std::uint32_t count() const noexcept {
    int set = 0;
    for (std::size_t i = 0; i < words(); ++i) set += std::popcount(load(i));
    return static_cast<std::uint32_t>(set);
  }
  // Calls visit(row) in ascending order. `visit` may set and clear bits: of the word it is in, what
  // stood when that word was reached is visited.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < words(); ++i) visit_word(i, load(i), visit);
  }
  // The rows that this map has and none of `others`: scheduled.for_each_without(v, ready, conflict)
  // visits the stragglers.
  template <class Visit, class... Others>
  void for_each_without(Visit&& visit, const Others&... others) const {
    for (std::size_t i = 0; i < words(); ++i) {
      visit_word(i, load(i) & ~(others.load(i) | ... | std::uint64_t{0}), visit);
    }
  }
  template <class... Others>
  [[nodiscard]] std::uint32_t count_without(const Others&... others) const noexcept {
    int set = 0;
    for (std::size_t i = 0; i < words(); ++i) {
      set += std::popcount(load(i) & ~(others.load(i) | ... | std::uint64_t{0}));
    }
    return static_cast<std::uint32_t>(set);
  }
  [[nodiscard]] bool is_disjoint_from(const RowBitmap& other) const noexcept {
    for (std::size_t i = 0; i < words(); ++i) {
      if ((load(i) & other.load(i)) != 0) return false;
    }
    return true;
  }
  // A bit stands where no row is: never of our own doing, so these bytes are not ours.
  [[nodiscard]] bool has_tail() const noexcept {
    for (std::size_t i = rows_ / kRowsPerWord; i < words(); ++i) {
      const std::uint64_t first = std::uint64_t{i} * kRowsPerWord;
      const std::uint64_t below = first >= rows_ ? 0 : mask_of(rows_) - 1;
      if ((load(i) & ~below) != 0) return true;
    }
    return false;
  }

 private:
  RowBitmap(Word* words, std::uint32_t rows) noexcept : words_(words), rows_(rows) {}

  [[nodiscard]] std::size_t words() const noexcept { return row_bitmap_words(rows_); }
  [[nodiscard]] std::uint64_t load(std::size_t word) const noexcept {
    return words_[word].load_relaxed();  // relaxed: asked by the only writer
  }
  template <class Visit>
  static void visit_word(std::size_t word, std::uint64_t bits, Visit& visit) {
    for (; bits != 0; bits &= bits - 1) {
      visit(static_cast<std::uint32_t>(word * kRowsPerWord) +
            static_cast<std::uint32_t>(std::countr_zero(bits)));
    }
  }

  Word* words_ = nullptr;
  std::uint32_t rows_ = 0;
};

}  // namespace mesh::sched
