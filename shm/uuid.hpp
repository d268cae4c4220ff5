// Uuid: 16 bytes that name a mesh or a boot of this host.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "shm/base/result.hpp"

namespace mesh::shm {

using Uuid = std::array<std::uint8_t, 16>;

// "01234567-89ab-cdef-0123-456789abcdef"
[[nodiscard]] std::string to_text(const Uuid& uuid);
// Version 4, from the kernel's generator.
Result<Uuid> random_uuid();
// Which boot this is: what a power cut leaves in files is told apart by it.
Result<Uuid> boot_id();

}  // namespace mesh::shm
