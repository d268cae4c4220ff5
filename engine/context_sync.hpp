// ContextSync: agents whose process was replaced are given their last context again (mesh.md part
// 12, AGENT_CRASH: state synced).
//
//   who they are (the loop) ▶ their newest context (store, or memory) ▶ their process loads it
//                                        ▲                                       │
//                                        └─ it has handed over a newer one since ┘
//
// Of one process one agent after another; of an agent that has handed over no context nothing is
// expected, and nothing is done. One whose station says that it has the expected context has it.
// What waits for the agent is redelivered once that is settled for it, one way or the other: the
// loop holds it meanwhile, for RecoveryOptions::context_wait at most (loop/context_holds.hpp).
//
// Callers     sync: any thread. `done` is told on the control thread or on the conflict office's;
//             where the engine has no room for a job, on the caller's. The engine stops first: it
//             is destroyed untold.
// Progress    nobody waits: jobs, calls and orders, each of which goes on when it is answered.
// If the      process goes, or its handler fails: said of the agent, and the next one's turn.
// other side  It never answers: the rest waits, until it goes.
// dies
// Errors      none: what could not be done is in what is said of the agent.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/recovery/replacement_plan.hpp"
#include "engine/running_contexts.hpp"
#include "engine/running_steps.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {

// What is said where nothing was loaded, and nothing had to be.
inline constexpr const char* kNoContextKept = "it has handed over no context";

class ContextSync {
 public:
  struct Uses {
    SchedulerThread* scheduler = nullptr;
    RunningContexts* contexts = nullptr;
    std::function<void(LoadOrder)> load{};
    std::function<std::optional<bool>(StationId)> loads_context{};
  };
  explicit ContextSync(Uses uses) : uses_(std::move(uses)) {}

  // One sentence for each agent, in their order.
  using Done = std::function<void(std::vector<std::string>)>;
  void sync(const std::vector<LostAgent>& agents, Done done);

 private:
  struct Syncing;
  void say(Syncing& syncing, std::string text);
  void next(const std::shared_ptr<Syncing>& syncing);
  [[nodiscard]] std::optional<std::string> needs_none(
      const Result<EngineLoop::KnownAgent>& known) const;
  void list(const std::shared_ptr<Syncing>& syncing);
  void load(const std::shared_ptr<Syncing>& syncing, ContextVersion context);
  void loaded(const std::shared_ptr<Syncing>& syncing, const ContextVersion& context);
  void expect(const std::shared_ptr<Syncing>& syncing, const ContextVersion& context);
  // False: there was no room for it.
  bool on_loop(std::function<void(EngineLoop&, HostTime)> what, std::function<void()> then);

  Uses uses_;
};

}  // namespace mesh::engine
