#include "engine/reports/mesh_errors.hpp"

#include <algorithm>
#include <utility>

#include "sched/clock.hpp"

namespace mesh::engine::reports {

Result<std::vector<ErrorSeen>> read_errors(const ObservedMesh::Memory& table) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  const std::int64_t unix_offset_ns = table.header.created_ns - start_ns_of(table);
  std::vector<ErrorSeen> seen;
  for (const char* const thread : {"scheduler", "control"}) {
    MESH_TRY(const auto view, ErrorLogView::over(table.layout, bytes, thread));
    for (SeenError& error : view.read()) {
      ErrorSeen one{.error = std::move(error)};
      one.first_unix_ns = to_ns(one.error.first) + unix_offset_ns;
      one.last_unix_ns = to_ns(one.error.last) + unix_offset_ns;
      seen.push_back(std::move(one));
    }
  }
  const HostTime now = reader.now();
  for (ErrorSeen& one : seen) {
    const auto age = [&](HostTime then) {
      return std::max<std::int64_t>((now - then).count() / kNsPerMs, 0);
    };
    one.first_age_ms = age(one.error.first);
    one.last_age_ms = age(one.error.last);
  }
  std::stable_sort(seen.begin(), seen.end(), [](const ErrorSeen& a, const ErrorSeen& b) {
    return a.error.last > b.error.last;
  });
  return seen;
}

Result<ErrorReport> report_errors(const std::string& directory) {
  MESH_TRY(const SeenMesh seen, SeenMesh::open(directory));
  MESH_TRY(std::vector<ErrorSeen> errors, read_errors(seen.table));
  return ErrorReport{seen.whence(), std::move(errors)};
}

Json errors_json(const ErrorReport& report) {
  Json object = {{"directory", report.whence.directory},
                 {"engine_running", or_null(report.whence.engine.running)},
                 {"distinct", report.errors.size()}};
  Json list = Json::array();
  for (const ErrorSeen& one : report.errors) {
    list.push_back({{"count", one.error.count},
                    {"first", utc_text(one.first_unix_ns)},
                    {"last", utc_text(one.last_unix_ns)},
                    {"last_age_ms", one.last_age_ms},
                    {"code", name_of(one.error.code)},
                    {"error", one.error.text}});
  }
  object["errors"] = std::move(list);
  return object;
}

}  // namespace mesh::engine::reports
