// Plays a recording again: as an agent of its own, "mesh-replay-PID", that sends each message to
// the agent of the same name, at the same distances in time or N times as fast.
//
// Callers     main(), one thread.
// Progress    until the last message's answer, or `patience` after the last message; a signal ends
//             it at once.
// Errors      as Station::attach, enrol. What a single message meets is counted.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"
#include "tools/recording.hpp"
#include "tools/stop_signals.hpp"

namespace mesh::tools {

struct ReplayOptions {
  std::string directory;
  double speed = 1;
  Nanos patience{5 * kNsPerSecond};
};

// messages == sent + no_such_agent + refused + not_played; sent == ready + conflict + declined +
// reported + unanswered.
struct ReplayResult {
  std::uint64_t messages = 0;
  std::uint64_t sent = 0;
  std::uint64_t no_such_agent = 0;  // nobody has that name here
  std::uint64_t refused = 0;        // its inbox is full, or a breaker is open
  std::uint64_t not_played = 0;     // it was stopped first
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
  std::uint64_t declined = 0;
  std::uint64_t reported = 0;  // not delivered, and said so
  std::uint64_t unanswered = 0;
  std::int64_t took_ns = 0;
  std::int64_t late_ns_max = 0;  // behind its moment

  [[nodiscard]] bool is_whole() const noexcept { return ready + conflict == messages; }
};
Result<ReplayResult> replay(const Recording& recording, const ReplayOptions& options,
                            const StopSignals& stop);

}  // namespace mesh::tools
