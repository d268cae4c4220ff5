#include "shm/attach.hpp"

#include <algorithm>
#include <cstdio>
#include <string>

#include "shm/hash.hpp"

namespace mesh::shm {
namespace {

using Word = ShmWord<std::uint64_t>;

std::string hex(std::uint64_t value) {
  char text[24];
  const int size =
      std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(value));
  return std::string(text, static_cast<std::size_t>(size));
}

std::uint64_t checksum_of(MappingHeader header) noexcept {
  header.checksum = 0;
  return hash64(std::as_bytes(std::span(&header, 1)));
}

Status check_place(std::span<const std::byte> mapping) {
  if (mapping.size() < sizeof(MappingHeader)) {
    return fail(Errc::truncated,
                "mapping: " + std::to_string(mapping.size()) + " bytes, the header alone has " +
                    std::to_string(sizeof(MappingHeader)),
                static_cast<std::int64_t>(mapping.size()));
  }
  if (reinterpret_cast<std::uintptr_t>(mapping.data()) % kIsolation != 0) {
    return fail(Errc::misaligned, "mapping: its first byte is not on a boundary of " +
                                      std::to_string(kIsolation) + " bytes");
  }
  return {};
}

// The fields that stand in the same place in every version, in the order in which they decide how
// the next ones are read.
Status check_origin(const MappingHeader& header) {
  if (header.magic == 0) {
    return fail(Errc::bad_magic,
                "mapping: no magic: its creator has not finished, or died before it had");
  }
  if (header.magic == __builtin_bswap64(kMappingMagic) ||
      (header.magic == kMappingMagic && header.byte_order == __builtin_bswap32(kByteOrderMark))) {
    return fail(Errc::endianness_mismatch, "mapping: byte order mark " + hex(header.byte_order) +
                                               ", this machine's is " + hex(kByteOrderMark));
  }
  if (header.magic != kMappingMagic) {
    return fail(Errc::bad_magic,
                "mapping: magic " + hex(header.magic) + ", expected " + hex(kMappingMagic));
  }
  if (header.byte_order != kByteOrderMark) {
    return fail(Errc::corrupt, "mapping: byte order mark " + hex(header.byte_order) +
                                   ", expected " + hex(kByteOrderMark));
  }
  if (header.abi_version != kHeaderAbiVersion) {
    return fail(Errc::version_skew,
                "mapping: header version " + std::to_string(header.abi_version) +
                    ", this binary knows " + std::to_string(kHeaderAbiVersion),
                header.abi_version);
  }
  return {};
}

Status check_identity(const MappingHeader& header, const Layout& layout,
                      const MappingIdentity& expected) {
  const std::string who = "mapping " + layout.name() + ": ";
  if (header.mesh_uuid != expected.mesh_uuid) {
    return fail(Errc::not_yours, who + "mesh " + to_text(header.mesh_uuid) + ", expected " +
                                     to_text(expected.mesh_uuid));
  }
  if (header.boot_id != expected.boot_id) {
    return fail(Errc::not_yours, who + "written in boot " + to_text(header.boot_id) +
                                     ", this is boot " + to_text(expected.boot_id));
  }
  if (header.instance != expected.instance) {
    return fail(Errc::not_yours, who + "instance " + std::to_string(header.instance) +
                                     ", expected " + std::to_string(expected.instance));
  }
  return {};
}

}  // namespace

MappingHeader make_header(const Layout& layout, const FormatOptions& options) noexcept {
  MappingHeader header{};
  header.magic = kMappingMagic;
  header.byte_order = kByteOrderMark;
  header.abi_version = kHeaderAbiVersion;
  header.layout_hash = layout.hash();
  header.layout_version = layout.version();
  header.kind = layout.kind();
  header.page_bytes = static_cast<std::uint32_t>(layout.page_bytes());
  header.header_bytes = sizeof(MappingHeader);
  header.total_bytes = layout.total_bytes();
  header.created_ns = options.created_ns;
  header.mesh_uuid = options.identity.mesh_uuid;
  header.boot_id = options.identity.boot_id;
  header.instance = options.identity.instance;
  header.parameters = options.parameters;
  header.checksum = checksum_of(header);
  return header;
}

Status format(std::span<std::byte> mapping, const Layout& layout, const FormatOptions& options) {
  MESH_CHECK_OK(check_place(mapping));
  if (mapping.size() != layout.total_bytes()) {
    const Errc code =
        mapping.size() < layout.total_bytes() ? Errc::truncated : Errc::layout_mismatch;
    return fail(code, "format " + layout.name() + ": the mapping has " +
                          std::to_string(mapping.size()) + " bytes, the layout " +
                          std::to_string(layout.total_bytes()));
  }
  Word* const words = reinterpret_cast<Word*>(mapping.data());
  const std::uint64_t magic = words[0].load_relaxed();  // relaxed: only this process writes it
  if (magic != 0) {
    return fail(Errc::already_exists,
                "format " + layout.name() + ": it begins with " + hex(magic) + " already");
  }
  store_header<HostMemory>(words, make_header(layout, options));
  return {};
}

Result<MappingHeader> inspect(std::span<const std::byte> mapping) {
  MESH_CHECK_OK(check_place(mapping));
  const MappingHeader header =
      load_header<HostMemory>(reinterpret_cast<const Word*>(mapping.data()));
  MESH_CHECK_OK(check_origin(header));
  // Before any other field: one that rotted is corrupt; one that differs is another build's.
  const std::uint64_t checksum = checksum_of(header);
  if (header.checksum != checksum) {
    return fail(Errc::corrupt, "mapping: header checksum " + hex(header.checksum) +
                                   ", its bytes give " + hex(checksum));
  }
  const auto is_zero = [](std::uint8_t byte) { return byte == 0; };
  if (header.header_bytes != sizeof(MappingHeader) ||
      !std::all_of(header.reserved.begin(), header.reserved.end(), is_zero)) {
    return fail(Errc::corrupt, "mapping: header of " + std::to_string(header.header_bytes) +
                                   " bytes with its reserved bytes in use, expected " +
                                   std::to_string(sizeof(MappingHeader)) + " and zeros");
  }
  if (header.total_bytes != mapping.size()) {
    const Errc code = header.total_bytes > mapping.size() ? Errc::truncated : Errc::corrupt;
    return fail(code,
                "mapping: its header says " + std::to_string(header.total_bytes) +
                    " bytes, it has " + std::to_string(mapping.size()),
                static_cast<std::int64_t>(mapping.size()));
  }
  return header;
}

Result<MappingHeader> attach(std::span<const std::byte> mapping, const Layout& layout,
                             const MappingIdentity& expected) {
  MESH_TRY(const MappingHeader header, inspect(mapping));
  const std::string who = "mapping " + layout.name() + ": ";
  if (header.page_bytes != layout.page_bytes()) {
    return fail(Errc::page_size_mismatch,
                who + "pages of " + std::to_string(header.page_bytes) +
                    " bytes, this machine's have " + std::to_string(layout.page_bytes()),
                header.page_bytes);
  }
  if (header.kind != layout.kind()) {
    return fail(Errc::layout_mismatch, who + "kind " + std::to_string(header.kind) + ", expected " +
                                           std::to_string(layout.kind()));
  }
  if (header.layout_version != layout.version()) {
    return fail(Errc::version_skew,
                who + "layout version " + std::to_string(header.layout_version) +
                    ", this binary knows " + std::to_string(layout.version()),
                header.layout_version);
  }
  if (header.layout_hash != layout.hash() || header.total_bytes != layout.total_bytes()) {
    return fail(Errc::layout_mismatch, who + "layout hash " + hex(header.layout_hash) + " over " +
                                           std::to_string(header.total_bytes) +
                                           " bytes, this binary's is " + hex(layout.hash()) +
                                           " over " + std::to_string(layout.total_bytes()));
  }
  MESH_CHECK_OK(check_identity(header, layout, expected));
  return header;
}

}  // namespace mesh::shm
