#include "engine/freezing.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <set>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/control_json.hpp"
#include "engine/whole_file.hpp"
#include "shm/hash.hpp"

namespace mesh::engine {
namespace {

using console::Scope;
using console::ScopeKind;
using nlohmann::json;

constexpr const char* kFormat = "mesh30k-freeze-1";
constexpr std::size_t kFreezeBytesMax = std::size_t{1} << 30;

std::string words_of(const Scope& scope) {
  switch (scope.kind) {
    case ScopeKind::sector:
      return "sector-" + std::to_string(scope.number);
    case ScopeKind::cluster:
      return "cluster-" + std::to_string(scope.number);
    case ScopeKind::mesh:
      break;
  }
  return "mesh";
}

sched::Selector selector_of(const Scope& scope) noexcept {
  switch (scope.kind) {
    case ScopeKind::sector:
      return sched::selector(sched::SelectorKind::sector, scope.number);
    case ScopeKind::cluster:
      return sched::selector(sched::SelectorKind::cluster, scope.number);
    case ScopeKind::mesh:
      break;
  }
  return sched::selector(sched::SelectorKind::all);
}

// By hand: through a JSON object 30,000 agents would keep the control thread for a second.
void add_line(std::string& text, const AgentRow& row, const std::string& name) {
  std::array<char, 512> numbers{};
  const auto number = [](float value) {
    return std::isfinite(value) ? static_cast<double>(value) : -1.0;  // JSON knows no others
  };
  const int size = std::snprintf(
      numbers.data(), numbers.size(),
      "{\"id\":%llu,\"class\":%u,\"incarnation\":%u,\"sector\":%u,\"cluster\":%u,"
      "\"latency_ms\":%.9g,\"processing_ms\":%.9g,\"drift\":%.9g,\"reliability\":%.9g,"
      "\"work_ms\":%.9g,\"residual_centre_ms\":%.9g,\"residual_by_t_ms\":%.9g,"
      "\"queue_depth\":%u,\"score\":%u,\"confidence\":%u,\"confidence_by_t\":%u,\"history\":%u,",
      static_cast<unsigned long long>(row.id), row.agent_class, row.incarnation, row.sector,
      row.cluster, number(row.latency_ms), number(row.processing_ms), number(row.drift),
      number(row.reliability), number(row.work_ms), number(row.residual_centre_ms),
      number(row.residual_by_t_ms), row.queue_depth, row.score, row.confidence, row.confidence_by_t,
      row.history);
  text.append(numbers.data(), static_cast<std::size_t>(size));
  text += "\"context_hash\":\"" + hex_of(row.context_hash) + "\",\"capabilities\":[";
  for (std::size_t i = 0; i < row.capabilities.size(); ++i)
    text += (i == 0 ? "" : ",") + std::to_string(row.capabilities[i]);
  text += "],\"name\":" + dump(json(name)) + "}\n";
}

// A row that cannot be read just now stands there by its handle alone.
std::string agent_lines(const FreezeOn& mesh, const std::vector<AgentId>& agents) {
  std::string text;
  const auto layout = table_layout(mesh.size);
  if (!layout) return text;
  const auto rows = AgentRowViews::in(*layout, mesh.table);
  for (const AgentId id : agents) {
    AgentRow row;
    const bool is_read =
        rows && rows->read(row_of(index_of(id)), row) == shm::ReadStatus::kRead && row.id == id;
    const auto name = decode("agent.name", row.name);
    if (is_read && name) {
      add_line(text, row, std::string(name->view()));
    } else {
      text += "{\"id\":" + std::to_string(static_cast<std::uint64_t>(id)) + "}\n";
    }
  }
  return text;
}

tl::unexpected<Error> damaged(const std::string& path, const std::string& how) {
  return fail(Errc::verification_failed, "snapshot '" + path + "': " + how);
}

std::int64_t unix_now_ns() {
  return std::chrono::duration_cast<Nanos>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::string snapshot_path(const std::string& directory, const Scope& scope) {
  return directory + "/frozen-" + words_of(scope) + ".snapshot";
}

Result<EngineLoop::Frozen> freeze_agents(EngineLoop& loop, const FreezeRequest& request,
                                         HostTime now) {
  return loop.freeze(selector_of(request.scope), request.frozen, now);
}

Result<SnapshotInfo> write_snapshot(const FreezeOn& mesh, const Scope& scope,
                                    const EngineLoop::Frozen& frozen) {
  const std::string lines = agent_lines(mesh, frozen.agents);
  SnapshotInfo info{.path = snapshot_path(mesh.directory, scope),
                    .agents = frozen.agents.size(),
                    .bytes = lines.size(),
                    .checksum = shm::hash64(lines),
                    .created_unix_ns = unix_now_ns()};
  const json head = {{"format", kFormat},
                     {"scope", words_of(scope)},
                     {"created_unix_ns", info.created_unix_ns},
                     {"agents", info.agents},
                     {"messages_waiting", frozen.messages},
                     {"bytes", info.bytes},
                     {"xxh3", hex_of(info.checksum)}};
  MESH_CHECK_OK(write_whole_file(info.path, dump(head) + "\n" + lines));
  return info;
}

// What stands there is input: whoever owns the directory may have changed it.
Result<CheckedSnapshot> check_snapshot(const std::string& path) {
  MESH_TRY(const std::string text, read_whole_file(path, kFreezeBytesMax));
  const std::size_t end = text.find('\n');
  if (end == std::string::npos) return damaged(path, "it has no first line");
  const json head =
      json::parse(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
  if (!head.is_object() || head.value("format", json()) != kFormat)
    return damaged(path, std::string("its first line is not ") + kFormat + "'s");
  const std::string_view lines = std::string_view(text).substr(end + 1);
  const std::uint64_t checksum = shm::hash64(lines);
  if (head.value("xxh3", json()) != hex_of(checksum))
    return damaged(path, "its checksum is " + hex_of(checksum) + ", and not what it says");
  CheckedSnapshot checked;
  constexpr std::string_view kId = "{\"id\":";  // what each line begins with
  for (std::size_t at = 0; at < lines.size();) {
    const std::string_view line = lines.substr(at, lines.find('\n', at) - at);
    std::uint64_t id = 0;
    const bool is_agent =
        line.starts_with(kId) &&
        std::from_chars(line.data() + kId.size(), line.data() + line.size(), id).ec == std::errc();
    if (!is_agent)
      return damaged(path, "line " + std::to_string(checked.agents.size() + 2) + " is no agent's");
    checked.agents.push_back(AgentId{id});
    at += line.size() + 1;
  }
  const json created = head.value("created_unix_ns", json());
  checked.info = {path, checked.agents.size(), lines.size(), checksum,
                  created.is_number_integer() ? created.get<std::int64_t>() : 0};
  return checked;
}

Status check_thaw(const FreezeOn& mesh, const FreezeRequest& request) {
  if (request.frozen || request.force) return {};
  const auto checked = check_snapshot(snapshot_path(mesh.directory, request.scope));
  if (checked || checked.error().code == Errc::not_found) return {};
  return tl::unexpected<Error>(checked.error());
}

FreezeReport finish_freeze(const FreezeOn& mesh, const FreezeRequest& request,
                           const EngineLoop::Frozen& frozen) {
  FreezeReport report{.scope = request.scope,
                      .frozen = request.frozen,
                      .agents = frozen.agents.size(),
                      .changed = frozen.changed,
                      .messages = frozen.messages};
  if (request.frozen) {
    auto written = write_snapshot(mesh, request.scope, frozen);
    if (written) {
      report.snapshot = std::move(*written);
    } else {
      report.no_snapshot = written.error().sentence;
    }
    return report;
  }
  const std::string path = snapshot_path(mesh.directory, request.scope);
  auto checked = check_snapshot(path);
  if (!checked) {
    report.no_snapshot = checked.error().sentence;
  } else {
    const std::set<AgentId> here(frozen.agents.begin(), frozen.agents.end());
    report.gone =
        static_cast<std::size_t>(std::count_if(checked->agents.begin(), checked->agents.end(),
                                               [&](AgentId id) { return here.count(id) == 0; }));
    report.snapshot = std::move(checked->info);
  }
  ::unlink(path.c_str());
  return report;
}

}  // namespace mesh::engine
