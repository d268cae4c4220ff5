#include "engine/simulation/conflict_records.hpp"

#include <algorithm>
#include <utility>

namespace mesh::engine::simulation {
namespace {

constexpr std::uint32_t kCasesMax = 1U << 20;

}  // namespace

ConflictRecords::ConflictRecords(const Scenario& scenario)
    : durable_(scenario.durable),
      step_(scenario.step),
      person_(scenario.person),
      desk_(DeskConfig{.capacity = kCasesMax}) {}

void ConflictRecords::later(HostTime at, DeskCommand command) {
  due_.push({at, next_order_++, std::move(command)});
}

void ConflictRecords::report(const ConflictReport& report, std::uint64_t asked, HostTime now) {
  ++counts_.reported;
  const bool needs_person = judge(report.facts).strategy == ConflictStrategy::human_review;
  Subject& subject = subjects_[report.subject];
  subject = {.operation = report.operation,
             .asked = {report.agent, asked},
             .is_counted = !needs_person,
             .waits_for_person = needs_person};
  const DeskResult result = desk_.apply(report, now);
  if (result.answer != DeskAnswer::taken) {
    ++counts_.refused;
    subjects_.erase(report.subject);
    return;
  }
  if (needs_person)
    ++for_person_[{report.agent, asked}];
  else
    ++unresolved_[report.operation];
  act(result.actions, now);
  act(desk_.tick(now), now);
}

void ConflictRecords::advance(HostTime now) {
  while (!due_.empty() && due_.top().at <= now) {
    const DeskCommand command = due_.top().command;
    due_.pop();
    const DeskResult result = desk_.apply(command, now);
    if (result.answer != DeskAnswer::taken) ++counts_.gaps;
    act(result.actions, now);
    act(desk_.tick(now), now);
  }
  while (desk_.next_deadline() <= now) act(desk_.tick(now), now);
}

HostTime ConflictRecords::next_due() const {
  const HostTime command = due_.empty() ? HostTime::max() : due_.top().at;
  return std::min(command, desk_.next_deadline());
}

void ConflictRecords::act(const std::vector<DeskAction>& actions, HostTime now) {
  for (const DeskAction& action : actions)
    std::visit([&](const auto& its) { on(its, now); }, action);
}

void ConflictRecords::on(const WriteRecord& write, HostTime now) {
  const Record& record = write.record;
  Subject& subject = subjects_[record.subject];
  if (!validate(record) || record.step != subject.records) ++counts_.gaps;
  subject.records = record.step + 1;
  ++counts_.records;
  if (record.kind == StoredKind::conflict) ++counts_.conflicts_recorded;
  if (record.state == ConflictState::for_person) settle(subject);
  head_ = chained(head_, record);
  later(now + durable_, Recorded{record.subject, record.step});
}

void ConflictRecords::on(const QuarantineData& /*data*/, HostTime /*now*/) {
  ++counts_.quarantined;
}
void ConflictRecords::on(const Acknowledge& /*acknowledge*/, HostTime /*now*/) {
  ++counts_.acknowledged;
}
void ConflictRecords::on(const Escalate& /*escalate*/, HostTime /*now*/) { ++counts_.escalated; }

void ConflictRecords::on(const RunStep& step, HostTime now) {
  if (step.step == ConflictStep::ask_person) {
    later(now + person_, Decided{step.subject, "decided"});
  } else {
    later(now + step_, StepEnded{step.subject, step.step, true, "done"});
  }
}

void ConflictRecords::on(const Closed& closed, HostTime /*now*/) {
  ++counts_.resolved;
  if (closed.by_person)
    ++counts_.by_person;
  else
    took_ns_.push_back(closed.took.count());
  const auto found = subjects_.find(closed.subject);
  if (found == subjects_.end()) {
    ++counts_.gaps;
    return;
  }
  settle(found->second);
  if (found->second.waits_for_person) {
    const auto its = for_person_.find(found->second.asked);
    if (--its->second == 0) for_person_.erase(its);
  }
  subjects_.erase(found);
}

// It is resolved, or waits for a person: its operation does not wait for it.
void ConflictRecords::settle(Subject& subject) {
  if (!std::exchange(subject.is_counted, false)) return;
  const auto found = unresolved_.find(subject.operation);
  if (--found->second == 0) unresolved_.erase(found);
}

std::uint32_t ConflictRecords::unresolved(OperationId operation) const {
  const auto found = unresolved_.find(operation);
  return found == unresolved_.end() ? 0 : found->second;
}

bool ConflictRecords::is_complete() const {
  const bool is_whole = desk_.verify().has_value() && counts_.gaps == 0 && counts_.refused == 0;
  return is_whole && counts_.conflicts_recorded == counts_.reported &&
         counts_.quarantined == counts_.reported && head_.position == counts_.records;
}

}  // namespace mesh::engine::simulation
