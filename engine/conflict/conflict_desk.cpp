#include "engine/conflict/conflict_desk.hpp"

#include <algorithm>
#include <utility>

#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::string_view kOverdue = "overdue";

ConflictStrategy strategy_of(const ConflictCase& its) noexcept {
  return static_cast<ConflictStrategy>(its.record.strategy);
}
// The step that runs, or runs next; none: all are done.
ConflictStep step_of(const ConflictCase& its) noexcept {
  const auto steps = steps_of(strategy_of(its));
  return its.steps_done < steps.size() ? steps[its.steps_done] : ConflictStep::none;
}

Record record_of(const ConflictReport& report, const ConflictJudgement& judged) {
  return {.subject = report.subject,
          .kind = StoredKind::conflict,
          .type = report.facts.type,
          .state = ConflictState::open,
          .priority = judged.priority,
          .strategy = static_cast<std::uint8_t>(judged.strategy),
          .at = report.at,
          .agent = report.agent,
          .message = report.message,
          .operation = report.operation,
          .context_hash = report.context_hash,
          .expected = report.expected,
          .received = report.received,
          .detail = report.detail};
}

// The next record of a case: what was done (expected) and what came of it (received).
Record next_record(const ConflictCase& its, HostTime now, ConflictState state) {
  Record record = its.record;
  record.step = its.records;
  record.kind = StoredKind::step;
  record.state = state;
  record.at =
      static_cast<WireTime>(static_cast<std::int64_t>(its.record.at) + (now - its.opened).count());
  record.expected.clear();
  record.received.clear();
  record.detail.clear();
  return record;
}

}  // namespace

Record record_of(const ConflictReport& report) { return record_of(report, judge(report.facts)); }

ConflictDesk::ConflictDesk(const DeskConfig& config) : config_(config) {
  MESH_ASSERT(validate(config_).has_value());
}

ConflictDesk::ConflictDesk(const DeskSnapshot& snapshot)
    : config_(snapshot.config), next_order_(snapshot.next_order), counters_(snapshot.counters) {
  for (const auto& [subject, its] : snapshot.cases) open_case(its);
}

DeskSnapshot ConflictDesk::snapshot() const { return {config_, cases_, next_order_, counters_}; }

ConflictDesk::Place ConflictDesk::place_of(const ConflictCase& its) noexcept {
  return {static_cast<std::uint8_t>(kConflictPriorityMax - its.record.priority), its.deadline,
          its.order, its.record.subject};
}

HostTime ConflictDesk::raise_at(const ConflictCase& its) noexcept {
  return its.deadline == kNoDeadline ? kNoDeadline : std::max(its.deadline, its.opened + kAtOnce);
}

ConflictCase* ConflictDesk::find_case(const SubjectId& subject) noexcept {
  const auto found = cases_.find(subject);
  return found == cases_.end() ? nullptr : &found->second;
}
const ConflictCase* ConflictDesk::find(const SubjectId& subject) const noexcept {
  const auto found = cases_.find(subject);
  return found == cases_.end() ? nullptr : &found->second;
}

DeskResult ConflictDesk::apply(const DeskCommand& command, HostTime now) {
  DeskResult result;
  result.answer =
      std::visit([&](const auto& its) { return on(its, now, result.actions); }, command);
  return result;
}

void ConflictDesk::open_case(ConflictCase its) {
  const SubjectId subject = its.record.subject;
  if (!its.was_raised && !its.is_ending && its.deadline != kNoDeadline)
    deadlines_.emplace(raise_at(its), subject);
  if (its.state == CaseState::queued) queue_.insert(place_of(its));
  if (its.state == CaseState::resolving) ++resolving_;
  cases_.emplace(subject, std::move(its));
}

DeskAnswer ConflictDesk::on(const ConflictReport& report, HostTime now, Actions& actions) {
  const ConflictJudgement judged = judge(report.facts);
  ConflictCase its{.record = record_of(report, judged), .audience = judged.audience};
  if (!validate(its.record)) return DeskAnswer::invalid;
  if (cases_.contains(report.subject)) return DeskAnswer::repeated;
  if (cases_.size() >= config_.capacity) return DeskAnswer::full;
  const auto within = resolve_within(judged.priority);
  its.opened = now;
  its.deadline = within ? now + *within : kNoDeadline;
  its.order = next_order_++;
  its.awaited_record = 0;
  ++counters_.reported;
  actions.emplace_back(QuarantineData{report.subject, report.message, report.agent});
  actions.emplace_back(WriteRecord{its.record});
  open_case(std::move(its));
  return DeskAnswer::taken;
}

DeskAnswer ConflictDesk::on(const Recorded& recorded, HostTime now, Actions& actions) {
  ConflictCase* const its = find_case(recorded.subject);
  if (its == nullptr) return DeskAnswer::no_such;
  if (recorded.step != its->awaited_record)
    return recorded.step < its->records ? DeskAnswer::taken : DeskAnswer::not_expected;
  its->awaited_record = kNoRecord;
  if (its->is_ending) {
    close(*its, now, actions);
    return DeskAnswer::taken;
  }
  switch (its->state) {
    case CaseState::recording:
      actions.emplace_back(Acknowledge{recorded.subject});
      if (its->audience != Audience::none)
        actions.emplace_back(Escalate{recorded.subject, its->audience, its->record.agent});
      enqueue(*its);
      break;
    case CaseState::resolving:
      run_next(*its, actions);
      break;
    case CaseState::for_person:
      actions.emplace_back(RunStep{recorded.subject, ConflictStep::ask_person, its->record.agent});
      break;
    case CaseState::queued:
      MESH_ASSERT(!"a case in the queue awaits no record");
  }
  return DeskAnswer::taken;
}

DeskAnswer ConflictDesk::on(const StepEnded& ended, HostTime now, Actions& actions) {
  ConflictCase* const its = find_case(ended.subject);
  if (its == nullptr) return DeskAnswer::no_such;
  if (ended.outcome.size() > kRecordTextBytesMax) return DeskAnswer::invalid;
  if (!its->runs || step_of(*its) != ended.step) return DeskAnswer::not_expected;
  its->runs = false;
  Record record = next_record(*its, now, ConflictState::resolving);
  record.expected = name_of(ended.step);
  record.received = ended.outcome;
  if (!ended.is_done) {
    ++counters_.steps_failed;
    record.state = ConflictState::for_person;
    record.detail = "failed: a person takes over";
    hand_to_person(*its);
  } else {
    ++counters_.steps;
    ++its->steps_done;
    if (step_of(*its) == ConflictStep::none) {
      end(*its, now, std::move(record), actions);
      return DeskAnswer::taken;
    }
  }
  its->awaited_record = its->records++;
  actions.emplace_back(WriteRecord{std::move(record)});
  return DeskAnswer::taken;
}

DeskAnswer ConflictDesk::on(const Decided& decided, HostTime now, Actions& actions) {
  ConflictCase* const its = find_case(decided.subject);
  if (its == nullptr) return DeskAnswer::no_such;
  if (decided.decision.empty() || decided.decision.size() > kRecordTextBytesMax)
    return DeskAnswer::invalid;
  // Somebody may also decide what is still queued; not what is being done at this moment.
  const bool is_open = its->state == CaseState::queued || its->state == CaseState::for_person;
  if (!is_open || its->is_ending) return DeskAnswer::not_expected;
  queue_.erase(place_of(*its));
  its->state = CaseState::for_person;
  its->by_person = true;
  Record record = next_record(*its, now, ConflictState::resolved);
  record.expected = name_of(ConflictStep::ask_person);
  record.received = decided.decision;
  end(*its, now, std::move(record), actions);
  return DeskAnswer::taken;
}

void ConflictDesk::enqueue(ConflictCase& its) {
  its.state = CaseState::queued;
  queue_.insert(place_of(its));
}

void ConflictDesk::hand_to_person(ConflictCase& its) {
  if (its.state == CaseState::resolving) --resolving_;
  its.state = CaseState::for_person;
  its.needs_person = true;
}

void ConflictDesk::run_next(ConflictCase& its, Actions& actions) {
  its.runs = true;
  actions.emplace_back(RunStep{its.record.subject, step_of(its), its.record.agent});
}

void ConflictDesk::start(ConflictCase& its, HostTime now, Actions& actions) {
  if (its.needs_person || strategy_of(its) == ConflictStrategy::human_review) {
    hand_to_person(its);
    Record record = next_record(its, now, ConflictState::for_person);
    record.expected = name_of(ConflictStep::ask_person);
    its.awaited_record = its.records++;
    actions.emplace_back(WriteRecord{std::move(record)});
    return;
  }
  its.state = CaseState::resolving;
  ++resolving_;
  run_next(its, actions);
}

void ConflictDesk::end(ConflictCase& its, HostTime now, Record last, Actions& actions) {
  static_cast<void>(now);
  deadlines_.erase({raise_at(its), its.record.subject});
  last.state = ConflictState::resolved;
  its.is_ending = true;
  its.awaited_record = its.records++;
  actions.emplace_back(WriteRecord{std::move(last)});
}

void ConflictDesk::close(const ConflictCase& its, HostTime now, Actions& actions) {
  ++counters_.resolved;
  if (its.by_person) ++counters_.by_person;
  if (its.state == CaseState::resolving) --resolving_;
  const SubjectId subject = its.record.subject;
  actions.emplace_back(
      Closed{subject, now - its.opened, its.by_person, its.record.agent, strategy_of(its)});
  cases_.erase(subject);
}

void ConflictDesk::raise(ConflictCase& its, HostTime now, Actions& actions) {
  ++counters_.overdue;
  its.was_raised = true;
  if (its.audience == Audience::operator_too) return;  // there is nobody above
  its.audience =
      its.audience == Audience::none ? Audience::sector_coordinator : Audience::operator_too;
  ConflictState state = ConflictState::open;
  if (its.state == CaseState::resolving) state = ConflictState::resolving;
  if (its.state == CaseState::for_person) state = ConflictState::for_person;
  Record record = next_record(its, now, state);
  record.expected = kOverdue;
  record.received =
      its.audience == Audience::operator_too ? "operator told" : "sector coordinator told";
  ++its.records;  // nothing waits for this one
  actions.emplace_back(WriteRecord{std::move(record)});
  actions.emplace_back(Escalate{its.record.subject, its.audience, its.record.agent});
}

std::vector<DeskAction> ConflictDesk::tick(HostTime now) {
  Actions actions;
  std::size_t raised = 0;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now && raised++ < kDeskActionsMax) {
    ConflictCase* const its = find_case(deadlines_.begin()->second);
    MESH_ASSERT(its != nullptr);
    deadlines_.erase(deadlines_.begin());
    raise(*its, now, actions);
  }
  std::size_t started = 0;
  while (!queue_.empty() && resolving_ < config_.resolving_max && started++ < kDeskActionsMax) {
    ConflictCase* const its = find_case(queue_.begin()->subject);
    MESH_ASSERT(its != nullptr);
    queue_.erase(queue_.begin());
    start(*its, now, actions);
  }
  return actions;
}

std::vector<SubjectId> ConflictDesk::queued() const {
  std::vector<SubjectId> subjects;
  for (const Place& place : queue_) subjects.push_back(place.subject);
  return subjects;
}

bool ConflictDesk::has_another(AgentId agent, ConflictStrategy strategy,
                               const SubjectId& but) const noexcept {
  return std::any_of(cases_.begin(), cases_.end(), [&](const auto& one) {
    const ConflictCase& its = one.second;
    return one.first != but && its.record.agent == agent && strategy_of(its) == strategy &&
           !its.is_ending &&
           (its.state == CaseState::resolving || its.state == CaseState::for_person);
  });
}

HostTime ConflictDesk::next_deadline() const noexcept {
  return deadlines_.empty() ? kNoDeadline : deadlines_.begin()->first;
}

DeskAnswer ConflictDesk::adopt(std::span<const Record> records, HostTime now, WireTime wall) {
  if (records.empty() || records[0].kind != StoredKind::conflict || records[0].step != 0 ||
      records.back().state == ConflictState::resolved)
    return DeskAnswer::invalid;
  const Record& first = records[0];
  if (first.priority > kConflictPriorityMax || steps_of(ConflictStrategy{first.strategy}).empty())
    return DeskAnswer::invalid;
  if (cases_.contains(first.subject)) return DeskAnswer::repeated;
  if (cases_.size() >= config_.capacity) return DeskAnswer::full;
  ConflictCase its{.record = first, .audience = audience_of(first.priority)};
  const Nanos age{static_cast<std::int64_t>(wall) - static_cast<std::int64_t>(first.at)};
  its.opened = now - std::max(age, Nanos{0});  // a wall clock set back makes nothing younger
  const auto within = resolve_within(first.priority);
  its.deadline = within ? its.opened + *within : kNoDeadline;
  its.order = next_order_++;
  its.state = CaseState::queued;
  its.awaited_record = kNoRecord;
  for (const Record& record : records.subspan(1)) {
    if (record.subject != first.subject || record.step < its.records) return DeskAnswer::invalid;
    its.records = record.step + 1;
    its.was_raised = its.was_raised || record.expected == kOverdue;
    its.needs_person = record.state == ConflictState::for_person;
    if (record.state == ConflictState::resolving && record.expected == name_of(step_of(its)))
      ++its.steps_done;
  }
  // It was handed to a person: that is on record, and asked once.
  if (its.needs_person) its.state = CaseState::for_person;
  open_case(std::move(its));
  return DeskAnswer::taken;
}

}  // namespace mesh::engine
