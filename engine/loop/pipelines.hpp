// Pipelines of a loop, for who opens them (engine/pipeline.hpp).
//
// Callers     the scheduler's thread, between ticks.
// Progress    open_pipeline: a prediction a step, and one operation.
// Errors      open_pipeline -> invalid_argument: no step, too many, a window or a weight that
//             cannot be; no_such_agent, not_routable: a target, which the sentence counts from 1;
//             no_schedulable_agents: T leaves the steps less than their leads; capacity: as many as
//             there may be; parked_full, truncated: its body; a mode's refusal.
#pragma once

#include <optional>

#include "engine/loop/engine_loop.hpp"
#include "engine/pipeline.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

// Its id is no operation's and no cascade's.
Result<OperationId> open_pipeline(EngineLoop& loop, const PipelineRequest& request, HostTime now);
// Those that are over, oldest first; each is given once.
[[nodiscard]] std::optional<FinishedPipeline> take_finished_pipeline(EngineLoop& loop);

}  // namespace mesh::engine
