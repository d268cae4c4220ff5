// A console's cascade: the request as it comes, and the answer.
#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

constexpr std::size_t kMissedListed = 256;  // a packet holds so many

double ms_of(std::int64_t ns) noexcept { return static_cast<double>(ns) / kNsPerMs; }

Result<CascadeStrategy> strategy_field(const json& object) {
  if (!object.contains("strategy")) return CascadeStrategy::wave;
  MESH_TRY(const std::string name, text_field(object, "strategy"));
  for (const CascadeStrategy strategy :
       {CascadeStrategy::wave, CascadeStrategy::parallel, CascadeStrategy::priority_first})
    if (name == name_of(strategy)) return strategy;
  return fail(Errc::bad_input, "field 'strategy': wave, parallel or priority_first is expected");
}

json counts_json(const CascadeCounts& counts) {
  return {{"targeted", counts.targeted},
          {"sent", counts.sent},
          {"ready", counts.ready},
          {"conflict", counts.conflict}};
}

json phases_json(const FinishedCascade& finished) {
  json list = json::array();
  for (std::uint32_t i = 0; i < finished.phase_count; ++i) {
    const CascadePhaseResult& phase = finished.phases[i];
    json one = counts_json(phase.agents);
    if (finished.strategy == CascadeStrategy::priority_first) {
      const auto of = static_cast<std::size_t>(phase.agent_class);
      one["class"] = std::string(1, sched::kAgentClasses[of].letter);
    }
    one["ready_min"] = phase.ready_min_ppm / 1e6;
    one["ran"] = phase.has_run;
    one["degraded"] = phase.is_degraded;
    list.push_back(std::move(one));
  }
  return list;
}

// Who is not known any more, and who never was there, has no name.
std::vector<std::string> leaders_of(const EngineLoop& loop, std::span<const CascadeUnit> missed) {
  std::vector<std::string> names;
  for (const CascadeUnit& unit : missed.first(std::min(missed.size(), kMissedListed))) {
    auto known = loop.known(unit.leader);
    names.push_back(known ? std::move(known->name) : std::string());
  }
  return names;
}

json missed_json(std::span<const CascadeUnit> missed, std::span<const std::string> leaders) {
  json list = json::array();
  for (std::size_t i = 0; i < leaders.size(); ++i) {
    const CascadeUnit& unit = missed[i];
    list.push_back({{"level", unit.is_sector ? "sector" : "cluster"},
                    {"index", unit.index},
                    {"why", name_of(unit.step)},
                    {"leader", static_cast<std::uint64_t>(unit.leader)},
                    {"leader_name", leaders[i].empty() ? json(nullptr) : json(leaders[i])}});
  }
  return list;
}

}  // namespace

class ControlServer::CascadeJob final : public RequestJob {
 public:
  CascadeJob(ControlServer& server, std::uint64_t connection) : RequestJob(server, connection) {}
  Status read(const json& object) {
    MESH_TRY(request_.strategy, strategy_field(object));
    MESH_TRY(request_.sector_window, ms_field(object, "sector_window_ms", request_.sector_window));
    MESH_TRY(request_.cluster_window,
             ms_field(object, "cluster_window_ms", request_.cluster_window));
    MESH_TRY(request_.agent_window, ms_field(object, "agent_window_ms", request_.agent_window));
    MESH_TRY(request_.window, ms_field(object, "window_ms", request_.window));
    MESH_TRY(horizon_, ms_field(object, "horizon_ms", Nanos{0}));
    MESH_TRY(request_.sector_ready_min,
             number_field(object, "sector_ready_min", request_.sector_ready_min));
    MESH_TRY(request_.ready_min, number_field(object, "ready_min", request_.ready_min));
    MESH_TRY(const double weight, number_field(object, "weight", request_.weight));
    request_.weight = static_cast<float>(weight);
    MESH_TRY(request_.verb, verb_field(object, request_.verb));
    MESH_TRY(request_.priority, priority_field(object, request_.priority));
    MESH_TRY(request_.confirmed, flag_field(object, "confirmed", false));
    MESH_TRY(body_, text_field(object, "text"));
    request_.body = std::as_bytes(std::span(body_));
    return {};
  }
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    if (horizon_ > Nanos{0}) request_.target = now + horizon_;
    const auto opened = scheduler.loop().open_cascade(request_, now);
    if (opened) return *opened;
    fail_with(opened.error());
    return std::nullopt;
  }
  void on_cascade(SchedulerThread& scheduler, const FinishedCascade& finished) override {
    finished_ = finished;
    missed_ = scheduler.loop().missed_units(finished.id);
    leaders_ = leaders_of(scheduler.loop(), missed_);
  }

 private:
  [[nodiscard]] std::string result() const override {
    const FinishedCascade& finished = finished_;
    json object = {{"ok", true},
                   {"cascade", static_cast<std::uint64_t>(finished.id)},
                   {"strategy", name_of(finished.strategy)},
                   {"status", name_of(finished.status)},
                   {"agents", counts_json(finished.agents)},
                   {"operations", finished.operations},
                   {"total_ms", ms_of(finished.total_ns)},
                   {"engine_ms", ms_of(finished.engine_ns)}};
    if (finished.strategy == CascadeStrategy::wave) {
      object["sectors"] = {{"reached", finished.sectors_reached}, {"of", finished.sectors}};
      object["clusters"] = {{"reached", finished.clusters_reached}, {"of", finished.clusters}};
      object["promoted"] = finished.promoted;
      object["missed"] = missed_json(missed_, leaders_);
      object["missed_count"] = missed_.size();
    } else {
      object["phases"] = phases_json(finished);
    }
    return dump(object);
  }
  std::string body_;
  Nanos horizon_{};
  CascadeRequest request_;
  FinishedCascade finished_;
  std::vector<CascadeUnit> missed_;
  std::vector<std::string> leaders_;  // of the first of them
};

Result<std::unique_ptr<Job>> ControlServer::cascade_job(const ConsoleRequest& request,
                                                        const json& object) {
  auto job = std::make_unique<CascadeJob>(*this, request.connection);
  MESH_CHECK_OK(job->read(object));
  return job;
}

}  // namespace mesh::engine
