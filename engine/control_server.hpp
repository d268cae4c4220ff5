// ControlServer: the control thread. It listens, admits stations and consoles, hands their requests
// to the scheduler thread and sends the answers; and it learns when a station dies.
//
//     connected ──attach──▶ attaching ──▶ attached ──connection closed, pidfd, evicted──▶ gone
//                  ▲              ╲__________ client gone meanwhile ____________________▲
//                  └─reattach── awaited, after a restart ──reconnect passed────────────┘
//
// It is an epoll loop of its own and not Boost.Asio: its descriptors are seqpacket sockets that
// pass descriptors, pidfds and eventfds, of which Asio 1.74 knows none.
//
// Callers     start, stop: one at a time. on_down runs on the control thread.
// Progress    one request a connection at a time; a connection whose socket is full is closed.
// If the      dies: known by its socket or its pidfd, whichever comes first; then the scheduler
// other side  thread drains and detaches it, and its memory goes.
// dies        lies: a packet that is no request gets an error, one over kControlPacketBytes closes
// or lies     the connection.
// Errors      those sent are docs of engine/station/control_protocol.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/adoption.hpp"
#include "engine/attached_station.hpp"
#include "engine/counter_page.hpp"
#include "engine/emergency.hpp"
#include "engine/engine.hpp"
#include "engine/error_log.hpp"
#include "engine/mesh_files.hpp"
#include "engine/recovery/replacement_plan.hpp"
#include "engine/scheduler_thread.hpp"
#include "engine/who.hpp"
#include "sched/clock.hpp"
#include "shm/descriptor.hpp"
#include "shm/event_fd.hpp"

namespace mesh::engine {

class BackupKeeper;
class Recovery;
class RulesKeeper;
class RunningContexts;
namespace reports {
class ReportDesk;
}
struct HandedContext;
struct LoadOrder;

struct ConsoleRequest {  // status, send, broadcast, scatter
  std::uint64_t connection = 0;
  std::string op;
};

// What the loop's thread knows for status.
[[nodiscard]] EngineStatus status_of(SchedulerThread& scheduler);

class DelegateReputation;
class RunningConflicts;

// An answer that another thread has for a connection.
struct ToldAnswer {
  std::uint64_t connection = 0;
  std::string json{};
  shm::Descriptor carried{};  // with it, or none
};

// A station that has to go, whatever it does.
struct Eviction {
  enum class Why : std::uint8_t { kCorrupt, kStuck };
  StationId station{};
  Why why = Why::kCorrupt;
};

struct ControlOptions {
  MeshSize size;
  AttachPolicy policy;
  shm::FormatOptions format;  // identity and parameters of every memory
  std::span<const std::byte> table;
  RulesKeeper* rules = nullptr;
  std::shared_ptr<DelegateReputation> reputation{};
  bool allow_live_chaos = false;
  std::shared_ptr<const shm::EventFd> engine_wake;
  std::shared_ptr<const shm::EventFd> wake;  // of the control thread: jobs done, stop()
  std::span<std::byte> table_memory{};       // its counters and errors stand there
  std::function<void()> on_down;
  std::function<Result<Reload>()> read_again;
  RunningConflicts* conflicts = nullptr;  // null: they are not recorded
  RunningContexts* contexts = nullptr;
  BackupKeeper* backups = nullptr;
  reports::ReportDesk* report_desk = nullptr;
  Recovery* recovery = nullptr;  // null: no spawn command is configured
  Nanos reconnect{};             // how long stations of the dead engine are waited for
  Nanos stuck_after{};           // said to who is evicted for it
};

class ControlServer {
 public:
  // All of them outlive it. The table of stations is the scheduler thread's once that runs.
  struct Uses {
    MeshFiles& files;
    SchedulerThread& scheduler;
    StationTable& table;
  };
  static Result<std::unique_ptr<ControlServer>> create(const ControlOptions& options,
                                                       const Uses& uses);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Before start(): stations of the dead engine, to be waited for from start() on, and what status
  // is to say of the adoption.
  void await(std::vector<LeftStation> stations, const AdoptionStatus& adoption);
  void set_missing_rights(std::vector<std::string> rights) { missing_rights_ = std::move(rights); }
  void start();
  void stop();
  // From the scheduler thread.
  void evict(const Eviction& eviction) noexcept;
  void notice(const ModeSeen& seen) noexcept;

  void add_counts(EngineStatus& status) const noexcept;
  // Any thread: the answer to a request that this connection waits for.
  void tell(std::uint64_t connection, std::string text) {
    tell(ToldAnswer{connection, std::move(text), {}});
  }
  void tell(ToldAnswer answer);
  // Any thread: has an agent's process load a context. `done` is told on the control thread, or, if
  // the engine stops first, never; closed: the process is away, or went.
  void load(LoadOrder order);
  // Whether it loads contexts; none: it is not here now.
  [[nodiscard]] std::optional<bool> loads_context(StationId station) const;
  // Any thread: a replacement has failed, for the first time since its agents crashed.
  void escalate(const LostProcess& process, const std::string& why);
  // Any thread: what this mesh can be scaled by.
  [[nodiscard]] ScaleOn scale_on() const noexcept;
  // On the control thread.
  [[nodiscard]] Result<WhoReport> who(const WhoWanted& wanted) const;

 private:
  struct Connection;
  class RequestJob;
  class AttachJob;
  class EnrolJob;
  class DetachJob;
  class OperationJob;
  class SendJob;
  class StatusJob;
  class ReloadJob;
  class CascadeJob;
  class CapabilityJob;
  class KnownJob;
  class ExpectJob;
  struct ActingJobs;  // acting_jobs.hpp

  struct Awaited {
    LeftStation station;
    bool is_given_up = false;  // its detach is under way
  };

  ControlServer(const ControlOptions& options, const Uses& uses);
  Status open();
  void run();
  void accept_all();
  void admit(shm::Descriptor socket);
  void read(Connection& connection);
  void read_last(Connection& connection);
  struct Packet;
  void handle(Connection& connection, Packet packet);
  static Status check_build(const std::string& op, const nlohmann::json& request);
  void handle_enrol(Connection& connection, const nlohmann::json& request);
  void handle_observe(Connection& connection, const nlohmann::json& request);
  void handle_console(Connection& connection, const std::string& op, const nlohmann::json& request);
  Status begin_resolve(const ConsoleRequest& request, const nlohmann::json& object);
  Status begin_backup(const ConsoleRequest& request, const nlohmann::json& object);
  Status begin_heal(const ConsoleRequest& request, const nlohmann::json& object);
  Status begin_incident(const ConsoleRequest& request, const nlohmann::json& object);
  Status begin_report(const ConsoleRequest& request, const nlohmann::json& object);
  [[nodiscard]] nlohmann::json recovery_json() const;
  // control_emergency.cpp
  void see_mode(const ModeSeen& seen);
  void state_saved(std::uint64_t times, const Result<BackupInfo>& made);
  [[nodiscard]] nlohmann::json emergency_json() const;
  void note_crash(const StationEntry& entry);
  void tell_crash(std::uint16_t station);
  [[nodiscard]] nlohmann::json conflicts_json() const;
  [[nodiscard]] nlohmann::json history_json() const;
  Result<std::unique_ptr<Job>> cascade_job(const ConsoleRequest& request,
                                           const nlohmann::json& object);
  Result<std::unique_ptr<Job>> reload_job(const ConsoleRequest& request);
  Result<std::unique_ptr<Job>> console_job(const ConsoleRequest& request,
                                           const nlohmann::json& object);
  [[nodiscard]] bool is_admitted(std::uint32_t uid) const;

  void post(std::unique_ptr<Job> job);
  void take_done();
  void answer(Connection& connection, const std::string& text);
  void refuse(Connection& connection, const Error& error);
  void drop(std::uint64_t connection);

  // control_contexts.cpp
  void handle_context(Connection& connection, const nlohmann::json& request,
                      std::span<shm::Descriptor> carried);
  void keep_context(std::uint64_t connection, const EngineLoop::KnownAgent& known,
                    const std::shared_ptr<HandedContext>& handed);
  Status begin_contexts(const ConsoleRequest& request, const nlohmann::json& object);
  void handle_loaded(const Connection& connection, const nlohmann::json& object);
  void take_orders();
  void fail_orders(std::uint64_t connection);

  // control_stations.cpp
  void handle_attach(Connection& connection, const nlohmann::json& request);
  Result<StationEntry> entry_for(const Connection& connection, const nlohmann::json& request) const;
  const AttachedStation& hold(Connection& connection, std::unique_ptr<AttachedStation> station);
  void on_attached(std::uint64_t connection, std::uint16_t station, const Status& status);
  Status pass_memories(Connection& connection, const AttachedStation& station);
  void handle_reattach(Connection& connection, const nlohmann::json& request,
                       std::span<shm::Descriptor> given_back);
  Result<LeftStation*> left_station(const Connection& connection, const nlohmann::json& request);
  void on_returned(std::uint64_t connection, std::uint16_t station, const Status& status);
  void give_up_awaited();
  [[nodiscard]] int wait_ms() const;  // until then; -1: for nothing
  void evict_now(const Eviction& eviction);
  void detach(std::uint16_t station, Departure departure);
  void on_detached(std::uint16_t station);
  void say_goodbye();

  void update_counts() noexcept;
  Status bind_table();
  void publish_counters() noexcept;
  void note(const Error& error) noexcept;
  [[nodiscard]] nlohmann::json stations_json() const;
  [[nodiscard]] nlohmann::json awaited_json() const;
  [[nodiscard]] Connection* find(std::uint64_t connection);

  ControlOptions options_;
  MeshFiles& files_;
  SchedulerThread& scheduler_;
  StationTable& table_;
  shm::Descriptor listener_;
  shm::Descriptor epoll_;
  shm::Descriptor table_to_pass_, payload_to_pass_;
  std::uint64_t next_connection_ = 0;
  std::uint32_t last_number_ = 0;  // the highest ever given
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<std::uint16_t, std::unique_ptr<AttachedStation>> stations_;
  std::map<std::uint16_t, std::uint64_t> owners_;  // connection of each station
  std::map<std::uint16_t, Awaited> awaited_;
  std::map<std::uint16_t, LostProcess> crashed_;  // until their agents are detached
  std::int64_t await_until_ns_ = 0;               // CLOCK_MONOTONIC
  AdoptionStatus adoption_;
  std::vector<std::string> missing_rights_;
  std::deque<std::unique_ptr<Job>> unposted_;
  queues::local::HandOver<Eviction> evictions_;
  queues::local::HandOver<ModeSeen> modes_;
  EmergencyStatus emergency_;
  queues::local::HandOver<ToldAnswer> told_;
  struct Orders;
  std::unique_ptr<Orders> orders_;
  std::vector<std::byte> packet_;
  std::optional<sched::ClockReader<>> clock_;
  std::optional<CounterPage> counter_page_;
  std::optional<ErrorLog> errors_;
  std::uint64_t refusals_ = 0;
  // Counts, for status, of any thread. relaxed: each stands alone.
  std::atomic<std::size_t> station_count_{0}, connection_count_{0}, awaited_count_{0};
  std::atomic<std::uint64_t> stations_ever_{0}, evicted_ever_{0};
  std::atomic<std::uint64_t> returned_{0}, not_back_{0}, refused_back_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mesh::engine
