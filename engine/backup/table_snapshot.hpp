// What a mesh's table says of its agents, as text that outlives the mesh: who they are and whose,
// where they stand, what they can, how they did, what the operator holds; and the routing rules.
//
//     {"format": "mesh30k-tables-1", "agents": N, "bytes": N, "xxh3": H, "rules": [...]}
//     {"name": ..., "uid": ..., ...}     a line an agent, in the order of their rows
//
// Messages in flight and operations are not in it: they are the engine's, and die with a mesh.
//
// Callers     any thread that has the memories mapped; cold.
// Ordering    each agent is read as one, one after another.
// Errors      text_of -> busy: a row that is being written and never stands. read_tables ->
//             verification_failed: it is not what was written; version_skew.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/console/routing_rules.hpp"
#include "engine/memory_map.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct KeptAgent {
  std::string name{};
  std::uint32_t uid = 0;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  std::vector<std::string> capabilities{};
  std::uint32_t cluster = ~std::uint32_t{0};  // kNoPlace: none
  std::uint8_t routing = 0;
  std::uint16_t score = 0;
  std::uint16_t confidence = 0;
  std::uint16_t confidence_by_t = 0;
  std::uint8_t history = 0;
  float latency_ms = 0;
  float processing_ms = 0;
  float drift = 0;
  float reliability = 0;
  float work_ms = 0;
  float residual_centre_ms = 0;
  float residual_by_t_ms = 0;
  friend bool operator==(const KeptAgent&, const KeptAgent&) = default;
};

struct KeptTables {
  std::vector<KeptAgent> agents;
  std::vector<std::string> rules;  // lines of a journal, RoutingRules::line_of
};

// Where the tables are. `engine`: who owns which name stands there.
struct TablesOf {
  MeshSize size;
  std::span<const std::byte> table;
  std::span<const std::byte> engine;
};
[[nodiscard]] Result<KeptTables> keep_tables(const TablesOf& mesh,
                                             const console::RoutingRules& rules);

[[nodiscard]] std::string text_of(const KeptTables& tables);
[[nodiscard]] Result<KeptTables> read_tables(std::string_view text);

}  // namespace mesh::engine
