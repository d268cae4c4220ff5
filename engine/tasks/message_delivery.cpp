// What a message router hands over, how a message ends, what is due.
#include <algorithm>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/tasks/message_keys.hpp"
#include "engine/tasks/message_router.hpp"

namespace mesh::tasks {

// --- to the receiver -----------------------------------------------------------------------------

// It is its turn among those of its pair.
void MessageRouter::come(std::uint32_t at, std::int64_t now_ns) noexcept {
  if (config_.order != MessageOrder::causal) return place(at, now_ns);
  Message& one = messages_[at];
  const std::uint32_t to = one.to;
  one.listed = true;
  ++pairs_[one.pair].held;
  agents_[to].held.push(messages_, at);
  set_timer(at);
  release_held(to, now_ns);
}

bool MessageRouter::has_its_cause(const Message& one) const noexcept {
  if (one.cause.sequence == 0) return true;
  const std::uint32_t at = pair_of(one.cause.from, one.to, 0);
  if (at == kNone) return false;
  const Pair& pair = pairs_[at];
  if (pair.placed >= one.cause.sequence) return true;
  // It does not come any more: its sender has given it up.
  return pair.held == 0 && (pair.in.next() > one.cause.sequence || pair.sent >= one.cause.sequence);
}

// Of what waits for its cause all that need not wait any more; of each pair in its order.
void MessageRouter::release_held(std::uint32_t agent, std::int64_t now_ns) noexcept {
  RowList& held = agents_[agent].held;
  for (bool again = held.count != 0; again;) {
    again = false;
    ++look_;
    for (std::uint32_t at = held.first; at != kNone;) {
      Message& one = messages_[at];
      const std::uint32_t next = one.next;
      Pair& pair = pairs_[one.pair];
      if (pair.mark == look_ || !has_its_cause(one)) {
        pair.mark = look_;
      } else {
        unlist(at);
        place(at, now_ns);
        again = true;
      }
      at = next;
    }
  }
}

// Into the mailbox. A response that nobody waits for any more goes no further.
void MessageRouter::place(std::uint32_t at, std::int64_t now_ns) noexcept {
  Message& one = messages_[at];
  if (one.kind == MessageKind::response && one.attempt == 0) {
    const std::uint32_t slot = request_of(one.correlation);
    if (slot == kNone || requests_[slot].agent != one.to) {
      return finish(at, End::dead, Errc::expired, now_ns);
    }
    const std::uint64_t copy = std::exchange(one.correlation, requests_[slot].number);
    answer_request(slot, copy);
  }
  one.state = MessageState::waiting;
  mailbox_of(one).push(messages_, at);
  Pair& pair = pairs_[one.pair];
  pair.placed = std::max(pair.placed, one.sequence);
  set_timer(at);
  view_changed_ = true;
}

MessageDelivery MessageRouter::delivery_of(const Message& one, std::int64_t now_ns) const noexcept {
  std::int64_t until_ns = one.expires_ns;
  const std::uint32_t slot =
      one.kind == MessageKind::request && !one.inbound ? request_of(one.number) : kNone;
  if (slot != kNone) until_ns = std::min(until_ns, requests_[slot].deadline_ns);
  const std::int64_t left_ns =
      until_ns == kNever ? 0 : std::max<std::int64_t>(until_ns - now_ns, 1);
  return {{one.created_ns, one.number},
          one.from,
          one.to,
          one.priority,
          one.kind,
          one.correlation,
          one.sequence,
          one.payload,
          one.size_bytes,
          one.attempt,
          Nanos{left_ns}};
}

void MessageRouter::hand_over(std::uint32_t at, Reply& reply, std::int64_t now_ns) noexcept {
  Message& one = messages_[at];
  unlist(at);
  reply.deliveries.push_back(delivery_of(one, now_ns));
  ++counters_.delivered;
  counters_.retried += one.attempt++ == 0 ? 0U : 1U;
  if (one.dead_ns == kNever) one.dead_ns = now_ns + config_.timeout_ns.count();
  say(Event::message_delivered, one, now_ns);
  one.state = MessageState::in_hand;
  ++agents_[one.to].in_hand;
  if (config_.ack == MessageAck::processed) {
    set_timer(at);
  } else {
    finish(at, End::acked, Errc::ok, now_ns);
  }
}

MessageRouter::Reply MessageRouter::on(const message::Poll& order, std::int64_t now_ns) noexcept {
  if (!is_here(order.agent)) return refuse(Errc::no_such_agent);
  if (order.count == 0 || order.count > kHandsMax) return refuse(Errc::invalid_argument);
  Reply reply;
  auto& waiting = agents_[order.agent].waiting;
  for (std::size_t priority = waiting.size(); priority-- != 0;) {
    while (waiting[priority].first != kNone && reply.deliveries.size() < order.count) {
      hand_over(waiting[priority].first, reply, now_ns);
    }
  }
  reply.count = static_cast<std::uint32_t>(reply.deliveries.size());
  view_changed_ = view_changed_ || reply.count != 0;
  return reply;
}

Errc MessageRouter::find_in_hand(std::uint32_t agent, std::uint64_t number,
                                 std::uint32_t& at) const noexcept {
  if (!is_here(agent)) return Errc::no_such_agent;
  at = by_number_.find(hash_of_number(number));
  if (at == kNone) return Errc::not_found;
  if (messages_[at].to != agent) return Errc::not_owner;
  return messages_[at].state == MessageState::in_hand ? Errc::ok : Errc::wrong_state;
}

MessageRouter::Reply MessageRouter::on(const message::Ack& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_in_hand(order.agent, order.number, at);
  if (bad != Errc::ok) return refuse(bad);
  finish(at, End::acked, Errc::ok, now_ns);
  Reply reply;
  reply.count = 1;
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::Nack& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_in_hand(order.agent, order.number, at);
  if (bad != Errc::ok) return refuse(bad);
  Reply reply;
  reply.count = 1;
  if (order.for_good || messages_[at].attempt > config_.retries_max) {
    finish(at, End::dead, Errc::cancelled, now_ns);
    return reply;
  }
  --agents_[order.agent].in_hand;
  back_off(at, now_ns);
  reply.retry_after = Nanos{messages_[at].retry_ns - now_ns};
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::StationClosed& order,
                                       std::int64_t now_ns) noexcept {
  found_.clear();
  std::uint32_t in_hand = 0;
  for (const Agent& agent : agents_) {
    if (agent.known && agent.here && agent.station == order.station) in_hand += agent.in_hand;
  }
  for (std::uint32_t at = 0; at < config_.messages_max && found_.size() < in_hand; ++at) {
    const bool is_its = slots_.is_used(at) && messages_[at].state == MessageState::in_hand &&
                        agents_[messages_[at].to].station == order.station;
    if (is_its) found_.push_back(at);
  }
  std::sort(found_.begin(), found_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return messages_[a].order < messages_[b].order;
  });
  for (const std::uint32_t at : found_) {
    --agents_[messages_[at].to].in_hand;
    messages_[at].dead_ns = kNever;  // whoever has it next has the whole time
    place(at, now_ns);
  }
  Reply reply;
  reply.count = in_hand;
  return reply;
}

// --- the end -------------------------------------------------------------------------------------

void MessageRouter::unlist(std::uint32_t at) noexcept {
  Message& one = messages_[at];
  if (one.state == MessageState::queued) {
    to_send_.take_out(messages_, at);
  } else if (one.state == MessageState::parked) {
    parked_.take_out(messages_, at);
  } else if (one.state == MessageState::waiting) {
    mailbox_of(one).take_out(messages_, at);
  } else if (one.listed) {
    agents_[one.to].held.take_out(messages_, at);
    --pairs_[one.pair].held;
    one.listed = false;
  } else if (one.state == MessageState::in_hand) {
    --agents_[one.to].in_hand;
  }
}

void MessageRouter::finish(std::uint32_t at, End end, Errc why, std::int64_t now_ns) noexcept {
  timers_.clear(at);
  unlist(at);
  Message& one = messages_[at];
  const std::uint32_t pair = one.pair;
  --agents_[one.to].depth;
  view_changed_ = true;
  if (one.inbound) {
    finish_inbound(at, end);
  } else {
    finish_outbound(at, end, why, now_ns);
  }
  if (!one.inbound && end == End::dead && config_.overflow == MessageOverflow::dlq) {
    keep_letter(at);
  } else {
    forget(at);
  }
  if (--pairs_[pair].live == 0 && pairs_[pair].orphan) free_pair(pair);
}

void MessageRouter::finish_outbound(std::uint32_t at, End end, Errc why,
                                    std::int64_t now_ns) noexcept {
  const Message& one = messages_[at];
  Pair& pair = pairs_[one.pair];
  if (one.sequence != 0) pair.done[word_of(one.sequence)] |= bit_of(one.sequence);
  while (pair.floor <= pair.sent && (pair.done[word_of(pair.floor)] & bit_of(pair.floor)) != 0) {
    pair.done[word_of(pair.floor)] &= ~bit_of(pair.floor);
    ++pair.floor;
  }
  --out_;
  if (end == End::acked) {
    ++counters_.acked;
    return;
  }
  const bool is_dead = end == End::dead;
  ++(is_dead ? counters_.dead : counters_.expired);
  say(is_dead ? Event::message_dead : Event::message_expired, one, now_ns);
  if (!is_dead && why == Errc::cancelled) return;  // its request is answered: nobody asks for it
  const std::uint32_t slot =
      one.kind == MessageKind::request ? request_of(one.number) : IdTable::kNone;
  if (slot != kNone && keeps_waiting(slot, one.number, now_ns)) return;
  const std::uint64_t known = slot == kNone ? one.number : requests_[slot].number;
  news_.push_back(
      {is_dead ? MessageNotice::dead : MessageNotice::expired, one.from, one.to, known, why});
  if (slot != kNone) abandon_request(slot);  // it is told by the news of its message
}

void MessageRouter::finish_inbound(std::uint32_t at, End end) noexcept {
  const Message& one = messages_[at];
  Pair& pair = pairs_[one.pair];
  const bool is_acked = end == End::acked;
  if (!is_acked && pair.in_epoch == one.epoch) {
    pair.refused[word_of(one.sequence)] |= bit_of(one.sequence);
  }
  --in_;
  ++(is_acked ? counters_.processed : counters_.given_up);
  if (config_.ack == MessageAck::none) return;
  answers_.push_back({one.number, is_acked ? MessageOutcome::acked : MessageOutcome::refused});
}

void MessageRouter::keep_letter(std::uint32_t at) noexcept {
  Message& one = messages_[at];
  one.state = MessageState::letter;
  one.pair = kNone;
  letters_.push(messages_, at);
  ++counters_.letters;
  if (letters_.count <= config_.letters_max) return;
  const std::uint32_t oldest = letters_.first;
  letters_.take_out(messages_, oldest);
  forget(oldest);
}

void MessageRouter::forget(std::uint32_t at) noexcept {
  Message& one = messages_[at];
  by_number_.erase(hash_of_number(one.number));
  if (one.inbound) by_place_.erase(hash_of_place(one.pair, one.epoch, one.sequence));
  one.state = MessageState::unknown;
  slots_.free(at);
}

MessageRouter::Reply MessageRouter::on(const message::TakeLetters& order,
                                       std::int64_t now_ns) noexcept {
  if (order.count == 0 || order.count > kHandsMax) return refuse(Errc::invalid_argument);
  Reply reply;
  while (letters_.first != kNone && reply.deliveries.size() < order.count) {
    const std::uint32_t at = letters_.first;
    letters_.take_out(messages_, at);
    reply.deliveries.push_back(delivery_of(messages_[at], now_ns));
    forget(at);
  }
  reply.count = static_cast<std::uint32_t>(reply.deliveries.size());
  return reply;
}

// --- time ----------------------------------------------------------------------------------------

Nanos MessageRouter::retry_bound(const Config& config, std::uint32_t retry) noexcept {
  const auto base = static_cast<double>(config.retry_ns.count());
  return Nanos{static_cast<std::int64_t>(
      backoff_exponential({base, 2, static_cast<double>(kDurationMaxNs / 2)}, retry))};
}

void MessageRouter::back_off(std::uint32_t at, std::int64_t now_ns) noexcept {
  Message& one = messages_[at];
  const double times = restraint_.retries_doubled ? 2 : 1;
  const double bound = times * static_cast<double>(retry_bound(config_, one.attempt - 1).count());
  one.state = MessageState::retrying;
  one.retry_ns = now_ns + static_cast<std::int64_t>(rng_.u01() * bound);
  set_timer(at);
}

void MessageRouter::set_timer(std::uint32_t at) noexcept {
  const Message& one = messages_[at];
  const bool waits = one.state == MessageState::retrying || one.state == MessageState::sent;
  std::int64_t due_ns =
      one.state == MessageState::in_hand ? one.dead_ns : std::min(one.expires_ns, one.dead_ns);
  if (waits) due_ns = std::min(due_ns, one.retry_ns);
  if (due_ns == kNever) {
    timers_.clear(at);
  } else {
    timers_.set(at, due_ns, one.order);
  }
}

void MessageRouter::come_due(std::uint32_t at, std::int64_t now_ns) noexcept {
  Message& one = messages_[at];
  const bool in_hand = one.state == MessageState::in_hand;
  if (!in_hand && one.expires_ns <= std::min(now_ns, one.dead_ns)) {
    return finish(at, End::expired, Errc::expired, now_ns);
  }
  if (one.dead_ns <= now_ns) return finish(at, End::dead, Errc::timed_out, now_ns);
  if (one.inbound || agents_[one.to].here) return place(at, now_ns);
  if (one.attempt > config_.retries_max) return finish(at, End::dead, Errc::timed_out, now_ns);
  one.state = MessageState::queued;
  to_send_.push(messages_, at);
  set_timer(at);
}

void MessageRouter::catch_up(std::int64_t now_ns) noexcept {
  for (;;) {
    const std::uint32_t at = timers_.pop_due(now_ns);
    if (at == DeadlineHeap::kNone) break;
    const std::uint32_t to = messages_[at].to;
    come_due(at, now_ns);
    release_held(to, now_ns);  // it may have waited for that one
  }
  requests_due(now_ns);
  if (has_released_) release_parked(now_ns);
}

void MessageRouter::say(Event name, const Message& one, std::int64_t now_ns) noexcept {
  const bool is_end = name == Event::message_dead || name == Event::message_expired;
  EventRecord event;
  event.t_ns = now_ns;
  event.kind = static_cast<std::uint16_t>(name);
  event.severity = is_end ? Severity::warning : Severity::debug;
  event.source = one.from;
  event.a = one.from;
  event.b = one.to;
  event.c = one.number;
  events_.emit(event);
}

}  // namespace mesh::tasks
