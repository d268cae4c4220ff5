#include "engine/station/handed_over.hpp"

#include <algorithm>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "engine/station/control_protocol.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

std::string hex_of(std::uint64_t value) {
  std::array<char, 24> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
  return {text.data(), static_cast<std::size_t>(size)};
}

Result<shm::Uuid> uuid_in(const json& object, const char* key) {
  const auto found = object.find(key);
  shm::Uuid uuid{};
  if (found != object.end() && found->is_array() && found->size() == uuid.size()) {
    bool sound = true;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
      const json& byte = (*found)[i];
      sound = sound && byte.is_number_unsigned() && byte.get<std::uint64_t>() <= 255;
      if (sound) uuid[i] = byte.get<std::uint8_t>();
    }
    if (sound) return uuid;
  }
  return fail(Errc::corrupt, std::string("attach: the engine's answer has no uuid '") + key + "'");
}

}  // namespace

Result<std::uint64_t> number_in(const json& answer, const char* key) {
  const auto found = answer.find(key);
  if (found == answer.end() || !found->is_number_unsigned()) {
    return fail(Errc::corrupt,
                std::string("attach: the engine's answer has no number '") + key + "'");
  }
  return found->get<std::uint64_t>();
}

Result<std::array<std::uint64_t, 2>> token_in(const json& answer) {
  const auto found = answer.find("token");
  if (found == answer.end() || !found->is_array() || found->size() != 2 ||
      !(*found)[0].is_number_unsigned() || !(*found)[1].is_number_unsigned()) {
    return fail(Errc::corrupt, "attach: the engine's answer has no token");
  }
  return std::array{(*found)[0].get<std::uint64_t>(), (*found)[1].get<std::uint64_t>()};
}

Result<MeshIdentity> mesh_in(const json& answer) {
  MeshIdentity mesh;
  MESH_TRY(mesh.size.agents, number_in(answer, "mesh_agents"));
  MESH_TRY(mesh.size.stations, number_in(answer, "mesh_stations"));
  MESH_TRY(mesh.size.agents_per_station, number_in(answer, "agents_per_station"));
  MESH_TRY(const std::uint64_t clusters, number_in(answer, "clusters_per_sector"));
  MESH_TRY(const std::uint64_t agents, number_in(answer, "agents_per_cluster"));
  // Of others no layout is made.
  mesh.size.clusters_per_sector =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(clusters, UINT32_MAX));
  mesh.size.agents_per_cluster =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(agents, UINT32_MAX));
  MESH_TRY(mesh.identity.mesh_uuid, uuid_in(answer, "mesh_uuid"));
  MESH_TRY(mesh.identity.boot_id, uuid_in(answer, "boot_id"));
  return mesh;
}

Result<json> request_of(const char* op) {
  return json{{"op", op},
              {"version", kControlVersion},
              {"layout_hash", hex_of(reference_layout_hash())},
              {"page_bytes", shm::system_page_bytes()}};
}

std::string text_of(const json& request) {
  return request.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<shm::Mapping> map_memory(const shm::Descriptor& descriptor, const WantedMemory& wanted,
                                shm::MappingIdentity identity) {
  if (!wanted.layout) return tl::unexpected<Error>(wanted.layout.error());
  const shm::Layout& layout = *wanted.layout;
  shm::MappingOptions options;
  options.name = layout.name();
  options.size_bytes = layout.total_bytes();
  options.access = wanted.access;
  MESH_TRY(shm::Mapping mapping, shm::Mapping::map(descriptor.get(), options));
  identity.instance = wanted.instance;
  MESH_CHECK_OK(shm::attach(mapping.bytes(), layout, identity));
  return mapping;
}

}  // namespace mesh::engine
