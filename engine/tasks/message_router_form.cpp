// What a message router looks like from outside: its presets, its views, its bytes, what must hold.
#include <algorithm>

#include "engine/coordination/blocks/names.hpp"
#include "engine/tasks/message_keys.hpp"
#include "engine/tasks/message_router.hpp"

namespace mesh::tasks {
namespace {

constexpr std::array<std::string_view, 4> kRouterPresets{"standard", "mesh", "at-most-once",
                                                         "pi4b"};
constexpr std::array<std::string_view, 3> kOrders{"per_pair_fifo", "none", "causal"};
constexpr std::array<std::string_view, 3> kAcks{"none", "received", "processed"};
constexpr std::array<std::string_view, 3> kOverflows{"backpressure", "drop_oldest", "dlq"};
constexpr std::array<std::string_view, 9> kStates{
    "unknown", "queued", "sent", "held", "waiting", "in_hand", "retrying", "letter", "parked"};

void words_of_agent(auto& agent, auto&& visit) {
  visit(agent.here);
  visit(agent.routable);
  visit(agent.station);
  visit(agent.cluster);
  visit(agent.sector);
}
void words_of_pair(auto& pair, auto&& visit) {
  visit(pair.from);
  visit(pair.to);
  visit(pair.priority);
  visit(pair.orphan);
  visit(pair.epoch);
  visit(pair.sent);
  visit(pair.floor);
  visit(pair.done);
  visit(pair.in_epoch);
  visit(pair.placed);
  visit(pair.refused);
}
void words_of_message(auto& one, auto&& visit) {
  visit(one.number);
  visit(one.order);
  visit(one.created_ns);
  visit(one.correlation);
  visit(one.epoch);
  visit(one.sequence);
  visit(one.payload);
  visit(one.cause);
  visit(one.expires_ns);
  visit(one.dead_ns);
  visit(one.retry_ns);
  visit(one.from);
  visit(one.to);
  visit(one.size_bytes);
  visit(one.pair);
  visit(one.attempt);
  visit(one.state);
  visit(one.kind);
  visit(one.priority);
  visit(one.inbound);
}
void save_list(StateWriter& writer, const auto& messages, const RowList& list) {
  writer.put(list.count);
  for (std::uint32_t at = list.first; at != RowList::kNone; at = messages[at].next) {
    writer.put(at);
  }
}

}  // namespace

std::string_view to_string(MessageOrder order) noexcept { return name_in(kOrders, order); }
std::string_view to_string(MessageAck ack) noexcept { return name_in(kAcks, ack); }
std::string_view to_string(MessageOverflow overflow) noexcept {
  return name_in(kOverflows, overflow);
}
std::string_view to_string(MessageState state) noexcept { return name_in(kStates, state); }

std::span<const std::string_view> MessageRouterConfig::names() noexcept { return kRouterPresets; }

Result<MessageRouterConfig> MessageRouterConfig::preset(std::string_view name) {
  MessageRouterConfig config;
  if (name == "standard") return config;
  if (name == "mesh") {
    config.agents_max = 32'768;
    config.clusters_max = 4'096;
    config.sectors_max = 512;
    config.messages_max = 262'144;
    config.pairs_max = 131'072;
    return config;
  }
  if (name == "at-most-once") {
    config.order = MessageOrder::none;
    config.ack = MessageAck::none;
    return config;
  }
  if (name == "pi4b") {
    config.messages_max = 16'384;
    config.pairs_max = 2'048;
    config.requests_max = 1'024;
    config.events_max = 256;
    return config;
  }
  return unknown_preset("message router", name, kRouterPresets);
}

Status MessageRouter::validate(const Config& config) {
  const auto is_in = [](std::uint32_t value, std::uint32_t most) {
    return value >= 1 && value <= most;
  };
  const std::array<Check, 17> checks{{
      {is_in(config.agents_max, 1U << 20), "agents_max is outside 1..1048576"},
      {is_in(config.clusters_max, 1U << 20), "clusters_max is outside 1..1048576"},
      {is_in(config.sectors_max, 1U << 20), "sectors_max is outside 1..1048576"},
      {is_in(config.messages_max, SlotSet::kSlotsMax), "messages_max is outside 1..262144"},
      {is_in(config.pairs_max, SlotSet::kSlotsMax), "pairs_max is outside 1..262144"},
      {is_in(config.requests_max, SlotSet::kSlotsMax), "requests_max is outside 1..262144"},
      {is_in(config.subscriptions_max, 1U << 20), "subscriptions_max is outside 1..1048576"},
      {is_in(config.queue_max, 65'536), "queue_max is outside 1..65536"},
      {is_in(config.letters_max, config.messages_max), "letters_max is outside 1..messages_max"},
      {is_in(config.body_bytes_max, 1U << 30), "body_bytes_max is outside 1..1073741824"},
      {config.host <= 0xFFFF && config.retries_max <= 100,
       "host is outside 0..65535, or retries_max 0..100"},
      {is_positive_duration(config.retry_ns) && is_positive_duration(config.timeout_ns),
       "retry_ns or timeout_ns is outside 1 ns..36 years"},
      {is_duration(config.ttl_ns), "ttl_ns is outside 0..36 years"},
      {config.hedge_ppm_max <= 1'000'000 && config.hedge_burst <= 65'536,
       "hedge_ppm_max is outside 0..1000000, or hedge_burst 0..65536"},
      {config.order <= last_of(MessageOrder{}) && config.ack <= last_of(MessageAck{}) &&
           config.overflow <= last_of(MessageOverflow{}),
       "order, ack or overflow is none of theirs"},
      {is_in(config.parked_max, SlotSet::kSlotsMax), "parked_max is outside 1..262144"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views ---------------------------------------------------------------------------------------

MailboxView MessageRouter::mailbox(std::uint32_t at) const noexcept {
  MailboxView view;
  if (!is_known(at)) return view;
  const Agent& agent = agents_[at];
  view.known = true;
  view.here = agent.here;
  view.routable = agent.routable;
  for (const RowList& list : agent.waiting) view.waiting += list.count;
  view.in_hand = agent.in_hand;
  view.depth = agent.depth;
  view.sector = agent.sector;
  return view;
}

MessageView MessageRouter::view(std::uint64_t number) const noexcept {
  const std::uint32_t at = by_number_.find(hash_of_number(number));
  if (at == kNone) return {};
  const Message& one = messages_[at];
  return {one.state, one.from, one.to, one.attempt, one.sequence};
}

std::vector<MessageDelivery> MessageRouter::peek(std::uint32_t at, std::uint32_t count,
                                                 Nanos now) const {
  std::vector<MessageDelivery> seen;
  if (!is_here(at)) return seen;
  const auto& waiting = agents_[at].waiting;
  for (std::size_t priority = waiting.size(); priority-- != 0;) {
    for (std::uint32_t one = waiting[priority].first; one != kNone && seen.size() < count;
         one = messages_[one].next)
      seen.push_back(delivery_of(messages_[one], now.count()));
  }
  return seen;
}

// --- bytes ---------------------------------------------------------------------------------------

void MessageRouter::save_state(StateWriter& writer) const {
  const auto put = [&](const auto& word) { fields::put(writer, word); };
  writer.put(last_order_);
  rng_.save(writer);
  std::uint32_t known = 0;
  for (const Agent& agent : agents_) known += agent.known ? 1U : 0U;
  writer.put(known);
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    if (!agents_[at].known) continue;
    writer.put(at);
    words_of_agent(agents_[at], put);
  }
  fields::put(writer, leads_);
  fields::put(writer, coordinators_);
  writer.put(bridge_);
  fields::put(writer, restraint_);
  fields::put(writer, sick_);
  writer.put(static_cast<std::uint32_t>(subscriptions_.size()));
  for (const Subscription& one : subscriptions_) {
    writer.put(one.agent);
    writer.put(one.pattern);
  }
  save_pairs(writer);
  save_messages(writer);
  writer.put(request_slots_.used());
  for (std::uint32_t at = 0; at < config_.requests_max; ++at) {
    if (!request_slots_.is_used(at)) continue;
    writer.put(at);
    fields::put(writer, requests_[at]);
  }
}

void MessageRouter::save_pairs(StateWriter& writer) const {
  writer.put(pair_slots_.used());
  for (std::uint32_t at = 0; at < config_.pairs_max; ++at) {
    if (!pair_slots_.is_used(at)) continue;
    writer.put(at);
    words_of_pair(pairs_[at], [&](const auto& word) { fields::put(writer, word); });
    pairs_[at].in.save(writer);
  }
}

void MessageRouter::save_messages(StateWriter& writer) const {
  writer.put(slots_.used());
  for (std::uint32_t at = 0; at < config_.messages_max; ++at) {
    if (!slots_.is_used(at)) continue;
    writer.put(at);
    words_of_message(messages_[at], [&](const auto& word) { fields::put(writer, word); });
  }
  save_list(writer, messages_, to_send_);
  save_list(writer, messages_, letters_);
  save_list(writer, messages_, parked_);
  for (const Agent& agent : agents_) {
    if (!agent.known) continue;
    for (const RowList& list : agent.waiting) save_list(writer, messages_, list);
    save_list(writer, messages_, agent.held);
  }
}

void MessageRouter::load_state(StateReader& reader) {
  reader.get(last_order_);
  rng_.load(reader);
  load_agents(reader);
  load_subscriptions(reader);
  if (!reader.failed()) load_pairs(reader);
  if (!reader.failed()) load_messages(reader);
  if (!reader.failed()) load_requests(reader);
}

void MessageRouter::load_agents(StateReader& reader) {
  const std::size_t count = reader.get_count(18);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (at >= config_.agents_max || agents_[at].known) return reader.fail();
    Agent& agent = agents_[at];
    words_of_agent(agent, [&](auto& word) { fields::get(reader, word); });
    agent.known = true;
    if (agent.cluster >= config_.clusters_max || agent.sector >= config_.sectors_max) {
      return reader.fail();
    }
  }
  fields::get(reader, leads_);
  fields::get(reader, coordinators_);
  reader.get(bridge_);
  fields::get(reader, restraint_);
  fields::get(reader, sick_);
  const bool is_possible =
      leads_.size() == config_.clusters_max && coordinators_.size() == config_.sectors_max &&
      sick_.size() == config_.sectors_max && restraint_.priority_min <= kPriorities;
  if (!is_possible) reader.fail();
}

void MessageRouter::load_subscriptions(StateReader& reader) {
  const std::size_t count = reader.get_count(8);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    Subscription one;
    reader.get(one.agent);
    reader.get(one.pattern);
    if (!is_known(one.agent) || !topics_.subscribe(one.pattern, one.agent)) return reader.fail();
    subscriptions_.push_back(std::move(one));
  }
}

void MessageRouter::load_pairs(StateReader& reader) {
  const std::size_t count = reader.get_count(100);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (!pair_slots_.use(at)) return reader.fail();
    Pair& pair = pairs_[at];
    words_of_pair(pair, [&](auto& word) { fields::get(reader, word); });
    pair.in.load(reader);
    const bool is_possible = pair.from < config_.agents_max && pair.to < config_.agents_max &&
                             pair.priority < kPriorities && pair.epoch <= last_order_ &&
                             pair.floor >= 1 && pair.floor <= pair.sent + 1 &&
                             pair_of(pair.from, pair.to, pair.priority) == kNone;
    if (!is_possible) return reader.fail();
    pair_index_.set(hash_of_pair(pair.from, pair.to, pair.priority), at);
  }
}

// False: it cannot be.
bool MessageRouter::load_message(StateReader& reader) {
  const auto at = reader.get<std::uint32_t>();
  if (!slots_.use(at)) return false;
  Message& one = messages_[at];
  words_of_message(one, [&](auto& word) { fields::get(reader, word); });
  const bool is_letter = one.state == MessageState::letter;
  const bool is_possible =
      !reader.failed() && one.state != MessageState::unknown && one.order <= last_order_ &&
      one.from < config_.agents_max && one.to < config_.agents_max && one.priority < kPriorities &&
      one.sequence < kSequenceMax && by_number_.find(hash_of_number(one.number)) == kNone &&
      !(is_letter && one.inbound);
  if (!is_possible) return false;
  by_number_.set(hash_of_number(one.number), at);
  if (is_letter) return one.pair == kNone;
  if (!pair_slots_.is_used(one.pair) || !is_known(one.to)) return false;
  if (one.inbound) by_place_.set(hash_of_place(one.pair, one.epoch, one.sequence), at);
  ++pairs_[one.pair].live;
  ++agents_[one.to].depth;
  agents_[one.to].in_hand += one.state == MessageState::in_hand ? 1U : 0U;
  ++(one.inbound ? in_ : out_);
  return true;
}

// found_ says which have been in a list already.
void MessageRouter::load_list(StateReader& reader, RowList& list, MessageState state) {
  const std::size_t count = reader.get_count(4);
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = reader.get<std::uint32_t>();
    const bool is_possible =
        slots_.is_used(at) && messages_[at].state == state && std::exchange(found_[at], 1U) == 0;
    if (!is_possible) return reader.fail();
    list.push(messages_, at);
  }
}

void MessageRouter::load_messages(StateReader& reader) {
  const std::size_t count = reader.get_count(100);
  for (std::size_t i = 0; i < count; ++i) {
    if (!load_message(reader)) return reader.fail();
  }
  found_.assign(config_.messages_max, 0);
  load_list(reader, to_send_, MessageState::queued);
  load_list(reader, letters_, MessageState::letter);
  load_list(reader, parked_, MessageState::parked);
  for (std::uint32_t at = parked_.first; at != kNone; at = messages_[at].next) {
    has_released_ = has_released_ || messages_[at].priority >= restraint_.priority_min;
  }
  for (Agent& agent : agents_) {
    if (!agent.known || reader.failed()) continue;
    for (RowList& list : agent.waiting) load_list(reader, list, MessageState::waiting);
    load_list(reader, agent.held, MessageState::held);
    for (std::uint32_t at = agent.held.first; at != kNone; at = messages_[at].next) {
      if (messages_[at].pair == kNone) return reader.fail();
      messages_[at].listed = true;
      ++pairs_[messages_[at].pair].held;
    }
  }
  found_.clear();
  for (std::uint32_t at = 0; at < config_.messages_max && !reader.failed(); ++at) {
    const bool is_live = slots_.is_used(at) && messages_[at].state != MessageState::letter;
    if (is_live) set_timer(at);
  }
}

void MessageRouter::load_requests(StateReader& reader) {
  const std::size_t count = reader.get_count(60);
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto at = reader.get<std::uint32_t>();
    if (!request_slots_.use(at)) return reader.fail();
    Waiting& one = requests_[at];
    fields::get(reader, one);
    const bool hedges = one.hedge_ns != kNever || one.hedge_number != 0;
    const bool is_possible = one.agent < config_.agents_max && request_of(one.number) == kNone &&
                             (!hedges || one.hedge_to < config_.agents_max) &&
                             one.hedge_number != one.number &&
                             request_of(one.hedge_number) == kNone;
    if (!is_possible) return reader.fail();
    request_index_.set(hash_of_number(one.number), at);
    if (one.hedge_number != 0) request_index_.set(hash_of_number(one.hedge_number), at);
    arm_request(at);
  }
}

// --- what must hold ------------------------------------------------------------------------------

// Where one message stands is what its state says.
bool MessageRouter::is_sound(std::uint32_t at) const noexcept {
  const Message& one = messages_[at];
  if (by_number_.find(hash_of_number(one.number)) != at) return false;
  if (one.state == MessageState::letter) return !timers_.has(at) && one.pair == kNone;
  const bool is_elsewhere = !agents_[one.to].here;
  const bool is_sent = one.state == MessageState::queued || one.state == MessageState::sent;
  const bool is_placed = pair_slots_.is_used(one.pair) && pairs_[one.pair].from == one.from &&
                         pairs_[one.pair].to == one.to;
  if (one.state == MessageState::parked) return is_placed && !one.inbound && one.sequence == 0;
  const bool is_its_turn = one.inbound || (one.sequence >= pairs_[one.pair].floor &&
                                           one.sequence <= pairs_[one.pair].sent);
  const bool is_known_again =
      !one.inbound || by_place_.find(hash_of_place(one.pair, one.epoch, one.sequence)) == at;
  const bool is_where_it_can_be =
      is_elsewhere ? !one.inbound && (is_sent || one.state == MessageState::retrying) : !is_sent;
  return is_placed && is_its_turn && is_known_again && is_where_it_can_be;
}

bool MessageRouter::lists_are_sound() const {
  std::array<std::uint64_t, 9> states{};
  std::uint64_t out = 0;
  std::uint64_t held = 0;
  std::vector<std::uint32_t> depth(config_.agents_max);
  for (std::uint32_t at = 0; at < config_.messages_max; ++at) {
    if (!slots_.is_used(at)) continue;
    const Message& one = messages_[at];
    ++states[static_cast<std::size_t>(one.state)];
    if (one.state == MessageState::letter) continue;
    ++depth[one.to];
    out += one.inbound ? 0U : 1U;
    held += one.listed ? 1U : 0U;
  }
  std::uint64_t waiting = 0;
  std::uint64_t in_hand = 0;
  std::uint64_t listed = 0;
  bool counted = true;
  for (std::uint32_t at = 0; at < config_.agents_max; ++at) {
    counted = counted && depth[at] == agents_[at].depth;
    for (const RowList& list : agents_[at].waiting) waiting += list.count;
    in_hand += agents_[at].in_hand;
    listed += agents_[at].held.count;
  }
  const auto of = [&](MessageState state) { return states[static_cast<std::size_t>(state)]; };
  return counted && out == out_ && listed == held && waiting == of(MessageState::waiting) &&
         in_hand == of(MessageState::in_hand) && to_send_.count == of(MessageState::queued) &&
         letters_.count == of(MessageState::letter) && parked_.count == of(MessageState::parked) &&
         slots_.used() == std::uint64_t{out_} + in_ + letters_.count;
}

bool MessageRouter::pairs_are_sound() const {
  std::vector<std::uint32_t> live(config_.pairs_max);
  for (std::uint32_t at = 0; at < config_.messages_max; ++at) {
    const bool is_live = slots_.is_used(at) && messages_[at].state != MessageState::letter;
    if (is_live) ++live[messages_[at].pair];
  }
  bool sound = pair_index_.count() == pair_slots_.used();
  for (std::uint32_t at = 0; at < config_.pairs_max; ++at) {
    const Pair& pair = pairs_[at];
    if (!pair_slots_.is_used(at)) continue;
    sound = sound && pair.live == live[at] && !(pair.orphan && pair.live == 0) &&
            pair.floor <= pair.sent + 1 && pair.sent + 1 - pair.floor <= SequenceWindow::kWidth &&
            (pair.done[word_of(pair.floor)] & bit_of(pair.floor)) == 0;
  }
  return sound;
}

Status MessageRouter::verify() const {
  bool sound = by_number_.count() == slots_.used();
  for (std::uint32_t at = 0; at < config_.messages_max && sound; ++at) {
    sound = !slots_.is_used(at) || is_sound(at);
  }
  std::size_t copies = request_slots_.used();
  for (std::uint32_t at = 0; at < config_.requests_max; ++at) {
    copies += request_slots_.is_used(at) && requests_[at].hedge_number != 0 ? 1U : 0U;
  }
  const std::array<Check, 7> checks{{
      {sound, "a message is not where its state says"},
      {lists_are_sound(), "a list has other messages than those of its state"},
      {sound && pairs_are_sound(), "a pair has other messages than its own"},
      {counters_.sent == counters_.acked + counters_.dead + counters_.expired + out_,
       "sent is not acked + dead + expired + in flight"},
      {counters_.received == counters_.processed + counters_.given_up + in_,
       "received is not processed + given up + here"},
      {counters_.requests ==
           counters_.answered + counters_.timed_out + counters_.abandoned + request_slots_.used(),
       "requests is not answered + timed out + abandoned + open"},
      {topics_.count() == subscriptions_.size() && request_index_.count() == copies &&
           request_timers_.count() == request_slots_.used(),
       "a subscription or a request is there twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

}  // namespace mesh::tasks

namespace mesh::coordination {
template class ServiceForm<tasks::MessageRouter, tasks::MessageRouterConfig, tasks::MessageCommand,
                           tasks::MessageReply, tasks::MessageRouterCounters,
                           tasks::MessageRouterActions>;
}  // namespace mesh::coordination
