#include "engine/tasks/bus_names.hpp"

#include <span>

#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/chaos_harness.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/gossip_engine.hpp"
#include "engine/coordination/lock_manager.hpp"
#include "engine/coordination/outbox.hpp"
#include "engine/coordination/task_auction.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "engine/coordination/view_synchronizer.hpp"

namespace mesh::tasks {
namespace {

template <class Event>
struct BusRow {
  Event kind;
  EventName name;
};

template <class Event, std::size_t N>
EventName name_in(const BusRow<Event> (&rows)[N], const EventRecord& event) noexcept {
  for (const BusRow<Event>& row : rows) {
    if (static_cast<std::uint16_t>(row.kind) == event.kind) return row.name;
  }
  return EventName::none;
}

}  // namespace

template <>
EventName bus_name<coordination::AdaptiveThrottleGovernor>(const EventRecord& event) noexcept {
  using Event = coordination::AdaptiveThrottleGovernor::Event;
  constexpr BusRow<Event> kRows[] = {{Event::mode_change, EventName::throttle_mode_changed}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::BackpressureController>(const EventRecord& event) noexcept {
  using Event = coordination::BackpressureController::Event;
  constexpr BusRow<Event> kRows[] = {{Event::on, EventName::backpressure_on},
                                     {Event::off, EventName::backpressure_off}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::CapabilityHealthMonitor>(const EventRecord& event) noexcept {
  using Event = coordination::CapabilityHealthMonitor::Event;
  constexpr BusRow<Event> kRows[] = {{Event::status_change, EventName::health_status_changed},
                                     {Event::remediation, EventName::health_remediation}};
  return name_in(kRows, event);
}

// It is armed from when it runs.
template <>
EventName bus_name<coordination::ChaosHarness>(const EventRecord& event) noexcept {
  using Event = coordination::ChaosHarness::Event;
  using coordination::ExperimentState;
  if (event.kind == static_cast<std::uint16_t>(Event::state_changed)) {
    if (event.b == static_cast<std::uint64_t>(ExperimentState::running)) {
      return EventName::chaos_armed;
    }
    const bool is_aborted = event.b == static_cast<std::uint64_t>(ExperimentState::aborted);
    return is_aborted ? EventName::chaos_aborted : EventName::none;
  }
  constexpr BusRow<Event> kRows[] = {{Event::injected, EventName::chaos_injected},
                                     {Event::undone, EventName::chaos_undone},
                                     {Event::lapsed, EventName::chaos_undone}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::CircuitBreaker>(const EventRecord& event) noexcept {
  using Event = coordination::CircuitBreaker::Event;
  constexpr BusRow<Event> kRows[] = {{Event::state_change, EventName::circuitbreaker_state_change}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::ExactlyOnceQueue>(const EventRecord& event) noexcept {
  using Event = coordination::ExactlyOnceQueue::Event;
  constexpr BusRow<Event> kRows[] = {{Event::died, EventName::queue_dead_letter},
                                     {Event::poisoned, EventName::queue_poison}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::FederationRouter>(const EventRecord& event) noexcept {
  using Event = coordination::FederationRouter::Event;
  constexpr BusRow<Event> kRows[] = {{Event::loan, EventName::federation_loan},
                                     {Event::loan_returned, EventName::federation_loan},
                                     {Event::breaker_opened, EventName::federation_throttled},
                                     {Event::shed, EventName::federation_shed}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::GossipEngine>(const EventRecord& event) noexcept {
  using Event = coordination::GossipEngine::Event;
  constexpr BusRow<Event> kRows[] = {{Event::member_alive, EventName::membership_alive},
                                     {Event::member_suspected, EventName::membership_suspect},
                                     {Event::member_dead, EventName::membership_dead},
                                     {Event::member_left, EventName::membership_left},
                                     {Event::partition_suspected, EventName::partition_suspected},
                                     {Event::partitioned, EventName::partition_confirmed},
                                     {Event::healed, EventName::partition_healed},
                                     {Event::split_brain, EventName::conflict_mesh}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::LockManager>(const EventRecord& event) noexcept {
  using Event = coordination::LockManager::Event;
  constexpr BusRow<Event> kRows[] = {{Event::phantom, EventName::lock_phantom},
                                     {Event::victim, EventName::deadlock_detected},
                                     {Event::wounded, EventName::lock_wounded},
                                     {Event::coarsened, EventName::lock_coarsened}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::Outbox>(const EventRecord& event) noexcept {
  using Event = coordination::Outbox::Event;
  constexpr BusRow<Event> kRows[] = {{Event::died, EventName::outbox_died},
                                     {Event::dead_full, EventName::outbox_dead_full},
                                     {Event::worker_lost, EventName::outbox_worker_lost},
                                     {Event::cursor_stale, EventName::outbox_cursor_stale}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::TaskAuction>(const EventRecord& event) noexcept {
  using Event = coordination::TaskAuction::Event;
  constexpr BusRow<Event> kRows[] = {{Event::opened, EventName::auction_opened},
                                     {Event::bid, EventName::auction_bid},
                                     {Event::resolved, EventName::auction_resolved}};
  return name_in(kRows, event);
}

template <>
EventName bus_name<coordination::ViewSynchronizer>(const EventRecord& event) noexcept {
  using Event = coordination::ViewSynchronizer::Event;
  constexpr BusRow<Event> kRows[] = {{Event::entered, EventName::view_entered},
                                     {Event::timed_out, EventName::view_timeout},
                                     {Event::divergence, EventName::view_divergence}};
  return name_in(kRows, event);
}

}  // namespace mesh::tasks
