// AttachedStation: what the engine's process holds of one station: its two memories, the eventfd
// that wakes it, and the descriptors that it is given.
//
// Callers     the control thread. The scheduler thread uses the memories between its attach and
//             its detach; they outlive that time.
// Cost        create: allocates both memories in full.
// If the      dies: the memories go with this object; they are never given to another station.
// other side  lies: `out` is sealed against shrinking and growing before it is passed. In `out`
// dies        every byte is input. What is given back after a restart is taken only if it is the
// or lies     memory that was agreed, by its identity and not by what it says of itself.
// Errors      create -> invalid_argument, no_space, capacity, system_error. take_back -> not_yours,
//             system_error.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/adoption.hpp"
#include "engine/mesh_files.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/station_table.hpp"
#include "shm/attach.hpp"
#include "shm/event_fd.hpp"
#include "shm/files.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

Result<AttachToken> random_token();

class AttachedStation {
 public:
  // `wanted`: number, agents, uid, name. The rest is filled in.
  static Result<std::unique_ptr<AttachedStation>> create(MeshFiles& files, StationEntry wanted,
                                                         const shm::FormatOptions& format);
  // What a station of the dead engine gives back, in the order of ReturnDescriptor. On an error
  // `left` is as it was.
  static Result<std::unique_ptr<AttachedStation>> take_back(MeshFiles& files, LeftStation& left,
                                                            std::span<shm::Descriptor> given_back);
  ~AttachedStation();
  AttachedStation(const AttachedStation&) = delete;
  AttachedStation& operator=(const AttachedStation&) = delete;

  // The caller adds those of the whole mesh.
  [[nodiscard]] int in_to_pass() const noexcept { return in_to_pass_.get(); }
  [[nodiscard]] int out_to_pass() const noexcept { return out_to_pass_.get(); }
  // Passed: the engine keeps the mappings alone.
  void forget_descriptors() noexcept;

  [[nodiscard]] const StationEntry& entry() const noexcept { return entry_; }
  [[nodiscard]] std::span<std::byte> in() const noexcept { return in_.writable_bytes(); }
  [[nodiscard]] std::span<const std::byte> out() const noexcept { return out_.bytes(); }
  [[nodiscard]] const shm::EventFd& wake() const noexcept { return wake_; }

 private:
  struct Memories {
    shm::Mapping in, out;
    shm::EventFd wake;
  };
  AttachedStation(MeshFiles& files, StationEntry entry, Memories memories);

  MeshFiles* files_;
  StationEntry entry_;
  shm::Mapping in_;
  shm::Mapping out_;
  shm::EventFd wake_;
  shm::Descriptor in_to_pass_;
  shm::Descriptor out_to_pass_;
};

}  // namespace mesh::engine
