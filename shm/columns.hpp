// Column, ColumnView: one attribute of every row, side by side (structure of arrays).
//
// Callers     Column: the one thread that writes the region. ColumnView: any thread of any process.
// Progress    wait-free: one load or one store.
// Ordering    in the method's name. A value alone is never torn; values of several columns that
//             belong together are read through RowSeqlock (shm/row_seqlock.hpp).
// Cost        one load or store; values() costs nothing and feeds vector passes.
// Units       rows; a column takes column_bytes() bytes: its rows, padded to whole cache lines.
// Layout      starts on a cache line and ends on one, so that a vector pass may run on to
//             padded_rows() and no two columns share a line. Floats and enums stand as the integer
//             of their size, so that two binaries share bits and not an opinion.
// Errors      over() -> truncated, misaligned: there bytes become columns, and nowhere else.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"

namespace mesh::shm {

namespace columns_detail {
template <std::size_t size>
struct UnsignedOf;
template <>
struct UnsignedOf<4> {
  using type = std::uint32_t;
};
template <>
struct UnsignedOf<8> {
  using type = std::uint64_t;
};

template <class T, bool is_float = std::is_floating_point_v<T>, bool is_enum = std::is_enum_v<T>>
struct StoredAs {
  static_assert(std::is_integral_v<T> && !std::is_same_v<T, bool>, "integers, floats and enums");
  using type = T;
};
template <class T>
struct StoredAs<T, true, false> {
  using type = typename UnsignedOf<sizeof(T)>::type;
};
template <class T>
struct StoredAs<T, false, true> {
  using type = std::underlying_type_t<T>;
};
}  // namespace columns_detail

// The integer that stands in memory for a T.
template <class T>
using Stored = typename columns_detail::StoredAs<T>::type;

template <class T>
constexpr Stored<T> to_stored(T value) noexcept {
  return std::bit_cast<Stored<T>>(value);
}
template <class T>
constexpr T from_stored(Stored<T> bits) noexcept {
  return std::bit_cast<T>(bits);
}

template <class T>
constexpr std::size_t padded_rows(std::size_t rows) noexcept {
  constexpr std::size_t kPerLine = kCacheLine / sizeof(T);
  return (rows + kPerLine - 1) / kPerLine * kPerLine;
}
template <class T>
constexpr std::size_t column_bytes(std::size_t rows) noexcept {
  return padded_rows<T>(rows) * sizeof(T);
}

// What every process may do: load.
template <class Memory, class T>
class ColumnView {
 public:
  using Word = typename Memory::template Word<Stored<T>>;

  ColumnView() = default;
  ColumnView(const Word* words, std::size_t rows) noexcept : words_(words), rows_(rows) {}

  // The edge where mapped bytes become a column. `bytes` may be longer than the column.
  static Result<ColumnView> over(std::span<const std::byte> bytes, std::size_t rows);

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  // `row` is ours to get right: a row number that came from a peer is checked before.
  [[nodiscard]] const Word& word(std::size_t row) const noexcept {
    MESH_DCHECK(row < rows_);
    return words_[row];
  }
  // For a column that stands alone: a counter, a state. It orders nothing else.
  [[nodiscard]] T load_relaxed(std::size_t row) const noexcept {
    return from_stored<T>(
        word(row).load_relaxed());  // relaxed: one value, torn never, ordered by the caller
  }

 private:
  const Word* words_ = nullptr;
  std::size_t rows_ = 0;
};

// What the one writing thread may do: store, and look at its own values as a plain array.
template <class Memory, class T>
class Column {
 public:
  using Word = typename Memory::template Word<Stored<T>>;

  Column() = default;
  Column(Word* words, std::size_t rows) noexcept : words_(words), rows_(rows) {}

  static Result<Column> over(std::span<std::byte> bytes, std::size_t rows);

  [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
  [[nodiscard]] Word& word(std::size_t row) const noexcept {
    MESH_DCHECK(row < rows_);
    return words_[row];
  }
  [[nodiscard]] T load_relaxed(std::size_t row) const noexcept {
    return from_stored<T>(word(row).load_relaxed());  // relaxed: this thread is the only writer
  }
  void store_relaxed(std::size_t row, T value) const noexcept {
    word(row).store_relaxed(to_stored<T>(value));  // relaxed: for a value that stands alone
  }
  [[nodiscard]] ColumnView<Memory, T> view() const noexcept { return {words_, rows_}; }

  // The writer's own values for its vector passes, padding included: plain loads, because nobody
  // else stores.
  [[nodiscard]] std::span<const Stored<T>> values() const noexcept {
    return {plain(), padded_rows<Stored<T>>(rows_)};
  }
  // For vector stores before anyone else maps the column (set-up, recovery): plain stores race with
  // any reader.
  [[nodiscard]] std::span<Stored<T>> values_unshared() const noexcept {
    return {plain(), padded_rows<Stored<T>>(rows_)};
  }

 private:
  [[nodiscard]] Stored<T>* plain() const noexcept {
    static_assert(std::is_same_v<Word, ShmWord<Stored<T>>>,
                  "only the memory that ships is a plain array");
    static_assert(sizeof(Word) == sizeof(Stored<T>));
    return reinterpret_cast<Stored<T>*>(words_);
  }

  Word* words_ = nullptr;
  std::size_t rows_ = 0;
};

namespace columns_detail {
inline Status check_place(const void* address, std::size_t bytes, std::size_t rows,
                          std::size_t row_bytes) {
  if (reinterpret_cast<std::uintptr_t>(address) % kCacheLine != 0) {
    return fail(Errc::misaligned, "column: its first byte is not on a cache line of " +
                                      std::to_string(kCacheLine) + " bytes");
  }
  const std::size_t rows_per_line = kCacheLine / row_bytes;
  // Divided, not multiplied: `rows` may be any number.
  if (rows > bytes / row_bytes || (rows + rows_per_line - 1) / rows_per_line > bytes / kCacheLine) {
    return fail(Errc::truncated,
                "column: " + std::to_string(rows) + " rows of " + std::to_string(row_bytes) +
                    " bytes, padded to whole cache lines, do not fit into " +
                    std::to_string(bytes) + " bytes",
                static_cast<std::int64_t>(bytes));
  }
  return {};
}
}  // namespace columns_detail

template <class Memory, class T>
Result<ColumnView<Memory, T>> ColumnView<Memory, T>::over(std::span<const std::byte> bytes,
                                                          std::size_t rows) {
  MESH_CHECK_OK(columns_detail::check_place(bytes.data(), bytes.size(), rows, sizeof(Word)));
  return ColumnView(reinterpret_cast<const Word*>(bytes.data()), rows);
}

template <class Memory, class T>
Result<Column<Memory, T>> Column<Memory, T>::over(std::span<std::byte> bytes, std::size_t rows) {
  MESH_CHECK_OK(columns_detail::check_place(bytes.data(), bytes.size(), rows, sizeof(Word)));
  return Column(reinterpret_cast<Word*>(bytes.data()), rows);
}

}  // namespace mesh::shm
