// RunningConflicts: the conflict office of a running engine with its thread, and what it needs of
// the mesh: a clock, and the scheduler thread, by which it tells coordinators.
//
// Callers     create, start, stop: the engine's own. The rest: any thread.
// If the      store fails: engine/conflict/conflict_office.hpp; its alarms are errors of the mesh
//             (`mesh errors`).
// other side  The mesh's coordinator is away: an escalation waits for it like any message.
// dies
// Errors      create -> invalid_argument (no spill file for a store that is no file), and as
//             ConflictOffice. resolve -> not_found, wrong_state, bad_input, closed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/conflict/conflict_office.hpp"
#include "engine/conflict/conflict_thread.hpp"
#include "engine/engine.hpp"
#include "engine/escalate_job.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {

class HistoryKeeper;
class RunningSteps;

class RunningConflicts {
 public:
  ~RunningConflicts();
  // `journal`: of the mesh's `engine` memory.
  static Result<std::unique_ptr<RunningConflicts>> create(const ConflictStoreOptions& options,
                                                          std::int64_t unix_offset_ns,
                                                          ConflictThread::ReadClock clock,
                                                          const NoteJournal::Place& journal);

  [[nodiscard]] ConflictSink& sink() noexcept { return *office_; }
  // Who carries out strategies (engine/running_steps.hpp); before start(). None: people do.
  void set_steps(std::unique_ptr<RunningSteps> steps);
  [[nodiscard]] RunningSteps* steps() const noexcept { return steps_.get(); }
  // What else is kept in the store, by the same thread; before start().
  void set_history(std::unique_ptr<HistoryKeeper> history);
  [[nodiscard]] HistoryKeeper* history() const noexcept { return history_.get(); }
  // Once the scheduler's thread runs.
  void start(SchedulerThread& scheduler);
  // After the scheduler's: what it had noted becomes durable. How many records could not.
  std::uint64_t stop();

  [[nodiscard]] ConflictOfficeStatus status() const { return office_->status(); }
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  [[nodiscard]] HostTime now() const { return clock_(); }
  [[nodiscard]] WireTime wall_now() const {
    return static_cast<WireTime>(to_ns(clock_()) + unix_offset_ns_);
  }
  // On the office's thread, between two of its turns; an engine that stops first destroys it unrun.
  void call(std::function<void(ConflictOffice& office, HostTime now)> what);
  // A person's decision: `done` is told on the office's thread, once it is durable. An engine that
  // stops first, or whose store and spill file take nothing, does not tell it.
  using Done = std::function<void(const Status&)>;
  void resolve(const SubjectId& conflict, std::string decision, Done done);

 private:
  RunningConflicts();
  void escalate(const Escalate& escalate, const Record& conflict);
  void tell_coordinators();
  void closed(const Closed& closed);
  void alarm(Errc code, const std::string& sentence);
  bool turn(HostTime now);
  bool turn_history(HostTime now);

  std::string where_;
  ConflictThread::ReadClock clock_;
  std::int64_t unix_offset_ns_ = 0;
  SchedulerThread* scheduler_ = nullptr;
  std::vector<Escalation> escalations_;             // of this turn
  std::map<SubjectId, Done> deciding_;              // the office's thread: not durable yet
  std::vector<std::unique_ptr<Job>> early_alarms_;  // before there was a scheduler
  std::unique_ptr<RunningSteps> steps_;
  std::unique_ptr<HistoryKeeper> history_;  // none: neither history nor results are kept
  std::unique_ptr<ConflictOffice> office_;
  std::unique_ptr<ConflictThread> thread_;
};

// 32 hexadecimal digits, as name_of(SubjectId) writes them.
[[nodiscard]] Result<SubjectId> subject_of(const std::string& name);

}  // namespace mesh::engine
