#include "engine/coordination/throttle_governor.hpp"

#include <algorithm>
#include <cmath>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/blocks/ppm.hpp"

namespace mesh::coordination {
namespace {

constexpr std::uint32_t kGrowthPause = 2;    // intervals after a cut
constexpr std::uint32_t kIdleIntervals = 2;  // after which a tenant's minimum is not kept for it
constexpr std::uint32_t kMissedRounds = 3;   // after which a host's share goes to the others
constexpr double kDemandAlpha = 0.3;         // of one interval in the EWMA of a tenant's demand
constexpr double kHeadroom = 1.25;           // over its demand, so that a tenant can grow
constexpr double kDeliveredMin = 0.7;        // of the rate, for startup to double it again
constexpr double kDraining = 0.9;            // of the last interval's least latency
constexpr double kLeastRate = 1e-3;          // a bucket has no rate of 0
constexpr double kUnbounded = 1e9;           // demand that was never measured

double seconds(std::int64_t ns) noexcept { return static_cast<double>(ns) * 1e-9; }

// Of a tenant that has no share yet.
CreditConfig credit_of(const ThrottleConfig& config) noexcept {
  CreditConfig credit;
  credit.rate_per_s = 1;
  credit.burst = 1;
  credit.expiry_ns = config.credit_expiry_ns.count();
  credit.grants_max = config.grants_max;
  return credit;
}

}  // namespace

double PiController::step(double error, double dt_s) noexcept {
  const double next = integral + ki * error * dt_s;
  const double raw = kp * error + next;
  const bool may_move = (raw >= -clamp && raw <= clamp) || raw * error < 0;
  if (may_move || MESH_MUTANT("throttle.windup")) integral = next;
  return std::clamp(kp * error + integral, -clamp, clamp);
}

AdaptiveThrottleGovernor::AdaptiveThrottleGovernor(const Config& config, std::uint64_t /*seed*/)
    : ServiceForm(config),
      rate_(config.initial_rate),
      step_(config.ai_step * config.initial_rate),
      pi_{config.kp, config.ki, config.pi_clamp, 0},
      codel_(config.codel_target_ns.count(), config.codel_interval_ns.count()),
      tenants_(config.tenants_max),
      hosts_(config.hosts_max),
      items_(std::max(config.tenants_max, config.hosts_max + 1)),
      filled_(items_.size()),
      scratch_(2 * items_.size()) {
  pools_.reserve(config.tenants_max);
  for (std::uint32_t i = 0; i < config.tenants_max; ++i) pools_.emplace_back(credit_of(config));
}

double AdaptiveThrottleGovernor::interval_s() const noexcept {
  return seconds(config_.control_interval_ns.count());
}

// --- requests ----------------------------------------------------------------------------------

// What its bucket does not give.
AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::limit(const TakeResult& taken) noexcept {
  Reply reply;
  if (MESH_MUTANT("throttle.bucket")) {
    ++counters_.allowed;
    return reply;
  }
  ++counters_.limited;
  reply.refusal = Refusal::rejected_rate;
  reply.retry_after = Nanos{taken.retry_after_ns};
  return reply;
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::should_allow_otherwise(
    std::uint32_t id, Nanos now, std::uint32_t keep_ppm) noexcept {
  ++counters_.commands;
  Tenant* tenant = tenant_of(id);
  if (tenant == nullptr) return refuse(Errc::not_found);
  if (!ServiceClock::is_valid(now) || keep_ppm >= kPpm) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  ++counters_.asked;
  ++tenant->offered;
  const TakeResult taken =
      keep_ppm == 0 ? pools_[id].take(now_ns) : pools_[id].take_keeping(now_ns, keep_ppm);
  if (taken.status != TakeStatus::kTaken) return limit(taken);
  ++counters_.allowed;
  return {};
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::record_otherwise(
    const throttle::Record& sample, Nanos now) noexcept {
  ++counters_.commands;
  if (tenant_of(sample.tenant) == nullptr) return refuse(Errc::not_found);
  if (!ServiceClock::is_valid(now) || sample.duration.count() < 0 ||
      !ServiceClock::is_valid(sample.finished) ||
      (sample.finished - now > config_.control_interval_ns &&
       !MESH_MUTANT("throttle.future_sample"))) {
    return refuse(Errc::invalid_argument);
  }
  clock_.at(now);
  const std::int64_t took = sample.duration.count();
  add_samples({1, sample.ok ? 0U : 1U, took, took});
  return {};
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::record_sums(
    const throttle::RecordSums& sums, Nanos now) noexcept {
  if (tenant_of(sums.tenant) == nullptr) return refuse(Errc::not_found);
  const bool adds_up = sums.count > 0 && sums.errors <= sums.count && sums.least.count() >= 0 &&
                       sums.sum.count() / sums.count >= sums.least.count();
  if (!adds_up) return refuse(Errc::invalid_argument);
  clock_.at(now);
  add_samples({sums.count, sums.errors, sums.sum.count(), sums.least.count()});
  return {};
}

// --- tenants and hosts -------------------------------------------------------------------------

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::set_tenant(
    const throttle::SetTenant& wanted, Nanos now) noexcept {
  if (!is_name(wanted.name)) return refuse(Errc::invalid_id);
  const bool ranged = wanted.weight > 0 && std::isfinite(wanted.weight) &&
                      wanted.min_guaranteed >= 0 && wanted.max_burst >= wanted.min_guaranteed &&
                      wanted.max_burst > 0 && std::isfinite(wanted.max_burst) &&
                      wanted.priority < kPriorities;
  if (!ranged) return refuse(Errc::invalid_config);
  std::size_t slot = tenants_.size();
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    const std::string_view name(tenants_[i].name.data(), tenants_[i].name_bytes);
    if (name == wanted.name) slot = i;
  }
  const auto is_free = [](const Tenant& tenant) { return !tenant.is_taken(); };
  if (slot == tenants_.size()) {
    const auto free = std::find_if(tenants_.begin(), tenants_.end(), is_free);
    if (free == tenants_.end()) return refuse(Errc::capacity);
    slot = static_cast<std::size_t>(free - tenants_.begin());
  }
  const std::int64_t now_ns = clock_.at(now);
  Tenant& tenant = tenants_[slot];
  if (!tenant.is_taken()) {
    tenant = Tenant{};
    pools_[slot].restart();
    std::copy(wanted.name.begin(), wanted.name.end(), tenant.name.begin());
    tenant.name_bytes = static_cast<std::uint32_t>(wanted.name.size());
  }
  tenant.weight = wanted.weight;
  tenant.min_guaranteed = wanted.min_guaranteed;
  tenant.max_burst = wanted.max_burst;
  tenant.priority = wanted.priority;
  share_out(now_ns);
  double minima = 0;
  for (const auto& other : tenants_) minima += other.is_taken() ? other.min_guaranteed : 0;
  if (minima > config_.initial_rate) {
    emit(Event::over_committed, Severity::warning, now_ns,
         {slot, static_cast<std::uint64_t>(std::min(minima, 1e18))});
  }
  Reply reply;
  reply.tenant = static_cast<std::uint32_t>(slot);
  return reply;
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::gossip(
    const throttle::Gossip& heard) noexcept {
  const bool finite = heard.demand >= 0 && std::isfinite(heard.demand) && heard.rate >= 0 &&
                      std::isfinite(heard.rate);
  if (!finite || heard.node == self_) return refuse(Errc::invalid_argument);
  const auto known = std::find_if(hosts_.begin(), hosts_.end(), [&](const Host& host) {
    return host.is_known && host.node == heard.node;
  });
  const auto free =
      std::find_if(hosts_.begin(), hosts_.end(), [](const Host& host) { return !host.is_known; });
  if (known == hosts_.end() && free == hosts_.end()) return refuse(Errc::capacity);
  Host& host = known != hosts_.end() ? *known : *free;
  if (host.is_known && heard.epoch <= host.epoch) {
    ++counters_.stale_gossip;
    return {};
  }
  host = {heard.node, true, heard.demand, heard.epoch, 0};
  return {};
}

void AdaptiveThrottleGovernor::share_between_hosts() noexcept {
  host_share_ = -1;
  if (global_cap_ <= 0) return;
  std::size_t known = 1;
  std::size_t live = 1;
  items_[0] = {1, 0, std::max(1.0, total_demand()), 0};
  for (auto& host : hosts_) {
    if (!host.is_known) continue;
    ++known;
    host.missed_rounds = std::min(host.missed_rounds + 1, kMissedRounds + 1);
    if (host.missed_rounds <= kMissedRounds) items_[live++] = {1, 0, std::max(1.0, host.demand), 0};
  }
  const double equal = global_cap_ / static_cast<double>(known);
  if (2 * live <= known) {  // cut off: what nobody else can count on
    host_share_ = equal;
    return;
  }
  const auto items = std::span(items_).first(live);
  double demands = 0;
  for (const auto& item : items) demands += item.hi;
  if (demands < global_cap_) {  // nobody is limited: what is over is everybody's to grow into
    host_share_ = items_[0].hi + (global_cap_ - demands) / static_cast<double>(live);
  } else if (water_fill(global_cap_, items, filled_, scratch_)) {
    host_share_ = filled_[0];
  }
}

double AdaptiveThrottleGovernor::total_demand() const noexcept {
  double sum = 0;
  bool measured = false;
  for (const auto& tenant : tenants_) {
    if (!tenant.is_taken() || tenant.demand < 0) continue;
    sum += tenant.demand;
    measured = true;
  }
  return measured ? sum : rate_;
}

void AdaptiveThrottleGovernor::measure_demand() noexcept {
  for (auto& tenant : tenants_) {
    if (!tenant.is_taken()) continue;
    const double now_demand = static_cast<double>(tenant.offered) / interval_s();
    tenant.idle_intervals = tenant.offered == 0 ? tenant.idle_intervals + 1 : 0;
    if (tenant.offered != 0 || tenant.demand >= 0) {
      tenant.demand = tenant.demand < 0
                          ? now_demand
                          : tenant.demand + kDemandAlpha * (now_demand - tenant.demand);
    }
    tenant.offered = 0;
  }
}

// Where the minima are more than there is: those of the most urgent tenants whole, as far as it
// goes; of one priority all shrink alike.
void AdaptiveThrottleGovernor::keep_urgent_minima(std::span<FillItem> items) const noexcept {
  double left = view().effective_rate;
  for (std::uint32_t priority = kPriorities; priority-- != 0;) {
    const auto each = [&](auto&& visit) {
      std::size_t at = 0;
      for (const auto& tenant : tenants_) {
        if (!tenant.is_taken()) continue;
        FillItem& item = items[at++];
        if (tenant.priority == priority) visit(item);
      }
    };
    double wanted = 0;
    each([&](const FillItem& item) { wanted += item.lo; });
    if (wanted > left) each([&](FillItem& item) { item.lo *= left / wanted; });
    left = std::max(0.0, left - wanted);
  }
}

void AdaptiveThrottleGovernor::share_out(std::int64_t now_ns) noexcept {
  std::size_t count = 0;
  for (const auto& tenant : tenants_) {
    if (!tenant.is_taken()) continue;
    const double demand = tenant.demand < 0 ? kUnbounded : tenant.demand;
    const bool idle = tenant.demand >= 0 && tenant.idle_intervals > kIdleIntervals;
    const double hi = std::min(tenant.max_burst, demand * kHeadroom + 1);
    const double lo =
        idle && !MESH_MUTANT("throttle.idle_minimum") ? 0 : std::min(tenant.min_guaranteed, demand);
    items_[count++] = {tenant.weight, std::min(lo, hi), hi, 0};
  }
  const auto items = std::span(items_).first(count);
  if (!MESH_MUTANT("throttle.urgent_minima")) keep_urgent_minima(items);
  if (!water_fill(view().effective_rate, items, filled_, scratch_)) return;
  count = 0;
  for (std::size_t i = 0; i < tenants_.size(); ++i) {
    if (!tenants_[i].is_taken()) continue;
    tenants_[i].share = filled_[count++];
    const double rate = std::max(tenants_[i].share, kLeastRate);
    // A second's worth: the 31st request in a second of a tenant with 30 is refused.
    const auto burst = static_cast<std::uint64_t>(std::max(1.0, std::floor(rate)));
    pools_[i].change_rate(rate, burst, now_ns);
  }
  view_changed_ = true;
}

// --- control -----------------------------------------------------------------------------------

void AdaptiveThrottleGovernor::enter(ThrottleMode mode, std::int64_t now_ns) noexcept {
  if (mode == mode_) return;
  emit(Event::mode_change, mode == ThrottleMode::congested ? Severity::warning : Severity::info,
       now_ns, {static_cast<std::uint64_t>(mode_), static_cast<std::uint64_t>(mode)});
  mode_ = mode;
}

// The least latency of this window and the one before: it never inflates by itself.
void AdaptiveThrottleGovernor::update_base(double least_s, std::int64_t now_ns) noexcept {
  const std::int64_t since = now_ns - base_began_ns_;
  if (base_s_[1] >= 0 && since >= config_.base_rtt_window_ns.count()) {
    const bool skipped = since >= 2 * config_.base_rtt_window_ns.count();
    base_s_ = {skipped ? -1 : base_s_[1], -1};
    base_began_ns_ = now_ns;
  }
  base_s_[1] = base_s_[1] < 0 ? least_s : std::min(base_s_[1], least_s);
}

void AdaptiveThrottleGovernor::cut(double mean_s, std::int64_t now_ns) noexcept {
  const double apart = std::max(interval_s(), mean_s);
  const bool is_early = seconds(now_ns - last_cut_ns_) + 1e-9 < apart;
  if (is_early && !MESH_MUTANT("throttle.one_cut")) return;
  rate_ = aimd_step(rate_, true, 0, config_.md_factor);
  hold_ = MESH_MUTANT("throttle.growth_pause") ? 0 : kGrowthPause;
  last_cut_ns_ = now_ns;
  ++counters_.cuts;
  pi_.integral = std::min(pi_.integral, 0.0);
  enter(ThrottleMode::congested, now_ns);
}

void AdaptiveThrottleGovernor::steer(double mean_s, double least_s, std::int64_t now_ns) noexcept {
  update_base(least_s, now_ns);
  const double base = base_s_[0] < 0 ? base_s_[1] : std::min(base_s_[0], base_s_[1]);
  const double queue = standing_queue(rate_, least_s, base);
  const double errors =
      static_cast<double>(interval_.errors) / static_cast<double>(interval_.count);
  const bool late = least_s - base > seconds(config_.codel_target_ns.count());
  const double by_queue =
      (queue - config_.vegas_alpha) / (config_.vegas_beta - config_.vegas_alpha);
  congestion_ = std::clamp(std::max(by_queue, errors / config_.error_md_threshold), 0.0, 1.0);
  if (codel_.is_dropping()) congestion_ = 1;
  hold_ -= hold_ > 0 ? 1 : 0;
  // What was cut before works already: another cut would only empty the server.
  const bool draining = last_least_s_ >= 0 && least_s < kDraining * last_least_s_;
  last_least_s_ = least_s;
  if (errors > config_.error_md_threshold || codel_.is_dropping() || breaker_open_) {
    cut(mean_s, now_ns);
  } else if (late && draining) {
    hold_ = std::max(hold_, 1U);
    enter(ThrottleMode::recovering, now_ns);
  } else if (late) {
    cut(mean_s, now_ns);
  } else if (queue > config_.vegas_beta) {
    rate_ -= step_;
    enter(ThrottleMode::probing, now_ns);
  } else if (queue < config_.vegas_alpha) {
    if (mode_ == ThrottleMode::startup) {
      // The least latency of an interval lags behind a queue that has just begun: what comes back
      // says earlier that the rate has passed what the server does.
      const double delivered = static_cast<double>(interval_.count) / interval_s();
      if (delivered >= kDeliveredMin * rate_) rate_ *= 2;
    } else if (hold_ > 0) {
      enter(ThrottleMode::recovering, now_ns);
    } else {
      rate_ = aimd_step(rate_, false, step_, config_.md_factor);
      enter(ThrottleMode::probing, now_ns);
    }
  } else {
    enter(ThrottleMode::steady, now_ns);
    const double set = seconds(config_.latency_setpoint_ns.count());
    const double by = pi_.step((set - mean_s) / set, interval_s());
    rate_ *= 1 + (MESH_MUTANT("throttle.trim_only") ? by : std::min(by, 0.0));
  }
}

void AdaptiveThrottleGovernor::control(std::int64_t now_ns) noexcept {
  ++counters_.intervals;
  const double before = rate_;
  const bool are_few = interval_.count < config_.min_samples;
  if (are_few && !MESH_MUTANT("throttle.min_samples")) {
    ++counters_.held;
  } else {
    const double mean = seconds(interval_.sum_ns) / static_cast<double>(interval_.count);
    steer(mean, seconds(interval_.least_ns), now_ns);
    rate_ = before + config_.rate_smoothing * (rate_ - before);
    rate_ = std::clamp(rate_, config_.min_rate, config_.max_rate);
  }
  interval_ = {};
  measure_demand();
  share_between_hosts();
  share_out(now_ns);
}

void AdaptiveThrottleGovernor::tick(Nanos now, Actions& out) noexcept {
  out = {};
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    if (next_control_ns_ < 0) next_control_ns_ = now_ns + config_.control_interval_ns.count();
    if (now_ns >= next_control_ns_) {
      control(now_ns);
      const std::int64_t next = next_control_ns_ + config_.control_interval_ns.count();
      next_control_ns_ = std::max(next, now_ns + 1);
      out.gossip = global_cap_ > 0;
      out.demand = total_demand();
    }
  }
  out.view_changed = std::exchange(view_changed_, false);
}

ThrottleView AdaptiveThrottleGovernor::view() const noexcept {
  const double effective = host_share_ < 0 ? rate_ : std::min(rate_, host_share_);
  return {rate_, effective, mode_, static_cast<std::uint32_t>(congestion_ * 1e6)};
}

double AdaptiveThrottleGovernor::share(std::uint32_t tenant) const noexcept {
  return tenant < tenants_.size() ? tenants_[tenant].share : 0;
}

void AdaptiveThrottleGovernor::adopt(const ThrottleView& view) noexcept {
  if (!std::isfinite(view.rate) || view.mode > ThrottleMode::recovering) return;
  rate_ = std::clamp(view.rate, config_.min_rate, config_.max_rate);
  mode_ = view.mode == ThrottleMode::startup ? view.mode : ThrottleMode::probing;
  share_out(clock_.last_ns());
}

void AdaptiveThrottleGovernor::resize(double rate) noexcept {
  if (!std::isfinite(rate)) return;
  rate_ = std::clamp(rate, config_.min_rate, config_.max_rate);
  step_ = config_.ai_step * rate_;
  mode_ = ThrottleMode::probing;
  share_out(clock_.last_ns());
}

// What a station spends counts as asked and allowed once it is reported, and as the tenant's
// demand.
AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::of_credit(const Command& command,
                                                                    std::int64_t now_ns) noexcept {
  Reply reply;
  if (const auto* wanted = std::get_if<throttle::WantCredit>(&command)) {
    if (tenant_of(wanted->tenant) == nullptr) return refuse(Errc::not_found);
    reply.grant = pools_[wanted->tenant].want(wanted->station, wanted->count, now_ns);
    if (reply.grant.granted == 0) reply.refusal = Refusal::no_credit;
  } else if (const auto* spent = std::get_if<throttle::ReportSpent>(&command)) {
    Tenant* tenant = tenant_of(spent->tenant);
    if (tenant == nullptr) return refuse(Errc::not_found);
    const std::uint64_t counted = pools_[spent->tenant].spend(spent->station, spent->count, now_ns);
    tenant->offered += counted;
    counters_.asked += counted;
    counters_.allowed += counted;
  } else {
    const std::uint32_t gone = std::get<throttle::StationClosed>(command).station;
    for (auto& pool : pools_) pool.give_back(gone, now_ns);
  }
  return reply;
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::apply_rest(const Command& command,
                                                                     Nanos now) noexcept {
  Reply reply;
  if (const auto* gone = std::get_if<throttle::RemoveTenant>(&command)) {
    Tenant* tenant = tenant_of(gone->tenant);
    if (tenant == nullptr) return refuse(Errc::not_found);
    *tenant = Tenant{};
    pools_[gone->tenant].restart();
    share_out(clock_.at(now));
  } else if (const auto* waited = std::get_if<throttle::Dequeue>(&command)) {
    if (waited->sojourn.count() < 0) return refuse(Errc::invalid_argument);
    reply.drop = codel_.on_dequeue(waited->sojourn.count(), clock_.at(now));
    counters_.codel_drops += reply.drop ? 1 : 0;
  } else if (const auto* downstream = std::get_if<throttle::Downstream>(&command)) {
    breaker_open_ = downstream->breaker_open;
  } else if (const auto* cap = std::get_if<throttle::GlobalCap>(&command)) {
    if (!(cap->rate >= 0 && std::isfinite(cap->rate))) return refuse(Errc::invalid_argument);
    global_cap_ = cap->rate;
    self_ = cap->self;
    for (auto& host : hosts_) {  // it is not another host any more
      if (host.is_known && host.node == self_) host = Host{};
    }
  } else {
    return of_credit(command, clock_.at(now));
  }
  return reply;
}

AdaptiveThrottleGovernor::Reply AdaptiveThrottleGovernor::apply(const Command& command,
                                                                Nanos now) noexcept {
  if (const auto* ask = std::get_if<throttle::ShouldAllow>(&command)) {
    return should_allow(ask->tenant, now, ask->keep_ppm);
  }
  if (const auto* sample = std::get_if<throttle::Record>(&command)) return record(*sample, now);
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  if (const auto* wanted = std::get_if<throttle::SetTenant>(&command)) {
    return set_tenant(*wanted, now);
  }
  if (const auto* sums = std::get_if<throttle::RecordSums>(&command))
    return record_sums(*sums, now);
  if (const auto* heard = std::get_if<throttle::Gossip>(&command)) return gossip(*heard);
  return apply_rest(command, now);
}

}  // namespace mesh::coordination
