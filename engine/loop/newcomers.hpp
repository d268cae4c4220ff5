// Newcomers: agents that were made before they came, and get no work until they are known
// (mesh.md part 15).
//
//     made ──its process attaches──▶ warming up ──profile stable──▶ in line ──its wave──▶ admitted
//      │                                 ▲  │
//      │ agent_ttl                       └──┴── its process is lost
//      ▼
//     forgotten
//
// A newcomer has a name, a row, a class and a place, and the hold kNewcomer in its column
// `routing`: messages to it are refused (not_routable), and so is an operation's list that names
// it; operations for a place, a class or all are not meant for it and do not count it. It leads
// nothing, and nobody misses it; what it leaves unanswered or refuses, and that its process is
// lost, is no failure of its cluster. What it gets is the loop's own warm-ups: operations of
// verb `sync` without a body, whose answers are what its profile is made of.
//
// Its profile is stable when its station has measured NewcomerOptions::warm_ups answers, it was
// heard of within 10 s, its score has moved by at most a tenth, or 5 ms, from one upkeep to the
// next, and its delays do not scatter: a drift over 0.5 is unstable where that is more than
// LoopOptions::tolerance. A warm-up that it leaves unanswered costs it that one's time, and is no
// reason to ask it no more; kInVainMost of them are. Every NewcomerOptions::every a share of all
// that came is admitted, in the order of their making: the hold is taken away, for this engine and
// later ones.
//
// Callers     make_newcomers: the scheduler's thread, between ticks. tend_newcomers: the loop.
// Progress    tend_newcomers: at most kNewcomersPerTick of them a tick, and one operation; no
//             allocation. While there are none, a compare.
// If the      dies: its successor finds the hold in the table, and goes on: warm-ups that were
// engine      answered count, because the station has measured them.
// dies
// Errors      make_newcomers -> capacity, name_taken, invalid_argument; as expect_agents().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "sched/agent_class.hpp"

namespace mesh::engine {

inline constexpr std::size_t kNewcomersPerTick = 512;
inline constexpr std::uint32_t kInVainMost = 8;

struct Newcomer {
  AgentId id{};
  // As upkeep had made it when that was looked at last, and whether it had moved little by then.
  std::uint32_t score = 0;
  bool is_steady = false;
  std::int64_t seen_ns = 0;
  std::int64_t asked_ns = 0;  // when it was warmed up last
  // Warm-ups that it has and that are over: it is not asked less for them.
  std::uint32_t in_vain = 0;
};

struct Newcomers {
  std::vector<Newcomer> all;  // in the order of their making
  std::size_t next = 0;       // of this round; those before it were looked at
  std::size_t kept = 0;       // of those looked at, the ones that stay newcomers
  std::size_t came = 0;       // since there was none: what a share is of
  std::uint32_t wave = 0;     // that may still be admitted in this round
  std::int64_t round_ns = 0;  // when the next round begins
  std::vector<AgentId> list;  // to be warmed up
};

struct Making {
  std::string name;
  sched::AgentClass agent_class = sched::AgentClass::edge;
};
// All or none. Their names are `uid`'s.
Result<std::vector<AgentId>> make_newcomers(EngineLoop& loop, std::span<const Making> newcomers,
                                            std::uint32_t uid, HostTime now);
// How many more agents the mesh has room for.
[[nodiscard]] std::size_t room_for_agents(const EngineLoop& loop) noexcept;
// Where it stands: nowhere for a handle that is nobody's. And how many stand in a cluster.
struct StandsIn {
  std::uint32_t sector = ~std::uint32_t{0};
  std::uint32_t cluster = ~std::uint32_t{0};
};
[[nodiscard]] StandsIn place_of(const EngineLoop& loop, AgentId agent) noexcept;
[[nodiscard]] std::vector<std::uint32_t> agents_by_cluster(const EngineLoop& loop);
// Where so many were put. `before`: agents_by_cluster() when they were not there yet.
struct Placement {
  std::uint32_t clusters_filled = 0;   // that had agents before
  std::uint32_t clusters_created = 0;  // that had none
  std::uint32_t sectors = 0;           // in which they stand
  std::uint32_t without_cluster = 0;   // the mesh is larger than its places
};
[[nodiscard]] Placement placement_of(const EngineLoop& loop, std::span<const AgentId> agents,
                                     std::span<const std::uint32_t> before);

void tend_newcomers(EngineLoop::State& loop) noexcept;
// From the table, when the loop is made or agents were.
void adopt_newcomers(EngineLoop::State& loop);

}  // namespace mesh::engine
