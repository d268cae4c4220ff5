// A mesh made anew from a backup: its store is put where the next engine will open it, and its
// tables where the next engine will find them.
//
//     mesh restore: check_backup ──▶ store file, restore.tables
//     mesh up:      restore.tables ──▶ rules.journal, rows of agents ──▶ the mesh is published
//
// Agents come back into rows with their old names, owners, places, profiles and the operator's
// holds, OFFLINE until their processes attach, and missed by nobody until then. Messages that were
// in flight are not there.
//
// Callers     restore: any thread, while no engine runs there. The rest: an engine that starts.
// If the      dies while it restores: the store is there whole or not at all, and the tables too.
// process     The engine dies before the new mesh is published: the next start does it again.
// dies
// Errors      restore -> as check_backup and put_back; already_exists: an engine runs there;
//             wrong_state: a mesh is there, and would go on instead; not_found: the backup has no
//             store. pending -> as read_tables.
#pragma once

#include <optional>
#include <string>

#include "engine/backup/backup.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

inline constexpr const char* kRestoreFile = "restore.tables";

struct RestoreRequest {
  std::string backup{};          // the folder of one, or one with several: the newest
  std::string store{};           // where its store is put; empty: it is not
  std::string mesh_directory{};  // whose next engine gets the tables; empty: none does
};
[[nodiscard]] Result<BackupInfo> restore(const RestoreRequest& request);

// What waits for the next engine of this directory, if anything does.
[[nodiscard]] Result<std::optional<KeptTables>> pending_tables(const std::string& mesh_directory);
void drop_pending_tables(const std::string& mesh_directory) noexcept;
// A journal with these lines, in the place of whatever one is there.
Status write_rules_journal(const std::string& mesh_directory, const KeptTables& tables);

}  // namespace mesh::engine
