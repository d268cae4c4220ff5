#include "engine/simulation/chaos_tasks.hpp"

#include <algorithm>
#include <utility>

namespace mesh::engine::simulation {
namespace {

namespace once = coordination::once;
namespace lock = coordination::lock;
using coordination::CommandSource;
using coordination::Refusal;

constexpr std::int64_t kTaskEveryNs = 120 * kNsPerMs;
constexpr Nanos kVisibility{2 * kNsPerSecond};
constexpr Nanos kLease{kNsPerSecond};
constexpr const char* kRegister = "register";
constexpr std::uint32_t kProducer = 1'000;
constexpr std::uint32_t kHost = 1'001;

coordination::ExactlyOnceQueueConfig queue_config() {
  coordination::ExactlyOnceQueueConfig config;
  config.capacity = 4'096;
  config.dedup_capacity = 65'536;
  config.expected_rate_per_s = 10;
  config.visibility_ns = kVisibility;
  config.attempts_max = 1'000;
  config.poison_stations = 4;  // the most there is: nobody kills so many
  config.store_bytes = 4U << 20;
  config.events_max = 16;
  return config;
}
coordination::LockManagerConfig lock_config() {
  coordination::LockManagerConfig config;
  config.lease_ns = kLease;
  config.agents_max = ChaosTasks::kWorkers;
  config.locks_max = 64;
  config.resources_max = 16;
  config.queue_max = 16;
  config.events_max = 16;
  return config;
}

}  // namespace

Result<std::uint64_t> ChaosTasks::Disk::append(std::span<const std::byte> record) {
  if (fails_append) return fail(Errc::io_error, "journal: its process has died");
  return log.append(record);
}
Status ChaosTasks::Disk::sync() {
  if (fails_sync) return fail(Errc::io_error, "journal: its process has died");
  return is_honest ? log.sync() : Status{};
}

ChaosTasks::ChaosTasks(std::uint64_t seed, const ChaosTaskGuards& guards)
    : guards_(guards), rng_(seed) {
  queue_disk_.is_honest = guards.journal;
}

Result<std::unique_ptr<ChaosTasks>> ChaosTasks::create(std::uint64_t seed,
                                                       const ChaosTaskGuards& guards) {
  std::unique_ptr<ChaosTasks> made(new ChaosTasks(seed, guards));
  MESH_CHECK_OK(made->open_host());
  return made;
}

// --- the host ----------------------------------------------------------------------------------

Status ChaosTasks::open_host() {
  if (queue_) return {};
  host_dies_at_.reset();
  for (Disk* const disk : {&queue_disk_, &lock_disk_})
    disk->fails_append = disk->fails_sync = false;
  MESH_TRY(queue_, Queue::open(queue_config(), queue_disk_));
  MESH_TRY(locks_, Locks::open(lock_config(), lock_disk_));
  look_for_lost();
  return {};
}

void ChaosTasks::lose_host(std::size_t kept_bytes) noexcept {
  queue_disk_.log.crash(std::min(kept_bytes, queue_disk_.log.unsynced_bytes()));
  lock_disk_.log.crash(0);
  queue_.reset();
  locks_.reset();
  host_dies_at_.reset();
}

// None: it has died, or is away, and the command is to be given again under the same number.
template <class Service, class Command>
Result<std::optional<typename Service::Reply>> ChaosTasks::ask(std::optional<Service>& service,
                                                               Disk& disk, CommandSource source,
                                                               Command command) {
  using Asked = std::optional<typename Service::Reply>;
  if (!service) return Asked{};
  const auto dies_at = host_dies_at_;
  disk.fails_append = dies_at == HostStep::before_journal;
  disk.fails_sync = dies_at == HostStep::journaled || dies_at == HostStep::torn;
  auto reply =
      service->execute(typename Service::Request{source, std::move(command)}, Nanos{now_ns_});
  if (!dies_at) {
    if (!reply) return tl::unexpected<Error>(reply.error());
    return Asked(std::move(*reply));
  }
  const std::size_t written = queue_disk_.log.unsynced_bytes();
  std::size_t kept = 0;
  if (dies_at == HostStep::journaled) kept = written;
  if (dies_at == HostStep::torn) kept = written / 2;
  lose_host(kept);
  return Asked{};
}

// What was accepted and is nowhere.
void ChaosTasks::look_for_lost() {
  for (auto& [name, task] : tasks_) {
    const bool is_wanted = task.is_accepted && !task.is_done && !task.is_lost;
    if (!is_wanted || queue_->service().inspect(name).code != Errc::not_found) continue;
    task.is_lost = true;
    ++period_.lost_tasks;
  }
}

// --- tasks -------------------------------------------------------------------------------------

Status ChaosTasks::produce() {
  if (!is_producing_) {
    if (now_ns_ < produce_ns_) return {};
    produce_ns_ = now_ns_ + kTaskEveryNs;
    ++last_task_;
    is_producing_ = true;
  }
  const std::string name = "task-" + std::to_string(last_task_);
  once::Enqueue task;
  task.id = name;
  tasks_[name];
  MESH_TRY(const auto said,
           ask(queue_, queue_disk_, {kProducer, producer_sequence_}, std::move(task)));
  if (!said) return {};
  ++producer_sequence_;
  is_producing_ = false;
  tasks_[name].is_accepted = said->code == Errc::ok;
  return {};
}

bool ChaosTasks::dies(std::uint32_t agent, WorkerHook at) {
  if (workers_[agent].dies_at != at) return false;
  end_worker(agent);
  died_.push_back(agent);
  return true;
}

// What it had in hand is gone; the host is told, once it is there.
void ChaosTasks::end_worker(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  worker.is_gone = true;
  worker.dies_at.reset();
  worker.doing = Doing::nothing;
  worker.grant = 0;
  worker.unsent.clear();
  ++worker.sequence;  // its process's commands are nobody's
  ++worker.lock_sequence;
  closed_.push_back(agent);
}

Status ChaosTasks::claim(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  once::Claim wanted;
  wanted.worker = "worker-" + std::to_string(agent);
  wanted.station = agent + 1;
  MESH_TRY(const auto said,
           ask(queue_, queue_disk_, {agent + 1, worker.sequence}, std::move(wanted)));
  if (!said) return {};
  ++worker.sequence;
  if (said->tasks.empty()) return {};
  worker.task = said->tasks.front().id;
  worker.fence = said->tasks.front().fence;
  worker.doing = Doing::works;
  worker.until_ns = now_ns_ + 40 * kNsPerMs + static_cast<std::int64_t>(rng_.below(80 * kNsPerMs));
  static_cast<void>(dies(agent, WorkerHook::claimed));
  return {};
}

void ChaosTasks::apply_effect(const std::string& name) {
  Task& task = tasks_[name];
  if (guards_.effect_keys && task.effects != 0) return;
  if (++task.effects > 1) ++period_.double_effects;
}

Status ChaosTasks::complete(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  MESH_TRY(const auto said, ask(queue_, queue_disk_, {agent + 1, worker.sequence},
                                once::Complete{worker.task, worker.fence, {}}));
  if (!said) return {};
  ++worker.sequence;
  if (said->code == Errc::ok) {
    tasks_[worker.task].is_done = true;
    ++period_.tasks_done;
  }
  worker.doing = Doing::nothing;
  static_cast<void>(dies(agent, WorkerHook::completed));
  return {};
}

Status ChaosTasks::work(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  if (worker.doing == Doing::nothing) return claim(agent);
  if (worker.doing == Doing::completes) return complete(agent);
  if (now_ns_ < worker.until_ns) return {};
  apply_effect(worker.task);
  worker.doing = Doing::completes;
  static_cast<void>(dies(agent, WorkerHook::done));
  return {};
}

// --- the register ------------------------------------------------------------------------------

void ChaosTasks::apply_write(std::uint32_t agent, std::uint64_t token) {
  const bool is_stale = token < token_seen_;
  if (is_stale && guards_.fences) return;
  token_seen_ = std::max(token_seen_, token);
  ++period_.writes;
  if (is_stale) ++period_.stale_writes;
  history_.push_back({now_ns_, agent, token});
}

// Takes the lock; at once, or not at all.
Status ChaosTasks::acquire(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  lock::Acquire wanted;
  wanted.agent = agent;
  wanted.resource = kRegister;
  wanted.timeout = Nanos{0};
  wanted.station = agent + 1;
  MESH_TRY(const auto said,
           ask(locks_, lock_disk_, {agent + 1, worker.lock_sequence}, std::move(wanted)));
  if (!said) return {};
  ++worker.lock_sequence;
  const bool is_granted = said->code == Errc::ok && said->refusal == Refusal::none;
  if (!is_granted) return {};
  worker.grant = said->grant;
  worker.token = said->fence;
  worker.expires_ns = now_ns_ + kLease.count();
  return {};
}

Status ChaosTasks::renew(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  MESH_TRY(const auto said, ask(locks_, lock_disk_, {agent + 1, worker.lock_sequence},
                                lock::Renew{worker.grant, Nanos{0}, agent + 1}));
  if (!said) return {};
  ++worker.lock_sequence;
  if (said->code == Errc::ok) {
    worker.expires_ns = now_ns_ + kLease.count();
  } else {
    worker.grant = 0;
  }
  return {};
}

// Takes the lock, or renews it, and writes while it holds it by its own clock.
Status ChaosTasks::write(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  if (worker.grant != 0 && now_ns_ >= worker.expires_ns) worker.grant = 0;
  if (worker.grant == 0) {
    MESH_CHECK_OK(acquire(agent));
  } else if (now_ns_ + kLease.count() / 2 >= worker.expires_ns) {
    MESH_CHECK_OK(renew(agent));
  }
  if (worker.grant != 0) worker.unsent.push_back(worker.token);
  return {};
}

// What it has sent is there now.
void ChaosTasks::arrive(std::uint32_t agent) {
  Worker& worker = workers_[agent];
  for (const std::uint64_t token : std::exchange(worker.unsent, {})) apply_write(agent, token);
}

// --- time --------------------------------------------------------------------------------------

// Which stations have died, to the host, once it is there.
Status ChaosTasks::tell_deaths() {
  while (!closed_.empty() && queue_) {
    const std::uint32_t station = closed_.back() + 1;
    MESH_TRY(const auto said,
             ask(queue_, queue_disk_, {kHost, host_sequence_}, once::StationClosed{station}));
    if (!said) break;
    MESH_TRY(const auto freed,
             ask(locks_, lock_disk_, {kHost, host_sequence_}, lock::StationClosed{station}));
    if (!freed) break;
    ++host_sequence_;
    closed_.pop_back();
  }
  return {};
}

Status ChaosTasks::step_worker(std::uint32_t agent, Reach reach) {
  Worker& worker = workers_[agent];
  if (reach == Reach::gone && !worker.is_gone) end_worker(agent);
  worker.is_gone = reach == Reach::gone;
  if (reach != Reach::up) {
    // Cut off it goes on as long as it holds what it knows to be its own; nothing of it gets
    // there. Stopped it was between a look at its lease and the write.
    const bool holds = worker.grant != 0 && now_ns_ < worker.expires_ns;
    const bool writes = holds && (reach == Reach::cut || worker.unsent.empty());
    if (writes) worker.unsent.push_back(worker.token);
    return {};
  }
  arrive(agent);
  MESH_CHECK_OK(work(agent));
  if (!worker.is_gone) MESH_CHECK_OK(write(agent));
  arrive(agent);
  return {};
}

Status ChaosTasks::step(std::int64_t now_ns, const ReachOf& reach_of,
                        const std::function<void(std::uint32_t agent)>& dies) {
  now_ns_ = now_ns;
  MESH_CHECK_OK(tell_deaths());
  MESH_CHECK_OK(produce());
  ++turn_;  // nobody is always the first
  for (std::uint32_t i = 0; i < kWorkers; ++i) {
    const std::uint32_t agent = (turn_ + i) % kWorkers;
    MESH_CHECK_OK(step_worker(agent, reach_of(agent)));
  }
  for (const std::uint32_t agent : std::exchange(died_, {})) dies(agent);
  return {};
}

ChaosTaskPeriod ChaosTasks::take_period() noexcept { return std::exchange(period_, {}); }

Status ChaosTasks::verify() const {
  if (!queue_) return {};
  MESH_CHECK_OK(queue_->service().verify());
  return locks_->service().verify();
}

}  // namespace mesh::engine::simulation
