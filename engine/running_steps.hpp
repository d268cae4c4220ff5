// RunningSteps: carries out the steps of strategies (mesh.md part 11) in a running engine, from the
// conflict office's thread. What needs the loop is a job there, what needs an agent's process goes
// through the control thread; both tell the office when they are done, and nobody waits meanwhile.
//
//   QUARANTINE_AND_RELOAD   quarantine_agent ▶ load_snapshot ▶ check_hash ▶ release_agent
//   REROUTE                 mend_capabilities ▶ route_elsewhere
//   BRANCH_AND_RECONCILE    keep_branches ▶ merge_branches ▶ load_merged
//   PROVENANCE_TRACE        trace_origins ▶ take_stronger
//   CLOCK_RECONCILIATION    collect_clocks ▶ rebuild_order
//
// A step that cannot be done, or whose data is not there, ends with the reason, and a person takes
// over. docs/CONTEXTS.md says what each needs.
//
// Callers     the conflict office's thread; create: set-up.
// Progress    store work, and posts to other threads.
// If the      agent's station dies while it loads, or does not answer: it is asked again when it is
// other side  back, until load_patience has passed; meanwhile the agent stays in quarantine. The
// dies        engine dies: the next one takes the case over at the step whose record is missing, so
//             a step may be done twice; each bears it, but work that is delegated may be done
//             twice, too. The hold on an agent stands in the table and outlives the engine.
// Errors      none: what fails is a step that failed.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/acting.hpp"
#include "engine/conflict/conflict_office.hpp"
#include "engine/engine.hpp"
#include "engine/running_conflicts.hpp"
#include "shm/descriptor.hpp"

namespace mesh::engine {

// Bytes for an agent's process to load; told on the control thread what came of it.
struct LoadOrder {
  AgentId agent{};
  StationId station{};
  std::uint64_t hash = 0;
  shm::Descriptor bytes{};  // sealed
  std::function<void(const Status& loaded)> done{};
};

class RunningSteps {
 public:
  struct Uses {
    RunningConflicts* conflicts = nullptr;
    SchedulerThread* scheduler = nullptr;
    std::function<ActingOn()> mesh{};
    std::function<void(LoadOrder)> load{};
    // Whether this station, which is attached, loads contexts.
    std::function<std::optional<bool>(StationId)> loads_context{};
    Nanos load_patience{};
    std::function<void(std::string_view step, bool is_done)> at_step{};
  };
  static Result<std::unique_ptr<RunningSteps>> create(Uses uses);

  std::optional<StepEnded> run(ConflictOffice& office, const RunStep& step);
  // Before the conflict is on the desk: what its strategy will need to know.
  void complete(const ConflictNote& note, const Carried& carried, ConflictReport& report);
  // Who was held for it, and for nothing else, is held no longer.
  void closed(ConflictOffice& office, const Closed& closed);
  // Looks again at who was away, and whose time is over.
  bool turn(ConflictOffice& office, HostTime now);

 private:
  using Text = Result<std::string>;  // what was done, or why it cannot be
  using Then = std::function<void(ConflictOffice&, Text)>;
  struct Loading;
  struct Loaded {
    std::uint64_t hash = 0;
    std::uint64_t version = 0;
    WireTime asked{};
  };

  RunningSteps(Uses uses, ConsoleView view) : uses_(std::move(uses)), view_(std::move(view)) {}
  // `what` on the scheduler thread, then `then` on the office's.
  template <class T>
  void on_loop(std::function<Result<T>(EngineLoop&, HostTime)> what,
               std::function<void(ConflictOffice&, Result<T>)> then);
  void post_job(std::function<void(EngineLoop&, HostTime)> what, std::function<void()> then);
  std::optional<Text> start(ConflictOffice& office, const RunStep& step, const Record& conflict);
  Then ends(const RunStep& step);
  void reached(ConflictStep step, bool is_done) const;

  // running_steps.cpp
  void quarantine(const RunStep& step);
  void reload(ConflictOffice& office, const RunStep& step, const Record& conflict);
  void check_hash(ConflictOffice& office, const RunStep& step);
  void release(ConflictOffice& office, const RunStep& step);
  // The newest context of the step's agent that is kept. Holds the agent, and leaves it held.
  void load_newest(const RunStep& step, Then then);
  void load(const std::shared_ptr<Loading>& loading);
  void on_known(ConflictOffice& office, const std::shared_ptr<Loading>& loading,
                Result<EngineLoop::KnownAgent> known);
  void on_loaded(ConflictOffice& office, const std::shared_ptr<Loading>& loading,
                 const Status& loaded);
  void over(ConflictOffice& office, const std::shared_ptr<Loading>& loading, Text text);
  Status choose(ConflictOffice& office, Loading& loading, const EngineLoop::KnownAgent& known);

  // It differed from a large majority (engine/loop/comparing.hpp).
  static bool is_byzantine(const Record& conflict);
  // What an earlier step of the case wrote down as its outcome.
  static Result<nlohmann::json> outcome_of(Store& store, const Record& conflict, ConflictStep step);

  // running_strategies.cpp; running_branches.cpp
  std::optional<Text> start_strategy(ConflictOffice& office, const RunStep& step,
                                     const Record& conflict);
  std::optional<Text> mend(const RunStep& step, const Record& conflict);
  std::optional<Text> route_elsewhere(const RunStep& step, const Record& conflict);
  Text keep_branches(Store& store, const Record& conflict);
  static Text merge_branches(Store& store, const Record& conflict);
  std::optional<Text> load_merged(ConflictOffice& office, const RunStep& step,
                                  const Record& conflict);
  struct Merging;
  void load_next(ConflictOffice& office, const std::shared_ptr<Merging>& merging);
  void load_merged_into(ConflictOffice& office, const std::shared_ptr<Merging>& merging,
                        AgentId agent);
  void after_merge(ConflictOffice& office, const std::shared_ptr<Merging>& merging, AgentId agent);
  Text trace_origins(Store& store, const Record& conflict);
  std::optional<Text> take_stronger(Store& store, const RunStep& step, const Record& conflict);
  Text collect_clocks(const Record& conflict);
  Text rebuild_order(Store& store, const Record& conflict);

  Uses uses_;
  ConsoleView view_;
  std::list<std::shared_ptr<Loading>> loadings_;
  std::map<AgentId, Loaded> loaded_;            // last, by this engine
  std::map<SubjectId, std::string> collected_;  // what collect_clocks found, until it is used
};

template <class T>
void RunningSteps::on_loop(std::function<Result<T>(EngineLoop&, HostTime)> what,
                           std::function<void(ConflictOffice&, Result<T>)> then) {
  auto result = std::make_shared<Result<T>>(fail(Errc::busy, "the engine has too much to do"));
  post_job([result, what = std::move(what)](EngineLoop& loop,
                                            HostTime now) { *result = what(loop, now); },
           [conflicts = uses_.conflicts, result, then = std::move(then)] {
             conflicts->call([result, then](ConflictOffice& office, HostTime /*now*/) {
               then(office, std::move(*result));
             });
           });
}

}  // namespace mesh::engine
