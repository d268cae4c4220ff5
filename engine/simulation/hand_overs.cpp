#include "engine/simulation/hand_overs.hpp"

#include <vector>

#include "engine/loop/context_holds.hpp"
#include "engine/simulation/integer_tables.hpp"

namespace mesh::engine::simulation {
namespace {

// What the trace hash holds begins with what it is of.
constexpr std::uint64_t kHandedOver = 23, kContextLoaded = 24, kContextOverdue = 25;

// The slot of each agent: the last that has it, for who was moved apart stands in two.
std::vector<std::size_t> homes_in(const SimulatedMesh& mesh) {
  std::vector<std::size_t> homes;
  for (std::size_t slot = 0; slot < mesh.slots(); ++slot)
    for (const std::uint32_t agent : mesh.agents_of(slot)) {
      if (agent >= homes.size()) homes.resize(agent + std::size_t{1});
      homes[agent] = slot;
    }
  return homes;
}

}  // namespace

bool HandOvers::is_held(const SimulatedMesh& mesh, std::uint32_t agent) noexcept {
  return awaits_context(mesh.loop(), mesh.id(agent));
}

bool HandOvers::has_context(std::uint32_t agent) const noexcept {
  const DrawOf of{seed_, agent};
  return is_within(of.bits(Purpose::has_context), scenario_.context_share);
}

Status HandOvers::hand_over(SimulatedMesh& mesh) {
  ++versions_;
  const std::vector<std::size_t> homes = homes_in(mesh);
  std::uint64_t count = 0;
  for (std::size_t slot = 0; slot < mesh.slots(); ++slot) {
    if (mesh.station(slot) == nullptr) continue;
    for (const std::uint32_t agent : mesh.agents_of(slot)) {
      if (homes[agent] != slot || !has_context(agent)) continue;
      if (is_held(mesh, agent)) continue;  // it has none to hand over yet
      const DrawOf of{seed_, agent, versions_};
      MESH_CHECK_OK(mesh.hand_over(slot, agent, of.bits(Purpose::context) | 1U));
      ++count;
    }
  }
  report_.contexts.handed_over += count;
  trace_.add({kHandedOver, versions_, count});
  return {};
}

void HandOvers::attached(SimulatedMesh& mesh, std::size_t slot, const MeshClock& clock,
                         EventQueue& events) {
  look(mesh, from_ns(clock.mesh_ns()));  // who was held in the process before
  if (mesh.station(slot) == nullptr) return;
  const std::uint32_t epoch = mesh.epoch(slot);
  const DrawOf of{seed_, static_cast<std::uint32_t>(slot), epoch};
  const bool is_stuck = is_within(of.bits(Purpose::context_stuck), scenario_.context_stuck);
  std::int64_t at = clock.true_ns();
  for (std::uint32_t place = 0; place < mesh.agents_of(slot).size(); ++place) {
    const std::uint32_t agent = mesh.agents_of(slot)[place];
    if (held_.contains(agent) || !is_held(mesh, agent)) continue;  // it was there already
    ++report_.contexts.held;
    held_[agent] = {slot, epoch, from_ns(clock.mesh_ns())};
    at += scenario_.context_load;
    if (is_stuck) continue;
    events.push({.at = at,
                 .kind = EventKind::context_loaded,
                 .a = static_cast<std::uint32_t>(slot),
                 .b = place,
                 .c = epoch});
  }
}

Status HandOvers::loaded(SimulatedMesh& mesh, const Event& event, HostTime now) {
  if (mesh.station(event.a) == nullptr || mesh.epoch(event.a) != event.c) return {};
  const std::uint32_t agent = mesh.agents_of(event.a)[event.b];
  const auto found = held_.find(agent);
  if (found == held_.end() || !is_held(mesh, agent)) return {};  // it was let go without it
  MESH_CHECK_OK(mesh.load_context(event.a, agent));
  ContextFigures& figures = report_.contexts;
  ++figures.loaded;
  figures.wait_ns.push_back((now - found->second.since).count());
  held_.erase(found);
  trace_.add({kContextLoaded, agent, static_cast<std::uint64_t>(to_ns(now))});
  return {};
}

void HandOvers::look(SimulatedMesh& mesh, HostTime now) {
  if (held_.empty()) return;
  if (has_overdue_contexts(mesh.loop(), now)) release_overdue_contexts(mesh.loop(), now);
  std::erase_if(held_, [&](const auto& one) {
    const auto& [agent, held] = one;
    const bool is_there = mesh.station(held.slot) != nullptr && mesh.epoch(held.slot) == held.epoch;
    if (is_there && is_held(mesh, agent)) return false;
    ++(is_there ? report_.contexts.overdue : report_.contexts.lost);
    trace_.add(
        {kContextOverdue, agent, is_there ? 1U : 0U, static_cast<std::uint64_t>(to_ns(now))});
    return true;
  });
}

}  // namespace mesh::engine::simulation
