// ChaosMesh: a simulated mesh with callers that ask its agents for work, one request after another,
// and with faults that begin and end while it runs.
//
// Real in it: the engine's loop, its stations, a breaker an agent (coordination/circuit_breaker),
// the window that knows a delivery which comes twice (station/dedup_window). Drawn: what an agent
// takes. A request goes to an agent; one that fails or does not answer in time is asked of another
// one; it succeeds once. So what a fault does, and what each guard against it is worth, is counted.
//
// Which faults there are, and how they act:
//     latency-spike       a message takes `add` and up to `jitter` longer to its agent
//     packet-loss         it never gets there
//     duplicate           its agent has it twice
//     reorder             it takes up to `jitter` longer, each its own time
//     message-corruption  `count` of its bits are flipped on the way
//     agent-crash         the agent's process ends, and comes back
//     agent-slowdown      delay and work take `factor` times as long
//     agent-hang          its process is stopped: nothing is taken from its inbox, nothing goes on
//     partition           nothing gets there; one way: nothing comes back
//     resource-exhaustion of variant pool: so many of the callers' slots are taken
//     clock-skew          the host's clock is set by `offset`: of all agents, or refused
//     byzantine-behavior  of variant flip_vote: READY is answered as CONFLICT; impedance_lie: it
//                         says that its work costs nothing, and takes `add` longer
//     dependency-failure  of variant rate_limited: what it depends on answers 429, so it answers
//                         CONFLICT, and when to ask again
//     engine-death        the loop dies at step `count` of its next message (LoopStep), and where
//                         there are tasks their host (chaos_tasks.hpp) at step `count` of its next
//                         command; a successor adopts the mesh. Requests wait meanwhile
//     station-death       a worker's process dies at hook `count`, 1 to 3, of its next task. Where
//                         there are tasks
// Everything else, and these with other variants, is refused: Errc::unsupported.
//
// Callers     one thread.
// Units       true time from 0 (mesh_clock.hpp) but for the mesh's own, which has an offset.
// Errors      create -> as SimulatedMesh; inject -> unsupported, invalid_argument (an agent that is
//             not there).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/chaos_terms.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/simulation/chaos_coverage.hpp"
#include "engine/simulation/chaos_tasks.hpp"
#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/population.hpp"
#include "engine/simulation/simulated_mesh.hpp"
#include "engine/simulation/weight_lock.hpp"
#include "engine/station/dedup_window.hpp"

namespace mesh::engine::simulation {

// What callers and agents do against faults; a test takes one away to see what it is worth.
struct ChaosGuards {
  bool retries = true;  // another agent is asked
  bool breakers =
      true;             // who is gone, failed three times in a minute, or is refused is passed over
  bool dedup = true;    // an agent does once what it is told twice
  bool checks = true;   // an agent answers CONFLICT where a body is not what was sent
  bool waits = true;    // a request for which there is no slot waits
  bool backoff = true;  // who answers 429 is left alone until it may be asked again
  bool weights = true;  // costs that change together are not believed (weight_lock.hpp)
  bool adoption = true;  // an engine goes on with what a dead one left
  bool grace = true;     // a cluster that is whole again within a second has had no crash
  bool slews = true;     // the mesh's clock follows the host's slowly
  ChaosTaskGuards tasks;
};
// Where a message is when its engine dies.
enum class LoopStep : std::uint32_t {
  accepted = 1,  // by the engine, which has not sent it yet
  delivered,     // in its agent's inbox
  taken,         // in its agent's hands
  answered,      // its answer stands in the outbox
  collected,     // its sender has the answer; the outbox is not freed everywhere yet
};
inline constexpr std::uint32_t kLoopSteps = 5;
static_assert(kLoopSteps == kHostSteps);    // one number says both
static_assert(kLoopSteps == kEngineSteps);  // also where it is a real engine

struct ChaosMeshOptions {
  std::uint32_t agents = 30;
  std::uint64_t seed = 1;
  Nanos request_every{50 * kNsPerMs};
  Nanos attempt_timeout{500 * kNsPerMs};
  std::uint32_t attempts_max = 6;
  std::uint32_t slots = 16;  // requests under way at a time
  std::uint32_t waiting_max = 4'096;
  std::uint32_t choices = 1;  // agents drawn for a request, of whom the cheapest gets it
  bool has_tasks = false;
  ChaosGuards guards;
};

// What happened since it was asked last.
struct ChaosPeriod {
  std::uint64_t finished = 0;
  std::uint64_t succeeded = 0;
  std::int64_t latency_ns = 0;  // sum, of those that succeeded
  std::int64_t latency_ns_max = 0;
  std::uint64_t attempts = 0;
  std::uint64_t attempts_failed = 0;
  std::uint64_t refused = 0;     // agents passed over: a breaker of the mesh let nobody pass
  std::uint64_t duplicates = 0;  // effects of one message beyond the first
  std::uint64_t corrupt = 0;     // effects of a body that nobody sent
  std::uint64_t reordered = 0;   // messages that an agent did after a later one
  std::uint64_t lost = 0;        // requests that nobody took
  std::uint64_t conflicts = 0;   // answers
  std::uint64_t twice = 0;       // messages that were answered again
  std::uint64_t unheard = 0;     // messages of which nothing was heard for kUnheardNs: now
  ChaosTaskPeriod tasks;
};

enum class ChaosLogKind : std::uint32_t {
  request_done,    // number, 1: it succeeded
  attempt_failed,  // number, agent
  injected,        // injection, type
  removed,         // injection
  died,            // agent
  returned,        // agent
  state,           // experiment's state, reason
  engine_died,     // step
  engine_started,
};
struct ChaosLogEntry {
  std::int64_t at_ns = 0;
  ChaosLogKind kind = ChaosLogKind::request_done;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
};
// A failure that followed from another one: coordination::chaos::Effect.
struct ChaosEffect {
  std::uint64_t event = 0;
  std::uint64_t cause = 0;
  std::uint32_t agent = 0;
};

class ChaosMesh {
 public:
  static Result<std::unique_ptr<ChaosMesh>> create(const ChaosMeshOptions& options);

  [[nodiscard]] std::int64_t now_ns() const noexcept { return clock_.true_ns() - kStartNs; }
  Status run_until(std::int64_t now_ns);

  // Whether such a fault is one that it can do, whoever is to be struck.
  [[nodiscard]] static Errc check(coordination::FaultType type,
                                  const coordination::FaultParams& params) noexcept;
  // Of an order, now. An order that was carried out before is ok, and nothing is done again.
  [[nodiscard]] Errc inject(const coordination::ChaosOrder& order,
                            std::span<const std::uint32_t> targets);
  Status undo(std::uint64_t injection);
  // Undone, lapsed, or never there.
  [[nodiscard]] bool is_gone(std::uint64_t injection) const;
  [[nodiscard]] std::size_t in_force() const noexcept { return faults_.size(); }
  // Attached, not stopped, routable, and under no fault.
  [[nodiscard]] bool works(std::uint32_t agent) const;

  [[nodiscard]] ChaosPeriod take_period() noexcept;
  [[nodiscard]] std::vector<ChaosEffect> take_effects() noexcept;
  [[nodiscard]] double availability() const;                   // share of the agents that work
  [[nodiscard]] std::int64_t clock_error_ns() const noexcept;  // mesh time against true time
  void log(ChaosLogKind kind, std::uint64_t a, std::uint64_t b);
  [[nodiscard]] const std::vector<ChaosLogEntry>& log() const noexcept { return log_; }

  [[nodiscard]] std::uint32_t agents() const noexcept { return population_.size(); }
  [[nodiscard]] SimulatedMesh& mesh() noexcept { return *mesh_; }
  // What those that a fault acts on are doing now goes into coverage().
  void look();
  [[nodiscard]] const ChaosCoverage& coverage() const noexcept { return coverage_; }
  [[nodiscard]] const ChaosTasks* tasks() const noexcept { return tasks_.get(); }
  // The engine's own state makes sense, and that of its services.
  [[nodiscard]] Status verify() const {
    if (tasks_ != nullptr) MESH_CHECK_OK(tasks_->verify());
    return mesh_->has_engine() ? mesh_->loop().verify() : Status{};
  }

 private:
  static constexpr std::int64_t kStartNs = 1'000 * kNsPerSecond;
  static constexpr std::int64_t kUnheardNs = 3 * kNsPerSecond;  // a death, and a time to live
  enum class Step : std::uint32_t { request, handle, late, known, restart, lapse, faded, task };
  struct Due {
    std::int64_t at = 0;
    std::uint64_t order = 0;
    Step step = Step::request;
    std::uint64_t a = 0;
    friend bool operator<(const Due& x, const Due& y) noexcept {  // the later one sinks
      return x.at != y.at ? x.at > y.at : x.order > y.order;
    }
  };
  struct Fault {
    coordination::ChaosOrder order;
    std::vector<std::uint32_t> targets;  // ascending
    std::int64_t since_ns = 0;
    std::int64_t fades_ns = 0;  // 0: it is not being undone
  };
  struct Work {  // a message on its way to its agent, or in its hands
    std::size_t slot = 0;
    std::uint32_t held = 0;
    std::uint32_t epoch = 0;
    std::uint32_t agent = 0;
    sched::MessageId message{};
    std::uint64_t number = 0;
    bool is_corrupt = false;
    bool is_copy = false;
  };
  struct Request {
    std::uint64_t number = 0;
    std::int64_t since_ns = 0;
    std::vector<std::uint32_t> tried;
    std::vector<std::uint32_t> refused;  // clusters, passed over by the attempt being made
    std::uint64_t failure = 0;           // its last one, for what follows from it
  };
  struct Attempt {
    Request request;
    std::uint32_t agent = 0;
    coordination::Permit permit{};
    std::int64_t since_ns = 0;
    sched::MessageId message{};
    bool is_refused = false;  // by a breaker of the mesh: its agent knows nothing of it
  };

  // Both halves: the engine after this one counts its own messages from the beginning.
  using MessageKey = std::pair<std::uint64_t, std::uint64_t>;
  static MessageKey key_of(const sched::MessageId& id) noexcept { return {id.high, id.low}; }

  explicit ChaosMesh(const ChaosMeshOptions& options);
  void at(std::int64_t at_ns, Step step, std::uint64_t a);
  Status handle(const Due& due);
  void turn();
  void poll();
  void take(std::size_t slot, const Delivery& delivery, std::uint32_t held);
  void work_on(std::uint64_t id);
  void apply_effect(const Work& work);
  void end_held(const Work& work, sched::TrinaryState state);

  // Faults.
  [[nodiscard]] Errc check(const coordination::ChaosOrder& order,
                           std::span<const std::uint32_t> targets) const;
  void begin(const Fault& fault);
  Status remove(std::uint64_t injection);
  // How much of it acts on the agent now, 0..1; the largest of those of that type.
  [[nodiscard]] double acts_on(coordination::FaultType type, std::uint32_t agent,
                               const Fault** which = nullptr) const;
  [[nodiscard]] double intensity(const Fault& fault) const;
  void look_at(std::uint32_t agent, coordination::FaultType under);
  [[nodiscard]] bool is_limited(std::uint32_t agent) const;
  Status step_tasks();
  void die_at_hook(std::uint32_t agent);
  void reach(LoopStep step);
  Status start_engine();
  HostTime run_loop(std::int64_t mesh_ns);
  void kill(std::uint32_t agent);
  Status bring_back(std::uint32_t agent);
  void set_hung(std::uint32_t agent, int by);

  // Requests: chaos_workload.cpp.
  void open_request();
  void begin_waiting();
  [[nodiscard]] std::uint32_t free_slots() const;
  void attempt(Request request);
  [[nodiscard]] Result<sched::MessageId> ask(Request& request, Attempt& attempt);
  [[nodiscard]] Result<sched::MessageId> post(const Request& request, std::uint32_t agent);
  void tell_breaker(const Attempt& attempt, coordination::CallOutcome outcome);
  [[nodiscard]] bool choose(const Request& request, Attempt& attempt);
  [[nodiscard]] bool choose(const Request& request, Attempt& attempt, bool only_routable);
  void collect();
  void fail_attempt(std::uint64_t id,
                    coordination::CallOutcome outcome = coordination::CallOutcome::fail);
  [[nodiscard]] bool may_ask(const Request& request, std::uint32_t agent, bool only_routable) const;
  void hear_limit(std::uint64_t id);
  void note_cost(const Attempt& done);
  void end_request(const Request& request, bool has_succeeded);

  ChaosMeshOptions options_;
  Scenario scenario_;
  MeshClock clock_{kStartNs};
  Population population_;
  std::unique_ptr<SimulatedMesh> mesh_;
  coordination::Rng rng_;
  std::priority_queue<Due> due_;
  std::uint64_t last_due_ = 0;
  std::int64_t look_at_ns_ = 0;
  std::uint64_t deliveries_seen_ = 0;
  std::optional<LoopStep> engine_dies_at_;
  std::int64_t engine_away_ns_ = 0;            // that it stays away; 0: until the fault is undone
  std::map<MessageKey, std::int64_t> posted_;  // messages of which nothing was heard, since when
  std::set<MessageKey> heard_;

  std::map<std::uint64_t, Fault> faults_;  // by injection
  std::vector<int> hung_;
  std::vector<std::vector<std::uint64_t>> stopped_;  // works of an agent that is stopped
  std::map<std::uint64_t, Work> works_;
  std::uint64_t last_work_ = 0;
  DedupWindow done_;
  std::map<MessageKey, std::uint32_t> effects_of_;
  std::vector<std::uint64_t> newest_;  // number that an agent has done

  std::unique_ptr<ChaosTasks> tasks_;
  WeightLock weights_;
  std::int64_t weights_ns_ = 0;
  std::set<MessageKey> limited_;                          // messages that were answered 429
  std::map<std::uint32_t, std::int64_t> quiet_until_ns_;  // by cluster: its network

  std::vector<coordination::CircuitBreaker> breakers_;
  std::deque<Request> waiting_;
  std::map<std::uint64_t, Attempt> attempts_;
  std::map<MessageKey, std::uint64_t> attempt_of_;
  std::uint64_t last_attempt_ = 0;
  std::uint64_t last_request_ = 0;
  std::uint64_t last_effect_ = 0;

  ChaosPeriod period_;
  ChaosCoverage coverage_;
  std::vector<ChaosEffect> effects_;
  std::vector<ChaosLogEntry> log_;
};

}  // namespace mesh::engine::simulation
