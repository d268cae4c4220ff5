#include "engine/coordination/circuit_breaker.hpp"

#include <algorithm>
#include <string>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kTripsMax = 255;  // eight bits of the view

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;  // clang 14 deduces none by itself

}  // namespace

std::int64_t open_backoff_ns(const CircuitBreakerConfig& config, std::uint32_t trips) noexcept {
  const BackoffConfig backoff{static_cast<double>(config.open_ns.count()), config.open_multiplier,
                              static_cast<double>(config.open_ns_max.count())};
  return static_cast<std::int64_t>(backoff_exponential(backoff, trips));
}

CircuitBreaker::CircuitBreaker(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      rates_on_(config.failure_rate_ppm != 0 || config.slow_call_ns.count() != 0),
      window_(config.window_ns.count(), config.buckets),
      rng_(seed),
      probes_(config.half_open_probes_max) {}

// --- calls -------------------------------------------------------------------------------------

CircuitBreaker::Reply CircuitBreaker::answer(bool ignored) const noexcept {
  Reply reply;
  reply.state = state_;
  reply.is_ignored = ignored;
  return reply;
}

CircuitBreaker::Reply CircuitBreaker::refuse(Errc code) noexcept {
  Reply reply = ServiceForm::refuse(code);
  reply.state = state_;
  return reply;
}

CircuitBreaker::Reply CircuitBreaker::reject(Nanos retry_after) noexcept {
  ++counters_.calls;
  ++counters_.rejected;
  Reply reply = answer();
  reply.refusal = Refusal::rejected_open;
  reply.retry_after = retry_after;
  return reply;
}

CircuitBreaker::Reply CircuitBreaker::admit(std::uint32_t serial) noexcept {
  ++counters_.calls;
  ++counters_.allowed;
  counters_.probes += serial == 0 ? 0 : 1;
  Reply reply = answer();
  reply.is_probe = serial != 0;
  reply.permit = {epoch_, serial};
  return reply;
}

CircuitBreaker::Reply CircuitBreaker::allow_otherwise(Nanos now, std::uint32_t station) noexcept {
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  expire(now_ns);
  switch (state_) {
    case BreakerState::closed:
    case BreakerState::disabled:
      return admit(0);
    case BreakerState::forced_open:
      return reject(Nanos{0});
    case BreakerState::open:
      return allow_open(now_ns, station);
    case BreakerState::half_open:
      return allow_half_open(now_ns, station);
  }
  return refuse(Errc::corrupt);
}

CircuitBreaker::Reply CircuitBreaker::allow_open(std::int64_t now_ns,
                                                 std::uint32_t station) noexcept {
  if (now_ns < open_until_ns_ && !MESH_MUTANT("breaker.open_until")) {
    return reject(Nanos{open_until_ns_ - now_ns});
  }
  if (config_.recovery == BreakerRecovery::permits) {
    half_open(now_ns);
    return allow_half_open(now_ns, station);
  }
  const bool is_lost = probes_out_ != 0 && is_probe_lost(now_ns);
  if (is_lost && !MESH_MUTANT("breaker.lost_probe")) void_probes();
  if (probes_out_ != 0) return reject(Nanos{0});
  return admit(take_probe(station, now_ns));
}

CircuitBreaker::Reply CircuitBreaker::allow_half_open(std::int64_t now_ns,
                                                      std::uint32_t station) noexcept {
  if (config_.recovery == BreakerRecovery::permits) {
    const bool is_full = probes_out_ >= config_.half_open_probes_max;
    if (is_full && !MESH_MUTANT("breaker.probe_limit")) return reject(Nanos{0});
    return admit(take_probe(station, now_ns));
  }
  const bool passes = half_open_seen_ % config_.half_open_pass_every == 0;
  ++half_open_seen_;
  return passes ? admit(0) : reject(Nanos{0});
}

// --- outcomes ----------------------------------------------------------------------------------

void CircuitBreaker::count_outcome(CallOutcome outcome) noexcept {
  switch (outcome) {
    case CallOutcome::ok:
      ++counters_.successes;
      break;
    case CallOutcome::fail:
      ++counters_.failures;
      break;
    case CallOutcome::timeout:
      ++counters_.timeouts;
      break;
    case CallOutcome::ignored:
      ++counters_.ignored;
      break;
  }
}

CircuitBreaker::Reply CircuitBreaker::record_otherwise(const breaker::Record& record,
                                                       Nanos now) noexcept {
  if (!ServiceClock::is_valid(now) || record.latency.count() < 0 ||
      record.retry_after.count() < 0 || record.outcome > CallOutcome::ignored) {
    return refuse(Errc::invalid_argument);
  }
  const std::int64_t now_ns = clock_.at(now);
  expire(now_ns);
  count_outcome(record.outcome);
  if (record.permit.epoch != epoch_ && !MESH_MUTANT("breaker.epoch")) {
    ++counters_.stale_permits;
    return answer(true);
  }
  const bool says_nothing =
      record.outcome == CallOutcome::ignored ||
      (record.outcome == CallOutcome::timeout && !config_.count_timeouts_as_failure);
  if (record.permit.serial != 0) {
    if (!free_probe(record.permit.serial) && !MESH_MUTANT("breaker.used_permit")) {
      ++counters_.unknown_permits;
      return answer(true);
    }
    counters_.returned_probes += says_nothing ? 1 : 0;
  }
  if (says_nothing) return answer();
  const bool failed = record.outcome != CallOutcome::ok;
  if (state_ == BreakerState::closed) {
    record_closed(record, failed, now_ns);
  } else if (state_ == BreakerState::open || state_ == BreakerState::half_open) {
    if (record.permit.serial == 0 && state_ == BreakerState::open) {
      ++counters_.unknown_permits;
      return answer(true);
    }
    record_probe(record, failed, now_ns);
  }
  return answer();
}

void CircuitBreaker::record_closed(const breaker::Record& record, bool failed,
                                   std::int64_t now_ns) noexcept {
  window_.add(now_ns, failed, is_slow(record.latency));
  consecutive_ = failed ? consecutive_ + 1 : 0;
  if (trips_by_count() || trips_by_rate()) trip(now_ns, record.retry_after);
}

void CircuitBreaker::record_probe(const breaker::Record& record, bool failed,
                                  std::int64_t now_ns) noexcept {
  if (config_.recovery == BreakerRecovery::permits) {
    if (record.permit.serial == 0) {
      ++counters_.unknown_permits;
    } else if (failed) {
      trip(now_ns, record.retry_after);
    } else if (++probes_ok_ == config_.success_threshold) {
      close(now_ns);
    }
  } else if (state_ == BreakerState::half_open) {
    ++half_open_calls_;
    half_open_failed_ += failed ? 1 : 0;
  } else if (failed) {
    open_until_ns_ = now_ns + config_.probe_retry_ns.count();
    view_changed_ = true;
  } else {
    half_open(now_ns);
  }
}

CircuitBreaker::Reply CircuitBreaker::record_sums(const breaker::RecordSums& sums,
                                                  Nanos now) noexcept {
  const std::uint64_t total = std::uint64_t{sums.ok} + sums.failed;
  if (!ServiceClock::is_valid(now) || sums.slow > total) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  expire(now_ns);
  counters_.successes += sums.ok;
  counters_.failures += sums.failed;
  if (sums.epoch != epoch_) {
    ++counters_.stale_permits;
    return answer(true);
  }
  if (state_ == BreakerState::half_open && config_.recovery == BreakerRecovery::probe_then_ratio) {
    half_open_calls_ += total;
    half_open_failed_ += sums.failed;
  }
  if (state_ != BreakerState::closed) return answer();
  window_.add_many(now_ns, {total, sums.failed, sums.slow});
  // Which came last is not known: one success anywhere breaks the row.
  consecutive_ = sums.ok != 0 ? 0 : consecutive_ + std::min(sums.failed, UINT32_MAX - consecutive_);
  if (trips_by_count() || trips_by_rate()) trip(now_ns, Nanos{0});
  return answer();
}

bool CircuitBreaker::trips_by_count() const noexcept {
  const auto enough = [](std::uint64_t count, std::uint32_t threshold) {
    return threshold != 0 && count >= threshold;
  };
  return enough(window_.sum().failed, config_.failure_threshold) ||
         enough(consecutive_, config_.consecutive_threshold);
}

bool CircuitBreaker::trips_by_rate() const noexcept {
  const WindowTotals& sum = window_.sum();
  if (sum.total < config_.min_calls) return false;
  const bool failing =
      config_.failure_rate_ppm != 0 && sum.failed * kPpm >= sum.total * config_.failure_rate_ppm;
  return failing || (config_.slow_call_ns.count() != 0 &&
                     sum.slow * kPpm >= sum.total * config_.slow_rate_ppm);
}

// --- probes ------------------------------------------------------------------------------------

std::uint32_t CircuitBreaker::take_probe(std::uint32_t station, std::int64_t now_ns) noexcept {
  last_serial_ = last_serial_ == UINT32_MAX ? 1 : last_serial_ + 1;
  for (auto& probe : probes_) {
    if (probe.serial != 0) continue;
    probe = {last_serial_, station};
    ++probes_out_;
    probed_ns_ = now_ns;
    view_changed_ = true;
    return last_serial_;
  }
  return 0;
}

bool CircuitBreaker::free_probe(std::uint32_t serial) noexcept {
  for (auto& probe : probes_) {
    if (probe.serial != serial) continue;
    probe = {};
    --probes_out_;
    view_changed_ = true;
    return true;
  }
  return false;
}

void CircuitBreaker::void_probes() noexcept {
  for (auto& probe : probes_) probe = {};
  probes_out_ = 0;
}

CircuitBreaker::Reply CircuitBreaker::close_station(std::uint32_t station) noexcept {
  for (auto& probe : probes_) {
    if (probe.serial == 0 || probe.station != station) continue;
    probe = {};
    --probes_out_;
    ++counters_.returned_probes;
    view_changed_ = true;
  }
  return answer();
}

// --- transitions -------------------------------------------------------------------------------

void CircuitBreaker::enter(BreakerState state, std::int64_t now_ns) noexcept {
  const BreakerState from = state_;
  state_ = state;
  epoch_ = (epoch_ + 1) & kEpochMask;
  entered_ns_ = now_ns;
  void_probes();
  probes_ok_ = 0;
  half_open_seen_ = half_open_calls_ = half_open_failed_ = 0;
  ++counters_.transitions;
  view_changed_ = true;
  emit(Event::state_change, state == BreakerState::open ? Severity::warning : Severity::info,
       now_ns, {static_cast<std::uint64_t>(from), static_cast<std::uint64_t>(state), epoch_});
}

std::int64_t CircuitBreaker::open_duration() noexcept {
  const std::int64_t plain = open_backoff_ns(config_, trips_);
  if (config_.jitter_ppm == 0) return plain;
  const auto offset = static_cast<std::int64_t>(rng_.below(2 * config_.jitter_ppm + 1)) -
                      static_cast<std::int64_t>(config_.jitter_ppm);
  return plain + plain / std::int64_t{kPpm} * offset;
}

void CircuitBreaker::trip(std::int64_t now_ns, Nanos retry_after) noexcept {
  const std::int64_t duration = retry_after.count() > 0 ? retry_after.count() : open_duration();
  trips_ = std::min(trips_ + 1, kTripsMax);
  ++counters_.trips;
  open_for(duration, now_ns);
}

void CircuitBreaker::open_for(std::int64_t duration_ns, std::int64_t now_ns) noexcept {
  open_until_ns_ = duration_ns > INT64_MAX - now_ns ? INT64_MAX : now_ns + duration_ns;
  enter(BreakerState::open, now_ns);
}

void CircuitBreaker::close(std::int64_t now_ns) noexcept {
  trips_ = 0;
  consecutive_ = 0;
  window_.clear();
  open_until_ns_ = 0;
  enter(BreakerState::closed, now_ns);
}

void CircuitBreaker::half_open(std::int64_t now_ns) noexcept {
  enter(BreakerState::half_open, now_ns);
}

void CircuitBreaker::expire(std::int64_t now_ns) noexcept {
  if (state_ != BreakerState::half_open) return;
  const std::int64_t since = now_ns - entered_ns_;
  if (config_.recovery == BreakerRecovery::permits) {
    if (since >= config_.half_open_ns_max.count()) trip(now_ns, Nanos{0});
    return;
  }
  if (since < config_.half_open_ns.count()) return;
  const std::uint64_t calls = std::max<std::uint64_t>(1, half_open_calls_);
  if (half_open_failed_ * kPpm < config_.half_open_failure_ppm * calls) {
    close(now_ns);
  } else {
    ++counters_.trips;
    open_for(config_.open_ns.count(), now_ns);
  }
}

void CircuitBreaker::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) expire(clock_.at(now));
  out.view_changed = std::exchange(view_changed_, false);
}

CircuitBreaker::Reply CircuitBreaker::mirror(const breaker::Mirror& other, Nanos now) noexcept {
  const bool mirrored = other.state <= BreakerState::half_open;
  if (!ServiceClock::is_valid(now) || !mirrored || other.epoch > kEpochMask ||
      !ServiceClock::is_valid(other.open_until)) {
    return refuse(Errc::invalid_argument);
  }
  const std::int64_t now_ns = clock_.at(now);
  const std::uint32_t ahead = (other.epoch - epoch_) & kEpochMask;
  const bool newer = ahead != 0 && ahead <= kEpochMask / 2;
  const bool wins_tie =
      ahead == 0 && other.state == BreakerState::open && state_ != BreakerState::open;
  if (!newer && !wins_tie) return answer(true);
  epoch_ = (other.epoch - 1) & kEpochMask;  // enter() adds the one
  if (other.state == BreakerState::closed) {
    close(now_ns);
  } else {
    open_until_ns_ = other.open_until.count();
    enter(other.state, now_ns);
  }
  return answer();
}

void CircuitBreaker::adopt(const BreakerView& view, Nanos now) noexcept {
  const BreakerState state = BreakerView::state_of(view.word);
  if (state > BreakerState::disabled) return;  // the table is input
  const std::int64_t now_ns = clock_.at(now);
  window_.clear();
  consecutive_ = 0;
  epoch_ = BreakerView::epoch_of(view.word);
  trips_ = static_cast<std::uint32_t>(view.word >> 45) & 0xFFU;
  open_until_ns_ = std::max<std::int64_t>(0, view.open_until_ns);
  if (state == BreakerState::closed) {
    state_ = state;
    return;
  }
  // Probes of the life before are not ours: a new epoch voids them.
  enter(state, now_ns);
}

BreakerView CircuitBreaker::view() const noexcept {
  const std::uint64_t word = static_cast<std::uint64_t>(state_) | std::uint64_t{epoch_} << 3 |
                             std::uint64_t{probes_out_} << 33 | std::uint64_t{trips_} << 45;
  return {word, open_until_ns_};
}

CircuitBreaker::Reply CircuitBreaker::apply(const Command& command, Nanos now) noexcept {
  if (const auto* call = std::get_if<breaker::Allow>(&command)) return allow(now, call->station);
  if (const auto* outcome = std::get_if<breaker::Record>(&command)) return record(*outcome, now);
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  if (const auto* sums = std::get_if<breaker::RecordSums>(&command)) return record_sums(*sums, now);
  if (const auto* other = std::get_if<breaker::Mirror>(&command)) return mirror(*other, now);
  if (const auto* gone = std::get_if<breaker::StationClosed>(&command)) {
    return close_station(gone->station);
  }
  const std::int64_t now_ns = clock_.at(now);
  std::visit(
      Overloaded{[&](const breaker::ForceOpen&) { enter(BreakerState::forced_open, now_ns); },
                 [&](const breaker::Disable&) { enter(BreakerState::disabled, now_ns); },
                 [&](const auto&) { close(now_ns); }},  // force_close, reset
      command);
  return answer();
}

// --- permits with an owner ---------------------------------------------------------------------

HeldPermit CircuitBreaker::hold(Nanos now, std::uint32_t station) noexcept {
  return {*this, allow(now, station)};
}

HeldPermit::HeldPermit(CircuitBreaker& breaker, const BreakerReply& reply) noexcept
    : reply_(reply) {
  if (reply.code == Errc::ok && reply.refusal == Refusal::none) breaker_ = &breaker;
}

HeldPermit::HeldPermit(HeldPermit&& other) noexcept
    : breaker_(std::exchange(other.breaker_, nullptr)), reply_(other.reply_) {}

HeldPermit& HeldPermit::operator=(HeldPermit&& other) noexcept {
  if (this == &other) return *this;
  drop();
  breaker_ = std::exchange(other.breaker_, nullptr);
  reply_ = other.reply_;
  return *this;
}

BreakerReply HeldPermit::spend(CallOutcome outcome, Nanos now, Nanos latency) noexcept {
  if (breaker_ == nullptr) {
    BreakerReply refused;
    refused.code = Errc::wrong_state;
    return refused;
  }
  const BreakerReply answered = breaker_->record({reply_.permit, outcome, latency, Nanos{0}}, now);
  if (answered.code == Errc::ok) breaker_ = nullptr;
  return answered;
}

void HeldPermit::drop() noexcept {
  if (breaker_ == nullptr) return;
  CircuitBreaker& breaker = *std::exchange(breaker_, nullptr);
  breaker.record({reply_.permit, CallOutcome::ignored, Nanos{0}, Nanos{0}},
                 Nanos{breaker.clock_.last_ns()});
}

}  // namespace mesh::coordination
