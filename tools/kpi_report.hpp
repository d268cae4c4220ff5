// `mesh kpi` for people and for a file: the KPIs of engine/reports/kpi.hpp as text and Markdown.
//
// Callers     one thread, cold. Pure functions.
#pragma once

#include <string>

#include "engine/reports/kpi.hpp"

namespace mesh::tools {

[[nodiscard]] std::string kpi_text(const engine::reports::KpiReport& report);
[[nodiscard]] std::string kpi_markdown(const engine::reports::KpiReport& report);

}  // namespace mesh::tools
