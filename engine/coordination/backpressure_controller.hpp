// BackpressureController: slows who fills a queue before it is full: accepts, then sheds by
// priority and rations the rest, then refuses, and lets go only when the queue is nearly empty.
//
//   accepting --depth >= high--> throttling --depth >= hard_limit--> blocked
//       ^------ depth <= low --------|  ^------- depth < hard_limit -----|
//
//   Where what it sends on to is under pressure, it sheds by that too, and passes it on in its
//   view: senders slow before the queue between is full.
//
// Callers     one thread, the one that admits to the queue. Any process may read view()'s word.
// Progress    wait-free.  Cost  should_accept: accepting 4 ns, throttling 25 ns. No allocation.
// Units       depths and marks in messages, never fractions; pressure in ppm of (low, hard_limit).
// If the      sender never looks at the view: the owner of the queue asks again when it delivers,
// other side  so depth never passes hard_limit. What is refused stays with the caller.
// lies
// Invariants  offered == accepted + shed + rate_refused + blocked. Priority k accepted, so is k + 1
//             in the same state. A message is admitted only below hard_limit.
// Errors      validate -> invalid_config. priority > 3, a depth beyond 32 bits, an
//             instant that cannot be -> invalid_argument.
// Source      watermark hysteresis; shedding by priority after RED (Floyd & Jacobson 1993); preset
//             latency: CoDel on how long messages wait (RFC 8289).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>

#include "engine/coordination/blocks/codel.hpp"
#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/coordination/blocks/pressure_relay.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

inline constexpr std::uint32_t kPressurePriorities = 4;  // 0 background .. 3 critical

enum class PressureState : std::uint8_t { accepting, throttling, blocked };
constexpr PressureState last_of(PressureState) noexcept { return PressureState::blocked; }
[[nodiscard]] std::string_view to_string(PressureState state) noexcept;

struct BackpressureConfig {
  std::uint32_t watermark_high = 100;
  std::uint32_t watermark_low = 20;
  std::uint32_t hard_limit = 0;    // 0: twice the high mark
  double throttle_rate_per_s = 0;  // 0: 0.9 of the measured drain rate, at least 1
  std::uint32_t throttle_burst = 10;
  std::array<std::uint32_t, kPressurePriorities> shed_start_ppm{0, 250'000, 500'000, 1'000'000};
  double drain_alpha = 0.2;
  Nanos drain_sample_ns{100'000'000};
  bool codel = false;  // also shed what has waited too long, by on_dequeue
  Nanos codel_target_ns{5'000'000};
  Nanos codel_interval_ns{100'000'000};
  std::uint32_t grants_max = 1'024;        // of admissions to stations ahead of time, live at once
  std::uint32_t downstream_max = 16;       // queues that it sends on to and hears of
  Nanos downstream_ttl_ns{1'000'000'000};  // of what was heard of one
  std::uint32_t events_max = 64;

  [[nodiscard]] std::uint32_t limit() const noexcept {
    return hard_limit != 0 ? hard_limit : 2 * watermark_high;
  }
  static Result<BackpressureConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace pressure {
// The depth of the queue, from its own cursors; `drained` messages left it since the last one.
struct Observe {
  std::uint64_t depth = 0;
  std::uint64_t drained = 0;
};
struct ShouldAccept {
  std::uint32_t priority = 2;
};
// The view's pressure of a queue that this one sends on to.
struct HearDownstream {
  std::uint32_t child = 0;
  std::uint32_t pressure_ppm = 0;
};
// A station asks for admissions of that priority ahead of time; while accepting it needs none, and
// what is critical never does. What would be shed now gets none either.
struct WantCredit {
  std::uint32_t station = 0;
  std::uint64_t count = 0;
  std::uint32_t priority = 2;
};
struct ReportSpent {
  std::uint32_t station = 0;
  std::uint64_t count = 0;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace pressure

struct PressureReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  PressureState state = PressureState::accepting;
  Nanos retry_after{0};
  Grant grant;  // WantCredit
};

struct PressureView {
  PressureState state = PressureState::accepting;
  std::uint32_t pressure_ppm = 0;
  std::uint32_t depth = 0;

  // {state 2 bits, pressure 20, depth 32}.
  [[nodiscard]] std::uint64_t word() const noexcept {
    return static_cast<std::uint64_t>(state) | std::uint64_t{pressure_ppm} << 2 |
           std::uint64_t{depth} << 22;
  }
  [[nodiscard]] static PressureView of(std::uint64_t word) noexcept {
    return {static_cast<PressureState>(word & 3U),
            static_cast<std::uint32_t>(word >> 2) & 0xF'FFFFU,
            static_cast<std::uint32_t>(word >> 22)};
  }
};

// How many messages a queue has taken in and given out since it began: a ring's own two cursors.
struct QueueCursors {
  std::uint64_t published = 0;
  std::uint64_t taken = 0;
};
// Where the depth stands, read before each decision; `queue` is what `read` is called with.
struct DepthSource {
  QueueCursors (*read)(const void* queue) noexcept = nullptr;
  const void* queue = nullptr;
};

struct PressureCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t offered = 0;
  std::uint64_t accepted = 0;
  std::uint64_t shed = 0;
  std::uint64_t rate_refused = 0;
  std::uint64_t blocked = 0;
  std::uint64_t transitions = 0;
  std::uint64_t codel_drops = 0;
};

struct PressureActions {
  bool view_changed = false;
};

using PressureCommand =
    std::variant<pressure::Observe, pressure::ShouldAccept, pressure::WantCredit,
                 pressure::ReportSpent, pressure::StationClosed, pressure::HearDownstream>;

class BackpressureController final
    : public ServiceForm<BackpressureController, BackpressureConfig, PressureCommand, PressureReply,
                         PressureCounters, PressureActions> {
 public:
  enum class Event : std::uint16_t { on = 1, off = 2 };  // backpressure:on/off; a: depth

  static Status validate(const Config& config);
  // The depth comes by Observe, on_enqueue and on_dequeue.
  explicit BackpressureController(const Config& config, std::uint64_t seed = 0);
  // Bound to a queue: each decision reads its cursors first, about 10 ns more. A restored one is
  // bound anew, by bind().
  BackpressureController(const Config& config, DepthSource source);
  void bind(DepthSource source) noexcept { source_ = source; }

  Reply should_accept(std::uint32_t priority, Nanos now) noexcept {
    ++counters_.commands;
    const bool plain = state_ == PressureState::accepting && priority < kPressurePriorities &&
                       downstream_.last_most() == 0 && source_.read == nullptr;
    if (plain && clock_.goes_on(now)) [[likely]] {
      clock_.at(now);
      ++counters_.offered;
      ++counters_.accepted;
      return {};
    }
    return decide(priority, now);
  }
  // Library use, where there is no ring to read: the controller counts for itself.
  Reply on_enqueue(std::uint64_t count, Nanos now) noexcept {
    return apply(pressure::Observe{count > kDepthMax ? UINT64_MAX : depth_ + count, 0}, now);
  }
  Reply on_dequeue(std::uint64_t count, Nanos now) noexcept {
    return apply(pressure::Observe{count < depth_ ? depth_ - count : 0, count}, now);
  }
  // True: what has just left waited so long that it should be shed (preset latency).
  [[nodiscard]] bool should_shed(Nanos sojourn, Nanos now) noexcept;
  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] PressureState state() const noexcept { return state_; }
  [[nodiscard]] std::uint64_t depth() const noexcept { return depth_; }
  // Of its own queue, or of one further on, whichever is greater.
  [[nodiscard]] std::uint32_t pressure_ppm() const noexcept {
    return std::max(own_pressure_ppm(), downstream_.last_most());
  }
  [[nodiscard]] double pressure() const noexcept { return pressure_ppm() * 1e-6; }
  // For producers that pull: how many more may come before anybody is slowed.
  [[nodiscard]] std::uint64_t room() const noexcept {
    return depth_ < config_.watermark_high ? config_.watermark_high - depth_ : 0;
  }
  [[nodiscard]] double drain_rate_per_s() const noexcept { return drain_rate_; }
  [[nodiscard]] double throttle_rate_per_s() const noexcept { return rate_; }
  [[nodiscard]] PressureView view() const noexcept;
  [[nodiscard]] CreditAudit audit() const noexcept { return credits_.audit(); }

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr std::uint64_t kDepthMax = UINT32_MAX;  // 32 bits of the view
  static constexpr SnapshotKind kKind{"backpressure_controller", 3};
  static constexpr std::string_view kWho = "backpressure";
  Reply refuse(Errc code) noexcept;  // with the state
  Reply reject(Refusal refusal, Nanos retry_after) noexcept;
  Reply decide(std::uint32_t priority, Nanos now) noexcept;
  [[nodiscard]] std::uint32_t own_pressure_ppm() const noexcept;
  Reply observe(std::uint64_t depth, std::uint64_t drained, Nanos now) noexcept;
  Reply want(const pressure::WantCredit& command, Nanos now) noexcept;
  void look(Nanos now) noexcept;
  [[nodiscard]] Nanos until_shed_ends(std::uint32_t priority) const noexcept;
  void enter(PressureState state, std::int64_t now_ns) noexcept;
  void sample_drain(std::uint64_t drained, std::int64_t now_ns) noexcept;
  // When the queue, drained as it is now, is down to `target`.
  [[nodiscard]] Nanos until_depth(std::uint64_t target) const noexcept;
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  PressureState state_ = PressureState::accepting;
  bool view_changed_ = true;
  std::uint64_t depth_ = 0;
  double drain_rate_ = 0;  // EWMA; 0: nothing measured yet
  double rate_ = 1;
  std::uint64_t drained_ = 0;          // in this sample
  std::int64_t sample_begin_ns_ = -1;  // below 0: nothing seen yet
  CreditPool credits_;  // its bucket is the bucket: granted and admitted units come from one place
  Codel codel_;
  PressureRelay downstream_;
  DepthSource source_;            // of this process, in no snapshot
  std::uint64_t last_taken_ = 0;  // its cursor when it was read last
  bool has_looked_ = false;
};

static_assert(DurableService<BackpressureController>);

extern template class ServiceForm<BackpressureController, BackpressureConfig, PressureCommand,
                                  PressureReply, PressureCounters, PressureActions>;

}  // namespace mesh::coordination
