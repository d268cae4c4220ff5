#include "engine/pipeline.hpp"

#include <iterator>

namespace mesh::engine {

std::string_view name_of(PipelineStatus status) noexcept {
  switch (status) {
    case PipelineStatus::running:
      return "RUNNING";
    case PipelineStatus::success:
      return "SUCCESS";
    case PipelineStatus::failed_at_step:
      return "FAILED_AT_STEP";
  }
  return "unknown";
}

std::string_view name_of(StepState state) noexcept {
  constexpr std::string_view kNames[] = {"none",     "sent",      "ready",       "conflict",
                                         "declined", "no_answer", "unreachable", "no_room"};
  const auto at = static_cast<std::size_t>(state);
  return at < std::size(kNames) ? kNames[at] : "unknown";
}

}  // namespace mesh::engine
