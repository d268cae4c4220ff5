// ViewRow: words that the owner of a service publishes and any process reads, all of one instant or
// none. A view of one word is a single Memory::Word; this is for two to seven. A row may also be a
// slot of a ring, each time for something else: then its number is the caller's (publish_as), as in
// engine/tasks/event_page.hpp.
//
// Callers     publish, publish_as: the one thread that owns the service; one of the two for a row.
//             read, read_as: any thread of any process.
// Progress    publish: wait-free. read: kReadAttempts tries, then false. read_as: one try.
// Ordering    the word stores of a publish() happen-before a read() that returns them
//             (SYNC view.stable); a word of a publish in progress makes its odd number, or its 0,
//             visible (SYNC view.field).
// Cost        read: words + 2 loads. One line of 64 bytes.
// If the      writer dies inside publish: readers get false until its successor publishes.
// other side  A hostile writer can show any values: a view is a hint.
// dies
// Layout      64 bytes: sequence u64, seven words.
// Source      the argument of shm/row_seqlock.hpp, with words in place of columns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"

namespace mesh::coordination {

inline constexpr std::size_t kViewWords = 7;
using ViewWords = std::array<std::uint64_t, kViewWords>;

template <class Policy = HostMemory>
struct alignas(kCacheLine) ViewRow {
  using Memory = Policy;
  static constexpr unsigned kReadAttempts = 64;

  void publish(const ViewWords& values) noexcept(Memory::kNoThrow) {
    const std::uint64_t odd = sequence.load_relaxed() | 1U;  // relaxed: one thread writes
    write(values, odd, odd + 1);
  }
  // As the row of this number, which is not 0 and in this row never comes back.
  void publish_as(std::uint64_t number, const ViewWords& values) noexcept(Memory::kNoThrow) {
    write(values, 0, number);
  }
  [[nodiscard]] bool read(ViewWords& values) const noexcept(Memory::kNoThrow) {
    for (unsigned attempt = 0; attempt < kReadAttempts; ++attempt)
      if ((read_once(values) & 1U) == 0) return true;
    return false;
  }
  // Whether the row is that one, and whole.
  [[nodiscard]] bool read_as(std::uint64_t number, ViewWords& values) const
      noexcept(Memory::kNoThrow) {
    return read_once(values) == number;
  }

  typename Memory::template Word<std::uint64_t> sequence;  // even, or the caller's: the row stands
  std::array<typename Memory::template Word<std::uint64_t>, kViewWords> words;

 private:
  static constexpr std::uint64_t kTorn = ~std::uint64_t{0};  // odd, and nobody's number

  void write(const ViewWords& values, std::uint64_t open,
             std::uint64_t closed) noexcept(Memory::kNoThrow) {
    sequence.store_relaxed(open);  // relaxed: the release stores of the words publish it
    for (std::size_t i = 0; i < kViewWords; ++i) {
      // SYNC view.field release: whoever reads this value sees the open number, or a later one.
      words[i].store_release(values[i]);
    }
    // SYNC view.stable release: a reader that sees this number sees every word stored above.
    sequence.store_release(closed);
  }
  [[nodiscard]] std::uint64_t read_once(ViewWords& values) const noexcept(Memory::kNoThrow) {
    // SYNC view.stable acquire: pairs with the end of write().
    const std::uint64_t before = sequence.load_acquire();
    for (std::size_t i = 0; i < kViewWords; ++i) {
      values[i] = words[i].load_acquire();  // SYNC view.field acquire: pairs with write()
    }
    // relaxed: after acquire loads, which nothing overtakes.
    return sequence.load_relaxed() == before ? before : kTorn;
  }
};
static_assert(sizeof(ViewRow<>) == kCacheLine);
static_assert(std::is_trivially_copyable_v<ViewRow<>>);

}  // namespace mesh::coordination
