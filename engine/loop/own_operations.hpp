// Operations of the loop's own: warm-ups of newcomers and probes of breakers. Verb `sync`, no body.
// They are no cascade's and no pipeline's: nobody is told of them, and no KPI counts them.
//
// Callers     the phases of the loop; constants, by an operation's part_of.
#pragma once

#include <cstdint>

#include "engine/loop/cascade_book.hpp"
#include "engine/loop/pipeline_book.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kOwnPart = 0x7F;
static_assert(kMaxPipelines < kOwnPart - kFirstPipelinePart);
inline constexpr std::uint64_t kWarmUpPart = word_of(CascadePart{.cascade = kOwnPart, .unit = 0});
inline constexpr std::uint64_t kProbePart = word_of(CascadePart{.cascade = kOwnPart, .unit = 1});
// A pipeline's step that found nobody to send to: no step, and nobody asked for its result.
inline constexpr std::uint64_t kNobodyPart = word_of(CascadePart{.cascade = kOwnPart, .unit = 2});

constexpr bool is_own_operation(std::uint64_t part) noexcept {
  return part == kWarmUpPart || part == kProbePart || part == kNobodyPart;
}

}  // namespace mesh::engine
