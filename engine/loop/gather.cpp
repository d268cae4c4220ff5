// Phase 5, gather: operations that are over give their result.
#include <algorithm>
#include <array>
#include <utility>

#include "engine/loop/account.hpp"
#include "engine/loop/comparing.hpp"
#include "engine/loop/state.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

// A result's id is its operation's with this bit: the same however often it is told.
constexpr std::uint64_t kResultBit = std::uint64_t{1} << 47;

std::uint32_t us_of(std::int64_t ns) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(ns / kNsPerUs, 0, std::int64_t{UINT32_MAX}));
}

}  // namespace

// Only what can have changed is looked at: an operation that was opened, answered by everybody, all
// sent, or whose deadline has come in this tick.
bool EngineLoop::State::gather() noexcept {
  if (look_at_all) {
    look_at_all = false;
    ending.assign(sending.begin(), sending.end());
  }
  bool worked = false;
  for (const std::uint32_t slot : ending) worked |= end_if_over(slot);
  ending.clear();
  return worked;
}

bool EngineLoop::State::end_if_over(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  if (operation.state != OperationState::sending) return false;
  // Complete is complete only when everybody was sent to.
  const sched::GatherEnd why = operation.gather->why_over(from_ns(now_ns));
  if (why == sched::GatherEnd::kOpen ||
      (why == sched::GatherEnd::kComplete && operation.has_bucket_left()))
    return false;
  const std::int64_t start = clock();
  operations[sending.back()].sending_at = operation.sending_at;
  sending[operation.sending_at] = sending.back();
  sending.pop_back();
  end_operation(slot, why);
  operation.cost.gather_ns += clock() - start;
  return true;
}

void EngineLoop::State::end_operation(std::uint32_t slot, sched::GatherEnd why) noexcept {
  Operation& operation = operations[slot];
  operation.gather->end(why, from_ns(now_ns));
  wheel->cancel_operation(slot);
  std::erase(continuing, slot);
  operation.next_order = operation.order_count;
  close_body(operation);
  const bool is_told = operation.source != AgentId{0};
  // relaxed: the state publishes it.
  operation.words->result.store_relaxed(
      static_cast<std::uint64_t>(is_told ? ResultState::due : ResultState::none));
  operation.state = OperationState::ended;
  MESH_POINT("operation.end:before_state");
  // SYNC operation.state release: who finds it ended finds whether its result is due.
  operation.words->state.store_release(static_cast<std::uint64_t>(OperationState::ended) |
                                       std::uint64_t{operation.serial} << 32);
  // After the state: a successor that finds it sending ends it again, and counts each miss once.
  judge_operation(*this, slot);
  compare_outcomes(*this, operation);
  if (operation.part_of != 0) {
    note_part(*this, slot, operation);
    count_part(*this, operation);
  } else {
    count_operation(*this, operation);
  }
  if (is_told) tell_result(slot, false);
  if (is_told || operation.part_of != 0) return;
  if (finished_head - finished_tail == finished.size()) ++finished_tail;  // nobody asked for it
  finished[finished_head++ % finished.size()] = {
      .id = operation_id(slot, operation.serial),
      .target = from_ns(operation.target_ns),
      .result = operation.gather->result(from_ns(now_ns)),
      .cost = operation.cost,
      .compared = operation.compared};
}

// To the agent that opened it.
void EngineLoop::State::tell_result(std::uint32_t slot, bool again) noexcept {
  const Operation& operation = operations[slot];
  const sched::GatherCounts counts = operation.gather->counts();
  const sched::GatherJudgement judgement = operation.gather->judgement();
  sched::ErrorSummary errors;  // where there was a T
  if ((operation.marks & kOperationNow) == 0)
    errors = operation.gather->result(from_ns(now_ns)).errors;
  sched::ResultBody body{};
  body.operation = operation_id(slot, operation.serial);
  body.target_ns = operation.target_ns;
  body.targeted = static_cast<std::uint32_t>(counts.targeted());
  body.sent = counts.sent;
  body.ready = counts.ready;
  body.conflict = counts.conflict;
  body.straggler = counts.straggler();
  body.skipped = static_cast<std::uint32_t>(counts.skipped.total());
  body.error_p50_us = us_of(errors.p50_ns);
  body.error_p90_us = us_of(errors.p90_ns);
  body.error_p99_us = us_of(errors.p99_ns);
  body.verdict = static_cast<std::uint8_t>(judgement.verdict);
  body.advice = static_cast<std::uint8_t>(judgement.advice);
  body.end = static_cast<std::uint8_t>(operation.gather->end_reason());
  const std::span<const std::byte> bytes = std::as_bytes(std::span(&body, 1));
  sched::MessageHeader header = own_header(AgentId{0}, bytes);
  header.id = {operation.id.high, operation.id.low | kResultBit};
  header.causation = operation.id;
  header.correlation = operation.id;
  header.strategy = sched::Strategy::scatter_gather;
  header.priority = sched::Priority::high;
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                        bytes};
  const Letter letter{.kind = sched::RecordKind::result,
                      .priority = header.priority,
                      .marks = again ? kEntryRedelivered : std::uint8_t{0},
                      .source = AgentId{0},
                      .target = operation.source,
                      .id = header.id,
                      .body_bytes = header.body_bytes};
  if (post(letter, parts) != Errc::ok) ++counters.lost_replies;
  told.push_back(slot);
}

// Its place is needed. What has not answered until now will not be asked again.
void EngineLoop::State::free_operation(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  operation.state = OperationState::free;
  // SYNC operation.state release: nothing of it is looked at any more.
  operation.words->state.store_release(std::uint64_t{operation.serial} << 32);
  if (operation.parked != parked.kNone)
    parked.release(operation.parked, sched::kMessageHeaderBytes + operation.body_bytes);
  operation.parked = parked.kNone;
  operation.body = kNoBody;
}

}  // namespace mesh::engine
