#include "engine/simulation/simulation.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/simulation/event_queue.hpp"
#include "engine/simulation/fault_plan.hpp"
#include "engine/simulation/integer_tables.hpp"
#include "engine/simulation/mesh_clock.hpp"
#include "engine/simulation/operation_book.hpp"
#include "engine/simulation/population.hpp"
#include "engine/simulation/recoveries.hpp"
#include "engine/simulation/simulated_mesh.hpp"
#include "shm/base/assert.hpp"

namespace mesh::engine::simulation {
namespace {

constexpr std::int64_t kStartNs = 1'000 * kNsPerSecond;
constexpr std::int64_t kIdleLookMax = 100 * kNsPerMs;  // as the engine's own thread
constexpr std::int64_t kWaitingLook = 10 * kNsPerMs;   // for rounds that wait for conflicts
constexpr std::uint32_t kUnflushedMax = 256;           // of a station: its outbox has 1,024 slots
constexpr std::size_t kGroupsMax = 4'096;
constexpr std::int64_t kActiveMin = 95;  // of a hundred: available
constexpr std::int64_t kUnixOffsetMs = 1'700'000'000'000;
constexpr std::int64_t kOverdueAfter = 10 * kNsPerSecond;
constexpr std::uint32_t kDepthMax = 20;
constexpr std::uint32_t kAffectedMax = 200;

// What the trace hash holds begins with what it is of; operation_book.cpp has 1 to 4.
constexpr std::uint64_t kAnswered = 16, kSilent = 17, kDied = 18, kReturned = 19, kMode = 20;

class Simulation {
 public:
  explicit Simulation(const SimulationRequest& request)
      : request_(request),
        scenario_(request.scenario),
        clock_(kStartNs),
        population_(scenario_, request.seed),
        conflicts_(scenario_),
        errors_(scenario_.tolerance),
        book_({scenario_, conflicts_, report_, trace_,
               [this](AgentId agent) { return mesh_->view().is_routable(index_of(agent)); }}) {}

  Result<SimulationReport> run();

 private:
  Status start();
  [[nodiscard]] std::int64_t longest_operation_ns() const noexcept;
  void schedule();
  void schedule_repeated(EventKind kind, std::int64_t first, std::int64_t every, std::int64_t end);
  Status handle(const Event& event);
  void open_next(const Event& event);
  void set_fault(std::uint32_t fault, bool is_in_force);
  void die(std::uint32_t unit);
  void know(std::uint32_t unit);
  Status bring_back(std::uint32_t unit);
  void watch(std::uint32_t unit);

  void turn();
  void poll();
  void take(std::size_t slot, const Delivery& delivery, std::uint32_t at);
  [[nodiscard]] Weather weather_of(const Held& held) const;
  void answer(const Event& event);
  void measure(const Held& held, StationId from);
  void report_conflict(const Held& held, StationId from);
  void account(std::int64_t mesh_ns);
  // When the desk has something to do; it does not concern the engine's loop.
  [[nodiscard]] std::int64_t conflicts_due() const {
    const HostTime due = conflicts_.next_due();
    return due == HostTime::max() ? EventQueue::kNever : clock_.true_at(to_ns(due));
  }
  [[nodiscard]] HostTime now() const noexcept { return from_ns(clock_.mesh_ns()); }
  void finish();

  const SimulationRequest& request_;
  const Scenario& scenario_;
  MeshClock clock_;
  Population population_;
  SimulationReport report_;
  TraceHash trace_;
  ConflictRecords conflicts_;
  ArrivalErrors errors_;
  OperationBook book_;
  Recoveries recoveries_;
  std::unique_ptr<SimulatedMesh> mesh_;
  std::optional<FaultPlan> faults_;
  EventQueue events_;

  std::int64_t end_ns_ = 0;  // true time
  std::int64_t give_up_ns_ = 0;
  std::int64_t idle_look_ns_ = 0;
  std::int64_t look_at_ns_ = 0;  // the engine's next turn, true time
  std::uint64_t deliveries_seen_ = 0;
  std::uint64_t conflict_ids_ = 0;
  std::int64_t accounted_ns_ = 0;  // mesh time
  bool is_available_ = true;
  health::OperatingMode mode_ = health::OperatingMode::full;
};

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
  const std::int64_t a_turn = scenario_.upkeep * kUpkeepRowsPerTick / scenario_.agents;
  idle_look_ns_ = std::clamp<std::int64_t>(a_turn, 1, kIdleLookMax);
  accounted_ns_ = clock_.mesh_ns();
  end_ns_ = kStartNs + scenario_.length;
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
  return std::max({round * scenario_.rounds, wave,
                   scenario_.cascade_window * static_cast<std::int64_t>(kCascadePhases)});
}

void Simulation::schedule_repeated(EventKind kind, std::int64_t first, std::int64_t every,
                                   std::int64_t end) {
  if (every != 0 && first < end) events_.push({.at = first, .kind = kind});
}

void Simulation::schedule() {
  schedule_repeated(EventKind::operation, kStartNs + scenario_.settle, scenario_.every, end_ns_);
  schedule_repeated(EventKind::cascade, kStartNs + scenario_.cascade_at, scenario_.cascade_every,
                    end_ns_);
  for (std::uint32_t at = 0; at < faults_->faults(); ++at) {
    const Fault& fault = faults_->fault(at);
    if (static_cast<FaultKind>(fault.kind) == FaultKind::death) continue;
    events_.push({.at = kStartNs + fault.at, .kind = EventKind::fault_begins, .a = at});
    if (fault.lasts != 0)
      events_.push(
          {.at = kStartNs + fault.at + fault.lasts, .kind = EventKind::fault_ends, .a = at});
  }
  for (std::uint32_t unit = 0; unit < faults_->units().size(); ++unit)
    events_.push({.at = kStartNs + faults_->units()[unit].first_ns,
                  .kind = EventKind::unit_dies,
                  .a = unit});
}

Result<SimulationReport> Simulation::run() {
  MESH_CHECK_OK(start());
  std::int64_t told_ns = 0;
  for (;;) {
    const std::int64_t next = std::min({events_.next_at(), look_at_ns_, conflicts_due()});
    // An operation that never ends is given up, and counted.
    const bool is_over = next > end_ns_ && (book_.open() == 0 || next > give_up_ns_);
    if (is_over) break;
    clock_.advance_to(next);
    while (events_.next_at() <= clock_.true_ns()) MESH_CHECK_OK(handle(events_.pop()));
    conflicts_.advance(now());
    if (look_at_ns_ <= clock_.true_ns()) turn();
    if (request_.progress && clock_.true_ns() - told_ns >= kNsPerSecond) {
      told_ns = clock_.true_ns();
      request_.progress(std::min(told_ns - kStartNs, scenario_.length), scenario_.length);
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
      open_next(event);
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
  }
  look_at_ns_ = clock_.true_ns();
  return {};
}

void Simulation::open_next(const Event& event) {
  const bool is_cascade = event.kind == EventKind::cascade;
  if (is_cascade)
    book_.open_cascade(mesh_->loop(), now());
  else
    book_.open_operation(mesh_->loop(), now());
  Event next = event;
  next.at += is_cascade ? scenario_.cascade_every : scenario_.every;
  std::int64_t end = end_ns_;
  if (is_cascade && scenario_.cascade_lasts != 0)
    end = std::min(end, kStartNs + scenario_.cascade_at + scenario_.cascade_lasts);
  if (next.at < end) events_.push(next);
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
                        (fault.lasts == 0 || next < kStartNs + fault.at + fault.lasts);
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
  for (const std::uint32_t group : faults_->units()[at].groups)
    MESH_CHECK_OK(mesh_->come_back(mesh_->first_of_groups() + group));
  ++report_.returns;
  trace_.add({kReturned, at, static_cast<std::uint64_t>(clock_.true_ns())});
  return {};
}

// The engine's thread runs until it finds nothing to do; stations read what they are given.
void Simulation::turn() {
  const std::int64_t mesh_ns = clock_.mesh_ns();
  for (std::size_t slot = 0; slot < mesh_->slots(); ++slot)
    if (SimulatedStation* const station = mesh_->station(slot); station != nullptr) {
      if (station->unflushed() != 0) station->flush();
      station->upkeep(mesh_ns);
    }
  EngineLoop& loop = mesh_->loop();
  TickResult result;
  do {
    result = loop.tick(from_ns(mesh_ns));
    if (loop.counters().deliveries != deliveries_seen_) poll();
  } while (result.worked);
  book_.collect(loop, now());
  book_.ask_again(loop, now());
  account(mesh_ns);
  if (recoveries_.is_any_missing())
    recoveries_.look([this](std::uint32_t agent) { return mesh_->is_routable(agent); }, now(),
                     report_);
  // What is asked for from here on is later than this turn.
  std::int64_t next = clock_.true_ns() + idle_look_ns_;
  if (result.next_due != HostTime::max())
    next = std::min(next, clock_.true_at(to_ns(result.next_due)));
  if (book_.is_waiting()) next = std::min(next, clock_.true_ns() + kWaitingLook);
  look_at_ns_ = std::max(next, clock_.true_ns() + 1);
}

void Simulation::poll() {
  deliveries_seen_ = mesh_->loop().counters().deliveries;
  for (std::size_t slot = 0; slot < mesh_->slots(); ++slot) {
    SimulatedStation* const station = mesh_->station(slot);
    if (station == nullptr || !station->has_deliveries()) continue;
    station->poll([&](const Delivery& delivery, std::uint32_t at) { take(slot, delivery, at); });
  }
}

// Asked once more, an agent whose conflict was resolved has no reason for another one; one that
// waits for a person's decision has still the same.
Weather Simulation::weather_of(const Held& held) const {
  Weather weather = faults_->weather(held.agent);
  if (held.is_engines_own()) weather.conflict = 0;  // it asks nothing that one could object to
  const OperationBook::Round asked = book_.round_of(held.operation);
  if (asked.round <= 1) return weather;
  weather.conflict =
      conflicts_.waits_for_person(mesh_->id(held.agent), asked.number) ? kShareAll : 0;
  return weather;
}

// An agent's message is on its way to it.
void Simulation::take(std::size_t slot, const Delivery& delivery, std::uint32_t at) {
  Held& held = mesh_->station(slot)->held(at);
  const Course course = population_.deliver(held.agent, weather_of(held));
  held.received_ns = clock_.mesh_at(clock_.true_ns() + course.delay_ns);
  held.state = course.state;
  held.conflict = course.conflict;
  if (held.target_ns == 0 && !held.is_engines_own()) book_.on_cascade_message(held.correlation);
  if (held.target_ns != 0 && mesh_->has_history(held.agent)) {
    const auto said = static_cast<std::uint64_t>(delivery.confidence * 65'535 + 0.5);
    held.said = static_cast<std::uint8_t>(
        std::min<std::uint64_t>(said * kReliabilitySteps / 65'535, kReliabilitySteps - 1));
    report_.reliability[held.said].said += said;
    ++report_.reliability[held.said].n;
  }
  events_.push({.at = clock_.true_ns() + course.delay_ns + course.work_ns,
                .kind = EventKind::answer,
                .a = static_cast<std::uint32_t>(slot),
                .b = at,
                .c = mesh_->epoch(slot)});
}

void Simulation::answer(const Event& event) {
  SimulatedStation* const station = mesh_->station(event.a);
  if (station == nullptr || mesh_->epoch(event.a) != event.c) return;  // it died with it
  Held& held = station->held(event.b);
  population_.finish(held.agent);
  const bool is_silent = held.state == sched::TrinaryState::transit;
  trace_.add(
      {is_silent ? kSilent : kAnswered, held.agent, static_cast<std::uint64_t>(held.operation),
       static_cast<std::uint64_t>(held.received_ns), static_cast<std::uint64_t>(clock_.mesh_ns()),
       static_cast<std::uint64_t>(held.conflict)});
  if (held.state == sched::TrinaryState::conflict) ++report_.conflict_answers;
  if (!is_silent) measure(held, station->number());
  station->end(event.b);
  if (is_silent) return;
  const std::int64_t look =
      station->unflushed() >= kUnflushedMax ? clock_.true_ns() : clock_.true_ns() + scenario_.look;
  look_at_ns_ = std::min(look_at_ns_, look);
}

void Simulation::measure(const Held& held, StationId from) {
  if (held.state == sched::TrinaryState::conflict) report_conflict(held, from);
  if (held.target_ns == 0) {
    if (held.state == sched::TrinaryState::ready) book_.on_cascade_ready(held.correlation, now());
    return;
  }
  const std::int64_t error = clock_.mesh_ns() - held.target_ns;
  ++report_.answers;
  if (book_.is_over(held.operation)) ++report_.late;
  errors_.add(error);
  const auto distance = static_cast<std::int64_t>(sched::magnitude(error));
  if (distance <= scenario_.window) ++report_.inside_window;
  if (held.said != kNotSaid && distance <= scenario_.tolerance)
    ++report_.reliability[held.said].hits;
}

void Simulation::report_conflict(const Held& held, StationId from) {
  const std::uint64_t number = ++conflict_ids_;
  const std::int64_t unix_ms = kUnixOffsetMs + clock_.mesh_ns() / kNsPerMs;
  const std::uint64_t draw =
      DrawOf{request_.seed, held.agent, static_cast<std::uint32_t>(number)}.bits(
          Purpose::conflict_type);
  const SubjectId subject = sched::pack({.unix_ms = static_cast<std::uint64_t>(unix_ms),
                                         .host = HostId{1},
                                         .station = from,
                                         .outbox_position = number});
  conflicts_.report({.subject = subject,
                     .at = WireTime{unix_ms * kNsPerMs},
                     .agent = mesh_->id(held.agent),
                     .message = held.message,
                     .operation = held.operation,
                     .facts = {.type = held.conflict,
                               .depth = static_cast<std::uint32_t>(draw % kDepthMax),
                               .affected = static_cast<std::uint32_t>(draw >> 32) % kAffectedMax},
                     .expected = "1",
                     .received = "2"},
                    book_.round_of(held.operation).number, now());
}

// What passed since the last turn counts as what it was then.
void Simulation::account(std::int64_t mesh_ns) {
  const std::int64_t passed = mesh_ns - accounted_ns_;
  accounted_ns_ = mesh_ns;
  if (is_available_) report_.available_ns += passed;
  report_.mode_ns[static_cast<std::size_t>(mode_)] += passed;
  report_.virtual_ns += passed;
  const EngineLoop& loop = mesh_->loop();
  is_available_ = static_cast<std::int64_t>(loop.agents_active()) * 100 >=
                  static_cast<std::int64_t>(loop.agents_enrolled()) * kActiveMin;
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
  report_.unanswered = book_.open();
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

}  // namespace

Result<SimulationReport> simulate(const SimulationRequest& request) {
  Simulation simulation(request);
  return simulation.run();
}

}  // namespace mesh::engine::simulation
