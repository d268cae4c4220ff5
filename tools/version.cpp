#include "tools/version.hpp"

#include <ostream>
#include <string>

#include <dlfcn.h>
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

// Of this process: who links the tools as a library keeps its own.
std::string allocator() {
  using Version = int (*)();
  const auto version = reinterpret_cast<Version>(::dlsym(RTLD_DEFAULT, "mi_version"));
  if (version == nullptr) return "the C library's";
  const int number = version();
  return fmt::format("mimalloc {}.{}.{}", number / 100, number / 10 % 10, number % 10);
}

}  // namespace

void write_version(std::ostream& out) {
  out << "mesh " << MESH_VERSION << '\n'
      << "layout " << layout() << '\n'
      << "vector target " << sched::chosen_target() << '\n'
      << "allocator " << allocator() << '\n'
      << "compiler " << MESH_COMPILER << '\n';
}

}  // namespace mesh::tools
