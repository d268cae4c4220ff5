// A console's request for a report: it is made on the desk's own threads.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/control_jobs.hpp"
#include "engine/reports/report_requests.hpp"

namespace mesh::engine {

Status ControlServer::begin_report(const ConsoleRequest& request, const nlohmann::json& object) {
  MESH_TRY(reports::ReportRequest wanted, reports::request_of(request.op, object));
  options_.report_desk->post(std::move(wanted), [this, connection = request.connection](
                                                    const Result<std::string>& packet) {
    tell(connection, packet ? *packet : error_json(packet.error()));
  });
  return {};
}

}  // namespace mesh::engine
