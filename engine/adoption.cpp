#include "engine/adoption.hpp"

#include <algorithm>
#include <utility>

#include "engine/agent_rows.hpp"
#include "engine/station/control_protocol.hpp"
#include "shm/uuid.hpp"

namespace mesh::engine {
namespace {

std::uint64_t parameter(const shm::MappingHeader& header, MemoryParameter which) noexcept {
  return header.parameters[static_cast<std::size_t>(which)];
}

MeshSize size_of(const shm::MappingHeader& header) noexcept {
  MeshSize size{.agents = parameter(header, MemoryParameter::agents),
                .agents_per_station = parameter(header, MemoryParameter::agents_per_station)};
  unpack_shape(parameter(header, MemoryParameter::stations), size);
  return size;
}

tl::unexpected<Error> in_file(const std::string& name, const Error& error) {
  return fail(error.code, name + ": " + error.sentence, error.detail);
}

// Checked through a mapping that can change nothing, then mapped to be written.
Result<shm::Mapping> open_checked(const MeshFiles& files, const std::string& name,
                                  const Result<shm::Layout>& layout,
                                  const shm::FormatOptions& expected) {
  if (!layout) return in_file(name, layout.error());
  const auto looked = files.open(name, shm::Access::kReadOnly);
  if (!looked) return in_file(name, looked.error());
  const auto header = shm::attach(looked->bytes(), *layout, expected.identity);
  if (!header) return in_file(name, header.error());
  if (header->parameters != expected.parameters) {
    shm::MappingHeader table = *header;
    table.parameters = expected.parameters;
    const MeshSize its = size_of(*header);
    const MeshSize tables = size_of(table);
    return fail(Errc::corrupt,
                name +
                    ": it was made for other sizes than the table: " + std::to_string(its.agents) +
                    " agents and " + std::to_string(its.stations) + " stations, not " +
                    std::to_string(tables.agents) + " and " + std::to_string(tables.stations));
  }
  return files.open(name, shm::Access::kReadWrite);
}

Status check_station(const StationEntry& entry, const MeshSize& size) {
  const std::string who = "engine: station " + std::to_string(entry.number) + ": ";
  if (entry.agents == 0 || entry.agents > size.agents) {
    return fail(Errc::corrupt, who + std::to_string(entry.agents) + " agents, this mesh has " +
                                   std::to_string(size.agents));
  }
  MESH_TRY(const shm::Layout out, station_out_layout(entry.agents));
  if (entry.out.size_bytes != out.total_bytes()) {
    return fail(Errc::corrupt, who + "a memory of " + std::to_string(entry.out.size_bytes) +
                                   " bytes, expected " + std::to_string(out.total_bytes()));
  }
  return {};
}

Status adopt_stations(const MeshFiles& files, AdoptedMesh& mesh) {
  MESH_TRY(const shm::Layout engine_plan, engine_layout(mesh.size));
  MESH_TRY(const StationTable table,
           StationTable::create(engine_plan, mesh.engine.writable_bytes()));
  std::vector<std::string> known;
  for (const StationTable::Left& left : table.left()) {
    const std::string file = station_in_file(left.entry.number);
    MESH_CHECK_OK(check_station(left.entry, mesh.size));
    shm::FormatOptions expected = mesh.format;
    expected.identity.instance = left.entry.number;
    auto in = open_checked(files, file, station_in_layout(left.entry.agents), expected);
    if (left.state == StationState::leaving) {
      LeavingStation leaving{left.entry, std::nullopt};
      if (in) leaving.in = std::move(*in);
      mesh.leaving.push_back(std::move(leaving));
      continue;  // its file goes in any case
    }
    if (!in) return tl::unexpected<Error>(std::move(in).error());
    mesh.stations.push_back({left.entry, std::move(*in)});
    known.push_back(file);
  }
  MESH_TRY(const std::vector<std::string> names, files.list());
  for (const std::string& name : names) {
    if (name.substr(0, 8) != "station-") continue;
    if (std::find(known.begin(), known.end(), name) == known.end()) mesh.orphans.push_back(name);
  }
  return {};
}

}  // namespace

Result<std::optional<AdoptedMesh>> adopt(const MeshFiles& files, const MeshSize& wanted) {
  MESH_TRY(const std::vector<std::string> names, files.list());
  if (names.empty()) return std::optional<AdoptedMesh>();
  const auto table = files.open("table", shm::Access::kReadOnly);
  if (!table) return in_file("table", table.error());
  const auto header = shm::inspect(table->bytes());
  if (!header) return in_file("table", header.error());

  const MeshSize size = size_of(*header);
  shm::FormatOptions format;
  format.identity.mesh_uuid = header->mesh_uuid;
  MESH_TRY(format.identity.boot_id, shm::boot_id());
  format.created_ns = header->created_ns;
  format.parameters = header->parameters;
  const auto open = [&](const char* name, const Result<shm::Layout>& layout) {
    return open_checked(files, name, layout, format);
  };
  MESH_TRY(shm::Mapping table_there, open("table", table_layout(size)));
  if (size.agents != wanted.agents || size.stations != wanted.stations) {
    return fail(Errc::layout_mismatch,
                "table: room for " + std::to_string(size.agents) + " agents and " +
                    std::to_string(size.stations) + " stations, asked for are " +
                    std::to_string(wanted.agents) + " and " + std::to_string(wanted.stations) +
                    ": ask for the same",
                static_cast<std::int64_t>(size.agents));
  }
  if (!is_same_shape(size, wanted)) {
    const auto shape = [](const MeshSize& of) {
      return std::to_string(of.clusters_per_sector) + " clusters of " +
             std::to_string(of.agents_per_cluster) + " agents";
    };
    return fail(Errc::layout_mismatch, "table: each sector has " + shape(size) +
                                           ", asked for are " + shape(wanted) +
                                           ": ask for the same");
  }
  MESH_TRY(shm::Mapping payload_there, open("payload", payload_layout(size)));
  MESH_TRY(shm::Mapping engine_there, open("engine", engine_layout(size)));
  AdoptedMesh mesh{
      size, format, std::move(table_there), std::move(payload_there), std::move(engine_there), {},
      {},   {}};
  MESH_CHECK_OK(adopt_stations(files, mesh));
  return std::optional(std::move(mesh));
}

std::optional<std::size_t> agents_of(const MeshFiles& files) {
  const auto table = files.open("table", shm::Access::kReadOnly);
  if (!table) return std::nullopt;
  const auto header = shm::inspect(table->bytes());
  if (!header) return std::nullopt;
  const auto layout = table_layout(size_of(*header));
  if (!layout || layout->hash() != header->layout_hash) return std::nullopt;
  const auto words = layout->column<AgentId>(table->bytes(), "agent.id");
  const auto state = layout->column<std::uint8_t>(table->bytes(), "agent.state");
  if (!words || !state) return std::nullopt;
  std::size_t agents = 0;
  for (std::size_t row = 0; row < state->rows(); ++row) {
    // relaxed: its writer is dead.
    agents += state->load_relaxed(row) != static_cast<std::uint8_t>(AgentState::free) ? 1U : 0U;
  }
  return agents;
}

}  // namespace mesh::engine
