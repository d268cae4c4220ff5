// What the tests of the coordination manager share: a small one, with agents.
#pragma once

#include "engine/tasks/coordination_manager.hpp"
#include "tests/engine/tasks/message_kit.hpp"
#include "tests/engine/tasks/scheduler_kit.hpp"

namespace mesh::tasks::testing {

inline CoordinationConfig small_coordination() {
  CoordinationConfig config;
  config.tasks = small_scheduler(12);
  config.messages = small_router();
  config.resources.agents_max = 6;
  config.resources.resources_max = 16;
  config.resources.holdings_max = 16;
  config.stealing.agents_max = 6;
  config.graph.tasks_max = 16;
  config.graph.edges_max = 32;
  config.metrics.metrics_max = 26;
  config.metrics.histograms_max = 2;
  config.metrics.columns_max = 24;
  config.metrics.seconds_kept = 11;
  config.metrics.minutes_kept = 2;
  config.events.records_max = 16;
  config.events.names_max = 4;
  return config;
}
// Each has a mailbox, and tasks of its own.
inline CoordinationManager manager_of(const CoordinationConfig& config, std::uint32_t agents = 3) {
  CoordinationManager manager(config, 1);
  for (std::uint32_t i = 0; i < agents; ++i) {
    manager.apply(agent(i), Nanos{0});
    manager.apply(resident(i), Nanos{0});
  }
  return manager;
}
inline CoordinationActions ticked(CoordinationManager& manager, Nanos now) {
  CoordinationActions actions;
  manager.tick(now, actions);
  return actions;
}

}  // namespace mesh::tasks::testing
