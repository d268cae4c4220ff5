// RunningSteps: quarantine and reload, and what all steps share.
#include "engine/running_steps.hpp"

#include <algorithm>
#include <utility>

#include "engine/scheduler_thread.hpp"
#include "shm/hash.hpp"
#include "shm/sealed_bytes.hpp"

namespace mesh::engine {
namespace {

constexpr Nanos kLookAgain{20 * kNsPerMs};

// Work of the office for the loop. A job that never runs is destroyed, and tells nobody.
class OfficeJob final : public Job {
 public:
  using What = std::function<void(EngineLoop&, HostTime)>;
  OfficeJob(What what, std::function<void()> then)
      : what_(std::move(what)), then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    what_(scheduler.loop(), now);
    return std::nullopt;
  }
  void done() override { then_(); }

 private:
  What what_;
  std::function<void()> then_;
};

// Worth another try, because who is asked may be back.
bool may_come_back(Errc code) noexcept {
  return code == Errc::closed || code == Errc::not_ready || code == Errc::busy;
}

}  // namespace

// One agent that is to load something. It goes on until it has, or until its time is over.
struct RunningSteps::Loading {
  RunStep step;
  WireTime asked{};
  HostTime deadline{};
  HostTime again_at = HostTime::max();      // when the next try is; max(): one is under way
  std::uint64_t serial = 0;                 // of the try that is under way
  std::optional<ContextVersion> context{};  // that it was asked to load
  bool is_over = false;
  std::string why = "the agent's process was not asked yet";
  Then then{};
};

Result<std::unique_ptr<RunningSteps>> RunningSteps::create(Uses uses) {
  const ActingOn mesh = uses.mesh();
  MESH_TRY(ConsoleView view, ConsoleView::over(mesh.size, mesh.table));
  return std::unique_ptr<RunningSteps>(new RunningSteps(std::move(uses), std::move(view)));
}

void RunningSteps::reached(ConflictStep step, bool is_done) const {
  if (uses_.at_step) uses_.at_step(name_of(step), is_done);
}

void RunningSteps::post_job(std::function<void(EngineLoop&, HostTime)> what,
                            std::function<void()> then) {
  auto job = std::make_unique<OfficeJob>(std::move(what), then);
  if (uses_.scheduler->post(std::move(job)) != nullptr) then();
}

RunningSteps::Then RunningSteps::ends(const RunStep& step) {
  return [this, step](ConflictOffice& office, Text text) {
    StepEnded ended{.subject = step.subject, .step = step.step, .is_done = text.has_value()};
    ended.outcome = text ? std::move(*text) : std::move(text.error().sentence);
    if (ended.is_done) reached(step.step, true);
    uses_.conflicts->call([ended = std::move(ended)](ConflictOffice& at, HostTime now) {
      at.step_ended(ended, now);
    });
    static_cast<void>(office);
  };
}

std::optional<StepEnded> RunningSteps::run(ConflictOffice& office, const RunStep& step) {
  const ConflictCase* const its = office.desk().find(step.subject);
  reached(step.step, false);
  Text text = fail(Errc::not_found, "the conflict is not on the desk");
  if (its != nullptr) {
    auto begun = start(office, step, its->record);
    if (!begun) return std::nullopt;
    text = std::move(*begun);
  }
  if (text) reached(step.step, true);
  return StepEnded{.subject = step.subject,
                   .step = step.step,
                   .is_done = text.has_value(),
                   .outcome = text ? std::move(*text) : std::move(text.error().sentence)};
}

// Nothing: it is under way.
std::optional<RunningSteps::Text> RunningSteps::start(ConflictOffice& office, const RunStep& step,
                                                      const Record& conflict) {
  switch (step.step) {
    case ConflictStep::quarantine_agent:
      quarantine(step);
      return std::nullopt;
    case ConflictStep::load_snapshot:
      reload(office, step, conflict);
      return std::nullopt;
    case ConflictStep::check_hash:
      check_hash(office, step);
      return std::nullopt;
    case ConflictStep::release_agent:
      release(office, step);
      return std::nullopt;
    default:
      return start_strategy(office, step, conflict);
  }
}

void RunningSteps::quarantine(const RunStep& step) {
  on_loop<bool>(
      [agent = step.agent](EngineLoop& loop, HostTime) { return loop.quarantine(agent, true); },
      [then = ends(step)](ConflictOffice& office, Result<bool> changed) {
        if (!changed) return then(office, tl::unexpected(changed.error()));
        then(office, *changed ? "nothing is routed to it" : "it was in quarantine already");
      });
}

void RunningSteps::reload(ConflictOffice& office, const RunStep& step, const Record& conflict) {
  // What is wrong with it is not what it knows: its own last context would be of no help.
  if (is_byzantine(conflict))
    return ends(step)(office, fail(Errc::verification_failed,
                                   "it differs from a large majority: it is held until somebody "
                                   "has looked at it"));
  const auto loaded = loaded_.find(step.agent);
  if (loaded != loaded_.end() && loaded->second.asked > conflict.at) {
    const Loaded& its = loaded->second;
    return ends(step)(office, "version " + std::to_string(its.version) +
                                  " was loaded since the conflict was noted");
  }
  load_newest(step, ends(step));
}

// Also after a restart, when nobody here knows what the agent has loaded: it loads again.
void RunningSteps::check_hash(ConflictOffice& office, const RunStep& step) {
  on_loop<EngineLoop::KnownAgent>(
      [agent = step.agent](EngineLoop& loop, HostTime) { return loop.known(agent); },
      [this, step](ConflictOffice& at, Result<EngineLoop::KnownAgent> known) {
        if (!known) return ends(step)(at, tl::unexpected(known.error()));
        const auto loaded = loaded_.find(step.agent);
        if (loaded == loaded_.end() || loaded->second.hash != known->context_hash) {
          return load_newest(step, [this, step](ConflictOffice& office2, Text text) {
            if (!text) return ends(step)(office2, std::move(text));
            check_hash(office2, step);
          });
        }
        ends(step)(at, "its context has the hash that it should have, " +
                           std::to_string(known->context_hash));
      });
  static_cast<void>(office);
}

void RunningSteps::release(ConflictOffice& office, const RunStep& step) {
  if (office.desk().has_another(step.agent, ConflictStrategy::quarantine_and_reload, step.subject))
    return ends(step)(office, "another conflict holds it still");
  on_loop<bool>(
      [agent = step.agent](EngineLoop& loop, HostTime) { return loop.quarantine(agent, false); },
      [then = ends(step)](ConflictOffice& at, Result<bool> changed) {
        if (!changed) return then(at, tl::unexpected(changed.error()));
        then(at, "it is routed to again");
      });
}

void RunningSteps::closed(ConflictOffice& office, const Closed& closed) {
  if (!closed.by_person || closed.strategy != ConflictStrategy::quarantine_and_reload) return;
  if (office.desk().has_another(closed.agent, closed.strategy, closed.subject)) return;
  on_loop<bool>(
      [agent = closed.agent](EngineLoop& loop, HostTime) { return loop.quarantine(agent, false); },
      [](ConflictOffice&, Result<bool>) {});  // an agent that is gone needs none
}

// Loading.

void RunningSteps::load_newest(const RunStep& step, Then then) {
  auto loading = std::make_shared<Loading>();
  loading->step = step;
  loading->then = std::move(then);
  load(loading);
}

void RunningSteps::load(const std::shared_ptr<Loading>& loading) {
  if (loading->deadline == HostTime{}) {
    loading->deadline = uses_.conflicts->now() + uses_.load_patience;
    loadings_.push_back(loading);
  }
  loading->again_at = HostTime::max();
  ++loading->serial;
  on_loop<EngineLoop::KnownAgent>(
      [agent = loading->step.agent](EngineLoop& loop, HostTime) -> Result<EngineLoop::KnownAgent> {
        // Also of a case that an engine before this one began: the hold is there, or is made.
        MESH_TRY(const bool is_new, loop.quarantine(agent, true));
        static_cast<void>(is_new);
        return loop.known(agent);
      },
      [this, loading](ConflictOffice& office, Result<EngineLoop::KnownAgent> known) {
        if (!loading->is_over) on_known(office, loading, std::move(known));
      });
}

// Its newest that is kept. not_ready: the store is away.
Status RunningSteps::choose(ConflictOffice& office, Loading& loading,
                            const EngineLoop::KnownAgent& known) {
  if (office.store() == nullptr) return fail(Errc::not_ready, "the store is away");
  MESH_TRY(std::vector<ContextVersion> kept, office.store()->contexts({known.name, known.uid}));
  if (kept.empty())
    return fail(Errc::not_found, "no context of '" + known.name + "' is kept: it hands none over");
  loading.context = std::move(kept.front());
  return {};
}

void RunningSteps::on_known(ConflictOffice& office, const std::shared_ptr<Loading>& loading,
                            Result<EngineLoop::KnownAgent> known) {
  const auto try_again = [&](std::string why) {
    loading->why = std::move(why);
    loading->again_at = uses_.conflicts->now() + kLookAgain;
  };
  if (!known && may_come_back(known.error().code)) return try_again(known.error().sentence);
  if (!known) return over(office, loading, tl::unexpected(known.error()));
  if (known->station == kNoStation) return try_again("the agent's process is away");
  const std::optional<bool> loads = uses_.loads_context(known->station);
  if (!loads) return try_again("the agent's process is away");
  if (!*loads)
    return over(
        office, loading,
        fail(Errc::unsupported, "the agent's process loads no contexts: it has no handler"));
  const Status chosen = choose(office, *loading, *known);
  if (!chosen && may_come_back(chosen.error().code)) return try_again(chosen.error().sentence);
  if (!chosen) return over(office, loading, tl::unexpected(chosen.error()));
  const ContextVersion& context = *loading->context;
  loading->asked = uses_.conflicts->wall_now();
  auto sealed = shm::seal_bytes("context", std::as_bytes(std::span(context.bytes)));
  if (!sealed) return over(office, loading, tl::unexpected(sealed.error()));
  uses_.load({.agent = loading->step.agent,
              .station = known->station,
              .hash = context.hash,
              .bytes = std::move(*sealed),
              .done = [this, loading, serial = loading->serial](const Status& loaded) {
                uses_.conflicts->call(
                    [this, loading, serial, loaded](ConflictOffice& at, HostTime) {
                      if (!loading->is_over && loading->serial == serial)
                        on_loaded(at, loading, loaded);
                    });
              }});
  loading->why = "the agent's process did not answer";
}

// What it is to be from now on is what it has loaded; unless it has handed over a newer one since.
void RunningSteps::on_loaded(ConflictOffice& office, const std::shared_ptr<Loading>& loading,
                             const Status& loaded) {
  if (!loaded && may_come_back(loaded.error().code)) {
    loading->why = loaded.error().sentence;
    loading->again_at = uses_.conflicts->now() + kLookAgain;
    return;
  }
  if (!loaded) return over(office, loading, tl::unexpected(loaded.error()));
  if (office.store() != nullptr) {
    const auto kept = office.store()->contexts(loading->context->owner);
    if (kept && !kept->empty() && kept->front().hash != loading->context->hash)
      return load(loading);
  }
  on_loop<bool>(
      [agent = loading->step.agent, hash = loading->context->hash](EngineLoop& loop,
                                                                   HostTime) -> Result<bool> {
        MESH_CHECK_OK(loop.expect_context(agent, hash));
        return true;
      },
      [this, loading](ConflictOffice& at, Result<bool> expected) {
        if (loading->is_over) return;
        if (!expected) return over(at, loading, tl::unexpected(expected.error()));
        const ContextVersion& context = *loading->context;
        loaded_[loading->step.agent] = {context.hash, context.version, loading->asked};
        over(at, loading,
             "version " + std::to_string(context.version) + ", " +
                 std::to_string(context.bytes.size()) + " bytes with the hash " +
                 std::to_string(context.hash) + ", is loaded");
      });
}

void RunningSteps::over(ConflictOffice& office, const std::shared_ptr<Loading>& loading,
                        Text text) {
  loading->is_over = true;
  loadings_.remove(loading);
  loading->then(office, std::move(text));
}

bool RunningSteps::turn(ConflictOffice& office, HostTime now) {
  std::vector<std::shared_ptr<Loading>> due;
  for (const auto& loading : loadings_)
    if (now >= std::min(loading->again_at, loading->deadline)) due.push_back(loading);
  for (const auto& loading : due) {
    if (now >= loading->deadline) {
      over(office, loading,
           fail(Errc::timed_out, "it could not be loaded within " +
                                     std::to_string(uses_.load_patience.count() / kNsPerMs) +
                                     " ms: " + loading->why));
    } else {
      load(loading);
    }
  }
  return !due.empty();
}

}  // namespace mesh::engine
