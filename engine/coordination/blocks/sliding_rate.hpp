// SlidingRates: failures among the same calls in several sliding windows, each estimated from two
// fixed ones.
//
// Callers     one thread.  Progress  wait-free.
// Cost        add: a compare and two additions, whatever the number of windows: what is counted is
//             counted once, and a window remembers where the sums stood when it began.
// Units       windows in ns, at least 1.
// Source      the estimate prev * (1 - fraction) + cur (Cloudflare 2017).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "engine/coordination/blocks/window_counter.hpp"

namespace mesh::coordination {

template <std::size_t N>
class SlidingRates {
 public:
  explicit SlidingRates(const std::array<std::int64_t, N>& windows_ns) noexcept {
    for (std::size_t i = 0; i < N; ++i) windows_[i].length_ns = windows_ns[i];
    clear();
  }
  void clear() noexcept {
    total_ = failed_ = 0;
    for (auto& window : windows_) window = {window.length_ns, window.length_ns, {}, {}};
    find_next();
  }

  void add(std::int64_t now_ns, std::uint64_t total, std::uint64_t failed) noexcept {
    roll(now_ns);
    total_ += total;
    failed_ += failed;
  }
  // In the window of this index; of nothing: 0.
  [[nodiscard]] double failure_rate(std::size_t index, std::int64_t now_ns) noexcept {
    roll(now_ns);
    const Window& window = windows_[index];
    const double all = estimate(window, window.previous.total, total_ - window.start.total, now_ns);
    const std::uint64_t failed = failed_ - window.start.failed;
    return all > 0 ? estimate(window, window.previous.failed, failed, now_ns) / all : 0;
  }

  void save(StateWriter& writer) const {
    for (const auto& window : windows_) {
      writer.put(window.previous.total);
      writer.put(window.previous.failed);
      writer.put(total_ - window.start.total);
      writer.put(failed_ - window.start.failed);
      writer.put(window.end_ns);
    }
  }
  void load(StateReader& reader) {
    clear();
    for (auto& window : windows_) {
      reader.get(window.previous.total);
      reader.get(window.previous.failed);
      window.start = {0 - reader.get<std::uint64_t>(), 0 - reader.get<std::uint64_t>()};
      reader.get(window.end_ns);
      if (window.end_ns < window.length_ns) reader.fail();
    }
    find_next();
  }

 private:
  struct Sums {
    std::uint64_t total = 0;
    std::uint64_t failed = 0;
  };
  struct Window {
    std::int64_t length_ns = 1;
    std::int64_t end_ns = 1;  // of the current fixed one
    Sums start;               // what the sums were when it began, modulo 2^64
    Sums previous;            // counted in the one before
  };
  void find_next() noexcept {
    next_end_ns_ = windows_[0].end_ns;
    for (const auto& window : windows_) next_end_ns_ = std::min(next_end_ns_, window.end_ns);
  }
  void roll(std::int64_t now_ns) noexcept {
    if (now_ns >= next_end_ns_) [[unlikely]]
      begin_windows(now_ns);
  }
  void begin_windows(std::int64_t now_ns) noexcept {
    for (auto& window : windows_) {
      if (now_ns < window.end_ns) continue;
      const bool is_next = now_ns - window.end_ns < window.length_ns;
      window.previous =
          is_next ? Sums{total_ - window.start.total, failed_ - window.start.failed} : Sums{};
      window.start = {total_, failed_};
      window.end_ns = (now_ns / window.length_ns + 1) * window.length_ns;
    }
    find_next();
  }
  [[nodiscard]] static double estimate(const Window& window, std::uint64_t previous,
                                       std::uint64_t current, std::int64_t now_ns) noexcept {
    const double into =
        1 - static_cast<double>(window.end_ns - now_ns) / static_cast<double>(window.length_ns);
    return sliding_estimate(static_cast<double>(previous), static_cast<double>(current), into);
  }

  std::int64_t next_end_ns_ = 1;
  std::uint64_t total_ = 0;
  std::uint64_t failed_ = 0;
  std::array<Window, N> windows_{};
};

}  // namespace mesh::coordination
