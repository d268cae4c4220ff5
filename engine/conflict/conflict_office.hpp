// ConflictOffice: the conflict desk at work: notes of the loop become reports, the desk's records
// become durable, its steps are run by who can, its decisions are told.
//
//     loop ── take() ─▶ journal ─▶ turn(): desk ──records──▶ Recorder ──▶ store, or spill file
//                          ▲        ▲     └── escalate, run_step ──▶ Outside
//                          └────────┴──────────── what became durable
//
// Nothing is acknowledged before its record is durable: until then its note stands in the journal
// (note_journal.hpp), which outlives the engine. What the store holds open from before is taken
// over once the store is there, some at a time; until then newer conflicts are taken all the same.
// A conflict that finds the desk full is recorded like any other, and taken over when there is
// room.
//
// Callers     take: the scheduler thread. turn, decide, store: one thread (conflict_thread.hpp).
//             status: any.
// Progress    take: note_journal.hpp. turn: blocking, file or network work.
// Units       HostTime of the mesh's clock; records carry wall time, HostTime + unix_offset_ns.
// If the      store fails: engine/store/recorder.hpp; the desk waits, the mesh does not. Spill file
// other side  full as well: the journal fills, and conflicts wait in their stations' outboxes. The
// dies        process dies: a conflict whose record was durable is on the desk again after the next
//             start; one that was only noted is taken out of the journal again, and kept once.
// Errors      create -> those of Recorder, NoteJournal and the desk's validate().
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/conflict/conflict_desk.hpp"
#include "engine/conflict/conflict_note.hpp"
#include "engine/conflict/note_journal.hpp"
#include "engine/store/recorder.hpp"

namespace mesh::engine {

struct ConflictOfficeOptions {
  StoreOptions store{};
  SpillOptions spill{};
  DeskConfig desk{};
  std::optional<NoteJournal::Place> journal{};  // none: in memory of its own
  std::size_t notes_max = 8'192;                // there
  std::int64_t unix_offset_ns = 0;              // what makes HostTime wall time
};

struct ConflictOfficeStatus {
  std::uint64_t noted = 0;     // taken from the loop
  std::uint64_t refused = 0;   // of a journal of its own that was full; what makes no sense
  std::uint64_t recorded = 0;  // conflicts whose record is durable
  std::uint64_t waiting = 0;   // noted, and their record not durable yet
  std::uint64_t unplaced = 0;  // recorded while the desk was full
  std::uint64_t escalated = 0;
  std::uint64_t open = 0;        // on the desk, now
  std::uint64_t for_person = 0;  // of them, handed to a person so far
  std::uint64_t resolved = 0;
  std::uint64_t overdue = 0;
  bool is_taken_over = false;  // what the store held open is on the desk
  RecorderStatus recorder{};
};

class ConflictOffice final : public ConflictSink {
 public:
  // Both on the thread of turn().
  struct Outside {
    std::function<void(const Escalate& escalate, const Record& conflict)> escalate{};
    // What came of the step, or that nobody can do it: then it is a person's. Nothing: it is under
    // way, and step_ended() will be told.
    std::function<std::optional<StepEnded>(const RunStep& step)> run_step{};
    // Before a report is on the desk: what the note alone does not say.
    std::function<void(const ConflictNote& note, const Carried& carried, ConflictReport& report)>
        complete{};
    std::function<void(const Closed& closed)> closed{};
    std::function<bool(HostTime now)> turn{};  // once a turn(). True: there may be more to do
    std::function<void(RecorderAlarm what, const std::string& sentence)> alarm{};
  };
  static Result<std::unique_ptr<ConflictOffice>> create(const ConflictOfficeOptions& options,
                                                        Outside outside);

  bool has_room() noexcept override { return journal_->has_room(); }
  bool take(const ConflictNote& note, const Carried& carried) noexcept override;
  void tend() noexcept override { journal_->tend(); }

  // True: there may be more to do at once.
  bool turn(HostTime now);
  // Of a step that was under way.
  DeskAnswer step_ended(const StepEnded& ended, HostTime now) { return apply(ended, now); }
  // A person's decision. no_such, not_expected, invalid: see DeskAnswer.
  DeskAnswer decide(const SubjectId& subject, std::string decision, HostTime now);
  // Makes durable what was taken. How many records could not be.
  std::uint64_t finish(HostTime now);
  // Who shares the store found that it is gone: it is opened anew.
  void store_failed(HostTime now, const Error& error) { recorder_->store_failed(now, error); }
  // Null while it is down.
  [[nodiscard]] Store* store() noexcept { return recorder_->store(); }
  [[nodiscard]] const ConflictDesk& desk() const noexcept { return desk_; }

  [[nodiscard]] ConflictOfficeStatus status() const;

 private:
  ConflictOffice(const ConflictOfficeOptions& options, Outside outside);
  // Where the taking over of what the store holds open stands.
  struct TakingOver {
    std::size_t state = 0;                // of those that are open
    std::optional<RecordPlace> before{};  // the next page
  };
  // Of a note: it is done when so many records are durable.
  struct Settling {
    std::uint64_t records = 0;
    std::uint64_t end = 0;  // in the journal
  };
  bool take_notes(HostTime now);
  void take_note(const ConflictNote& note, const Carried& carried, HostTime now);
  bool take_durable(HostTime now);
  void free_notes();
  bool offer_records();
  void write(Record record);
  bool take_over(HostTime now);
  bool take_over_page(HostTime now);
  [[nodiscard]] Result<DeskAnswer> adopt(const SubjectId& subject, HostTime now);
  DeskAnswer apply(const DeskCommand& command, HostTime now);
  void act(std::vector<DeskAction> actions, HostTime now);
  void note_status();

  [[nodiscard]] ConflictReport report_of(const ConflictNote& note, const Carried& carried);

  ConflictOfficeOptions options_;
  Outside outside_;
  std::unique_ptr<NoteJournal> journal_;
  ConflictDesk desk_;
  std::unique_ptr<Recorder> recorder_;
  // Records go the same way in the same order: the n-th written is the n-th that is durable.
  std::deque<Record> unoffered_;  // the recorder had no room
  std::uint64_t written_ = 0, offered_ = 0, durable_ = 0;
  std::deque<std::pair<SubjectId, std::uint32_t>> awaited_;  // offered, and not durable
  std::vector<std::uint64_t> durable_now_;                   // of this turn
  std::deque<Settling> settling_;
  std::optional<TakingOver> taking_over_ = TakingOver{};
  bool is_taken_over_ = false;
  bool is_behind_ = false;  // the store holds open ones that found no place on the desk
  std::atomic<std::uint64_t> refused_{0};
  std::uint64_t noted_ = 0, recorded_ = 0, escalated_ = 0, for_person_ = 0, unplaced_ = 0;
  mutable std::mutex mutex_;  // of status_
  ConflictOfficeStatus status_;
};

}  // namespace mesh::engine
