// SmallOperations: what a simulated mesh is asked of a few agents: pipelines (engine/pipeline.hpp)
// and a lead's own quorum of its cluster (engine/cluster_quorum.hpp), from their opening to what
// they came to.
//
// Who is asked is drawn by (seed, number): for a pipeline its agents, one after another, of those
// that are routable and of no person (class F); for a quorum an agent whose cluster is asked. Where
// sixteen draws find nobody there is nobody to ask: that is a refusal, as the engine's are.
//
// What is sent for them is known by its strategy (a pipeline's) or by the question that it carries
// (a quorum's): it counts for no scatter-gather and no cascade.
//
// Callers     one thread.
// Units       mesh time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "engine/loop/engine_loop.hpp"
#include "engine/pipeline.hpp"
#include "engine/simulation/measures.hpp"
#include "engine/simulation/population.hpp"
#include "engine/simulation/scenario.hpp"
#include "engine/station/delivery.hpp"

namespace mesh::engine::simulation {

class SmallOperations {
 public:
  // All outlive it.
  struct With {
    const Scenario& scenario;
    const Population& population;
    std::uint64_t seed = 0;
    SimulationReport& report;
    TraceHash& trace;
    std::function<bool(std::uint32_t agent)> is_routable;
    std::function<AgentId(std::uint32_t agent)> id;
    std::function<std::uint32_t(std::uint32_t agent)> cluster;
  };
  explicit SmallOperations(With with) noexcept : with_(std::move(with)) {}

  void open_pipeline(EngineLoop& loop, HostTime now);
  void open_quorum(EngineLoop& loop, HostTime now);
  // Pipelines that are over.
  void collect(EngineLoop& loop);
  // False: it is no quorum of ours.
  bool take(const EngineLoop& loop, const FinishedCascade& finished);
  // Not over yet.
  [[nodiscard]] std::size_t open() const noexcept { return pipelines_.size() + quorums_.size(); }

 private:
  static constexpr std::uint32_t kDraws = 16;

  [[nodiscard]] std::optional<std::uint32_t> draw(std::uint64_t number, std::uint32_t step) const;
  void refuse(SmallFigures& figures, std::uint64_t number, Errc why);
  void on_finished(const FinishedPipeline& finished);

  With with_;
  std::map<OperationId, std::uint64_t> pipelines_;  // their numbers
  std::map<OperationId, std::uint64_t> quorums_;
  std::uint64_t numbers_ = 0;
};

// The question that a quorum carries. Nothing else that is sent here has a body.
[[nodiscard]] bool is_of_quorum(const Delivery& delivery) noexcept;
[[nodiscard]] bool is_of_pipeline(const Delivery& delivery) noexcept;

}  // namespace mesh::engine::simulation
