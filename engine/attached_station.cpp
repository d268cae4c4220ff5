#include "engine/attached_station.hpp"

#include <cerrno>
#include <utility>

#include <sys/random.h>

#include "engine/memory_map.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

std::string out_name(std::uint16_t number) { return "station-" + std::to_string(number) + ".out"; }

shm::FormatOptions format_of(const StationEntry& entry, shm::FormatOptions format) {
  format.identity.instance = entry.number;
  return format;
}

// The header is written through a mapping of its own; the engine reads, the station writes.
Result<shm::Mapping> map_out(const shm::SealedMemory& memory, const shm::Layout& layout,
                             const StationEntry& entry, const shm::FormatOptions& format) {
  shm::MappingOptions options;
  options.name = out_name(entry.number);
  options.size_bytes = layout.total_bytes();
  options.access = shm::Access::kReadWrite;
  {
    MESH_TRY(const shm::Mapping once, shm::Mapping::map(memory.descriptor.get(), options));
    MESH_CHECK_OK(shm::format(once.writable_bytes(), layout, format_of(entry, format)));
  }
  options.access = shm::Access::kReadOnly;
  return shm::Mapping::map(memory.descriptor.get(), options);
}

}  // namespace

Result<AttachToken> random_token() {
  AttachToken token{};
  if (::getrandom(token.data(), sizeof token, 0) != static_cast<ssize_t>(sizeof token)) {
    return shm::system_failure("getrandom", errno);
  }
  return token;
}

AttachedStation::AttachedStation(MeshFiles& files, StationEntry entry, Memories memories)
    : files_(&files),
      entry_(std::move(entry)),
      in_(std::move(memories.in)),
      out_(std::move(memories.out)),
      wake_(std::move(memories.wake)) {}

Result<std::unique_ptr<AttachedStation>> AttachedStation::create(MeshFiles& files,
                                                                 StationEntry wanted,
                                                                 const shm::FormatOptions& format) {
  MESH_TRY(const shm::Layout in_layout, station_in_layout(wanted.agents));
  MESH_TRY(const shm::Layout out_layout, station_out_layout(wanted.agents));
  MESH_TRY(wanted.token, random_token());
  MESH_TRY(shm::EventFd wake, shm::EventFd::create());
  MESH_TRY(shm::SealedMemory sealed,
           shm::create_sealed_memory(out_name(wanted.number), out_layout.total_bytes()));
  wanted.out = sealed.identity;
  MESH_TRY(shm::Mapping out, map_out(sealed, out_layout, wanted, format));
  const std::string file = station_in_file(wanted.number);
  MESH_TRY(shm::Mapping in, files.create(file, in_layout));
  std::unique_ptr<AttachedStation> made(new AttachedStation(
      files, std::move(wanted), Memories{std::move(in), std::move(out), std::move(wake)}));
  // From here on the file goes with the object.
  MESH_CHECK_OK(shm::format(made->in(), in_layout, format_of(made->entry_, format)));
  MESH_TRY(made->in_to_pass_, files.open_to_pass(file));
  made->out_to_pass_ = std::move(sealed.descriptor);
  return made;
}

Result<std::unique_ptr<AttachedStation>> AttachedStation::take_back(
    MeshFiles& files, LeftStation& left, std::span<shm::Descriptor> given_back) {
  const StationEntry& entry = left.entry;
  const auto not_yours = [&](const Error& why) {
    return fail(Errc::not_yours,
                "reattach station " + std::to_string(entry.number) + ": " + why.sentence,
                why.detail);
  };
  if (given_back.size() != kReturnDescriptors) {
    return not_yours({Errc::wrong_descriptor_count, static_cast<std::int64_t>(given_back.size()),
                      std::to_string(given_back.size()) + " descriptors, agreed were " +
                          std::to_string(kReturnDescriptors)});
  }
  const int out_fd = given_back[static_cast<std::size_t>(ReturnDescriptor::out)].get();
  if (const Status same = shm::accept_memfd(out_fd, entry.out, out_name(entry.number)); !same) {
    return not_yours(same.error());
  }
  auto wake = shm::EventFd::adopt(
      std::move(given_back[static_cast<std::size_t>(ReturnDescriptor::station_wake)]));
  if (!wake) return not_yours(wake.error());
  shm::MappingOptions options;
  options.name = out_name(entry.number);
  options.size_bytes = entry.out.size_bytes;
  MESH_TRY(shm::Mapping out, shm::Mapping::map(out_fd, options));
  MESH_TRY(shm::Descriptor in_to_pass, files.open_to_pass(station_in_file(entry.number)));
  std::unique_ptr<AttachedStation> made(new AttachedStation(
      files, entry, Memories{std::move(left.in), std::move(out), std::move(*wake)}));
  made->in_to_pass_ = std::move(in_to_pass);
  return made;
}

AttachedStation::~AttachedStation() { files_->remove(station_in_file(entry_.number)); }

void AttachedStation::forget_descriptors() noexcept {
  in_to_pass_.close();
  out_to_pass_.close();
}

}  // namespace mesh::engine
