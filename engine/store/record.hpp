// Record: one immutable fact of a mesh's life, the unit that stores keep and that hashes chain.
//
// A conflict is a record with step 0; everything that is done about it is a further record of the
// same subject with step 1, 2, ...: nothing is ever changed. (subject, step) names a record: the
// same one appended twice is kept once, so whoever is not sure sends again.
//
// Callers     any thread; plain values and pure functions.
// Units       wall-clock nanoseconds (WireTime): records outlive the host's monotonic clock.
// Errors      decode -> corrupt: bytes from a disk are input. validate -> invalid_argument.
// Layout      below, beside kEncodedHeadBytes; docs/STORES.md says what it is hashed for.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

enum class StoredKind : std::uint8_t { conflict = 1, step, result, notice };

// What a conflict has come to. It is the state of its newest record.
enum class ConflictState : std::uint8_t {
  none = 0,    // the record is of no conflict
  open,        // queued
  resolving,   // its strategy's steps run
  for_person,  // waits for somebody's decision
  resolved,
};

// 128 bits, ordered by time first: the message's own id, or one made like it.
using SubjectId = sched::MessageId;

struct Record {
  SubjectId subject{};
  std::uint32_t step = 0;
  StoredKind kind = StoredKind::conflict;
  sched::ConflictType type = sched::ConflictType::none;
  ConflictState state = ConflictState::none;
  std::uint8_t priority = 0;
  std::uint8_t strategy = 0;
  WireTime at{};
  AgentId agent{};
  sched::MessageId message{};
  OperationId operation{};
  std::uint64_t context_hash = 0;
  std::string expected;
  std::string received;
  std::string detail;  // for people, or JSON

  friend bool operator==(const Record&, const Record&) = default;
};

inline constexpr std::size_t kRecordTextBytesMax = 1U << 20;  // each of expected, received, detail
[[nodiscard]] Status validate(const Record& record);

// Little-endian: subject 16, message 16, at 8, agent 8, operation 8, context hash 8, step 4, kind,
// type, state, priority, strategy 1 each, 3 zero; then the three texts, each after its u32 length.
inline constexpr std::size_t kEncodedHeadBytes = 76;
[[nodiscard]] std::size_t encoded_bytes(const Record& record) noexcept;
void encode(const Record& record, std::vector<std::byte>& out);  // appends
[[nodiscard]] Result<Record> decode(std::span<const std::byte> bytes);

using ChainHash = std::array<std::byte, 32>;  // SHA-256

[[nodiscard]] ChainHash hash_of(std::string_view bytes);  // SHA-256

// Which record is the last one. Position 0 with a zero hash: none yet.
struct ChainHead {
  std::uint64_t position = 0;
  ChainHash hash{};
  friend bool operator==(const ChainHead&, const ChainHead&) = default;
};
// The head after `record`: SHA-256 over the previous hash, the new position and encode(record).
[[nodiscard]] ChainHead chained(const ChainHead& previous, const Record& record);

struct StoredRecord {
  Record record;
  ChainHead at;  // its own position and hash
};

[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);
[[nodiscard]] std::string name_of(const SubjectId& subject);  // 32 hexadecimal digits
[[nodiscard]] std::string_view name_of(ConflictState state) noexcept;
[[nodiscard]] std::string_view name_of(StoredKind kind) noexcept;

}  // namespace mesh::engine
