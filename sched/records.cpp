#include "sched/records.hpp"

#include <cmath>

namespace mesh::sched {
namespace {

constexpr RecordFlags kSendFlags =
    RecordFlags::bare | RecordFlags::selector | RecordFlags::confidential | RecordFlags::durable;
constexpr RecordFlags kAnswerFlags = RecordFlags::none;
constexpr RecordFlags kRefusalFlags = RecordFlags::redelivered;  // known, and answered before
constexpr RecordFlags kDeliveryFlags = RecordFlags::redelivered | RecordFlags::bare;

constexpr bool within(RecordFlags flags, RecordFlags allowed) noexcept {
  return (static_cast<unsigned>(flags) & ~static_cast<unsigned>(allowed)) == 0;
}
template <class Enum>
constexpr bool between(Enum value, Enum lowest, Enum highest) noexcept {
  return value >= lowest && value <= highest;
}
constexpr bool known(Verb verb) noexcept { return between(verb, Verb::observe, Verb::sync); }
constexpr bool known(Priority priority) noexcept {
  return static_cast<std::uint32_t>(priority) < kPriorities;
}

// Header and body from `position` on. Written with subtractions of checked values, so that no
// hostile number overflows: position + bytes might.
RecordRefusal place(std::uint64_t position, std::uint64_t size_bytes,
                    const BodyRegion& region) noexcept {
  if (position % kBodyAlignment != 0) return RecordRefusal::body_offset;
  if (position < region.begin || position > region.end) return RecordRefusal::body_offset;
  if (size_bytes > region.end - position) return RecordRefusal::body_bytes;
  return RecordRefusal::none;
}

RecordRefusal check_selector(const SendRecord& record) noexcept {
  const auto word = static_cast<Selector>(record.target);
  const std::uint32_t value = value_of(word);
  if (word != selector(kind_of(word), value)) return RecordRefusal::target;  // bits 32-55
  switch (kind_of(word)) {
    case SelectorKind::all:
      return value == 0 ? RecordRefusal::none : RecordRefusal::target;
    case SelectorKind::agent_class:
      return value < kMaxClasses ? RecordRefusal::none : RecordRefusal::target;
    case SelectorKind::sector:
    case SelectorKind::cluster:
      return value < kMaxAgents ? RecordRefusal::none : RecordRefusal::target;
    case SelectorKind::list: {
      if (value == 0 || value > kMaxAgents) return RecordRefusal::target;
      if (has(record.flags, RecordFlags::bare)) return RecordRefusal::target;
      const std::uint64_t list_bytes = std::uint64_t{value} * sizeof(AgentId);
      return list_bytes <= record.body_bytes ? RecordRefusal::none : RecordRefusal::body_bytes;
    }
  }
  return RecordRefusal::target;
}

template <class Record>
BareBody copy_bare(const Record& record, std::size_t offset) noexcept {
  BareBody body{};
  body.size_bytes = record.body_bytes;
  std::byte image[sizeof(Record)];
  std::memcpy(image, &record, sizeof image);
  std::memcpy(body.bytes, image + offset, sizeof body.bytes);
  return body;
}
template <class Record>
bool put_bare(Record& record, std::size_t offset, std::span<const std::byte> body) noexcept {
  if (body.size() > kBareBodyBytes) return false;
  std::byte image[sizeof(Record)];
  std::memcpy(image, &record, sizeof image);
  std::memset(image + offset, 0, kBareBodyBytes);
  if (!body.empty()) std::memcpy(image + offset, body.data(), body.size());
  std::memcpy(&record, image, sizeof image);
  record.body_bytes = static_cast<std::uint32_t>(body.size());
  record.flags = record.flags | RecordFlags::bare;
  return true;
}

}  // namespace

bool set_bare_body(SendRecord& record, std::span<const std::byte> body) noexcept {
  return put_bare(record, offsetof(SendRecord, operation), body);
}
bool set_bare_body(DeliveryRecord& record, std::span<const std::byte> body) noexcept {
  return put_bare(record, offsetof(DeliveryRecord, arrive_ns), body);
}
BareBody bare_body(const SendRecord& record) noexcept {
  return copy_bare(record, offsetof(SendRecord, operation));
}
BareBody bare_body(const DeliveryRecord& record) noexcept {
  return copy_bare(record, offsetof(DeliveryRecord, arrive_ns));
}
void set_bare_source(DeliveryRecord& record, AgentId source) noexcept {
  record.lead_us = static_cast<std::uint32_t>(static_cast<std::uint64_t>(source) & 0xFFFF'FFFF);
  record.expected_us = static_cast<std::uint32_t>(static_cast<std::uint64_t>(source) >> 32);
}
AgentId bare_source(const DeliveryRecord& record) noexcept {
  return static_cast<AgentId>(record.lead_us | (std::uint64_t{record.expected_us} << 32));
}

RecordRefusal validate(const SendRecord& record, const BodyRegion& outbound) noexcept {
  if (!between(record.kind, RecordKind::send, RecordKind::cancel)) return RecordRefusal::kind;
  if (!within(record.flags, kSendFlags)) return RecordRefusal::flags;
  if (!known(record.priority())) return RecordRefusal::priority;
  if (!known(record.verb())) return RecordRefusal::verb;
  if (record.created_ns < 0) return RecordRefusal::created_ns;
  if (has(record.flags, RecordFlags::selector)) {
    if (const auto refusal = check_selector(record); refusal != RecordRefusal::none) return refusal;
  }
  if (has(record.flags, RecordFlags::bare)) {  // arrive_ns is body
    return record.body_bytes <= kBareBodyBytes ? RecordRefusal::none : RecordRefusal::body_bytes;
  }
  if (record.arrive_ns < 0) return RecordRefusal::arrive_ns;
  return place(record.body_offset, kMessageHeaderBytes + record.body_bytes, outbound);
}

RecordRefusal validate(const AnswerRecord& record, const BodyRegion& outbound) noexcept {
  if (!between(record.kind, RecordKind::answer, RecordKind::refusal)) return RecordRefusal::kind;
  const bool declines = record.kind == RecordKind::refusal;
  if (!within(record.flags, declines ? kRefusalFlags : kAnswerFlags)) return RecordRefusal::flags;
  if (!between(record.state, TrinaryState::conflict, TrinaryState::ready)) {
    return RecordRefusal::state;
  }
  if (record.conflict_type > ConflictType::other) return RecordRefusal::conflict_type;
  const bool in_conflict = record.state == TrinaryState::conflict;
  const bool has_type = record.conflict_type != ConflictType::none;
  if (in_conflict != has_type) return RecordRefusal::conflict_type;
  if (declines && record.state != TrinaryState::transit) {
    return RecordRefusal::state;  // who declined has neither integrated it nor failed to
  }
  if (record.received_ns < 0) return RecordRefusal::received_ns;
  if (record.finished_ns < 0) return RecordRefusal::finished_ns;
  if (record.body_bytes == 0) return RecordRefusal::none;  // no body: its offset means nothing
  return place(record.body_offset, record.body_bytes, outbound);
}

RecordRefusal validate(const DeliveryRecord& record, const DeliveryRegions& regions) noexcept {
  if (!between(record.kind, RecordKind::message, RecordKind::outcome)) return RecordRefusal::kind;
  if (!within(record.flags, kDeliveryFlags)) return RecordRefusal::flags;
  if (record.sent_ns < 0) return RecordRefusal::sent_ns;
  if (has(record.flags, RecordFlags::bare)) {
    return record.body_bytes <= kBareBodyBytes ? RecordRefusal::none : RecordRefusal::body_bytes;
  }
  if (record.arrive_ns < 0) return RecordRefusal::arrive_ns;
  const BodyRegion& region =
      is_in_payload_log(record.message) ? regions.payload_log : regions.inbox;
  const auto refusal =
      place(position_of(record.message), kMessageHeaderBytes + record.body_bytes, region);
  return refusal == RecordRefusal::body_offset ? RecordRefusal::message : refusal;
}

RecordRefusal validate(const MessageHeader& header, const SendRecord& record) noexcept {
  if (!known(header.verb) || header.verb != record.verb()) return RecordRefusal::verb;
  if (!between(header.strategy, Strategy::direct, Strategy::pipeline)) {
    return RecordRefusal::strategy;
  }
  if (!known(header.priority) || header.priority != record.priority()) {
    return RecordRefusal::priority;
  }
  if (header.expectation > Expectation::respond) return RecordRefusal::expectation;
  if (header.created_ns < 0) return RecordRefusal::created_ns;
  if (header.expires_ns < 0) return RecordRefusal::expires_ns;
  if (!std::isfinite(header.weight()) || header.weight() < 0) return RecordRefusal::weight;
  if (header.body_bytes != record.body_bytes) return RecordRefusal::body_bytes;
  if (header.reserved != 0) return RecordRefusal::reserved;
  return RecordRefusal::none;
}

std::string_view name_of(RecordRefusal refusal) noexcept {
  constexpr std::string_view kNames[] = {
      "none",       "kind",          "flags",      "message",     "target",      "sent_ns",
      "arrive_ns",  "created_ns",    "expires_ns", "received_ns", "finished_ns", "body_offset",
      "body_bytes", "verb",          "strategy",   "priority",    "expectation", "weight",
      "state",      "conflict_type", "reserved"};
  static_assert(std::size(kNames) == static_cast<std::size_t>(RecordRefusal::reserved) + 1);
  const auto index = static_cast<std::size_t>(refusal);
  return index < std::size(kNames) ? kNames[index] : "unknown";
}

std::string_view name_of(AnswerContext context) noexcept {
  switch (context) {
    case AnswerContext::current:
      return "current";
    case AnswerContext::changed:
      return "changed";
    case AnswerContext::other:
      return "other";
    case AnswerContext::unknown:
      break;
  }
  return "unknown";
}

std::string_view name_of(RecordKind kind) noexcept {
  switch (kind) {
    case RecordKind::none:
      return "none";
    case RecordKind::message:
      return "message";
    case RecordKind::reply:
      return "reply";
    case RecordKind::result:
      return "result";
    case RecordKind::report:
      return "report";
    case RecordKind::circuit:
      return "circuit";
    case RecordKind::freeze:
      return "freeze";
    case RecordKind::outcome:
      return "outcome";
    case RecordKind::answer:
      return "answer";
    case RecordKind::refusal:
      return "refusal";
    case RecordKind::send:
      return "send";
    case RecordKind::command:
      return "command";
    case RecordKind::service:
      return "service";
    case RecordKind::cancel:
      return "cancel";
  }
  return "unknown";
}

}  // namespace mesh::sched
