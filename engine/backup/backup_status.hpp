// BackupStatus: what came of the last backup, and of the last good one, as it stands in a file of
// the mesh's directory.
//
// Callers     write_status: the keeper. read_status: any process that may read the directory.
// Units       wall-clock nanoseconds.
// Errors      read_status -> not_found: no backup was ever tried; verification_failed: it is none.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

inline constexpr const char* kBackupStatusFile = "backup.status";

struct BackupStatus {
  std::string directory{};         // the configured one
  Nanos every{0};                  // 0: not by itself
  std::int64_t tried_unix_ns = 0;  // 0: never
  bool is_good = false;            // the last try
  std::string error{};             // of it
  Nanos took{};                    // of it
  std::int64_t good_unix_ns = 0;   // 0: there is no good one
  std::string good_path{};
  std::uint64_t good_bytes = 0;
  friend bool operator==(const BackupStatus&, const BackupStatus&) = default;
};

Status write_status(const std::string& mesh_directory, const BackupStatus& status);
[[nodiscard]] Result<BackupStatus> read_status(const std::string& mesh_directory);

}  // namespace mesh::engine
