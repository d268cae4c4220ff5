// EngineLoop::retune: what of its options may change while the mesh goes on.
#include <cmath>

#include "engine/loop/state.hpp"

namespace mesh::engine {

// What is planned already keeps its send times; the next plan is made by the new options.
Status EngineLoop::retune(const LoopTuning& tuning) {
  MESH_CHECK_OK(State::check_upkeep(tuning.upkeep));
  if (!(tuning.z >= 0) || !std::isfinite(tuning.z))
    return fail(Errc::invalid_argument,
                "engine loop: z of " + std::to_string(tuning.z) + " is no number from 0");
  MESH_CHECK_OK(tuning.throttle.check());
  MESH_CHECK_OK(state_->registry->set_agent_ttl(tuning.agent_ttl));
  state_->options.model = tuning.model;
  state_->options.z = tuning.z;
  state_->options.upkeep = tuning.upkeep;
  state_->options.agent_ttl = tuning.agent_ttl;
  state_->options.throttle = tuning.throttle;
  state_->predictor->set_z(tuning.z);
  state_->throttle->set_options(tuning.throttle, Nanos{state_->now_ns});
  return {};
}

}  // namespace mesh::engine
