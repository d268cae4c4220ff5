// SchedulerThread: the one thread that runs EngineLoop::tick with the real clock, and everything
// else that touches the loop: jobs, which other threads hand over and get back.
//
// Callers     start, stop: one at a time. post, take_done: any thread. attach, detach: jobs.
// Progress    post: lock-free. The thread itself takes no lock, and sleeps only when a tick found
//             nothing, no job waits and nothing is due within kSpinBefore.
// Ordering    what was written before post() happens-before the job's run(); what run() wrote
//             happens-before done().
// Cost        parking: two seq_cst accesses for each attached station.
// Units       HostTime of the mesh's clock, which this thread publishes once a second; its counters
//             with it.
// If the      station lies: a ring that cannot be is reported once through Options::on_corrupt.
// other side  It stands still: one that has left deliveries unread for Options::stuck_after is
// lies, or    reported once through Options::on_stuck. Standing is counted in looks, not by the
// stalls      clock: an engine that was stopped itself holds nothing against anyone.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "engine/counter_page.hpp"
#include "engine/emergency.hpp"
#include "engine/fault_board.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/pipeline.hpp"
#include "engine/station/bell.hpp"
#include "queues/local/hand_over.hpp"
#include "queues/spsc_ring.hpp"
#include "queues/wait_strategy.hpp"
#include "sched/clock.hpp"
#include "sched/pinning.hpp"
#include "shm/event_fd.hpp"

namespace mesh::engine {

class SchedulerThread;

// Work for the scheduler thread. It goes there, is run, and comes back to be told: done().
class Job {
 public:
  virtual ~Job() = default;
  // On the scheduler thread. The operation whose end it waits for, or none: it is done.
  virtual std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) = 0;
  virtual void on_finished(SchedulerThread& scheduler, const FinishedOperation& finished);
  virtual void on_cascade(SchedulerThread& scheduler, const FinishedCascade& finished);
  virtual void on_pipeline(SchedulerThread& scheduler, const FinishedPipeline& finished);
  // The answer that it waits for (SchedulerThread::await_answer); null: none came in time.
  virtual void on_answered(SchedulerThread& scheduler, const AnsweredMessage* answered);
  // On the thread that takes what is done. A job that never ran is destroyed without it.
  virtual void done() = 0;
};

inline constexpr std::uint32_t kStuckLooks = 8;  // in Options::stuck_after
inline constexpr std::size_t kJobsMax = 4'096;   // handed over and not yet taken back
inline constexpr Nanos kSpinBefore{100 * kNsPerUs};

class SchedulerThread final : public Wakes {
 public:
  struct Options {
    LoopMemory memory;
    LoopOptions loop;
    queues::WaitOptions wait;
    sched::ThreadOptions thread;
    std::shared_ptr<const shm::EventFd> wake;  // of this thread; stations signal it too
    std::shared_ptr<const shm::EventFd> done;  // signalled when a job is done
    // On the scheduler thread: no more than a post.
    std::function<void(StationId)> on_corrupt;
    std::function<void(StationId)> on_stuck;
    // The same, within a second of a change of the mode; FULL is what it begins with.
    std::function<void(const ModeSeen&)> on_mode;
    Nanos stuck_after{10 * kNsPerSecond};
    ConflictSink* conflicts = nullptr;  // outlives the thread, as does the next
    ResultSink* results = nullptr;
  };
  struct Counters {
    std::uint64_t turns = 0;
    std::uint64_t parks = 0;
    std::uint64_t retunes = 0;
  };

  // Publishes the clock's first line, which takes some tens of milliseconds.
  static Result<std::unique_ptr<SchedulerThread>> create(const Options& options,
                                                         sched::ClockWords& clock);
  ~SchedulerThread() override;
  SchedulerThread(const SchedulerThread&) = delete;
  SchedulerThread& operator=(const SchedulerThread&) = delete;

  // From here on the loop is the thread's. What it was granted, and what not.
  Result<sched::ThreadReport> start();
  // Jobs that wait are destroyed.
  void stop();

  // Null: taken. Full or stopped: the job back.
  [[nodiscard]] std::unique_ptr<Job> post(std::unique_ptr<Job> job);
  [[nodiscard]] std::unique_ptr<Job> take_done();

  // On the scheduler thread.
  struct Attachment {
    StationId station{};
    StationMemory memory;
    std::uint32_t uid = 0;
    const shm::EventFd* wake = nullptr;
  };
  Status attach(const Attachment& attachment, HostTime now);
  // A station of the dead engine, with its memories as they were.
  Status readopt(const Attachment& attachment, HostTime now);
  void detach(StationId station, HostTime now, Departure departure);
  // Within Job::run: the job is not done before on_answered().
  void await_answer(sched::MessageId question, HostTime deadline) {
    asking_ = {question, deadline};
  }
  // One of the dead engine that did not come back. `in`: its memory, to keep what it had not
  // answered.
  void give_up(const Attachment& attachment, HostTime now);
  // In a job.
  Status retune(const LoopTuning& tuning, Nanos stuck_after);
  [[nodiscard]] EngineLoop& loop() noexcept { return *loop_; }
  [[nodiscard]] FaultBoard& faults() noexcept { return *faults_; }
  [[nodiscard]] StepDeath& death() noexcept { return death_; }
  // What makes HostTime wall time.
  [[nodiscard]] std::int64_t unix_offset_ns() const noexcept {
    return options_.loop.unix_offset_ns;
  }
  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }
  // Those that have stood still for half of stuck_after.
  struct Stuck {
    StationId station{};
    Nanos standing{};
  };
  [[nodiscard]] std::vector<Stuck> stuck() const;

  // The last cascade that ended, and when; none: none did.
  struct LastCascade {
    FinishedCascade finished;
    HostTime at{};
  };
  [[nodiscard]] const std::optional<LastCascade>& last_cascade() const noexcept {
    return last_cascade_;
  }
  // Answers in CONFLICT, as last published.
  [[nodiscard]] std::uint64_t conflicts_last_hour() const noexcept { return conflicts_last_hour_; }

  void wake(StationId station) noexcept override;

 private:
  using Ring = queues::SpscRing<>;
  struct Outbox {  // of one station: what parking looks at
    StationId station{};
    const shm::EventFd* wake = nullptr;
    Ring::ReaderPage* page = nullptr;
    std::span<const Ring::Slot> slots;
    bool is_corrupt = false;
    // Its inbox: whether it reads what is there.
    const Ring::ReaderPage* inbox_reader = nullptr;
    std::span<const Ring::Slot> inbox;
    std::uint64_t cursor_seen = 0;
    std::uint32_t standing = 0;  // looks in a row that found the cursor there and more to read
  };
  using JobQueue = queues::local::HandOver<Job*>;  // owned by the queue while they are in it

  SchedulerThread(const Options& options, sched::ClockWords& clock);
  void run();
  void run_jobs(HostTime now);
  void finish_operations(HostTime now);
  void finish_cascades(HostTime now);
  void finish_pipelines();
  void finish_questions(HostTime now);
  void give_back(std::unique_ptr<Job> job);
  void pause(const TickResult& result);
  void park(HostTime until);
  [[nodiscard]] bool prepare_to_park() noexcept;
  void unpark() noexcept;
  void publish(HostTime now);
  void tell_mode(const MeshOverview& mesh, HostTime now);
  void look_for_corrupt();
  void look_for_stuck(HostTime now);
  Status watch(const Attachment& attachment);
  [[nodiscard]] Nanos stuck_look() const noexcept { return options_.stuck_after / kStuckLooks; }

  Options options_;
  sched::ClockPublisher<> publisher_;
  sched::ClockReader<> clock_;
  StepDeath death_;  // before the loop, which has its address
  std::unique_ptr<EngineLoop> loop_;
  std::optional<CounterPage> counter_page_;
  std::optional<FaultBoard> faults_;
  std::optional<LastCascade> last_cascade_;
  std::uint64_t conflicts_last_hour_ = 0;
  health::OperatingMode mode_seen_ = health::OperatingMode::full;
  std::vector<Outbox> outboxes_;  // in no order
  Bell bell_;
  JobQueue jobs_;
  JobQueue done_;
  Bell done_bell_;
  std::deque<std::unique_ptr<Job>> backlog_;                         // done, and the queue was full
  std::unordered_map<std::uint64_t, std::unique_ptr<Job>> waiting_;  // by operation
  struct Question {
    sched::MessageId message{};
    HostTime deadline{};
  };
  struct Asked {
    Question question;
    std::unique_ptr<Job> job;
  };
  std::optional<Question> asking_;
  std::vector<Asked> asked_;  // a few: one for each caller that waits
  HostTime publish_due_{};
  HostTime stuck_due_{};
  Nanos idle_look_{};
  std::uint32_t idle_ = 0;
  std::uint64_t pending_seen_ = 0;
  HostTime pending_until_{};
  Counters counters_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mesh::engine
