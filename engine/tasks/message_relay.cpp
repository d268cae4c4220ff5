// A message router between hosts: what goes there, what comes from there.
#include <algorithm>

#include "engine/tasks/message_keys.hpp"
#include "engine/tasks/message_router.hpp"

namespace mesh::tasks {

// --- between hosts -------------------------------------------------------------------------------

// In the order in which they were to be sent, as many as a tick may.
void MessageRouter::transmit(std::vector<MessageTransfer>& out, std::int64_t now_ns) noexcept {
  for (std::uint32_t i = 0; i < kTransfersMax && to_send_.first != kNone; ++i) {
    const std::uint32_t at = to_send_.first;
    Message& one = messages_[at];
    unlist(at);
    one.state = MessageState::sent;
    if (one.dead_ns == kNever) one.dead_ns = now_ns + config_.timeout_ns.count();
    counters_.retried += one.attempt++ == 0 ? 0U : 1U;
    const MessageRoute hop = route(one.to, {});
    if (hop.via == kNoAgent) {
      back_off(at, now_ns);
      continue;
    }
    MessageTransfer transfer;
    transfer.id = {one.created_ns, one.number};
    transfer.from = one.from;
    transfer.to = one.to;
    transfer.priority = one.priority;
    transfer.kind = one.kind;
    transfer.correlation = one.correlation;
    transfer.place = {one.epoch, one.sequence, pairs_[one.pair].floor};
    transfer.cause = one.cause;
    transfer.route = hop;
    transfer.payload = one.payload;
    transfer.size_bytes = one.size_bytes;
    std::int64_t until_ns = std::min(one.expires_ns, one.dead_ns);
    const std::uint32_t asked = one.kind == MessageKind::request ? request_of(one.number) : kNone;
    if (asked != kNone) until_ns = std::min(until_ns, requests_[asked].deadline_ns);
    transfer.remaining = Nanos{std::max<std::int64_t>(until_ns - now_ns, 1)};
    out.push_back(transfer);
    ++counters_.transferred;
    if (config_.ack == MessageAck::none) {
      finish(at, End::acked, Errc::ok, now_ns);
    } else {
      back_off(at, now_ns);
      one.state = MessageState::sent;  // and waits for its answer as long
    }
  }
}

Errc MessageRouter::check(const MessageTransfer& transfer) const noexcept {
  if (transfer.from >= config_.agents_max || !is_known(transfer.to)) return Errc::no_such_agent;
  const MessagePlace& place = transfer.place;
  const bool is_placed = place.epoch != 0 && place.sequence != 0 && place.sequence < kSequenceMax &&
                         place.floor <= place.sequence;
  const bool is_possible =
      is_placed && transfer.priority < kPriorities &&
      transfer.size_bytes <= config_.body_bytes_max && is_duration(transfer.remaining) &&
      ServiceClock::is_valid(Nanos{transfer.id.created_ns}) &&
      (transfer.cause.sequence == 0 || transfer.cause.from < config_.agents_max);
  if (!is_possible) return Errc::invalid_argument;
  return transfer.route.hops > kHopsMax ? Errc::cycle : Errc::ok;
}

MessageRouter::Reply MessageRouter::relay(const MessageTransfer& transfer) noexcept {
  const MessageRoute hop = route(transfer.to, transfer.route);
  if (hop.via == kNoAgent) return refuse(Errc::not_routable);
  ++counters_.relayed;
  Reply reply;
  reply.transfers.push_back(transfer);
  reply.transfers.back().route = hop;
  return reply;
}

// What the pair's window says, or the sender's epoch.
Errc MessageRouter::judge(std::uint32_t pair, const MessagePlace& place) const noexcept {
  const std::uint64_t epoch = pair == kNone ? 0 : pairs_[pair].in_epoch;
  if (place.epoch < epoch) return Errc::stale_token;
  return place.epoch > epoch ? Errc::ok : pairs_[pair].in.judge(place.sequence, place.floor);
}

MessageRouter::Reply MessageRouter::on(const message::Receive& order,
                                       std::int64_t now_ns) noexcept {
  const MessageTransfer& transfer = order.transfer;
  const Errc bad = check(transfer);
  if (bad != Errc::ok) return refuse(bad);
  if (!agents_[transfer.to].here) return relay(transfer);
  const std::uint32_t known = pair_of(transfer.from, transfer.to, lane_of(transfer.priority));
  const Errc verdict = judge(known, transfer.place);
  if (verdict == Errc::duplicate) return know_again(known, transfer, now_ns);
  counters_.stale += verdict == Errc::stale_token ? 1U : 0U;
  if (verdict != Errc::ok) return refuse(verdict);
  const bool is_taken = host_of(transfer.id.number) == config_.host ||
                        by_number_.find(hash_of_number(transfer.id.number)) != kNone;
  if (is_taken) return refuse(Errc::conflict);
  if (slots_.left() == 0 || (known == kNone && pair_slots_.left() == 0)) {
    return refuse(Errc::capacity);
  }
  Reply reply;
  if (agents_[transfer.to].depth >= config_.queue_max && !make_room(transfer.to, now_ns)) {
    ++counters_.declined;  // it comes again
    reply.refusal = Refusal::rejected_pressure;
    return reply;
  }
  admit(transfer, now_ns);
  reply.count = 1;
  return reply;
}

// It was had: its answer was lost, or the network repeats itself. Its floor is news all the same.
MessageRouter::Reply MessageRouter::know_again(std::uint32_t pair, const MessageTransfer& transfer,
                                               std::int64_t now_ns) noexcept {
  ++counters_.duplicates;
  const std::uint64_t sequence = transfer.place.sequence;
  const bool is_done = by_place_.find(hash_of_place(pair, transfer.place.epoch, sequence)) == kNone;
  if (is_done && config_.ack != MessageAck::none) {
    const bool is_refused = (pairs_[pair].refused[word_of(sequence)] & bit_of(sequence)) != 0;
    answers_.push_back(
        {transfer.id.number, is_refused ? MessageOutcome::refused : MessageOutcome::acked});
  }
  advance(pair, transfer.place, false, now_ns);
  return {};
}

// The sender's router has begun anew: what was held for its earlier messages waits in vain.
void MessageRouter::begin_epoch(std::uint32_t pair, std::uint64_t epoch,
                                std::int64_t now_ns) noexcept {
  found_.clear();
  for (std::uint32_t at = 0; at < config_.messages_max && pairs_[pair].live != 0; ++at) {
    const Message& one = messages_[at];
    const bool is_held = slots_.is_used(at) && one.state == MessageState::held && one.inbound;
    if (is_held && one.pair == pair) found_.push_back(at);
  }
  pairs_[pair].orphan = false;  // it is not freed under our feet
  for (const std::uint32_t at : found_) finish(at, End::dead, Errc::stale_token, now_ns);
  Pair& fresh = pairs_[pair];
  fresh.in_epoch = epoch;
  fresh.in = PairReceiver(pair_order());
  fresh.refused = {};
  fresh.placed = 0;
}

void MessageRouter::admit(const MessageTransfer& transfer, std::int64_t now_ns) noexcept {
  const std::uint32_t pair = need_pair(transfer.from, transfer.to, lane_of(transfer.priority));
  if (transfer.place.epoch != pairs_[pair].in_epoch) {
    begin_epoch(pair, transfer.place.epoch, now_ns);
  }
  const std::uint32_t at = slots_.take();
  Message& one = messages_[at] = {};
  one.order = ++last_order_;
  one.number = transfer.id.number;
  one.created_ns = transfer.id.created_ns;
  one.correlation = transfer.correlation;
  one.epoch = transfer.place.epoch;
  one.sequence = transfer.place.sequence;
  one.payload = transfer.payload;
  one.cause = transfer.cause;
  if (transfer.remaining.count() != 0) one.expires_ns = now_ns + transfer.remaining.count();
  one.from = transfer.from;
  one.to = transfer.to;
  one.size_bytes = transfer.size_bytes;
  one.priority = static_cast<std::uint8_t>(transfer.priority);
  one.kind = transfer.kind;
  one.pair = pair;
  one.state = MessageState::held;
  one.inbound = true;
  ++pairs_[pair].live;
  ++agents_[one.to].depth;
  ++in_;
  ++counters_.received;
  by_number_.set(hash_of_number(one.number), at);
  by_place_.set(hash_of_place(pair, one.epoch, one.sequence), at);
  pairs_[pair].refused[word_of(one.sequence)] &= ~bit_of(one.sequence);
  set_timer(at);
  advance(pair, transfer.place, true, now_ns);
}

// What may be handed over now that one more has come, or that none before the floor will.
void MessageRouter::advance(std::uint32_t pair, const MessagePlace& place, bool is_new,
                            std::int64_t now_ns) noexcept {
  Pair& known = pairs_[pair];
  const std::uint32_t to = known.to;
  found_.clear();
  const auto take = [&](std::uint64_t sequence) {
    const std::uint32_t at = by_place_.find(hash_of_place(pair, place.epoch, sequence));
    const bool waits = at != kNone && messages_[at].state == MessageState::held;
    if (waits && !messages_[at].listed) found_.push_back(at);
  };
  known.in.skip_to(place.floor, take);
  if (is_new) known.in.accept(place.sequence, take);
  for (const std::uint32_t at : found_) come(at, now_ns);
  release_held(to, now_ns);
}

MessageRouter::Reply MessageRouter::on(const message::Hear& order, std::int64_t now_ns) noexcept {
  const std::uint32_t at = by_number_.find(hash_of_number(order.answer.number));
  const bool is_awaited = at != kNone && !messages_[at].inbound &&
                          messages_[at].state != MessageState::letter && messages_[at].attempt != 0;
  if (!is_awaited || is_here(messages_[at].to)) return {};  // it was told before
  const bool is_acked = order.answer.outcome == MessageOutcome::acked;
  finish(at, is_acked ? End::acked : End::dead, is_acked ? Errc::ok : Errc::cancelled, now_ns);
  Reply reply;
  reply.count = 1;
  return reply;
}

}  // namespace mesh::tasks
