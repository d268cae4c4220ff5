// What an engine hands over: the numbers in its answers, and the memories that it passes.
//
// Callers     set-up of stations and observers.
// If the      lies: every number is checked, every memory is mapped at the size that this binary
// other side  expects and its header compared.
// lies
// Errors      corrupt (no such number in the answer), and as shm::attach.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/memory_map.hpp"
#include "shm/attach.hpp"
#include "shm/descriptor.hpp"
#include "shm/mapping.hpp"

namespace mesh::engine {

struct MeshIdentity {
  MeshSize size;
  shm::MappingIdentity identity;
};
Result<MeshIdentity> mesh_in(const nlohmann::json& answer);
Result<std::uint64_t> number_in(const nlohmann::json& answer, const char* key);
Result<std::array<std::uint64_t, 2>> token_in(const nlohmann::json& answer);

// {"op": op, "version", "layout_hash", "page_bytes"}: what every memory that is handed over hangs
// on.
Result<nlohmann::json> request_of(const char* op);
[[nodiscard]] std::string text_of(const nlohmann::json& request);

struct WantedMemory {
  Result<shm::Layout> layout;
  shm::Access access = shm::Access::kReadOnly;
  std::uint64_t instance = 0;
};
// Mapped, and its header checked against the layout that these numbers give here.
Result<shm::Mapping> map_memory(const shm::Descriptor& descriptor, const WantedMemory& wanted,
                                shm::MappingIdentity identity);

}  // namespace mesh::engine
