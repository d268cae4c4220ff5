// DelegateReputation: what is known of agents from the tasks that they were given one by one: the
// term that `delegate --to best` weighs beside their impedance (health_view.hpp: kBestWeights).
//
// Its machine is ReputationWeightedRouter: a success or a failure counts half as much ten minutes
// later, and of whom nothing is known the reputation is .5: so long as there is no evidence of
// anybody the choice is by impedance alone. Done is a success. Declined, expired and unanswered are
// failures. A CONFLICT is an answer, and what the engine refused to send says nothing of an agent.
// This is not the row's reliability, which counts every message of the last hour.
//
// Callers     any thread; a lock, held for some hundred nanoseconds.
// Cost        64 bytes for each of kReputedMax agents; of more than these the one whose first
//             evidence is the oldest is forgotten.
// If the      engine dies: its successor knows nothing of anybody.
// other side
// dies
// Units       Nanos of one clock.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "engine/console/delegation.hpp"
#include "engine/coordination/reputation_router.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kReputedMax = 1'024;

class DelegateReputation {
 public:
  DelegateReputation();
  void record(AgentId agent, const console::Attempt& attempt, Nanos now);
  struct Known {
    AgentId agent{};
    double reputation = 0;  // in 0..1
  };
  // Of whom there is evidence, in no order.
  [[nodiscard]] std::vector<Known> known(Nanos now) const;

 private:
  [[nodiscard]] std::uint32_t place_of(AgentId agent, Nanos now);

  mutable std::mutex mutex_;
  coordination::ReputationWeightedRouter router_;
  std::unordered_map<AgentId, std::uint32_t> places_;
  std::deque<AgentId> order_;  // of their first evidence
};

}  // namespace mesh::engine
