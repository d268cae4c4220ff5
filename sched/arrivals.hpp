// Arrivals: the last 32 arrivals of every agent and which of its last 32 sends it left unanswered,
// in memory that outlives the engine.
//
//     gather   store(): the newest sample waits in `fresh`     one store
//     upkeep   settle(): it moves into the agent's ring
//
// Sample k of all rows lies side by side, and so does `fresh`: rows that answer one operation after
// another fill whole cache lines (8 agents a line) instead of touching one for each agent.
//
// Callers     one thread; a successor adopts after its death.
// Progress    wait-free. No allocation after over().
// Ordering    a sample is stored before the mark that counts it, the mark before its `fresh` place
//             is free, each with release (tags arrivals.mark, arrivals.fresh).
// Cost        store: one load and one store; where upkeep has not come round since the last answer,
//             a settle() more. Memory: 276 bytes a row.
// If the      writer dies in store(): the sample is there or it is not. In settle(): it is in the
// other side  ring, or still waits, or both, and adopt() finds that out. In a full ring it may then
// dies        stand for the oldest one, which it was about to replace: always samples of this
//             agent, never a mixture. One bit of `unanswered` may be lost.
// Errors      over -> invalid_argument, truncated, misaligned. adopt -> corrupt.
// Layout      fresh, unanswered (u64), mark (u32), sample columns 0 to 31 (u64), each padded to
//             whole cache lines. A mark is next (bits 0-7) and size (bits 8-15). unanswered: bits
//             0-31 the last sends, the newest lowest, 1: unanswered; bits 32-63 how many of them
//             upkeep has not seen. Zero bytes are an agent of whom nothing is known.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "sched/arrival_sample.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/columns.hpp"

namespace mesh::sched {

inline constexpr std::uint32_t kArrivalsKept = 32;

constexpr std::size_t arrivals_bytes(std::uint32_t rows) noexcept {
  return shm::column_bytes<std::uint64_t>(rows) * (kArrivalsKept + 2) +
         shm::column_bytes<std::uint32_t>(rows);
}

template <class Memory = HostMemory>
class Arrivals {
 public:
  // The edge where bytes become rings; they keep what they hold. adopt() what another wrote.
  static Result<Arrivals> over(std::span<std::byte> bytes, std::uint32_t rows) {
    if (rows == 0 || rows > kMaxAgents) {
      return fail(Errc::invalid_argument,
                  "arrivals: " + std::to_string(rows) + " rows asked for, it must be 1 to " +
                      std::to_string(kMaxAgents),
                  kMaxAgents);
    }
    if (bytes.size() < arrivals_bytes(rows)) {
      return fail(Errc::truncated,
                  "arrivals: " + std::to_string(rows) + " rows need " +
                      std::to_string(arrivals_bytes(rows)) + " bytes, there are " +
                      std::to_string(bytes.size()),
                  static_cast<std::int64_t>(bytes.size()));
    }
    const auto next = [&](std::size_t size) {
      const auto first = bytes.first(size);
      bytes = bytes.subspan(size);
      return first;
    };
    const std::size_t wide = shm::column_bytes<std::uint64_t>(rows);
    Arrivals arrivals;
    MESH_TRY(arrivals.fresh_, Samples::over(next(wide), rows));
    MESH_TRY(arrivals.unanswered_, Samples::over(next(wide), rows));
    MESH_TRY(arrivals.marks_, Marks::over(next(shm::column_bytes<std::uint32_t>(rows)), rows));
    for (Samples& samples : arrivals.samples_) {
      MESH_TRY(samples, Samples::over(next(wide), rows));
    }
    return arrivals;
  }
  // After a restart: every mark must be one that settle() writes, and what a death left both in a
  // ring and waiting waits no more. Until it has passed, the memory is nobody's to index with.
  [[nodiscard]] Status adopt() {
    for (std::uint32_t row = 0; row < rows(); ++row) {
      // SYNC arrivals.mark acquire: pairs with put() of the writer that died.
      const std::uint32_t raw = marks_.word(row).load_acquire();
      if (raw >> 16 != 0 || (raw >> 8) > kArrivalsKept || (raw & 0xFF) >= kArrivalsKept) {
        return fail(Errc::corrupt,
                    "arrivals: the mark of row " + std::to_string(row) + " is " +
                        std::to_string(raw) + ", which no ring of " +
                        std::to_string(kArrivalsKept) + " has",
                    row);
      }
      // SYNC arrivals.fresh acquire: pairs with settle() of the writer that died.
      const std::uint64_t waits = fresh_.word(row).load_acquire();
      // Two answers in a row that are equal to the last bit would be taken for one: no loss.
      if (waits != 0 && size(row) != 0 && newest(row, 0) == waits) {
        fresh_.word(row).store_release(0);  // SYNC arrivals.fresh release: its ring has it
      }
    }
    return {};
  }

  [[nodiscard]] std::uint32_t rows() const noexcept {
    return static_cast<std::uint32_t>(marks_.rows());
  }

  // Gather: an answer. `packed` is not 0.
  void store(std::uint32_t row, std::uint64_t packed) noexcept {
    store_all({&row, 1}, {&packed, 1});
  }
  // Answers of many rows, in order.
  void store_all(std::span<const std::uint32_t> rows,
                 std::span<const std::uint64_t> packed) noexcept {
    MESH_DCHECK(rows.size() == packed.size());
    const Samples fresh = fresh_;  // a local: each store would have the compiler load it again
    const Settler settler(*this);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      MESH_DCHECK(packed[i] != 0);
      const std::uint64_t waits = fresh.load_relaxed(rows[i]);  // relaxed: the only writer
      if (waits != 0) settler.settle(rows[i], waits);
      fresh.store_relaxed(rows[i], packed[i]);  // relaxed: one word, whole or not at all
    }
  }
  // At an operation's end: it was sent to, and said nothing.
  void miss(std::uint32_t row) noexcept {
    const std::uint64_t word = unanswered_.load_relaxed(row);  // relaxed: as above
    const std::uint64_t unseen = std::min<std::uint64_t>((word >> 32) + 1, kArrivalsKept);
    unanswered_.store_relaxed(row, unseen << 32 | ((word << 1 | 1) & kSends));  // relaxed: as above
  }

  // Upkeep: moves what waits into the ring. False: nothing waits.
  bool settle(std::uint32_t row) noexcept {
    const std::uint64_t packed = fresh_.load_relaxed(row);  // relaxed: as above
    if (packed != 0) Settler(*this).settle(row, packed);
    return packed != 0;
  }
  [[nodiscard]] bool waits(std::uint32_t row) const noexcept {
    return fresh_.load_relaxed(row) != 0;  // relaxed: as above
  }
  [[nodiscard]] bool has_misses(std::uint32_t row) const noexcept {
    return unanswered_.load_relaxed(row) >> 32 != 0;  // relaxed: as above
  }
  // How many misses upkeep has not seen; it has now.
  std::uint32_t take_misses(std::uint32_t row) noexcept {
    const std::uint64_t word = unanswered_.load_relaxed(row);            // relaxed: as above
    if (word >> 32 != 0) unanswered_.store_relaxed(row, word & kSends);  // relaxed: as above
    return static_cast<std::uint32_t>(word >> 32);
  }

  // Of the last 32 sends.
  [[nodiscard]] std::uint32_t unanswered(std::uint32_t row) const noexcept {
    // relaxed: as above
    return static_cast<std::uint32_t>(std::popcount(unanswered_.load_relaxed(row) & kSends));
  }
  [[nodiscard]] std::uint32_t size(std::uint32_t row) const noexcept { return mark_of(row).size; }
  // The age-th newest sample, packed; age 0 is the newest. age < size(row).
  [[nodiscard]] std::uint64_t newest(std::uint32_t row, std::uint32_t age) const noexcept {
    const Mark mark = mark_of(row);
    MESH_DCHECK(age < mark.size);
    // relaxed: asked by the only writer
    return samples_[(mark.next + kArrivalsKept - 1 - age) % kArrivalsKept].load_relaxed(row);
  }

  // A step change was seen: only the newest `count` describe this agent now.
  void keep_newest(std::uint32_t row, std::uint32_t count) noexcept {
    const Mark mark = mark_of(row);
    put(row, {mark.next, std::min(mark.size, count)});
  }
  // The row goes to another agent.
  void forget(std::uint32_t row) noexcept {
    fresh_.word(row).store_release(0);  // SYNC arrivals.fresh release: nobody's sample waits
    put(row, {0, 0});
    unanswered_.store_relaxed(row, 0);  // relaxed: a value that stands alone
  }

 private:
  using Marks = shm::Column<Memory, std::uint32_t>;
  using Samples = shm::Column<Memory, std::uint64_t>;
  static constexpr std::uint64_t kSends = 0xFFFF'FFFF;
  struct Mark {
    std::uint32_t next = 0;  // where the next sample goes
    std::uint32_t size = 0;
  };

  // Moves samples into rings, its columns at hand.
  class Settler {
   public:
    explicit Settler(const Arrivals& of) noexcept
        : fresh_(of.fresh_),
          unanswered_(of.unanswered_),
          marks_(of.marks_),
          samples_(of.samples_.data()) {}
    void settle(std::uint32_t row, std::uint64_t packed) const noexcept {
      const Mark mark = mark_in(marks_, row);
      samples_[mark.next].store_relaxed(row, packed);  // relaxed: the mark publishes it
      MESH_POINT("arrivals.settle:before_mark");
      put_in(marks_, row,
             {(mark.next + 1) % kArrivalsKept, std::min(mark.size + 1, kArrivalsKept)});
      MESH_POINT("arrivals.settle:before_free");
      if (!is_late(packed)) {  // of a late answer the miss is noted already
        const std::uint64_t word = unanswered_.load_relaxed(row);  // relaxed: the only writer
        if ((word & kSends) != 0) {
          // relaxed: as above
          unanswered_.store_relaxed(row, (word & ~kSends) | (word << 1 & kSends));
        }
      }
      fresh_.word(row).store_release(0);  // SYNC arrivals.fresh release: the ring has it
    }

   private:
    Samples fresh_;
    Samples unanswered_;
    Marks marks_;
    const Samples* samples_;
  };

  Arrivals() = default;
  [[nodiscard]] Mark mark_of(std::uint32_t row) const noexcept { return mark_in(marks_, row); }
  [[nodiscard]] static Mark mark_in(const Marks& marks, std::uint32_t row) noexcept {
    const std::uint32_t raw = marks.load_relaxed(row);  // relaxed: asked by the only writer
    MESH_DCHECK((raw & 0xFF) < kArrivalsKept);
    return {raw & 0xFF, raw >> 8};
  }
  void put(std::uint32_t row, Mark mark) noexcept { put_in(marks_, row, mark); }
  static void put_in(const Marks& marks, std::uint32_t row, Mark mark) noexcept {
    // SYNC arrivals.mark release: the sample that it counts is stored.
    marks.word(row).store_release(mark.next | mark.size << 8);
  }

  Samples fresh_;
  Samples unanswered_;
  Marks marks_;
  std::array<Samples, kArrivalsKept> samples_;
};

}  // namespace mesh::sched
