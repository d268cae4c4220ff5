#include "engine/backup/table_snapshot.hpp"

#include <cmath>
#include <optional>

#include <nlohmann/json.hpp>

#include "engine/agent_name.hpp"
#include "engine/agent_row_views.hpp"
#include "engine/capabilities.hpp"
#include "engine/control_json.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr const char* kSnapshotFormat = "mesh30k-tables-1";
constexpr int kReadsMax = 10'000;  // of a row: a write takes less than a microsecond

// X(key of a whole number) and X(key of a measured one).
#define MESH_KEPT_NUMBERS(X) \
  X(uid) X(cluster) X(routing) X(score) X(confidence) X(confidence_by_t) X(history)
#define MESH_KEPT_MEASURES(X) \
  X(latency_ms)               \
  X(processing_ms) X(drift) X(reliability) X(work_ms) X(residual_centre_ms) X(residual_by_t_ms)

tl::unexpected<Error> snapshot_damaged(const std::string& how) {
  return fail(Errc::verification_failed, "table snapshot: " + how);
}

Result<std::optional<AgentRow>> read_row(const AgentRowViews& rows, std::size_t at) {
  AgentRow row;
  for (int i = 0; i < kReadsMax; ++i) {
    if (rows.read(at, row) != shm::ReadStatus::kRead) continue;
    return row.is_free() ? std::nullopt : std::optional(row);
  }
  return fail(Errc::busy, "table snapshot: row " + std::to_string(at) + " is being written");
}

float finite(float value) noexcept { return std::isfinite(value) ? value : 0.0F; }

KeptAgent kept(const AgentRow& row, std::string_view name) {
  KeptAgent agent{.name = std::string(name),
                  .agent_class = static_cast<sched::AgentClass>(row.agent_class),
                  .cluster = row.cluster,
                  .routing = row.routing,
                  .score = row.score,
                  .confidence = row.confidence,
                  .confidence_by_t = row.confidence_by_t,
                  .history = row.history};
#define MESH_KEEP(key) agent.key = finite(row.key);
  MESH_KEPT_MEASURES(MESH_KEEP)
#undef MESH_KEEP
  return agent;
}

json json_of(const KeptAgent& agent) {
  json object = {{"name", agent.name},
                 {"class", static_cast<unsigned>(agent.agent_class)},
                 {"capabilities", agent.capabilities}};
#define MESH_WRITE(key) object[#key] = agent.key;
  MESH_KEPT_NUMBERS(MESH_WRITE)
  MESH_KEPT_MEASURES(MESH_WRITE)
#undef MESH_WRITE
  return object;
}

template <class T>
bool take_number(const json& object, const char* key, T& value) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return false;
  const auto number = found->get<std::uint64_t>();
  value = static_cast<T>(number);
  return number == value;
}
bool take_measure(const json& object, const char* key, float& value) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return false;
  value = found->get<float>();
  return std::isfinite(value);
}

bool take_names(const json& object, const char* key, std::vector<std::string>& names) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) return false;
  for (const json& one : *found) {
    if (!one.is_string()) return false;
    names.push_back(one.get<std::string>());
  }
  return true;
}

std::optional<KeptAgent> agent_of(const json& object) {
  if (!object.is_object() || !object.contains("name") || !object["name"].is_string())
    return std::nullopt;
  KeptAgent agent{.name = object["name"].get<std::string>()};
  std::uint8_t agent_class = 0;
  bool is_whole = take_number(object, "class", agent_class) &&
                  take_names(object, "capabilities", agent.capabilities);
#define MESH_TAKE(key) is_whole = is_whole && take_number(object, #key, agent.key);
  MESH_KEPT_NUMBERS(MESH_TAKE)
#undef MESH_TAKE
#define MESH_TAKE(key) is_whole = is_whole && take_measure(object, #key, agent.key);
  MESH_KEPT_MEASURES(MESH_TAKE)
#undef MESH_TAKE
  agent.agent_class = static_cast<sched::AgentClass>(agent_class);
  is_whole = is_whole && sched::is_known(agent.agent_class) && check_name("", agent.name);
  return is_whole ? std::optional(std::move(agent)) : std::nullopt;
}

// The text of each bit that has a name.
Result<std::vector<std::string>> capability_names(const shm::Layout& layout,
                                                  std::span<const std::byte> table) {
  const shm::Region* const region = layout.find("capability_names");
  if (region == nullptr)
    return fail(Errc::not_found, layout.name() + " has no region capability_names");
  MESH_TRY(const auto bytes,
           shm::resolve(table, shm::Offset<std::byte>{region->offset}, region->size_bytes));
  using Words = shm::ColumnView<HostMemory, std::uint64_t>;
  MESH_TRY(const Words words, Words::over(bytes, region->count * kNameWords));
  std::vector<std::string> names(kCapabilities);
  for (std::size_t bit = 0; bit < names.size(); ++bit) {
    const auto text = capability_name_at(words, static_cast<CapabilityBit>(bit));
    if (NameBytes::length_of(text[0]) == 0) continue;
    MESH_TRY(const NameBytes name, decode("capability_names", text));
    names[bit] = name.view();
  }
  return names;
}

}  // namespace

Result<KeptTables> keep_tables(const TablesOf& mesh, const console::RoutingRules& rules) {
  MESH_TRY(const shm::Layout layout, table_layout(mesh.size));
  MESH_TRY(const shm::Layout engine_plan, engine_layout(mesh.size));
  MESH_TRY(const AgentRowViews rows, AgentRowViews::in(layout, mesh.table));
  MESH_TRY(const auto uids, engine_plan.column<std::uint32_t>(mesh.engine, "agent.uid"));
  MESH_TRY(const auto names, capability_names(layout, mesh.table));
  KeptTables tables;
  for (std::size_t at = 0; at < rows.rows(); ++at) {
    MESH_TRY(const std::optional<AgentRow> row, read_row(rows, at));
    if (!row) continue;
    MESH_TRY(const NameBytes name, decode("agent.name", row->name));
    KeptAgent agent = kept(*row, name.view());
    agent.uid = uids.load_relaxed(at);  // relaxed: it stands as long as the name does
    for (std::size_t bit = 0; bit < names.size(); ++bit) {
      if ((row->capabilities[bit / 64] >> (bit % 64) & 1U) != 0 && !names[bit].empty())
        agent.capabilities.push_back(names[bit]);
    }
    tables.agents.push_back(std::move(agent));
  }
  for (const console::RoutingRule& rule : rules.list())
    tables.rules.push_back(console::RoutingRules::line_of(
        rule.allow ? console::RuleChange::allow : console::RuleChange::deny, rule));
  return tables;
}

std::string text_of(const KeptTables& tables) {
  std::string lines;
  for (const KeptAgent& agent : tables.agents) lines += dump(json_of(agent)) + "\n";
  const json head = {{"format", kSnapshotFormat},
                     {"agents", tables.agents.size()},
                     {"bytes", lines.size()},
                     {"rules", tables.rules},
                     {"xxh3", hex_of(shm::hash64(lines))}};
  return dump(head) + "\n" + lines;
}

Result<KeptTables> read_tables(std::string_view text) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return snapshot_damaged("it has no first line");
  const json head = json::parse(text.begin(), text.begin() + end, nullptr, false);
  if (!head.is_object() || !head.contains("format"))
    return snapshot_damaged("its first line is no JSON");
  if (head["format"] != kSnapshotFormat)
    return fail(Errc::version_skew,
                std::string("table snapshot: its format is not ") + kSnapshotFormat);
  const std::string_view lines = text.substr(end + 1);
  KeptTables tables;
  if (head.value("xxh3", json()) != hex_of(shm::hash64(lines)))
    return snapshot_damaged("its checksum is not what it says");
  if (!take_names(head, "rules", tables.rules)) return snapshot_damaged("its rules are no lines");
  for (std::size_t at = 0; at < lines.size();) {
    const std::string_view line = lines.substr(at, lines.find('\n', at) - at);
    auto agent = agent_of(json::parse(line.begin(), line.end(), nullptr, false));
    if (!agent)
      return snapshot_damaged("line " + std::to_string(tables.agents.size() + 2) +
                              " is no agent's");
    tables.agents.push_back(std::move(*agent));
    at += line.size() + 1;
  }
  if (head.value("agents", json()) != tables.agents.size())
    return snapshot_damaged("it has " + std::to_string(tables.agents.size()) +
                            " agents, and says another");
  return tables;
}

}  // namespace mesh::engine
