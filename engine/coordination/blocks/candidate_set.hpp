// CandidateSet: a set of rows as a bitmap that can be counted, drawn from by rank, and ANDed.
//
// Callers     one thread.  Progress  wait-free.
// Cost        set: O(log words). select: O(log words) + one word, about 15 ns at 30,000 rows.
//             CandidateMask, the result of filters: built in one pass, select walks its words.
// Units       rows, 0-based; the order is that of the rows, whatever came first.
// Source      a tree of partial counts over the words: Fenwick 1994.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {

inline constexpr std::uint32_t kNoRow = 0xFFFF'FFFF;

// Set bits of each byte, in the byte. By hand: without -mpopcnt std::popcount is a call, and this
// the compiler turns into vectors.
[[nodiscard]] constexpr std::uint64_t bits_of_bytes(std::uint64_t word) noexcept {
  word -= (word >> 1) & 0x5555'5555'5555'5555U;
  word = (word & 0x3333'3333'3333'3333U) + ((word >> 2) & 0x3333'3333'3333'3333U);
  return (word + (word >> 4)) & 0x0F0F'0F0F'0F0F'0F0FU;
}
[[nodiscard]] constexpr std::uint32_t bits_of(std::uint64_t word) noexcept {
  word = bits_of_bytes(word);
  word += word >> 8;
  word += word >> 16;
  word += word >> 32;
  return static_cast<std::uint32_t>(word & 0x7FU);
}
// The place of the bit that has `rank` set bits below it; rank < bits_of(word).
[[nodiscard]] constexpr unsigned select_in_word(std::uint64_t word, unsigned rank) noexcept {
  const std::uint64_t up_to = bits_of_bytes(word) * 0x0101'0101'0101'0101U;  // of bytes 0..i
  unsigned byte = 0;
  while (((up_to >> (8 * byte)) & 0xFFU) <= rank) ++byte;
  rank -= byte == 0 ? 0 : static_cast<unsigned>((up_to >> (8 * byte - 8)) & 0xFFU);
  word >>= 8 * byte;
  for (; rank != 0; --rank) word &= word - 1;
  return 8 * byte + static_cast<unsigned>(std::countr_zero(word));
}

template <class Visit>
void for_each_bit(std::span<const std::uint64_t> words, Visit&& visit) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (std::uint64_t left = words[i]; left != 0; left &= left - 1) {
      visit(static_cast<std::uint32_t>(i * 64) +
            static_cast<std::uint32_t>(std::countr_zero(left)));
    }
  }
}

class CandidateSet {
 public:
  explicit CandidateSet(std::size_t rows)
      : words_((rows + 63) / 64), tree_(words_.size() + 1), step_(std::bit_floor(tree_.size())) {}

  void set(std::uint32_t row, bool member) noexcept {
    if (test(row) == member) return;
    words_[row / 64] ^= std::uint64_t{1} << (row % 64);
    const std::uint32_t change = member ? 1U : ~0U;  // modulo 2^32
    count_ += change;
    for (std::size_t at = row / 64 + 1; at < tree_.size(); at += at & (~at + 1))
      tree_[at] += change;
  }
  [[nodiscard]] bool test(std::uint32_t row) const noexcept {
    return row / 64 < words_.size() && (words_[row / 64] >> (row % 64) & 1U) != 0;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  // The row that has `rank` members below it; rank < count().
  [[nodiscard]] std::uint32_t select(std::uint32_t rank) const noexcept {
    std::size_t at = 0;
    for (std::size_t step = step_; step != 0; step /= 2) {
      if (at + step >= tree_.size() || tree_[at + step] > rank) continue;
      at += step;
      rank -= tree_[at];
    }
    return static_cast<std::uint32_t>(at * 64) + select_in_word(words_[at], rank);
  }
  // Any member, each as likely; count() > 0. Where many rows are members a row is drawn until one
  // is: that is a load each, and select() is twenty.
  [[nodiscard]] std::uint32_t draw(Rng& rng) const noexcept {
    const std::uint64_t rows = words_.size() * 64;
    if (std::uint64_t{count_} * kDenseShare >= rows) {
      for (int i = 0; i < kDraws; ++i) {
        const auto row = static_cast<std::uint32_t>(rng.below(rows));
        if (test(row)) return row;
      }
    }
    return select(static_cast<std::uint32_t>(rng.below(count_)));
  }
  [[nodiscard]] std::span<const std::uint64_t> words() const noexcept { return words_; }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for_each_bit(words_, visit);
  }

 private:
  static constexpr std::uint64_t kDenseShare = 4;  // of the rows
  static constexpr int kDraws = 16;

  std::vector<std::uint64_t> words_;
  std::vector<std::uint32_t> tree_;  // tree_[i]: members in the (i & -i) words up to word i - 1
  std::size_t step_;
  std::uint32_t count_ = 0;
};

class CandidateMask {
 public:
  explicit CandidateMask(std::size_t rows)
      : rows_(rows), words_((rows + 63) / 64), counts_((words_.size() + kBlock - 1) / kBlock) {}

  // Filters are applied with keep(), which counts nothing, and then count_again().
  void fill() noexcept {
    std::fill(words_.begin(), words_.end(), ~std::uint64_t{0});
    if (rows_ % 64 != 0) words_.back() = (std::uint64_t{1} << (rows_ % 64)) - 1;
  }
  void keep(std::span<const std::uint64_t> words) noexcept {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= words[i];
  }
  template <class Keeps>
  void keep_if(Keeps&& keeps) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (std::uint64_t left = words_[i]; left != 0; left &= left - 1) {
        const auto bit = static_cast<unsigned>(std::countr_zero(left));
        if (!keeps(static_cast<std::uint32_t>(i * 64 + bit))) words_[i] ^= std::uint64_t{1} << bit;
      }
    }
  }
  void count_again() noexcept {
    count_ = 0;
    for (std::size_t block = 0; block < counts_.size(); ++block) {
      std::uint32_t sum = 0;
      const std::size_t end = std::min(words_.size(), (block + 1) * kBlock);
      for (std::size_t i = block * kBlock; i < end; ++i) sum += bits_of(words_[i]);
      counts_[block] = sum;
      count_ += sum;
    }
  }
  void erase(std::uint32_t row) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    if (row / 64 >= words_.size() || (words_[row / 64] & bit) == 0) return;
    words_[row / 64] &= ~bit;
    --counts_[row / 64 / kBlock];
    --count_;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint32_t select(std::uint32_t rank) const noexcept {
    std::size_t at = 0;
    for (; rank >= counts_[at]; ++at) rank -= counts_[at];
    at *= kBlock;
    for (std::uint32_t here = bits_of(words_[at]); rank >= here; here = bits_of(words_[at])) {
      rank -= here;
      ++at;
    }
    return static_cast<std::uint32_t>(at * 64) + select_in_word(words_[at], rank);
  }
  [[nodiscard]] std::uint32_t draw(Rng& rng) const noexcept {
    return select(static_cast<std::uint32_t>(rng.below(count_)));
  }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for_each_bit(words_, visit);
  }

 private:
  static constexpr std::size_t kBlock = 8;  // words: a cache line

  std::size_t rows_;
  std::vector<std::uint64_t> words_;
  std::vector<std::uint32_t> counts_;  // by block
  std::uint32_t count_ = 0;
};

}  // namespace mesh::coordination
