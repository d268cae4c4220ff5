#include "engine/running_conflicts.hpp"

#include <charconv>
#include <utility>

#include "engine/error_log.hpp"
#include "engine/escalate_job.hpp"
#include "engine/history_keeper.hpp"
#include "engine/running_steps.hpp"

namespace mesh::engine {
namespace {

// Each that is resolving waits for one record: a quarter of what one commit of the office carries.
constexpr std::uint32_t kResolvingMax = 1'024;

static_assert(sizeof(NoteJournal::Ring::Slot) == kConflictNoteBytes, "as the memory map has it");

constexpr std::size_t kToldAtOnce = 64;                        // by one job of the loop
constexpr std::uint64_t kStoreAlarm = std::uint64_t{2} << 32;  // what the error is about

class AlarmJob final : public Job {
 public:
  AlarmJob(Errc code, const std::string& sentence)
      : code_(code), sentence_("conflicts: " + sentence) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    scheduler.loop().note_error({.code = code_, .about = kStoreAlarm, .text = sentence_}, now);
    return std::nullopt;
  }
  void done() override {}

 private:
  Errc code_;
  std::string sentence_;
};

Errc errc_of(RecorderAlarm alarm) noexcept {
  switch (alarm) {
    case RecorderAlarm::store_down:
      return Errc::not_ready;
    case RecorderAlarm::spill_full:
      return Errc::no_space;
    case RecorderAlarm::spill_damaged:
      return Errc::corrupt;
    case RecorderAlarm::store_back:
      break;
  }
  return Errc::ok;
}

class FunctionCall final : public OfficeCall {
 public:
  using What = std::function<void(ConflictOffice&, HostTime)>;
  explicit FunctionCall(What what) : what_(std::move(what)) {}
  void run(ConflictOffice& office, HostTime now) override { what_(office, now); }

 private:
  What what_;
};

Status status_of(const SubjectId& conflict, DeskAnswer answer) {
  const std::string which = "resolve " + name_of(conflict) + ": ";
  switch (answer) {
    case DeskAnswer::taken:
      return {};
    case DeskAnswer::no_such:
      return fail(Errc::not_found, which + "no conflict that is open has this id");
    case DeskAnswer::invalid:
      return fail(Errc::bad_input, which + "the decision is empty or too long");
    default:
      return fail(Errc::wrong_state,
                  which + "its strategy is being carried out, or its record is not durable yet");
  }
}

}  // namespace

Result<std::unique_ptr<RunningConflicts>> RunningConflicts::create(
    const ConflictStoreOptions& options, std::int64_t unix_offset_ns,
    ConflictThread::ReadClock clock, const NoteJournal::Place& journal) {
  std::string spill = options.spill;
  if (spill.empty()) {
    if (options.store.starts_with("postgresql://"))
      return fail(Errc::invalid_argument,
                  "conflicts: a store on a server needs a spill file of its own (--spill)");
    spill = options.store + ".spill";
  }
  std::unique_ptr<RunningConflicts> made(new RunningConflicts);
  made->where_ = options.store;
  made->clock_ = clock;
  made->unix_offset_ns_ = unix_offset_ns;
  MESH_TRY(made->office_,
           ConflictOffice::create(
               {.store = {.where = options.store},
                .spill = {.path = std::move(spill), .size_bytes = options.spill_bytes},
                .desk = {.resolving_max = kResolvingMax},
                .journal = journal,
                .unix_offset_ns = unix_offset_ns},
               {.escalate = [its = made.get()](
                                const Escalate& escalate,
                                const Record& conflict) { its->escalate(escalate, conflict); },
                .run_step = [its = made.get()](const RunStep& step) -> std::optional<StepEnded> {
                  if (its->steps_ == nullptr)
                    return StepEnded{step.subject, step.step, false, "nobody here can do this"};
                  return its->steps_->run(*its->office_, step);
                },
                .complete =
                    [its = made.get()](const ConflictNote& note, const Carried& carried,
                                       ConflictReport& report) {
                      if (its->steps_ != nullptr) its->steps_->complete(note, carried, report);
                    },
                .closed = [its = made.get()](const Closed& closed) { its->closed(closed); },
                .turn = [its = made.get()](HostTime now) { return its->turn(now); },
                .alarm =
                    [its = made.get()](RecorderAlarm what, const std::string& sentence) {
                      its->alarm(errc_of(what), sentence);
                    }}));
  made->thread_ = std::make_unique<ConflictThread>(*made->office_, std::move(clock));
  return made;
}

RunningConflicts::RunningConflicts() = default;
RunningConflicts::~RunningConflicts() = default;

void RunningConflicts::set_history(std::unique_ptr<HistoryKeeper> history) {
  history_ = std::move(history);
}

bool RunningConflicts::turn(HostTime now) {
  tell_coordinators();
  const bool kept = turn_history(now);
  return (steps_ != nullptr && steps_->turn(*office_, now)) || kept;
}

// A connection that is gone is opened anew by who owns it; what else fails is tried again alone.
bool RunningConflicts::turn_history(HostTime now) {
  if (history_ == nullptr) return false;
  const HistoryKeeper::Turned turned = history_->turn(office_->store(), now);
  if (turned.failed && turned.failed->code == Errc::closed)
    office_->store_failed(now, *turned.failed);
  return turned.worked;
}

std::uint64_t RunningConflicts::stop() {
  const std::uint64_t lost = thread_->stop();
  if (history_ != nullptr) history_->finish(office_->store(), clock_());
  return lost;
}

void RunningConflicts::set_steps(std::unique_ptr<RunningSteps> steps) { steps_ = std::move(steps); }

void RunningConflicts::call(std::function<void(ConflictOffice& office, HostTime now)> what) {
  thread_->post(std::make_unique<FunctionCall>(std::move(what)));
}

void RunningConflicts::start(SchedulerThread& scheduler) {
  scheduler_ = &scheduler;
  for (auto& alarm : early_alarms_) static_cast<void>(scheduler.post(std::move(alarm)));
  early_alarms_.clear();
  thread_->start();
}

void RunningConflicts::escalate(const Escalate& escalate, const Record& conflict) {
  std::string text = "conflict " + name_of(conflict.subject) + " of priority " +
                     std::to_string(static_cast<unsigned>(conflict.priority)) + ": expected '" +
                     conflict.expected + "', received '" + conflict.received + "'";
  escalations_.push_back({escalate.agent, std::move(text)});
  if (escalations_.size() == kToldAtOnce) tell_coordinators();
}

// A storm of conflicts is some messages, each of many.
void RunningConflicts::tell_coordinators() {
  if (escalations_.empty()) return;
  static_cast<void>(
      scheduler_->post(std::make_unique<EscalateJob>(std::exchange(escalations_, {}))));
}

void RunningConflicts::alarm(Errc code, const std::string& sentence) {
  if (code == Errc::ok) return;  // good news: the status has it
  auto job = std::make_unique<AlarmJob>(code, sentence);
  if (scheduler_ == nullptr)
    early_alarms_.push_back(std::move(job));
  else
    static_cast<void>(scheduler_->post(std::move(job)));
}

void RunningConflicts::resolve(const SubjectId& conflict, std::string decision, Done done) {
  call([this, conflict, decision = std::move(decision), done = std::move(done)](
           ConflictOffice& office, HostTime now) {
    const Status status = status_of(conflict, office.decide(conflict, decision, now));
    if (!status) return done(status);
    deciding_.insert_or_assign(conflict, done);
  });
}

// Its last record is durable: who decided it is told now, and not before.
void RunningConflicts::closed(const Closed& closed) {
  if (steps_ != nullptr) steps_->closed(*office_, closed);
  const auto decided = deciding_.extract(closed.subject);
  if (!decided.empty()) decided.mapped()(Status());
}

Result<SubjectId> subject_of(const std::string& name) {
  SubjectId subject{};
  const auto half = [&](std::size_t from, std::uint64_t& value) {
    const char* const first = name.data() + from;
    const auto read = std::from_chars(first, first + 16, value, 16);
    return read.ec == std::errc() && read.ptr == first + 16;
  };
  if (name.size() == 32 && half(0, subject.high) && half(16, subject.low)) return subject;
  return fail(Errc::bad_input, "'" + name + "' is no id of a conflict: 32 hexadecimal digits are");
}

}  // namespace mesh::engine
