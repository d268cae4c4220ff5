// RowSeqlock: several columns of one row, read together or not at all.
//
// A row's sequence is even while the row stands and odd while its writer changes it. A reader that
// sees the same even number before and after has read one state of the row, not a mixture.
//
// Callers     RowWriter: the one thread that writes the row. RowReader: any thread of any process.
// Progress    begin, end: wait-free. read: at most kReadAttempts tries, then kBusy.
// Ordering    a write's field stores happen-before the fields of a read that sees its even number
//             (tag row.stable); a field read from a write in progress makes that write's odd
//             number visible (tag row.field).
// Cost        write: two stores more than the fields. read: two loads more than the fields.
//             No fence, no system call.
// If the      writer dies between begin and end: readers get kBusy for that row until a successor
// other side  writes it again; begin() keeps an odd row odd and end() makes it even, so nothing
// dies,       has to be repaired beforehand. A writer that never pauses: kBusy, never a hang.
// or lies     A hostile writer can show any values: they are input, and the reader checks them.
// Source      Boehm, "Can seqlocks get along with programming language memory models?" (2012),
//             with acquire loads of the fields in place of his fence: TSan and relacy model
//             operations, not fences.
//
// Why it is correct. Write n stores odd o_n (relaxed), the fields (release), even e_n (release). A
// reader loads s1 (acquire), the fields (acquire), s2 (relaxed); it takes the fields if s1 == s2
// and even.
//
// No field is older than s1. s1 == e_n was stored with release after the fields of write n; its
// acquire load makes them happen-before the reader's field loads, and coherence forbids older
// values (row.stable).
//
// No field is newer than s1. Were a field read from a write m > n, then its release store was
// sequenced after o_m; the acquire load of the field makes o_m happen-before the load of s2, and
// coherence gives s2 >= o_m > s1: the read is thrown away (row.field). So the fields need acquire,
// and s2 may be relaxed: it is sequenced after acquire loads, which nothing overtakes.
//
// The sequence has 32 bits and a write adds 2: it repeats after 2^31 writes. A reader would have to
// be suspended inside one read for exactly that many writes of one row: 35 minutes at a million a
// second, to the write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "shm/base/assert.hpp"
#include "shm/base/point.hpp"
#include "shm/columns.hpp"

namespace mesh::shm {

inline constexpr unsigned kReadAttempts = 64;

enum class ReadStatus : std::uint8_t { kRead, kBusy };

// Given to the function that writes a row: the only way to store is the one that readers rely on.
template <class Memory>
class RowStores {
 public:
  explicit RowStores(std::size_t row) noexcept : row_(row) {}

  [[nodiscard]] std::size_t row() const noexcept { return row_; }
  template <class T>
  void store(const Column<Memory, T>& column, T value) const noexcept {
    // SYNC row.field release: whoever reads this value sees that the row's sequence is odd, or
    // later.
    column.word(row_).store_release(to_stored<T>(value));
  }

 private:
  std::size_t row_;
};

// Given to the function that reads a row.
template <class Memory>
class RowLoads {
 public:
  explicit RowLoads(std::size_t row) noexcept : row_(row) {}

  [[nodiscard]] std::size_t row() const noexcept { return row_; }
  template <class T>
  [[nodiscard]] T load(const ColumnView<Memory, T>& column) const noexcept {
    // SYNC row.field acquire: pairs with RowStores::store.
    return from_stored<T>(column.word(row_).load_acquire());
  }

 private:
  std::size_t row_;
};

template <class Memory>
class RowWriter {
 public:
  explicit RowWriter(Column<Memory, std::uint32_t> sequence) noexcept : sequence_(sequence) {}

  [[nodiscard]] RowStores<Memory> begin(std::size_t row) const noexcept {
    auto& word = sequence_.word(row);
    // relaxed load: this thread is the only writer. relaxed store: the release stores of the fields
    // publish it.
    word.store_relaxed(word.load_relaxed() | 1U);
    MESH_POINT("row_seqlock.write:odd");
    return RowStores<Memory>(row);
  }
  void end(std::size_t row) const noexcept {
    MESH_POINT("row_seqlock.write:before_even");
    auto& word = sequence_.word(row);
    const std::uint32_t odd = word.load_relaxed();  // relaxed: this thread is the only writer
    MESH_DCHECK((odd & 1U) == 1U);
    // SYNC row.stable release: a reader that sees this number sees every field stored above.
    word.store_release(odd + 1U);
  }
  // One change of one row; `write` stores through the RowStores that it is given, and must not
  // throw.
  template <class Write>
  void write(std::size_t row, Write&& write) const noexcept {
    write(begin(row));
    end(row);
  }
  // For verify() and recovery: a predecessor died inside this row's write.
  [[nodiscard]] bool is_half_written(std::size_t row) const noexcept {
    return (sequence_.word(row).load_relaxed() & 1U) != 0;  // relaxed: asked by the only writer
  }

 private:
  Column<Memory, std::uint32_t> sequence_;
};

template <class Memory>
class RowReader {
 public:
  explicit RowReader(ColumnView<Memory, std::uint32_t> sequence) noexcept : sequence_(sequence) {}

  // Calls `read` with a RowLoads, perhaps several times; what its last call took is one state of
  // the row if the answer is kRead, and must be thrown away if it is kBusy. `read` copies, and
  // judges nothing before the answer.
  template <class Read>
  [[nodiscard]] ReadStatus read(std::size_t row, Read&& read) const noexcept {
    const auto& word = sequence_.word(row);
    for (unsigned attempt = 0; attempt < kReadAttempts; ++attempt) {
      const std::uint32_t before =
          word.load_acquire();  // SYNC row.stable acquire: pairs with RowWriter::end
      if ((before & 1U) != 0) continue;
      read(RowLoads<Memory>(row));
      // relaxed: the acquire loads of the fields come before it, and coherence does the rest.
      if (word.load_relaxed() == before) return ReadStatus::kRead;
    }
    return ReadStatus::kBusy;
  }

 private:
  ColumnView<Memory, std::uint32_t> sequence_;
};

}  // namespace mesh::shm
