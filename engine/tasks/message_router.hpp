// MessageRouter: mailboxes of agents, and messages to agents of other hosts, each handed over once.
//
//   send --receiver here--> waiting --poll--> in_hand --ack--> done
//                              ^---back-off, retrying <--nack--|--nack too often, time-out--> dead
//   send --elsewhere--> queued --tick--> sent --answer--> done, or dead
//                         ^-----back-off-----|--no answer: retries or time-out--> dead
//   receive --out of order--> held --what comes before--> waiting, as above; the end is answered
//   any that is not in a hand --ttl--> expired
//
// Callers     one thread, which owns it; hosted by JournaledService it is durable. The host carries
//             transfers and answers to other hosts, and what comes from there to receive and hear.
// Progress    wait-free. What is due at `now` happens before the command.
// Cost        send, poll and ack of a message here: under 500 ns together. No allocation after
//             construction but a reply's lists, and topics.
// Units       agents are numbers below agents_max; a body is where it lies, and its size. A larger
//             priority is more urgent, and is handed over first.
// Ordering    per_pair_fifo: of each (sender, receiver, priority) in the order of sending; what a
//             receiver has refused, or its station lost, comes again later. causal: each receiver's
//             in the order in which they came to its router, priorities or not, and none before the
//             one that it names: among the agents of one host this is causal order, between hosts
//             it is as far as causes are named.
// Guarantees  with `processed` a message that is acknowledged was handed over, and once, unless its
//             receiver refused it or lost its station meanwhile; sent == acked + dead + expired +
//             in flight. Duplicates are known by the last 1,024 numbers of their pair. Each that is
//             dead or expired is told to its sender. What came before its receiver polls waits for
//             it until its ttl.
// If the      receiver stalls: its time-out ends the message. Its station dies: what it had in hand
// other side  comes again. The network loses, repeats or turns round: retries with full jitter, and
// dies        the window. The owner dies: snapshot and journal; an answer that was lost is given
//             again to what comes again.
// Errors      no_such_agent, not_found, not_owner, wrong_state, capacity, invalid_argument,
//             already_exists, expired (a request that nobody waits for any more), stale_token,
//             conflict (a number that is another message's), cycle (passed on more than 8 times),
//             not_routable, no_candidate (a broadcast to nobody). Refusal: rejected_pressure (the
//             receiver has as many as it may).
// Source      at-least-once and the anti-replay window of IPsec (RFC 4303); full jitter (AWS 2015);
//             dead letters (Hohpe & Woolf 2003); hedged requests (Dean & Barroso 2013).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/service.hpp"
#include "engine/tasks/event_names.hpp"
#include "engine/tasks/message_terms.hpp"
#include "engine/tasks/pair_receiver.hpp"
#include "engine/tasks/row_list.hpp"
#include "engine/tasks/topic_trie.hpp"

namespace mesh::tasks {

class MessageRouter final
    : public ServiceForm<MessageRouter, MessageRouterConfig, MessageCommand, MessageReply,
                         MessageRouterCounters, MessageRouterActions> {
 public:
  static constexpr std::uint32_t kHopsMax = 8;
  static constexpr std::uint32_t kPriorities = 4;
  static constexpr std::uint32_t kHandsMax = 1'024;      // of one poll
  static constexpr std::uint32_t kTransfersMax = 1'024;  // of one tick
  // Events have the names of the bus. source and a: sender; b: receiver; c: number of the message.
  using Event = EventName;

  static Status validate(const Config& config);
  explicit MessageRouter(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] MailboxView mailbox(std::uint32_t agent) const noexcept;
  [[nodiscard]] MessageView view(std::uint64_t number) const noexcept;
  // What a Poll of so many would hand over, in its order. It stays where it is.
  [[nodiscard]] std::vector<MessageDelivery> peek(std::uint32_t agent, std::uint32_t count,
                                                  Nanos now) const;
  [[nodiscard]] std::uint32_t in_flight() const noexcept { return out_; }  // sent here, not done
  [[nodiscard]] std::uint32_t letters() const noexcept { return letters_.count; }
  [[nodiscard]] std::uint32_t parked() const noexcept { return parked_.count; }
  // Restrain says healthy_only, and its sector is not.
  [[nodiscard]] bool is_shunned(std::uint32_t agent) const noexcept {
    return restraint_.healthy_only && is_known(agent) && sick_[agents_[agent].sector] != 0;
  }
  [[nodiscard]] std::uint32_t open_requests() const noexcept { return request_slots_.used(); }
  // The bound of the k-th retry's delay, from 0.
  [[nodiscard]] static Nanos retry_bound(const Config& config, std::uint32_t retry) noexcept;
  [[nodiscard]] static std::uint32_t host_of(std::uint64_t number) noexcept {
    return static_cast<std::uint32_t>(number >> kCounterBits);
  }

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"message_router", 2};
  static constexpr std::string_view kWho = "message router";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;
  static constexpr unsigned kCounterBits = 48;
  static constexpr std::uint64_t kSequenceMax = std::uint64_t{1} << 40;
  static constexpr std::size_t kWindowWords = SequenceWindow::kWidth / 64;
  using Window = std::array<std::uint64_t, kWindowWords>;  // a bit a sequence, by its remainder

  struct Message {
    std::uint64_t number = 0;
    std::uint64_t order = 0;  // of its coming here
    std::int64_t created_ns = 0;
    std::uint64_t correlation = 0;
    std::uint64_t epoch = 0;
    std::uint64_t sequence = 0;
    std::uint64_t payload = 0;
    MessageCause cause;
    std::int64_t expires_ns = kNever;
    std::int64_t dead_ns = kNever;   // from the first attempt on
    std::int64_t retry_ns = kNever;  // of what is sent or retrying
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::uint32_t size_bytes = 0;
    std::uint32_t pair = kNone;
    std::uint32_t attempt = 0;   // transfers, or hand-overs
    std::uint32_t next = kNone;  // of its list
    std::uint32_t last = kNone;
    MessageState state = MessageState::unknown;
    MessageKind kind = MessageKind::message;
    std::uint8_t priority = 0;
    bool inbound = false;  // from another host
    bool listed = false;   // held for its cause alone
  };
  struct Pair {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::uint32_t live = 0;  // messages here
    std::uint8_t priority = 0;
    bool orphan = false;  // an end of it has left: to be freed
    std::uint64_t epoch = 0;
    std::uint64_t sent = 0;   // the last sequence
    std::uint64_t floor = 1;  // all before it are done
    Window done{};            // of what is sent
    std::uint64_t in_epoch = 0;
    std::uint64_t placed = 0;  // the last that came into the mailbox
    std::uint64_t mark = 0;    // of which look at what is held
    std::uint32_t held = 0;    // for their causes
    PairReceiver in{};
    Window refused{};  // of what was received, and is done
  };
  struct Agent {
    bool known = false;
    bool here = false;
    bool routable = false;
    std::uint32_t station = 0;
    std::uint32_t cluster = 0;
    std::uint32_t sector = 0;
    std::uint32_t depth = 0;
    std::uint32_t in_hand = 0;
    std::array<RowList, kPriorities> waiting;
    RowList held;  // for their causes
  };
  struct Waiting {  // who asked, and has no answer
    std::uint64_t number = 0;
    std::uint32_t agent = 0;
    std::uint32_t to = 0;
    std::int64_t deadline_ns = 0;
    std::int64_t hedge_ns = kNever;  // when the second copy is due
    std::uint64_t hedge_number = 0;  // of the second copy; 0: there is none
    std::uint64_t payload = 0;
    std::uint32_t size_bytes = 0;
    std::uint32_t priority = 0;
    std::uint32_t hedge_to = kNoAgent;
    bool is_first_gone = false;  // dead or expired, not acknowledged
    bool is_second_gone = false;
  };
  struct Subscription {
    std::uint32_t agent = 0;
    std::string pattern;
  };
  enum class End : std::uint8_t { acked, dead, expired };

  // message_router.cpp: who is where, and what is sent.
  Reply on(const message::RegisterAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const message::RemoveAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const message::SetRoutable& order, std::int64_t now_ns) noexcept;
  Reply on(const message::SetRelay& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Send& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Broadcast& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Publish& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Subscribe& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Unsubscribe& order, std::int64_t now_ns) noexcept;
  Reply on(const message::ScatterGather& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool is_known(std::uint32_t agent) const noexcept {
    return agent < config_.agents_max && agents_[agent].known;
  }
  [[nodiscard]] bool is_here(std::uint32_t agent) const noexcept {
    return is_known(agent) && agents_[agent].here;
  }
  [[nodiscard]] Errc check(const message::Send& order) const noexcept;
  [[nodiscard]] Errc check_sender(const message::Send& order) const noexcept;
  Reply post(const message::Send& order, MessageKind kind, std::int64_t now_ns) noexcept;
  Reply decline(const message::Send& order, MessageKind kind, std::int64_t now_ns) noexcept;
  void post_each(Reply& all, const message::Send& order, MessageKind kind,
                 std::int64_t now_ns) noexcept;
  [[nodiscard]] bool has_places(const message::Send& order) const noexcept;
  [[nodiscard]] bool is_window_full(const message::Send& order) const noexcept;
  [[nodiscard]] bool is_window_full(std::uint32_t pair) const noexcept {
    return pairs_[pair].sent + 1 - pairs_[pair].floor >= SequenceWindow::kWidth;
  }
  [[nodiscard]] bool has_room(const message::Send& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool make_room(std::uint32_t to, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t lane_of(std::uint32_t priority) const noexcept {
    return config_.order == MessageOrder::causal ? 0 : priority;  // the order is one of all
  }
  [[nodiscard]] std::uint32_t create(const message::Send& order, MessageKind kind,
                                     std::int64_t now_ns) noexcept;
  void take_place(std::uint32_t at) noexcept;
  void go(std::uint32_t at, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t pair_of(std::uint32_t from, std::uint32_t to,
                                      std::uint32_t lane) const noexcept;
  [[nodiscard]] std::uint32_t need_pair(std::uint32_t from, std::uint32_t to,
                                        std::uint32_t lane) noexcept;
  void free_pair(std::uint32_t at) noexcept;
  [[nodiscard]] MessageRoute route(std::uint32_t to, const MessageRoute& so_far) const noexcept;
  void unsubscribe_all(std::uint32_t agent) noexcept;

  // message_restraint.cpp: what is kept while the mesh lacks agents.
  Reply on(const message::Restrain& order, std::int64_t now_ns) noexcept;
  Reply on(const message::SetSector& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool may_park() const noexcept;
  void park(std::uint32_t at) noexcept;
  void release_parked(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t count_well(const std::vector<std::uint32_t>& targets) const noexcept;

  // message_requests.cpp: who waits for an answer.
  Reply on(const message::Request& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Respond& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t request_of(std::uint64_t number) const noexcept;
  [[nodiscard]] Errc check_hedge(const message::Request& order) const noexcept;
  void arm_request(std::uint32_t slot) noexcept;
  void close_request(std::uint32_t slot) noexcept;
  void abandon_request(std::uint32_t slot) noexcept;
  void answer_request(std::uint32_t slot, std::uint64_t number) noexcept;
  [[nodiscard]] bool keeps_waiting(std::uint32_t slot, std::uint64_t number,
                                   std::int64_t now_ns) noexcept;
  void hedge(std::uint32_t slot, std::int64_t now_ns) noexcept;
  void requests_due(std::int64_t now_ns) noexcept;
  void drop_losers(std::int64_t now_ns) noexcept;

  // message_delivery.cpp: what is handed over, how it ends, what is due.
  Reply on(const message::Poll& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Ack& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Nack& order, std::int64_t now_ns) noexcept;
  Reply on(const message::TakeLetters& order, std::int64_t now_ns) noexcept;
  Reply on(const message::StationClosed& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc find_in_hand(std::uint32_t agent, std::uint64_t number,
                                  std::uint32_t& at) const noexcept;
  void come(std::uint32_t at, std::int64_t now_ns) noexcept;
  void place(std::uint32_t at, std::int64_t now_ns) noexcept;
  void release_held(std::uint32_t agent, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool has_its_cause(const Message& one) const noexcept;
  void hand_over(std::uint32_t at, Reply& reply, std::int64_t now_ns) noexcept;
  [[nodiscard]] MessageDelivery delivery_of(const Message& one, std::int64_t now_ns) const noexcept;
  void finish(std::uint32_t at, End end, Errc why, std::int64_t now_ns) noexcept;
  void finish_outbound(std::uint32_t at, End end, Errc why, std::int64_t now_ns) noexcept;
  void finish_inbound(std::uint32_t at, End end) noexcept;
  void unlist(std::uint32_t at) noexcept;
  void keep_letter(std::uint32_t at) noexcept;
  void forget(std::uint32_t at) noexcept;
  void back_off(std::uint32_t at, std::int64_t now_ns) noexcept;
  void set_timer(std::uint32_t at) noexcept;
  void come_due(std::uint32_t at, std::int64_t now_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void say(Event name, const Message& one, std::int64_t now_ns) noexcept;
  [[nodiscard]] RowList& mailbox_of(const Message& one) noexcept {
    return agents_[one.to].waiting[lane_of(one.priority)];
  }

  // message_relay.cpp: between hosts.
  Reply on(const message::Receive& order, std::int64_t now_ns) noexcept;
  Reply on(const message::Hear& order, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const MessageTransfer& transfer) const noexcept;
  Reply relay(const MessageTransfer& transfer) noexcept;
  Reply know_again(std::uint32_t pair, const MessageTransfer& transfer,
                   std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc judge(std::uint32_t pair, const MessagePlace& place) const noexcept;
  void admit(const MessageTransfer& transfer, std::int64_t now_ns) noexcept;
  void begin_epoch(std::uint32_t pair, std::uint64_t epoch, std::int64_t now_ns) noexcept;
  void advance(std::uint32_t pair, const MessagePlace& place, bool is_new,
               std::int64_t now_ns) noexcept;
  void transmit(std::vector<MessageTransfer>& out, std::int64_t now_ns) noexcept;

  // message_router_form.cpp
  void save_state(StateWriter& writer) const;
  void save_pairs(StateWriter& writer) const;
  void save_messages(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_agents(StateReader& reader);
  void load_subscriptions(StateReader& reader);
  void load_pairs(StateReader& reader);
  void load_messages(StateReader& reader);
  [[nodiscard]] bool load_message(StateReader& reader);
  void load_requests(StateReader& reader);
  void load_list(StateReader& reader, RowList& list, MessageState state);
  [[nodiscard]] PairOrder pair_order() const noexcept {
    return config_.order == MessageOrder::none ? PairOrder::none : PairOrder::per_pair_fifo;
  }
  [[nodiscard]] bool is_sound(std::uint32_t at) const noexcept;
  [[nodiscard]] bool lists_are_sound() const;
  [[nodiscard]] bool pairs_are_sound() const;

  std::vector<Message> messages_;
  SlotSet slots_;
  IdTable by_number_;
  IdTable by_place_;  // of those from other hosts: pair, epoch, sequence
  DeadlineHeap timers_;
  RowList to_send_;
  RowList letters_;
  RowList parked_;
  bool has_released_ = false;  // of those some may go as soon as their pair has places
  message::Restrain restraint_;
  std::vector<std::uint8_t> sick_;  // by sector
  std::vector<Agent> agents_;
  std::vector<Pair> pairs_;
  SlotSet pair_slots_;
  IdTable pair_index_;
  std::vector<std::uint32_t> leads_;         // by cluster
  std::vector<std::uint32_t> coordinators_;  // by sector
  std::uint32_t bridge_ = kNoAgent;
  std::vector<Waiting> requests_;
  SlotSet request_slots_;
  IdTable request_index_;
  DeadlineHeap request_timers_;
  TopicTrie topics_;
  std::vector<Subscription> subscriptions_;  // in the order in which they came
  std::uint64_t last_order_ = 0;
  std::uint32_t out_ = 0;  // not done, of those sent here
  std::uint32_t in_ = 0;   // of those from other hosts
  Rng rng_;
  // Of one command or tick.
  std::vector<std::uint32_t> found_;
  std::uint64_t look_ = 0;
  std::vector<std::uint64_t> losers_;  // copies of requests that are answered
  std::vector<MessageAnswer> answers_;
  std::vector<MessageNews> news_;
  bool view_changed_ = true;
};

static_assert(DurableService<MessageRouter>);

}  // namespace mesh::tasks

namespace mesh::coordination {
extern template class ServiceForm<tasks::MessageRouter, tasks::MessageRouterConfig,
                                  tasks::MessageCommand, tasks::MessageReply,
                                  tasks::MessageRouterCounters, tasks::MessageRouterActions>;
}  // namespace mesh::coordination
