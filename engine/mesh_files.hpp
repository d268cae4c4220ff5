// MeshFiles: a mesh's directory, while its engine lives: the lock, the memories that are files, the
// folder of the control socket.
//
//     DIR          0711   table, payload, engine, station-N.in: 0600, allocated in full
//     DIR/lock     0600   locked (OFD) by the engine that runs; its process, as text
//     DIR/sock     0755   control.sock, 0666: what a container is given
//
// Callers     set-up; one thread at a time.
// Cost        allocating takes every page from the system.
// If the      process dies: the kernel frees the lock. The next claim() takes away what it left and
// other side  says so: a mesh that is started anew begins empty.
// dies
// Errors      claim -> already_exists (an engine runs there: its process is the detail), not_yours,
//             permission_denied, system_error. create -> no_space and as shm::create_file.
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

class MeshFiles {
 public:
  static Result<MeshFiles> claim(const std::string& directory);
  MeshFiles(MeshFiles&&) noexcept = default;
  MeshFiles& operator=(MeshFiles&&) noexcept = default;
  // Takes away the files that it made, and the socket. The directory and the lock file stay.
  ~MeshFiles();

  // A new file, mapped writable; its header is the caller's to format, last.
  Result<shm::Mapping> create(const std::string& name, const shm::Layout& layout);
  // The same file, open for reading alone: to be passed on.
  Result<shm::Descriptor> open_to_pass(const std::string& name) const;
  void remove(const std::string& name);

  // A listening SOCK_SEQPACKET socket.
  Result<shm::Descriptor> listen() const;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::vector<std::string>& dropped() const noexcept { return dropped_; }

 private:
  MeshFiles(std::string path, shm::Descriptor directory, shm::Descriptor lock)
      : path_(std::move(path)), directory_(std::move(directory)), lock_(std::move(lock)) {}
  Status drop_leftovers();

  std::string path_;
  shm::Descriptor directory_;
  shm::Descriptor lock_;
  std::vector<std::string> made_;
  std::vector<std::string> dropped_;
};

}  // namespace mesh::engine
