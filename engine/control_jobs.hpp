// Jobs of the control thread: what a request has the scheduler thread do, and the answer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/control_json.hpp"
#include "engine/control_server.hpp"
#include "shm/descriptor_passing.hpp"

namespace mesh::engine {

struct ControlServer::Connection {
  std::uint64_t number = 0;
  shm::Descriptor socket;
  shm::Descriptor process;  // pidfd; none where the process cannot be seen
  shm::PeerCredentials peer;
  std::uint16_t station = 0;
  bool is_attached = false;
  bool is_busy = false;    // a request is with the scheduler thread
  bool is_broken = false;  // an answer did not fit into its socket
  bool has_left = false;   // it said so: its end is no failure
  bool loads_context = false;
};

class ControlServer::AttachJob final : public Job {
 public:
  enum class Kind : std::uint8_t { kNew, kReturned };
  AttachJob(ControlServer& server, std::uint64_t connection, const AttachedStation& station,
            Kind kind)
      : server_(server), connection_(connection), station_(station), kind_(kind) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override;
  void done() override;

 private:
  ControlServer& server_;
  std::uint64_t connection_;
  const AttachedStation& station_;
  Kind kind_;
  Status status_;
};

class ControlServer::DetachJob final : public Job {
 public:
  // `left`: of one that is not back from the dead engine; it stands until done().
  DetachJob(ControlServer& server, std::uint16_t station, Departure departure,
            const LeftStation* left)
      : server_(server), station_(station), departure_(departure), left_(left) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override;
  void done() override;

 private:
  ControlServer& server_;
  std::uint16_t station_;
  Departure departure_;
  const LeftStation* left_;
};

// Ends with one answer to the connection that asked, if it is still there.
class ControlServer::RequestJob : public Job {
 public:
  RequestJob(ControlServer& server, std::uint64_t connection)
      : server_(server), connection_(connection) {}
  void done() final;

 protected:
  [[nodiscard]] virtual std::string result() const = 0;
  void fail_with(const Error& error) { error_ = error; }
  [[nodiscard]] ControlServer& server() const noexcept { return server_; }

 private:
  ControlServer& server_;
  std::uint64_t connection_;
  std::optional<Error> error_;
};

class ControlServer::EnrolJob final : public RequestJob {
 public:
  struct Of {
    std::uint64_t connection = 0;
    std::uint16_t station = 0;
  };
  EnrolJob(ControlServer& server, Of of, std::vector<NamedAgent> agents)
      : RequestJob(server, of.connection), station_(of.station), agents_(std::move(agents)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override;

 private:
  [[nodiscard]] std::string result() const override;
  std::uint16_t station_;
  std::vector<NamedAgent> agents_;
  std::vector<AgentId> enrolled_;
  std::vector<std::uint32_t> places_;
};

}  // namespace mesh::engine
