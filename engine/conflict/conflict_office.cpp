#include "engine/conflict/conflict_office.hpp"

#include <algorithm>
#include <array>

#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kNotesPerTurn = 1'024;

}  // namespace

ConflictReport ConflictOffice::report_of(const ConflictNote& note) {
  ConflictReport report;
  report.subject = note.answer;
  report.at = static_cast<WireTime>(to_ns(note.at) + options_.unix_offset_ns);
  report.agent = note.agent;
  report.message = note.message;
  report.operation = note.operation;
  // Who knows better says so in complete(); else what needs a context is a person's task.
  report.facts = {.type = note.type, .affected = note.affected, .has_context_calls = false};
  report.context_hash = note.context_hash;
  if (note.has_values) {
    report.expected = std::to_string(note.expected);
    report.received = std::to_string(note.received);
  }
  Carried carried;
  if (note.bodies != ConflictBodies::kNone) {
    using Part = ConflictBodies::Part;
    carried.answer = bodies_.room(note.bodies, Part::answer).first(note.carried_bytes);
    carried.message = bodies_.room(note.bodies, Part::message).first(note.message_bytes);
  }
  if (outside_.complete) outside_.complete(note, carried, report);
  if (note.bodies != ConflictBodies::kNone) bodies_.free_place(note.bodies);
  return report;
}

ConflictOffice::ConflictOffice(const ConflictOfficeOptions& options, Outside outside)
    : options_(options),
      outside_(std::move(outside)),
      notes_(options.notes_max, 1, 0),
      noted_by_loop_(notes_.lane()),
      desk_(options.desk) {}

Result<std::unique_ptr<ConflictOffice>> ConflictOffice::create(const ConflictOfficeOptions& options,
                                                               Outside outside) {
  MESH_CHECK_OK(validate(options.desk));
  constexpr std::size_t kNotesMost = queues::local::HandOver<ConflictNote>::kOneThreadMax;
  if (options.notes_max == 0 || options.notes_max > kNotesMost)
    return fail(Errc::invalid_argument, "conflict office: room for " +
                                            std::to_string(options.notes_max) +
                                            " notes, allowed are 1.." + std::to_string(kNotesMost));
  std::unique_ptr<ConflictOffice> made(new ConflictOffice(options, std::move(outside)));
  RecorderOptions recording;
  recording.open_store = [store = options.store] { return open_store(store); };
  recording.spill = options.spill;
  recording.on_durable = [office = made.get()](std::uint64_t ticket) {
    office->durable_.push_back(ticket);
  };
  MESH_TRY(made->recorder_, Recorder::create(std::move(recording)));
  return made;
}

bool ConflictOffice::take(const ConflictNote& note) noexcept {
  if (noted_by_loop_.try_push(note)) return true;
  refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
  return false;
}

bool ConflictOffice::turn(HostTime now) {
  bool worked = take_notes(now);
  if (outside_.turn) worked |= outside_.turn(now);
  act(desk_.tick(now), now);
  worked |= offer_records();
  worked |= recorder_->turn(now);
  worked |= take_durable(now);
  if (!is_taken_over_ && store() != nullptr) take_over(now);
  note_status();
  return worked;
}

bool ConflictOffice::take_notes(HostTime now) {
  std::array<ConflictNote, 64> some{};
  std::size_t taken = 0;
  while (taken < kNotesPerTurn) {
    const std::size_t count = notes_.pop(some);
    for (std::size_t i = 0; i < count; ++i) {
      ++noted_;
      const DeskAnswer answer = apply(report_of(some[i]), now);
      if (answer == DeskAnswer::full || answer == DeskAnswer::invalid)
        refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
    }
    taken += count;
    if (count < some.size()) break;
  }
  return taken != 0;
}

bool ConflictOffice::take_durable(HostTime now) {
  std::vector<std::uint64_t> durable;
  durable.swap(durable_);
  for (const std::uint64_t ticket : durable) {
    const auto found = tickets_.find(ticket);
    MESH_ASSERT(found != tickets_.end());
    const auto [subject, step] = found->second;
    tickets_.erase(found);
    recorded_ += step == 0 ? 1 : 0;
    apply(Recorded{subject, step}, now);
  }
  return !durable.empty();
}

// In their order; what the recorder has no room for waits here, one record a case at most.
bool ConflictOffice::offer_records() {
  bool offered = false;
  while (!unoffered_.empty()) {
    const std::uint64_t ticket = next_ticket_;
    const std::pair named(unoffered_.front().subject, unoffered_.front().step);
    Offered one{.record = std::move(unoffered_.front()), .ticket = ticket};
    const OfferStatus status = recorder_->offer(one);
    if (status == OfferStatus::kFull) {
      unoffered_.front() = std::move(one.record);
      break;
    }
    MESH_ASSERT(status == OfferStatus::kTaken);  // the desk makes no record that is not valid
    tickets_.emplace(ticket, named);
    ++next_ticket_;
    unoffered_.pop_front();
    offered = true;
  }
  return offered;
}

// Conflicts that an engine before this one left open.
void ConflictOffice::take_over(HostTime now) {
  for (const ConflictState state :
       {ConflictState::open, ConflictState::resolving, ConflictState::for_person})
    if (!take_over_state(state, now)) return;  // the store went away: again, once it is back
  is_taken_over_ = true;
}

bool ConflictOffice::take_over_state(ConflictState state, HostTime now) {
  const auto wall = static_cast<WireTime>(to_ns(now) + options_.unix_offset_ns);
  RecordQuery query{.kind = StoredKind::conflict, .state_now = state, .limit = 1'000};
  for (;;) {
    const auto page = store()->find(query);
    if (!page) return false;
    for (const StoredRecord& stored : *page) {
      const auto history = store()->find({.subject = stored.record.subject, .limit = 1'000});
      if (!history) return false;
      std::vector<Record> records;
      for (const StoredRecord& one : *history) records.push_back(one.record);
      std::sort(records.begin(), records.end(),
                [](const Record& a, const Record& b) { return a.step < b.step; });
      if (desk_.adopt(records, now, wall) == DeskAnswer::full)
        refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
    }
    if (page->size() < query.limit) return true;
    query.before = RecordPlace{page->back().record.at, page->back().at.position};
  }
}

DeskAnswer ConflictOffice::apply(const DeskCommand& command, HostTime now) {
  DeskResult result = desk_.apply(command, now);
  act(std::move(result.actions), now);
  return result.answer;
}

void ConflictOffice::act(std::vector<DeskAction> actions, HostTime now) {
  for (DeskAction& action : actions) {
    if (auto* const write = std::get_if<WriteRecord>(&action)) {
      unoffered_.push_back(std::move(write->record));
    } else if (const auto* const escalate = std::get_if<Escalate>(&action)) {
      ++escalated_;
      const ConflictCase* const its = desk_.find(escalate->subject);
      if (outside_.escalate && its != nullptr) outside_.escalate(*escalate, its->record);
    } else if (const auto* const closed = std::get_if<Closed>(&action)) {
      if (outside_.closed) outside_.closed(*closed);
    } else if (const auto* const step = std::get_if<RunStep>(&action)) {
      if (step->step == ConflictStep::ask_person) {
        ++for_person_;  // decide() is what it waits for
        continue;
      }
      std::optional<StepEnded> ended = StepEnded{.subject = step->subject,
                                                 .step = step->step,
                                                 .is_done = false,
                                                 .outcome = "nobody here can do this"};
      if (outside_.run_step) ended = outside_.run_step(*step);
      if (ended) apply(*ended, now);
    }
  }
}

DeskAnswer ConflictOffice::decide(const SubjectId& subject, std::string decision, HostTime now) {
  const DeskAnswer answer = apply(Decided{subject, std::move(decision)}, now);
  note_status();
  return answer;
}

std::uint64_t ConflictOffice::finish(HostTime now) {
  while (take_notes(now)) {
  }
  while (!unoffered_.empty() || recorder_->unsettled() != 0) {
    const bool offered = offer_records();
    const bool turned = recorder_->turn(now);
    if (!take_durable(now) && !offered && !turned) break;
  }
  note_status();
  return unoffered_.size() + recorder_->unsettled();
}

void ConflictOffice::note_status() {
  ConflictOfficeStatus status;
  status.noted = noted_;
  status.recorded = recorded_;
  status.escalated = escalated_;
  status.open = desk_.open();
  status.for_person = for_person_;
  status.resolved = desk_.counters().resolved;
  status.overdue = desk_.counters().overdue;
  status.is_taken_over = is_taken_over_;
  status.recorder = recorder_->status();
  const std::lock_guard lock(mutex_);
  status_ = std::move(status);
}

ConflictOfficeStatus ConflictOffice::status() const {
  const std::lock_guard lock(mutex_);
  ConflictOfficeStatus status = status_;
  status.refused = refused_.load(std::memory_order_relaxed);  // relaxed: it stands alone
  return status;
}

}  // namespace mesh::engine
