// A console's question to one cluster, whose lead asks it: the request as it comes, and the answer.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/cluster_quorum.hpp"
#include "engine/control_jobs.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

json quorum_json(const QuorumReport& report) {
  const sched::QuorumCounts counts = quorum_of(report.agents);
  const sched::QuorumVerdict& verdict = report.verdict;
  json not_ready = json::array();  // of a cluster: a packet holds them
  for (const QuorumMember& one : report.not_ready)
    not_ready.push_back({{"agent", one.name}, {"state", state_name(one.state)}});
  json object = {
      {"ok", true},
      {"cluster", report.cluster},
      {"lead", report.lead},
      {"lead_step", name_of(report.lead_step)},
      {"status", report.is_success ? "SUCCESS" : "PARTIAL"},
      {"decision", sched::name_of(verdict.decision)},
      {"sentence", verdict.sentence},
      {"targeted", report.agents.targeted},
      {"sent", report.agents.sent},
      {"ready", counts.ready},
      {"conflict", counts.conflict},
      {"transit", counts.transit},
      {"not_ready", std::move(not_ready)},
      {"promoted", report.promoted},
      {"took_ms", static_cast<double>(report.took.count()) / static_cast<double>(kNsPerMs)}};
  object["confidence"] = nullptr;
  if (verdict.decision == sched::QuorumDecision::kProceed)
    object["confidence"] = verdict.confidence;
  return object;
}

}  // namespace

class ControlServer::ActingJobs::Quorum final : public RequestJob {
 public:
  Quorum(ControlServer& server, std::uint64_t connection, QuorumRequest request)
      : RequestJob(server, connection), request_(std::move(request)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    const auto opened = scheduler.loop().open_cascade(cascade_of(request_), now);
    if (opened) return *opened;
    fail_with(opened.error());
    return std::nullopt;
  }
  void on_cascade(SchedulerThread& scheduler, const FinishedCascade& finished) override {
    report_ = quorum_report(scheduler.loop(), finished);
  }

 private:
  [[nodiscard]] std::string result() const override { return dump(quorum_json(report_)); }
  QuorumRequest request_;
  QuorumReport report_;
};

Status ControlServer::ActingJobs::begin_quorum(ControlServer& server, const ConsoleRequest& request,
                                               const json& object) {
  QuorumRequest wanted;
  MESH_TRY(wanted.question, text_field(object, "text"));
  MESH_TRY(const std::uint64_t cluster, count_field(object, "cluster"));
  if (cluster > UINT32_MAX)
    return fail(Errc::bad_input, "field 'cluster': " + std::to_string(cluster));
  wanted.cluster = static_cast<std::uint32_t>(cluster);
  MESH_TRY(wanted.lead_window, ms_field(object, "lead_timeout_ms", wanted.lead_window));
  MESH_TRY(wanted.window, ms_field(object, "timeout_ms", wanted.window));
  MESH_TRY(wanted.priority, priority_field(object, wanted.priority));
  server.post(std::make_unique<Quorum>(server, request.connection, std::move(wanted)));
  return {};
}

}  // namespace mesh::engine
