// ClockSender, ClockReceiver: a vector clock to one peer, of which only the entries travel that the
// peer has not acknowledged.
//
// Callers     one thread each; a sender and a receiver for each peer.  Progress  wait-free but for
//             what VectorClock allocates beyond 16 entries.
// Cost        next: one pass over the clock. On the wire: the entries that have changed since the
//             last acknowledged delta, not the members of the domain.
// Guarantees  deltas may be lost, come twice or in any order: the receiver's clock is never ahead
//             of the sender's, and holds everything of a delta that came. After loss nothing has to
//             be asked for: the next delta counts from what was acknowledged.
// If the      peer begins anew: forget() on this side, and the next delta is the whole clock.
// other side  It lies: an acknowledgement of what was never sent, or long ago, is ignored.
// Source      delta-state CRDTs: Almeida, Shoker & Baquero 2015.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/coordination/blocks/version_vector.hpp"

namespace mesh::coordination {

struct ClockDelta {
  std::uint64_t number = 0;  // from 1; what the peer acknowledges
  VectorClock entries;       // in full where they differ from what was acknowledged
};

class ClockSender {
 public:
  static constexpr std::size_t kUnacknowledged = 8;  // remembered; an older one is not awaited

  [[nodiscard]] ClockDelta next(const VectorClock& now) {
    ClockDelta delta{++last_, {}};
    for (const auto& entry : now.entries()) {
      if (entry.count > known_.at(entry.agent)) delta.entries.set(entry.agent, entry.count);
    }
    sent_[last_ % kUnacknowledged] = {last_, now};
    return delta;
  }
  void acknowledged(std::uint64_t number) {
    const Sent& sent = sent_[number % kUnacknowledged];
    if (number == 0 || sent.number != number) return;
    known_.merge_inplace(sent.clock);
  }
  // What the peer is known to have.
  [[nodiscard]] const VectorClock& known() const noexcept { return known_; }
  void forget() {
    known_ = {};
    sent_.fill({});
  }

 private:
  struct Sent {
    std::uint64_t number = 0;
    VectorClock clock;
  };
  std::uint64_t last_ = 0;  // 584 years at a delta a nanosecond
  VectorClock known_;
  std::array<Sent, kUnacknowledged> sent_{};
};

class ClockReceiver {
 public:
  // The number to acknowledge.
  std::uint64_t take(const ClockDelta& delta) {
    clock_.merge_inplace(delta.entries);
    return delta.number;
  }
  [[nodiscard]] const VectorClock& clock() const noexcept { return clock_; }

 private:
  VectorClock clock_;
};

}  // namespace mesh::coordination
