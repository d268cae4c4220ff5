// What the control thread reads from packets and writes into them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/engine.hpp"
#include "sched/agent_class.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

// Any bytes are input: a field of another type, or none, is an error that names it.
Result<std::string> text_field(const nlohmann::json& object, const char* key);
Result<std::uint64_t> count_field(const nlohmann::json& object, const char* key);
// `otherwise` where the field is missing.
Result<double> number_field(const nlohmann::json& object, const char* key, double otherwise);
Result<bool> flag_field(const nlohmann::json& object, const char* key, bool otherwise);
Result<Nanos> ms_field(const nlohmann::json& object, const char* key, Nanos otherwise);

Result<sched::Verb> verb_field(const nlohmann::json& object, sched::Verb otherwise);
// 0 background to 3 critical.
Result<sched::Priority> priority_field(const nlohmann::json& object, sched::Priority otherwise);

// "A" to "F", or the class's number.
Result<sched::AgentClass> class_field(const nlohmann::json& object);
struct NamedAgent {
  std::string name;
  sched::AgentClass agent_class;
  std::vector<std::string> capabilities;
};
Result<std::vector<NamedAgent>> agents_field(const nlohmann::json& object);
// "scope": mesh, sector or cluster, the latter two with a "number".
Result<console::Scope> scope_field(const nlohmann::json& object);
// Names; none where the field is not there.
Result<std::vector<std::string>> names_field(const nlohmann::json& object, const char* key);
// `body` receives the text; it has to outlive the request.
Result<OperationRequest> operation_of(const nlohmann::json& object, std::string& body);

[[nodiscard]] std::string dump(const nlohmann::json& object);
[[nodiscard]] std::string error_json(const Error& error);
[[nodiscard]] nlohmann::json result_json(const FinishedOperation& finished);
// "ready", "conflict", "transit".
[[nodiscard]] const char* state_name(sched::TrinaryState state) noexcept;
// Fits into a packet: a body that does not is cut, and said to be.
[[nodiscard]] nlohmann::json answered_json(const AnsweredMessage& answered);
// body_bytes, body, body_cut; of the body as many bytes as `most` of JSON are.
void put_body(nlohmann::json& object, std::span<const std::byte> body, std::size_t most);
[[nodiscard]] nlohmann::json status_json(const EngineStatus& status);
[[nodiscard]] std::string hex_of(std::uint64_t value);

}  // namespace mesh::engine
