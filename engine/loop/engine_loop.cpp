#include "engine/loop/engine_loop.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kPendingLookNs = kNsPerMs;
constexpr std::uint32_t kWheelEntries = 4 * kMaxOperations;

template <class T>
Result<std::span<T>> operation_part(const shm::Layout& layout, std::span<std::byte> mapping,
                                    const char* region, std::uint32_t slot) {
  const shm::Region* const found = layout.find(region);
  if (found == nullptr) return fail(Errc::not_found, layout.name() + " has no " + region);
  const std::size_t each = found->element_bytes * (found->count / kMaxWideOperations);
  return shm::resolve(mapping, shm::Offset<T>{found->offset + slot * each}, each / sizeof(T));
}

Status bind_operations(EngineLoop::State& state, const shm::Layout& layout,
                       std::span<std::byte> memory) {
  state.operations.resize(kMaxWideOperations);
  for (std::uint32_t slot = 0; slot < kMaxWideOperations; ++slot) {
    Operation& operation = state.operations[slot];
    MESH_TRY(const auto bytes, operation_part<std::byte>(layout, memory, "wide.gather", slot));
    MESH_TRY(auto gather, sched::Gather<>::over(bytes, state.row_count));
    operation.gather.emplace(std::move(gather));
    operation.finished_ns.resize(state.row_count);
    MESH_TRY(operation.rows, operation_part<std::uint32_t>(layout, memory, "wide.rows", slot));
    MESH_TRY(operation.lead, operation_part<std::int32_t>(layout, memory, "wide.lead", slot));
    MESH_TRY(operation.sent, operation_part<std::int32_t>(layout, memory, "wide.sent", slot));
    operation.offsets.resize(kBucketsPerOperation + 1);
    operation.eligible.resize((state.row_count + 511) / 512);
  }
  return {};
}

Status bind_tables(EngineLoop::State& state, const LoopMemory& memory) {
  MESH_TRY(const shm::Layout table, table_layout(memory.size));
  MESH_TRY(const shm::Layout payload, payload_layout(memory.size));
  MESH_TRY(const shm::Layout engine, engine_layout(memory.size));
  MESH_TRY(state.agents, AgentRows<HostMemory>::in(table, memory.table));
  MESH_TRY(state.owners, OwnerRows<HostMemory>::in(engine, memory.engine));
  MESH_TRY(auto registry, Registry::create(state.agents, state.owners, {}));
  state.registry.emplace(std::move(registry));
  MESH_TRY(auto topology, Topology::create(state.agents, {}));
  state.topology.emplace(std::move(topology));
  MESH_TRY(const auto header, payload.array<BodyLog::Header>(memory.payload, "log.header"));
  const shm::Region* const log = payload.find("log");
  MESH_TRY(const auto words, shm::resolve(memory.payload, shm::Offset<BodyLog::Word>{log->offset},
                                          log->size_bytes / sizeof(BodyLog::Word)));
  MESH_TRY(state.log, BodyLog::Writer::take_over(words, header.data()));
  return bind_operations(state, engine, memory.engine);
}

}  // namespace

Result<std::unique_ptr<EngineLoop::State>> EngineLoop::State::create(const LoopMemory& memory,
                                                                     const LoopOptions& options,
                                                                     const Outside& outside) {
  if (outside.wakes == nullptr) return fail(Errc::invalid_argument, "engine loop: no wakes");
  if (options.upkeep < Nanos{kNsPerMs} || options.upkeep > Nanos{60 * kNsPerSecond})
    return fail(Errc::invalid_argument,
                "engine loop: upkeep of " + std::to_string(options.upkeep.count()) +
                    " ns; 1 ms to 60 s is needed",
                options.upkeep.count());
  auto state = std::make_unique<State>();
  state->options = options;
  state->outside = outside;
  state->row_count = static_cast<std::uint32_t>(memory.size.agents);
  MESH_CHECK_OK(bind_tables(*state, memory));
  MESH_TRY(auto planner, sched::SendPlanner::create(state->row_count, kBucketsPerOperation));
  state->planner.emplace(std::move(planner));
  MESH_TRY(auto wheel, sched::TimingWheel::create({.capacity = kWheelEntries}));
  state->wheel.emplace(std::move(wheel));
  state->pending = std::make_unique<PendingPool>(
      std::max<std::uint32_t>(kPendingPerPriority, std::bit_ceil(2 * state->row_count)));
  state->stations.resize(kMaxStations + 1);
  state->live.reserve(memory.size.stations);
  state->order.reserve(state->row_count);
  state->place.resize(state->row_count);
  state->active.resize((state->row_count + 511) / 512 * 8);
  state->finished.resize(kMaxOperations);
  state->bodies.resize(kBodies);
  state->routes.resize(kReplyRoutes);
  state->scratch.resize(state->log.body_bytes_max());
  return state;
}

EngineLoop::EngineLoop(std::unique_ptr<State> state) : state_(std::move(state)) {}
EngineLoop::~EngineLoop() = default;

Result<std::unique_ptr<EngineLoop>> EngineLoop::create(const LoopMemory& memory,
                                                       const LoopOptions& options,
                                                       const Outside& outside) {
  MESH_TRY(auto state, State::create(memory, options, outside));
  return std::unique_ptr<EngineLoop>(new EngineLoop(std::move(state)));
}

TickResult EngineLoop::tick(HostTime now) noexcept {
  State& state = *state_;
  state.advance_to(now);
  state.dispatched = 0;
  ++state.counters.ticks;
  bool worked = state.intake();
  worked |= state.plan_operations();
  worked |= state.empty_pending();
  worked |= state.fire_wheel();
  state.reveal_staged();
  worked |= state.gather();
  state.upkeep();
  std::int64_t due = state.wheel->next_due_ns();
  // A station that makes room does not say so: what waits for it is looked after.
  for (const StationLink* const link : state.live)
    if (link->pending_count != 0) due = std::min(due, state.now_ns + kPendingLookNs);
  return {worked, due == sched::TimingWheel::kNever ? HostTime::max() : from_ns(due)};
}

Status EngineLoop::attach(StationId station, const StationMemory& memory, std::uint32_t uid) {
  State& state = *state_;
  const auto number = static_cast<std::size_t>(station);
  if (number == 0 || number >= state.stations.size())
    return fail(Errc::capacity,
                "attach station " + std::to_string(number) + ": this mesh has stations 1 to " +
                    std::to_string(state.stations.size() - 1),
                static_cast<std::int64_t>(state.stations.size() - 1));
  if (state.stations[number] != nullptr)
    return fail(Errc::already_exists,
                "attach station " + std::to_string(number) + ": it is attached");
  MESH_TRY(StationLink link, StationLink::open(station, memory, uid));
  link.heard_ns = state.now_ns;
  PendingPool::clear(link);
  state.stations[number] = std::make_unique<StationLink>(std::move(link));
  state.live.push_back(state.stations[number].get());
  return {};
}

Status EngineLoop::readopt(StationId station, const StationMemory& memory, std::uint32_t uid) {
  MESH_CHECK_OK(attach(station, memory, uid));
  State& state = *state_;
  for (std::uint32_t row = 0; row < state.row_count; ++row)
    if (state.registry->station_of(agent_index(row)) == station)
      state.move_in(*state.link_of(station), row, kNoStation);
  state.order_is_stale = true;
  return {};
}

void EngineLoop::detach(StationId station, HostTime now) {
  State& state = *state_;
  StationLink* const link = state.link_of(station);
  state.advance_to(now);
  if (link == nullptr) {
    std::vector<AgentIndex> gone(kUpkeepRowsPerTick);
    while (state.registry->detach(station, now, gone).more) {
    }
    return;
  }
  state.drain(*link);
  for (std::uint32_t priority = 0; priority < kPriorities; ++priority)
    while (const PendingDelivery* const waiting = state.pending->front(*link, priority)) {
      if (waiting->body != kNoBody) --state.bodies[waiting->body % kBodies].unread;
      state.pending->pop(*link, priority);
    }
  for (; link->mark_tail != link->mark_head; ++link->mark_tail) {
    const InboxMark& mark = link->marks[link->mark_tail % link->marks.size()];
    if (mark.body != kNoBody) state.bodies[mark.body % kBodies].unread -= mark.count;
  }
  for (const std::uint32_t row : link->rows) {
    state.set_active(row, false);
    put(state.agents.queue_depth, row, 0);  // its inbox is gone, and what was in it
  }
  state.forget_routes();
  std::vector<AgentIndex> rows(kUpkeepRowsPerTick);
  while (state.registry->detach(station, now, rows).more) {
  }
  state.order_is_stale = true;
  std::erase(state.live, link);
  state.stations[static_cast<std::size_t>(station)].reset();
  state.free_bodies();
}

bool EngineLoop::is_corrupt(StationId station) const noexcept {
  const StationLink* const link = state_->link_of(station);
  return link != nullptr && link->is_corrupt;
}

Result<std::vector<AgentId>> EngineLoop::enrol(StationId station,
                                               std::span<const AgentSpec> agents) {
  State& state = *state_;
  StationLink* const link = state.link_of(station);
  if (link == nullptr)
    return fail(
        Errc::not_found,
        "enrol: station " + std::to_string(static_cast<unsigned>(station)) + " is not attached");
  std::vector<AgentId> ids;
  ids.reserve(agents.size());
  for (const AgentSpec& agent : agents) {
    const auto known = state.registry->find(agent.name);
    const bool is_here =
        known && state.registry->station_of(index_of(*known)) == station;  // keeps its place
    if (!is_here && link->next_place == link->agents_declared)
      return fail(Errc::capacity,
                  "enrol " + std::string(agent.name) + ": the station declared " +
                      std::to_string(link->agents_declared) + " agents",
                  link->agents_declared);
    const Attachment attachment{.station = station,
                                .agent_class = agent.agent_class,
                                .capabilities = {},
                                .now_mesh_ms = state.mesh_ms()};
    MESH_TRY(const Enrolled enrolled, state.registry->enrol({agent.name, link->uid, attachment}));
    const auto row = static_cast<std::uint32_t>(index_of(enrolled.id));
    if (state.topology->place_of(index_of(enrolled.id)).cluster == kNoPlace) {
      // A mesh larger than its topology has agents without a cluster; they are reached all the
      // same.
      if (const auto place = state.topology->place(index_of(enrolled.id));
          !place && place.error().code != Errc::capacity)
        return tl::unexpected<Error>(place.error());
    }
    if (!is_here) state.move_in(*link, row, enrolled.previous_station);
    state.order_is_stale = true;
    ids.push_back(enrolled.id);
  }
  return ids;
}

Result<OperationId> EngineLoop::open(const OperationRequest& request, HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  return state.open_operation(request);
}

Status EngineLoop::send(AgentId source, AgentId target, std::span<const std::byte> body,
                        HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  const std::size_t bytes = sched::kMessageHeaderBytes + body.size();
  if (bytes > state.scratch.size())
    return fail(Errc::truncated,
                "send: a body of " + std::to_string(body.size()) + " bytes, at most " +
                    std::to_string(state.scratch.size() - sched::kMessageHeaderBytes),
                static_cast<std::int64_t>(body.size()));
  const sched::MessageHeader header = state.header_of(source, body);
  std::memcpy(state.scratch.data(), &header, sizeof header);
  if (!body.empty()) std::memcpy(state.scratch.data() + sizeof header, body.data(), body.size());
  State::Message message{source, target};
  const Errc refused = state.deliver_body(message, std::span(state.scratch).first(bytes));
  if (refused != Errc::ok)
    return fail(refused, "send: " + std::string(to_string(refused)),
                static_cast<std::int64_t>(target));
  return {};
}

std::optional<FinishedOperation> EngineLoop::take_finished() {
  State& state = *state_;
  if (state.finished_tail == state.finished_head) return std::nullopt;
  return state.finished[state.finished_tail++ % state.finished.size()];
}

std::vector<TargetTrace> EngineLoop::trace(OperationId id) const {
  const State& state = *state_;
  std::vector<TargetTrace> traces;
  if (slot_of(id) >= state.operations.size()) return traces;
  const Operation& operation = state.operations[slot_of(id)];
  if (operation.serial != serial_of(id) || operation.state == OperationState::kPlanned)
    return traces;
  const std::int64_t target_ns = to_ns(operation.request.target);
  operation.gather->scheduled().for_each([&](std::uint32_t row) {
    TargetTrace trace{.agent = state.registry->id_of(agent_index(row))};
    trace.lead_us = std::int64_t{operation.lead[row]} * sched::kLeadUnitNs / kNsPerUs;
    if (operation.sent[row] != kNotSent)
      trace.sent_ns = target_ns - std::int64_t{operation.sent[row]} * sched::kLeadUnitNs;
    if (operation.gather->ready().test(row)) trace.state = sched::TrinaryState::ready;
    if (operation.gather->conflict().test(row)) trace.state = sched::TrinaryState::conflict;
    trace.finished_ns = operation.finished_ns[row];
    traces.push_back(trace);
  });
  return traces;
}

const LoopCounters& EngineLoop::counters() const noexcept { return state_->counters; }
std::size_t EngineLoop::agents_enrolled() const noexcept { return state_->registry->taken(); }
std::size_t EngineLoop::agents_active() const noexcept {
  return state_->registry->taken() - state_->registry->offline();
}
std::optional<AgentId> EngineLoop::find(std::string_view name) const noexcept {
  return state_->registry->find(name);
}

}  // namespace mesh::engine
