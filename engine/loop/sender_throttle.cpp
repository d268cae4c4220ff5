#include "engine/loop/sender_throttle.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/coordination/blocks/ppm.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

namespace throttle = coordination::throttle;
using coordination::kPpm;
using coordination::Refusal;
using coordination::ThrottleMode;

constexpr double kNobodyLimited = 1e8;  // messages a second: more than an engine takes in
constexpr double kNoCap = 1e9;
constexpr double kHeldWithin =
    1.05;  // of a baseline that moves: shares are not worked out for less

std::uint32_t shift_for(std::uint32_t sectors) noexcept {
  std::uint32_t shift = 0;
  while (((std::max(sectors, 1U) - 1) >> shift) >= SenderThrottle::kSendersMax) ++shift;
  return shift;
}

coordination::ThrottleConfig config_of(std::uint32_t senders) noexcept {
  coordination::ThrottleConfig config;
  config.initial_rate = 50'000;
  config.min_rate = 100;
  config.max_rate = kNobodyLimited;
  config.control_interval_ns = SenderThrottle::kInterval;
  config.latency_setpoint_ns = SenderThrottle::kLate;
  config.codel_target_ns = SenderThrottle::kLate;
  config.codel_interval_ns = Nanos{kNsPerSecond};
  config.vegas_alpha = 5'000;  // a loop that slept takes in what came meanwhile: that is no queue
  config.vegas_beta = 20'000;
  config.min_samples = 5;  // fewer than min_rate leaves
  config.tenants_max = senders;
  config.hosts_max = 1;
  config.grants_max = 1;
  config.events_max = 4;
  return config;
}

double seconds(Nanos time) noexcept { return static_cast<double>(time.count()) * 1e-9; }

// Of SSO's length: it allocates nothing.
std::string name_of(std::uint32_t place) { return "sector" + std::to_string(place); }

}  // namespace

Status SenderThrottleOptions::check() const {
  const auto is_in = [](double value, double least, double most) {
    return value >= least && value <= most;  // no NaN is
  };
  if (is_in(flood_factor, kFloodFactorMin, kFloodFactorMax) &&
      is_in(baseline_min, 1, kBaselineMost))
    return {};
  return fail(Errc::invalid_config,
              "sender throttle: a flood factor of " + std::to_string(flood_factor) +
                  ", 1.5 to 1000000 is needed; a baseline of " + std::to_string(baseline_min) +
                  " at least, 1 to 100000000 is needed");
}

SenderThrottle::SenderThrottle(std::uint32_t sectors, const SenderThrottleOptions& options)
    : options_(options),
      shift_(shift_for(sectors)),
      senders_(((std::max(sectors, 1U) - 1) >> shift_) + 1),
      governor_(config_of(static_cast<std::uint32_t>(senders_.size()))) {
  for (std::uint32_t place = 0; place < senders_.size(); ++place) hold(place, kNoCap, Nanos{0});
  governor_.adopt({.rate = kNobodyLimited, .mode = ThrottleMode::probing});
}

void SenderThrottle::hold(std::uint32_t place, double most_per_s, Nanos now) noexcept {
  const coordination::ThrottleReply reply =
      governor_.apply(throttle::SetTenant{.name = name_of(place), .max_burst = most_per_s}, now);
  MESH_ASSERT(reply.code == Errc::ok && reply.tenant == place);
  senders_[place].held_to = most_per_s;
}

void SenderThrottle::set_options(const SenderThrottleOptions& options, Nanos now) noexcept {
  options_ = options;
  if (is_limiting_ && !options_.enabled) end(now);
}

double SenderThrottle::rate() const noexcept {
  return is_limiting_ ? governor_.view().effective_rate : 0;
}

double SenderThrottle::share(std::uint32_t sector) const noexcept {
  return governor_.share(place_of(sector));
}

bool SenderThrottle::admits_limited(std::uint32_t place, sched::Priority priority,
                                    Nanos now) noexcept {
  Sender& sender = senders_[place];
  const std::uint32_t keep = priority == sched::Priority::background ? kPpm / 2 : 0;
  if (governor_.should_allow(place, now, keep).refusal == Refusal::none) return true;
  if (priority >= sched::Priority::high && sender.extra_left != 0) {
    --sender.extra_left;
    return true;
  }
  ++limited_;
  last_limited_ = now;
  return false;
}

void SenderThrottle::look(const Seen& seen, Nanos now) noexcept {
  const double dt_s = seconds(now - looked_);
  const bool is_first = looked_ == Nanos{0};
  const std::uint64_t sends = seen.sends - seen_.sends;
  const std::uint64_t taken = sends - std::min(sends, limited_);
  const std::uint64_t refused = std::min(seen.without_room - seen_.without_room, taken);
  const Nanos least{least_wait_ns_ == INT64_MAX ? 0 : std::max<std::int64_t>(least_wait_ns_, 0)};
  looked_ = now;
  seen_ = seen;
  limited_ = 0;
  least_wait_ns_ = INT64_MAX;
  if (is_first) return;
  if (!options_.enabled) {
    for (Sender& sender : senders_) sender.offered = 0;
    return;
  }
  if (taken != 0) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(taken, 1U << 31));
    const auto errors = static_cast<std::uint32_t>(std::min<std::uint64_t>(refused, count));
    const std::int64_t most = INT64_MAX / count;
    static_cast<void>(
        governor_.apply(throttle::RecordSums{.tenant = 0,
                                             .count = count,
                                             .errors = errors,
                                             .sum = Nanos{std::min(least.count(), most) * count},
                                             .least = Nanos{std::min(least.count(), most)}},
                        now));
  }
  coordination::ThrottleActions actions;
  governor_.tick(now, actions);
  const bool is_strained =
      taken >= governor_.config().min_samples && governor_.view().mode == ThrottleMode::congested;
  strained_ = is_strained ? strained_ + 1 : 0;
  if (!is_limiting_ && strained_ >= kStrained) {
    begin(static_cast<double>(taken - refused) / dt_s, now);
  } else if (is_limiting_ && now - last_limited_ >= kCalm && !is_strained) {
    end(now);
  }
  if (is_limiting_) ration(dt_s, now);
  learn(dt_s);
}

// From now on every sector's demand is measured: by what it asks for.
void SenderThrottle::begin(double taken_per_s, Nanos now) noexcept {
  is_limiting_ = true;
  last_limited_ = now;
  ++times_;
  governor_.resize(taken_per_s * governor_.config().md_factor);
  for (std::uint32_t place = 0; place < senders_.size(); ++place)
    static_cast<void>(governor_.should_allow(place, now));
}

void SenderThrottle::end(Nanos now) noexcept {
  is_limiting_ = false;
  strained_ = 0;
  for (std::uint32_t place = 0; place < senders_.size(); ++place) {
    if (senders_[place].held_to != kNoCap) hold(place, kNoCap, now);
    senders_[place].flood_until = Nanos{0};
  }
  governor_.adopt({.rate = kNobodyLimited, .mode = ThrottleMode::probing});
}

// A flood teaches little: what is over twice the baseline is taken to be that. So a baseline
// doubles in three and a half minutes at most, and what stays is usual in the end.
void SenderThrottle::learn(double dt_s) noexcept {
  const double weight = 1 - std::exp(-dt_s / seconds(kBaselineWindow));
  const bool is_known = learned_s_ >= seconds(kBaselineAfter);
  for (Sender& sender : senders_) {
    const double most = is_known ? 2 * baseline_of(sender) : kNoCap;
    const double rate = std::min(static_cast<double>(sender.offered) / dt_s, most);
    sender.smoothed += weight * (rate - sender.smoothed);
    sender.offered = 0;
  }
  learned_s_ += dt_s;
}

// Without what is missing because it began at nothing.
double SenderThrottle::baseline_of(const Sender& sender) const noexcept {
  const double known = 1 - std::exp(-learned_s_ / seconds(kBaselineWindow));
  return std::max(options_.baseline_min, sender.smoothed / known);
}

// What each may still send in the interval that begins.
void SenderThrottle::ration(double dt_s, Nanos now) noexcept {
  const bool is_known = learned_s_ >= seconds(kBaselineAfter);
  for (std::uint32_t place = 0; place < senders_.size(); ++place) {
    Sender& sender = senders_[place];
    const double offered = static_cast<double>(sender.offered) / dt_s;
    const double baseline = is_known ? baseline_of(sender) : kNoCap;
    if (offered > options_.flood_factor * baseline) sender.flood_until = now + kFloodEnds;
    if (sender.flood_until != Nanos{0} && now >= sender.flood_until) sender.flood_until = Nanos{0};
    const double most = sender.flood_until == Nanos{0} ? kNoCap : baseline;
    if (most > kHeldWithin * sender.held_to || most < sender.held_to) hold(place, most, now);
    const double extra = governor_.share(place) * seconds(kInterval) / 8;
    sender.extra_left =
        sender.flood_until == Nanos{0} ? static_cast<std::uint64_t>(std::ceil(extra)) : 0;
  }
}

}  // namespace mesh::engine
