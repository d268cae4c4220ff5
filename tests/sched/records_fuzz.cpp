// Records and headers out of a hostile ring: what validate() lets through may be used as it stands.
#include <cmath>

#include "sched/records.hpp"
#include "shm/base/assert.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {
namespace {

using namespace sched;

BodyRegion take_region(FuzzInput& input) {
  const std::uint64_t begin = input.take<std::uint32_t>() & ~7U;
  return {begin, begin + input.take<std::uint16_t>()};
}

void check_inside(std::uint64_t position, std::uint64_t size_bytes, const BodyRegion& region) {
  MESH_ASSERT(position % kBodyAlignment == 0);
  MESH_ASSERT(position >= region.begin);
  MESH_ASSERT(position <= region.end);
  MESH_ASSERT(size_bytes <= region.end - position);
}

void check_send(const SendRecord& record, const BodyRegion& region) {
  const RecordRefusal refusal = validate(record, region);
  MESH_ASSERT(name_of(refusal) != "unknown");
  if (refusal != RecordRefusal::none) return;
  MESH_ASSERT(name_of(record.kind) != "unknown");
  MESH_ASSERT(static_cast<unsigned>(record.priority()) < kPriorities);
  if (has(record.flags, RecordFlags::bare)) {
    MESH_ASSERT(bare_body(record).size_bytes <= kBareBodyBytes);
    return;
  }
  check_inside(record.body_offset, kMessageHeaderBytes + record.body_bytes, region);
  if (!has(record.flags, RecordFlags::selector)) return;
  const auto target = static_cast<Selector>(record.target);
  if (kind_of(target) == SelectorKind::list)
    MESH_ASSERT(value_of(target) <= record.body_bytes / sizeof(AgentId));
}

void check_answer(const AnswerRecord& record, const BodyRegion& region) {
  const RecordRefusal refusal = validate(record, region);
  MESH_ASSERT(name_of(refusal) != "unknown");
  if (refusal != RecordRefusal::none) return;
  MESH_ASSERT((record.state == TrinaryState::conflict) ==
              (record.conflict_type != ConflictType::none));
  if (record.body_bytes != 0) check_inside(record.body_offset, record.body_bytes, region);
}

void check_delivery(const DeliveryRecord& record, const DeliveryRegions& regions) {
  const RecordRefusal refusal = validate(record, regions);
  MESH_ASSERT(name_of(refusal) != "unknown");
  if (refusal != RecordRefusal::none) return;
  if (has(record.flags, RecordFlags::bare)) {
    MESH_ASSERT(bare_body(record).size_bytes <= kBareBodyBytes);
    static_cast<void>(bare_source(record));
    return;
  }
  check_inside(position_of(record.message), kMessageHeaderBytes + record.body_bytes,
               is_in_payload_log(record.message) ? regions.payload_log : regions.inbox);
}

void check_header(const MessageHeader& header, const SendRecord& record) {
  const RecordRefusal refusal = validate(header, record);
  MESH_ASSERT(name_of(refusal) != "unknown");
  if (refusal != RecordRefusal::none) return;
  MESH_ASSERT(header.body_bytes == record.body_bytes);
  MESH_ASSERT(header.verb == record.verb());
  MESH_ASSERT(std::isfinite(header.weight()) && header.weight() >= 0);
  MESH_ASSERT(pack(unpack(header.id)) == header.id);
}

}  // namespace

void fuzz_one(std::span<const std::byte> bytes) {
  FuzzInput input(bytes);
  const auto what = input.take<std::uint8_t>() % 4;
  const BodyRegion region = take_region(input);
  if (what == 0) {
    check_send(input.take<SendRecord>(), region);
  } else if (what == 1) {
    check_answer(input.take<AnswerRecord>(), region);
  } else if (what == 2) {
    const BodyRegion inbox = take_region(input);
    check_delivery(input.take<DeliveryRecord>(), {region, inbox});
  } else {
    const auto record = input.take<SendRecord>();
    check_header(input.take<MessageHeader>(), record);
  }
}

}  // namespace mesh::testing
