#include "engine/control_jobs.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/loop/state.hpp"
#include "engine/reports/report_requests.hpp"

namespace mesh::engine {
namespace {

constexpr std::size_t kStationsListed = 256;  // a packet holds so many
constexpr Nanos kAnswerPatience{30 * kNsPerSecond};

}  // namespace

std::optional<OperationId> ControlServer::AttachJob::run(SchedulerThread& scheduler, HostTime now) {
  const StationEntry& entry = station_.entry();
  const StationId number{entry.number};
  const SchedulerThread::Attachment attachment{
      number, {entry.agents, station_.in(), station_.out()}, entry.uid, &station_.wake()};
  if (kind_ == Kind::kReturned) {
    status_ = scheduler.readopt(attachment, now);
    if (status_) return std::nullopt;
    // Its rings make no sense: it is dead to us.
    server_.table_.leave(entry.number);
    scheduler.give_up(attachment, now);
    server_.table_.free(entry.number);
    return std::nullopt;
  }
  status_ = scheduler.attach(attachment, now);
  if (!status_) return std::nullopt;
  // Before it has any agent: the next engine waits for it, and detaches it if it does not come.
  status_ = server_.table_.attach(entry);
  if (!status_) scheduler.detach(number, now, Departure::left);
  return std::nullopt;
}

void ControlServer::AttachJob::done() {
  if (kind_ == Kind::kNew) {
    server_.on_attached(connection_, station_.entry().number, status_);
  } else {
    server_.on_returned(connection_, station_.entry().number, status_);
  }
}

// An engine that dies in between leaves a row that says so: the next one finishes it.
std::optional<OperationId> ControlServer::DetachJob::run(SchedulerThread& scheduler, HostTime now) {
  server_.table_.leave(station_);
  const StationId number{station_};
  if (left_ != nullptr) {
    const StationMemory memory{left_->entry.agents, left_->in.writable_bytes(), {}};
    scheduler.give_up({number, memory, left_->entry.uid, nullptr}, now);
  } else {
    scheduler.detach(number, now, departure_);
  }
  server_.table_.free(station_);
  return std::nullopt;
}

void ControlServer::DetachJob::done() { server_.on_detached(station_); }

void ControlServer::RequestJob::done() {
  Connection* const connection = server_.find(connection_);
  if (connection == nullptr) return;
  if (error_) {
    server_.refuse(*connection, *error_);
  } else {
    server_.answer(*connection, result());
  }
  if (connection->is_broken) server_.drop(connection_);
}

std::optional<OperationId> ControlServer::EnrolJob::run(SchedulerThread& scheduler,
                                                        HostTime /*now*/) {
  std::vector<AgentSpec> specs;
  specs.reserve(agents_.size());
  for (const NamedAgent& agent : agents_) {
    AgentSpec spec{agent.name, agent.agent_class, {}};
    for (const std::string& name : agent.capabilities) {
      const auto bit = scheduler.loop().capability(name);
      if (!bit) {
        fail_with(bit.error());
        return std::nullopt;
      }
      spec.capabilities.insert(*bit);
    }
    specs.push_back(spec);
  }
  auto enrolled = scheduler.loop().enrol(static_cast<StationId>(station_), specs);
  if (enrolled) {
    enrolled_ = std::move(*enrolled);
    for (const AgentId id : enrolled_) places_.push_back(scheduler.loop().place_in_station(id));
  } else {
    fail_with(enrolled.error());
  }
  return std::nullopt;
}

std::string ControlServer::EnrolJob::result() const {
  nlohmann::json ids = nlohmann::json::array();
  for (const AgentId id : enrolled_) ids.push_back(static_cast<std::uint64_t>(id));
  return dump({{"ok", true}, {"ids", std::move(ids)}, {"places", places_}});
}

// The console's.

class ControlServer::StatusJob final : public RequestJob {
 public:
  using RequestJob::RequestJob;
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    status_ = status_of(scheduler);
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    EngineStatus status = status_;
    server().add_counts(status);
    nlohmann::json object = status_json(status);
    object["awaited"] = server().awaited_json();
    object["attached"] = server().stations_json();
    object["conflicts"] = server().conflicts_json();
    object["history"] = server().history_json();
    object["recovery"] = server().recovery_json();
    object["emergency"] = server().emergency_json();
    return dump(object);
  }
  EngineStatus status_;
};

// Which bit a name has: for who asks for it in a message.
class ControlServer::CapabilityJob final : public RequestJob {
 public:
  CapabilityJob(ControlServer& server, std::uint64_t connection, std::string name)
      : RequestJob(server, connection), name_(std::move(name)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    const auto bit = scheduler.loop().find_capability(name_);
    if (bit)
      bit_ = *bit;
    else
      fail_with(bit.error());
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    return dump({{"ok", true}, {"bit", static_cast<unsigned>(bit_)}});
  }
  std::string name_;
  CapabilityBit bit_{};
};

namespace {
// Of the names that a message asks for.
Result<CapabilitySet> required_of(SchedulerThread& scheduler,
                                  const std::vector<std::string>& names) {
  CapabilitySet required;
  for (const std::string& name : names) {
    MESH_TRY(const CapabilityBit bit, scheduler.loop().find_capability(name));
    required.insert(bit);
  }
  return required;
}
}  // namespace

class ControlServer::SendJob final : public RequestJob {
 public:
  struct To {
    std::string name;
    std::string text;
    bool waits = false;  // for the answer
    Nanos patience{};
    std::vector<std::string> required{};
    sched::Priority priority = sched::Priority::normal;
    Nanos ttl{0};  // 0: none
  };
  SendJob(ControlServer& server, std::uint64_t connection, To to)
      : RequestJob(server, connection), to_(std::move(to)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto target = scheduler.loop().find(to_.name);
    if (!target) {
      fail_with({Errc::no_such_agent, 0, "send: no agent is called '" + to_.name + "'"});
      return std::nullopt;
    }
    target_ = *target;
    const auto required = required_of(scheduler, to_.required);
    if (!required) {
      fail_with(required.error());
      return std::nullopt;
    }
    const auto posted = scheduler.loop().post({.target = target_,
                                               .priority = to_.priority,
                                               .ttl = to_.ttl,
                                               .capabilities = *required,
                                               .body = std::as_bytes(std::span(to_.text))},
                                              now);
    if (!posted) {
      fail_with(posted.error());
    } else if (to_.waits) {
      scheduler.await_answer(*posted, now + to_.patience);
    }
    return std::nullopt;
  }
  void on_answered(SchedulerThread& /*scheduler*/, const AnsweredMessage* answered) override {
    if (answered != nullptr) answered_ = *answered;
  }

 private:
  [[nodiscard]] std::string result() const override {
    nlohmann::json object = {{"ok", true}, {"target", static_cast<std::uint64_t>(target_)}};
    if (to_.waits) object["answered"] = answered_.has_value();
    if (answered_) object.update(answered_json(*answered_));
    return dump(object);
  }
  To to_;
  AgentId target_{};
  std::optional<AnsweredMessage> answered_;
};

class ControlServer::OperationJob final : public RequestJob {
 public:
  OperationJob(ControlServer& server, const ConsoleRequest& request)
      : RequestJob(server, request.connection), waits_(request.op == "scatter") {}
  Status read(const nlohmann::json& object) {
    MESH_TRY(request_, operation_of(object, body_));
    MESH_TRY(required_, names_field(object, "require"));
    request_.at_once = !waits_;  // a broadcast has no T, and nobody is too slow for it
    return {};
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto required = required_of(scheduler, required_);
    if (!required) {
      fail_with(required.error());
      return std::nullopt;
    }
    request_.capabilities = *required;
    const auto opened = scheduler.loop().open(request_, now);
    if (!opened) {
      fail_with(opened.error());
      return std::nullopt;
    }
    finished_.id = *opened;
    return waits_ ? std::optional(*opened) : std::nullopt;
  }
  void on_finished(SchedulerThread& /*scheduler*/, const FinishedOperation& finished) override {
    finished_ = finished;
  }

 private:
  [[nodiscard]] std::string result() const override {
    if (waits_) return dump(result_json(finished_));
    return dump({{"ok", true}, {"operation", static_cast<std::uint64_t>(finished_.id)}});
  }
  bool waits_;
  std::string body_;
  OperationRequest request_;
  std::vector<std::string> required_;
  FinishedOperation finished_;
};

class ControlServer::ReloadJob final : public RequestJob {
 public:
  ReloadJob(ControlServer& server, std::uint64_t connection, Reload reload)
      : RequestJob(server, connection), reload_(std::move(reload)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime /*now*/) override {
    const Tuning& tuning = reload_.tuning;
    const Status done = scheduler.retune(tuning.loop, tuning.stuck_after);
    if (!done) fail_with(done.error());
    return std::nullopt;
  }

 private:
  [[nodiscard]] std::string result() const override {
    return dump({{"ok", true}, {"applied", reload_.applied}, {"waiting", reload_.waiting}});
  }
  Reload reload_;
};

Result<std::unique_ptr<Job>> ControlServer::reload_job(const ConsoleRequest& request) {
  if (!options_.read_again)
    return fail(Errc::unsupported, "reload: this engine was not started with a configuration file");
  MESH_TRY(Reload reload, options_.read_again());
  return std::make_unique<ReloadJob>(*this, request.connection, std::move(reload));
}

Result<std::unique_ptr<Job>> ControlServer::console_job(const ConsoleRequest& request,
                                                        const nlohmann::json& object) {
  if (request.op == "status") return std::make_unique<StatusJob>(*this, request.connection);
  if (request.op == "reload") return reload_job(request);
  if (request.op == "capability") {
    MESH_TRY(std::string name, text_field(object, "name"));
    return std::make_unique<CapabilityJob>(*this, request.connection, std::move(name));
  }
  if (request.op == "send") {
    MESH_TRY(std::string name, text_field(object, "to"));
    MESH_TRY(std::string text, text_field(object, "text"));
    SendJob::To to{std::move(name), std::move(text)};
    MESH_TRY(to.waits, flag_field(object, "wait", false));
    MESH_TRY(to.patience, ms_field(object, "timeout_ms", kAnswerPatience));
    MESH_TRY(to.required, names_field(object, "require"));
    MESH_TRY(to.priority, priority_field(object, to.priority));
    MESH_TRY(to.ttl, ms_field(object, "ttl_ms", to.ttl));
    return std::make_unique<SendJob>(*this, request.connection, std::move(to));
  }
  if (request.op == "scatter" || request.op == "broadcast") {
    auto job = std::make_unique<OperationJob>(*this, request);
    MESH_CHECK_OK(job->read(object));
    return job;
  }
  if (request.op == "cascade") return cascade_job(request, object);
  return fail(Errc::bad_input,
              "request: op '" + request.op +
                  "' is none of attach, reattach, enrol, context, capability, observe, status, "
                  "send, broadcast, scatter, cascade, resolve, contexts, backup, heal, incident, "
                  "reload, down, " +
                  ActingJobs::kOps + ", " + reports::kReportOps);
}

nlohmann::json ControlServer::stations_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [number, station] : stations_) {
    const auto owner = owners_.find(number);
    const auto found =
        owner == owners_.end() ? connections_.end() : connections_.find(owner->second);
    const StationEntry& entry = station->entry();
    nlohmann::json one = {
        {"station", number}, {"name", entry.name}, {"agents", entry.agents}, {"uid", entry.uid}};
    if (found != connections_.end()) {
      one["process"] = found->second->peer.process;
      one["death_known_by"] = found->second->process ? "socket, pidfd" : "socket";
    }
    list.push_back(std::move(one));
    if (list.size() == kStationsListed) break;
  }
  return list;
}

nlohmann::json ControlServer::awaited_json() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [number, awaited] : awaited_) {
    const StationEntry& entry = awaited.station.entry;
    list.push_back({{"station", number}, {"name", entry.name}, {"agents", entry.agents}});
    if (list.size() == kStationsListed) break;
  }
  return list;
}

void ControlServer::add_counts(EngineStatus& status) const noexcept {
  const auto now = [](const auto& count) {
    return count.load(std::memory_order_relaxed);  // relaxed: each stands alone
  };
  status.stations = now(station_count_);
  status.connections = now(connection_count_);
  status.stations_ever = now(stations_ever_);
  status.evicted = now(evicted_ever_);
  status.missing_rights = missing_rights_;
  status.adoption = adoption_;
  status.adoption.returned = now(returned_);
  status.adoption.awaited = now(awaited_count_);
  status.adoption.not_back = now(not_back_);
  status.adoption.refused = now(refused_back_);
}

namespace {

MeshOverview overview_of(SchedulerThread& scheduler) {
  MeshOverview overview;
  const health::MeshWatch& watch = *scheduler.loop().state().gate.watch;
  if (watch.is_whole()) {
    const health::MeshSummary mesh = watch.summaries().mesh();
    overview.mode = watch.mode();
    overview.active = mesh.active;
    overview.expected = mesh.agents;
    overview.sectors_healthy = mesh.healthy_sectors;
    overview.sectors_degraded = mesh.degraded_sectors;
    if (mesh.active != 0)
      overview.mean_impedance_ms = static_cast<double>(mesh.mean) / health::kMeanUnit;
  }
  overview.conflicts_last_hour = scheduler.conflicts_last_hour();
  if (const auto& last = scheduler.last_cascade()) {
    overview.last_cascade = last->finished;
    overview.last_cascade_unix_ns = to_ns(last->at) + scheduler.unix_offset_ns();
  }
  return overview;
}

}  // namespace

EngineStatus status_of(SchedulerThread& scheduler) {
  EngineStatus status;
  status.overview = overview_of(scheduler);
  status.counters = scheduler.loop().counters();
  status.gauges = scheduler.loop().gauges();
  status.agents_active = scheduler.loop().agents_active();
  status.agents_enrolled = scheduler.loop().agents_enrolled();
  const sched::LatenessHistogram& late = scheduler.loop().lateness();
  status.lateness = {late.count(), late.quantile_ns(0.5), late.quantile_ns(0.9),
                     late.quantile_ns(0.99), late.max_ns()};
  status.turns = scheduler.counters().turns;
  status.parks = scheduler.counters().parks;
  status.retunes = scheduler.counters().retunes;
  for (const SchedulerThread::Stuck& one : scheduler.stuck()) {
    status.stuck.push_back({one.station, one.standing});
  }
  return status;
}

}  // namespace mesh::engine
