#include "engine/engine.hpp"

#include <condition_variable>
#include <mutex>
#include <utility>

#include <sys/time.h>

#include "engine/acting_jobs.hpp"
#include "engine/adoption.hpp"
#include "engine/backup/restore.hpp"
#include "engine/control_server.hpp"
#include "engine/engine_jobs.hpp"
#include "engine/engine_state.hpp"
#include "engine/history_keeper.hpp"
#include "engine/mesh_files.hpp"
#include "engine/reports/report_requests.hpp"
#include "engine/rules_keeper.hpp"
#include "engine/running_conflicts.hpp"
#include "engine/running_contexts.hpp"
#include "engine/scheduler_thread.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/station_table.hpp"
#include "shm/attach.hpp"
#include "shm/base/point.hpp"
#include "shm/uuid.hpp"

namespace mesh::engine {
namespace {

std::int64_t wall_clock_ns() noexcept {
  return std::chrono::duration_cast<Nanos>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

Result<std::shared_ptr<const shm::EventFd>> shared_event() {
  MESH_TRY(shm::EventFd made, shm::EventFd::create());
  return std::make_shared<const shm::EventFd>(std::move(made));
}

}  // namespace

// Whatever is there, to begin with: nothing, a mesh to go on with, or what stands in the way.
Status Engine::State::look_around(const EngineOptions& options) {
  MESH_TRY(const std::vector<std::string> halves, files.sweep());
  for (const std::string& name : halves) {
    report.dropped.push_back(name + ": of a start or an end that died halfway");
  }
  if (options.fresh) {
    const auto agents = agents_of(files);
    MESH_TRY(const std::vector<std::string> names, files.drop_all());
    for (const std::string& name : names) report.dropped.push_back(name + ": dropped");
    if (!names.empty()) {
      report.dropped.push_back(agents ? "with them went " + counted(*agents, "agent")
                                      : std::string("what they held could not be read"));
    }
    return {};
  }
  auto found = adopt(files, options.size);
  if (!found) return cannot_adopt(found.error());
  if (!*found) return {};
  AdoptedMesh& mesh = **found;
  size = mesh.size;
  format = mesh.format;
  table = std::move(mesh.table);
  payload = std::move(mesh.payload);
  engine = std::move(mesh.engine);
  left = std::move(mesh.stations);
  leaving = std::move(mesh.leaving);
  orphans = std::move(mesh.orphans);
  adoption.is_adopted = true;
  return {};
}

tl::unexpected<Error> Engine::State::cannot_adopt(const Error& why) const {
  return fail(why.code,
              "mesh in '" + files.path() + "' cannot be gone on with: " + why.sentence +
                  ". Nothing was changed; start with --fresh to drop it and begin anew",
              why.detail);
}

Status Engine::State::make_memories(const EngineOptions& options) {
  MESH_TRY(const MemoryMap map, memory_map(options.size));
  size = map.size;
  MESH_CHECK_OK(look_around(options));
  MESH_TRY(const shm::Layout table_plan, table_layout(size));
  MESH_TRY(const shm::Layout engine_plan, engine_layout(size));
  if (!adoption.is_adopted) {
    MESH_TRY(const shm::Layout payload_plan, payload_layout(size));
    MESH_TRY(table, files.create(std::string("table") + kNewSuffix, table_plan));
    MESH_TRY(payload, files.create(std::string("payload") + kNewSuffix, payload_plan));
    MESH_TRY(engine, files.create(std::string("engine") + kNewSuffix, engine_plan));
  }
  MESH_TRY(const std::span<sched::ClockWords> words,
           table_plan.array<sched::ClockWords>(table->writable_bytes(), "clock"));
  clock = words.data();
  auto made_table = StationTable::create(engine_plan, engine->writable_bytes());
  if (!made_table) return cannot_adopt(made_table.error());
  station_table.emplace(std::move(*made_table));
  return {};
}

// Where conflicts wait for their records.
Result<NoteJournal::Place> Engine::State::note_place() const {
  MESH_TRY(const shm::Layout plan, engine_layout(size));
  const std::span<std::byte> bytes = engine->writable_bytes();
  NoteJournal::Place place;
  MESH_TRY(place.slots, plan.array<NoteJournal::Ring::Slot>(bytes, "conflicts.notes"));
  MESH_TRY(const auto page, plan.array<NoteJournal::Ring::ReaderPage>(bytes, "conflicts.reader"));
  MESH_TRY(const auto header,
           plan.array<NoteJournal::Log::Header>(bytes, "conflicts.bodies.header"));
  const shm::Region* const bodies = plan.find("conflicts.bodies");
  MESH_TRY(place.words, shm::resolve(bytes, shm::Offset<NoteJournal::Log::Word>{bodies->offset},
                                     bodies->size_bytes / sizeof(NoteJournal::Log::Word)));
  place.page = page.data();
  place.header = header.data();
  return place;
}

// The clock runs before the headers are written: they name the instant from which heartbeats count.
Status Engine::State::make_scheduler(const EngineOptions& options) {
  MESH_TRY(wake, shared_event());
  MESH_TRY(control_wake, shared_event());
  SchedulerThread::Options scheduling;
  scheduling.memory = {size, table->writable_bytes(), payload->writable_bytes(),
                       engine->writable_bytes()};
  scheduling.loop = options.loop;
  // Somebody loads contexts where crashed processes are replaced (make_recovery).
  if (!options.recovery.spawn.empty()) scheduling.loop.context_wait = options.recovery.context_wait;
  // An id is computed from a record, again by the next engine: the two agree on the offset.
  unix_offset_ns = adoption.is_adopted ? format.created_ns - start_ns()
                                       : wall_clock_ns() - sched::HostCounters::monotonic_ns();
  scheduling.loop.unix_offset_ns = unix_offset_ns;
  scheduling.wait.policy = options.wait;
  scheduling.thread.cpu = options.cpu;
  scheduling.thread.fifo_priority = options.fifo_priority;
  scheduling.wake = wake;
  scheduling.done = control_wake;
  scheduling.stuck_after = options.stuck_after;
  if (!options.conflicts.store.empty()) {
    MESH_TRY(const NoteJournal::Place notes, note_place());
    MESH_TRY(conflicts, RunningConflicts::create(
                            options.conflicts, unix_offset_ns,
                            [words = clock] { return sched::ClockReader<>(*words).now(); }, notes));
    scheduling.conflicts = &conflicts->sink();
    MESH_CHECK_OK(make_history(options));
    scheduling.results = conflicts->history();
  }
  scheduling.on_corrupt = [this](StationId station) {
    control->evict({station, Eviction::Why::kCorrupt});
  };
  scheduling.on_stuck = [this](StationId station) {
    control->evict({station, Eviction::Why::kStuck});
  };
  scheduling.on_mode = [this](const ModeSeen& seen) { control->notice(seen); };
  auto made = SchedulerThread::create(scheduling, *clock);
  if (!made) {
    return adoption.is_adopted ? cannot_adopt(made.error())
                               : tl::unexpected<Error>(std::move(made).error());
  }
  scheduler = std::move(*made);
  return {};
}

Status Engine::State::format_new() {
  sched::ClockReader<> reader(*clock);
  const HostTime start = reader.now();
  scheduler->loop().tick(start);  // the loop's time begins here
  MESH_CHECK_OK(expect_back(start));
  MESH_TRY(format.identity.mesh_uuid, shm::random_uuid());
  MESH_TRY(format.identity.boot_id, shm::boot_id());
  format.created_ns = to_ns(start) + unix_offset_ns;
  format.parameters = {size.agents, pack_shape(size), size.agents_per_station,
                       static_cast<std::uint64_t>(to_ns(start))};
  MESH_TRY(const shm::Layout table_plan, table_layout(size));
  MESH_TRY(const shm::Layout payload_plan, payload_layout(size));
  MESH_TRY(const shm::Layout engine_plan, engine_layout(size));
  MESH_CHECK_OK(shm::format(engine->writable_bytes(), engine_plan, format));
  MESH_POINT("engine.format:after_engine");
  MESH_CHECK_OK(shm::format(payload->writable_bytes(), payload_plan, format));
  MESH_CHECK_OK(shm::format(table->writable_bytes(), table_plan, format));
  MESH_POINT("engine.format:after_table");
  MESH_CHECK_OK(files.publish());
  files.own_mesh();  // empty, and ours: it goes if the start fails
  return {};
}

// What the dead engine was taking apart is finished; what it had is counted and waited for.
void Engine::State::go_on(const EngineOptions& options) {
  EngineLoop& loop = scheduler->loop();
  loop.tick(from_ns(start_ns()));  // the loop's time began there
  const HostTime now = sched::ClockReader<>(*clock).now();
  for (const LeavingStation& one : leaving) {
    const auto in = one.in ? one.in->writable_bytes() : std::span<std::byte>();
    scheduler->give_up({StationId{one.entry.number}, {one.entry.agents, in, {}}, 0, nullptr}, now);
    station_table->free(one.entry.number);
  }
  leaving.clear();
  for (const std::string& name : orphans) {
    files.remove(name);
    report.dropped.push_back(name + ": of a station that is not attached");
  }
  adoption.agents = loop.agents_enrolled();
  adoption.operations = loop.adoption().operations;
  adoption.messages = loop.adoption().messages;
  adoption.stations = left.size();
  report.adopted.push_back("the mesh " + shm::to_text(format.identity.mesh_uuid) +
                           " goes on: " + counted(adoption.agents, "agent") + ", " +
                           counted(adoption.operations, "operation") + " in flight, " +
                           counted(adoption.messages, "message") + " not answered");
  if (left.empty()) return;
  report.adopted.push_back(counted(left.size(), "station") + " waited for, " +
                           std::to_string(options.reconnect.count() / kNsPerMs) + " ms");
}

Status Engine::State::make_control(const EngineOptions& options) {
  ControlOptions controlling;
  controlling.size = size;
  controlling.policy = options.policy;
  controlling.format = format;
  controlling.table = table->bytes();
  controlling.table_memory = table->writable_bytes();
  controlling.rules = rules.get();
  controlling.reputation = reputation;
  controlling.allow_live_chaos = options.allow_live_chaos;
  controlling.engine_wake = wake;
  controlling.wake = control_wake;
  controlling.reconnect = options.reconnect;
  controlling.stuck_after = options.stuck_after;
  controlling.conflicts = conflicts.get();
  contexts = std::make_unique<RunningContexts>(conflicts.get());
  controlling.contexts = contexts.get();
  make_reports();
  controlling.report_desk = report_desk.get();
  controlling.backups = backups.get();
  controlling.recovery = recovery.get();
  controlling.on_down = [this] { set_down(); };
  controlling.read_again = options.read_again;
  MESH_TRY(control, ControlServer::create(controlling, {files, *scheduler, *station_table}));
  control->await(std::move(left), adoption);
  context_sync = std::make_unique<ContextSync>(ContextSync::Uses{
      .scheduler = scheduler.get(),
      .contexts = contexts.get(),
      .load = [this](LoadOrder order) { control->load(std::move(order)); },
      .loads_context = [this](StationId station) { return control->loads_context(station); }});
  return make_steps(options);
}

bool Engine::State::is_locked() const noexcept {
  return table->outcome().locked && payload->outcome().locked && engine->outcome().locked;
}
std::string Engine::State::sentence_of_locking() const {
  std::uint64_t bytes = 0;
  int refused = 0;
  for (const shm::Mapping* mapping : {&*table, &*payload, &*engine}) {
    bytes += mapping->bytes().size();
    if (!mapping->outcome().locked) refused = mapping->outcome().lock_errno;
  }
  const std::string what = "memory lock of " + std::to_string(bytes >> 20) + " MiB";
  if (is_locked()) return what;
  return what + " refused (errno " + std::to_string(refused) + "): RLIMIT_MEMLOCK, CAP_IPC_LOCK";
}

Status Engine::State::start_threads() {
  MESH_TRY(const sched::ThreadReport granted, scheduler->start());
  if (conflicts != nullptr) conflicts->start(*scheduler);
  std::vector<std::string> missing;
  for (const sched::RightReport& right : granted.rights) {
    report.threads.push_back(right.sentence);
    if (!right.granted) missing.push_back(right.sentence);
  }
  const std::string memory = sentence_of_locking();
  report.threads.push_back(memory);
  if (!is_locked()) missing.push_back(memory);
  control->set_missing_rights(std::move(missing));
  control->start();
  backups->start();
  if (recovery != nullptr) recovery->start();
  files.own_mesh();  // an adopted one, not before: what fails to start takes nothing away
  return {};
}

Result<std::unique_ptr<Engine>> Engine::start(const EngineOptions& options) {
  if (options.reconnect < Nanos{0} || options.stuck_after < Nanos{kNsPerMs}) {
    return fail(Errc::invalid_argument,
                "engine: reconnect of " + std::to_string(options.reconnect.count()) +
                    " ns is at least 0, stuck_after of " +
                    std::to_string(options.stuck_after.count()) + " ns at least 1 ms");
  }
  MESH_TRY(MeshFiles files, MeshFiles::claim(options.directory));
  auto state = std::make_unique<State>(std::move(files));
  MESH_CHECK_OK(state->make_memories(options));
  MESH_CHECK_OK(state->make_scheduler(options));
  if (state->adoption.is_adopted) {
    state->go_on(options);
  } else {
    drop_console_files(state->files.path());  // of a mesh that was there before
    MESH_CHECK_OK(state->format_new());
  }
  drop_pending_tables(state->files.path());
  MESH_TRY(state->rules, RulesKeeper::open(state->files.path()));
  state->scheduler->loop().obey(*state->rules->rules());
  MESH_CHECK_OK(state->make_backups(options));
  MESH_CHECK_OK(state->make_recovery(options));
  MESH_CHECK_OK(state->make_control(options));
  MESH_CHECK_OK(state->start_threads());
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() {
  stop();
  state_->files.begin_removal();  // before the first of its files goes
  drop_console_files(state_->files.path());
}

// The control thread first: it alone completes calls. What it had posted goes with the scheduler.
void Engine::stop() {
  state_->set_down();
  state_->control->stop();
  state_->report_desk->stop();
  state_->backups->stop();
  if (state_->recovery != nullptr) state_->recovery->stop();
  state_->scheduler->stop();
  if (state_->conflicts != nullptr) static_cast<void>(state_->conflicts->stop());
}

bool Engine::wait_for_down(Nanos patience) {
  std::unique_lock lock(state_->mutex);
  return state_->changed.wait_for(lock, patience, [this] { return state_->is_down; });
}

Result<OperationReport> Engine::scatter(const OperationRequest& request, bool with_trace) {
  return state_->call<OperationReport>(std::make_unique<ScatterJob>(request, with_trace));
}

Result<CascadeReport> Engine::cascade(const CascadeRequest& request) {
  return state_->call<CascadeReport>(std::make_unique<CascadeJob>(request));
}

Result<QuorumReport> Engine::quorum(const QuorumRequest& request) {
  return state_->call<QuorumReport>(std::make_unique<QuorumJob>(request));
}

Result<FinishedPipeline> Engine::pipeline(const PipelineRequest& request) {
  return state_->call<FinishedPipeline>(std::make_unique<PipelineJob>(request));
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

Result<sched::LatenessHistogram> Engine::lateness() {
  const auto run = [](SchedulerThread& scheduler,
                      HostTime /*now*/) -> Result<sched::LatenessHistogram> {
    return scheduler.loop().lateness();
  };
  return state_->call<sched::LatenessHistogram>(
      std::make_unique<RunJob<sched::LatenessHistogram, decltype(run)>>(run));
}

Result<AgentId> Engine::find(const std::string& name) {
  const auto run = [&name](SchedulerThread& scheduler, HostTime /*now*/) -> Result<AgentId> {
    const auto found = scheduler.loop().find(name);
    if (!found) return fail(Errc::no_such_agent, "no agent is called '" + name + "'");
    return *found;
  };
  return state_->call<AgentId>(std::make_unique<RunJob<AgentId, decltype(run)>>(run));
}

Result<std::vector<Engine::RoutedAround>> Engine::route_around(std::span<const std::string> names,
                                                               bool around) {
  const auto run = [&](SchedulerThread& scheduler, HostTime /*now*/) {
    return route_agents_around(scheduler.loop(), names, around);
  };
  return state_->call<std::vector<RoutedAround>>(
      std::make_unique<RunJob<std::vector<RoutedAround>, decltype(run)>>(run));
}

ActingOn Engine::State::acting_on() {
  return {size, table->bytes(), rules->rules(),
          [this](std::unique_ptr<Job> job) { return scheduler->post(std::move(job)); }, reputation};
}

// What starts the work tells `done` of its end, or, if the engine stops first, drops it.
template <class Report, class Start>
Result<Report> Engine::State::act(Start&& start) {
  auto promise = std::make_shared<std::promise<Report>>();
  auto future = promise->get_future();
  const ActingOn mesh = acting_on();
  MESH_CHECK_OK(start(mesh, [promise](Report made) { promise->set_value(std::move(made)); }));
  promise.reset();
  try {
    return future.get();
  } catch (const std::future_error&) {
    return fail(Errc::closed, "engine: it stopped before the call was done");
  }
}

Result<DelegateReport> Engine::delegate(const DelegateRequest& request) {
  return state_->act<DelegateReport>([&](const ActingOn& mesh, auto done) {
    return start_delegation(mesh, request, std::move(done));
  });
}

Result<SampleReport> Engine::ask(const SampleRequest& request) {
  return state_->act<SampleReport>([&](const ActingOn& mesh, auto done) {
    return start_sample(mesh, request, std::move(done));
  });
}

Result<std::vector<FoundAgent>> Engine::find_best(const BestRequest& request) {
  MESH_TRY(const ConsoleView view, ConsoleView::over(state_->size, state_->table->bytes()));
  health::HealthView::Wanted wanted{.count = request.count, .score_max = request.score_max};
  MESH_TRY(wanted.capabilities, view.capabilities(request.capabilities));
  return view.find_best(wanted, allowed_by(state_->rules->rules(), request.capabilities));
}

Result<FreezeReport> Engine::freeze(const FreezeRequest& request) {
  const FreezeOn mesh{state_->size, state_->table->bytes(), state_->files.path()};
  MESH_CHECK_OK(check_thaw(mesh, request));
  const auto run = [&](SchedulerThread& scheduler, HostTime now) {
    return freeze_agents(scheduler.loop(), request, now);
  };
  MESH_TRY(const EngineLoop::Frozen frozen,
           state_->call<EngineLoop::Frozen>(
               std::make_unique<RunJob<EngineLoop::Frozen, decltype(run)>>(run)));
  return finish_freeze(mesh, request, frozen);
}

std::vector<console::RoutingRule> Engine::rules() const { return state_->rules->rules()->list(); }

Result<bool> Engine::change_rule(console::RuleChange what, const console::RoutingRule& rule) {
  MESH_TRY(const bool is_change, state_->rules->change(what, rule));
  const auto run = [this](SchedulerThread& scheduler, HostTime /*now*/) -> Result<bool> {
    scheduler.loop().obey(*state_->rules->rules());
    return true;
  };
  MESH_TRY(const bool done, state_->call<bool>(std::make_unique<RunJob<bool, decltype(run)>>(run)));
  static_cast<void>(done);
  return is_change;
}

Result<WhoReport> Engine::who(const WhoWanted& wanted) {
  return state_->call<WhoReport>(std::make_unique<WhoJob>(*state_->control, wanted));
}

Status Engine::retune(const Tuning& tuning) {
  const auto run = [&tuning](SchedulerThread& scheduler, HostTime /*now*/) -> Result<bool> {
    MESH_CHECK_OK(scheduler.retune(tuning.loop, tuning.stuck_after));
    return true;
  };
  MESH_TRY(const bool done, state_->call<bool>(std::make_unique<RunJob<bool, decltype(run)>>(run)));
  static_cast<void>(done);
  return {};
}

HostTime Engine::now() const { return sched::ClockReader<>(*state_->clock).now(); }
const std::string& Engine::directory() const noexcept { return state_->files.path(); }
const Engine::Report& Engine::report() const noexcept { return state_->report; }

}  // namespace mesh::engine
