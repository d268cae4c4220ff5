// Adoption: what an engine finds in its mesh's directory when it starts: nothing, a mesh that a
// dead engine left, or something that is neither.
//
// All of a mesh is checked before any of it is used, and nothing is deleted that could be a mesh:
// what is damaged, cut short, of another boot, build or size is an error that says both sides.
// Checksums cover headers alone. Live state is words that are each valid at any instant; whoever
// goes on from it checks it where it reads it (Registry, StationTable, EngineLoop, the rings).
//
// Callers     set-up, with the directory's lock held.
// Errors      adopt -> as shm::attach; not_found (a memory is missing), truncated,
//             layout_mismatch (another size than the one asked for), corrupt. Each names the file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/memory_map.hpp"
#include "engine/mesh_files.hpp"
#include "engine/station_table.hpp"
#include "shm/attach.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

// A station that was attached to the dead engine, and may come back.
struct LeftStation {
  StationEntry entry;
  shm::Mapping in;
};
// One that the dead engine was taking apart. Its file may be gone.
struct LeavingStation {
  StationEntry entry;
  std::optional<shm::Mapping> in;
};

struct AdoptedMesh {
  MeshSize size;              // as it was made
  shm::FormatOptions format;  // as its headers say
  shm::Mapping table, payload, engine;
  std::vector<LeftStation> stations;
  std::vector<LeavingStation> leaving;  // to be finished
  std::vector<std::string> orphans;     // files of stations that are not attached: to be removed
};

// None: no mesh is there.
Result<std::optional<AdoptedMesh>> adopt(const MeshFiles& files, const MeshSize& wanted);

// How many agents a mesh has that is going to be dropped, if that can still be read.
[[nodiscard]] std::optional<std::size_t> agents_of(const MeshFiles& files);

}  // namespace mesh::engine
