#include "engine/tasks/event_handlers.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace mesh::tasks {

EventHandlers::EventHandlers(std::uint32_t subscriptions_max, Nanos budget)
    : places_(subscriptions_max), budget_(budget) {
  order_.reserve(subscriptions_max);
}

Result<SubscriptionId> EventHandlers::on(std::string_view pattern, EventHandler handler,
                                         std::uint64_t since, const SubscriptionOptions& options) {
  MESH_TRY(const EventFilter filter, EventFilter::of(pattern, options.at_least, options.source));
  if (!handler) return fail(Errc::invalid_argument, "event bus: a handler that cannot be called");
  const auto free = std::find_if(places_.begin(), places_.end(),
                                 [](const Subscription& one) { return !one.handler; });
  if (free == places_.end()) {
    return fail(Errc::capacity,
                "event bus: " + std::to_string(places_.size()) + " subscriptions are the limit",
                static_cast<std::int64_t>(places_.size()));
  }
  *free = {};
  free->id = SubscriptionId{++last_id_};
  free->since = since;
  free->filter = filter;
  free->handler = std::move(handler);
  free->is_once = options.once;
  order_.push_back(static_cast<std::uint32_t>(free - places_.begin()));
  count_wanted(filter, true);
  ++used_;
  return free->id;
}

void EventHandlers::count_wanted(const EventFilter& filter, bool more) noexcept {
  for (std::uint16_t kind = 0; kind < kKinds; ++kind) {
    if (!filter.has(kind)) continue;
    wanted_[kind] = static_cast<std::uint16_t>(wanted_[kind] + (more ? 1 : -1));
  }
}

const EventHandlers::Subscription* EventHandlers::find(SubscriptionId id) const noexcept {
  for (const Subscription& one : places_) {
    if (one.handler && one.id == id && !one.is_gone) return &one;
  }
  return nullptr;
}

Status EventHandlers::off(SubscriptionId id) {
  for (Subscription& one : places_) {
    if (&one != find(id)) continue;
    remove(one);
    return {};
  }
  return fail(Errc::not_found,
              "event bus: no subscription " + std::to_string(static_cast<std::uint64_t>(id)));
}

// While an event is delivered the handler may be the one that runs: it goes afterwards.
void EventHandlers::remove(Subscription& one) {
  if (!one.is_gone) {
    count_wanted(one.filter, false);
    --used_;
  }
  one.is_gone = true;
  any_gone_ = true;
  if (delivering_ != 0) return;
  std::erase_if(order_, [&](std::uint32_t at) { return places_[at].is_gone; });
  for (Subscription& gone : places_) {
    if (gone.is_gone) gone = {};
  }
  any_gone_ = false;
}

EventHandlers::Outcome EventHandlers::deliver(const EventRecord& event, std::string_view text,
                                              const EventClock& clock) {
  Outcome outcome;
  if (!wants(event.kind)) return outcome;
  ++delivering_;
  const std::size_t count = order_.size();  // who comes meanwhile hears of what comes next
  for (std::size_t i = 0; i < count; ++i) {
    Subscription& one = places_[order_[i]];
    const bool is_its = !one.is_gone && event.sequence > one.since && one.filter.passes(event);
    if (is_its) call(one, event, text, clock, outcome);
  }
  --delivering_;
  if (any_gone_ && delivering_ == 0) {
    for (Subscription& one : places_) {
      if (one.is_gone) {
        remove(one);
        break;  // with all the others that are gone
      }
    }
  }
  return outcome;
}

void EventHandlers::call(Subscription& one, const EventRecord& event, std::string_view text,
                         const EventClock& clock, Outcome& outcome) {
  ++outcome.called;
  ++one.stats.delivered;
  if (one.is_once) remove(one);  // before: it may emit what it waits for
  const Nanos begun = clock();
  try {
    one.handler(event, text);
  } catch (...) {  // whatever it is, it is the handler's own
    ++one.stats.failed;
    ++outcome.failed;
  }
  const Nanos took = clock() - begun;
  one.stats.slowest = std::max(one.stats.slowest, took);
  if (took <= budget_) return;
  ++one.stats.slow;
  ++outcome.slow;
}

void EventHandlers::lose(std::uint64_t count, std::uint64_t last) noexcept {
  for (Subscription& one : places_) {
    if (!one.handler || one.is_gone || last <= one.since) continue;
    one.stats.lost += std::min(count, last - one.since);
  }
}

Result<SubscriptionStats> EventHandlers::stats(SubscriptionId id) const {
  const Subscription* const one = find(id);
  if (one != nullptr) return one->stats;
  return fail(Errc::not_found,
              "event bus: no subscription " + std::to_string(static_cast<std::uint64_t>(id)));
}

}  // namespace mesh::tasks
