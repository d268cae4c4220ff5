// ConflictOffice: the conflict desk at work: notes of the loop become reports, the desk's records
// become durable, its steps are run by who can, its decisions are told.
//
//     loop ── take() ─▶ queue ─▶ turn(): desk ──records──▶ Recorder ──▶ store, or spill file
//                                 ▲     └── escalate, run_step ──▶ Outside
//                                 └──────────── what became durable
//
// Nothing is acknowledged before its record is durable. What the store holds open from before is
// taken over once the store is there; until then newer conflicts are taken all the same.
//
// Callers     take: the scheduler thread. turn, decide, store: one thread (conflict_thread.hpp).
//             status: any.
// Progress    take: lock-free, allocates nothing. turn: blocking, file or network work.
// Units       HostTime of the mesh's clock; records carry wall time, HostTime + unix_offset_ns.
// If the      store fails: engine/store/recorder.hpp; the desk waits, the mesh does not. The
// other side  process dies: a conflict whose record was durable is on the desk again after the next
// dies        start; one that was only noted is noted again when its burst is read again, and kept
//             once.
// Errors      create -> those of Recorder and the desk's validate(). take -> false: the queue is
//             full.
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
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/conflict/conflict_desk.hpp"
#include "engine/conflict/conflict_note.hpp"
#include "engine/store/recorder.hpp"
#include "queues/local/hand_over.hpp"

namespace mesh::engine {

struct ConflictOfficeOptions {
  StoreOptions store{};
  SpillOptions spill{};
  DeskConfig desk{};
  std::size_t notes_max = 16'384;   // taken and not yet on the desk
  std::int64_t unix_offset_ns = 0;  // what makes HostTime wall time
};

struct ConflictOfficeStatus {
  std::uint64_t noted = 0;     // taken from the loop
  std::uint64_t refused = 0;   // the queue was full, or the desk
  std::uint64_t recorded = 0;  // conflicts whose record is durable
  std::uint64_t escalated = 0;
  std::uint64_t open = 0;        // on the desk, now
  std::uint64_t for_person = 0;  // of them, handed to a person so far
  std::uint64_t resolved = 0;
  std::uint64_t overdue = 0;
  bool is_taken_over = false;  // what the store held open is on the desk
  RecorderStatus recorder{};
};

// What stood in a note's place of ConflictBodies.
struct Carried {
  std::span<const std::byte> answer;   // behind its two values
  std::span<const std::byte> message;  // the work that is to go elsewhere
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
  };
  static Result<std::unique_ptr<ConflictOffice>> create(const ConflictOfficeOptions& options,
                                                        Outside outside);

  bool take(const ConflictNote& note) noexcept override;
  ConflictBodies* bodies() noexcept override { return &bodies_; }

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
  bool take_notes(HostTime now);
  bool take_durable(HostTime now);
  bool offer_records();
  void take_over(HostTime now);
  bool take_over_state(ConflictState state, HostTime now);
  DeskAnswer apply(const DeskCommand& command, HostTime now);
  void act(std::vector<DeskAction> actions, HostTime now);
  void note_status();

  [[nodiscard]] ConflictReport report_of(const ConflictNote& note);

  ConflictOfficeOptions options_;
  Outside outside_;
  queues::local::HandOver<ConflictNote> notes_;
  queues::local::HandOver<ConflictNote>::Lane noted_by_loop_;
  ConflictBodies bodies_;
  ConflictDesk desk_;
  std::unique_ptr<Recorder> recorder_;
  std::deque<Record> unoffered_;  // the recorder had no room
  std::uint64_t next_ticket_ = 1;
  std::unordered_map<std::uint64_t, std::pair<SubjectId, std::uint32_t>> tickets_;
  std::vector<std::uint64_t> durable_;  // of this turn
  bool is_taken_over_ = false;
  std::atomic<std::uint64_t> refused_{0};
  std::uint64_t noted_ = 0, recorded_ = 0, escalated_ = 0, for_person_ = 0;
  mutable std::mutex mutex_;  // of status_
  ConflictOfficeStatus status_;
};

}  // namespace mesh::engine
