// EventHandlers: who wants to hear of which events, in one process.
//
// Callers     the thread that polls. A handler may call on() and off(), also of itself.
// Ordering    an event goes to the handlers in the order in which they came.
// Cost        an event that nobody wants: one word is looked at. A handler: two readings of the
//             clock beside its own time.
// Limits      subscriptions_max handlers.
// If the      handler throws: it is caught and counted, the others are called all the same. It is
// other side  slower than its budget: counted, with the slowest time. It is not taken off by
// misbehaves  itself: a service's handler that is late is still a handler.
// Errors      on -> invalid_argument with the nearest names, capacity. off -> not_found.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "engine/tasks/event_names.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::tasks {

using EventHandler = std::function<void(const EventRecord& event, std::string_view text)>;
using EventClock = std::function<Nanos()>;
enum class SubscriptionId : std::uint64_t {};

struct SubscriptionOptions {
  bool once = false;
  Severity at_least = Severity::debug;
  std::uint32_t source = EventFilter::kAnySource;
};
struct SubscriptionStats {
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;    // overwritten before it was polled; of whatever name
  std::uint64_t failed = 0;  // it threw
  std::uint64_t slow = 0;    // it took longer than its budget
  Nanos slowest{0};
};

class EventHandlers {
 public:
  EventHandlers(std::uint32_t subscriptions_max, Nanos budget);

  // Hears of what comes after `since`.
  Result<SubscriptionId> on(std::string_view pattern, EventHandler handler, std::uint64_t since,
                            const SubscriptionOptions& options = {});
  Status off(SubscriptionId id);
  // What a handler did that its event says afterwards; the fields are counts of handlers.
  struct Outcome {
    std::uint32_t called = 0;
    std::uint32_t failed = 0;
    std::uint32_t slow = 0;
  };
  Outcome deliver(const EventRecord& event, std::string_view text, const EventClock& clock);
  // So many were overwritten before they could be delivered, the last of them `last`.
  void lose(std::uint64_t count, std::uint64_t last) noexcept;

  [[nodiscard]] bool wants(std::uint16_t kind) const noexcept {
    return kind < kKinds && wanted_[kind] != 0;
  }
  [[nodiscard]] std::uint32_t count() const noexcept { return used_; }
  [[nodiscard]] Result<SubscriptionStats> stats(SubscriptionId id) const;

 private:
  static constexpr std::size_t kKinds = kEventNames + 1;
  struct Subscription {
    SubscriptionId id{};
    std::uint64_t since = 0;
    EventFilter filter;
    EventHandler handler;  // empty: the place is free
    SubscriptionStats stats;
    bool is_once = false;
    bool is_gone = false;  // taken off while an event was delivered
  };
  void call(Subscription& one, const EventRecord& event, std::string_view text,
            const EventClock& clock, Outcome& outcome);
  void remove(Subscription& one);
  void count_wanted(const EventFilter& filter, bool more) noexcept;
  [[nodiscard]] const Subscription* find(SubscriptionId id) const noexcept;

  std::vector<Subscription> places_;  // never grows: a handler may be running in one
  std::vector<std::uint32_t> order_;  // places, in the order in which they were taken
  std::array<std::uint16_t, kKinds> wanted_{};
  Nanos budget_;
  std::uint64_t last_id_ = 0;
  std::uint32_t used_ = 0;
  std::uint32_t delivering_ = 0;
  bool any_gone_ = false;
};

}  // namespace mesh::tasks
