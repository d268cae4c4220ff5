// StationCore: the rings of one station, without any socket: what poll, answer and send do.
//
// Callers     the pump: one thread. Other threads answer through a Reply.
// Progress    poll, answer, send, flush: wait-free, apart from the handlers.
// Ordering    answers and sends reach the engine in the order in which they were staged, all at
//             once with flush(). What a handler is given stands in private memory.
// Cost        poll: a copy of each body once a burst, however many of our agents it is for. send,
//             answer: one line, and the body. No system call, no lock, no allocation once warm; a
//             body larger than any before makes the private memory grow.
// Units       bursts of at most `burst` deliveries; times by the clock that is passed in.
// If the      engine dies: nothing new comes; what is staged and flushed stands for its successor.
// other side  It stalls: send -> full, and poll takes nothing while answers wait for room.
// dies,       It lies: a record that cannot be is counted and dropped, a body that is not there is
// stalls,     counted and declined, a cursor that cannot be ends all sending: is_broken().
// or lies
// Errors      create -> invalid_argument, and as StationSide's. send -> SendStatus.
// Invariant   taken == handled + duplicates + expired + not_ours + bodies_lost + corrupt +
//             lost_on_purpose.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/station/agent_samples.hpp"
#include "engine/station/answer_outlet.hpp"
#include "engine/station/dedup_window.hpp"
#include "engine/station/delivery.hpp"
#include "engine/station/fault_gate.hpp"
#include "engine/station/station_memory.hpp"
#include "shm/base/point.hpp"
#include "shm/base/result.hpp"
#include "shm/base/word.hpp"
#include "shm/row_seqlock.hpp"

namespace mesh::engine {

struct CoreOptions {
  std::uint32_t agents = 0;       // declared at attach
  std::uint64_t mesh_agents = 0;  // rows of the table
  StationSide side;
  TableView table;
  PayloadView payload;
  std::int64_t mesh_start_ns = 0;  // heartbeats count from it
  std::int64_t (*read_clock)(void* context) noexcept = nullptr;
  void* clock_context = nullptr;
  std::shared_ptr<const shm::EventFd> wake{};  // signalled when another thread answers; or none
  std::uint32_t burst = 256;
};

struct StationCounters {
  std::uint64_t taken = 0;            // deliveries out of the inbox
  std::uint64_t handled = 0;          // given to a handler
  std::uint64_t duplicates = 0;       // delivered again, and known
  std::uint64_t expired = 0;          // past their time to live when polled
  std::uint64_t not_ours = 0;         // for an agent that is not of this station
  std::uint64_t bodies_lost = 0;      // the body was not where the record said
  std::uint64_t corrupt = 0;          // records that cannot be
  std::uint64_t lost_on_purpose = 0;  // by a fault (fault_gate.hpp)
  std::uint64_t answers = 0;          // staged
  std::uint64_t declined = 0;         // of these: TRANSIT
  std::uint64_t threw = 0;            // of these: the handler threw
  std::uint64_t body_dropped = 0;     // answers whose body no outbox of this size holds
  std::uint64_t sent = 0;             // staged
  std::uint64_t send_refused = 0;
};

inline constexpr Nanos kUpkeepEvery{500 * kNsPerMs};
inline constexpr Nanos kUpkeepGrace{200 * kNsPerMs};

class StationCore {
 public:
  static Result<std::unique_ptr<StationCore>> create(const CoreOptions& options);
  ~StationCore();
  StationCore(const StationCore&) = delete;
  StationCore& operator=(const StationCore&) = delete;

  // Agents that the engine has enrolled for us, and where it looks for what each of them measures:
  // one that is enrolled again keeps its place, one that was elsewhere meanwhile has another.
  // Without places: behind those that there are. capacity: more than were declared; corrupt: such a
  // place.
  Status add_agents(std::span<const AgentId> agents, std::span<const std::uint32_t> places = {});

  // Whether the engine may have enrolled agents for us of which we do not know yet: as long as it
  // may, a delivery for one that is not ours stays in the inbox, and those behind it, instead of
  // being declined.
  void expect_agents(bool expects) noexcept { expects_agents_ = expects; }
  [[nodiscard]] bool expects_agents() const noexcept { return expects_agents_; }

  // Takes up to `limit` deliveries and gives each to `handler`, which is
  //     Answer handler(const Delivery&)            the answer is staged at once
  //     void   handler(const Delivery&, Reply)     answered by whoever holds the Reply
  // Of deliveries that want no answer the Answer is not looked at, and the Reply is empty. Stages
  // what was answered meanwhile. Not from inside a handler. Returns how many were taken.
  template <class Handler>
  std::size_t poll(std::size_t limit, Handler&& handler);

  // Answers from the pump: staged at once, in order with what is sent. Also from inside a handler.
  // A Reply of another station goes the way it always goes.
  void answer(Reply reply, const Answer& answer);

  // What one of our agents is doing from now on, for who asks (mesh who); an empty task: nothing
  // any more. Also from inside a handler. no_such_agent: it is none of ours; invalid_argument.
  Status report(AgentId agent, const Activity& activity);

  // What one of our agents' context is, by its hash, for the engine to compare; 0: it does not say.
  // Also from inside a handler. no_such_agent.
  Status say_context(AgentId agent, std::uint64_t hash);
  [[nodiscard]] bool is_ours(AgentId agent) const noexcept { return place_of(agent) != kNoPlace; }

  // Checks what the table shows, and stages. The body is copied.
  SendStatus send(const SendOptions& options, std::span<const std::byte> body);

  // Makes all that is staged visible at once. True: the engine sleeps; signal its eventfd.
  [[nodiscard]] bool flush();

  // For queues/wait_strategy.hpp.
  [[nodiscard]] bool ready() const noexcept;
  [[nodiscard]] bool prepare_to_park() noexcept;
  void unpark() noexcept { reader_.unpark(); }

  // Stores medians and heartbeats of up to `limit` agents that worked since the last time. poll()
  // does so kUpkeepEvery after the first of them answered, a few rows at once: medians cost
  // microseconds, and the engine looks once a second. A poll that has had deliveries or answers
  // leaves it to one that has none, for at most kUpkeepGrace: agents that were to be READY together
  // answer together, and nobody's answer shall wait for arithmetic. Who sleeps instead of polling
  // wakes at upkeep_due().
  void upkeep(std::size_t limit);
  [[nodiscard]] HostTime upkeep_due() const noexcept {
    return worked_.empty() && measured_.empty() ? HostTime::max() : from_ns(upkeep_due_ns_);
  }
  // The same, or, if that is sooner, when a fault hands over what it has delayed.
  [[nodiscard]] HostTime due() const noexcept {
    return gate_.is_empty() ? upkeep_due() : std::min(upkeep_due(), from_ns(gate_.due_ns()));
  }

  [[nodiscard]] std::span<const AgentId> agents() const noexcept { return agents_; }
  [[nodiscard]] const StationCounters& counters() const noexcept { return counters_; }
  // Replies that were dropped unanswered.
  [[nodiscard]] std::uint64_t replies_dropped() const noexcept { return outlet_->dropped(); }
  [[nodiscard]] bool is_broken() const noexcept { return broken_; }
  [[nodiscard]] Bell& bell() noexcept { return outlet_->bell(); }
  [[nodiscard]] std::int64_t now_ns() const noexcept {
    return options_.read_clock(options_.clock_context);
  }

 private:
  static constexpr std::uint32_t kNoPlace = ~std::uint32_t{0};
  struct BodyEnd {
    std::uint64_t record = 0;  // position in the outbox of the record that names the body
    std::uint64_t end = 0;     // of the body in the log
  };
  struct Staged {
    sched::AnswerRecord record;
    std::uint64_t body_end = 0;
    bool has_body = false;
  };
  struct Loaded {  // the body of the delivery before, which the next one often shares
    sched::MessageWord word{};
    std::size_t offset = 0;
    std::uint32_t bytes = 0;  // 0: none
  };
  // An agent's samples are lines that nobody looked at since its last answer: what was measured
  // waits in order of answering, and is added to them in upkeep.
  struct Measured {
    std::uint32_t place = 0;
    float latency_ms = 0;
    float processing_ms = 0;
  };
  enum class Accepted : std::uint8_t { kWhole, kKnown, kDeclined, kNoRoom };
  enum class BodyFound : std::uint8_t { kFound, kNoRoom, kLost };

  explicit StationCore(const CoreOptions& options);
  Status bind();

  // Into burst_ and arena_, up to `limit`.
  void take(std::size_t limit);
  bool accept(const sched::DeliveryRecord& record, std::int64_t now_ns);
  Accepted load(const sched::DeliveryRecord& record, Delivery& delivery);
  BodyFound load_body(const sched::DeliveryRecord& record, std::size_t& offset);
  static void describe(const sched::DeliveryRecord& record, const sched::MessageHeader& header,
                       Delivery& delivery) noexcept;
  static sched::MessageHeader header_of(const SendOptions& options, const sched::SendRecord& record,
                                        std::span<const std::byte> body) noexcept;
  static void name_question(Delivery& delivery) noexcept;
  [[nodiscard]] std::uint32_t place_of(AgentId agent) const noexcept;
  [[nodiscard]] AnswerTicket ticket_of(const Delivery& delivery) const noexcept;

  // station_faults.cpp
  void take_under_faults(std::size_t limit);
  bool accept_under_faults(const sched::DeliveryRecord& record, std::int64_t now_ns);
  [[nodiscard]] bool is_swallowed(AgentId source) const noexcept;

  void answer(const AnswerTicket& ticket, const Answer& answer);
  void answer_freely(const AnswerTicket& ticket, const Answer& answer);
  void answer_known(const AnswerTicket& ticket);
  [[nodiscard]] bool try_answer(const AnswerTicket& ticket, const Answer& answer);
  bool stage_answers();
  bool stage_late_answers();
  void upkeep_if_due(bool is_idle);
  void remember_sample(const AnswerTicket& ticket, std::int64_t finished_ns);
  void count_measured();

  [[nodiscard]] SendStatus shown_of(AgentId target, sched::Priority priority) const noexcept;
  [[nodiscard]] bool is_open(AgentId target) const noexcept;
  [[nodiscard]] bool is_full(AgentId target) const noexcept;
  [[nodiscard]] bool has_slot();
  SendStatus stage_send(const sched::SendRecord& record, bool has_body);
  SendStatus refuse(SendStatus why) noexcept {
    ++counters_.send_refused;
    return why;
  }
  // The low half of the body's position.
  using Parts = std::span<const std::span<const std::byte>>;
  queues::AppendStatus append(Parts parts, std::uint32_t& offset);
  void free_bodies();
  void note_body(std::uint64_t record, std::uint64_t end);

  CoreOptions options_;
  Ring::Reader reader_;
  Ring::Writer writer_;
  BodyLog::Reader inbox_bodies_;
  BodyLog::Reader payload_;
  BodyLog::Writer outbound_;
  bool broken_ = false;
  bool expects_agents_ = false;
  bool polling_ = false;
  bool ends_with_flush_ = false;  // by a fault: this process, once its answers can be seen

  std::vector<AgentId> agents_;
  std::vector<std::uint32_t> place_of_row_;  // by the row of an AgentId
  std::vector<Measured> measured_;           // reserved: never grows
  std::vector<AgentSamples> samples_;
  std::vector<std::uint32_t> worked_;  // places whose columns are behind
  std::vector<bool> has_worked_;

  std::int64_t upkeep_due_ns_ = 0;
  std::uint64_t answered_before_ = 0;  // counters_.answers at the end of the last poll

  std::vector<Delivery> burst_;
  std::vector<std::byte> arena_;
  std::size_t arena_used_ = 0;
  Loaded loaded_;

  std::vector<Staged> answers_;        // wait for slots of the outbox
  std::vector<LateAnswer> unwritten_;  // wait for room in the log
  std::vector<LateAnswer> late_;       // taken from the outlet
  std::vector<BodyEnd> body_ends_;     // a circle: one for each record that names a body
  std::uint64_t body_first_ = 0, body_next_ = 0;
  std::shared_ptr<AnswerOutlet> outlet_;
  DedupWindow window_;
  FaultGate gate_;
  StationCounters counters_;
};

template <class Handler>
std::size_t StationCore::poll(std::size_t limit, Handler&& handler) {
  constexpr bool kAnswers = std::is_invocable_r_v<Answer, Handler&, const Delivery&>;
  static_assert(kAnswers || std::is_invocable_v<Handler&, const Delivery&, Reply>,
                "a handler returns an Answer or takes a Reply");
  MESH_ASSERT(!polling_);
  const std::uint64_t taken = counters_.taken;
  const std::uint64_t answered = answered_before_;
  take(limit);
  MESH_POINT("station.poll:before_handlers");
  polling_ = true;
  for (const Delivery& delivery : burst_) {
    ++counters_.handled;
    const AnswerTicket ticket = ticket_of(delivery);
    try {
      if constexpr (kAnswers) {
        const Answer given = handler(delivery);
        MESH_POINT("station.poll:before_answer");
        if (delivery.wants_answer()) answer(ticket, given);
      } else {
        handler(delivery, delivery.wants_answer() ? Reply(outlet_, ticket) : Reply());
      }
    } catch (...) {  // what went wrong is the handler's to say; a Reply has answered by going
      ++counters_.threw;
      if (kAnswers && delivery.wants_answer()) answer(ticket, Answer::declined());
    }
  }
  polling_ = false;
  MESH_POINT("station.poll:after_handlers");
  stage_late_answers();
  stage_answers();
  answered_before_ = counters_.answers;
  const auto got = static_cast<std::size_t>(counters_.taken - taken);
  if (upkeep_due() != HostTime::max()) upkeep_if_due(got == 0 && answered_before_ == answered);
  return got;
}

}  // namespace mesh::engine
