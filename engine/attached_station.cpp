#include "engine/attached_station.hpp"

#include <utility>

#include "engine/memory_map.hpp"

namespace mesh::engine {
namespace {

std::string file_of(std::uint16_t number) { return "station-" + std::to_string(number) + ".in"; }

shm::FormatOptions format_of(const NewStation& station) {
  shm::FormatOptions options = station.format;
  options.identity.instance = station.number;
  return options;
}

// The header is written through a mapping of its own; the engine reads, the station writes.
Result<shm::Mapping> map_out(const shm::SealedMemory& memory, const shm::Layout& layout,
                             const NewStation& station) {
  shm::MappingOptions options;
  options.name = "station-" + std::to_string(station.number) + ".out";
  options.size_bytes = layout.total_bytes();
  options.access = shm::Access::kReadWrite;
  {
    MESH_TRY(const shm::Mapping once, shm::Mapping::map(memory.descriptor.get(), options));
    MESH_CHECK_OK(shm::format(once.writable_bytes(), layout, format_of(station)));
  }
  options.access = shm::Access::kReadOnly;
  return shm::Mapping::map(memory.descriptor.get(), options);
}

}  // namespace

AttachedStation::AttachedStation(MeshFiles& files, NewStation about, Memories memories)
    : files_(&files),
      about_(std::move(about)),
      in_(std::move(memories.in)),
      out_(std::move(memories.out)),
      wake_(std::move(memories.wake)) {}

Result<std::unique_ptr<AttachedStation>> AttachedStation::create(MeshFiles& files,
                                                                 const NewStation& station) {
  MESH_TRY(const shm::Layout in_layout, station_in_layout(station.agents));
  MESH_TRY(const shm::Layout out_layout, station_out_layout(station.agents));
  MESH_TRY(shm::EventFd wake, shm::EventFd::create());
  MESH_TRY(shm::SealedMemory sealed,
           shm::create_sealed_memory("station-" + std::to_string(station.number) + ".out",
                                     out_layout.total_bytes()));
  MESH_TRY(shm::Mapping out, map_out(sealed, out_layout, station));
  MESH_TRY(shm::Mapping in, files.create(file_of(station.number), in_layout));
  std::unique_ptr<AttachedStation> made(new AttachedStation(
      files, station, Memories{std::move(in), std::move(out), std::move(wake)}));
  // From here on the file goes with the object.
  MESH_CHECK_OK(shm::format(made->in(), in_layout, format_of(station)));
  MESH_TRY(made->in_to_pass_, files.open_to_pass(file_of(station.number)));
  made->out_to_pass_ = std::move(sealed.descriptor);
  return made;
}

AttachedStation::~AttachedStation() { files_->remove(file_of(about_.number)); }

void AttachedStation::forget_descriptors() noexcept {
  in_to_pass_.close();
  out_to_pass_.close();
}

}  // namespace mesh::engine
