// WhoReport as the control socket's answer.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/who.hpp"

namespace mesh::engine {

// As many agents, holders and circles as a packet holds; how many were left out is said.
[[nodiscard]] nlohmann::json who_json(const WhoReport& report);

}  // namespace mesh::engine
