#include "engine/observed_mesh.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "engine/station/control_protocol.hpp"
#include "shm/files.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

constexpr std::string_view kStationPrefix = "station-";
constexpr std::string_view kStationSuffix = ".in";

std::string in_quotes(const std::string& path) { return '"' + path + '"'; }

// Decimal digits alone.
std::optional<std::uint64_t> count_of(std::string_view text) {
  std::uint64_t count = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, count);
  if (text.empty() || error != std::errc{} || stopped != end) return std::nullopt;
  return count;
}

std::string file_of(std::uint16_t station) { return fmt::format("station-{}.in", station); }

// The number in "station-7.in"; none in any other name.
std::optional<std::uint16_t> station_of(std::string_view name) {
  if (!name.starts_with(kStationPrefix) || !name.ends_with(kStationSuffix)) return std::nullopt;
  name.remove_prefix(kStationPrefix.size());
  if (name.size() <= kStationSuffix.size()) return std::nullopt;
  name.remove_suffix(kStationSuffix.size());
  const auto number = count_of(name);
  if (!number || *number == 0 || *number > kMaxStations) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

std::uint64_t parameter(const shm::MappingHeader& header, MemoryParameter which) {
  return header.parameters[static_cast<std::size_t>(which)];
}

}  // namespace

Result<ObservedMesh> ObservedMesh::open(const std::string& directory) {
  auto opened = shm::open_directory(directory);
  if (!opened && opened.error().code == Errc::not_found) {
    return fail(Errc::no_mesh,
                fmt::format("no mesh in {}: there is no such directory", in_quotes(directory)));
  }
  if (!opened) return tl::unexpected<Error>(opened.error());
  ObservedMesh mesh(directory, std::move(*opened));
  MESH_TRY(const shm::MappingHeader header, mesh.header("table"));
  mesh.identity_ = {header.mesh_uuid, header.boot_id, 0};
  mesh.size_ = {.agents = parameter(header, MemoryParameter::agents),
                .agents_per_station = parameter(header, MemoryParameter::agents_per_station)};
  unpack_shape(parameter(header, MemoryParameter::stations), mesh.size_);
  return mesh;
}

// The lock is of the open file description, so that it says nothing of who asks.
EngineSeen ObservedMesh::engine() const {
  const shm::Descriptor lock(::openat(directory_.get(), "lock", O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!lock) return {};
  struct flock whole {};
  whole.l_type = F_RDLCK;
  whole.l_whence = SEEK_SET;
  if (::fcntl(lock.get(), F_OFD_GETLK, &whole) != 0) return {};
  EngineSeen seen{.running = whole.l_type != F_UNLCK, .process = std::nullopt};
  if (!*seen.running) return seen;
  std::array<char, 32> text{};
  const ssize_t size = ::pread(lock.get(), text.data(), text.size(), 0);
  const std::string_view said(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  if (const auto process = count_of(said.substr(0, said.find('\n')))) {
    seen.process = static_cast<std::int64_t>(*process);
  }
  return seen;
}

Result<std::vector<std::uint16_t>> ObservedMesh::stations() const {
  const int listed = ::openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const auto close_list = [](DIR* list) { ::closedir(list); };
  const std::unique_ptr<DIR, decltype(close_list)> list(listed < 0 ? nullptr : ::fdopendir(listed),
                                                        close_list);
  if (list == nullptr) return shm::system_failure("list '" + path_ + "'", errno);
  std::vector<std::uint16_t> found;
  while (const dirent* const entry = ::readdir(list.get())) {
    if (const auto station = station_of(entry->d_name)) found.push_back(*station);
  }
  std::sort(found.begin(), found.end());
  return found;
}

Result<shm::Mapping> ObservedMesh::map(const std::string& name) const {
  auto file = shm::open_file(directory_.get(), name, shm::Access::kReadOnly);
  if (!file && file.error().code == Errc::not_found) {
    return fail(Errc::no_mesh, fmt::format("no mesh in {}: it has no {}", in_quotes(path_), name));
  }
  if (!file) return tl::unexpected<Error>(file.error());
  MESH_TRY(const shm::MemoryIdentity identity, shm::identity_of(file->get(), name));
  if (identity.size_bytes < sizeof(shm::MappingHeader)) {
    return fail(Errc::truncated,
                fmt::format("{} of the mesh in {}: {} bytes, the header alone has {}", name,
                            in_quotes(path_), identity.size_bytes, sizeof(shm::MappingHeader)));
  }
  shm::MappingOptions options;
  options.name = name;
  options.size_bytes = identity.size_bytes;
  return shm::Mapping::map(file->get(), options);
}

Result<shm::MappingHeader> ObservedMesh::header(const std::string& name) const {
  MESH_TRY(const shm::Mapping mapping, map(name));
  return shm::inspect(mapping.bytes());
}

Result<ObservedMesh::Memory> ObservedMesh::attach(shm::Mapping mapping, const shm::Layout& layout,
                                                  std::uint64_t instance) const {
  shm::MappingIdentity expected = identity_;
  expected.instance = instance;
  MESH_TRY(const shm::MappingHeader header, shm::attach(mapping.bytes(), layout, expected));
  return Memory{header, layout, std::move(mapping)};
}

Result<ObservedMesh::Memory> ObservedMesh::table() const {
  MESH_TRY(const shm::Layout layout, table_layout(size_));
  MESH_TRY(shm::Mapping mapping, map("table"));
  return attach(std::move(mapping), layout, 0);
}

Result<ObservedMesh::Memory> ObservedMesh::payload() const {
  MESH_TRY(const shm::Layout layout, payload_layout(size_));
  MESH_TRY(shm::Mapping mapping, map("payload"));
  return attach(std::move(mapping), layout, 0);
}

Result<ObservedMesh::Memory> ObservedMesh::engine_memory() const {
  MESH_TRY(const shm::Layout layout, engine_layout(size_));
  MESH_TRY(shm::Mapping mapping, map("engine"));
  return attach(std::move(mapping), layout, 0);
}

// What the station declared at attach does not stand in its header; sizes go by powers of two, so
// the one that its length and its hash agree with is the one.
Result<ObservedMesh::Memory> ObservedMesh::station_in(std::uint16_t station) const {
  MESH_TRY(shm::Mapping mapping, map(file_of(station)));
  MESH_TRY(const shm::MappingHeader header, shm::inspect(mapping.bytes()));
  for (std::uint64_t agents = 1; agents <= std::bit_ceil(std::uint64_t{kMaxAgents}); agents *= 2) {
    MESH_TRY(const shm::Layout layout,
             station_in_layout(std::min<std::uint64_t>(agents, kMaxAgents)));
    if (layout.hash() == header.layout_hash) return attach(std::move(mapping), layout, station);
  }
  return fail(Errc::layout_mismatch,
              fmt::format("{}: its layout hash {:016x} is none of this binary's", file_of(station),
                          header.layout_hash));
}

}  // namespace mesh::engine
