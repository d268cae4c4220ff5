// OperationBook: the operations that a simulated mesh is asked, from their opening to what they
// came to.
//
// An operation is one scatter-gather to everybody and, where that is no quorum yet, further rounds
// to those who were not READY, as trinary quorum decides (mesh.md part 8): WAIT and RETRY at once,
// with a larger window; RESOLVE_CONFLICTS once the conflicts that need no person are resolved. It
// reaches quorum when after any round enough of those sent to at first are READY, few enough in
// conflict, and coverage is given. Who has died since or is behind an open breaker is routed
// around: it counts as skipped, so for coverage, and nobody waits for it.
//
// Cascades are the engine's own; this is the one place where they are opened. Parts of a cascade
// have no T, and its id as their correlation: by that their answers are told apart.
//
// Callers     one thread.
// Units       mesh time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "engine/simulation/conflict_records.hpp"
#include "engine/simulation/measures.hpp"
#include "engine/simulation/scenario.hpp"
#include "sched/quorum.hpp"

namespace mesh::engine::simulation {

class OperationBook {
 public:
  static constexpr Nanos kConflictsWaitedFor{10 * kNsPerSecond};

  // All outlive it. `is_routable`: attached, and behind no open breaker.
  struct With {
    const Scenario& scenario;
    const ConflictRecords& conflicts;
    SimulationReport& report;
    TraceHash& trace;
    std::function<bool(AgentId agent)> is_routable;
    std::function<bool(const FinishedCascade& finished)> is_others;  // whose, and taken
  };
  explicit OperationBook(With with) noexcept : with_(std::move(with)) {}

  void open_operation(EngineLoop& loop, HostTime now);
  void open_cascade(EngineLoop& loop, HostTime now);
  [[nodiscard]] bool is_over(OperationId id) const { return !in_flight_.contains(id); }
  // A message of a cascade came to its agent; and was answered READY.
  void on_cascade_message(const sched::MessageId& cascade);
  void on_cascade_ready(const sched::MessageId& cascade, HostTime at);
  // Which operation this is a round of, and the how-manieth; zeros: it is over.
  struct Round {
    std::uint64_t number = 0;
    std::uint32_t round = 0;
  };
  [[nodiscard]] Round round_of(OperationId id) const {
    const auto found = in_flight_.find(id);
    if (found == in_flight_.end()) return {};
    return {found->second.number, found->second.round};
  }
  // Results that the loop has.
  void collect(EngineLoop& loop, HostTime now);
  // Further rounds whose time has come.
  void ask_again(EngineLoop& loop, HostTime now);
  // Another round waits for conflicts to be resolved: look again soon.
  [[nodiscard]] bool is_waiting() const noexcept { return !waiting_.empty(); }
  // Not over yet.
  [[nodiscard]] std::size_t open() const noexcept {
    return in_flight_.size() + waiting_.size() + cascades_.size();
  }

 private:
  struct Asked {
    std::uint64_t number = 0;
    std::uint32_t round = 1;
    OperationId id{};
    std::uint32_t sent = 0;  // in the first round, without those that were routed around since
    std::uint64_t targeted = 0;
    std::uint32_t ready = 0;
    std::uint32_t conflict = 0;
    std::vector<AgentId> left{};  // who is asked next
    HostTime gives_up{};          // waiting for conflicts
  };
  struct Cascade {
    std::uint64_t number = 0;
    HostTime opened{};
    std::vector<HostTime> ready_at{};
  };
  void open(EngineLoop& loop, Asked asked, HostTime now);
  [[nodiscard]] OperationRequest request_for(const Asked& asked) const;
  void on_finished(EngineLoop& loop, const FinishedOperation& finished, HostTime now);
  void count(const sched::GatherCounts& counts);
  void leave_out_unroutable(EngineLoop& loop, Asked& asked) const;
  void end_round(EngineLoop& loop, Asked asked, HostTime now);
  void on_cascade_finished(const FinishedCascade& finished);
  void end(const Asked& asked, bool is_quorum);
  [[nodiscard]] sched::QuorumDecision decide(const Asked& asked) const;
  [[nodiscard]] bool has_quorum(const Asked& asked) const;

  With with_;
  std::map<OperationId, Asked> in_flight_;
  std::vector<Asked> waiting_;
  std::map<OperationId, Cascade> cascades_;
  std::deque<OperationId> nameless_;  // cascades of which no message was seen yet
  std::map<sched::MessageId, OperationId> cascade_of_;
  std::uint64_t numbers_ = 0;
};

}  // namespace mesh::engine::simulation
