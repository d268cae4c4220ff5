// SenderThrottle: how many messages a second each sector may send while the engine cannot keep up.
// While it can, nobody is held back, however much is sent.
//
// It cannot where for a second everything that is sent waits in its outbox for 100 ms or more, or
// more than a tenth of it is refused because no more unanswered messages fit, whoever they are for.
// What lies with a target is no reason: a full inbox (InboxPressure), an agent that owes too much,
// no room to keep what is for those that are away. Neither is a pause of the engine's own.
//
// Then the rate that was taken in last is cut and found anew, and shared among the source sectors:
// who asks for less than an equal share has it whole, the others share the rest. Of one that is
// over its share background messages give way to the others, and high and critical ones have an
// eighth more. One that sends over `flood_factor` times its baseline is held to its baseline
// (mesh.md 16), which follows what it sends within minutes. When nobody had to be held back for
// 5 s, nobody is limited any more.
//
// Callers     the loop: admits() for each record that is sent, turn() once a tick.
// Progress    wait-free, no allocation.
// Cost        admits: a count while nobody is limited, an AdaptiveThrottleGovernor's should_allow
//             otherwise, of which this is the mesh's use. turn: a compare; every 100 ms
//             O(sectors log sectors) for at most kSendersMax of them: of a larger mesh neighbouring
//             sectors share a place.
// Units       messages a second; an operation counts as one.
// Errors      admits() -> false: throttled to the sender, who may try again.
// If the      station writes times of its own making into its records: it can hide that all are
// other side  late, and cannot make others late, whose least wait counts.
// lies
// If this     a successor begins with nobody limited, and no baselines for a minute.
// side dies
#pragma once

#include <cstdint>
#include <vector>

#include "engine/coordination/throttle_governor.hpp"
#include "engine/throttle_options.hpp"
#include "sched/records.hpp"

namespace mesh::engine {

class SenderThrottle {
 public:
  static constexpr std::uint32_t kSendersMax = 256;
  static constexpr Nanos kInterval{100'000'000};
  static constexpr Nanos kLate{100'000'000};
  static constexpr std::uint32_t kStrained = 10;          // intervals on end, and it begins
  static constexpr Nanos kCalm{5'000'000'000};            // nobody was held back: it is over
  static constexpr Nanos kFloodEnds{10'000'000'000};      // after it sent so much for the last time
  static constexpr Nanos kBaselineAfter{60'000'000'000};  // younger ones are not known yet
  static constexpr Nanos kBaselineWindow{300'000'000'000};

  // What the loop has counted since it began.
  struct Seen {
    std::uint64_t sends = 0;
    std::uint64_t without_room = 0;  // of them, refused because no more unanswered ones fit
  };

  SenderThrottle(std::uint32_t sectors, const SenderThrottleOptions& options);

  // One more of a sector.
  [[nodiscard]] bool admits(std::uint32_t sector, sched::Priority priority, Nanos now) noexcept {
    const std::uint32_t place = place_of(sector);
    ++senders_[place].offered;
    return !is_limiting_ || admits_limited(place, priority, now);
  }
  // How long it had waited when it was taken in.
  void note_wait(std::int64_t wait_ns) noexcept {
    if (wait_ns < least_wait_ns_) least_wait_ns_ = wait_ns;
  }
  void turn(const Seen& seen, Nanos now) noexcept {
    if (now - looked_ >= kInterval) look(seen, now);
  }
  void set_options(const SenderThrottleOptions& options, Nanos now) noexcept;

  [[nodiscard]] bool is_limiting() const noexcept { return is_limiting_; }
  // All senders together; 0: nobody is limited.
  [[nodiscard]] double rate() const noexcept;
  [[nodiscard]] double share(std::uint32_t sector) const noexcept;
  [[nodiscard]] bool is_flooding(std::uint32_t sector) const noexcept {
    return senders_[place_of(sector)].flood_until != Nanos{0};
  }
  // How often it began.
  [[nodiscard]] std::uint64_t times() const noexcept { return times_; }
  [[nodiscard]] const coordination::AdaptiveThrottleGovernor& governor() const noexcept {
    return governor_;
  }

 private:
  struct Sender {
    std::uint64_t offered = 0;     // in this interval
    std::uint64_t extra_left = 0;  // high and critical ones, beyond the share
    double smoothed = 0;           // messages a second
    double held_to = 0;            // the same
    Nanos flood_until{0};          // 0: it does not flood
  };

  [[nodiscard]] std::uint32_t place_of(std::uint32_t sector) const noexcept {
    const std::uint32_t place = sector >> shift_;
    return place < senders_.size() ? place : static_cast<std::uint32_t>(senders_.size()) - 1;
  }
  [[nodiscard]] bool admits_limited(std::uint32_t place, sched::Priority priority,
                                    Nanos now) noexcept;
  void look(const Seen& seen, Nanos now) noexcept;
  void begin(double taken_per_s, Nanos now) noexcept;
  void end(Nanos now) noexcept;
  void learn(double dt_s) noexcept;
  void ration(double dt_s, Nanos now) noexcept;
  void hold(std::uint32_t place, double most_per_s, Nanos now) noexcept;
  [[nodiscard]] double baseline_of(const Sender& sender) const noexcept;

  SenderThrottleOptions options_;
  std::uint32_t shift_ = 0;
  bool is_limiting_ = false;
  std::int64_t least_wait_ns_ = INT64_MAX;
  std::vector<Sender> senders_;
  coordination::AdaptiveThrottleGovernor governor_;
  Seen seen_{};
  std::uint64_t limited_ = 0;  // in this interval
  std::uint64_t times_ = 0;
  std::uint32_t strained_ = 0;
  double learned_s_ = 0;
  Nanos looked_{0};
  Nanos last_limited_{0};
};

}  // namespace mesh::engine
