// OperatingModes: how much of the mesh is there, and what is therefore admitted (mesh.md part 12).
//
//          < 0.95             < 0.80                 < 0.60               < 0.30
//   FULL ---------> DEGRADED_LIGHT --> DEGRADED_MODERATE --> DEGRADED_SEVERE --> EMERGENCY
//
// Worse is entered when it has been at least so bad for `enter_after`, better when it has been at
// least so good for `leave_after`: a mesh that flaps stays in the worse of the two. Restrictions
// add up: what a mode asks is asked in every worse one.
//
// Callers     one thread. admit() is a pure function.
// Progress    observe, admit: a few steps; no allocation.
// Units       times in ns of one clock that does not go back; shares are compared exactly.
// If the      engine dies: resume() goes on in the mode that the table shows.
// other side
// dies
// Errors      create -> invalid_argument.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/coordination/blocks/mode_rule.hpp"
#include "sched/records.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::health {

// Worse is more. Numbers as in MeshMode, and in the table's word `mode`, which holds one more: 0 is
// not yet known.
enum class OperatingMode : std::uint8_t {
  full = 0,
  degraded_light,
  degraded_moderate,
  degraded_severe,
  emergency
};
inline constexpr std::uint32_t kOperatingModes = 5;
std::string_view name_of(OperatingMode mode) noexcept;

// What `active` of `total` alone would say. Nobody enrolled: full, there is nothing to lack.
[[nodiscard]] OperatingMode mode_for(std::uint64_t active, std::uint64_t total) noexcept;

class OperatingModes {
 public:
  struct Config {
    Nanos enter_after{3 * kNsPerSecond};
    Nanos leave_after{10 * kNsPerSecond};
    // Of fewer agents than one full cluster a share says nothing: the mode is FULL.
    std::uint32_t agents_min = 30;
  };
  static Result<OperatingModes> create(const Config& config);
  void resume(OperatingMode mode, HostTime since) noexcept;

  struct Change {
    OperatingMode from{};
    OperatingMode to{};
    HostTime at{};
  };
  std::optional<Change> observe(std::uint64_t active, std::uint64_t total, HostTime now) noexcept;

  [[nodiscard]] OperatingMode mode() const noexcept {
    return static_cast<OperatingMode>(rule_.mode());
  }
  [[nodiscard]] HostTime since() const noexcept { return from_ns(rule_.since_ns()); }
  [[nodiscard]] bool is_known() const noexcept { return is_known_; }  // observed at least once

 private:
  explicit OperatingModes(const Config& config) noexcept : config_(config) {}

  Config config_;
  coordination::ModeRule rule_;
  bool is_known_ = false;
};

// What is to be admitted.
struct Act {
  sched::Priority priority = sched::Priority::normal;
  bool by_operator = false;       // the console, or who embeds the engine; else an agent
  bool is_operation = false;      // to many; else one message
  bool is_mesh_wide = false;      // an operation that targets all
  bool is_confirmed = false;      // by the operator
  std::uint32_t targets = 1;      // as far as known
  bool in_healthy_sector = true;  // of a message: its target's
};

enum class Admission : std::uint8_t {
  admitted = 0,
  queued,              // kept, and sent when the mode allows it
  background_refused,  // DEGRADED_LIGHT: priority 0
  sector_degraded,     // DEGRADED_MODERATE: healthy sectors only
  too_wide,            // DEGRADED_MODERATE: no scatter over kScatterMax agents
  critical_only,       // DEGRADED_SEVERE: priority 3 only
  needs_confirmation,  // DEGRADED_SEVERE: mesh-wide operations
  automatic_stopped,   // EMERGENCY: only the operator acts
};
std::string_view name_of(Admission admission) noexcept;

inline constexpr std::uint32_t kScatterMax = 1'000;

[[nodiscard]] Admission admit(OperatingMode mode, const Act& act) noexcept;
// Retry timeouts are doubled from DEGRADED_LIGHT on.
[[nodiscard]] constexpr Nanos retry_timeout(OperatingMode mode, Nanos normal) noexcept {
  return mode == OperatingMode::full ? normal : 2 * normal;
}

}  // namespace mesh::engine::health
