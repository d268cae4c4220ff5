// Engine: crashed processes replaced, and places healed.
#include <future>
#include <memory>

#include "engine/engine_state.hpp"
#include "engine/recovery/recovery.hpp"

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
                                     const std::string& why) { control->escalate(process, why); }});
  return {};
}

Result<HealReport> Engine::heal(const HealRequest& request) {
  auto promise = std::make_shared<std::promise<Result<HealReport>>>();
  auto future = promise->get_future();
  auto job = heal_job(request, state_->recovery.get(), [promise](Result<HealReport> report) {
    promise->set_value(std::move(report));
  });
  promise.reset();
  if (state_->scheduler->post(std::move(job)) != nullptr)
    return fail(Errc::busy, "heal: the engine has too much to do, or has stopped");
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
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
