// Requests: who waits for an answer, and the second copy of one that is late.
#include <algorithm>

#include "engine/tasks/message_keys.hpp"
#include "engine/tasks/message_router.hpp"

namespace mesh::tasks {

std::uint32_t MessageRouter::request_of(std::uint64_t number) const noexcept {
  return request_index_.find(hash_of_number(number));
}

void MessageRouter::arm_request(std::uint32_t slot) noexcept {
  const Waiting& one = requests_[slot];
  request_timers_.set(slot, std::min(one.deadline_ns, one.hedge_ns), one.number);
}

void MessageRouter::close_request(std::uint32_t slot) noexcept {
  request_index_.erase(hash_of_number(requests_[slot].number));
  if (requests_[slot].hedge_number != 0) {
    request_index_.erase(hash_of_number(requests_[slot].hedge_number));
  }
  request_timers_.clear(slot);
  request_slots_.free(slot);
}

void MessageRouter::abandon_request(std::uint32_t slot) noexcept {
  ++counters_.abandoned;
  close_request(slot);
}

Errc MessageRouter::check_hedge(const message::Request& order) const noexcept {
  if (order.hedge_to == kNoAgent) {
    return order.hedge_after.count() == 0 ? Errc::ok : Errc::invalid_argument;
  }
  if (!is_known(order.hedge_to)) return Errc::no_such_agent;
  const bool is_possible = order.hedge_to != order.send.to && order.hedge_to != order.send.from &&
                           is_positive_duration(order.hedge_after);
  return is_possible ? Errc::ok : Errc::invalid_argument;
}

MessageRouter::Reply MessageRouter::on(const message::Request& order,
                                       std::int64_t now_ns) noexcept {
  Errc bad = check(order.send);
  if (bad == Errc::ok && !is_duration(order.timeout)) bad = Errc::invalid_argument;
  if (bad == Errc::ok) bad = check_hedge(order);
  if (bad == Errc::ok && request_slots_.left() == 0) bad = Errc::capacity;
  if (bad != Errc::ok) return refuse(bad);
  Reply reply = post(order.send, MessageKind::request, now_ns);
  if (reply.refusal != Refusal::none) return reply;
  const std::uint32_t slot = request_slots_.take();
  const Nanos timeout = order.timeout.count() == 0 ? config_.timeout_ns : order.timeout;
  Waiting& one = requests_[slot] = {};
  one.number = reply.id.number;
  one.agent = order.send.from;
  one.to = order.send.to;
  one.deadline_ns = now_ns + timeout.count();
  if (order.hedge_to != kNoAgent) {
    one.hedge_to = order.hedge_to;
    one.hedge_ns = now_ns + order.hedge_after.count();
    one.payload = order.send.payload;
    one.size_bytes = order.send.size_bytes;
    one.priority = order.send.priority;
  }
  request_index_.set(hash_of_number(one.number), slot);
  arm_request(slot);
  ++counters_.requests;
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::Respond& order,
                                       std::int64_t now_ns) noexcept {
  Errc bad = check(order.send);
  if (bad == Errc::sector_degraded) bad = has_places(order.send) ? Errc::ok : Errc::capacity;
  if (bad != Errc::ok) return refuse(bad);  // an answer may go anywhere
  if (is_here(order.send.to)) {
    const std::uint64_t number = order.send.correlation;
    const std::uint32_t slot = request_of(number);
    if (slot == kNone || requests_[slot].agent != order.send.to) return refuse(Errc::expired);
    const Waiting& asked = requests_[slot];
    const std::uint32_t asked_of = number == asked.number ? asked.to : asked.hedge_to;
    if (asked_of != order.send.from) return refuse(Errc::not_owner);
  }
  return post(order.send, MessageKind::response, now_ns);
}

// The copy of this number was answered first. The other one is not begun any more, if it can be
// helped: at the end of the command, since lists are being walked now.
void MessageRouter::answer_request(std::uint32_t slot, std::uint64_t number) noexcept {
  const Waiting& one = requests_[slot];
  ++counters_.answered;
  const bool is_second = number != one.number;
  counters_.hedge_won += is_second ? 1U : 0U;
  if (one.hedge_number != 0) losers_.push_back(is_second ? one.number : one.hedge_number);
  close_request(slot);
}

void MessageRouter::drop_losers(std::int64_t now_ns) noexcept {
  for (const std::uint64_t number : losers_) {
    const std::uint32_t at = by_number_.find(hash_of_number(number));
    if (at == kNone || messages_[at].attempt != 0) continue;
    const MessageState state = messages_[at].state;
    const bool is_idle = state == MessageState::held || state == MessageState::waiting ||
                         state == MessageState::queued || state == MessageState::parked;
    if (is_idle) finish(at, End::expired, Errc::cancelled, now_ns);
  }
  losers_.clear();
}

// A copy is dead or expired. True: another one is on its way, or will be.
bool MessageRouter::keeps_waiting(std::uint32_t slot, std::uint64_t number,
                                  std::int64_t now_ns) noexcept {
  Waiting& one = requests_[slot];
  (number == one.number ? one.is_first_gone : one.is_second_gone) = true;
  if (one.hedge_number != 0) return !(one.is_first_gone && one.is_second_gone);
  if (one.hedge_ns == kNever) return false;
  one.hedge_ns = now_ns;  // why wait
  arm_request(slot);
  return true;
}

// The same to the other agent, within the share of requests that may be sent twice.
void MessageRouter::hedge(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Waiting& one = requests_[slot];
  one.hedge_ns = kNever;
  arm_request(slot);
  message::Send copy;
  copy.from = one.agent;
  copy.to = one.hedge_to;
  copy.payload = one.payload;
  copy.size_bytes = one.size_bytes;
  copy.priority = one.priority;
  copy.ttl = Nanos{one.deadline_ns - now_ns};
  const std::uint64_t allowed =
      config_.hedge_burst + counters_.requests * config_.hedge_ppm_max / 1'000'000;
  const bool goes = counters_.hedged < allowed && check(copy) == Errc::ok &&
                    !is_window_full(copy) && agents_[copy.to].depth < config_.queue_max &&
                    (copy.priority >= restraint_.priority_min || may_park());
  if (!goes) {
    ++counters_.hedge_withheld;
    if (!one.is_first_gone) return;
    news_.push_back({MessageNotice::dead, one.agent, one.to, one.number, Errc::no_candidate});
    return abandon_request(slot);
  }
  ++counters_.hedged;
  const Reply reply = post(copy, MessageKind::request, now_ns);
  one.hedge_number = reply.id.number;
  request_index_.set(hash_of_number(one.hedge_number), slot);
}

void MessageRouter::requests_due(std::int64_t now_ns) noexcept {
  for (std::uint32_t slot; (slot = request_timers_.pop_due(now_ns)) != DeadlineHeap::kNone;) {
    const Waiting& one = requests_[slot];
    if (one.deadline_ns > now_ns) {
      hedge(slot, now_ns);
      continue;
    }
    news_.push_back({MessageNotice::timed_out, one.agent, one.to, one.number, Errc::timed_out});
    ++counters_.timed_out;
    close_request(slot);
  }
}

}  // namespace mesh::tasks
