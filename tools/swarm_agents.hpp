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
// A process wakes for a handful of answers at a time, in turn with others on its processor, and
// finds its cache taken: so all that an answer needs stands in its place in the heap.
//
// Invariants  held() + free tickets == capacity; each held ticket is once in the heap
//             sum of queue depths == held()
// Callers     one thread, a process's pump. It reads the clock once a turn and passes `now`.
// Progress    bounded by `limit`; no allocation after create().
// Units       int64 nanoseconds of HostClock.
// Errors      create -> invalid_argument. accept -> kFull: poll later.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/base/assert.hpp"
#include "shm/base/nanos.hpp"
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
};

class SwarmAgents {
 public:
  static constexpr std::uint32_t kFull = UINT32_MAX;
  static constexpr std::int64_t kNever = INT64_MAX;

  [[nodiscard]] static Result<SwarmAgents> create(const SwarmPopulation& population,
                                                  const SwarmAgentsOptions& options);

  // The ticket of a delivery to agent `index` of the population, one of this share; kFull.
  [[nodiscard]] std::uint32_t accept(std::uint32_t index, double weight,
                                     std::int64_t sent_ns) noexcept;

  // Calls answer(const SwarmAnswer&) for what is finished, at most `limit` of them. True: there is
  // more that is due already.
  template <class Answer>
  bool advance(std::int64_t now_ns, std::uint32_t limit, Answer&& answer) {
    for (; limit != 0 && next_due_ns() <= now_ns; --limit) answer(finish_next(now_ns));
    return next_due_ns() <= now_ns;
  }

  [[nodiscard]] std::int64_t next_due_ns() const noexcept {
    return held_.empty() ? kNever : held_.front().due_ns;
  }
  [[nodiscard]] std::uint32_t held() const noexcept {
    return static_cast<std::uint32_t>(held_.size());
  }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint32_t queue_depth(std::uint32_t index) const noexcept {
    return queue_depth_[local(index)];
  }

 private:
  struct Agent {
    AgentDraw drawn;
    std::uint32_t deliveries = 0;
  };
  struct Held {
    std::int64_t due_ns = 0;
    std::int64_t arrival_ns = 0;
    std::uint32_t ticket = 0;
    std::uint32_t local = 0;  // the agent's place in this share
    DeliveryOutcome outcome = DeliveryOutcome::ready;
    // Of two the later one sinks. No ticket is held twice: no two are equal.
    friend bool operator<(const Held& a, const Held& b) noexcept {
      return a.due_ns != b.due_ns ? a.due_ns > b.due_ns : a.ticket > b.ticket;
    }
  };

  SwarmAgents(const SwarmPopulation& population, const SwarmAgentsOptions& options);

  [[nodiscard]] std::size_t local(std::uint32_t index) const noexcept {
    MESH_ASSERT(index - share_.first < share_.count);
    return index - share_.first;
  }
  SwarmAnswer finish_next(std::int64_t now_ns) noexcept;

  SwarmPopulation population_;
  SwarmShare share_;
  std::uint32_t capacity_;
  std::vector<Agent> agents_;
  std::vector<std::uint32_t> queue_depth_;
  std::vector<Held> held_;  // a heap, the next due first; reserved to capacity
  std::vector<std::uint32_t> free_;
};

}  // namespace mesh::tools
