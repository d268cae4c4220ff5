#include "engine/tasks/task_scheduler.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/names.hpp"

namespace mesh::tasks {
namespace {

constexpr std::uint32_t kTypesLimit = 65'536;
constexpr std::uint32_t kRetriesLimit = 100;

bool is_instant(Nanos at) noexcept { return at.count() >= 0 && at.count() <= kInstantMaxNs; }

}  // namespace

TaskScheduler::TaskScheduler(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      tasks_(config.tasks_max),
      terms_(config.tasks_max),
      index_(config.tasks_max),
      graph_(config.tasks_max, config.edges_max),
      ready_(config.tasks_max, config.kinds_max, config.aging_ns.count()),
      delayed_(config.tasks_max),
      timeouts_(config.running_max),
      held_(config.running_max, kNone),
      agents_(config.agents_max),
      kinds_(config.kinds_max),
      open_((config.agents_max + 63) / 64),
      familiar_(config.types_max),
      durations_(config.types_max),
      stragglers_(config.running_max),
      strategy_(config.strategy) {
  for (Kind& kind : kinds_) kind.capable.resize(open_.size());
  free_held_.reserve(config.running_max);
  for (std::uint32_t at = config.running_max; at-- != 0;) free_held_.push_back(at);
  found_.reserve(std::max<std::size_t>(config.dependencies_max, kConcurrentMax));
  gone_.reserve(config.tasks_max);
  news_.reserve(config.tasks_max);
  listed_.reserve(config.agents_max);
  custom_.reserve(8);
  copies_.reserve(config.copies_max);
  draws_.rng = Rng(seed);
}

TaskScheduler::Reply TaskScheduler::reply_of(std::uint32_t at) const noexcept {
  Reply reply;
  reply.state = tasks_[at].state;
  reply.agent = tasks_[at].agent;
  reply.fence = tasks_[at].fence;
  return reply;
}

TaskAssignment TaskScheduler::assignment_of(std::uint32_t at) const noexcept {
  const Task& one = tasks_[at];
  return {one.id, one.fence, terms_[at].payload, one.agent, one.attempt};
}

// --- agents ------------------------------------------------------------------------------------

TaskScheduler::Reply TaskScheduler::on(const task::RegisterAgent& order,
                                       std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  const bool is_possible =
      order.concurrent_max >= 1 && order.concurrent_max <= kConcurrentMax && order.priority <= 100;
  if (!is_possible) return refuse(Errc::invalid_argument);
  Agent& agent = agents_[order.agent];
  // It cannot run more than it may: what is too much has to end first.
  if (order.concurrent_max < agent.load()) return refuse(Errc::wrong_state);
  if (!agent.known) {
    agent = {};
    agent.known = agent.routable = true;
    agent.reputation_ppm = 500'000;
    agent.health_ppm = 1'000'000;
  }
  agent.capabilities = order.capabilities;
  agent.any = order.any;
  agent.concurrent_max = order.concurrent_max;
  agent.priority = order.priority;
  agent.station = order.station;
  agent.last_ns = now_ns;
  refresh(order.agent);
  view_changed_ = true;
  return {};
}

TaskScheduler::Reply TaskScheduler::on(const task::RemoveAgent& order,
                                       std::int64_t now_ns) noexcept {
  const bool is_known = order.agent < config_.agents_max && agents_[order.agent].known;
  if (!is_known) return refuse(Errc::no_such_agent);
  lose_all(order.agent, now_ns);
  agents_[order.agent] = {};
  refresh(order.agent);
  return {};
}

TaskScheduler::Reply TaskScheduler::on(const task::SetRoutable& order,
                                       std::int64_t now_ns) noexcept {
  const bool is_known = order.agent < config_.agents_max && agents_[order.agent].known;
  if (!is_known) return refuse(Errc::no_such_agent);
  agents_[order.agent].routable = order.routable;
  agents_[order.agent].last_ns = now_ns;
  refresh(order.agent);
  view_changed_ = true;
  return {};
}

TaskScheduler::Reply TaskScheduler::on(const task::ReportAgent& order,
                                       std::int64_t now_ns) noexcept {
  const bool is_known = order.agent < config_.agents_max && agents_[order.agent].known;
  if (!is_known) return refuse(Errc::no_such_agent);
  const bool is_possible = order.cpu_ppt <= 1'000 && order.mem_ppt <= 1'000 &&
                           order.reputation_ppm <= 1'000'000 && order.health_ppm <= 1'000'000 &&
                           is_duration(order.lead);
  if (!is_possible) return refuse(Errc::invalid_argument);
  Agent& agent = agents_[order.agent];
  agent.cpu_ppt = order.cpu_ppt;
  agent.mem_ppt = order.mem_ppt;
  agent.reputation_ppm = order.reputation_ppm;
  agent.health_ppm = order.health_ppm;
  agent.lead_ns = order.lead.count();
  agent.last_ns = now_ns;
  view_changed_ = true;
  return {};
}

TaskScheduler::Reply TaskScheduler::on(const task::StationClosed& order,
                                       std::int64_t now_ns) noexcept {
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (!agents_[agent].known || agents_[agent].station != order.station) continue;
    lose_all(agent, now_ns);
    agents_[agent] = {};
    refresh(agent);
  }
  view_changed_ = true;
  return {};
}

// --- submit ------------------------------------------------------------------------------------

Errc TaskScheduler::check(const task::Submit& order) const noexcept {
  const bool is_possible =
      order.type < kTypesLimit && order.dependencies.size() <= config_.dependencies_max &&
      is_instant(order.deadline) && is_instant(order.arrival) && is_duration(order.cost) &&
      is_duration(order.timeout) && (order.retries == kNoAgent || order.retries <= kRetriesLimit);
  if (!is_possible) return Errc::invalid_argument;
  if (find(order.id) != kNone) return Errc::already_exists;
  return find_kind(order.requirements) == kNone ? Errc::capacity : Errc::ok;
}

// Those that it has to wait for into found_, each once. cancelled: one of them will never be done.
Errc TaskScheduler::look_up(const task::Submit& order) noexcept {
  found_.clear();
  bool is_lost = false;
  for (const std::uint64_t id : order.dependencies) {
    if (id == order.id) return Errc::cycle;
    const std::uint32_t at = find(id);
    if (at == kNone) return Errc::not_found;
    is_lost =
        is_lost || tasks_[at].state == TaskState::cancelled || tasks_[at].state == TaskState::dead;
    const bool is_new =
        !is_final(tasks_[at].state) && std::find(found_.begin(), found_.end(), at) == found_.end();
    if (is_new) found_.push_back(at);
  }
  if (!graph_.has_room(found_.size())) return Errc::capacity;
  return is_lost ? Errc::cancelled : Errc::ok;
}

TaskScheduler::Reply TaskScheduler::on(const task::Submit& order, std::int64_t now_ns) noexcept {
  const Errc bad = check(order);
  if (bad != Errc::ok) return refuse(bad);
  const Errc found = look_up(order);
  if (found != Errc::ok && found != Errc::cancelled) return refuse(found);
  if (!is_in_time(order, now_ns)) {
    ++counters_.late;
    Reply reply;
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  if (!make_room()) return refuse(Errc::capacity);
  const std::uint32_t at = create(order.id);
  Task& one = tasks_[at];
  one.deadline_ns = order.deadline.count() == 0 ? kNever : order.deadline.count();
  one.retries = order.retries == kNoAgent ? config_.retries_max : order.retries;
  one.kind = static_cast<std::uint16_t>(kind_of(order.requirements));
  one.type = static_cast<std::uint16_t>(order.type);
  one.may_run_twice = order.may_run_twice;
  one.priority = static_cast<std::uint8_t>(std::clamp<std::int32_t>(order.priority, 0, 3));
  Terms& terms = terms_[at] = {};
  terms.payload = order.payload;
  terms.metadata = order.metadata;
  terms.cost_ns = order.cost.count();
  terms.arrival_ns = order.arrival.count();
  terms.timeout_ns =
      order.timeout.count() == 0 ? config_.timeout_ns.count() : order.timeout.count();
  one.missing = static_cast<std::uint32_t>(found_.size());
  for (const std::uint32_t dependency : found_) graph_.link(dependency, at);
  ++counters_.submitted;
  say(Event::task_created, Severity::debug, at, now_ns);
  if (found == Errc::cancelled) {
    end(at, TaskState::cancelled, now_ns);
    gone_.clear();  // nobody waits for it yet
  } else if (one.missing == 0) {
    make_ready(at, now_ns);
  }
  return reply_of(at);
}

// --- to an agent -------------------------------------------------------------------------------

TaskScheduler::Reply TaskScheduler::mismatch(std::uint32_t at, std::uint32_t agent,
                                             std::int64_t now_ns) noexcept {
  ++counters_.mismatches;
  emit(Event::conflict_task, Severity::warning, now_ns,
       {tasks_[at].id, agent, kinds_[tasks_[at].kind].requirements & ~agents_[agent].capabilities});
  Reply reply = reply_of(at);
  reply.refusal = Refusal::rejected_policy;
  return reply;
}

TaskScheduler::Reply TaskScheduler::on(const task::Assign& order, std::int64_t now_ns) noexcept {
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  if (tasks_[at].state != TaskState::ready) return refuse(Errc::wrong_state);
  if (free_held_.empty()) return refuse(Errc::capacity);
  if (tasks_[at].is_parked || (restraint_.stopped && order.agent == kNoAgent)) {
    Reply reply = reply_of(at);
    reply.refusal = Refusal::would_block;
    return reply;
  }
  std::uint32_t agent = order.agent;
  if (agent == kNoAgent) {
    agent = choose(at, draws_);
    if (agent == kNoAgent) return refuse(Errc::no_candidate);
  } else {
    if (agent >= config_.agents_max || !agents_[agent].known) return refuse(Errc::no_such_agent);
    if (!can(agent, tasks_[at].kind)) return mismatch(at, agent, now_ns);
    if ((open_[agent / 64] >> (agent % 64) & 1U) == 0) {
      Reply reply = reply_of(at);
      reply.refusal = agents_[agent].is_open() ? Refusal::would_block : Refusal::rejected_open;
      return reply;
    }
  }
  ready_.take_out(at);
  assign(at, agent, now_ns);
  return reply_of(at);
}

TaskScheduler::Reply TaskScheduler::on(const task::Claim& order, std::int64_t now_ns) noexcept {
  const bool is_known = order.agent < config_.agents_max && agents_[order.agent].known;
  if (!is_known) return refuse(Errc::no_such_agent);
  if (order.count == 0 || order.count > kConcurrentMax) return refuse(Errc::invalid_argument);
  Reply reply;
  if (restraint_.stopped) return reply;
  for (std::uint32_t i = 0; i < order.count && !free_held_.empty(); ++i) {
    const std::uint32_t at = next_ready(order.agent);
    if (at == kNone) break;
    ready_.take_out(at);
    assign(at, order.agent, now_ns);
    reply.assigned.push_back(assignment_of(at));
  }
  return reply;
}

Errc TaskScheduler::find_held(std::uint64_t id, std::uint64_t fence,
                              std::uint32_t& at) const noexcept {
  at = find(id);
  if (at == kNone) return Errc::not_found;
  if (is_final(tasks_[at].state)) return Errc::wrong_state;
  return fence != tasks_[at].fence ? Errc::stale_token : Errc::ok;
}

TaskScheduler::Reply TaskScheduler::on(const task::Start& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_held(order.id, order.fence, at);
  if (Copy* copy = bad == Errc::stale_token ? find_copy(at, order.fence) : nullptr) {
    return start(*copy, now_ns);
  }
  if (bad != Errc::ok) return refuse(bad);
  Task& one = tasks_[at];
  if (one.state != TaskState::assigned) return refuse(Errc::wrong_state);
  one.state = TaskState::running;
  ++agents_[one.agent].running;
  terms_[at].since_ns = now_ns;
  timeouts_.set(one.running, now_ns + terms_[at].timeout_ns, one.fence);
  arm_straggler(at, now_ns);
  ++counters_.started;
  say(Event::task_started, Severity::debug, at, now_ns);
  return reply_of(at);
}

TaskScheduler::Reply TaskScheduler::on(const task::Progress& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_held(order.id, order.fence, at);
  if (Copy* copy = bad == Errc::stale_token ? find_copy(at, order.fence) : nullptr) {
    return progress(*copy, now_ns);
  }
  if (bad != Errc::ok) return refuse(bad);
  if (tasks_[at].state != TaskState::running) return refuse(Errc::wrong_state);
  timeouts_.set(tasks_[at].running, now_ns + terms_[at].timeout_ns, order.fence);
  return reply_of(at);
}

TaskScheduler::Reply TaskScheduler::on(const task::Complete& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_held(order.id, order.fence, at);
  if (const Copy* copy = bad == Errc::stale_token ? find_copy(at, order.fence) : nullptr) {
    return complete(*copy, order.result, now_ns);
  }
  if (bad != Errc::ok) return refuse(bad);
  if (tasks_[at].state != TaskState::running) return refuse(Errc::wrong_state);
  Reply reply = reply_of(at);
  say(Event::task_completed, Severity::info, at, now_ns);
  completed_by(at, {tasks_[at].agent, terms_[at].since_ns}, order.result, now_ns);
  reply.state = TaskState::completed;
  return reply;
}

void TaskScheduler::completed_by(std::uint32_t at, Doer doer, std::uint64_t result,
                                 std::int64_t now_ns) noexcept {
  const std::uint16_t type = tasks_[at].type;
  const std::int64_t took_ns = now_ns - doer.since_ns;
  Agent& agent = agents_[doer.agent];
  ++agent.completed;
  agent.last_ns = now_ns;
  agent.usual_ns = agent.completed == 1 ? took_ns : agent.usual_ns + (took_ns - agent.usual_ns) / 8;
  familiar_[type % familiar_.size()] = {type, doer.agent};
  note_duration(type, took_ns);
  terms_[at].result = result;
  end(at, TaskState::completed, now_ns);
  release_dependents(at, now_ns);
}

TaskScheduler::Reply TaskScheduler::on(const task::Fail& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_held(order.id, order.fence, at);
  if (const Copy* copy = bad == Errc::stale_token ? find_copy(at, order.fence) : nullptr) {
    return copy->is_running ? give_up(*copy, true) : refuse(Errc::wrong_state);
  }
  if (bad != Errc::ok) return refuse(bad);
  if (tasks_[at].state != TaskState::running) return refuse(Errc::wrong_state);
  attempt_failed(at, order.for_good, now_ns);
  Reply reply = reply_of(at);
  if (delayed_.has(at)) reply.retry_after = Nanos{delayed_.at_ns(at) - now_ns};
  return reply;
}

TaskScheduler::Reply TaskScheduler::on(const task::GiveBack& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_held(order.id, order.fence, at);
  if (const Copy* copy = bad == Errc::stale_token ? find_copy(at, order.fence) : nullptr) {
    return copy->is_running ? refuse(Errc::wrong_state) : give_up(*copy, false);
  }
  if (bad != Errc::ok) return refuse(bad);
  if (tasks_[at].state != TaskState::assigned) return refuse(Errc::wrong_state);
  unassign(at);
  --tasks_[at].attempt;
  ++counters_.given_back;
  enqueue(at, now_ns);
  return reply_of(at);
}

TaskScheduler::Reply TaskScheduler::on(const task::Cancel& order, std::int64_t now_ns) noexcept {
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  if (is_final(tasks_[at].state)) return refuse(Errc::wrong_state);
  if (tasks_[at].agent != kNoAgent) tell(TaskNotice::revoked, at, tasks_[at].agent);
  end(at, TaskState::cancelled, now_ns);
  cancel_dependents(now_ns);
  return reply_of(at);
}

// --- to another agent --------------------------------------------------------------------------

TaskScheduler::Reply TaskScheduler::on(const task::Reassign& order, std::int64_t now_ns) noexcept {
  const std::uint32_t at = find(order.id);
  if (at == kNone) return refuse(Errc::not_found);
  const bool is_held =
      tasks_[at].state == TaskState::assigned || tasks_[at].state == TaskState::running;
  if (!is_held) return refuse(Errc::wrong_state);
  if (tasks_[at].state == TaskState::running && tasks_[at].attempt > tasks_[at].retries) {
    Reply reply = reply_of(at);  // it would be one execution too many
    reply.refusal = Refusal::rejected_policy;
    return reply;
  }
  std::uint32_t agent = order.agent;
  if (agent == kNoAgent) {
    Draws draws = draws_;  // they are used up only where it moves
    agent = choose(at, draws);
    if (agent == kNoAgent || agent == tasks_[at].agent) return refuse(Errc::no_candidate);
    draws_ = draws;
  } else {
    if (agent >= config_.agents_max || !agents_[agent].known) return refuse(Errc::no_such_agent);
    if (agent == tasks_[at].agent) return refuse(Errc::invalid_argument);
    if (!can(agent, tasks_[at].kind)) return mismatch(at, agent, now_ns);
    if ((open_[agent / 64] >> (agent % 64) & 1U) == 0) {
      Reply reply = reply_of(at);
      reply.refusal = agents_[agent].is_open() ? Refusal::would_block : Refusal::rejected_open;
      return reply;
    }
  }
  if (tasks_[at].is_doubled) drop_copy(at);
  tell(TaskNotice::revoked, at, tasks_[at].agent);
  move(at, agent, now_ns);
  return reply_of(at);
}

TaskScheduler::Reply TaskScheduler::on(const task::Steal& order, std::int64_t now_ns) noexcept {
  const auto is_known = [this](std::uint32_t agent) {
    return agent < config_.agents_max && agents_[agent].known;
  };
  if (!is_known(order.from) || !is_known(order.to)) return refuse(Errc::no_such_agent);
  const bool is_possible = order.from != order.to && order.count >= 1;
  if (!is_possible) return refuse(Errc::invalid_argument);
  found_.clear();
  for (std::uint32_t at = agents_[order.from].tasks.first; at != kNone; at = tasks_[at].next) {
    const bool may_move = tasks_[at].state == TaskState::assigned &&
                          can(order.to, tasks_[at].kind) && tasks_[at].moves < config_.steals_max &&
                          (tasks_[at].moves == 0 ||
                           now_ns - terms_[at].moved_ns >= config_.steal_interval_ns.count());
    if (may_move) found_.push_back(at);  // reserved: an agent has so many at most
  }
  Reply reply;
  for (const std::uint32_t at : found_) {
    const bool is_open = (open_[order.to / 64] >> (order.to % 64) & 1U) != 0;
    if (reply.assigned.size() == order.count || !is_open) break;
    if (reply.assigned.empty()) {
      emit(Event::workstealing_request, Severity::info, now_ns,
           {order.from, order.to, order.count});
    }
    tell(TaskNotice::revoked, at, order.from);
    move(at, order.to, now_ns);
    reply.assigned.push_back(assignment_of(at));
  }
  if (reply.assigned.empty()) return refuse(Errc::no_candidate);
  emit(Event::workstealing_completed, Severity::info, now_ns,
       {order.from, order.to, reply.assigned.size()});
  return reply;
}

TaskScheduler::Reply TaskScheduler::on(const task::SetStrategy& order, std::int64_t) noexcept {
  for (std::size_t i = 0; i < static_cast<std::size_t>(Strategy::custom); ++i) {
    const auto strategy = static_cast<Strategy>(i);
    if (to_string(strategy) != order.name) continue;
    strategy_ = strategy;
    custom_name_.clear();
    return {};
  }
  const bool is_known = std::any_of(custom_.begin(), custom_.end(),
                                    [&](const Custom& one) { return one.name == order.name; });
  if (!is_known) return refuse(Errc::not_found);
  strategy_ = Strategy::custom;
  custom_name_ = order.name;
  return {};
}

// --- entry -------------------------------------------------------------------------------------

TaskScheduler::Reply TaskScheduler::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  catch_up(now_ns);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  counters_.callbacks_failed += std::exchange(callbacks_failed_, 0);
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void TaskScheduler::tick(Nanos now, Actions& out) noexcept {
  out.assigned.clear();
  if (ServiceClock::is_valid(now)) {
    catch_up(clock_.at(now));
    dispatch(out.assigned, clock_.last_ns());
    make_copies(out.assigned, clock_.last_ns());
    counters_.callbacks_failed += std::exchange(callbacks_failed_, 0);
  }
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  out.next_tick = Nanos{std::min(
      {delayed_.next_ns(), timeouts_.next_ns(), ready_.next_climb_ns(),
       copies_.size() < config_.copies_max && !restraint_.stopped ? stragglers_.next_ns() : kNever,
       next_copy_ns()})};
  if (has_released()) out.next_tick = Nanos{clock_.last_ns()};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::tasks
