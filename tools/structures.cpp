#include "tools/structures.hpp"

#include "queues/ring_description.hpp"
#include "sched/clock_layout.hpp"
#include "sched/records_layout.hpp"
#include "shm/mapping_header.hpp"

namespace mesh::tools {
namespace {

constexpr const shm::StructDescription* kStructures[] = {
    &shm::kMappingHeaderDescription,   &sched::kClockWordsDescription,
    &queues::kRingSlotDescription,     &queues::kRingReaderPageDescription,
    &sched::kMessageHeaderDescription, &sched::kDeliveryDescription,
    &sched::kAnswerDescription,        &sched::kSendDescription,
};

}  // namespace

std::span<const shm::StructDescription* const> structures() noexcept { return kStructures; }

}  // namespace mesh::tools
