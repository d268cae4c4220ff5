// Residuals: the last 32 residuals of every agent, in memory that outlives the engine.
//
// residual = observed - predicted, from send to READY. Sample k of all rows lies side by side: rows
// that answer one operation after another are mostly at the same k, so a burst in row order fills
// whole cache lines (16 agents a line) instead of touching one for each agent.
//
// Callers     one thread; a successor takes the memory over as it stands.
// Progress    wait-free. store: two stores. keep_newest, forget: one. No allocation after over().
// Ordering    the sample is stored before the mark that counts it, with release (tag
//             residuals.mark).
// Cost        store: one load and two stores; quantile: a partial sort of at most 32 numbers.
//             Memory: 132 bytes a row.
// Units       microseconds as i32, rounded to nearest: +-35.8 minutes; beyond that the end of the
//             range stands (saturating), which no median within it notices.
// If the      writer dies in store(): the sample is counted or it is not. In a full ring it may
// other side  then stand for the oldest one, which it was about to replace: always samples of this
// dies        agent, never a mixture.
// Errors      over -> invalid_argument, truncated, misaligned. verify -> corrupt.
// Layout      the mark column, then sample columns 0 to 31, each padded to whole cache lines.
//             A mark is next (bits 0-7) and size (bits 8-15); zero bytes are an empty ring.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>

#include "sched/share.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/columns.hpp"

namespace mesh::sched {

inline constexpr std::uint32_t kResidualsKept = 32;

constexpr std::size_t residuals_bytes(std::uint32_t rows) noexcept {
  return shm::column_bytes<std::uint32_t>(rows) * (kResidualsKept + 1);
}

// To the nearest microsecond, half away from zero; saturates.
constexpr std::int32_t residual_us(std::int64_t ns) noexcept {
  constexpr std::int64_t kHalf = kNsPerUs / 2;
  const std::int64_t us =
      ns / kNsPerUs + (ns % kNsPerUs >= kHalf ? 1 : 0) - (ns % kNsPerUs <= -kHalf ? 1 : 0);
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(us, INT32_MIN, INT32_MAX));
}

template <class Memory = HostMemory>
class Residuals {
 public:
  // The edge where bytes become rings; they keep what they hold.
  static Result<Residuals> over(std::span<std::byte> bytes, std::uint32_t rows) {
    if (rows == 0 || rows > kMaxAgents) {
      return fail(Errc::invalid_argument,
                  "residuals: " + std::to_string(rows) + " rows asked for, it must be 1 to " +
                      std::to_string(kMaxAgents),
                  kMaxAgents);
    }
    if (bytes.size() < residuals_bytes(rows)) {
      return fail(Errc::truncated,
                  "residuals: " + std::to_string(rows) + " rows need " +
                      std::to_string(residuals_bytes(rows)) + " bytes, there are " +
                      std::to_string(bytes.size()),
                  static_cast<std::int64_t>(bytes.size()));
    }
    Residuals residuals;
    MESH_TRY(residuals.marks_, Marks::over(bytes, rows));
    for (Samples& samples : residuals.samples_) {
      bytes = bytes.subspan(shm::column_bytes<std::uint32_t>(rows));
      MESH_TRY(samples, Samples::over(bytes, rows));
    }
    return residuals;
  }

  [[nodiscard]] std::uint32_t rows() const noexcept {
    return static_cast<std::uint32_t>(marks_.rows());
  }

  // `residual_ns` as gather returns it.
  void store(std::uint32_t row, std::int64_t residual_ns) noexcept {
    const Mark mark = mark_of(row);
    // relaxed: the mark publishes it.
    samples_[mark.next].store_relaxed(row, residual_us(residual_ns));
    MESH_POINT("residuals.store:before_mark");
    put(row, {(mark.next + 1) % kResidualsKept, std::min(mark.size + 1, kResidualsKept)});
  }

  [[nodiscard]] std::uint32_t size(std::uint32_t row) const noexcept { return mark_of(row).size; }
  // The age-th newest sample in microseconds; age 0 is the newest. age < size(row).
  [[nodiscard]] std::int32_t newest_us(std::uint32_t row, std::uint32_t age) const noexcept {
    const Mark mark = mark_of(row);
    MESH_DCHECK(age < mark.size);
    // relaxed: asked by the only writer.
    return samples_[(mark.next + kResidualsKept - 1 - age) % kResidualsKept].load_relaxed(row);
  }
  // Element ceil(share * n) of the n sorted samples, counted from 1; nothing without samples.
  [[nodiscard]] std::optional<std::int32_t> quantile_us(std::uint32_t row,
                                                        Share share) const noexcept {
    const std::uint32_t count = size(row);
    if (count == 0) return std::nullopt;
    std::array<std::int32_t, kResidualsKept> sorted{};
    for (std::uint32_t age = 0; age < count; ++age) sorted[age] = newest_us(row, age);
    const auto element = sorted.begin() + rank_of(share, count) - 1;
    std::nth_element(sorted.begin(), element, sorted.begin() + count);
    return *element;
  }
  [[nodiscard]] std::optional<std::int32_t> median_us(std::uint32_t row) const noexcept {
    return quantile_us(row, Share{kShareOne / 2});
  }

  // A step change was seen: only the newest `count` describe this agent now.
  void keep_newest(std::uint32_t row, std::uint32_t count) noexcept {
    const Mark mark = mark_of(row);
    put(row, {mark.next, std::min(mark.size, count)});
  }
  // The row goes to another agent.
  void forget(std::uint32_t row) noexcept { put(row, {0, 0}); }

  // Every mark is one that store() writes. Until it has passed, memory that was taken over is
  // nobody's to index with.
  [[nodiscard]] Status verify() const {
    for (std::uint32_t row = 0; row < rows(); ++row) {
      // SYNC residuals.mark acquire: pairs with put() of the writer that died.
      const std::uint32_t raw = marks_.word(row).load_acquire();
      if (raw >> 16 != 0 || (raw >> 8) > kResidualsKept || (raw & 0xFF) >= kResidualsKept) {
        return fail(Errc::corrupt,
                    "residuals: the mark of row " + std::to_string(row) + " is " +
                        std::to_string(raw) + ", which no ring of " +
                        std::to_string(kResidualsKept) + " has",
                    row);
      }
    }
    return {};
  }

 private:
  using Marks = shm::Column<Memory, std::uint32_t>;
  using Samples = shm::Column<Memory, std::int32_t>;
  struct Mark {
    std::uint32_t next = 0;  // where the next sample goes
    std::uint32_t size = 0;
  };

  Residuals() = default;
  [[nodiscard]] Mark mark_of(std::uint32_t row) const noexcept {
    const std::uint32_t raw = marks_.load_relaxed(row);  // relaxed: asked by the only writer
    MESH_DCHECK((raw & 0xFF) < kResidualsKept);
    return {raw & 0xFF, raw >> 8};
  }
  void put(std::uint32_t row, Mark mark) noexcept {
    // SYNC residuals.mark release: the sample that it counts is stored.
    marks_.word(row).store_release(mark.next | mark.size << 8);
  }

  Marks marks_;
  std::array<Samples, kResidualsKept> samples_;
};

}  // namespace mesh::sched
