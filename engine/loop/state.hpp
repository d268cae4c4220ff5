// EngineLoop::State: everything that the six phases work on. One file a phase; set-up, direct
// messages, cascades, pipelines, a successor (adopt.cpp) have theirs.
//
// What must outlive the engine stands in `engine` memory: the registry's columns, operations
// (operation.hpp), unanswered messages (unanswered.hpp), parked bodies (parked_store.hpp). All else
// here is made anew from it by adopt().
//
// A tick's effects in the order that makes a death harmless: (1) what is taken from outboxes is
// applied: entries, operations, records staged in inboxes; (2) inboxes are revealed; (3) entries
// that were answered are freed; (4) the taken slots of outboxes are freed. Dying before (2) leaves
// nothing visible and the burst to be read again; between (2) and (4) a successor finds the effect
// by the record's place (id_low), or makes it twice and says so (redelivered).
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/agent_rows.hpp"
#include "engine/loop/accounts.hpp"
#include "engine/loop/answer_burst.hpp"
#include "engine/loop/cascade_book.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/letter.hpp"
#include "engine/loop/mesh_gate.hpp"
#include "engine/loop/operation.hpp"
#include "engine/loop/own_columns.hpp"
#include "engine/loop/parked_store.hpp"
#include "engine/loop/pending.hpp"
#include "engine/loop/pipeline_book.hpp"
#include "engine/loop/sender_throttle.hpp"
#include "engine/loop/station_link.hpp"
#include "engine/loop/trials.hpp"
#include "engine/loop/unanswered.hpp"
#include "engine/registry.hpp"
#include "sched/predictor.hpp"
#include "sched/send_plan.hpp"
#include "sched/timing_wheel.hpp"

namespace mesh::engine {

inline constexpr std::uint16_t kDeadlineEntry = 0xFFFF;  // wheel entry: the operation's end
inline constexpr std::uint16_t kTimedEntry = 0xFFFE;     // wheel entry: a direct message with T
inline constexpr std::uint32_t kTimedMax = 16'384;
inline constexpr std::uint32_t kBodies = 4'096;        // bodies in the payload log at once
inline constexpr std::uint32_t kHeldPerAgent = 1'024;  // messages for one agent that is away
inline constexpr std::uint32_t kOwedShare = 4;         // of all entries one agent has a quarter
inline constexpr std::uint32_t kAnsweredKept = 256;    // answers to the engine's own messages
inline constexpr std::size_t kAnsweredBodyBytes = std::size_t{60} << 10;
static_assert(kParkedBlockBytes == kBodyBytesPerAgent);

// The planner reads whole cache lines.
struct alignas(kCacheLine) EligibleLine {
  std::uint64_t words[8];
};
struct NarrowColumns;  // plan.cpp

struct EngineLoop::State {
  State();
  ~State();

  static std::unique_ptr<State> make_state();  // where NarrowColumns is known
  void settle() noexcept;
  LoopOptions options;
  Outside outside;
  std::uint32_t row_count = 0;
  AgentRows<HostMemory> agents;
  OwnerRows<HostMemory> owners;
  std::span<ShmWord<std::uint8_t>> inbox_full;  // by station number
  std::optional<Registry> registry;
  std::optional<Topology> topology;
  std::optional<CapabilityTable> capabilities;
  MeshGate gate;
  std::optional<SenderThrottle> throttle;
  std::optional<sched::SendPlanner> planner;
  std::optional<sched::Predictor<>> predictor;
  std::optional<sched::TimingWheel> wheel;
  BodyLog::Writer log;
  BodyLog::Reader log_again;  // the same, to read what must go elsewhere
  std::unique_ptr<PendingPool> pending;
  ParkedStore<HostMemory> parked;
  Unanswered<HostMemory> entries;
  LoopAdoption adoption;

  // Stations, by number; `live` are those attached.
  std::vector<std::unique_ptr<StationLink>> stations;
  std::vector<StationLink*> live;
  std::size_t stations_max = 0;
  std::vector<std::uint32_t> order;       // rows by station: what makes a bucket's runs long
  std::vector<std::uint32_t> self_place;  // of a row in its station's self columns
  std::vector<CopiedRow> copied_rows;     // by row
  std::vector<std::uint64_t> active;      // a bit for each attached row, padded to EligibleLine
  std::vector<std::uint16_t> held;        // messages that wait for a row's return
  std::vector<std::uint32_t> owed;        // messages to a row that are not over
  std::vector<std::uint32_t> owed_of;     // the same by station; 0: those that are away
  std::size_t held_count = 0;
  bool order_is_stale = true;
  // Intake goes round; stations whose conflicts find no room.
  std::size_t next_station = 0, waiting_for_records = 0;
  std::uint32_t next_narrow = kMaxWideOperations;  // so do the slots of narrow operations

  std::vector<Operation> operations;
  std::vector<std::uint32_t> sending;  // slots in that state
  CascadeBook cascades;
  PipelineBook pipelines;
  std::vector<EligibleLine> eligible;                // of the operation that is being planned
  std::size_t eligible_first = 0, eligible_end = 0;  // its words: all, or a short list's
  std::unique_ptr<NarrowColumns> narrow;
  std::vector<FinishedOperation> finished;  // a ring
  std::uint64_t finished_head = 0, finished_tail = 0, body_head = 0, body_tail = 0;
  std::vector<LoggedBody> bodies;                // a ring
  std::vector<KeptAnswer> answered;              // a ring
  std::unique_ptr<std::byte[]> answered_bodies;  // kAnsweredBodyBytes each
  std::uint64_t answered_head = 0, answered_tail = 0;
  std::unique_ptr<std::byte[]> scratch_bytes;  // a message; not cleared
  std::span<std::byte> scratch;
  // Of what waits. Above every place in an inbox and every moment: an entry whose writer died while
  // it changed state keeps one of those, and is first in line, as it was.
  std::uint64_t next_turn = std::uint64_t{1} << 63;
  std::uint32_t timed_count = 0;

  // The turn.
  std::int64_t now_ns = 0;
  std::int64_t burst_ns = 0;                     // sent_ns of this burst, once one was asked for
  std::uint32_t upkeep_row = 0, dispatched = 0;  // deliveries of this tick
  std::int64_t mesh_epoch_ns = 0, upkeep_ns = 0, warmed_due_ns = 0;
  std::uint64_t sequence = 0;                // of the engine's own messages
  std::vector<std::uint32_t> over;           // entries answered in this tick
  std::vector<bool> is_over;                 // by entry: answered, and not yet freed
  std::vector<std::uint32_t> told;           // operations whose result was staged in this tick
  std::vector<std::int64_t> leaving_due_ns;  // buckets that began to leave in this tick
  std::vector<std::uint32_t> continuing;     // operations whose bucket was cut by the tick's bound
  std::vector<std::uint32_t> answered_of;    // by slot: answers of this intake
  std::vector<std::uint32_t> answered_slots;
  std::unique_ptr<AnswerBurst> burst = std::make_unique<AnswerBurst>();
  std::vector<std::uint32_t> ending;  // operations that may be over
  bool look_at_all = false;           // not all that was due has been seen in this tick
  sched::LatenessHistogram lateness;
  LoopCounters counters;
  Accounts accounts;

  static Status check_upkeep(Nanos upkeep);
  static Result<std::unique_ptr<State>> create(const LoopMemory& memory, const LoopOptions& options,
                                               const Outside& outside);

  [[nodiscard]] std::int64_t clock() const noexcept {
    return outside.read_clock == nullptr ? now_ns : outside.read_clock(outside.context);
  }
  // When what is being placed leaves: the clock is read once for a burst of one station.
  [[nodiscard]] std::int64_t sent_ns() noexcept {
    if (burst_ns == 0) burst_ns = clock();
    return burst_ns;
  }
  [[nodiscard]] std::uint32_t mesh_ms() const noexcept {
    return static_cast<std::uint32_t>((now_ns - mesh_epoch_ns) / kNsPerMs);
  }
  // Time does not go back; the first that is seen is the mesh's beginning.
  void advance_to(HostTime now) noexcept {
    now_ns = std::max(now_ns, to_ns(now));
    burst_ns = 0;
    if (mesh_epoch_ns != 0) return;
    mesh_epoch_ns = upkeep_ns = accounts.at_ns = now_ns;
    adopt_breakers(*this);
  }
  [[nodiscard]] StationLink* link_of(StationId station) const noexcept {
    return stations[static_cast<std::size_t>(station)].get();
  }
  [[nodiscard]] StationLink* link_of_row(std::uint32_t row) const noexcept {
    return link_of(registry->station_of(agent_index(row)));
  }
  [[nodiscard]] bool is_active(std::uint32_t row) const noexcept {
    return (active[row / 64] >> (row % 64) & 1U) != 0;
  }
  void set_active(std::uint32_t row, bool on) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    active[row / 64] = on ? active[row / 64] | bit : active[row / 64] & ~bit;
  }
  [[nodiscard]] AgentState state_of(std::uint32_t row) const noexcept;
  // Who answers nothing leaves room for the others: an agent; and the agents of a station together,
  // or all that are away: n of them leave an (n + 1)th to the rest.
  [[nodiscard]] bool owes_too_much(std::uint32_t row) const noexcept {
    const std::uint32_t station =
        static_cast<std::uint32_t>(registry->station_of(agent_index(row)));
    return owed[row] >= entries.size() / kOwedShare ||
           owed_of[station] >= entries.size() - entries.in_use();
  }
  void count_owed(std::uint32_t row) noexcept {
    ++owed[row];
    ++owed_of[static_cast<std::size_t>(registry->station_of(agent_index(row)))];
  }
  void count_over(std::uint32_t row) noexcept {
    if (owed[row] == 0) return;
    --owed[row];
    --owed_of[static_cast<std::size_t>(registry->station_of(agent_index(row)))];
  }
  [[nodiscard]] CapabilitySet capabilities_of(std::uint32_t row) const noexcept;

  // stations.cpp
  Status attach(StationId station, const StationMemory& memory, std::uint32_t uid);
  void detach(StationLink& link, HostTime now, Departure departure);
  Status readopt(StationId station, const StationMemory& memory, std::uint32_t uid);
  Status give_up(StationId station, std::span<std::byte> in, std::uint32_t declared, HostTime now);
  Result<std::vector<AgentId>> enrol(StationLink& link, std::span<const AgentSpec> specs);
  [[nodiscard]] Status check_enrolment(const StationLink& link,
                                       std::span<const AgentSpec> specs) const;
  [[nodiscard]] Attachment attachment_of(const StationLink& link, const AgentSpec& agent) const;
  void move_owed(std::uint32_t row, StationId from, StationId to) noexcept;
  void move_in(StationLink& link, std::uint32_t row, StationId previous);
  void rows_go_offline(StationId station, HostTime now, Departure departure);
  void drain(StationLink& link);
  void keep_unread(StationLink& link);
  [[nodiscard]] bool hold_entry(std::uint32_t at, const BodyLog::Reader& bodies_again);
  [[nodiscard]] StationLink* link_of_target(const Entry& entry) const noexcept;
  void hold_delivered(StationId station, const BodyLog::Reader& bodies);
  void rewind_operations(std::span<const std::uint32_t> rows);
  void bring(StationLink& link, std::span<const std::uint32_t> rows);
  void bring_messages(std::span<const std::uint32_t> rows);
  [[nodiscard]] static bool is_owed(const Operation& operation, std::uint32_t place) noexcept;
  [[nodiscard]] std::uint32_t body_at(std::uint64_t position) const noexcept;
  void index_by_station();
  [[nodiscard]] static bool is_leaving(const Operation& operation, std::uint32_t place) noexcept;
  void mark_unread(StationLink& link);
  void find_again(StationLink& link, std::uint64_t head);
  void find_messages_again(StationLink& link, std::uint64_t head);
  void find_applied(StationLink& link);
  void hold_or_drop(StationId station, const BodyLog::Reader& bodies_again, bool is_gone);

  // intake.cpp
  bool intake();
  void take_record(StationLink& link, const Ring::Record& record, std::uint64_t position) noexcept;
  void take_answer(StationLink& link, const sched::AnswerRecord& answer,
                   std::uint64_t position) noexcept;
  void take_send(StationLink& link, sched::SendRecord send, std::uint64_t position) noexcept;
  [[nodiscard]] Errc apply_send(StationLink& link, const sched::SendRecord& send,
                                sched::MessageId id, bool again) noexcept;
  [[nodiscard]] Errc apply_bare(const sched::SendRecord& send, sched::MessageId id,
                                bool again) noexcept;
  [[nodiscard]] Errc open_for(const sched::SendRecord& send, sched::MessageHeader& header) noexcept;
  void read_marks(StationLink& link) noexcept;
  void free_taken() noexcept;

  // answers.cpp
  std::size_t take_burst(StationLink& link, std::size_t limit) noexcept;
  void take_operation_answer(StationLink&, const sched::AnswerRecord&, std::uint64_t at) noexcept;
  [[nodiscard]] AnsweredOperation answered_operation(OperationId id) const noexcept;
  void apply_answers(std::uint32_t slot, std::size_t count) noexcept;
  void learn_answers(const Operation& operation, std::size_t count) noexcept;
  void note_finished(const Operation& operation, std::size_t count) noexcept;

  // letters.cpp
  // post(), where mode and breakers admit it.
  [[nodiscard]] Errc post_new(const Letter& letter,
                              std::span<const std::span<const std::byte>> parts) noexcept {
    if (gate.is_full()) return post(letter, parts);
    return post_restricted(*this, letter, parts);
  }
  [[nodiscard]] Errc post(const Letter& letter,
                          std::span<const std::span<const std::byte>> parts) noexcept;
  void answer_letter(StationLink& link, const sched::AnswerRecord& answer,
                     std::uint64_t position) noexcept;
  void reply(StationLink& link, const Entry& question, const sched::AnswerRecord& answer,
             std::uint64_t position) noexcept;
  void keep_answered(StationLink& link, const Entry& question, const sched::AnswerRecord& answer,
                     bool expired) noexcept;
  [[nodiscard]] bool try_place(StationLink& link, const Letter& letter,
                               std::span<const std::span<const std::byte>> parts) noexcept;
  [[nodiscard]] Errc keep_waiting(StationLink* link, const Letter& letter,
                                  std::span<const std::span<const std::byte>> parts) noexcept;
  // What waits, now: false: no room yet.
  [[nodiscard]] bool place_entry(StationLink& link, std::uint32_t at) noexcept;
  void fire_timed(std::uint32_t at) noexcept;
  void enqueue(std::uint32_t at, const Entry& entry) noexcept;
  void drop_entry(std::uint32_t at, Errc why) noexcept;
  void free_entry(std::uint32_t at) noexcept;
  void free_over() noexcept;
  void report(AgentId source, sched::MessageId id, Errc why, bool again) noexcept;
  [[nodiscard]] std::int64_t expires_of(const Entry& entry) const noexcept;
  [[nodiscard]] sched::MessageHeader question_header(const Entry& entry) const noexcept;
  [[nodiscard]] bool free_own(StationLink& link, std::uint64_t bytes_short) noexcept;
  void set_full(StationLink& link, bool full) noexcept;
  void stage(StationLink& link, const sched::DeliveryRecord& record,
             const InboxMark& mark) noexcept;
  void stage_bare(StationLink& link, const sched::DeliveryRecord& record) noexcept;
  [[nodiscard]] bool write_own(StationLink& link, std::span<const std::span<const std::byte>> parts,
                               std::uint32_t kind, sched::MessageWord& word) noexcept;
  void note_placed(std::uint32_t at, const Entry& entry) noexcept;
  [[nodiscard]] sched::MessageHeader own_header(AgentId source,
                                                std::span<const std::byte> body) noexcept;
  [[nodiscard]] sched::MessageId own_id() noexcept;
  [[nodiscard]] sched::MessageId id_at(std::int64_t at_ns, StationId station,
                                       std::uint64_t position) const noexcept;
  [[nodiscard]] Errc check_target(AgentIndex index, const CapabilitySet& required) noexcept;

  // plan.cpp
  struct Opened {
    Errc refused = Errc::ok;
    std::uint32_t slot = 0;
    std::int64_t detail = 0;
  };
  // The header's message is sent to everybody meant: planned, published, and its first bucket on
  // the wheel.
  [[nodiscard]] Opened open_operation(const OperationRequest& request, sched::MessageHeader& header,
                                      std::span<const std::byte> body) noexcept;
  [[nodiscard]] static std::string sentence_of(const Opened& opened,
                                               const OperationRequest& request);
  [[nodiscard]] Opened open_admitted(const OperationRequest& request, sched::MessageHeader& header,
                                     std::span<const std::byte> body) noexcept;
  struct Meant {
    std::uint32_t eligible = 0;
    sched::SkipCounts skipped{};
    ToNewcomers newcomers = ToNewcomers::not_meant;
  };
  struct Checked {
    sched::PlanParameters parameters;
    sched::GatherOptions gather;
  };
  [[nodiscard]] Errc check_request(const OperationRequest& request, Checked& checked) noexcept;
  void begin(std::uint32_t slot, const OperationRequest& request,
             const sched::MessageHeader& header, std::uint32_t kept) noexcept;
  // targets.cpp
  [[nodiscard]] Meant mark_eligible(const OperationRequest& request) noexcept;
  void bound_eligible(const OperationRequest& request) noexcept;
  void mark(AgentIndex index, Meant& meant) noexcept;
  void mark_all(Meant& meant) noexcept;
  template <class T>
  void mark_where(const shm::Column<HostMemory, T>& column, std::uint32_t value,
                  Meant& meant) noexcept;
  void drop_incapable(const CapabilitySet& required, Meant& meant) noexcept;
  [[nodiscard]] std::uint32_t free_wide_slot() const noexcept;
  [[nodiscard]] std::uint32_t free_narrow_slot() noexcept;
  [[nodiscard]] sched::PlanRequest plan_request(const OperationRequest& request,
                                                HostTime target) const noexcept;
  void plan(std::uint32_t slot, const sched::PlanParameters& parameters, Meant& meant) noexcept;
  void note_queues(Operation& operation) noexcept;
  void collect_narrow(Operation& operation, sched::Aim aim) noexcept;
  [[nodiscard]] sched::ImpedanceColumns wide_columns(sched::Aim aim) const noexcept;
  [[nodiscard]] sched::NominalInputs nominal_inputs(std::uint32_t row) const noexcept;
  // By the model in force, aimed at centre.
  [[nodiscard]] sched::NominalPlan predict(std::uint32_t row, double weight) const noexcept;
  void note_plan(Operation& operation) const;
  void order_buckets(Operation& operation, const sched::BucketSorter& sorted) noexcept;
  void order_at_once(Operation& operation, std::span<const std::uint32_t> by_station) noexcept;
  void fill_gather(Operation& operation, const sched::GatherOptions& gather) noexcept;
  void publish(Operation& operation, const sched::MessageHeader& header) noexcept;
  void start_sending(std::uint32_t slot) noexcept;
  [[nodiscard]] std::int64_t lead_ns(std::uint32_t row, float weight) const noexcept;
  bool schedule_next_bucket(std::uint32_t slot) noexcept;

  // dispatch.cpp
  bool fire_wheel() noexcept;
  bool go_on() noexcept;
  void dispatch_bucket(std::uint32_t slot) noexcept;
  // How many of them left, in order.
  std::uint32_t send_places(std::uint32_t slot, StationLink& link,
                            std::span<const std::uint32_t> places) noexcept;
  void keep_pending(std::uint32_t slot, StationLink& link, std::uint32_t first,
                    std::uint32_t count) noexcept;
  [[nodiscard]] bool body_for(Operation& operation, StationLink& link, sched::MessageWord& word,
                              InboxMark& mark) noexcept;
  bool empty_pending() noexcept;
  [[nodiscard]] bool empty_list(StationLink& link, std::uint32_t priority) noexcept;
  [[nodiscard]] std::uint32_t send_node(StationLink& link, const PendingNode& node) noexcept;
  void touch(StationLink& link) noexcept { link.is_staged = true; }
  void reveal_staged() noexcept;
  [[nodiscard]] std::uint32_t open_body(std::span<const std::span<const std::byte>> parts) noexcept;
  void close_body(Operation& operation) noexcept;
  [[nodiscard]] bool free_bodies(std::uint64_t bytes_short) noexcept;
  [[nodiscard]] bool park_body(const LoggedBody& body) noexcept;

  // gather.cpp
  bool gather() noexcept;
  bool end_if_over(std::uint32_t slot) noexcept;
  void end_operation(std::uint32_t slot, sched::GatherEnd why) noexcept;
  void tell_result(std::uint32_t slot, bool again) noexcept;
  void free_operation(std::uint32_t slot) noexcept;

  // upkeep.cpp
  void upkeep(std::int64_t due_ns) noexcept;
  void warm_next() noexcept;
  void copy_self(std::uint32_t row) noexcept;
  [[nodiscard]] bool is_as_copied(std::uint32_t row) noexcept;
  void copy_medians(std::uint32_t row, sched::RowFacts& facts) noexcept;
  void expire_names() noexcept;

  // adopt.cpp
  Status adopt();
  Status adopt_operation(std::uint32_t slot, sched::BucketSorter& sorter);
  Status adopt_entries();
  [[nodiscard]] Status check_rows(const Operation& operation, std::uint32_t slot) const;
  void find_body(Operation& operation, std::uint32_t slot);
  void order_again(Operation& operation, sched::BucketSorter& sorter);
  static void skip_what_left(Operation& operation, std::uint64_t next_key);
  [[nodiscard]] Status verify_owed() const;
  [[nodiscard]] Status verify() const;
};

}  // namespace mesh::engine
