// Delivery, Answer, Reply, SendOptions: what a handler is given, and what it gives back.
//
// Callers     Delivery, Answer: the station's pump. Reply: any thread, one at a time; it may
//             outlive the station, and then goes nowhere.
// Progress    Reply: a push to queues/local and at most one eventfd signal. Where more answers wait
//             than the queue holds it yields until the pump has taken some.
// Units       HostTime; processing is counted from `received` to the answer.
// If the      handler throws, or drops its Reply: the message is answered TRANSIT (a refusal), and
// other side  counted. It never answers: the message stays unanswered, which is its right.
// dies        Station gone: dropped; the engine keeps the message for the agents' return.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "sched/records.hpp"
#include "shm/base/ids.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine {

// A message as its agent sees it. Header and body are private copies; the body's bytes stand until
// the handler returns.
struct Delivery {
  sched::MessageId id{};         // of a bare message the low half alone
  sched::MessageId causation{};  // of a reply: what it answers; bare: the low half alone
  sched::MessageId correlation{};
  AgentId target{};
  AgentId source{};
  OperationId operation{};  // 0: none
  std::uint32_t agent = 0;  // the target's place in the order of enrolment
  sched::RecordKind kind = sched::RecordKind::message;
  sched::Verb verb = sched::Verb::act;
  sched::Strategy strategy = sched::Strategy::direct;
  sched::Priority priority = sched::Priority::normal;
  sched::Expectation expectation = sched::Expectation::none;
  float weight = 0;
  HostTime sent{};
  HostTime received{};
  HostTime arrive{};  // T; zero: now
  Nanos lead{};       // before T that it was sent
  Nanos expected{};   // processing, as the engine predicts it
  double confidence = 0;
  bool bare = false;
  bool redelivered = false;
  std::uint64_t hash = 0;     // XXH3-64 of the body, as its sender gave it; 0: none
  sched::MessageWord word{};  // names it in the answer
  std::span<const std::byte> body;

  // Replies, results and reports say something and ask nothing.
  [[nodiscard]] bool wants_answer() const noexcept { return kind == sched::RecordKind::message; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(body.data()), body.size()};
  }
};

// READY, or CONFLICT with both values, or declined. The body is copied when it is answered.
struct Answer {
  sched::TrinaryState state = sched::TrinaryState::ready;
  sched::ConflictType conflict = sched::ConflictType::none;
  std::uint64_t expected = 0;  // of a conflict: what the agent knew, and what the message said
  std::uint64_t received = 0;
  std::span<const std::byte> body;

  static constexpr Answer ready(std::span<const std::byte> body = {}) noexcept {
    return {sched::TrinaryState::ready, sched::ConflictType::none, 0, 0, body};
  }
  struct Values {
    std::uint64_t expected = 0;
    std::uint64_t received = 0;
  };
  static constexpr Answer in_conflict(sched::ConflictType type, Values values,
                                      std::span<const std::byte> body = {}) noexcept {
    return {sched::TrinaryState::conflict, type, values.expected, values.received, body};
  }
  // Will never be answered.
  static constexpr Answer declined() noexcept {
    return {sched::TrinaryState::transit, sched::ConflictType::none, 0, 0, {}};
  }
};

// A conflict's body begins with its two values; what the handler added follows.
struct ConflictValues {
  std::uint64_t expected;
  std::uint64_t received;
};
static_assert(sizeof(ConflictValues) == 16);

// What is needed to answer a delivery once its record is gone.
struct AnswerTicket {
  sched::MessageWord word{};
  AgentId agent{};
  OperationId operation{};
  std::int64_t sent_ns = 0;
  std::int64_t received_ns = 0;
  std::uint32_t place = 0;  // the agent's, in the order of enrolment
};

// An answer on its way from another thread to the pump.
struct LateAnswer {
  AnswerTicket ticket;
  Answer answer;  // `body` is empty: the bytes are below
  std::vector<std::byte> body;
};

class AnswerOutlet;  // engine/station/answer_outlet.hpp

// The right to answer one delivery, once.
class Reply {
 public:
  Reply() = default;
  Reply(std::shared_ptr<AnswerOutlet> outlet, const AnswerTicket& ticket) noexcept;
  Reply(Reply&& other) noexcept = default;
  Reply& operator=(Reply&& other) noexcept;
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply();

  // Answers, and is empty afterwards. Answering with an empty Reply does nothing. The pump itself
  // answers with Station::answer(), which costs it no queue and no signal.
  void answer(const Answer& answer);
  // For a station that passes messages on, or acts a slow way there: when the agent itself had the
  // message. Never before it was polled.
  void received_at(HostTime when) noexcept {
    if (to_ns(when) > ticket_.received_ns) ticket_.received_ns = to_ns(when);
  }
  [[nodiscard]] explicit operator bool() const noexcept { return outlet_ != nullptr; }

 private:
  friend class StationCore;  // answers without the outlet

  std::shared_ptr<AnswerOutlet> outlet_;
  AnswerTicket ticket_;
};

enum class SendStatus : std::uint8_t {
  sent,           // staged: visible to the engine with the next flush()
  full,           // the outbox or its bodies: flush, poll, try again
  target_full,    // the table says so; what only the engine knows comes back as a report
  open,           // a breaker between here and the target
  no_such_agent,  // the handle names nobody now
  too_long,       // no outbox of this size holds such a body
  lost,           // no engine reads this outbox any more: Station::lost_reason()
};
[[nodiscard]] std::string_view name_of(SendStatus status) noexcept;

// A bit for each capability that a target must have; bits by Station::capability().
using RequiredCapabilities = std::array<std::uint64_t, kCapabilities / 64>;

struct SendOptions {
  AgentId source{};
  AgentId target{};
  sched::Selector many{};  // instead of `target`, for strategies other than direct
  OperationId operation{};
  sched::RecordKind kind = sched::RecordKind::send;
  sched::Verb verb = sched::Verb::act;
  sched::Strategy strategy = sched::Strategy::direct;
  sched::Priority priority = sched::Priority::normal;
  sched::Expectation expectation = sched::Expectation::none;
  float weight = 1;
  HostTime arrive{};  // T; zero: now
  std::uint32_t ttl_ms = 0;
  sched::MessageId correlation{};
  sched::MessageId causation{};
  RequiredCapabilities capabilities{};  // not of a bare message
  bool bare =
      false;  // no header, and so no verb for the target: at most 16 bytes, to one agent, now
  bool confidential = false;
};

}  // namespace mesh::engine
