// DedupWindow: the last deliveries of a station, so that one which comes a second time is known.
//
// Only what the engine marks `redelivered` is looked up, after a restart or a death; so a delivery
// that is not marked costs one store, and the index is made when the first marked one comes.
//
// Callers     the station's pump.
// Progress    insert: one store; while an index stands, a few more. contains: a look-up; the first
//             after every kDedupWindow deliveries makes the index anew, half a millisecond.
// Cost        24 bytes a delivery, touched as they are used; the index only once it is needed.
// Invariant   contains(k) is true for each k among the last kDedupWindow inserted, for no other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"

namespace mesh::engine {

inline constexpr std::uint64_t kDedupWindow = 65'536;

class DedupWindow {
 public:
  struct Key {
    std::uint64_t high;  // of the message's id
    std::uint64_t low;
    std::uint64_t target;
    friend bool operator==(const Key&, const Key&) = default;
  };
  static constexpr Key key_of(sched::MessageId id, AgentId target) noexcept {
    return {id.high, id.low, static_cast<std::uint64_t>(target)};
  }

  DedupWindow() : keys_(new Key[kDedupWindow]) {}  // not cleared: pages come as they are used

  void insert(const Key& key) noexcept {
    keys_[next_ % kDedupWindow] = key;
    __builtin_prefetch(&keys_[(next_ + kAhead) % kDedupWindow], 1);  // nobody looked there lately
    if (next_ < indexed_until_) place(next_, key);
    ++next_;
  }
  [[nodiscard]] bool contains(const Key& key);

 private:
  static constexpr std::uint64_t kAhead = 16;
  static constexpr std::size_t kSlots = 4 * kDedupWindow;  // at most half full between two builds

  [[nodiscard]] bool stands(std::uint64_t position) const noexcept {
    return position < next_ && next_ - position <= kDedupWindow;
  }
  void place(std::uint64_t position, const Key& key) noexcept;
  void build();

  std::unique_ptr<Key[]> keys_;
  std::uint64_t next_ = 0;            // deliveries so far
  std::uint64_t indexed_until_ = 0;   // inserts below it go to the index too
  std::vector<std::uint64_t> index_;  // position + 1; 0: free
};

}  // namespace mesh::engine
