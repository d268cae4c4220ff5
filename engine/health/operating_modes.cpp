#include "engine/health/operating_modes.hpp"

#include <string>

namespace mesh::engine::health {
using coordination::MeshMode;

static_assert(static_cast<unsigned>(OperatingMode::emergency) ==
                  static_cast<unsigned>(MeshMode::emergency) &&
              kOperatingModes == coordination::kMeshModes);

std::string_view name_of(OperatingMode mode) noexcept {
  return to_string(static_cast<MeshMode>(mode));
}

std::string_view name_of(Admission admission) noexcept {
  switch (admission) {
    case Admission::admitted:
      return "admitted";
    case Admission::queued:
      return "queued";
    case Admission::background_refused:
      return "background_refused";
    case Admission::sector_degraded:
      return "sector_degraded";
    case Admission::too_wide:
      return "too_wide";
    case Admission::critical_only:
      return "critical_only";
    case Admission::needs_confirmation:
      return "needs_confirmation";
    case Admission::automatic_stopped:
      return "automatic_stopped";
  }
  return "unknown";
}

OperatingMode mode_for(std::uint64_t active, std::uint64_t total) noexcept {
  return static_cast<OperatingMode>(coordination::mesh_mode_of(active, total));
}

Result<OperatingModes> OperatingModes::create(const Config& config) {
  if (config.enter_after >= Nanos{0} && config.leave_after >= Nanos{0})
    return OperatingModes(config);
  return fail(Errc::invalid_argument,
              "operating modes: entered after " + std::to_string(config.enter_after.count()) +
                  " ns, left after " + std::to_string(config.leave_after.count()) +
                  " ns; neither is below 0");
}

void OperatingModes::resume(OperatingMode mode, HostTime since) noexcept {
  rule_.resume(static_cast<MeshMode>(mode), to_ns(since));
  is_known_ = true;
}

std::optional<OperatingModes::Change> OperatingModes::observe(std::uint64_t active,
                                                              std::uint64_t total,
                                                              HostTime now) noexcept {
  if (!is_known_) rule_.resume(rule_.mode(), to_ns(now));
  is_known_ = true;
  const MeshMode seen =
      total < config_.agents_min ? MeshMode::full : coordination::mesh_mode_of(active, total);
  const OperatingMode from = mode();
  const bool is_other =
      rule_.observe(seen, to_ns(now), config_.enter_after.count(), config_.leave_after.count());
  if (!is_other) return std::nullopt;
  return Change{from, mode(), now};
}

namespace {

// What DEGRADED_SEVERE and EMERGENCY ask.
Admission admit_when_severe(OperatingMode mode, const Act& act) noexcept {
  if (mode >= OperatingMode::emergency && !act.by_operator) return Admission::automatic_stopped;
  if (act.priority < sched::Priority::critical) return Admission::critical_only;
  if (act.is_mesh_wide && !act.is_confirmed) return Admission::needs_confirmation;
  return Admission::admitted;
}

// What DEGRADED_MODERATE asks of where it goes.
Admission admit_where(const Act& act) noexcept {
  if (!act.is_operation) {
    return act.in_healthy_sector ? Admission::admitted : Admission::sector_degraded;
  }
  const bool is_wide = act.targets > kScatterMax && !act.is_confirmed;
  return is_wide ? Admission::too_wide : Admission::admitted;
}

}  // namespace

Admission admit(OperatingMode mode, const Act& act) noexcept {
  Admission admission = Admission::admitted;
  if (mode >= OperatingMode::degraded_severe) admission = admit_when_severe(mode, act);
  if (admission != Admission::admitted) return admission;
  if (mode >= OperatingMode::degraded_moderate) admission = admit_where(act);
  if (admission != Admission::admitted || mode < OperatingMode::degraded_light) return admission;
  if (act.priority == sched::Priority::background) return Admission::background_refused;
  const bool is_queued = mode == OperatingMode::degraded_moderate;
  return is_queued && act.priority < sched::Priority::high ? Admission::queued : admission;
}

}  // namespace mesh::engine::health
