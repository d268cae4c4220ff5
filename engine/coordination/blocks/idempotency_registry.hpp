// IdempotencyRegistry: which events a sink has applied, so that one that comes again is applied
// once: the transactional inbox.
//
// Callers     one thread: the sink's.  Progress  wait-free.  Cost  50 ns, two lines.
// Memory      16 bytes an id and 16 of index (32 at the most), as they come into use: of a million
//             33 MB, of an empty one next to none.
// Units       ids as the outbox gives them; window in ns.
// Guarantees  exact: an id within its window is never taken for new, a new one never for known.
//             Effectively once holds where the effect and the registry are one commit: save() both
//             in the same snapshot or journal record, or apply the effect in once().
// Errors      accept -> duplicate; capacity, where `capacity` ids are younger than the window: with
//             the wait until the oldest may be forgotten. None is forgotten before.
// Source      idempotent receiver (Hohpe & Woolf 2003); transactional inbox.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "engine/coordination/blocks/fingerprint_index.hpp"
#include "engine/coordination/blocks/zeroed.hpp"
#include "shm/base/errc.hpp"

namespace mesh::coordination {

class IdempotencyRegistry {
 public:
  struct Verdict {
    Errc code = Errc::ok;
    std::int64_t retry_after_ns = 0;
  };

  IdempotencyRegistry(std::size_t capacity, std::int64_t window_ns)
      : window_ns_(window_ns), ring_(capacity == 0 ? 1 : capacity), index_(ring_.size()) {}

  // What accept() would say.
  [[nodiscard]] Verdict judge(std::uint64_t id, std::int64_t now_ns) noexcept {
    forget(now_ns);
    if (find(id) != kNone) return {Errc::duplicate, 0};
    if (count_ < ring_.size()) return {};
    return {Errc::capacity, ring_[first_].seen_ns + window_ns_ - now_ns};
  }
  // The same, and forgets nothing: for who may yet refuse for another reason.
  [[nodiscard]] Verdict peek(std::uint64_t id, std::int64_t now_ns) const noexcept {
    const auto is_over = [&](const Seen& seen) { return now_ns - seen.seen_ns >= window_ns_; };
    const std::uint32_t at = find(id);
    if (at != kNone && !is_over(ring_[at])) return {Errc::duplicate, 0};
    if (count_ < ring_.size() || is_over(ring_[first_])) return {};
    return {Errc::capacity, ring_[first_].seen_ns + window_ns_ - now_ns};
  }
  // ok: it was new, and is known from now on.
  [[nodiscard]] Verdict accept(std::uint64_t id, std::int64_t now_ns) noexcept {
    const Verdict verdict = judge(id, now_ns);
    if (verdict.code != Errc::ok) return verdict;
    const std::size_t at = (first_ + count_++) % ring_.size();
    ring_[at] = {id, now_ns};
    index_.add(hash_of(id, 0), static_cast<std::uint32_t>(at));
    return verdict;
  }
  // Runs `effect`, which says whether it took place, only for a new id; what failed may come again.
  template <class Effect>
  Verdict once(std::uint64_t id, std::int64_t now_ns, Effect&& effect) {
    const Verdict verdict = judge(id, now_ns);
    if (verdict.code != Errc::ok) return verdict;
    if (!std::forward<Effect>(effect)()) return {Errc::callback_failed, 0};
    return accept(id, now_ns);
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

  void save(StateWriter& writer) const {
    writer.put(static_cast<std::uint32_t>(count_));
    for (std::size_t i = 0; i < count_; ++i) {
      const Seen& seen = ring_[(first_ + i) % ring_.size()];
      writer.put(seen.id);
      writer.put(seen.seen_ns);
    }
  }
  void load(StateReader& reader) {
    const std::size_t count = reader.get_count(16);
    if (count > ring_.size() || count_ != 0) return reader.fail();
    for (std::size_t i = 0; i < count; ++i) {
      const auto id = reader.get<std::uint64_t>();
      const auto seen_ns = reader.get<std::int64_t>();
      if (reader.failed() || accept(id, seen_ns).code != Errc::ok) return reader.fail();
    }
  }

 private:
  static constexpr std::uint32_t kNone = FingerprintIndex::kNone;
  struct Seen {
    std::uint64_t id = 0;
    std::int64_t seen_ns = 0;
  };
  [[nodiscard]] std::uint32_t find(std::uint64_t id) const noexcept {
    return index_.find(hash_of(id, 0), [&](std::uint32_t at) { return ring_[at].id == id; });
  }
  void forget(std::int64_t now_ns) noexcept {
    while (count_ != 0 && now_ns - ring_[first_].seen_ns >= window_ns_) {
      index_.erase(hash_of(ring_[first_].id, 0), static_cast<std::uint32_t>(first_));
      first_ = (first_ + 1) % ring_.size();
      --count_;
    }
  }

  std::int64_t window_ns_;
  Zeroed<Seen> ring_;  // oldest first
  FingerprintIndex index_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace mesh::coordination
