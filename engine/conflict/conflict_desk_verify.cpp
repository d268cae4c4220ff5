#include <algorithm>

#include "engine/conflict/conflict_desk.hpp"

namespace mesh::engine {
namespace {

Status wrong(const SubjectId& subject, const char* what) {
  return fail(Errc::corrupt, "conflict desk: " + name_of(subject) + " " + what);
}

Status check_case(const SubjectId& subject, const ConflictCase& its) {
  if (its.record.subject != subject) return wrong(subject, "stands under another name");
  if (its.awaited_record != kNoRecord && its.awaited_record >= its.records)
    return wrong(subject, "awaits a record that was never written");
  if (its.state == CaseState::queued && (its.runs || its.awaited_record != kNoRecord))
    return wrong(subject, "is queued and being worked on");
  if (its.state == CaseState::resolving && its.runs == (its.awaited_record != kNoRecord))
    return wrong(subject, "is resolving, and must either run a step or await its record");
  if (its.state != CaseState::resolving && its.runs)
    return wrong(subject, "runs a step and is not resolving");
  if (its.is_ending && its.awaited_record == kNoRecord)
    return wrong(subject, "has ended and is still there");
  if (its.record.priority > kConflictPriorityMax) return wrong(subject, "has no such priority");
  return {};
}

}  // namespace

Status validate(const DeskConfig& config) {
  if (config.capacity == 0 || config.resolving_max == 0)
    return fail(Errc::invalid_argument, "conflict desk: capacity and resolving_max are at least 1");
  return {};
}

// queued + resolving + recording + for_person == open, and each index says what the cases say.
Status ConflictDesk::verify() const {
  std::size_t queued = 0;
  std::size_t resolving = 0;
  std::size_t with_deadline = 0;
  for (const auto& [subject, its] : cases_) {
    MESH_CHECK_OK(check_case(subject, its));
    queued += its.state == CaseState::queued ? 1U : 0U;
    resolving += its.state == CaseState::resolving ? 1U : 0U;
    if (its.state == CaseState::queued && !queue_.contains(place_of(its)))
      return wrong(subject, "is queued and not in the queue");
    if (its.was_raised || its.is_ending || its.deadline == kNoDeadline) continue;
    ++with_deadline;
    if (!deadlines_.contains({raise_at(its), subject}))
      return wrong(subject, "has a deadline that nobody watches");
  }
  if (queued != queue_.size() || resolving != resolving_ || with_deadline != deadlines_.size())
    return fail(Errc::corrupt,
                "conflict desk: the queue, the places or the deadlines hold others "
                "than the cases say");
  if (resolving_ > config_.resolving_max || cases_.size() > config_.capacity)
    return fail(Errc::corrupt, "conflict desk: more than its limits");
  if (counters_.resolved > counters_.reported + next_order_)
    return fail(Errc::corrupt, "conflict desk: more resolved than there were");
  return {};
}

}  // namespace mesh::engine
