// ObservedMesh: a mesh's memories as its owner sees them from outside: the files of its directory,
// opened and mapped read-only. It asks no engine, so it works beside one that runs, one that hangs
// and one that is dead.
//
// Callers     one thread, cold: every call is system calls.
// Progress    waits for nobody.
// Ordering    none of its own: the readers of each structure bring theirs.
// If the      dies: what it left is what is seen. It goes down meanwhile: a file that was listed is
// engine      gone (no_mesh). It lies: headers are checked, and what follows them is input.
// dies,
// or lies
// Errors      no_mesh (no directory, no table), not_yours, permission_denied, and as shm::attach.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/memory_map.hpp"
#include "shm/attach.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"
#include "shm/layout.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

// Who holds the lock of the directory.
struct EngineSeen {
  std::optional<bool> running;          // none: the lock cannot be looked at
  std::optional<std::int64_t> process;  // of an engine that runs
};

class ObservedMesh {
 public:
  // The table's header is looked at; anything else when it is asked for.
  static Result<ObservedMesh> open(const std::string& directory);

  [[nodiscard]] const std::string& directory() const noexcept { return path_; }
  [[nodiscard]] const MeshSize& size() const noexcept { return size_; }
  [[nodiscard]] EngineSeen engine() const;
  // Stations whose memory stands in the directory, ascending.
  [[nodiscard]] Result<std::vector<std::uint16_t>> stations() const;

  struct Memory {
    shm::MappingHeader header;
    shm::Layout layout;
    shm::Mapping mapping;
  };
  // Its header alone.
  Result<shm::MappingHeader> header(const std::string& name) const;
  // Whole, of the layout that its header and this binary agree on.
  Result<Memory> table() const;
  Result<Memory> payload() const;
  Result<Memory> engine_memory() const;
  Result<Memory> station_in(std::uint16_t station) const;

 private:
  ObservedMesh(std::string path, shm::Descriptor directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}
  Result<shm::Mapping> map(const std::string& name) const;
  Result<Memory> attach(shm::Mapping mapping, const shm::Layout& layout,
                        std::uint64_t instance) const;

  std::string path_;
  shm::Descriptor directory_;
  MeshSize size_;
  shm::MappingIdentity identity_;
};

}  // namespace mesh::engine
