// ChaosCoverage: which states of which machine were under which fault: what was tried,
// and what nothing has tried yet.
//
// A pair counts each time a machine of an agent under a fault is seen in a state: when the fault
// begins, and at each look while it acts.
//
// Callers     one thread.
// Units       times seen.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/coordination/chaos_report.hpp"

namespace mesh::engine::simulation {

enum class CoverState : std::uint8_t {
  agent_up,
  agent_unroutable,  // attached, and behind a breaker of the mesh, or held back
  agent_stopped,
  agent_gone,
  breaker_closed,  // the callers' own, of that agent
  breaker_open,
  breaker_half_open,
  worker_idle,  // of agents that work on tasks
  worker_works,
  worker_completes,
  lock_not_held,  // by that agent
  lock_held,
  host_up,
  host_away,
};
inline constexpr std::size_t kCoverStates = 14;
[[nodiscard]] constexpr std::string_view to_string(CoverState state) noexcept {
  constexpr std::array<std::string_view, kCoverStates> kNames{
      "agent up",      "agent unroutable",  "agent stopped", "agent gone",   "breaker closed",
      "breaker open",  "breaker half-open", "worker idle",   "worker works", "worker completes",
      "lock not held", "lock held",         "host up",       "host away"};
  return kNames[static_cast<std::size_t>(state)];
}

class ChaosCoverage {
 public:
  void see(CoverState state, coordination::FaultType fault) noexcept {
    ++seen_[static_cast<std::size_t>(state)][static_cast<std::size_t>(fault)];
  }
  [[nodiscard]] std::uint64_t seen(CoverState state, coordination::FaultType fault) const noexcept {
    return seen_[static_cast<std::size_t>(state)][static_cast<std::size_t>(fault)];
  }
  void add(const ChaosCoverage& other) noexcept {
    for (std::size_t i = 0; i < kCoverStates; ++i) {
      for (std::size_t j = 0; j < coordination::kFaultTypes; ++j) seen_[i][j] += other.seen_[i][j];
    }
  }
  // Pairs that were seen at all.
  [[nodiscard]] std::uint32_t pairs() const noexcept {
    std::uint32_t count = 0;
    for (const auto& row : seen_) {
      for (const std::uint64_t times : row) count += times != 0 ? 1U : 0U;
    }
    return count;
  }

 private:
  std::array<std::array<std::uint64_t, coordination::kFaultTypes>, kCoverStates> seen_{};
};

}  // namespace mesh::engine::simulation
