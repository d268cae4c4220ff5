// What the loop knows of a sector at one moment, for who asks what is wrong with it
// (engine/console/incident.hpp), and what a procedure has the loop do about it.
//
// Callers     the scheduler's thread, in a job.
// Progress    incident_facts: a pass over the rows of the sector and over the ring of events.
//             isolate: a few steps. redistribute: the agents of one cluster, by the clusters.
// Errors      invalid_argument: the mesh has no such sector or cluster. redistribute -> busy: a
//             cascade is under way, and counts its agents by their places.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/console/incident.hpp"
#include "engine/event_ring.hpp"
#include "engine/loop/engine_loop.hpp"

namespace mesh::engine {

inline constexpr Nanos kIncidentWindow{600 * kNsPerSecond};  // "lately"

struct IncidentWanted {
  std::uint32_t sector = 0;
  std::vector<StationId> stuck{};  // stations that read nothing, of the whole mesh
};
// What has changed up to now is noted first.
Result<console::IncidentFacts> incident_facts(EngineLoop& loop, const IncidentWanted& wanted,
                                              HostTime now);

// Of the events since `from` those that are the sector's, its clusters' or the mesh's, oldest
// first, a line each; at most `most`, the newest.
struct TimelineLine {
  HostTime at{};
  std::string text;
};
struct TimelineWanted {
  std::uint32_t sector = 0;
  HostTime from{};
  std::size_t most = 200;
};
[[nodiscard]] std::vector<TimelineLine> incident_timeline(const EngineLoop& loop,
                                                          const TimelineWanted& wanted);

// Its breaker is held open: nothing is routed there until it is reset (mesh heal). Whether that is
// a change.
Result<bool> isolate_cluster(EngineLoop& loop, std::uint32_t cluster, HostTime now);
// Its active agents that nobody holds go to clusters that have room and are closed: of its own
// sector and class first. Who finds none stays.
struct Redistributed {
  std::uint32_t moved = 0;
  std::uint32_t stayed = 0;
};
Result<Redistributed> redistribute(EngineLoop& loop, std::uint32_t cluster, HostTime now);
// Routes around them, as the operator does, and notes it. How many that changed; who is gone
// meanwhile is passed over.
std::uint32_t route_ailing_around(EngineLoop& loop, const std::vector<std::string>& agents,
                                  HostTime now);

}  // namespace mesh::engine
