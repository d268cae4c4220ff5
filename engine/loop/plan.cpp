// Phase 2, plan: leads, skips and buckets of a new operation's targets in one pass.
#include <algorithm>
#include <cstring>
#include <string>

#include "engine/loop/state.hpp"

namespace mesh::engine {

void EngineLoop::State::index_by_station() {
  order.clear();
  for (const StationLink* const link : live)
    for (const std::uint32_t row : link->rows)
      if (is_active(row)) order.push_back(row);
  // The planner wants a permutation: rows of nobody follow, and are not eligible.
  for (std::uint32_t row = 0; row < row_count; ++row)
    if (!is_active(row)) order.push_back(row);
  order_is_stale = false;
}

void EngineLoop::State::move_in(StationLink& link, std::uint32_t row, StationId previous) {
  if (StationLink* const old = link_of(previous); old != nullptr) {
    std::erase(old->rows, row);  // its place in the columns there stays taken, by nobody
  }
  place[row] = link.next_place++;
  link.rows.push_back(row);
  set_active(row, true);
}

sched::MessageHeader EngineLoop::State::header_of(AgentId source,
                                                  std::span<const std::byte> body) noexcept {
  sched::MessageHeader header{};
  header.id = sched::pack({.unix_ms = static_cast<std::uint64_t>(now_ns / kNsPerMs),
                           .host = options.host,
                           .station = StationId{0},
                           .outbox_position = ++sequence});
  header.correlation = header.id;
  header.source = source;
  header.created_ns = now_ns;
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.set_weight(1);
  header.verb = sched::Verb::act;
  header.strategy = sched::Strategy::direct;
  header.priority = sched::Priority::normal;
  return header;
}

// Active rows that the selector names.
std::uint32_t EngineLoop::State::mark_eligible(Operation& operation,
                                               sched::Selector targets) noexcept {
  const std::uint32_t wanted = sched::value_of(targets);
  std::fill(operation.eligible.begin(), operation.eligible.end(), EligibleLine{});
  std::uint32_t count = 0;
  for (std::uint32_t row = 0; row < row_count; ++row) {
    if (!is_active(row)) continue;
    bool is_meant = false;
    switch (sched::kind_of(targets)) {
      case sched::SelectorKind::all:
        is_meant = true;
        break;
      case sched::SelectorKind::agent_class:
        is_meant = own(agents.agent_class, row) == wanted;
        break;
      case sched::SelectorKind::sector:
        is_meant = own(agents.sector, row) == wanted;
        break;
      case sched::SelectorKind::cluster:
        is_meant = own(agents.cluster, row) == wanted;
        break;
      case sched::SelectorKind::list:
        break;
    }
    if (!is_meant) continue;
    operation.eligible[row / 512].words[row / 64 % 8] |= std::uint64_t{1} << (row % 64);
    ++count;
  }
  return count;
}

sched::PlanRequest EngineLoop::State::plan_request(const OperationRequest& request) const noexcept {
  return {.now = from_ns(now_ns),
          .target = request.target,
          .now_mesh_ms = mesh_ms(),
          .weight = request.weight,
          .z = options.z,
          .bucket_width = options.bucket};
}

Result<OperationId> EngineLoop::State::open_operation(const OperationRequest& request) {
  const auto free = std::find_if(operations.begin(), operations.end(), [](const Operation& each) {
    return each.state == OperationState::kFree;
  });
  // An ended operation keeps its slot for late answers until another needs it: the oldest goes.
  const auto oldest = std::min_element(
      operations.begin(), operations.end(), [](const Operation& a, const Operation& b) {
        const bool a_ended = a.state == OperationState::kEnded;
        const bool b_ended = b.state == OperationState::kEnded;
        return a_ended != b_ended ? a_ended : a.request.target < b.request.target;
      });
  const auto chosen = free != operations.end() ? free : oldest;
  if (chosen->state != OperationState::kFree && chosen->state != OperationState::kEnded)
    return fail(Errc::capacity,
                "open: " + std::to_string(operations.size()) + " operations are in flight",
                static_cast<std::int64_t>(operations.size()));
  if (sched::kind_of(request.targets) == sched::SelectorKind::list)
    return fail(Errc::unsupported, "open: targets by list are not taken here");
  Operation& operation = *chosen;
  // Nothing of the slot changes before everything is known to be right: an ended operation still
  // takes late answers by it.
  OperationRequest wanted = request;
  if (wanted.target == HostTime{}) wanted.target = from_ns(now_ns) + request.horizon;
  if (wanted.target - from_ns(now_ns) >= options.bucket * kBucketsPerOperation)
    return fail(Errc::capacity,
                "open: T is more than " + std::to_string(kBucketsPerOperation) +
                    " buckets from now: wider buckets or a nearer T are needed",
                kBucketsPerOperation);
  MESH_TRY(const auto parameters, sched::PlanParameters::make(plan_request(wanted)));
  if (parameters.bucket_count > kBucketsPerOperation)
    return fail(Errc::capacity, "open: too many buckets up to T", parameters.bucket_count);
  if (mark_eligible(operation, wanted.targets) == 0)
    return fail(Errc::no_such_agent, "open: nobody is targeted: no active agent fits the selector");
  MESH_TRY(const sched::Share ready_min, sched::make_share(request.ready_min));
  MESH_TRY(const sched::Share coverage_min, sched::make_share(request.coverage_min));
  const sched::GatherOptions gather{.started = from_ns(now_ns),
                                    .target = wanted.target,
                                    .window = request.window,
                                    .timeout = request.timeout,
                                    .minima = {ready_min, coverage_min},
                                    .skipped = {}};
  MESH_CHECK_OK(sched::validate(gather));
  if (sched::kMessageHeaderBytes + request.body.size() > scratch.size())
    return fail(Errc::truncated,
                "open: a body of " + std::to_string(request.body.size()) + " bytes");
  sched::MessageHeader header = header_of(request.source, request.body);
  header.strategy = sched::Strategy::scatter_gather;
  header.verb = request.verb;
  header.set_weight(request.weight);
  std::memcpy(scratch.data(), &header, sizeof header);
  if (!request.body.empty())
    std::memcpy(scratch.data() + sizeof header, request.body.data(), request.body.size());
  const std::uint32_t body =
      open_body(std::span(scratch).first(sizeof header + request.body.size()));
  if (body == kNoBody)
    return fail(Errc::no_space, "open: the payload log is full of bodies not yet read");
  wanted.body = {};
  operation.request = wanted;
  operation.options = gather;
  operation.body = body;
  operation.body_bytes = header.body_bytes;
  operation.state = OperationState::kPlanned;
  operation.cost = {};
  ++operation.serial;
  return operation_id(static_cast<std::uint32_t>(chosen - operations.begin()), operation.serial);
}

bool EngineLoop::State::plan_operations() noexcept {
  bool worked = false;
  for (std::uint32_t slot = 0; slot < operations.size(); ++slot) {
    if (operations[slot].state != OperationState::kPlanned) continue;
    if (order_is_stale) index_by_station();
    plan(slot);
    worked = true;
  }
  return worked;
}

void EngineLoop::State::plan(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  const std::int64_t start = clock();
  const auto parameters = sched::PlanParameters::make(plan_request(operation.request));
  operation.bucket_count = 0;
  operation.offsets[0] = 0;
  operation.next_bucket = 0;
  operation.planned_ns = now_ns;
  std::fill(operation.sent.begin(), operation.sent.end(), kNotSent);
  std::fill(operation.finished_ns.begin(), operation.finished_ns.end(), 0);
  const sched::ImpedanceColumns columns{
      .latency_ms = reinterpret_cast<const float*>(agents.latency_ms.values().data()),
      .drift = reinterpret_cast<const float*>(agents.drift.values().data()),
      .reliability = reinterpret_cast<const float*>(agents.reliability.values().data()),
      .queue_depth = agents.queue_depth.values().data(),
      .heartbeat_ms = agents.heartbeat_mesh_ms.values().data(),
      .agent_class = agents.agent_class.values().data(),
      .eligible = operation.eligible.front().words,
      .rows = row_count};
  if (parameters && planner->plan(*parameters, columns, order) == sched::PlanOutcome::kPlanned) {
    const sched::BucketSorter& sorted = planner->buckets();
    operation.bucket_count = sorted.bucket_count();
    std::copy(sorted.offsets().begin(), sorted.offsets().end(), operation.offsets.begin());
    std::copy(sorted.scheduled().begin(), sorted.scheduled().end(), operation.rows.begin());
    std::copy(planner->lead().begin(), planner->lead().end(), operation.lead.begin());
    operation.options.skipped = {.insufficient_lead_time = planner->counts().late,
                                 .invalid_impedance = planner->counts().invalid};
  }
  (void)operation.gather->open(operation.options);  // validated when it was asked for
  for (std::uint32_t i = 0; i < operation.offsets[operation.bucket_count]; ++i)
    operation.gather->schedule(operation.rows[i]);
  operation.gather->start();
  operation.state = OperationState::kSending;
  (void)wheel->schedule(
      {.operation = slot, .bucket = kDeadlineEntry, .due_ns = to_ns(operation.gather->deadline())});
  if (!schedule_next_bucket(slot)) close_body(operation.body);
  operation.cost.plan_ns = clock() - start;
}

// Puts the next bucket that holds anybody on the wheel. False: there is none.
bool EngineLoop::State::schedule_next_bucket(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  while (operation.next_bucket < operation.bucket_count &&
         operation.offsets[operation.next_bucket] == operation.offsets[operation.next_bucket + 1])
    ++operation.next_bucket;
  if (operation.next_bucket >= operation.bucket_count) return false;
  (void)wheel->schedule(
      {.operation = slot,
       .bucket = static_cast<std::uint16_t>(operation.next_bucket),
       .due_ns = operation.planned_ns + operation.next_bucket * options.bucket.count()});
  return true;
}

}  // namespace mesh::engine
