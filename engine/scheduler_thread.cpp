#include "engine/scheduler_thread.hpp"

#include <algorithm>
#include <array>
#include <future>
#include <utility>

#include "engine/control_server.hpp"
#include "engine/loop/context_holds.hpp"
#include "engine/loop/pipelines.hpp"
#include "engine/station/station_memory.hpp"

namespace mesh::engine {
namespace {

constexpr Nanos kPublishEvery{kNsPerSecond};
constexpr Nanos kLeftFree{50 * kNsPerUs};  // before what is due
constexpr Nanos kIdleLookMax{100 * kNsPerMs};
constexpr Nanos kIdleLookMin{kNsPerMs};
// A station that frees its inbox does not say so: while deliveries wait for room we look again.
constexpr Nanos kPendingLook{200 * kNsPerUs};
constexpr Nanos kPendingFor{100 * kNsPerMs};
constexpr std::uint64_t kCorruptEvery = 1'024;  // turns

// Of the counter of answers in CONFLICT.
constexpr std::size_t kConflictsAt = [] {
  std::size_t at = 0;
  while (kSchedulerCounters[at].says.label != "conflicts") ++at;
  return at;
}();

std::int64_t read_clock(void* clock) noexcept {
  return static_cast<sched::ClockReader<>*>(clock)->now_ns();
}

}  // namespace

void Job::on_finished(SchedulerThread& /*scheduler*/, const FinishedOperation& /*finished*/) {}
void Job::on_cascade(SchedulerThread& /*scheduler*/, const FinishedCascade& /*finished*/) {}
void Job::on_pipeline(SchedulerThread& /*scheduler*/, const FinishedPipeline& /*finished*/) {}
void Job::on_answered(SchedulerThread& /*scheduler*/, const AnsweredMessage* /*answered*/) {}

SchedulerThread::SchedulerThread(const Options& options, sched::ClockWords& clock)
    : options_(options),
      publisher_(clock),
      clock_(clock),
      bell_(options.wake),
      jobs_(kJobsMax, 0, 16),
      done_(kJobsMax, 0, 1),
      done_bell_(options.done) {
  const auto rows = static_cast<std::int64_t>(options.memory.size.agents);
  // Upkeep moves so many rows a tick; all of them are due within options.loop.upkeep.
  const Nanos a_turn{options.loop.upkeep.count() * kUpkeepRowsPerTick /
                     std::max<std::int64_t>(rows, 1)};
  idle_look_ = std::clamp(a_turn, kIdleLookMin, kIdleLookMax);
}

Result<std::unique_ptr<SchedulerThread>> SchedulerThread::create(const Options& options,
                                                                 sched::ClockWords& clock) {
  std::unique_ptr<SchedulerThread> made(new SchedulerThread(options, clock));
  MESH_TRY(made->loop_, EngineLoop::create(options.memory, options.loop,
                                           {made.get(), &read_clock, &made->clock_,
                                            options.conflicts, options.results, &made->death_}));
  MESH_TRY(const shm::Layout table, table_layout(options.memory.size));
  MESH_TRY(auto page, CounterPage::over(table, options.memory.table, "scheduler"));
  made->counter_page_.emplace(std::move(page));
  MESH_TRY(auto faults, FaultBoard::over(table, options.memory.table));
  made->faults_.emplace(std::move(faults));
  made->outboxes_.reserve(options.memory.size.stations);
  return made;
}

SchedulerThread::~SchedulerThread() { stop(); }

Result<sched::ThreadReport> SchedulerThread::start() {
  std::promise<Result<sched::ThreadReport>> prepared;
  auto report = prepared.get_future();
  thread_ = std::thread([this, &prepared] {
    auto granted = sched::prepare_thread(options_.thread);
    const bool go_on = granted.has_value();
    prepared.set_value(std::move(granted));  // `prepared` is gone from here on
    if (go_on) run();
  });
  return report.get();
}

void SchedulerThread::stop() {
  stopping_.store(true, std::memory_order_relaxed);  // relaxed: the join orders what follows
  bell_.ring();
  if (!thread_.joinable()) return;
  thread_.join();
  for (Job* left = nullptr; jobs_.pop(std::span(&left, 1)) != 0;)
    std::unique_ptr<Job>(left).reset();
  waiting_.clear();
  asked_.clear();
  while (take_done() != nullptr) {
  }
}

std::unique_ptr<Job> SchedulerThread::post(std::unique_ptr<Job> job) {
  // relaxed: a job that slips in is destroyed by stop().
  if (stopping_.load(std::memory_order_relaxed)) return job;
  if (!jobs_.try_push(job.get())) return job;
  static_cast<void>(job.release());
  bell_.ring();
  return nullptr;
}

std::unique_ptr<Job> SchedulerThread::take_done() {
  done_bell_.take();
  Job* job = nullptr;
  static_cast<void>(done_.pop(std::span(&job, 1)));
  return std::unique_ptr<Job>(job);
}

Status SchedulerThread::retune(const LoopTuning& tuning, Nanos stuck_after) {
  if (stuck_after < Nanos{kNsPerMs}) {
    return fail(Errc::invalid_argument, "scheduler: stuck_after of " +
                                            std::to_string(stuck_after.count()) +
                                            " ns; it is at least 1 ms");
  }
  MESH_CHECK_OK(loop_->retune(tuning));
  options_.stuck_after = stuck_after;
  ++counters_.retunes;
  return {};
}

Status SchedulerThread::attach(const Attachment& attachment, HostTime now) {
  MESH_CHECK_OK(loop_->attach(attachment.station, attachment.memory, attachment.uid));
  Status watched = watch(attachment);
  if (!watched) loop_->detach(attachment.station, now, Departure::lost);
  return watched;
}

Status SchedulerThread::readopt(const Attachment& attachment, HostTime now) {
  MESH_CHECK_OK(loop_->readopt(attachment.station, attachment.memory, attachment.uid));
  Status watched = watch(attachment);
  if (!watched) loop_->detach(attachment.station, now, Departure::lost);
  return watched;
}

Status SchedulerThread::watch(const Attachment& attachment) {
  MESH_TRY(const EngineSide side,
           EngineSide::over(attachment.memory.agents, attachment.memory.in, attachment.memory.out));
  outboxes_.push_back({attachment.station, attachment.wake, side.outbox_reader, side.outbox, false,
                       side.inbox_reader, side.inbox});
  return {};
}

void SchedulerThread::detach(StationId station, HostTime now, Departure departure) {
  loop_->detach(station, now, departure);
  std::erase_if(outboxes_, [&](const Outbox& outbox) { return outbox.station == station; });
}

void SchedulerThread::give_up(const Attachment& attachment, HostTime now) {
  const StationMemory& memory = attachment.memory;
  // A memory that makes no sense is none.
  if (loop_->give_up(attachment.station, memory.in, memory.agents, now)) return;
  static_cast<void>(loop_->give_up(attachment.station, {}, memory.agents, now));
}

void SchedulerThread::wake(StationId station) noexcept {
  const auto found = std::find_if(outboxes_.begin(), outboxes_.end(),
                                  [&](const Outbox& outbox) { return outbox.station == station; });
  if (found != outboxes_.end()) static_cast<void>(found->wake->signal());
}

void SchedulerThread::run() {
  publish_due_ = clock_.now();  // who looks at once finds counters
  stuck_due_ = clock_.now() + stuck_look();
  // relaxed: stop() joins.
  while (!stopping_.load(std::memory_order_relaxed)) {
    ++counters_.turns;
    const HostTime now = clock_.now();
    if (bell_.take()) run_jobs(now);
    const TickResult result = loop_->tick(now);
    if (has_overdue_contexts(*loop_, now)) release_overdue_contexts(*loop_, now);
    finish_operations(now);
    // What comes seldom and takes long makes no bucket late, as long as there is another moment.
    const bool is_due_soon = result.next_due < now + kLeftFree;
    if (now >= publish_due_ && (!is_due_soon || now >= publish_due_ + kPublishEvery)) {
      publish(now);
    }
    if (now >= stuck_due_ && (!is_due_soon || now >= stuck_due_ + stuck_look()))
      look_for_stuck(now);
    if (counters_.turns % kCorruptEvery == 0) look_for_corrupt();
    if (result.worked) {
      idle_ = 0;
    } else {
      pause(result);
    }
  }
}

// The clock, and every counter as it stands.
void SchedulerThread::publish(HostTime now) {
  publisher_.publish();
  const EngineStatus status = status_of(*this);
  std::array<std::uint64_t, kSchedulerCounters.size()> values{};
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = kSchedulerCounters[i].of(status);
  counter_page_->publish(values, now);
  conflicts_last_hour_ = counter_page_->in_last_hour(kConflictsAt);
  faults_->sweep(now);
  tell_mode(status.overview, now);
  publish_due_ = now + kPublishEvery;
}

void SchedulerThread::tell_mode(const MeshOverview& mesh, HostTime now) {
  if (!mesh.mode || *mesh.mode == mode_seen_) return;
  mode_seen_ = *mesh.mode;
  if (options_.on_mode)
    options_.on_mode({.mode = mode_seen_,
                      .active = mesh.active,
                      .expected = mesh.expected,
                      .unix_ns = to_ns(now) + unix_offset_ns()});
}

void SchedulerThread::run_jobs(HostTime now) {
  std::array<Job*, 16> taken{};
  const std::size_t count = jobs_.pop(taken);
  if (count == taken.size()) bell_.ring();  // perhaps more: after the next tick
  for (std::size_t i = 0; i < count; ++i) {
    std::unique_ptr<Job> job(taken[i]);
    asking_.reset();
    const auto operation = job->run(*this, now);
    if (asking_) {
      asked_.push_back({*asking_, std::move(job)});
    } else if (operation) {
      waiting_.insert_or_assign(static_cast<std::uint64_t>(*operation), std::move(job));
    } else {
      give_back(std::move(job));
    }
  }
  idle_ = 0;
}

void SchedulerThread::finish_operations(HostTime now) {
  while (const auto finished = loop_->take_finished()) {
    const auto found = waiting_.find(static_cast<std::uint64_t>(finished->id));
    if (found == waiting_.end()) continue;
    found->second->on_finished(*this, *finished);
    give_back(std::move(found->second));
    waiting_.erase(found);
  }
  finish_cascades(now);
  finish_pipelines();
  finish_questions(now);
  if (!backlog_.empty()) give_back(nullptr);
}

void SchedulerThread::finish_cascades(HostTime now) {
  while (const auto finished = loop_->take_finished_cascade()) {
    // A quorum is an operation to who measures cascades.
    if (finished->strategy != CascadeStrategy::quorum)
      last_cascade_ = LastCascade{.finished = *finished, .at = now};
    const auto found = waiting_.find(static_cast<std::uint64_t>(finished->id));
    if (found == waiting_.end()) continue;
    found->second->on_cascade(*this, *finished);
    give_back(std::move(found->second));
    waiting_.erase(found);
  }
}

void SchedulerThread::finish_pipelines() {
  while (const auto finished = take_finished_pipeline(*loop_)) {
    const auto found = waiting_.find(static_cast<std::uint64_t>(finished->id));
    if (found == waiting_.end()) continue;
    found->second->on_pipeline(*this, *finished);
    give_back(std::move(found->second));
    waiting_.erase(found);
  }
}

// Answers to what nobody waits for are passed over.
void SchedulerThread::finish_questions(HostTime now) {
  while (const auto answered = loop_->take_answered()) {
    const auto found = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& asked) {
      return asked.question.message == answered->question;
    });
    if (found == asked_.end()) continue;
    found->job->on_answered(*this, &*answered);
    give_back(std::move(found->job));
    asked_.erase(found);
  }
  for (std::size_t i = asked_.size(); i-- != 0;) {
    if (now < asked_[i].question.deadline) continue;
    asked_[i].job->on_answered(*this, nullptr);
    give_back(std::move(asked_[i].job));
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void SchedulerThread::give_back(std::unique_ptr<Job> job) {
  if (job != nullptr) backlog_.push_back(std::move(job));
  while (!backlog_.empty()) {
    if (!done_.try_push(backlog_.front().get())) break;
    static_cast<void>(backlog_.front().release());
    backlog_.pop_front();
  }
  done_bell_.ring();
}

// Nothing was found. Spins before what is due, else follows the wait policy.
void SchedulerThread::pause(const TickResult& result) {
  const queues::WaitOptions& wait = options_.wait;
  if (wait.policy == queues::WaitPolicy::kSpin) return queues::relax_cpu();
  const HostTime now = clock_.now();
  HostTime until = std::min(
      {publish_due_, stuck_due_, now + idle_look_,
       result.next_due == HostTime::max() ? result.next_due : result.next_due - kSpinBefore});
  for (const Asked& asked : asked_) until = std::min(until, asked.question.deadline);
  if (const std::uint64_t pending = loop_->counters().pending; pending != pending_seen_) {
    pending_seen_ = pending;
    pending_until_ = now + kPendingFor;
  }
  if (now < pending_until_ || loop_->waiting_for_records() != 0)
    until = std::min(until, now + kPendingLook);
  if (now >= until) return queues::relax_cpu();
  // It never yields: on a shared core a yield gives away the whole slice, and the next bucket
  // leaves milliseconds late; a sleep costs 20 us.
  if (wait.policy == queues::WaitPolicy::kAdaptive && idle_ < wait.spins) {
    ++idle_;
    return queues::relax_cpu();
  }
  park(until);
}

void SchedulerThread::park(HostTime until) {
  look_for_corrupt();
  if (prepare_to_park()) {
    ++counters_.parks;
    if (options_.wake->wait_until(until, clock_.now()) == shm::WaitStatus::kSignalled) {
      options_.wake->drain();
      idle_ = 0;
    }
  }
  unpark();
}

// Says "asleep" in the page of every station, then looks at every outbox once more.
bool SchedulerThread::prepare_to_park() noexcept {
  for (const Outbox& outbox : outboxes_) Ring::Reader::say_parked(*outbox.page);
  const bool some_wait = loop_->waiting_for_records() != 0;
  for (const Outbox& outbox : outboxes_) {
    // Nothing of it is taken in any more, or for the moment.
    if (outbox.is_corrupt || (some_wait && loop_->waits_for_record(outbox.station))) continue;
    // relaxed: our own word; this thread alone writes it.
    const std::uint64_t cursor = outbox.page->cursor.load_relaxed();
    if (!Ring::Reader::is_still_empty(outbox.slots, cursor)) return false;
  }
  return !bell_.raised_ordered();
}

void SchedulerThread::unpark() noexcept {
  // relaxed: a late look costs a station one needless signal, nothing else.
  for (const Outbox& outbox : outboxes_) outbox.page->parked.store_relaxed(0);
}

void SchedulerThread::look_for_corrupt() {
  for (Outbox& outbox : outboxes_) {
    if (outbox.is_corrupt || !loop_->is_corrupt(outbox.station)) continue;
    outbox.is_corrupt = true;
    options_.on_corrupt(outbox.station);
  }
}

// Its cursor is input: masked it names some slot of ours, and one that lies finds nothing there.
void SchedulerThread::look_for_stuck(HostTime now) {
  stuck_due_ = now + stuck_look();
  for (Outbox& outbox : outboxes_) {
    // relaxed: a cursor that moved a moment ago has moved by the next look.
    const std::uint64_t cursor = outbox.inbox_reader->cursor.load_relaxed();
    const Ring::Slot& next = outbox.inbox[cursor & (outbox.inbox.size() - 1)];
    const bool has_more = next.stamp.load_relaxed() == cursor + 1;  // relaxed: our own word
    if (!has_more || cursor != outbox.cursor_seen) {
      outbox.cursor_seen = cursor;
      outbox.standing = 0;
    } else if (++outbox.standing == kStuckLooks) {
      options_.on_stuck(outbox.station);
    }
  }
}

std::vector<SchedulerThread::Stuck> SchedulerThread::stuck() const {
  std::vector<Stuck> stuck;
  for (const Outbox& outbox : outboxes_) {
    if (outbox.standing < kStuckLooks / 2) continue;
    stuck.push_back({outbox.station, outbox.standing * stuck_look()});
  }
  return stuck;
}

}  // namespace mesh::engine
