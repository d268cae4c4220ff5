#include "engine/simulation/population.hpp"

#include <algorithm>
#include <array>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/simulation/integer_tables.hpp"

namespace mesh::engine::simulation {
namespace {

using sched::ConflictType;
using sched::TrinaryState;

std::uint64_t mix(std::uint64_t bits) noexcept { return coordination::SplitMix64(bits).next(); }

// value * factor / one.
std::int64_t times(std::int64_t value, std::int64_t factor, std::int64_t one) noexcept {
  __extension__ using Whole = __int128;
  return static_cast<std::int64_t>(std::min<Whole>(Whole{value} * factor / one, kScaledMax));
}

// A share in millionths as an exponent or deviation.
std::int64_t in_table_units(std::int64_t ppm) noexcept { return ppm * kTableOne / kShareAll; }

}  // namespace

std::uint64_t DrawOf::bits(Purpose purpose) const noexcept {
  const std::uint64_t of = std::uint64_t{who} << 32 | turn;
  return mix(mix(mix(seed) ^ of) ^ static_cast<std::uint64_t>(purpose));
}

Population::Population(const Scenario& scenario, std::uint64_t seed)
    : scenario_(scenario),
      seed_(seed),
      agents_(static_cast<std::size_t>(scenario.agents + scenario.scale_agents)) {
  std::array<std::int64_t, sched::kAgentClassCount> credit{};
  std::int64_t parts = 0;
  for (const ClassFigures& its : scenario.classes) parts += its.share;
  for (std::uint32_t index = 0; index < size(); ++index) {
    for (std::size_t i = 0; i < credit.size(); ++i) credit[i] += scenario.classes[i].share;
    const auto most = std::max_element(credit.begin(), credit.end());
    *most -= parts;
    draw(index, static_cast<sched::AgentClass>(most - credit.begin()));
  }
  for (std::uint32_t index = size(); index < agents_.size(); ++index)
    draw(index, static_cast<sched::AgentClass>(scenario.scale_class));
}

void Population::draw(std::uint32_t index, sched::AgentClass agent_class) noexcept {
  const DrawOf draw{seed_, index};
  const ClassFigures& its = scenario_.classes[static_cast<std::size_t>(agent_class)];
  SimulatedAgent& agent = agents_[index];
  agent.agent_class = agent_class;
  const std::int64_t rtt = uniform_of(draw.bits(Purpose::rtt), its.latency_min, its.latency_max);
  const std::int64_t cv = uniform_of(draw.bits(Purpose::cv), scenario_.cv_min, scenario_.cv_max);
  const std::int64_t deviation = log_deviation_of(cv);
  agent.deviation = static_cast<std::int32_t>(deviation);
  // Of a log-normal value the median is the mean * e^(-deviation^2 / 2).
  agent.delay_ns = scaled_by_exp(rtt / 2, -(deviation * deviation / kTableOne / 2));
  const auto biased = [&](Purpose purpose) {
    const std::int64_t z = normal_of(draw.bits(purpose));
    return scaled_by_exp(its.processing, in_table_units(scenario_.bias_deviation) * z / kTableOne);
  };
  agent.work_ns = agent.work_later_ns = biased(Purpose::bias);
  if (is_within(draw.bits(Purpose::changes), scenario_.change_share))
    agent.work_later_ns = biased(Purpose::bias_later);
}

ConflictType Population::conflict_type(std::uint64_t bits) const noexcept {
  const std::array<std::int64_t, 6> parts = {
      scenario_.context_divergence,  scenario_.data_contradiction, scenario_.temporal_paradox,
      scenario_.capability_mismatch, scenario_.hash_mismatch,      scenario_.other_conflict};
  std::int64_t all = 0;
  for (const std::int64_t part : parts) all += part;
  std::int64_t at = uniform_of(bits, 0, all - 1);
  std::size_t type = 0;
  for (; at >= parts[type]; ++type) at -= parts[type];
  return static_cast<ConflictType>(type + 1);
}
static_assert(static_cast<int>(ConflictType::context_divergence) == 1);
static_assert(static_cast<int>(ConflictType::other) == 6);

Course Population::deliver(std::uint32_t index, const Weather& weather) noexcept {
  SimulatedAgent& agent = agents_[index];
  const DrawOf draw{seed_, index, agent.deliveries};
  Course course;
  const std::int64_t late = agent.deviation * normal_of(draw.bits(Purpose::delay)) / kTableOne;
  course.delay_ns = times(scaled_by_exp(agent.delay_ns, late), weather.factor, kFactorOne);
  const std::int64_t noise =
      std::max(kTableOne / 2, kTableOne + in_table_units(scenario_.noise_deviation) *
                                              normal_of(draw.bits(Purpose::noise)) / kTableOne);
  const std::int64_t usual =
      agent.deliveries < scenario_.change_after ? agent.work_ns : agent.work_later_ns;
  std::int64_t work = times(usual, 2 * kFactorOne + scenario_.weight, 2 * kFactorOne);
  work = times(work, 10 + std::int64_t{agent.queue}, 10);
  work = times(work, weather.factor, kFactorOne);
  course.work_ns = times(work, noise, kTableOne);
  ++agent.deliveries;
  ++agent.queue;
  const std::uint64_t outcome = draw.bits(Purpose::outcome);
  const bool is_lost = is_within(draw.bits(Purpose::loss), weather.loss);
  if (weather.is_silent || is_lost || is_within(outcome, scenario_.silent)) {
    course.state = TrinaryState::transit;
  } else if (is_within(mix(outcome), std::max(scenario_.conflict, weather.conflict))) {
    course.state = TrinaryState::conflict;
    course.conflict = conflict_type(draw.bits(Purpose::conflict_type));
  }
  return course;
}

}  // namespace mesh::engine::simulation
