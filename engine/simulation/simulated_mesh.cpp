#include "engine/simulation/simulated_mesh.hpp"

#include <algorithm>
#include <string>

#include "engine/loop/context_holds.hpp"
#include "engine/loop/newcomers.hpp"
#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"

namespace mesh::engine::simulation {
namespace {

constexpr std::uint32_t kUid = 1'000;
// What fault_plan.hpp makes at most, and some that are on their way out.
constexpr std::uint64_t kMoreStations = 8'192;
constexpr std::int64_t kUnixOffsetNs = 1'700'000'000 * kNsPerSecond;

struct NobodyWaits : Wakes {
  void wake(StationId /*station*/) noexcept override {}
};
NobodyWaits nobody_waits;

LoopOptions loop_options(const Scenario& scenario) {
  LoopOptions options;
  options.bucket = Nanos{scenario.bucket};
  options.upkeep = Nanos{scenario.upkeep};
  options.model = static_cast<sched::Model>(scenario.model);
  options.tolerance = Nanos{scenario.tolerance};
  options.unix_offset_ns = kUnixOffsetNs;
  // Who is away keeps its name for as long as the run lasts.
  options.agent_ttl = Nanos{2 * scenario.length + 86'400 * kNsPerSecond};
  health::BreakerOptions& breakers = options.watch.breakers;
  breakers.window = Nanos{scenario.breaker_window};
  breakers.crash_grace = Nanos{scenario.crash_grace};
  breakers.open = Nanos{scenario.breaker_open};
  breakers.probe_retry = Nanos{scenario.probe_retry};
  breakers.half_open = Nanos{scenario.half_open};
  options.watch.modes.enter_after = Nanos{scenario.mode_enter};
  options.watch.modes.leave_after = Nanos{scenario.mode_leave};
  options.newcomers = {.warm_ups = static_cast<std::uint32_t>(scenario.scale_warm_ups),
                       .every = Nanos{scenario.scale_wave_every},
                       .share_percent = static_cast<std::uint32_t>(scenario.scale_wave_percent)};
  if (scenario.context_share != 0) options.context_wait = Nanos{scenario.context_wait};
  return options;
}

}  // namespace

Result<std::unique_ptr<SimulatedMesh>> SimulatedMesh::create(const Scenario& scenario,
                                                             const Population& population,
                                                             const MeshClock& clock) {
  std::unique_ptr<SimulatedMesh> made(new SimulatedMesh(scenario, population, clock));
  MESH_CHECK_OK(made->start_loop());
  MESH_CHECK_OK(made->start());
  return made;
}

Status SimulatedMesh::start_loop() {
  const std::uint64_t agents = std::uint64_t{population_.size()} + population_.newcomers();
  size_ = {.agents = agents,
           .stations = std::min<std::uint64_t>(
               static_cast<std::uint64_t>(scenario_.stations) + kMoreStations, kMaxStations),
           .agents_per_station = agents};
  MESH_TRY(const shm::Layout table, table_layout(size_));
  MESH_TRY(const shm::Layout payload, payload_layout(size_));
  MESH_TRY(const shm::Layout engine, engine_layout(size_));
  MESH_TRY(table_, PrivateMemory::create(table.total_bytes()));
  MESH_TRY(payload_, PrivateMemory::create(payload.total_bytes()));
  MESH_TRY(engine_, PrivateMemory::create(engine.total_bytes()));
  memory_bytes_ = table.total_bytes() + payload.total_bytes() + engine.total_bytes();
  MESH_CHECK_OK(create_loop());
  const std::span<const std::byte> shown = table_.bytes();
  MESH_TRY(auto view, health::HealthView::over(table, shown));
  view_.emplace(std::move(view));
  MESH_TRY(sector_, table.column<std::uint32_t>(shown, "agent.sector"));
  MESH_TRY(cluster_, table.column<std::uint32_t>(shown, "agent.cluster"));
  MESH_TRY(history_, table.column<std::uint8_t>(shown, "agent.history"));
  MESH_TRY(role_, table.column<std::uint8_t>(shown, "agent.role"));
  MESH_TRY(shm::EventFd wake, shm::EventFd::create());
  wake_ = std::make_shared<const shm::EventFd>(std::move(wake));
  start_ns_ = clock_.mesh_ns();
  static_cast<void>(loop_->tick(from_ns(start_ns_)));  // the mesh's beginning
  return {};
}

Status SimulatedMesh::create_loop() {
  MESH_TRY(loop_, EngineLoop::create({size_, table_.bytes(), payload_.bytes(), engine_.bytes()},
                                     loop_options(scenario_), {.wakes = &nobody_waits}));
  return {};
}

Status SimulatedMesh::take_back(Slot& slot) {
  const StationMemory memory = slot.station->memory();
  const StationId number = slot.station->number();
  if (!slot.has_ended) return loop_->readopt(number, memory, kUid);
  MESH_CHECK_OK(loop_->give_up(number, memory.in, memory.agents, from_ns(clock_.mesh_ns())));
  is_number_taken_[static_cast<std::size_t>(number)] = false;
  slot.station.reset();
  return {};
}

Status SimulatedMesh::start_engine(bool adopts) {
  if (!adopts) {
    for (const PrivateMemory* const memory : {&table_, &payload_, &engine_})
      MESH_CHECK_OK(memory->forget());
  }
  MESH_CHECK_OK(create_loop());
  for (Slot& slot : slots_) {
    if (slot.station == nullptr) continue;
    if (adopts) {
      MESH_CHECK_OK(take_back(slot));
    } else if (slot.has_ended) {
      slot.station.reset();
    } else {
      MESH_CHECK_OK(attach(slot));
    }
  }
  return {};
}

Status SimulatedMesh::start() {
  is_number_taken_.resize(std::size_t{kMaxStations} + 1);
  ids_.resize(static_cast<std::size_t>(size_.agents));
  general_ = static_cast<std::size_t>(scenario_.stations);
  const std::uint64_t agents = population_.size();
  for (std::uint64_t i = 0; i < general_; ++i) {
    Slot& slot = slots_.emplace_back();
    const auto begin = static_cast<std::uint32_t>(agents * i / general_);
    const auto end = static_cast<std::uint32_t>(agents * (i + 1) / general_);
    for (std::uint32_t agent = begin; agent < end; ++agent) slot.agents.push_back(agent);
    MESH_CHECK_OK(attach(slot));
  }
  return {};
}

// Numbers count up, and those of processes that ended are given again only when all were.
StationId SimulatedMesh::next_number() noexcept {
  do {
    last_number_ = last_number_ == kMaxStations ? 1 : last_number_ + 1;
  } while (is_number_taken_[last_number_]);
  is_number_taken_[last_number_] = true;
  return static_cast<StationId>(static_cast<std::uint16_t>(last_number_));
}

Status SimulatedMesh::attach(Slot& slot) {
  const StationId number = next_number();
  MESH_TRY(slot.station, SimulatedStation::create(number,
                                                  {.size = size_,
                                                   .table = table_.bytes(),
                                                   .payload = payload_.bytes(),
                                                   .clock = &clock_,
                                                   .mesh_start_ns = start_ns_,
                                                   .wake = wake_},
                                                  slot.agents));
  const StationMemory memory = slot.station->memory();
  if (slot.epoch == 0) memory_bytes_ += memory.in.size() + memory.out.size();
  MESH_CHECK_OK(loop_->attach(number, memory, kUid));
  std::vector<std::string> names;
  std::vector<AgentSpec> specs;
  names.reserve(slot.agents.size());
  for (const std::uint32_t agent : slot.agents) {
    names.push_back("agent-" + std::to_string(agent));
    specs.push_back({names.back(), population_.agent(agent).agent_class});
  }
  MESH_TRY(const std::vector<AgentId> ids, loop_->enrol(number, specs));
  for (std::size_t i = 0; i < ids.size(); ++i) ids_[slot.agents[i]] = ids[i];
  slot.has_ended = false;
  ++slot.epoch;
  return slot.station->add(ids);
}

Status SimulatedMesh::move_apart(std::span<const std::vector<std::uint32_t>> groups) {
  for (const std::vector<std::uint32_t>& group : groups) {
    Slot& slot = slots_.emplace_back();
    slot.agents = group;
    MESH_CHECK_OK(attach(slot));
  }
  return {};
}

Result<std::vector<AgentId>> SimulatedMesh::make_newcomers() {
  const std::uint32_t begin = population_.size();
  const std::uint32_t end = begin + population_.newcomers();
  const auto each = static_cast<std::uint32_t>(scenario_.scale_per_process);
  std::vector<Making> making;
  for (std::uint32_t agent = begin; agent < end; ++agent)
    making.push_back({"agent-" + std::to_string(agent), population_.agent(agent).agent_class});
  MESH_TRY(std::vector<AgentId> ids,
           engine::make_newcomers(*loop_, making, kUid, from_ns(clock_.mesh_ns())));
  for (std::uint32_t agent = begin; agent < end; ++agent) {
    ids_[agent] = ids[agent - begin];
    if ((agent - begin) % each == 0) slots_.emplace_back();
    slots_.back().agents.push_back(agent);
  }
  return ids;
}

Status SimulatedMesh::hand_over(std::size_t slot, std::uint32_t agent, std::uint64_t hash) {
  SimulatedStation& station = *slots_[slot].station;
  // Neither side knows yet which of two it is: it does not say.
  MESH_CHECK_OK(station.say_context(ids_[agent], 0));
  MESH_CHECK_OK(loop_->expect_context(ids_[agent], hash));
  return station.say_context(ids_[agent], hash);
}

Status SimulatedMesh::load_context(std::size_t slot, std::uint32_t agent) {
  MESH_TRY(const EngineLoop::KnownAgent known, loop_->known(ids_[agent]));
  MESH_CHECK_OK(slots_[slot].station->say_context(ids_[agent], known.context_hash));
  MESH_TRY(const bool was_held,
           release_for_context(*loop_, ids_[agent], from_ns(clock_.mesh_ns())));
  MESH_ASSERT(was_held);
  return {};
}

std::uint32_t SimulatedMesh::sector(std::uint32_t agent) const noexcept {
  // relaxed: written by this thread.
  return sector_.load_relaxed(static_cast<std::size_t>(index_of(ids_[agent])));
}
std::uint32_t SimulatedMesh::cluster(std::uint32_t agent) const noexcept {
  // relaxed: written by this thread.
  return cluster_.load_relaxed(static_cast<std::size_t>(index_of(ids_[agent])));
}
std::uint8_t SimulatedMesh::role(std::uint32_t agent) const noexcept {
  // relaxed: written by this thread.
  return role_.load_relaxed(static_cast<std::size_t>(index_of(ids_[agent])));
}
bool SimulatedMesh::has_history(std::uint32_t agent) const noexcept {
  // relaxed: written by this thread.
  return history_.load_relaxed(static_cast<std::size_t>(index_of(ids_[agent]))) != 0;
}

bool SimulatedMesh::end_process(std::size_t slot) noexcept {
  Slot& its = slots_[slot];
  if (its.has_ended) return false;
  its.has_ended = true;
  return true;
}

void SimulatedMesh::let_go(std::size_t slot) {
  Slot& its = slots_[slot];
  if (!its.has_ended || its.station == nullptr) return;  // another fault was faster
  loop_->detach(its.station->number(), from_ns(clock_.mesh_ns()));
  is_number_taken_[static_cast<std::size_t>(its.station->number())] = false;
  its.station.reset();
}

Status SimulatedMesh::come_back(std::size_t slot) {
  Slot& its = slots_[slot];
  if (its.station != nullptr) return {};
  return attach(its);
}

}  // namespace mesh::engine::simulation
