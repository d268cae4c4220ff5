#include "engine/scale.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include "engine/agent_row_views.hpp"
#include "engine/loop/newcomers.hpp"
#include "engine/recovery/recovery.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {
namespace {

std::string plus(std::uint64_t count) { return "scale +" + std::to_string(count) + ": "; }

std::uint32_t per_process_of(const ScaleRequest& request, const ScaleOn& mesh) noexcept {
  return request.per_process != 0 ? request.per_process : mesh.agents_per_cluster;
}

Status check_scale(const ScaleRequest& request, const ScaleOn& mesh) {
  if (request.count == 0 || request.count > kMaxAgents)
    return fail(Errc::bad_input, plus(request.count) + "1 to " + std::to_string(kMaxAgents) +
                                     " agents are possible");
  MESH_CHECK_OK(check_name("scale", request.prefix + "-" + std::to_string(kMaxAgents)));
  if (mesh.recovery == nullptr)
    return fail(Errc::not_ready,
                plus(request.count) + "no command to spawn is configured under [recovery]");
  const std::uint64_t each = per_process_of(request, mesh);
  const std::uint64_t processes = (request.count + each - 1) / each;
  if (processes <= mesh.stations_free) return {};
  return fail(Errc::capacity,
              plus(request.count) + std::to_string(processes) + " processes of " +
                  std::to_string(each) + " agents are needed, and " +
                  std::to_string(mesh.stations_free) +
                  " more can attach: " + std::to_string(mesh.stations_free * each) + " agents fit",
              static_cast<std::int64_t>(mesh.stations_free * each));
}

// The number of PREFIX-number; none: it is another's name.
std::optional<std::uint64_t> number_in(std::string_view name, const std::string& prefix) {
  if (name.size() <= prefix.size() + 1 || !name.starts_with(prefix) || name[prefix.size()] != '-')
    return std::nullopt;
  const std::string_view digits = name.substr(prefix.size() + 1);
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool is_number = error == std::errc() && end == digits.data() + digits.size();
  return is_number && digits.front() != '0' ? std::optional(number) : std::nullopt;
}

class ScaleJob final : public Job {
 public:
  ScaleJob(ScaleRequest request, const ScaleOn& mesh, ScaleDone done)
      : request_(std::move(request)), mesh_(mesh), done_(std::move(done)) {}

  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    report_ = make(scheduler.loop(), now);
    return std::nullopt;
  }
  void done() override {
    if (report_) mesh_.recovery->begin(std::move(processes_));
    done_(std::move(report_));
  }

 private:
  Result<ScaleReport> make(EngineLoop& loop, HostTime now) {
    MESH_CHECK_OK(check_scale(request_, mesh_));
    const std::size_t room = room_for_agents(loop);
    if (request_.count > room)
      return fail(Errc::capacity,
                  plus(request_.count) + "the mesh has room for " + std::to_string(room) + " more",
                  static_cast<std::int64_t>(room));
    ScaleReport report{.batch = {.prefix = request_.prefix}, .agents = request_.count};
    const std::vector<Making> agents = names(loop, report.batch);
    const std::vector<std::uint32_t> before = agents_by_cluster(loop);
    MESH_TRY(const std::vector<AgentId> ids, make_newcomers(loop, agents, ::geteuid(), now));
    const Placement placement = placement_of(loop, ids, before);
    report.clusters_filled = placement.clusters_filled;
    report.clusters_created = placement.clusters_created;
    report.sectors = placement.sectors;
    report.without_cluster = placement.without_cluster;
    report.processes = group(agents, ids);
    return report;
  }
  // The lowest numbers that are free.
  std::vector<Making> names(const EngineLoop& loop, ScaleBatch& batch) const {
    std::vector<Making> made;
    for (std::uint64_t number = 1; made.size() != request_.count; ++number) {
      std::string name = request_.prefix + "-" + std::to_string(number);
      if (loop.find(name)) continue;
      if (made.empty()) batch.first = number;
      batch.last = number;
      made.push_back({std::move(name), request_.agent_class});
    }
    return made;
  }
  std::uint32_t group(const std::vector<Making>& agents, const std::vector<AgentId>& ids) {
    const std::size_t each = per_process_of(request_, mesh_);
    for (std::size_t at = 0; at < ids.size(); ++at) {
      if (at % each == 0) processes_.push_back({.agent_class = request_.agent_class});
      processes_.back().agents.push_back({agents[at].name, ids[at]});
    }
    return static_cast<std::uint32_t>(processes_.size());
  }

  ScaleRequest request_;
  ScaleOn mesh_;
  ScaleDone done_;
  Result<ScaleReport> report_{fail(Errc::closed, "scale: the engine stopped first")};
  std::vector<LostProcess> processes_;
};

}  // namespace

std::unique_ptr<Job> scale_job(ScaleRequest request, const ScaleOn& mesh, ScaleDone done) {
  return std::make_unique<ScaleJob>(std::move(request), mesh, std::move(done));
}

Result<ScaleProgress> scale_progress(const MeshSize& size, std::span<const std::byte> table,
                                     const ScaleBatch& batch) {
  MESH_TRY(const shm::Layout layout, table_layout(size));
  MESH_TRY(const AgentRowViews rows, AgentRowViews::in(layout, table));
  ScaleProgress progress;
  AgentRow row;
  for (std::size_t at = 0; at < rows.rows(); ++at) {
    if (rows.read(at, row) != shm::ReadStatus::kRead || row.is_free()) continue;
    const auto name = decode("agent.name", row.name);
    const auto number = name ? number_in(name->view(), batch.prefix) : std::nullopt;
    if (!number || *number < batch.first || *number > batch.last) continue;
    if ((row.routing & kNewcomer) == 0)
      ++progress.admitted;
    else if (row.station == kNoStation)
      ++progress.awaited;
    else
      ++progress.settling;
  }
  return progress;
}

}  // namespace mesh::engine
