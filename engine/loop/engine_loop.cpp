#include "engine/loop/engine_loop.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "engine/loop/account.hpp"
#include "engine/loop/comparing.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kPendingLookNs = kNsPerMs;
constexpr std::uint32_t kWheelEntries = 4 * kMaxOperations + kTimedMax;
constexpr std::uint32_t kPendingRuns = 65'536;  // beside a node for each direct message

TopologySize topology_of(const MeshSize& size) noexcept {
  return {sectors_of(size), size.clusters_per_sector, size.agents_per_cluster};
}

Status bind_table(EngineLoop::State& state, const LoopMemory& memory) {
  MESH_TRY(const shm::Layout table, table_layout(memory.size));
  MESH_TRY(state.agents, AgentRows<HostMemory>::in(table, memory.table));
  MESH_TRY(auto watch, health::MeshWatch::create(table, memory.table, topology_of(memory.size),
                                                 state.options.watch));
  state.gate.watch.emplace(std::move(watch));
  MESH_TRY(auto errors, ErrorLog::over(table, memory.table, "scheduler"));
  state.accounts.errors.emplace(std::move(errors));
  MESH_TRY(auto events, EventWatch::create(memory));
  state.accounts.events.emplace(std::move(events));
  MESH_TRY(state.inbox_full, table.array<ShmWord<std::uint8_t>>(memory.table, "inbox_full"));
  const shm::Region* const names = table.find("capability_names");
  MESH_TRY(const auto bytes,
           shm::resolve(memory.table, shm::Offset<std::byte>{names->offset}, names->size_bytes));
  MESH_TRY(auto column, CapabilityTable::Names::over(bytes, kCapabilities * kNameWords));
  MESH_TRY(auto capabilities, CapabilityTable::create(column, 0));
  state.capabilities.emplace(std::move(capabilities));
  return {};
}

Status bind_payload(EngineLoop::State& state, const LoopMemory& memory) {
  MESH_TRY(const shm::Layout payload, payload_layout(memory.size));
  MESH_TRY(const auto header, payload.array<BodyLog::Header>(memory.payload, "log.header"));
  const shm::Region* const log = payload.find("log");
  MESH_TRY(const auto words, shm::resolve(memory.payload, shm::Offset<BodyLog::Word>{log->offset},
                                          log->size_bytes / sizeof(BodyLog::Word)));
  MESH_TRY(state.log, BodyLog::Writer::take_over(words, header.data()));
  MESH_TRY(state.log_again, BodyLog::Reader::attach(words, header.data()));
  return {};
}

Status bind_engine(EngineLoop::State& state, const LoopMemory& memory) {
  MESH_TRY(const shm::Layout engine, engine_layout(memory.size));
  MESH_TRY(state.owners, OwnerRows<HostMemory>::in(engine, memory.engine));
  MESH_TRY(auto registry,
           Registry::create(state.agents, state.owners, {.agent_ttl = state.options.agent_ttl}));
  state.registry.emplace(std::move(registry));
  MESH_TRY(auto topology, Topology::create(state.agents, topology_of(memory.size)));
  state.topology.emplace(std::move(topology));
  MESH_TRY(state.cascades, bind_cascades(engine, memory.engine, state.topology->size()));
  MESH_TRY(state.pipelines, bind_pipelines(engine, memory.engine));
  MESH_TRY(state.operations, bind_operations(engine, memory.engine, state.row_count));
  MESH_TRY(const auto words, engine.array<EntryWords<HostMemory>>(memory.engine, "unanswered"));
  MESH_TRY(state.entries, Unanswered<HostMemory>::over(words));
  MESH_TRY(const auto next, engine.array<ShmWord<std::uint32_t>>(memory.engine, "parked.index"));
  const shm::Region* const bodies = engine.find("parked.bodies");
  MESH_TRY(const auto bytes,
           shm::resolve(memory.engine, shm::Offset<std::byte>{bodies->offset}, bodies->size_bytes));
  MESH_TRY(state.parked, ParkedStore<HostMemory>::over(next, bytes));
  const shm::Region* const predictor = engine.find("predictor");
  MESH_TRY(const auto learned,
           shm::resolve(memory.engine, shm::Offset<std::byte>{predictor->offset},
                        predictor->size_bytes));
  MESH_TRY(auto made, sched::Predictor<>::create(
                          learned, state.row_count,
                          {.tolerance_ms = static_cast<double>(state.options.tolerance.count()) /
                                           static_cast<double>(kNsPerMs),
                           .z = state.options.z}));
  state.predictor.emplace(std::move(made));
  return {};
}

// All that tick() would otherwise have to allocate.
void reserve(EngineLoop::State& state) {
  const std::uint32_t rows = state.row_count;
  const std::uint32_t entries = state.entries.size();
  state.pending = std::make_unique<PendingPool>(entries + kPendingRuns);
  state.stations.resize(kMaxStations + 1);
  state.live.reserve(state.stations_max);
  state.gate.trials.reserve(kTrialsMax);
  state.order.reserve(rows);
  state.self_place.resize(rows);
  state.copied_rows.resize(rows);
  state.accounts.conflicts.resize(rows);
  state.active.resize((std::size_t{rows} + 511) / 512 * 8);
  state.eligible.resize((rows + 511) / 512);
  state.held.resize(rows);
  state.owed.resize(rows);
  state.owed_of.resize(std::size_t{kMaxStations} + 1);
  state.sending.reserve(kMaxOperations);
  state.ending.reserve(std::size_t{4} * kMaxOperations);
  state.finished.resize(kMaxOperations);
  state.bodies.resize(kBodies);
  state.answered.resize(kAnsweredKept);
  state.answered_bodies =
      std::make_unique_for_overwrite<std::byte[]>(kAnsweredKept * kAnsweredBodyBytes);
  const std::size_t body_bytes = state.log.body_bytes_max();
  state.scratch_bytes = std::make_unique_for_overwrite<std::byte[]>(body_bytes);
  state.scratch = {state.scratch_bytes.get(), body_bytes};
  state.over.reserve(entries);
  state.is_over.resize(entries);
  state.told.reserve(std::size_t{2} * kMaxOperations);
  state.leaving_due_ns.reserve(kMaxOperations);
  state.continuing.reserve(std::size_t{2} * kMaxOperations);
  state.answered_of.resize(kMaxOperations);
  state.answered_slots.reserve(kMaxOperations);
}

}  // namespace

Status EngineLoop::State::check_upkeep(Nanos upkeep) {
  if (upkeep >= Nanos{kNsPerMs} && upkeep <= Nanos{60 * kNsPerSecond}) return {};
  return fail(
      Errc::invalid_argument,
      "engine loop: upkeep of " + std::to_string(upkeep.count()) + " ns; 1 ms to 60 s is needed",
      upkeep.count());
}

Result<std::unique_ptr<EngineLoop::State>> EngineLoop::State::create(const LoopMemory& memory,
                                                                     const LoopOptions& options,
                                                                     const Outside& outside) {
  if (outside.wakes == nullptr) return fail(Errc::invalid_argument, "engine loop: no wakes");
  MESH_CHECK_OK(check_upkeep(options.upkeep));
  MESH_CHECK_OK(options.throttle.check());
  MESH_TRY(const auto checked, sched::PlanParameters::make({.now = HostTime{},
                                                            .target = from_ns(1),
                                                            .z = options.z,
                                                            .bucket_width = options.bucket}));
  static_cast<void>(checked);
  auto state = make_state();
  state->options = options;
  state->outside = outside;
  state->row_count = static_cast<std::uint32_t>(memory.size.agents);
  state->stations_max = memory.size.stations;
  MESH_CHECK_OK(bind_table(*state, memory));
  MESH_CHECK_OK(bind_payload(*state, memory));
  MESH_CHECK_OK(bind_engine(*state, memory));
  MESH_TRY(auto planner, sched::SendPlanner::create(std::max(state->row_count, kWideTargets),
                                                    kBucketsPerOperation));
  state->planner.emplace(std::move(planner));
  // A direct message with a T is an operation of its own to the wheel.
  MESH_TRY(auto wheel,
           sched::TimingWheel::create(
               {.capacity = kWheelEntries, .operations = kMaxOperations + state->entries.size()}));
  state->wheel.emplace(std::move(wheel));
  state->throttle.emplace(sectors_of(memory.size), options.throttle);
  reserve(*state);
  MESH_CHECK_OK(state->adopt());
  adopt_holds(*state);
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

namespace {
void turn_throttle(EngineLoop::State& state) noexcept {
  LoopCounters& counters = state.counters;
  state.throttle->turn({.sends = counters.sends, .without_room = counters.unanswered_full},
                       Nanos{state.now_ns});
  counters.throttle_begun = state.throttle->times();
}
}  // namespace

TickResult EngineLoop::tick(HostTime now) noexcept {
  State& state = *state_;
  state.advance_to(now);
  state.dispatched = 0;
  ++state.counters.ticks;
  bool worked = state.intake();
  MESH_POINT("loop.tick:after_intake");
  StepDeath* const death = state.outside.death;
  if (death != nullptr) death->after_intake(state.counters, state.now_ns);
  worked |= state.empty_pending();
  worked |= state.fire_wheel();
  MESH_POINT("loop.tick:after_dispatch");
  worked |= state.gather();
  worked |= run_cascades(state);
  worked |= run_pipelines(state);
  MESH_POINT("loop.tick:before_reveal");
  state.reveal_staged();
  MESH_POINT("loop.tick:after_reveal");
  if (death != nullptr) death->after_reveal(state.counters, state.now_ns);
  state.settle();
  MESH_POINT("loop.tick:after_settle");
  std::int64_t due = state.wheel->next_due_ns();
  state.upkeep(due);
  watch_mesh(state, due);
  account(state, due);
  turn_throttle(state);
  tend_newcomers(state);
  if (!worked) state.warm_next();
  // A station that makes room does not say so: what waits for it is looked after.
  for (const StationLink* const link : state.live)
    if (link->pending_count != 0) due = std::min(due, state.now_ns + kPendingLookNs);
  due = std::min({due, next_cascade_ns(state), next_pipeline_ns(state)});
  return {worked, due == sched::TimingWheel::kNever ? HostTime::max() : from_ns(due)};
}

// What was shown is settled: entries that are over are freed, results are told, outboxes' slots are
// given back.
void EngineLoop::State::settle() noexcept {
  free_over();
  MESH_POINT("loop.settle:before_told");
  for (const std::uint32_t slot : told)
    // relaxed: told twice is told once; its state is what matters.
    operations[slot].words->result.store_relaxed(static_cast<std::uint64_t>(ResultState::told));
  told.clear();
  MESH_POINT("loop.settle:before_taken");
  free_taken();
}

Status EngineLoop::attach(StationId station, const StationMemory& memory, std::uint32_t uid) {
  return state_->attach(station, memory, uid);
}
Status EngineLoop::readopt(StationId station, const StationMemory& memory, std::uint32_t uid) {
  return state_->readopt(station, memory, uid);
}
Status EngineLoop::give_up(StationId station, std::span<std::byte> in, std::uint32_t agents,
                           HostTime now) {
  return state_->give_up(station, in, agents, now);
}

void EngineLoop::detach(StationId station, HostTime now, Departure departure) {
  StationLink* const link = state_->link_of(station);
  if (link != nullptr) state_->detach(*link, now, departure);
}

bool EngineLoop::is_corrupt(StationId station) const noexcept {
  const StationLink* const link = state_->link_of(station);
  return link != nullptr && link->is_corrupt;
}

void EngineLoop::note_error(const ErrorNote& error, HostTime now) noexcept {
  state_->accounts.errors->note(error, now);
}

std::size_t EngineLoop::waiting_for_records() const noexcept { return state_->waiting_for_records; }
bool EngineLoop::waits_for_record(StationId station) const noexcept {
  const StationLink* const link = state_->link_of(station);
  return link != nullptr && link->waits_for_record;
}

Result<std::vector<AgentId>> EngineLoop::enrol(StationId station,
                                               std::span<const AgentSpec> agents) {
  StationLink* const link = state_->link_of(station);
  if (link == nullptr)
    return fail(
        Errc::not_found,
        "enrol: station " + std::to_string(static_cast<unsigned>(station)) + " is not attached");
  return state_->enrol(*link, agents);
}

Result<CapabilityBit> EngineLoop::capability(std::string_view name) {
  const std::size_t before = state_->capabilities->count();
  auto bit = state_->capabilities->intern(name);
  if (state_->capabilities->count() != before) obey_rules(*state_);  // perhaps it is spoken of
  return bit;
}

Result<CapabilityBit> EngineLoop::find_capability(std::string_view name) const {
  const auto found = state_->capabilities->find(name);
  if (found) return *found;
  return fail(Errc::not_found, "no agent ever had the capability '" + std::string(name) + "'");
}

Result<OperationId> EngineLoop::open(const OperationRequest& request, HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  sched::MessageHeader header = state.own_header(request.source, request.body);
  header.strategy = request.at_once ? sched::Strategy::broadcast : sched::Strategy::scatter_gather;
  header.verb = request.verb;
  header.priority = request.priority;
  header.set_weight(request.weight);
  const State::Opened opened = state.open_operation(request, header, request.body);
  if (opened.refused == Errc::ok) {
    Operation& operation = state.operations[opened.slot];
    if (request.with_trace) state.note_plan(operation);
    if (request.comparable) expect_outcomes(state, operation);
    return operation_id(opened.slot, operation.serial);
  }
  return fail(opened.refused, State::sentence_of(opened, request), opened.detail);
}

namespace {
std::string_view held_text(std::uint8_t routing) noexcept {
  if ((routing & kQuarantined) != 0) return "this agent is in quarantine";
  if ((routing & kRoutedAround) != 0) return "the operator routes around this agent";
  return "this agent is a newcomer, and not admitted yet";
}
}  // namespace

Result<sched::MessageId> EngineLoop::post(const MessageRequest& request, HostTime now) {
  State& state = *state_;
  state.advance_to(now);
  const std::size_t bytes = sched::kMessageHeaderBytes + request.body.size();
  if (bytes > state.scratch.size())
    return fail(Errc::truncated,
                "send: a body of " + std::to_string(request.body.size()) + " bytes, at most " +
                    std::to_string(state.scratch.size() - sched::kMessageHeaderBytes),
                static_cast<std::int64_t>(request.body.size()));
  if (request.ttl < Nanos{0} || request.ttl > sched::kGatherSpanMax)
    return fail(Errc::invalid_argument,
                "send: a time to live of " + std::to_string(request.ttl.count()) +
                    " ns, it must be 0 to " + std::to_string(sched::kGatherSpanMax.count()),
                request.ttl.count());
  sched::MessageHeader header = state.own_header(request.source, request.body);
  header.verb = request.verb;
  header.priority = request.priority;
  const CapabilitySet::Words& required = request.capabilities.words();
  std::copy(required.begin(), required.end(), header.capabilities);
  if (request.ttl > Nanos{0}) header.expires_ns = state.now_ns + request.ttl.count();
  Letter letter{.priority = request.priority,
                .source = request.source,
                .target = request.target,
                .id = header.id,
                .body_bytes = header.body_bytes};
  const AgentIndex index = state.registry->resolve(request.target);
  Errc refused = state.check_target(index, request.capabilities);
  if (refused == Errc::ok) {
    if (to_ns(request.arrive) > state.now_ns) {
      letter.arrive_ns = to_ns(request.arrive);
      letter.due_ns = letter.arrive_ns - state.lead_ns(static_cast<std::uint32_t>(index), 1);
    }
    const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                          request.body};
    refused = state.post_new(letter, parts);
  }
  if (refused == Errc::ok) return header.id;
  if (refused == Errc::not_routable &&
      state.gate.holds.is_around(static_cast<std::uint32_t>(index)))
    return fail(refused,
                "send: " + std::string(held_text(own(state.agents.routing, row_of(index)))),
                static_cast<std::int64_t>(request.target));
  return fail(refused, "send: " + std::string(to_string(refused)),
              static_cast<std::int64_t>(request.target));
}

Status EngineLoop::send(AgentId source, AgentId target, std::span<const std::byte> body,
                        HostTime now) {
  MESH_TRY(const auto id, post({.source = source, .target = target, .body = body}, now));
  static_cast<void>(id);
  return {};
}

std::optional<FinishedOperation> EngineLoop::take_finished() {
  State& state = *state_;
  if (state.finished_tail == state.finished_head) return std::nullopt;
  return state.finished[state.finished_tail++ % state.finished.size()];
}

std::optional<AnsweredMessage> EngineLoop::take_answered() {
  State& state = *state_;
  if (state.answered_tail == state.answered_head) return std::nullopt;
  const std::size_t at = state.answered_tail++ % kAnsweredKept;
  const KeptAnswer& kept = state.answered[at];
  const std::byte* const body = state.answered_bodies.get() + at * kAnsweredBodyBytes;
  return AnsweredMessage{
      kept.question,      kept.agent,   kept.state,   kept.conflict,
      kept.processing_us, kept.expired, kept.context, {body, body + kept.body_bytes}};
}

std::vector<TargetTrace> EngineLoop::trace(OperationId id) const {
  const State& state = *state_;
  std::vector<TargetTrace> traces;
  if (slot_of(id) >= state.operations.size()) return traces;
  const Operation& operation = state.operations[slot_of(id)];
  if (operation.serial != serial_of(id) || operation.state == OperationState::free) return traces;
  operation.gather->scheduled().for_each([&](std::uint32_t place) {
    TargetTrace trace{.agent = state.registry->id_of(agent_index(operation.row_of(place)))};
    trace.lead_us = std::int64_t{operation.lead[place]} * sched::kLeadUnitNs / kNsPerUs;
    if (operation.is_sent(place)) trace.sent_ns = operation.sent_ns(place);
    if (operation.gather->ready().test(place)) trace.state = sched::TrinaryState::ready;
    if (operation.gather->conflict().test(place)) trace.state = sched::TrinaryState::conflict;
    if (operation.notes != nullptr) {
      const TraceNote& note = operation.notes[place];
      trace.finished_ns = note.finished_ns;
      trace.nominal_lead_us = note.nominal_lead_us;
      trace.confidence = note.confidence / 65'535.0;
    }
    traces.push_back(trace);
  });
  return traces;
}

std::string EngineLoop::State::sentence_of(const Opened& opened, const OperationRequest& request) {
  switch (opened.refused) {
    case Errc::no_such_agent:
      return "open: nobody is targeted: no agent fits the selector";
    case Errc::no_space:
      return "open: the payload log is full of bodies not yet read";
    case Errc::truncated:
      return "open: a body of " + std::to_string(request.body.size()) + " bytes";
    case Errc::capacity:
      return opened.detail == kBucketsPerOperation
                 ? "open: T is more than " + std::to_string(kBucketsPerOperation) +
                       " buckets from now: wider buckets or a nearer T are needed"
                 : "open: " + std::to_string(opened.detail) + " operations are in flight";
    case Errc::invalid_argument:
      return "open: a weight, share, time or span that cannot be";
    default:  // a mode's refusal says itself what it is
      return "open: " + std::string(to_string(opened.refused));
  }
}

const LoopAdoption& EngineLoop::adoption() const noexcept { return state_->adoption; }
const sched::LatenessHistogram& EngineLoop::lateness() const noexcept { return state_->lateness; }
Status EngineLoop::verify() const { return state_->verify(); }
LoopGauges EngineLoop::gauges() const noexcept {
  const State& state = *state_;
  LoopGauges gauges;
  gauges.unanswered = state.entries.in_use();
  gauges.operations = state.sending.size();
  gauges.parked_free_bytes = state.parked.free_blocks() * kParkedBlockBytes;
  gauges.payload_used_bytes = state.log.used_bytes();
  gauges.send_rate = static_cast<std::size_t>(state.throttle->rate());
  gauges.routed_around = state.gate.holds.routed_around_count;
  gauges.spiking = state.gate.holds.spiking_count;
  gauges.frozen = state.gate.holds.frozen_count - state.gate.holds.awaiting_count;
  gauges.quarantined = state.gate.holds.quarantined_count;
  gauges.newcomers = state.gate.newcomers.all.size();
  gauges.awaiting_context = state.gate.holds.awaiting_count;
  for (const StationLink* const link : state.live) gauges.pending += link->pending_count;
  return gauges;
}
const LoopCounters& EngineLoop::counters() const noexcept { return state_->counters; }
std::size_t EngineLoop::agents_enrolled() const noexcept { return state_->registry->taken(); }
std::size_t EngineLoop::agents_active() const noexcept {
  return state_->registry->taken() - state_->registry->offline();
}
std::uint32_t EngineLoop::place_in_station(AgentId agent) const noexcept {
  return state_->self_place[static_cast<std::size_t>(index_of(agent))];
}
std::optional<AgentId> EngineLoop::find(std::string_view name) const noexcept {
  return state_->registry->find(name);
}

}  // namespace mesh::engine
