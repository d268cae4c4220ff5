// What ResourceContentionArbiter is told, and what it answers: config, commands, replies, news,
// views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class ArbiterMode : std::uint8_t {
  nash,      // the product of what each gains, by weight
  priority,  // the more urgent first
  auction,   // VCG by utility
  leximin,   // the worst off, by share of what it asked, is as well off as can be
};
enum class WaitDie : std::uint8_t {
  off,
  holders_only,  // who holds nothing cannot close a circle
  always,
};

struct ContentionConfig {
  ArbiterMode mode = ArbiterMode::nash;
  bool preempts = false;
  std::uint32_t preempt_margin = 2;  // so much more urgent than its victim
  WaitDie wait_die = WaitDie::off;
  std::uint32_t gini_mild_ppm = 250'000;
  std::uint32_t gini_moderate_ppm = 400'000;
  std::uint32_t gini_severe_ppm = 600'000;
  double starved_below = 0.3;  // satisfaction
  Nanos starvation_ns{60'000'000'000};
  Nanos round_ns{50'000'000};
  Nanos grace_ns{1'000'000'000};
  Nanos max_hold_ns{900'000'000'000};
  Nanos forecast_horizon_ns{600'000'000'000};
  Nanos sample_ns{1'000'000'000};  // between two samples of the demand
  double ewma = 0.25;
  Nanos aging_ns{30'000'000'000};   // waiting so long is worth one priority, up to 10
  std::uint64_t reserve_price = 0;  // auction: the least utility a unit, in millionths
  std::uint32_t resources_max = 32;
  std::uint32_t agents_max = 1'024;
  std::uint32_t allocations_max = 4'096;
  std::uint32_t demands_max = 1'024;  // that wait
  std::uint32_t budgets_max = 4'096;
  std::uint32_t events_max = 256;

  static Result<ContentionConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace contention {
struct RegisterResource {
  std::string id;
  std::uint64_t capacity = 0;
  bool divisible = false;  // true: units are fine, shares are cut where they fall
  bool preemptible = false;
  std::string category;
};
struct SetBudget {  // units a period; what is left over counts once more
  std::uint32_t agent = 0;
  std::uint32_t resource = 0;
  std::uint64_t units = 0;
  Nanos period{60'000'000'000};
};
struct Request {
  std::uint32_t agent = 0;
  std::uint32_t resource = 0;
  std::uint64_t quantity = 0;
  std::uint32_t priority = 0;          // 0..10, larger is more urgent
  std::uint32_t flexibility_ppm = 0;   // how much less will do
  std::uint64_t utility_per_unit = 0;  // millionths; above 0
  std::uint64_t disagreement = 0;      // nash: the utility that it has without any, millionths
  Nanos deadline{0};                   // 0: waits for ever
  Nanos timestamp{0};                  // of its first try
  std::uint32_t station = 0;

  // Below which it is worthless: quantity (1 - flexibility), rounded up. No quantity overflows it.
  [[nodiscard]] constexpr std::uint64_t minimum() const noexcept {
    constexpr std::uint64_t kWhole = 1'000'000;
    const std::uint64_t kept = kWhole - flexibility_ppm;
    return quantity / kWhole * kept + (quantity % kWhole * kept + kWhole - 1) / kWhole;
  }
};
struct Release {
  std::uint64_t allocation = 0;
  std::uint32_t station = 0;
};
struct Cancel {
  std::uint64_t ticket = 0;
  std::uint32_t station = 0;
};
struct Validate {
  std::uint32_t resource = 0;
  std::uint64_t fence = 0;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace contention

enum class Contention : std::uint8_t { none, mild, moderate, severe };
constexpr Contention last_of(Contention) noexcept { return Contention::severe; }
[[nodiscard]] std::string_view to_string(Contention severity) noexcept;

// Why a request got what it got.
enum class ArbiterReason : std::uint8_t {
  unknown,
  free,     // there was enough, and nobody waited
  round,    // by a round
  waits,    // for the next round
  no_room,  // the floors of those before it take what is free
  outbid,   // auction: others are worth more, or the reserve is not met
  budget,
  wait_die,
  too_much,  // more than there is at all
  timed_out,
  cancelled,
  released,
  expired,
  preempted,
};
constexpr ArbiterReason last_of(ArbiterReason) noexcept { return ArbiterReason::preempted; }
[[nodiscard]] std::string_view to_string(ArbiterReason reason) noexcept;

enum class ArbiterNotice : std::uint8_t { granted, timed_out, warned, preempted, expired, closed };
constexpr ArbiterNotice last_of(ArbiterNotice) noexcept { return ArbiterNotice::closed; }

struct ArbiterNews {
  ArbiterNotice kind = ArbiterNotice::granted;
  std::uint32_t agent = 0;
  std::uint32_t station = 0;
  std::uint32_t resource = 0;
  std::uint64_t ticket = 0;
  std::uint64_t allocation = 0;
  std::uint64_t fence = 0;
  std::uint64_t granted = 0;
  std::uint64_t price = 0;  // auction: what it displaces, millionths of utility
  Nanos expires{0};
};

struct ContentionReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  ArbiterReason reason = ArbiterReason::unknown;
  std::uint32_t resource = 0;
  std::uint64_t granted = 0;
  std::uint64_t minimum = 0;  // below which it would be worthless
  std::uint64_t allocation = 0;
  std::uint64_t fence = 0;
  std::uint64_t ticket = 0;
  std::uint64_t budget_left = 0;
  Nanos retry_after{0};
  std::vector<ArbiterNews> news;
};

struct ContentionCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t allocations = 0;
  std::uint64_t released = 0;
  std::uint64_t expired = 0;
  std::uint64_t preempted = 0;
  std::uint64_t closed = 0;
  std::uint64_t waits = 0;
  std::uint64_t served = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t died = 0;
  std::uint64_t quota_exhausted = 0;
  std::uint64_t rounds = 0;
};

struct ArbiterView {
  std::uint64_t free = 0;
  std::uint64_t capacity = 0;
  std::uint32_t waiting = 0;
  Contention severity = Contention::none;
  double gini = 0;
};
enum class Trend : std::uint8_t { stable, rising, falling };
struct DemandForecast {
  Trend trend = Trend::stable;
  double predicted = 0;
  double contention_probability = 0;
};
inline constexpr std::uint32_t kNobody = 0xFFFF'FFFF;

struct Explanation {
  ArbiterReason reason = ArbiterReason::unknown;
  std::uint64_t asked = 0;
  std::uint64_t minimum = 0;
  std::uint64_t granted = 0;
  std::uint64_t free = 0;  // when it was decided
  std::uint32_t effective_priority = 0;
};

// A request that got neither units nor a ticket.
struct RefusedRequest {
  Explanation why;  // budget, wait_die or too_much; unknown: none is remembered
  std::uint32_t resource = 0;
  std::uint32_t in_its_way = kNobody;  // wait_die: the first who is older
  Nanos at{0};
};

struct ContentionActions {
  std::vector<ArbiterNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};

using ContentionCommand =
    std::variant<contention::Request, contention::Release, contention::RegisterResource,
                 contention::SetBudget, contention::Cancel, contention::Validate,
                 contention::StationClosed>;

}  // namespace mesh::coordination
