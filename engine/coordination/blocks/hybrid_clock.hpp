// HybridClock: a stamp that follows the wall clock and never contradicts happened-before: 48 bits
// of ms and 16 that count what came in the same one.
//
// Callers     one thread.  Progress  wait-free.  Cost  2 ns.
// Units       physical time in ms, as the caller reads it; it may go back, the stamp does not.
// Errors      receive -> invalid_argument where the remote stamp is more than skew_max_ms ahead of
//             here: such a clock would drag everybody's into the future.
// Source      Kulkarni et al. 2014. A counter that would not fit moves the ms on by one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/errc.hpp"

namespace mesh::coordination {

struct HybridStamp {
  std::uint64_t ms = 0;       // below 2^48
  std::uint32_t counter = 0;  // below 2^16
  [[nodiscard]] constexpr std::uint64_t word() const noexcept { return ms << 16 | counter; }
  [[nodiscard]] static constexpr HybridStamp of(std::uint64_t word) noexcept {
    return {word >> 16, static_cast<std::uint32_t>(word & 0xFFFFU)};
  }
  friend constexpr auto operator<=>(const HybridStamp&, const HybridStamp&) = default;
};

class HybridClock {
 public:
  static constexpr std::uint64_t kMsMax = (std::uint64_t{1} << 48) - 2;

  explicit constexpr HybridClock(HybridStamp start = {}, std::uint64_t skew_max_ms = 500) noexcept
      : last_(start), skew_max_ms_(skew_max_ms) {}

  // Of a local event, or of a message that is sent.
  constexpr HybridStamp tick(std::uint64_t physical_ms) noexcept {
    const std::uint64_t ms = std::max(last_.ms, std::min(physical_ms, kMsMax));
    return last_ = fitted(ms, ms == last_.ms ? last_.counter + 1 : 0);
  }
  constexpr Errc receive(HybridStamp remote, std::uint64_t physical_ms) noexcept {
    const std::uint64_t now = std::min(physical_ms, kMsMax);
    if (remote.ms > kMsMax || remote.counter > 0xFFFF) return Errc::invalid_argument;
    if (remote.ms > now && remote.ms - now > skew_max_ms_) return Errc::invalid_argument;
    const std::uint64_t ms = std::max({last_.ms, remote.ms, now});
    std::uint32_t counter = 0;
    if (ms == last_.ms && ms == remote.ms) {
      counter = std::max(last_.counter, remote.counter) + 1;
    } else if (ms == last_.ms) {
      counter = last_.counter + 1;
    } else if (ms == remote.ms) {
      counter = remote.counter + 1;
    }
    last_ = fitted(ms, counter);
    return Errc::ok;
  }
  [[nodiscard]] constexpr HybridStamp last() const noexcept { return last_; }

  void save(StateWriter& writer) const { writer.put(last_.word()); }
  void load(StateReader& reader) { last_ = HybridStamp::of(reader.get<std::uint64_t>()); }

 private:
  static constexpr HybridStamp fitted(std::uint64_t ms, std::uint32_t counter) noexcept {
    return counter <= 0xFFFF ? HybridStamp{ms, counter} : HybridStamp{ms + 1, 0};
  }

  HybridStamp last_;
  std::uint64_t skew_max_ms_;
};

}  // namespace mesh::coordination
