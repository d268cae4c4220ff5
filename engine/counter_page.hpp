// CounterPage, CounterView: the counters of one engine thread as they stand in the table.
//
//     word 0    sequence: odd while the page is being written; 0: never written
//     word 1    when it was written, HostTime
//     word 2    hash of the labels: who has other ones does not read it
//     word 3    how many counters
//     word 4    when the last hour below was taken, HostTime
//     word 8    the counters, then the same as they were at word 4
//
// Callers     CounterPage: the thread that the layout names. CounterView: anyone with the table.
// Progress    publish: wait-free, two stores a counter. read: at most shm::kReadAttempts tries.
// Ordering    a page that is read whole is of one moment (tags counters.stable, counters.word).
// Cost        publish: once a second or so, never on the way of a message.
// Units       as engine/counter_list.hpp says.
// If the      writer dies: the last that it wrote stands, and says when that was; half-written it
// other side  is read word by word and says so (is_whole). Its successor goes on from its totals.
// dies,       Lies: numbers are numbers; a page of other labels is layout_mismatch.
// or lies
// Errors      over -> layout_mismatch, not_found. read -> not_ready (never written),
//             layout_mismatch.
// Layout      regions counters.scheduler and counters.control of the table.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/counter_list.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/layout.hpp"

namespace mesh::engine {

using CounterWord = ShmWord<std::uint64_t>;

inline constexpr std::size_t kCounterHeadWords = 8;
inline constexpr std::size_t kHourMinutes = 60;
inline constexpr Nanos kMinute{60 * kNsPerSecond};

// The rows of a thread: "scheduler" or "control".
[[nodiscard]] std::vector<CounterDescription> counters_of(std::string_view thread);

class CounterPage {
 public:
  static Result<CounterPage> over(const shm::Layout& table, std::span<std::byte> bytes,
                                  std::string_view thread);

  // As many values as there are counters. Totals are of this engine: those of the engines before
  // it are added. Keeps what was an hour ago, by the minute.
  void publish(std::span<const std::uint64_t> values, HostTime now) noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return base_.size(); }
  // How much one of them grew in the last hour, as last published. Below size().
  [[nodiscard]] std::uint64_t in_last_hour(std::size_t counter) const noexcept;

 private:
  struct Minute {
    HostTime at{};
    std::vector<std::uint64_t> values{};
  };
  [[nodiscard]] const Minute& an_hour_ago(HostTime now) noexcept;

  std::span<CounterWord> words_;
  std::uint64_t hash_ = 0;
  std::vector<std::uint64_t> base_;  // of the engines before this one; 0 for what is of now
  std::vector<std::uint64_t> sums_;
  std::vector<Minute> minutes_;  // a ring
  std::uint64_t minute_ = 0;     // how many were ever kept
};

struct CounterReading {
  HostTime at{};
  HostTime hour_from{};
  bool is_whole = true;
  std::vector<std::uint64_t> values;
  std::vector<std::uint64_t> hour_ago;
};

class CounterView {
 public:
  static Result<CounterView> over(const shm::Layout& table, std::span<const std::byte> bytes,
                                  std::string_view thread);
  [[nodiscard]] Result<CounterReading> read() const;
  [[nodiscard]] const std::vector<CounterDescription>& rows() const noexcept { return rows_; }

 private:
  std::span<const CounterWord> words_;
  std::vector<CounterDescription> rows_;
  std::string_view thread_;
};

}  // namespace mesh::engine
