// SeenMesh: a mesh as its reports see it: the files of its directory and its table, mapped for
// reading as long as a report is made. It asks no engine.
//
// Callers     one thread, cold.
// If the      dies, hangs or was never there: engine/observed_mesh.hpp.
// engine
// dies
// Errors      as ObservedMesh's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "engine/observed_mesh.hpp"
#include "engine/station/control_protocol.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

// Of which mesh a report is, and whether an engine runs it.
struct Whence {
  std::string directory{};
  EngineSeen engine{};
};

struct SeenMesh {
  ObservedMesh mesh;
  ObservedMesh::Memory table;

  static Result<SeenMesh> open(const std::string& directory) {
    MESH_TRY(ObservedMesh mesh, ObservedMesh::open(directory));
    MESH_TRY(ObservedMesh::Memory table, mesh.table());
    return SeenMesh{std::move(mesh), std::move(table)};
  }
  [[nodiscard]] Whence whence() const { return {mesh.directory(), mesh.engine()}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return table.mapping.bytes(); }
};

// When the mesh began, by its own clock: what its milliseconds count from.
[[nodiscard]] inline std::int64_t start_ns_of(const ObservedMesh::Memory& table) noexcept {
  return static_cast<std::int64_t>(
      table.header.parameters[static_cast<std::size_t>(MemoryParameter::start_ns)]);
}

}  // namespace mesh::engine::reports
