// EventWatch: what of the mesh was as it was a moment ago, so that what has changed is noted in the
// table's ring of events (engine/event_ring.hpp).
//
// Callers     the phases of the loop, once a second; a job, before it reads the ring.
// Progress    look(): a compare for each sector, cluster and breaker. No allocation after create().
// If the      engine dies: its successor begins with what it finds, and notes what changes from
// other side  then on.
// dies
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/event_ring.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

class EventWatch {
 public:
  // The ring is the table's.
  static Result<EventWatch> create(const LoopMemory& memory);
  void look(const EngineLoop::State& loop) noexcept;
  void note(const Event& event) noexcept { ring_.note(event); }
  // Of all engines of the mesh, oldest first.
  [[nodiscard]] std::vector<Event> read(HostTime from) const { return view_.read(from); }

 private:
  struct Seen {
    std::vector<AgentId> coordinators;   // by sector
    std::vector<AgentId> led;            // by sector: the last who did
    std::vector<std::uint32_t> active;   // by cluster
    std::vector<std::uint8_t> breakers;  // by place
    std::uint32_t mode = 0;
    bool is_known = false;  // of `active` and `mode`: the mesh was looked at as a whole
    bool has_begun = false;
  };
  EventWatch(EventRing ring, EventRingView view, Seen seen)
      : ring_(ring), view_(view), seen_(std::move(seen)) {}
  void look_at_coordinators(const EngineLoop::State& loop) noexcept;
  void look_at_clusters(const EngineLoop::State& loop) noexcept;
  void look_at_breakers(const EngineLoop::State& loop) noexcept;

  EventRing ring_;
  EventRingView view_;
  Seen seen_;
};

}  // namespace mesh::engine
