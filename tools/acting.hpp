// What an operator has a mesh do: the requests behind the acting verbs, and their answers as people
// read them. Verbs and the console's conversation share them.
//
// Callers     one thread, cold.
// Errors      ask_*: as ask_engine()'s; bad_input: a text that is not UTF-8. write_* print what
//             came from outside harmlessly.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/console/act.hpp"
#include "shm/base/result.hpp"
#include "tools/console_request.hpp"

namespace mesh::tools {

using Answered = Result<nlohmann::ordered_json>;

Answered ask_route_around(const WhichMesh& which, const std::vector<std::string>& agents,
                          bool undo);
void write_route_around(const nlohmann::ordered_json& answer, std::ostream& out);

struct BestWanted {
  std::vector<std::string> capabilities{};
  std::uint32_t count = 1;
  std::uint32_t max_score = 500;
};
Answered ask_find_best(const WhichMesh& which, const BestWanted& wanted);
void write_find_best(const nlohmann::ordered_json& answer, std::ostream& out);

struct DelegateWanted {
  std::string task;
  std::string agent{};        // empty: the best
  std::string agent_class{};  // "A" to "F"; empty: of any
  std::vector<std::string> capabilities{};
  std::uint64_t attempts = 3;
  std::uint64_t timeout_ms = 30'000;
};
Answered ask_delegate(const WhichMesh& which, const DelegateWanted& wanted);
void write_delegate(const nlohmann::ordered_json& answer, std::ostream& out);

struct SampleWanted {
  std::string question;
  std::vector<std::string> capabilities{};
  std::uint64_t sample = 100;
  std::uint64_t seed = 0;
  std::uint64_t timeout_ms = 30'000;
};
Answered ask_sample(const WhichMesh& which, const SampleWanted& wanted);
void write_sample(const nlohmann::ordered_json& answer, std::ostream& out);

struct QuorumWanted {
  std::string question;
  std::uint64_t cluster = 0;
  std::uint64_t lead_timeout_ms = 1'000;
  std::uint64_t timeout_ms = 2'000;
  std::uint64_t priority = 1;
};
Answered ask_quorum(const WhichMesh& which, const QuorumWanted& wanted);
void write_quorum(const nlohmann::ordered_json& answer, std::ostream& out);

struct PipelineWanted {
  std::vector<std::string> agents;
  std::string body;
  std::uint64_t horizon_ms = 0;  // 0: as near as it can be
  std::uint64_t window_ms = 500;
  std::uint64_t priority = 1;
  double weight = 1;
};
Answered ask_pipeline(const WhichMesh& which, const PipelineWanted& wanted);
void write_pipeline(const nlohmann::ordered_json& answer, std::ostream& out);

struct ScaleWanted {
  std::uint64_t count = 1;
  std::string agent_class = "A";
  std::string prefix = "agent";
  std::uint64_t per_process = 30;
};
Answered ask_scale(const WhichMesh& which, const ScaleWanted& wanted);
void write_scale(const nlohmann::ordered_json& answer, std::ostream& out);  // what was made

// Without their bytes.
Answered ask_contexts(const WhichMesh& which, const std::string& agent);
void write_contexts(const nlohmann::ordered_json& answer, std::ostream& out);

struct WhoAsked {
  std::vector<std::string> agents{};
  std::optional<std::uint64_t> sector{}, cluster{};
};
Answered ask_who(const WhichMesh& which, const WhoAsked& asked);
void write_who(const nlohmann::ordered_json& answer, std::ostream& out);

struct FreezeWanted {
  bool frozen = true;
  console::Scope scope{};
  bool force = false;
};
// Typed as words, or as one in quotes: mesh, sector N, cluster N; none: the mesh.
Result<console::Scope> scope_of(const std::vector<std::string>& arguments);
void put_scope(nlohmann::ordered_json& request, const console::Scope& scope);

struct HealWanted {
  console::Scope scope{};
  std::uint64_t wait_ms = 10'000;
};
Answered ask_heal(const WhichMesh& which, const HealWanted& wanted);
void write_heal(const nlohmann::ordered_json& answer, std::ostream& out);

struct IncidentWanted {
  std::uint64_t sector = 0;
  bool act = false;
  std::uint64_t wait_ms = 10'000;
  std::uint64_t since_ms = 3'600'000;
};
Answered ask_incident(const WhichMesh& which, const IncidentWanted& wanted);
void write_incident(const nlohmann::ordered_json& answer, std::ostream& out);  // in Markdown
// Nothing was wrong, or nothing is any more.
[[nodiscard]] bool is_mended(const nlohmann::ordered_json& answer);

struct RuleWanted {
  std::string change{};  // allow, deny, drop; empty: the rules that stand
  std::string capability{};
  std::string agent{};
  std::string agent_class{};  // "A" to "F"; or `agent`
};
Answered ask_rules(const WhichMesh& which, const RuleWanted& wanted);
void write_rules(const nlohmann::ordered_json& answer, std::ostream& out);

Answered ask_freeze(const WhichMesh& which, const FreezeWanted& wanted);
void write_freeze(const nlohmann::ordered_json& answer, std::ostream& out);

Answered ask_backup(const WhichMesh& which, const std::string& directory);
void write_backup(const nlohmann::ordered_json& answer, std::ostream& out);

// "4.2 s", "42 s", "12 min", "3 h 12 min".
[[nodiscard]] std::string age_text(std::int64_t age_ms);

// bad_input; `what` begins the sentence.
Status check_utf8(const char* what, const std::string& text);

}  // namespace mesh::tools
