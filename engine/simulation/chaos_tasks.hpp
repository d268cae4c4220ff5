// ChaosTasks: tasks and a shared register beside the requests of a ChaosMesh, to see what journal,
// fences and keys are worth.
//
// Real in it: the queue (exactly_once_queue) and the locks (lock_manager), each journaled
// (journaled_service) in a journal that keeps what a disk would. Simulated: producers, which give
// the queue a task each kTaskEvery; workers, a few of the mesh's agents, which claim a task, do
// something outside that cannot be taken back, and complete it; and writers, the same agents, of
// whom the one that holds the lock writes to the register, its fencing token with each write. What
// an agent sends while it is cut off arrives when that is over.
//
// Guards:
//     journal      the queue answers what is synced. Without it: before that
//     fences       the register takes no write whose token is older than one that it has seen
//     effect_keys  what is done outside knows the task that it was done for, and is done once
//
// Callers     one thread: ChaosMesh.
// Units       Nanos of virtual time.
// Errors      step -> what the services say of themselves: corrupt.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/coordination/blocks/memory_journal.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/journaled_service.hpp"
#include "engine/coordination/lock_manager.hpp"

namespace mesh::engine::simulation {

struct ChaosTaskGuards {
  bool journal = true;
  bool fences = true;
  bool effect_keys = true;
};

// Where a death comes: of the host, within its next command; of a worker, within its next task.
enum class HostStep : std::uint32_t { before_journal = 1, torn, journaled, synced, applied };
inline constexpr std::uint32_t kHostSteps = 5;
enum class WorkerHook : std::uint32_t { claimed = 1, done, completed };
inline constexpr std::uint32_t kWorkerHooks = 3;

struct ChaosTaskPeriod {
  std::uint64_t tasks_done = 0;
  std::uint64_t double_effects = 0;  // done outside again
  std::uint64_t lost_tasks = 0;      // accepted, and not known any more
  std::uint64_t writes = 0;          // to the register
  std::uint64_t stale_writes = 0;    // of who does not hold it any more, and taken all the same
};

// A write as the register took it, or an answer: what a checker of histories reads.
struct RegisterWrite {
  std::int64_t at_ns = 0;
  std::uint32_t agent = 0;
  std::uint64_t fence = 0;
};

class ChaosTasks {
 public:
  static constexpr std::uint32_t kWorkers = 6;  // agents 0 to 5
  static Result<std::unique_ptr<ChaosTasks>> create(std::uint64_t seed,
                                                    const ChaosTaskGuards& guards);

  enum class Reach : std::uint8_t { up, cut, stands, gone };
  using ReachOf = std::function<Reach(std::uint32_t agent)>;
  // To be called each kStep. `dies(agent)`: its hook has come.
  Status step(std::int64_t now_ns, const ReachOf& reach_of,
              const std::function<void(std::uint32_t agent)>& dies);

  // The host dies at that step of its next command, and is away until open_host().
  void kill_host(HostStep at) noexcept { host_dies_at_ = at; }
  Status open_host();
  [[nodiscard]] bool is_host_up() const noexcept { return queue_.has_value(); }
  void kill_worker(std::uint32_t agent, WorkerHook at) noexcept { workers_[agent].dies_at = at; }
  // Whatever it was to die of, it does not any more.
  void spare_worker(std::uint32_t agent) noexcept { workers_[agent].dies_at.reset(); }

  [[nodiscard]] ChaosTaskPeriod take_period() noexcept;
  enum class Doing : std::uint8_t { nothing, works, completes };
  [[nodiscard]] Doing doing(std::uint32_t worker) const noexcept { return workers_[worker].doing; }
  [[nodiscard]] bool holds_lock(std::uint32_t worker) const noexcept {
    return workers_[worker].grant != 0;
  }
  [[nodiscard]] const std::vector<RegisterWrite>& writes() const noexcept { return history_; }
  // Every task that was accepted is in the queue, or was done; O(tasks).
  [[nodiscard]] Status verify() const;

  static constexpr std::int64_t kStepNs = 20 * kNsPerMs;

 private:
  using Queue = coordination::JournaledService<coordination::ExactlyOnceQueue>;
  using Locks = coordination::JournaledService<coordination::LockManager>;
  // Forgets what was not synced; where the guard is off, syncs in name alone.
  class Disk final : public coordination::Journal {
   public:
    Result<std::uint64_t> append(std::span<const std::byte> record) override;
    Status sync() override;
    Status replace_snapshot(const coordination::StoredSnapshot& stored) override {
      return log.replace_snapshot(stored);
    }
    Result<coordination::StoredSnapshot> newest_snapshot() const override {
      return log.newest_snapshot();
    }
    Status replay(std::uint64_t sequence, coordination::JournalVisitor& visitor) const override {
      return log.replay(sequence, visitor);
    }
    coordination::MemoryJournal log;
    bool is_honest = true;
    bool fails_append = false;
    bool fails_sync = false;
  };
  struct Task {
    std::uint32_t effects = 0;
    bool is_accepted = false;
    bool is_done = false;
    bool is_lost = false;
  };
  struct Worker {
    Doing doing = Doing::nothing;
    std::string task;
    std::uint64_t fence = 0;
    std::int64_t until_ns = 0;
    std::optional<WorkerHook> dies_at;
    std::uint64_t sequence = 1;
    bool is_gone = false;
    // As a writer.
    std::uint64_t grant = 0;
    std::uint64_t token = 0;
    std::int64_t expires_ns = 0;
    std::uint64_t lock_sequence = 1;
    std::vector<std::uint64_t> unsent;  // tokens of writes on their way
  };

  ChaosTasks(std::uint64_t seed, const ChaosTaskGuards& guards);
  template <class Service, class Command>
  Result<std::optional<typename Service::Reply>> ask(std::optional<Service>& service, Disk& disk,
                                                     coordination::CommandSource source,
                                                     Command command);
  void lose_host(std::size_t kept_bytes) noexcept;
  Status produce();
  Status work(std::uint32_t agent);
  Status claim(std::uint32_t agent);
  Status complete(std::uint32_t agent);
  Status acquire(std::uint32_t agent);
  Status renew(std::uint32_t agent);
  Status write(std::uint32_t agent);
  Status tell_deaths();
  Status step_worker(std::uint32_t agent, Reach reach);
  void arrive(std::uint32_t agent);
  void apply_effect(const std::string& task);
  void apply_write(std::uint32_t agent, std::uint64_t token);
  [[nodiscard]] bool dies(std::uint32_t agent, WorkerHook at);
  void end_worker(std::uint32_t agent);
  void look_for_lost();

  ChaosTaskGuards guards_;
  coordination::Rng rng_;
  std::int64_t now_ns_ = 0;
  Disk queue_disk_, lock_disk_;
  std::optional<Queue> queue_;
  std::optional<Locks> locks_;
  std::optional<HostStep> host_dies_at_;
  std::array<Worker, kWorkers> workers_;
  std::map<std::string, Task> tasks_;
  std::uint64_t last_task_ = 0;
  std::uint64_t producer_sequence_ = 1;
  std::int64_t produce_ns_ = 0;
  bool is_producing_ = false;  // the newest task has no answer yet
  std::uint64_t token_seen_ = 0;
  std::uint32_t turn_ = 0;
  std::uint64_t host_sequence_ = 1;
  std::vector<std::uint32_t> closed_;  // stations that have died, not told yet
  std::vector<std::uint32_t> died_;
  ChaosTaskPeriod period_;
  std::vector<RegisterWrite> history_;
};

}  // namespace mesh::engine::simulation
