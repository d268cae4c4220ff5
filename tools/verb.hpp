// Verb: one word after `mesh`. A verb is a file: it declares its options and says what runs once
// they are parsed.
//
// Callers     main() alone, once. A verb writes to the Console's streams only.
// Errors      the Result's Errc becomes the exit code (tools/exit_code.hpp), its sentence one line
//             on `err`. A verb that fails with bad input has written nothing to `out`.
#pragma once

#include <functional>
#include <iosfwd>
#include <string_view>

#include "shm/base/result.hpp"
#include "tools/exit_code.hpp"

namespace CLI {
class App;
}

namespace mesh::tools {

struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool unicode = false;  // `out` is a terminal that shows UTF-8
};

using RunVerb = std::function<Result<ExitCode>(Console&)>;

struct Verb {
  std::string_view name;
  std::string_view summary;
  RunVerb (*declare)(CLI::App& command) = nullptr;
};

Verb up_verb();
Verb down_verb();
Verb status_verb();
Verb send_verb();
Verb broadcast_verb();
Verb scatter_verb();
Verb cascade_verb();
Verb conflicts_verb();
Verb resolve_verb();
Verb audit_verb();
Verb backup_verb();
Verb restore_verb();
Verb swarm_verb();
Verb agent_verb();
Verb demo_verb();
Verb health_verb();
Verb stat_verb();
Verb hz_verb();
Verb top_verb();
Verb doctor_verb();
Verb tail_verb();
Verb record_verb();
Verb replay_verb();
Verb errors_verb();
Verb kpi_verb();
Verb inspect_verb();
Verb route_around_verb();
Verb find_best_verb();
Verb delegate_verb();
Verb ask_verb();
Verb pipeline_verb();
Verb scale_verb();
Verb who_verb();
Verb context_verb();
Verb heal_verb();
Verb history_verb();
Verb incident_verb();
Verb freeze_verb();
Verb thaw_verb();
Verb rules_verb();
Verb say_verb();
Verb chat_verb();
Verb quorum_verb();
Verb plan_verb();
Verb layout_verb();
Verb config_verb();
Verb reload_verb();
Verb sim_verb();
Verb chaos_verb();
Verb size_verb();
Verb help_verb();

}  // namespace mesh::tools
