#include "engine/loop/operation.hpp"

#include <string>

namespace mesh::engine {
namespace {

struct Slots {
  const shm::Layout& layout;
  std::span<std::byte> memory;
  std::string prefix;
  std::uint32_t count;  // slots of this kind

  // The part of slot `at` in a region of all slots of its kind.
  template <class T>
  Result<std::span<T>> part(const char* name, std::uint32_t at) const {
    const shm::Region* const found = layout.find(prefix + name);
    if (found == nullptr) return fail(Errc::not_found, layout.name() + " has no " + prefix + name);
    const std::size_t each = found->element_bytes * (found->count / count);
    return shm::resolve(memory, shm::Offset<T>{found->offset + at * each}, each / sizeof(T));
  }
};

Status bind(Operation& operation, const Slots& slots, std::uint32_t at, std::uint32_t targets) {
  MESH_TRY(const auto bytes, slots.part<std::byte>("gather", at));
  MESH_TRY(auto gather, sched::Gather<>::over(bytes, targets));
  operation.gather.emplace(std::move(gather));
  MESH_TRY(operation.lead, slots.part<std::int32_t>("lead", at));
  MESH_TRY(operation.predicted, slots.part<std::int32_t>("predicted", at));
  MESH_TRY(operation.sent, slots.part<Operation::Sent>("sent", at));
  MESH_TRY(operation.inbox_place, slots.part<Operation::InboxPlace>("place", at));
  MESH_TRY(operation.key, slots.part<std::uint16_t>("bucket", at));
  MESH_TRY(operation.queue, slots.part<std::uint8_t>("queue", at));
  // Zeroed, so touched: no page fault in the loop.
  operation.order = std::make_unique<std::uint32_t[]>(targets);
  return {};
}

}  // namespace

Result<std::vector<Operation>> bind_operations(const shm::Layout& layout,
                                               std::span<std::byte> memory, std::uint32_t rows) {
  std::vector<Operation> operations(kMaxOperations);
  MESH_TRY(const auto words, layout.array<Operation::Words>(memory, "operations"));
  const Slots wide{layout, memory, "wide.", kMaxWideOperations};
  const Slots narrow{layout, memory, "narrow.", kMaxOperations - kMaxWideOperations};
  for (std::uint32_t slot = 0; slot < kMaxOperations; ++slot) {
    Operation& operation = operations[slot];
    operation.words = &words[slot];
    if (slot < kMaxWideOperations) {
      MESH_CHECK_OK(bind(operation, wide, slot, rows));
      continue;
    }
    const std::uint32_t at = slot - kMaxWideOperations;
    MESH_CHECK_OK(bind(operation, narrow, at, std::min(rows, kWideTargets)));
    MESH_TRY(operation.rows, narrow.part<std::uint32_t>("rows", at));
  }
  return operations;
}

}  // namespace mesh::engine
