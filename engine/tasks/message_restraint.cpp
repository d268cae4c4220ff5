// What a message router keeps back while the mesh lacks agents.
#include <algorithm>

#include "engine/tasks/message_router.hpp"

namespace mesh::tasks {

MessageRouter::Reply MessageRouter::on(const message::Restrain& order,
                                       std::int64_t now_ns) noexcept {
  if (order.priority_min > kPriorities) return refuse(Errc::invalid_argument);
  restraint_ = order;
  release_parked(now_ns);
  view_changed_ = true;
  return {};
}

MessageRouter::Reply MessageRouter::on(const message::SetSector& order, std::int64_t) noexcept {
  if (order.sector >= config_.sectors_max) return refuse(Errc::invalid_argument);
  sick_[order.sector] = order.healthy ? 0 : 1;
  return {};
}

bool MessageRouter::may_park() const noexcept { return parked_.count < config_.parked_max; }

// It has no place among those of its pair until it goes: what must not wait does not wait for it.
void MessageRouter::park(std::uint32_t at) noexcept {
  messages_[at].state = MessageState::parked;
  parked_.push(messages_, at);
  set_timer(at);
  ++counters_.parked;
}

// In the order in which they came. What its pair has no place for stays, and those of the pair
// behind it.
void MessageRouter::release_parked(std::int64_t now_ns) noexcept {
  has_released_ = false;
  for (std::uint32_t at = parked_.first; at != kNone;) {
    const std::uint32_t next = messages_[at].next;
    if (messages_[at].priority < restraint_.priority_min) {
      at = next;
      continue;
    }
    if (is_window_full(messages_[at].pair)) {
      has_released_ = true;
    } else {
      parked_.take_out(messages_, at);
      go(at, now_ns);
    }
    at = next;
  }
}

// As far as they may be spoken to now.
std::uint32_t MessageRouter::count_well(const std::vector<std::uint32_t>& targets) const noexcept {
  return static_cast<std::uint32_t>(std::count_if(
      targets.begin(), targets.end(), [this](std::uint32_t agent) { return !is_shunned(agent); }));
}

}  // namespace mesh::tasks
