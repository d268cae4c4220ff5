// Engine: crashed processes replaced, strategies carried out, and places healed.
#include <future>
#include <memory>

#include "engine/engine_state.hpp"
#include "engine/recovery/recovery.hpp"
#include "engine/running_steps.hpp"

namespace mesh::engine {
namespace {

// Whether the row is still this agent's, and a process has it.
class Attached {
 public:
  static Result<Attached> over(const MeshSize& size, std::span<const std::byte> table) {
    MESH_TRY(const shm::Layout layout, table_layout(size));
    Attached made;
    MESH_TRY(made.ids_, layout.column<AgentId>(table, "agent.id"));
    MESH_TRY(made.stations_, layout.column<StationId>(table, "agent.station"));
    return made;
  }
  [[nodiscard]] bool operator()(const LostAgent& agent) const noexcept {
    const std::size_t row = row_of(index_of(agent.id));
    // relaxed, both: looked at again and again.
    return row < ids_.rows() && ids_.load_relaxed(row) == agent.id &&
           stations_.load_relaxed(row) != kNoStation;
  }

 private:
  shm::ColumnView<HostMemory, AgentId> ids_;
  shm::ColumnView<HostMemory, StationId> stations_;
};

}  // namespace

Status Engine::State::make_recovery(const EngineOptions& options) {
  const RecoveryOptions& wanted = options.recovery;
  if (wanted.spawn.empty()) return {};
  if (wanted.backoff <= Nanos{0} || wanted.patience <= Nanos{0} || wanted.attempts == 0)
    return fail(Errc::invalid_config,
                "recovery: backoff, patience and attempts are all more than 0");
  MESH_TRY(const Attached attached, Attached::over(size, table->bytes()));
  recovery = std::make_unique<Recovery>(
      wanted, Recovery::Outside{
                  .mesh_directory = files.path(),
                  .now = [] { return from_ns(sched::HostCounters::monotonic_ns()); },
                  .is_attached = attached,
                  .escalate = [this](const LostProcess& process,
                                     const std::string& why) { control->escalate(process, why); },
                  .sync =
                      [this](const LostProcess& process, Recovery::Outside::Synced synced) {
                        context_sync->sync(process.agents, std::move(synced));
                      }});
  return {};
}

Status Engine::State::make_steps(const EngineOptions& options) {
  if (conflicts == nullptr) return {};
  RunningSteps::Uses uses;
  uses.conflicts = conflicts.get();
  uses.scheduler = scheduler.get();
  uses.mesh = [this] { return acting_on(); };
  uses.load = [this](LoadOrder order) { control->load(std::move(order)); };
  uses.loads_context = [this](StationId station) { return control->loads_context(station); };
  uses.load_patience = options.conflicts.load_patience;
  uses.at_step = options.conflicts.at_step;
  MESH_TRY(auto steps, RunningSteps::create(std::move(uses)));
  conflicts->set_steps(std::move(steps));
  return {};
}

namespace {

// `make_job` is given what tells the caller; dropped untold, the engine has stopped.
template <class Report, class MakeJob>
Result<Report> wait_for(SchedulerThread& scheduler, MakeJob&& make_job) {
  auto promise = std::make_shared<std::promise<Result<Report>>>();
  auto future = promise->get_future();
  auto job = make_job([promise](Result<Report> report) { promise->set_value(std::move(report)); });
  promise.reset();
  if (scheduler.post(std::move(job)) != nullptr)
    return fail(Errc::busy, "engine: it has too much to do, or has stopped");
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
}

}  // namespace

Result<HealReport> Engine::heal(const HealRequest& request) {
  return wait_for<HealReport>(*state_->scheduler, [&](auto done) {
    return heal_job(request, state_->recovery.get(), std::move(done));
  });
}

Result<ScaleReport> Engine::scale(const ScaleRequest& request) {
  return wait_for<ScaleReport>(*state_->scheduler, [&](auto done) {
    return scale_job(request, state_->control->scale_on(), std::move(done));
  });
}

Result<ScaleProgress> Engine::scale_progress(const ScaleBatch& batch) const {
  return engine::scale_progress(state_->size, state_->table->bytes(), batch);
}

Result<IncidentReport> Engine::incident(const IncidentRequest& request) {
  auto promise = std::make_shared<std::promise<Result<IncidentReport>>>();
  auto future = promise->get_future();
  MESH_CHECK_OK(start_incident(
      {state_->scheduler.get(), state_->recovery.get()}, request,
      [promise](Result<IncidentReport> report) { promise->set_value(std::move(report)); }));
  promise.reset();
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
}

}  // namespace mesh::engine
