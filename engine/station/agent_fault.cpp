#include "engine/station/agent_fault.hpp"

#include <string>

#include "shm/row_seqlock.hpp"

namespace mesh::engine {

Result<FaultView> FaultView::over(const shm::Layout& layout, std::span<const std::byte> table) {
  FaultView view;
  MESH_TRY(const auto armed, layout.array<ShmWord<std::uint8_t>>(table, "chaos.armed"));
  MESH_TRY(const auto generation, layout.array<ShmWord<std::uint64_t>>(table, "chaos.generation"));
  if (armed.empty() || generation.empty())
    return fail(Errc::truncated, layout.name() + ": chaos.armed or chaos.generation is empty");
  view.armed = armed.data();
  view.generation = generation.data();
#define MESH_BIND_FAULT(name, T, values, meaning) \
  MESH_TRY(view.rows.name, layout.column<T>(table, "chaos." #name));
  MESH_FAULT_COLUMNS(MESH_BIND_FAULT)
#undef MESH_BIND_FAULT
  return view;
}

bool FaultView::read(std::size_t row, AgentFault& fault) const noexcept {
  const shm::RowReader<HostMemory> reader(rows.sequence);
  const auto status = reader.read(row, [&](const shm::RowLoads<HostMemory>& loads) {
    fault.agent = loads.load(rows.agent);
    fault.injection = loads.load(rows.injection);
    fault.expires_ns = loads.load(rows.expires_ns);
    fault.kind = static_cast<AgentFaultKind>(loads.load(rows.kind));
    fault.rate_ppm = loads.load(rows.rate_ppm);
    fault.bits = loads.load(rows.bits);
    fault.add_ns = loads.load(rows.add_ns);
    fault.jitter_ns = loads.load(rows.jitter_ns);
  });
  return status == shm::ReadStatus::kRead;
}

}  // namespace mesh::engine
