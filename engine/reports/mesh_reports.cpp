#include "engine/reports/mesh_reports.hpp"

#include <thread>

namespace mesh::engine::reports {

Result<RatesReport> MeshReports::rates(Nanos interval) const {
  if (interval < kRatesIntervalMin || interval > kRatesIntervalMax)
    return fail(Errc::bad_input, "interval: " + std::to_string(interval.count() / kNsPerMs) +
                                     " ms is not 100 to 3600000");
  MESH_TRY(const SeenMesh seen, SeenMesh::open(directory_));
  RatesReport report;
  const Looks looks{[&seen] { return read_counters(seen.table); },
                    [](Nanos time) {
                      std::this_thread::sleep_for(time);
                      return true;
                    }};
  MESH_CHECK_OK(follow(looks, {interval, 1}, [&](const auto& before, const auto& after) {
    report = {before, after};
  }));
  return report;
}

Result<TopSnapshot> MeshReports::top() const {
  TopSight sight(directory_);
  MESH_TRY(TopSnapshot seen, sight.look());
  for (int i = 0; i < kTopLooksMax && !sight.has_rates() && seen.engine_running == true; ++i) {
    std::this_thread::sleep_for(kTopLookAgain);
    MESH_TRY(seen, sight.look());
  }
  return seen;
}

Result<std::unique_ptr<Store>> MeshReports::open() const {
  if (store_.empty())
    return fail(Errc::unsupported,
                "this engine keeps no conflicts and no history: it was started without --store");
  return open_store({.where = store_});
}

Result<std::vector<ConflictSeen>> MeshReports::conflicts(const RecordQuery& query) const {
  MESH_TRY(const auto store, open());
  return find_conflicts(*store, query);
}

Result<Verification> MeshReports::verify_conflicts(const std::optional<ChainHead>& kept) const {
  MESH_TRY(const auto store, open());
  return store->verify(kept);
}

Result<std::vector<OperationResult>> MeshReports::operations(const HistoryWanted& wanted) const {
  MESH_CHECK_OK(validate(wanted));
  MESH_TRY(const auto store, open());
  return past_operations(*store, wanted, unix_now_ns());
}

Result<std::vector<TrendRow>> MeshReports::agents(const HistoryWanted& wanted) const {
  MESH_CHECK_OK(validate(wanted));
  MESH_TRY(const auto store, open());
  return past_agents(*store, wanted, shape_of(directory_), unix_now_ns());
}

}  // namespace mesh::engine::reports
