// Engine: what it says of itself, what is recorded of conflicts and contexts.
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine_state.hpp"
#include "engine/reports/report_requests.hpp"
#include "engine/running_conflicts.hpp"
#include "engine/running_contexts.hpp"

namespace mesh::engine {
namespace {

// `begin` is given what tells; dropped untold, the engine has stopped.
template <class Told, class Begin>
Told told_by(Begin&& begin) {
  auto promise = std::make_shared<std::promise<Told>>();
  auto future = promise->get_future();
  begin([promise](Told told) { promise->set_value(std::move(told)); });
  promise.reset();
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
}

}  // namespace

void Engine::State::make_reports() {
  report_desk = std::make_unique<reports::ReportDesk>(
      MeshReports(files.path(), conflicts ? conflicts->where() : std::string()));
}

MeshReports Engine::reports() const { return state_->report_desk->mesh(); }

Status Engine::resolve(const std::string& conflict, const std::string& decision) {
  if (state_->conflicts == nullptr)
    return fail(Errc::unsupported,
                "resolve: this engine records no conflicts: it was started without --store");
  MESH_TRY(const SubjectId subject, subject_of(conflict));
  return told_by<Status>(
      [&](auto done) { state_->conflicts->resolve(subject, decision, std::move(done)); });
}

Result<std::vector<ContextVersion>> Engine::contexts(const std::string& agent) {
  const auto run = [&agent](SchedulerThread& scheduler,
                            HostTime /*now*/) -> Result<EngineLoop::KnownAgent> {
    const auto found = scheduler.loop().find(agent);
    if (!found) return fail(Errc::no_such_agent, "context: no agent is called '" + agent + "'");
    return scheduler.loop().known(*found);
  };
  MESH_TRY(const EngineLoop::KnownAgent known,
           state_->call<EngineLoop::KnownAgent>(
               std::make_unique<RunJob<EngineLoop::KnownAgent, decltype(run)>>(run)));
  return told_by<Result<std::vector<ContextVersion>>>([&](auto done) {
    state_->contexts->list({known.name, known.uid}, std::move(done));
  });
}

}  // namespace mesh::engine
