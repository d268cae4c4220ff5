// ConsoleDoer: does what a conversation has understood (engine/console/act.hpp), by the requests
// that the verbs make, and says what came of it.
//
// Callers     one thread, cold.
// Errors      as the verb's own: no_mesh, no_such_agent, bad_input, and what the engine refuses.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "engine/console/conversation.hpp"
#include "shm/base/result.hpp"
#include "tools/console_request.hpp"

namespace mesh::tools {

struct Done {
  nlohmann::ordered_json answer;  // what the verb prints with --json
  std::string text;               // for people, lines
  console::Findings findings{};   // what to speak of from now on
  bool has_succeeded = true;      // as its verb's exit code 0 means
};

Result<Done> perform(const WhichMesh& which, const console::Act& act);

}  // namespace mesh::tools
