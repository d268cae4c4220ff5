// A console's decision about a conflict.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"
#include "engine/history_keeper.hpp"
#include "engine/running_conflicts.hpp"

namespace mesh::engine {
using nlohmann::json;

Status ControlServer::begin_resolve(const ConsoleRequest& request, const json& object) {
  if (options_.conflicts == nullptr)
    return fail(Errc::unsupported,
                "resolve: this engine records no conflicts: it was started without --store");
  MESH_TRY(const std::string name, text_field(object, "conflict"));
  MESH_TRY(std::string decision, text_field(object, "decision"));
  MESH_TRY(const SubjectId conflict, subject_of(name));
  options_.conflicts->resolve(
      conflict, std::move(decision),
      [this, name, connection = request.connection](const Status& status) {
        tell(connection, status ? dump({{"ok", true}, {"conflict", name}, {"state", "resolved"}})
                                : error_json(status.error()));
      });
  return {};
}

json ControlServer::history_json() const {
  if (options_.conflicts == nullptr || options_.conflicts->history() == nullptr) return nullptr;
  const HistoryStatus status = options_.conflicts->history()->status();
  return {{"points", status.points},
          {"results", status.results},
          {"points_lost", status.points_lost},
          {"results_lost", status.results_lost},
          {"results_refused", status.results_refused},
          {"waiting", status.waiting},
          {"trimmed", status.trimmed},
          {"last_failure", status.last_failure}};
}

json ControlServer::conflicts_json() const {
  if (options_.conflicts == nullptr) return nullptr;
  const ConflictOfficeStatus status = options_.conflicts->status();
  const RecorderStatus& recorder = status.recorder;
  return {{"store", options_.conflicts->where()},
          {"store_is_up", recorder.is_store_up},
          {"noted", status.noted},
          {"refused", status.refused},
          {"recorded", status.recorded},
          {"waiting", status.waiting},
          {"unplaced", status.unplaced},
          {"open", status.open},
          {"for_person", status.for_person},
          {"resolved", status.resolved},
          {"escalated", status.escalated},
          {"overdue", status.overdue},
          {"spilled", recorder.waiting},
          {"stored", recorder.stored},
          {"commits", recorder.groups},
          {"last_failure", recorder.last_failure}};
}

}  // namespace mesh::engine
