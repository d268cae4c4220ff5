// A mapping that a hostile process wrote: header, checksum right or wrong, offsets into it.
#include <cstring>

#include "shm/attach.hpp"
#include "shm/base/assert.hpp"
#include "shm/hash.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {
namespace {

constexpr std::size_t kPage = 4096;

const shm::Layout& layout() {
  static const shm::Layout built =
      shm::LayoutBuilder({.name = "sample", .kind = 7, .version = 3, .page_bytes = kPage})
          .add(shm::region_of<std::uint32_t>("state", 100, "engine"))
          .add(shm::region_of<std::uint64_t>("words", 20, "engine"))
          .build()
          .value();
  return built;
}

const shm::FormatOptions kOptions = {
    .identity = {.mesh_uuid = {1, 2, 3}, .boot_id = {4, 5, 6}, .instance = 42},
    .created_ns = 1'700'000'000'000'000'000,
    .parameters = {30'000, 128, 0, 9},
};

enum Repair : std::uint8_t { kChecksum = 1, kStartFromAGoodHeader = 2, kTwoPages = 4 };

// Each 3 bytes of input change one byte of the header; what a fuzzer would never hit is repaired.
void damage(std::span<std::byte> mapping, FuzzInput& input, std::uint8_t repair) {
  auto header = (repair & kStartFromAGoodHeader) != 0 ? shm::make_header(layout(), kOptions)
                                                      : shm::MappingHeader{};
  std::byte image[sizeof header];
  std::memcpy(image, &header, sizeof header);
  for (std::size_t changes = input.take<std::uint8_t>() % 64; changes != 0; --changes) {
    const auto at = input.take<std::uint8_t>();
    image[at] = input.take<std::byte>();
  }
  std::memcpy(&header, image, sizeof header);
  if ((repair & kChecksum) != 0) {
    header.checksum = 0;
    header.checksum = shm::hash64(std::as_bytes(std::span(&header, 1)));
  }
  std::memcpy(mapping.data(), &header, std::min(mapping.size(), sizeof header));
}

void check_offsets(std::span<const std::byte> mapping, FuzzInput& input) {
  const auto offset = input.take<std::uint64_t>();
  const auto count = static_cast<std::size_t>(input.take<std::uint64_t>());
  const auto words = shm::resolve(mapping, shm::Offset<std::uint64_t>{offset}, count);
  if (!words || words->empty()) return;
  const auto* const first = reinterpret_cast<const std::byte*>(words->data());
  const auto* const last = reinterpret_cast<const std::byte*>(&words->back());
  MESH_ASSERT(first >= mapping.data());
  MESH_ASSERT(last + sizeof(std::uint64_t) <= mapping.data() + mapping.size());
  MESH_ASSERT(reinterpret_cast<std::uintptr_t>(first) % alignof(std::uint64_t) == 0);
}

}  // namespace

void fuzz_one(std::span<const std::byte> bytes) {
  FuzzInput input(bytes);
  const auto repair = input.take<std::uint8_t>();
  const auto cut = input.take<std::uint16_t>();  // bytes that are missing at the end
  const std::size_t whole = (repair & kTwoPages) != 0 ? 2 * kPage : kPage;
  const ExactMemory memory(whole - std::min<std::size_t>(cut, whole), kPage);
  damage(memory.bytes(), input, repair);

  const std::span<const std::byte> mapping = memory.bytes();
  const auto inspected = shm::inspect(mapping);
  const auto attached = shm::attach(mapping, layout(), kOptions.identity);
  MESH_ASSERT(inspected || !attached);
  MESH_ASSERT(inspected || !inspected.error().sentence.empty());
  MESH_ASSERT(attached || !attached.error().sentence.empty());
  if (inspected) MESH_ASSERT(inspected->total_bytes == mapping.size());
  if (attached) {
    MESH_ASSERT(attached->mesh_uuid == kOptions.identity.mesh_uuid);
    MESH_ASSERT(attached->layout_hash == layout().hash());
    MESH_ASSERT(layout().array<std::uint32_t>(mapping, "state").value().size() == 100);
    MESH_ASSERT(layout().array<std::uint64_t>(mapping, "words").value().size() == 20);
  }
  check_offsets(mapping, input);
}

}  // namespace mesh::testing
