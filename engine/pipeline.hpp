// Pipeline: agents in order, each of which gets the answer of the one before it (mesh.md part 6).
//
//     body ─▶ first ─READY, answer─▶ second ─READY, answer─▶ ... ─▶ last ─▶ the result
//
// T is when the last one is to be READY. The steps before it are planned back from it: each has the
// target that leaves the next one its own lead, and is sent that much before its target. Who
// answers early is waited for by nobody, and makes nothing early; who answers late makes the next
// one's message leave at once. Where no T is given it is the nearest that the leads allow.
//
// A step's deadline is its target and the window. A CONFLICT, a refusal to answer, or no answer
// until then ends the pipeline; what comes later changes nothing of it. An agent that is away when
// its turn comes is waited for until its deadline, and one whose process dies gets the message
// again when it, or a replacement, attaches in time.
//
// The steps are the engine's own operations of one target each: what they meet, breakers, routing,
// capabilities, is met as by any operation, and each agent's profile learns from its step.
//
// Source  mesh.md parts 2 and 6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kMaxPipelines = 16;  // in flight
inline constexpr std::uint32_t kPipelineStepsMax = 32;

struct PipelineRequest {
  std::span<const AgentId> targets{};  // 1 to kPipelineStepsMax, in order; one may come again
  HostTime target{};                   // T; 0: now + horizon
  Nanos horizon{0};                    // 0: as near as the leads allow
  Nanos window{500 * kNsPerMs};        // beyond its target that each step has
  float weight = 1;
  sched::Verb verb = sched::Verb::act;
  sched::Priority priority = sched::Priority::normal;
  std::span<const std::byte> body{};
};

enum class PipelineStatus : std::uint8_t { running = 0, success, failed_at_step };
[[nodiscard]] std::string_view name_of(PipelineStatus status) noexcept;  // "FAILED_AT_STEP"

enum class StepState : std::uint8_t {
  none = 0,     // its turn has not come
  sent,         // it has the message, or waits for its moment
  ready,        // and its answer is the next one's
  conflict,     // it cannot: CONFLICT
  declined,     // it refuses to answer
  no_answer,    // it had the message until its deadline
  unreachable,  // until its deadline nothing could be sent to it
  no_room,      // the engine had no room for its message, or for its answer
};
[[nodiscard]] std::string_view name_of(StepState state) noexcept;

struct PipelineStep {
  AgentId agent{};
  StepState state = StepState::none;
  HostTime target{};    // as planned
  HostTime sent{};      // when its operation was opened; 0: it was not
  HostTime answered{};  // 0: it has not
};

struct FinishedPipeline {
  OperationId id{};
  PipelineStatus status = PipelineStatus::running;
  HostTime target{};  // T
  std::vector<PipelineStep> steps{};
  // The last answer that came; of a CONFLICT it begins with its two values.
  sched::TrinaryState state = sched::TrinaryState::transit;
  std::vector<std::byte> body{};
  std::int64_t total_ns = 0;

  // READY.
  [[nodiscard]] std::size_t done() const noexcept {
    std::size_t count = 0;
    for (const PipelineStep& step : steps) count += step.state == StepState::ready ? 1U : 0U;
    return count;
  }
};

}  // namespace mesh::engine
