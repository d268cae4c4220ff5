// Under which name of the bus what a coordination service says of itself is told, and the telling.
//
// A service numbers its events itself (X::Event) and knows no bus. Who hosts it calls tell_bus()
// behind its commands and ticks:
//
//   std::uint64_t told = 0;
//   locks.apply(...);
//   tell_bus(locks, told, bus, now);      // lock:wounded, lock:phantom, deadlock:detected, ...
//
// Callers     the thread that owns both.  Progress  wait-free.
// Cost        one comparison where there is nothing new; else what emit() costs, each event.
// Ordering    of a service: as it said them. a, b, c are those of its Event; t is `now`.
// Errors      what a service overwrote before this looked is counted, and what has no name of the
//             bus is passed over. The task family speaks the names of the bus itself.
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/event_log.hpp"
#include "engine/tasks/event_bus.hpp"

namespace mesh::coordination {
class AdaptiveThrottleGovernor;
class BackpressureController;
class CapabilityHealthMonitor;
class ChaosHarness;
class CircuitBreaker;
class ExactlyOnceQueue;
class FederationRouter;
class GossipEngine;
class LockManager;
class Outbox;
class TaskAuction;
class ViewSynchronizer;
}  // namespace mesh::coordination

namespace mesh::tasks {

// EventName::none: the bus has no name for it.
template <class Service>
[[nodiscard]] EventName bus_name(const EventRecord& event) noexcept;

template <>
EventName bus_name<coordination::AdaptiveThrottleGovernor>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::BackpressureController>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::CapabilityHealthMonitor>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::ChaosHarness>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::CircuitBreaker>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::ExactlyOnceQueue>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::FederationRouter>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::GossipEngine>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::LockManager>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::Outbox>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::TaskAuction>(const EventRecord& event) noexcept;
template <>
EventName bus_name<coordination::ViewSynchronizer>(const EventRecord& event) noexcept;

// What it has said after `told`, which moves on. Returns how many were overwritten meanwhile.
template <class Service>
std::uint64_t tell_bus(const Service& service, std::uint64_t& told, EventBus& bus, Nanos now) {
  std::uint64_t lost = 0;
  service.events().after(told, [&](const EventRecord& event) {
    lost += event.sequence - told - 1;
    told = event.sequence;
    const EventName name = bus_name<Service>(event);
    if (name == EventName::none) return;
    bus.emit({name, event.severity, event.source, event.a, event.b, event.c, {}}, now);
  });
  return lost;
}

}  // namespace mesh::tasks
