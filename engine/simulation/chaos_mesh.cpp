#include "engine/simulation/chaos_mesh.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mesh::engine::simulation {
namespace {

using coordination::FaultType;
using coordination::FaultVariant;
using sched::TrinaryState;

constexpr std::int64_t kDetectionNs = 200 * kNsPerUs;
constexpr std::int64_t kIdleLookNs = 50 * kNsPerMs;
constexpr std::int64_t kLookNs = 100 * kNsPerUs;
constexpr std::uint64_t kHostComesBack = UINT64_MAX;

// Agents of the fastest class alone, that neither fall silent nor contradict by themselves: what
// goes wrong is a fault's doing.
Scenario quiet(const ChaosMeshOptions& options) {
  Scenario scenario;
  scenario.agents = options.agents;
  scenario.stations = options.agents;  // a process for each, so that each can die alone
  for (std::size_t i = 1; i < scenario.classes.size(); ++i) scenario.classes[i].share = 0;
  scenario.silent = 0;
  scenario.conflict = 0;
  scenario.change_share = 0;
  if (!options.guards.grace) scenario.crash_grace = 0;
  return scenario;
}

}  // namespace

ChaosMesh::ChaosMesh(const ChaosMeshOptions& options)
    : options_(options),
      scenario_(quiet(options)),
      population_(scenario_, options.seed),
      rng_(options.seed),
      hung_(options.agents),
      stopped_(options.agents),
      newest_(options.agents),
      weights_(options.agents, {.is_on = options.guards.weights}) {
  auto config = coordination::CircuitBreakerConfig::preset("agent-call").value();
  config.events_max = 1;
  for (std::uint32_t i = 0; i < options.agents; ++i) breakers_.emplace_back(config, options.seed);
}

Result<std::unique_ptr<ChaosMesh>> ChaosMesh::create(const ChaosMeshOptions& options) {
  const bool is_possible = options.agents >= 1 && options.request_every.count() > 0 &&
                           options.attempt_timeout.count() > 0 && options.slots >= 1;
  if (!is_possible)
    return fail(Errc::invalid_argument, "chaos mesh: agents, slots and times are at least 1");
  std::unique_ptr<ChaosMesh> made(new ChaosMesh(options));
  MESH_TRY(made->mesh_, SimulatedMesh::create(made->scenario_, made->population_, made->clock_));
  made->at(kStartNs + options.request_every.count(), Step::request, 0);
  if (options.has_tasks) {
    if (options.agents < ChaosTasks::kWorkers)
      return fail(Errc::invalid_argument, "chaos mesh: too few agents for its workers");
    MESH_TRY(made->tasks_, ChaosTasks::create(options.seed, options.guards.tasks));
    made->at(kStartNs + ChaosTasks::kStepNs, Step::task, 0);
  }
  made->turn();
  return made;
}

void ChaosMesh::at(std::int64_t at_ns, Step step, std::uint64_t a) {
  due_.push({at_ns, ++last_due_, step, a});
}

void ChaosMesh::log(ChaosLogKind kind, std::uint64_t a, std::uint64_t b) {
  log_.push_back({now_ns(), kind, a, b});
}

Status ChaosMesh::run_until(std::int64_t now_ns) {
  const std::int64_t until = kStartNs + now_ns;
  for (;;) {
    const std::int64_t next = std::min(due_.empty() ? INT64_MAX : due_.top().at, look_at_ns_);
    if (next > until) break;
    clock_.advance_to(next);
    while (!due_.empty() && due_.top().at <= clock_.true_ns()) {
      const Due due = due_.top();
      due_.pop();
      MESH_CHECK_OK(handle(due));
    }
    if (look_at_ns_ <= clock_.true_ns()) turn();
  }
  clock_.advance_to(until);
  return {};
}

Status ChaosMesh::handle(const Due& due) {
  switch (due.step) {
    case Step::request:
      open_request();
      break;
    case Step::handle:
      work_on(due.a);
      break;
    case Step::late:
      fail_attempt(due.a);
      break;
    case Step::known:
      if (mesh_->has_engine()) mesh_->let_go(due.a);  // else the next engine finds out
      break;
    case Step::restart:
      MESH_CHECK_OK(due.a == kHostComesBack ? start_engine()
                                            : bring_back(static_cast<std::uint32_t>(due.a)));
      break;
    case Step::task:
      MESH_CHECK_OK(step_tasks());
      break;
    case Step::lapse:
    case Step::faded:
      MESH_CHECK_OK(remove(due.a));
      break;
  }
  look_at_ns_ = std::min(look_at_ns_, clock_.true_ns() + kLookNs);
  return {};
}

// The engine's thread runs until it finds nothing to do; stations read what they are given.
void ChaosMesh::turn() {
  const std::int64_t mesh_ns = clock_.mesh_ns();
  for (std::size_t slot = 0; slot < mesh_->slots(); ++slot) {
    SimulatedStation* const station = mesh_->station(slot);
    if (station == nullptr || hung_[mesh_->agents_of(slot).front()] != 0) continue;
    if (station->unflushed() != 0) station->flush();
    station->upkeep(mesh_ns);
  }
  const HostTime next_due = run_loop(mesh_ns);
  if (!mesh_->has_engine()) poll();  // inboxes stand without it
  std::int64_t next = clock_.true_ns() + kIdleLookNs;
  if (next_due != HostTime::max()) next = std::min(next, clock_.true_at(to_ns(next_due)));
  look_at_ns_ = std::max(next, clock_.true_ns() + 1);
}

// Until it finds nothing to do, or dies; when it is to be called again.
HostTime ChaosMesh::run_loop(std::int64_t mesh_ns) {
  TickResult result{true, HostTime::max()};
  while (mesh_->has_engine() && result.worked) {
    result = mesh_->loop().tick(from_ns(mesh_ns));
    const bool has_delivered = mesh_->loop().counters().deliveries != deliveries_seen_;
    if (has_delivered) reach(LoopStep::delivered);
    if (has_delivered) poll();
  }
  collect();
  return result.next_due;
}

void ChaosMesh::poll() {
  if (mesh_->has_engine()) deliveries_seen_ = mesh_->loop().counters().deliveries;
  const std::uint64_t last = last_work_;
  for (std::size_t slot = 0; slot < mesh_->slots(); ++slot) {
    SimulatedStation* const station = mesh_->station(slot);
    const bool is_there = station != nullptr && hung_[mesh_->agents_of(slot).front()] == 0;
    if (!is_there || !station->has_deliveries()) continue;
    station->poll(
        [&](const Delivery& delivery, std::uint32_t held) { take(slot, delivery, held); });
  }
  if (last_work_ != last) reach(LoopStep::taken);
}

// --- a message on its way ----------------------------------------------------------------------

void ChaosMesh::end_held(const Work& work, TrinaryState state) {
  Held& held = mesh_->station(work.slot)->held(work.held);
  held.state = state;
  held.conflict = sched::ConflictType::none;
  if (state == TrinaryState::conflict) {
    held.conflict =
        work.is_corrupt ? sched::ConflictType::hash_mismatch : sched::ConflictType::other;
  }
  held.received_ns = clock_.mesh_ns();
  mesh_->station(work.slot)->end(work.held);
  look_at_ns_ = std::min(look_at_ns_, clock_.true_ns() + kLookNs);
}

void ChaosMesh::take(std::size_t slot, const Delivery& delivery, std::uint32_t held) {
  Work work;
  work.slot = slot;
  work.held = held;
  work.epoch = mesh_->epoch(slot);
  work.agent = mesh_->station(slot)->held(held).agent;
  work.message = delivery.id;
  std::array<std::byte, 2 * sizeof(std::uint64_t)> body{};
  std::copy_n(delivery.body.begin(), std::min(body.size(), delivery.body.size()), body.begin());
  const Fault* partition = nullptr;
  const bool is_cut = acts_on(FaultType::partition, work.agent, &partition) > 0 &&
                      !partition->order.params.is_one_way;
  const Fault* which = nullptr;
  const auto strikes = [&](FaultType type) {
    const double share = acts_on(type, work.agent, &which);
    return share > 0 && rng_.u01() < share * which->order.params.rate_ppm / 1e6;
  };
  if (is_cut || strikes(FaultType::packet_loss)) return end_held(work, TrinaryState::transit);
  if (is_limited(work.agent)) {
    limited_.insert(key_of(work.message));
    return end_held(work, TrinaryState::conflict);
  }
  if (strikes(FaultType::message_corruption)) {
    for (std::uint32_t i = 0; i < which->order.params.count; ++i) {
      const std::uint64_t bit = rng_.below(8 * body.size());
      body[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
  }
  std::array<std::uint64_t, 2> words{};
  std::memcpy(words.data(), body.data(), body.size());
  work.number = words[0];
  work.is_corrupt = words[1] != coordination::SplitMix64(words[0]).next();

  Weather weather;
  if (const double share = acts_on(FaultType::agent_slowdown, work.agent, &which); share > 0) {
    weather.factor =
        kFactorOne + static_cast<std::int64_t>(
                         share * (static_cast<double>(which->order.params.factor_milli) - 1'000));
  }
  const Course course = population_.deliver(work.agent, weather);
  std::int64_t takes_ns = course.delay_ns + course.work_ns;
  const auto up_to = [&](Nanos most) {
    return static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(most.count()) + 1));
  };
  if (const double share = acts_on(FaultType::latency_spike, work.agent, &which); share > 0) {
    const auto& params = which->order.params;
    takes_ns += static_cast<std::int64_t>(
        share * static_cast<double>(params.add.count() + up_to(params.jitter)));
  }
  if (const double share = acts_on(FaultType::byzantine_behavior, work.agent, &which);
      share > 0 && which->order.params.variant == FaultVariant::impedance_lie) {
    takes_ns +=
        static_cast<std::int64_t>(share * static_cast<double>(which->order.params.add.count()));
  }
  if (acts_on(FaultType::reorder, work.agent, &which) > 0) {
    takes_ns += up_to(which->order.params.jitter);
  }
  works_[++last_work_] = work;
  at(clock_.true_ns() + takes_ns, Step::handle, last_work_);
  if (strikes(FaultType::duplicate)) {
    work.is_copy = true;
    works_[++last_work_] = work;
    at(clock_.true_ns() + takes_ns + 1 + up_to(Nanos{takes_ns}), Step::handle, last_work_);
  }
}

void ChaosMesh::apply_effect(const Work& work) {
  const auto key = DedupWindow::key_of(work.message, mesh_->id(work.agent));
  const bool is_known = options_.guards.dedup && done_.contains(key);
  if (is_known) return;
  done_.insert(key);
  if (++effects_of_[key_of(work.message)] > 1) ++period_.duplicates;
  if (work.is_corrupt) ++period_.corrupt;
  if (work.number < newest_[work.agent]) ++period_.reordered;
  if (!work.is_corrupt) newest_[work.agent] = std::max(newest_[work.agent], work.number);
}

// Its agent is through with it.
void ChaosMesh::work_on(std::uint64_t id) {
  const auto found = works_.find(id);
  if (found == works_.end()) return;
  const Work work = found->second;
  const bool is_gone =
      mesh_->station(work.slot) == nullptr || mesh_->epoch(work.slot) != work.epoch;
  if (!is_gone && hung_[work.agent] != 0) {
    stopped_[work.agent].push_back(id);
    return;
  }
  works_.erase(found);
  if (is_gone) return;  // it died with its process
  if (!work.is_copy) population_.finish(work.agent);
  const bool is_refused = work.is_corrupt && options_.guards.checks;
  if (!is_refused) apply_effect(work);
  if (work.is_copy) return;
  const Fault* which = nullptr;
  const bool is_unheard = acts_on(FaultType::partition, work.agent, &which) > 0;
  const Fault* lie = nullptr;
  const bool lies = acts_on(FaultType::byzantine_behavior, work.agent, &lie) > 0 &&
                    lie->order.params.variant == FaultVariant::flip_vote;
  TrinaryState state = is_refused || lies ? TrinaryState::conflict : TrinaryState::ready;
  if (is_unheard) state = TrinaryState::transit;
  end_held(work, state);
  mesh_->station(work.slot)->flush();
  reach(LoopStep::answered);
}

// --- faults ------------------------------------------------------------------------------------

Errc ChaosMesh::check(FaultType type, const coordination::FaultParams& params) noexcept {
  const FaultVariant variant = params.variant;
  const auto when = [](bool holds) { return holds ? Errc::ok : Errc::unsupported; };
  switch (type) {
    case FaultType::latency_spike:
    case FaultType::packet_loss:
    case FaultType::duplicate:
    case FaultType::reorder:
    case FaultType::message_corruption:
    case FaultType::agent_crash:
    case FaultType::agent_slowdown:
    case FaultType::agent_hang:
    case FaultType::partition:
      return when(variant == FaultVariant::none);
    case FaultType::resource_exhaustion:
      return when(variant == FaultVariant::pool);
    case FaultType::clock_skew:
      return when(variant == FaultVariant::none && params.drift_ppm == 0);
    case FaultType::byzantine_behavior:
      return when(variant == FaultVariant::flip_vote || variant == FaultVariant::impedance_lie);
    case FaultType::dependency_failure:
      return when(variant == FaultVariant::rate_limited);
    case FaultType::engine_death:
      return when(variant == FaultVariant::none && params.count >= 1 && params.count <= kHostSteps);
    case FaultType::station_death:
      return when(variant == FaultVariant::none && params.count >= 1 &&
                  params.count <= kWorkerHooks);
    default:
      return Errc::unsupported;
  }
}

Errc ChaosMesh::check(const coordination::ChaosOrder& order,
                      std::span<const std::uint32_t> targets) const {
  const bool are_there = !targets.empty() && targets.back() < agents();
  if (!are_there) return Errc::invalid_argument;
  const bool is_everybodys = order.type == FaultType::clock_skew;  // the host's
  if (is_everybodys && targets.size() != agents()) return Errc::unsupported;
  const bool is_of_tasks = order.type == FaultType::station_death;
  if (is_of_tasks && tasks_ == nullptr) return Errc::unsupported;
  const bool is_no_worker =
      order.type == FaultType::station_death && targets.back() >= ChaosTasks::kWorkers;
  if (is_no_worker) return Errc::unsupported;
  return check(order.type, order.params);
}

Errc ChaosMesh::inject(const coordination::ChaosOrder& order,
                       std::span<const std::uint32_t> targets) {
  if (faults_.contains(order.injection)) return Errc::ok;
  const Errc bad = check(order, targets);
  if (bad != Errc::ok) return bad;
  Fault& fault = faults_[order.injection];
  fault.order = order;
  fault.targets.assign(targets.begin(), targets.end());
  fault.since_ns = clock_.true_ns();
  log(ChaosLogKind::injected, order.injection, static_cast<std::uint64_t>(order.type));
  at(kStartNs + order.expires.count(), Step::lapse, order.injection);
  for (const std::uint32_t agent : targets) look_at(agent, order.type);
  begin(fault);
  return Errc::ok;
}

void ChaosMesh::begin(const Fault& fault) {
  const auto& params = fault.order.params;
  if (fault.order.type == FaultType::engine_death) {
    engine_dies_at_ = static_cast<LoopStep>(params.count);
    engine_away_ns_ = params.restart_after.count();
    if (tasks_ != nullptr) tasks_->kill_host(static_cast<HostStep>(params.count));
  }
  for (const std::uint32_t agent : fault.targets) {
    if (fault.order.type == FaultType::agent_hang) set_hung(agent, 1);
    if (fault.order.type == FaultType::station_death)
      tasks_->kill_worker(agent, static_cast<WorkerHook>(params.count));
    if (fault.order.type != FaultType::agent_crash) continue;
    kill(agent);
    const std::int64_t away_ns = fault.order.params.restart_after.count();
    if (away_ns > 0) at(clock_.true_ns() + away_ns, Step::restart, agent);
  }
  if (fault.order.type != FaultType::clock_skew) return;
  const std::int64_t offset_ns = params.offset.count();
  const bool jumps = !options_.guards.slews && offset_ns > 0;
  jumps ? clock_.jump(offset_ns) : clock_.step(offset_ns);
}

Status ChaosMesh::undo(std::uint64_t injection) {
  const auto found = faults_.find(injection);
  if (found == faults_.end() || found->second.fades_ns != 0) return {};
  const std::int64_t ramp_ns = found->second.order.ramp_down.count();
  if (ramp_ns == 0) return remove(injection);
  found->second.fades_ns = clock_.true_ns();
  at(clock_.true_ns() + ramp_ns, Step::faded, injection);
  return {};
}

Status ChaosMesh::remove(std::uint64_t injection) {
  const auto found = faults_.find(injection);
  if (found == faults_.end()) return {};
  const Fault fault = std::move(found->second);
  faults_.erase(found);
  log(ChaosLogKind::removed, injection, 0);
  for (const std::uint32_t agent : fault.targets) {
    if (fault.order.type == FaultType::agent_hang) set_hung(agent, -1);
    if (fault.order.type == FaultType::station_death) tasks_->spare_worker(agent);
    const bool may_be_gone =
        fault.order.type == FaultType::agent_crash || fault.order.type == FaultType::station_death;
    if (may_be_gone) MESH_CHECK_OK(bring_back(agent));
  }
  if (fault.order.type == FaultType::clock_skew) clock_.step(-fault.order.params.offset.count());
  if (fault.order.type == FaultType::engine_death) MESH_CHECK_OK(start_engine());
  begin_waiting();
  return {};
}

bool ChaosMesh::is_gone(std::uint64_t injection) const { return !faults_.contains(injection); }

double ChaosMesh::intensity(const Fault& fault) const {
  const auto share = [&](std::int64_t since_ns, Nanos ramp) {
    if (ramp.count() <= 0) return 1.0;
    return std::min(
        1.0, static_cast<double>(clock_.true_ns() - since_ns) / static_cast<double>(ramp.count()));
  };
  const double up = share(fault.since_ns, fault.order.ramp_up);
  return fault.fades_ns == 0 ? up : up * (1 - share(fault.fades_ns, fault.order.ramp_down));
}

double ChaosMesh::acts_on(FaultType type, std::uint32_t agent, const Fault** which) const {
  double most = 0;
  for (const auto& [injection, fault] : faults_) {
    if (fault.order.type != type) continue;
    if (!std::binary_search(fault.targets.begin(), fault.targets.end(), agent)) continue;
    const double share = intensity(fault);
    if (share <= most) continue;
    most = share;
    if (which != nullptr) *which = &fault;
  }
  return most;
}

// Its next message has come so far: if the engine is to die there, it does.
void ChaosMesh::reach(LoopStep step) {
  if (engine_dies_at_ != step || !mesh_->has_engine()) return;
  engine_dies_at_.reset();
  collect();  // what it has told its callers is theirs
  mesh_->end_engine();
  log(ChaosLogKind::engine_died, static_cast<std::uint64_t>(step), 0);
  if (engine_away_ns_ > 0) at(clock_.true_ns() + engine_away_ns_, Step::restart, kHostComesBack);
}

Status ChaosMesh::start_engine() {
  engine_dies_at_.reset();
  if (tasks_ != nullptr) MESH_CHECK_OK(tasks_->open_host());
  if (mesh_->has_engine()) return {};
  MESH_CHECK_OK(mesh_->start_engine(options_.guards.adoption));
  log(ChaosLogKind::engine_started, 0, 0);
  deliveries_seen_ = UINT64_MAX;  // what stands in inboxes is to be read
  look_at_ns_ = clock_.true_ns() + 1;
  begin_waiting();
  return {};
}

void ChaosMesh::kill(std::uint32_t agent) {
  if (!mesh_->end_process(agent)) return;
  log(ChaosLogKind::died, agent, 0);
  population_.forget_queue(agent);
  stopped_[agent].clear();
  at(clock_.true_ns() + kDetectionNs, Step::known, agent);
}

Status ChaosMesh::bring_back(std::uint32_t agent) {
  if (mesh_->station(agent) != nullptr) return {};
  if (!mesh_->has_engine()) {  // it tries until there is one
    at(clock_.true_ns() + kNsPerMs, Step::restart, agent);
    return {};
  }
  mesh_->let_go(agent);  // where the engine does not know yet
  MESH_CHECK_OK(mesh_->come_back(agent));
  log(ChaosLogKind::returned, agent, 0);
  look_at_ns_ = clock_.true_ns() + 1;
  return {};
}

void ChaosMesh::set_hung(std::uint32_t agent, int by) {
  hung_[agent] += by;
  if (hung_[agent] != 0) return;
  for (const std::uint64_t work : stopped_[agent]) at(clock_.true_ns(), Step::handle, work);
  stopped_[agent].clear();
  deliveries_seen_ = 0;  // what came meanwhile is to be read
  look_at_ns_ = clock_.true_ns() + 1;
}

}  // namespace mesh::engine::simulation
