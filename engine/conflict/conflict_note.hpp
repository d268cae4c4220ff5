// ConflictNote: an answer in CONFLICT, as the loop took it in; ConflictSink: who is told.
//
// Callers     the scheduler thread.
// Progress    take(): no lock, no allocation, no system call. False: no room; the loop counts it.
#pragma once

#include <cstdint>

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
  std::uint64_t expected = 0;
  std::uint64_t received = 0;
  std::uint64_t context_hash = 0;
  HostTime at{};
};

class ConflictSink {
 public:
  virtual ~ConflictSink() = default;
  virtual bool take(const ConflictNote& note) noexcept = 0;
};

}  // namespace mesh::engine
