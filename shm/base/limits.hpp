// Every limit of the mesh, with the relations between them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mesh {

// Ours, never std::hardware_destructive_interference_size: that varies with compiler version and
// -mtune, and two binaries would disagree on offsets.
inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kIsolation = 128;  // two lines: the prefetcher pairs neighbours

inline constexpr std::uint32_t kMaxAgents = 1U << 20;  // rows; 20 bits of an AgentId
// Numbers of one mesh's life; 16 bits of a message id.
inline constexpr std::uint32_t kMaxStations = 65'535;
inline constexpr std::uint32_t kMaxClasses = 16;      // A-F and ten to come; one vector look-up
inline constexpr std::uint32_t kAgentNameBytes = 63;  // UTF-8, without a terminator

inline constexpr std::uint32_t kRingSlotsMin = 1'024;
inline constexpr std::uint32_t kRingSlotsMax = 65'536;
inline constexpr std::uint32_t kRunSlotsMax = 1'024;  // one publish
inline constexpr std::size_t kSlotBytes = kCacheLine;
inline constexpr std::size_t kRecordBytes = 56;

inline constexpr std::uint64_t kPayloadLogBytesMin = 64;
inline constexpr std::uint64_t kPayloadLogBytesMax = std::uint64_t{1} << 32;

inline constexpr std::uint32_t kMaxOperations = 1'024;
inline constexpr std::uint32_t kMaxWideOperations = 64;  // over kWideTargets targets
inline constexpr std::uint32_t kWideTargets = 1'000;
inline constexpr std::uint32_t kMaxCascades = 8;
inline constexpr std::uint32_t kMaxBuckets = 65'024;  // u16 keys, the last 512 are reserved
inline constexpr std::uint32_t kIntakeRecordsPerTick = 4'096;
inline constexpr std::uint32_t kDispatchSlotsPerTick = 4'096;
inline constexpr std::uint32_t kUpkeepRowsPerTick = 512;
inline constexpr std::uint32_t kPendingPerPriority = 65'536;
inline constexpr std::uint32_t kPriorities = 4;
inline constexpr std::uint32_t kCapabilities = 256;
inline constexpr std::uint32_t kBareBodyBytes = 16;
inline constexpr std::uint32_t kMaxWheelEntries = 1U << 20;  // 48 bytes each, and 24 in the heap

static_assert(kIsolation % kCacheLine == 0);
static_assert(kRecordBytes + sizeof(std::uint64_t) == kSlotBytes);
static_assert((kRingSlotsMin & (kRingSlotsMin - 1)) == 0);
static_assert((kRingSlotsMax & (kRingSlotsMax - 1)) == 0);
static_assert(kRunSlotsMax <= kRingSlotsMin);
static_assert((kPayloadLogBytesMin & (kPayloadLogBytesMin - 1)) == 0);
static_assert((kPayloadLogBytesMax & (kPayloadLogBytesMax - 1)) == 0);
static_assert(kPayloadLogBytesMax / 2 <= 0xFFFF'FFFF, "the length of an entry is a u32");
static_assert(kDispatchSlotsPerTick <= kRingSlotsMax);
static_assert(kMaxWideOperations <= kMaxOperations);

}  // namespace mesh
