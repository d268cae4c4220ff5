// A quorum's verdict as JSON: the decision in the words of the specification.
//
// Callers     one thread, cold.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sched/quorum.hpp"

namespace mesh::tools {

// {"decision": "PROCEED", "confidence": 0.925, "sentence": "..."}. A confidence where it proceeds,
// else null.
[[nodiscard]] nlohmann::ordered_json quorum_json(const sched::QuorumVerdict& verdict);

}  // namespace mesh::tools
