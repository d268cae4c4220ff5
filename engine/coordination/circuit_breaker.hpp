// CircuitBreaker: stops calls to what fails, and lets a few through to see whether it still does.
//
//   permits            closed --a rule fires--> open --open_ns--> half_open --successes--> closed
//                                                ^------------ a failure, or undecided ------|
//   probe_then_ratio   closed --a rule fires--> open --one probe ok--> half_open (one call in ten)
//                        ^--- failure rate low --------- half_open_ns ---|--- high --> open
//   by command         forced_open, disabled; force_close and reset lead back to closed
//
// Callers     one thread, which owns the machine. Any process may read what view() publishes.
// Progress    wait-free. allow, record: O(1); a record that starts a new bucket O(buckets).
// Cost        allow while closed: 3 ns, record: 12 ns. No allocation after construction.
// Units       Nanos of the host clock; ppm of calls.
// If the      station with probes dies: StationClosed gives them back at once. A probe that nobody
// other side  answers: permits opens again after half_open_ns_max, probe_then_ratio lets out
// dies,       another after probe_retry_ns.
// or lies     A permit of another epoch, or used twice, changes counters only: a slow call admitted
//             before the trip can neither close nor re-open.
// Invariants  allowed + rejected == calls. At most half_open_probes_max probes are out in an epoch.
//             No permit of an epoch before its open_until.
// Errors      validate -> invalid_config. A negative latency, an instant that cannot be ->
//             invalid_argument.
// Source      Nygard, Release It! (2007); resilience4j: count and time windows, slow calls; Envoy.
//             A limit of probes counts those that are out, successes are counted in total: a count
//             of successes used as the limit never closes where it is below success_threshold.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/window_counter.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

enum class BreakerRecovery : std::uint8_t { permits, probe_then_ratio };
enum class BreakerState : std::uint8_t { closed, open, half_open, forced_open, disabled };
enum class CallOutcome : std::uint8_t { ok, fail, timeout, ignored };
constexpr BreakerState last_of(BreakerState) noexcept { return BreakerState::disabled; }
constexpr CallOutcome last_of(CallOutcome) noexcept { return CallOutcome::ignored; }

[[nodiscard]] std::string_view to_string(BreakerState state) noexcept;

struct CircuitBreakerConfig {
  std::uint32_t failure_threshold = 5;       // failures in the window; 0: off
  std::uint32_t consecutive_threshold = 0;   // failures in a row; 0: off
  std::uint32_t failure_rate_ppm = 500'000;  // 0: off
  std::uint32_t min_calls = 20;              // from how many calls the rates count
  Nanos slow_call_ns{0};                     // 0: off
  std::uint32_t slow_rate_ppm = 1'000'000;
  Nanos window_ns{10'000'000'000};
  std::uint32_t buckets = 10;
  Nanos open_ns{30'000'000'000};
  double open_multiplier = 2;  // for each trip since it was last closed
  Nanos open_ns_max{300'000'000'000};
  std::uint32_t half_open_probes_max = 1;  // out at once
  std::uint32_t success_threshold = 2;     // in total, to close
  Nanos half_open_ns_max{60'000'000'000};
  std::uint32_t jitter_ppm = 0;  // of open_ns, to either side
  bool count_timeouts_as_failure = true;
  BreakerRecovery recovery = BreakerRecovery::permits;
  Nanos probe_retry_ns{60'000'000'000};  // from here on probe_then_ratio
  std::uint32_t half_open_pass_every = 10;
  Nanos half_open_ns{60'000'000'000};
  std::uint32_t half_open_failure_ppm = 50'000;
  std::uint32_t events_max = 64;

  static Result<CircuitBreakerConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// What an admitted call holds. The serial is 0 for a call that is no probe.
struct Permit {
  std::uint32_t epoch = 0;
  std::uint32_t serial = 0;
};

namespace breaker {
struct Allow {
  std::uint32_t station = 0;
};
struct Record {
  Permit permit;
  CallOutcome outcome = CallOutcome::ok;
  Nanos latency{0};
  Nanos retry_after{0};  // how long to stay open if this trips it; 0: by the config
};
// What a station has summed up by itself while closed.
struct RecordSums {
  std::uint32_t epoch = 0;
  std::uint32_t ok = 0;
  std::uint32_t failed = 0;
  std::uint32_t slow = 0;  // among both
};
struct ForceOpen {};
struct ForceClose {};
struct Reset {};
struct Disable {};
struct StationClosed {
  std::uint32_t station = 0;
};
// A transition on another host: the newer epoch wins, open wins a tie.
struct Mirror {
  BreakerState state = BreakerState::closed;
  std::uint32_t epoch = 0;
  Nanos open_until{0};
};
}  // namespace breaker

struct BreakerReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  BreakerState state = BreakerState::closed;
  bool is_probe = false;
  bool is_ignored = false;  // a stale, unknown or used permit
  Permit permit;
  Nanos retry_after{0};  // rejected: when a call may pass; 0: not known
};

// The words of the table.
struct BreakerView {
  std::uint64_t word = 0;  // state 3 bits, epoch 30, probes 12, trips 8
  std::int64_t open_until_ns = 0;

  [[nodiscard]] static BreakerState state_of(std::uint64_t word) noexcept {
    return static_cast<BreakerState>(word & 7U);
  }
  [[nodiscard]] static std::uint32_t epoch_of(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> 3) & 0x3FFF'FFFFU;
  }
  // What any process goes by before it calls: a hint that may be one tick old.
  [[nodiscard]] bool is_passable() const noexcept {
    const BreakerState state = state_of(word);
    return state == BreakerState::closed || state == BreakerState::disabled;
  }
};

struct BreakerCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t calls = 0;
  std::uint64_t allowed = 0;
  std::uint64_t rejected = 0;
  std::uint64_t probes = 0;
  std::uint64_t successes = 0;
  std::uint64_t failures = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t ignored = 0;          // outcomes that say nothing
  std::uint64_t stale_permits = 0;    // of another epoch
  std::uint64_t unknown_permits = 0;  // never given out, or used before
  std::uint64_t returned_probes = 0;  // by a station's death or a dropped permit
  std::uint64_t trips = 0;
  std::uint64_t transitions = 0;
  std::uint64_t callback_failures = 0;
};

struct BreakerActions {
  bool view_changed = false;  // publish view() again
};

using BreakerCommand = std::variant<breaker::Allow, breaker::Record, breaker::RecordSums,
                                    breaker::ForceOpen, breaker::ForceClose, breaker::Reset,
                                    breaker::Disable, breaker::StationClosed, breaker::Mirror>;

class HeldPermit;

class CircuitBreaker final
    : public ServiceForm<CircuitBreaker, CircuitBreakerConfig, BreakerCommand, BreakerReply,
                         BreakerCounters, BreakerActions> {
 public:
  enum class Event : std::uint16_t { state_change = 1 };  // a: from, b: to, c: epoch

  static constexpr std::uint32_t kEpochMask = 0x3FFF'FFFF;  // 34 years at one transition a second
  static constexpr std::uint32_t kProbesMax = 4'095;

  static Status validate(const Config& config);
  explicit CircuitBreaker(const Config& config, std::uint64_t seed = 0);

  Reply allow(Nanos now, std::uint32_t station = 0) noexcept {
    ++counters_.commands;
    if (state_ == BreakerState::closed && clock_.goes_on(now)) [[likely]] {
      clock_.at(now);
      ++counters_.calls;
      ++counters_.allowed;
      Reply reply;
      reply.permit.epoch = epoch_;
      return reply;
    }
    return allow_otherwise(now, station);
  }
  Reply record(const breaker::Record& record, Nanos now) noexcept {
    ++counters_.commands;
    const bool plain = record.outcome == CallOutcome::ok && state_ == BreakerState::closed &&
                       record.permit.epoch == epoch_ && record.latency.count() >= 0;
    if (plain && clock_.goes_on(now)) [[likely]] {
      record_success(clock_.at(now), record.latency);
      Reply reply;
      reply.state = state_;
      reply.permit = record.permit;
      return reply;
    }
    return record_otherwise(record, now);
  }
  // allow(), with a permit that returns itself where it is dropped; HeldPermit below.
  [[nodiscard]] HeldPermit hold(Nanos now, std::uint32_t station = 0) noexcept;
  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  // Runs f unless the breaker refuses: f's value or its error, Errc::not_routable with the wait as
  // detail, or callback_failed when f throws. `latency` says how long f took, where it matters.
  template <class F, class Latency>
  auto call(F&& f, Nanos now, Latency&& latency) {
    using Returned = std::invoke_result_t<F>;
    using Out = decltype(as_result<Returned>());
    const Reply reply = allow(now);
    if (reply.code != Errc::ok) return Out(fail(reply.code, "breaker: the instant is below 0"));
    if (reply.refusal != Refusal::none) {
      return Out(fail(Errc::not_routable, "breaker: open", reply.retry_after.count()));
    }
    Out out = guarded<Out>(std::forward<F>(f));
    const CallOutcome outcome = out ? CallOutcome::ok : CallOutcome::fail;
    record({reply.permit, outcome, latency(), Nanos{0}}, now);
    return out;
  }
  template <class F>
  auto call(F&& f, Nanos now) {
    return call(std::forward<F>(f), now, [] { return Nanos{0}; });
  }

  // Opens it for a reason that it cannot count itself: too many sectors below it are open.
  void trip(Nanos now) noexcept { trip(clock_.at(now), Nanos{0}); }

  // On restart: state, epoch and open_until of the table; empty windows. What was open stays open.
  void adopt(const BreakerView& view, Nanos now) noexcept;
  [[nodiscard]] BreakerView view() const noexcept;

  [[nodiscard]] BreakerState state() const noexcept { return state_; }
  [[nodiscard]] std::uint32_t epoch() const noexcept { return epoch_; }
  [[nodiscard]] std::uint32_t trips() const noexcept { return trips_; }
  [[nodiscard]] Nanos open_until() const noexcept { return Nanos{open_until_ns_}; }
  [[nodiscard]] std::uint32_t probes_out() const noexcept { return probes_out_; }
  // probe_then_ratio: it is open, and allow() would give out the probe.
  [[nodiscard]] bool is_probe_due(Nanos now) const noexcept {
    return state_ == BreakerState::open && now.count() >= open_until_ns_ &&
           (probes_out_ == 0 || is_probe_lost(now.count()));
  }
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  friend HeldPermit;
  static constexpr SnapshotKind kKind{"circuit_breaker", 1};
  static constexpr std::string_view kWho = "circuit breaker";
  struct Probe {
    std::uint32_t serial = 0;  // 0: free
    std::uint32_t station = 0;
  };
  template <class T>
  static auto as_result() {
    if constexpr (requires { typename T::error_type; }) {
      return T(fail(Errc::ok, {}));
    } else {
      return Result<T>(fail(Errc::ok, {}));
    }
  }
  template <class Out, class F>
  Out guarded(F&& f) {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
        f();
        return Out{};
      } else {
        return f();
      }
    } catch (const std::exception& thrown) {
      ++counters_.callback_failures;
      return fail(Errc::callback_failed, std::string("breaker: the call threw: ") + thrown.what());
    } catch (...) {
      ++counters_.callback_failures;
      return fail(Errc::callback_failed, "breaker: the call threw");
    }
  }

  void record_success(std::int64_t now_ns, Nanos latency) noexcept {
    ++counters_.successes;
    window_.add(now_ns, false, is_slow(latency));
    consecutive_ = 0;
    if (rates_on_ && trips_by_rate()) trip(now_ns, Nanos{0});
  }
  [[nodiscard]] bool is_slow(Nanos latency) const noexcept {
    return config_.slow_call_ns.count() != 0 && latency >= config_.slow_call_ns;
  }
  [[nodiscard]] bool trips_by_rate() const noexcept;
  [[nodiscard]] bool trips_by_count() const noexcept;

  Reply refuse(Errc code) noexcept;
  Reply reject(Nanos retry_after) noexcept;
  Reply admit(std::uint32_t serial) noexcept;
  Reply allow_otherwise(Nanos now, std::uint32_t station) noexcept;
  Reply allow_open(std::int64_t now_ns, std::uint32_t station) noexcept;
  Reply allow_half_open(std::int64_t now_ns, std::uint32_t station) noexcept;
  Reply record_otherwise(const breaker::Record& record, Nanos now) noexcept;
  void count_outcome(CallOutcome outcome) noexcept;
  void record_closed(const breaker::Record& record, bool failed, std::int64_t now_ns) noexcept;
  void record_probe(const breaker::Record& record, bool failed, std::int64_t now_ns) noexcept;
  Reply record_sums(const breaker::RecordSums& sums, Nanos now) noexcept;
  Reply close_station(std::uint32_t station) noexcept;
  Reply mirror(const breaker::Mirror& other, Nanos now) noexcept;
  Reply answer(bool ignored = false) const noexcept;

  // Who had the last one has never answered.
  [[nodiscard]] bool is_probe_lost(std::int64_t now_ns) const noexcept {
    return now_ns - probed_ns_ >= config_.probe_retry_ns.count();
  }
  std::uint32_t take_probe(std::uint32_t station, std::int64_t now_ns) noexcept;
  bool free_probe(std::uint32_t serial) noexcept;
  void void_probes() noexcept;
  void expire(std::int64_t now_ns) noexcept;
  void enter(BreakerState state, std::int64_t now_ns) noexcept;
  void trip(std::int64_t now_ns, Nanos retry_after) noexcept;
  void open_for(std::int64_t duration_ns, std::int64_t now_ns) noexcept;
  void close(std::int64_t now_ns) noexcept;
  void half_open(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::int64_t open_duration() noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  // What allow() and record() touch while closed comes first.
  BreakerState state_ = BreakerState::closed;
  bool rates_on_ = false;
  bool view_changed_ = true;
  std::uint32_t epoch_ = 0;
  std::uint32_t consecutive_ = 0;
  WindowCounter window_;
  std::uint32_t trips_ = 0;  // since it was last closed; stays at 255
  std::int64_t open_until_ns_ = 0;
  std::int64_t entered_ns_ = 0;
  std::int64_t probed_ns_ = 0;
  std::uint32_t probes_out_ = 0;
  std::uint32_t last_serial_ = 0;
  std::uint32_t probes_ok_ = 0;
  std::uint64_t half_open_seen_ = 0;
  std::uint64_t half_open_calls_ = 0;
  std::uint64_t half_open_failed_ = 0;
  Rng rng_;
  std::vector<Probe> probes_;  // half_open_probes_max of them
};

// A permit with an owner: dropped unspent it returns its probe, without an outcome, at the last
// instant that the breaker saw. Of the breaker's thread, which must outlive it; no
// allocation. Empty where the breaker refused (reply() says for how long), and once
// it is spent or moved from.
class HeldPermit {
 public:
  HeldPermit() = default;
  HeldPermit(HeldPermit&& other) noexcept;
  HeldPermit& operator=(HeldPermit&& other) noexcept;
  ~HeldPermit() { drop(); }

  [[nodiscard]] explicit operator bool() const noexcept { return breaker_ != nullptr; }
  [[nodiscard]] const BreakerReply& reply() const noexcept { return reply_; }  // of allow()
  // The call's outcome, once. Empty: Errc::wrong_state, and the breaker hears nothing.
  BreakerReply spend(CallOutcome outcome, Nanos now, Nanos latency = Nanos{0}) noexcept;
  void drop() noexcept;  // now, instead of at its end

 private:
  friend CircuitBreaker;
  HeldPermit(CircuitBreaker& breaker, const BreakerReply& reply) noexcept;

  CircuitBreaker* breaker_ = nullptr;
  BreakerReply reply_;
};

// min(open_ns * multiplier^trips, open_ns_max): for how long the trip after `trips` others opens.
[[nodiscard]] std::int64_t open_backoff_ns(const CircuitBreakerConfig& config,
                                           std::uint32_t trips) noexcept;

static_assert(DurableService<CircuitBreaker>);

extern template class ServiceForm<CircuitBreaker, CircuitBreakerConfig, BreakerCommand,
                                  BreakerReply, BreakerCounters, BreakerActions>;

}  // namespace mesh::coordination
