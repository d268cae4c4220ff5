// Requests for what passes: a page of deliveries, a page of a recording, a recording played again.
//
// Callers     engine/reports/report_requests.cpp.
// Errors      bad_input, as engine/reports/request_fields.hpp.
#pragma once

#include "engine/reports/report_requests.hpp"
#include "engine/reports/request_fields.hpp"

namespace mesh::engine::reports {

[[nodiscard]] Result<ReportRequest> tail_request(const RequestObject& object);
[[nodiscard]] Result<ReportRequest> record_request(const RequestObject& object);
[[nodiscard]] Result<ReportRequest> replay_request(const RequestObject& object);

}  // namespace mesh::engine::reports
