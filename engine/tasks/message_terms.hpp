// What MessageRouter is told, and what it answers: config, commands, replies, news, views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "engine/tasks/task_terms.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::tasks {

enum class MessageOrder : std::uint8_t {
  per_pair_fifo,  // of each sender, receiver and priority
  none,           // as they come
  causal,         // of each receiver as they came to its router, none before what it names
};
constexpr MessageOrder last_of(MessageOrder) noexcept { return MessageOrder::causal; }
[[nodiscard]] std::string_view to_string(MessageOrder order) noexcept;

// When a message is done.
enum class MessageAck : std::uint8_t {
  none,       // once it is handed over or sent: at most once
  received,   // once it is handed over
  processed,  // once the receiver says so
};
constexpr MessageAck last_of(MessageAck) noexcept { return MessageAck::processed; }
[[nodiscard]] std::string_view to_string(MessageAck ack) noexcept;

// What gives way where a receiver has as many as it may have.
enum class MessageOverflow : std::uint8_t {
  backpressure,  // the new one is refused
  drop_oldest,   // the oldest of background priority, where there is one
  dlq,           // the new one is kept among the dead letters
};
constexpr MessageOverflow last_of(MessageOverflow) noexcept { return MessageOverflow::dlq; }
[[nodiscard]] std::string_view to_string(MessageOverflow overflow) noexcept;

enum class MessageState : std::uint8_t {
  unknown,
  queued,    // to be sent
  sent,      // to another host, and not answered
  held,      // came before one that comes first
  waiting,   // in the mailbox
  in_hand,   // handed over, and not acknowledged
  retrying,  // refused or unanswered: after its back-off
  letter,    // dead, and kept
  parked,    // taken, and kept until the mesh has more agents
};
constexpr MessageState last_of(MessageState) noexcept { return MessageState::parked; }
[[nodiscard]] std::string_view to_string(MessageState state) noexcept;

enum class MessageKind : std::uint8_t { message, request, response, broadcast, publication };
constexpr MessageKind last_of(MessageKind) noexcept { return MessageKind::publication; }

// How far a message has been passed on: a relay passes it upwards only, or to the receiver itself.
enum class RelayLevel : std::uint8_t { direct, cluster_lead, sector_coordinator, bridge };
constexpr RelayLevel last_of(RelayLevel) noexcept { return RelayLevel::bridge; }

struct MessageRouterConfig {
  std::uint32_t agents_max = 1'024;
  std::uint32_t clusters_max = 1'024;
  std::uint32_t sectors_max = 128;
  std::uint32_t messages_max = 65'536;  // not done
  std::uint32_t pairs_max = 8'192;      // of sender, receiver and priority
  std::uint32_t requests_max = 8'192;   // not answered
  std::uint32_t subscriptions_max = 4'096;
  std::uint32_t queue_max = 1'024;  // of one receiver
  std::uint32_t letters_max = 256;
  std::uint32_t body_bytes_max = 1U << 20;
  std::uint32_t host = 0;  // the upper bits of its messages' numbers
  std::uint32_t retries_max = 3;
  Nanos retry_ns{1'000'000'000};
  Nanos timeout_ns{10'000'000'000};
  Nanos ttl_ns{30'000'000'000};          // of a message that names none; 0: none
  std::uint32_t hedge_ppm_max = 50'000;  // of its requests, beside the first hedge_burst
  std::uint32_t hedge_burst = 10;
  MessageOrder order = MessageOrder::per_pair_fifo;
  MessageAck ack = MessageAck::processed;
  MessageOverflow overflow = MessageOverflow::backpressure;
  std::uint32_t parked_max = 4'096;  // kept until the mesh has more agents
  std::uint32_t events_max = 1'024;

  static Result<MessageRouterConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

// In order of time, and unique: the upper 16 bits of the number are the host.
struct MessageId {
  std::int64_t created_ns = 0;
  std::uint64_t number = 0;
  friend bool operator==(const MessageId&, const MessageId&) = default;
};
// A place in the order of a pair.
struct MessagePlace {
  std::uint64_t epoch = 0;     // of the sender's pair: a later one begins anew
  std::uint64_t sequence = 0;  // from 1
  std::uint64_t floor = 0;     // none before this one comes any more
};
// Of another sender to the same receiver, which comes first. sequence 0: none.
struct MessageCause {
  std::uint32_t from = kNoAgent;
  std::uint64_t sequence = 0;
};
struct MessageRoute {
  std::uint32_t via = kNoAgent;
  RelayLevel level = RelayLevel::direct;
  std::uint32_t hops = 0;
};
// A message on its way between hosts.
struct MessageTransfer {
  MessageId id;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t priority = 0;
  MessageKind kind = MessageKind::message;
  std::uint64_t correlation = 0;
  MessagePlace place;
  MessageCause cause;
  MessageRoute route;
  std::uint64_t payload = 0;
  std::uint32_t size_bytes = 0;
  Nanos remaining{0};  // so long somebody waits for it; 0: for ever
};
enum class MessageOutcome : std::uint8_t { acked, refused };
constexpr MessageOutcome last_of(MessageOutcome) noexcept { return MessageOutcome::refused; }
// To the host in the upper bits of `number`.
struct MessageAnswer {
  std::uint64_t number = 0;
  MessageOutcome outcome = MessageOutcome::acked;
};

namespace message {
struct RegisterAgent {  // again: its place changes; `here` only while nothing is on its way to it
  std::uint32_t agent = 0;
  bool here = true;  // its mailbox is in this router
  std::uint32_t station = 0;
  std::uint32_t cluster = 0;
  std::uint32_t sector = 0;
  bool routable = true;
};
// What is on its way to it is dead.
struct RemoveAgent {
  std::uint32_t agent = 0;
};
struct SetRoutable {  // what breakers say of the direct way to an agent elsewhere
  std::uint32_t agent = 0;
  bool routable = true;
};
// Who passes on what cannot go directly. kNoAgent: nobody.
struct SetRelay {
  RelayLevel level = RelayLevel::cluster_lead;
  std::uint32_t number = 0;  // of the cluster or sector; 0 for the bridge
  std::uint32_t agent = kNoAgent;
};
struct Send {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint64_t payload = 0;  // where its body lies
  std::uint32_t size_bytes = 0;
  std::uint32_t priority = 1;  // 0..3, 3 is critical
  Nanos ttl{0};                // 0: as configured
  std::uint64_t correlation = 0;
  MessageCause cause;  // in causal order
};
// A Send that waits for a Respond.
struct Request {
  Send send;
  Nanos timeout{0};  // 0: as configured
  // Without an answer after so long, or with a first copy that is dead, the same to this agent,
  // once: the first answer counts.
  std::uint32_t hedge_to = kNoAgent;
  Nanos hedge_after{0};
};
struct Respond {  // to whom it asked; send.correlation is the number of the request
  Send send;
};
enum class Scope : std::uint8_t { all, cluster, sector };
constexpr Scope last_of(Scope) noexcept { return Scope::sector; }
struct Broadcast {  // to all others; send.to is the cluster or sector
  Send send;
  Scope scope = Scope::all;
};
struct Publish {  // to the subscribers; send.to says nothing
  Send send;
  std::string topic;
};
struct Subscribe {
  std::uint32_t agent = 0;
  std::string pattern;
};
struct Unsubscribe {
  std::uint32_t agent = 0;
  std::string pattern;
};
struct ScatterGather {
  std::uint32_t from = 0;
  std::vector<std::uint32_t> targets;
  std::uint64_t payload = 0;
  Nanos window{500'000'000};
  std::uint32_t rate_ppm_min = 950'000;
};
struct Poll {  // the most urgent first
  std::uint32_t agent = 0;
  std::uint32_t count = 1;
};
struct Ack {
  std::uint32_t agent = 0;
  std::uint64_t number = 0;
};
struct Nack {  // it comes again after its back-off, or is dead
  std::uint32_t agent = 0;
  std::uint64_t number = 0;
  bool for_good = false;
};
struct Receive {  // from another host
  MessageTransfer transfer;
};
struct Hear {  // from another host
  MessageAnswer answer;
};
struct TakeLetters {
  std::uint32_t count = 1;
};
// What its agents had in hand comes again.
struct StationClosed {
  std::uint32_t station = 0;
};
// What a mesh asks that lacks agents. Below priority_min what is sent is kept until that is lowered
// again, but for what answers a request.
struct Restrain {
  std::uint32_t priority_min = 0;  // 0..4
  bool retries_doubled = false;
  bool healthy_only = false;  // nothing is sent into sectors that are not
};
struct SetSector {
  std::uint32_t sector = 0;
  bool healthy = true;
};
}  // namespace message

using MessageCommand =
    std::variant<message::RegisterAgent, message::RemoveAgent, message::SetRoutable,
                 message::SetRelay, message::Send, message::Request, message::Respond,
                 message::Broadcast, message::Publish, message::Subscribe, message::Unsubscribe,
                 message::ScatterGather, message::Poll, message::Ack, message::Nack,
                 message::Receive, message::Hear, message::TakeLetters, message::StationClosed,
                 message::Restrain, message::SetSector>;

struct MessageDelivery {
  MessageId id;
  std::uint32_t from = kNoAgent;
  std::uint32_t to = kNoAgent;
  std::uint32_t priority = 0;
  MessageKind kind = MessageKind::message;
  std::uint64_t correlation = 0;
  std::uint64_t sequence = 0;
  std::uint64_t payload = 0;
  std::uint32_t size_bytes = 0;
  std::uint32_t attempt = 0;  // how often it was handed over before
  Nanos remaining{0};         // so long somebody waits for it; 0: for ever. For what it leads to
};
enum class MessageNotice : std::uint8_t { dead, expired, timed_out };
constexpr MessageNotice last_of(MessageNotice) noexcept { return MessageNotice::timed_out; }
// To `agent`, of its own message or request.
struct MessageNews {
  MessageNotice kind = MessageNotice::dead;
  std::uint32_t agent = kNoAgent;
  std::uint32_t to = kNoAgent;
  std::uint64_t number = 0;
  Errc why = Errc::ok;
};
// The mesh carries it out: of the targets at least the rate, within the window.
struct MessageScatter {
  std::uint64_t number = 0;
  std::uint32_t from = kNoAgent;
  std::vector<std::uint32_t> targets;
  std::uint64_t payload = 0;
  Nanos window{0};
  std::uint32_t rate_ppm_min = 0;
};

struct MessageReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  MessageId id;
  std::uint32_t count = 0;     // of receivers, of what was handed over or given up
  std::uint32_t declined = 0;  // of a broadcast or publication: receivers without room
  std::uint32_t parked = 0;    // of count: they are kept until the mesh has more agents
  Nanos retry_after{0};        // of what was refused by its receiver
  std::vector<MessageDelivery> deliveries;
  std::vector<MessageTransfer> transfers;  // passed on
  std::vector<MessageAnswer> answers;
  std::vector<MessageNews> news;
  std::vector<MessageScatter> scatters;
};
struct MessageRouterCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t sent = 0;
  std::uint64_t acked = 0;
  std::uint64_t dead = 0;
  std::uint64_t expired = 0;
  std::uint64_t received = 0;   // of other hosts, and new
  std::uint64_t processed = 0;  // of those
  std::uint64_t given_up = 0;   // of those: refused, expired
  std::uint64_t delivered = 0;  // hand-overs
  std::uint64_t retried = 0;
  std::uint64_t transferred = 0;
  std::uint64_t relayed = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t stale = 0;     // too old to know, among refused
  std::uint64_t declined = 0;  // rejected_pressure
  std::uint64_t dropped = 0;   // for a newer one, among dead
  std::uint64_t letters = 0;   // kept
  std::uint64_t requests = 0;
  std::uint64_t answered = 0;   // of those
  std::uint64_t timed_out = 0;  // of those
  std::uint64_t abandoned = 0;  // of those: their message is dead or expired, who asked is gone
  std::uint64_t scatters = 0;
  std::uint64_t hedged = 0;          // second copies of requests
  std::uint64_t hedge_won = 0;       // of those: it was answered first
  std::uint64_t hedge_withheld = 0;  // over the share, or without room
  std::uint64_t parked = 0;          // kept until the mesh has more agents
  std::uint64_t shunned = 0;         // receivers in sectors that are not healthy
};
struct MessageRouterActions {
  std::vector<MessageTransfer> transfers;
  std::vector<MessageAnswer> answers;
  std::vector<MessageNews> news;
  Nanos next_tick{0};
  bool view_changed = false;
};
struct MailboxView {
  bool known = false;
  bool here = false;
  bool routable = false;
  std::uint32_t waiting = 0;
  std::uint32_t in_hand = 0;
  std::uint32_t depth = 0;  // all that is not done
  std::uint32_t sector = 0;
};
struct MessageView {
  MessageState state = MessageState::unknown;
  std::uint32_t from = kNoAgent;
  std::uint32_t to = kNoAgent;
  std::uint32_t attempt = 0;
  std::uint64_t sequence = 0;
};

}  // namespace mesh::tasks
