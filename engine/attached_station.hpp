// AttachedStation: what the engine's process holds of one station: its two memories, the eventfd
// that wakes it, and the descriptors that it is given.
//
// Callers     the control thread. The scheduler thread uses the memories between its attach and
//             its detach; they outlive that time.
// Cost        create: allocates both memories in full.
// If the      dies: the memories go with this object; they are never given to another station.
// other side  lies: `out` is sealed against shrinking and growing before it is passed.
// dies        In `out` every byte is input.
// or lies
// Errors      create -> invalid_argument, no_space, capacity, system_error.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/mesh_files.hpp"
#include "engine/station/control_protocol.hpp"
#include "shm/attach.hpp"
#include "shm/event_fd.hpp"
#include "shm/files.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

struct NewStation {
  std::uint16_t number = 0;
  std::uint32_t agents = 0;
  std::uint32_t uid = 0;
  std::string name{};
  shm::FormatOptions format{};  // identity of the mesh; the instance is the number
};

class AttachedStation {
 public:
  static Result<std::unique_ptr<AttachedStation>> create(MeshFiles& files,
                                                         const NewStation& station);
  ~AttachedStation();
  AttachedStation(const AttachedStation&) = delete;
  AttachedStation& operator=(const AttachedStation&) = delete;

  // In the order of StationDescriptor; the caller adds those of the whole mesh.
  [[nodiscard]] int in_to_pass() const noexcept { return in_to_pass_.get(); }
  [[nodiscard]] int out_to_pass() const noexcept { return out_to_pass_.get(); }
  // Passed: the engine keeps the mappings alone.
  void forget_descriptors() noexcept;

  [[nodiscard]] const NewStation& about() const noexcept { return about_; }
  [[nodiscard]] std::span<std::byte> in() const noexcept { return in_.writable_bytes(); }
  [[nodiscard]] std::span<const std::byte> out() const noexcept { return out_.bytes(); }
  [[nodiscard]] const shm::EventFd& wake() const noexcept { return wake_; }

 private:
  struct Memories {
    shm::Mapping in, out;
    shm::EventFd wake;
  };
  AttachedStation(MeshFiles& files, NewStation about, Memories memories);

  MeshFiles* files_;
  NewStation about_;
  shm::Mapping in_;
  shm::Mapping out_;
  shm::EventFd wake_;
  shm::Descriptor in_to_pass_;
  shm::Descriptor out_to_pass_;
};

}  // namespace mesh::engine
