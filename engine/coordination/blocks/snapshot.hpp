// Snapshot: the whole state of a service in bytes, with a checksum.
//
// Layout      {magic u64, service u64, version u32, body size u32, checksum of the body u64}, then
//             the body: the service's state, then its bookkeeping (counters, last instant).
// Ordering    same commands from the same seed -> same bytes, on x86-64 and on ARM.
// Errors      open_snapshot -> Errc::corrupt (magic, size, checksum), version_skew,
//             invalid_argument (another service's snapshot).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

struct Snapshot {
  std::vector<std::byte> bytes;
  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// Which service, and which form of its state.
struct SnapshotKind {
  std::string_view service;
  std::uint32_t version = 1;
};

[[nodiscard]] Snapshot seal_snapshot(const SnapshotKind& kind, std::span<const std::byte> body);
// The body, once everything around it is as it must be.
[[nodiscard]] Result<std::span<const std::byte>> open_snapshot(const SnapshotKind& kind,
                                                               std::span<const std::byte> bytes);

}  // namespace mesh::coordination
