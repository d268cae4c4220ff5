#include "engine/reports/replay.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unordered_map>

#include <fmt/format.h>
#include <unistd.h>

#include "engine/agent_row_views.hpp"
#include "engine/observed_mesh.hpp"
#include "engine/station/station.hpp"

namespace mesh::engine::reports {
namespace {

constexpr Nanos kReplayLook{50 * kNsPerMs};  // for a signal
constexpr Nanos kRoomPatience{kNsPerSecond};
constexpr std::size_t kBareBytes = 16;

using Names = std::unordered_map<std::string, AgentId>;

Result<Names> names_in(const std::string& directory) {
  MESH_TRY(const ObservedMesh mesh, ObservedMesh::open(directory));
  MESH_TRY(const ObservedMesh::Memory table, mesh.table());
  MESH_TRY(const AgentRowViews rows, AgentRowViews::in(table.layout, table.mapping.bytes()));
  Names names;
  for (std::size_t row = 0; row < rows.rows(); ++row) {
    AgentRow seen;
    if (rows.read(row, seen) != shm::ReadStatus::kRead || seen.is_free()) continue;
    if (const auto name = decode("agent.name", seen.name)) {
      names.emplace(std::string(name->view()), seen.id);
    }
  }
  return names;
}

class ReplayPlayer {
 public:
  ReplayPlayer(Station& station, AgentId self, Names names)
      : station_(station), self_(self), names_(std::move(names)) {}

  void send(const RecordedMessage& message) {
    const auto target = names_.find(message.to);
    if (target == names_.end()) {
      ++result_.no_such_agent;
      return;
    }
    SendOptions options;
    options.source = self_;
    options.target = target->second;
    options.verb = static_cast<sched::Verb>(message.verb);
    options.priority = static_cast<sched::Priority>(message.priority);
    options.weight = message.weight;
    options.ttl_ms = message.ttl_ms;
    options.bare = message.bare && message.body.size() <= kBareBytes;
    const auto status = station_.send_until(station_.now() + kRoomPatience, options,
                                            std::as_bytes(std::span(message.body)));
    station_.flush();
    ++(status == SendStatus::sent ? result_.sent : result_.refused);
  }
  void poll() {
    station_.poll(64, [this](const Delivery& delivery, Reply /*declines*/) {
      if (delivery.kind == sched::RecordKind::report) ++result_.reported;
      if (delivery.kind != sched::RecordKind::reply) return;
      sched::ReplyHead head{};
      if (delivery.body.size() < sizeof head) return;
      std::memcpy(&head, delivery.body.data(), sizeof head);
      ++(head.state == sched::TrinaryState::ready      ? result_.ready
         : head.state == sched::TrinaryState::conflict ? result_.conflict
                                                       : result_.declined);
    });
  }
  [[nodiscard]] bool is_answered() const noexcept {
    return result_.ready + result_.conflict + result_.declined + result_.reported >= result_.sent;
  }
  // Polls until then. False: stopped, or the mesh is lost.
  bool wait_until(HostTime due, const std::function<bool()>& stopped) {
    for (;;) {
      poll();
      if (stopped() || station_.is_lost()) return false;
      const HostTime now = station_.now();
      if (now >= due) return true;
      station_.wait(std::min(due, now + kReplayLook));
    }
  }
  ReplayResult& result() noexcept { return result_; }

 private:
  Station& station_;
  AgentId self_;
  Names names_;
  ReplayResult result_;
};

}  // namespace

Result<ReplayResult> replay(const Recording& recording, const ReplayOptions& options,
                            const std::function<bool()>& stopped) {
  MESH_TRY(Names names, names_in(options.directory));
  MESH_TRY(const auto station, Station::attach(options.directory, {.name = "replay", .agents = 1}));
  MESH_TRY(const auto ids, station->enrol(std::vector<AgentDeclaration>{
                               {.name = fmt::format("mesh-replay-{}", getpid())}}));
  ReplayPlayer player(*station, ids.front(), std::move(names));
  const std::vector<Nanos> due = due_after_start(recording.messages, options.speed);
  std::vector<std::size_t> order(due.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return due[a] < due[b]; });
  const HostTime start = station->now();
  ReplayResult& result = player.result();
  result.messages = due.size();
  std::size_t played = 0;
  for (const std::size_t at : order) {
    if (!player.wait_until(start + due[at], stopped)) break;
    const std::int64_t late_ns = (station->now() - (start + due[at])).count();
    result.late_ns_max = std::max(result.late_ns_max, late_ns);
    player.send(recording.messages[at]);
    ++played;
  }
  result.not_played = order.size() - played;
  const HostTime end = station->now() + options.patience;
  while (!player.is_answered() && station->now() < end) {
    if (!player.wait_until(std::min(end, station->now() + kReplayLook), stopped)) break;
  }
  result.took_ns = (station->now() - start).count();
  const std::uint64_t answered = result.ready + result.conflict + result.declined + result.reported;
  result.unanswered = result.sent - std::min(result.sent, answered);
  if (station->is_lost()) return tl::unexpected<Error>(station->lost_reason());
  return result;
}

Json replay_json(const ReplayResult& result, const Recording& recording) {
  return {{"recorded", recording.started},
          {"has_end", recording.has_end},
          {"missed", recording.missed},
          {"messages", result.messages},
          {"sent", result.sent},
          {"no_such_agent", result.no_such_agent},
          {"refused", result.refused},
          {"not_played", result.not_played},
          {"ready", result.ready},
          {"conflict", result.conflict},
          {"declined", result.declined},
          {"reported", result.reported},
          {"unanswered", result.unanswered},
          {"took_ms", result.took_ns / kNsPerMs},
          {"late_us_max", result.late_ns_max / kNsPerUs}};
}

}  // namespace mesh::engine::reports
