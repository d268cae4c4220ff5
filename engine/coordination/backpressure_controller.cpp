#include "engine/coordination/backpressure_controller.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "engine/coordination/blocks/service_form.hpp"

namespace mesh::coordination {
namespace {

constexpr SnapshotKind kKind{"backpressure_controller", 1};
constexpr std::uint32_t kPpm = 1'000'000;
constexpr std::uint32_t kCritical = kPressurePriorities - 1;
constexpr std::array<std::string_view, 3> kPresets{"default", "strict", "latency"};
constexpr double kOfDrain = 0.9;  // of the measured rate: the queue shrinks while it is rationed
constexpr double kRateMax = 1e9;

CreditConfig credit_of(const BackpressureConfig& config) {
  CreditConfig credit;
  credit.rate_per_s = config.throttle_rate_per_s > 0 ? config.throttle_rate_per_s : 1;
  credit.burst = config.throttle_burst;
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
  const auto bad = [](std::string_view field) {
    std::string sentence("backpressure: ");
    sentence += field;
    return fail(Errc::invalid_config, std::move(sentence));
  };
  if (config.watermark_high <= config.watermark_low) return bad("watermark_high is not above low");
  if (config.watermark_high > UINT32_MAX / 2) return bad("watermark_high is above 2147483647");
  if (config.limit() < config.watermark_high) return bad("hard_limit is below watermark_high");
  const double rate = config.throttle_rate_per_s;
  if (!(rate >= 0 && rate <= kRateMax)) return bad("throttle_rate_per_s is outside 0..1e9");
  if (!GcraBucket::is_valid(rate > 0 ? rate : 1, config.throttle_burst)) {
    return bad("throttle_burst and the rate make no bucket");
  }
  const auto& shed = config.shed_start_ppm;
  if (!std::is_sorted(shed.begin(), shed.end()) || shed.back() > kPpm) {
    return bad("shed_start_ppm falls with the priority, or is above 1000000");
  }
  if (!(config.drain_alpha > 0 && config.drain_alpha <= 1))
    return bad("drain_alpha is outside 0..1");
  if (config.drain_sample_ns.count() <= 0) return bad("drain_sample_ns is not above 0");
  if (config.codel_target_ns.count() <= 0 || config.codel_interval_ns.count() <= 0) {
    return bad("codel_target_ns or codel_interval_ns is not above 0");
  }
  return {};
}

BackpressureController::BackpressureController(const Config& config, std::uint64_t /*seed*/)
    : config_(config),
      rate_(credit_of(config).rate_per_s),
      credits_(credit_of(config)),
      codel_(config.codel_target_ns.count(), config.codel_interval_ns.count()),
      events_(config.events_max) {}

BackpressureController::Reply BackpressureController::refuse(Errc code) noexcept {
  ++counters_.refused;
  Reply reply;
  reply.code = code;
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

std::uint32_t BackpressureController::pressure_ppm() const noexcept {
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

BackpressureController::Reply BackpressureController::decide(std::uint32_t priority,
                                                             Nanos now) noexcept {
  if (!ServiceClock::is_valid(now) || priority >= kPressurePriorities) {
    return refuse(Errc::invalid_argument);
  }
  const std::int64_t now_ns = clock_.at(now);
  ++counters_.offered;
  if (state_ == PressureState::blocked) {
    ++counters_.blocked;
    return reject(Refusal::rejected_pressure, until_depth(config_.limit() - 1));
  }
  const bool throttled = state_ == PressureState::throttling && priority < kCritical;
  if (throttled && pressure_ppm() > config_.shed_start_ppm[priority]) {
    ++counters_.shed;
    const std::uint64_t span = config_.limit() - config_.watermark_low;
    const std::uint64_t start = config_.shed_start_ppm[priority] * span / kPpm;
    return reject(Refusal::rejected_pressure, until_depth(config_.watermark_low + start));
  }
  if (throttled) {
    const TakeResult taken = credits_.take(now_ns);
    if (taken.status != TakeStatus::kTaken) {
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
  if (!is_on) credits_.void_all(now_ns);  // nobody needs them; the bucket starts as it stands
  EventRecord event;
  event.t_ns = now_ns;
  event.kind = static_cast<std::uint16_t>(is_on ? Event::on : Event::off);
  event.severity = is_on ? Severity::warning : Severity::info;
  event.a = depth_;
  events_.emit(event);
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
  } else if (state_ == PressureState::throttling && depth <= config_.watermark_low) {
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
  const std::int64_t now_ns = clock_.at(now);
  Reply reply = reject(Refusal::none, Nanos{0});
  if (state_ == PressureState::throttling) {
    reply.grant = credits_.want(command.station, command.count, now_ns);
    if (reply.grant.granted == 0) reply.refusal = Refusal::no_credit;
  } else if (state_ == PressureState::blocked) {
    reply.refusal = Refusal::rejected_pressure;
    reply.retry_after = until_depth(config_.limit() - 1);
  }
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
    return seen->depth > UINT32_MAX ? refuse(Errc::invalid_argument)
                                    : observe(seen->depth, seen->drained, now);
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
    sample_drain(0, now_ns);
    credits_.tick(now_ns);
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
}

void BackpressureController::load_state(StateReader& reader) {
  state_ = reader.get_enum(PressureState::blocked);
  reader.get(depth_);
  for (auto* real : {&drain_rate_, &rate_}) reader.get(*real);
  reader.get(drained_);
  reader.get(sample_begin_ns_);
  credits_.load(reader);
  codel_.load(reader);
}

Snapshot BackpressureController::snapshot() const {
  StateWriter writer;
  save_state(writer);
  clock_.save(writer);
  save_counters(counters_, writer);
  return seal_snapshot(kKind, writer.bytes());
}

Result<BackpressureController> BackpressureController::restore(const Config& config,
                                                               const Snapshot& snapshot) {
  MESH_CHECK_OK(validate(config));
  MESH_TRY(const auto body, open_snapshot(kKind, snapshot.bytes));
  BackpressureController controller(config);
  StateReader reader(body);
  controller.load_state(reader);
  controller.clock_.load(reader);
  load_counters(controller.counters_, reader);
  MESH_CHECK_OK(reader.finish("backpressure: snapshot"));
  MESH_CHECK_OK(controller.verify());
  return controller;
}

std::uint64_t BackpressureController::state_hash() const {
  StateWriter writer;
  save_state(writer);
  return checksum(writer.bytes());
}

Status BackpressureController::verify() const {
  const auto bad = [](std::string_view what) {
    std::string sentence("backpressure: ");
    sentence += what;
    return fail(Errc::corrupt, std::move(sentence));
  };
  const auto& sums = counters_;
  if (sums.offered != sums.accepted + sums.shed + sums.rate_refused + sums.blocked) {
    return bad("offered is not accepted + shed + rate_refused + blocked");
  }
  if ((state_ == PressureState::blocked) != (depth_ >= config_.limit())) {
    return bad("blocked does not follow the depth");
  }
  if (state_ == PressureState::accepting && depth_ >= config_.watermark_high) {
    return bad("accepting at the high mark");
  }
  if (state_ == PressureState::throttling && depth_ <= config_.watermark_low) {
    return bad("throttling at the low mark");
  }
  if (!credits_.audit().is_balanced()) return bad("credits do not add up");
  if (!(rate_ >= 0 && rate_ <= kRateMax) || !(drain_rate_ >= 0)) return bad("an impossible rate");
  return {};
}

void BackpressureController::encode(const Command& command, StateWriter& writer) {
  writer.put(static_cast<std::uint8_t>(command.index()));
  if (const auto* seen = std::get_if<pressure::Observe>(&command)) {
    writer.put(seen->depth);
    writer.put(seen->drained);
  } else if (const auto* offer = std::get_if<pressure::ShouldAccept>(&command)) {
    writer.put(offer->priority);
  } else if (const auto* wanted = std::get_if<pressure::WantCredit>(&command)) {
    writer.put(wanted->station);
    writer.put(wanted->count);
  } else if (const auto* spent = std::get_if<pressure::ReportSpent>(&command)) {
    writer.put(spent->station);
    writer.put(spent->count);
  } else if (const auto* gone = std::get_if<pressure::StationClosed>(&command)) {
    writer.put(gone->station);
  }
}

BackpressureController::Command BackpressureController::decode_command(StateReader& reader) {
  Command command = command_of_index<Command>(reader);
  if (auto* seen = std::get_if<pressure::Observe>(&command)) {
    reader.get(seen->depth);
    reader.get(seen->drained);
  } else if (auto* offer = std::get_if<pressure::ShouldAccept>(&command)) {
    reader.get(offer->priority);
  } else if (auto* wanted = std::get_if<pressure::WantCredit>(&command)) {
    reader.get(wanted->station);
    reader.get(wanted->count);
  } else if (auto* spent = std::get_if<pressure::ReportSpent>(&command)) {
    reader.get(spent->station);
    reader.get(spent->count);
  } else if (auto* gone = std::get_if<pressure::StationClosed>(&command)) {
    reader.get(gone->station);
  }
  return command;
}

void BackpressureController::encode(const Reply& reply, StateWriter& writer) {
  writer.put(reply.code);
  writer.put(reply.refusal);
  writer.put(reply.state);
  writer.put(reply.retry_after);
  writer.put(reply.grant.granted);
  writer.put(reply.grant.expires_ns);
}

BackpressureController::Reply BackpressureController::decode_reply(StateReader& reader) {
  Reply reply;
  reader.get(reply.code);
  reply.refusal = reader.get_enum(Refusal::no_credit);
  reply.state = reader.get_enum(PressureState::blocked);
  reader.get(reply.retry_after);
  reader.get(reply.grant.granted);
  reader.get(reply.grant.expires_ns);
  return reply;
}

}  // namespace mesh::coordination
