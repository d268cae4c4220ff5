// A sector, a cluster or the mesh in one object and one sentence, from its table.
//
// Errors      as ObservedMesh's; bad_input: there is no such sector or cluster.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/console/act.hpp"
#include "shm/base/result.hpp"
#include "tools/console_request.hpp"

namespace mesh::tools {

Result<nlohmann::ordered_json> report_place(const WhichMesh& which, const console::Scope& scope);
[[nodiscard]] std::string sentence_of_place(const nlohmann::ordered_json& report);

}  // namespace mesh::tools
