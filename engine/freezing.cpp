#include "engine/freezing.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/control_json.hpp"
#include "shm/descriptor.hpp"
#include "shm/hash.hpp"
#include "shm/system_error.hpp"

namespace mesh::engine {
namespace {

using console::Scope;
using console::ScopeKind;
using nlohmann::json;

constexpr const char* kFormat = "mesh30k-freeze-1";
constexpr std::size_t kSnapshotBytesMax = std::size_t{1} << 30;

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

json agent_line(AgentId id, const AgentRow& row, const std::string& name) {
  return {{"id", static_cast<std::uint64_t>(id)},
          {"name", name},
          {"class", row.agent_class},
          {"incarnation", row.incarnation},
          {"sector", row.sector},
          {"cluster", row.cluster},
          {"latency_ms", row.latency_ms},
          {"processing_ms", row.processing_ms},
          {"drift", row.drift},
          {"reliability", row.reliability},
          {"queue_depth", row.queue_depth},
          {"score", row.score},
          {"confidence", row.confidence},
          {"confidence_by_t", row.confidence_by_t},
          {"work_ms", row.work_ms},
          {"residual_centre_ms", row.residual_centre_ms},
          {"residual_by_t_ms", row.residual_by_t_ms},
          {"history", row.history},
          {"context_hash", hex_of(row.context_hash)},
          {"capabilities", row.capabilities}};
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
    text += is_read && name ? dump(agent_line(id, row, std::string(name->view())))
                            : dump({{"id", static_cast<std::uint64_t>(id)}});
    text += '\n';
  }
  return text;
}

// Aside first, so that a file of that name is always whole.
Status write_whole(const std::string& path, const std::string& text) {
  const std::string aside = path + ".new";
  const shm::Descriptor file(
      ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return shm::system_failure("create '" + aside + "'", errno);
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t wrote = ::write(file.get(), text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) {
      const int why = errno;
      ::unlink(aside.c_str());
      return shm::system_failure("write '" + aside + "'", why);
    }
    done += static_cast<std::size_t>(wrote);
  }
  const bool is_down = ::fsync(file.get()) == 0 && ::rename(aside.c_str(), path.c_str()) == 0;
  return is_down ? Status() : shm::system_failure("keep '" + path + "'", errno);
}

Result<std::string> read_whole(const std::string& path) {
  struct ::stat about {};
  if (::stat(path.c_str(), &about) != 0) return fail(Errc::not_found, "there is no '" + path + "'");
  if (static_cast<std::uint64_t>(about.st_size) > kSnapshotBytesMax)
    return fail(Errc::verification_failed, "snapshot '" + path + "': it is no snapshot of ours");
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return fail(Errc::io_error, "'" + path + "' cannot be read");
  return std::move(text).str();
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
  MESH_CHECK_OK(write_whole(info.path, dump(head) + "\n" + lines));
  return info;
}

// What stands there is input: whoever owns the directory may have changed it.
Result<CheckedSnapshot> check_snapshot(const std::string& path) {
  MESH_TRY(const std::string text, read_whole(path));
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
  std::istringstream each{std::string(lines)};
  for (std::string line; std::getline(each, line);) {
    const json agent = json::parse(line, nullptr, false);
    const auto id = agent.is_object() ? agent.find("id") : agent.end();
    if (!agent.is_object() || id == agent.end() || !id->is_number_unsigned())
      return damaged(path, "line " + std::to_string(checked.agents.size() + 2) + " is no agent's");
    checked.agents.push_back(AgentId{id->get<std::uint64_t>()});
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
