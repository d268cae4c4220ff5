#include "tools/place_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/health/health_view.hpp"
#include "engine/observed_mesh.hpp"
#include "tools/mesh_directory.hpp"

namespace mesh::tools {
namespace {

using engine::ObservedMesh;

using Json = nlohmann::ordered_json;
using console::ScopeKind;
using engine::health::HealthView;

Json mean_ms(std::uint32_t active, std::uint32_t mean) {
  if (active == 0) return nullptr;
  return static_cast<double>(mean) / engine::health::kMeanUnit;
}

Json breaker_of(const HealthView& view, std::size_t place) {
  const auto breaker = view.breaker(place);
  if (!breaker) return nullptr;
  const auto state = coordination::BreakerView::state_of(breaker->word);
  if (state > coordination::BreakerState::disabled) return nullptr;
  return coordination::to_string(state);
}

std::uint32_t breakers_not_closed(const HealthView& view) {
  std::uint32_t count = 0;
  for (std::size_t place = 0; place < view.breakers(); ++place) {
    const auto breaker = view.breaker(place);
    count += breaker && !breaker->is_passable() ? 1U : 0U;
  }
  return count;
}

// null where it was never summarized.
Json mesh_of(const HealthView& view) {
  const auto mesh = view.mesh();
  if (!mesh) return nullptr;
  return {{"place", "the mesh"},
          {"agents", mesh->summary.agents},
          {"active", mesh->summary.active},
          {"mean_ms", mean_ms(mesh->summary.active, mesh->summary.mean)},
          {"mode", mesh->mode ? Json(engine::health::name_of(*mesh->mode)) : Json(nullptr)},
          {"sectors_healthy", mesh->summary.healthy_sectors},
          {"sectors_degraded", mesh->summary.degraded_sectors},
          {"breakers_not_closed", breakers_not_closed(view)}};
}
Json sector_of(const HealthView& view, std::uint32_t number) {
  const auto sector = view.sector(number);
  if (!sector) return nullptr;
  return {{"place", fmt::format("sector {}", number)},
          {"agents", sector->summary.agents},
          {"active", sector->summary.active},
          {"mean_ms", mean_ms(sector->summary.active, sector->summary.mean)},
          {"state", sector->summary.is_healthy ? "healthy" : "degraded"},
          {"clusters", sector->summary.clusters},
          {"breaker", breaker_of(view, view.place_of_sector(number))}};
}
Json cluster_of(const HealthView& view, std::uint32_t number) {
  const auto cluster = view.cluster(number);
  if (!cluster) return nullptr;
  return {{"place", fmt::format("cluster {}", number)},
          {"agents", cluster->summary.agents},
          {"active", cluster->summary.active},
          {"mean_ms", mean_ms(cluster->summary.active, cluster->summary.mean)},
          {"degraded", cluster->summary.degraded},
          {"unstable", cluster->summary.unstable},
          {"breaker", breaker_of(view, view.place_of_cluster(number))}};
}

Status check_number(const console::Scope& scope, std::uint32_t count) {
  if (scope.number < count) return {};
  const char* const what = scope.kind == ScopeKind::sector ? "sector" : "cluster";
  return fail(Errc::bad_input, fmt::format("there is no {} {}: this mesh has 0 to {}", what,
                                           scope.number, count - 1));
}

}  // namespace

Result<Json> report_place(const WhichMesh& which, const console::Scope& scope) {
  MESH_TRY(const std::string directory, mesh_directory(which.directory, which.name));
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const HealthView view, HealthView::over(table.layout, table.mapping.bytes()));
  if (scope.kind == ScopeKind::sector) {
    MESH_CHECK_OK(check_number(scope, view.sectors()));
    return sector_of(view, scope.number);
  }
  if (scope.kind == ScopeKind::cluster) {
    MESH_CHECK_OK(check_number(scope, view.clusters()));
    return cluster_of(view, scope.number);
  }
  return mesh_of(view);
}

// "sector 7: 299 of 300 agents active in 10 clusters, healthy, mean impedance 22.7 ms"
std::string sentence_of_place(const Json& report) {
  if (!report.is_object()) return "nobody has summarized it yet";
  std::string text = fmt::format("{}: {} of {} agents active", report.value("place", ""),
                                 report.value("active", 0U), report.value("agents", 0U));
  if (report.contains("clusters"))
    text += fmt::format(" in {} clusters", report.value("clusters", 0U));
  if (report.contains("state")) text += fmt::format(", {}", report.value("state", ""));
  if (report.contains("mode"))
    text +=
        fmt::format(", mode {}", report["mode"].is_null() ? "unknown" : report.value("mode", ""));
  if (report.contains("sectors_healthy"))
    text += fmt::format(", {} sectors healthy and {} degraded", report.value("sectors_healthy", 0U),
                        report.value("sectors_degraded", 0U));
  const Json& mean = report["mean_ms"];
  text += mean.is_null() ? std::string(", mean impedance unknown")
                         : fmt::format(", mean impedance {:.1f} ms", mean.get<double>());
  if (report.contains("breaker") && report["breaker"] != "closed")
    text += fmt::format(", breaker {}",
                        report["breaker"].is_null() ? "unknown" : report.value("breaker", ""));
  if (report.value("breakers_not_closed", 0U) != 0)
    text += fmt::format(", {} breakers not closed", report.value("breakers_not_closed", 0U));
  return text;
}

}  // namespace mesh::tools
