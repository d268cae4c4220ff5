// MeshFiles: a mesh's directory, while its engine lives: the lock, the memories that are files, the
// folder of the control socket.
//
//     DIR          0711   table, payload, engine, station-N.in: 0600, allocated in full
//     DIR/lock     0600   locked (OFD) by the engine that runs; its process, as text
//     DIR/sock     0755   control.sock, 0666: what a container is given
//
// A mesh is there when its `table` is. A new one is made under other names and gets its own, table
// last; one that is taken away loses its table first. Whatever death leaves in between says so by
// the name that it has.
//
//     table.new ──publish──▶ table ──begin_removal──▶ table.down ──▶ nothing
//
// Callers     set-up; one thread at a time.
// Cost        allocating takes every page from the system.
// If the      process dies: the kernel frees the lock, and everything stays as it is for the next
// other side  claim(). sweep() takes away what never became a mesh, and what was none any more.
// dies
// Errors      claim -> already_exists (an engine runs there: its process is the detail), not_yours,
//             permission_denied, system_error. create -> no_space and as shm::create_file. open ->
//             not_found and as shm::open_file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shm/attach.hpp"
#include "shm/base/result.hpp"
#include "shm/descriptor.hpp"
#include "shm/layout.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

inline constexpr const char* kNewSuffix = ".new";
inline constexpr const char* kDownSuffix = ".down";

[[nodiscard]] std::string station_in_file(std::uint16_t number);

class MeshFiles {
 public:
  static Result<MeshFiles> claim(const std::string& directory);
  MeshFiles(MeshFiles&&) noexcept = default;
  MeshFiles& operator=(MeshFiles&&) noexcept = default;
  // Where owns_mesh() was called: takes the mesh away, and the socket. Else only what create() made
  // and publish() did not. The directory and the lock file stay.
  ~MeshFiles();

  // Names of all memories there, under whatever suffix, sorted.
  Result<std::vector<std::string>> list() const;
  // Removes what a start or an end that died halfway left, if that is all there is. The names.
  Result<std::vector<std::string>> sweep();

  // A new file, mapped writable and locked where that is permitted (Mapping::outcome); its header
  // is the caller's to format, last.
  Result<shm::Mapping> create(const std::string& name, const shm::Layout& layout);
  // table.new becomes table, and so on: the table last.
  Status publish();
  // An old one, at the size that it has. Writable ones are prefaulted and locked.
  Result<shm::Mapping> open(const std::string& name, shm::Access access) const;
  // The same file, open for reading alone: to be passed on.
  Result<shm::Descriptor> open_to_pass(const std::string& name) const;
  void remove(const std::string& name);

  // From here on the mesh goes with this object.
  void own_mesh() noexcept { owns_mesh_ = true; }
  // From here on there is no mesh, whatever of it still stands.
  void begin_removal();
  // Takes every memory away, whoever made it: the table first. The names.
  Result<std::vector<std::string>> drop_all();

  // A listening SOCK_SEQPACKET socket.
  Result<shm::Descriptor> listen() const;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  MeshFiles(std::string path, shm::Descriptor directory, shm::Descriptor lock)
      : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}
  Status rename(const std::string& from, const std::string& to) const;

  std::string path_;
  shm::Descriptor directory_;
  shm::Descriptor lock_;
  std::vector<std::string> made_;
  bool owns_mesh_ = false;
};

}  // namespace mesh::engine
