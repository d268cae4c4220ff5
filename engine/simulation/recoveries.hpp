// Recoveries: how long clusters and sectors whose processes ended were missing: from when the
// engine knew to when every one of their agents is attached and behind no open breaker again.
//
// Callers     one thread.
// Cost        look: for each that is missing one agent that is still away.
// Units       mesh time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/simulation/measures.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine::simulation {

class Recoveries {
 public:
  enum class Of : std::uint8_t { cluster, sector };

  void begin(Of of, std::vector<std::uint32_t> agents, HostTime detected) {
    missing_.push_back({of, detected, std::move(agents), 0});
  }
  void look(const std::function<bool(std::uint32_t agent)>& is_routable, HostTime now,
            SimulationReport& report) {
    std::erase_if(missing_, [&](Missing& its) {
      while (its.back != its.agents.size() && is_routable(its.agents[its.back])) ++its.back;
      if (its.back != its.agents.size()) return false;
      // All of them at one moment.
      for (its.back = 0; its.back != its.agents.size(); ++its.back)
        if (!is_routable(its.agents[its.back])) return false;
      RecoveryFigures& figures = its.of == Of::cluster ? report.clusters : report.sectors;
      figures.took_ns.push_back((now - its.detected).count());
      return true;
    });
  }
  [[nodiscard]] bool is_any_missing() const noexcept { return !missing_.empty(); }
  void give_up(SimulationReport& report) {
    for (const Missing& its : missing_)
      ++(its.of == Of::cluster ? report.clusters : report.sectors).not_recovered;
    missing_.clear();
  }

 private:
  struct Missing {
    Of of{};
    HostTime detected{};
    std::vector<std::uint32_t> agents;
    std::size_t back = 0;  // those before it were seen to be back
  };
  std::vector<Missing> missing_;
};

}  // namespace mesh::engine::simulation
