// Phases 3 and 4, wheel and dispatch: what is due leaves as one run a station.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/loop/state.hpp"

namespace mesh::engine {

namespace {

constexpr std::uint32_t kFiresPerTick = 256;

constexpr std::uint32_t us_of(std::int32_t lead) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(std::int64_t{lead} * sched::kLeadUnitNs / kNsPerUs, 0, UINT32_MAX));
}

// Of what is predicted, the part that is not on its way.
std::uint32_t processing_us(std::int32_t predicted, float latency_ms) noexcept {
  const std::uint32_t one_way = static_cast<std::uint32_t>(std::max(latency_ms, 0.0F) * 500);
  const std::uint32_t all = us_of(predicted);
  return all - std::min(all, one_way);
}

std::int32_t units_between(std::int64_t target_ns, std::int64_t sent_ns) noexcept {
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      (target_ns - sent_ns) / sched::kLeadUnitNs, kSentBefore + 1, INT32_MAX));
}

bool is_past(const EngineLoop::State& loop, const Operation& operation) noexcept {
  return operation.expires_ns != 0 && operation.expires_ns < loop.now_ns;
}

// Past its time to live it is sent to nobody any more: these will never answer, and its end waits
// for none of them.
void let_expire(EngineLoop::State& loop, std::uint32_t slot,
                std::span<const std::uint32_t> places) noexcept {
  Operation& operation = loop.operations[slot];
  loop.counters.expired += places.size();
  if (operation.state != OperationState::sending) return;
  const bool was_settled = operation.is_settled();
  for (const std::uint32_t place : places)
    if (operation.is_outstanding(place))
      operation.gather->on_answer({.row = place, .state = sched::TrinaryState::transit},
                                  from_ns(loop.now_ns));
  if (!was_settled && operation.is_settled()) loop.ending.push_back(slot);
}

// All that has not left yet.
void let_rest_expire(EngineLoop::State& loop, std::uint32_t slot) noexcept {
  Operation& operation = loop.operations[slot];
  const std::uint32_t first = std::exchange(operation.next_order, operation.order_count);
  let_expire(loop, slot, {operation.order.get() + first, operation.order_count - first});
  operation.is_lateness_known = false;
  // SYNC operation.sent release: nothing of it is left to a successor.
  operation.words->next_key.store_release(sched::kKeyFirstReserved);
  loop.close_body(operation);
  loop.ending.push_back(slot);
}

bool has_bucket_to_send(EngineLoop::State& loop, std::uint32_t slot) noexcept {
  const Operation& operation = loop.operations[slot];
  if (operation.state != OperationState::sending || !operation.has_bucket_left()) return false;
  if (!is_past(loop, operation)) return true;
  let_rest_expire(loop, slot);
  return false;
}

}  // namespace

bool EngineLoop::State::fire_wheel() noexcept {
  // Where pending or what was cut took the turn the wheel waits, and deadlines with it.
  look_at_all = (!continuing.empty() && go_on()) || dispatched >= kDispatchSlotsPerTick;
  if (look_at_all) return true;
  if (wheel->size() == 0) return false;
  const sched::Advanced advanced =
      wheel->advance(now_ns, kFiresPerTick, [&](const sched::WheelEntry& entry) {
        // A deadline is looked at by gather(), after all answers that are already here.
        if (entry.bucket == kDeadlineEntry) return ending.push_back(entry.operation);
        if (entry.bucket == kTimedEntry) return fire_timed(entry.operation - kMaxOperations);
        dispatch_bucket(entry.operation);
      });
  look_at_all = advanced.more;
  return advanced.fired != 0 || advanced.more;
}

// Buckets that the last tick cut. True: this one is used up too.
bool EngineLoop::State::go_on() noexcept {
  std::size_t done = 0;
  while (done != continuing.size() && dispatched < kDispatchSlotsPerTick) {
    const std::uint32_t slot = continuing[done++];
    dispatch_bucket(slot);  // may put it at the end again
  }
  continuing.erase(continuing.begin(), continuing.begin() + static_cast<std::ptrdiff_t>(done));
  return dispatched >= kDispatchSlotsPerTick;
}

void EngineLoop::State::dispatch_bucket(std::uint32_t slot) noexcept {
  if (!has_bucket_to_send(*this, slot)) return;
  Operation& operation = operations[slot];
  const std::int64_t start = clock();
  const std::uint32_t bucket_key = operation.next_key();
  if (!operation.is_lateness_known) {
    operation.is_lateness_known = true;
    if (leaving_due_ns.size() < leaving_due_ns.capacity())
      leaving_due_ns.push_back(operation.planned_ns + bucket_key * operation.bucket_ns);
  }
  const auto priority = static_cast<std::uint32_t>(operation.priority);
  const auto is_of_bucket = [&](std::uint32_t i) {
    return i != operation.order_count && operation.key[operation.order[i]] == bucket_key;
  };
  std::uint32_t at = operation.next_order;
  while (is_of_bucket(at) && dispatched < kDispatchSlotsPerTick) {
    // Who is frozen is nowhere now: not sent to, a straggler.
    const auto station_at = [&](std::uint32_t i) {
      const std::uint32_t row = operation.row_of(operation.order[i]);
      return gate.holds.is_frozen(row) ? kNoStation : registry->station_of(agent_index(row));
    };
    const StationId station = station_at(at);
    const std::uint32_t most = at + (kDispatchSlotsPerTick - dispatched);
    std::uint32_t past = at + 1;
    while (past < most && is_of_bucket(past) && station_at(past) == station) ++past;
    StationLink* const link = link_of(station);
    // Of a station that is away nothing is sent now; it is brought when it comes back.
    if (link != nullptr && !link->is_corrupt) {
      std::uint32_t sent = 0;
      if (!PendingPool::has_at_least(*link, priority))
        sent = send_places(slot, *link, {operation.order.get() + at, past - at});
      if (sent != past - at) keep_pending(slot, *link, at + sent, past - at - sent);
    }
    at = past;
  }
  operation.next_order = at;
  if (!is_of_bucket(at)) {
    operation.is_lateness_known = false;
    // SYNC operation.sent release: what left of the bucket stands in `sent`.
    operation.words->next_key.store_release(std::uint64_t{bucket_key} + 1);
    if (!schedule_next_bucket(slot)) {
      close_body(operation);
      ending.push_back(slot);
    }
  } else {
    continuing.push_back(slot);
  }
  operation.cost.dispatch_ns += clock() - start;
}

// Runs for one station, as far as its ring has room.
std::uint32_t EngineLoop::State::send_places(std::uint32_t slot, StationLink& link,
                                             std::span<const std::uint32_t> places) noexcept {
  Operation& operation = operations[slot];
  const auto priority = static_cast<std::uint32_t>(operation.priority);
  const auto count = static_cast<std::uint32_t>(places.size());
  const auto& confidence =
      (operation.marks & kOperationByT) == 0 ? agents.confidence : agents.confidence_by_t;
  std::uint32_t sent = 0;
  while (sent != count && link.has_mark_room()) {
    const std::uint64_t room = link.room_for(priority, count - sent);
    sched::MessageWord word{};
    InboxMark mark;
    if (room == 0 || !body_for(operation, link, word, mark)) break;
    const Ring::Run run = link.inbox.claim(room);
    if (run.status != queues::ClaimStatus::kOk) break;
    const std::int64_t sent_ns = clock();
    sched::DeliveryRecord record{
        .message = word,
        .target = {},
        .sent_ns = sent_ns,
        .arrive_ns = (operation.marks & kOperationNow) != 0 ? 0 : operation.target_ns,
        .operation = operation_id(slot, operation.serial),
        .lead_us = 0,
        .expected_us = 0,
        .body_bytes = operation.body_bytes,
        .confidence = 0,
        .kind = sched::RecordKind::message,
        .flags = sched::RecordFlags::none};
    const std::int32_t units = units_between(operation.target_ns, sent_ns);
    const std::uint32_t* next = places.data() + sent;
    link.inbox.fill(run, [&](Ring::Slot& cell, std::uint64_t position) {
      const std::uint32_t place = *next++;
      const std::uint32_t row = operation.row_of(place);
      const bool again = operation.sent_units(place) == kSentBefore;
      record.target = registry->id_of(agent_index(row));
      record.lead_us = us_of(operation.lead[place]);
      record.expected_us = processing_us(operation.predicted[place], own(agents.latency_ms, row));
      record.confidence = own(confidence, row);
      record.flags = again ? sched::RecordFlags::redelivered : sched::RecordFlags::none;
      counters.redelivered += again ? 1 : 0;
      queues::build_in<sched::DeliveryRecord>(cell) = record;
      // relaxed: `sent` says that it stands.
      operation.inbox_place[place].store_relaxed(static_cast<std::uint32_t>(position));
      // SYNC operation.sent release: where its delivery stands.
      operation.sent[place].store_release(units);
      put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
    });
    const auto filled = static_cast<std::uint32_t>(run.slots.size());
    mark.inbox_end = run.position + filled;
    mark.count = mark.body == kNoBody ? 0 : filled;
    if (mark.body != kNoBody) bodies[mark.body % kBodies].unread += filled;
    link.push_mark(mark);
    link.staged_slot = slot;
    counters.deliveries += filled;
    dispatched += filled;
    sent += filled;
    touch(link);
  }
  return sent;
}

// Where a run finds its body: in the common log; or, once that had to give it up or never had it,
// in the station's own.
bool EngineLoop::State::body_for(Operation& operation, StationLink& link, sched::MessageWord& word,
                                 InboxMark& mark) noexcept {
  if (operation.body != kNoBody) {
    word = sched::in_payload_log(bodies[operation.body % kBodies].position);
    mark.body = operation.body;
    return true;
  }
  const auto size = static_cast<std::uint32_t>(sched::kMessageHeaderBytes + operation.body_bytes);
  auto room = link.own_bodies.reserve(size);
  if (room.status == queues::AppendStatus::kFull && free_own(link, room.bytes_short))
    room = link.own_bodies.reserve(size);
  if (room.status != queues::AppendStatus::kOk) return false;
  parked.for_each_part(operation.parked, size,
                       [&](std::span<const std::byte> part) { room.body.put(part); });
  word = sched::in_inbox(link.own_bodies.commit());
  mark.own_end = link.own_bodies.head();
  return true;
}

// Places [first, first + count) of the order wait; those beyond the station's share are stragglers.
void EngineLoop::State::keep_pending(std::uint32_t slot, StationLink& link, std::uint32_t first,
                                     std::uint32_t count) noexcept {
  const Operation& operation = operations[slot];
  const auto priority = static_cast<std::uint32_t>(operation.priority);
  const std::uint32_t kept = std::min(count, PendingPool::room(link));
  if (kept != 0 && pending->push(link, priority,
                                 {.kind = PendingNode::Kind::run,
                                  .slot = static_cast<std::uint16_t>(slot),
                                  .first = first,
                                  .count = kept,
                                  .serial = operation.serial})) {
    counters.pending += kept;
    count -= kept;
  }
  if (count != 0) set_full(link, true);
  counters.target_full += count;
}

// Highest priority first; what arrived first leaves first.
bool EngineLoop::State::empty_pending() noexcept {
  bool worked = false;
  for (StationLink* const link : live) {
    if (link->pending_count == 0) set_full(*link, false);
    if (link->pending_count == 0 || link->is_corrupt) continue;
    for (std::uint32_t priority = kPriorities; priority-- != 0;)
      worked |= empty_list(*link, priority);
    if (link->is_full && link->pending_entries <= link->agents_declared) set_full(*link, false);
  }
  return worked;
}

bool EngineLoop::State::empty_list(StationLink& link, std::uint32_t priority) noexcept {
  bool worked = false;
  while (const PendingNode* const node = pending->front(link, priority)) {
    if (dispatched >= kDispatchSlotsPerTick) return true;
    const std::uint32_t done = send_node(link, *node);
    if (done == 0) break;
    pending->take(link, priority, done);
    worked = true;
  }
  return worked;
}

// How many of its records are dealt with: sent, or not to be sent any more.
std::uint32_t EngineLoop::State::send_node(StationLink& link, const PendingNode& node) noexcept {
  if (node.kind == PendingNode::Kind::entry) return place_entry(link, node.first) ? 1 : 0;
  Operation& operation = operations[node.slot];
  if (operation.serial != node.serial || operation.state == OperationState::free) return node.count;
  const bool is_place = node.kind == PendingNode::Kind::place;
  if (is_past(*this, operation)) {
    const std::uint32_t* const first = is_place ? &node.first : operation.order.get() + node.first;
    let_expire(*this, node.slot, {first, node.count});
    return node.count;
  }
  if (is_place) {
    if (!operation.is_outstanding(node.first)) return 1;
    return send_places(node.slot, link, {&node.first, 1});
  }
  const std::uint32_t most = std::min(node.count, kDispatchSlotsPerTick - dispatched);
  return send_places(node.slot, link, {operation.order.get() + node.first, most});
}

// One store makes a station's deliveries visible; one wake, and only if it sleeps.
void EngineLoop::State::reveal_staged() noexcept {
  std::int64_t visible_ns = 0;  // when the first slot was: the wakes after it make nobody later
  for (StationLink* const link : live) {
    if (!link->is_staged) continue;
    link->is_staged = false;
    const std::uint32_t slot = std::exchange(link->staged_slot, ~std::uint32_t{0});
    const bool is_parked = link->inbox.reveal_checked();
    if (visible_ns == 0 && !leaving_due_ns.empty()) visible_ns = clock();
    if (!is_parked) continue;
    const std::int64_t start = clock();
    outside.wakes->wake(link->number);
    ++counters.wakes;
    if (slot >= operations.size()) continue;
    ++operations[slot].cost.wakes;
    operations[slot].cost.wake_ns += clock() - start;
  }
  if (leaving_due_ns.empty()) return;
  if (visible_ns == 0) visible_ns = clock();  // all of it waits for room
  for (const std::int64_t due_ns : leaving_due_ns) lateness.add(visible_ns - due_ns);
  leaving_due_ns.clear();
}

// Bodies for several stations.

std::uint32_t EngineLoop::State::open_body(
    std::span<const std::span<const std::byte>> parts) noexcept {
  if (body_head - body_tail == kBodies && !free_bodies(1)) return kNoBody;
  auto appended = log.append(parts);
  if (appended.status == queues::AppendStatus::kFull && free_bodies(appended.bytes_short))
    appended = log.append(parts);
  if (appended.status != queues::AppendStatus::kOk) return kNoBody;
  const auto body = static_cast<std::uint32_t>(body_head % kBodies);
  bodies[body] = {.position = appended.position, .is_open = true};
  ++body_head;
  return body;
}

void EngineLoop::State::close_body(Operation& operation) noexcept {
  if (operation.body != kNoBody) bodies[operation.body % kBodies].is_open = false;
}

// Frees the oldest bodies until so many bytes are free. What is still needed goes to the parked
// store; what a station has not read yet stays, and all behind it.
bool EngineLoop::State::free_bodies(std::uint64_t bytes_short) noexcept {
  const std::uint64_t tail = log.tail();
  for (StationLink* const link : live)
    if (link->mark_tail != link->mark_head) read_marks(*link);
  while (body_tail != body_head && log.tail() - tail < bytes_short) {
    const LoggedBody& oldest = bodies[body_tail % kBodies];
    if (oldest.is_open || oldest.unread != 0 || !park_body(oldest)) break;
    ++body_tail;
    const bool freed = log.advance_tail(
        body_tail == body_head ? log.head() : bodies[body_tail % kBodies].position);
    MESH_ASSERT(freed);
  }
  return log.tail() - tail >= bytes_short;
}

// True: nobody needs it in the log any more.
bool EngineLoop::State::park_body(const LoggedBody& body) noexcept {
  Operation& operation = operations[body.slot];
  if (operation.state == OperationState::free || operation.serial != body.serial) return true;
  if (operation.body == kNoBody || operation.is_settled()) {
    operation.body = kNoBody;
    return true;
  }
  const auto found = log_again.view(body.position);
  const std::uint32_t first =
      found.status == queues::BodyStatus::kRead ? parked.put(found.body.bytes()) : parked.kNone;
  if (first == parked.kNone) {
    ++counters.parked_full;
    // One that is over gives way to those that are not: its stragglers are not asked again.
    if (operation.state != OperationState::ended) return false;
    ++counters.given_up;
    free_operation(body.slot);
    return true;
  }
  ++counters.parked;
  operation.parked = first;
  // SYNC operation.state release: the parked body stands before the log's tail passes it.
  operation.words->body.store_release(operation.body_bytes | std::uint64_t{first + 1U} << 32);
  operation.body = kNoBody;
  return true;
}

}  // namespace mesh::engine
