// ResultNote: an operation that has ended, as the loop counted it; ResultSink: who keeps it.
//
// Callers     the scheduler thread.
// Progress    take(): no lock, no allocation, no system call. False: no room; the loop counts it.
// Ordering    an operation that a successor ends again is noted again, by the same id.
#pragma once

#include <cstdint>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

// Numbers as in the store. Append only.
enum class ResultKind : std::uint8_t { scatter = 1, broadcast, cascade, quorum };
enum class ResultVerdict : std::uint8_t { success = 1, partial, failed_at_sector, nobody };

struct ResultNote {
  sched::MessageId message{};  // the operation's own: one a result, however often it is noted
  AgentId source{};            // who opened it; 0: the engine
  ResultKind kind = ResultKind::scatter;
  std::uint8_t strategy = 0;  // of a cascade: CascadeStrategy
  ResultVerdict verdict = ResultVerdict::success;
  HostTime opened{};
  HostTime ended{};
  HostTime target{};  // T; 0: it had none
  std::uint32_t targeted = 0;
  std::uint32_t sent = 0;
  std::uint32_t ready = 0;
  std::uint32_t conflict = 0;
  std::int64_t error_p50_ns = 0;  // of arrivals around T
  std::int64_t error_p99_ns = 0;
};

class ResultSink {
 public:
  virtual ~ResultSink() = default;
  virtual bool take(const ResultNote& note) noexcept = 0;
};

}  // namespace mesh::engine
