// backup.json: what a backup holds. A line with the checksum of the next, and that.
//
// Callers     engine/backup. Pure functions.
// Errors      read_manifest -> verification_failed, version_skew: what stands there is input.
#pragma once

#include <string>
#include <string_view>

#include "engine/backup/backup.hpp"

namespace mesh::engine {

inline constexpr const char* kManifestFile = "backup.json";
inline constexpr std::size_t kManifestBytesMax = std::size_t{1} << 20;

[[nodiscard]] std::string manifest_of(const BackupInfo& info);
[[nodiscard]] Result<BackupInfo> read_manifest(std::string_view text);

}  // namespace mesh::engine
