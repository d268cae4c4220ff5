// SwarmAgents: the agents of one swarm process. A delivery is held as long as the population says
// it travels, then as long as its agent works on it, and then is answered, or never.
//
//     accept(sent)                                              advance() at the end
//     sent -------delay-----> received -----processing-----> finished: READY, CONFLICT, silent
//
// Both spans are counted from when the message was sent, whenever the process came round to it: the
// agents stand for machines of their own, which do not wait for this one's processor. So received
// is as drawn. finished is the turn in which the answer was really given: as late as the pump was.
//
// Invariants  held() + free tickets == capacity; each held ticket has one timer
//             sum of queue depths == held()
// Callers     one thread, a process's pump. It reads the clock once a turn and passes `now`.
// Progress    bounded by `limit`; no allocation after create().
// Units       int64 nanoseconds of HostClock.
// Errors      create -> invalid_argument. accept -> kFull: poll later.
#pragma once

#include <cstdint>
#include <vector>

#include "sched/timing_wheel.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/result.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::tools {

// What became of the delivery that was given `ticket`. The ticket is free again.
struct SwarmAnswer {
  std::uint32_t ticket = 0;
  DeliveryOutcome outcome = DeliveryOutcome::ready;  // silent: nothing may be answered
  std::int64_t received_ns = 0;
  std::int64_t finished_ns = 0;
};

struct SwarmAgentsOptions {
  SwarmShare share;            // which of the population live here
  std::uint32_t capacity = 0;  // deliveries held at once
  std::int64_t start_ns = 0;
};

class SwarmAgents {
 public:
  static constexpr std::uint32_t kFull = UINT32_MAX;
  static constexpr std::int64_t kNever = sched::TimingWheel::kNever;

  [[nodiscard]] static Result<SwarmAgents> create(const SwarmPopulation& population,
                                                  const SwarmAgentsOptions& options);

  // The ticket of a delivery to agent `index` of the population, one of this share; kFull.
  [[nodiscard]] std::uint32_t accept(std::uint32_t index, double weight,
                                     std::int64_t sent_ns) noexcept;

  // Calls answer(const SwarmAnswer&) for what is finished, at most `limit` of them. True: there is
  // more that is due already.
  template <class Answer>
  bool advance(std::int64_t now_ns, std::uint32_t limit, Answer&& answer) {
    const sched::Advanced advanced = wheel_.advance(
        now_ns, limit,
        [&](const sched::WheelEntry& entry) { answer(finish(entry.operation, now_ns)); });
    return advanced.more || next_due_ns() <= now_ns;
  }

  [[nodiscard]] std::int64_t next_due_ns() const noexcept { return wheel_.next_due_ns(); }
  [[nodiscard]] std::uint32_t held() const noexcept { return wheel_.size(); }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return wheel_.capacity(); }
  [[nodiscard]] std::uint32_t queue_depth(std::uint32_t index) const noexcept {
    return agents_[local(index)].queue_depth;
  }

 private:
  struct Agent {
    AgentDraw drawn;
    std::uint32_t deliveries = 0;
    std::uint32_t queue_depth = 0;
  };
  struct Held {
    std::uint32_t index = 0;
    DeliveryOutcome outcome = DeliveryOutcome::ready;
    std::int64_t arrival_ns = 0;
  };

  SwarmAgents(const SwarmPopulation& population, const SwarmAgentsOptions& options,
              sched::TimingWheel wheel);

  [[nodiscard]] std::size_t local(std::uint32_t index) const noexcept {
    MESH_ASSERT(index - share_.first < share_.count);
    return index - share_.first;
  }
  SwarmAnswer finish(std::uint32_t ticket, std::int64_t now_ns) noexcept;

  SwarmPopulation population_;
  SwarmShare share_;
  sched::TimingWheel wheel_;  // an entry's operation is a ticket
  std::vector<Agent> agents_;
  std::vector<Held> held_;
  std::vector<std::uint32_t> free_;
};

}  // namespace mesh::tools
