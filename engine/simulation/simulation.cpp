#include "engine/simulation/simulation.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "engine/simulation/simulation_run.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine::simulation {
namespace {

constexpr std::int64_t kIdleLookMax = 100 * kNsPerMs;  // as the engine's own thread
constexpr std::size_t kGroupsMax = 4'096;
constexpr std::int64_t kActiveMin = 95;  // of a hundred: available
constexpr std::int64_t kOverdueAfter = 10 * kNsPerSecond;
constexpr std::int64_t kLeadsAsked = 3;  // the first, and two that are promoted
constexpr std::int64_t kPipelineLeadMax = 20 * kNsPerSecond;  // that a step is given up after

// What the trace hash holds begins with what it is of: 1 to 8 are the books', 16 and 17
// simulation_turn.cpp's, from 21 on scale_up.cpp's and hand_overs.cpp's.
constexpr std::uint64_t kDied = 18, kReturned = 19, kMode = 20;

}  // namespace

Status Simulation::start() {
  MESH_TRY(mesh_, SimulatedMesh::create(scenario_, population_, clock_));
  const Whereabouts where{[this](std::uint32_t agent) { return mesh_->sector(agent); },
                          [this](std::uint32_t agent) { return mesh_->cluster(agent); }};
  faults_.emplace(scenario_, population_, request_.seed, where);
  if (faults_->groups().size() > kGroupsMax)
    return fail(Errc::invalid_argument,
                "faults: " + std::to_string(faults_->groups().size()) +
                    " groups of agents die apart from each other, at most " +
                    std::to_string(kGroupsMax),
                static_cast<std::int64_t>(kGroupsMax));
  MESH_CHECK_OK(mesh_->move_apart(faults_->groups()));
  const std::int64_t a_turn =
      scenario_.upkeep * kUpkeepRowsPerTick / (scenario_.agents + scenario_.scale_agents);
  idle_look_ns_ = std::clamp<std::int64_t>(a_turn, 1, kIdleLookMax);
  accounted_ns_ = clock_.mesh_ns();
  end_ns_ = kSimulationStartNs + scenario_.length;
  give_up_ns_ = end_ns_ + kOverdueAfter + longest_operation_ns();
  schedule();
  turn();
  return {};
}

// All rounds of one, each waited out, and the wait for its conflicts before it.
std::int64_t Simulation::longest_operation_ns() const noexcept {
  const std::int64_t last = (scenario_.horizon + scenario_.window) * scenario_.rounds;
  const std::int64_t round =
      std::max(scenario_.timeout, last) + OperationBook::kConflictsWaitedFor.count();
  const std::int64_t wave =
      scenario_.sector_window + scenario_.cluster_window + scenario_.agent_window;
  std::int64_t small = 0;
  if (scenario_.pipeline_every != 0)
    small = (scenario_.pipeline_window + kPipelineLeadMax) * scenario_.pipeline_steps;
  if (scenario_.quorum_every != 0)
    small = std::max(small, scenario_.quorum_lead_window * kLeadsAsked + scenario_.quorum_window);
  return std::max({round * scenario_.rounds, wave, small,
                   scenario_.cascade_window * static_cast<std::int64_t>(kCascadePhases)});
}

void Simulation::schedule_repeated(EventKind kind, std::int64_t first, std::int64_t every,
                                   std::int64_t end) {
  if (every != 0 && first < end) events_.push({.at = first, .kind = kind});
}

void Simulation::schedule() {
  schedule_repeated(EventKind::operation, kSimulationStartNs + scenario_.settle, scenario_.every,
                    end_ns_);
  schedule_repeated(EventKind::cascade, kSimulationStartNs + scenario_.cascade_at,
                    scenario_.cascade_every, end_ns_);
  const std::int64_t settled = kSimulationStartNs + scenario_.settle;
  schedule_repeated(EventKind::pipeline, settled, scenario_.pipeline_every, end_ns_);
  schedule_repeated(EventKind::quorum, settled, scenario_.quorum_every, end_ns_);
  if (contexts_.is_on())
    schedule_repeated(EventKind::contexts_handed_over, settled, scenario_.context_every, end_ns_);
  if (scenario_.scale_agents != 0)
    events_.push(
        {.at = kSimulationStartNs + scenario_.scale_at, .kind = EventKind::newcomers_made});
  for (std::uint32_t at = 0; at < faults_->faults(); ++at) {
    const Fault& fault = faults_->fault(at);
    if (static_cast<FaultKind>(fault.kind) == FaultKind::death) continue;
    events_.push({.at = kSimulationStartNs + fault.at, .kind = EventKind::fault_begins, .a = at});
    if (fault.lasts != 0)
      events_.push({.at = kSimulationStartNs + fault.at + fault.lasts,
                    .kind = EventKind::fault_ends,
                    .a = at});
  }
  for (std::uint32_t unit = 0; unit < faults_->units().size(); ++unit)
    events_.push({.at = kSimulationStartNs + faults_->units()[unit].first_ns,
                  .kind = EventKind::unit_dies,
                  .a = unit});
}

Result<SimulationReport> Simulation::run() {
  MESH_CHECK_OK(start());
  std::int64_t told_ns = 0;
  for (;;) {
    const std::int64_t next = std::min({events_.next_at(), look_at_ns_, conflicts_due()});
    // An operation that never ends is given up, and counted.
    const bool is_over =
        next > end_ns_ && (book_.open() + small_.open() == 0 || next > give_up_ns_);
    if (is_over) break;
    clock_.advance_to(next);
    while (events_.next_at() <= clock_.true_ns()) MESH_CHECK_OK(handle(events_.pop()));
    conflicts_.advance(now());
    if (look_at_ns_ <= clock_.true_ns()) turn();
    if (request_.progress && clock_.true_ns() - told_ns >= kNsPerSecond) {
      told_ns = clock_.true_ns();
      request_.progress(std::min(told_ns - kSimulationStartNs, scenario_.length), scenario_.length);
    }
  }
  finish();
  return std::move(report_);
}

Status Simulation::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::answer:
      answer(event);
      return {};
    case EventKind::operation:
    case EventKind::cascade:
    case EventKind::pipeline:
    case EventKind::quorum:
    case EventKind::contexts_handed_over:
      MESH_CHECK_OK(open_next(event));
      break;
    case EventKind::fault_begins:
      set_fault(event.a, true);
      break;
    case EventKind::fault_ends:
      set_fault(event.a, false);
      break;
    case EventKind::unit_dies:
      die(event.a);
      return {};
    case EventKind::unit_known:
      know(event.a);
      break;
    case EventKind::unit_returns:
      MESH_CHECK_OK(bring_back(event.a));
      break;
    default:
      MESH_CHECK_OK(handle_more(event));
      break;
  }
  look_at_ns_ = clock_.true_ns();
  return {};
}

Status Simulation::handle_more(const Event& event) {
  if (event.kind == EventKind::context_loaded) return contexts_.loaded(*mesh_, event, now());
  if (event.kind == EventKind::newcomers_come) return scale_.attach(*mesh_);
  MESH_ASSERT(event.kind == EventKind::newcomers_made);
  MESH_CHECK_OK(scale_.make(*mesh_, now()));
  events_.push({.at = clock_.true_ns() + scenario_.scale_spawn, .kind = EventKind::newcomers_come});
  return {};
}

std::int64_t Simulation::every(EventKind kind) const noexcept {
  switch (kind) {
    case EventKind::cascade:
      return scenario_.cascade_every;
    case EventKind::pipeline:
      return scenario_.pipeline_every;
    case EventKind::quorum:
      return scenario_.quorum_every;
    case EventKind::contexts_handed_over:
      return scenario_.context_every;
    default:
      return scenario_.every;
  }
}

void Simulation::open(EventKind kind) {
  switch (kind) {
    case EventKind::cascade:
      return book_.open_cascade(mesh_->loop(), now());
    case EventKind::pipeline:
      return small_.open_pipeline(mesh_->loop(), now());
    case EventKind::quorum:
      return small_.open_quorum(mesh_->loop(), now());
    default:
      return book_.open_operation(mesh_->loop(), now());
  }
}

Status Simulation::open_next(const Event& event) {
  if (event.kind == EventKind::contexts_handed_over) {
    MESH_CHECK_OK(contexts_.hand_over(*mesh_));
  } else {
    open(event.kind);
  }
  Event next = event;
  next.at += every(event.kind);
  std::int64_t end = end_ns_;
  if (event.kind == EventKind::cascade && scenario_.cascade_lasts != 0)
    end = std::min(end, kSimulationStartNs + scenario_.cascade_at + scenario_.cascade_lasts);
  if (next.at < end) events_.push(next);
  return {};
}

void Simulation::set_fault(std::uint32_t at, bool is_in_force) {
  const Fault& fault = faults_->fault(at);
  if (static_cast<FaultKind>(fault.kind) == FaultKind::clock_step) {
    if (is_in_force) clock_.step(fault.step);
    return;
  }
  faults_->set_in_force(at, is_in_force);
}

// Its processes are gone; the engine will know.
void Simulation::die(std::uint32_t at) {
  const DeathUnit& unit = faults_->units()[at];
  const Fault& fault = faults_->fault(unit.fault);
  bool is_news = false;
  for (const std::uint32_t group : unit.groups) {
    const std::size_t slot = mesh_->first_of_groups() + group;
    if (!mesh_->end_process(slot)) continue;
    is_news = true;
    for (const std::uint32_t agent : mesh_->agents_of(slot)) population_.forget_queue(agent);
  }
  if (is_news) {
    ++report_.deaths;
    trace_.add({kDied, at, static_cast<std::uint64_t>(clock_.true_ns())});
    events_.push(
        {.at = clock_.true_ns() + scenario_.detection, .kind = EventKind::unit_known, .a = at});
  }
  const std::int64_t next = clock_.true_ns() + fault.every;
  const bool is_again = fault.every != 0 && next < end_ns_ &&
                        (fault.lasts == 0 || next < kSimulationStartNs + fault.at + fault.lasts);
  if (is_again) events_.push({.at = next, .kind = EventKind::unit_dies, .a = at});
}

void Simulation::know(std::uint32_t at) {
  const DeathUnit& unit = faults_->units()[at];
  const Fault& fault = faults_->fault(unit.fault);
  for (const std::uint32_t group : unit.groups) mesh_->let_go(mesh_->first_of_groups() + group);
  watch(at);
  if (fault.returns != 0)
    events_.push(
        {.at = clock_.true_ns() + fault.returns, .kind = EventKind::unit_returns, .a = at});
}

// A sector that is missing is ten missing clusters, too.
void Simulation::watch(std::uint32_t at) {
  const DeathUnit& unit = faults_->units()[at];
  const Fault& fault = faults_->fault(unit.fault);
  const auto target = static_cast<FaultTarget>(fault.target);
  const bool is_place = target == FaultTarget::sector || target == FaultTarget::cluster;
  if (!is_place || fault.returns == 0) return;
  std::map<std::uint32_t, std::vector<std::uint32_t>> clusters;
  for (const std::uint32_t agent : unit.agents) clusters[mesh_->cluster(agent)].push_back(agent);
  for (auto& [cluster, agents] : clusters)
    recoveries_.begin(Recoveries::Of::cluster, std::move(agents), now());
  if (target == FaultTarget::sector) recoveries_.begin(Recoveries::Of::sector, unit.agents, now());
}

Status Simulation::bring_back(std::uint32_t at) {
  for (const std::uint32_t group : faults_->units()[at].groups) {
    const std::size_t slot = mesh_->first_of_groups() + group;
    MESH_CHECK_OK(mesh_->come_back(slot));
    if (contexts_.is_on()) contexts_.attached(*mesh_, slot, clock_, events_);
  }
  ++report_.returns;
  trace_.add({kReturned, at, static_cast<std::uint64_t>(clock_.true_ns())});
  return {};
}

// What passed since the last turn counts as what it was then.
void Simulation::account(std::int64_t mesh_ns) {
  const std::int64_t passed = mesh_ns - accounted_ns_;
  accounted_ns_ = mesh_ns;
  if (is_available_) report_.available_ns += passed;
  report_.mode_ns[static_cast<std::size_t>(mode_)] += passed;
  report_.virtual_ns += passed;
  const EngineLoop& loop = mesh_->loop();
  const auto expected = static_cast<std::int64_t>(loop.agents_enrolled() - scale_.awaited());
  is_available_ = static_cast<std::int64_t>(loop.agents_active()) * 100 >= expected * kActiveMin;
  const auto seen = mesh_->view().mesh();
  if (!seen || !seen->mode || *seen->mode == mode_) return;
  mode_ = *seen->mode;
  ++report_.mode_changes;
  trace_.add({kMode, static_cast<std::uint64_t>(mode_), static_cast<std::uint64_t>(mesh_ns)});
}

void Simulation::finish() {
  clock_.advance_to(end_ns_);
  account(clock_.mesh_ns());
  const EngineLoop& loop = mesh_->loop();
  const Status whole = loop.verify();
  MESH_ASSERT(whole.has_value());  // whatever happened, the engine's own state makes sense
  recoveries_.give_up(report_);
  report_.seed = request_.seed;
  report_.agents = population_.size();
  report_.unanswered = book_.open() + small_.open();
  report_.errors = errors_.tally();
  report_.conflict_records = conflicts_.counts();
  // Nothing that the engine counts, and nothing that an agent said, is without its records.
  report_.conflicts_complete = conflicts_.is_complete() &&
                               report_.conflict_records.reported == report_.conflict_answers &&
                               report_.conflict_records.reported >= report_.conflicts_counted;
  report_.conflicts_open = conflicts_.open();
  report_.resolution_p99_ns = quantile_of(conflicts_.took_ns(), 990'000);
  report_.ticks = loop.counters().ticks;
  report_.deliveries = loop.counters().deliveries;
  report_.breakers_opened = loop.counters().breakers_opened;
  report_.memory_bytes = mesh_->memory_bytes();
  const ChainHead& head = conflicts_.head();
  for (std::size_t i = 0; i < head.hash.size(); i += 8) {
    std::uint64_t word = 0;
    for (std::size_t k = 0; k < 8; ++k)
      word |= std::to_integer<std::uint64_t>(head.hash[i + k]) << (8 * k);
    trace_.add({word});
  }
  trace_.add({report_.answers, report_.sent, report_.quorums, report_.deliveries});
  report_.trace_hash = trace_.value();
}

Result<SimulationReport> simulate(const SimulationRequest& request) {
  Simulation simulation(request);
  return simulation.run();
}

}  // namespace mesh::engine::simulation
