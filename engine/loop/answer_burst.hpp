// AnswerBurst: what one station answered to one operation, side by side, on its way from the ring
// into the gather and the predictor.
//
// Callers     the scheduler thread, within one intake.
// Progress    plain memory; as much as one burst of a station holds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/loop/operation.hpp"
#include "sched/gather.hpp"
#include "shm/base/ids.hpp"

namespace mesh::engine {

inline constexpr std::size_t kBurst = 256;  // records of one station in a tick

struct AnswerBurst {
  std::array<sched::GatherAnswer, kBurst> answers;
  std::array<sched::AnswerEffect, kBurst> effects;
  std::array<std::uint32_t, kBurst> rows;
  std::array<std::uint32_t, kBurst> processing_us;
  // Of those that taught something.
  std::array<std::uint32_t, kBurst> learned_rows;
  std::array<std::uint64_t, kBurst> samples;
};

// The operation whose answers are being collected, as the loop over them needs it.
struct AnsweredOperation {
  OperationId id{};
  std::uint32_t slot = 0;
  std::uint32_t targets = 0;  // 0: there is none of this id
  const Operation* operation = nullptr;
  const Operation::Sent* sent = nullptr;
  const std::int32_t* predicted = nullptr;
  std::int64_t target_ns = 0;
  bool is_wide = false;
};

}  // namespace mesh::engine
