// SwarmProcess: one process's share of a swarm: a Station whose agents behave as drawn.
//
// Callers     main(), one thread, the pump.
// Progress    run: until `stop` is asked for, `parent` is gone, or the engine is (closed).
// If the      engine dies or evicts us: run -> closed, with the sentence that says so.
// other side
// dies
// Errors      attach -> Station's. run -> closed, system_error.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/station/station.hpp"
#include "tools/stop_signals.hpp"
#include "tools/swarm_agents.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::tools {

struct SwarmProcessOptions {
  std::string directory;
  std::string prefix = "swarm";  // of the agents' names
  PopulationOptions population;
  SwarmShare share;
  // Turns are at least so far apart while agents are at work, and they late by up to that.
  Nanos spacing{100 * kNsPerUs};
  // Of run()'s thread, where it may; 0: as all others. An agent stands for a machine of its own,
  // which no compiler on this one makes wait.
  int fifo_priority = 0;
};

class SwarmProcess {
 public:
  // Attaches and enrols all.
  static Result<std::unique_ptr<SwarmProcess>> start(const SwarmProcessOptions& options);

  Status run(const StopSignals& stop);
  // One turn of the pump: answers what is finished, then polls. True: there is more at once.
  bool turn();

  [[nodiscard]] const std::vector<AgentId>& ids() const noexcept { return ids_; }

 private:
  SwarmProcess(const SwarmProcessOptions& options, std::unique_ptr<engine::Station> station,
               SwarmAgents agents);
  Status enrol(const SwarmProcessOptions& options);
  void nap(HostTime now);
  void take(const engine::Delivery& delivery, engine::Reply reply);
  void answer_finished();
  void answer(const SwarmAnswer& answer);
  void keep_silent(engine::Reply reply);

  SwarmShare share_;
  Nanos spacing_;
  int fifo_priority_;
  std::int64_t turned_ns_ = 0;
  std::unique_ptr<engine::Station> station_;
  SwarmAgents agents_;
  std::vector<engine::Reply> replies_;  // by ticket
  std::vector<SwarmAnswer> finished_;   // of this turn, not yet answered
  std::vector<engine::Reply> silent_;   // a circle: a Reply that goes unanswered says so
  std::size_t silent_next_ = 0;
  std::vector<AgentId> ids_;
};

}  // namespace mesh::tools
