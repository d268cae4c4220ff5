// Freezing: delivery to a part of the mesh is paused, and what its agents are is kept in a file
// with a checksum, until it goes on.
//
// The state itself stays where it always is: agents in `table`, their messages in `engine`. Both
// outlive the engine, so a frozen mesh is frozen after a restart, and loses nothing. The file says
// what was frozen: one line of JSON with the checksum of what follows, then a line an agent.
//
// Callers     freeze_agents: the scheduler thread, in a job. The rest: any thread, cold.
// If the      dies while it writes: the file is not there, or whole (written aside, then renamed).
// engine
// dies
// Errors      write_snapshot -> system_error, no_space. check_snapshot -> not_found;
//             verification_failed: it is not what was written.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/console/act.hpp"
#include "engine/console_view.hpp"
#include "engine/loop/engine_loop.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct SnapshotInfo {
  std::string path;
  std::uint64_t agents = 0;
  std::uint64_t bytes = 0;     // behind its first line
  std::uint64_t checksum = 0;  // XXH3 of them
  std::int64_t created_unix_ns = 0;
};

struct FreezeReport {
  console::Scope scope{};
  bool frozen = false;
  std::size_t agents = 0;    // in the scope
  std::size_t changed = 0;   // of them
  std::size_t messages = 0;  // that wait for them, or waited
  std::optional<SnapshotInfo> snapshot{};
  std::string no_snapshot{};  // why there is none
  std::size_t gone = 0;       // in the snapshot, and in the scope no longer
};

struct FreezeRequest {
  console::Scope scope{};
  bool frozen = true;
  bool force = false;  // goes on although the snapshot is not what was written
};

// Where a mesh is frozen.
struct FreezeOn {
  MeshSize size;
  std::span<const std::byte> table;
  std::string directory;
};

[[nodiscard]] std::string snapshot_path(const std::string& directory, const console::Scope& scope);
Result<EngineLoop::Frozen> freeze_agents(EngineLoop& loop, const FreezeRequest& request,
                                         HostTime now);

// Before a thaw: verification_failed where its snapshot is damaged and it is not forced.
Status check_thaw(const FreezeOn& mesh, const FreezeRequest& request);
// After the loop has done it: the snapshot is written, or compared and taken away.
[[nodiscard]] FreezeReport finish_freeze(const FreezeOn& mesh, const FreezeRequest& request,
                                         const EngineLoop::Frozen& frozen);

Result<SnapshotInfo> write_snapshot(const FreezeOn& mesh, const console::Scope& scope,
                                    const EngineLoop::Frozen& frozen);
struct CheckedSnapshot {
  SnapshotInfo info;
  std::vector<AgentId> agents;
};
Result<CheckedSnapshot> check_snapshot(const std::string& path);

}  // namespace mesh::engine
