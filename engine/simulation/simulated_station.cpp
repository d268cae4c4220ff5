#include "engine/simulation/simulated_station.hpp"

#include <utility>

namespace mesh::engine::simulation {

Result<std::unique_ptr<SimulatedStation>> SimulatedStation::create(
    StationId number, const Place& place, std::vector<std::uint32_t> agents) {
  std::unique_ptr<SimulatedStation> station(new SimulatedStation(number, std::move(agents)));
  MESH_CHECK_OK(station->bind(place));
  return station;
}

// The core first: Replies that outlive it go nowhere.
SimulatedStation::~SimulatedStation() { core_.reset(); }

Status SimulatedStation::bind(const Place& place) {
  clock_ = place.clock;
  const auto count = static_cast<std::uint32_t>(agents_.size());
  MESH_TRY(const shm::Layout in, station_in_layout(count));
  MESH_TRY(const shm::Layout out, station_out_layout(count));
  MESH_TRY(in_, PrivateMemory::create(in.total_bytes()));
  MESH_TRY(out_, PrivateMemory::create(out.total_bytes()));
  CoreOptions options;
  options.agents = count;
  options.mesh_agents = place.size.agents;
  MESH_TRY(options.side, StationSide::over(count, in_.bytes(), out_.bytes()));
  MESH_TRY(options.table, TableView::over(place.size, place.table));
  MESH_TRY(options.payload, PayloadView::over(place.size, place.payload));
  options.mesh_start_ns = place.mesh_start_ns;
  options.read_clock = [](void* context) noexcept {
    return static_cast<const MeshClock*>(context)->mesh_ns();
  };
  options.clock_context = const_cast<MeshClock*>(clock_);
  options.wake = place.wake;
  MESH_TRY(core_, StationCore::create(options));
  return {};
}

StationMemory SimulatedStation::memory() const noexcept {
  return {static_cast<std::uint32_t>(agents_.size()), in_.bytes(), out_.bytes()};
}

std::uint32_t SimulatedStation::place_for(Reply reply) {
  if (free_.empty()) {
    held_.emplace_back();
    free_.push_back(static_cast<std::uint32_t>(held_.size() - 1));
  }
  const std::uint32_t at = free_.back();
  free_.pop_back();
  held_[at] = {};
  held_[at].reply = std::move(reply);
  return at;
}

void SimulatedStation::end(std::uint32_t at) {
  Held& its = held_[at];
  if (its.state == sched::TrinaryState::transit) {
    silent_.push_back(std::move(its.reply));
  } else {
    its.reply.received_at(from_ns(its.received_ns));
    const Answer answer = its.state == sched::TrinaryState::ready
                              ? Answer::ready()
                              : Answer::in_conflict(its.conflict, {1, 2});
    core_->answer(std::move(its.reply), answer);
    ++unflushed_;
  }
  free_.push_back(at);
}

}  // namespace mesh::engine::simulation
