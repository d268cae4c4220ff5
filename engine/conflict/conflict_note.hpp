// ConflictNote: an answer in CONFLICT, as the loop took it in; ConflictSink: who is told.
//
// Callers     the scheduler thread.
// Progress    no lock, no system call. take() allocates only for what could not wait and finds no
//             room; has_room() and tend() never do.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct ConflictNote {
  sched::MessageId answer{};   // of the answer itself: one a conflict, the same however often read
  sched::MessageId message{};  // that it answers
  AgentId agent{};
  OperationId operation{};  // 0: a direct message
  sched::ConflictType type = sched::ConflictType::other;
  bool has_values = false;
  bool is_byzantine = false;   // it differs from a large majority: held until a person decides
  std::uint32_t affected = 1;  // agents
  std::uint64_t expected = 0;
  std::uint64_t received = 0;
  std::uint64_t context_hash = 0;
  HostTime at{};
  AgentId source{};                                       // whose message it is; 0: the engine's
  std::array<std::uint64_t, kCapabilities / 64> asked{};  // what the message asked its target for
};

inline constexpr std::size_t kCarriedBytesMax = std::size_t{64} << 10;  // of each part
// Into quarantine with a note: bytes of whoever calls, gone when the call returns.
struct Carried {
  std::span<const std::byte> answer{};   // behind its two values
  std::span<const std::byte> message{};  // the work that is to go elsewhere
};

class ConflictSink {
 public:
  virtual ~ConflictSink() = default;
  // Whether one more finds room, whatever it carries. An answer that finds none is left where it
  // stands, in its station's outbox, and that station is read no further meanwhile.
  virtual bool has_room() noexcept { return true; }
  // Copies both. False: it could not be kept anywhere.
  virtual bool take(const ConflictNote& note, const Carried& carried) noexcept = 0;
  // Once a tick.
  virtual void tend() noexcept {}
};

}  // namespace mesh::engine
