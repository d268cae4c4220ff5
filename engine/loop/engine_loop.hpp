// EngineLoop: one mesh as a deterministic function of time. tick(now) takes in what stations wrote,
// plans what is to be sent, sends what is due and gathers what came back.
//
// Callers     one thread, the scheduler's. It calls tick() with the real clock; tests call it with
//             a virtual one, so that every behaviour can be replayed. Everything else here is
//             called between two ticks, by the same thread.
// Progress    each phase is bounded by counts (limits.hpp), but a bucket leaves whole. tick() makes
//             no allocation, takes no lock, logs nothing, and makes no system call but through
//             Wakes.
// Ordering    per station: its outbox in order. Between stations: none.
// Cost        bench/engine/engine_loop_bench.cpp.
// Units       HostTime, not going back from call to call.
// If the      station dies: what it published is taken in by the next ticks; detach() then marks
// other side  its agents offline and keeps nothing of its memory. It stalls: its inbox fills, what
// dies,       does not fit waits in its pending list, then is refused to the sender as target_full.
// stalls,     It lies: a record that cannot be is counted and dropped; a ring that cannot be is
// or lies     dropped with its station (is_corrupt).
// Errors      create -> invalid_argument, truncated. attach -> capacity, corrupt. enrol, open: see
//             there.
// Layout      docs/SHM_LAYOUT.md: table, payload, station.in, station.out, engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/memory_map.hpp"
#include "sched/agent_class.hpp"
#include "sched/gather_result.hpp"
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

struct LoopOptions {
  Nanos bucket{kNsPerMs};
  Nanos upkeep{kNsPerSecond};  // every row's station columns are copied within this
  double z = 1.645;
  HostId host{1};
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
};

// Scatter-gather or broadcast, by the engine itself (console, embedding program) or for a station.
struct OperationRequest {
  AgentId source{};  // 0: the engine
  sched::Selector targets = sched::selector(sched::SelectorKind::all);
  HostTime target{};  // T; 0: now + horizon
  Nanos horizon{1'500 * kNsPerMs};
  Nanos window{500 * kNsPerMs};  // collected until T + window
  Nanos timeout{5'000 * kNsPerMs};
  double ready_min = 0.95;
  double coverage_min = 0.5;
  float weight = 1;
  sched::Verb verb = sched::Verb::act;
  std::span<const std::byte> body{};
};

// Where an operation's time went in the engine, and what it took.
struct OperationCost {
  std::int64_t plan_ns = 0;
  std::int64_t dispatch_ns = 0;
  std::int64_t gather_ns = 0;
  std::int64_t wake_ns = 0;
  std::uint64_t wakes = 0;
};

struct FinishedOperation {
  OperationId id{};
  HostTime target{};
  sched::GatherResult result;
  OperationCost cost;
};

// One target of an operation, for traces.
struct TargetTrace {
  AgentId agent{};
  sched::TrinaryState state = sched::TrinaryState::transit;
  std::int64_t lead_us = 0;
  std::int64_t sent_ns = 0;      // 0: not sent
  std::int64_t finished_ns = 0;  // 0: no answer yet
};

struct LoopCounters {
  std::uint64_t ticks = 0, records_in = 0, deliveries = 0, answers = 0, sends = 0, wakes = 0;
  std::uint64_t refused_records = 0, target_full = 0, expired = 0, no_such_agent = 0, pending = 0;
  std::uint64_t lost_replies = 0;  // reports and replies that found no room or no way back
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
  };
  static Result<std::unique_ptr<EngineLoop>> create(const LoopMemory& memory,
                                                    const LoopOptions& options,
                                                    const Outside& outside);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  TickResult tick(HostTime now) noexcept;

  // Between ticks.
  Status attach(StationId station, const StationMemory& memory, std::uint32_t uid);
  // A station of the dead engine whose memories are still the same: its rings are taken over with
  // what is in them, and its agents stay attached.
  Status readopt(StationId station, const StationMemory& memory, std::uint32_t uid);
  // Takes in what the dead station published, marks its agents offline, forgets its memory: the
  // caller may unmap it.
  void detach(StationId station, HostTime now);
  [[nodiscard]] bool is_corrupt(StationId station) const noexcept;

  // All or, at the first refusal, none after it: those before stay. name_taken, capacity,
  // invalid_argument; no_such station: not_found.
  Result<std::vector<AgentId>> enrol(StationId station, std::span<const AgentSpec> agents);

  // capacity: as many operations as there may be; no_such_agent: nobody is targeted;
  // invalid_argument.
  Result<OperationId> open(const OperationRequest& request, HostTime now);
  // One message to one agent, now: no_such_agent, target_full, not_ready (offline), truncated
  // (body too long).
  Status send(AgentId source, AgentId target, std::span<const std::byte> body, HostTime now);

  // Results that are ready, oldest first; each is given once.
  [[nodiscard]] std::optional<FinishedOperation> take_finished();
  // Of the last operation finished; stands until the next is opened.
  [[nodiscard]] std::vector<TargetTrace> trace(OperationId operation) const;

  [[nodiscard]] const LoopCounters& counters() const noexcept;
  [[nodiscard]] std::size_t agents_active() const noexcept;
  [[nodiscard]] std::size_t agents_enrolled() const noexcept;
  [[nodiscard]] std::optional<AgentId> find(std::string_view name) const noexcept;

  struct State;  // engine/loop/state.hpp, for the phases

 private:
  explicit EngineLoop(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace mesh::engine
