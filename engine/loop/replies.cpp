// Answers to direct messages, and what their senders are told.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "engine/loop/account.hpp"
#include "engine/loop/conflicts.hpp"
#include "engine/loop/state.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using Part = std::span<const std::byte>;

CapabilitySet asked_by(const sched::MessageHeader& header) noexcept {
  CapabilitySet::Words words{};
  std::copy(std::begin(header.capabilities), std::end(header.capabilities), words.begin());
  return CapabilitySet(words);
}

}  // namespace

void EngineLoop::State::answer_letter(StationLink& link, const sched::AnswerRecord& answer,
                                      std::uint64_t position) noexcept {
  const std::uint32_t at = entries.find(answer.message, answer.agent);
  if (at == entries.kNone || is_over[at]) {
    ++counters.duplicates;
    return;
  }
  const Entry question = entries.get(at);
  const auto row = static_cast<std::uint32_t>(index_of(answer.agent));
  if (const std::uint32_t depth = own(agents.queue_depth, row); depth != 0)
    put(agents.queue_depth, row, depth - 1);
  const bool known = sched::has(answer.flags, sched::RecordFlags::redelivered);
  const bool declined = !known && answer.kind == sched::RecordKind::refusal;
  const std::int64_t expires = declined ? expires_of(question) : 0;
  const bool expired = expires != 0 && expires < now_ns;
  if (expired) ++counters.expired;
  if (!known && !declined) {
    count_state(*this, answer.state);
    if (answer.state != sched::TrinaryState::transit) gate.watch->reliability().answered(row);
  }
  if (known) {
    ++counters.duplicates;  // made twice, and answered the first time: its sender has been told
  } else if (question.source == AgentId{0}) {
    keep_answered(link, question, answer, expired);
  } else if (expired) {
    report(question.source, question.id, Errc::expired, false);
  } else {
    reply(link, question, answer, position);
  }
  if (!known && (declined || !gate.hear(row)))
    note_letter_end(*this, at, row,
                    expired    ? LetterEnd::expired
                    : declined ? LetterEnd::refused
                               : LetterEnd::answered);
  // After the reply: both read the body.
  if (!known && !declined && answer.state == sched::TrinaryState::conflict)
    note_conflict(*this, link,
                  {.answer = answer,
                   .position = position,
                   .message = question.id,
                   .source = question.source,
                   .asked = asked_by(question_header(question)),
                   .question = &question});
  is_over[at] = true;
  over.push_back(at);
}

void EngineLoop::State::reply(StationLink& link, const Entry& question,
                              const sched::AnswerRecord& answer, std::uint64_t position) noexcept {
  // On a second reading: the reply that was made then waits, or was seen.
  const sched::MessageId id = id_at(answer.finished_ns, link.number, position);
  const bool again = before(position, link.read_again_until);
  if (again && std::binary_search(link.applied.begin(), link.applied.end(), id.low)) return;
  const sched::ReplyHead head{.state = answer.state,
                              .conflict_type = answer.conflict_type,
                              .context = context_of(*this, link, answer),
                              .reserved = 0,
                              .processing_us = answer.processing_us};
  Letter letter{.kind = sched::RecordKind::reply,
                .priority = sched::Priority::high,
                .marks = again ? kEntryRedelivered : std::uint8_t{0},
                .source = answer.agent,
                .target = question.source,
                .id = id};
  if (question.is_bare() && answer.body_bytes == 0) {
    const sched::BareReplyBody body{head, question.id.low};
    letter.marks |= kEntryBare;
    letter.body_bytes = sizeof body;
    letter.bare = std::bit_cast<sched::BareWords>(body);
    if (post(letter, {}) != Errc::ok) ++counters.lost_replies;
    return;
  }
  sched::MessageHeader header = own_header(answer.agent, {});
  header.id = id;
  header.causation = question.id;
  header.correlation = question.id;
  if ((question.marks & kEntryCorrelated) != 0)
    header.correlation = question_header(question).correlation;
  header.priority = letter.priority;
  const std::span<std::byte> whole = std::span(scratch).subspan(sizeof header);
  std::memcpy(whole.data(), &head, sizeof head);
  std::size_t bytes = 0;
  if (answer.body_bytes != 0) {
    const auto copied = link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset),
                                              whole.subspan(sizeof head));
    if (copied.status == queues::BodyStatus::kRead && copied.length == answer.body_bytes)
      bytes = copied.length;
    else
      refuse_record(*this, link);
  }
  const Part body = whole.first(sizeof head + bytes);
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.hash = shm::hash64(body);
  const std::array<Part, 2> parts{std::as_bytes(std::span(&header, 1)), body};
  letter.body_bytes = header.body_bytes;
  if (post(letter, parts) != Errc::ok) ++counters.lost_replies;
}

// For who embeds the engine, or a console: the oldest gives way.
void EngineLoop::State::keep_answered(StationLink& link, const Entry& question,
                                      const sched::AnswerRecord& answer, bool expired) noexcept {
  if (answered_head - answered_tail == kAnsweredKept) ++answered_tail, ++counters.lost_replies;
  const std::size_t at = answered_head++ % kAnsweredKept;
  KeptAnswer& kept = answered[at];
  kept = {question.id,
          question.target,
          answer.state,
          answer.conflict_type,
          answer.processing_us,
          expired,
          context_of(*this, link, answer),
          0};
  if (answer.body_bytes == 0) return;
  const std::span<std::byte> room(answered_bodies.get() + at * kAnsweredBodyBytes,
                                  kAnsweredBodyBytes);
  const auto copied = link.sent_bodies.copy(link.sent_bodies.widen(answer.body_offset), room);
  if (copied.status == queues::BodyStatus::kRead && copied.length == answer.body_bytes)
    kept.body_bytes = copied.length;
  else
    ++counters.lost_replies;  // longer than any that is kept, or not where it was said to be
}

// What the sender's message met.
void EngineLoop::State::report(AgentId source, sched::MessageId id, Errc why, bool again) noexcept {
  const AgentIndex index = registry->resolve(source);
  StationLink* const link = index == kNoAgent ? nullptr : link_of(registry->station_of(index));
  if (link != nullptr) link->note_refusal(why);
  const auto priority = static_cast<std::uint32_t>(sched::Priority::high);
  if (link == nullptr || link->is_corrupt || link->room_for(priority, 1) == 0) {
    ++counters.lost_replies;
    return;
  }
  const sched::ReportBody body{id.low & sched::kLow48, static_cast<std::int64_t>(why)};
  sched::DeliveryRecord record{};
  record.message = static_cast<sched::MessageWord>(id.low);
  record.target = source;
  record.sent_ns = sent_ns();
  record.kind = sched::RecordKind::report;
  if (again) record.flags = sched::RecordFlags::redelivered;
  static_cast<void>(sched::set_bare_body(record, std::as_bytes(std::span(&body, 1))));
  stage_bare(*link, record);
}

}  // namespace mesh::engine
