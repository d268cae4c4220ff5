// EngineLoop::State: everything that the six phases work on. One file a phase.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/agent_rows.hpp"
#include "engine/loop/engine_loop.hpp"
#include "engine/loop/pending.hpp"
#include "engine/loop/station_link.hpp"
#include "engine/registry.hpp"
#include "engine/topology.hpp"
#include "sched/gather.hpp"
#include "sched/send_plan.hpp"
#include "sched/timing_wheel.hpp"

namespace mesh::engine {

inline constexpr std::uint32_t kBucketsPerOperation = 16'384;  // a horizon of 16 s at 1 ms
inline constexpr std::uint16_t kDeadlineEntry = 0xFFFF;        // wheel entry: the operation's end
inline constexpr std::uint32_t kBodies = 4'096;                // bodies in the payload log at once
inline constexpr std::uint32_t kReplyRoutes = 65'536;          // direct messages not answered

enum class OperationState : std::uint8_t { kFree, kPlanned, kSending, kEnded };

// The planner reads whole cache lines.
struct alignas(kCacheLine) EligibleLine {
  std::uint64_t words[8];
};

struct Operation {
  OperationState state = OperationState::kFree;
  std::uint32_t serial = 0;  // in its id: an answer to an old tenant of the slot is no answer
  OperationRequest request;  // body is not kept
  sched::GatherOptions options;
  std::optional<sched::Gather<>> gather;
  std::span<std::uint32_t> rows;          // by bucket; in `engine`
  std::span<std::int32_t> lead;           // by row, units of 16 ns
  std::span<std::int32_t> sent;           // by row, T - sent in units of 16 ns; kNotSent
  std::vector<std::int64_t> finished_ns;  // by row; 0: no answer yet
  std::vector<std::uint32_t> offsets;
  std::vector<EligibleLine> eligible;  // a bit a row
  std::uint32_t bucket_count = 0;
  std::uint32_t next_bucket = 0;
  std::int64_t planned_ns = 0;  // bucket k leaves at planned_ns + k * width
  std::uint32_t body = kNoBody;
  std::uint32_t body_bytes = 0;
  OperationCost cost;
};

inline constexpr std::int32_t kNotSent = INT32_MIN;

// A body of the payload log: freed, in order, when no delivery that names it is unread.
struct LoggedBody {
  std::uint64_t position = 0;
  std::uint32_t unread = 0;
  bool is_open = false;  // more deliveries may come
};

// Where the answer to a direct message goes.
struct ReplyRoute {
  std::uint64_t message = 0;  // as delivered; 0: free
  AgentId target{};
  AgentId source{};
};

struct EngineLoop::State {
  // Set-up.
  LoopOptions options;
  Outside outside;
  std::uint32_t row_count = 0;
  AgentRows<HostMemory> agents;
  OwnerRows<HostMemory> owners;
  std::optional<Registry> registry;
  std::optional<Topology> topology;
  std::optional<sched::SendPlanner> planner;
  std::optional<sched::TimingWheel> wheel;
  BodyLog::Writer log;
  std::unique_ptr<PendingPool> pending;

  // Stations, by number; `live` are those attached.
  std::vector<std::unique_ptr<StationLink>> stations;
  std::vector<StationLink*> live;
  std::vector<std::uint32_t> order;   // rows by station: what makes a bucket's runs long
  std::vector<std::uint32_t> place;   // of a row in its station's self columns
  std::vector<std::uint64_t> active;  // a bit for each attached row
  bool order_is_stale = true;
  std::size_t next_station = 0;  // intake goes round

  // Operations.
  std::vector<Operation> operations;
  std::vector<FinishedOperation> finished;  // a ring
  std::uint64_t finished_head = 0;
  std::uint64_t finished_tail = 0;
  std::vector<LoggedBody> bodies;  // a ring
  std::uint64_t body_head = 0;
  std::uint64_t body_tail = 0;
  std::vector<ReplyRoute> routes;
  std::vector<std::byte> scratch;  // one body, being copied

  // The turn.
  std::int64_t now_ns = 0;
  std::int64_t mesh_epoch_ns = 0;
  std::uint32_t upkeep_row = 0;
  std::int64_t upkeep_ns = 0;
  std::uint32_t dispatched = 0;  // deliveries of this tick
  std::uint64_t sequence = 0;    // of the engine's own messages
  LoopCounters counters;

  static Result<std::unique_ptr<State>> create(const LoopMemory& memory, const LoopOptions& options,
                                               const Outside& outside);

  [[nodiscard]] std::int64_t clock() const noexcept {
    return outside.read_clock == nullptr ? now_ns : outside.read_clock(outside.context);
  }
  [[nodiscard]] std::uint32_t mesh_ms() const noexcept {
    return static_cast<std::uint32_t>((now_ns - mesh_epoch_ns) / kNsPerMs);
  }
  // Time does not go back; the first that is seen is the mesh's beginning.
  void advance_to(HostTime now) noexcept {
    now_ns = std::max(now_ns, to_ns(now));
    if (mesh_epoch_ns == 0) mesh_epoch_ns = upkeep_ns = now_ns;
  }
  [[nodiscard]] StationLink* link_of(StationId station) const noexcept {
    const auto number = static_cast<std::size_t>(station);
    return number < stations.size() ? stations[number].get() : nullptr;
  }
  [[nodiscard]] bool is_active(std::uint32_t row) const noexcept {
    return (active[row / 64] >> (row % 64) & 1U) != 0;
  }
  void set_active(std::uint32_t row, bool on) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (row % 64);
    active[row / 64] = on ? active[row / 64] | bit : active[row / 64] & ~bit;
  }
  void index_by_station();
  void move_in(StationLink& link, std::uint32_t row, StationId previous);
  void drain(StationLink& link);
  Result<OperationId> open_operation(const OperationRequest& request);
  [[nodiscard]] sched::PlanRequest plan_request(const OperationRequest& request) const noexcept;
  std::uint32_t mark_eligible(Operation& operation,
                              sched::Selector targets) noexcept;  // how many are targeted
  [[nodiscard]] sched::MessageHeader header_of(AgentId source,
                                               std::span<const std::byte> body) noexcept;

  // intake.cpp
  bool intake();
  void take_answer(StationLink& link, const sched::AnswerRecord& answer) noexcept;
  void take_send(StationLink& link, const sched::SendRecord& send, std::uint64_t position) noexcept;
  void free_read_bodies(StationLink& link) noexcept;

  // plan.cpp
  bool plan_operations() noexcept;
  void plan(std::uint32_t slot) noexcept;
  bool schedule_next_bucket(std::uint32_t slot) noexcept;

  // dispatch.cpp
  bool fire_wheel() noexcept;
  void dispatch_bucket(std::uint32_t slot) noexcept;
  void send_run(std::uint32_t slot, StationLink& link,
                std::span<const std::uint32_t> rows) noexcept;
  void keep_pending(std::uint32_t slot, StationLink& link, std::uint32_t row) noexcept;
  void touch(StationLink& link) noexcept;
  [[nodiscard]] sched::DeliveryRecord delivery_of(const Operation& operation, std::uint32_t slot,
                                                  std::uint32_t row) const noexcept;
  bool empty_pending() noexcept;
  void reveal_staged() noexcept;
  // False: no room; nothing was kept.
  [[nodiscard]] bool deliver(StationLink& link, const sched::DeliveryRecord& record) noexcept;
  struct Message {
    AgentId source{};
    AgentId target{};
    std::uint64_t message = 0;  // filled in: where the body stands
    sched::RecordKind kind = sched::RecordKind::message;
    sched::RecordFlags flags = sched::RecordFlags::none;
  };
  [[nodiscard]] Errc deliver_body(Message& message,
                                  std::span<const std::byte> header_and_body) noexcept;
  void report(StationLink& link, AgentId source, std::uint64_t message, Errc why) noexcept;

  // gather.cpp
  bool gather();
  void end_operation(std::uint32_t slot, sched::GatherEnd why);
  void remember_route(std::uint64_t message, AgentId target, AgentId source) noexcept;
  void forget_routes() noexcept;  // to agents that are not attached any more
  [[nodiscard]] std::optional<AgentId> take_route(std::uint64_t message, AgentId target) noexcept;

  // upkeep.cpp
  void upkeep() noexcept;
  void copy_self(std::uint32_t row) noexcept;

  [[nodiscard]] std::uint32_t open_body(std::span<const std::byte> header_and_body) noexcept;
  void close_body(std::uint32_t body) noexcept;
  void free_bodies() noexcept;
};

// Columns of the table: this thread is their one writer.
template <class T>
T own(const shm::Column<HostMemory, T>& column, std::size_t row) noexcept {
  return column.load_relaxed(row);  // relaxed: our own past store
}
template <class T>
void put(const shm::Column<HostMemory, T>& column, std::size_t row,
         std::type_identity_t<T> value) noexcept {
  column.store_relaxed(row, value);  // relaxed: a value that stands alone
}
// A station's own columns: input, each word loaded once.
template <class T>
T peer(const shm::ColumnView<HostMemory, T>& column, std::size_t at) noexcept {
  return column.load_relaxed(at);  // relaxed: a median orders nothing
}

// An operation's id names its slot and which tenant of it.
constexpr OperationId operation_id(std::uint32_t slot, std::uint32_t serial) noexcept {
  return static_cast<OperationId>(std::uint64_t{serial} << 16 | slot);
}
constexpr std::uint32_t slot_of(OperationId id) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) & 0xFFFF);
}
constexpr std::uint32_t serial_of(OperationId id) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) >> 16);
}

}  // namespace mesh::engine
