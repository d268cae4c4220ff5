// Phase 2, plan: an operation's targets, their leads, skips and buckets, in one pass.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};
constexpr std::uint32_t kSettledKept = 4;

// Whether a span and a time of a caller's can be added to times of this host without leaving 64
// bits.
bool is_span(Nanos span) noexcept { return span >= Nanos{0} && span <= sched::kGatherSpanMax; }

}  // namespace

// The columns of a narrow operation's targets, side by side.
struct NarrowColumns {
  static constexpr std::size_t kRows =
      (kWideTargets + sched::kPlanGroupRows - 1) / sched::kPlanGroupRows * sched::kPlanGroupRows;
  template <class T>
  struct alignas(sched::kPlanAlignment) Values {
    std::array<T, (kRows * sizeof(T) + 63) / 64 * 64 / sizeof(T)> of{};
  };
  Values<float> latency_ms, drift, reliability, work_ms, residual_ms;
  Values<std::uint32_t> queue_depth, heartbeat_ms;
  Values<std::uint16_t> confidence;
  Values<std::uint8_t> agent_class, history;
  std::array<std::uint32_t, kRows> order{};  // places, by station

  [[nodiscard]] sched::ImpedanceColumns columns(std::uint32_t rows) const noexcept {
    return {.latency_ms = latency_ms.of.data(),
            .drift = drift.of.data(),
            .reliability = reliability.of.data(),
            .queue_depth = queue_depth.of.data(),
            .heartbeat_ms = heartbeat_ms.of.data(),
            .agent_class = agent_class.of.data(),
            .eligible = nullptr,
            .rows = rows,
            .learned = {.work_ms = work_ms.of.data(),
                        .residual_ms = residual_ms.of.data(),
                        .confidence = confidence.of.data(),
                        .history = history.of.data()}};
  }
};

EngineLoop::State::State() = default;
EngineLoop::State::~State() = default;
std::unique_ptr<EngineLoop::State> EngineLoop::State::make_state() {
  auto state = std::make_unique<State>();
  state->narrow = std::make_unique<NarrowColumns>();
  return state;
}

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

sched::PlanRequest EngineLoop::State::plan_request(const OperationRequest& request,
                                                   HostTime target) const noexcept {
  return {.now = from_ns(now_ns),
          .target = target,
          .now_mesh_ms = mesh_ms(),
          .weight = request.weight,
          .z = options.z,
          // At once there is one bucket, whatever the plan says: few of them are sorted sooner.
          .bucket_width = request.at_once ? sched::kBucketWidthMax : options.bucket,
          .aim = request.aim,
          .model = options.model,
          .factors = predictor->all_factors()};
}

sched::NominalInputs EngineLoop::State::nominal_inputs(std::uint32_t row) const noexcept {
  const std::uint32_t age_ms = mesh_ms() - own(agents.heartbeat_mesh_ms, row);
  return {.agent_class = static_cast<sched::AgentClass>(own(agents.agent_class, row)),
          .latency_ms = own(agents.latency_ms, row),
          .drift = own(agents.drift, row),
          .reliability = own(agents.reliability, row),
          .queue_depth = own(agents.queue_depth, row),
          .heartbeat_age = Nanos{std::int64_t{age_ms} * kNsPerMs}};
}

sched::NominalPlan EngineLoop::State::predict(std::uint32_t row, double weight) const noexcept {
  sched::CalibratedInputs agent;
  agent.nominal = nominal_inputs(row);
  if (options.model == sched::Model::kCalibrated && own(agents.history, row) != 0) {
    agent.has_history = true;
    agent.work_ms = own(agents.work_ms, row);
    agent.residual_ms = own(agents.residual_centre_ms, row);
    agent.confidence = own(agents.confidence, row) / 65'535.0;
    agent.factors = predictor->factors(agent.nominal.agent_class);
  }
  return sched::calibrated(agent, {.weight = weight, .z = options.z, .available = Nanos::max()});
}

// How long before T a message of this weight must leave for one agent. A weight is its sender's
// word: what it makes of a lead may be more than 64 bits of nanoseconds hold.
std::int64_t EngineLoop::State::lead_ns(std::uint32_t row, float weight) const noexcept {
  constexpr auto kMost = static_cast<double>(sched::kGatherSpanMax.count());
  return static_cast<std::int64_t>(
      std::min(predict(row, weight).lead_ms * static_cast<double>(kNsPerMs), kMost));
}

// For who asked for a trace: what was said, and what the nominal model would have done. Right after
// the plan, whose columns still stand.
void EngineLoop::State::note_plan(Operation& operation) const {
  operation.notes = std::make_unique<TraceNote[]>(operation.targets);
  for (std::uint32_t place = 0; place < operation.targets; ++place) {
    const std::uint32_t row = operation.row_of(place);
    if (!operation.gather->scheduled().test(place)) continue;
    const sched::NominalPlan plan =
        sched::nominal(nominal_inputs(row), {.weight = operation.weight, .z = options.z});
    operation.notes[place].nominal_lead_us = static_cast<std::int64_t>(plan.lead_ms * 1'000);
    operation.notes[place].confidence = planner->confidence()[place];
  }
}

namespace {
std::uint32_t older(const std::vector<Operation>& operations, std::uint32_t slot,
                    std::uint32_t than) noexcept {
  return than == kNoSlot || operations[slot].target_ns < operations[than].target_ns ? slot : than;
}
}  // namespace

// A free slot, or that of the operation that has been over for longest: until then it takes late
// answers. Where everybody has answered none can come: of such wide ones the last few are kept for
// traces, and the oldest one's memory, still in the cache, serves before any that is cold.
std::uint32_t EngineLoop::State::free_wide_slot() const noexcept {
  std::uint32_t free = kNoSlot;
  std::uint32_t oldest = kNoSlot;
  std::uint32_t oldest_settled = kNoSlot;
  std::uint32_t settled = 0;
  for (std::uint32_t slot = 0; slot < kMaxWideOperations; ++slot) {
    const Operation& operation = operations[slot];
    if (operation.state == OperationState::free) free = std::min(free, slot);
    if (operation.state != OperationState::ended) continue;
    oldest = older(operations, slot, oldest);
    if (!operation.is_settled()) continue;
    oldest_settled = older(operations, slot, oldest_settled);
    ++settled;
  }
  if (settled > kSettledKept) return oldest_settled;
  return free != kNoSlot ? free : oldest;
}

// Round and round, so that a thousand in a row do not look at a thousand each. One that is over and
// settled serves like a free one, but not before its result is told: after a restart that may wait
// for its station's return.
std::uint32_t EngineLoop::State::free_narrow_slot() noexcept {
  std::uint32_t oldest = kNoSlot;
  for (std::uint32_t i = kMaxWideOperations; i < kMaxOperations; ++i) {
    const std::uint32_t slot = next_narrow;
    next_narrow = slot + 1 == kMaxOperations ? kMaxWideOperations : slot + 1;
    const Operation& operation = operations[slot];
    if (operation.state == OperationState::free) return slot;
    const bool is_ended = operation.state == OperationState::ended;
    // relaxed: our own past store, or a dead writer's.
    const auto result = static_cast<ResultState>(operation.words->result.load_relaxed());
    if (is_ended && operation.is_settled() && result != ResultState::due) return slot;
    if (is_ended) oldest = older(operations, slot, oldest);
  }
  return oldest;
}

// What a request asks for, checked. Broadcasts have everybody in their first bucket: the pass has
// all the time it knows.
Errc EngineLoop::State::check_request(const OperationRequest& request, Checked& checked) noexcept {
  const std::int64_t width = options.bucket.count();
  if (!(request.weight >= 0) || request.weight > static_cast<float>(sched::kWeightMax))
    return Errc::invalid_argument;
  if (!is_span(request.horizon) || !is_span(request.ttl) || request.target < HostTime{})
    return Errc::invalid_argument;
  const HostTime target =
      request.target == HostTime{} ? from_ns(now_ns) + request.horizon : request.target;
  const std::int64_t ahead_ns = request.in_time ? request.timeout.count() : to_ns(target) - now_ns;
  if ((!request.at_once || request.in_time) && ahead_ns >= width * kBucketsPerOperation)
    return Errc::capacity;
  const auto ready_min = sched::make_share(request.ready_min);
  const auto coverage_min = sched::make_share(request.coverage_min);
  if (!ready_min || !coverage_min) return Errc::invalid_argument;
  HostTime planned_for = target;
  if (request.at_once)
    planned_for =
        from_ns(now_ns + (request.in_time ? ahead_ns : width * (kBucketsPerOperation - 1)));
  const auto parameters = sched::PlanParameters::make(plan_request(request, planned_for));
  if (!parameters) return Errc::invalid_argument;
  checked.parameters = *parameters;
  checked.gather = {.started = from_ns(now_ns),
                    .target = request.at_once ? from_ns(now_ns) : target,
                    .window = request.at_once ? request.timeout : request.window,
                    .timeout = request.timeout,
                    .minima = {*ready_min, *coverage_min},
                    .skipped = {}};
  return sched::validate(checked.gather) ? Errc::ok : Errc::invalid_argument;
}

EngineLoop::State::Opened EngineLoop::State::open_operation(
    const OperationRequest& request, sched::MessageHeader& header,
    std::span<const std::byte> body) noexcept {
  const Opened opened = open_admitted(request, header, body);
  if (!gate.trials.empty()) settle_targets(*this, opened.refused == Errc::ok, opened.slot);
  return opened;
}

EngineLoop::State::Opened EngineLoop::State::open_admitted(
    const OperationRequest& request, sched::MessageHeader& header,
    std::span<const std::byte> body) noexcept {
  const std::int64_t start = clock();
  const std::span<const std::byte> head = std::as_bytes(std::span(&header, 1));
  if (head.size() + body.size() > log.body_bytes_max()) return {Errc::truncated};
  Checked checked;
  if (const Errc refused = check_request(request, checked); refused != Errc::ok)
    return {refused, 0, refused == Errc::capacity ? std::int64_t{kBucketsPerOperation} : 0};
  Meant meant = mark_eligible(request);
  if (meant.eligible == 0 && meant.skipped.total() == 0) return {Errc::no_such_agent};
  if (request.part_of == 0)  // a cascade was admitted as a whole
    if (const Errc refused = admit_operation(*this, request, meant.eligible); refused != Errc::ok)
      return {refused};
  const bool wide = meant.eligible > kWideTargets;
  const std::uint32_t slot = wide ? free_wide_slot() : free_narrow_slot();
  if (slot == kNoSlot) {
    ++counters.operations_full;
    return {Errc::capacity, 0, wide ? kMaxWideOperations : kMaxOperations - kMaxWideOperations};
  }
  // Nothing of the slot changes before everything is known to be right: an ended operation still
  // takes late answers by it.
  header.expires_ns = request.ttl == Nanos{0} ? 0 : header.created_ns + request.ttl.count();
  const std::array<std::span<const std::byte>, 2> parts{head, body};
  const std::uint32_t kept = request.confidential ? parked.put(parts) : open_body(parts);
  if (kept == kNoBody) {
    counters.parked_full += request.confidential ? 1 : 0;
    return {request.confidential ? Errc::parked_full : Errc::no_space};
  }
  if (operations[slot].state != OperationState::free) free_operation(slot);
  begin(slot, request, header, kept);
  Operation& operation = operations[slot];
  operation.target_ns = to_ns(checked.gather.target);
  plan(slot, checked.parameters, meant);
  checked.gather.skipped = meant.skipped;
  fill_gather(operation, checked.gather);
  publish(operation, header);
  start_sending(slot);
  ++counters.operations;
  operation.cost.plan_ns = clock() - start;
  return {Errc::ok, slot};
}

// The next tenant of a free slot. `kept`: where its body is, in the log or, confidential, parked.
void EngineLoop::State::begin(std::uint32_t slot, const OperationRequest& request,
                              const sched::MessageHeader& header, std::uint32_t kept) noexcept {
  Operation& operation = operations[slot];
  operation.serial = operation.serial + 1;
  operation.source = request.source;
  operation.id = header.id;
  operation.planned_ns = now_ns;
  operation.bucket_ns = options.bucket.count();
  operation.expires_ns = header.expires_ns;
  operation.weight = request.weight;
  operation.body_bytes = header.body_bytes;
  operation.priority = request.priority;
  operation.marks = static_cast<std::uint8_t>(
      (request.confidential ? kOperationConfidential : 0) | (request.at_once ? kOperationNow : 0) |
      (request.aim == sched::Aim::kByT ? kOperationByT : 0) |
      (request.in_time ? kOperationInTime : 0) | (request.comparable ? kOperationComparable : 0));
  operation.part_of = request.part_of;
  operation.is_noted = false;
  operation.cost = {};
  operation.notes.reset();
  operation.outcomes.reset();
  operation.compared = {};
  operation.parked = request.confidential ? kept : parked.kNone;
  operation.body = request.confidential ? kNoBody : kept;
  if (request.confidential) return;
  bodies[kept % kBodies].slot = slot;
  bodies[kept % kBodies].serial = operation.serial;
}

// Leads, predictions and buckets of all targets, and the order in which they leave.
void EngineLoop::State::plan(std::uint32_t slot, const sched::PlanParameters& parameters,
                             Meant& meant) noexcept {
  Operation& operation = operations[slot];
  if (order_is_stale) index_by_station();
  operation.next_order = 0;
  sched::PlanOutcome outcome = sched::PlanOutcome::kPlanned;
  std::span<const std::uint32_t> by_station = order;
  if (operation.is_wide()) {
    operation.targets = row_count;
    outcome = planner->plan(parameters, wide_columns(parameters.request.aim), by_station);
  } else {
    collect_narrow(operation, parameters.request.aim);
    by_station = std::span(narrow->order).first(operation.targets);
    outcome = planner->plan(parameters, narrow->columns(operation.targets), by_station);
  }
  MESH_ASSERT(outcome == sched::PlanOutcome::kPlanned);  // as many rows and buckets as it has
  std::copy(planner->lead().begin(), planner->lead().end(), operation.lead.begin());
  std::copy(planner->base().begin(), planner->base().end(), operation.predicted.begin());
  note_queues(operation);
  std::copy(planner->key().begin(), planner->key().end(), operation.key.begin());
  meant.skipped.invalid_impedance = planner->counts().invalid;
  if (operation.skips_late()) meant.skipped.insufficient_lead_time = planner->counts().late;
  if ((operation.marks & kOperationNow) != 0)
    order_at_once(operation, by_station);
  else
    order_buckets(operation, planner->buckets());
}

namespace {
// The table's columns hold floats as their bits.
const float* floats(const shm::Column<HostMemory, float>& column) noexcept {
  return reinterpret_cast<const float*>(column.values().data());
}
}  // namespace

sched::ImpedanceColumns EngineLoop::State::wide_columns(sched::Aim aim) const noexcept {
  const auto& residual =
      aim == sched::Aim::kCentre ? agents.residual_centre_ms : agents.residual_by_t_ms;
  const auto& confidence = aim == sched::Aim::kCentre ? agents.confidence : agents.confidence_by_t;
  return {.latency_ms = floats(agents.latency_ms),
          .drift = floats(agents.drift),
          .reliability = floats(agents.reliability),
          .queue_depth = agents.queue_depth.values().data(),
          .heartbeat_ms = agents.heartbeat_mesh_ms.values().data(),
          .agent_class = agents.agent_class.values().data(),
          .eligible = eligible.front().words,
          .rows = row_count,
          .learned = {.work_ms = floats(agents.work_ms),
                      .residual_ms = floats(residual),
                      .confidence = confidence.values().data(),
                      .history = agents.history.values().data()}};
}

// How much each target has to do already: what the predictor learns by.
void EngineLoop::State::note_queues(Operation& operation) noexcept {
  const std::uint32_t* const depths =
      operation.is_wide() ? agents.queue_depth.values().data() : narrow->queue_depth.of.data();
  std::uint8_t* const noted = operation.queue.data();
  const std::uint32_t targets = operation.targets;
  for (std::uint32_t place = 0; place < targets; ++place)
    noted[place] = static_cast<std::uint8_t>(std::min(depths[place], 255U));
}

// The marked rows, ascending, with what the pass needs of them.
void EngineLoop::State::collect_narrow(Operation& operation, sched::Aim aim) noexcept {
  const auto& residual =
      aim == sched::Aim::kCentre ? agents.residual_centre_ms : agents.residual_by_t_ms;
  const auto& confidence = aim == sched::Aim::kCentre ? agents.confidence : agents.confidence_by_t;
  NarrowColumns& of = *narrow;
  std::uint32_t count = 0;
  for (std::size_t word = eligible_first; word < eligible_end; ++word) {
    for (std::uint64_t bits = eligible.front().words[word]; bits != 0; bits &= bits - 1) {
      const auto row = static_cast<std::uint32_t>(word * 64) +
                       static_cast<std::uint32_t>(std::countr_zero(bits));
      operation.rows[count] = row;
      of.latency_ms.of[count] = own(agents.latency_ms, row);
      of.drift.of[count] = own(agents.drift, row);
      of.reliability.of[count] = own(agents.reliability, row);
      of.queue_depth.of[count] = own(agents.queue_depth, row);
      of.heartbeat_ms.of[count] = own(agents.heartbeat_mesh_ms, row);
      of.agent_class.of[count] = own(agents.agent_class, row);
      of.work_ms.of[count] = own(agents.work_ms, row);
      of.residual_ms.of[count] = own(residual, row);
      of.confidence.of[count] = own(confidence, row);
      of.history.of[count] = own(agents.history, row);
      of.order[count] = count;
      ++count;
    }
  }
  operation.targets = count;
  std::sort(of.order.begin(), of.order.begin() + count, [&](std::uint32_t a, std::uint32_t b) {
    const StationId of_a = registry->station_of(agent_index(operation.rows[a]));
    const StationId of_b = registry->station_of(agent_index(operation.rows[b]));
    return of_a != of_b ? of_a < of_b : a < b;
  });
}

// The sorted rows: where a bucket ends, the key of the next one differs.
void EngineLoop::State::order_buckets(Operation& operation,
                                      const sched::BucketSorter& sorted) noexcept {
  std::copy(sorted.scheduled().begin(), sorted.scheduled().end(), operation.order.get());
  operation.order_count = static_cast<std::uint32_t>(sorted.scheduled().size());
}

// One bucket for everybody whose impedance makes sense.
void EngineLoop::State::order_at_once(Operation& operation,
                                      std::span<const std::uint32_t> by_station) noexcept {
  std::uint32_t count = 0;
  for (const std::uint32_t place : by_station) {
    std::uint16_t& key = operation.key[place];
    if (key == sched::kKeyNotTargeted || key == sched::kKeyInvalid) continue;
    if (key == sched::kKeyLate && operation.skips_late()) continue;
    key = 0;
    operation.order[count++] = place;
  }
  operation.order_count = count;
}

// The marked rows without those that are skipped, for the gather.
void EngineLoop::State::fill_gather(Operation& operation,
                                    const sched::GatherOptions& gather) noexcept {
  operation.forget_sent();
  std::uint64_t* const words = eligible.front().words;
  std::size_t word_count = eligible.size() * 8;
  if (!operation.is_wide()) {  // its places, all of them
    word_count = (operation.targets + 63) / 64;
    for (std::size_t word = 0; word < word_count; ++word) {
      const std::uint32_t left = operation.targets - static_cast<std::uint32_t>(word) * 64;
      words[word] = left >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
    }
  }
  const auto clear = [&](std::span<const std::uint32_t> places) {
    for (const std::uint32_t place : places)
      words[place / 64] &= ~(std::uint64_t{1} << (place % 64));
  };
  clear(planner->buckets().invalid());
  if (operation.skips_late()) clear(planner->buckets().late());
  const Status opened = operation.gather->open(gather);
  MESH_ASSERT(opened.has_value());  // validated before
  operation.gather->schedule_all({words, word_count});
  operation.gather->start();
}

// From here on a successor finds it.
void EngineLoop::State::publish(Operation& operation, const sched::MessageHeader& header) noexcept {
  Operation::Words& words = *operation.words;
  const auto put = [](auto& word, auto value) {
    word.store_relaxed(value);  // relaxed: the state publishes it
  };
  const std::uint64_t position =
      operation.body == kNoBody ? kNowhere : bodies[operation.body % kBodies].position;
  put(words.source, static_cast<std::uint64_t>(operation.source));
  put(words.id_high, operation.id.high);
  put(words.id_low, operation.id.low);
  put(words.target_ns, operation.target_ns);
  put(words.planned_ns, operation.planned_ns);
  put(words.bucket_ns, operation.bucket_ns);
  put(words.expires_ns, operation.expires_ns);
  put(words.weight, std::bit_cast<std::uint64_t>(operation.weight));
  put(words.part_of, operation.part_of);
  put(words.body_position, position);
  put(words.body, operation.body_bytes | std::uint64_t{operation.parked + 1U} << 32);
  put(words.about, static_cast<std::uint64_t>(header.verb) |
                       static_cast<std::uint64_t>(header.strategy) << 8 |
                       static_cast<std::uint64_t>(operation.priority) << 16 |
                       std::uint64_t{operation.marks} << 24);
  put(words.targets, std::uint64_t{operation.targets});
  put(words.next_key, std::uint64_t{0});
  put(words.result, static_cast<std::uint64_t>(ResultState::none));
  MESH_POINT("operation.publish:before_state");
  // SYNC operation.state release: who finds it sending finds all of it.
  words.state.store_release(static_cast<std::uint64_t>(OperationState::sending) |
                            std::uint64_t{operation.serial} << 32);
  operation.state = OperationState::sending;
}

void EngineLoop::State::start_sending(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  operation.is_lateness_known = false;
  operation.sending_at = static_cast<std::uint32_t>(sending.size());
  sending.push_back(slot);
  ending.push_back(slot);  // nobody may be meant, or, adopted, everybody has answered
  static_cast<void>(wheel->schedule({.operation = slot,
                                     .bucket = kDeadlineEntry,
                                     .due_ns = to_ns(operation.gather->deadline())}));
  if (!schedule_next_bucket(slot)) close_body(operation);
}

// Puts the next bucket on the wheel. False: there is none.
bool EngineLoop::State::schedule_next_bucket(std::uint32_t slot) noexcept {
  const Operation& operation = operations[slot];
  if (!operation.has_bucket_left()) return false;
  const std::uint32_t key = operation.next_key();
  static_cast<void>(wheel->schedule({.operation = slot,
                                     .bucket = 0,
                                     .due_ns = operation.planned_ns + key * operation.bucket_ns}));
  return true;
}

}  // namespace mesh::engine
