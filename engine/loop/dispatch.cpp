// Phases 3 and 4, wheel and dispatch: what is due leaves as one run a station.
#include <algorithm>
#include <cstring>

#include "engine/loop/state.hpp"

namespace mesh::engine {

namespace {

constexpr std::uint32_t kFiresPerTick = 256;

constexpr std::uint32_t us_of(std::int32_t lead) noexcept {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(std::int64_t{lead} * sched::kLeadUnitNs / kNsPerUs, 0, UINT32_MAX));
}

}  // namespace

bool EngineLoop::State::fire_wheel() noexcept {
  if (dispatched >= kDispatchSlotsPerTick) return true;  // pending took the turn
  const sched::Advanced advanced =
      wheel->advance(now_ns, kFiresPerTick, [&](const sched::WheelEntry& entry) {
        // A deadline is looked at by gather(), after all answers that are already here.
        if (entry.bucket != kDeadlineEntry) dispatch_bucket(entry.operation);
      });
  return advanced.fired != 0 || advanced.more;
}

void EngineLoop::State::dispatch_bucket(std::uint32_t slot) noexcept {
  Operation& operation = operations[slot];
  if (operation.state != OperationState::kSending) return;
  const std::int64_t start = clock();
  const std::uint32_t first = operation.offsets[operation.next_bucket];
  const std::uint32_t end = operation.offsets[operation.next_bucket + 1];
  const std::span<const std::uint32_t> rows = operation.rows.subspan(first, end - first);
  for (std::size_t at = 0; at < rows.size();) {
    const StationId station = registry->station_of(agent_index(rows[at]));
    std::size_t past = at + 1;
    while (past < rows.size() && registry->station_of(agent_index(rows[past])) == station) ++past;
    StationLink* const link = link_of(station);
    if (link != nullptr && !link->is_corrupt) send_run(slot, *link, rows.subspan(at, past - at));
    at = past;
  }
  ++operation.next_bucket;
  if (!schedule_next_bucket(slot)) close_body(operation.body);
  operation.cost.dispatch_ns += clock() - start;
}

sched::DeliveryRecord EngineLoop::State::delivery_of(const Operation& operation, std::uint32_t slot,
                                                     std::uint32_t row) const noexcept {
  return {.message = sched::in_payload_log(bodies[operation.body % kBodies].position),
          .target = registry->id_of(agent_index(row)),
          .sent_ns = 0,
          .arrive_ns = to_ns(operation.request.target),
          .operation = operation_id(slot, operation.serial),
          .lead_us = us_of(operation.lead[row]),
          .expected_us = us_of(operation.lead[row]),
          .body_bytes = operation.body_bytes,
          .confidence = own(agents.confidence, row),
          .kind = sched::RecordKind::message,
          .flags = sched::RecordFlags::none};
}

// One run for all of a bucket's targets in this station, as far as its ring has room.
void EngineLoop::State::send_run(std::uint32_t slot, StationLink& link,
                                 std::span<const std::uint32_t> rows) noexcept {
  Operation& operation = operations[slot];
  std::size_t sent = 0;
  const std::int64_t target_ns = to_ns(operation.request.target);
  while (sent < rows.size() && link.pending_count == 0 && link.has_mark_room()) {
    const Ring::Run run = link.inbox.claim(rows.size() - sent);
    if (run.status != queues::ClaimStatus::kOk) break;
    const std::int64_t sent_ns = clock();
    const auto sent_units = static_cast<std::int32_t>(std::clamp<std::int64_t>(
        (target_ns - sent_ns) / sched::kLeadUnitNs, INT32_MIN + 1, INT32_MAX));
    const std::uint32_t* row = rows.data() + sent;
    link.inbox.fill(run, [&](Ring::Slot& cell, std::uint64_t) {
      sched::DeliveryRecord& record = queues::build_in<sched::DeliveryRecord>(cell);
      record = delivery_of(operation, slot, *row);
      record.sent_ns = sent_ns;
      operation.sent[*row] = sent_units;
      put(agents.queue_depth, *row, own(agents.queue_depth, *row) + 1);
      ++row;
    });
    const auto count = static_cast<std::uint32_t>(run.slots.size());
    link.push_mark({.inbox_end = run.position + count, .body = operation.body, .count = count});
    bodies[operation.body % kBodies].unread += count;
    counters.deliveries += count;
    dispatched += count;
    sent += count;
    touch(link);
  }
  for (const std::uint32_t row : rows.subspan(sent)) keep_pending(slot, link, row);
}

void EngineLoop::State::touch(StationLink& link) noexcept { link.is_staged = true; }

void EngineLoop::State::keep_pending(std::uint32_t slot, StationLink& link,
                                     std::uint32_t row) noexcept {
  Operation& operation = operations[slot];
  const auto priority = static_cast<std::uint32_t>(sched::Priority::normal);
  if (!pending->push(link, priority,
                     {delivery_of(operation, slot, row), operation.body, slot, row})) {
    ++counters.target_full;  // a straggler of its operation
    return;
  }
  ++bodies[operation.body % kBodies].unread;
  ++counters.pending;
}

// Highest priority first; what arrived first leaves first.
bool EngineLoop::State::empty_pending() noexcept {
  bool worked = false;
  for (StationLink* const link : live) {
    if (link->pending_count == 0 || link->is_corrupt) continue;
    for (std::uint32_t priority = kPriorities; priority-- != 0;) {
      while (const PendingDelivery* const waiting = pending->front(*link, priority)) {
        if (dispatched >= kDispatchSlotsPerTick) return true;
        if (!link->has_mark_room()) break;  // it does not read: the others do not wait for it
        const Ring::Run run = link->inbox.claim(1);
        if (run.status != queues::ClaimStatus::kOk) break;
        sched::DeliveryRecord record = waiting->record;
        record.sent_ns = clock();
        if (waiting->slot < operations.size() &&
            operation_id(waiting->slot, operations[waiting->slot].serial) == record.operation) {
          Operation& operation = operations[waiting->slot];
          operation.sent[waiting->row] = static_cast<std::int32_t>(std::clamp<std::int64_t>(
              (record.arrive_ns - record.sent_ns) / sched::kLeadUnitNs, INT32_MIN + 1, INT32_MAX));
        }
        const auto row = static_cast<std::uint32_t>(index_of(record.target));
        put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
        link->inbox.fill(run, [&](Ring::Slot& cell, std::uint64_t) {
          queues::build_in<sched::DeliveryRecord>(cell) = record;
        });
        link->push_mark({.inbox_end = run.position + 1, .body = waiting->body, .count = 1});
        pending->pop(*link, priority);
        ++counters.deliveries;
        ++dispatched;
        touch(*link);
        worked = true;
      }
    }
  }
  return worked;
}

// One store makes a station's deliveries visible; one wake, and only if it sleeps.
void EngineLoop::State::reveal_staged() noexcept {
  for (StationLink* const link : live) {
    if (!link->is_staged) continue;
    link->is_staged = false;
    if (!link->inbox.reveal_checked()) continue;
    const std::int64_t start = clock();
    outside.wakes->wake(link->number);
    ++counters.wakes;
    const std::int64_t took = clock() - start;
    for (Operation& operation : operations) {
      if (operation.state != OperationState::kSending) continue;
      ++operation.cost.wakes;
      operation.cost.wake_ns += took;
    }
  }
}

bool EngineLoop::State::deliver(StationLink& link, const sched::DeliveryRecord& record) noexcept {
  if (link.is_corrupt || link.pending_count != 0 || !link.has_mark_room()) return false;
  const Ring::Run run = link.inbox.claim(1);
  if (run.status != queues::ClaimStatus::kOk) return false;
  link.inbox.fill(run, [&](Ring::Slot& cell, std::uint64_t) {
    queues::build_in<sched::DeliveryRecord>(cell) = record;
  });
  // From here on this message may go: every body of `.in` up to its own.
  link.push_mark({.inbox_end = run.position + 1, .own_tail = link.own_bodies.head()});
  ++counters.deliveries;
  touch(link);
  return true;
}

Errc EngineLoop::State::deliver_body(Message& message,
                                     std::span<const std::byte> header_and_body) noexcept {
  const AgentIndex index = registry->resolve(message.target);
  if (index == kNoAgent) {
    ++counters.no_such_agent;
    return Errc::no_such_agent;
  }
  StationLink* const link = link_of(registry->station_of(index));
  if (link == nullptr) return Errc::not_ready;
  if (link->pending_count != 0 || !link->has_mark_room() || link->inbox.free_slots() == 0) {
    ++counters.target_full;
    return Errc::target_full;
  }
  const auto appended = link->own_bodies.append(header_and_body);
  if (appended.status != queues::AppendStatus::kOk) {
    ++counters.target_full;
    return appended.status == queues::AppendStatus::kTooLong ? Errc::truncated : Errc::target_full;
  }
  const auto row = static_cast<std::uint32_t>(index);
  message.message = static_cast<std::uint64_t>(sched::in_inbox(appended.position));
  const bool delivered = deliver(*link, {.message = sched::in_inbox(appended.position),
                                         .target = message.target,
                                         .sent_ns = clock(),
                                         .arrive_ns = 0,
                                         .operation = OperationId{0},
                                         .lead_us = 0,
                                         .expected_us = 0,
                                         .body_bytes = static_cast<std::uint32_t>(
                                             header_and_body.size() - sched::kMessageHeaderBytes),
                                         .confidence = own(agents.confidence, row),
                                         .kind = message.kind,
                                         .flags = message.flags});
  if (!delivered) return Errc::target_full;
  if (message.kind == sched::RecordKind::message) {
    put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
    remember_route(message.message, message.target, message.source);
  }
  return Errc::ok;
}

// What the sender's message met: a report to it, with the outbox position and the code as its body.
void EngineLoop::State::report(StationLink& link, AgentId source, std::uint64_t message,
                               Errc why) noexcept {
  struct Body {
    std::uint64_t outbox_position;
    std::int64_t code;
  };
  const Body body{message, static_cast<std::int64_t>(why)};
  sched::DeliveryRecord record{};
  record.message = static_cast<sched::MessageWord>(message);
  record.target = source;
  record.sent_ns = clock();
  record.kind = sched::RecordKind::report;
  record.flags = sched::RecordFlags::bare;
  record.body_bytes = sizeof body;
  (void)sched::set_bare_body(record, std::as_bytes(std::span(&body, 1)));
  if (!deliver(link, record)) ++counters.lost_replies;
}

std::uint32_t EngineLoop::State::open_body(std::span<const std::byte> header_and_body) noexcept {
  if (body_head - body_tail == kBodies) return kNoBody;
  const auto appended = log.append(header_and_body);
  if (appended.status != queues::AppendStatus::kOk) return kNoBody;
  const auto body = static_cast<std::uint32_t>(body_head % kBodies);
  bodies[body_head % kBodies] = {appended.position, 0, true};
  ++body_head;
  return body;
}

void EngineLoop::State::close_body(std::uint32_t body) noexcept {
  bodies[body % kBodies].is_open = false;
  free_bodies();
}

// The log is freed from its tail: a body that is still unread keeps what came after it.
void EngineLoop::State::free_bodies() noexcept {
  while (body_tail != body_head) {
    const LoggedBody& oldest = bodies[body_tail % kBodies];
    if (oldest.is_open || oldest.unread != 0) return;
    ++body_tail;
    const std::uint64_t free_to =
        body_tail == body_head ? log.head() : bodies[body_tail % kBodies].position;
    (void)log.advance_tail(free_to);
  }
}

}  // namespace mesh::engine
