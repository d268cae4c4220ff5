// name_of(ConflictType): the words by which requests, reports and verbs call the types of conflict.
//
// Callers     anyone; pure, no allocation.
// If the      gives another number: "unknown", or what its caller makes of it.
// other side
// lies
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "sched/records.hpp"

namespace mesh::sched {

// By number.
inline constexpr std::array<std::string_view, 7> kConflictTypeNames = {"none",
                                                                       "context_divergence",
                                                                       "data_contradiction",
                                                                       "temporal_paradox",
                                                                       "capability_mismatch",
                                                                       "hash_mismatch",
                                                                       "other"};
static_assert(kConflictTypeNames.size() == static_cast<std::size_t>(ConflictType::other) + 1);

[[nodiscard]] constexpr std::string_view name_of(ConflictType type) noexcept {
  const auto number = static_cast<std::size_t>(type);
  return number < kConflictTypeNames.size() ? kConflictTypeNames[number] : "unknown";
}

}  // namespace mesh::sched
