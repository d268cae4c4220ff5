// What a governor looks like from outside: its presets, the range of its config, its bytes.
#include <array>
#include <cmath>
#include <string>

#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/throttle_governor.hpp"

namespace mesh::coordination {
namespace {

constexpr SnapshotKind kKind{"throttle_governor", 1};
// "batch" is the name that the third one has elsewhere.
constexpr std::array<std::string_view, 4> kPresets{"api-gateway", "agent-to-agent",
                                                   "batch-processing", "batch"};

// Tight latency, quick reaction, hard cut.
ThrottleConfig api_gateway() {
  ThrottleConfig config;
  config.initial_rate = 1'000;
  config.min_rate = 50;
  config.max_rate = 50'000;
  config.control_interval_ns = Nanos{100 * kNsPerMs};
  config.latency_setpoint_ns = Nanos{50 * kNsPerMs};
  config.codel_target_ns = Nanos{5 * kNsPerMs};
  config.codel_interval_ns = Nanos{100 * kNsPerMs};
  config.vegas_beta = 4;
  config.error_md_threshold = 0.02;
  config.base_rtt_window_ns = Nanos{10 * kNsPerSecond};
  config.min_samples = 10;
  return config;
}

// Throughput first: tolerates ten times the target.
ThrottleConfig batch_processing() {
  ThrottleConfig config;
  config.initial_rate = 200;
  config.max_rate = 10'000;
  config.control_interval_ns = Nanos{5 * kNsPerSecond};
  config.latency_setpoint_ns = Nanos{10 * kNsPerSecond};
  config.codel_target_ns = Nanos{kNsPerSecond};
  config.codel_interval_ns = Nanos{20 * kNsPerSecond};
  config.vegas_alpha = 3;
  config.vegas_beta = 10;
  config.ai_step = 0.05;
  config.md_factor = 0.85;
  config.error_md_threshold = 0.2;
  config.base_rtt_window_ns = Nanos{600 * kNsPerSecond};
  return config;
}

tl::unexpected<Error> complain(Errc code, std::string_view what) {
  std::string sentence("throttle governor: ");
  sentence += what;
  return fail(code, std::move(sentence));
}

struct Check {
  bool holds;
  std::string_view sentence;
};

}  // namespace

std::string_view to_string(ThrottleMode mode) noexcept {
  constexpr std::array<std::string_view, 5> kNames{"startup", "probing", "steady", "congested",
                                                   "recovering"};
  const auto index = static_cast<std::size_t>(mode);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ThrottleConfig::names() noexcept { return kPresets; }

Result<ThrottleConfig> ThrottleConfig::preset(std::string_view name) {
  if (name == "api-gateway") return api_gateway();
  if (name == "agent-to-agent") return ThrottleConfig{};  // long windows: one slow prompt is no jam
  if (name == "batch-processing" || name == "batch") return batch_processing();
  return unknown_preset("throttle governor", name, kPresets);
}

Status AdaptiveThrottleGovernor::validate(const Config& config) {
  const auto share = [](double value) { return value > 0 && value <= 1; };
  const std::array<Check, 16> checks{{
      {config.min_rate > 0 && std::isfinite(config.min_rate), "min_rate is not above 0"},
      {config.max_rate >= config.min_rate && config.max_rate <= 1e9, "max_rate is below min_rate"},
      {config.initial_rate >= config.min_rate && config.initial_rate <= config.max_rate,
       "initial_rate is outside min_rate..max_rate"},
      {config.control_interval_ns.count() > 0, "control_interval_ns is not above 0"},
      {config.latency_setpoint_ns.count() > 0, "latency_setpoint_ns is not above 0"},
      {config.codel_target_ns.count() > 0, "codel_target_ns is not above 0"},
      {config.codel_interval_ns > config.codel_target_ns,
       "codel_interval_ns is not above its target"},
      {config.vegas_alpha >= 0 && config.vegas_beta > config.vegas_alpha &&
           std::isfinite(config.vegas_beta),
       "vegas_beta is not above vegas_alpha"},
      {share(config.ai_step), "ai_step is outside 0..1"},
      {config.md_factor > 0 && config.md_factor < 1, "md_factor is outside 0..1"},
      {share(config.error_md_threshold), "error_md_threshold is outside 0..1"},
      {config.kp >= 0 && config.kp <= 10 && config.ki >= 0 && config.ki <= 10,
       "kp or ki is outside 0..10"},
      {share(config.pi_clamp), "pi_clamp is outside 0..1"},
      {config.base_rtt_window_ns >= config.control_interval_ns,
       "base_rtt_window_ns is below an interval"},
      {config.min_samples >= 1 && share(config.rate_smoothing),
       "min_samples is below 1 or rate_smoothing outside 0..1"},
      {config.tenants_max >= 1 && config.tenants_max <= 65'536 && config.hosts_max <= 65'536,
       "tenants_max or hosts_max is outside its range"},
  }};
  for (const auto& check : checks) {
    if (!check.holds) return complain(Errc::invalid_config, check.sentence);
  }
  return {};
}

Result<std::uint32_t> AdaptiveThrottleGovernor::find(std::string_view name) const {
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    const std::string_view taken(tenants_[i].name.data(), tenants_[i].name_bytes);
    if (!taken.empty() && taken == name) return static_cast<std::uint32_t>(i);
  }
  return complain(Errc::not_found, "no such tenant");
}

// --- bytes -------------------------------------------------------------------------------------

void AdaptiveThrottleGovernor::save_state(StateWriter& writer) const {
  writer.put(mode_);
  for (const auto real : {rate_, host_share_, congestion_, pi_.integral, base_s_[0], base_s_[1],
                          last_least_s_, global_cap_}) {
    writer.put(real);
  }
  for (const auto instant : {base_began_ns_, last_cut_ns_, next_control_ns_}) writer.put(instant);
  writer.put(hold_);
  writer.put(breaker_open_);
  writer.put(self_);
  writer.put(interval_.count);
  writer.put(interval_.errors);
  writer.put(interval_.sum_ns);
  writer.put(interval_.least_ns);
  codel_.save(writer);
  for (const auto& tenant : tenants_) {
    writer.put(std::string_view(tenant.name.data(), tenant.name_bytes));
    if (!tenant.is_taken()) continue;
    writer.put(tenant.priority);
    for (const auto real :
         {tenant.weight, tenant.min_guaranteed, tenant.max_burst, tenant.demand, tenant.share}) {
      writer.put(real);
    }
    writer.put(tenant.offered);
    writer.put(tenant.idle_intervals);
    tenant.bucket.save(writer);
  }
  for (const auto& host : hosts_) {
    writer.put(host.is_known);
    if (!host.is_known) continue;
    writer.put(host.node);
    writer.put(host.demand);
    writer.put(host.epoch);
    writer.put(host.missed_rounds);
  }
}

void AdaptiveThrottleGovernor::load_state(StateReader& reader) {
  mode_ = reader.get_enum(ThrottleMode::recovering);
  for (auto* real : {&rate_, &host_share_, &congestion_, &pi_.integral, &base_s_[0], &base_s_[1],
                     &last_least_s_, &global_cap_}) {
    reader.get(*real);
  }
  for (auto* instant : {&base_began_ns_, &last_cut_ns_, &next_control_ns_}) reader.get(*instant);
  reader.get(hold_);
  reader.get(breaker_open_);
  reader.get(self_);
  reader.get(interval_.count);
  reader.get(interval_.errors);
  reader.get(interval_.sum_ns);
  reader.get(interval_.least_ns);
  codel_.load(reader);
  for (auto& tenant : tenants_) {
    tenant = Tenant{};
    const auto name = reader.get<std::string>();
    if (name.empty()) continue;
    if (!is_name(name)) return reader.fail();
    std::copy(name.begin(), name.end(), tenant.name.begin());
    tenant.name_bytes = static_cast<std::uint32_t>(name.size());
    reader.get(tenant.priority);
    for (auto* real : {&tenant.weight, &tenant.min_guaranteed, &tenant.max_burst, &tenant.demand,
                       &tenant.share}) {
      reader.get(*real);
    }
    reader.get(tenant.offered);
    reader.get(tenant.idle_intervals);
    tenant.bucket.load(reader);
  }
  for (auto& host : hosts_) {
    host = Host{};
    reader.get(host.is_known);
    if (!host.is_known) continue;
    reader.get(host.node);
    reader.get(host.demand);
    reader.get(host.epoch);
    reader.get(host.missed_rounds);
  }
}

Snapshot AdaptiveThrottleGovernor::snapshot() const {
  StateWriter writer;
  save_state(writer);
  clock_.save(writer);
  save_counters(counters_, writer);
  return seal_snapshot(kKind, writer.bytes());
}

Result<AdaptiveThrottleGovernor> AdaptiveThrottleGovernor::restore(const Config& config,
                                                                   const Snapshot& snapshot) {
  MESH_CHECK_OK(validate(config));
  MESH_TRY(const auto body, open_snapshot(kKind, snapshot.bytes));
  AdaptiveThrottleGovernor governor(config);
  StateReader reader(body);
  governor.load_state(reader);
  governor.clock_.load(reader);
  load_counters(governor.counters_, reader);
  MESH_CHECK_OK(reader.finish("throttle governor: snapshot"));
  MESH_CHECK_OK(governor.verify());
  return governor;
}

std::uint64_t AdaptiveThrottleGovernor::state_hash() const {
  StateWriter writer;
  save_state(writer);
  return checksum(writer.bytes());
}

Status AdaptiveThrottleGovernor::verify() const {
  double shares = 0;
  for (const auto& tenant : tenants_) shares += tenant.is_taken() ? tenant.share : 0;
  const std::array<Check, 5> checks{{
      {counters_.allowed + counters_.limited == counters_.asked, "allowed + limited is not asked"},
      {rate_ >= config_.min_rate && rate_ <= config_.max_rate, "the rate is outside its range"},
      {shares <= view().effective_rate + 1e-6, "the shares are more than the rate"},
      {std::abs(pi_.integral) <= pi_.clamp + pi_.kp + 1, "the integral has wound up"},
      {interval_.errors <= interval_.count, "more errors than samples"},
  }};
  for (const auto& check : checks) {
    if (!check.holds) return complain(Errc::corrupt, check.sentence);
  }
  return {};
}

namespace {

// Each field of each command, once, for both directions: `field` puts it or gets it.
template <class C, class Field>
void each_field(C& command, Field&& field) {
  using T = std::remove_const_t<C>;
  if constexpr (std::is_same_v<T, throttle::SetTenant>) {
    field(command.name), field(command.weight), field(command.min_guaranteed);
    field(command.max_burst), field(command.priority);
  } else if constexpr (std::is_same_v<T, throttle::Record>) {
    field(command.tenant), field(command.duration), field(command.ok), field(command.finished);
  } else if constexpr (std::is_same_v<T, throttle::RecordSums>) {
    field(command.tenant), field(command.count), field(command.errors), field(command.sum);
    field(command.least);
  } else if constexpr (std::is_same_v<T, throttle::Dequeue>) {
    field(command.sojourn);
  } else if constexpr (std::is_same_v<T, throttle::Downstream>) {
    field(command.breaker_open);
  } else if constexpr (std::is_same_v<T, throttle::GlobalCap>) {
    field(command.rate), field(command.self);
  } else if constexpr (std::is_same_v<T, throttle::Gossip>) {
    field(command.node), field(command.demand), field(command.rate), field(command.epoch);
  } else {
    field(command.tenant);
  }
}

}  // namespace

void AdaptiveThrottleGovernor::encode(const Command& command, StateWriter& writer) {
  writer.put(static_cast<std::uint8_t>(command.index()));
  std::visit([&](const auto& one) { each_field(one, [&](const auto& f) { writer.put(f); }); },
             command);
}

AdaptiveThrottleGovernor::Command AdaptiveThrottleGovernor::decode_command(StateReader& reader) {
  Command command = command_of_index<Command>(reader);
  std::visit([&](auto& one) { each_field(one, [&](auto& f) { reader.get(f); }); }, command);
  return command;
}

void AdaptiveThrottleGovernor::encode(const Reply& reply, StateWriter& writer) {
  writer.put(reply.code);
  writer.put(reply.refusal);
  writer.put(reply.tenant);
  writer.put(reply.drop);
  writer.put(reply.retry_after);
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::decode_reply(StateReader& reader) {
  Reply reply;
  reader.get(reply.code);
  reply.refusal = reader.get_enum(Refusal::no_credit);
  reader.get(reply.tenant);
  reader.get(reply.drop);
  reader.get(reply.retry_after);
  return reply;
}

}  // namespace mesh::coordination
