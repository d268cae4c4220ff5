// Plays a recording again: as an agent of its own, "mesh-replay-PID", that sends each message to
// the agent of the same name, at the same distances in time or N times as fast.
//
// Callers     one thread, which it keeps until it is over. Never the control thread.
// Progress    until the last message's answer, or `patience` after the last message; who stops it
//             ends it at once.
// Errors      as Station::attach, enrol. What a single message meets is counted.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/reports/recording.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

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
// `stopped` is asked every 50 ms or so.
Result<ReplayResult> replay(const Recording& recording, const ReplayOptions& options,
                            const std::function<bool()>& stopped);
[[nodiscard]] Json replay_json(const ReplayResult& result, const Recording& recording);

}  // namespace mesh::engine::reports
