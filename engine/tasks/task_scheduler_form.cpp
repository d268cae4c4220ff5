// What a task scheduler looks like from outside: its presets, its views, its bytes, what must hold.
#include <algorithm>

#include "engine/tasks/task_scheduler.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 4> kSchedulerPresets{"standard", "million", "fast-dispatch",
                                                            "pi4b"};

void words_of_agent(auto& agent, auto&& visit) {
  visit(agent.capabilities);
  visit(agent.completed);
  visit(agent.failed);
  visit(agent.usual_ns);
  visit(agent.last_ns);
  visit(agent.lead_ns);
  visit(agent.concurrent_max);
  visit(agent.priority);
  visit(agent.station);
  visit(agent.cpu_ppt);
  visit(agent.mem_ppt);
  visit(agent.reputation_ppm);
  visit(agent.health_ppm);
  visit(agent.any);
  visit(agent.routable);
  visit(agent.held);
}
void words_of_work(auto& task, auto& terms, auto&& visit) {
  visit(task.id);
  visit(task.order);
  visit(task.fence);
  visit(task.place);
  visit(task.deadline_ns);
  visit(task.agent);
  visit(task.missing);
  visit(task.attempt);
  visit(task.retries);
  visit(task.type);
  visit(task.state);
  visit(task.priority);
  visit(task.moves);
  visit(task.may_run_twice);
  visit(task.is_parked);
  visit(terms.payload);
  visit(terms.metadata);
  visit(terms.result);
  visit(terms.cost_ns);
  visit(terms.arrival_ns);
  visit(terms.timeout_ns);
  visit(terms.since_ns);
  visit(terms.moved_ns);
}

}  // namespace

std::string_view to_string(TaskState state) noexcept {
  constexpr std::array<std::string_view, 9> kNames{"unknown",   "pending",   "ready",
                                                   "assigned",  "running",   "failed",
                                                   "completed", "cancelled", "dead"};
  const auto index = static_cast<std::size_t>(state);
  return index < kNames.size() ? kNames[index] : "unknown";
}
std::string_view to_string(Strategy strategy) noexcept {
  constexpr std::array<std::string_view, 12> kNames{
      "capability", "round-robin", "least-loaded", "affinity", "p2c",      "reputation",
      "health",     "impedance",   "auction",      "heft",     "deadline", "custom"};
  const auto index = static_cast<std::size_t>(strategy);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> TaskSchedulerConfig::names() noexcept {
  return kSchedulerPresets;
}

Result<TaskSchedulerConfig> TaskSchedulerConfig::preset(std::string_view name) {
  TaskSchedulerConfig config;
  if (name == "standard") return config;
  if (name == "million") {
    config.tasks_max = 1'000'000;
    config.edges_max = 5'000'000;
    config.agents_max = 32'768;
    return config;
  }
  if (name == "fast-dispatch") {
    config.strategy = Strategy::auction;
    config.durable = false;
    return config;
  }
  if (name == "pi4b") {
    config.tasks_max = 200'000;
    config.edges_max = 400'000;
    return config;
  }
  return unknown_preset("task scheduler", name, kSchedulerPresets);
}

Status TaskScheduler::validate(const Config& config) {
  const auto is_in = [](std::uint32_t value, std::uint32_t least, std::uint32_t most) {
    return value >= least && value <= most;
  };
  const std::array<Check, 14> checks{{
      {is_in(config.tasks_max, 1, kTasksMax), "tasks_max is outside 1..1048576"},
      {is_in(config.edges_max, 1, 5U << 20), "edges_max is outside 1..5242880"},
      {is_in(config.dependencies_max, 1, 65'536), "dependencies_max is outside 1..65536"},
      {is_in(config.agents_max, 1, 1U << 20), "agents_max is outside 1..1048576"},
      {is_in(config.running_max, 1, kTasksMax), "running_max is outside 1..1048576"},
      {is_in(config.kinds_max, 1, 1'024), "kinds_max is outside 1..1024"},
      {is_in(config.types_max, 1, 65'536), "types_max is outside 1..65536"},
      {config.strategy < Strategy::custom, "strategy is none of the built-in ones"},
      {config.retries_max <= 100, "retries_max is outside 0..100"},
      {is_positive_duration(config.retry_ns) && config.retry_ns <= config.retry_ns_max &&
           is_positive_duration(config.retry_ns_max),
       "retry_ns is outside 1 ns..retry_ns_max, or that outside 1 ns..36 years"},
      {is_positive_duration(config.timeout_ns) && is_positive_duration(config.aging_ns) &&
           config.aging_ns.count() <= kDurationMaxNs / 4 && is_duration(config.steal_interval_ns),
       "timeout_ns, aging_ns or steal_interval_ns is no duration"},
      {config.affinity_ppm <= 1'000'000 && is_in(config.dispatch_max, 1, 65'536) &&
           config.steals_max <= 255,
       "affinity_ppm is outside 0..1000000, dispatch_max 1..65536, or steals_max 0..255"},
      {is_in(config.straggler_ppm, 1, 100'000'000) &&
           is_in(config.straggler_samples, 1, kDurationsKept) && config.copies_max <= 1'024 &&
           config.copies_ppm <= 1'000'000,
       "straggler_ppm is outside 1..100000000, straggler_samples 1..32, copies_max 0..1024, or "
       "copies_ppm 0..1000000"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

TaskView TaskScheduler::view(std::uint64_t id) const noexcept {
  TaskView view;
  const std::uint32_t at = find(id);
  if (at == kNone) return view;
  const Task& one = tasks_[at];
  view.state = one.state;
  view.agent = one.agent;
  view.fence = one.fence;
  view.attempt = one.attempt;
  view.missing = one.missing;
  const bool is_queued = one.state == TaskState::ready && !one.is_parked;
  view.priority = is_queued ? ready_.item(at).level : one.priority;
  view.parked = one.is_parked;
  view.result = terms_[at].result;
  return view;
}

Nanos TaskScheduler::held_since(std::uint64_t id) const noexcept {
  const std::uint32_t at = find(id);
  const bool is_held = at != kNone && tasks_[at].running != kNone;
  return Nanos{is_held ? terms_[at].since_ns : 0};
}

AgentLoad TaskScheduler::load(std::uint32_t at) const noexcept {
  AgentLoad load;
  if (at >= config_.agents_max || !agents_[at].known) return load;
  const Agent& agent = agents_[at];
  load.known = true;
  load.routable = agent.routable;
  load.running = agent.running + agent.copies;
  load.queued = agent.tasks.count - agent.running;
  load.concurrent_max = agent.concurrent_max;
  load.cpu_ppt = agent.cpu_ppt;
  load.mem_ppt = agent.mem_ppt;
  load.usual_time = Nanos{agent.usual_ns};
  load.last = Nanos{agent.last_ns};
  load.completed = agent.completed;
  load.failed = agent.failed;
  load.held = agent.held;
  return load;
}

// --- bytes -------------------------------------------------------------------------------------

// Numbers of tasks depend on what was forgotten before, and are no part of the state: a task is
// written as its place in the order of submission.
std::vector<std::uint32_t> TaskScheduler::in_order() const {
  std::vector<std::uint32_t> order;
  order.reserve(index_.count());
  for (std::uint32_t at = 0; at < fresh_; ++at) {
    if (tasks_[at].state != TaskState::unknown) order.push_back(at);
  }
  std::sort(order.begin(), order.end(),
            [this](std::uint32_t a, std::uint32_t b) { return tasks_[a].order < tasks_[b].order; });
  return order;
}

void TaskScheduler::save_state(StateWriter& writer) const {
  fence_.save(writer);
  writer.put(last_order_);
  writer.put(last_place_);
  draws_.rng.save(writer);
  writer.put(draws_.turn);
  writer.put(strategy_);
  writer.put(custom_name_);
  fields::put(writer, restraint_);
  std::uint32_t agents = 0;
  for (const Agent& one : agents_) agents += one.known ? 1U : 0U;
  writer.put(agents);
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    if (!agents_[at].known) continue;
    writer.put(at);
    words_of_agent(agents_[at], [&](const auto& word) { writer.put(word); });
  }
  for (const Affinity& one : familiar_) {
    writer.put(one.type);
    writer.put(one.agent);
  }
  save_tasks(writer);
}

void TaskScheduler::save_tasks(StateWriter& writer) const {
  const std::vector<std::uint32_t> order = in_order();
  std::vector<std::uint32_t> places(fresh_, kNone);
  for (std::uint32_t i = 0; i < order.size(); ++i) places[order[i]] = i;
  writer.put(static_cast<std::uint32_t>(order.size()));
  for (const std::uint32_t at : order) {
    const Task& one = tasks_[at];
    words_of_work(one, terms_[at], [&](const auto& word) { writer.put(word); });
    writer.put(is_final(one.state) ? std::uint64_t{0} : kinds_[one.kind].requirements);
    const bool is_ready = one.state == TaskState::ready && !one.is_parked;
    writer.put(is_ready ? ready_.item(at).ready_ns : std::int64_t{0});
    writer.put(is_ready ? ready_.item(at).level : std::uint8_t{0});
    writer.put(delayed_.has(at));
    writer.put(delayed_.at_ns(at));
    writer.put(one.running == kNone ? std::int64_t{0} : timeouts_.at_ns(one.running));
    writer.put(one.running == kNone ? std::int64_t{0} : stragglers_.at_ns(one.running));
  }
  for (const std::uint32_t at : order) {
    std::uint32_t count = 0;
    graph_.each_out(at, [&](std::uint32_t, std::uint32_t) { ++count; });
    writer.put(count);
    graph_.each_out(at, [&](std::uint32_t, std::uint32_t to) { writer.put(places[to]); });
  }
  save_copies(writer, places);
}

void TaskScheduler::load_agents(StateReader& reader) {
  const std::size_t count = reader.get_count(70);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (at >= config_.agents_max || agents_[at].known) return reader.fail();
    Agent& agent = agents_[at];
    words_of_agent(agent, [&](auto& word) { fields::get(reader, word); });
    agent.known = true;
    const bool is_possible =
        agent.concurrent_max >= 1 && agent.concurrent_max <= kConcurrentMax && agent.usual_ns >= 0;
    if (!is_possible) return reader.fail();
  }
  for (Affinity& one : familiar_) {
    reader.get(one.type);
    reader.get(one.agent);
    if (one.type != kNone && one.agent >= config_.agents_max) return reader.fail();
  }
}

// False: it cannot be.
bool TaskScheduler::load_task(StateReader& reader, std::uint32_t at) {
  Task& one = tasks_[at];
  words_of_work(one, terms_[at], [&](auto& word) { fields::get(reader, word); });
  const auto requirements = reader.get<std::uint64_t>();
  ReadyQueue::Item item;
  reader.get(item.ready_ns);
  reader.get(item.level);
  const bool is_delayed = reader.get<bool>();
  const auto delayed_ns = reader.get<std::int64_t>();
  const auto timeout_ns = reader.get<std::int64_t>();
  const auto straggler_ns = reader.get<std::int64_t>();
  const bool is_held = one.state == TaskState::assigned || one.state == TaskState::running;
  const bool is_possible =
      !reader.failed() && one.state != TaskState::unknown && one.priority <= kPriorityMax &&
      item.level <= kPriorityMax && one.place <= last_place_ && find(one.id) == kNone &&
      (!one.is_parked || one.state == TaskState::ready) && one.fence <= fence_.last() &&
      is_held == (one.agent != kNoAgent) &&
      (!is_held || (one.agent < config_.agents_max && agents_[one.agent].known));
  if (!is_possible) return false;
  index_.set(hash_of_serial(one.id), at);
  graph_.open(at);
  if (is_delayed) delayed_.set(at, delayed_ns, one.place);
  if (is_final(one.state)) return true;
  ++open_tasks_;
  if (find_kind(requirements) == kNone) return false;
  one.kind = static_cast<std::uint16_t>(kind_of(requirements));
  if (one.state == TaskState::ready && !one.is_parked) {
    // In order of place: place_tasks() puts it into its queue.
    pending_items_.push_back({one.place, item.ready_ns, one.deadline_ns, one.kind, one.priority,
                              std::max(item.level, one.priority)});
    pending_slots_.push_back(at);
  }
  if (!is_held) return true;
  if (free_held_.empty()) return false;
  one.running = free_held_.back();
  free_held_.pop_back();
  held_[one.running] = at;
  timeouts_.set(one.running, timeout_ns, one.fence);
  if (straggler_ns != 0) stragglers_.set(one.running, straggler_ns, one.fence);
  agents_[one.agent].running += one.state == TaskState::running ? 1U : 0U;
  return true;
}

// Into lists and queues, in the order in which they came there.
void TaskScheduler::place_tasks(StateReader& reader) {
  std::vector<std::uint32_t> order(fresh_);
  for (std::uint32_t at = 0; at < fresh_; ++at) order[at] = at;
  for (const std::uint32_t from : order) {
    const std::size_t count = reader.get_count(4);
    for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
      const auto to = reader.get<std::uint32_t>();
      if (to >= fresh_ || to <= from || !graph_.has_room(1)) return reader.fail();
      graph_.link(from, to);
    }
  }
  std::vector<std::size_t> queued(pending_slots_.size());
  for (std::size_t i = 0; i < queued.size(); ++i) queued[i] = i;
  std::sort(queued.begin(), queued.end(), [this](std::size_t a, std::size_t b) {
    return pending_items_[a].sequence < pending_items_[b].sequence;
  });
  for (const std::size_t i : queued) ready_.push(pending_slots_[i], pending_items_[i]);
  pending_items_ = {};
  pending_slots_ = {};
  std::sort(order.begin(), order.end(),
            [this](std::uint32_t a, std::uint32_t b) { return tasks_[a].fence < tasks_[b].fence; });
  for (const std::uint32_t at : order) {
    if (tasks_[at].agent != kNoAgent) push(agents_[tasks_[at].agent].tasks, at);
  }
  list_by_place(order);
}

void TaskScheduler::list_by_place(std::vector<std::uint32_t>& order) {
  std::sort(order.begin(), order.end(),
            [this](std::uint32_t a, std::uint32_t b) { return tasks_[a].place < tasks_[b].place; });
  for (const std::uint32_t at : order) {
    if (is_final(tasks_[at].state)) push(ended_, at);
    if (tasks_[at].is_parked) push(parked_[tasks_[at].priority], at);
  }
}

void TaskScheduler::load_tasks(StateReader& reader) {
  const std::size_t count = reader.get_count(100);
  if (count > config_.tasks_max) return reader.fail();
  std::uint64_t before = 0;
  for (std::uint32_t at = 0; at < count; ++at) {
    if (!load_task(reader, at) || tasks_[at].order <= before) return reader.fail();
    before = tasks_[at].order;
  }
  if (before > last_order_) return reader.fail();
  fresh_ = static_cast<std::uint32_t>(count);
  place_tasks(reader);
  if (!reader.failed()) load_copies(reader);
}

void TaskScheduler::load_state(StateReader& reader) {
  fence_.load(reader);
  reader.get(last_order_);
  reader.get(last_place_);
  draws_.rng.load(reader);
  reader.get(draws_.turn);
  strategy_ = reader.get_enum(last_of(Strategy{}));
  fields::get(reader, custom_name_);
  fields::get(reader, restraint_);
  if (restraint_.priority_min > kPriorityMax + 1) reader.fail();
  load_agents(reader);
  if (!reader.failed()) load_tasks(reader);
  if (reader.failed()) return;
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) refresh(at);
}

// --- what must hold ----------------------------------------------------------------------------

// Where one task stands is what its state says.
bool TaskScheduler::is_sound(std::uint32_t at) const noexcept {
  const Task& one = tasks_[at];
  std::uint32_t missing = 0;
  graph_.each_in(at, [&](std::uint32_t, std::uint32_t from) {
    missing += is_final(tasks_[from].state) ? 0x1'0000U : 1U;  // what has ended is not waited for
  });
  const bool is_held = one.state == TaskState::assigned || one.state == TaskState::running;
  const bool is_delayed =
      one.state == TaskState::failed || (one.state == TaskState::pending && one.missing == 0);
  return missing == one.missing && is_held == (one.running != kNone) &&
         is_held == (one.agent != kNoAgent) && is_held == (one.fence != 0) &&
         is_delayed == delayed_.has(at) && (one.missing == 0 || one.state == TaskState::pending) &&
         (!is_held || (held_[one.running] == at && timeouts_.has(one.running))) &&
         (!one.is_parked || one.state == TaskState::ready) && one.attempt <= one.retries + 1;
}

Status TaskScheduler::verify() const {
  const std::vector<std::uint32_t> order = in_order();
  bool sound = true;
  std::uint64_t ended = 0;
  std::uint64_t ready = 0;
  std::vector<std::uint32_t> held(config_.agents_max);
  std::vector<std::uint32_t> running(config_.agents_max);
  for (const std::uint32_t at : order) {
    sound = sound && is_sound(at);
    ended += is_final(tasks_[at].state) ? 1U : 0U;
    ready += tasks_[at].state == TaskState::ready ? 1U : 0U;
    if (tasks_[at].agent >= config_.agents_max) continue;
    ++held[tasks_[at].agent];
    running[tasks_[at].agent] += tasks_[at].state == TaskState::running ? 1U : 0U;
  }
  bool agents = true;
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    const Agent& one = agents_[at];
    agents = agents && held[at] == one.tasks.count && running[at] == one.running &&
             one.load() <= one.concurrent_max;
  }
  const Counters& sums = counters_;
  const std::uint64_t over = sums.completed + sums.cancelled + sums.dead;
  const std::array<Check, 7> checks{{
      {copies_are_sound(), "a copy of a task is not where the task says"},
      {sound, "a task stands where its state does not belong"},
      {agents, "an agent has more than it may, or than its tasks say"},
      {ready == ready_count(), "a ready task is not in the queue, or one that is not is"},
      {order.size() == index_.count() && order.size() == ended + open_tasks_,
       "a task is known twice, or not at all"},
      {sums.submitted == over + open_tasks_, "a task has ended twice, or not at all"},
      {over == ended_.count + sums.forgotten && ended == ended_.count, "an ended task is lost"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::TaskScheduler, tasks::TaskSchedulerConfig, tasks::TaskCommand,
                           tasks::TaskReply, tasks::TaskSchedulerCounters,
                           tasks::TaskSchedulerActions>;
}  // namespace mesh::coordination
