// The agents' rows of tools/inspect_report.hpp.
#include <cmath>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/agent_row_views.hpp"
#include "engine/capabilities.hpp"
#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
#include "tools/inspect_report.hpp"
#include "tools/text.hpp"

namespace mesh::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t kMostConfident = 65'535;

Json class_of(std::uint8_t number) {
  if (number >= sched::kAgentClassCount) return nullptr;
  return std::string(1, sched::kAgentClasses[number].letter);
}
Json state_of(std::uint8_t number) {
  constexpr std::array<std::string_view, 5> kNames = {"free", "ACTIVE", "DEGRADED", "OFFLINE",
                                                      "QUARANTINED"};
  return number < kNames.size() ? Json(kNames[number]) : Json(nullptr);
}
Json role_of(std::uint8_t number) {
  constexpr std::array<std::string_view, 3> kNames = {"agent", "lead", "coordinator"};
  return number < kNames.size() ? Json(kNames[number]) : Json(nullptr);
}
// To a millionth: more digits say nothing, and a float's own are not those that were meant.
Json measured(float value) {
  if (!std::isfinite(value)) return nullptr;
  return std::round(static_cast<double>(value) * 1e6) / 1e6;
}
Json place(std::uint32_t number) {
  return number == engine::kNoPlace ? Json(nullptr) : Json(number);
}
Json bits_of(const std::array<std::uint64_t, engine::kCapabilityWords>& words) {
  Json bits = Json::array();
  for (std::size_t bit = 0; bit < kCapabilities; ++bit) {
    if ((words[bit / 64] >> (bit % 64) & 1U) != 0) bits.push_back(bit);
  }
  return bits;
}

// What the mesh's milliseconds count to now; none where its clock has not begun.
std::optional<std::uint32_t> mesh_ms_of(const ObservedMesh::Memory& table) {
  const auto words = table.layout.array<sched::ClockWords>(table.mapping.bytes(), "clock");
  if (!words) return std::nullopt;
  const auto start = static_cast<std::int64_t>(
      table.header.parameters[static_cast<std::size_t>(engine::MemoryParameter::start_ns)]);
  const std::int64_t passed_ns = sched::ClockReader<>(words->front()).now_ns() - start;
  if (passed_ns < 0) return std::nullopt;
  return static_cast<std::uint32_t>(passed_ns / kNsPerMs);
}

Json age_of(std::uint32_t heartbeat_mesh_ms, const std::optional<std::uint32_t>& now) {
  if (!now) return nullptr;
  const auto age = static_cast<std::int32_t>(*now - heartbeat_mesh_ms);  // right across 2^32
  return age < 0 ? Json(0) : Json(age);
}

std::optional<std::string> name_of(const engine::AgentRow& row) {
  const auto name = engine::decode("agent.name", row.name);
  if (!name) return std::nullopt;
  return std::string(name->view());
}

Json json_of(std::size_t number, const engine::AgentRow& row,
             const std::optional<std::uint32_t>& mesh_ms) {
  const auto id = static_cast<std::uint64_t>(row.id);
  const auto name = name_of(row);
  return {{"row", number},
          {"name", name ? Json(*name) : Json(nullptr)},
          {"class", class_of(row.agent_class)},
          {"role", role_of(row.role)},
          {"state", state_of(row.state)},
          {"routed_around", (row.routing & engine::kRoutedAround) != 0},
          {"spiking", (row.routing & engine::kSpiking) != 0},
          {"frozen", (row.routing & engine::kFrozen) != 0},
          {"newcomer", (row.routing & engine::kNewcomer) != 0},
          {"awaits_context", (row.routing & engine::kAwaitsContext) != 0},
          {"station", static_cast<std::uint16_t>(row.station)},  // 0: attached nowhere
          {"sector", place(row.sector)},
          {"cluster", place(row.cluster)},
          {"id", id},
          {"incarnation", row.incarnation},
          {"latency_ms", measured(row.latency_ms)},
          {"processing_ms", measured(row.processing_ms)},
          {"drift", measured(row.drift)},
          {"reliability", measured(row.reliability)},
          {"queue_depth", row.queue_depth},
          {"heartbeat_age_ms", age_of(row.heartbeat_mesh_ms, mesh_ms)},
          {"score", row.score},
          {"confidence", measured(static_cast<float>(row.confidence) / kMostConfident)},
          {"confidence_by_t", measured(static_cast<float>(row.confidence_by_t) / kMostConfident)},
          {"work_ms", measured(row.work_ms)},
          {"residual_centre_ms", measured(row.residual_centre_ms)},
          {"residual_by_t_ms", measured(row.residual_by_t_ms)},
          {"history", row.history},
          {"context_hash", fmt::format("{:016x}", row.context_hash)},  // zeros: none given
          {"capabilities", bits_of(row.capabilities)}};
}

// A row that is being written again and again, or whose writer died in it.
Json json_of_busy(std::size_t number) {
  Json object = json_of(number, {}, std::nullopt);
  for (auto& [key, value] : object.items()) {
    if (key != "row") value = nullptr;
  }
  return object;
}

bool matches(const engine::AgentRow& row, const AgentFilter& filter) {
  if (filter.agent_class && row.agent_class != static_cast<std::uint8_t>(*filter.agent_class)) {
    return false;
  }
  return !filter.name || name_of(row) == filter.name;
}

std::string describe(const AgentFilter& filter) {
  std::string text = "no agent";
  if (filter.row) text += fmt::format(" in row {}", *filter.row);
  if (filter.name) text += fmt::format(" called {}", in_quotes(*filter.name));
  if (filter.agent_class) {
    text += fmt::format(" of class {}",
                        sched::kAgentClasses[static_cast<std::size_t>(*filter.agent_class)].letter);
  }
  return text;
}

}  // namespace

Result<Json> inspect_agents(const ObservedMesh& mesh, const AgentFilter& filter) {
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const engine::AgentRowViews rows,
           engine::AgentRowViews::in(table.layout, table.mapping.bytes()));
  if (filter.row && *filter.row >= rows.rows()) {
    return fail(Errc::bad_input, fmt::format("--row {}: this mesh has the rows 0 to {}",
                                             *filter.row, rows.rows() - 1));
  }
  const auto mesh_ms = mesh_ms_of(table);
  Json list = Json::array();
  const std::size_t first = filter.row.value_or(0);
  const std::size_t end = filter.row ? first + 1 : rows.rows();
  for (std::size_t number = first; number < end; ++number) {
    engine::AgentRow row;
    if (rows.read(number, row) != shm::ReadStatus::kRead) {
      // Whether it would match is not known either: shown where all are.
      if (!filter.name && !filter.agent_class) list.push_back(json_of_busy(number));
      continue;
    }
    if (!row.is_free() && matches(row, filter)) list.push_back(json_of(number, row, mesh_ms));
  }
  const bool is_filtered = filter.row || filter.name || filter.agent_class;
  if (list.empty() && is_filtered) return fail(Errc::no_such_agent, describe(filter));
  return Json{{"rows", rows.rows()}, {"agents", std::move(list)}};
}

}  // namespace mesh::tools
