// EngineLoop: one mesh as a deterministic function of time. tick(now) takes in what stations wrote,
// plans what is to be sent, sends what is due and gathers what came back.
//
// Callers     one thread, the scheduler's. It calls tick() with the real clock; tests call it with
//             a virtual one, so that every behaviour can be replayed. Everything else here is
//             called between two ticks, by the same thread.
// Progress    each phase is bounded by counts (limits.hpp). tick() makes no allocation, takes no
//             lock, logs nothing, and makes no system call but through Wakes.
// Ordering    per station: its outbox in order. Between stations: none. A tick shows what it made
//             of a burst before it frees the burst: a successor reads it again, and finds again
//             what was done.
// Cost        bench/engine/engine_loop_bench.cpp.
// Units       HostTime, not going back from call to call.
// If the      station dies: detach() takes in what it published, marks its agents offline, keeps
// other side  what they had not answered for their return, and nothing of its memory. It stalls:
// dies,       its inbox fills, what does not fit waits in its pending list, then is refused to the
// stalls,     sender as target_full. It lies: a record that cannot be is counted and dropped; a
// or lies     ring that cannot be is dropped with its station (is_corrupt).
// If this     another create() over the same memory goes on from it: adoption() says with what.
// side dies   Stations of the dead one are readopt()ed, or given up.
// Errors      create -> invalid_argument, truncated. attach -> capacity, corrupt. enrol, open: see
//             there.
// Layout      docs/SHM_LAYOUT.md: table, payload, station.in, station.out, engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/capabilities.hpp"
#include "engine/cascade.hpp"
#include "engine/conflict/conflict_note.hpp"
#include "engine/console/routing_rules.hpp"
#include "engine/health/watch_options.hpp"
#include "engine/loop/loop_counters.hpp"
#include "engine/loop/step_death.hpp"
#include "engine/memory_map.hpp"
#include "engine/newcomer_options.hpp"
#include "engine/result_note.hpp"
#include "engine/throttle_options.hpp"
#include "sched/agent_class.hpp"
#include "sched/gather_result.hpp"
#include "sched/lateness.hpp"
#include "sched/lead_time_columns.hpp"
#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

// How a parked station is told that it has deliveries. Called at most once a station and tick.
class Wakes {
 public:
  virtual ~Wakes() = default;
  virtual void wake(StationId station) noexcept = 0;
};

// Writable mappings of the three memories that every mesh has, of the layouts that `size` gives.
struct LoopMemory {
  MeshSize size;
  std::span<std::byte> table;
  std::span<std::byte> payload;
  std::span<std::byte> engine;
};

// How a station went. One that says that it leaves is no failure, and its agents are not missed.
enum class Departure : std::uint8_t { lost = 0, left };

struct LoopOptions {
  Nanos bucket{kNsPerMs};
  Nanos upkeep{kNsPerSecond};  // every row's station columns are copied within this
  sched::Model model = sched::Model::kCalibrated;
  double z = 1.645;                // of the nominal model
  Nanos tolerance{50 * kNsPerMs};  // `confidence` is the probability of an arrival so near T
  HostId host{1};
  std::int64_t unix_offset_ns = 0;      // what makes HostTime the time in a message's id
  Nanos agent_ttl{600 * kNsPerSecond};  // offline so long: the name is free
  health::WatchOptions watch{};
  NewcomerOptions newcomers{};
  SenderThrottleOptions throttle{};
  Nanos context_wait{0};  // at most, for who crashed; 0: not at all (context_holds.hpp)
};

// What of them may change between ticks.
struct LoopTuning {
  sched::Model model = sched::Model::kCalibrated;
  double z = 1.645;
  Nanos upkeep{kNsPerSecond};
  Nanos agent_ttl{600 * kNsPerSecond};
  SenderThrottleOptions throttle{};
};

// One station's two memories: `in` is the engine's to write, `out` is the station's and so input.
struct StationMemory {
  std::uint32_t agents = 0;  // declared at attach: sizes of rings and columns follow from it
  std::span<std::byte> in;
  std::span<const std::byte> out;
};

struct AgentSpec {
  std::string_view name;
  sched::AgentClass agent_class = sched::AgentClass::edge;
  CapabilitySet capabilities{};  // bits as capability() gives them
};

// Scatter-gather or broadcast, by the engine itself (console, embedding program) or for a station.
struct OperationRequest {
  AgentId source{};  // 0: the engine. Another is told the result
  sched::Selector targets = sched::selector(sched::SelectorKind::all);
  std::span<const AgentId> list{};  // for SelectorKind::list
  HostTime target{};                // T; 0: now + horizon
  Nanos horizon{1'500 * kNsPerMs};
  Nanos window{500 * kNsPerMs};  // collected until T + window
  Nanos timeout{5'000 * kNsPerMs};
  double ready_min = 0.95;
  double coverage_min = 0.5;
  float weight = 1;
  sched::Aim aim = sched::Aim::kCentre;  // by_t: 95 % of its answers at or before T
  sched::Verb verb = sched::Verb::act;
  sched::Priority priority = sched::Priority::normal;
  CapabilitySet capabilities{};  // who lacks one of them is skipped
  Nanos ttl{0};                  // 0: none
  bool at_once = false;          // a broadcast: no T, nobody is too slow; collected until `timeout`
  bool to_newcomers = false;     // the loop's to set: who is not admitted yet may be sent it
  bool in_time = false;          // at_once, but who cannot be READY by then is skipped
  bool confidential = false;     // its body is copied for each station, and never in the common log
  bool with_trace = false;       // keeps when each answered
  bool comparable = false;       // the same question for all: outcomes are compared (comparing.hpp)
  bool confirmed = false;        // by the operator: what a degraded mesh does not do by itself
  std::span<const std::byte> body{};
  std::uint64_t part_of = 0;  // the loop's to set: the cascade or pipeline that opens it
};

// Where an operation's time went in the engine, and what it took.
struct OperationCost {
  std::int64_t plan_ns = 0;
  std::int64_t dispatch_ns = 0;
  std::int64_t gather_ns = 0;
  std::int64_t wake_ns = 0;
  std::uint64_t wakes = 0;
};

// Of a comparable operation: whether those that were READY said the same.
struct OutcomesCompared {
  enum class Verdict : std::uint8_t {
    not_compared = 0,  // not asked for, or the engine that knew the outcomes died
    too_few,
    agreed,
    outliers,  // some differ from a majority of more than 2/3
    contradiction,
  };
  Verdict verdict = Verdict::not_compared;
  std::uint32_t answers = 0;
  std::uint64_t majority = 0;  // its outcome; agreed, outliers
  std::uint32_t majority_count = 0;
};
[[nodiscard]] std::string_view name_of(OutcomesCompared::Verdict verdict) noexcept;

struct FinishedOperation {
  OperationId id{};
  HostTime target{};
  sched::GatherResult result;
  OperationCost cost;
  OutcomesCompared compared{};
};

// One target of an operation, for traces.
struct TargetTrace {
  AgentId agent{};
  sched::TrinaryState state = sched::TrinaryState::transit;
  std::int64_t lead_us = 0;
  std::int64_t sent_ns = 0;          // 0: not sent
  std::int64_t finished_ns = 0;      // 0: no answer yet
  std::int64_t nominal_lead_us = 0;  // what the nominal model would have sent by
  double confidence = 0;             // as planned: the probability of being READY near T
};

// An answer to a message of the engine's own.
struct AnsweredMessage {
  sched::MessageId question{};
  AgentId agent{};
  sched::TrinaryState state = sched::TrinaryState::transit;
  sched::ConflictType conflict = sched::ConflictType::none;
  std::uint32_t processing_us = 0;
  bool expired = false;  // it was not delivered in time
  sched::AnswerContext context = sched::AnswerContext::unknown;
  std::vector<std::byte> body{};
};

struct ErrorNote;  // engine/error_log.hpp

// What create() found in memory, and readopt() in stations.
struct LoopAdoption {
  bool adopted = false;  // false: the memory was new
  std::uint32_t agents = 0, operations = 0, messages = 0;
};

struct TickResult {
  bool worked = false;  // something was moved: call again soon
  HostTime next_due{};  // when the next bucket or deadline is; HostTime::max(): none
};

class EngineLoop {
 public:
  // `wakes` outlives the loop. `read_clock` is read for costs and for sent_ns alone; null: `now`.
  using ReadClock = std::int64_t (*)(void* context) noexcept;
  struct Outside {
    Wakes* wakes = nullptr;
    ReadClock read_clock = nullptr;
    void* context = nullptr;
    ConflictSink* conflicts = nullptr;  // outlives the loop; null: conflicts are only counted
    ResultSink* results = nullptr;      // the same of operations that have ended
    StepDeath* death = nullptr;         // outlives the loop; null: it dies nowhere on purpose
  };
  static Result<std::unique_ptr<EngineLoop>> create(const LoopMemory& memory,
                                                    const LoopOptions& options,
                                                    const Outside& outside);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  TickResult tick(HostTime now) noexcept;

  // Between ticks.
  // invalid_argument, and nothing is changed: upkeep of 1 ms to 60 s, z from 0, agent_ttl from 0,
  // throttle.check().
  Status retune(const LoopTuning& tuning);
  Status attach(StationId station, const StationMemory& memory, std::uint32_t uid);
  // Takes in what the dead station published, marks its agents offline, forgets its memory: the
  // caller may unmap it.
  void detach(StationId station, HostTime now, Departure departure = Departure::lost);
  [[nodiscard]] bool is_corrupt(StationId station) const noexcept;
  // Stations whose outboxes stand, because what comes next is a conflict that nobody can record
  // now; whether this one is one of them. As of the last tick.
  [[nodiscard]] std::size_t waiting_for_records() const noexcept;
  [[nodiscard]] bool waits_for_record(StationId station) const noexcept;

  // A station of the engine before this one, with both its memories as they were: goes on with what
  // is in them. Its number must be one that agents in the table are attached to, or it has none.
  Status readopt(StationId station, const StationMemory& memory, std::uint32_t uid);
  // One that did not come back: its agents go offline; what it had not answered is kept, from `in`.
  Status give_up(StationId station, std::span<std::byte> in, std::uint32_t agents, HostTime now);
  // Stations that agents in the table are attached to and that are not here: readopt or give_up.
  [[nodiscard]] std::vector<StationId> awaited() const;
  [[nodiscard]] const LoopAdoption& adoption() const noexcept;

  // All or, at the first refusal, none after it: those before stay. name_taken, capacity,
  // invalid_argument; no such station: not_found.
  Result<std::vector<AgentId>> enrol(StationId station, std::span<const AgentSpec> agents);
  // Of one that is attached: its row in the columns that its station writes.
  [[nodiscard]] std::uint32_t place_in_station(AgentId agent) const noexcept;
  // The bit of a capability's name, given to it if it has none: invalid_argument, capacity.
  Result<CapabilityBit> capability(std::string_view name);
  // The same for who asks: not_found where no agent ever had it.
  [[nodiscard]] Result<CapabilityBit> find_capability(std::string_view name) const;

  // capacity: as many operations as there may be; no_such_agent: nobody is targeted; no_space: no
  // room for the body; invalid_argument, truncated.
  Result<OperationId> open(const OperationRequest& request, HostTime now);
  // Its id is no operation's that open() gives. capacity: as many as there may be, or no operation
  // is free; parked_full: no room for its body; no_schedulable_agents: nobody could be sent
  // anything; a mode's refusal; invalid_argument, truncated.
  Result<OperationId> open_cascade(const CascadeRequest& request, HostTime now);
  // One message to one agent. Of the engine's own (source 0) the answer comes by take_answered().
  // no_such_agent, target_full, parked_full, capability_mismatch, not_routable, truncated; open: a
  // breaker is, or is half-open and this is none of those that pass.
  struct MessageRequest {
    AgentId source{};
    AgentId target{};
    sched::Verb verb = sched::Verb::act;
    sched::Priority priority = sched::Priority::normal;
    Nanos ttl{0};  // 0: none
    HostTime arrive{};
    CapabilitySet capabilities{};
    std::span<const std::byte> body{};
  };
  Result<sched::MessageId> post(const MessageRequest& request, HostTime now);
  Status send(AgentId source, AgentId target, std::span<const std::byte> body, HostTime now);

  // The operator's hold on an agent: until it is lifted, by this engine or a later one, messages to
  // it are refused and operations skip it, not_routable both. What was accepted before goes on its
  // way. Whether that is a change. no_such_agent.
  Result<bool> route_around(AgentId agent, bool around);

  // The mesh's own hold, which works alike and stands beside the operator's: while the agent's
  // context is not what it should be. Whether that is a change. no_such_agent.
  Result<bool> quarantine(AgentId agent, bool on);
  // The hash that the agent's context is to have from now on; 0: none. no_such_agent.
  Status expect_context(AgentId agent, std::uint64_t hash);
  // It is no longer said of the agent that it can do this, until it enrols again. Whether it was.
  Result<bool> withdraw(AgentId agent, const CapabilitySet& capabilities);
  struct KnownAgent {
    std::string name;
    std::uint32_t uid = 0;           // that its name is bound to
    StationId station{};             // where it is attached; 0: nowhere
    std::uint64_t context_hash = 0;  // that it is to have; 0: nothing is expected
    std::uint64_t said_hash = 0;     // that its station says it has; 0: it does not say
    bool is_quarantined = false;
  };
  [[nodiscard]] Result<KnownAgent> known(AgentId agent) const;
  // Of the agent's sector: nobody, where it has none.
  [[nodiscard]] AgentId coordinator_of(AgentId agent) const noexcept;
  // Pauses delivery to all agents that are in the scope now, or goes on with it: what is sent to
  // them waits meanwhile as for one that is away, operations skip them, and what was handed to
  // their inboxes is theirs, and what of an operation waits for room there. Until it is undone, by
  // this engine or a later one. no_such_agent: nobody is there; invalid_argument: a list.
  struct Frozen {
    std::vector<AgentId> agents;  // in the scope
    std::size_t changed = 0;      // of them
    std::size_t messages = 0;     // that waited for them
  };
  Result<Frozen> freeze(sched::Selector scope, bool frozen, HostTime now);

  // From now on who gets which work: a capability that a rule denies an agent it does not have. A
  // successor has to be told again.
  void obey(const console::RoutingRules& rules);

  // Results that are ready, oldest first; each is given once.
  [[nodiscard]] std::optional<FinishedOperation> take_finished();
  [[nodiscard]] std::optional<AnsweredMessage> take_answered();
  [[nodiscard]] std::optional<FinishedCascade> take_finished_cascade();
  // Sectors, then clusters, that have agents; until its place is needed for another cascade.
  [[nodiscard]] std::vector<CascadeUnit> cascade_units(OperationId cascade) const;
  // Those of them that a wave, now over, did not reach.
  [[nodiscard]] std::vector<CascadeUnit> missed_units(OperationId cascade) const;
  // Of an operation that is over; stands until its place is needed.
  [[nodiscard]] std::vector<TargetTrace> trace(OperationId operation) const;

  // For `mesh errors`, of whoever works beside the loop.
  void note_error(const ErrorNote& error, HostTime now) noexcept;

  [[nodiscard]] const LoopCounters& counters() const noexcept;
  [[nodiscard]] LoopGauges gauges() const noexcept;
  // How late buckets left: from due to visible.
  [[nodiscard]] const sched::LatenessHistogram& lateness() const noexcept;
  [[nodiscard]] std::size_t agents_active() const noexcept;
  [[nodiscard]] std::size_t agents_enrolled() const noexcept;
  [[nodiscard]] std::optional<AgentId> find(std::string_view name) const noexcept;
  // The invariants of all that the loop keeps, O(everything): corrupt names the first that fails.
  [[nodiscard]] Status verify() const;

  struct State;  // engine/loop/state.hpp, for the phases
  // For what of the loop stands in headers of its own (engine/loop/expected.hpp).
  [[nodiscard]] State& state() noexcept { return *state_; }
  [[nodiscard]] const State& state() const noexcept { return *state_; }

 private:
  explicit EngineLoop(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mesh::engine
