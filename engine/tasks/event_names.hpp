// The names of what happens in a mesh: an interface. A name is never changed and a number never
// used again; new ones come at the end.
//
// Patterns    a name, or the beginning of one with a * behind it: "task:*", "*".
// Errors      EventFilter::of -> invalid_argument, with the names that are nearest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/tasks/event_records.hpp"
#include "shm/base/result.hpp"

// X(enumerator, number, name)
#define MESH_EVENT_LIST(X)                                          \
  X(task_created, 1, "task:created")                                \
  X(task_assigned, 2, "task:assigned")                              \
  X(task_started, 3, "task:started")                                \
  X(task_completed, 4, "task:completed")                            \
  X(task_failed, 5, "task:failed")                                  \
  X(task_cancelled, 6, "task:cancelled")                            \
  X(task_retried, 7, "task:retried")                                \
  X(task_dead, 8, "task:dead")                                      \
  X(agent_registered, 9, "agent:registered")                        \
  X(agent_unregistered, 10, "agent:unregistered")                   \
  X(agent_state_changed, 11, "agent:state-changed")                 \
  X(resource_acquired, 12, "resource:acquired")                     \
  X(resource_released, 13, "resource:released")                     \
  X(resource_requested, 14, "resource:requested")                   \
  X(resource_timeout, 15, "resource:timeout")                       \
  X(deadlock_detected, 16, "deadlock:detected")                     \
  X(lock_wounded, 17, "lock:wounded")                               \
  X(lock_phantom, 18, "lock:phantom")                               \
  X(lock_coarsened, 19, "lock:coarsened")                           \
  X(message_sent, 20, "message:sent")                               \
  X(message_delivered, 21, "message:delivered")                     \
  X(message_expired, 22, "message:expired")                         \
  X(message_dead, 23, "message:dead")                               \
  X(workstealing_request, 24, "workstealing:request")               \
  X(workstealing_completed, 25, "workstealing:completed")           \
  X(conflict_resource, 26, "conflict:resource")                     \
  X(conflict_task, 27, "conflict:task")                             \
  X(conflict_mesh, 28, "conflict:mesh")                             \
  X(conflict_escalated, 29, "conflict:escalated")                   \
  X(conflict_resolved, 30, "conflict:resolved")                     \
  X(circuitbreaker_state_change, 31, "circuitbreaker:state-change") \
  X(backpressure_on, 32, "backpressure:on")                         \
  X(backpressure_off, 33, "backpressure:off")                       \
  X(throttle_mode_changed, 34, "throttle:mode-changed")             \
  X(auction_opened, 35, "auction:opened")                           \
  X(auction_bid, 36, "auction:bid")                                 \
  X(auction_resolved, 37, "auction:resolved")                       \
  X(outbox_died, 38, "outbox:died")                                 \
  X(outbox_dead_full, 39, "outbox:dead-full")                       \
  X(outbox_worker_lost, 40, "outbox:worker-lost")                   \
  X(outbox_cursor_stale, 41, "outbox:cursor-stale")                 \
  X(queue_dead_letter, 42, "queue:dead-letter")                     \
  X(queue_poison, 43, "queue:poison")                               \
  X(health_status_changed, 44, "health:status-changed")             \
  X(health_remediation, 45, "health:remediation")                   \
  X(view_entered, 46, "view:entered")                               \
  X(view_timeout, 47, "view:timeout")                               \
  X(view_divergence, 48, "view:divergence")                         \
  X(membership_suspect, 49, "membership:suspect")                   \
  X(membership_dead, 50, "membership:dead")                         \
  X(membership_alive, 51, "membership:alive")                       \
  X(membership_left, 52, "membership:left")                         \
  X(partition_suspected, 53, "partition:suspected")                 \
  X(partition_confirmed, 54, "partition:confirmed")                 \
  X(partition_healed, 55, "partition:healed")                       \
  X(federation_shed, 56, "federation:shed")                         \
  X(federation_loan, 57, "federation:loan")                         \
  X(federation_throttled, 58, "federation:throttled")               \
  X(chaos_armed, 59, "chaos:armed")                                 \
  X(chaos_injected, 60, "chaos:injected")                           \
  X(chaos_undone, 61, "chaos:undone")                               \
  X(chaos_aborted, 62, "chaos:aborted")                             \
  X(system_mode_changed, 63, "system:mode-changed")                 \
  X(system_freeze, 64, "system:freeze")                             \
  X(system_thaw, 65, "system:thaw")                                 \
  X(eventbus_slow_handler, 66, "eventbus:slow-handler")             \
  X(eventbus_handler_failed, 67, "eventbus:handler-failed")

namespace mesh::tasks {

enum class EventName : std::uint16_t {
  none = 0,
#define MESH_EVENT_ENUMERATOR(enumerator, number, name) enumerator = number,
  MESH_EVENT_LIST(MESH_EVENT_ENUMERATOR)
#undef MESH_EVENT_ENUMERATOR
};
inline constexpr std::size_t kEventNames = 67;
constexpr EventName last_of(EventName) noexcept { return EventName::eventbus_handler_failed; }
static_assert(static_cast<std::size_t>(last_of(EventName{})) == kEventNames);

[[nodiscard]] std::string_view name_of(EventName name) noexcept;  // "none": it is none of them
// EventName::none where there is no such name.
[[nodiscard]] EventName find_event(std::string_view name) noexcept;
[[nodiscard]] bool event_matches(std::string_view pattern, std::string_view name) noexcept;

// A pattern as a set of bits: what is asked of each event is one word and two comparisons.
class EventFilter {
 public:
  static constexpr std::uint32_t kAnySource = 0xFFFF'FFFF;

  static Result<EventFilter> of(std::string_view pattern, Severity at_least = Severity::debug,
                                std::uint32_t source = kAnySource);
  [[nodiscard]] bool passes(const EventRecord& event) const noexcept {
    return has(event.kind) && event.severity >= at_least_ &&
           (source_ == kAnySource || source_ == event.source);
  }
  [[nodiscard]] bool has(std::uint16_t kind) const noexcept {
    return kind < 64 * kWords && (bits_[kind / 64] >> (kind % 64) & 1U) != 0;
  }

 private:
  static constexpr std::size_t kWords = kEventNames / 64 + 1;
  std::array<std::uint64_t, kWords> bits_{};
  Severity at_least_ = Severity::debug;
  std::uint32_t source_ = kAnySource;
};

}  // namespace mesh::tasks
