// A console's wish for more agents, and how far they are.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/acting_jobs.hpp"
#include "engine/control_jobs.hpp"
#include "engine/recovery/recovery.hpp"
#include "engine/scale.hpp"

namespace mesh::engine {
namespace {

using nlohmann::json;

json scale_json(const ScaleReport& report) {
  return {{"ok", true},
          {"agents", report.agents},
          {"prefix", report.batch.prefix},
          {"first", report.batch.first},
          {"last", report.batch.last},
          {"processes", report.processes},
          {"clusters_filled", report.clusters_filled},
          {"clusters_created", report.clusters_created},
          {"sectors", report.sectors},
          {"without_cluster", report.without_cluster}};
}

Result<std::uint32_t> scale_count(const json& object, const char* key) {
  MESH_TRY(const std::uint64_t count, count_field(object, key));
  if (count <= kMaxAgents) return static_cast<std::uint32_t>(count);
  return fail(Errc::bad_input, std::string("field '") + key + "': " + std::to_string(count) +
                                   "; at most " + std::to_string(kMaxAgents));
}

}  // namespace

Status ControlServer::ActingJobs::begin_scale(ControlServer& server, const ConsoleRequest& request,
                                              const json& object) {
  ScaleRequest wanted;
  MESH_TRY(wanted.count, scale_count(object, "count"));
  if (object.contains("class")) {
    MESH_TRY(wanted.agent_class, class_field(object));
  }
  if (object.contains("prefix")) {
    MESH_TRY(wanted.prefix, text_field(object, "prefix"));
  }
  if (object.contains("per_process")) {
    MESH_TRY(wanted.per_process, scale_count(object, "per_process"));
  }
  server.post(scale_job(std::move(wanted), server.scale_on(),
                        [&server, number = request.connection](const Result<ScaleReport>& report) {
                          server.tell(number, report ? dump(scale_json(*report))
                                                     : error_json(report.error()));
                        }));
  return {};
}

Status ControlServer::ActingJobs::begin_scaling(ControlServer& server,
                                                const ConsoleRequest& request, const json& object) {
  ScaleBatch batch;
  MESH_TRY(batch.prefix, text_field(object, "prefix"));
  MESH_TRY(batch.first, count_field(object, "first"));
  MESH_TRY(batch.last, count_field(object, "last"));
  MESH_TRY(const ScaleProgress progress,
           scale_progress(server.options_.size, server.options_.table, batch));
  json said = {{"ok", true},
               {"awaited", progress.awaited},
               {"settling", progress.settling},
               {"admitted", progress.admitted}};
  if (server.options_.recovery != nullptr) {
    const RecoveryStatus recovery = server.options_.recovery->status();
    said["processes_given_up"] = recovery.given_up;
    if (!recovery.last_failure.empty()) said["last_failure"] = recovery.last_failure;
  }
  answer(server, request.connection, said);
  return {};
}

ScaleOn ControlServer::scale_on() const noexcept {
  // relaxed: a station that comes or goes meanwhile is met when it does.
  const std::size_t taken = station_count_.load(std::memory_order_relaxed);
  const std::uint64_t stations = options_.size.stations;
  return {options_.recovery, stations > taken ? stations - taken : 0,
          options_.size.agents_per_cluster};
}

}  // namespace mesh::engine
