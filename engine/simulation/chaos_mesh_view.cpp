// ChaosMesh: its tasks, and what is seen of it from outside.
#include <algorithm>
#include <utility>

#include "engine/simulation/chaos_mesh.hpp"

namespace mesh::engine::simulation {

namespace {
using coordination::FaultType;
}  // namespace

// --- tasks -------------------------------------------------------------------------------------

bool ChaosMesh::is_limited(std::uint32_t agent) const {
  return acts_on(FaultType::dependency_failure, agent) > 0;
}

Status ChaosMesh::step_tasks() {
  at(clock_.true_ns() + ChaosTasks::kStepNs, Step::task, 0);
  const auto reach_of = [this](std::uint32_t agent) {
    if (mesh_->station(agent) == nullptr) return ChaosTasks::Reach::gone;
    if (hung_[agent] != 0) return ChaosTasks::Reach::stands;
    const bool is_cut = acts_on(FaultType::partition, agent) > 0;
    return is_cut ? ChaosTasks::Reach::cut : ChaosTasks::Reach::up;
  };
  return tasks_->step(now_ns(), reach_of, [this](std::uint32_t agent) { die_at_hook(agent); });
}

// The fault that wanted it says when it is back.
void ChaosMesh::die_at_hook(std::uint32_t agent) {
  kill(agent);
  const Fault* which = nullptr;
  if (acts_on(FaultType::station_death, agent, &which) <= 0) return;
  const std::int64_t away_ns = which->order.params.restart_after.count();
  if (away_ns > 0) at(clock_.true_ns() + away_ns, Step::restart, agent);
}

// --- what is seen from outside -----------------------------------------------------------------

bool ChaosMesh::works(std::uint32_t agent) const {
  const bool is_up = mesh_->station(agent) != nullptr && hung_[agent] == 0;
  if (!is_up || !mesh_->is_routable(agent)) return false;
  return std::none_of(faults_.begin(), faults_.end(), [&](const auto& entry) {
    const auto& targets = entry.second.targets;
    return std::binary_search(targets.begin(), targets.end(), agent);
  });
}

void ChaosMesh::look() {
  for (const auto& [injection, fault] : faults_) {
    for (const std::uint32_t agent : fault.targets) look_at(agent, fault.order.type);
  }
}

void ChaosMesh::look_at(std::uint32_t agent, FaultType under) {
  const auto see = [&](CoverState state) { coverage_.see(state, under); };
  const auto choose = [](bool first, CoverState one, CoverState other) {
    return first ? one : other;
  };
  if (mesh_->station(agent) == nullptr) {
    see(CoverState::agent_gone);
  } else if (hung_[agent] != 0) {
    see(CoverState::agent_stopped);
  } else {
    see(choose(mesh_->is_routable(agent), CoverState::agent_up, CoverState::agent_unroutable));
  }
  const auto breaker = breakers_[agent].state();
  if (breaker == coordination::BreakerState::closed) see(CoverState::breaker_closed);
  if (breaker == coordination::BreakerState::open) see(CoverState::breaker_open);
  if (breaker == coordination::BreakerState::half_open) see(CoverState::breaker_half_open);
  if (tasks_ == nullptr) return;
  see(choose(tasks_->is_host_up(), CoverState::host_up, CoverState::host_away));
  if (agent >= ChaosTasks::kWorkers) return;
  see(choose(tasks_->holds_lock(agent), CoverState::lock_held, CoverState::lock_not_held));
  const auto doing = static_cast<std::uint8_t>(tasks_->doing(agent));
  see(static_cast<CoverState>(static_cast<std::uint8_t>(CoverState::worker_idle) + doing));
}

double ChaosMesh::availability() const {
  std::uint32_t working = 0;
  for (std::uint32_t agent = 0; agent < population_.size(); ++agent) {
    const bool is_up = mesh_->station(agent) != nullptr && hung_[agent] == 0;
    working += is_up && mesh_->is_routable(agent) ? 1U : 0U;
  }
  return static_cast<double>(working) / population_.size();
}

std::int64_t ChaosMesh::clock_error_ns() const noexcept {
  return clock_.mesh_ns() - clock_.true_ns();
}

ChaosPeriod ChaosMesh::take_period() noexcept {
  if (tasks_ != nullptr) period_.tasks = tasks_->take_period();
  for (const auto& [message, since_ns] : posted_)
    period_.unheard += clock_.true_ns() - since_ns > kUnheardNs ? 1U : 0U;
  return std::exchange(period_, {});
}
std::vector<ChaosEffect> ChaosMesh::take_effects() noexcept { return std::exchange(effects_, {}); }

}  // namespace mesh::engine::simulation
