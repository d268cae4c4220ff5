// Phase 1, intake: what stations wrote. Each record is input: copied once, checked, then used.
#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/loop/state.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

constexpr std::int64_t kSilentNs = kNsPerMs;  // a station silent for so long is looked at seldom
constexpr std::uint64_t kSilentTurns = 16;
constexpr std::size_t kBurst = 256;

}  // namespace

bool EngineLoop::State::intake() {
  const std::int64_t start = clock();
  std::size_t budget = kIntakeRecordsPerTick;
  const std::size_t count = live.size();
  for (std::size_t i = 0; i < count && budget != 0; ++i) {
    StationLink& link = *live[next_station++ % count];
    if (link.is_corrupt) continue;
    free_read_bodies(link);
    if (now_ns - link.heard_ns > kSilentNs && counters.ticks % kSilentTurns != 0 &&
        !link.outbox.ready())
      continue;
    const std::size_t taken = link.outbox.poll(std::min(budget, kBurst), [&](auto view) {
      // Read once into a private copy; kind stands at byte 54 of every record.
      const Ring::Record record = view.read();
      const auto kind = static_cast<sched::RecordKind>(record.words[6] >> 48 & 0xFF);
      if (kind == sched::RecordKind::answer || kind == sched::RecordKind::refusal)
        take_answer(link, std::bit_cast<sched::AnswerRecord>(record));
      else
        take_send(link, std::bit_cast<sched::SendRecord>(record), view.position());
    });
    if (taken != 0) link.heard_ns = now_ns;
    budget -= taken;
    counters.records_in += taken;
  }
  if (budget == kIntakeRecordsPerTick) return false;
  const std::int64_t took = clock() - start;
  for (Operation& operation : operations)
    if (operation.state == OperationState::kSending) operation.cost.gather_ns += took;
  return true;
}

void EngineLoop::State::drain(StationLink& link) {
  // A ring's worth at most: the writer is dead.
  for (std::uint64_t left = link.outbox.capacity(); left != 0 && !link.is_corrupt;) {
    const std::uint64_t before_intake = link.outbox.cursor();
    link.outbox.poll(kBurst, [&](auto view) {
      const Ring::Record record = view.read();
      const auto kind = static_cast<sched::RecordKind>(record.words[6] >> 48 & 0xFF);
      if (kind == sched::RecordKind::answer || kind == sched::RecordKind::refusal)
        take_answer(link, std::bit_cast<sched::AnswerRecord>(record));
      else
        take_send(link, std::bit_cast<sched::SendRecord>(record), view.position());
    });
    const std::uint64_t taken = link.outbox.cursor() - before_intake;
    if (taken == 0) return;
    counters.records_in += taken;
    left -= std::min(left, taken);
  }
}

void EngineLoop::State::take_answer(StationLink& link, const sched::AnswerRecord& answer) noexcept {
  ++counters.answers;
  const sched::BodyRegion anywhere{0, ~std::uint64_t{0}};
  if (sched::validate(answer, anywhere) != sched::RecordRefusal::none) {
    ++counters.refused_records;
    return;
  }
  const AgentIndex index = registry->resolve(answer.agent);
  // A station speaks for its own agents alone.
  if (index == kNoAgent || registry->station_of(index) != link.number) {
    ++counters.refused_records;
    return;
  }
  const auto row = static_cast<std::uint32_t>(index);
  const std::uint32_t depth = own(agents.queue_depth, row);
  if (depth != 0) put(agents.queue_depth, row, depth - 1);
  if (answer.operation == OperationId{0}) {
    const auto message = static_cast<std::uint64_t>(answer.message);
    const auto source = take_route(message, answer.agent);
    if (!source || *source == AgentId{0}) return;
    Message reply{.source = answer.agent, .target = *source, .kind = sched::RecordKind::reply};
    // The state of the answer is the reply's one byte of body.
    const auto state = static_cast<std::byte>(answer.state);
    const sched::MessageHeader header = header_of(answer.agent, std::span(&state, 1));
    std::memcpy(scratch.data(), &header, sizeof header);
    scratch[sizeof header] = state;
    if (deliver_body(reply, std::span(scratch).first(sizeof header + 1)) != Errc::ok)
      ++counters.lost_replies;
    return;
  }
  const std::uint32_t slot = slot_of(answer.operation);
  if (slot >= operations.size() || operations[slot].serial != serial_of(answer.operation) ||
      operations[slot].state == OperationState::kFree) {
    ++counters.refused_records;
    return;
  }
  Operation& operation = operations[slot];
  if (operation.sent[row] == kNotSent) {
    ++counters.refused_records;
    return;
  }
  const std::int64_t sent_ns =
      to_ns(operation.request.target) - std::int64_t{operation.sent[row]} * sched::kLeadUnitNs;
  const sched::AnswerEffect effect = operation.gather->on_answer(
      {.row = row,
       .state =
           answer.kind == sched::RecordKind::refusal ? sched::TrinaryState::transit : answer.state,
       .finished_ns = answer.finished_ns,
       .sent_ns = sent_ns,
       .predicted_ns = std::int64_t{operation.lead[row]} * sched::kLeadUnitNs},
      from_ns(now_ns));
  if (effect.has_residual && operation.finished_ns[row] == 0)
    operation.finished_ns[row] = std::clamp(answer.finished_ns, sent_ns, std::max(sent_ns, now_ns));
}

void EngineLoop::State::take_send(StationLink& link, const sched::SendRecord& send,
                                  std::uint64_t position) noexcept {
  ++counters.sends;
  const sched::BodyRegion anywhere{0, ~std::uint64_t{0}};
  const AgentIndex source = registry->resolve(send.source);
  if (send.kind != sched::RecordKind::send ||
      sched::validate(send, anywhere) != sched::RecordRefusal::none || source == kNoAgent ||
      registry->station_of(source) != link.number) {
    ++counters.refused_records;
    return;
  }
  const std::int64_t expires = sched::expires_ns(send.created_ns, send.ttl_ms);
  if (expires != 0 && expires < now_ns) {
    ++counters.expired;
    return report(link, send.source, position, Errc::expired);
  }
  Message message{.source = send.source, .target = static_cast<AgentId>(send.target)};
  Errc refused = Errc::unsupported;  // selectors: operations are opened through the console
  if (!sched::has(send.flags, sched::RecordFlags::selector)) {
    std::size_t bytes = 0;
    if (sched::has(send.flags, sched::RecordFlags::bare)) {
      const sched::BareBody body = sched::bare_body(send);
      const sched::MessageHeader header =
          header_of(send.source, std::span(body.bytes).first(body.size_bytes));
      std::memcpy(scratch.data(), &header, sizeof header);
      std::memcpy(scratch.data() + sizeof header, body.bytes, body.size_bytes);
      bytes = sizeof header + body.size_bytes;
    } else {
      const auto copied = link.sent_bodies.copy(link.sent_bodies.widen(send.body_offset), scratch);
      sched::MessageHeader header{};
      if (copied.status == queues::BodyStatus::kRead && copied.length >= sizeof header)
        std::memcpy(&header, scratch.data(), sizeof header);
      if (copied.status == queues::BodyStatus::kRead &&
          copied.length == sizeof header + send.body_bytes &&
          sched::validate(header, send) == sched::RecordRefusal::none) {
        // Who sends, when, and under which id is the record's to say, not the header's.
        const std::span<const std::byte> body =
            std::span(scratch).subspan(sizeof header, send.body_bytes);
        header.source = send.source;
        header.id = sched::pack({.unix_ms = static_cast<std::uint64_t>(send.created_ns / kNsPerMs),
                                 .host = options.host,
                                 .station = link.number,
                                 .outbox_position = position});
        header.created_ns = send.created_ns;
        header.expires_ns = expires;
        header.hash = shm::hash64(body);
        std::memcpy(scratch.data(), &header, sizeof header);
        bytes = copied.length;
      }
    }
    refused = bytes == 0 ? Errc::corrupt : deliver_body(message, std::span(scratch).first(bytes));
  }
  if (refused == Errc::ok) return;
  if (refused == Errc::corrupt) ++counters.refused_records;
  report(link, send.source, position, refused);
}

// The station's cursor says what it has read: bodies that nothing unread names are free.
void EngineLoop::State::free_read_bodies(StationLink& link) noexcept {
  if (link.mark_tail == link.mark_head) return;
  if (link.inbox.free_slots() == 0 && link.inbox.claim(1).status == queues::ClaimStatus::kCorrupt) {
    link.is_corrupt = true;
    return;
  }
  const std::uint64_t cursor = link.inbox.cursor();
  bool freed = false;
  for (; link.mark_tail != link.mark_head; ++link.mark_tail) {
    const InboxMark& mark = link.marks[link.mark_tail % link.marks.size()];
    if (before(cursor, mark.inbox_end)) break;
    if (mark.body != kNoBody) {
      bodies[mark.body % kBodies].unread -= mark.count;
      freed = true;
    }
    if (mark.own_tail != 0) (void)link.own_bodies.advance_tail(mark.own_tail);
  }
  if (freed) free_bodies();
}

}  // namespace mesh::engine
