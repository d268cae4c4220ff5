// EventQueue: what happens next in a simulated mesh, in order of time and, at one time, of asking.
//
//     push ──▶ far (heap) ──▶ ring: a bucket a millisecond ──▶ near (heap) ──▶ pop
//
// A million answers on their way are a heap of a million, and each step in it a line that nobody
// looked at for long: so what is within eight seconds waits unsorted, by its millisecond, and only
// the millisecond that time is in is a heap.
//
// Invariants  all of near is due before the end of its bucket, all of the ring after it and within
//             kBuckets of it, all of far after that or not yet moved nearer
// Callers     one thread.
// Cost        push, pop: O(log k), k events of one millisecond. Allocates until it is warm.
// Units       true time (mesh_clock.hpp), from 0.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace mesh::engine::simulation {

enum class EventKind : std::uint32_t {
  answer,  // slot, held, epoch
  operation,
  cascade,
  fault_begins,  // fault
  fault_ends,    // fault
  unit_dies,     // unit
  unit_known,    // unit
  unit_returns,  // unit
  pipeline,
  quorum,
  newcomers_made,
  newcomers_come,
  contexts_handed_over,
  context_loaded,  // slot, the agent's place there, epoch
};

struct Event {
  std::int64_t at = 0;
  EventKind kind{};
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
};

class EventQueue {
 public:
  static constexpr std::int64_t kNever = INT64_MAX;

  void push(const Event& event) {
    const Entry entry{event, next_order_++};
    const std::int64_t bucket = bucket_of(event);
    if (bucket <= near_bucket_) return push_to(near_, entry);
    if (bucket - near_bucket_ >= kBuckets) return push_to(far_, entry);
    ring_[place_of(bucket)].push_back(entry);
    mark(place_of(bucket), true);
  }
  [[nodiscard]] std::int64_t next_at() {
    if (near_.empty()) bring_near();
    return near_.empty() ? kNever : near_.front().event.at;
  }
  // Only what next_at() has named.
  Event pop() {
    std::pop_heap(near_.begin(), near_.end());
    const Event event = near_.back().event;
    near_.pop_back();
    return event;
  }

 private:
  static constexpr unsigned kBucketShift = 20;
  static constexpr std::int64_t kBuckets = 8'192;

  struct Entry {
    Event event;
    std::uint64_t order;
    friend bool operator<(const Entry& a, const Entry& b) noexcept {  // the later one sinks
      return a.event.at != b.event.at ? a.event.at > b.event.at : a.order > b.order;
    }
  };
  static std::int64_t bucket_of(const Event& event) noexcept { return event.at >> kBucketShift; }
  static std::size_t place_of(std::int64_t bucket) noexcept {
    return static_cast<std::size_t>(bucket & (kBuckets - 1));
  }
  static void push_to(std::vector<Entry>& heap, const Entry& entry) {
    heap.push_back(entry);
    std::push_heap(heap.begin(), heap.end());
  }
  void mark(std::size_t place, bool is_used) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (place % 64);
    used_[place / 64] = is_used ? used_[place / 64] | bit : used_[place / 64] & ~bit;
  }
  // The first bucket of the ring that holds something, after near_bucket_; kNever.
  [[nodiscard]] std::int64_t next_bucket() const noexcept {
    for (std::int64_t step = 1; step < kBuckets;) {
      const std::size_t place = place_of(near_bucket_ + step);
      const std::uint64_t word = used_[place / 64] >> (place % 64);
      if (word != 0) {
        const std::int64_t found = step + std::countr_zero(word);
        return found < kBuckets ? near_bucket_ + found : kNever;
      }
      step += static_cast<std::int64_t>(64 - place % 64);
    }
    return kNever;
  }
  void bring_near() {
    const std::int64_t of_ring = next_bucket();
    const std::int64_t of_far = far_.empty() ? kNever : bucket_of(far_.front().event);
    const std::int64_t bucket = std::min(of_ring, of_far);
    if (bucket == kNever) return;
    near_bucket_ = bucket;
    if (bucket == of_ring) {
      near_.swap(ring_[place_of(bucket)]);
      mark(place_of(bucket), false);
      std::make_heap(near_.begin(), near_.end());
    }
    while (!far_.empty() && bucket_of(far_.front().event) <= bucket) {
      std::pop_heap(far_.begin(), far_.end());
      push_to(near_, far_.back());
      far_.pop_back();
    }
  }

  std::vector<Entry> near_;
  std::int64_t near_bucket_ = -1;
  std::vector<std::vector<Entry>> ring_{static_cast<std::size_t>(kBuckets)};
  std::array<std::uint64_t, static_cast<std::size_t>(kBuckets) / 64> used_{};
  std::vector<Entry> far_;
  std::uint64_t next_order_ = 0;
};

}  // namespace mesh::engine::simulation
