#include "engine/cascade.hpp"

#include <iterator>

namespace mesh::engine {

std::string_view name_of(CascadeStrategy strategy) noexcept {
  switch (strategy) {
    case CascadeStrategy::wave:
      return "wave";
    case CascadeStrategy::parallel:
      return "parallel";
    case CascadeStrategy::priority_first:
      return "priority_first";
    case CascadeStrategy::quorum:
      return "quorum";
  }
  return "unknown";
}

std::string_view name_of(CascadeStatus status) noexcept {
  switch (status) {
    case CascadeStatus::running:
      return "RUNNING";
    case CascadeStatus::success:
      return "SUCCESS";
    case CascadeStatus::partial:
      return "PARTIAL";
    case CascadeStatus::failed_at_sector:
      return "FAILED_AT_SECTOR";
  }
  return "unknown";
}

std::string_view name_of(CascadeStep step) noexcept {
  constexpr std::string_view kNames[] = {"none",     "asked",  "agreed",   "open",       "reached",
                                         "conflict", "silent", "too_slow", "leaderless", "no_room"};
  const auto at = static_cast<std::size_t>(step);
  return at < std::size(kNames) ? kNames[at] : "unknown";
}

}  // namespace mesh::engine
