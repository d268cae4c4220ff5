#include "engine/agent_row_views.hpp"

#include <string>
#include <string_view>

namespace mesh::engine {
namespace {

using Loads = shm::RowLoads<HostMemory>;
template <class T>
using View = shm::ColumnView<HostMemory, T>;

struct Wanted {
  std::string_view column;
  std::size_t row_bytes = 0;
  std::size_t words = 1;
};

template <class T>
Status bind_view(const shm::Layout& layout, std::span<const std::byte> mapping,
                 const Wanted& wanted, View<T>& view) {
  const std::string name = "agent." + std::string(wanted.column);
  const shm::Region* const region = layout.find(name);
  if (region == nullptr) {
    return fail(Errc::not_found, layout.name() + " has no region " + name);
  }
  if (region->element_bytes != wanted.row_bytes) {
    return fail(Errc::layout_mismatch,
                layout.name() + " " + name + ": " + std::to_string(region->element_bytes) +
                    " bytes a row, this binary knows " + std::to_string(wanted.row_bytes));
  }
  MESH_TRY(const auto bytes,
           shm::resolve(mapping, shm::Offset<std::byte>{region->offset}, region->size_bytes));
  MESH_TRY(view, View<T>::over(bytes, region->count * wanted.words));
  return {};
}

template <class T>
void load(const Loads& loads, const View<T>& view, T& value) {
  value = loads.load(view);
}
template <std::size_t words>
void load(const Loads& loads, const View<std::uint64_t>& view,
          std::array<std::uint64_t, words>& value) {
  for (std::size_t i = 0; i < words; ++i) value[i] = Loads(loads.row() * words + i).load(view);
}

}  // namespace

Result<AgentRowViews> AgentRowViews::in(const shm::Layout& layout,
                                        std::span<const std::byte> mapping) {
  AgentRowViews bound;
#define MESH_BIND_VIEW(name, T, values, meaning)                                              \
  MESH_CHECK_OK(bind_view(                                                                    \
      layout, mapping,                                                                        \
      Wanted{#name, sizeof(T) * (values), agent_row_views_detail::ReadAs<T, values>::kWords}, \
      bound.name##_));
  MESH_AGENT_COLUMNS(MESH_BIND_VIEW)
#undef MESH_BIND_VIEW
  return bound;
}

shm::ReadStatus AgentRowViews::read(std::size_t row, AgentRow& copy) const noexcept {
  const shm::RowReader<HostMemory> reader(sequence_);
  return reader.read(row, [&](const Loads& loads) {
#define MESH_LOAD_VIEW(name, T, values, meaning) load(loads, name##_, copy.name);
    MESH_AGENT_COLUMNS(MESH_LOAD_VIEW)
#undef MESH_LOAD_VIEW
  });
}

}  // namespace mesh::engine
