// Ids: who an agent is, to the world (AgentId) and as a row (AgentIndex). Different types on
// purpose.
#pragma once

#include <compare>
#include <cstdint>

#include "shm/base/limits.hpp"

namespace mesh {

enum class AgentIndex : std::uint32_t {};  // row of the table
enum class Generation : std::uint64_t {};  // 44 bits: at one reuse of a row each 100 us, 55 years
enum class AgentId : std::uint64_t {};     // bits 0-19 row, 20-63 generation
enum class StationId : std::uint16_t {};   // never reused while the mesh's directory lives
enum class HostId : std::uint16_t {};
enum class OperationId : std::uint64_t {};  // 0: none

inline constexpr unsigned kAgentIndexBits = 20;
inline constexpr unsigned kGenerationBits = 44;
inline constexpr std::uint64_t kGenerationMask = (std::uint64_t{1} << kGenerationBits) - 1;
static_assert(kAgentIndexBits + kGenerationBits == 64);
static_assert(kMaxAgents == 1U << kAgentIndexBits);

constexpr AgentId agent_id(AgentIndex row, Generation generation) noexcept {
  return static_cast<AgentId>((static_cast<std::uint64_t>(generation) << kAgentIndexBits) |
                              (static_cast<std::uint64_t>(row) & (kMaxAgents - 1)));
}
constexpr AgentIndex index_of(AgentId id) noexcept {
  return static_cast<AgentIndex>(static_cast<std::uint64_t>(id) & (kMaxAgents - 1));
}
constexpr Generation generation_of(AgentId id) noexcept {
  return static_cast<Generation>(static_cast<std::uint64_t>(id) >> kAgentIndexBits);
}
// Wraps within 44 bits: a handle of exactly 2^44 generations ago would name the new tenant.
constexpr Generation next(Generation generation) noexcept {
  return static_cast<Generation>((static_cast<std::uint64_t>(generation) + 1) & kGenerationMask);
}

}  // namespace mesh
