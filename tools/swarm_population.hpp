// SwarmPopulation: agents to test a mesh with. Who they are and how each of their deliveries goes
// is drawn from a seed.
//
// A draw is a hash of (seed, agent, delivery, purpose), not the next of a sequence: it is the same
// on every machine, in however many processes the population is spread, in whatever order its
// deliveries come.
//
//     class       by mesh.md's default shares, spread evenly: any 30 neighbours have them exactly
//     rtt_mean    uniform in the class's range; E: 10-800 ms; F, "seconds to hours": 5 s to 2 h
//     cv          uniform 0.01-0.3
//     delay       log-normal, mean rtt_mean / 2, coefficient of variation cv
//     bias        log-normal, median 1, sigma 0.4; of one agent in a hundred another one from its
//                 delivery `change_at` on
//     processing  base[class] * bias * (1 + 0.5 weight) * (1 + 0.1 queue) * noise; noise normal,
//                 mean 1, sigma 0.05
//     outcome     CONFLICT 1 %, silent 0.5 %, else READY
//
// Profile `local` measures the mesh itself: every agent is of class A, and nothing is held back,
// neither delay nor processing. Outcomes are drawn all the same.
//
// Callers     any thread; all const.
// Cost        agent, delivery: under a microsecond. Nothing is stored per agent.
// Units       milliseconds in AgentDraw, nanoseconds in DeliveryDraw.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sched/agent_class.hpp"

namespace mesh::tools {

enum class SwarmProfile : std::uint8_t { mixed, local };
[[nodiscard]] std::string_view name_of(SwarmProfile profile) noexcept;
[[nodiscard]] std::optional<SwarmProfile> swarm_profile_of(std::string_view name) noexcept;

struct PopulationOptions {
  std::uint64_t seed = 1;
  SwarmProfile profile = SwarmProfile::mixed;
  std::uint32_t change_at = 10;  // deliveries before a bias changes
};

struct AgentDraw {
  sched::AgentClass agent_class = sched::AgentClass::edge;
  double rtt_mean_ms = 0;  // 0: nothing is held back
  double cv = 0;
  double log_variance = 0;  // ln(1 + cv^2): of the logarithm of a delay
  double bias = 1;
  double bias_later = 1;  // from delivery change_at on; the same for 99 in 100

  // Standard deviation of the delay.
  [[nodiscard]] double jitter_ms() const noexcept { return rtt_mean_ms / 2 * cv; }
};

enum class DeliveryOutcome : std::uint8_t { ready, conflict, silent };

// What a delivery finds.
struct DeliveryContext {
  std::uint32_t delivery = 0;  // how many this agent had before
  std::uint32_t queue_depth = 0;
  double weight = 1;
};

struct DeliveryDraw {
  std::int64_t delay_ns = 0;
  std::int64_t processing_ns = 0;
  DeliveryOutcome outcome = DeliveryOutcome::ready;
};

class SwarmPopulation {
 public:
  explicit SwarmPopulation(const PopulationOptions& options) noexcept : options_(options) {}

  [[nodiscard]] AgentDraw agent(std::uint32_t index) const noexcept;
  // `who`: agent(index), for callers that keep it.
  [[nodiscard]] DeliveryDraw delivery(std::uint32_t index, const AgentDraw& who,
                                      const DeliveryContext& context) const noexcept;
  [[nodiscard]] DeliveryDraw delivery(std::uint32_t index,
                                      const DeliveryContext& context) const noexcept {
    return delivery(index, agent(index), context);
  }
  [[nodiscard]] double bias_at(std::uint32_t index, std::uint32_t delivery) const noexcept;
  [[nodiscard]] const PopulationOptions& options() const noexcept { return options_; }

 private:
  PopulationOptions options_;
};

// The median of what a delivery of this weight takes, from send to READY, with an empty queue: what
// an oracle sends early by. Of the sum, which is more than the sum of both parts' medians where the
// delay is skewed; by quadrature, within a thousandth of its spread. Costs microseconds.
[[nodiscard]] double median_ms(const AgentDraw& agent, double bias, double weight) noexcept;

// "swarm-17".
[[nodiscard]] std::string swarm_agent_name(std::string_view prefix, std::uint32_t index);

// Agents [first, first + count) of `agents` are those of process `share` of `processes`: as even
// as they can be, in order.
struct SwarmShare {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};
[[nodiscard]] SwarmShare swarm_share(std::uint32_t agents, std::uint32_t processes,
                                     std::uint32_t share) noexcept;

}  // namespace mesh::tools
