#include "engine/reports/history_report.hpp"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/cascade.hpp"
#include "engine/observed_mesh.hpp"

namespace mesh::engine::reports {
namespace {

std::string_view operation_name_of(std::uint8_t kind, std::uint8_t strategy) {
  switch (static_cast<ResultKind>(kind)) {
    case ResultKind::scatter:
      return "scatter";
    case ResultKind::broadcast:
      return "broadcast";
    case ResultKind::cascade:
      return engine::name_of(static_cast<CascadeStrategy>(strategy));
    case ResultKind::quorum:
      return "quorum";
  }
  return "unknown";
}

// A wall time, or unknown.
Json utc_or_null(WireTime at) {
  const auto ns = static_cast<std::int64_t>(at);
  return ns == 0 ? Json(nullptr) : Json(utc_text(ns));
}

double wire_ms_between(WireTime from, WireTime to) {
  return static_cast<double>(static_cast<std::int64_t>(to) - static_cast<std::int64_t>(from)) /
         kNsPerMs;
}

Json past_operation_json(const OperationResult& one) {
  const bool is_timed = static_cast<std::int64_t>(one.target) != 0;
  const auto ms = [&](std::int64_t ns) {
    return is_timed ? Json(static_cast<double>(ns) / kNsPerMs) : Json(nullptr);
  };
  return {{"ended", utc_text(static_cast<std::int64_t>(one.ended))},
          {"kind", operation_name_of(one.kind, one.strategy)},
          {"verdict", name_of(static_cast<ResultVerdict>(one.verdict))},
          {"targeted", one.targeted},
          {"sent", one.sent},
          {"ready", one.ready},
          {"conflict", one.conflict},
          {"took_ms", wire_ms_between(one.opened, one.ended)},
          {"target", utc_or_null(one.target)},
          {"error_p50_ms", ms(one.error_p50_ns)},
          {"error_p99_ms", ms(one.error_p99_ns)},
          {"source", static_cast<std::uint64_t>(one.source)},
          {"operation", fmt::format("{:016x}{:016x}", one.id.high, one.id.low)}};
}

Json trend_row_json(const TrendRow& row) {
  const double minutes = row.minutes == 0 ? 1 : static_cast<double>(row.minutes);
  const bool is_active = row.active != 0;
  return {{"from", utc_text(row.minute * 60 * kNsPerSecond)},
          {"minutes", row.minutes},
          {"agents", static_cast<double>(row.agents) / minutes},
          {"active", static_cast<double>(row.active) / minutes},
          {"mean_ms", is_active ? Json(row.score_mean) : Json(nullptr)},
          {"p95_ms", is_active ? Json(row.score_p95) : Json(nullptr)}};
}

struct HistoryRange {
  const char* what;
  std::uint64_t value, least, most;
};

std::int64_t from_minute_of(const HistoryWanted& wanted, std::int64_t now_unix_ns) {
  return now_unix_ns / (60 * kNsPerSecond) - static_cast<std::int64_t>(wanted.since_min);
}

}  // namespace

Status validate(const HistoryWanted& wanted) {
  const HistoryRange ranges[] = {{"since_min", wanted.since_min, 1, kHistoryMinutesMax},
                                 {"step_min", wanted.step_min, 1, kHistoryMinutesMax},
                                 {"limit", wanted.limit, 1, kQueryLimitMax},
                                 {"sector", wanted.sector.value_or(0), 0, kHistorySectorMax},
                                 {"cluster", wanted.cluster.value_or(0), 0, kHistoryClusterMax}};
  for (const HistoryRange& one : ranges) {
    if (one.value >= one.least && one.value <= one.most) continue;
    return fail(Errc::bad_input,
                fmt::format("{}: {} is not {} to {}", one.what, one.value, one.least, one.most));
  }
  if (wanted.sector && wanted.cluster)
    return fail(Errc::bad_input, "sector and cluster: one of them");
  return {};
}

std::string_view name_of(ResultVerdict verdict) noexcept {
  switch (verdict) {
    case ResultVerdict::success:
      return "success";
    case ResultVerdict::partial:
      return "partial";
    case ResultVerdict::failed_at_sector:
      return "failed_at_sector";
    case ResultVerdict::nobody:
      return "nobody";
  }
  return "unknown";
}

std::optional<ResultKind> result_kind_of(std::string_view name) noexcept {
  for (const ResultKind kind : {ResultKind::scatter, ResultKind::broadcast, ResultKind::quorum})
    if (operation_name_of(static_cast<std::uint8_t>(kind), 0) == name) return kind;
  return name == "cascade" ? std::optional(ResultKind::cascade) : std::nullopt;
}

std::optional<ResultVerdict> result_verdict_of(std::string_view name) noexcept {
  for (const ResultVerdict verdict : {ResultVerdict::success, ResultVerdict::partial,
                                      ResultVerdict::failed_at_sector, ResultVerdict::nobody})
    if (name_of(verdict) == name) return verdict;
  return std::nullopt;
}

Result<std::vector<OperationResult>> past_operations(Store& store, const HistoryWanted& wanted,
                                                     std::int64_t now_unix_ns) {
  MESH_CHECK_OK(validate(wanted));
  ResultQuery query{.limit = static_cast<std::uint32_t>(wanted.limit)};
  query.from = static_cast<WireTime>(from_minute_of(wanted, now_unix_ns) * 60 * kNsPerSecond);
  if (wanted.kind) query.kind = static_cast<std::uint8_t>(*wanted.kind);
  if (wanted.verdict) query.verdict = static_cast<std::uint8_t>(*wanted.verdict);
  return store.results(query);
}

Result<std::vector<TrendRow>> past_agents(Store& store, const HistoryWanted& wanted,
                                          const MeshSize& shape, std::int64_t now_unix_ns) {
  MESH_CHECK_OK(validate(wanted));
  TrendQuery query{.first_cluster = 0,
                   .past_cluster = UINT32_MAX,
                   .from_minute = from_minute_of(wanted, now_unix_ns),
                   .until_minute = now_unix_ns / (60 * kNsPerSecond) + 1,
                   .step_minutes = static_cast<std::int64_t>(wanted.step_min)};
  if (wanted.sector) {
    query.first_cluster = static_cast<std::uint32_t>(*wanted.sector) * shape.clusters_per_sector;
    query.past_cluster = query.first_cluster + shape.clusters_per_sector;
  }
  if (wanted.cluster) {
    query.first_cluster = static_cast<std::uint32_t>(*wanted.cluster);
    query.past_cluster = query.first_cluster + 1;
  }
  return store.trend(query);
}

Json past_operations_json(const std::vector<OperationResult>& operations) {
  Json list = Json::array();
  for (const OperationResult& one : operations) list.push_back(past_operation_json(one));
  return {{"operations", std::move(list)}};
}

Json past_agents_json(const std::vector<TrendRow>& rows) {
  Json list = Json::array();
  for (const TrendRow& row : rows) list.push_back(trend_row_json(row));
  return {{"agents", std::move(list)}};
}

MeshSize shape_of(const std::string& directory) {
  const auto mesh = ObservedMesh::open(directory);
  return mesh ? mesh->size() : MeshSize{};
}

}  // namespace mesh::engine::reports
