// Phase 1, intake: what stations wrote. Each record is input: copied once, checked, then used.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/loop/account.hpp"
#include "engine/loop/state.hpp"
#include "sched/lead_time.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kSilentNs = kNsPerMs;  // a station silent for so long is looked at seldom
constexpr std::uint64_t kSilentTurns = 16;
constexpr std::int64_t kAheadNs = kNsPerSecond;  // of the tick: a clock that is further is wrong
constexpr sched::BodyRegion kAnywhere{0, ~std::uint64_t{0}};  // the log checks positions itself

// Whom a message has to outlive the power for is told that it would not, rather than nothing.
bool is_supported(const sched::SendRecord& send) noexcept {
  return send.kind == sched::RecordKind::send &&
         !sched::has(send.flags, sched::RecordFlags::durable);
}

}  // namespace

bool EngineLoop::State::intake() {
  std::size_t budget = kIntakeRecordsPerTick;
  const std::size_t count = live.size();
  waiting_for_records = 0;
  if (outside.conflicts != nullptr) outside.conflicts->tend();
  for (std::size_t i = 0; i < count && budget != 0; ++i) {
    StationLink& link = *live[next_station++ % count];
    if (link.is_corrupt) continue;
    if (link.mark_tail != link.mark_head || link.pending_count != 0) read_marks(link);
    burst_ns = 0;
    if (now_ns - link.heard_ns > kSilentNs && counters.ticks % kSilentTurns != 0 &&
        !link.outbox.ready())
      continue;
    const std::size_t taken = take_burst(link, std::min(budget, kBurst));
    waiting_for_records += link.waits_for_record ? 1U : 0U;
    if (taken == 0) continue;
    link.heard_ns = now_ns;
    link.has_taken = true;
    budget -= taken;
    counters.records_in += taken;
  }
  const std::size_t taken = kIntakeRecordsPerTick - budget;
  if (taken == 0) return false;
  if (answered_slots.empty()) return true;
  // Each operation pays for its share of the records.
  const std::int64_t took = clock() - now_ns;  // read right before the tick
  for (const std::uint32_t slot : answered_slots) {
    operations[slot].cost.gather_ns += took * answered_of[slot] / static_cast<std::int64_t>(taken);
    answered_of[slot] = 0;
  }
  answered_slots.clear();
  return true;
}

// kind stands at byte 54 of every record.
void EngineLoop::State::take_record(StationLink& link, const Ring::Record& record,
                                    std::uint64_t position) noexcept {
  const auto kind = static_cast<sched::RecordKind>(record.words[6] >> 48 & 0xFF);
  if (kind == sched::RecordKind::answer || kind == sched::RecordKind::refusal)
    take_answer(link, std::bit_cast<sched::AnswerRecord>(record), position);
  else
    take_send(link, std::bit_cast<sched::SendRecord>(record), position);
}

void EngineLoop::State::free_taken() noexcept {
  for (StationLink* const link : live) {
    if (!link->has_taken) continue;
    link->has_taken = false;
    link->outbox.free_taken();
  }
}

// The station's cursor says what it has read: bodies that nothing unread names may go.
void EngineLoop::State::read_marks(StationLink& link) noexcept {
  if (link.inbox.free_slots() == 0 && link.inbox.claim(1).status == queues::ClaimStatus::kCorrupt) {
    link.is_corrupt = true;
    return;
  }
  const std::uint64_t cursor = link.inbox.cursor();
  for (; link.mark_tail != link.mark_head; ++link.mark_tail) {
    const InboxMark& mark = link.marks[link.mark_tail % link.marks.size()];
    if (before(cursor, mark.inbox_end)) break;
    if (mark.body != kNoBody) bodies[mark.body % kBodies].unread -= mark.count;
    link.own_read = std::max(link.own_read, mark.own_end);
  }
}

// Answers.

void EngineLoop::State::take_answer(StationLink& link, const sched::AnswerRecord& answer,
                                    std::uint64_t position) noexcept {
  ++counters.answers;
  if (sched::validate(answer, kAnywhere) != sched::RecordRefusal::none) {
    refuse_record(*this, link);
    return;
  }
  const AgentIndex index = registry->resolve(answer.agent);
  // A station speaks for its own agents alone.
  if (index == kNoAgent || registry->station_of(index) != link.number) {
    refuse_record(*this, link);
    return;
  }
  if (answer.operation == OperationId{0}) return answer_letter(link, answer, position);
  take_operation_answer(link, answer, position);
}

// Sends.

void EngineLoop::State::take_send(StationLink& link, sched::SendRecord send,
                                  std::uint64_t position) noexcept {
  ++counters.sends;
  const AgentIndex source = registry->resolve(send.source);
  if (sched::validate(send, kAnywhere) != sched::RecordRefusal::none || source == kNoAgent ||
      registry->station_of(source) != link.number) {
    refuse_record(*this, link);
    return;
  }
  const sched::MessageId id = id_at(send.created_ns, link.number, position);
  if (send.created_ns - now_ns > kAheadNs) {  // or it would never expire
    ++counters.created_ahead;
    send.created_ns = now_ns;
  }
  const bool again = before(position, link.read_again_until);
  if (again && std::binary_search(link.applied.begin(), link.applied.end(), id.low)) {
    ++counters.duplicates;
    return;
  }
  const std::int64_t expires = sched::expires_ns(send.created_ns, send.ttl_ms);
  Errc refused = Errc::expired;
  if (expires != 0 && expires < now_ns)
    ++counters.expired;
  else if (!again && !is_within_share(*this, send, source))  // what was taken in before may go on
    refused = Errc::throttled;
  else
    refused = is_supported(send) ? apply_send(link, send, id, again) : Errc::unsupported;
  if (refused == Errc::ok) return;
  if (refused == Errc::corrupt) ++counters.refused_records;
  report(send.source, id, refused, again);
}

// Header and body into `scratch`, whole and checked; then on its way.
// `again`: perhaps it went before, and was answered already, so that nothing says so any more.
Errc EngineLoop::State::apply_send(StationLink& link, const sched::SendRecord& send,
                                   sched::MessageId id, bool again) noexcept {
  // One with a time to live needs a header, which says so to whoever takes it out of the inbox.
  if (sched::has(send.flags, sched::RecordFlags::bare) && send.ttl_ms == 0 &&
      !sched::has(send.flags, sched::RecordFlags::selector))
    return apply_bare(send, id, again);
  sched::MessageHeader header{};
  const std::span<std::byte> body = std::span(scratch).subspan(sizeof header, send.body_bytes);
  if (sched::has(send.flags, sched::RecordFlags::bare)) {
    const sched::BareBody bare = sched::bare_body(send);
    std::memcpy(body.data(), bare.bytes, body.size());
    header.correlation = id;
    header.set_weight(1);
    header.verb = send.verb();
    header.strategy = sched::Strategy::direct;
    header.priority = send.priority();
    header.body_bytes = send.body_bytes;
  } else {
    const auto copied = link.sent_bodies.copy(link.sent_bodies.widen(send.body_offset), scratch);
    if (copied.status != queues::BodyStatus::kRead ||
        copied.length != sizeof header + send.body_bytes)
      return Errc::corrupt;
    std::memcpy(&header, scratch.data(), sizeof header);
    if (sched::validate(header, send) != sched::RecordRefusal::none) return Errc::corrupt;
  }
  // Who sends, when, and under which id is the record's to say, not the header's.
  const bool correlated = header.correlation != sched::MessageId{} && header.correlation != id;
  if (!correlated) header.correlation = id;
  header.source = send.source;
  header.id = id;
  header.created_ns = send.created_ns;
  header.expires_ns = sched::expires_ns(send.created_ns, send.ttl_ms);
  if (sched::has(send.flags, sched::RecordFlags::selector)) return open_for(send, header);
  const auto target = static_cast<AgentId>(send.target);
  CapabilitySet::Words required{};
  std::copy(std::begin(header.capabilities), std::end(header.capabilities), required.begin());
  const AgentIndex index = registry->resolve(target);
  if (const Errc refused = check_target(index, CapabilitySet(required)); refused != Errc::ok)
    return refused;
  const auto marks = static_cast<std::uint8_t>((correlated ? kEntryCorrelated : 0) |
                                               (again ? kEntryRedelivered : 0));
  Letter letter{.priority = send.priority(),
                .marks = marks,
                .source = send.source,
                .target = target,
                .id = id,
                .body_bytes = send.body_bytes};
  if (!sched::has(send.flags, sched::RecordFlags::bare) && send.arrive_ns > now_ns) {
    letter.arrive_ns = send.arrive_ns;
    letter.due_ns = send.arrive_ns - lead_ns(static_cast<std::uint32_t>(index), header.weight());
  }
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)), body};
  return post_new(letter, parts);
}

// From the slot of an outbox to that of an inbox.
Errc EngineLoop::State::apply_bare(const sched::SendRecord& send, sched::MessageId id,
                                   bool again) noexcept {
  const auto target = static_cast<AgentId>(send.target);
  const AgentIndex index = registry->resolve(target);
  if (const Errc refused = check_target(index, {}); refused != Errc::ok) return refused;
  return post_new({.priority = send.priority(),
                   .marks = static_cast<std::uint8_t>(kEntryBare | (again ? kEntryRedelivered : 0)),
                   .source = send.source,
                   .target = target,
                   .id = id,
                   .body_bytes = send.body_bytes,
                   .bare = sched::bare_words(send)},
                  {});
}

// A station's operation: its body stands in `scratch`, behind the handles of a list.
Errc EngineLoop::State::open_for(const sched::SendRecord& send,
                                 sched::MessageHeader& header) noexcept {
  // A pipeline is an order to the engine (pipelines.hpp): sent to all at once it would be another.
  if (header.strategy == sched::Strategy::pipeline) return Errc::unsupported;
  OperationRequest request{.source = send.source,
                           .targets = static_cast<sched::Selector>(send.target)};
  std::span<const std::byte> body =
      std::span<const std::byte>(scratch).subspan(sizeof header, send.body_bytes);
  if (sched::kind_of(request.targets) == sched::SelectorKind::list) {
    const std::size_t count = sched::value_of(request.targets);
    const std::size_t list_bytes = count * sizeof(AgentId);
    if (list_bytes > body.size()) return Errc::corrupt;
    request.list = {reinterpret_cast<const AgentId*>(body.data()), count};
    body = body.subspan(list_bytes);
    header.body_bytes = static_cast<std::uint32_t>(body.size());
    header.hash = shm::hash64(body);
  }
  request.target = from_ns(send.arrive_ns);
  request.horizon = request.window;  // mesh.md part 7: T = now + window unless given
  request.at_once = send.arrive_ns == 0 && header.strategy != sched::Strategy::scatter_gather;
  request.weight = header.weight();
  request.verb = header.verb;
  request.priority = header.priority;
  request.ttl = Nanos{std::int64_t{send.ttl_ms} * kNsPerMs};
  request.confidential = sched::has(send.flags, sched::RecordFlags::confidential);
  CapabilitySet::Words required{};
  std::copy(std::begin(header.capabilities), std::end(header.capabilities), required.begin());
  request.capabilities = CapabilitySet(required);
  if (header.strategy == sched::Strategy::direct)
    header.strategy =
        request.at_once ? sched::Strategy::broadcast : sched::Strategy::scatter_gather;
  return open_operation(request, header, body).refused;
}

}  // namespace mesh::engine
