#include "tools/mesh_errors.hpp"

#include <ctime>

#include "engine/station/control_protocol.hpp"
#include "sched/clock.hpp"
#include "tools/text.hpp"

namespace mesh::tools {

using Json = nlohmann::ordered_json;

Result<std::vector<ErrorSeen>> read_errors(const ObservedMesh::Memory& table) {
  const std::span<const std::byte> bytes = table.mapping.bytes();
  MESH_TRY(const auto clock, table.layout.array<sched::ClockWords>(bytes, "clock"));
  sched::ClockReader<> reader(clock.front());
  const auto start_ns = static_cast<std::int64_t>(
      table.header.parameters[static_cast<std::size_t>(engine::MemoryParameter::start_ns)]);
  const std::int64_t unix_offset_ns = table.header.created_ns - start_ns;
  std::vector<ErrorSeen> seen;
  for (const char* const thread : {"scheduler", "control"}) {
    MESH_TRY(const auto view, engine::ErrorLogView::over(table.layout, bytes, thread));
    for (engine::SeenError& error : view.read()) {
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

std::string utc_text(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / kNsPerSecond;
  std::tm parts{};
  char text[32];
  if (unix_ns <= 0 || gmtime_r(&seconds, &parts) == nullptr) return {};
  if (std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) return {};
  return text;
}

Json errors_json(const ObservedMesh& mesh, const std::vector<ErrorSeen>& errors) {
  const EngineSeen engine = mesh.engine();
  Json report = {{"directory", mesh.directory()},
                 {"engine_running", engine.running ? Json(*engine.running) : Json(nullptr)},
                 {"distinct", errors.size()}};
  Json list = Json::array();
  for (const ErrorSeen& one : errors) {
    list.push_back({{"count", one.error.count},
                    {"first", utc_text(one.first_unix_ns)},
                    {"last", utc_text(one.last_unix_ns)},
                    {"last_age_ms", one.last_age_ms},
                    {"code", name_of(one.error.code)},
                    {"error", one.error.text}});
  }
  report["errors"] = std::move(list);
  return report;
}

}  // namespace mesh::tools
