#include "engine/simulation/small_operations.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "engine/cluster_quorum.hpp"
#include "engine/loop/pipelines.hpp"
#include "engine/simulation/integer_tables.hpp"
#include "engine/station/delivery.hpp"

namespace mesh::engine::simulation {
namespace {

// What the trace hash holds begins with what it is of.
constexpr std::uint64_t kSmallOpened = 5, kSmallRefused = 6, kPipelineEnded = 7, kQuorumEnded = 8;

constexpr const char* kQuestion = "quorum";

}  // namespace

bool is_of_quorum(const Delivery& delivery) noexcept { return delivery.text() == kQuestion; }
bool is_of_pipeline(const Delivery& delivery) noexcept {
  return delivery.strategy == sched::Strategy::pipeline;
}

std::optional<std::uint32_t> SmallOperations::draw(std::uint64_t number, std::uint32_t step) const {
  const std::int64_t agents = with_.population.size();
  for (std::uint32_t again = 0; again < kDraws; ++again) {
    const DrawOf of{with_.seed, static_cast<std::uint32_t>(number), step * kDraws + again};
    const auto agent =
        static_cast<std::uint32_t>(uniform_of(of.bits(Purpose::asked_agent), 0, agents - 1));
    if (with_.population.agent(agent).agent_class == sched::AgentClass::human) continue;
    if (with_.is_routable(agent)) return agent;
  }
  return std::nullopt;
}

void SmallOperations::refuse(SmallFigures& figures, std::uint64_t number, Errc why) {
  with_.trace.add({kSmallRefused, number, static_cast<std::uint64_t>(why)});
  ++figures.refused;
}

void SmallOperations::open_pipeline(EngineLoop& loop, HostTime now) {
  const Scenario& scenario = with_.scenario;
  SmallFigures& figures = with_.report.pipelines;
  const std::uint64_t number = ++numbers_;
  ++figures.asked;
  std::vector<AgentId> targets;
  for (std::uint32_t step = 0; step < scenario.pipeline_steps; ++step)
    if (const auto agent = draw(number, step)) targets.push_back(with_.id(*agent));
  if (static_cast<std::int64_t>(targets.size()) != scenario.pipeline_steps)
    return refuse(figures, number, Errc::no_such_agent);
  const auto opened = mesh::engine::open_pipeline(
      loop,
      {.targets = targets,
       .window = Nanos{scenario.pipeline_window},
       .weight = static_cast<float>(scenario.weight) / static_cast<float>(kFactorOne)},
      now);
  if (!opened) return refuse(figures, number, opened.error().code);
  with_.trace.add({kSmallOpened, number, static_cast<std::uint64_t>(*opened)});
  pipelines_[*opened] = number;
}

void SmallOperations::open_quorum(EngineLoop& loop, HostTime now) {
  const Scenario& scenario = with_.scenario;
  SmallFigures& figures = with_.report.cluster_quorums;
  const std::uint64_t number = ++numbers_;
  ++figures.asked;
  const auto agent = draw(number, 0);
  if (!agent) return refuse(figures, number, Errc::no_such_agent);
  const QuorumRequest request{.cluster = with_.cluster(*agent),
                              .question = kQuestion,
                              .lead_window = Nanos{scenario.quorum_lead_window},
                              .window = Nanos{scenario.quorum_window}};
  const auto opened = loop.open_cascade(cascade_of(request), now);
  if (!opened) return refuse(figures, number, opened.error().code);
  with_.trace.add({kSmallOpened, number, static_cast<std::uint64_t>(*opened)});
  quorums_[*opened] = number;
}

void SmallOperations::collect(EngineLoop& loop) {
  if (pipelines_.empty()) return;
  while (const auto finished = take_finished_pipeline(loop)) on_finished(*finished);
}

void SmallOperations::on_finished(const FinishedPipeline& finished) {
  const auto found = pipelines_.find(finished.id);
  MESH_ASSERT(found != pipelines_.end());  // none but ours are opened here
  SmallFigures& figures = with_.report.pipelines;
  const PipelineStep& last = finished.steps.back();
  with_.trace.add({kPipelineEnded, found->second, static_cast<std::uint64_t>(finished.status),
                   finished.done(), static_cast<std::uint64_t>(to_ns(last.answered)),
                   static_cast<std::uint64_t>(finished.total_ns)});
  pipelines_.erase(found);
  if (finished.status != PipelineStatus::success) return;
  ++figures.succeeded;
  figures.took_ns.push_back(finished.total_ns);
  with_.report.pipeline_error_ns.push_back(
      static_cast<std::int64_t>(sched::magnitude((last.answered - finished.target).count())));
}

bool SmallOperations::take(const EngineLoop& loop, const FinishedCascade& finished) {
  const auto found = quorums_.find(finished.id);
  if (found == quorums_.end()) return false;
  SmallFigures& figures = with_.report.cluster_quorums;
  const QuorumReport report = quorum_report(loop, finished);
  const auto decision = static_cast<std::size_t>(report.verdict.decision);
  with_.trace.add({kQuorumEnded, found->second, report.cluster, report.agents.targeted,
                   report.agents.sent, report.agents.ready, report.agents.conflict, decision,
                   static_cast<std::uint64_t>(report.took.count())});
  quorums_.erase(found);
  ++with_.report.cluster_decisions[decision];
  with_.report.leads_promoted += report.promoted;
  if (!report.is_success) return true;
  ++figures.succeeded;
  figures.took_ns.push_back(report.took.count());
  return true;
}

}  // namespace mesh::engine::simulation
