#include "engine/incident.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "engine/heal.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {
namespace {

using console::IncidentCluster;
using console::IncidentFacts;
using console::IncidentFinding;

constexpr std::size_t kHealedNamed = 16;

class StepJob final : public Job {
 public:
  using Run = std::function<Status(SchedulerThread& scheduler, HostTime now)>;
  using Then = std::function<void(const Status& status)>;
  StepJob(Run run, Then then) : run_(std::move(run)), then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    status_ = run_(scheduler, now);
    return std::nullopt;
  }
  void done() override { then_(status_); }

 private:
  Run run_;
  Then then_;
  Status status_;
};

// One procedure; the job that is under way holds it.
class IncidentRun : public std::enable_shared_from_this<IncidentRun> {
 public:
  IncidentRun(const IncidentUses& uses, const IncidentRequest& request, IncidentDone done)
      : uses_(uses), request_(request), done_(std::move(done)) {}

  Status begin() {
    return post(step([](IncidentRun& its, SchedulerThread& scheduler,
                        HostTime now) { return its.look(scheduler, now); },
                     [](IncidentRun& its) { its.looked(); }));
  }

 private:
  template <class Run, class Then>
  std::unique_ptr<Job> step(Run run, Then then) {
    return std::make_unique<StepJob>(
        [its = shared_from_this(), run](SchedulerThread& scheduler, HostTime now) {
          return run(*its, scheduler, now);
        },
        [its = shared_from_this(), then](const Status& status) {
          status ? then(*its) : its->done_(tl::unexpected<Error>(status.error()));
        });
  }
  Status post(std::unique_ptr<Job> job) {
    if (uses_.scheduler->post(std::move(job)) == nullptr) return {};
    return fail(Errc::busy, "incident: the engine has too much to do, or has stopped");
  }

  [[nodiscard]] Result<IncidentFacts> facts_now(SchedulerThread& scheduler, HostTime now) const {
    IncidentWanted wanted{.sector = request_.sector, .stuck = {}};
    for (const SchedulerThread::Stuck& one : scheduler.stuck()) wanted.stuck.push_back(one.station);
    return incident_facts(scheduler.loop(), wanted, now);
  }
  void note_timeline(SchedulerThread& scheduler, HostTime now) {
    report_.at = now;
    report_.timeline = incident_timeline(scheduler.loop(),
                                         {.sector = request_.sector, .from = now - request_.since});
  }

  Status look(SchedulerThread& scheduler, HostTime now) {
    MESH_TRY(report_.facts, facts_now(scheduler, now));
    report_.findings = console::diagnose(report_.facts);
    report_.unix_offset_ns = scheduler.unix_offset_ns();
    note_timeline(scheduler, now);
    return {};
  }
  void looked() {
    if (!request_.act || report_.findings.empty()) return done_(std::move(report_));
    report_.has_acted = true;
    const bool heals = std::any_of(report_.findings.begin(), report_.findings.end(),
                                   [](const IncidentFinding& one) { return one.remedy.heals; });
    if (!heals) return go_on();
    auto job = heal_job(
        {.scope = {console::ScopeKind::sector, request_.sector}, .wait = request_.wait},
        uses_.recovery,
        [its = shared_from_this()](const Result<HealReport>& healed) { its->healed(healed); });
    if (const Status posted = post(std::move(job)); !posted) done_(tl::unexpected(posted.error()));
  }
  void healed(const Result<HealReport>& healed) {
    for (IncidentFinding& finding : report_.findings)
      if (finding.remedy.heals) add_healed(healed, finding.did);
    go_on();
  }
  static void add_healed(const Result<HealReport>& healed, std::vector<std::string>& did) {
    if (!healed) {
      did.push_back("healing: " + healed.error().sentence);
      return;
    }
    const auto well = std::count_if(healed->agents.begin(), healed->agents.end(),
                                    [](const HealedAgent& one) { return one.is_well; });
    did.push_back("healed: " + std::to_string(healed->breakers.size()) + " breakers reset, " +
                  std::to_string(well) + " of " + std::to_string(healed->agents.size()) +
                  " agents that were away or quarantined are well");
    for (std::size_t i = 0; i < healed->agents.size() && i < kHealedNamed; ++i)
      did.push_back(healed->agents[i].name + ": " + healed->agents[i].did);
  }

  void go_on() {
    const Status posted = post(step([](IncidentRun& its, SchedulerThread& scheduler,
                                       HostTime now) { return its.act(scheduler, now); },
                                    [](IncidentRun& its) { its.done_(std::move(its.report_)); }));
    if (!posted) done_(tl::unexpected<Error>(posted.error()));
  }
  Status act(SchedulerThread& scheduler, HostTime now) {
    now_ = now;
    MESH_TRY(const IncidentFacts seen, facts_now(scheduler, now));
    for (IncidentFinding& finding : report_.findings) {
      for (const std::uint32_t cluster : finding.remedy.isolates)
        MESH_CHECK_OK(isolate(scheduler.loop(), seen, cluster, finding.did));
      if (finding.remedy.routes_around.empty()) continue;
      const std::uint32_t changed =
          route_ailing_around(scheduler.loop(), finding.remedy.routes_around, now_);
      finding.did.push_back("routed around " + std::to_string(changed) +
                            " agents: mesh route-around NAME... --undo takes that back");
    }
    MESH_TRY(const IncidentFacts after, facts_now(scheduler, now));
    report_.left = console::diagnose(after);
    note_timeline(scheduler, now);
    return {};
  }
  Status isolate(EngineLoop& loop, const IncidentFacts& seen, std::uint32_t cluster,
                 std::vector<std::string>& did) const {
    const std::string name = "cluster " + std::to_string(cluster);
    const auto found = std::find_if(seen.clusters.begin(), seen.clusters.end(),
                                    [&](const auto& one) { return one.cluster == cluster; });
    if (found == seen.clusters.end() || !found->has_failed()) {
      did.push_back(name + ": whole again, and not isolated");
      return {};
    }
    MESH_TRY(const bool is_new, isolate_cluster(loop, cluster, now_));
    did.push_back(name + (is_new ? ": isolated, its breaker is held open until mesh heal"
                                 : ": is isolated already"));
    const auto moved = redistribute(loop, cluster, now_);
    if (!moved) {
      did.push_back(moved.error().sentence);
      return {};
    }
    did.push_back(name + ": " + std::to_string(moved->moved) +
                  " of its healthy agents moved to other clusters" +
                  (moved->stayed == 0
                       ? std::string()
                       : ", for " + std::to_string(moved->stayed) + " there is no room"));
    return {};
  }

  IncidentUses uses_;
  IncidentRequest request_;
  IncidentDone done_;
  IncidentReport report_;
  HostTime now_{};  // of the job that acts
};

}  // namespace

Status start_incident(const IncidentUses& uses, const IncidentRequest& request, IncidentDone done) {
  return std::make_shared<IncidentRun>(uses, request, std::move(done))->begin();
}

}  // namespace mesh::engine
