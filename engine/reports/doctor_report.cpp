#include "engine/reports/doctor_report.hpp"

#include <algorithm>
#include <cmath>

namespace mesh::engine::reports {

std::string_view name_of(Finding finding) noexcept {
  switch (finding) {
    case Finding::pass:
      return "pass";
    case Finding::warning:
      return "warning";
    case Finding::fail:
      return "FAIL";
    default:
      return "skipped";
  }
}

bool DoctorReport::is_well() const noexcept {
  return std::none_of(rows.begin(), rows.end(), [](const DoctorRow& row) {
    return row.finding == Finding::fail || row.finding == Finding::skipped;
  });
}

Json doctor_json(const DoctorReport& report) {
  Json object = {
      {"directory", report.directory}, {"own_mesh", report.is_own}, {"well", report.is_well()}};
  Json list = Json::array();
  for (const DoctorRow& row : report.rows) {
    list.push_back({{"check", row.check},
                    {"finding", name_of(row.finding)},
                    {"ms", std::round(row.ms * 10) / 10},
                    {"says", row.says}});
  }
  object["checks"] = std::move(list);
  return object;
}

}  // namespace mesh::engine::reports
