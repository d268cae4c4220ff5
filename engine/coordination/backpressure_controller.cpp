#include "engine/coordination/backpressure_controller.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kCritical = kPressurePriorities - 1;
constexpr std::array<std::string_view, 3> kPresets{"default", "strict", "latency"};
constexpr double kOfDrain = 0.9;  // of the measured rate: the queue shrinks while it is rationed
constexpr double kRateMax = 1e9;

CreditConfig credit_of(const BackpressureConfig& config) {
  CreditConfig credit;
  credit.rate_per_s = config.throttle_rate_per_s > 0 ? config.throttle_rate_per_s : 1;
  credit.burst = config.throttle_burst;
  credit.grants_max = config.grants_max;
  return credit;
}

}  // namespace

std::string_view to_string(PressureState state) noexcept {
  constexpr std::array<std::string_view, 3> kNames{"accepting", "throttling", "blocked"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> BackpressureConfig::names() noexcept { return kPresets; }

Result<BackpressureConfig> BackpressureConfig::preset(std::string_view name) {
  BackpressureConfig config;
  if (name == "default") return config;
  if (name == "strict") {
    config.hard_limit = config.watermark_high;
    return config;
  }
  if (name == "latency") {
    config.watermark_high = 16;
    config.watermark_low = 4;
    config.codel = true;
    return config;
  }
  return unknown_preset("backpressure", name, kPresets);
}

Status BackpressureController::validate(const Config& config) {
  const double rate = config.throttle_rate_per_s;
  const auto& shed = config.shed_start_ppm;
  const std::array checks{
      Check{config.watermark_high > config.watermark_low, "watermark_high is not above low"},
      Check{config.watermark_high <= UINT32_MAX / 2, "watermark_high is above 2147483647"},
      Check{config.limit() >= config.watermark_high, "hard_limit is below watermark_high"},
      Check{rate >= 0 && rate <= kRateMax, "throttle_rate_per_s is outside 0..1e9"},
      Check{GcraBucket::is_valid(rate > 0 ? rate : 1, config.throttle_burst),
            "throttle_burst and the rate make no bucket"},
      Check{std::is_sorted(shed.begin(), shed.end()) && shed.back() <= kPpm,
            "shed_start_ppm falls with the priority, or is above 1000000"},
      Check{config.drain_alpha > 0 && config.drain_alpha <= 1, "drain_alpha is outside 0..1"},
      Check{is_positive_duration(config.drain_sample_ns),
            "drain_sample_ns is outside 1 ns..36 years"},
      Check{is_positive_duration(config.codel_target_ns) &&
                is_positive_duration(config.codel_interval_ns),
            "codel_target_ns or codel_interval_ns is outside 1 ns..36 years"},
      Check{config.grants_max >= 1 && config.grants_max <= 65'536,
            "grants_max is outside 1..65536"},
      Check{config.downstream_max <= 65'536 && is_positive_duration(config.downstream_ttl_ns),
            "downstream_max is above 65536, or downstream_ttl_ns outside 1 ns..36 years"},
      events_in_range(config),
  };
  return all_hold(Errc::invalid_config, checks);
}

BackpressureController::BackpressureController(const Config& config, std::uint64_t /*seed*/)
    : ServiceForm(config),
      rate_(credit_of(config).rate_per_s),
      credits_(credit_of(config)),
      codel_(config.codel_target_ns.count(), config.codel_interval_ns.count()),
      downstream_(config.downstream_max, config.downstream_ttl_ns.count()) {}

BackpressureController::BackpressureController(const Config& config, DepthSource source)
    : BackpressureController(config) {
  bind(source);
}

// What the queue's own cursors say; a cursor that goes back is another queue's: nothing drained.
void BackpressureController::look(Nanos now) noexcept {
  if (source_.read == nullptr) return;
  const QueueCursors seen = source_.read(source_.queue);
  const std::uint64_t depth = seen.published > seen.taken ? seen.published - seen.taken : 0;
  const bool goes_on = has_looked_ && seen.taken >= last_taken_;
  const std::uint64_t drained = goes_on ? seen.taken - last_taken_ : 0;
  has_looked_ = true;
  last_taken_ = seen.taken;
  observe(std::min(depth, kDepthMax), drained, now);
}

BackpressureController::Reply BackpressureController::refuse(Errc code) noexcept {
  Reply reply = ServiceForm::refuse(code);
  reply.state = state_;
  return reply;
}

BackpressureController::Reply BackpressureController::reject(Refusal refusal,
                                                             Nanos retry_after) noexcept {
  Reply reply;
  reply.refusal = refusal;
  reply.state = state_;
  reply.retry_after = retry_after;
  return reply;
}

std::uint32_t BackpressureController::own_pressure_ppm() const noexcept {
  const std::uint64_t limit = config_.limit();
  if (depth_ <= config_.watermark_low) return 0;
  const std::uint64_t above = std::min(depth_, limit) - config_.watermark_low;
  return static_cast<std::uint32_t>(above * kPpm / (limit - config_.watermark_low));
}

Nanos BackpressureController::until_depth(std::uint64_t target) const noexcept {
  if (depth_ <= target) return Nanos{0};
  const double rate = drain_rate_ > 0 ? drain_rate_ : rate_;
  const double seconds = static_cast<double>(depth_ - target) / rate;
  return Nanos{static_cast<std::int64_t>(std::min(seconds, 1e9) * 1e9)};
}

Nanos BackpressureController::until_shed_ends(std::uint32_t priority) const noexcept {
  const std::uint64_t span = config_.limit() - config_.watermark_low;
  return until_depth(config_.watermark_low + config_.shed_start_ppm[priority] * span / kPpm);
}

BackpressureController::Reply BackpressureController::decide(std::uint32_t priority,
                                                             Nanos now) noexcept {
  if (!ServiceClock::is_valid(now) || priority >= kPressurePriorities) {
    return refuse(Errc::invalid_argument);
  }
  const std::int64_t now_ns = clock_.at(now);
  look(now);
  ++counters_.offered;
  if (state_ == PressureState::blocked && !MESH_MUTANT("pressure.hard_limit")) {
    ++counters_.blocked;
    return reject(Refusal::rejected_pressure, until_depth(config_.limit() - 1));
  }
  if (priority < kCritical && downstream_.most(now_ns) > config_.shed_start_ppm[priority] &&
      !MESH_MUTANT("pressure.downstream")) {
    ++counters_.shed;
    return reject(Refusal::rejected_pressure, config_.downstream_ttl_ns);
  }
  const bool throttled = state_ == PressureState::throttling && priority < kCritical;
  if (throttled && own_pressure_ppm() > config_.shed_start_ppm[priority] &&
      !MESH_MUTANT("pressure.shed")) {
    ++counters_.shed;
    return reject(Refusal::rejected_pressure, until_shed_ends(priority));
  }
  if (throttled) {
    const TakeResult taken = credits_.take(now_ns);
    if (taken.status != TakeStatus::kTaken && !MESH_MUTANT("pressure.bucket")) {
      ++counters_.rate_refused;
      return reject(Refusal::rejected_rate, Nanos{taken.retry_after_ns});
    }
  }
  ++counters_.accepted;
  return reject(Refusal::none, Nanos{0});
}

void BackpressureController::enter(PressureState state, std::int64_t now_ns) noexcept {
  const bool was_on = state_ != PressureState::accepting;
  const bool is_on = state != PressureState::accepting;
  state_ = state;
  ++counters_.transitions;
  if (was_on == is_on) return;
  if (!is_on && !MESH_MUTANT("pressure.void_credits"))
    credits_.void_all(now_ns);  // nobody needs them; the bucket starts as it stands
  emit(is_on ? Event::on : Event::off, is_on ? Severity::warning : Severity::info, now_ns,
       {depth_});
}

void BackpressureController::sample_drain(std::uint64_t drained, std::int64_t now_ns) noexcept {
  drained_ += drained;
  if (sample_begin_ns_ < 0 || (depth_ == 0 && drained_ == 0)) {
    sample_begin_ns_ = now_ns;  // an idle queue says nothing of how fast it could be drained
    return;
  }
  const std::int64_t passed = now_ns - sample_begin_ns_;
  if (passed < config_.drain_sample_ns.count()) return;
  const double rate = static_cast<double>(drained_) / (static_cast<double>(passed) * 1e-9);
  drain_rate_ = drain_rate_ > 0 ? drain_rate_ + config_.drain_alpha * (rate - drain_rate_) : rate;
  drained_ = 0;
  sample_begin_ns_ = now_ns;
  if (config_.throttle_rate_per_s > 0) return;
  rate_ = std::clamp(kOfDrain * drain_rate_, 1.0, kRateMax);
  credits_.change_rate(rate_, config_.throttle_burst, now_ns);
}

BackpressureController::Reply BackpressureController::observe(std::uint64_t depth,
                                                              std::uint64_t drained,
                                                              Nanos now) noexcept {
  const std::int64_t now_ns = clock_.at(now);
  sample_drain(drained, now_ns);
  view_changed_ = view_changed_ || depth != depth_;
  depth_ = depth;
  if (depth >= config_.limit()) {
    if (state_ != PressureState::blocked) enter(PressureState::blocked, now_ns);
  } else if (state_ == PressureState::blocked) {
    enter(PressureState::throttling, now_ns);
  }
  if (state_ == PressureState::accepting && depth >= config_.watermark_high) {
    enter(PressureState::throttling, now_ns);
  } else if (state_ == PressureState::throttling &&
             (depth <= config_.watermark_low || MESH_MUTANT("pressure.low_mark"))) {
    enter(PressureState::accepting, now_ns);
  }
  return reject(Refusal::none, Nanos{0});
}

bool BackpressureController::should_shed(Nanos sojourn, Nanos now) noexcept {
  if (!config_.codel || sojourn.count() < 0 || !ServiceClock::is_valid(now)) return false;
  const bool drop = codel_.on_dequeue(sojourn.count(), clock_.at(now));
  counters_.codel_drops += drop ? 1 : 0;
  return drop;
}

BackpressureController::Reply BackpressureController::want(const pressure::WantCredit& command,
                                                           Nanos now) noexcept {
  if (command.priority >= kPressurePriorities) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  look(now);
  Reply reply = reject(Refusal::none, Nanos{0});
  if (state_ == PressureState::blocked) {
    return reject(Refusal::rejected_pressure, until_depth(config_.limit() - 1));
  }
  if (state_ == PressureState::accepting || command.priority == kCritical) return reply;
  const std::uint32_t start = config_.shed_start_ppm[command.priority];
  if (downstream_.most(now_ns) > start) {
    return reject(Refusal::rejected_pressure, config_.downstream_ttl_ns);
  }
  if (own_pressure_ppm() > start && !MESH_MUTANT("pressure.credit_priority")) {
    return reject(Refusal::rejected_pressure, until_shed_ends(command.priority));
  }
  reply.grant = credits_.want(command.station, command.count, now_ns);
  if (reply.grant.granted == 0) reply.refusal = Refusal::no_credit;
  return reply;
}

BackpressureController::Reply BackpressureController::apply(const Command& command,
                                                            Nanos now) noexcept {
  if (const auto* offer = std::get_if<pressure::ShouldAccept>(&command)) {
    return should_accept(offer->priority, now);
  }
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  if (const auto* seen = std::get_if<pressure::Observe>(&command)) {
    return seen->depth > kDepthMax ? refuse(Errc::invalid_argument)
                                   : observe(seen->depth, seen->drained, now);
  }
  if (const auto* heard = std::get_if<pressure::HearDownstream>(&command)) {
    const bool is_possible = heard->pressure_ppm <= kPpm && heard->child < config_.downstream_max;
    if (!is_possible) return refuse(Errc::invalid_argument);
    downstream_.hear(heard->child, heard->pressure_ppm, clock_.at(now));
    view_changed_ = true;
    return reject(Refusal::none, Nanos{0});
  }
  if (const auto* wanted = std::get_if<pressure::WantCredit>(&command)) return want(*wanted, now);
  if (const auto* spent = std::get_if<pressure::ReportSpent>(&command)) {
    const std::uint64_t counted = credits_.spend(spent->station, spent->count, clock_.at(now));
    counters_.offered += counted;
    counters_.accepted += counted;
  } else if (const auto* gone = std::get_if<pressure::StationClosed>(&command)) {
    credits_.give_back(gone->station, clock_.at(now));
  }
  return reject(Refusal::none, Nanos{0});
}

void BackpressureController::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    look(now);
    sample_drain(0, now_ns);
    credits_.tick(now_ns);
    const std::uint32_t before = downstream_.last_most();
    view_changed_ = downstream_.most(now_ns) != before || view_changed_;
  }
  out.view_changed = std::exchange(view_changed_, false);
}

PressureView BackpressureController::view() const noexcept {
  return {state_, pressure_ppm(), static_cast<std::uint32_t>(depth_)};
}

// --- bytes -------------------------------------------------------------------------------------

void BackpressureController::save_state(StateWriter& writer) const {
  writer.put(state_);
  writer.put(depth_);
  for (const auto real : {drain_rate_, rate_}) writer.put(real);
  writer.put(drained_);
  writer.put(sample_begin_ns_);
  credits_.save(writer);
  codel_.save(writer);
  downstream_.save(writer);
}

void BackpressureController::load_state(StateReader& reader) {
  state_ = reader.get_enum(PressureState::blocked);
  reader.get(depth_);
  for (auto* real : {&drain_rate_, &rate_}) reader.get(*real);
  reader.get(drained_);
  reader.get(sample_begin_ns_);
  credits_.load(reader);
  codel_.load(reader);
  downstream_.load(reader);
}

Status BackpressureController::verify() const {
  const auto& sums = counters_;
  const std::array checks{
      Check{sums.offered == sums.accepted + sums.shed + sums.rate_refused + sums.blocked,
            "offered is not accepted + shed + rate_refused + blocked"},
      Check{(state_ == PressureState::blocked) == (depth_ >= config_.limit()),
            "blocked does not follow the depth"},
      Check{state_ != PressureState::accepting || depth_ < config_.watermark_high,
            "accepting at the high mark"},
      Check{state_ != PressureState::throttling || depth_ > config_.watermark_low,
            "throttling at the low mark"},
      Check{credits_.audit().is_balanced(), "credits do not add up"},
      Check{rate_ >= 0 && rate_ <= kRateMax && drain_rate_ >= 0, "an impossible rate"},
  };
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<BackpressureController, BackpressureConfig, PressureCommand,
                           PressureReply, PressureCounters, PressureActions>;

}  // namespace mesh::coordination
