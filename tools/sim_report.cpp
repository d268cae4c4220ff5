#include "tools/sim_report.hpp"

#include <array>
#include <cmath>
#include <optional>
#include <ostream>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/cascade.hpp"
#include "sched/quorum.hpp"
#include "tools/text_table.hpp"

namespace mesh::tools {
namespace {

using engine::health::OperatingMode;
using engine::simulation::quantile_of;
using engine::simulation::SimulationReport;
using Json = nlohmann::ordered_json;

constexpr std::int64_t kP90 = 900'000;
constexpr std::int64_t kP95 = 950'000;

// All figures of a report, as a person reads them; nothing where nothing was measured.
struct Figures {
  std::optional<double> quorum_rate, window_hit_rate, conflict_rate, availability;
  std::optional<double> p50_ms, p90_ms, p99_ms, cascade_p95_ms, cluster_ms, sector_ms;
  std::optional<double> pipeline_rate, pipeline_p95_ms, pipeline_error_ms;
  std::optional<double> cluster_quorum_rate, cluster_quorum_p95_ms, admission_ms, context_ms;
};

std::optional<double> rate(std::uint64_t part, std::uint64_t of) {
  if (of == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(of);
}
double ms(std::int64_t ns) { return static_cast<double>(ns) / static_cast<double>(kNsPerMs); }
std::optional<double> ms(const std::optional<std::int64_t>& ns) {
  return ns ? std::optional(ms(*ns)) : std::nullopt;
}
// The slowest recovery: a bound is for all of them. Where one did not come, there is no slowest.
std::optional<double> slowest_ms(const engine::simulation::RecoveryFigures& figures) {
  if (figures.not_recovered != 0) return std::nullopt;
  return ms(quantile_of(figures.took_ns, engine::simulation::kShareAll));
}

std::optional<double> rate(const engine::simulation::SmallFigures& of) {
  return rate(of.succeeded, of.asked - of.refused);
}
// Of pipelines, leads' quorums, newcomers and contexts.
void add_small(const SimulationReport& report, Figures& figures) {
  figures.pipeline_rate = rate(report.pipelines);
  figures.pipeline_p95_ms = ms(quantile_of(report.pipelines.took_ns, kP95));
  figures.pipeline_error_ms = ms(quantile_of(report.pipeline_error_ns, kP90));
  figures.cluster_quorum_rate = rate(report.cluster_quorums);
  figures.cluster_quorum_p95_ms = ms(quantile_of(report.cluster_quorums.took_ns, kP95));
  figures.admission_ms = ms(report.scale.all_admitted_ns);
  figures.context_ms = ms(quantile_of(report.contexts.wait_ns, kP95));
}

Figures figures_of(const SimulationReport& report) {
  Figures figures;
  figures.quorum_rate = rate(report.quorums, report.operations - report.refused);
  figures.window_hit_rate = rate(report.inside_window, report.sent);
  figures.conflict_rate = rate(report.conflicts, report.ready + report.conflicts);
  figures.availability = rate(static_cast<std::uint64_t>(report.available_ns),
                              static_cast<std::uint64_t>(report.virtual_ns));
  if (report.answers != 0) {
    const sched::ErrorSummary errors = sched::summarize(*report.errors);
    figures.p50_ms = ms(errors.p50_ns);
    figures.p90_ms = ms(errors.p90_ns);
    figures.p99_ms = ms(errors.p99_ns);
  }
  figures.cascade_p95_ms = ms(quantile_of(report.cascade_ns, kP95));
  figures.cluster_ms = slowest_ms(report.clusters);
  figures.sector_ms = slowest_ms(report.sectors);
  add_small(report, figures);
  return figures;
}

Json json_of(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

std::string cascade_note(const SimulationReport& report) {
  if (report.cascades == 0) return "the scenario has no cascades";
  return "no cascade reached its share of READY";
}
std::string recovery_note(const engine::simulation::RecoveryFigures& figures, const char* what) {
  if (figures.not_recovered != 0)
    return fmt::format("{} not recovered by the end", figures.not_recovered);
  return fmt::format("no {} died and was to come back", what);
}

void note_small(const SimulationReport& report, const Figures& figures, Json& notes) {
  const auto note = [&](const char* name, const std::optional<double>& value, std::string why) {
    if (!value) notes[name] = std::move(why);
  };
  const auto of = [](const engine::simulation::SmallFigures& its, const char* what) {
    return its.asked == 0 ? fmt::format("the scenario has no {}s", what)
                          : fmt::format("no {} was admitted", what);
  };
  const auto ended = [&](const engine::simulation::SmallFigures& its, const char* what) {
    return rate(its) ? fmt::format("no {} succeeded", what) : of(its, what);
  };
  note("pipeline_rate", figures.pipeline_rate, of(report.pipelines, "pipeline"));
  note("pipeline_p95_ms", figures.pipeline_p95_ms, ended(report.pipelines, "pipeline"));
  note("pipeline_error_p90_ms", figures.pipeline_error_ms, ended(report.pipelines, "pipeline"));
  note("cluster_quorum_rate", figures.cluster_quorum_rate, of(report.cluster_quorums, "quorum"));
  note("cluster_quorum_p95_ms", figures.cluster_quorum_p95_ms,
       ended(report.cluster_quorums, "quorum"));
  note("admission_ms", figures.admission_ms,
       report.scale.made == 0
           ? "nobody came"
           : fmt::format("{} of {} are not admitted by the end",
                         report.scale.made - report.scale.admitted, report.scale.made));
  note("context_wait_p95_ms", figures.context_ms,
       report.contexts.held == 0 ? "nobody waited for its context" : "nobody got its context");
}

// Why a KPI is null, by its name.
Json notes_of(const SimulationReport& report, const Figures& figures) {
  Json notes = Json::object();
  if (!figures.quorum_rate) notes["quorum_rate"] = "no operation was admitted";
  if (!figures.window_hit_rate) notes["window_hit_rate"] = "nothing was sent";
  if (!figures.conflict_rate) notes["conflict_rate"] = "no answer came";
  if (!figures.p50_ms) notes["arrival_error_ms"] = "no answer came";
  if (!figures.cascade_p95_ms) notes["cascade_p95_ms"] = cascade_note(report);
  if (!figures.cluster_ms) notes["recovery_cluster_ms"] = recovery_note(report.clusters, "cluster");
  if (!figures.sector_ms) notes["recovery_sector_ms"] = recovery_note(report.sectors, "sector");
  note_small(report, figures, notes);
  return notes;
}

Json kpi_json(const Figures& figures) {
  return {{"quorum_rate", json_of(figures.quorum_rate)},
          {"window_hit_rate", json_of(figures.window_hit_rate)},
          {"arrival_error_ms",
           {{"p50", json_of(figures.p50_ms)},
            {"p90", json_of(figures.p90_ms)},
            {"p99", json_of(figures.p99_ms)}}},
          {"cascade_p95_ms", json_of(figures.cascade_p95_ms)},
          {"conflict_rate", json_of(figures.conflict_rate)},
          {"availability", json_of(figures.availability)},
          {"recovery_cluster_ms", json_of(figures.cluster_ms)},
          {"recovery_sector_ms", json_of(figures.sector_ms)},
          {"pipeline_rate", json_of(figures.pipeline_rate)},
          {"pipeline_p95_ms", json_of(figures.pipeline_p95_ms)},
          {"pipeline_error_p90_ms", json_of(figures.pipeline_error_ms)},
          {"cluster_quorum_rate", json_of(figures.cluster_quorum_rate)},
          {"cluster_quorum_p95_ms", json_of(figures.cluster_quorum_p95_ms)},
          {"admission_ms", json_of(figures.admission_ms)},
          {"context_wait_p95_ms", json_of(figures.context_ms)}};
}

Json diagram_json(const SimulationReport& report) {
  Json steps = Json::array();
  for (const engine::simulation::ReliabilityStep& step : report.reliability) {
    if (step.n == 0) continue;
    const auto n = static_cast<double>(step.n);
    // To a ten-thousandth, which is finer than what is said.
    steps.push_back({{"said", std::round(static_cast<double>(step.said) / n / 6.5535) / 10'000},
                     {"hit", static_cast<double>(step.hits) / n},
                     {"n", step.n}});
  }
  return steps;
}

Json modes_json(const SimulationReport& report) {
  Json modes = Json::object();
  for (std::size_t i = 0; i < report.mode_ns.size(); ++i)
    modes[std::string(name_of(static_cast<OperatingMode>(i)))] =
        static_cast<double>(report.mode_ns[i]) / static_cast<double>(kNsPerSecond);
  return modes;
}

Json conflicts_json(const SimulationReport& report) {
  const engine::simulation::ConflictCounts& counts = report.conflict_records;
  return {{"complete", report.conflicts_complete},
          {"reported", counts.reported},
          {"recorded", counts.conflicts_recorded},
          {"records", counts.records},
          {"resolved", counts.resolved},
          {"by_person", counts.by_person},
          {"open", report.conflicts_open},
          {"resolution_p99_ms", json_of(ms(report.resolution_p99_ns))}};
}

Json cascades_json(const SimulationReport& report) {
  const auto count = [&](engine::CascadeStatus status) {
    return report.cascade_statuses[static_cast<std::size_t>(status)];
  };
  return {{"asked", report.cascades},
          {"refused", report.cascades_refused},
          {"success", count(engine::CascadeStatus::success)},
          {"partial", count(engine::CascadeStatus::partial)},
          {"failed_at_sector", count(engine::CascadeStatus::failed_at_sector)},
          {"reached", report.cascade_ns.size()},
          {"total_p95_ms", json_of(ms(quantile_of(report.cascade_total_ns, kP95)))}};
}

Json decisions_json(const std::array<std::uint64_t, 5>& counts) {
  Json decisions = Json::object();
  for (std::size_t i = 0; i < counts.size(); ++i)
    decisions[std::string(sched::name_of(static_cast<sched::QuorumDecision>(i)))] = counts[i];
  return decisions;
}

Json small_json(const engine::simulation::SmallFigures& figures) {
  return {{"asked", figures.asked}, {"refused", figures.refused}, {"success", figures.succeeded}};
}
Json quorums_json(const SimulationReport& report) {
  Json json = small_json(report.cluster_quorums);
  json["promoted"] = report.leads_promoted;
  json["decision"] = decisions_json(report.cluster_decisions);
  return json;
}
Json scale_json(const engine::simulation::ScaleFigures& figures) {
  return {{"made", figures.made},
          {"processes", figures.processes},
          {"clusters_filled", figures.clusters_filled},
          {"clusters_created", figures.clusters_created},
          {"admitted", figures.admitted},
          {"waves", figures.waves},
          {"wave_max", figures.wave_max},
          {"first_admitted_ms", json_of(ms(figures.first_admitted_ns))}};
}
Json contexts_json(const engine::simulation::ContextFigures& figures) {
  return {{"handed_over", figures.handed_over}, {"held", figures.held}, {"loaded", figures.loaded},
          {"overdue", figures.overdue},         {"lost", figures.lost}, {"early", figures.early}};
}

Json rounds_json(const SimulationReport& report) {
  return {{"asked", report.rounds},
          {"quorum_in_first", report.quorums_at_once},
          {"first_decision", decisions_json(report.decisions)}};
}

// What it takes to meet a target.
struct Target {
  double bound;
  bool is_least;  // else at most
  const char* said;
};

Kpi kpi(const char* name, const std::optional<double>& value, const char* unit,
        const std::optional<Target>& target) {
  Kpi made{.name = name, .value = "-", .target = target ? target->said : "", .note = ""};
  if (!value) {
    made.verdict = KpiVerdict::not_measured;
    return made;
  }
  made.value = fmt::format("{:.6g}{}", *value, unit);
  if (!target) return made;
  const bool is_met = target->is_least ? *value >= target->bound : *value <= target->bound;
  made.verdict = is_met ? KpiVerdict::met : KpiVerdict::missed;
  return made;
}

std::string_view word_of(KpiVerdict verdict) {
  switch (verdict) {
    case KpiVerdict::met:
      return "pass";
    case KpiVerdict::missed:
      return "FAIL";
    case KpiVerdict::reported:
      return "reported";
    case KpiVerdict::not_measured:
      break;
  }
  return "not measured";
}

}  // namespace

std::vector<Kpi> kpis_of(const SimulationReport& report) {
  const Figures figures = figures_of(report);
  std::vector<Kpi> kpis = {
      kpi("quorum_rate", figures.quorum_rate, "", Target{0.999, true, ">= 0.999"}),
      kpi("window_hit_rate", figures.window_hit_rate, "", Target{0.99, true, ">= 0.99"}),
      kpi("arrival_error p50", figures.p50_ms, " ms", std::nullopt),
      kpi("arrival_error p90", figures.p90_ms, " ms", Target{50, false, "<= 50 ms"}),
      kpi("arrival_error p99", figures.p99_ms, " ms", std::nullopt),
      kpi("cascade_p95", figures.cascade_p95_ms, " ms", Target{1'000, false, "<= 1000 ms"}),
      kpi("conflict_rate", figures.conflict_rate, "", std::nullopt),
      kpi("availability", figures.availability, "", Target{0.999, true, ">= 0.999"}),
      kpi("recovery_cluster", figures.cluster_ms, " ms", Target{1'000, false, "<= 1000 ms"}),
      kpi("recovery_sector", figures.sector_ms, " ms", Target{10'000, false, "<= 10000 ms"}),
      kpi("pipeline_rate", figures.pipeline_rate, "", std::nullopt),
      kpi("pipeline_p95", figures.pipeline_p95_ms, " ms", std::nullopt),
      kpi("pipeline_error_p90", figures.pipeline_error_ms, " ms", std::nullopt),
      kpi("cluster_quorum_rate", figures.cluster_quorum_rate, "", std::nullopt),
      kpi("cluster_quorum_p95", figures.cluster_quorum_p95_ms, " ms", std::nullopt),
      kpi("admission", figures.admission_ms, " ms", std::nullopt),
      kpi("context_wait_p95", figures.context_ms, " ms", std::nullopt),
      kpi("unanswered", static_cast<double>(report.unanswered), "", Target{0, false, "0"}),
      kpi("conflict records complete", report.conflicts_complete ? 1 : 0, "",
          Target{1, true, "1"})};
  const Json notes = notes_of(report, figures);
  for (Kpi& its : kpis)
    for (const auto& [name, note] : notes.items())
      if (name.starts_with(its.name)) its.note = note.get<std::string>();
  // One that never came back is no recovery, however fast the others were.
  const auto miss = [&](const char* name, const engine::simulation::RecoveryFigures& of) {
    for (Kpi& its : kpis)
      if (its.name == name && of.not_recovered != 0) {
        its.verdict = KpiVerdict::missed;
        its.note = fmt::format("{} not recovered by the end", of.not_recovered);
      }
  };
  miss("recovery_cluster", report.clusters);
  miss("recovery_sector", report.sectors);
  return kpis;
}

void write_sim_json(const SimulationReport& report, double wall_s, std::ostream& out) {
  const Figures figures = figures_of(report);
  Json document = {
      {"seed", report.seed},
      {"virtual_s", static_cast<double>(report.virtual_ns) / static_cast<double>(kNsPerSecond)},
      {"wall_s", wall_s},
      {"agents", report.agents},
      {"operations", report.operations},
      {"refused", report.refused},
      {"unanswered", report.unanswered},
      {"kpi", kpi_json(figures)},
      {"not_measured", notes_of(report, figures)},
      {"reliability_diagram", diagram_json(report)},
      {"modes", modes_json(report)},
      {"conflicts", conflicts_json(report)},
      {"rounds", rounds_json(report)},
      {"cascades", cascades_json(report)},
      {"pipelines", small_json(report.pipelines)},
      {"quorums", quorums_json(report)},
      {"scale", scale_json(report.scale)},
      {"contexts", contexts_json(report.contexts)},
      {"recoveries",
       {{"clusters", report.clusters.took_ns.size()},
        {"clusters_missing", report.clusters.not_recovered},
        {"sectors", report.sectors.took_ns.size()},
        {"sectors_missing", report.sectors.not_recovered}}},
      {"deaths", report.deaths},
      {"returns", report.returns},
      {"breakers_opened", report.breakers_opened},
      {"deliveries", report.deliveries},
      {"answers", report.answers},
      {"ticks", report.ticks},
      {"memory_mib", report.memory_bytes >> 20},
      {"trace_hash", fmt::format("{:016x}", report.trace_hash)}};
  out << document.dump(2) << '\n';
}

void write_sim_table(const SimulationReport& report, double wall_s, std::ostream& out) {
  out << fmt::format(
      "{} agents, {:.0f} s of virtual time in {:.1f} s: {} operations ({} refused, {} unanswered),"
      " {} answers, seed {}\n\n",
      report.agents, static_cast<double>(report.virtual_ns) / static_cast<double>(kNsPerSecond),
      wall_s, report.operations, report.refused, report.unanswered, report.answers, report.seed);
  TextTable table{.heads = {"KPI", "value", "target", "verdict", ""}, .rows = {}};
  for (const Kpi& its : kpis_of(report))
    table.rows.push_back({its.name, its.value, its.target.empty() ? "-" : its.target,
                          std::string(word_of(its.verdict)), its.note});
  table.write(out);
  out << fmt::format("\ntrace hash {:016x}\n", report.trace_hash);
}

}  // namespace mesh::tools
