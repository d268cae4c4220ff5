// Cascades: how one begins, goes on and ends.
#include <algorithm>
#include <string>

#include "engine/loop/account.hpp"
#include "engine/loop/cascade_book.hpp"
#include "engine/loop/state.hpp"
#include "sched/cascade_phases.hpp"

namespace mesh::engine {
namespace {

OperationId id_of(const EngineLoop::State& loop, const Cascade& cascade) noexcept {
  const auto at = static_cast<std::uint32_t>(&cascade - loop.cascades.all.data());
  return operation_id(kMaxOperations + at, cascade.serial);
}

std::uint32_t phase_count(CascadeStrategy strategy) noexcept {
  switch (strategy) {
    case CascadeStrategy::wave:
    case CascadeStrategy::quorum:
      return 0;
    case CascadeStrategy::parallel:
      return 1;
    case CascadeStrategy::priority_first:
      return static_cast<std::uint32_t>(std::size(sched::kPriorityFirst));
  }
  return 0;
}

struct Checked {
  sched::Share sector_min;
  sched::Share ready_min;
};

Errc check(const EngineLoop::State& loop, const CascadeRequest& request, Checked& checked) {
  const std::int64_t most = loop.options.bucket.count() * kBucketsPerOperation;
  for (const Nanos window :
       {request.sector_window, request.cluster_window, request.agent_window, request.window})
    if (window <= Nanos{0} || window.count() >= most) return Errc::invalid_argument;
  const auto sector_min = sched::make_share(request.sector_ready_min);
  const auto ready_min = sched::make_share(request.ready_min);
  if (!sector_min || !ready_min) return Errc::invalid_argument;
  if (!(request.weight >= 0) || request.weight > static_cast<float>(sched::kWeightMax))
    return Errc::invalid_argument;
  if (request.strategy < CascadeStrategy::wave || request.strategy > CascadeStrategy::quorum)
    return Errc::invalid_argument;
  if (request.cluster >= loop.topology->cluster_count()) return Errc::invalid_argument;
  if (sched::kMessageHeaderBytes + request.body.size() > loop.log.body_bytes_max())
    return Errc::truncated;
  checked = {*sector_min, *ready_min};
  return Errc::ok;
}

// As a whole it is one operation to everybody; a quorum, to all of its cluster.
Errc admit(EngineLoop::State& loop, const CascadeRequest& request) noexcept {
  OperationRequest whole{.priority = request.priority, .confirmed = request.confirmed};
  auto eligible = static_cast<std::uint32_t>(loop.registry->taken());
  if (request.strategy == CascadeStrategy::quorum) {
    whole.targets = sched::selector(sched::SelectorKind::cluster, request.cluster);
    eligible = loop.topology->cluster(request.cluster).targets();
  }
  if (eligible == 0) return Errc::no_such_agent;
  loop.gate.was_open = false;
  return admit_operation(loop, whole, eligible);
}

Cascade* free_cascade(CascadeBook& book) noexcept {
  Cascade* oldest = nullptr;
  for (Cascade& cascade : book.all) {
    if (cascade.state == CascadeState::free) return &cascade;
    if (cascade.state == CascadeState::running) continue;
    if (oldest == nullptr || cascade.started_ns < oldest->started_ns) oldest = &cascade;
  }
  return oldest;
}

// Everything that a successor needs, the state last.
void publish(Cascade& cascade) noexcept {
  Cascade::Words& words = *cascade.words;
  const auto put = [](auto& word, auto value) {
    word.store_relaxed(value);  // relaxed: the state publishes it
  };
  put(words.id_high, cascade.id.high);
  put(words.id_low, cascade.id.low);
  cascade.store_about();
  put(words.started_ns, cascade.started_ns);
  put(words.ended_ns, std::int64_t{0});
  put(words.target_ns, cascade.target_ns);
  for (std::size_t i = 0; i < std::size(cascade.windows_ns); ++i)
    put(words.windows[i], cascade.windows_ns[i]);
  put(words.minima, cascade.sector_min.ppm | std::uint64_t{cascade.ready_min.ppm} << 32);
  put(words.body, cascade.body_bytes | std::uint64_t{cascade.parked + 1U} << 32);
  put(words.tally, std::uint64_t{0});
  for (auto& phase : words.phases)
    for (auto& word : phase) put(word, std::uint64_t{0});
  MESH_POINT("cascade.publish:before_state");
  // SYNC cascade.state release: who finds it running finds all of it.
  words.state.store_release(static_cast<std::uint64_t>(CascadeState::running) |
                            std::uint64_t{cascade.serial} << 32);
  cascade.state = CascadeState::running;
}

void begin(EngineLoop::State& loop, Cascade& cascade, const CascadeRequest& request,
           const Checked& checked) noexcept {
  ++cascade.serial;
  cascade.strategy = request.strategy;
  cascade.cluster = request.cluster;
  cascade.below = OperationId{};
  cascade.may_ask_leads = request.strategy == CascadeStrategy::quorum;
  cascade.is_phase_open = false;
  cascade.phase = cascade.next_queued = cascade.under_way = 0;
  cascade.operations = cascade.promoted = 0;
  cascade.engine_ns = 0;
  cascade.queue.clear();
  cascade.started_ns = loop.now_ns;
  cascade.target_ns = to_ns(request.target);
  cascade.windows_ns[0] = request.sector_window.count();
  cascade.windows_ns[1] = request.cluster_window.count();
  cascade.windows_ns[2] = request.agent_window.count();
  cascade.windows_ns[3] = request.window.count();
  cascade.sector_min = checked.sector_min;
  cascade.ready_min = checked.ready_min;
  cascade.body_bytes = static_cast<std::uint32_t>(request.body.size());
  for (Cascade::Unit& unit : cascade.units) {
    unit.state.store_relaxed(0);   // relaxed, both: the state publishes them
    unit.counts.store_relaxed(0);  // relaxed: as above
  }
  cascade.set_patience();
}

// Its body's name goes first, then the body.
void release(EngineLoop::State& loop, Cascade& cascade, CascadeState state) noexcept {
  cascade.state = state;
  const std::uint32_t first = std::exchange(cascade.parked, loop.parked.kNone);
  cascade.words->ended_ns.store_relaxed(loop.now_ns);  // relaxed: the state publishes it
  MESH_POINT("cascade.end:before_state");
  // SYNC cascade.state release: who finds it ended does not look for its body.
  cascade.words->state.store_release(static_cast<std::uint64_t>(state) |
                                     std::uint64_t{cascade.serial} << 32);
  if (first != loop.parked.kNone)
    loop.parked.release(first, sched::kMessageHeaderBytes + cascade.body_bytes);
}

CascadePhaseResult phase_result(const Cascade& cascade, std::uint32_t phase) noexcept {
  CascadePhaseResult result;
  // relaxed, both: our own past stores.
  const std::uint64_t sent = cascade.words->phases[phase][0].load_relaxed();
  const std::uint64_t back = cascade.words->phases[phase][1].load_relaxed();  // relaxed: ours
  result.agents = {static_cast<std::uint32_t>(sent), static_cast<std::uint32_t>(sent >> 32),
                   static_cast<std::uint32_t>(back), static_cast<std::uint32_t>(back >> 32)};
  const bool is_class = cascade.strategy == CascadeStrategy::priority_first;
  result.ready_min_ppm =
      is_class ? sched::kPriorityFirst[phase].ready_min.ppm : cascade.ready_min.ppm;
  if (is_class) result.agent_class = sched::kPriorityFirst[phase].agent_class;
  result.has_run = result.agents.sent != 0;
  result.is_degraded =
      result.has_run && !sched::is_at_least(result.agents.ready, result.agents.sent,
                                            sched::Share{result.ready_min_ppm});
  return result;
}

void add(CascadeCounts& to, const CascadeCounts& counts) noexcept {
  to.targeted += counts.targeted;
  to.sent += counts.sent;
  to.ready += counts.ready;
  to.conflict += counts.conflict;
}

// What one place of a wave came to. Leaders are agents too.
void sum_unit(const EngineLoop::State& loop, const Cascade& cascade, std::uint32_t unit,
              FinishedCascade& to) {
  const Topology& topology = *loop.topology;
  const bool is_sector = cascade.is_sector(unit);
  const GroupCounts& group =
      is_sector ? topology.sector(unit) : topology.cluster(unit - cascade.sectors);
  if (group.targets() == 0) return;
  (is_sector ? to.sectors : to.clusters) += 1;
  (is_sector ? to.sectors_reached : to.clusters_reached) += cascade.has_agreed(unit) ? 1U : 0U;
  const CascadeStep step = cascade.step(unit);
  const bool was_sent = cascade.has_agreed(unit) || step == CascadeStep::conflict ||
                        step == CascadeStep::silent || step == CascadeStep::asked;
  to.agents.sent += was_sent ? 1U : 0U;
  to.agents.ready += cascade.has_agreed(unit) ? 1U : 0U;
  to.agents.conflict += step == CascadeStep::conflict ? 1U : 0U;
  if (is_sector) return;
  to.agents.targeted += group.targets();
  CascadeCounts below = cascade.counts(unit);
  below.targeted = 0;  // of the whole cluster, above
  add(to.agents, below);
}

void sum_units(const EngineLoop::State& loop, const Cascade& cascade, FinishedCascade& to) {
  if (cascade.strategy == CascadeStrategy::quorum)
    return sum_unit(loop, cascade, cascade.unit_of_cluster(cascade.cluster), to);
  for (std::uint32_t unit = 0; unit < cascade.units.size(); ++unit)
    sum_unit(loop, cascade, unit, to);
}

// One of a handful that could be asked decides for nobody.
CascadeStatus status_of_quorum(const CascadeCounts& agents) noexcept {
  const bool is_covered =
      sched::is_at_least(agents.ready, agents.targeted, sched::GatherMinima{}.coverage_min);
  const bool proceeds =
      sched::judge(quorum_of(agents), sched::QuorumThresholds{}) == sched::QuorumDecision::kProceed;
  return proceeds && is_covered ? CascadeStatus::success : CascadeStatus::partial;
}

CascadeStatus status_of(const Cascade& cascade, const FinishedCascade& result) noexcept {
  if (cascade.strategy == CascadeStrategy::quorum) return status_of_quorum(result.agents);
  if (cascade.strategy == CascadeStrategy::wave) {
    if (!cascade.may_ask_leads) return CascadeStatus::failed_at_sector;
    const sched::GatherJudgement judgement =
        sched::judge({.sent = result.agents.sent,
                      .ready = result.agents.ready,
                      .conflict = result.agents.conflict,
                      .skipped = {.not_routable = result.agents.targeted - result.agents.sent}},
                     {});
    return judgement.verdict == sched::GatherVerdict::kSuccess ? CascadeStatus::success
                                                               : CascadeStatus::partial;
  }
  for (std::uint32_t phase = 0; phase < result.phase_count; ++phase)
    if (result.phases[phase].is_degraded) return CascadeStatus::partial;
  return result.agents.sent == 0 ? CascadeStatus::partial : CascadeStatus::success;
}

FinishedCascade result_of(const EngineLoop::State& loop, const Cascade& cascade) {
  FinishedCascade result;
  result.id = id_of(loop, cascade);
  result.strategy = cascade.strategy;
  result.operations = cascade.operations;
  result.promoted = cascade.promoted;
  result.cluster = cascade.cluster;
  result.below = cascade.below;
  result.total_ns = loop.now_ns - cascade.started_ns;
  result.engine_ns = cascade.engine_ns;
  result.phase_count = phase_count(cascade.strategy);
  for (std::uint32_t phase = 0; phase < result.phase_count; ++phase) {
    result.phases[phase] = phase_result(cascade, phase);
    add(result.agents, result.phases[phase].agents);
  }
  if (!cascade.has_phases()) sum_units(loop, cascade, result);
  result.status = status_of(cascade, result);
  return result;
}

void finish(EngineLoop::State& loop, Cascade& cascade) noexcept {
  CascadeBook& book = loop.cascades;
  const FinishedCascade result = result_of(loop, cascade);
  const ResultNote about{
      .message = cascade.id, .opened = from_ns(cascade.started_ns), .ended = from_ns(loop.now_ns)};
  if (result.strategy == CascadeStrategy::quorum)
    count_quorum(loop, result, about);
  else
    count_cascade(loop, result, about);
  release(loop, cascade, CascadeState::ended);
  --book.running;
  if (book.finished_head - book.finished_tail == book.finished.size()) ++book.finished_tail;
  book.finished[book.finished_head++ % book.finished.size()] = result;
}

// Coordinators: once enough of them are READY, leads are asked; once it is known that there will
// not be enough, nobody is.
void look_at_coordinators(Cascade& cascade) noexcept {
  std::uint32_t sent = 0;
  std::uint32_t ready = 0;
  std::uint32_t open = 0;
  for (std::uint32_t sector = 0; sector < cascade.sectors; ++sector) {
    const CascadeStep step = cascade.step(sector);
    if (step == CascadeStep::none || step == CascadeStep::leaderless ||
        step == CascadeStep::too_slow)
      continue;
    ++sent;
    ready += cascade.has_agreed(sector) ? 1U : 0U;
    open += step == CascadeStep::asked ? 1U : 0U;
  }
  if (sent != 0 && sched::is_at_least(ready, sent, cascade.sector_min)) {
    cascade.may_ask_leads = true;
    cascade.store_about();
  } else if (open == 0) {
    cascade.queue.clear();
    cascade.under_way = 0;  // those that agreed wait for nothing any more
  }
}

// Units that agreed, in their turn. How many of them were dealt with.
std::uint32_t open_queued(EngineLoop::State& loop, Cascade& cascade, std::uint32_t most) noexcept {
  std::uint32_t count = 0;
  while (count != most && cascade.next_queued != cascade.queue.size()) {
    const std::uint32_t unit = cascade.queue[cascade.next_queued];
    const PartOpened opened = open_below(loop, cascade, unit);
    if (opened == PartOpened::no_room) {
      if (loop.now_ns < cascade.room_until_ns) break;
      cascade.set_step(unit, CascadeStep::no_room);
    }
    ++cascade.next_queued;
    ++count;
  }
  if (cascade.next_queued == cascade.queue.size()) {
    cascade.queue.clear();
    cascade.next_queued = 0;
  }
  return count;
}

// Whoever is away without being known to be gone is waited for.
bool is_gone(const EngineLoop::State& loop, AgentIndex leader) noexcept {
  if (leader == kNoAgent) return true;
  const AgentState state = loop.state_of(static_cast<std::uint32_t>(leader));
  return state != AgentState::active && state != AgentState::degraded;
}

bool ask_others(EngineLoop::State& loop, Cascade& cascade) noexcept {
  bool is_done = true;
  for (std::uint32_t unit = 0; unit < cascade.units.size(); ++unit)
    if (cascade.step(unit) == CascadeStep::asked && is_gone(loop, cascade.leader(unit)))
      is_done &= ask_again(loop, cascade, unit);
  if (!cascade.may_ask_leads) look_at_coordinators(cascade);
  return is_done;
}

bool has_begun(const Cascade& cascade) noexcept {
  if (cascade.strategy == CascadeStrategy::quorum)
    return cascade.step(cascade.unit_of_cluster(cascade.cluster)) != CascadeStep::none;
  for (std::uint32_t sector = 0; sector < cascade.sectors; ++sector)
    if (cascade.step(sector) != CascadeStep::none) return true;
  return false;
}

// The next thing to do where nothing is under way. False: there is none.
bool go_on(EngineLoop::State& loop, Cascade& cascade) noexcept {
  if (cascade.strategy == CascadeStrategy::quorum) {
    if (has_begun(cascade)) return false;
    return ask_lead(loop, cascade) == PartOpened::opened && cascade.under_way != 0;
  }
  if (cascade.strategy == CascadeStrategy::wave) {
    if (has_begun(cascade)) return false;
    if (ask_coordinators(loop, cascade) != PartOpened::opened) return false;
    look_at_coordinators(cascade);
    return cascade.under_way != 0;
  }
  while (!cascade.is_phase_open && cascade.phase < phase_count(cascade.strategy)) {
    const PartOpened opened = open_phase(loop, cascade);
    if (opened == PartOpened::no_room && loop.now_ns < cascade.room_until_ns) return true;
    if (opened == PartOpened::opened) break;
    ++cascade.phase;
    cascade.store_about();
  }
  return cascade.is_phase_open;
}

}  // namespace

OpenedCascade open_cascade(EngineLoop::State& loop, const CascadeRequest& request) noexcept {
  const std::int64_t start = loop.clock();
  Checked checked;
  if (const Errc refused = check(loop, request, checked); refused != Errc::ok) return {refused};
  if (const Errc refused = admit(loop, request); refused != Errc::ok) return {refused};
  Cascade* const cascade = free_cascade(loop.cascades);
  if (cascade == nullptr) return {Errc::capacity};
  sched::MessageHeader header = loop.own_header(AgentId{}, request.body);
  header.strategy = sched::Strategy::scatter_gather;
  header.verb = request.verb;
  header.priority = request.priority;
  header.set_weight(request.weight);
  const std::array<std::span<const std::byte>, 2> parts{std::as_bytes(std::span(&header, 1)),
                                                        request.body};
  const std::uint32_t first = loop.parked.put(parts);
  if (first == loop.parked.kNone)
    return ++loop.counters.parked_full, OpenedCascade{Errc::parked_full};
  const bool is_quorum = request.strategy == CascadeStrategy::quorum;
  const std::uint32_t end = is_quorum ? request.cluster + 1 : loop.topology->cluster_count();
  for (std::uint32_t cluster = is_quorum ? request.cluster : 0; cluster < end; ++cluster)
    loop.topology->fill({.cluster = cluster, .sector = loop.topology->sector_of(cluster)});
  begin(loop, *cascade, request, checked);
  cascade->id = header.id;
  cascade->parked = first;
  publish(*cascade);
  MESH_POINT("cascade.open:after_publish");
  if (!go_on(loop, *cascade)) {  // nobody could be sent anything
    release(loop, *cascade, CascadeState::free);
    return {Errc::no_schedulable_agents};
  }
  ++loop.cascades.running;
  if (!is_quorum) ++loop.counters.cascades;
  cascade->engine_ns += loop.clock() - start;
  return {Errc::ok, id_of(loop, *cascade)};
}

namespace {

void look_at_part(EngineLoop::State& loop, std::uint32_t slot) noexcept {
  Operation& operation = loop.operations[slot];
  operation.is_noted = false;
  Cascade* const cascade = loop.cascades.of(operation);
  if (cascade == nullptr) return;
  const std::int64_t start = loop.clock();
  const CascadePart part = part_of(operation.part_of);
  take_part(loop, *cascade, operation);
  if (part.stage == CascadeStage::coordinators && !cascade->may_ask_leads)
    look_at_coordinators(*cascade);
  cascade->engine_ns += loop.clock() - start;
}

// `left`: operations that may still be opened in this tick.
bool run_cascade(EngineLoop::State& loop, Cascade& cascade, std::uint32_t& left) noexcept {
  bool worked = false;
  const std::int64_t start = loop.clock();
  if (cascade.may_ask_leads) {
    const std::uint32_t opened = open_queued(loop, cascade, left);
    left -= opened;
    worked = opened != 0;
  }
  cascade.engine_ns += loop.clock() - start;
  if (cascade.under_way != 0 || cascade.is_phase_open || go_on(loop, cascade)) return worked;
  finish(loop, cascade);
  return true;
}

}  // namespace

bool run_cascades(EngineLoop::State& loop) noexcept {
  CascadeBook& book = loop.cascades;
  bool worked = book.running != 0 && !book.noted.empty();
  for (const std::uint32_t slot : book.noted) look_at_part(loop, slot);
  book.noted.clear();
  if (book.running == 0) return book.has_lost_leaders = false;
  bool is_asked = true;
  std::uint32_t left = kPartsPerTick;
  for (Cascade& cascade : book.all) {
    if (cascade.state != CascadeState::running) continue;
    if (book.has_lost_leaders) is_asked &= ask_others(loop, cascade);
    worked |= run_cascade(loop, cascade, left);
  }
  book.has_lost_leaders &= !is_asked;
  return worked;
}

// When what found no room is to be tried again.
std::int64_t next_cascade_ns(const EngineLoop::State& loop) noexcept {
  if (loop.cascades.running == 0) return INT64_MAX;
  for (const Cascade& cascade : loop.cascades.all) {
    if (cascade.state != CascadeState::running) continue;
    const bool waits_for_room = (cascade.may_ask_leads && !cascade.queue.empty()) ||
                                (cascade.has_phases() && !cascade.is_phase_open);
    if (waits_for_room || loop.cascades.has_lost_leaders) return loop.now_ns + kNsPerMs;
  }
  return INT64_MAX;
}

}  // namespace mesh::engine
