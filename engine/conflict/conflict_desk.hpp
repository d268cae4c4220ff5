// ConflictDesk: what is done about conflicts, from the report to the resolution, as a deterministic
// machine. It decides; others act: it answers with actions and learns what came of them.
//
//                       Recorded(0)            tick: a place is free
//   Report ──▶ recording ──────────▶ queued ──────────────────▶ resolving ──▶ closed
//              record, quarantine    acknowledge, escalate      │ run_step, StepEnded, record, ...
//                                                               │ a step failed, or needs a person
//                                                               └─▶ for_person ─ Decided ─▶ closed
//
// Nothing is acknowledged, and no step is taken, before the record of what led to it is durable.
// Every step that was done is a record of its own. A conflict that is not resolved by its deadline
// is escalated once: to its sector's coordinator or, where that one knows already, the operator.
//
// Callers     one thread.
// Progress    apply, tick: O(log n) each action; they allocate. tick starts and raises at most
//             kDeskActionsMax conflicts.
// Ordering    places go by priority, then deadline, then order of reports.
// Units       HostTime. A record's wall time is the report's plus the host time since.
// If the      executor of a step dies: the desk waits; its deadline escalates. After a restart
// other side  adopt() takes what the store holds and goes on from the last recorded step: a step
// dies,       may be run twice, so executors must not mind.
// or lies     an answer that nobody asked for is not_expected, and changes nothing.
// Errors      DeskAnswer. verify -> corrupt.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/conflict/conflict_policy.hpp"
#include "engine/store/record.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct ConflictReport {
  SubjectId subject{};  // the id of the answer that reported it: one a conflict
  WireTime at{};
  AgentId agent{};
  sched::MessageId message{};
  OperationId operation{};
  ConflictFacts facts{};
  std::uint64_t context_hash = 0;
  std::string expected{};
  std::string received{};
  std::string detail{};  // what it carried, and what its strategy needs to know
};

// The first record of its conflict, as the desk writes it.
[[nodiscard]] Record record_of(const ConflictReport& report);

// --- commands
struct Recorded {  // the record of an action `record` is durable
  SubjectId subject{};
  std::uint32_t step = 0;
};
struct StepEnded {
  SubjectId subject{};
  ConflictStep step = ConflictStep::none;
  bool is_done = false;  // false: a person takes over
  std::string outcome{};
};
struct Decided {
  SubjectId subject{};
  std::string decision{};
};
using DeskCommand = std::variant<ConflictReport, Recorded, StepEnded, Decided>;

enum class DeskAnswer : std::uint8_t {
  taken,
  repeated,      // this conflict is on the desk already
  full,          // capacity conflicts are open
  invalid,       // it names nothing, or its texts are too long
  no_such,       // not on the desk: closed, or never reported
  not_expected,  // nobody asked for it
};

// --- actions
struct WriteRecord {
  Record record;
};
struct QuarantineData {  // what the conflicting answer carried is not handed on
  SubjectId subject{};
  sched::MessageId message{};
  AgentId agent{};
};
struct Acknowledge {
  SubjectId subject{};
};
struct Escalate {
  SubjectId subject{};
  Audience audience = Audience::none;
  AgentId agent{};  // whose sector
};
struct RunStep {
  SubjectId subject{};
  ConflictStep step = ConflictStep::none;
  AgentId agent{};
};
struct Closed {
  SubjectId subject{};
  Nanos took{};  // from the report
  bool by_person = false;
  AgentId agent{};
  ConflictStrategy strategy = ConflictStrategy::none;
};
using DeskAction =
    std::variant<WriteRecord, QuarantineData, Acknowledge, Escalate, RunStep, Closed>;

struct DeskResult {
  DeskAnswer answer = DeskAnswer::taken;
  std::vector<DeskAction> actions;
};

struct DeskConfig {
  std::uint32_t capacity = 65'536;
  std::uint32_t resolving_max = 64;  // at a time; those that wait for a person take no place
};
inline constexpr std::size_t kDeskActionsMax = 256;
[[nodiscard]] Status validate(const DeskConfig& config);

enum class CaseState : std::uint8_t { recording, queued, resolving, for_person };

struct ConflictCase {
  Record record;  // the conflict's own, step 0
  Audience audience = Audience::none;
  HostTime opened{};
  HostTime deadline{};  // kNoDeadline: when convenient
  std::uint64_t order = 0;
  CaseState state = CaseState::recording;
  std::uint32_t steps_done = 0;      // of its strategy
  std::uint32_t records = 1;         // written; the next one's step
  std::uint32_t awaited_record = 0;  // kNoRecord: none decides what comes next
  bool runs = false;                 // a step runs
  bool needs_person = false;         // its next turn goes to a person
  bool is_ending = false;            // its last record is written and awaited
  bool by_person = false;
  bool was_raised = false;  // its deadline has passed, and who should know was told
  friend bool operator==(const ConflictCase&, const ConflictCase&) = default;
};
inline constexpr HostTime kNoDeadline = HostTime::max();
inline constexpr std::uint32_t kNoRecord = ~std::uint32_t{0};

struct DeskCounters {
  std::uint64_t reported = 0;
  std::uint64_t resolved = 0;
  std::uint64_t by_person = 0;
  std::uint64_t steps = 0;
  std::uint64_t steps_failed = 0;
  std::uint64_t overdue = 0;
  friend bool operator==(const DeskCounters&, const DeskCounters&) = default;
};

struct DeskSnapshot {
  DeskConfig config;
  std::map<SubjectId, ConflictCase> cases;
  std::uint64_t next_order = 0;
  DeskCounters counters;
};

class ConflictDesk {
 public:
  explicit ConflictDesk(const DeskConfig& config = {});  // one that validate() accepts
  explicit ConflictDesk(const DeskSnapshot& snapshot);

  DeskResult apply(const DeskCommand& command, HostTime now);
  std::vector<DeskAction> tick(HostTime now);
  // After a restart: an open conflict as the store holds it, its records in the order of their
  // steps. `wall` is the wall clock at `now`. One that waits for a person goes on waiting: nothing
  // is written, and nobody is asked again.
  DeskAnswer adopt(std::span<const Record> records, HostTime now, WireTime wall);

  [[nodiscard]] const DeskCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] std::size_t open() const noexcept { return cases_.size(); }
  [[nodiscard]] std::size_t resolving() const noexcept { return resolving_; }
  [[nodiscard]] const ConflictCase* find(const SubjectId& subject) const noexcept;
  // The resolution queue: who is next, first.
  [[nodiscard]] std::vector<SubjectId> queued() const;
  // Whether another open conflict of this agent, than `but`, is being resolved so, or waits for a
  // person. O(open).
  [[nodiscard]] bool has_another(AgentId agent, ConflictStrategy strategy,
                                 const SubjectId& but) const noexcept;
  // When tick() has something to do that no command brings: the next deadline, or kNoDeadline.
  [[nodiscard]] HostTime next_deadline() const noexcept;

  [[nodiscard]] DeskSnapshot snapshot() const;
  [[nodiscard]] Status verify() const;

 private:
  struct Place {
    std::uint8_t urgency = 0;  // kConflictPriorityMax - priority
    HostTime deadline{};
    std::uint64_t order = 0;
    SubjectId subject{};
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  using Actions = std::vector<DeskAction>;

  static Place place_of(const ConflictCase& its) noexcept;
  static HostTime raise_at(const ConflictCase& its) noexcept;
  DeskAnswer on(const ConflictReport& report, HostTime now, Actions& actions);
  DeskAnswer on(const Recorded& recorded, HostTime now, Actions& actions);
  DeskAnswer on(const StepEnded& ended, HostTime now, Actions& actions);
  DeskAnswer on(const Decided& decided, HostTime now, Actions& actions);
  void open_case(ConflictCase its);
  void enqueue(ConflictCase& its);
  void start(ConflictCase& its, HostTime now, Actions& actions);
  void run_next(ConflictCase& its, Actions& actions);
  void hand_to_person(ConflictCase& its);
  void end(ConflictCase& its, HostTime now, Record last, Actions& actions);
  void close(const ConflictCase& its, HostTime now, Actions& actions);
  void raise(ConflictCase& its, HostTime now, Actions& actions);
  ConflictCase* find_case(const SubjectId& subject) noexcept;

  DeskConfig config_;
  std::map<SubjectId, ConflictCase> cases_;  // governs; what follows is made from it
  std::set<Place> queue_;
  std::set<std::pair<HostTime, SubjectId>> deadlines_;  // of those not raised yet
  std::size_t resolving_ = 0;
  std::uint64_t next_order_ = 0;
  DeskCounters counters_;
};

}  // namespace mesh::engine
