// What the arbiter looks like from outside: presets, the range of its config, views, bytes, and
// what must hold.
#include <algorithm>
#include <array>
#include <cmath>

#include "engine/coordination/contention_arbiter.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"fair-share", "priority-driven", "market-based"};

}  // namespace

std::string_view to_string(Contention severity) noexcept {
  constexpr std::array<std::string_view, 4> kNames{"none", "mild", "moderate", "severe"};
  const auto index = static_cast<std::size_t>(severity);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::string_view to_string(ArbiterReason reason) noexcept {
  constexpr std::array<std::string_view, 14> kNames{
      "unknown",  "free",     "round",     "waits",     "no_room",  "outbid",  "budget",
      "wait_die", "too_much", "timed_out", "cancelled", "released", "expired", "preempted"};
  const auto index = static_cast<std::size_t>(reason);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ContentionConfig::names() noexcept { return kPresets; }

Result<ContentionConfig> ContentionConfig::preset(std::string_view name) {
  ContentionConfig config;
  if (name == "fair-share") return config;
  if (name == "priority-driven") {
    config.mode = ArbiterMode::priority;
    config.preempts = true;
    config.wait_die = WaitDie::holders_only;
    config.gini_mild_ppm = 400'000;
    config.gini_moderate_ppm = 600'000;
    config.gini_severe_ppm = 750'000;
    return config;
  }
  if (name == "market-based") {
    config.mode = ArbiterMode::auction;
    config.reserve_price = 1'000'000;
    config.gini_mild_ppm = 350'000;
    config.gini_moderate_ppm = 550'000;
    config.gini_severe_ppm = 750'000;
    return config;
  }
  return unknown_preset("contention arbiter", name, kPresets);
}

Status ResourceContentionArbiter::validate(const Config& config) {
  constexpr std::uint32_t kSlots = SlotSet::kSlotsMax;
  const std::array<Check, 10> checks{{
      {config.mode <= ArbiterMode::leximin && config.wait_die <= WaitDie::always,
       "mode or wait_die is no value of its enum"},
      {config.preempt_margin <= kPriorityMax, "preempt_margin is above 10"},
      {config.gini_mild_ppm <= config.gini_moderate_ppm &&
           config.gini_moderate_ppm <= config.gini_severe_ppm &&
           config.gini_severe_ppm <= 1'000'000,
       "gini_mild_ppm, gini_moderate_ppm and gini_severe_ppm do not rise up to 1000000"},
      {config.starved_below >= 0 && config.starved_below <= 1, "starved_below is outside 0..1"},
      {config.ewma > 0 && config.ewma <= 1, "ewma is outside 0..1, or 0"},
      {is_positive_duration(config.starvation_ns) && is_duration(config.round_ns) &&
           config.starvation_ns.count() <= kDurationMaxNs / 4,
       "starvation_ns is outside 1 ns..9 years, or round_ns outside 0..36 years"},
      {is_duration(config.grace_ns) && is_positive_duration(config.max_hold_ns),
       "grace_ns is outside 0..36 years, or max_hold_ns outside 1 ns..36 years"},
      {is_positive_duration(config.forecast_horizon_ns) && is_positive_duration(config.sample_ns) &&
           is_positive_duration(config.aging_ns),
       "forecast_horizon_ns, sample_ns or aging_ns is outside 1 ns..36 years"},
      {config.resources_max >= 1 && config.resources_max <= 65'536 && config.agents_max >= 1 &&
           config.agents_max <= 1U << 20 && config.allocations_max >= 1 &&
           config.allocations_max <= kSlots && config.demands_max >= 1 &&
           config.demands_max <= kSlots && config.budgets_max >= 1 && config.budgets_max <= kSlots,
       "resources_max, agents_max, allocations_max, demands_max or budgets_max is 0 or too large"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

ArbiterView ResourceContentionArbiter::view(std::uint32_t resource) const noexcept {
  if (!resource_slots_.is_used(resource)) return {};
  const Resource& on = resources_[resource];
  return {on.capacity - on.active, on.capacity, on.waiting, on.severity, on.gini};
}

double ResourceContentionArbiter::satisfaction(std::uint32_t agent) const noexcept {
  return agent < config_.agents_max ? standings_[agent].satisfaction : 0;
}

std::uint64_t ResourceContentionArbiter::held(std::uint32_t agent,
                                              std::uint32_t resource) const noexcept {
  std::uint64_t sum = 0;
  for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
    const Allocation& one = allocations_[at];
    const bool is_its =
        allocation_slots_.is_used(at) && one.agent == agent && one.resource == resource;
    sum += is_its ? one.units : 0;
  }
  return sum;
}

bool ResourceContentionArbiter::waits_only_for_younger() const noexcept {
  for (std::uint32_t d = 0; d < config_.demands_max; ++d) {
    if (!demand_slots_.is_used(d)) continue;
    const Demand& waits = demands_[d];
    const std::pair mine{waits.timestamp_ns, waits.agent};
    for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
      const Allocation& one = allocations_[at];
      const bool conflicts = allocation_slots_.is_used(at) && one.resource == waits.resource &&
                             one.agent != waits.agent && one.since_ns < waits.since_ns;
      if (conflicts && std::pair{one.timestamp_ns, one.agent} < mine) return false;
    }
  }
  return true;
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class Resource, class Visit>
void words_of_resource(Resource& on, Visit&& visit) {
  visit(on.id.low);
  visit(on.id.high);
  visit(on.capacity);
  visit(on.active);
  visit(on.fence);
  visit(on.waiting);
  visit(on.round_ns);
  visit(on.sampled_ns);
  visit(on.demand);
  visit(on.divisible);
  visit(on.preemptible);
  visit(on.severity);
  visit(on.gini);
}
template <class Allocation, class Visit>
void words_of_allocation(Allocation& one, Visit&& visit) {
  visit(one.id);
  visit(one.fence);
  visit(one.units);
  visit(one.asked);
  visit(one.since_ns);
  visit(one.expires_ns);
  visit(one.revoke_ns);
  visit(one.timestamp_ns);
  visit(one.agent);
  visit(one.resource);
  visit(one.station);
  visit(one.priority);
}
template <class Demand, class Visit>
void words_of_demand(Demand& one, Visit&& visit) {
  visit(one.ticket);
  visit(one.quantity);
  visit(one.floor);
  visit(one.utility);
  visit(one.disagreement);
  visit(one.since_ns);
  visit(one.deadline_ns);
  visit(one.timestamp_ns);
  visit(one.agent);
  visit(one.resource);
  visit(one.station);
  visit(one.priority);
}
template <class Budget, class Visit>
void words_of_budget(Budget& one, Visit&& visit) {
  visit(one.units);
  visit(one.left);
  visit(one.period_ns);
  visit(one.refilled_ns);
  visit(one.agent);
  visit(one.resource);
}

}  // namespace

void ResourceContentionArbiter::save_state(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  const auto each = [&](const SlotSet& slots, auto&& save) {
    writer.put(slots.used());
    for (std::uint32_t slot = 0; slot < slots.slots(); ++slot) {
      if (!slots.is_used(slot)) continue;
      writer.put(slot);
      save(slot);
    }
  };
  writer.put(last_id_);
  writer.put(decision_count_);
  for (const auto& entry : decisions_) put_fields(entry, writer);
  each(resource_slots_, [&](std::uint32_t slot) {
    words_of_resource(resources_[slot], put);
    resources_[slot].samples.save(writer);
  });
  each(allocation_slots_,
       [&](std::uint32_t slot) { words_of_allocation(allocations_[slot], put); });
  each(demand_slots_, [&](std::uint32_t slot) { words_of_demand(demands_[slot], put); });
  writer.put(static_cast<std::uint32_t>(budgets_.size()));
  for (const auto& budget : budgets_) words_of_budget(budget, put);
  writer.put(config_.agents_max);
  for (const auto& one : standings_) {
    writer.put(one.satisfaction);
    writer.put(one.below_since_ns);
  }
}

void ResourceContentionArbiter::load_state(StateReader& reader) {
  const auto get = [&](auto& value) { get_fields(value, reader); };
  reader.get(last_id_);
  reader.get(decision_count_);
  for (auto& entry : decisions_) get_fields(entry, reader);
  const std::size_t resources = reader.get_count(80);
  for (std::size_t i = 0; i < resources && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!resource_slots_.use(slot)) return reader.fail();
    Resource& on = resources_[slot];
    words_of_resource(on, get);
    on.samples.load(reader);
    if (resource_index_.find(on.id) != kNone || on.capacity == 0) return reader.fail();
    resource_index_.set(on.id, slot);
  }
  if (!reader.failed()) load_rest(reader);
}

void ResourceContentionArbiter::load_allocations(StateReader& reader) {
  const std::size_t allocations = reader.get_count(80);
  for (std::size_t i = 0; i < allocations && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!allocation_slots_.use(slot)) return reader.fail();
    Allocation& one = allocations_[slot];
    words_of_allocation(one, [&](auto& value) { get_fields(value, reader); });
    const bool is_possible =
        one.agent < config_.agents_max && resource_slots_.is_used(one.resource) && one.asked != 0;
    if (!is_possible) return reader.fail();
    allocation_index_.set(hash_of(one.id, 0), slot);
    hold_ends_.set(slot, std::min(one.expires_ns, one.revoke_ns), one.id);
    ++standings_[one.agent].allocations;
  }
}

void ResourceContentionArbiter::load_demands(StateReader& reader) {
  const std::size_t demands = reader.get_count(80);
  for (std::size_t i = 0; i < demands && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!demand_slots_.use(slot)) return reader.fail();
    Demand& one = demands_[slot];
    words_of_demand(one, [&](auto& value) { get_fields(value, reader); });
    const bool is_possible = one.agent < config_.agents_max &&
                             resource_slots_.is_used(one.resource) && one.quantity != 0 &&
                             one.utility != 0;
    if (!is_possible) return reader.fail();
    if (one.deadline_ns != kNever) wait_ends_.set(slot, one.deadline_ns, one.ticket);
  }
}

void ResourceContentionArbiter::load_rest(StateReader& reader) {
  load_allocations(reader);
  if (!reader.failed()) load_demands(reader);
  const std::size_t budgets = reader.get_count(40);
  if (budgets > config_.budgets_max) return reader.fail();
  for (std::size_t i = 0; i < budgets; ++i) {
    Budget& one = budgets_.emplace_back();
    words_of_budget(one, [&](auto& value) { get_fields(value, reader); });
    const bool is_possible = one.agent < config_.agents_max &&
                             resource_slots_.is_used(one.resource) && one.period_ns > 0;
    if (!is_possible) return reader.fail();
    budget_index_.set(hash_of(std::uint64_t{one.agent} << 32 | one.resource, 2),
                      static_cast<std::uint32_t>(i));
  }
  if (reader.get<std::uint32_t>() != config_.agents_max) return reader.fail();
  for (auto& one : standings_) {
    reader.get(one.satisfaction);
    reader.get(one.below_since_ns);
  }
}

// --- what must hold ----------------------------------------------------------------------------

Status ResourceContentionArbiter::verify() const {
  bool adds_up = true;
  bool fences = true;
  for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
    if (!resource_slots_.is_used(resource)) continue;
    const Resource& on = resources_[resource];
    std::uint64_t active = 0;
    std::uint32_t waiting = 0;
    for (std::uint32_t at = 0; at < config_.allocations_max; ++at) {
      const Allocation& one = allocations_[at];
      if (!allocation_slots_.is_used(at) || one.resource != resource) continue;
      active += one.units;
      fences = fences && one.fence <= on.fence && one.units != 0 && one.units <= one.asked;
    }
    for (std::uint32_t at = 0; at < config_.demands_max; ++at) {
      waiting += demand_slots_.is_used(at) && demands_[at].resource == resource ? 1U : 0U;
    }
    adds_up = adds_up && active == on.active && active <= on.capacity && waiting == on.waiting;
  }
  bool budgets = true;
  for (const Budget& one : budgets_) budgets = budgets && one.left <= 2 * one.units;
  bool standings = true;
  for (const Standing& one : standings_) {
    standings = standings && one.satisfaction >= 0 && one.satisfaction <= 1;
  }
  const Counters& sums = counters_;
  const std::uint64_t ended = sums.released + sums.expired + sums.preempted + sums.closed;
  const std::array<Check, 6> checks{{
      {adds_up, "what is allocated is not what is active, or above the capacity"},
      {fences, "an allocation has a fence from the future, or more than it asked"},
      {budgets, "a budget holds more than two periods"},
      {standings, "a satisfaction is outside 0..1"},
      {sums.allocations == ended + allocation_slots_.used(),
       "an allocation has ended twice, or not at all"},
      {sums.waits == sums.served + sums.timeouts + sums.cancelled + demand_slots_.used(),
       "a wait has ended twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ResourceContentionArbiter, ContentionConfig, ContentionCommand,
                           ContentionReply, ContentionCounters, ContentionActions>;

}  // namespace mesh::coordination
