#include "engine/simulation/fault_plan.hpp"

#include <algorithm>
#include <map>

#include "engine/simulation/integer_tables.hpp"

namespace mesh::engine::simulation {
namespace {

FaultKind kind_of(const Fault& fault) noexcept { return static_cast<FaultKind>(fault.kind); }
FaultTarget target_of(const Fault& fault) noexcept {
  return static_cast<FaultTarget>(fault.target);
}

}  // namespace

FaultPlan::FaultPlan(const Scenario& scenario, const Population& population, std::uint64_t seed,
                     const Whereabouts& where)
    : faults_(scenario.faults), population_(population), seed_(seed), is_member_(faults()) {
  for (std::uint32_t at = 0; at < faults(); ++at) {
    if (kind_of(faults_[at]) == FaultKind::death) {
      add_units(at, where);
    } else if (target_of(faults_[at]) != FaultTarget::all) {
      is_member_[at].resize(population.size());
      for (const std::uint32_t agent : members_of(at, where)) is_member_[at][agent] = true;
    }
  }
  make_groups();
}

// Those with the smallest draws: `count` of them.
std::vector<std::uint32_t> FaultPlan::members_of(std::uint32_t at, const Whereabouts& where) const {
  const Fault& fault = faults_[at];
  const auto is_in = [&](std::uint32_t number) {
    return number >= fault.which && number < fault.which + fault.count;
  };
  std::vector<std::uint32_t> members;
  for (std::uint32_t agent = 0; agent < population_.size(); ++agent) {
    bool is_member = true;
    switch (target_of(fault)) {
      case FaultTarget::all:
        break;
      case FaultTarget::sector:
        is_member = is_in(where.sector(agent));
        break;
      case FaultTarget::cluster:
        is_member = is_in(where.cluster(agent));
        break;
      case FaultTarget::agent_class:
        is_member = static_cast<std::int64_t>(population_.agent(agent).agent_class) == fault.which;
        break;
      case FaultTarget::agents:
        is_member = fault.share == 0 || is_drawn(at, agent);
        break;
    }
    if (is_member) members.push_back(agent);
  }
  if (target_of(fault) == FaultTarget::agents && fault.share == 0) {
    const auto by_draw = [&](std::uint32_t a, std::uint32_t b) {
      const std::uint64_t of_a = DrawOf{seed_, a, at}.bits(Purpose::fault_member);
      const std::uint64_t of_b = DrawOf{seed_, b, at}.bits(Purpose::fault_member);
      return of_a != of_b ? of_a < of_b : a < b;
    };
    const auto count = std::min<std::size_t>(static_cast<std::size_t>(fault.count), members.size());
    const auto middle = members.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(members.begin(), middle, members.end(), by_draw);
    members.erase(middle, members.end());
    std::sort(members.begin(), members.end());
  }
  return members;
}

bool FaultPlan::is_drawn(std::uint32_t at, std::uint32_t agent) const {
  return is_within(DrawOf{seed_, agent, at}.bits(Purpose::fault_member), faults_[at].share);
}

void FaultPlan::add_units(std::uint32_t at, const Whereabouts& where) {
  const Fault& fault = faults_[at];
  std::map<std::uint32_t, std::vector<std::uint32_t>> by_unit;
  const std::vector<std::uint32_t> members = members_of(at, where);
  std::uint32_t number = 0;
  for (const std::uint32_t agent : members) {
    std::uint32_t unit = 0;
    if (target_of(fault) == FaultTarget::sector) unit = where.sector(agent);
    if (target_of(fault) == FaultTarget::cluster) unit = where.cluster(agent);
    if (target_of(fault) == FaultTarget::agents) unit = number++ % kUnitsPerFault;
    by_unit[unit].push_back(agent);
  }
  for (auto& [place, agents] : by_unit) {
    const std::uint64_t bits =
        DrawOf{seed_, static_cast<std::uint32_t>(units_.size()), at}.bits(Purpose::fault_moment);
    const std::int64_t moment = fault.every == 0 ? 0 : uniform_of(bits, 0, fault.every - 1);
    units_.push_back({.fault = at,
                      .place = place,
                      .first_ns = fault.at + moment,
                      .agents = std::move(agents),
                      .groups = {}});
  }
}

void FaultPlan::make_groups() {
  std::vector<std::vector<std::uint32_t>> units_of(population_.size());
  for (std::uint32_t unit = 0; unit < units_.size(); ++unit)
    for (const std::uint32_t agent : units_[unit].agents) units_of[agent].push_back(unit);
  std::map<std::vector<std::uint32_t>, std::vector<std::uint32_t>> by_units;
  for (std::uint32_t agent = 0; agent < units_of.size(); ++agent)
    if (!units_of[agent].empty()) by_units[units_of[agent]].push_back(agent);
  for (auto& [units, agents] : by_units) {
    for (const std::uint32_t unit : units)
      units_[unit].groups.push_back(static_cast<std::uint32_t>(groups_.size()));
    groups_.push_back(std::move(agents));
  }
}

void FaultPlan::set_in_force(std::uint32_t fault, bool is_in_force) {
  std::erase(in_force_, fault);
  if (is_in_force) in_force_.push_back(fault);
}

Weather FaultPlan::weather(std::uint32_t agent) const noexcept {
  Weather weather;
  for (const std::uint32_t at : in_force_) {
    const Fault& fault = faults_[at];
    const std::vector<bool>& members = is_member_[at];
    if (!members.empty() && (agent >= members.size() || !members[agent])) continue;
    switch (kind_of(fault)) {
      case FaultKind::silence:
        weather.is_silent = true;
        break;
      case FaultKind::slowdown:
        weather.factor =
            std::min<std::int64_t>(weather.factor * fault.factor / kFactorOne, 1'000'000);
        break;
      case FaultKind::loss:
        weather.loss = std::max(weather.loss, fault.rate);
        break;
      case FaultKind::conflict:
        weather.conflict = std::max(weather.conflict, fault.rate);
        break;
      default:
        break;
    }
  }
  return weather;
}

}  // namespace mesh::engine::simulation
