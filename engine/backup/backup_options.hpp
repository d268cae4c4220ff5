// BackupOptions: where and how often backups of a running mesh are made by themselves.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/nanos.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kBackupsKept = 7;

struct BackupOptions {
  std::string directory{};  // empty: only where somebody asks for
  Nanos every{0};           // 0: not by itself
  std::uint32_t keep = kBackupsKept;
};

}  // namespace mesh::engine
