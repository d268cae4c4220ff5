#include "engine/engine.hpp"

#include <condition_variable>
#include <future>
#include <mutex>
#include <utility>

#include <sys/time.h>

#include "engine/control_server.hpp"
#include "engine/mesh_files.hpp"
#include "engine/scheduler_thread.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/station/station_memory.hpp"
#include "shm/attach.hpp"
#include "shm/uuid.hpp"

namespace mesh::engine {
namespace {

std::int64_t wall_clock_ns() noexcept {
  return std::chrono::duration_cast<Nanos>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<std::shared_ptr<const shm::EventFd>> shared_event() {
  MESH_TRY(shm::EventFd made, shm::EventFd::create());
  return std::make_shared<const shm::EventFd>(std::move(made));
}

// A job whose result a waiting thread gets. Destroyed before it is done, it breaks the promise.
template <class T>
class CallJob : public Job {
 public:
  std::future<Result<T>> future() { return promise_.get_future(); }
  void done() final { promise_.set_value(std::move(result_)); }

 protected:
  Result<T> result_{fail(Errc::closed, "the engine stopped first")};

 private:
  std::promise<Result<T>> promise_;
};

template <class T, class Run>
class RunJob final : public CallJob<T> {
 public:
  explicit RunJob(Run run) : run_(std::move(run)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    this->result_ = run_(scheduler, now);
    return std::nullopt;
  }

 private:
  Run run_;
};

class ScatterJob final : public CallJob<OperationReport> {
 public:
  ScatterJob(const OperationRequest& request, bool with_trace)
      : request_(request), with_trace_(with_trace) {
    request_.with_trace = with_trace;
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = scheduler.loop().open(request_, now);
    if (opened) return *opened;
    result_ = tl::unexpected<Error>(opened.error());
    return std::nullopt;
  }
  void on_finished(SchedulerThread& scheduler, const FinishedOperation& finished) override {
    OperationReport report{finished, {}};
    if (with_trace_) report.trace = scheduler.loop().trace(finished.id);
    result_ = std::move(report);
  }

 private:
  OperationRequest request_;
  bool with_trace_;
};

class AskJob final : public CallJob<AnsweredMessage> {
 public:
  struct Question {
    AgentId target{};
    std::span<const std::byte> body{};  // the caller's, who waits
    Nanos patience{};
  };
  explicit AskJob(const Question& question) : question_(question) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto posted =
        scheduler.loop().post({.target = question_.target, .body = question_.body}, now);
    if (posted) {
      scheduler.await_answer(*posted, now + question_.patience);
    } else {
      result_ = tl::unexpected<Error>(posted.error());
    }
    return std::nullopt;
  }
  void on_answered(SchedulerThread& /*scheduler*/, const AnsweredMessage* answered) override {
    if (answered != nullptr) {
      result_ = *answered;
    } else {
      result_ =
          fail(Errc::timed_out, "ask: no answer within " +
                                    std::to_string(question_.patience.count() / kNsPerMs) + " ms");
    }
  }

 private:
  Question question_;
};

}  // namespace

struct Engine::State {
  explicit State(MeshFiles claimed) : files(std::move(claimed)) {}

  Status make_memories(const EngineOptions& options);
  template <class T, class MadeJob>
  Result<T> call(std::unique_ptr<MadeJob> job);

  // In the order of their making: threads go before what they use.
  MeshFiles files;
  std::optional<shm::Mapping> table, payload, engine;
  const sched::ClockWords* clock = nullptr;
  shm::FormatOptions format;
  Report report;
  std::unique_ptr<SchedulerThread> scheduler;
  std::unique_ptr<ControlServer> control;

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

// The clock runs before the headers are written: they name the instant from which heartbeats count.
Status Engine::State::make_memories(const EngineOptions& options) {
  MESH_TRY(const MemoryMap map, memory_map(options.size));
  const MeshSize& size = map.size;
  MESH_TRY(const shm::Layout table_plan, table_layout(size));
  MESH_TRY(const shm::Layout payload_plan, payload_layout(size));
  MESH_TRY(const shm::Layout engine_plan, engine_layout(size));
  MESH_TRY(table, files.create("table", table_plan));
  MESH_TRY(payload, files.create("payload", payload_plan));
  MESH_TRY(engine, files.create("engine", engine_plan));
  MESH_TRY(const std::span<sched::ClockWords> words,
           table_plan.array<sched::ClockWords>(table->writable_bytes(), "clock"));
  clock = words.data();

  MESH_TRY(auto wake, shared_event());
  MESH_TRY(auto control_wake, shared_event());
  SchedulerThread::Options scheduling;
  scheduling.memory = {size, table->writable_bytes(), payload->writable_bytes(),
                       engine->writable_bytes()};
  scheduling.loop = options.loop;
  scheduling.wait.policy = options.wait;
  scheduling.thread.cpu = options.cpu;
  scheduling.thread.fifo_priority = options.fifo_priority;
  scheduling.wake = wake;
  scheduling.done = control_wake;
  scheduling.on_corrupt = [this](StationId station) { control->evict(station); };
  MESH_TRY(scheduler, SchedulerThread::create(scheduling, words.front()));

  sched::ClockReader<> reader(*clock);
  const HostTime start = reader.now();
  scheduler->loop().tick(start);  // the loop's time begins here
  MESH_TRY(format.identity.mesh_uuid, shm::random_uuid());
  MESH_TRY(format.identity.boot_id, shm::boot_id());
  format.created_ns = wall_clock_ns();
  format.parameters = {size.agents, size.stations, size.agents_per_station,
                       static_cast<std::uint64_t>(to_ns(start))};
  MESH_CHECK_OK(shm::format(engine->writable_bytes(), engine_plan, format));
  MESH_CHECK_OK(shm::format(payload->writable_bytes(), payload_plan, format));
  MESH_CHECK_OK(shm::format(table->writable_bytes(), table_plan, format));

  ControlOptions controlling;
  controlling.size = size;
  controlling.policy = options.policy;
  controlling.format = format;
  controlling.engine_wake = wake;
  controlling.wake = control_wake;
  controlling.on_down = [this] { set_down(); };
  MESH_TRY(control, ControlServer::create(controlling, files, *scheduler));
  return {};
}

Result<std::unique_ptr<Engine>> Engine::start(const EngineOptions& options) {
  MESH_TRY(MeshFiles files, MeshFiles::claim(options.directory));
  auto state = std::make_unique<State>(std::move(files));
  state->report.dropped = state->files.dropped();
  MESH_CHECK_OK(state->make_memories(options));
  MESH_TRY(state->report.threads, state->scheduler->start());
  state->control->start();
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() { stop(); }

// The control thread first: it alone completes calls. What it had posted goes with the scheduler.
void Engine::stop() {
  state_->set_down();
  state_->control->stop();
  state_->scheduler->stop();
}

bool Engine::wait_for_down(Nanos patience) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, patience, [this] { return state_->is_down; });
}

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

Result<OperationReport> Engine::scatter(const OperationRequest& request, bool with_trace) {
  return state_->call<OperationReport>(std::make_unique<ScatterJob>(request, with_trace));
}

Status Engine::send(AgentId target, std::span<const std::byte> body) {
  const auto run = [target, body](SchedulerThread& scheduler, HostTime now) -> Result<bool> {
    MESH_CHECK_OK(scheduler.loop().send(AgentId{}, target, body, now));
    return true;
  };
  MESH_TRY(const bool sent, state_->call<bool>(std::make_unique<RunJob<bool, decltype(run)>>(run)));
  static_cast<void>(sent);
  return {};
}

Result<AnsweredMessage> Engine::ask(AgentId target, std::span<const std::byte> body,
                                    Nanos patience) {
  return state_->call<AnsweredMessage>(
      std::make_unique<AskJob>(AskJob::Question{target, body, patience}));
}

Result<EngineStatus> Engine::status() {
  const auto run = [](SchedulerThread& scheduler, HostTime /*now*/) -> Result<EngineStatus> {
    return status_of(scheduler);
  };
  MESH_TRY(EngineStatus status,
           state_->call<EngineStatus>(std::make_unique<RunJob<EngineStatus, decltype(run)>>(run)));
  state_->control->add_counts(status);
  return status;
}

Result<AgentId> Engine::find(const std::string& name) {
  const auto run = [&name](SchedulerThread& scheduler, HostTime /*now*/) -> Result<AgentId> {
    const auto found = scheduler.loop().find(name);
    if (!found) return fail(Errc::no_such_agent, "no agent is called '" + name + "'");
    return *found;
  };
  return state_->call<AgentId>(std::make_unique<RunJob<AgentId, decltype(run)>>(run));
}

HostTime Engine::now() const { return sched::ClockReader<>(*state_->clock).now(); }
const std::string& Engine::directory() const noexcept { return state_->files.path(); }
const Engine::Report& Engine::report() const noexcept { return state_->report; }

}  // namespace mesh::engine
