// Engine::State: what an engine is made of. For the files of Engine alone.
//
// Callers     as Engine's.
#pragma once

#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/adoption.hpp"
#include "engine/backup/backup_keeper.hpp"
#include "engine/context_sync.hpp"
#include "engine/control_server.hpp"
#include "engine/delegate_reputation.hpp"
#include "engine/engine.hpp"
#include "engine/engine_jobs.hpp"
#include "engine/mesh_files.hpp"
#include "engine/recovery/recovery.hpp"
#include "engine/reports/report_requests.hpp"
#include "engine/rules_keeper.hpp"
#include "engine/running_conflicts.hpp"
#include "engine/running_contexts.hpp"
#include "engine/scheduler_thread.hpp"
#include "engine/station_table.hpp"

namespace mesh::engine {

struct Engine::State {
  explicit State(MeshFiles claimed) : files(std::move(claimed)) {}

  Status make_memories(const EngineOptions& options);
  Status look_around(const EngineOptions& options);
  [[nodiscard]] tl::unexpected<Error> cannot_adopt(const Error& why) const;
  Status make_scheduler(const EngineOptions& options);
  [[nodiscard]] Result<NoteJournal::Place> note_place() const;
  Status format_new();
  Status expect_back(HostTime start);
  Status make_backups(const EngineOptions& options);
  Status make_recovery(const EngineOptions& options);
  void make_reports();
  void go_on(const EngineOptions& options);
  Status make_control(const EngineOptions& options);
  Status make_steps(const EngineOptions& options);
  Status make_history(const EngineOptions& options);
  Status start_threads();
  [[nodiscard]] bool is_locked() const noexcept;  // its memories, in RAM
  [[nodiscard]] std::string sentence_of_locking() const;
  template <class T, class MadeJob>
  Result<T> call(std::unique_ptr<MadeJob> job);
  [[nodiscard]] ActingOn acting_on();
  template <class Report, class Start>
  Result<Report> act(Start&& start);

  // In the order of their making: threads go before what they use.
  MeshFiles files;
  MeshSize size;
  std::optional<shm::Mapping> table, payload, engine;
  std::optional<StationTable> station_table;
  std::vector<LeftStation> left;
  std::vector<LeavingStation> leaving;
  std::vector<std::string> orphans;
  AdoptionStatus adoption;
  std::unique_ptr<RulesKeeper> rules;
  std::shared_ptr<DelegateReputation> reputation = std::make_shared<DelegateReputation>();
  std::shared_ptr<const shm::EventFd> wake, control_wake;
  sched::ClockWords* clock = nullptr;
  shm::FormatOptions format;
  std::int64_t unix_offset_ns = 0;
  [[nodiscard]] std::int64_t start_ns() const noexcept {
    return static_cast<std::int64_t>(
        format.parameters[static_cast<std::size_t>(MemoryParameter::start_ns)]);
  }
  Report report;
  std::unique_ptr<RunningConflicts> conflicts;  // none: they are not recorded
  std::unique_ptr<RunningContexts> contexts;
  std::unique_ptr<SchedulerThread> scheduler;
  std::unique_ptr<ControlServer> control;
  std::unique_ptr<ContextSync> context_sync;
  std::unique_ptr<BackupKeeper> backups;             // goes first: it tells the control thread
  std::unique_ptr<Recovery> recovery;                // none: nobody is replaced. The same
  std::unique_ptr<reports::ReportDesk> report_desk;  // the same

  std::mutex mutex;  // of what wait_for_down() waits for
  std::condition_variable changed;
  bool is_down = false;

  void set_down() {
    {
      const std::lock_guard lock(mutex);
      is_down = true;
    }
    changed.notify_all();
  }
};

template <class T, class MadeJob>
Result<T> Engine::State::call(std::unique_ptr<MadeJob> job) {
  auto future = job->future();
  if (scheduler->post(std::move(job)) != nullptr) {
    return fail(Errc::busy,
                "engine: " + std::to_string(kJobsMax) + " calls wait already, or it has stopped");
  }
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
}

}  // namespace mesh::engine
