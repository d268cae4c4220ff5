// Simulation: the engine's turns, and what agents do with what they are given.
#include <algorithm>

#include "engine/simulation/integer_tables.hpp"
#include "engine/simulation/simulation_run.hpp"

namespace mesh::engine::simulation {
namespace {

constexpr std::int64_t kWaitingLook = 10 * kNsPerMs;  // for rounds that wait for conflicts
constexpr std::uint32_t kUnflushedMax = 256;          // of a station: its outbox has 1,024 slots
constexpr std::int64_t kUnixOffsetMs = 1'700'000'000'000;
constexpr std::uint32_t kDepthMax = 20;
constexpr std::uint32_t kAffectedMax = 200;

constexpr std::uint64_t kAnswered = 16, kSilent = 17;

}  // namespace

// The engine's thread runs until it finds nothing to do; stations read what they are given.
void Simulation::turn() {
  const std::int64_t mesh_ns = clock_.mesh_ns();
  for (std::size_t slot = 0; slot < mesh_->slots(); ++slot)
    if (SimulatedStation* const station = mesh_->station(slot); station != nullptr) {
      if (station->unflushed() != 0) station->flush();
      station->upkeep(mesh_ns);
    }
  EngineLoop& loop = mesh_->loop();
  if (contexts_.is_on()) contexts_.look(*mesh_, now());
  TickResult result;
  do {
    result = loop.tick(from_ns(mesh_ns));
    if (loop.counters().deliveries != deliveries_seen_) poll();
  } while (result.worked);
  book_.collect(loop, now());
  book_.ask_again(loop, now());
  small_.collect(loop);
  if (scenario_.scale_agents != 0) scale_.look(*mesh_, now());
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
  held.is_small = is_of_pipeline(delivery) || is_of_quorum(delivery);
  if (contexts_.is_on()) contexts_.on_message(*mesh_, held.agent);
  if (held.is_of_cascade()) book_.on_cascade_message(held.correlation);
  if (held.target_ns != 0 && !held.is_small && mesh_->has_history(held.agent)) {
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
  if (held.is_small) return;
  if (held.target_ns != 0) return measure_answer(held);
  if (held.state == sched::TrinaryState::ready) book_.on_cascade_ready(held.correlation, now());
}

void Simulation::measure_answer(const Held& held) {
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

}  // namespace mesh::engine::simulation
