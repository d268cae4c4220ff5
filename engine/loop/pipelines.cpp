// Pipelines: how one begins, goes on from step to step and ends.
#include "engine/loop/pipelines.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "engine/loop/own_operations.hpp"
#include "engine/loop/pipeline_book.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kEarlyNs = 100 * kNsPerMs;  // before it is to leave that a step is opened
constexpr std::int64_t kAgainNs = kNsPerMs;        // after which what could not be sent is tried
constexpr std::uint32_t kPipelineIds = kMaxOperations + kMaxCascades;

OperationId id_of(const EngineLoop::State& loop, const Pipeline& pipeline) noexcept {
  const auto at = static_cast<std::uint32_t>(&pipeline - loop.pipelines.all.data());
  return operation_id(kPipelineIds + at, pipeline.serial);
}

// Its name goes first, then the body.
void drop_body(EngineLoop::State& loop, Pipeline& pipeline, std::uint32_t of_step) noexcept {
  const Pipeline::Body body = pipeline.body_of(of_step);
  pipeline.set_body(of_step, {});
  if (body.first != loop.parked.kNone) loop.parked.release(body.first, body.bytes);
}

void store_state(Pipeline& pipeline, PipelineState state) noexcept {
  pipeline.state = state;
  // SYNC pipeline.state release: who finds it so finds all of it.
  pipeline.words->state.store_release(static_cast<std::uint64_t>(state) |
                                      std::uint64_t{pipeline.serial} << 32);
}

// Which message its result is: the answer of its last step, or else the last one before.
std::uint32_t result_step(const Pipeline& pipeline, StepState last) noexcept {
  const bool is_answered = last == StepState::ready || last == StepState::conflict;
  return is_answered ? pipeline.step + 1 : pipeline.step;
}

void finish(EngineLoop::State& loop, Pipeline& pipeline, StepState last) noexcept {
  const bool is_done = last == StepState::ready;
  pipeline.set_step(last);
  pipeline.status = is_done ? PipelineStatus::success : PipelineStatus::failed_at_step;
  pipeline.store_about();
  pipeline.words->ended_ns.store_relaxed(loop.now_ns);  // relaxed: the state publishes it
  MESH_POINT("pipeline.end:before_state");
  store_state(pipeline, PipelineState::ended);
  const std::uint32_t result = result_step(pipeline, last);
  drop_body(loop, pipeline, result + 1);
  if (result == 0) drop_body(loop, pipeline, 0);  // nobody has answered anything
  PipelineBook& book = loop.pipelines;
  book.ended.push_back(static_cast<std::uint32_t>(&pipeline - book.all.data()));
  --book.running;
  ++loop.counters.pipelines_ended;
  ++loop.counters.operations_ended;
  loop.counters.pipelines_done += is_done ? 1U : 0U;
  loop.counters.operations_quorum += is_done ? 1U : 0U;
}

void free_pipeline(EngineLoop::State& loop, Pipeline& pipeline) noexcept {
  drop_body(loop, pipeline, 0);
  drop_body(loop, pipeline, 1);
  store_state(pipeline, PipelineState::free);
}

// Sending.

bool can_be_sent(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  const OperatorHolds& holds = loop.gate.holds;
  return loop.is_active(row) && !holds.is_around(row) && !holds.is_frozen(row);
}

// An operation that came to nothing is no step.
void disown(Operation& operation) noexcept {
  operation.part_of = kNobodyPart;
  operation.words->part_of.store_relaxed(kNobodyPart);  // relaxed: a word that stands alone
}

bool has_target(const Operation& operation) noexcept {
  return operation.targets == 1 && operation.gather->scheduled().test(0);
}

bool try_again(EngineLoop::State& loop, Pipeline& pipeline, StepState why) noexcept {
  pipeline.waits_for = why;
  pipeline.look_ns = loop.now_ns + kAgainNs;
  return false;
}

// `timed`: it leaves by the plan for its target; else at once.
bool open_step(EngineLoop::State& loop, Pipeline& pipeline, bool timed) noexcept {
  const Pipeline::Body message = pipeline.body_of(pipeline.step);
  const std::span<std::byte> body = loop.scratch.subspan(sched::kMessageHeaderBytes, message.bytes);
  if (message.first != loop.parked.kNone) loop.parked.copy(message.first, 0, body);
  sched::MessageHeader header = loop.own_header(AgentId{}, body);
  header.correlation = header.causation = pipeline.id;
  header.strategy = sched::Strategy::pipeline;
  header.verb = pipeline.verb;
  header.priority = pipeline.priority;
  header.set_weight(static_cast<float>(pipeline.weight));
  const std::array<AgentId, 1> target{pipeline.agent(pipeline.step)};
  const auto at = static_cast<std::uint32_t>(&pipeline - loop.pipelines.all.data());
  OperationRequest request{.targets = sched::selector(sched::SelectorKind::list),
                           .list = target,
                           .window = Nanos{pipeline.window_ns},
                           .timeout = Nanos{pipeline.deadline_ns() - loop.now_ns},
                           .weight = header.weight(),
                           .verb = header.verb,
                           .priority = header.priority,
                           .at_once = !timed,
                           .part_of = pipeline_word(at, pipeline.serial, pipeline.step)};
  if (timed) request.target = from_ns(pipeline.target_ns(pipeline.step));
  const EngineLoop::State::Opened opened = loop.open_operation(request, header, body);
  if (opened.refused == Errc::capacity || opened.refused == Errc::no_space)
    return try_again(loop, pipeline, StepState::no_room);
  if (opened.refused != Errc::ok) return try_again(loop, pipeline, StepState::unreachable);
  Operation& operation = loop.operations[opened.slot];
  if (!has_target(operation)) {  // a breaker is before it, or its lead has just grown
    disown(operation);
    return timed ? open_step(loop, pipeline, false)
                 : try_again(loop, pipeline, StepState::unreachable);
  }
  MESH_POINT("pipeline.send:before_progress");
  // relaxed: it stands alone.
  pipeline.steps[pipeline.step].sent_ns.store_relaxed(loop.now_ns);
  pipeline.set_step(StepState::sent);
  pipeline.is_sent = true;
  pipeline.store_progress();
  return true;
}

// The present step, if its moment has come. False: later.
bool send_step(EngineLoop::State& loop, Pipeline& pipeline) noexcept {
  const AgentIndex index = loop.registry->resolve(pipeline.agent(pipeline.step));
  if (index == kNoAgent) {  // its name was given up meanwhile
    finish(loop, pipeline, StepState::unreachable);
    return true;
  }
  const auto row = static_cast<std::uint32_t>(index);
  const std::int64_t target_ns = pipeline.target_ns(pipeline.step);
  const std::int64_t send_ns = target_ns - loop.lead_ns(row, static_cast<float>(pipeline.weight));
  if (loop.now_ns < send_ns - kEarlyNs) {
    pipeline.look_ns = send_ns - kEarlyNs;
    return false;
  }
  if (!can_be_sent(loop, row)) return try_again(loop, pipeline, StepState::unreachable);
  const std::int64_t bucket_ns = loop.options.bucket.count();
  const bool timed = loop.now_ns + bucket_ns < send_ns &&
                     target_ns - loop.now_ns < bucket_ns * kBucketsPerOperation;
  if (!timed && loop.now_ns < send_ns) {  // a lead beyond what is planned
    pipeline.look_ns = send_ns;
    return false;
  }
  return open_step(loop, pipeline, timed);
}

bool go_on(EngineLoop::State& loop, Pipeline& pipeline) noexcept {
  if (pipeline.is_sent) return false;
  if (loop.now_ns > pipeline.deadline_ns()) {
    finish(loop, pipeline, pipeline.waits_for);
    return true;
  }
  return loop.now_ns >= pipeline.look_ns && send_step(loop, pipeline);
}

// What came of it.

void move_on(EngineLoop::State& loop, Pipeline& pipeline) noexcept {
  pipeline.set_step(StepState::ready);
  ++pipeline.step;
  pipeline.is_sent = false;
  pipeline.look_ns = 0;
  pipeline.waits_for = StepState::unreachable;
  pipeline.store_progress();
  MESH_POINT("pipeline.move_on:before_body");
  drop_body(loop, pipeline, pipeline.step - 1);
}

void take_answer(EngineLoop::State& loop, Pipeline& pipeline, StepState answer) noexcept {
  // relaxed: it stands alone.
  pipeline.steps[pipeline.step].answered_ns.store_relaxed(loop.now_ns);
  if (pipeline.has_lost_answer) return finish(loop, pipeline, StepState::no_room);
  if (answer == StepState::ready && pipeline.step + 1 != pipeline.count)
    return move_on(loop, pipeline);
  finish(loop, pipeline, answer);
}

void look_at_step(EngineLoop::State& loop, std::uint32_t slot) noexcept {
  Operation& operation = loop.operations[slot];
  operation.is_noted = false;
  Pipeline* const pipeline = loop.pipelines.of(operation);
  if (pipeline == nullptr || !pipeline->is_sent) return;
  if (operation.gather->ready().test(0)) {
    take_answer(loop, *pipeline, StepState::ready);
  } else if (operation.gather->conflict().test(0)) {
    take_answer(loop, *pipeline, StepState::conflict);
  } else if (operation.gather->spent().test(0)) {
    finish(loop, *pipeline, StepState::declined);
  } else if (operation.state == OperationState::ended) {
    finish(loop, *pipeline, StepState::no_answer);
  } else {
    return;
  }
  operation.part_of = 0;  // answers that come now are its operation's alone
}

// Beginning.

std::string ms_text(std::int64_t ns) { return std::to_string((ns + kNsPerMs - 1) / kNsPerMs); }

Status check(const EngineLoop::State& loop, const PipelineRequest& request) {
  const auto refuse = [](std::string why) {
    return fail(Errc::invalid_argument, "pipeline: " + std::move(why));
  };
  if (request.targets.empty() || request.targets.size() > kPipelineStepsMax)
    return refuse(std::to_string(request.targets.size()) + " steps; 1 to " +
                  std::to_string(kPipelineStepsMax) + " are possible");
  if (request.window <= Nanos{0} || request.horizon < Nanos{0})
    return refuse("a window of nothing, or a T before now");
  if (!(request.weight >= 0) || request.weight > static_cast<float>(sched::kWeightMax))
    return refuse("a weight that cannot be");
  if (sched::kMessageHeaderBytes + request.body.size() > loop.log.body_bytes_max())
    return fail(Errc::truncated,
                "pipeline: a body of " + std::to_string(request.body.size()) + " bytes");
  return {};
}

// How long before its target each step leaves.
Result<std::vector<std::int64_t>> leads_of(const EngineLoop::State& loop,
                                           const PipelineRequest& request) {
  std::vector<std::int64_t> leads;
  for (const AgentId target : request.targets) {
    const std::string which = "pipeline: step " + std::to_string(leads.size() + 1) + ": ";
    const AgentIndex index = loop.registry->resolve(target);
    if (index == kNoAgent) return fail(Errc::no_such_agent, which + "no agent has this handle");
    const auto row = static_cast<std::uint32_t>(index);
    if (loop.gate.holds.is_around(row))
      return fail(Errc::not_routable, which + "nothing new is sent to this agent",
                  static_cast<std::int64_t>(target));
    leads.push_back(loop.lead_ns(row, request.weight));
  }
  return leads;
}

Pipeline* free_place(EngineLoop::State& loop) noexcept {
  PipelineBook& book = loop.pipelines;
  for (Pipeline& pipeline : book.all)
    if (pipeline.state == PipelineState::free) return &pipeline;
  if (book.ended.empty()) return nullptr;
  Pipeline& oldest = book.all[book.ended.front()];  // nobody took its result
  book.ended.erase(book.ended.begin());
  free_pipeline(loop, oldest);
  return &oldest;
}

// Targets from the last to the first.
void plan_back(Pipeline& pipeline, const PipelineRequest& request,
               std::span<const std::int64_t> leads, std::int64_t target_ns) noexcept {
  for (std::size_t at = leads.size(); at-- > 0; target_ns -= leads[at]) {
    Pipeline::StepWords& step = pipeline.steps[at];
    // relaxed, all: the state publishes them.
    step.agent.store_relaxed(static_cast<std::uint64_t>(request.targets[at]));
    step.target_ns.store_relaxed(target_ns);  // relaxed: as above
    step.sent_ns.store_relaxed(0);            // relaxed: as above
    step.answered_ns.store_relaxed(0);        // relaxed: as above
    step.state.store_relaxed(0);              // relaxed: as above
  }
}

// Everything that a successor needs, the state last.
void begin(EngineLoop::State& loop, Pipeline& pipeline, const PipelineRequest& request,
           const Pipeline::Body& body) noexcept {
  ++pipeline.serial;
  pipeline.id = loop.own_id();
  pipeline.count = static_cast<std::uint32_t>(request.targets.size());
  pipeline.step = 0;
  pipeline.is_sent = pipeline.has_lost_answer = false;
  pipeline.verb = request.verb;
  pipeline.priority = request.priority;
  pipeline.status = PipelineStatus::running;
  pipeline.weight = static_cast<double>(request.weight);
  pipeline.window_ns = request.window.count();
  pipeline.started_ns = loop.now_ns;
  pipeline.look_ns = 0;
  pipeline.waits_for = StepState::unreachable;
  pipeline.set_body(0, body);
  pipeline.set_body(1, {});
  Pipeline::Words& words = *pipeline.words;
  const auto put = [](auto& word, auto value) {
    word.store_relaxed(value);  // relaxed: the state publishes it
  };
  put(words.id_high, pipeline.id.high);
  put(words.id_low, pipeline.id.low);
  put(words.started_ns, pipeline.started_ns);
  put(words.ended_ns, std::int64_t{0});
  put(words.window_ns, pipeline.window_ns);
  put(words.weight, std::bit_cast<std::uint64_t>(pipeline.weight));
  pipeline.store_about();
  pipeline.store_progress();
  MESH_POINT("pipeline.publish:before_state");
  store_state(pipeline, PipelineState::running);
}

}  // namespace

Result<OperationId> open_pipeline(EngineLoop& engine, const PipelineRequest& request,
                                  HostTime now) {
  EngineLoop::State& loop = engine.state();
  loop.advance_to(now);
  MESH_CHECK_OK(check(loop, request));
  MESH_TRY(const std::vector<std::int64_t> leads, leads_of(loop, request));
  std::int64_t needed_ns = 0;
  for (const std::int64_t lead : leads) needed_ns += lead;
  std::int64_t target_ns = to_ns(request.target);
  if (target_ns == 0)
    target_ns =
        loop.now_ns + (request.horizon > Nanos{0} ? request.horizon.count()
                                                  : needed_ns + 2 * loop.options.bucket.count());
  if (target_ns - needed_ns < loop.now_ns)
    return fail(Errc::no_schedulable_agents,
                "pipeline: its " + std::to_string(leads.size()) + " steps need " +
                    ms_text(needed_ns) + " ms, T is in " +
                    ms_text(std::max<std::int64_t>(target_ns - loop.now_ns, 0)) + " ms",
                needed_ns);
  loop.gate.was_open = false;
  const Errc refused = admit_operation(
      loop, {.targets = sched::selector(sched::SelectorKind::list), .priority = request.priority},
      static_cast<std::uint32_t>(leads.size()));
  if (refused != Errc::ok) return fail(refused, "pipeline: " + std::string(to_string(refused)));
  Pipeline* const pipeline = free_place(loop);
  if (pipeline == nullptr)
    return fail(Errc::capacity,
                "pipeline: " + std::to_string(kMaxPipelines) + " pipelines are in flight",
                kMaxPipelines);
  Pipeline::Body body{.bytes = static_cast<std::uint32_t>(request.body.size())};
  if (body.bytes != 0) {
    body.first = loop.parked.put(request.body);
    if (body.first == loop.parked.kNone) {
      ++loop.counters.parked_full;
      return fail(Errc::parked_full, "pipeline: no room to keep its body");
    }
  }
  plan_back(*pipeline, request, leads, target_ns);
  begin(loop, *pipeline, request, body);
  ++loop.pipelines.running;
  ++loop.counters.pipelines;
  static_cast<void>(go_on(loop, *pipeline));
  return id_of(loop, *pipeline);
}

void keep_step_answer(EngineLoop::State& loop, StationLink& link, const Operation& operation,
                      const sched::AnswerRecord& answer) noexcept {
  Pipeline* const pipeline = loop.pipelines.of(operation);
  if (pipeline == nullptr || answer.body_bytes == 0 || !operation.is_outstanding(0)) return;
  if (answer.kind == sched::RecordKind::refusal) return;
  const std::span<std::byte> room = loop.scratch.subspan(sched::kMessageHeaderBytes);
  const auto copied = link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset), room);
  if (copied.status != queues::BodyStatus::kRead || copied.length != answer.body_bytes) {
    pipeline->has_lost_answer = true;  // longer than any message, or not where it was said to be
    return;
  }
  const std::uint32_t first = loop.parked.put(room.first(copied.length));
  if (first == loop.parked.kNone) {
    ++loop.counters.parked_full;
    pipeline->has_lost_answer = true;
    return;
  }
  // One that a dead engine had parked, and not counted, is parked again.
  const Pipeline::Body before = pipeline->body_of(pipeline->step + 1);
  pipeline->set_body(pipeline->step + 1, {static_cast<std::uint32_t>(copied.length), first});
  if (before.first != loop.parked.kNone) loop.parked.release(before.first, before.bytes);
  MESH_POINT("pipeline.keep:after_body");
}

bool run_pipelines(EngineLoop::State& loop) noexcept {
  PipelineBook& book = loop.pipelines;
  bool worked = !book.noted.empty();
  for (const std::uint32_t slot : book.noted) look_at_step(loop, slot);
  book.noted.clear();
  if (book.running == 0) return worked;
  for (Pipeline& pipeline : book.all)
    if (pipeline.state == PipelineState::running) worked |= go_on(loop, pipeline);
  return worked;
}

std::int64_t next_pipeline_ns(const EngineLoop::State& loop) noexcept {
  std::int64_t due = INT64_MAX;
  if (loop.pipelines.running == 0) return due;
  for (const Pipeline& pipeline : loop.pipelines.all) {
    if (pipeline.state != PipelineState::running || pipeline.is_sent) continue;
    due = std::min({due, std::max(pipeline.look_ns, loop.now_ns), pipeline.deadline_ns() + 1});
  }
  return due;
}

std::optional<FinishedPipeline> take_finished_pipeline(EngineLoop& engine) {
  EngineLoop::State& loop = engine.state();
  PipelineBook& book = loop.pipelines;
  if (book.ended.empty()) return std::nullopt;
  Pipeline& pipeline = book.all[book.ended.front()];
  book.ended.erase(book.ended.begin());
  FinishedPipeline finished{.id = id_of(loop, pipeline),
                            .status = pipeline.status,
                            .target = from_ns(pipeline.target_ns(pipeline.count - 1))};
  for (std::uint32_t at = 0; at < pipeline.count; ++at) {
    const Pipeline::StepWords& step = pipeline.steps[at];
    // relaxed, all: our own stores.
    finished.steps.push_back({.agent = pipeline.agent(at),
                              .state = static_cast<StepState>(step.state.load_relaxed()),
                              .target = from_ns(pipeline.target_ns(at)),
                              .sent = from_ns(step.sent_ns.load_relaxed()),            // relaxed
                              .answered = from_ns(step.answered_ns.load_relaxed())});  // relaxed
  }
  const StepState last = finished.steps[pipeline.step].state;
  if (last == StepState::conflict)
    finished.state = sched::TrinaryState::conflict;
  else if (last == StepState::ready || pipeline.step != 0)
    finished.state = sched::TrinaryState::ready;
  const Pipeline::Body body = pipeline.body_of(result_step(pipeline, last));
  finished.body.resize(body.bytes);
  if (body.first != loop.parked.kNone) loop.parked.copy(body.first, 0, finished.body);
  // relaxed: our own store.
  finished.total_ns = pipeline.words->ended_ns.load_relaxed() - pipeline.started_ns;
  free_pipeline(loop, pipeline);
  return finished;
}

}  // namespace mesh::engine
