// GatherWords: an operation's gather as it lies in `engine` memory, before its four bitmaps.
//
// Callers     Gather (sched/gather.hpp) alone.
// Units       times in nanoseconds of HostClock; shares in millionths.
// Layout      native words, read and written by one process at a time, so no other may see them:
//             they are checked for sense when a successor adopts them, not for hostility.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sched/error_histogram.hpp"
#include "sched/gather_result.hpp"
#include "sched/row_bitmap.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/word.hpp"

namespace mesh::sched {

enum class GatherState : std::uint32_t { kFree = 0, kCollecting = 1, kEnded = 2 };

constexpr std::uint64_t state_and_end(GatherState state, GatherEnd end) noexcept {
  return static_cast<std::uint64_t>(state) | static_cast<std::uint64_t>(end) << 32;
}

template <class Memory>
struct alignas(kCacheLine) GatherWords {
  template <class T>
  using Word = typename Memory::template Word<T>;
  Word<std::uint64_t> state_and_end;  // GatherState | GatherEnd << 32, stored last
  Word<std::uint64_t> undo;           // of the arrival in progress or the last one; 0: none
  Word<std::int64_t> started_ns;
  Word<std::int64_t> target_ns;
  Word<std::int64_t> window_end_ns;
  Word<std::int64_t> timeout_end_ns;
  Word<std::int64_t> tolerance_ns;
  Word<std::int64_t> ended_ns;
  Word<std::uint64_t> distance_ns_max[2];  // early, late
  Word<std::uint64_t> duplicate;
  Word<std::uint64_t> contradiction;
  Word<std::uint64_t> not_scheduled;
  Word<std::uint64_t> invalid;
  Word<std::uint32_t> rows;
  Word<std::uint32_t> ready_min_ppm;
  Word<std::uint32_t> coverage_min_ppm;
  Word<std::uint32_t> declined;  // spent rows when it ended
  Word<std::uint32_t> skipped[4];
  ErrorHistogram<Memory> errors;
};
static_assert(sizeof(GatherWords<HostMemory>) == 7'360);
static_assert(offsetof(GatherWords<HostMemory>, rows) == 112);
static_assert(offsetof(GatherWords<HostMemory>, errors) == 144);
static_assert(std::is_trivially_copyable_v<GatherWords<HostMemory>>);

constexpr std::size_t gather_bytes(std::uint32_t rows) noexcept {
  return sizeof(GatherWords<HostMemory>) + 4 * row_bitmap_bytes(rows);
}

}  // namespace mesh::sched
