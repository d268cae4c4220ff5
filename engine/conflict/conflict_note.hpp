// ConflictNote: an answer in CONFLICT, as the loop took it in; ConflictSink: who is told.
//
// Callers     the scheduler thread.
// Progress    take(): no lock, no allocation, no system call. False: no room; the loop counts it.
#pragma once

#include <array>
#include <cstdint>

#include "engine/conflict/conflict_bodies.hpp"
#include "sched/records.hpp"
#include "shm/base/ids.hpp"
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
  std::uint32_t bodies = ConflictBodies::kNone;  // where what was carried stands, of the sink's
  std::uint32_t carried_bytes = 0;               // by the answer, behind its values
  std::uint32_t message_bytes = 0;               // by the message
};

class ConflictSink {
 public:
  virtual ~ConflictSink() = default;
  // With the note goes its place in bodies(); refused, that is still the loop's.
  virtual bool take(const ConflictNote& note) noexcept = 0;
  // Null: what is carried is of no interest.
  virtual ConflictBodies* bodies() noexcept { return nullptr; }
};

}  // namespace mesh::engine
