#include "tools/structures.hpp"

#include "queues/ring_description.hpp"
#include "sched/records_layout.hpp"

namespace mesh::tools {
namespace {

constexpr const shm::StructDescription* kStructures[] = {
    &queues::kRingSlotDescription,     &queues::kRingReaderPageDescription,
    &sched::kMessageHeaderDescription, &sched::kDeliveryDescription,
    &sched::kAnswerDescription,        &sched::kSendDescription,
};

}  // namespace

std::span<const shm::StructDescription* const> structures() noexcept { return kStructures; }

}  // namespace mesh::tools
