// EscalateJob: tells the coordinators of agents' sectors something that they have to decide about.
// What several agents of one sector have to tell goes in one message, a line each.
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
#include <vector>

#include "engine/scheduler_thread.hpp"

namespace mesh::engine {

struct Escalation {
  AgentId agent{};
  std::string text{};
};

class EscalateJob final : public Job {
 public:
  explicit EscalateJob(std::vector<Escalation> escalations) : told_(std::move(escalations)) {}
  EscalateJob(AgentId agent, std::string text, std::function<void()> then = {})
      : then_(std::move(then)) {
    told_.push_back({agent, std::move(text)});
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    AgentId coordinator{};
    std::string body;
    const auto tell = [&] {
      if (coordinator != AgentId{} && !body.empty())
        static_cast<void>(scheduler.loop().post({.target = coordinator,
                                                 .verb = sched::Verb::decide,
                                                 .priority = sched::Priority::high,
                                                 .body = std::as_bytes(std::span(body))},
                                                now));
      body.clear();
    };
    for (const Escalation& one : told_) {
      const AgentId its = scheduler.loop().coordinator_of(one.agent);
      if (its != coordinator || body.size() + one.text.size() > kBodyBytesMax) tell();
      coordinator = its;
      if (!body.empty()) body += '\n';
      body += one.text;
    }
    tell();
    return std::nullopt;
  }
  void done() override {
    if (then_) then_();
  }

 private:
  static constexpr std::size_t kBodyBytesMax = 8'192;
  std::vector<Escalation> told_;
  std::function<void()> then_;
};

}  // namespace mesh::engine
