// ConflictRecords: what becomes of the conflicts of a simulated mesh: the real conflict desk, a
// chain of records that are durable after a while, and steps and people that take their time.
//
// Invariants  (checked by is_complete) every conflict that was reported has its record, what it
//             carried is in quarantine, and of every subject the records are 0, 1, 2, ... without a
//             gap.
// Callers     one thread.
// Units       mesh time.
#pragma once

#include <cstdint>
#include <map>
#include <queue>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/conflict/conflict_desk.hpp"
#include "engine/simulation/scenario.hpp"

namespace mesh::engine::simulation {

struct ConflictCounts {
  std::uint64_t reported = 0;
  std::uint64_t refused = 0;  // by the desk: never recorded
  std::uint64_t conflicts_recorded = 0;
  std::uint64_t records = 0;
  std::uint64_t quarantined = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t escalated = 0;
  std::uint64_t resolved = 0;
  std::uint64_t by_person = 0;
  std::uint64_t gaps = 0;  // records that were not the next of their subject, or not valid
};

class ConflictRecords {
 public:
  explicit ConflictRecords(const Scenario& scenario);

  // `asked`: the number of the operation, of which there may be several rounds.
  void report(const ConflictReport& report, std::uint64_t asked, HostTime now);
  // Everything that is due.
  void advance(HostTime now);
  // When that is next; HostTime::max(): nothing is.
  [[nodiscard]] HostTime next_due() const;

  // Of this operation's conflicts, those not resolved that need no person.
  [[nodiscard]] std::uint32_t unresolved(OperationId operation) const;
  // A conflict of this agent's, over this operation, waits for somebody's decision.
  [[nodiscard]] bool waits_for_person(AgentId agent, std::uint64_t asked) const {
    return for_person_.contains({agent, asked});
  }
  [[nodiscard]] const ConflictCounts& counts() const noexcept { return counts_; }
  [[nodiscard]] std::size_t open() const noexcept { return desk_.open(); }
  [[nodiscard]] bool is_complete() const;
  // From report to closed, of those that needed no person.
  [[nodiscard]] const std::vector<std::int64_t>& took_ns() const noexcept { return took_ns_; }
  [[nodiscard]] const ChainHead& head() const noexcept { return head_; }

 private:
  struct Due {
    HostTime at{};
    std::uint64_t order = 0;
    DeskCommand command;
    friend bool operator<(const Due& a, const Due& b) noexcept {  // the later one is less urgent
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  struct Subject {
    std::uint32_t records = 0;
    OperationId operation{};
    std::pair<AgentId, std::uint64_t> asked{};
    bool is_counted = false;  // among its operation's unresolved
    bool waits_for_person = false;
  };
  struct SubjectHash {
    std::size_t operator()(const SubjectId& id) const noexcept {
      return static_cast<std::size_t>(id.high ^ id.low * 0x9E37'79B9'7F4A'7C15U);
    }
  };
  void later(HostTime at, DeskCommand command);
  void act(const std::vector<DeskAction>& actions, HostTime now);
  void on(const WriteRecord& write, HostTime now);
  void on(const QuarantineData& data, HostTime now);
  void on(const Acknowledge& acknowledge, HostTime now);
  void on(const Escalate& escalate, HostTime now);
  void on(const RunStep& step, HostTime now);
  void on(const Closed& closed, HostTime now);
  void settle(Subject& subject);

  Nanos durable_, step_, person_;
  ConflictDesk desk_;
  std::priority_queue<Due> due_;
  std::uint64_t next_order_ = 0;
  std::unordered_map<SubjectId, Subject, SubjectHash> subjects_;  // not closed
  std::map<OperationId, std::uint32_t> unresolved_;
  std::map<std::pair<AgentId, std::uint64_t>, std::uint32_t> for_person_;
  std::vector<std::int64_t> took_ns_;
  ChainHead head_{};
  ConflictCounts counts_;
};

}  // namespace mesh::engine::simulation
