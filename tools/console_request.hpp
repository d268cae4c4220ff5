// What a console asks a running engine, over its control socket.
//
// Callers     main(), once a verb.
// Progress    connects at once or not at all; then waits as long as the engine takes.
// Errors      no_mesh, and whatever the engine refuses with (engine/station/control_client.hpp).
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "shm/base/result.hpp"

namespace CLI {
class App;
}

namespace mesh::tools {

struct WhichMesh {
  std::string directory;
  std::string name;
};
void declare_which_mesh(CLI::App& command, WhichMesh& which);

Result<nlohmann::ordered_json> ask_engine(const WhichMesh& which,
                                          const nlohmann::ordered_json& request);

// Any JSON object as lines for people: "counters.ticks  17".
[[nodiscard]] std::string lines_of(const nlohmann::ordered_json& object);

}  // namespace mesh::tools
