#include "engine/heal.hpp"

#include <memory>
#include <utility>

#include "engine/recovery/recovery.hpp"
#include "engine/scheduler_thread.hpp"

namespace mesh::engine {
namespace {

constexpr const char* kByQuarantine = "no context loaded: its quarantine does that";
constexpr const char* kNotYet = "its context is not loaded yet";

class HealJob final : public Job {
 public:
  HealJob(const HealRequest& request, Recovery* recovery, HealDone done)
      : request_(request), recovery_(recovery), done_(std::move(done)) {}

  std::optional<OperationId> run(SchedulerThread& scheduler, HostTime now) override {
    report_ = mend(scheduler.loop(), now);
    return std::nullopt;
  }
  void done() override {
    if (!report_ || away_.empty() || recovery_ == nullptr) return done_(std::move(report_));
    auto report = std::make_shared<HealReport>(std::move(*report_));
    recovery_->heal({std::move(away_), request_.wait,
                     [report, done = std::move(done_)](const std::vector<HealedProcess>& healed) {
                       for (const HealedProcess& one : healed) add(*report, one);
                       done(std::move(*report));
                     }});
  }

 private:
  Result<HealReport> mend(EngineLoop& loop, HostTime now) {
    HealReport report{.scope = request_.scope, .breakers = {}, .agents = {}};
    MESH_TRY(report.breakers, reset_breakers(loop, request_.scope, now));
    MESH_TRY(const std::vector<AilingAgent> ailing, ailing_agents(loop, request_.scope));
    for (const AilingAgent& agent : ailing) {
      if (agent.is_quarantined)
        report.agents.push_back(
            {agent.name, false, std::string("left quarantined: ") + kByQuarantine});
      else if (recovery_ == nullptr)
        report.agents.push_back(
            {agent.name, false, "left: no command to spawn is configured under [recovery]"});
      else
        away_.push_back({agent.name, agent.id});
    }
    return report;
  }
  // Of a process also those who were not asked about: they went with it.
  static void add(HealReport& report, const HealedProcess& healed) {
    for (std::size_t at = 0; at < healed.of.agents.size(); ++at) {
      std::string did = "not replaced: " + healed.why;
      if (healed.is_back)
        did = "replaced; " + (at < healed.said.size() ? healed.said[at] : std::string(kNotYet));
      report.agents.push_back({healed.of.agents[at].name, healed.is_back, std::move(did)});
    }
  }

  HealRequest request_;
  Recovery* recovery_;
  HealDone done_;
  Result<HealReport> report_{fail(Errc::closed, "heal: the engine stopped first")};
  std::vector<LostAgent> away_;
};

}  // namespace

std::unique_ptr<Job> heal_job(const HealRequest& request, Recovery* recovery, HealDone done) {
  return std::make_unique<HealJob>(request, recovery, std::move(done));
}

}  // namespace mesh::engine
