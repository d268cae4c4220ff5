// Backups of a mesh: its store and its tables, in a folder of their own that is there whole or not
// at all.
//
//     DIR/.lock                                held while one is made
//     DIR/mesh-20261129T143000.123Z.new/       being made; of one that died: the next sweeps it
//     DIR/mesh-20261129T143000.123Z/           made, read again and found good
//         backup.json      what is in it: sizes, checksums, counts, where the chain ends
//         tables.snapshot  engine/backup/table_snapshot.hpp
//         store.sqlite     the store, or store.dump of PostgreSQL's; not there where there is none
//
//     store ──copy──▶ .new ──every file read again──▶ backup.json ──rename──▶ done ──▶ keep N
//
// Callers     any thread that is not the scheduler's, nor the one that has the store open; cold.
// Progress    blocking: disk work in proportion to the store, twice. Others go on meanwhile.
// If the      dies in between: the backups of before are as they were; what it was making is no
// process     backup by its name, and goes with the next one.
// dies
// Errors      take_backup -> busy: another makes one there; and those of the store and of files.
//             check_backup -> not_found; verification_failed, corrupt: it is not what was made.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/backup/backup_options.hpp"
#include "engine/backup/table_snapshot.hpp"
#include "engine/store/store_copy.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct BackedUpFile {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::uint64_t hash = 0;  // XXH3
};

struct BackedUpStore {
  StoreKind kind = StoreKind::sqlite;
  StoreContent content{};
};

// What backup.json says.
struct BackupInfo {
  std::string path;
  std::int64_t created_unix_ns = 0;
  std::vector<BackedUpFile> files;
  std::optional<BackedUpStore> store;  // none: the mesh had none
  std::uint64_t agents = 0;
  std::uint64_t rules = 0;
  [[nodiscard]] std::uint64_t size_bytes() const noexcept;
};

struct BackupRequest {
  std::string directory;  // made if it is not there; its parent is
  std::string store{};    // as StoreOptions::where; empty: none
  std::string tables{};   // text_of()
  std::uint64_t agents = 0;
  std::uint64_t rules = 0;
  std::int64_t now_unix_ns = 0;
  std::uint32_t keep = kBackupsKept;  // older ones go, once the new one is good; 0: none does
  std::function<bool()> keep_going{};
};
[[nodiscard]] Result<BackupInfo> take_backup(const BackupRequest& request);

// Reads all of it again: every file's checksum, the store's pages and chain, every agent's line.
[[nodiscard]] Result<BackupInfo> check_backup(const std::string& path);

// Those there that are whole by their name, the newest first. An empty list: none, or no directory.
[[nodiscard]] std::vector<std::string> backups_in(const std::string& directory);
// What its backup.json says, unchecked against the files.
[[nodiscard]] Result<BackupInfo> read_backup(const std::string& path);

[[nodiscard]] std::string backup_name(std::int64_t unix_ns);
inline constexpr const char* kTablesFile = "tables.snapshot";
[[nodiscard]] std::string store_file(StoreKind kind);
inline constexpr std::size_t kTablesBytesMax = std::size_t{1} << 30;

}  // namespace mesh::engine
