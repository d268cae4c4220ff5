// Engine: a mesh, run inside this process: its directory, its memories, its scheduler thread and
// its control thread.
//
// Callers     any thread; start and stop one at a time.
// Progress    set-up and console calls: they wait for the scheduler thread.
// If the      process dies: the kernel frees the lock, and the mesh stays as it is. The next
// other side  start() in that directory adopts it and says so (Report): its clock, agents and
// dies        messages go on, its stations come back by themselves within EngineOptions::reconnect,
//             and who does not counts as dead. The engine waits for nobody meanwhile.
//             A station dies: its connection closes or its pidfd becomes readable; its agents go
//             offline and its memory goes. It stands still: EngineOptions::stuck_after.
// Errors      start -> already_exists (another engine runs there: its process), no_space,
//             invalid_argument, system_error; and, of what is there and cannot be adopted, what
//             engine/adoption.hpp says. Nothing is deleted then. Calls -> as EngineLoop's; closed.
// Units       HostTime of the mesh's clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/acting.hpp"
#include "engine/backup/backup.hpp"
#include "engine/cluster_quorum.hpp"
#include "engine/console_view.hpp"
#include "engine/freezing.hpp"
#include "engine/heal.hpp"
#include "engine/health/operating_modes.hpp"
#include "engine/history_options.hpp"
#include "engine/incident.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/memory_map.hpp"
#include "engine/pipeline.hpp"
#include "engine/scale.hpp"
#include "engine/who.hpp"
#include "queues/wait_strategy.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

namespace reports {
class MeshReports;
}
using reports::MeshReports;

// Who may attach: uids, as the kernel names them. Empty: the engine's own alone.
struct AttachPolicy {
  bool anyone = false;
  std::vector<std::uint32_t> uids{};
};

// What of EngineOptions may change while the engine runs.
struct Tuning {
  LoopTuning loop{};
  Nanos stuck_after{10 * kNsPerSecond};
};
// What a console's reload request makes of the configuration as it is now.
struct Reload {
  Tuning tuning{};
  std::vector<std::string> applied;  // a sentence each: what is changed
  std::vector<std::string> waiting;  // what is wanted, and needs a restart
};

// Where conflicts are recorded (docs/STORES.md); an empty `store`: nowhere, and they are only
// counted.
struct ConflictStoreOptions {
  std::string store{};  // a file, or postgresql://...
  std::string spill{};  // while the store is away; empty: beside the file, FILE.spill
  std::uint64_t spill_bytes = 64U << 20;
  // How long an agent is waited for that is to load a context and is away, or does not answer.
  Nanos load_patience{10 * kNsPerSecond};
  // What is kept there beside conflicts.
  HistoryOptions history{};
  // Where deaths are tried: a step begins; it is done, and not recorded yet. Null in production.
  std::function<void(std::string_view step, bool is_done)> at_step{};
};

struct EngineOptions {
  std::string directory{};  // made if it is not there; ours, on a tmpfs
  MeshSize size{.agents = 1'000, .stations = 16};
  LoopOptions loop{};
  queues::WaitPolicy wait = queues::WaitPolicy::kAdaptive;
  std::optional<int> cpu{};  // of the scheduler thread
  int fifo_priority = 0;     // 0: do not ask
  AttachPolicy policy{};
  bool fresh = false;                    // drops what is there, whatever it is
  Nanos reconnect{2'000 * kNsPerMs};     // that stations of a dead engine are waited for
  Nanos stuck_after{10 * kNsPerSecond};  // a station that leaves deliveries unread is evicted
  ConflictStoreOptions conflicts{};
  BackupOptions backup{};
  RecoveryOptions recovery{};
  // Whether faults may be set on purpose (engine/chaos/live_driver.hpp), at agents that have the
  // capability kChaosAllowed. Not in production.
  bool allow_live_chaos = false;
  // Answers a console's reload request; on the control thread. None: it is refused.
  std::function<Result<Reload>()> read_again{};
};

// What became of a mesh that a dead engine left.
struct AdoptionStatus {
  bool is_adopted = false;
  std::size_t agents = 0;      // enrolled then
  std::size_t operations = 0;  // in flight
  std::size_t messages = 0;    // not answered
  std::size_t stations = 0;    // attached then
  std::uint64_t returned = 0;  // of these
  std::uint64_t awaited = 0;   // still
  std::uint64_t not_back = 0;  // in time: they count as dead
  std::uint64_t refused = 0;   // tries to come back that were none of theirs
};

struct StuckStation {
  StationId station{};
  Nanos standing{};
};

// From a bucket's due to its first slot's publication, of all buckets so far.
struct LatenessStatus {
  std::uint64_t buckets = 0;
  std::int64_t p50_ns = 0;
  std::int64_t p90_ns = 0;
  std::int64_t p99_ns = 0;
  std::int64_t max_ns = 0;
};

// What the mesh is like as a whole (mesh.md part 13).
struct MeshOverview {
  std::optional<health::OperatingMode> mode{};  // none: not every cluster was looked at yet
  std::uint32_t active = 0;                     // agents, by which it is judged
  std::uint32_t expected = 0;                   // of so many
  std::uint32_t sectors_healthy = 0;
  std::uint32_t sectors_degraded = 0;
  std::optional<double> mean_impedance_ms{};      // none: nobody is active
  std::uint64_t conflicts_last_hour = 0;          // as last published, up to a second ago
  std::optional<FinishedCascade> last_cascade{};  // that ended under this engine
  std::int64_t last_cascade_unix_ns = 0;          // its end
};

struct EngineStatus {
  LoopCounters counters;
  LoopGauges gauges;
  std::size_t agents_active = 0;
  std::size_t agents_enrolled = 0;
  std::size_t stations = 0;
  std::size_t connections = 0;
  std::uint64_t stations_ever = 0;
  LatenessStatus lateness{};
  MeshOverview overview{};
  std::uint64_t turns = 0;  // of the scheduler thread
  std::uint64_t parks = 0;
  std::uint64_t retunes = 0;  // calls of retune() and reload requests that were applied
  std::uint64_t evicted = 0;  // stations, so far
  std::vector<StuckStation> stuck;
  AdoptionStatus adoption;
  std::vector<std::string> missing_rights;  // a sentence each
};

struct OperationReport {
  FinishedOperation finished;
  std::vector<TargetTrace> trace;
};

struct CascadeReport {
  FinishedCascade finished;
  std::vector<CascadeUnit> missed;  // of a wave: sectors, then clusters, that were not reached
};

class Engine {
 public:
  struct Report {
    std::vector<std::string> adopted;  // what a dead engine left, and goes on
    std::vector<std::string> dropped;  // what was there, and is gone
    std::vector<std::string> threads;  // what the scheduler thread was granted, and what not
  };

  static Result<std::unique_ptr<Engine>> start(const EngineOptions& options);
  // stop(), and takes the mesh's files away.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Waits for a `down` over the control socket, or stop(). False: `patience` passed first.
  bool wait_for_down(Nanos patience);
  // Ends both threads and closes all connections. Calls that wait get `closed`.
  void stop();

  // Opens the operation and waits until it has finished. The trace costs a pass over the targets.
  Result<OperationReport> scatter(const OperationRequest& request, bool with_trace);
  // The same for a cascade. One that fails at the sectors is a result.
  Result<CascadeReport> cascade(const CascadeRequest& request);
  // A question to one cluster, asked by its lead. Waits for it. engine/cluster_quorum.hpp.
  Result<QuorumReport> quorum(const QuorumRequest& request);
  // Agents in order, each given the answer of the one before it. Waits for the last. One that ends
  // at a step is a result. engine/pipeline.hpp; errors: engine/loop/pipelines.hpp.
  Result<FinishedPipeline> pipeline(const PipelineRequest& request);
  Status send(AgentId target, std::span<const std::byte> body);
  // Sends, and waits for the answer: timed_out after `patience`, and an answer that comes later is
  // counted and passed over. An answer in CONFLICT, or a refusal to answer, is a result.
  Result<AnsweredMessage> ask(AgentId target, std::span<const std::byte> body, Nanos patience);
  Result<EngineStatus> status();
  // How late buckets left, since it started: as it stands, to be told apart from a later one.
  Result<sched::LatenessHistogram> lateness();
  Result<AgentId> find(const std::string& name);
  // Nothing new is sent to these agents until that is undone, also by the next engine: messages are
  // refused and operations skip them, not_routable both. All of them or, no_such_agent, none.
  struct RoutedAround {
    std::string name;
    AgentId id{};
    bool is_changed = false;  // false: it was so before
  };
  Result<std::vector<RoutedAround>> route_around(std::span<const std::string> names, bool around);
  // The agents with the lowest scores that are active and routable, mesh-wide. not_found: no agent
  // ever had a capability.
  struct BestRequest {
    std::vector<std::string> capabilities{};
    std::uint32_t count = 1;
    std::uint16_t score_max = health::kBestScoreMax;
  };
  Result<std::vector<FoundAgent>> find_best(const BestRequest& request);
  // To the agent that fits best; where it refuses, objects or is silent, to the next. Waits for it.
  Result<DelegateReport> delegate(const DelegateRequest& request);
  // A sample answers. Waits for all of it, or until the patience is over.
  Result<SampleReport> ask(const SampleRequest& request);
  // Pauses delivery to the agents that are in the scope now, or goes on with it, and keeps what
  // they are in a file with a checksum. It stands until it is undone, also by the next engine.
  // no_such_agent: nobody is there; verification_failed: the file is not what was written.
  Result<FreezeReport> freeze(const FreezeRequest& request);
  // Who gets which work. A change is journaled before it is in force. Whether it is one.
  [[nodiscard]] std::vector<console::RoutingRule> rules() const;
  Result<bool> change_rule(console::RuleChange what, const console::RoutingRule& rule);
  // Breakers of the place reset, its crashed agents' processes replaced by the configured command,
  // as far as there is one. Waits for them. invalid_argument: there is no such place.
  Result<HealReport> heal(const HealRequest& request);
  // More agents: their identities, and their processes by the configured command. How far they are
  // says scale_progress(). Errors: engine/scale.hpp.
  Result<ScaleReport> scale(const ScaleRequest& request);
  [[nodiscard]] Result<ScaleProgress> scale_progress(const ScaleBatch& batch) const;
  // What is wrong with a sector, from what the engine knows of it now, and what it did about it.
  // Waits for that. invalid_argument: there is no such sector.
  Result<IncidentReport> incident(const IncidentRequest& request);
  // A backup of the store and the tables, verified, into this directory; empty: the configured one.
  // Waits for it. Errors: engine/backup/backup.hpp; engine/backup/restore.hpp makes a mesh of it.
  Result<BackupInfo> backup(const std::string& directory);
  // A person's decision about a conflict, by its id (reports().conflicts()), which closes it.
  // Durable when it returns. unsupported: none are recorded; not_found, wrong_state, bad_input.
  Status resolve(const std::string& conflict, const std::string& decision);
  // What is kept of an agent's context, newest first, with the bytes. no_such_agent.
  Result<std::vector<ContextVersion>> contexts(const std::string& agent);
  // What the mesh says of itself (engine/reports/mesh_reports.hpp): counters, errors, KPIs, health,
  // the doctor's look, conflicts, history. Stands on its own: the engine may stop before it does.
  [[nodiscard]] MeshReports reports() const;
  // What agents are doing, and who holds whom back.
  Result<WhoReport> who(const WhoWanted& wanted);
  // Between two turns of the loop; all of it or, invalid_argument, nothing.
  Status retune(const Tuning& tuning);

  [[nodiscard]] HostTime now() const;
  [[nodiscard]] const std::string& directory() const noexcept;
  [[nodiscard]] const Report& report() const noexcept;

 private:
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mesh::engine
