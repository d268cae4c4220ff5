// The records told field by field: what the layout hash covers and SHM_LAYOUT.md prints.
#pragma once

#include "sched/records.hpp"
#include "shm/describe.hpp"

namespace mesh::sched {

inline constexpr shm::FieldDescription kMessageHeaderFields[] = {
    MESH_FIELD(MessageHeader, id, "unix_ms 48, host 16, station 16, outbox position 48"),
    MESH_FIELD(MessageHeader, correlation, "id of the conversation's first message"),
    MESH_FIELD(MessageHeader, causation, "id of the message that led to this one"),
    MESH_FIELD(MessageHeader, source, "handle of the sender"),
    MESH_FIELD(MessageHeader, created_ns, "when it was made"),
    MESH_FIELD(MessageHeader, expires_ns, "when it is past its TTL; 0: never"),
    MESH_FIELD(MessageHeader, hash, "XXH3-64 of the body"),
    MESH_FIELD(MessageHeader, capabilities, "what a target must have: 256 bits"),
    MESH_FIELD(MessageHeader, weight_bits, "payload weight, the bits of an f32"),
    MESH_FIELD(MessageHeader, body_bytes, "size of the body that follows"),
    MESH_FIELD(MessageHeader, verb, "observe 1, orient, decide, act, record, sync 6"),
    MESH_FIELD(MessageHeader, strategy, "direct 1, broadcast, scatter_gather, pipeline 4"),
    MESH_FIELD(MessageHeader, priority, "0 to 3; 3 is critical"),
    MESH_FIELD(MessageHeader, expectation, "none 0, acknowledge, integrate, respond 3"),
    MESH_FIELD(MessageHeader, reserved, "zero"),
};
inline constexpr shm::StructDescription kMessageHeaderDescription = shm::describe<MessageHeader>(
    "MessageHeader", kMessageHeaderFields, "stands once before a body, for all its targets");

inline constexpr shm::FieldDescription kDeliveryFields[] = {
    MESH_FIELD(DeliveryRecord, message,
               "position of the header; top bit: payload log, else .in; bare: low half of the id"),
    MESH_FIELD(DeliveryRecord, target, "handle of the agent"),
    MESH_FIELD(DeliveryRecord, sent_ns, "when its run was published"),
    MESH_FIELD(DeliveryRecord, arrive_ns, "T; 0: now; bare: body bytes 0-7"),
    MESH_FIELD(DeliveryRecord, operation, "0: none; bare: body bytes 8-15"),
    MESH_FIELD(DeliveryRecord, lead_us, "lead used for this target; bare: source, low half"),
    MESH_FIELD(DeliveryRecord, expected_us, "expected processing; bare: source, high half"),
    MESH_FIELD(DeliveryRecord, body_bytes, "size of the body"),
    MESH_FIELD(DeliveryRecord, confidence, "of the lead, in 1/65535"),
    MESH_FIELD(DeliveryRecord, kind, "RecordKind 1 to 7"),
    MESH_FIELD(DeliveryRecord, flags, "1 redelivered, 2 bare"),
};
inline constexpr shm::StructDescription kDeliveryDescription =
    shm::describe<DeliveryRecord>("DeliveryRecord", kDeliveryFields, "engine to station");

inline constexpr shm::FieldDescription kAnswerFields[] = {
    MESH_FIELD(AnswerRecord, message, "as the delivery had it"),
    MESH_FIELD(AnswerRecord, agent, "handle of the agent that answers"),
    MESH_FIELD(AnswerRecord, operation, "as the delivery had it"),
    MESH_FIELD(AnswerRecord, received_ns, "when the station polled it"),
    MESH_FIELD(AnswerRecord, finished_ns, "when the agent was done"),
    MESH_FIELD(AnswerRecord, body_offset, "of the answer's body in .out"),
    MESH_FIELD(AnswerRecord, body_bytes, "size of the answer's body; 0: none"),
    MESH_FIELD(AnswerRecord, processing_us, "time the agent worked on it"),
    MESH_FIELD(AnswerRecord, state, "1 ready, 0 transit, -1 conflict"),
    MESH_FIELD(AnswerRecord, conflict_type, "0 unless in conflict"),
    MESH_FIELD(AnswerRecord, kind, "RecordKind 64 to 65"),
    MESH_FIELD(AnswerRecord, flags, "zero"),
};
inline constexpr shm::StructDescription kAnswerDescription =
    shm::describe<AnswerRecord>("AnswerRecord", kAnswerFields, "station to engine: an outcome");

inline constexpr shm::FieldDescription kSendFields[] = {
    MESH_FIELD(SendRecord, source, "handle of the sender"),
    MESH_FIELD(SendRecord, target, "handle, or selector where flags say so"),
    MESH_FIELD(SendRecord, operation, "0: none; bare: body bytes 0-7"),
    MESH_FIELD(SendRecord, arrive_ns, "T; 0: now; bare: body bytes 8-15"),
    MESH_FIELD(SendRecord, created_ns, "when it was made"),
    MESH_FIELD(SendRecord, body_offset, "of the header in .out; the body follows"),
    MESH_FIELD(SendRecord, body_bytes, "size of the body without the header"),
    MESH_FIELD(SendRecord, ttl_ms, "0: never expires"),
    MESH_FIELD(SendRecord, verb_and_priority, "verb in the low byte, priority in the high"),
    MESH_FIELD(SendRecord, kind, "RecordKind 128 to 131"),
    MESH_FIELD(SendRecord, flags, "2 bare, 4 selector, 8 confidential, 16 durable"),
};
inline constexpr shm::StructDescription kSendDescription = shm::describe<SendRecord>(
    "SendRecord", kSendFields, "station to engine: a message or a command");

static_assert(shm::covers_every_byte(kMessageHeaderDescription));
static_assert(shm::covers_every_byte(kDeliveryDescription));
static_assert(shm::covers_every_byte(kAnswerDescription));
static_assert(shm::covers_every_byte(kSendDescription));

}  // namespace mesh::sched
