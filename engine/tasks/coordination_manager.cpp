#include "engine/tasks/coordination_manager.hpp"

#include <algorithm>
#include <utility>

#include "engine/coordination/blocks/names.hpp"

namespace mesh::tasks {
namespace {

using coordination_commands::is_in;

// What begins something, and is not accepted any more once a shutdown has begun. Whatever ends
// something is.
using NewWork =
    std::variant<manage::AssignTask, manage::Confirm, task::Submit, resource::Acquire,
                 resource::AcquireAll, message::Send, message::Request, message::Broadcast,
                 message::Publish, message::ScatterGather, graph::AddTask, graph::Spawn>;

std::uint32_t priority_of(const task::Submit& order) noexcept {
  return static_cast<std::uint32_t>(std::clamp<std::int32_t>(order.priority, 0, 3));
}

}  // namespace

CoordinationManager::CoordinationManager(const Config& config, std::uint64_t seed)
    : ServiceForm(effective(config)),
      tasks_(config_.tasks, seed),
      resources_(config_.resources, seed + 1),
      messages_(config_.messages, seed + 2),
      stealing_(config_.stealing, seed + 3),
      graph_(config_.graph, seed + 4),
      metrics_(config_.metrics, seed + 5),
      bus_(config_.events, seed + 6) {
  attached_.reserve(config_.steps_max);
}

Nanos CoordinationManager::rounded(Nanos now) const noexcept {
  const std::int64_t grain_ns = config_.clock_ns.count();
  return grain_ns == 0 ? now : Nanos{now.count() - now.count() % grain_ns};
}

// --- what the mode admits ------------------------------------------------------------------------

// Restrictions add up: what a mode asks is asked in every worse one. What DEGRADED_MODERATE queues
// is taken here, and kept by its service.
Errc CoordinationManager::admit_act(std::uint32_t priority, std::size_t targets) const noexcept {
  const MeshMode mode = mode_.mode();
  if (mode == MeshMode::full) return Errc::ok;
  if (mode == MeshMode::emergency) return Errc::automatic_stopped;
  const bool is_severe = mode == MeshMode::degraded_severe;
  if (is_severe && priority < 3) return Errc::critical_only;
  const bool is_wide = targets > kScatterMax && mode >= MeshMode::degraded_moderate;
  if (is_wide && confirmed_ == 0) return is_severe ? Errc::needs_confirmation : Errc::too_wide;
  return priority == 0 ? Errc::background_refused : Errc::ok;
}

// A task for an agent that is named; messages are judged where they are sent.
Errc CoordinationManager::admit_to(std::uint32_t agent) const noexcept {
  return messages_.is_shunned(agent) ? Errc::sector_degraded : Errc::ok;
}

template <class Order>
Errc CoordinationManager::admit(const Order& order) const noexcept {
  constexpr std::size_t kMeshWide = SIZE_MAX;
  if (state_ == ManagerState::closed && !std::is_same_v<Order, manage::Shutdown>) {
    return Errc::closed;
  }
  if (state_ == ManagerState::draining && is_in<Order, NewWork>) return Errc::closed;
  if constexpr (std::is_same_v<Order, manage::AssignTask>) {
    const Errc bad = admit_act(priority_of(order.task), 1);
    return bad == Errc::ok ? admit_to(order.agent) : bad;
  } else if constexpr (std::is_same_v<Order, task::Submit>) {
    return admit_act(priority_of(order), 1);
  } else if constexpr (std::is_same_v<Order, message::Send>) {
    return admit_act(order.priority, 1);
  } else if constexpr (std::is_same_v<Order, message::Broadcast>) {
    return admit_act(order.send.priority, order.scope == message::Scope::all ? kMeshWide : 1);
  } else if constexpr (std::is_same_v<Order, message::Request> ||
                       std::is_same_v<Order, message::Publish>) {
    return admit_act(order.send.priority, 1);
  } else if constexpr (std::is_same_v<Order, message::ScatterGather>) {
    return admit_act(3, order.targets.size());  // it has no priority of its own
  } else {
    return Errc::ok;
  }
}

// --- to the services -----------------------------------------------------------------------------

template <class Order>
void CoordinationManager::run_task(const Order& order, Reply& reply, Nanos now) noexcept {
  Nanos begun{0};
  if constexpr (std::is_same_v<Order, task::Complete>) begun = tasks_.held_since(order.id);
  reply.task = tasks_.apply(order, now);
  reply.code = reply.task.code;
  reply.refusal = reply.task.refusal;
  if (reply.code != Errc::ok) return;
  if constexpr (std::is_same_v<Order, task::Complete>) {
    metrics_.observe({MetricStore::of(StandardMetric::task_duration), now - begun, order.id}, now);
  } else if constexpr (std::is_same_v<Order, task::RegisterAgent>) {
    agents_seen_ = std::max(agents_seen_, order.agent + 1);
    hold_agent(order.agent, now);
  }
}

template <class Order>
void CoordinationManager::run(const Order& order, Reply& reply, Nanos now) noexcept {
  if constexpr (is_in<Order, ManageCommand>) {
    on(order, reply, now);
  } else if constexpr (is_in<Order, TaskCommand>) {
    run_task(order, reply, now);
  } else if constexpr (is_in<Order, ResourceCommand>) {
    reply.resource = resources_.apply(order, now);
    reply.code = reply.resource.code;
    reply.refusal = reply.resource.refusal;
  } else if constexpr (is_in<Order, MessageCommand>) {
    reply.message = messages_.apply(order, now);
    reply.code = reply.message.code;
    reply.refusal = reply.message.refusal;
    note_latencies(reply.message, now);
    if constexpr (std::is_same_v<Order, message::RegisterAgent>) hold_agent(order.agent, now);
  } else if constexpr (is_in<Order, WorkStealingCommand>) {
    reply.code = stealing_.apply(order, now).code;
  } else if constexpr (is_in<Order, DependencyGraphCommand>) {
    reply.graph = graph_.apply(order, now);
    reply.code = reply.graph.code;
  } else if constexpr (is_in<Order, MetricCommand>) {
    const MetricReply answer = metrics_.apply(order, now);
    reply.code = answer.code;
    reply.metric = answer.metric;
  } else {
    static_assert(is_in<Order, EventBusCommand>);
    const EventBusReply answer = bus_.apply(order, now);
    reply.code = answer.code;
    reply.event = answer.sequence;
  }
}

// Of messages of this host: another one's clock says nothing here.
void CoordinationManager::note_latencies(const MessageReply& reply, Nanos now) noexcept {
  for (const MessageDelivery& one : reply.deliveries) {
    const Nanos took = now - Nanos{one.id.created_ns};
    const bool is_ours = MessageRouter::host_of(one.id.number) == config_.messages.host;
    if (!is_ours || took < Nanos{0} || one.attempt != 0) continue;
    metrics_.observe({MetricStore::of(StandardMetric::message_latency), took, one.id.number}, now);
  }
}

void CoordinationManager::on(const manage::AssignTask& order, Reply& reply, Nanos now) noexcept {
  if (order.agent != kNoAgent && !tasks_.load(order.agent).known) {
    reply.code = Errc::no_such_agent;
    return;
  }
  run(order.task, reply, now);
  if (reply.code != Errc::ok || reply.task.state != TaskState::ready) return;
  TaskReply assigned = tasks_.apply(task::Assign{order.task.id, order.agent}, now);
  if (assigned.code == Errc::ok) {
    reply.refusal = assigned.refusal;
    reply.task = std::move(assigned);
  } else {
    reply.refusal = Refusal::would_block;  // it is ready, and begins when somebody can
  }
}

void CoordinationManager::on(const manage::AgentGone& order, Reply& reply, Nanos now) noexcept {
  const bool has_tasks = tasks_.load(order.agent).known;
  const bool has_mailbox = messages_.mailbox(order.agent).known;
  if (!has_tasks && !has_mailbox) {
    reply.code = Errc::no_such_agent;
    return;
  }
  if (has_tasks) reply.task = tasks_.apply(task::RemoveAgent{order.agent}, now);
  if (has_mailbox) reply.message = messages_.apply(message::RemoveAgent{order.agent}, now);
  if (order.agent < config_.resources.agents_max) {
    reply.resource = resources_.apply(resource::ReleaseAll{order.agent}, now);
  }
  stealing_.apply(stealing::Leave{order.agent}, now);  // not_found where it never had a load
}

void CoordinationManager::on(const manage::StationClosed& order, Reply& reply, Nanos now) noexcept {
  reply.task = tasks_.apply(task::StationClosed{order.station}, now);
  reply.resource = resources_.apply(resource::StationClosed{order.station}, now);
  reply.message = messages_.apply(message::StationClosed{order.station}, now);
}

void CoordinationManager::on(const manage::ObserveAgents& order, Reply& reply, Nanos now) noexcept {
  if (order.active > order.total) {
    reply.code = Errc::invalid_argument;
    return;
  }
  active_ = order.active;
  total_ = order.total;
  observe_mode(now);
}

void CoordinationManager::on(const manage::ObserveSector& order, Reply& reply, Nanos now) noexcept {
  reply.code = messages_.apply(message::SetSector{order.sector, order.healthy}, now).code;
  if (reply.code == Errc::ok) restrain(now);
}

void CoordinationManager::on(const manage::Confirm& order, Reply& reply, Nanos) noexcept {
  if (order.operations == 0) reply.code = Errc::invalid_argument;
  confirmed_ = order.operations == 0 ? confirmed_ : order.operations;
}

void CoordinationManager::on(const manage::Shutdown&, Reply&, Nanos now) noexcept {
  if (state_ != ManagerState::running) return;  // it has begun, or is over
  state_ = ManagerState::draining;
  drained_by_ns_ = now.count() + config_.drain_ns.count();
}

void CoordinationManager::observe_mode(Nanos now) noexcept {
  const MeshMode seen =
      total_ < config_.agents_min ? MeshMode::full : mesh_mode_of(active_, total_);
  const MeshMode before = mode_.mode();
  const bool is_other = mode_.observe(seen, now.count(), config_.mode_enter_ns.count(),
                                      config_.mode_leave_ns.count());
  if (!is_other) return;
  ++counters_.mode_changes;
  restrain(now);
  const bool is_emergency = mode_.mode() == MeshMode::emergency;
  is_save_due_ = is_save_due_ || is_emergency;
  const auto number = [](MeshMode mode) { return static_cast<std::uint64_t>(mode); };
  bus_.emit({EventName::system_mode_changed,
             is_emergency ? Severity::error : Severity::warning,
             0,
             number(before),
             number(mode_.mode()),
             active_,
             {}},
            now);
}

// What the mode asks of the services themselves.
void CoordinationManager::restrain(Nanos now) noexcept {
  const MeshMode mode = mode_.mode();
  const bool is_moderate = mode >= MeshMode::degraded_moderate;
  std::uint32_t least = is_moderate ? 2 : 0;
  if (mode >= MeshMode::degraded_severe) least = mode == MeshMode::emergency ? 4 : 3;
  const bool is_doubled = mode >= MeshMode::degraded_light;
  tasks_.apply(task::Restrain{least, is_doubled, mode == MeshMode::emergency}, now);
  messages_.apply(message::Restrain{least, is_doubled, is_moderate}, now);
  for (std::uint32_t agent = 0; agent < agents_seen_; ++agent) hold_agent(agent, now);
}

// One in a sector that is not healthy is given nothing more; it is known by its mailbox.
void CoordinationManager::hold_agent(std::uint32_t agent, Nanos now) noexcept {
  const AgentLoad load = tasks_.load(agent);
  const bool is_held = messages_.is_shunned(agent);
  if (load.known && load.held != is_held) tasks_.apply(task::HoldAgent{agent, is_held}, now);
}

// --- entry ---------------------------------------------------------------------------------------

CoordinationManager::Reply CoordinationManager::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const Nanos at{clock_.at(rounded(now))};
  Reply reply;
  const bool uses_confirmation = std::visit(
      [&]<class Order>(const Order& order) {
        reply.code = admit(order);
        if (reply.code != Errc::ok) {
          ++(reply.code == Errc::closed ? counters_.closed : counters_.held_off);
          return false;
        }
        run(order, reply, at);
        if constexpr (std::is_same_v<Order, message::Broadcast>) {
          return order.scope == message::Scope::all;
        } else if constexpr (std::is_same_v<Order, message::ScatterGather>) {
          return order.targets.size() > kScatterMax;
        } else {
          return false;
        }
      },
      command);
  const bool is_restricted = mode_.mode() >= MeshMode::degraded_moderate;
  if (reply.code != Errc::ok) {
    ++counters_.refused;
  } else if (uses_confirmation && is_restricted) {
    --confirmed_;  // admit() has seen one
  }
  tell(at);
  reply.state = state_;
  reply.mode = mode_.mode();
  return reply;
}

void CoordinationManager::tick(Nanos now, Actions& out) noexcept {
  out = {};
  if (state_ != ManagerState::closed && ServiceClock::is_valid(now)) {
    const Nanos at{clock_.at(rounded(now))};
    ++counters_.ticks;
    ticked_ns_ = at.count();
    out.next_tick = Nanos{kNever};
    for (std::size_t step = 0; step < kMaintenanceSteps; ++step) {
      run_step(static_cast<MaintenanceStep>(step), at, out);
    }
    close_if_drained(at, out);
    out.snapshot_due = out.snapshot_due || std::exchange(is_save_due_, false);
  }
  out.closed = state_ == ManagerState::closed;
  if (out.closed) out.next_tick = Nanos{kNever};
}

void CoordinationManager::close_if_drained(Nanos now, Actions& out) noexcept {
  if (state_ != ManagerState::draining) return;
  out.next_tick = std::min(out.next_tick, Nanos{drained_by_ns_});
  if (on_its_way() != 0 && now.count() < drained_by_ns_) return;
  state_ = ManagerState::closed;
  out.snapshot_due = true;
}

// --- steps ---------------------------------------------------------------------------------------

void CoordinationManager::run_step(MaintenanceStep step, Nanos now, Actions& out) noexcept {
  const auto wants = [&](Nanos next_tick) { out.next_tick = std::min(out.next_tick, next_tick); };
  if (step == MaintenanceStep::locks) {
    resources_.tick(now, resource_actions_);
    out.resource_news = resource_actions_.news;
    out.view_changed |= resource_actions_.view_changed;
    wants(resource_actions_.next_tick);
  } else if (step == MaintenanceStep::queues) {
    tasks_.tick(now, task_actions_);
    messages_.tick(now, message_actions_);
    out.assigned = task_actions_.assigned;
    out.task_news = task_actions_.news;
    out.transfers = message_actions_.transfers;
    out.answers = message_actions_.answers;
    out.message_news = message_actions_.news;
    out.view_changed |= task_actions_.view_changed || message_actions_.view_changed;
    wants(std::min(task_actions_.next_tick, message_actions_.next_tick));
  } else if (step == MaintenanceStep::dependencies) {
    DependencyGraphActions actions;
    graph_.tick(now, actions);
    out.view_changed |= actions.view_changed;
  } else if (step == MaintenanceStep::stealing) {
    steal(now, out);
    wants(Nanos{steal_due_ns_});
  } else if (step == MaintenanceStep::health) {
    observe_mode(now);
  } else if (step == MaintenanceStep::metrics) {
    tell(now);
    count_up(now);
    MetricStoreActions actions;
    metrics_.tick(now, actions);
    wants(actions.next_tick);
    EventBusActions events;
    bus_.tick(now, events);
  }
  run_attached(step, now);
}

// Once an interval: what is queued at each agent, and what follows of it for the scheduler.
void CoordinationManager::steal(Nanos now, Actions& out) noexcept {
  const bool is_due = now.count() >= steal_due_ns_;
  if (mode_.mode() == MeshMode::emergency) {  // nothing happens by itself
    if (is_due) steal_due_ns_ = now.count() + config_.stealing.interval_ns.count();
    return;
  }
  const bool is_heard = is_due || config_.stealing.lifelines != 0;
  for (std::uint32_t agent = 0; agent < agents_seen_ && is_heard; ++agent) {
    const AgentLoad load = tasks_.load(agent);
    if (load.known) stealing_.apply(stealing::Report{agent, load.queued, 0, 0}, now);
  }
  stealing_.tick(now, steal_actions_);
  steal_due_ns_ = steal_actions_.next_tick.count();
  for (const task::Steal& order : steal_actions_.steals) {
    const TaskReply reply = tasks_.apply(order, now);
    out.assigned.insert(out.assigned.end(), reply.assigned.begin(), reply.assigned.end());
    out.task_news.insert(out.task_news.end(), reply.news.begin(), reply.news.end());
  }
  out.view_changed |= steal_actions_.view_changed;
}

// What a service says of itself is said on the bus, once.
void CoordinationManager::tell(Nanos now) noexcept {
  tell_of(tasks_.events(), told_tasks_, now);
  tell_of(resources_.events(), told_resources_, now);
  tell_of(messages_.events(), told_messages_, now);
}
void CoordinationManager::tell_of(const EventLog& log, std::uint64_t& told, Nanos now) noexcept {
  if (log.last_sequence() == told) return;
  told = log.after(told, [&](const EventRecord& event) {
    ++counters_.events;
    bus_.emit({static_cast<EventName>(event.kind),
               event.severity,
               event.source,
               event.a,
               event.b,
               event.c,
               {}},
              now);
  });
}

// --- attached work -------------------------------------------------------------------------------

Status CoordinationManager::attach(MaintenanceStep step, std::string_view name, StepWork work) {
  if (!is_name(name) || !work) {
    return complain(Errc::invalid_id, "attached work has a name, and something to do");
  }
  const bool is_known = std::any_of(attached_.begin(), attached_.end(),
                                    [&](const Attached& one) { return one.name == name; });
  if (is_known) return complain(Errc::already_exists, "there is attached work of that name");
  if (attached_.size() == config_.steps_max) {
    return complain(Errc::capacity, "steps_max is how many may be attached");
  }
  attached_.push_back({step, std::string(name), std::move(work), {}});
  return {};
}

Status CoordinationManager::detach(std::string_view name) {
  const auto gone = std::erase_if(attached_, [&](const Attached& one) { return one.name == name; });
  if (gone != 0) return {};
  return complain(Errc::not_found, "there is no attached work of that name");
}

// Deficit round robin: what it took above the limit it pays off, a limit a tick, before it runs
// again.
void CoordinationManager::run_attached(MaintenanceStep step, Nanos now) noexcept {
  for (Attached& one : attached_) {
    if (one.step != step) continue;
    StepView& seen = one.seen;
    if (seen.debt != 0) {
      seen.debt -= std::min(seen.debt, config_.step_limit);
      ++seen.left_out;
      continue;
    }
    std::uint64_t taken = 0;
    try {
      taken = one.work(now, config_.step_limit);
    } catch (...) {
      ++seen.failed;
    }
    ++seen.runs;
    seen.last = now;
    if (taken <= config_.step_limit) continue;
    ++seen.overruns;
    seen.debt = taken - config_.step_limit;
  }
}

}  // namespace mesh::tasks
