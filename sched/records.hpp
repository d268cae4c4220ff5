// MessageHeader, DeliveryRecord, AnswerRecord, SendRecord: what travels, byte by byte.
//
// A record fills one ring slot: 56 bytes and the slot's stamp. kind and flags stand at bytes 54 and
// 55 of all three, so whoever polls a ring knows what it holds before anything else is read. What
// is the same for all targets of a message stands once, in the 128-byte header before its body. A
// *bare* message has no header and no operation, and no T: its body, at most 16 bytes, lies in
// those two fields of the record itself.
//
// Callers     any thread: plain values. A record that a station wrote is loaded once into a const
//             local, then validate()d, then used.
// Cost        accessors: register arithmetic. validate(): a dozen compares, no memory but its
//             arguments.
// Units       times in nanoseconds of HostClock; 0 = none where a field says so.
// If the      writes anything at all: validate() names the first field that cannot be. It checks
// other side  form; whether handle, operation or capability exist is the engine's table to say.
// lies        Times that are merely odd (created in the future, finished before received) are
//             clamped by who uses them, not refused: a late answer still counts.
// Errors      RecordRefusal, an enum: refusals are counted, not raised.
// Layout      native byte order, pinned below; sched/records_layout.hpp describes it for documents.
//             Any change is an ABI change.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "shm/base/ids.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::sched {

inline constexpr std::size_t kMessageHeaderBytes = 128;
inline constexpr std::uint32_t kBodyAlignment = 8;  // of a header, so of every body_offset

// Append only, all of them: a number is never reused. 0 is never valid for a kind: it is what an
// unwritten slot holds.
enum class RecordKind : std::uint8_t {
  none = 0,
  // Deliveries, engine to station.
  message = 1,  // work for an agent
  reply = 2,    // the answer to a message that this agent sent
  result = 3,   // an operation is over
  report = 4,   // a message could not be delivered; says why
  circuit = 5,  // a breaker opened, half-opened or closed
  freeze = 6,   // stop and keep state
  outcome = 7,  // what a command led to
  // Answers, station to engine.
  answer = 64,
  refusal = 65,  // the agent declines: over, neither ready nor in conflict
  // Sends and commands, station to engine.
  send = 128,     // a message; its strategy stands in its header
  command = 129,  // a change of mesh state
  service = 130,  // a command to a coordination service
  cancel = 131,   // an operation is no longer wanted
};
enum class Verb : std::uint8_t { observe = 1, orient, decide, act, record, sync };
enum class Strategy : std::uint8_t { direct = 1, broadcast, scatter_gather, pipeline };
enum class Priority : std::uint8_t { background = 0, normal = 1, high = 2, critical = 3 };
enum class Expectation : std::uint8_t { none = 0, acknowledge, integrate, respond };
enum class TrinaryState : std::int8_t { conflict = -1, transit = 0, ready = 1 };
enum class ConflictType : std::uint8_t {
  none = 0,
  context_divergence,
  data_contradiction,
  temporal_paradox,
  capability_mismatch,
  hash_mismatch,
  other,
};
enum class RecordFlags : std::uint8_t {
  none = 0,
  redelivered = 1U << 0,   // may have been delivered before: look it up
  bare = 1U << 1,          // no header; the body is in the record
  selector = 1U << 2,      // send: target is a Selector, not a handle
  confidential = 1U << 3,  // send: never through the payload log
  durable = 1U << 4,       // send: accepted only after fdatasync
};
constexpr RecordFlags operator|(RecordFlags a, RecordFlags b) noexcept {
  return static_cast<RecordFlags>(static_cast<std::uint8_t>(a) | static_cast<std::uint8_t>(b));
}
constexpr bool has(RecordFlags flags, RecordFlags flag) noexcept {
  return (static_cast<std::uint8_t>(flags) & static_cast<std::uint8_t>(flag)) != 0;
}

// {unix_ms 48 | host 16 | station 16 | outbox position 48}: ordered by time first, and computed
// from the record, so that reading a record twice gives the same id. 48 bits of milliseconds end in
// the year 10889; 48 bits of position last 8.9 years at a million messages a second.
struct MessageOrigin {
  std::uint64_t unix_ms = 0;
  HostId host{};
  StationId station{};
  std::uint64_t outbox_position = 0;
  friend constexpr bool operator==(const MessageOrigin&, const MessageOrigin&) = default;
};
struct MessageId {
  std::uint64_t high;  // unix_ms << 16 | host
  std::uint64_t low;   // station << 48 | outbox position: what tells two of one host and ms apart
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 sees a null in a defaulted <=>
  friend constexpr auto operator<=>(const MessageId&, const MessageId&) = default;
};
inline constexpr std::uint64_t kLow48 = (std::uint64_t{1} << 48) - 1;

// Takes the low 48 bits of time and position: a position counts for ever, its id wraps.
constexpr MessageId pack(const MessageOrigin& origin) noexcept {
  return {((origin.unix_ms & kLow48) << 16) | static_cast<std::uint16_t>(origin.host),
          (static_cast<std::uint64_t>(origin.station) << 48) | (origin.outbox_position & kLow48)};
}
constexpr MessageOrigin unpack(MessageId id) noexcept {
  return {id.high >> 16, static_cast<HostId>(id.high & 0xFFFF),
          static_cast<StationId>(id.low >> 48), id.low & kLow48};
}

// Where a message's header stands: a position in the payload log (top bit set) or in the station's
// own `.in`. Of a bare message, which stands nowhere, it is MessageId::low.
enum class MessageWord : std::uint64_t {};
inline constexpr std::uint64_t kInPayloadLog = std::uint64_t{1} << 63;
constexpr MessageWord in_payload_log(std::uint64_t position) noexcept {
  return static_cast<MessageWord>(position | kInPayloadLog);
}
constexpr MessageWord in_inbox(std::uint64_t position) noexcept {
  return static_cast<MessageWord>(position & ~kInPayloadLog);
}
constexpr bool is_in_payload_log(MessageWord word) noexcept {
  return (static_cast<std::uint64_t>(word) & kInPayloadLog) != 0;
}
constexpr std::uint64_t position_of(MessageWord word) noexcept {
  return static_cast<std::uint64_t>(word) & ~kInPayloadLog;
}

// Many targets in one word: bits 56-63 kind, 0-31 value (class, sector or cluster number; number of
// handles that a list carries at the start of the body). A handle uses all 64 bits, so the flag
// `selector` tells the two apart, never the word itself.
enum class SelectorKind : std::uint8_t { all = 1, agent_class, sector, cluster, list };
enum class Selector : std::uint64_t {};
constexpr Selector selector(SelectorKind kind, std::uint32_t value = 0) noexcept {
  return static_cast<Selector>((static_cast<std::uint64_t>(kind) << 56) | value);
}
constexpr SelectorKind kind_of(Selector word) noexcept {
  return static_cast<SelectorKind>(static_cast<std::uint64_t>(word) >> 56);
}
constexpr std::uint32_t value_of(Selector word) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(word) & 0xFFFF'FFFF);
}

struct MessageHeader {
  MessageId id;
  MessageId correlation;
  MessageId causation;
  AgentId source;
  std::int64_t created_ns;
  std::int64_t expires_ns;  // 0: never
  std::uint64_t hash;       // XXH3-64 of the body
  std::uint64_t capabilities[kCapabilities / 64];
  std::uint32_t weight_bits;  // f32: a float would fail the padding assert
  std::uint32_t body_bytes;
  Verb verb;
  Strategy strategy;
  Priority priority;
  Expectation expectation;
  std::uint32_t reserved;  // zero

  [[nodiscard]] float weight() const noexcept { return std::bit_cast<float>(weight_bits); }
  void set_weight(float weight) noexcept { weight_bits = std::bit_cast<std::uint32_t>(weight); }
};

// Engine to station. Of a bare delivery arrive_ns and operation hold the body, lead_us and
// expected_us the source: what a message without T and header does not need, and needs.
struct DeliveryRecord {
  MessageWord message;
  AgentId target;
  std::int64_t sent_ns;
  std::int64_t arrive_ns;  // T; 0: now
  OperationId operation;
  std::uint32_t lead_us;
  std::uint32_t expected_us;
  std::uint32_t body_bytes;
  std::uint16_t confidence;  // 1/65535
  RecordKind kind;
  RecordFlags flags;
};

// Station to engine: what an agent made of a delivery.
struct AnswerRecord {
  MessageWord message;  // as delivered
  AgentId agent;
  OperationId operation;
  std::int64_t received_ns;
  std::int64_t finished_ns;
  std::uint32_t body_offset;
  std::uint32_t body_bytes;
  std::uint32_t processing_us;
  TrinaryState state;
  ConflictType conflict_type;
  RecordKind kind;
  RecordFlags flags;
};

// Station to engine: a message or a command. Of a bare one operation and arrive_ns hold the body.
struct SendRecord {
  AgentId source;
  std::uint64_t target;  // AgentId, or Selector where flags say so
  OperationId operation;
  std::int64_t arrive_ns;  // T; 0: now
  std::int64_t created_ns;
  std::uint32_t body_offset;        // of the header; the body follows it
  std::uint32_t body_bytes;         // of the body alone, a list of handles included
  std::uint32_t ttl_ms;             // 0: never expires
  std::uint16_t verb_and_priority;  // verb | priority << 8
  RecordKind kind;
  RecordFlags flags;

  [[nodiscard]] Verb verb() const noexcept { return static_cast<Verb>(verb_and_priority & 0xFF); }
  [[nodiscard]] Priority priority() const noexcept {
    return static_cast<Priority>(verb_and_priority >> 8);
  }
};

constexpr std::uint16_t verb_and_priority(Verb verb, Priority priority) noexcept {
  return static_cast<std::uint16_t>(static_cast<unsigned>(verb) |
                                    (static_cast<unsigned>(priority) << 8));
}

// 16 bits are finer than any estimate. Of what is not a number: 0.
constexpr std::uint16_t confidence_bits(double confidence) noexcept {
  if (!(confidence > 0)) return 0;
  return confidence >= 1 ? 65'535 : static_cast<std::uint16_t>(confidence * 65'535 + 0.5);
}
constexpr double confidence_of(std::uint16_t bits) noexcept { return bits / 65'535.0; }

// When a message made at created_ns with this TTL is past it; 0: never. Saturates.
constexpr std::int64_t expires_ns(std::int64_t created_ns, std::uint32_t ttl_ms) noexcept {
  if (ttl_ms == 0) return 0;
  std::int64_t expires = 0;
  const bool overflow =
      __builtin_add_overflow(created_ns, std::int64_t{ttl_ms} * kNsPerMs, &expires);
  return overflow ? INT64_MAX : expires;
}

// Under which context of its agent an answer was made, as far as the engine knows when it takes it
// (docs/CONTEXTS.md). Append only.
enum class AnswerContext : std::uint8_t {
  unknown = 0,  // the agent has handed none over, or does not say which it has
  current,      // the one that it is to have
  changed,      // it had the message before that one became its context
  other,        // it says that it has another one
};

// What the bodies of replies, reports and results begin with. The rest of a reply's body is the
// answer's; a report and a result have no more. The reply to a bare message whose answer has no
// body is bare too, and names what it answers behind its head.
struct ReplyHead {
  TrinaryState state;
  ConflictType conflict_type;
  AnswerContext context;
  std::uint8_t reserved;  // zero
  std::uint32_t processing_us;
};
struct ReportBody {               // bare
  std::uint64_t outbox_position;  // of the message that it is about
  std::int64_t code;              // Errc
};
struct BareReplyBody {
  ReplyHead head;
  std::uint64_t question;  // MessageId::low of what it answers
};
struct ResultBody {
  OperationId operation;
  std::int64_t target_ns;
  std::uint32_t targeted, sent, ready, conflict, straggler, skipped;
  std::uint32_t error_p50_us, error_p90_us, error_p99_us;
  std::uint8_t verdict, advice, end, reserved;  // GatherVerdict, GatherAdvice, GatherEnd
};
static_assert(sizeof(ReplyHead) == 8 && sizeof(ReportBody) == kBareBodyBytes &&
              sizeof(BareReplyBody) == kBareBodyBytes);
static_assert(sizeof(ResultBody) == 56 && std::has_unique_object_representations_v<ResultBody>);

static_assert(sizeof(MessageId) == 16 && sizeof(MessageHeader) == kMessageHeaderBytes);
static_assert(sizeof(DeliveryRecord) == kRecordBytes && sizeof(AnswerRecord) == kRecordBytes &&
              sizeof(SendRecord) == kRecordBytes);
static_assert(offsetof(DeliveryRecord, kind) == 54 && offsetof(AnswerRecord, kind) == 54 &&
              offsetof(SendRecord, kind) == 54);
static_assert(offsetof(DeliveryRecord, flags) == 55 && offsetof(AnswerRecord, flags) == 55 &&
              offsetof(SendRecord, flags) == 55);
template <class T>
inline constexpr bool kIsPlainRecord =
    std::is_trivial_v<T>&& std::is_standard_layout_v<T> &&
    alignof(T) == 8 && std::has_unique_object_representations_v<T>;  // = no hidden padding
static_assert(kIsPlainRecord<MessageHeader>);
static_assert(kIsPlainRecord<DeliveryRecord>);
static_assert(kIsPlainRecord<AnswerRecord>);
static_assert(kIsPlainRecord<SendRecord>);
// The two places where a bare body lies are 16 bytes in one piece.
static_assert(offsetof(DeliveryRecord, arrive_ns) + 8 == offsetof(DeliveryRecord, operation));
static_assert(offsetof(SendRecord, operation) + 8 == offsetof(SendRecord, arrive_ns));
static_assert(kBareBodyBytes == 16);

// Puts a bare body into a record whose other fields are set; the body's end is zeroed, so that no
// old byte of the sender travels. At most kBareBodyBytes. Returns false, and does nothing, if it is
// longer.
bool set_bare_body(SendRecord& record, std::span<const std::byte> body) noexcept;
bool set_bare_body(DeliveryRecord& record, std::span<const std::byte> body) noexcept;
// Copies the body out; `size_bytes` of it count. Only of validated bare records.
struct BareBody {
  std::byte bytes[kBareBodyBytes];
  std::uint32_t size_bytes;
};
[[nodiscard]] BareBody bare_body(const SendRecord& record) noexcept;
[[nodiscard]] BareBody bare_body(const DeliveryRecord& record) noexcept;
// The same bytes as two words, for whoever passes them on unread.
using BareWords = std::array<std::uint64_t, 2>;
constexpr BareWords bare_words(const SendRecord& record) noexcept {
  return {static_cast<std::uint64_t>(record.operation),
          static_cast<std::uint64_t>(record.arrive_ns)};
}
constexpr BareWords bare_words(const DeliveryRecord& record) noexcept {
  return {static_cast<std::uint64_t>(record.arrive_ns),
          static_cast<std::uint64_t>(record.operation)};
}
constexpr void set_bare_words(DeliveryRecord& record, const BareWords& words) noexcept {
  record.arrive_ns = static_cast<std::int64_t>(words[0]);
  record.operation = static_cast<OperationId>(words[1]);
  record.flags = record.flags | RecordFlags::bare;
}
// A bare delivery names its source in the record, having no header to do so.
void set_bare_source(DeliveryRecord& record, AgentId source) noexcept;
[[nodiscard]] AgentId bare_source(const DeliveryRecord& record) noexcept;

// The first field that cannot be, or `none`.
enum class RecordRefusal : std::uint8_t {
  none = 0,
  kind,
  flags,
  message,
  target,
  sent_ns,
  arrive_ns,
  created_ns,
  expires_ns,
  received_ns,
  finished_ns,
  body_offset,
  body_bytes,
  verb,
  strategy,
  priority,
  expectation,
  weight,
  state,
  conflict_type,
  reserved,
};
[[nodiscard]] std::string_view name_of(RecordRefusal refusal) noexcept;
[[nodiscard]] std::string_view name_of(RecordKind kind) noexcept;
[[nodiscard]] std::string_view name_of(AnswerContext context) noexcept;

// Positions [begin, end) in which headers and bodies may lie.
struct BodyRegion {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
struct DeliveryRegions {
  BodyRegion payload_log;
  BodyRegion inbox;
};
[[nodiscard]] RecordRefusal validate(const SendRecord& record, const BodyRegion& outbound) noexcept;
[[nodiscard]] RecordRefusal validate(const AnswerRecord& record,
                                     const BodyRegion& outbound) noexcept;
[[nodiscard]] RecordRefusal validate(const DeliveryRecord& record,
                                     const DeliveryRegions& regions) noexcept;
// A header copied out of a station's memory, against the record that named it.
[[nodiscard]] RecordRefusal validate(const MessageHeader& header,
                                     const SendRecord& record) noexcept;

}  // namespace mesh::sched
