// AdaptiveThrottleGovernor: finds the rate that something downstream sustains, and shares it among
// tenants.
//
//   startup (x2) --queue > alpha--> probing (+ai) <--> steady (PI trims) --> congested (x md)
//                                      ^---- recovering (no growth for two intervals) <---|
//
// Callers     one thread. Any process may read what view() and share() say.
// Progress    wait-free.  Cost  should_allow 25 ns, record 15 ns; tick O(tenants log tenants).
//             No allocation after construction.
// Units       requests a second; Nanos; the standing queue in requests (Little's law).
// If the      downstream slows: the least latency of an interval rises, and the rate is cut once a
// other side  round trip. A station dies: its credit lapses. A host is not heard for three rounds:
// dies        its share of the global cap goes to the others; most are not heard: each keeps
//             cap / known hosts.
// Invariants  min_rate <= rate <= max_rate; the shares of the tenants sum to effective_rate at
//             most. The integral never grows while the output is saturated in the same direction.
// Errors      validate, set_tenant -> invalid_config, invalid_id, capacity. An unknown tenant:
//             not_found. A duration < 0, a sample from later than now + one interval:
//             invalid_argument.
// Limits      a host that was heard once keeps its place (hosts_max) until GlobalCap names it self.
// Source      AIMD: Chiu & Jain 1989; queue: Vegas (Brakmo 1995), by the minimum, as in CoDel,
//             because the mean takes jitter for a queue; PI with anti-windup: Hollot 2001, RFC
//             8033; CoDel: RFC 8289. Growth is additive: growth in proportion starves who comes
//             later.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/codel.hpp"
#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

enum class ThrottleMode : std::uint8_t { startup, probing, steady, congested, recovering };
[[nodiscard]] std::string_view to_string(ThrottleMode mode) noexcept;

struct ThrottleConfig {
  double initial_rate = 50;
  double min_rate = 1;
  double max_rate = 1'000;
  Nanos control_interval_ns{500'000'000};
  Nanos latency_setpoint_ns{500'000'000};
  Nanos codel_target_ns{50'000'000};
  Nanos codel_interval_ns{1'000'000'000};
  double vegas_alpha = 2;  // requests that stand in the queue
  double vegas_beta = 6;
  double ai_step = 0.04;  // of initial_rate, an interval
  double md_factor = 0.7;
  double error_md_threshold = 0.1;
  double kp = 0.2;
  double ki = 0.05;  // a second
  double pi_clamp = 0.1;
  Nanos base_rtt_window_ns{60'000'000'000};
  std::uint32_t min_samples = 5;
  double rate_smoothing = 1;  // share of a step that is taken at once
  std::uint32_t tenants_max = 64;
  std::uint32_t hosts_max = 64;
  Nanos credit_expiry_ns{20'000'000};  // of what a station was granted ahead of time
  std::uint32_t grants_max = 64;       // live at once, of a tenant
  std::uint32_t events_max = 64;

  static Result<ThrottleConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace throttle {
struct SetTenant {
  std::string name;
  double weight = 1;
  double min_guaranteed = 0;
  double max_burst = 1e6;
  std::uint32_t priority = 2;  // 0..3: the higher ones' minima are kept first where not all can be
};
struct RemoveTenant {
  std::uint32_t tenant = 0;
};
struct ShouldAllow {
  std::uint32_t tenant = 0;
  // Of the tenant's burst, left to its other requests: what is less urgent asks with more.
  std::uint32_t keep_ppm = 0;
};
struct Record {
  std::uint32_t tenant = 0;
  Nanos duration{0};
  bool ok = true;
  Nanos finished{0};  // when, if not now
};
// What a station has summed up in one interval.
struct RecordSums {
  std::uint32_t tenant = 0;
  std::uint32_t count = 0;
  std::uint32_t errors = 0;
  Nanos sum{0};
  Nanos least{0};
};
// How long a request waited in the caller's own queue.
struct Dequeue {
  Nanos sojourn{0};
};
struct Downstream {
  bool breaker_open = false;
};
// A cap for all hosts together; 0: none.
struct GlobalCap {
  double rate = 0;
  std::uint32_t self = 0;
};
struct Gossip {
  std::uint32_t node = 0;
  double demand = 0;  // what the shares go by
  double rate = 0;    // what it allows itself; for who looks
  std::uint64_t epoch = 0;
};
// A station asks for requests of a tenant ahead of time, which it then sends without asking: taken
// from the tenant's bucket now, gone at their expiry.
struct WantCredit {
  std::uint32_t tenant = 0;
  std::uint32_t station = 0;
  std::uint64_t count = 0;
};
struct ReportSpent {
  std::uint32_t tenant = 0;
  std::uint32_t station = 0;
  std::uint64_t count = 0;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace throttle

struct ThrottleReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint32_t tenant = 0;  // SetTenant
  bool drop = false;         // Dequeue: shed this one
  Nanos retry_after{0};
  Grant grant;  // WantCredit
};

struct ThrottleView {
  double rate = 0;
  double effective_rate = 0;
  ThrottleMode mode = ThrottleMode::startup;
  std::uint32_t congestion_ppm = 0;
};

struct ThrottleCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t asked = 0;
  std::uint64_t allowed = 0;
  std::uint64_t limited = 0;
  std::uint64_t samples = 0;
  std::uint64_t errors = 0;
  std::uint64_t intervals = 0;
  std::uint64_t held = 0;  // intervals with too few samples
  std::uint64_t cuts = 0;
  std::uint64_t codel_drops = 0;
  std::uint64_t stale_gossip = 0;
};

struct ThrottleActions {
  bool view_changed = false;
  bool gossip = false;  // tell the other hosts this one's demand and rate
  double demand = 0;
};

// Conditional integration: the integral moves only where the output is inside the clamp or the
// error drives it back.
struct PiController {
  double kp = 0.2;
  double ki = 0.05;
  double clamp = 0.1;
  double integral = 0;
  [[nodiscard]] double step(double error, double dt_s) noexcept;
};

// Additive increase, multiplicative decrease.
[[nodiscard]] constexpr double aimd_step(double rate, bool congested, double add,
                                         double factor) noexcept {
  return congested ? rate * factor : rate + add;
}

// Requests that stand in a queue: by rate, and by what is in flight.
[[nodiscard]] constexpr double standing_queue(double rate, double least_s, double base_s) noexcept {
  return rate * (least_s - base_s);
}
[[nodiscard]] constexpr double standing_queue_in_flight(double in_flight, double base,
                                                        double rtt) noexcept {
  return rtt > 0 ? in_flight * (1 - base / rtt) : 0;
}
// The factor of a limit on what is in flight (Netflix concurrency-limits, Gradient2).
[[nodiscard]] constexpr double gradient2(double long_ms, double short_ms,
                                         double tolerance) noexcept {
  const double gradient = short_ms > 0 ? tolerance * long_ms / short_ms : 1;
  return gradient < 0.5 ? 0.5 : gradient > 1 ? 1 : gradient;
}

using ThrottleCommand =
    std::variant<throttle::SetTenant, throttle::RemoveTenant, throttle::ShouldAllow,
                 throttle::Record, throttle::RecordSums, throttle::Dequeue, throttle::Downstream,
                 throttle::GlobalCap, throttle::Gossip, throttle::WantCredit, throttle::ReportSpent,
                 throttle::StationClosed>;

class AdaptiveThrottleGovernor final
    : public ServiceForm<AdaptiveThrottleGovernor, ThrottleConfig, ThrottleCommand, ThrottleReply,
                         ThrottleCounters, ThrottleActions> {
 public:
  // mode_change: a from, b to. over_committed: a tenant, b the sum of minima.
  enum class Event : std::uint16_t { mode_change = 1, over_committed = 2 };

  static Status validate(const Config& config);
  explicit AdaptiveThrottleGovernor(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  Reply should_allow(std::uint32_t tenant, Nanos now, std::uint32_t keep_ppm = 0) noexcept {
    if (keep_ppm == 0 && is_tenant(tenant) && clock_.goes_on(now)) [[likely]] {
      const TakeResult taken = ask(tenant, now);
      if (taken.status != TakeStatus::kTaken) return limit(taken);
      ++counters_.allowed;
      return {};
    }
    return should_allow_otherwise(tenant, now, keep_ppm);
  }
  Reply record(const throttle::Record& sample, Nanos now) noexcept {
    const bool plain =
        is_tenant(sample.tenant) && sample.duration.count() >= 0 && sample.finished.count() == 0;
    if (plain && clock_.goes_on(now)) [[likely]] {
      ++counters_.commands;
      clock_.at(now);
      const std::int64_t took = sample.duration.count();
      add_samples({1, sample.ok ? 0U : 1U, took, took});
      return {};
    }
    return record_otherwise(sample, now);
  }
  // Does what is due: at most one interval a call.
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] ThrottleView view() const noexcept;
  [[nodiscard]] double share(std::uint32_t tenant) const noexcept;
  [[nodiscard]] Result<std::uint32_t> find(std::string_view name) const;
  [[nodiscard]] double integral() const noexcept { return pi_.integral; }
  [[nodiscard]] CreditAudit audit(std::uint32_t tenant) const noexcept {
    return tenant < pools_.size() ? pools_[tenant].audit() : CreditAudit{};
  }
  // Starts from the view of an earlier life.
  void adopt(const ThrottleView& view) noexcept;
  // What it governs turned out to be of another size: it goes on from this rate, and grows by
  // ai_step of it an interval.
  void resize(double rate) noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"throttle_governor", 3};
  static constexpr std::string_view kWho = "throttle governor";
  static constexpr std::uint32_t kPriorities = 4;
  struct Tenant {
    std::array<char, kNameBytesMax> name{};
    std::uint32_t name_bytes = 0;  // 0: the slot is free
    std::uint32_t priority = 0;
    double weight = 1;
    double min_guaranteed = 0;
    double max_burst = 0;
    double demand = -1;  // requests a second, EWMA; below 0: not measured yet
    double share = 0;
    std::uint64_t offered = 0;  // in this interval
    std::uint32_t idle_intervals = 0;
    [[nodiscard]] bool is_taken() const noexcept { return name_bytes != 0; }
  };
  struct Host {
    std::uint32_t node = 0;
    bool is_known = false;
    double demand = 0;
    std::uint64_t epoch = 0;
    std::uint32_t missed_rounds = 0;
  };
  struct Interval {
    std::uint64_t count = 0;
    std::uint64_t errors = 0;
    std::int64_t sum_ns = 0;
    std::int64_t least_ns = INT64_MAX;
  };

  [[nodiscard]] bool is_tenant(std::uint32_t id) const noexcept {
    return id < tenants_.size() && tenants_[id].is_taken();
  }
  [[nodiscard]] Tenant* tenant_of(std::uint32_t id) noexcept {
    return is_tenant(id) ? &tenants_[id] : nullptr;
  }
  [[nodiscard]] TakeResult ask(std::uint32_t tenant, Nanos now) noexcept {
    ++counters_.commands;
    ++counters_.asked;
    ++tenants_[tenant].offered;
    return pools_[tenant].take(clock_.at(now));
  }
  Reply limit(const TakeResult& taken) noexcept;
  Reply should_allow_otherwise(std::uint32_t id, Nanos now, std::uint32_t keep_ppm) noexcept;
  Reply record_otherwise(const throttle::Record& sample, Nanos now) noexcept;
  Reply set_tenant(const throttle::SetTenant& wanted, Nanos now) noexcept;
  Reply record_sums(const throttle::RecordSums& sums, Nanos now) noexcept;
  Reply apply_rest(const Command& command, Nanos now) noexcept;
  Reply of_credit(const Command& command, std::int64_t now_ns) noexcept;
  Reply gossip(const throttle::Gossip& heard) noexcept;
  void add_samples(const Interval& more) noexcept {
    counters_.samples += more.count;
    counters_.errors += more.errors;
    interval_.count += more.count;
    interval_.errors += more.errors;
    const std::int64_t room = INT64_MAX - interval_.sum_ns;
    interval_.sum_ns += more.sum_ns < room ? more.sum_ns : room;
    if (more.least_ns < interval_.least_ns) interval_.least_ns = more.least_ns;
  }
  void control(std::int64_t now_ns) noexcept;
  void steer(double mean_s, double least_s, std::int64_t now_ns) noexcept;
  void update_base(double least_s, std::int64_t now_ns) noexcept;
  void enter(ThrottleMode mode, std::int64_t now_ns) noexcept;
  void cut(double mean_s, std::int64_t now_ns) noexcept;
  void measure_demand() noexcept;
  void share_between_hosts() noexcept;
  void share_out(std::int64_t now_ns) noexcept;
  void keep_urgent_minima(std::span<FillItem> items) const noexcept;
  [[nodiscard]] double interval_s() const noexcept;
  [[nodiscard]] double total_demand() const noexcept;
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);

  ThrottleMode mode_ = ThrottleMode::startup;
  double rate_;
  double step_;             // that it grows by, an interval
  double host_share_ = -1;  // of the global cap; below 0: there is none
  double congestion_ = 0;
  PiController pi_;
  std::array<double, 2> base_s_{-1, -1};  // least latency of the last window and of this one
  double last_least_s_ = -1;              // of the last interval; below 0: none yet
  std::int64_t base_began_ns_ = 0;
  std::uint32_t hold_ = 0;  // intervals without growth
  std::int64_t last_cut_ns_ = INT64_MIN / 2;
  std::int64_t next_control_ns_ = -1;
  bool breaker_open_ = false;
  bool view_changed_ = true;
  double global_cap_ = 0;
  std::uint32_t self_ = 0;
  Interval interval_;
  Codel codel_;
  std::vector<Tenant> tenants_;
  std::vector<CreditPool> pools_;  // of each tenant: its bucket, and what was granted from it
  std::vector<Host> hosts_;
  std::vector<FillItem> items_;
  std::vector<double> filled_;
  std::vector<double> scratch_;
};

static_assert(DurableService<AdaptiveThrottleGovernor>);

extern template class ServiceForm<AdaptiveThrottleGovernor, ThrottleConfig, ThrottleCommand,
                                  ThrottleReply, ThrottleCounters, ThrottleActions>;

}  // namespace mesh::coordination
