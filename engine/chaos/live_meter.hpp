// LiveMeter: what a mesh of real processes says of itself, as samples for a ChaosHarness: whether
// anything was lost, whether anything was answered twice, and whether it is well again.
//
// It believes nobody alone. Those that send say how many of their messages have waited too long for
// their answers; the engine says how many it has that are not over: what waits too long and is not
// among those is lost.
//
//     engine_up      1: an engine answers; 0: none does
//     availability   share of the enrolled agents that are active; none are while no engine answers
//     messages_open  that the engine has accepted, not over yet; no sample without an engine
//     throughput     answers, a second
//     overdue        messages that wait for their answer for longer than their sender allows
//     answered_twice since the beginning
//     lost           of those that the mesh was given: overdue, and not among those that the engine
//                    has; no sample without an engine
//
// Callers     one thread, the harness's.
// Cost        sample: a request to the engine.
// Units       messages; Nanos of the mesh's clock.
// If the      engine dies: engine_up and availability are 0, the others are as the senders say.
// other side  The senders lie: so do the samples.
// dies
// Errors      begin -> as ChaosHarness where it has no room for the metrics.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "engine/chaos/live_driver.hpp"
#include "engine/coordination/chaos_harness.hpp"

namespace mesh::engine {

// What those that send have counted since they began.
struct CallerCounts {
  std::uint64_t answered = 0;
  std::uint64_t answered_twice = 0;
  std::uint64_t overdue = 0;        // now
  std::uint64_t overdue_given = 0;  // of them: sent so long ago, and not refused
};

class LiveMeter {
 public:
  static constexpr std::array<std::string_view, 7> kMetrics{
      "engine_up", "availability",   "messages_open", "throughput",
      "overdue",   "answered_twice", "lost"};

  // Both outlive it.
  LiveMeter(LiveDriver& driver, coordination::ChaosHarness& harness) noexcept
      : driver_(driver), harness_(harness) {}
  // The harness knows its metrics.
  Status begin(Nanos now);
  // `callers` is asked after the engine: what is answered in between is lost to neither.
  void sample(const std::function<CallerCounts()>& callers, Nanos now);

 private:
  void say(std::size_t metric, double value, Nanos now);

  LiveDriver& driver_;
  coordination::ChaosHarness& harness_;
  std::array<std::uint32_t, kMetrics.size()> ids_{};
  std::optional<CallerCounts> last_;
  Nanos last_at_{0};
};

}  // namespace mesh::engine
