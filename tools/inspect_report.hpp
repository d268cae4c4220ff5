// What `mesh inspect` says of each part of a mesh, as JSON; for people it is the same in lines and
// tables. null is what is not known: a memfd that only its two processes have, a row that is being
// written, a byte that names nothing.
//
// Callers     one thread, cold.
// Ordering    every value is of some moment while it was read; what stands under a sequence (a row,
//             the clock) is of one.
// Units       as the keys say.
// Errors      as ObservedMesh's; no_such_agent (no row matches a filter).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/observed_mesh.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::tools {

using engine::ObservedMesh;

// Those that are given must all match.
struct AgentFilter {
  std::optional<std::uint64_t> row;
  std::optional<std::string> name;
  std::optional<sched::AgentClass> agent_class;
};

// Objects with scalar members, and at most one list of objects.
Result<nlohmann::ordered_json> inspect_header(const ObservedMesh& mesh);
Result<nlohmann::ordered_json> inspect_layout(const ObservedMesh& mesh);
Result<nlohmann::ordered_json> inspect_clock(const ObservedMesh& mesh);
Result<nlohmann::ordered_json> inspect_agents(const ObservedMesh& mesh, const AgentFilter& filter);
Result<nlohmann::ordered_json> inspect_rings(const ObservedMesh& mesh);
Result<nlohmann::ordered_json> inspect_payload(const ObservedMesh& mesh);

}  // namespace mesh::tools
