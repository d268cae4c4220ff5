// What `mesh top` shows of a mesh: one frame, read from the files of its directory.
//
// Callers     one thread, cold. Asks no engine.
// Units       as the names say. What is not known, or has not been written yet, is none.
// Errors      as ObservedMesh's and Layout::column.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/observed_mesh.hpp"
#include "engine/reports/mesh_counters.hpp"
#include "engine/reports/report_json.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::reports {

struct TopSector {
  std::uint32_t sector = 0;
  std::uint32_t agents = 0;
  std::uint32_t active = 0;
  std::optional<double> mean_ms{};  // impedance of those who are active
  bool is_passable = true;          // its breaker is closed
};

struct TopBreaker {
  std::string what;  // "sector 7"
  std::string state;
};

struct TopError {
  std::string code;
  std::uint64_t count = 0;
  std::int64_t age_ms = 0;  // of the last time
  std::string text;
};

struct TopRate {
  std::string what;
  std::optional<double> per_second;
};

struct TopOperation {
  std::uint64_t id = 0;
  std::string kind{};
  bool is_running = false;
  std::uint64_t targeted = 0;
  std::uint64_t sent = 0;
  std::uint64_t ready = 0;
  std::uint64_t conflict = 0;
  std::optional<std::int64_t> to_t_ms{};  // negative: T is over. None: it has none
  std::int64_t age_ms = 0;                // since it was opened
  std::optional<std::int64_t> ended_age_ms{};
};

struct TopSnapshot {
  std::string directory;
  std::optional<bool> engine_running;
  std::optional<std::int64_t> engine_process;
  std::optional<std::int64_t> age_ms;  // of the counters; none: never written

  std::optional<std::string> mode;
  std::int64_t mode_for_ms = 0;
  std::optional<std::uint64_t> agents, active, stations;
  std::optional<double> mean_ms, p95_ms;
  std::optional<std::uint64_t> sectors_healthy, sectors_degraded;

  std::optional<std::uint64_t> operations_open, operations_ended, operations_quorum;
  std::optional<std::uint64_t> conflicts, messages_open, pending_open;
  std::optional<double> lateness_p50_us, lateness_p99_us, lateness_max_us;
  std::optional<std::uint64_t> refused, lost_replies, crashes, spikes;
  std::vector<TopRate> rates;

  std::vector<TopSector> sectors;    // by number, the empty ones too
  std::vector<TopBreaker> breakers;  // those that are not closed
  std::optional<std::uint64_t> operations_running;
  std::vector<TopOperation> operations;  // those that run, then the last that ended
  std::vector<TopError> errors;          // the latest first
};

// Rates are between `before` and `now`; null: not known. `now` null: nothing was ever published.
struct TopCounters {
  const MeshCounters* before = nullptr;
  const MeshCounters* now = nullptr;
};
Result<TopSnapshot> top_snapshot(const ObservedMesh& mesh, const ObservedMesh::Memory& table,
                                 const TopCounters& counters);
[[nodiscard]] Json top_json(const TopSnapshot& seen);

// A mesh that is looked at again and again: between two looks that an engine has written between
// there are rates. A new mesh in the directory is found by itself.
class TopSight {
 public:
  explicit TopSight(std::string directory) : directory_(std::move(directory)) {}
  [[nodiscard]] Result<TopSnapshot> look();
  [[nodiscard]] bool has_rates() const noexcept { return before_.has_value(); }

 private:
  Status open();

  std::string directory_;
  std::optional<ObservedMesh> mesh_;
  std::optional<ObservedMesh::Memory> table_;
  std::optional<MeshCounters> before_, now_;
};
// Of an engine that runs there are two within so many looks, kTopLookAgain apart.
inline constexpr int kTopLooksMax = 14;
inline constexpr Nanos kTopLookAgain{100 * kNsPerMs};

}  // namespace mesh::engine::reports
