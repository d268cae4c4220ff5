// Population: the agents of a simulated mesh: who they are, and how each of their deliveries goes,
// drawn from a seed with integers alone.
//
// A draw is a hash of (seed, agent, delivery, purpose), not the next of a sequence: it does not
// depend on the order in which deliveries come.
//
//     class       by the scenario's shares, spread evenly
//     rtt         uniform in the class's range; delay: log-normal, mean rtt / 2
//     work        processing of the class, times a log-normal bias of the agent's own, times
//                 (1 + 0.5 weight) (1 + 0.1 queue) (1 + noise)
//     outcome     silent, CONFLICT, else READY
//
// Callers     one thread.
// Cost        deliver: under a microsecond.
// Units       nanoseconds; shares in millionths, factors in thousandths.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/simulation/scenario.hpp"
#include "sched/agent_class.hpp"
#include "sched/records.hpp"

namespace mesh::engine::simulation {

// What a draw is for. The numbers are part of what a seed means.
enum class Purpose : std::uint64_t {
  rtt = 1,
  cv,
  bias,
  bias_later,
  changes,
  delay,
  noise,
  outcome,
  loss,
  conflict_type,
  fault_member,
  fault_moment,
  asked_agent,
  has_context,
  context,
  context_stuck,
};

// Of whom a draw is made.
struct DrawOf {
  std::uint64_t seed = 0;
  std::uint32_t who = 0;
  std::uint32_t turn = 0;
  [[nodiscard]] std::uint64_t bits(Purpose purpose) const noexcept;
};

struct SimulatedAgent {
  sched::AgentClass agent_class = sched::AgentClass::edge;
  std::int32_t deviation = 0;  // of the logarithm of its delay, in 2^-20
  std::int64_t delay_ns = 0;   // median
  std::int64_t work_ns = 0;    // for weight 0 with an empty queue
  std::int64_t work_later_ns = 0;
  std::uint32_t deliveries = 0;  // that it had
  std::uint32_t queue = 0;       // of those, not finished
};

// What is special at this moment, for this agent.
struct Weather {
  std::int64_t factor = kFactorOne;
  std::int64_t loss = 0;
  std::int64_t conflict = 0;
  bool is_silent = false;
};

struct Course {
  std::int64_t delay_ns = 0;
  std::int64_t work_ns = 0;
  sched::TrinaryState state = sched::TrinaryState::ready;  // transit: it never answers
  sched::ConflictType conflict = sched::ConflictType::none;
};

class Population {
 public:
  Population(const Scenario& scenario, std::uint64_t seed);

  // How the next delivery to this agent goes. It holds one more from now on, until finish().
  [[nodiscard]] Course deliver(std::uint32_t agent, const Weather& weather) noexcept;
  void finish(std::uint32_t agent) noexcept { --agents_[agent].queue; }
  // Its process has ended, and all that it held with it.
  void forget_queue(std::uint32_t agent) noexcept { agents_[agent].queue = 0; }

  // Those of the beginning; who comes later has the numbers after theirs.
  [[nodiscard]] std::uint32_t size() const noexcept {
    return static_cast<std::uint32_t>(scenario_.agents);
  }
  [[nodiscard]] std::uint32_t newcomers() const noexcept {
    return static_cast<std::uint32_t>(scenario_.scale_agents);
  }
  [[nodiscard]] const SimulatedAgent& agent(std::uint32_t index) const noexcept {
    return agents_[index];
  }

 private:
  void draw(std::uint32_t index, sched::AgentClass agent_class) noexcept;
  [[nodiscard]] sched::ConflictType conflict_type(std::uint64_t bits) const noexcept;

  Scenario scenario_;
  std::uint64_t seed_;
  std::vector<SimulatedAgent> agents_;
};

}  // namespace mesh::engine::simulation
