#include "engine/tasks/message_router.hpp"

#include <algorithm>

#include "engine/tasks/message_keys.hpp"

namespace mesh::tasks {
namespace {

bool is_kind_of_send(const message::Send& order, std::uint32_t body_bytes_max) noexcept {
  return order.priority < MessageRouter::kPriorities && order.size_bytes <= body_bytes_max &&
         is_duration(order.ttl);
}

}  // namespace

MessageRouter::MessageRouter(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      messages_(config.messages_max),
      slots_(config.messages_max),
      by_number_(config.messages_max),
      by_place_(config.messages_max),
      timers_(config.messages_max),
      sick_(config.sectors_max),
      agents_(config.agents_max),
      pairs_(config.pairs_max),
      pair_slots_(config.pairs_max),
      pair_index_(config.pairs_max),
      leads_(config.clusters_max, kNoAgent),
      coordinators_(config.sectors_max, kNoAgent),
      requests_(config.requests_max),
      request_slots_(config.requests_max),
      request_index_(std::size_t{2} * config.requests_max),
      request_timers_(config.requests_max),
      topics_(config.subscriptions_max),
      rng_(seed) {
  subscriptions_.reserve(config.subscriptions_max);
  found_.reserve(config.messages_max);
  answers_.reserve(256);
  news_.reserve(256);
  losers_.reserve(config.requests_max);
}

// --- agents --------------------------------------------------------------------------------------

MessageRouter::Reply MessageRouter::on(const message::RegisterAgent& order, std::int64_t) noexcept {
  const bool is_possible = order.agent < config_.agents_max &&
                           order.cluster < config_.clusters_max &&
                           order.sector < config_.sectors_max;
  if (!is_possible) return refuse(Errc::invalid_argument);
  Agent& agent = agents_[order.agent];
  if (agent.known && agent.here != order.here && agent.depth != 0) {
    return refuse(Errc::wrong_state);
  }
  agent.known = true;
  agent.here = order.here;
  agent.routable = order.routable;
  agent.station = order.station;
  agent.cluster = order.cluster;
  agent.sector = order.sector;
  view_changed_ = true;
  return {};
}

MessageRouter::Reply MessageRouter::on(const message::RemoveAgent& order,
                                       std::int64_t now_ns) noexcept {
  if (!is_known(order.agent)) return refuse(Errc::no_such_agent);
  found_.clear();
  for (std::uint32_t at = 0; at < config_.messages_max; ++at) {
    const Message& one = messages_[at];
    const bool ends = slots_.is_used(at) && one.state != MessageState::letter;
    if (ends && one.to == order.agent) found_.push_back(at);
  }
  std::sort(found_.begin(), found_.end(), [this](std::uint32_t a, std::uint32_t b) {
    return messages_[a].order < messages_[b].order;
  });
  for (const std::uint32_t at : found_) finish(at, End::dead, Errc::no_such_agent, now_ns);
  for (std::uint32_t at = 0; at < config_.requests_max; ++at) {
    if (!request_slots_.is_used(at) || requests_[at].agent != order.agent) continue;
    abandon_request(at);
  }
  for (std::uint32_t at = 0; at < config_.pairs_max; ++at) {
    const Pair& pair = pairs_[at];
    // What was received of it stays known: copies may yet come.
    const bool is_its = pair.to == order.agent || (pair.from == order.agent && pair.in_epoch == 0);
    if (!is_its || !pair_slots_.is_used(at)) continue;
    pairs_[at].orphan = true;
    if (pairs_[at].live == 0) free_pair(at);
  }
  unsubscribe_all(order.agent);
  agents_[order.agent] = {};
  view_changed_ = true;
  Reply reply;
  reply.count = static_cast<std::uint32_t>(found_.size());
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::SetRoutable& order, std::int64_t) noexcept {
  if (!is_known(order.agent)) return refuse(Errc::no_such_agent);
  agents_[order.agent].routable = order.routable;
  view_changed_ = true;
  return {};
}

MessageRouter::Reply MessageRouter::on(const message::SetRelay& order, std::int64_t) noexcept {
  if (order.agent != kNoAgent && !is_known(order.agent)) return refuse(Errc::no_such_agent);
  std::uint32_t* relay = nullptr;
  if (order.level == RelayLevel::cluster_lead && order.number < config_.clusters_max) {
    relay = &leads_[order.number];
  } else if (order.level == RelayLevel::sector_coordinator && order.number < config_.sectors_max) {
    relay = &coordinators_[order.number];
  } else if (order.level == RelayLevel::bridge && order.number == 0) {
    relay = &bridge_;
  }
  if (relay == nullptr) return refuse(Errc::invalid_argument);
  *relay = order.agent;
  return {};
}

// The receiver itself, or the nearest above those that have passed it on; via kNoAgent: nobody. So
// a message is passed on three times at most, whoever's tables are right.
MessageRoute MessageRouter::route(std::uint32_t to, const MessageRoute& so_far) const noexcept {
  const Agent& target = agents_[to];
  if (target.routable) return {to, so_far.level, so_far.hops + 1};
  const std::array<std::uint32_t, 3> relays{leads_[target.cluster], coordinators_[target.sector],
                                            bridge_};
  for (auto level = static_cast<std::size_t>(so_far.level); level < relays.size(); ++level) {
    const std::uint32_t relay = relays[level];
    if (!is_known(relay) || agents_[relay].here || !agents_[relay].routable) continue;
    return {relay, static_cast<RelayLevel>(level + 1), so_far.hops + 1};
  }
  return {};
}

// --- pairs ---------------------------------------------------------------------------------------

std::uint32_t MessageRouter::pair_of(std::uint32_t from, std::uint32_t to,
                                     std::uint32_t lane) const noexcept {
  return pair_index_.find(hash_of_pair(from, to, lane));
}

// There is room for it.
std::uint32_t MessageRouter::need_pair(std::uint32_t from, std::uint32_t to,
                                       std::uint32_t lane) noexcept {
  const IdHash id = hash_of_pair(from, to, lane);
  const std::uint32_t known = pair_index_.find(id);
  if (known != kNone) return known;
  const std::uint32_t at = pair_slots_.take();
  Pair& fresh = pairs_[at] = Pair{};
  fresh.from = from;
  fresh.to = to;
  fresh.priority = static_cast<std::uint8_t>(lane);
  fresh.epoch = ++last_order_;  // no pair of these two had a later one
  fresh.in = PairReceiver(pair_order());
  pair_index_.set(id, at);
  return at;
}

void MessageRouter::free_pair(std::uint32_t at) noexcept {
  const Pair& gone = pairs_[at];
  pair_index_.erase(hash_of_pair(gone.from, gone.to, gone.priority));
  pair_slots_.free(at);
}

// --- send ----------------------------------------------------------------------------------------

// What a sender may not do, whoever receives it.
Errc MessageRouter::check_sender(const message::Send& order) const noexcept {
  if (!is_here(order.from)) return Errc::no_such_agent;
  const bool is_possible = is_kind_of_send(order, config_.body_bytes_max) &&
                           (order.cause.sequence == 0 || order.cause.from < config_.agents_max);
  return is_possible ? Errc::ok : Errc::invalid_argument;
}
Errc MessageRouter::check(const message::Send& order) const noexcept {
  const Errc bad = check_sender(order);
  if (bad != Errc::ok) return bad;
  if (!is_known(order.to)) return Errc::no_such_agent;
  if (is_shunned(order.to)) return Errc::sector_degraded;
  return has_places(order) ? Errc::ok : Errc::capacity;
}

bool MessageRouter::has_places(const message::Send& order) const noexcept {
  const bool has_slot = slots_.left() != 0 || letters_.count != 0;
  return has_slot && (pair_slots_.left() != 0 ||
                      pair_of(order.from, order.to, lane_of(order.priority)) != kNone);
}

// The receiver could not tell a repetition from a new one.
bool MessageRouter::is_window_full(const message::Send& order) const noexcept {
  const std::uint32_t pair = pair_of(order.from, order.to, lane_of(order.priority));
  return pair != kNone && is_window_full(pair);
}

bool MessageRouter::has_room(const message::Send& order, std::int64_t now_ns) noexcept {
  if (is_window_full(order)) return false;
  return agents_[order.to].depth < config_.queue_max || make_room(order.to, now_ns);
}

// By the oldest of background priority, where they give way.
bool MessageRouter::make_room(std::uint32_t to, std::int64_t now_ns) noexcept {
  if (config_.overflow != MessageOverflow::drop_oldest) return false;
  std::uint32_t at = agents_[to].waiting[0].first;
  while (at != kNone && messages_[at].priority != 0) at = messages_[at].next;
  if (at == kNone) return false;
  ++counters_.dropped;
  finish(at, End::dead, Errc::capacity, now_ns);
  return true;
}

std::uint32_t MessageRouter::create(const message::Send& order, MessageKind kind,
                                    std::int64_t now_ns) noexcept {
  if (slots_.left() == 0) {
    const std::uint32_t oldest = letters_.first;
    letters_.take_out(messages_, oldest);
    forget(oldest);
  }
  const std::uint32_t pair = need_pair(order.from, order.to, lane_of(order.priority));
  const std::uint32_t at = slots_.take();
  Message& one = messages_[at] = {};
  one.order = ++last_order_;
  one.number = std::uint64_t{config_.host} << kCounterBits | one.order;
  one.created_ns = now_ns;
  one.correlation = order.correlation;
  one.payload = order.payload;
  one.cause = order.cause;
  const Nanos ttl = order.ttl.count() == 0 ? config_.ttl_ns : order.ttl;
  if (ttl.count() != 0) one.expires_ns = now_ns + ttl.count();
  one.from = order.from;
  one.to = order.to;
  one.size_bytes = order.size_bytes;
  one.priority = static_cast<std::uint8_t>(order.priority);
  one.kind = kind;
  one.pair = pair;
  one.epoch = pairs_[pair].epoch;
  one.state = MessageState::held;
  ++pairs_[pair].live;
  ++agents_[one.to].depth;
  ++out_;
  by_number_.set(hash_of_number(one.number), at);
  ++counters_.sent;
  say(Event::message_sent, one, now_ns);
  return at;
}

// Among those of its pair.
void MessageRouter::take_place(std::uint32_t at) noexcept {
  messages_[at].sequence = ++pairs_[messages_[at].pair].sent;
}

void MessageRouter::go(std::uint32_t at, std::int64_t now_ns) noexcept {
  take_place(at);
  if (agents_[messages_[at].to].here) {
    messages_[at].state = MessageState::held;
    return come(at, now_ns);
  }
  messages_[at].state = MessageState::queued;
  to_send_.push(messages_, at);
  set_timer(at);
}

// check() was asked.
MessageRouter::Reply MessageRouter::post(const message::Send& order, MessageKind kind,
                                         std::int64_t now_ns) noexcept {
  const bool waits = order.priority < restraint_.priority_min && kind != MessageKind::response;
  if (!has_room(order, now_ns) || (waits && !may_park())) return decline(order, kind, now_ns);
  const std::uint32_t at = create(order, kind, now_ns);
  Reply reply;
  reply.id = {messages_[at].created_ns, messages_[at].number};
  reply.count = 1;
  if (waits) {
    reply.parked = 1;
    park(at);
  } else {
    go(at, now_ns);
  }
  return reply;
}

MessageRouter::Reply MessageRouter::decline(const message::Send& order, MessageKind kind,
                                            std::int64_t now_ns) noexcept {
  ++counters_.declined;
  Reply reply;
  reply.refusal = Refusal::rejected_pressure;
  if (config_.overflow != MessageOverflow::dlq || is_window_full(order)) return reply;
  const std::uint32_t at = create(order, kind, now_ns);
  take_place(at);
  reply.id = {messages_[at].created_ns, messages_[at].number};
  finish(at, End::dead, Errc::capacity, now_ns);
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::Send& order, std::int64_t now_ns) noexcept {
  const Errc bad = check(order);
  if (bad != Errc::ok) return refuse(bad);
  return post(order, MessageKind::message, now_ns);
}

// --- to many -------------------------------------------------------------------------------------

void MessageRouter::post_each(Reply& all, const message::Send& order, MessageKind kind,
                              std::int64_t now_ns) noexcept {
  if (is_shunned(order.to)) {
    ++counters_.shunned;
    ++all.declined;
    return;
  }
  if (!has_places(order)) {
    ++counters_.declined;
    ++all.declined;
    return;
  }
  const Reply one = post(order, kind, now_ns);
  if (one.refusal != Refusal::none) {
    ++all.declined;
    return;
  }
  all.parked += one.parked;
  if (all.count++ == 0) all.id = one.id;
}

MessageRouter::Reply MessageRouter::on(const message::Broadcast& order,
                                       std::int64_t now_ns) noexcept {
  const Errc bad = check_sender(order.send);
  if (bad != Errc::ok) return refuse(bad);
  const auto is_meant = [&](std::uint32_t at) {
    const Agent& agent = agents_[at];
    if (!agent.known || at == order.send.from) return false;
    return order.scope == message::Scope::all ||
           (order.scope == message::Scope::cluster ? agent.cluster : agent.sector) == order.send.to;
  };
  std::uint32_t to = 0;
  while (to < config_.agents_max && !is_meant(to)) ++to;
  if (to == config_.agents_max) return refuse(Errc::no_candidate);
  Reply reply;
  message::Send each = order.send;
  for (; to < config_.agents_max; ++to) {
    each.to = to;
    if (is_meant(to)) post_each(reply, each, MessageKind::broadcast, now_ns);
  }
  if (reply.count == 0) reply.refusal = Refusal::rejected_pressure;
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::Publish& order,
                                       std::int64_t now_ns) noexcept {
  const Errc bad = check_sender(order.send);
  if (bad != Errc::ok) return refuse(bad);
  if (!is_topic(order.topic)) return refuse(Errc::invalid_argument);
  Reply reply;
  message::Send each = order.send;
  for (const std::uint32_t to : topics_.match(order.topic)) {
    each.to = to;
    post_each(reply, each, MessageKind::publication, now_ns);
  }
  if (reply.count == 0 && reply.declined != 0) reply.refusal = Refusal::rejected_pressure;
  return reply;
}

MessageRouter::Reply MessageRouter::on(const message::Subscribe& order, std::int64_t) noexcept {
  if (!is_known(order.agent)) return refuse(Errc::no_such_agent);
  const Status status = topics_.subscribe(order.pattern, order.agent);
  if (!status) return refuse(status.error().code);
  subscriptions_.push_back({order.agent, order.pattern});
  return {};
}

MessageRouter::Reply MessageRouter::on(const message::Unsubscribe& order, std::int64_t) noexcept {
  if (!is_known(order.agent)) return refuse(Errc::no_such_agent);
  const Status status = topics_.unsubscribe(order.pattern, order.agent);
  if (!status) return refuse(status.error().code);
  std::erase_if(subscriptions_, [&](const Subscription& one) {
    return one.agent == order.agent && one.pattern == order.pattern;
  });
  return {};
}

void MessageRouter::unsubscribe_all(std::uint32_t agent) noexcept {
  std::erase_if(subscriptions_, [&](const Subscription& one) {
    return one.agent == agent && topics_.unsubscribe(one.pattern, agent).has_value();
  });
}

MessageRouter::Reply MessageRouter::on(const message::ScatterGather& order,
                                       std::int64_t now_ns) noexcept {
  if (!is_here(order.from)) return refuse(Errc::no_such_agent);
  const bool is_possible = order.targets.size() <= config_.agents_max &&
                           is_positive_duration(order.window) && order.rate_ppm_min <= 1'000'000;
  if (!is_possible) return refuse(Errc::invalid_argument);
  if (order.targets.empty()) return refuse(Errc::no_candidate);
  for (const std::uint32_t target : order.targets) {
    if (!is_known(target)) return refuse(Errc::no_such_agent);
  }
  const std::uint32_t well = count_well(order.targets);
  if (well == 0) return refuse(Errc::sector_degraded);
  counters_.shunned += order.targets.size() - well;
  ++counters_.scatters;
  Reply reply;
  reply.count = well;
  reply.id = {now_ns, std::uint64_t{config_.host} << kCounterBits | ++last_order_};
  reply.scatters.push_back({reply.id.number, order.from, order.targets, order.payload, order.window,
                            order.rate_ppm_min});
  std::erase_if(reply.scatters.back().targets,
                [this](std::uint32_t target) { return is_shunned(target); });
  return reply;
}

// --- entry ---------------------------------------------------------------------------------------

MessageRouter::Reply MessageRouter::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  catch_up(now_ns);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  drop_losers(now_ns);
  if (!answers_.empty()) {
    reply.answers.assign(answers_.begin(), answers_.end());
    answers_.clear();
  }
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void MessageRouter::tick(Nanos now, Actions& out) noexcept {
  out.transfers.clear();
  if (ServiceClock::is_valid(now)) {
    catch_up(clock_.at(now));
    drop_losers(clock_.last_ns());
    transmit(out.transfers, clock_.last_ns());
  }
  out.answers.assign(answers_.begin(), answers_.end());
  answers_.clear();
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  out.next_tick = Nanos{std::min(timers_.next_ns(), request_timers_.next_ns())};
  if (to_send_.count != 0 || has_released_) out.next_tick = Nanos{clock_.last_ns()};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::tasks
