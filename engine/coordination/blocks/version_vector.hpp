// VectorClock: how many events of each agent one has seen. PlausibleClock: the same in R words, for
// more agents than a vector can hold.
//
// Callers     one thread a value; pure functions.
// Cost        compare of 16 entries 15 ns. Up to 16 entries stand in the value itself, more on the
//             heap.
// Guarantees  VectorClock: compare is happened-before, exactly. PlausibleClock: never reverses it,
//             and may order what is concurrent; each comparison says which it was.
// Invariants  entries are sorted by agent and none is 0: {} equals {A: 0}. merge never ticks:
//             otherwise receive-then-emit leaves a gap and peers buffer that agent for ever.
// Errors      tick -> overflow at 2^64 - 1; invalid_argument of a clock without an owner.
// Source      Fidge 1988, Mattern 1989; plausible clocks, R-entries: Torres-Rojas & Ahamad 1999.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "shm/base/errc.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class CausalOrder : std::uint8_t { equal, before, after, concurrent };
enum class Guarantee : std::uint8_t { exact, plausible };
constexpr CausalOrder last_of(CausalOrder) noexcept { return CausalOrder::concurrent; }
constexpr Guarantee last_of(Guarantee) noexcept { return Guarantee::plausible; }

struct ClockEntry {
  std::uint64_t agent = 0;
  std::uint64_t count = 0;
  friend bool operator==(const ClockEntry&, const ClockEntry&) = default;
};

[[nodiscard]] constexpr CausalOrder order_of(bool some_less, bool some_more) noexcept {
  if (some_less && some_more) return CausalOrder::concurrent;
  if (some_less) return CausalOrder::before;
  return some_more ? CausalOrder::after : CausalOrder::equal;
}

class VectorClock {
 public:
  static constexpr std::size_t kInline = 16;

  VectorClock() = default;
  // Of an owner, whose entry tick() counts up.
  explicit VectorClock(AgentId owner)
      : owner_(static_cast<std::uint64_t>(owner)), is_owned_(true) {}

  // They are the clock's own: not to be had of one that is gone when the statement is over.
  std::span<const ClockEntry> entries() const&& = delete;
  [[nodiscard]] std::span<const ClockEntry> entries() const& noexcept {
    return size_ <= kInline ? std::span<const ClockEntry>(few_).first(size_)
                            : std::span<const ClockEntry>(many_);
  }
  [[nodiscard]] std::uint64_t at(std::uint64_t agent) const noexcept {
    const auto all = entries();
    const auto place = find(all, agent);
    return place != all.end() && place->agent == agent ? place->count : 0;
  }
  [[nodiscard]] std::uint64_t at(AgentId agent) const noexcept {
    return at(static_cast<std::uint64_t>(agent));
  }
  // A count of 2^63 or more was set: such clocks are compared one by one.
  [[nodiscard]] bool is_huge() const noexcept { return is_huge_; }
  // 0 takes the entry away.
  void set(std::uint64_t agent, std::uint64_t count) {
    const auto all = entries();
    is_huge_ = is_huge_ || count >> 63 != 0;
    const auto at = static_cast<std::size_t>(find(all, agent) - all.begin());
    const bool is_there = at < all.size() && all[at].agent == agent;
    if (is_there && count != 0) {
      (size_ <= kInline ? few_[at] : many_[at]).count = count;
    } else if (is_there) {
      remove(at);
    } else if (count != 0) {
      insert(at, {agent, count});
    }
  }
  Errc tick_inplace() noexcept { return is_owned_ ? tick_inplace(owner_) : Errc::invalid_argument; }
  Errc tick_inplace(std::uint64_t agent) {
    const std::uint64_t count = at(agent);
    if (count == UINT64_MAX) return Errc::overflow;
    set(agent, count + 1);
    return Errc::ok;
  }
  void merge_inplace(const VectorClock& other) {
    for (const auto& entry : other.entries()) {
      if (entry.count > at(entry.agent)) set(entry.agent, entry.count);
    }
  }
  // What a caller's list says: in any order, of each agent the highest.
  static VectorClock of(std::span<const ClockEntry> entries) {
    VectorClock clock;
    for (const auto& entry : entries) {
      if (entry.count > clock.at(entry.agent)) clock.set(entry.agent, entry.count);
    }
    return clock;
  }

 private:
  static std::span<const ClockEntry>::iterator find(std::span<const ClockEntry> all,
                                                    std::uint64_t agent) noexcept {
    return std::lower_bound(
        all.begin(), all.end(), agent,
        [](const ClockEntry& entry, std::uint64_t wanted) { return entry.agent < wanted; });
  }
  void insert(std::size_t at, const ClockEntry& entry) {
    if (size_ == kInline) many_.assign(few_.begin(), few_.end());
    if (size_ >= kInline) {
      many_.insert(many_.begin() + static_cast<std::ptrdiff_t>(at), entry);
    } else {
      std::copy_backward(few_.begin() + static_cast<std::ptrdiff_t>(at),
                         few_.begin() + static_cast<std::ptrdiff_t>(size_),
                         few_.begin() + static_cast<std::ptrdiff_t>(size_) + 1);
      few_[at] = entry;
    }
    ++size_;
  }
  void remove(std::size_t at) {
    if (size_ > kInline) {
      many_.erase(many_.begin() + static_cast<std::ptrdiff_t>(at));
      if (--size_ == kInline) std::copy(many_.begin(), many_.end(), few_.begin());
    } else {
      std::copy(few_.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                few_.begin() + static_cast<std::ptrdiff_t>(size_),
                few_.begin() + static_cast<std::ptrdiff_t>(at));
      --size_;
    }
  }

  std::array<ClockEntry, kInline> few_{};
  std::vector<ClockEntry> many_;  // all of them, where there are more than few_ holds
  std::size_t size_ = 0;
  std::uint64_t owner_ = 0;
  bool is_owned_ = false;
  bool is_huge_ = false;
};

// Of clocks that name the same agents, the rule within a domain, and count below 2^63: no branch
// hangs on a count, and what is concurrent shows early. False, and no order: they do not name the
// same. The difference of two such counts says in its highest bit which is less, and agents differ
// where the difference of any is not 0: a subtraction of whole entries says both.
[[nodiscard]] inline bool compare_alike(std::span<const ClockEntry> left,
                                        std::span<const ClockEntry> right,
                                        CausalOrder& order) noexcept {
  using Lanes __attribute__((vector_size(16))) = std::uint64_t;
  static_assert(sizeof(ClockEntry) == sizeof(Lanes));
  Lanes less{};
  Lanes more{};
  const auto add = [&](std::size_t at) {
    Lanes one;
    Lanes other;
    std::memcpy(&one, &left[at], sizeof one);
    std::memcpy(&other, &right[at], sizeof other);
    less |= one - other;
    more |= other - one;
  };
  const auto is_concurrent = [&] {
    const Lanes both = less & more;
    return both[1] >> 63 != 0;
  };
  constexpr std::size_t kFirst = 4;  // most of what is concurrent shows here
  constexpr std::size_t kBlock = 8;
  std::size_t i = 0;
  if (left.size() >= kFirst) {
    for (; i < kFirst; ++i) add(i);
  }
  while (i + kBlock <= left.size() && !is_concurrent()) {
    for (const std::size_t end = i + kBlock; i < end; ++i) add(i);
  }
  if (!is_concurrent()) {
    for (; i < left.size(); ++i) add(i);
  }
  order = order_of(less[1] >> 63 != 0, more[1] >> 63 != 0);
  return less[0] == 0;
}

[[nodiscard]] inline CausalOrder compare(const VectorClock& a, const VectorClock& b) noexcept {
  const auto left = a.entries();
  const auto right = b.entries();
  CausalOrder order = CausalOrder::equal;
  const bool may_be_alike = left.size() == right.size() && !a.is_huge() && !b.is_huge();
  if (may_be_alike && compare_alike(left, right, order)) return order;
  bool less = false;
  bool more = false;
  std::size_t i = 0;
  std::size_t k = 0;
  while (i < left.size() && k < right.size()) {
    if (left[i].agent == right[k].agent) {
      less |= left[i].count < right[k].count;
      more |= left[i].count > right[k].count;
      ++i;
      ++k;
    } else if (left[i].agent < right[k].agent) {
      more = true;
      ++i;
    } else {
      less = true;
      ++k;
    }
  }
  return order_of(less || k < right.size(), more || i < left.size());
}
// a has seen all that b has.
[[nodiscard]] inline bool dominates(const VectorClock& a, const VectorClock& b) noexcept {
  const CausalOrder order = compare(a, b);
  return order == CausalOrder::after || order == CausalOrder::equal;
}
[[nodiscard]] inline VectorClock merge(VectorClock a, const VectorClock& b) {
  a.merge_inplace(b);
  return a;
}
[[nodiscard]] inline Result<VectorClock> tick(VectorClock clock) {
  const Errc done = clock.tick_inplace();
  if (done != Errc::ok) return fail(done, "vector clock: no owner, or at its end");
  return clock;
}

struct PlausibleVerdict {
  CausalOrder order = CausalOrder::equal;
  Guarantee guarantee = Guarantee::plausible;
};

// R entries, agent modulo R: an entry counts the events of all agents that fall on it.
class PlausibleClock {
 public:
  static constexpr std::size_t kEntriesMax = 64;

  explicit PlausibleClock(std::size_t entries = 16, std::uint64_t agent = 0) noexcept
      : size_(std::clamp<std::size_t>(entries, 1, kEntriesMax)), agent_(agent) {}

  Errc tick() noexcept {
    std::uint64_t& mine = counts_[agent_ % size_];
    if (mine == UINT64_MAX) return Errc::overflow;
    ++mine;
    return Errc::ok;
  }
  // Of a clock of as many entries.
  Errc merge(const PlausibleClock& other) noexcept {
    if (other.size_ != size_) return Errc::invalid_argument;
    for (std::size_t i = 0; i < size_; ++i) counts_[i] = std::max(counts_[i], other.counts_[i]);
    return Errc::ok;
  }
  // Takes what a vector clock has seen: how a late joiner starts.
  void seed(const VectorClock& clock) noexcept {
    for (const auto& entry : clock.entries()) {
      std::uint64_t& count = counts_[entry.agent % size_];
      count += std::min(entry.count, UINT64_MAX - count);
    }
  }
  // Exact where it says concurrent: that is never wrong.
  [[nodiscard]] PlausibleVerdict compare(const PlausibleClock& other) const noexcept {
    bool less = false;
    bool more = false;
    for (std::size_t i = 0; i < size_; ++i) {
      less |= counts_[i] < other.counts_[i];
      more |= counts_[i] > other.counts_[i];
    }
    CausalOrder order = order_of(less, more);
    const bool is_same = order == CausalOrder::equal;
    if (is_same && agent_ != other.agent_) order = CausalOrder::concurrent;
    const bool is_exact = order == CausalOrder::concurrent || order == CausalOrder::equal;
    return {order, is_exact ? Guarantee::exact : Guarantee::plausible};
  }

 private:
  std::array<std::uint64_t, kEntriesMax> counts_{};
  std::size_t size_;
  std::uint64_t agent_;
};

}  // namespace mesh::coordination
