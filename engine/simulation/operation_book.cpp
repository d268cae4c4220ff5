#include "engine/simulation/operation_book.hpp"

#include <algorithm>
#include <utility>

#include "engine/loop/operation.hpp"

namespace mesh::engine::simulation {
namespace {

// What the trace hash holds begins with what it is of.
constexpr std::uint64_t kOpened = 1, kRefused = 2, kFinished = 3, kEnded = 4;

sched::Share share(std::int64_t ppm) noexcept { return {static_cast<std::uint32_t>(ppm)}; }
double as_number(std::int64_t ppm) noexcept {
  return static_cast<double>(ppm) / static_cast<double>(kShareAll);
}

}  // namespace

void OperationBook::open_operation(EngineLoop& loop, HostTime now) {
  ++with_.report.operations;
  open(loop, {.number = ++numbers_}, now);
}

OperationRequest OperationBook::request_for(const Asked& asked) const {
  const Scenario& scenario = with_.scenario;
  OperationRequest request;
  request.weight = static_cast<float>(scenario.weight) / static_cast<float>(kFactorOne);
  // More lead time and a larger window each time.
  const std::int64_t horizon_max = scenario.bucket * (kBucketsPerOperation - 1);
  request.horizon = Nanos{std::min(scenario.horizon * asked.round, horizon_max)};
  request.window = Nanos{scenario.window * asked.round};
  request.timeout = Nanos{scenario.timeout};
  if (asked.round > 1)
    request.timeout = std::max(request.timeout, request.horizon + request.window);
  request.ready_min = as_number(scenario.ready_min);
  request.coverage_min = as_number(scenario.coverage_min);
  request.aim = static_cast<sched::Aim>(scenario.aim);
  if (!asked.left.empty()) {
    request.targets =
        sched::selector(sched::SelectorKind::list, static_cast<std::uint32_t>(asked.left.size()));
    request.list = asked.left;
    request.coverage_min = 0;  // of the first round's targets: has_quorum()
  }
  return request;
}

void OperationBook::open(EngineLoop& loop, Asked asked, HostTime now) {
  const auto opened = loop.open(request_for(asked), now);
  if (!opened) {
    with_.trace.add(
        {kRefused, asked.number, asked.round, static_cast<std::uint64_t>(opened.error().code)});
    if (asked.round == 1)
      ++with_.report.refused;
    else
      end(asked, false);
    return;
  }
  asked.id = *opened;
  with_.trace.add({kOpened, asked.number, asked.round, static_cast<std::uint64_t>(asked.id),
                   static_cast<std::uint64_t>(to_ns(now))});
  ++with_.report.rounds;
  in_flight_.emplace(asked.id, std::move(asked));
}

void OperationBook::collect(EngineLoop& loop, HostTime now) {
  while (const auto finished = loop.take_finished()) on_finished(loop, *finished, now);
  while (const auto finished = loop.take_finished_cascade())
    if (!with_.is_others(*finished)) on_cascade_finished(*finished);
}

void OperationBook::count(const sched::GatherCounts& counts) {
  SimulationReport& report = with_.report;
  report.sent += counts.sent;
  report.ready += counts.ready;
  report.conflicts += counts.conflict;
  report.skipped += counts.skipped.total();
}

void OperationBook::on_finished(EngineLoop& loop, const FinishedOperation& finished, HostTime now) {
  const auto found = in_flight_.find(finished.id);
  MESH_ASSERT(found != in_flight_.end());  // none but ours are opened here
  Asked asked = std::move(found->second);
  in_flight_.erase(found);
  const sched::GatherCounts& counts = finished.result.counts;
  with_.trace.add({kFinished, asked.number, asked.round, counts.sent, counts.ready, counts.conflict,
                   counts.declined, counts.skipped.total(),
                   static_cast<std::uint64_t>(finished.result.end),
                   static_cast<std::uint64_t>(finished.result.took_ns),
                   static_cast<std::uint64_t>(finished.result.errors.p50_ns),
                   static_cast<std::uint64_t>(finished.result.errors.p99_ns)});
  if (asked.round == 1) {
    asked.sent = counts.sent;
    asked.targeted = counts.targeted();
  }
  asked.ready += counts.ready;
  asked.conflict = counts.conflict;
  with_.report.conflicts_counted += counts.conflict;
  count(counts);
  end_round(loop, std::move(asked), now);
}

sched::QuorumDecision OperationBook::decide(const Asked& asked) const {
  const Scenario& scenario = with_.scenario;
  const std::uint32_t known = std::min(asked.sent, asked.ready + asked.conflict);
  return sched::judge(
      {.ready = asked.ready, .conflict = asked.conflict, .transit = asked.sent - known},
      {share(scenario.ready_min), share(scenario.conflict_max), share(scenario.transit_max)});
}

bool OperationBook::has_quorum(const Asked& asked) const {
  return asked.sent != 0 && decide(asked) == sched::QuorumDecision::kProceed &&
         sched::is_at_least(asked.ready, asked.targeted, share(with_.scenario.coverage_min));
}

// Who is not READY yet is asked next, or routed around.
void OperationBook::leave_out_unroutable(EngineLoop& loop, Asked& asked) const {
  const std::vector<TargetTrace> trace = loop.trace(asked.id);
  // Who was left out of a later round, for want of time, is still to be asked.
  if (asked.round == 1)
    for (const TargetTrace& target : trace) asked.left.push_back(target.agent);
  std::vector<AgentId> done;
  for (const TargetTrace& target : trace) {
    const bool is_ready = target.state == sched::TrinaryState::ready;
    const bool is_gone = !is_ready && !with_.is_routable(target.agent);
    if (is_ready || is_gone) done.push_back(target.agent);
    if (is_gone && target.state == sched::TrinaryState::conflict) --asked.conflict;
  }
  std::sort(done.begin(), done.end());
  std::erase_if(asked.left, [&](AgentId agent) {
    const bool is_done = std::binary_search(done.begin(), done.end(), agent);
    return is_done || !with_.is_routable(agent);
  });
  asked.sent = asked.ready + static_cast<std::uint32_t>(asked.left.size());
}

void OperationBook::end_round(EngineLoop& loop, Asked asked, HostTime now) {
  if (asked.round == 1) ++with_.report.decisions[static_cast<std::size_t>(decide(asked))];
  if (asked.sent == 0) {  // no_schedulable_agents, which is an answer
    ++with_.report.refused;
    return end(asked, false);
  }
  if (has_quorum(asked)) return end(asked, true);
  leave_out_unroutable(loop, asked);
  const bool is_quorum = has_quorum(asked);
  if (is_quorum || asked.left.empty() || asked.round == with_.scenario.rounds)
    return end(asked, is_quorum);
  const bool is_of_conflicts = decide(asked) == sched::QuorumDecision::kResolveConflicts;
  asked.gives_up = is_of_conflicts ? now + kConflictsWaitedFor : now;
  waiting_.push_back(std::move(asked));
}

void OperationBook::ask_again(EngineLoop& loop, HostTime now) {
  if (waiting_.empty()) return;
  std::vector<Asked> due;
  for (std::size_t i = 0; i < waiting_.size();) {
    const bool has_to_wait =
        now < waiting_[i].gives_up && with_.conflicts.unresolved(waiting_[i].id) != 0;
    if (has_to_wait) {
      ++i;
      continue;
    }
    due.push_back(std::move(waiting_[i]));
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  for (Asked& asked : due) {
    ++asked.round;
    open(loop, std::move(asked), now);
  }
}

void OperationBook::end(const Asked& asked, bool is_quorum) {
  with_.trace.add({kEnded, asked.number, asked.round, asked.ready, is_quorum ? 1U : 0U});
  if (!is_quorum) return;
  ++with_.report.quorums;
  if (asked.round == 1) ++with_.report.quorums_at_once;
}

// Cascades.

void OperationBook::open_cascade(EngineLoop& loop, HostTime now) {
  const Scenario& scenario = with_.scenario;
  ++with_.report.cascades;
  CascadeRequest request;
  request.strategy = static_cast<CascadeStrategy>(scenario.cascade_strategy + 1);
  request.sector_window = Nanos{scenario.sector_window};
  request.cluster_window = Nanos{scenario.cluster_window};
  request.agent_window = Nanos{scenario.agent_window};
  request.window = Nanos{scenario.cascade_window};
  request.ready_min = as_number(scenario.cascade_ready_min);
  const std::uint64_t number = ++numbers_;
  const auto opened = loop.open_cascade(request, now);
  if (!opened) {
    with_.trace.add({kRefused, number, 0, static_cast<std::uint64_t>(opened.error().code)});
    ++with_.report.cascades_refused;
    return;
  }
  with_.trace.add({kOpened, number, 0, static_cast<std::uint64_t>(*opened)});
  cascades_[*opened] = {.number = number, .opened = now};
  nameless_.push_back(*opened);
}

// Each sends its first messages before the next one is opened.
void OperationBook::on_cascade_message(const sched::MessageId& cascade) {
  if (nameless_.empty() || cascade_of_.contains(cascade)) return;
  cascade_of_[cascade] = nameless_.front();
  nameless_.pop_front();
}

void OperationBook::on_cascade_ready(const sched::MessageId& cascade, HostTime at) {
  const auto named = cascade_of_.find(cascade);
  if (named == cascade_of_.end()) return;
  const auto found = cascades_.find(named->second);
  if (found != cascades_.end()) found->second.ready_at.push_back(at);
}

// It is reached when so many of those that it was sent to were READY.
void OperationBook::on_cascade_finished(const FinishedCascade& finished) {
  const auto found = cascades_.find(finished.id);
  MESH_ASSERT(found != cascades_.end());  // none but ours are opened here
  Cascade cascade = std::move(found->second);
  cascades_.erase(found);
  std::erase(nameless_, finished.id);
  SimulationReport& report = with_.report;
  const CascadeCounts& agents = finished.agents;
  report.conflicts_counted += agents.conflict;
  ++report.cascade_statuses[static_cast<std::size_t>(finished.status)];
  report.cascade_total_ns.push_back(finished.total_ns);
  with_.trace.add({kEnded, cascade.number, static_cast<std::uint64_t>(finished.status), agents.sent,
                   agents.ready, agents.conflict, finished.operations,
                   static_cast<std::uint64_t>(finished.total_ns)});
  const std::int64_t needed =
      (agents.sent * with_.scenario.cascade_ready_min + kShareAll - 1) / kShareAll;
  if (finished.status == CascadeStatus::failed_at_sector) return;
  if (needed == 0 || static_cast<std::int64_t>(cascade.ready_at.size()) < needed) return;
  std::sort(cascade.ready_at.begin(), cascade.ready_at.end());
  report.cascade_ns.push_back(
      (cascade.ready_at[static_cast<std::size_t>(needed - 1)] - cascade.opened).count());
}

}  // namespace mesh::engine::simulation
