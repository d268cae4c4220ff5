#include "engine/conflict/conflict_office.hpp"

#include <algorithm>
#include <array>

#include "shm/base/assert.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kNotesPerTurn = 1'024;
// What a turn makes durable goes in one commit: the more, the fewer pages are written for each.
constexpr std::size_t kRecordsPerTurn = 4'096;
constexpr int kTicksPerTurn = 4;
// While so many wait for the recorder, what is noted stays in the journal.
constexpr std::size_t kUnofferedMax = 4'096;
constexpr std::size_t kCarriedBytes = std::size_t{2} << 20;  // of a journal of its own
constexpr std::uint32_t kTakenOverAtOnce = 100;              // each is a look into the store
constexpr std::array<ConflictState, 3> kOpenStates = {ConflictState::open, ConflictState::resolving,
                                                      ConflictState::for_person};

}  // namespace

ConflictReport ConflictOffice::report_of(const ConflictNote& note, const Carried& carried) {
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
  if (outside_.complete) outside_.complete(note, carried, report);
  return report;
}

ConflictOffice::ConflictOffice(const ConflictOfficeOptions& options, Outside outside)
    : options_(options), outside_(std::move(outside)), desk_(options.desk) {}

Result<std::unique_ptr<ConflictOffice>> ConflictOffice::create(const ConflictOfficeOptions& options,
                                                               Outside outside) {
  MESH_CHECK_OK(validate(options.desk));
  std::unique_ptr<ConflictOffice> made(new ConflictOffice(options, std::move(outside)));
  MESH_TRY(made->journal_, options.journal ? NoteJournal::over(*options.journal)
                                           : NoteJournal::make(options.notes_max, kCarriedBytes));
  RecorderOptions recording;
  recording.open_store = [store = options.store] { return open_store(store); };
  recording.spill = options.spill;
  recording.group_records_max = kRecordsPerTurn;
  recording.on_durable = [office = made.get()](std::uint64_t ticket) {
    office->durable_now_.push_back(ticket);
  };
  recording.on_alarm = made->outside_.alarm;
  MESH_TRY(made->recorder_, Recorder::create(std::move(recording)));
  return made;
}

bool ConflictOffice::take(const ConflictNote& note, const Carried& carried) noexcept {
  if (journal_->put(note, carried)) return true;
  refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
  return false;
}

bool ConflictOffice::turn(HostTime now) {
  bool worked = take_notes(now);
  if (outside_.turn) worked |= outside_.turn(now);
  for (int i = 0; i < kTicksPerTurn; ++i) act(desk_.tick(now), now);
  worked |= offer_records();
  worked |= recorder_->turn(now);
  worked |= take_durable(now);
  worked |= take_over(now);
  note_status();
  return worked;
}

bool ConflictOffice::take_notes(HostTime now) {
  if (unoffered_.size() >= kUnofferedMax) return false;
  const std::size_t taken = journal_->take(
      kNotesPerTurn, [&](const ConflictNote& note, const Carried& carried, std::uint64_t end) {
        take_note(note, carried, now);
        if (settling_.empty() || settling_.back().records != written_)
          settling_.push_back({.records = written_});
        settling_.back().end = end;
      });
  free_notes();
  return taken != 0;
}

void ConflictOffice::take_note(const ConflictNote& note, const Carried& carried, HostTime now) {
  ++noted_;
  const ConflictReport report = report_of(note, carried);
  const DeskAnswer answer = apply(report, now);
  if (answer == DeskAnswer::full) {
    ++unplaced_;
    is_behind_ = true;
    write(record_of(report));
  } else if (answer == DeskAnswer::invalid) {
    refused_.fetch_add(1, std::memory_order_relaxed);  // relaxed: it stands alone
  }
}

bool ConflictOffice::take_durable(HostTime now) {
  std::vector<std::uint64_t> durable;
  durable.swap(durable_now_);
  for (const std::uint64_t ticket : durable) {
    MESH_ASSERT(ticket == durable_ + 1);
    durable_ = ticket;
    recorded_ += awaited_[ticket - durable.front()].second == 0 ? 1U : 0U;
  }
  // Before anything follows from them: a successor takes no note again whose steps have begun.
  free_notes();
  for (std::size_t i = 0; i < durable.size(); ++i) {
    const auto [subject, step] = awaited_.front();
    awaited_.pop_front();
    apply(Recorded{subject, step}, now);
  }
  return !durable.empty();
}

void ConflictOffice::free_notes() {
  std::uint64_t end = 0;
  for (; !settling_.empty() && settling_.front().records <= durable_; settling_.pop_front())
    end = settling_.front().end;
  if (end != 0) journal_->done_until(end);
}

void ConflictOffice::write(Record record) {
  unoffered_.push_back(std::move(record));
  ++written_;
}

// In their order; what the recorder has no room for waits here.
bool ConflictOffice::offer_records() {
  bool offered = false;
  while (!unoffered_.empty()) {
    const std::pair named(unoffered_.front().subject, unoffered_.front().step);
    Offered one{.record = std::move(unoffered_.front()), .ticket = offered_ + 1};
    const OfferStatus status = recorder_->offer(one);
    if (status == OfferStatus::kFull) {
      unoffered_.front() = std::move(one.record);
      break;
    }
    MESH_ASSERT(status == OfferStatus::kTaken);  // the desk makes no record that is not valid
    awaited_.push_back(named);
    ++offered_;
    unoffered_.pop_front();
    offered = true;
  }
  return offered;
}

// Conflicts that an engine before this one left open, or that found the desk full: a page at a
// time. Not while records wait in the spill file, for what the store says is old then.
bool ConflictOffice::take_over(HostTime now) {
  const std::size_t room = options_.desk.capacity - desk_.open();
  if (!taking_over_ && is_behind_ && room >= std::max(options_.desk.capacity / 8, 1U)) {
    is_behind_ = false;
    taking_over_ = TakingOver{};
  }
  if (!taking_over_ || store() == nullptr || recorder_->waiting() != 0) return false;
  if (!take_over_page(now)) return false;  // the store went away: again, once it is back
  if (taking_over_ && taking_over_->state == kOpenStates.size()) {
    taking_over_.reset();
    is_taken_over_ = true;
  }
  return true;
}

bool ConflictOffice::take_over_page(HostTime now) {
  TakingOver& at = *taking_over_;
  const RecordQuery query{.kind = StoredKind::conflict,
                          .state_now = kOpenStates[at.state],
                          .before = at.before,
                          .limit = kTakenOverAtOnce};
  const auto page = store()->find(query);
  if (!page) return false;
  for (const StoredRecord& stored : *page) {
    if (desk_.find(stored.record.subject) != nullptr) continue;
    const auto answer = adopt(stored.record.subject, now);
    if (!answer) return false;
    if (*answer != DeskAnswer::full) continue;
    is_behind_ = true;
    taking_over_.reset();
    return true;
  }
  if (page->size() < query.limit)
    at = {.state = at.state + 1};
  else
    at.before = RecordPlace{page->back().record.at, page->back().at.position};
  return true;
}

Result<DeskAnswer> ConflictOffice::adopt(const SubjectId& subject, HostTime now) {
  MESH_TRY(const auto history, store()->find({.subject = subject, .limit = 1'000}));
  std::vector<Record> records;
  for (const StoredRecord& one : history) records.push_back(one.record);
  std::sort(records.begin(), records.end(),
            [](const Record& a, const Record& b) { return a.step < b.step; });
  const auto wall = static_cast<WireTime>(to_ns(now) + options_.unix_offset_ns);
  const DeskAnswer answer = desk_.adopt(records, now, wall);
  const ConflictCase* const its = answer == DeskAnswer::taken ? desk_.find(subject) : nullptr;
  for_person_ += its != nullptr && its->state == CaseState::for_person ? 1U : 0U;
  return answer;
}

DeskAnswer ConflictOffice::apply(const DeskCommand& command, HostTime now) {
  DeskResult result = desk_.apply(command, now);
  act(std::move(result.actions), now);
  return result.answer;
}

void ConflictOffice::act(std::vector<DeskAction> actions, HostTime now) {
  for (DeskAction& action : actions) {
    if (auto* const wanted = std::get_if<WriteRecord>(&action)) {
      write(std::move(wanted->record));
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

// The caller is another thread than before, and the loop's is gone too: what the office's had
// offered goes first, so that the order stands.
std::uint64_t ConflictOffice::finish(HostTime now) {
  while (recorder_->unsettled() != 0 && recorder_->turn(now)) {
  }
  take_durable(now);
  for (bool is_stuck = recorder_->unsettled() != 0; !is_stuck;) {
    journal_->tend();
    const bool taken = take_notes(now);
    if (unoffered_.empty() && recorder_->unsettled() == 0) {
      if (!taken) break;
      continue;
    }
    const bool offered = offer_records();
    const bool turned = recorder_->turn(now);
    is_stuck = !take_durable(now) && !offered && !turned;
  }
  note_status();
  return journal_->not_taken() + unoffered_.size() + recorder_->unsettled();
}

void ConflictOffice::note_status() {
  ConflictOfficeStatus status;
  status.noted = noted_;
  status.recorded = recorded_;
  status.waiting = journal_->taken_not_done();
  status.unplaced = unplaced_;
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
