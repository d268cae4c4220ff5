#include "engine/loop/bare.hpp"

#include <bit>

#include "engine/loop/account.hpp"
#include "engine/loop/conflicts.hpp"
#include "engine/loop/state.hpp"

namespace mesh::engine {
namespace {

using sched::RecordFlags;
using sched::RecordKind;

constexpr sched::BodyRegion kAnywhere{0, ~std::uint64_t{0}};  // it has no body elsewhere

// Bytes 54 and 55 of a record.
constexpr std::uint16_t kind_and_flags(RecordKind kind, RecordFlags flags) noexcept {
  return static_cast<std::uint16_t>(static_cast<unsigned>(kind) | static_cast<unsigned>(flags)
                                                                      << 8);
}
constexpr std::uint16_t kBareSend = kind_and_flags(RecordKind::send, RecordFlags::bare);
constexpr std::uint16_t kAnswer = kind_and_flags(RecordKind::answer, RecordFlags::none);

std::uint16_t station_of(const EngineLoop::State& loop, std::uint32_t row) noexcept {
  return loop.agents.station.values()[row];
}

// Where a record for this agent can be placed at once; null: nowhere.
StationLink* open_inbox(const EngineLoop::State& loop, std::uint32_t row,
                        sched::Priority priority) noexcept {
  if (loop.gate.holds.is_frozen(row)) return nullptr;
  StationLink* const link = loop.stations[station_of(loop, row)].get();
  const bool is_open = link != nullptr && !link->is_corrupt && link->pending_count == 0 &&
                       link->room_for(static_cast<std::uint32_t>(priority), 1) != 0;
  return is_open ? link : nullptr;
}

void place(EngineLoop::State& loop, StationLink& link, AgentId source, const sched::BareWords& body,
           sched::DeliveryRecord record) noexcept {
  record.sent_ns = loop.sent_ns();
  sched::set_bare_words(record, body);
  sched::set_bare_source(record, source);
  loop.stage_bare(link, record);
}

bool pass_message(EngineLoop::State& loop, const StationLink& link, const sched::SendRecord& send,
                  std::uint64_t position) noexcept {
  if (send.ttl_ms != 0 || sched::validate(send, kAnywhere) != sched::RecordRefusal::none)
    return false;
  if (!loop.gate.is_full() || loop.gate.queued != 0 || loop.throttle->is_limiting()) return false;
  const AgentIndex source = loop.registry->resolve(send.source);
  const AgentIndex target = loop.registry->resolve(static_cast<AgentId>(send.target));
  if (source == kNoAgent || target == kNoAgent) return false;
  const auto row = static_cast<std::uint32_t>(target);
  // A station speaks for its own agents alone.
  if (station_of(loop, static_cast<std::uint32_t>(source)) !=
      static_cast<std::uint16_t>(link.number))
    return false;
  if (loop.state_of(row) == AgentState::quarantined || loop.owes_too_much(row)) return false;
  if (loop.gate.holds.is_around(row)) return false;
  StationLink* const inbox = open_inbox(loop, row, send.priority());
  if (inbox == nullptr || loop.entries.next_free() == loop.entries.kNone) return false;
  const sched::MessageId id = loop.id_at(send.created_ns, link.number, position);
  const auto name = static_cast<sched::MessageWord>(id.low);
  const sched::BareWords body = sched::bare_words(send);
  ++loop.counters.sends;
  static_cast<void>(is_within_share(loop, send, source));  // it is: nobody is limited
  static_cast<void>(loop.entries.accept({.state = EntryState::delivered,
                                         .kind = RecordKind::message,
                                         .priority = send.priority(),
                                         .marks = kEntryBare,
                                         .body_bytes = send.body_bytes,
                                         .target = static_cast<AgentId>(send.target),
                                         .source = send.source,
                                         .id = id,
                                         .message = name,
                                         .place = inbox->inbox.head(),
                                         .station = inbox->number,
                                         .bare = body}));
  loop.count_owed(row);
  put(loop.agents.queue_depth, row, own(loop.agents.queue_depth, row) + 1);
  place(loop, *inbox, send.source, body,
        {.message = name,
         .target = static_cast<AgentId>(send.target),
         .sent_ns = 0,
         .arrive_ns = 0,
         .operation = OperationId{0},
         .lead_us = 0,
         .expected_us = 0,
         .body_bytes = send.body_bytes,
         .confidence = 0,
         .kind = RecordKind::message,
         .flags = RecordFlags::none});
  return true;
}

bool pass_reply(EngineLoop::State& loop, const StationLink& link, const sched::AnswerRecord& answer,
                std::uint64_t position) noexcept {
  // A conflict is noted for the record: the long way does.
  if (answer.operation != OperationId{0} || answer.body_bytes != 0 ||
      answer.state == sched::TrinaryState::conflict ||
      sched::validate(answer, kAnywhere) != sched::RecordRefusal::none)
    return false;
  const AgentIndex agent = loop.registry->resolve(answer.agent);
  const auto row = static_cast<std::uint32_t>(agent);
  if (agent == kNoAgent || station_of(loop, row) != static_cast<std::uint16_t>(link.number))
    return false;
  const std::uint32_t at = loop.entries.find(answer.message, answer.agent);
  if (at == loop.entries.kNone || loop.is_over[at]) return false;
  const auto [is_bare, source, question] = loop.entries.question(at);
  if (!is_bare) return false;
  const AgentIndex asker = loop.registry->resolve(source);
  if (asker == kNoAgent) return false;  // the engine's own, too
  StationLink* const inbox =
      open_inbox(loop, static_cast<std::uint32_t>(asker), sched::Priority::high);
  if (inbox == nullptr || !loop.gate.hear(row)) return false;
  ++loop.counters.answers;
  count_state(loop, answer.state);
  if (answer.state != sched::TrinaryState::transit) loop.gate.watch->reliability().answered(row);
  if (const std::uint32_t depth = own(loop.agents.queue_depth, row); depth != 0)
    put(loop.agents.queue_depth, row, depth - 1);
  const sched::MessageId id = loop.id_at(answer.finished_ns, link.number, position);
  const sched::BareReplyBody body{{.state = answer.state,
                                   .conflict_type = answer.conflict_type,
                                   .context = context_of(loop, link, answer),
                                   .reserved = 0,
                                   .processing_us = answer.processing_us},
                                  question};
  place(loop, *inbox, answer.agent, std::bit_cast<sched::BareWords>(body),
        {.message = static_cast<sched::MessageWord>(id.low),
         .target = source,
         .sent_ns = 0,
         .arrive_ns = 0,
         .operation = OperationId{0},
         .lead_us = 0,
         .expected_us = 0,
         .body_bytes = sizeof body,
         .confidence = 0,
         .kind = RecordKind::reply,
         .flags = RecordFlags::none});
  loop.is_over[at] = true;
  loop.over.push_back(at);
  return true;
}

}  // namespace

bool take_bare(EngineLoop::State& loop, StationLink& link, const Ring::Record& record,
               std::uint64_t position) noexcept {
  if (before(position, link.read_again_until)) return false;
  const auto about = static_cast<std::uint16_t>(record.words[6] >> 48);
  if (about == kBareSend)
    return pass_message(loop, link, std::bit_cast<sched::SendRecord>(record), position);
  if (about == kAnswer)
    return pass_reply(loop, link, std::bit_cast<sched::AnswerRecord>(record), position);
  return false;
}

}  // namespace mesh::engine
