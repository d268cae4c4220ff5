// Stragglers: what runs much longer than its like is given to another agent too, if it may run
// twice. The first result counts; what fails is not missed while the other one goes on.
#include <algorithm>

#include "engine/coordination/blocks/ppm.hpp"
#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {
namespace {

constexpr std::int64_t kLongestNs = 1'000'000'000'000'000;  // eleven days: a share of it fits

}  // namespace

// --- how long is long --------------------------------------------------------------------------

void TaskScheduler::note_duration(std::uint32_t type, std::int64_t took_ns) noexcept {
  Durations& of = durations_[type % durations_.size()];
  if (of.type != type) of = {type, 0, {}};
  of.ns[of.count++ % kDurationsKept] = std::min(took_ns, kLongestNs);
}

// A share of the p95 (nearest rank) of the last of its type; 0: too few are known.
std::int64_t TaskScheduler::long_for(std::uint32_t type) const noexcept {
  const Durations& of = durations_[type % durations_.size()];
  if (of.type != type || of.count < config_.straggler_samples) return 0;
  auto sorted = of.ns;
  const std::uint32_t count = std::min(of.count, kDurationsKept);
  const auto p95 = sorted.begin() + (95 * count + 99) / 100 - 1;
  std::nth_element(sorted.begin(), p95, sorted.begin() + count);
  const std::int64_t ppm = config_.straggler_ppm;
  constexpr std::int64_t kWhole = kPpm;
  return std::max<std::int64_t>(*p95 / kWhole * ppm + *p95 % kWhole * ppm / kWhole, 1);
}

void TaskScheduler::arm_straggler(std::uint32_t at, std::int64_t now_ns) noexcept {
  const Task& one = tasks_[at];
  if (!one.may_run_twice || config_.copies_max == 0) return;
  const std::int64_t long_ns = long_for(one.type);
  if (long_ns != 0) stragglers_.set(one.running, now_ns + long_ns, one.fence);
}

// --- copies ------------------------------------------------------------------------------------

// After what is ready has been given out: with what is left of the agents' room.
void TaskScheduler::make_copies(std::vector<TaskAssignment>& out, std::int64_t now_ns) noexcept {
  if (restraint_.stopped) return;
  while (out.size() < config_.dispatch_max && copies_.size() < config_.copies_max) {
    const std::uint32_t slot = stragglers_.pop_due(now_ns);
    if (slot == kNone) return;
    const std::uint32_t at = held_[slot];
    const std::uint64_t allowed = 1 + counters_.started * config_.copies_ppm / kPpm;
    const std::uint32_t agent = counters_.copies < allowed ? choose_other(at) : kNoAgent;
    if (agent == kNoAgent) {  // looked at again later
      const std::int64_t long_ns = std::max<std::int64_t>(long_for(tasks_[at].type), 1);
      stragglers_.set(slot, now_ns + long_ns, tasks_[at].fence);
      continue;
    }
    copy(at, agent, now_ns);
    out.push_back(
        {tasks_[at].id, copies_.back().fence, terms_[at].payload, agent, tasks_[at].attempt});
  }
}

void TaskScheduler::copy(std::uint32_t at, std::uint32_t to, std::int64_t now_ns) noexcept {
  copies_.push_back({at, to, fence_.next(), now_ns, now_ns + terms_[at].timeout_ns, false});
  tasks_[at].is_doubled = true;
  Agent& agent = agents_[to];
  ++agent.copies;
  if (agent.load() >= agent.concurrent_max) refresh(to);
  ++counters_.copies;
  view_changed_ = true;
  emit(Event::task_assigned, Severity::debug, now_ns, {tasks_[at].id, to, copies_.back().fence});
}

TaskScheduler::Copy* TaskScheduler::copy_of(std::uint32_t at) noexcept {
  const auto found = std::find_if(copies_.begin(), copies_.end(),
                                  [at](const Copy& one) { return one.task == at; });
  return found == copies_.end() ? nullptr : &*found;
}
TaskScheduler::Copy* TaskScheduler::find_copy(std::uint32_t at, std::uint64_t fence) noexcept {
  Copy* one = tasks_[at].is_doubled ? copy_of(at) : nullptr;
  return one != nullptr && one->fence == fence ? one : nullptr;
}

// There is one. Whoever has it has an old fence from now on.
TaskScheduler::Copy TaskScheduler::take_copy(std::uint32_t at) noexcept {
  Copy* const found = copy_of(at);
  const Copy one = *found;
  copies_.erase(copies_.begin() + (found - copies_.data()));
  tasks_[at].is_doubled = false;
  Agent& agent = agents_[one.agent];
  --agent.copies;
  if (agent.load() + 1 >= agent.concurrent_max) refresh(one.agent);
  view_changed_ = true;
  return one;
}
void TaskScheduler::drop_copy(std::uint32_t at) noexcept {
  tell(TaskNotice::revoked, at, take_copy(at).agent);
}
void TaskScheduler::drop_copies_of(std::uint32_t agent) noexcept {
  while (agents_[agent].copies != 0) {
    const auto one = std::find_if(copies_.begin(), copies_.end(),
                                  [agent](const Copy& each) { return each.agent == agent; });
    drop_copy(one->task);
  }
}

// The first has failed or is lost: the copy is the task's assignment from now on.
void TaskScheduler::promote_copy(std::uint32_t at) noexcept {
  unassign(at);
  const Copy copy = take_copy(at);
  Task& one = tasks_[at];
  Agent& agent = agents_[copy.agent];
  one.state = copy.is_running ? TaskState::running : TaskState::assigned;
  one.agent = copy.agent;
  one.fence = copy.fence;
  one.running = free_held_.back();
  free_held_.pop_back();
  held_[one.running] = at;
  terms_[at].since_ns = copy.since_ns;
  timeouts_.set(one.running, copy.due_ns, copy.fence);
  // The oldest assignment first, as everywhere.
  std::uint32_t after = agent.tasks.last;
  while (after != kNone && tasks_[after].fence > copy.fence) after = tasks_[after].last;
  agent.tasks.insert(tasks_, at, after);
  agent.running += copy.is_running ? 1U : 0U;
  if (agent.load() >= agent.concurrent_max) refresh(copy.agent);
  ++counters_.copies_won;
}

void TaskScheduler::copies_due(std::int64_t now_ns) noexcept {
  while (next_copy_ns() <= now_ns) {
    const auto one =
        std::min_element(copies_.begin(), copies_.end(),
                         [](const Copy& a, const Copy& b) { return a.due_ns < b.due_ns; });
    ++agents_[one->agent].failed;
    drop_copy(one->task);
  }
}
std::int64_t TaskScheduler::next_copy_ns() const noexcept {
  std::int64_t next_ns = kNever;
  for (const Copy& one : copies_) next_ns = std::min(next_ns, one.due_ns);
  return next_ns;
}

// --- what its agent says -----------------------------------------------------------------------

TaskScheduler::Reply TaskScheduler::reply_of(const Copy& one) const noexcept {
  Reply reply;
  reply.state = one.is_running ? TaskState::running : TaskState::assigned;
  reply.agent = one.agent;
  reply.fence = one.fence;
  return reply;
}

TaskScheduler::Reply TaskScheduler::start(Copy& one, std::int64_t now_ns) noexcept {
  if (one.is_running) return refuse(Errc::wrong_state);
  one.is_running = true;
  one.since_ns = now_ns;
  one.due_ns = now_ns + terms_[one.task].timeout_ns;
  emit(Event::task_started, Severity::debug, now_ns, {tasks_[one.task].id, one.agent, one.fence});
  return reply_of(one);
}

TaskScheduler::Reply TaskScheduler::progress(Copy& one, std::int64_t now_ns) noexcept {
  if (!one.is_running) return refuse(Errc::wrong_state);
  one.due_ns = now_ns + terms_[one.task].timeout_ns;
  return reply_of(one);
}

TaskScheduler::Reply TaskScheduler::complete(const Copy& one, std::uint64_t result,
                                             std::int64_t now_ns) noexcept {
  if (!one.is_running) return refuse(Errc::wrong_state);
  const std::uint32_t at = one.task;
  Reply reply = reply_of(one);
  reply.state = TaskState::completed;
  const Copy won = take_copy(at);
  tell(TaskNotice::revoked, at, tasks_[at].agent);
  ++counters_.copies_won;
  emit(Event::task_completed, Severity::info, now_ns, {tasks_[at].id, won.agent, won.fence});
  completed_by(at, {won.agent, won.since_ns}, result, now_ns);
  return reply;
}

// The first goes on: no attempt is counted.
TaskScheduler::Reply TaskScheduler::give_up(const Copy& one, bool is_failure) noexcept {
  const std::uint32_t at = one.task;
  agents_[one.agent].failed += is_failure ? 1U : 0U;
  counters_.given_back += is_failure ? 0U : 1U;
  static_cast<void>(take_copy(at));
  Reply reply;  // not the fence of the one that goes on
  reply.state = tasks_[at].state;
  return reply;
}

// --- bytes, and what must hold -----------------------------------------------------------------

void TaskScheduler::save_copies(StateWriter& writer,
                                const std::vector<std::uint32_t>& places) const {
  std::uint32_t types = 0;
  for (const Durations& of : durations_) types += of.count != 0 ? 1U : 0U;
  writer.put(types);
  for (std::uint32_t i = 0; i < durations_.size(); ++i) {
    const Durations& of = durations_[i];
    if (of.count == 0) continue;
    writer.put(i);
    writer.put(of.type);
    writer.put(of.count);
    for (const std::int64_t ns : of.ns) writer.put(ns);
  }
  writer.put(static_cast<std::uint32_t>(copies_.size()));
  for (const Copy& one : copies_) {
    writer.put(places[one.task]);
    writer.put(one.agent);
    writer.put(one.fence);
    writer.put(one.since_ns);
    writer.put(one.due_ns);
    writer.put(one.is_running);
  }
}

void TaskScheduler::load_copies(StateReader& reader) {
  const std::size_t types = reader.get_count(16);
  for (std::size_t i = 0; i < types && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (at >= durations_.size()) return reader.fail();
    Durations& of = durations_[at];
    reader.get(of.type);
    reader.get(of.count);
    for (std::int64_t& ns : of.ns) reader.get(ns);
    const bool is_possible =
        of.count != 0 && std::all_of(of.ns.begin(), of.ns.end(),
                                     [](std::int64_t ns) { return ns >= 0 && ns <= kLongestNs; });
    if (!is_possible) return reader.fail();
  }
  const std::size_t count = reader.get_count(37);
  std::uint64_t before = 0;
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    Copy one;
    reader.get(one.task);
    reader.get(one.agent);
    reader.get(one.fence);
    reader.get(one.since_ns);
    reader.get(one.due_ns);
    reader.get(one.is_running);
    const bool is_possible = one.task < fresh_ && tasks_[one.task].state == TaskState::running &&
                             !tasks_[one.task].is_doubled && one.agent < config_.agents_max &&
                             agents_[one.agent].known && one.agent != tasks_[one.task].agent &&
                             one.fence > before && one.fence <= fence_.last() &&
                             copies_.size() < config_.copies_max;
    if (!is_possible) return reader.fail();
    before = one.fence;
    tasks_[one.task].is_doubled = true;
    ++agents_[one.agent].copies;
    copies_.push_back(one);
  }
}

bool TaskScheduler::copies_are_sound() const {
  std::vector<std::uint32_t> of_agent(config_.agents_max);
  bool sound = copies_.size() <= config_.copies_max;
  std::uint64_t before = 0;
  for (const Copy& one : copies_) {
    const Task& task = tasks_[one.task];
    sound = sound && task.is_doubled && task.state == TaskState::running &&
            task.agent != one.agent && task.fence != one.fence && one.fence > before &&
            agents_[one.agent].known;
    before = one.fence;
    ++of_agent[one.agent];
  }
  std::size_t doubled = 0;
  for (std::uint32_t at = 0; at < fresh_; ++at) doubled += tasks_[at].is_doubled ? 1U : 0U;
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    sound = sound && of_agent[at] == agents_[at].copies;
  }
  return sound && doubled == copies_.size();
}

}  // namespace mesh::tasks
