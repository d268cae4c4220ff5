#include "engine/simulation/scale_up.hpp"

#include <algorithm>

#include "engine/loop/newcomers.hpp"

namespace mesh::engine::simulation {
namespace {

// What the trace hash holds begins with what it is of.
constexpr std::uint64_t kNewcomersMade = 21, kNewcomersAdmitted = 22;

}  // namespace

Result<std::size_t> ScaleUp::make(SimulatedMesh& mesh, HostTime now) {
  const std::vector<std::uint32_t> before = agents_by_cluster(mesh.loop());
  first_slot_ = mesh.slots();
  made_ = now;
  MESH_TRY(const std::vector<AgentId> ids, mesh.make_newcomers());
  const Placement placement = placement_of(mesh.loop(), ids, before);
  ScaleFigures& figures = report_.scale;
  figures.made = awaited_ = ids.size();
  figures.processes = mesh.slots() - first_slot_;
  figures.clusters_filled = placement.clusters_filled;
  figures.clusters_created = placement.clusters_created;
  trace_.add({kNewcomersMade, figures.made, figures.clusters_filled, figures.clusters_created,
              static_cast<std::uint64_t>(to_ns(now))});
  return mesh.slots() - first_slot_;
}

Status ScaleUp::attach(SimulatedMesh& mesh) {
  for (std::size_t slot = first_slot_; slot < mesh.slots(); ++slot)
    MESH_CHECK_OK(mesh.come_back(slot));
  awaited_ = 0;
  return {};
}

void ScaleUp::look(SimulatedMesh& mesh, HostTime now) {
  ScaleFigures& figures = report_.scale;
  const std::uint64_t admitted = mesh.loop().counters().newcomers_admitted;
  if (admitted == figures.admitted) return;
  ++figures.waves;
  figures.wave_max = std::max(figures.wave_max, admitted - figures.admitted);
  if (figures.admitted == 0) figures.first_admitted_ns = (now - made_).count();
  figures.admitted = admitted;
  if (admitted == figures.made) figures.all_admitted_ns = (now - made_).count();
  trace_.add({kNewcomersAdmitted, admitted, static_cast<std::uint64_t>(to_ns(now))});
}

}  // namespace mesh::engine::simulation
