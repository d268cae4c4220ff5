// Nanos, HostTime, WireTime: one clock a host. In memory times are int64 nanoseconds; the API
// speaks chrono.
#pragma once

#include <chrono>
#include <cstdint>

namespace mesh {

using Nanos = std::chrono::duration<std::int64_t, std::nano>;

// The host's monotonic time as the engine publishes it (sched/clock). A tag: nobody calls now()
// deep down, a loop reads the clock once a turn and passes `now`.
struct HostClock {
  using duration = Nanos;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<HostClock>;
  static constexpr bool is_steady = true;
};
using HostTime = HostClock::time_point;

// Time that crosses hosts: wall-clock nanoseconds since 1970. Another type, because monotonic time
// means nothing on another host.
enum class WireTime : std::int64_t {};

constexpr std::int64_t to_ns(HostTime time) noexcept { return time.time_since_epoch().count(); }
constexpr HostTime from_ns(std::int64_t ns) noexcept { return HostTime{Nanos{ns}}; }

inline constexpr std::int64_t kNsPerUs = 1'000;
inline constexpr std::int64_t kNsPerMs = 1'000'000;
inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;

}  // namespace mesh
