// WindowCounter: calls, failures and slow calls of the last window, in a ring of buckets.
// HybridWindow: units spent in a sliding window, estimated from two fixed ones.
//
// Callers     one thread.  Progress  wait-free.
// Cost        add: a few ns; a new bucket: one ring walk at most. No allocation after construction.
// Units       id b = floor(t / bucket length); ids (b - buckets, b] count, so the oldest bucket
//             goes whole. Counts are u64.
// Source      HybridWindow: the estimate prev * (1 - fraction) + cur (Cloudflare 2017), in
//             integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

struct WindowTotals {
  std::uint64_t total = 0;
  std::uint64_t failed = 0;
  std::uint64_t slow = 0;
  friend bool operator==(const WindowTotals&, const WindowTotals&) = default;
};

class WindowCounter {
 public:
  // window_ns / buckets must be at least 1.
  WindowCounter(std::int64_t window_ns, std::size_t buckets)
      : ring_(buckets), bucket_ns_(window_ns / static_cast<std::int64_t>(buckets)) {
    clear();
  }

  void add(std::int64_t now_ns, bool failed, bool slow = false) noexcept {
    add_many(now_ns, {1, failed ? 1U : 0U, slow ? 1U : 0U});
  }
  void add_many(std::int64_t now_ns, const WindowTotals& more) noexcept {
    advance(now_ns);
    WindowTotals& bucket = ring_[current_slot_];
    add_to(bucket, more);
    add_to(sum_, more);
  }
  [[nodiscard]] const WindowTotals& totals(std::int64_t now_ns) noexcept {
    advance(now_ns);
    return sum_;
  }
  // As of the last add() or totals().
  [[nodiscard]] const WindowTotals& sum() const noexcept { return sum_; }
  void clear() noexcept {
    for (auto& bucket : ring_) bucket = {};
    sum_ = {};
    current_id_ = 0;
    current_slot_ = 0;
    current_end_ns_ = bucket_ns_;
  }

  // The sum equals the buckets'.
  [[nodiscard]] bool is_consistent() const noexcept {
    WindowTotals sum;
    for (const auto& bucket : ring_) add_to(sum, bucket);
    return sum == sum_ && sum_.failed <= sum_.total && sum_.slow <= sum_.total;
  }
  void save(StateWriter& writer) const {
    writer.put(current_id_);
    for (const auto& bucket : ring_) {
      writer.put(bucket.total);
      writer.put(bucket.failed);
      writer.put(bucket.slow);
    }
  }
  void load(StateReader& reader) {
    clear();
    reader.get(current_id_);
    if (current_id_ < 0 || current_id_ > INT64_MAX / bucket_ns_ - 1) return reader.fail();
    current_slot_ = static_cast<std::size_t>(current_id_) % ring_.size();
    current_end_ns_ = (current_id_ + 1) * bucket_ns_;
    for (auto& bucket : ring_) {
      reader.get(bucket.total);
      reader.get(bucket.failed);
      reader.get(bucket.slow);
      add_to(sum_, bucket);
    }
  }

 private:
  static void add_to(WindowTotals& sum, const WindowTotals& more) noexcept {
    sum.total += more.total;
    sum.failed += more.failed;
    sum.slow += more.slow;
  }
  void advance(std::int64_t now_ns) noexcept {
    if (now_ns >= current_end_ns_) [[unlikely]]
      start_bucket(now_ns);
  }
  void start_bucket(std::int64_t now_ns) noexcept {
    const std::int64_t id = now_ns / bucket_ns_;
    const auto size = static_cast<std::int64_t>(ring_.size());
    const std::int64_t oldest_new = id - current_id_ > size ? id - size + 1 : current_id_ + 1;
    for (std::int64_t fresh = oldest_new; fresh <= id; ++fresh) {
      WindowTotals& bucket = ring_[static_cast<std::size_t>(fresh % size)];
      sum_.total -= bucket.total;
      sum_.failed -= bucket.failed;
      sum_.slow -= bucket.slow;
      bucket = {};
    }
    current_id_ = id;
    current_slot_ = static_cast<std::size_t>(id % size);
    current_end_ns_ = (id + 1) * bucket_ns_;
  }

  // In front what each add() touches.
  std::int64_t current_end_ns_ = 0;
  std::size_t current_slot_ = 0;
  WindowTotals sum_;  // of all buckets in ring_
  std::vector<WindowTotals> ring_;
  std::int64_t current_id_ = 0;
  std::int64_t bucket_ns_;
};

// prev * (1 - fraction) + cur.
[[nodiscard]] constexpr double sliding_estimate(double previous, double current,
                                                double fraction) noexcept {
  return previous * (1 - fraction) + current;
}

struct HybridVerdict {
  bool fits = false;
  std::int64_t retry_after_ns = 0;  // when it does not fit: the first instant at which it would
};

class HybridWindow {
 public:
  explicit HybridWindow(std::int64_t window_ns) noexcept : window_ns_(window_ns) {}

  void roll(std::int64_t now_ns) noexcept {
    const std::int64_t id = now_ns / window_ns_;
    if (id <= id_) return;  // time that goes back would forget what was spent
    previous_ = id == id_ + 1 ? current_ : 0;
    current_ = 0;
    id_ = id;
  }
  // Whether n more units keep the estimate at or below the quota. Exact: no rounding.
  [[nodiscard]] HybridVerdict ask(std::uint64_t n, std::uint64_t quota,
                                  std::int64_t now_ns) noexcept {
    roll(now_ns);
    const auto window = static_cast<Wide>(window_ns_);
    const auto into = static_cast<Wide>(now_ns % window_ns_);
    const Wide room = (static_cast<Wide>(quota) - static_cast<Wide>(current_ + n)) * window;
    const Wide old = static_cast<Wide>(previous_) * (window - into);
    if (old <= room) return {true, 0};
    // This window's own units never fade before it ends; after that they are the previous ones.
    if (room < 0 || previous_ == 0) return {false, wait_beyond(n, quota, into)};
    const Wide left = room / static_cast<Wide>(previous_);  // what of the window may still be left
    return {false, static_cast<std::int64_t>(window - left - into)};
  }
  // How many more units fit now.
  [[nodiscard]] std::uint64_t room(std::uint64_t quota, std::int64_t now_ns) noexcept {
    roll(now_ns);
    const auto window = static_cast<Wide>(window_ns_);
    const auto into = static_cast<Wide>(now_ns % window_ns_);
    const Wide left = (static_cast<Wide>(quota) - static_cast<Wide>(current_)) * window -
                      static_cast<Wide>(previous_) * (window - into);
    return left <= 0 ? 0 : static_cast<std::uint64_t>(left / window);
  }
  void spend(std::uint64_t n) noexcept { current_ += n; }
  void refund(std::uint64_t n) noexcept { current_ -= n < current_ ? n : current_; }
  void fill(std::uint64_t quota) noexcept { current_ = quota > current_ ? quota : current_; }

  [[nodiscard]] std::uint64_t current() const noexcept { return current_; }
  [[nodiscard]] std::uint64_t previous() const noexcept { return previous_; }
  [[nodiscard]] std::int64_t window_ns() const noexcept { return window_ns_; }
  [[nodiscard]] std::int64_t end_ns() const noexcept { return (id_ + 1) * window_ns_; }
  [[nodiscard]] double estimate(std::int64_t now_ns) noexcept {
    roll(now_ns);
    return sliding_estimate(
        static_cast<double>(previous_), static_cast<double>(current_),
        static_cast<double>(now_ns % window_ns_) / static_cast<double>(window_ns_));
  }

  void save(StateWriter& writer) const {
    writer.put(id_);
    writer.put(previous_);
    writer.put(current_);
  }
  void load(StateReader& reader) {
    reader.get(id_);
    reader.get(previous_);
    reader.get(current_);
    if (id_ < 0) reader.fail();
  }

 private:
  __extension__ using Wide = __int128;
  // n > quota never fits: no instant to name, so the end of the next window.
  [[nodiscard]] std::int64_t wait_beyond(std::uint64_t n, std::uint64_t quota,
                                         Wide into) const noexcept {
    const auto window = static_cast<Wide>(window_ns_);
    const Wide to_end = window - into;
    const Wide room = (static_cast<Wide>(quota) - static_cast<Wide>(n)) * window;
    if (room < 0) return static_cast<std::int64_t>(to_end + window);
    if (current_ == 0) return static_cast<std::int64_t>(to_end);
    const Wide left = room / static_cast<Wide>(current_);
    return static_cast<std::int64_t>(to_end + (left >= window ? 0 : window - left));
  }

  std::int64_t window_ns_;
  std::int64_t id_ = 0;
  std::uint64_t previous_ = 0;
  std::uint64_t current_ = 0;
};

}  // namespace mesh::coordination
