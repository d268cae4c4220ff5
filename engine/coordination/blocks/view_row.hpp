// ViewRow: words that the owner of a service publishes and any process reads, all of one instant or
// none. A view of one word is a single Memory::Word; this is for two to seven.
//
// Callers     publish: the one thread that owns the service. read: any thread of any process.
// Progress    publish: wait-free. read: kReadAttempts tries, then false.
// Ordering    the word stores of a publish() happen-before a read() that returns them
//             (SYNC view.stable); a word of a publish in progress makes its odd number visible
//             (SYNC view.field).
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
    // relaxed load and store: one thread writes; the release stores of the words publish the odd
    // number.
    const std::uint64_t odd = sequence.load_relaxed() | 1U;
    sequence.store_relaxed(odd);  // relaxed: as above
    for (std::size_t i = 0; i < kViewWords; ++i) {
      // SYNC view.field release: whoever reads this value sees the odd number, or a later one.
      words[i].store_release(values[i]);
    }
    // SYNC view.stable release: a reader that sees this number sees every word stored above.
    sequence.store_release(odd + 1);
  }
  [[nodiscard]] bool read(ViewWords& values) const noexcept(Memory::kNoThrow) {
    for (unsigned attempt = 0; attempt < kReadAttempts; ++attempt) {
      // SYNC view.stable acquire: pairs with the end of publish().
      const std::uint64_t before = sequence.load_acquire();
      for (std::size_t i = 0; i < kViewWords; ++i) {
        values[i] = words[i].load_acquire();  // SYNC view.field acquire: pairs with publish()
      }
      // relaxed: after acquire loads, which nothing overtakes.
      if ((before & 1U) == 0 && sequence.load_relaxed() == before) return true;
    }
    return false;
  }

  typename Memory::template Word<std::uint64_t> sequence;  // even: the row stands
  std::array<typename Memory::template Word<std::uint64_t>, kViewWords> words;
};
static_assert(sizeof(ViewRow<>) == kCacheLine);
static_assert(std::is_trivially_copyable_v<ViewRow<>>);

}  // namespace mesh::coordination
