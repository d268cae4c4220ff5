// What the control thread does when the mesh enters EMERGENCY.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/backup/backup_keeper.hpp"
#include "engine/control_jobs.hpp"
#include "engine/emergency.hpp"

namespace mesh::engine {
using nlohmann::json;

std::string sentence_of(const ModeSeen& entered) {
  return "EMERGENCY: " + std::to_string(entered.active) + " of " +
         std::to_string(entered.expected) +
         " agents were active; what happens by itself has stopped, and only the operator acts";
}

std::string sentence_of(const EmergencyStatus& status) {
  const std::string text = sentence_of(status.entered) + "; the state ";
  if (!status.save_error.empty()) return text + "could not be saved: " + status.save_error;
  if (status.saved_to.empty()) return text + "is being saved";
  return text + "is saved in '" + status.saved_to + "'";
}

namespace {

// From the keeper's thread to the control thread.
class SavedJob final : public Job {
 public:
  explicit SavedJob(std::function<void()> then) : then_(std::move(then)) {}
  std::optional<OperationId> run(SchedulerThread& /*scheduler*/, HostTime /*now*/) override {
    return std::nullopt;
  }
  void done() override { then_(); }

 private:
  std::function<void()> then_;
};

}  // namespace

void ControlServer::notice(const ModeSeen& seen) noexcept {
  static_cast<void>(modes_.try_push(seen));
  static_cast<void>(options_.wake->signal());
}

void ControlServer::see_mode(const ModeSeen& seen) {
  EmergencyStatus& status = emergency_;
  if (seen.mode != health::OperatingMode::emergency) {
    status.is_on = false;
    return;
  }
  status = {.is_on = true, .times = status.times + 1, .entered = seen};
  note({Errc::automatic_stopped, 0, sentence_of(seen)});
  options_.backups->save_state([this, times = status.times](const Result<BackupInfo>& made) {
    static_cast<void>(scheduler_.post(
        std::make_unique<SavedJob>([this, times, made] { state_saved(times, made); })));
  });
}

// Of one that is not the last any more nothing is said.
void ControlServer::state_saved(std::uint64_t times, const Result<BackupInfo>& made) {
  EmergencyStatus& status = emergency_;
  if (times != status.times) return;
  if (made) {
    status.saved_to = made->path;
    return;
  }
  status.save_error = made.error().sentence;
  note({made.error().code, 0, "state in EMERGENCY: it could not be saved: " + status.save_error});
}

json ControlServer::emergency_json() const {
  const EmergencyStatus& status = emergency_;
  if (status.times == 0) return nullptr;
  return {{"is_on", status.is_on},
          {"times", status.times},
          {"since_unix_ns", status.entered.unix_ns},
          {"active", status.entered.active},
          {"expected", status.entered.expected},
          {"saved_to", status.saved_to},
          {"save_error", status.save_error},
          {"says", sentence_of(status)}};
}

}  // namespace mesh::engine
