// What a coordination manager measures: its services' health, and their counters as metrics.
#include <algorithm>

#include "engine/tasks/coordination_manager.hpp"

namespace mesh::tasks {
namespace {

std::uint32_t share_ppm(std::uint64_t used, std::uint64_t most) noexcept {
  return most == 0
             ? 0
             : static_cast<std::uint32_t>(std::min<std::uint64_t>(used, most) * 1'000'000 / most);
}

template <class Service>
ServiceHealth look_at(std::string_view name, const Service& service, std::uint32_t full_ppm) {
  ServiceHealth seen;
  seen.service = name;
  seen.full_ppm = full_ppm;
  seen.commands = service.counters().commands;
  seen.refused = service.counters().refused;
  const Status sound = service.verify();
  if (!sound) {
    seen.status = HealthStatus::failing;
    seen.reason = sound.error().sentence;
  }
  return seen;
}

}  // namespace

HealthReport CoordinationManager::health(Nanos now) const {
  HealthReport report;
  report.mode = mode_.mode();
  report.state = state_;
  const GraphStats graph = graph_.stats();
  const ResourceCounters& held = resources_.counters();
  report.services = {
      look_at("tasks", tasks_, share_ppm(tasks_.open_count(), config_.tasks.tasks_max)),
      look_at("resources", resources_,
              share_ppm(held.held - held.given_up, config_.resources.holdings_max)),
      look_at("messages", messages_,
              share_ppm(messages_.in_flight(), config_.messages.messages_max)),
      look_at("stealing", stealing_, 0),
      look_at("graph", graph_,
              share_ppm(graph.waiting + graph.ready + graph.undefined, config_.graph.tasks_max)),
      look_at("metrics", metrics_, share_ppm(metrics_.count(), config_.metrics.metrics_max)),
      look_at("events", bus_, 0),
  };
  const Nanos age = std::max(Nanos{0}, now - Nanos{ticked_ns_});
  for (ServiceHealth& one : report.services) {
    one.tick_age = age;
    if (one.status == HealthStatus::failing) {
      report.healthy = false;
    } else if (state_ == ManagerState::closed) {
      one.status = HealthStatus::closed;
      one.reason = "after a shutdown";
    } else if (age >= config_.late_ns) {
      one.status = HealthStatus::late;
      one.reason = "no tick for " + std::to_string(age.count() / kNsPerMs) + " ms";
      report.healthy = false;
    } else if (one.full_ppm >= config_.saturated_ppm) {
      one.status = HealthStatus::saturated;
      one.reason = std::to_string(one.full_ppm / 10'000) + " % of a table are taken";
    }
  }
  for (const Attached& one : attached_) {
    report.steps.push_back(one.seen);
    report.steps.back().name = one.name;
    report.steps.back().step = one.step;
  }
  return report;
}

std::uint64_t CoordinationManager::mode_word() const noexcept {
  const auto since_ms = static_cast<std::uint64_t>(mode_.since_ns() / kNsPerMs);
  return since_ms << 8 | static_cast<std::uint64_t>(mode_.mode());
}

// The counters that drive the services are those that are shown.
void CoordinationManager::count_up(Nanos now) noexcept {
  if (!config_.metrics.standard) return;
  using enum StandardMetric;
  const auto counted = [&](StandardMetric metric, std::uint64_t value) {
    metrics_.apply(metric::Report{0, MetricStore::of(metric), value}, now);
  };
  const auto level = [&](StandardMetric metric, std::uint64_t value) {
    metrics_.set(MetricStore::of(metric), static_cast<std::int64_t>(value), now);
  };
  const TaskSchedulerCounters& tasks = tasks_.counters();
  counted(task_completed, tasks.completed);
  counted(task_failed, tasks.failed);
  counted(task_cancelled, tasks.cancelled);
  level(task_queued, tasks_.ready_count());
  const ResourceCounters& held = resources_.counters();
  level(resource_held, held.held - held.given_up);
  level(resource_waiting,
        held.waits - held.granted - held.timed_out - held.victims - held.cancelled);
  level(resource_capacity, config_.resources.resources_max);
  counted(resource_acquired, held.held);
  counted(resource_contended, held.waits);
  const MessageRouterCounters& messages = messages_.counters();
  counted(message_sent, messages.sent);
  counted(message_delivered, messages.delivered);
  counted(message_failed, messages.dead + messages.expired);
  counted(coordination_conflicts, tasks.mismatches);
  counted(coordination_deadlocks, held.victims);
  counted(coordination_steals, tasks.moved);
  count_agents(now);
}

void CoordinationManager::count_agents(Nanos now) noexcept {
  using enum StandardMetric;
  std::array<std::int64_t, 5> sums{};  // known, routable, running, what they can, assigned
  for (std::uint32_t at = 0; at < agents_seen_; ++at) {
    const AgentLoad load = tasks_.load(at);
    if (!load.known) continue;
    ++sums[0];
    sums[1] += load.routable ? 1 : 0;
    sums[2] += load.running;
    sums[3] += load.concurrent_max;
    sums[4] += load.queued;
  }
  constexpr std::array kLevels{agent_total, agent_active, agent_running, agent_capacity};
  for (std::size_t i = 0; i < kLevels.size(); ++i) {
    metrics_.set(MetricStore::of(kLevels[i]), sums[i], now);
  }
  metrics_.set(MetricStore::of(task_active), sums[2] + sums[4], now);
}

}  // namespace mesh::tasks
