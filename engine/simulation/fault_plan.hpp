// FaultPlan: a scenario's faults, resolved to the agents of one mesh.
//
// What dies together is a unit: a sector, a cluster, a class or a single agent. Agents that are in
// the same units share a process, a group; so a unit's death is the end of its groups' processes
// and of nobody else's. Other faults make weather: what is special for an agent at a moment.
//
// Callers     one thread.
// Cost        weather: the faults in force, a bit each.
// Units       true time from the simulation's beginning.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/simulation/population.hpp"
#include "engine/simulation/scenario.hpp"

namespace mesh::engine::simulation {

inline constexpr std::size_t kUnitsPerFault = 512;  // more agents than that die some together

struct Whereabouts {
  std::function<std::uint32_t(std::uint32_t agent)> sector;
  std::function<std::uint32_t(std::uint32_t agent)> cluster;
};

struct DeathUnit {
  std::uint32_t fault = 0;
  std::uint32_t place = 0;            // sector or cluster, where the fault is of those
  std::int64_t first_ns = 0;          // when it dies first
  std::vector<std::uint32_t> agents;  // ascending
  std::vector<std::uint32_t> groups;
};

class FaultPlan {
 public:
  FaultPlan(const Scenario& scenario, const Population& population, std::uint64_t seed,
            const Whereabouts& where);

  [[nodiscard]] const Fault& fault(std::uint32_t index) const noexcept { return faults_[index]; }
  [[nodiscard]] std::uint32_t faults() const noexcept {
    return static_cast<std::uint32_t>(faults_.size());
  }
  [[nodiscard]] const std::vector<DeathUnit>& units() const noexcept { return units_; }
  [[nodiscard]] std::span<const std::vector<std::uint32_t>> groups() const noexcept {
    return groups_;
  }

  // A fault other than a death begins or ends.
  void set_in_force(std::uint32_t fault, bool is_in_force);
  [[nodiscard]] Weather weather(std::uint32_t agent) const noexcept;

 private:
  [[nodiscard]] std::vector<std::uint32_t> members_of(std::uint32_t fault,
                                                      const Whereabouts& where) const;
  [[nodiscard]] bool is_drawn(std::uint32_t fault, std::uint32_t agent) const;
  void add_units(std::uint32_t fault, const Whereabouts& where);
  void make_groups();

  std::vector<Fault> faults_;
  const Population& population_;
  std::uint64_t seed_;
  std::vector<DeathUnit> units_;
  std::vector<std::vector<std::uint32_t>> groups_;
  std::vector<std::vector<bool>> is_member_;  // by fault, of those that make weather; empty: all
  std::vector<std::uint32_t> in_force_;
};

}  // namespace mesh::engine::simulation
