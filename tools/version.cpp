#include "tools/version.hpp"

#include <ostream>
#include <string>

#include <fmt/format.h>

#include "engine/memory_map.hpp"
#include "sched/lead_time_columns.hpp"
#include "shm/mapping_header.hpp"

namespace mesh::tools {

namespace {

// One number for all memories of the reference mesh: binaries that differ in it share no mesh.
std::string layout() {
  const Result<engine::MemoryMap> map = engine::memory_map(engine::kReferenceMesh);
  if (!map) return "unknown: " + map.error().sentence;
  return fmt::format("header {}, hash {:016x}", shm::kHeaderAbiVersion, map->hash());
}

}  // namespace

void write_version(std::ostream& out) {
  out << "mesh " << MESH_VERSION << '\n'
      << "layout " << layout() << '\n'
      << "vector target " << sched::chosen_target() << '\n'
      << "compiler " << MESH_COMPILER << '\n';
}

}  // namespace mesh::tools
