// EscalateJob: tells the coordinator of an agent's sector something that it has to decide about.
//
// Callers     made by any thread; run and done as scheduler_thread.hpp says. `then`: on the control
//             thread, whatever came of it.
// If the      coordinator can take nothing more, or nobody leads there: it is not told. Nobody
// other side  waits for what comes of it.
// dies
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "engine/scheduler_thread.hpp"

namespace mesh::engine {

class EscalateJob final : public Job {
 public:
  EscalateJob(AgentId agent, std::string text, std::function<void()> then = {})
      : agent_(agent), text_(std::move(text)), then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const AgentId coordinator = scheduler.loop().coordinator_of(agent_);
    if (coordinator == AgentId{}) return std::nullopt;
    static_cast<void>(scheduler.loop().post({.target = coordinator,
                                             .verb = sched::Verb::decide,
                                             .priority = sched::Priority::high,
                                             .body = std::as_bytes(std::span(text_))},
                                            now));
    return std::nullopt;
  }
  void done() override {
    if (then_) then_();
  }

 private:
  AgentId agent_;
  std::string text_;
  std::function<void()> then_;
};

}  // namespace mesh::engine
