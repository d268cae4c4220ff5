// Emergency: what an engine does when its mesh enters the mode EMERGENCY (mesh.md part 12), beside
// refusing what no operator sends: it saves the state and alerts the operator.
//
//     scheduler thread ── ModeSeen ──▶ control thread ──▶ `mesh errors`, `mesh status`
//                                          │  ▲
//                              save_state()│  │path, or why not
//                                          ▼  │
//                                      BackupKeeper
//
// The state goes where backups go (backup.directory), with the store; where none is configured, the
// tables alone into the folder `emergency` of the mesh's directory, of which the last is kept. Both
// are what `mesh restore` takes. A successor that finds the mesh so does it again.
//
// Callers     the control thread.
// Units       wall-clock nanoseconds.
#pragma once

#include <cstdint>
#include <string>

#include "engine/health/operating_modes.hpp"

namespace mesh::engine {

inline constexpr const char* kEmergencyFolder = "emergency";

// The mode has changed, or an engine has found another one than FULL.
struct ModeSeen {
  health::OperatingMode mode = health::OperatingMode::full;
  std::uint32_t active = 0;
  std::uint32_t expected = 0;  // agents
  std::int64_t unix_ns = 0;
};

struct EmergencyStatus {
  bool is_on = false;       // now
  std::uint64_t times = 0;  // that it was entered, under this engine. The rest is of the last
  ModeSeen entered{};
  std::string saved_to{};  // empty: it is being done, or it could not be
  std::string save_error{};
};

// For people: that it is so; and what came of the state.
[[nodiscard]] std::string sentence_of(const ModeSeen& entered);
[[nodiscard]] std::string sentence_of(const EmergencyStatus& status);

}  // namespace mesh::engine
