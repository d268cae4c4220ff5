// MeshReports: what a mesh says of itself, to whoever embeds its engine or stands beside it: its
// counters and how fast they grow, errors, KPIs, health, a live frame, a doctor's look, and, of its
// store, conflicts and history. The verbs of `mesh` print these, and control requests answer them
// (engine/reports/report_requests.hpp): there is one of each.
//
// Callers     any thread; several at a time. Never the scheduler's or the control thread.
// Progress    reads the files of the mesh's directory, which only its owner can, and its store;
//             asks no engine but for doctor(). rates() and top() wait for the engine to publish,
//             which it does once a second.
// Cost        a call opens and maps what it needs: some system calls, and what it reads.
// If the      dies or hangs: what it wrote stands, and every report says how old it is.
// engine
// dies
// Errors      no_mesh, not_yours, permission_denied, layout_mismatch (engine/observed_mesh.hpp);
//             bad_input names what is wrong and what it may be; not_ready: no engine has published
//             yet; unsupported: there is no store; and the store's own.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/reports/conflict_report.hpp"
#include "engine/reports/doctor_report.hpp"
#include "engine/reports/health_report.hpp"
#include "engine/reports/history_report.hpp"
#include "engine/reports/kpi.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/mesh_errors.hpp"
#include "engine/reports/top_snapshot.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

// Two looks at the counters, one after the other.
struct RatesReport {
  MeshCounters before;
  MeshCounters after;
};
inline constexpr Nanos kRatesIntervalMin{100 * kNsPerMs};
inline constexpr Nanos kRatesIntervalMax{3'600 * kNsPerSecond};

class MeshReports {
 public:
  // `store`: where conflicts and history are (engine/store/store.hpp); empty: there is none.
  explicit MeshReports(std::string directory, std::string store = {})
      : directory_(std::move(directory)), store_(std::move(store)) {}

  [[nodiscard]] Result<CounterReport> counters(const std::string& pattern = {}) const {
    return report_counters(directory_, pattern);
  }
  // Waits for `interval`, and up to 1.5 s more for an engine that has not published since.
  [[nodiscard]] Result<RatesReport> rates(Nanos interval = Nanos{kNsPerSecond}) const;
  [[nodiscard]] Result<ErrorReport> errors() const { return report_errors(directory_); }
  [[nodiscard]] Result<KpiReport> kpis() const { return report_kpis(directory_); }
  [[nodiscard]] Result<HealthReport> health(const HealthWanted& wanted = {}) const {
    return report_health(directory_, wanted);
  }
  // With rates where an engine runs: waits up to 1.4 s for them.
  [[nodiscard]] Result<TopSnapshot> top() const;
  [[nodiscard]] Result<DoctorReport> doctor() const {
    return look_at_mesh(directory_, [](const DoctorRow&) {});
  }

  [[nodiscard]] Result<std::vector<ConflictSeen>> conflicts(const RecordQuery& query = {}) const;
  // Walks the whole chain.
  [[nodiscard]] Result<Verification> verify_conflicts(
      const std::optional<ChainHead>& kept = std::nullopt) const;
  [[nodiscard]] Result<std::vector<OperationResult>> operations(
      const HistoryWanted& wanted = {}) const;
  [[nodiscard]] Result<std::vector<TrendRow>> agents(const HistoryWanted& wanted = {}) const;

  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }

 private:
  [[nodiscard]] Result<std::unique_ptr<Store>> open() const;

  std::string directory_;
  std::string store_;
};

}  // namespace mesh::engine::reports
