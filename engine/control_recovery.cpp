// Crashed processes: the control thread learns of them first, and tells the recovery; a console has
// a place healed.
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/agent_name.hpp"
#include "engine/control_jobs.hpp"
#include "engine/escalate_job.hpp"
#include "engine/recovery/recovery.hpp"

namespace mesh::engine {
using nlohmann::json;

namespace {

constexpr std::size_t kHealedListed = 256;  // a packet holds so many
constexpr Nanos kWaitMax{600 * kNsPerSecond};

std::string words_of(const console::Scope& scope) {
  if (scope.kind == console::ScopeKind::mesh) return "mesh";
  return (scope.kind == console::ScopeKind::sector ? "sector " : "cluster ") +
         std::to_string(scope.number);
}

json heal_json(const HealReport& report) {
  json breakers = json::array();
  for (const BreakerChange& one : report.breakers) {
    if (breakers.size() == kHealedListed) break;
    breakers.push_back({{"breaker", words_of(one.of)},
                        {"was", coordination::to_string(one.was)},
                        {"now", coordination::to_string(one.now)}});
  }
  json agents = json::array();
  std::size_t well = 0;
  for (const HealedAgent& one : report.agents) {
    well += one.is_well ? 1U : 0U;
    if (agents.size() < kHealedListed)
      agents.push_back({{"agent", one.name}, {"well", one.is_well}, {"did", one.did}});
  }
  return {{"ok", true},
          {"scope", words_of(report.scope)},
          {"breakers_reset", report.breakers.size()},
          {"breakers", std::move(breakers)},
          {"agents_ailing", report.agents.size()},
          {"agents_well", well},
          {"agents", std::move(agents)}};
}

// Those whose station is this one, as the table says it now.
Result<LostProcess> process_of(const ControlOptions& options, const StationEntry& entry) {
  MESH_TRY(const shm::Layout layout, table_layout(options.size));
  MESH_TRY(const auto stations, layout.column<StationId>(options.table, "agent.station"));
  MESH_TRY(const AgentRowViews rows, AgentRowViews::in(layout, options.table));
  LostProcess process{.station = entry.name};
  AgentRow row;
  for (std::size_t at = 0; at < stations.rows(); ++at) {
    // relaxed: read again below, as one.
    if (stations.load_relaxed(at) != StationId{entry.number}) continue;
    if (rows.read(at, row) != shm::ReadStatus::kRead || row.is_free()) continue;
    const auto name = decode("agent.name", row.name);
    if (name) process.agents.push_back({std::string(name->view()), row.id});
  }
  return process;
}

}  // namespace

// The coordinator of the first agent's sector, and `mesh errors`.
void ControlServer::escalate(const LostProcess& process, const std::string& why) {
  const std::string sentence = "replace '" + process.agents.front().name + "' and " +
                               std::to_string(process.agents.size() - 1) +
                               " more agents of station '" + process.station + "': " + why;
  static_cast<void>(scheduler_.post(
      std::make_unique<EscalateJob>(process.agents.front().id, sentence, [this, sentence] {
        note({Errc::closed, 0, sentence});
      })));
}

// Before its agents are detached: from then on the table no longer says whose they were.
void ControlServer::note_crash(const StationEntry& entry) {
  if (options_.recovery == nullptr) return;
  auto process = process_of(options_, entry);
  if (process && !process->agents.empty()) crashed_.emplace(entry.number, std::move(*process));
}

// Not before its agents are detached: until then they look as if they were here.
void ControlServer::tell_crash(std::uint16_t station) {
  if (auto crashed = crashed_.extract(station); !crashed.empty())
    options_.recovery->lost(std::move(crashed.mapped()));
}

json ControlServer::recovery_json() const {
  if (options_.recovery == nullptr) return nullptr;
  const RecoveryStatus status = options_.recovery->status();
  return {{"lost", status.lost},        {"started", status.started}, {"back", status.back},
          {"failed", status.failed},    {"waiting", status.waiting}, {"out", status.out},
          {"given_up", status.given_up}};
}

Status ControlServer::begin_heal(const ConsoleRequest& request, const json& object) {
  HealRequest wanted;
  MESH_TRY(wanted.scope, scope_field(object));
  MESH_TRY(wanted.wait, ms_field(object, "wait_ms", wanted.wait));
  if (wanted.wait > kWaitMax)
    return fail(Errc::bad_input,
                "field 'wait_ms': at most " + std::to_string(kWaitMax.count() / kNsPerMs) + " ms");
  post(heal_job(wanted, options_.recovery,
                [this, connection = request.connection](const Result<HealReport>& report) {
                  tell(connection, report ? dump(heal_json(*report)) : error_json(report.error()));
                }));
  return {};
}

}  // namespace mesh::engine
