// SimulatedStation: one agent process of a simulated mesh: the real client library over real rings,
// in private memory, and its agents' deliveries on their way and in work.
//
//     poll()  takes what is in the inbox and holds each delivery
//     end()   one of them is over: answered, or never
//
// Callers     one thread.
// Units       mesh time (mesh_clock.hpp).
// If the      it "dies" by being destroyed, after the engine has let go of its memory: what it held
// other side  is gone, as with a process.
// dies
// Errors      create -> as the layouts' and StationCore's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/private_memory.hpp"
#include "engine/station/station_core.hpp"
#include "sched/records.hpp"
#include "shm/event_fd.hpp"

namespace mesh::engine::simulation {

inline constexpr std::uint8_t kNotSaid = 255;

// A delivery that an agent has.
struct Held {
  Reply reply;
  std::uint32_t agent = 0;  // of the population
  OperationId operation{};
  std::int64_t target_ns = 0;    // T; 0: a cascade's, which has none
  std::int64_t received_ns = 0;  // by the agent
  sched::TrinaryState state = sched::TrinaryState::transit;
  sched::ConflictType conflict = sched::ConflictType::none;
  std::uint8_t said = kNotSaid;  // step of the reliability diagram
  sched::MessageId message{};
  sched::MessageId correlation{};  // of a cascade's: the cascade's own id
  bool is_small = false;           // of a pipeline or a quorum (small_operations.hpp)
  // A probe of a breaker, a warm-up: a message of its own, without a T.
  [[nodiscard]] bool is_engines_own() const noexcept {
    return target_ns == 0 && correlation == message;
  }
  [[nodiscard]] bool is_of_cascade() const noexcept {
    return target_ns == 0 && !is_small && !is_engines_own();
  }
};

class SimulatedStation {
 public:
  struct Place {  // in the mesh
    MeshSize size;
    std::span<const std::byte> table;
    std::span<const std::byte> payload;
    const MeshClock* clock = nullptr;
    std::int64_t mesh_start_ns = 0;
    std::shared_ptr<const shm::EventFd> wake;
  };
  // `agents`: which of the population live here.
  static Result<std::unique_ptr<SimulatedStation>> create(StationId number, const Place& place,
                                                          std::vector<std::uint32_t> agents);
  ~SimulatedStation();
  SimulatedStation(const SimulatedStation&) = delete;
  SimulatedStation& operator=(const SimulatedStation&) = delete;

  [[nodiscard]] StationMemory memory() const noexcept;
  // As the engine enrolled them, in the order of agents().
  Status add(std::span<const AgentId> ids) { return core_->add_agents(ids); }

  // What the context of one of its agents is, by its hash; 0: it does not say.
  Status say_context(AgentId agent, std::uint64_t hash) { return core_->say_context(agent, hash); }

  [[nodiscard]] bool has_deliveries() const noexcept { return core_->ready(); }
  // Calls take(Delivery, agent, held) for each delivery that wants an answer; `held` names it to
  // end() until then.
  template <class Take>
  void poll(Take&& take) {
    while (core_->poll(kBurst, [&](const Delivery& delivery, Reply reply) {
      if (!delivery.wants_answer()) return;
      const std::uint32_t at = place_for(std::move(reply));
      held_[at].agent = agents_[delivery.agent];
      held_[at].operation = delivery.operation;
      held_[at].target_ns = to_ns(delivery.arrive);
      held_[at].message = delivery.id;
      held_[at].correlation = delivery.correlation;
      take(delivery, at);
    }) != 0) {
    }
    flush();
  }
  [[nodiscard]] Held& held(std::uint32_t at) noexcept { return held_[at]; }
  // It is answered now, or, TRANSIT, never.
  void end(std::uint32_t at);
  void flush() {
    unflushed_ = 0;
    static_cast<void>(core_->flush());  // the engine is no sleeper here
  }
  [[nodiscard]] std::uint32_t unflushed() const noexcept { return unflushed_; }
  // What the agents measured, once that is due.
  void upkeep(std::int64_t now_ns) {
    if (to_ns(core_->upkeep_due()) <= now_ns) core_->upkeep(agents_.size());
  }

  [[nodiscard]] StationId number() const noexcept { return number_; }
  [[nodiscard]] std::span<const std::uint32_t> agents() const noexcept { return agents_; }
  [[nodiscard]] const StationCounters& counters() const noexcept { return core_->counters(); }

 private:
  static constexpr std::size_t kBurst = 256;

  SimulatedStation(StationId number, std::vector<std::uint32_t> agents) noexcept
      : number_(number), agents_(std::move(agents)) {}
  Status bind(const Place& place);
  std::uint32_t place_for(Reply reply);

  StationId number_;
  std::vector<std::uint32_t> agents_;
  const MeshClock* clock_ = nullptr;
  PrivateMemory in_;
  PrivateMemory out_;
  std::unique_ptr<StationCore> core_;
  std::vector<Held> held_;
  std::vector<std::uint32_t> free_;
  std::vector<Reply> silent_;  // never answered: an empty Reply would decline
  std::uint32_t unflushed_ = 0;
};

}  // namespace mesh::engine::simulation
