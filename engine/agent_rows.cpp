#include "engine/agent_rows.hpp"

namespace mesh::engine::agent_rows_detail {

Result<RegionBytes> region_bytes(const shm::Layout& layout, std::span<std::byte> mapping,
                                 std::string_view column, std::size_t row_bytes) {
  const std::string name = "agent." + std::string(column);
  const shm::Region* const region = layout.find(name);
  if (region == nullptr) {
    return fail(Errc::not_found, layout.name() + " has no region " + name);
  }
  if (region->element_bytes != row_bytes) {
    return fail(Errc::layout_mismatch,
                layout.name() + " " + name + ": " + std::to_string(region->element_bytes) +
                    " bytes a row, this binary knows " + std::to_string(row_bytes));
  }
  MESH_TRY(const auto bytes,
           shm::resolve(mapping, shm::Offset<std::byte>{region->offset}, region->size_bytes));
  return RegionBytes{bytes, region->count};
}

}  // namespace mesh::engine::agent_rows_detail
