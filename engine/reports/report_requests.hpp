// ReportRequests: the reports on a mesh as control requests: what a request asks for, checked, and
// the packet that answers it. docs/CONTROL.md says what each may hold.
//
// Callers     request_of: the control thread. ReportDesk::post: any; the answer comes on one of its
//             threads.
// Progress    request_of reads nothing but the request.
// Errors      bad_input: a field that the request does not have, of another type, or out of its
//             range; the sentence names it, the value, and what it may be. Those of a report:
//             engine/reports/mesh_reports.hpp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/reports/mesh_reports.hpp"
#include "engine/reports/report_json.hpp"
#include "engine/reports/reporter.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

inline constexpr const char* kReportOps =
    "stat, hz, errors, kpi, health, top, doctor, conflicts, history, tail, record, replay";
[[nodiscard]] bool is_report(std::string_view op) noexcept;

// Its answer, or when to go on with it.
struct ReportStep {
  std::optional<Json> answer{};
  Nanos again{0};
};

// A database may take its time, and a recording is played as long as it was; neither holds up what
// the table alone says.
enum class ReportThread : std::uint8_t { table, store, player };

struct ReportOn {
  const MeshReports& mesh;
  const std::atomic<bool>& is_stopping;
};
struct ReportRequest {
  std::function<Result<ReportStep>(const ReportOn& on)> step{};
  std::vector<std::string> lists{};  // of the answer, that may be too long for a packet
  std::uint64_t skip = 0;            // so many of the first of them
  ReportThread by = ReportThread::table;
};
// `op` is_report().
[[nodiscard]] Result<ReportRequest> request_of(const std::string& op, const nlohmann::json& object);

// {ok, ..., left_out}: as much of the lists as a packet of `bytes_max` holds; `left_out` says of
// each how many found no room, from its end.
[[nodiscard]] std::string packet_of(Json report, const ReportRequest& request,
                                    std::size_t bytes_max);

class ReportDesk {
 public:
  explicit ReportDesk(MeshReports mesh) : mesh_(std::move(mesh)) {}
  [[nodiscard]] const MeshReports& mesh() const noexcept { return mesh_; }

  // The packet that answers; an engine that stops first destroys `tell` untold.
  using Tell = std::function<void(Result<std::string> packet)>;
  void post(ReportRequest request, Tell tell);
  void stop();

 private:
  [[nodiscard]] Reporter& reporter_of(ReportThread by) noexcept;

  MeshReports mesh_;
  std::atomic<bool> is_stopping_{false};
  Reporter of_table_, of_store_, of_player_;
};

}  // namespace mesh::engine::reports
