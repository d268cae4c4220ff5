// A console's pipeline: the request as it comes, and the answer.
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/control_jobs.hpp"
#include "engine/loop/pipelines.hpp"
#include "engine/station/control_protocol.hpp"
#include "engine/station/delivery.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kRestOfPipeline = 20'480;  // of a packet: its steps

double ms_between(HostTime from, HostTime to) noexcept {
  return static_cast<double>(to_ns(to) - to_ns(from)) / static_cast<double>(kNsPerMs);
}

json step_json(const PipelineStep& step, const std::string& name, HostTime started) {
  json one = {{"agent", name},
              {"state", name_of(step.state)},
              {"target_ms", ms_between(started, step.target)},
              {"sent_ms", nullptr},
              {"answered_ms", nullptr}};
  if (step.sent != HostTime{}) one["sent_ms"] = ms_between(started, step.sent);
  if (step.answered != HostTime{}) one["answered_ms"] = ms_between(started, step.answered);
  return one;
}

}  // namespace

class ControlServer::ActingJobs::Pipeline final : public RequestJob {
 public:
  Pipeline(ControlServer& server, std::uint64_t connection) : RequestJob(server, connection) {}
  Status read(const json& object) {
    MESH_TRY(names_, names_field(object, "agents"));
    if (object.contains("text")) {
      MESH_TRY(body_, text_field(object, "text"));
    }
    MESH_TRY(request_.horizon, ms_field(object, "horizon_ms", request_.horizon));
    MESH_TRY(request_.window, ms_field(object, "window_ms", request_.window));
    MESH_TRY(const double weight, number_field(object, "weight", request_.weight));
    request_.weight = static_cast<float>(weight);
    MESH_TRY(request_.verb, verb_field(object, request_.verb));
    MESH_TRY(request_.priority, priority_field(object, request_.priority));
    request_.body = std::as_bytes(std::span(body_));
    return {};
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    std::vector<AgentId> targets;
    for (const std::string& name : names_) {
      const auto id = scheduler.loop().find(name);
      if (!id) {
        fail_with({Errc::no_such_agent, 0, "pipeline: no agent is called '" + name + "'"});
        return std::nullopt;
      }
      targets.push_back(*id);
    }
    request_.targets = targets;
    started_ = now;
    const auto opened = open_pipeline(scheduler.loop(), request_, now);
    if (opened) return *opened;
    fail_with(opened.error());
    return std::nullopt;
  }
  void on_pipeline(SchedulerThread& /*scheduler*/, const FinishedPipeline& finished) override {
    finished_ = finished;
  }

 private:
  [[nodiscard]] std::string result() const override {
    json steps = json::array();
    for (std::size_t at = 0; at < finished_.steps.size(); ++at)
      steps.push_back(step_json(finished_.steps[at], names_[at], started_));
    json object = {{"ok", true},
                   {"pipeline", static_cast<std::uint64_t>(finished_.id)},
                   {"status", name_of(finished_.status)},
                   {"done", finished_.done()},
                   {"of", finished_.steps.size()},
                   {"target_ms", ms_between(started_, finished_.target)},
                   {"total_ms", static_cast<double>(finished_.total_ns) / kNsPerMs}};
    put_answer(object);
    object["steps"] = std::move(steps);
    return dump(object);
  }
  // A conflict's body begins with its two values.
  void put_answer(json& object) const {
    std::span<const std::byte> body = finished_.body;
    object["state"] = state_name(finished_.state);
    if (finished_.state == sched::TrinaryState::conflict && body.size() >= sizeof(ConflictValues)) {
      ConflictValues values{};
      std::memcpy(&values, body.data(), sizeof values);
      object["conflict"] = {{"expected", values.expected}, {"received", values.received}};
      body = body.subspan(sizeof values);
    }
    put_body(object, body, kControlPacketBytes - kRestOfPipeline);
  }
  std::vector<std::string> names_;
  std::string body_;
  PipelineRequest request_;
  HostTime started_{};
  FinishedPipeline finished_;
};

Status ControlServer::ActingJobs::begin_pipeline(ControlServer& server,
                                                 const ConsoleRequest& request,
                                                 const json& object) {
  auto job = std::make_unique<Pipeline>(server, request.connection);
  MESH_CHECK_OK(job->read(object));
  server.post(std::move(job));
  return {};
}

}  // namespace mesh::engine
