// Direct messages: from their acceptance to their end; replies.cpp has what comes of their answers.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/loop/state.hpp"
#include "sched/lead_time.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using Part = std::span<const std::byte>;

std::size_t size_of(std::span<const Part> parts) noexcept {
  std::size_t bytes = 0;
  for (const Part part : parts) bytes += part.size();
  return bytes;
}

std::uint32_t level(sched::Priority priority) noexcept {
  return static_cast<std::uint32_t>(priority);
}

Entry entry_of(const Letter& letter, EntryState state) noexcept {
  return {.state = state,
          .kind = letter.kind,
          .priority = letter.priority,
          .marks = letter.marks,
          .body_bytes = letter.body_bytes,
          .target = letter.target,
          .source = letter.source,
          .id = letter.id,
          .bare = letter.bare};
}

sched::DeliveryRecord record_of(const Entry& entry, std::int64_t sent_ns) noexcept {
  const bool again = (entry.marks & kEntryRedelivered) != 0;
  sched::DeliveryRecord record{
      .message = entry.message,
      .target = entry.target,
      .sent_ns = sent_ns,
      .arrive_ns = 0,
      .operation = OperationId{0},
      .lead_us = 0,
      .expected_us = 0,
      .body_bytes = entry.body_bytes,
      .confidence = 0,
      .kind = entry.kind,
      .flags = again ? sched::RecordFlags::redelivered : sched::RecordFlags::none};
  if (!entry.is_bare()) return record;
  sched::set_bare_words(record, entry.bare);
  sched::set_bare_source(record, entry.source);
  return record;
}

std::uint32_t us_of(double ms) noexcept {
  return static_cast<std::uint32_t>(std::clamp(ms * 1'000, 0.0, double{UINT32_MAX}));
}

// Of one with a T: how long before it such a message leaves, what its agent is thought to need, and
// how sure that is. What goes at once has no compensation.
void compensate(const EngineLoop::State& loop, double weight,
                sched::DeliveryRecord& record) noexcept {
  const auto row = static_cast<std::uint32_t>(index_of(record.target));
  const sched::NominalPlan plan = loop.predict(row, weight);
  record.lead_us = us_of(plan.lead_ms);
  record.expected_us = us_of(plan.processing_ms);
  record.confidence = own(loop.agents.confidence, row);
}

double weight_in(Part header_bytes) noexcept {
  sched::MessageHeader header{};
  std::memcpy(&header, header_bytes.data(), std::min(header_bytes.size(), sizeof header));
  return header.weight();
}

}  // namespace

AgentState EngineLoop::State::state_of(std::uint32_t row) const noexcept {
  return static_cast<AgentState>(own(agents.state, row));
}

CapabilitySet EngineLoop::State::capabilities_of(std::uint32_t row) const noexcept {
  CapabilitySet::Words words{};
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = own(agents.capabilities, std::size_t{row} * words.size() + i);
  if (!gate.holds.denied.empty()) {
    const CapabilitySet::Words& denied = gate.holds.denied[row].words();
    for (std::size_t i = 0; i < words.size(); ++i) words[i] &= ~denied[i];
  }
  return CapabilitySet(words);
}

sched::MessageId EngineLoop::State::id_at(std::int64_t at_ns, StationId station,
                                          std::uint64_t position) const noexcept {
  const std::int64_t unix_ns = std::max<std::int64_t>(at_ns, 0) + options.unix_offset_ns;
  return sched::pack(
      {.unix_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(unix_ns, 0) / kNsPerMs),
       .host = options.host,
       .station = station,
       .outbox_position = position});
}

sched::MessageId EngineLoop::State::own_id() noexcept {
  return id_at(now_ns, StationId{0}, ++sequence);
}

sched::MessageHeader EngineLoop::State::own_header(AgentId source, Part body) noexcept {
  sched::MessageHeader header{};
  header.id = own_id();
  header.correlation = header.id;
  header.source = source;
  header.created_ns = now_ns;
  header.hash = shm::hash64(body);
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.set_weight(1);
  header.verb = sched::Verb::act;
  header.strategy = sched::Strategy::direct;
  header.priority = sched::Priority::normal;
  return header;
}

// On their way in.

Errc EngineLoop::State::check_target(AgentIndex index, const CapabilitySet& required) noexcept {
  if (index == kNoAgent) return ++counters.no_such_agent, Errc::no_such_agent;
  const auto row = static_cast<std::uint32_t>(index);
  if (state_of(row) == AgentState::quarantined || gate.holds.is_around(row))
    return ++counters.not_routable, Errc::not_routable;
  if (capabilities_of(row).contains_all(required)) return Errc::ok;
  return ++counters.capability_mismatch, Errc::capability_mismatch;
}

// Into its target's inbox, or where it waits for room, for its moment or for its target's return.
Errc EngineLoop::State::post(const Letter& letter, std::span<const Part> parts) noexcept {
  const AgentIndex index = registry->resolve(letter.target);
  if (index == kNoAgent) return ++counters.no_such_agent, Errc::no_such_agent;
  StationLink* const link = route_of(*this, static_cast<std::uint32_t>(index));
  if (letter.kind == sched::RecordKind::message && owes_too_much(static_cast<std::uint32_t>(index)))
    return ++counters.target_full, Errc::target_full;
  if (is_to_queue(*this, letter)) return queue_for_mode(*this, link, letter, parts);
  if (link != nullptr) {
    if (size_of(parts) > link->own_bodies.body_bytes_max()) return Errc::truncated;
    if (letter.due_ns <= now_ns && try_place(*link, letter, parts)) return Errc::ok;
  }
  return keep_waiting(link, letter, parts);
}

bool EngineLoop::State::try_place(StationLink& link, const Letter& letter,
                                  std::span<const Part> parts) noexcept {
  const std::uint32_t priority = level(letter.priority);
  if (link.is_corrupt || PendingPool::has_at_least(link, priority)) return false;
  if (link.room_for(priority, 1) == 0) return false;
  const bool is_tracked = letter.kind == sched::RecordKind::message;
  const std::uint32_t at = entries.next_free();
  if (is_tracked && at == entries.kNone) return false;
  Entry entry = entry_of(letter, EntryState::delivered);
  entry.place = link.inbox.head();
  entry.station = link.number;
  if (letter.is_bare()) {
    entry.message = static_cast<sched::MessageWord>(letter.id.low);
  } else if (!write_own(link, parts, is_tracked ? at + 1 : 0, entry.message)) {
    return false;
  }
  sched::DeliveryRecord record = record_of(entry, sent_ns());
  if (letter.arrive_ns != 0) {  // so it has a header
    record.arrive_ns = letter.arrive_ns;
    compensate(*this, weight_in(parts.front()), record);
  }
  if (is_tracked) {
    static_cast<void>(entries.accept(entry));
    const auto row = static_cast<std::uint32_t>(index_of(letter.target));
    count_owed(row);
    put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
  }
  if (letter.is_bare()) {
    stage_bare(link, record);
    return true;
  }
  stage(link, record, {.own_end = link.own_bodies.head()});
  return true;
}

// Header and body into the station's own log, if there is room, and for the mark of its delivery.
bool EngineLoop::State::write_own(StationLink& link, std::span<const Part> parts,
                                  std::uint32_t kind, sched::MessageWord& word) noexcept {
  if (!link.has_mark_room()) return false;
  auto appended = link.own_bodies.append(parts, kind);
  if (appended.status == queues::AppendStatus::kFull && free_own(link, appended.bytes_short))
    appended = link.own_bodies.append(parts, kind);
  word = sched::in_inbox(appended.position);
  return appended.status == queues::AppendStatus::kOk;
}

Errc EngineLoop::State::keep_waiting(StationLink* link, const Letter& letter,
                                     std::span<const Part> parts) noexcept {
  const auto row = static_cast<std::uint32_t>(index_of(letter.target));
  const bool has_share = link != nullptr ? pending->has_share(*link, letter.priority, now_ns)
                                         : held[row] < kHeldPerAgent;
  if (!has_share) {
    // The table says so where a normal one would be refused too; a background one is told alone.
    if (link != nullptr && letter.priority != sched::Priority::background) set_full(*link, true);
    counters.pressure_refused += link != nullptr && pending->has_free() ? 1U : 0U;
    return ++counters.target_full, Errc::target_full;
  }
  const bool is_timed = letter.due_ns > now_ns;
  if (entries.next_free() == entries.kNone || (is_timed && timed_count == kTimedMax)) {
    ++counters.unanswered_full;
    return ++counters.target_full, Errc::target_full;
  }
  const std::uint32_t first = letter.is_bare() ? parked.kNone : parked.put(parts);
  if (!letter.is_bare()) {
    if (first == parked.kNone) return ++counters.parked_full, Errc::parked_full;
    ++counters.parked;
  }
  Entry entry = entry_of(letter, is_timed ? EntryState::timed : EntryState::waiting);
  entry.place = is_timed ? static_cast<std::uint64_t>(letter.due_ns) : next_turn++;
  entry.message = static_cast<sched::MessageWord>(letter.arrive_ns);
  entry.parked = first;
  const std::uint32_t at = entries.accept(entry);
  count_owed(row);
  if (!is_timed) {
    enqueue(at, entry);
    return Errc::ok;
  }
  ++timed_count;
  static_cast<void>(wheel->schedule(
      {.operation = kMaxOperations + at, .bucket = kTimedEntry, .due_ns = letter.due_ns}));
  return Errc::ok;
}

void EngineLoop::State::enqueue(std::uint32_t at, const Entry& entry) noexcept {
  const auto row = static_cast<std::uint32_t>(index_of(entry.target));
  StationLink* const link = route_of(*this, row);
  if (link == nullptr) {
    ++held[row];
    ++held_count;
    ++counters.held;
    return;
  }
  ++counters.pending;
  if (!pending->push(*link, level(entry.priority), {.kind = PendingNode::Kind::entry, .first = at}))
    drop_entry(at, Errc::target_full);
}

void EngineLoop::State::fire_timed(std::uint32_t at) noexcept {
  if (queue_again(*this, at)) return;
  --timed_count;
  entries.hold(at, next_turn++);
  enqueue(at, entries.get(at));
}

// What has waited, and may go now.
bool EngineLoop::State::place_entry(StationLink& link, std::uint32_t at) noexcept {
  const Entry entry = entries.get(at);
  if (is_over[at]) return true;  // dropped meanwhile
  if (const std::int64_t expires = expires_of(entry); expires != 0 && expires < now_ns) {
    drop_entry(at, Errc::expired);
    return true;
  }
  if (link.room_for(level(entry.priority), 1) == 0) return false;
  if (entry.is_bare()) {
    entries.deliver(at, {entry.message, link.inbox.head(), link.number});
    stage_bare(link, record_of(entry, sent_ns()));
    note_placed(at, entry);
    return true;
  }
  if (!link.has_mark_room()) return false;
  const auto size = static_cast<std::uint32_t>(entry.size_bytes());
  auto room = link.own_bodies.reserve(size, at + 1);
  if (room.status == queues::AppendStatus::kFull && free_own(link, room.bytes_short))
    room = link.own_bodies.reserve(size, at + 1);
  if (room.status == queues::AppendStatus::kTooLong) {
    drop_entry(at, Errc::truncated);
    return true;
  }
  if (room.status != queues::AppendStatus::kOk) return false;
  parked.for_each_part(entry.parked, size, [&](Part part) { room.body.put(part); });
  const std::uint64_t position = link.own_bodies.commit();
  entries.deliver(at, {sched::in_inbox(position), link.inbox.head(), link.number});
  sched::DeliveryRecord record = record_of(entries.get(at), sent_ns());
  record.arrive_ns = static_cast<std::int64_t>(entry.message);
  if (record.arrive_ns != 0) compensate(*this, question_header(entry).weight(), record);
  stage(link, record, {.own_end = link.own_bodies.head()});
  entries.drop_parked(at);
  parked.release(entry.parked, size);
  note_placed(at, entry);
  return true;
}

// What had waited stands in an inbox now.
void EngineLoop::State::note_placed(std::uint32_t at, const Entry& entry) noexcept {
  if ((entry.marks & kEntryRedelivered) != 0) ++counters.redelivered;
  if (entry.kind == sched::RecordKind::message) {
    const auto row = static_cast<std::uint32_t>(index_of(entry.target));
    put(agents.queue_depth, row, own(agents.queue_depth, row) + 1);
  } else {
    is_over[at] = true;  // nobody answers it: once it is visible it is over
    over.push_back(at);
  }
}

// One record in an inbox that has room, as room_for() said.
void EngineLoop::State::stage(StationLink& link, const sched::DeliveryRecord& record,
                              const InboxMark& mark) noexcept {
  InboxMark whole = mark;
  whole.inbox_end = link.inbox.head() + 1;
  link.push_mark(whole);
  stage_bare(link, record);
}

// One that refers to nothing outside itself: no body waits for it to be read.
void EngineLoop::State::stage_bare(StationLink& link,
                                   const sched::DeliveryRecord& record) noexcept {
  link.inbox.prefetch();
  const Ring::Run run = link.inbox.claim(1);
  MESH_ASSERT(run.status == queues::ClaimStatus::kOk);
  link.inbox.fill(run, [&](Ring::Slot& cell, std::uint64_t) {
    queues::build_in<sched::DeliveryRecord>(cell) = record;
  });
  ++counters.deliveries;
  ++dispatched;
  touch(link);
}

// Frees bodies of `.in` that the station has read, oldest first, until `bytes_short` are free. What
// is not answered yet goes to the parked store.
bool EngineLoop::State::free_own(StationLink& link, std::uint64_t bytes_short) noexcept {
  read_marks(link);
  const std::uint64_t tail = link.own_bodies.tail();
  const auto walked = link.own_bodies.walk(link.own_read, [&](const BodyLog::Body& body) {
    if (body.position - tail >= bytes_short) return false;
    if (body.kind == 0 || body.kind > entries.size()) return true;
    const std::uint32_t at = body.kind - 1;
    if (entries.state_of(at) != EntryState::delivered || is_over[at]) return true;
    const Entry entry = entries.get(at);
    if (entry.station != link.number || entry.message != sched::in_inbox(body.position) ||
        entry.parked != parked.kNone)
      return true;
    const std::uint32_t first = parked.put(body.bytes());
    if (first == parked.kNone) return ++counters.parked_full, false;
    ++counters.parked;
    entries.park(at, first);
    return true;
  });
  static_cast<void>(link.own_bodies.advance_tail(walked.position));
  return link.own_bodies.tail() - tail >= bytes_short;
}

void EngineLoop::State::set_full(StationLink& link, bool full) noexcept {
  if (link.is_full == full) return;
  link.is_full = full;
  // relaxed: a word that stands alone.
  inbox_full[static_cast<std::size_t>(link.number)].store_relaxed(full ? 1 : 0);
}

// Their end.

// It will not be delivered: its sender is told, then it is freed.
void EngineLoop::State::drop_entry(std::uint32_t at, Errc why) noexcept {
  if (is_over[at]) return;
  const Entry entry = entries.get(at);
  if (why == Errc::expired) ++counters.expired;
  if (why == Errc::target_full) ++counters.target_full;
  if (entry.kind != sched::RecordKind::message) {
    ++counters.lost_replies;
  } else if (entry.source != AgentId{0}) {
    report(entry.source, entry.id, why, (entry.marks & kEntryRedelivered) != 0);
  } else {
    if (answered_head - answered_tail == kAnsweredKept) ++answered_tail, ++counters.lost_replies;
    answered[answered_head++ % kAnsweredKept] = {
        .question = entry.id, .agent = entry.target, .expired = why == Errc::expired};
  }
  if (entry.kind == sched::RecordKind::message)
    note_dropped(*this, at, static_cast<std::uint32_t>(index_of(entry.target)), why);
  is_over[at] = true;
  over.push_back(at);
}

void EngineLoop::State::free_entry(std::uint32_t at) noexcept {
  const auto [target, first_block] = entries.owed(at);
  const std::size_t size = first_block == parked.kNone ? 0 : entries.get(at).size_bytes();
  is_over[at] = false;
  count_over(static_cast<std::uint32_t>(index_of(target)));
  entries.free(at);
  if (first_block != parked.kNone) parked.release(first_block, size);
}

// After all that was made of them is visible.
void EngineLoop::State::free_over() noexcept {
  for (const std::uint32_t at : over) free_entry(at);
  over.clear();
}

std::int64_t EngineLoop::State::expires_of(const Entry& entry) const noexcept {
  return question_header(entry).expires_ns;
}

// Wherever it stands; zeros where it is gone, or there never was one.
sched::MessageHeader EngineLoop::State::question_header(const Entry& entry) const noexcept {
  sched::MessageHeader header{};
  if (entry.is_bare()) return header;
  if (entry.parked != parked.kNone) {
    parked.copy(entry.parked, 0, std::as_writable_bytes(std::span(&header, 1)));
    return header;
  }
  const StationLink* const link = link_of(entry.station);
  if (link == nullptr) return header;
  const auto found = link->own_bodies_again.view(sched::position_of(entry.message));
  if (found.status == queues::BodyStatus::kRead && found.body.length >= sizeof header)
    std::memcpy(&header, found.body.bytes().data(), sizeof header);
  return header;
}

}  // namespace mesh::engine
