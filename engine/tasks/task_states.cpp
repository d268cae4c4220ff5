// What becomes of tasks: from state to state, and of those that wait for them.
#include <algorithm>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {
namespace {

IdHash hash_of_task(std::uint64_t id) noexcept { return hash_of_serial(id); }

BackoffConfig backoff_of(const TaskSchedulerConfig& config, double times = 1) noexcept {
  return {static_cast<double>(config.retry_ns.count()) * times, 2,
          static_cast<double>(config.retry_ns_max.count()) * times};
}

}  // namespace

std::uint32_t TaskScheduler::find(std::uint64_t id) const noexcept {
  return index_.find(hash_of_task(id));
}

// --- kinds -------------------------------------------------------------------------------------

// The kind of these requirements, or one that is free for them; kNone: there is none.
std::uint32_t TaskScheduler::find_kind(std::uint64_t requirements) const noexcept {
  std::uint32_t free = kNone;
  for (std::uint32_t at = 0; at < config_.kinds_max; ++at) {
    if (kinds_[at].tasks != 0 && kinds_[at].requirements == requirements) return at;
    if (kinds_[at].tasks == 0 && free == kNone) free = at;
  }
  return free;
}

std::uint32_t TaskScheduler::kind_of(std::uint64_t requirements) noexcept {
  const std::uint32_t at = find_kind(requirements);
  Kind& kind = kinds_[at];
  if (kind.tasks++ != 0) return at;
  kind.requirements = requirements;
  std::fill(kind.capable.begin(), kind.capable.end(), 0);
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (can(agent, at)) kind.capable[agent / 64] |= std::uint64_t{1} << (agent % 64);
  }
  return at;
}

// --- room --------------------------------------------------------------------------------------

bool TaskScheduler::make_room() noexcept {
  if (free_.count != 0 || fresh_ < config_.tasks_max) return true;
  if (ended_.count == 0) return false;
  forget(ended_.first);
  ++counters_.forgotten;
  return true;
}

std::uint32_t TaskScheduler::create(std::uint64_t id) noexcept {
  std::uint32_t at = free_.first;
  if (at == kNone) {
    at = fresh_++;
  } else {
    take_out(free_, at);
  }
  tasks_[at] = {};
  tasks_[at].id = id;
  tasks_[at].order = ++last_order_;
  tasks_[at].state = TaskState::pending;
  graph_.open(at);
  index_.set(hash_of_task(id), at);
  ++open_tasks_;
  view_changed_ = true;
  return at;
}

void TaskScheduler::forget(std::uint32_t at) noexcept {
  take_out(ended_, at);
  index_.erase(hash_of_task(tasks_[at].id));
  tasks_[at] = {};
  push(free_, at);
}

// --- ready -------------------------------------------------------------------------------------

// Its dependencies are done. What is to be done at an instant is not begun before it has to be.
void TaskScheduler::make_ready(std::uint32_t at, std::int64_t now_ns) noexcept {
  const std::int64_t begin_ns = terms_[at].arrival_ns - terms_[at].cost_ns;
  if (begin_ns <= now_ns) return enqueue(at, now_ns);
  tasks_[at].place = ++last_place_;
  delayed_.set(at, begin_ns, tasks_[at].place);
}

void TaskScheduler::enqueue(std::uint32_t at, std::int64_t now_ns) noexcept {
  Task& one = tasks_[at];
  one.state = TaskState::ready;
  one.place = ++last_place_;
  if (one.priority < restraint_.priority_min) return park(at);
  ready_.push(at, {one.place, now_ns, one.deadline_ns, one.kind, one.priority, one.priority});
}

// --- with an agent -----------------------------------------------------------------------------

void TaskScheduler::assign(std::uint32_t at, std::uint32_t to, std::int64_t now_ns) noexcept {
  Task& one = tasks_[at];
  Agent& agent = agents_[to];
  one.state = TaskState::assigned;
  one.agent = to;
  one.fence = fence_.next();
  ++one.attempt;
  one.running = free_held_.back();
  free_held_.pop_back();
  held_[one.running] = at;
  terms_[at].since_ns = now_ns;
  timeouts_.set(one.running, now_ns + terms_[at].timeout_ns, one.fence);
  push(agent.tasks, at);
  if (agent.load() >= agent.concurrent_max) refresh(to);
  ++counters_.assigned;
  view_changed_ = true;
  say(Event::task_assigned, Severity::debug, at, now_ns);
}

// Whoever had it has an old fence from now on.
void TaskScheduler::unassign(std::uint32_t at) noexcept {
  Task& one = tasks_[at];
  Agent& agent = agents_[one.agent];
  const std::uint32_t from = one.agent;
  timeouts_.clear(one.running);
  stragglers_.clear(one.running);
  held_[one.running] = kNone;
  free_held_.push_back(one.running);
  take_out(agent.tasks, at);
  agent.running -= one.state == TaskState::running ? 1U : 0U;
  one.running = kNone;
  one.agent = kNoAgent;
  one.fence = 0;
  if (agent.load() + 1 >= agent.concurrent_max) refresh(from);
}

void TaskScheduler::move(std::uint32_t at, std::uint32_t agent, std::int64_t now_ns) noexcept {
  if (tasks_[at].state == TaskState::assigned) --tasks_[at].attempt;  // it had not begun
  unassign(at);
  ++tasks_[at].moves;
  terms_[at].moved_ns = now_ns;
  ++counters_.moved;
  assign(at, agent, now_ns);
}

Nanos TaskScheduler::retry_bound(const Config& config, std::uint32_t retry) noexcept {
  return Nanos{static_cast<std::int64_t>(backoff_exponential(backoff_of(config), retry))};
}

// Its agent reports it, or says nothing for too long.
void TaskScheduler::attempt_failed(std::uint32_t at, bool for_good, std::int64_t now_ns) noexcept {
  ++counters_.failed;
  ++agents_[tasks_[at].agent].failed;
  say(Event::task_failed, Severity::warning, at, now_ns);
  const std::uint32_t agent = tasks_[at].agent;
  if (!for_good && tasks_[at].is_doubled) {
    tell(TaskNotice::retried, at, agent);
    return promote_copy(at);
  }
  if (for_good || tasks_[at].attempt > tasks_[at].retries) {
    tell(TaskNotice::dead, at, agent);
    end(at, TaskState::dead, now_ns);
    return cancel_dependents(now_ns);
  }
  unassign(at);
  Task& one = tasks_[at];
  one.state = TaskState::failed;
  one.place = ++last_place_;
  const double delay_ns = backoff_full_jitter(
      backoff_of(config_, restraint_.retries_doubled ? 2 : 1), one.attempt - 1, draws_.rng);
  delayed_.set(at, now_ns + static_cast<std::int64_t>(delay_ns), one.place);
  ++counters_.retried;
  tell(TaskNotice::retried, at, agent);
  say(Event::task_retried, Severity::info, at, now_ns);
}

// Its agent is gone. It is ready again at once; one that takes agent after agent along is dead.
void TaskScheduler::lose(std::uint32_t at, std::int64_t now_ns) noexcept {
  const std::uint32_t agent = tasks_[at].agent;
  ++counters_.lost;
  if (tasks_[at].is_doubled) {
    tell(TaskNotice::retried, at, agent);
    return promote_copy(at);
  }
  if (tasks_[at].state == TaskState::assigned) {
    --tasks_[at].attempt;
  } else if (tasks_[at].attempt > tasks_[at].retries) {
    tell(TaskNotice::dead, at, agent);
    end(at, TaskState::dead, now_ns);
    return cancel_dependents(now_ns);
  }
  unassign(at);
  tell(TaskNotice::retried, at, agent);
  enqueue(at, now_ns);
  say(Event::task_retried, Severity::info, at, now_ns);
}

void TaskScheduler::lose_all(std::uint32_t agent, std::int64_t now_ns) noexcept {
  agents_[agent].routable = false;
  refresh(agent);
  drop_copies_of(agent);
  while (agents_[agent].tasks.first != kNone) lose(agents_[agent].tasks.first, now_ns);
  view_changed_ = true;
}

// --- the end -----------------------------------------------------------------------------------

// Out of wherever it stands.
void TaskScheduler::leave(std::uint32_t at) noexcept {
  delayed_.clear(at);
  if (tasks_[at].is_doubled) drop_copy(at);
  if (tasks_[at].is_parked) {
    unpark(at);
  } else if (tasks_[at].state == TaskState::ready) {
    ready_.take_out(at);
  } else if (tasks_[at].agent != kNoAgent) {
    unassign(at);
  }
}

void TaskScheduler::end(std::uint32_t at, TaskState state, std::int64_t now_ns) noexcept {
  if (state == TaskState::dead) say(Event::task_dead, Severity::error, at, now_ns);
  if (state == TaskState::cancelled) say(Event::task_cancelled, Severity::info, at, now_ns);
  leave(at);
  graph_.each_in(at, [&](std::uint32_t edge, std::uint32_t) { graph_.unlink(edge); });
  Task& one = tasks_[at];
  one.state = state;
  one.missing = 0;
  one.place = ++last_place_;
  push(ended_, at);
  --open_tasks_;
  --kinds_[one.kind].tasks;
  counters_.completed += state == TaskState::completed ? 1U : 0U;
  counters_.cancelled += state == TaskState::cancelled ? 1U : 0U;
  counters_.dead += state == TaskState::dead ? 1U : 0U;
  if (state != TaskState::completed) gone_.push_back(at);  // reserved: each ends once
  view_changed_ = true;
}

void TaskScheduler::release_dependents(std::uint32_t at, std::int64_t now_ns) noexcept {
  graph_.each_out(at, [&](std::uint32_t edge, std::uint32_t to) {
    graph_.unlink(edge);
    if (--tasks_[to].missing == 0) make_ready(to, now_ns);
  });
}

void TaskScheduler::cancel_dependents(std::int64_t now_ns) noexcept {
  for (std::size_t i = 0; i < gone_.size(); ++i) {
    graph_.each_out(gone_[i], [&](std::uint32_t, std::uint32_t to) {
      tell(TaskNotice::cancelled, to, kNoAgent);
      end(to, TaskState::cancelled, now_ns);  // its edges, this one among them, go
    });
  }
  gone_.clear();
}

void TaskScheduler::tell(TaskNotice kind, std::uint32_t at, std::uint32_t agent) noexcept {
  // A task is told of at most once or twice a command; beyond what is reserved news are dropped,
  // its state says the same.
  if (news_.size() < news_.capacity()) news_.push_back({kind, agent, tasks_[at].id});
}

void TaskScheduler::say(Event name, Severity severity, std::uint32_t at,
                        std::int64_t now_ns) noexcept {
  emit(name, severity, now_ns, {tasks_[at].id, tasks_[at].agent, tasks_[at].fence});
}

// --- time --------------------------------------------------------------------------------------

void TaskScheduler::catch_up(std::int64_t now_ns) noexcept {
  for (std::uint32_t slot; (slot = timeouts_.pop_due(now_ns)) != kNone;) {
    ++counters_.timed_out;
    attempt_failed(held_[slot], false, now_ns);
  }
  if (!copies_.empty()) copies_due(now_ns);
  for (std::uint32_t at; (at = delayed_.pop_due(now_ns)) != kNone;) enqueue(at, now_ns);
  release_parked(now_ns);
  ready_.age(now_ns);
}

// The most urgent of what somebody can take now, again and again.
void TaskScheduler::dispatch(std::vector<TaskAssignment>& out, std::int64_t now_ns) noexcept {
  if (restraint_.stopped) return;
  while (out.size() < config_.dispatch_max && !free_held_.empty() && ready_.count() != 0) {
    std::uint32_t best = kNone;
    std::uint32_t seen = 0;  // the kinds in use come first: behind the last of them there is none
    for (std::uint32_t kind = 0; seen != ready_.count(); ++kind) {
      const std::uint32_t at = ready_.front(kind);
      seen += ready_.count(kind);
      const bool is_better = at != kNone && (best == kNone || ready_.is_before(at, best));
      if (is_better && has_candidate(kind)) best = at;
    }
    if (best == kNone) return;
    const std::uint32_t agent = choose(best, draws_);
    if (agent == kNoAgent) return;
    ready_.take_out(best);
    assign(best, agent, now_ns);
    out.push_back(assignment_of(best));
  }
}

std::uint32_t TaskScheduler::next_ready(std::uint32_t agent) const noexcept {
  std::uint32_t best = kNone;
  if ((open_[agent / 64] >> (agent % 64) & 1U) == 0) return best;
  std::uint32_t seen = 0;
  for (std::uint32_t kind = 0; seen != ready_.count(); ++kind) {
    const std::uint32_t at = ready_.front(kind);
    seen += ready_.count(kind);
    const bool is_its = at != kNone && can(agent, kind);
    if (is_its && (best == kNone || ready_.is_before(at, best))) best = at;
  }
  return best;
}

}  // namespace mesh::tasks
