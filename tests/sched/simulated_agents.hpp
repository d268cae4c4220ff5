// SimulatedAgents: populations to try predictions on, worse than any that is shipped.
//
//     demo         `mesh demo`'s mixed profile: biased work, log-normal delays, 1 % change half-way
//     steady       agents just as the nominal model has them
//     heavy_tails  one delay in ten is stretched by a power law
//     bimodal      up to 30 % of an agent's work takes three times as long (cold starts)
//     drifting     work and delay grow or shrink by up to 3 % an operation
//     bursty       queues of up to 12 come and go, and cost more than the nominal model says
//     weighted     payload weights of 0.25 to 4, which cost more than the nominal model says
//     mislabelled  an agent's class says nothing of it
//     silent       many agents leave most or all of their messages unanswered
//     stepping     every agent's delay changes at operation 8, by a factor of 0.3 to 3.3
//     slow         humans: seconds to hours
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "sched/agent_class.hpp"

namespace mesh::sched::testing {

enum class Population : std::uint8_t {
  demo,
  steady,
  heavy_tails,
  bimodal,
  drifting,
  bursty,
  weighted,
  mislabelled,
  silent,
  stepping,
  slow,
};
inline constexpr std::string_view kPopulationNames[] = {
    "demo",     "steady",      "heavy_tails", "bimodal",  "drifting", "bursty",
    "weighted", "mislabelled", "silent",      "stepping", "slow"};

struct SimulatedAgent {
  AgentClass agent_class = AgentClass::edge;  // what it is
  AgentClass label = AgentClass::edge;        // what it says it is
  double rtt_mean_ms = 0;
  double cv = 0;
  double bias = 1;
  double bias_later = 1;  // from operation 10 on
  double silent = 0;      // share of messages that it leaves unanswered
  double work_growth = 0;
  double delay_growth = 0;
  double slow_share = 0;  // of its work takes three times as long
  double step = 1;        // of its delay, from operation 8 on

  [[nodiscard]] double jitter_ms() const { return rtt_mean_ms / 2 * cv; }
};

struct SimulatedDelivery {
  double delay_ms = 0;
  double processing_ms = 0;
  bool answered = true;
  [[nodiscard]] double total_ms() const { return delay_ms + processing_ms; }
};

struct Load {
  std::uint32_t operation = 0;
  double weight = 1;
  std::uint32_t queue_depth = 0;
};

class SimulatedAgents {
 public:
  SimulatedAgents(Population population, std::uint32_t agents, std::uint64_t seed)
      : population_(population), random_(seed) {
    for (std::uint32_t i = 0; i < agents; ++i) agents_.push_back(draw_agent(i));
  }

  [[nodiscard]] const std::vector<SimulatedAgent>& agents() const { return agents_; }
  [[nodiscard]] Population population() const { return population_; }

  SimulatedDelivery deliver(std::uint32_t index, const Load& load) {
    const SimulatedAgent& agent = agents_[index];
    SimulatedDelivery drawn;
    const double variance = std::log1p(agent.cv * agent.cv);
    drawn.delay_ms = agent.rtt_mean_ms / 2 * delay_factor(agent, load) *
                     std::exp(std::sqrt(variance) * normal() - variance / 2);
    if (population_ == Population::heavy_tails && unit() < 0.1) {
      drawn.delay_ms *= std::pow(unit(), -0.7);
    }
    drawn.processing_ms = work_ms(agent, load) * std::fmax(0.5, 1 + 0.05 * normal());
    if (unit() < agent.slow_share) drawn.processing_ms *= 3;
    drawn.answered = unit() >= agent.silent;
    return drawn;
  }

  // What an oracle sends by: half of the deliveries take longer.
  double median_ms(std::uint32_t index, const Load& load) {
    const SimulatedAgent& agent = agents_[index];
    if (population_ != Population::heavy_tails && population_ != Population::bimodal) {
      return agent.rtt_mean_ms / 2 * delay_factor(agent, load) /
                 std::sqrt(1 + agent.cv * agent.cv) +
             work_ms(agent, load);
    }
    std::vector<double> drawn(201);
    for (double& total : drawn) total = deliver(index, load).total_ms();
    std::nth_element(drawn.begin(), drawn.begin() + 100, drawn.end());
    return drawn[100];
  }

  Load load(std::uint32_t operation, double weight) {
    Load load{operation, weight, 0};
    if (population_ == Population::bursty && unit() < 0.3) {
      load.queue_depth = static_cast<std::uint32_t>(unit() * 12);
    }
    return load;
  }
  // From now on it takes a third of what its class does.
  void make_fast(std::uint32_t index) {
    SimulatedAgent& agent = agents_[index];
    agent.rtt_mean_ms /= 3;
    agent.bias = agent.bias_later = agent.bias / 3;
  }
  // One for all targets of an operation.
  double weight() {
    static constexpr double kWeights[] = {0.25, 1, 2, 4};
    return population_ == Population::weighted ? kWeights[random_() % 4] : 1;
  }

  double unit() { return (static_cast<double>(random_() >> 12) + 0.5) * 0x1p-52; }
  double normal() {
    return std::sqrt(-2 * std::log(unit())) * std::cos(6.283185307179586 * unit());
  }

 private:
  SimulatedAgent draw_agent(std::uint32_t index) {
    static constexpr std::string_view kClasses = "ABCEABDAABCABAECABABCADBAECBA";
    static constexpr double kLow[] = {5, 50, 100, 200, 10, 5'000};
    static constexpr double kHigh[] = {20, 150, 300, 500, 800, 7'200'000};
    SimulatedAgent agent;
    agent.agent_class = static_cast<AgentClass>(kClasses[index % kClasses.size()] - 'A');
    if (population_ == Population::slow) agent.agent_class = AgentClass::human;
    agent.label = agent.agent_class;
    const auto at = static_cast<std::size_t>(agent.agent_class);
    agent.rtt_mean_ms = kLow[at] + (kHigh[at] - kLow[at]) * unit();
    agent.cv = 0.01 + 0.29 * unit();
    agent.bias = agent.bias_later = std::exp(0.4 * normal());
    agent.silent = 0.005;
    const double which = unit();
    switch (population_) {
      case Population::demo:
        if (which < 0.01) agent.bias_later = std::exp(0.4 * normal());
        break;
      case Population::steady:
      case Population::drifting:
        agent.rtt_mean_ms = prior_latency_ms(agent.agent_class);
        agent.bias = agent.bias_later = 1;
        if (population_ == Population::steady) break;
        agent.work_growth = 0.06 * (unit() - 0.5);
        agent.delay_growth = 0.06 * (unit() - 0.5);
        break;
      case Population::bimodal:
        agent.slow_share = 0.3 * unit();
        break;
      case Population::mislabelled:
        agent.label = static_cast<AgentClass>(random_() % 5);
        break;
      case Population::silent:
        agent.silent = which < 0.3 ? 0.9 : which < 0.4 ? 1 : which < 0.6 ? 0.3 : 0;
        break;
      case Population::stepping:
        agent.step = 0.3 + 3 * unit();
        break;
      default:
        break;
    }
    return agent;
  }
  static double delay_factor(const SimulatedAgent& agent, const Load& load) {
    return (1 + agent.delay_growth * load.operation) * (load.operation >= 8 ? agent.step : 1);
  }
  [[nodiscard]] double work_ms(const SimulatedAgent& agent, const Load& load) const {
    const double alpha = population_ == Population::weighted ? 0.9 : 0.5;
    const double beta = population_ == Population::bursty ? 0.25 : 0.1;
    return base_processing_ms(agent.agent_class) *
           (load.operation < 10 ? agent.bias : agent.bias_later) * (1 + alpha * load.weight) *
           (1 + beta * load.queue_depth) * (1 + agent.work_growth * load.operation);
  }

  Population population_;
  std::mt19937_64 random_;
  std::vector<SimulatedAgent> agents_;
};

}  // namespace mesh::sched::testing
