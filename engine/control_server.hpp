// ControlServer: the control thread. It listens, admits stations and consoles, hands their requests
// to the scheduler thread and sends the answers; and it learns when a station dies.
//
//     connected ──attach──▶ attaching ──▶ attached ──connection closed, or pidfd──▶ gone
//                                 ╲__________ client gone meanwhile ______________▲
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
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/attached_station.hpp"
#include "engine/engine.hpp"
#include "engine/mesh_files.hpp"
#include "engine/scheduler_thread.hpp"
#include "shm/descriptor.hpp"
#include "shm/event_fd.hpp"

namespace mesh::engine {

struct ConsoleRequest {  // status, send, broadcast, scatter
  std::uint64_t connection = 0;
  std::string op;
};

// What the loop's thread knows for status.
[[nodiscard]] EngineStatus status_of(SchedulerThread& scheduler);

struct ControlOptions {
  MeshSize size;
  AttachPolicy policy;
  shm::FormatOptions format;  // identity and parameters of every memory
  std::shared_ptr<const shm::EventFd> engine_wake;
  std::shared_ptr<const shm::EventFd> wake;  // of the control thread: jobs done, stop()
  std::function<void()> on_down;
};

class ControlServer {
 public:
  // `files` and `scheduler` outlive it.
  static Result<std::unique_ptr<ControlServer>> create(const ControlOptions& options,
                                                       MeshFiles& files,
                                                       SchedulerThread& scheduler);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void start();
  void stop();
  // From the scheduler thread: this station's memory makes no sense any more.
  void evict(StationId station) noexcept;

  void add_counts(EngineStatus& status) const noexcept;
  // Counts, for status. relaxed: each stands alone.
  [[nodiscard]] std::size_t stations() const noexcept {
    return station_count_.load(std::memory_order_relaxed);
  }  // relaxed: as above
  [[nodiscard]] std::size_t connections() const noexcept {
    return connection_count_.load(std::memory_order_relaxed);
  }  // relaxed: as above
  [[nodiscard]] std::uint64_t stations_ever() const noexcept {
    return stations_ever_.load(std::memory_order_relaxed);
  }  // relaxed: as above

 private:
  struct Connection;
  class RequestJob;
  class AttachJob;
  class EnrolJob;
  class DetachJob;
  class OperationJob;
  class SendJob;
  class StatusJob;

  ControlServer(const ControlOptions& options, MeshFiles& files, SchedulerThread& scheduler);
  Status open();
  void run();
  void accept_all();
  void admit(shm::Descriptor socket);
  void read(Connection& connection);
  void handle(Connection& connection, const std::string& packet);
  void handle_attach(Connection& connection, const nlohmann::json& request);
  void handle_enrol(Connection& connection, const nlohmann::json& request);
  void handle_console(Connection& connection, const std::string& op, const nlohmann::json& request);
  Result<std::unique_ptr<Job>> console_job(const ConsoleRequest& request,
                                           const nlohmann::json& object);
  Status check_attach(const Connection& connection, const nlohmann::json& request) const;
  [[nodiscard]] bool is_admitted(std::uint32_t uid) const;
  Result<std::uint16_t> free_number() const;

  void post(std::unique_ptr<Job> job);
  void take_done();
  void answer(Connection& connection, const std::string& json);
  void refuse(Connection& connection, const Error& error);
  void on_attached(std::uint64_t connection, std::uint16_t station, const Status& status);
  Status pass_memories(Connection& connection, const AttachedStation& station);
  void drop(std::uint64_t connection);
  void detach(std::uint16_t station);
  void update_counts() noexcept;
  [[nodiscard]] nlohmann::json stations_json() const;
  [[nodiscard]] Connection* find(std::uint64_t connection);

  ControlOptions options_;
  MeshFiles& files_;
  SchedulerThread& scheduler_;
  shm::Descriptor listener_;
  shm::Descriptor epoll_;
  shm::Descriptor table_to_pass_, payload_to_pass_;
  std::uint64_t next_connection_ = 0;
  std::uint16_t last_number_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
  std::map<std::uint16_t, std::unique_ptr<AttachedStation>> stations_;
  std::map<std::uint16_t, std::uint64_t> owners_;  // connection of each station
  std::deque<std::unique_ptr<Job>> unposted_;
  queues::local::HandOver<StationId> evicted_;
  std::vector<char> packet_;
  std::atomic<std::size_t> station_count_{0}, connection_count_{0};
  std::atomic<std::uint64_t> stations_ever_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mesh::engine
