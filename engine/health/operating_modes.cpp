#include "engine/health/operating_modes.hpp"

#include <string>

namespace mesh::engine::health {
namespace {

constexpr std::uint32_t index_of(OperatingMode mode) noexcept {
  return static_cast<std::uint32_t>(mode);
}
// Below so many hundredths, the mode of that index or a worse one.
constexpr std::array<std::uint64_t, kOperatingModes> kBelowPercent{101, 95, 80, 60, 30};

}  // namespace

std::string_view name_of(OperatingMode mode) noexcept {
  switch (mode) {
    case OperatingMode::full:
      return "FULL";
    case OperatingMode::degraded_light:
      return "DEGRADED_LIGHT";
    case OperatingMode::degraded_moderate:
      return "DEGRADED_MODERATE";
    case OperatingMode::degraded_severe:
      return "DEGRADED_SEVERE";
    case OperatingMode::emergency:
      return "EMERGENCY";
  }
  return "unknown";
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
  if (total == 0) return OperatingMode::full;
  std::uint32_t mode = 0;
  while (mode + 1 < kOperatingModes && active * 100 < kBelowPercent[mode + 1] * total) ++mode;
  return static_cast<OperatingMode>(mode);
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
  mode_ = mode;
  since_ = since;
  is_known_ = true;
}

std::optional<OperatingModes::Change> OperatingModes::observe(std::uint64_t active,
                                                              std::uint64_t total,
                                                              HostTime now) noexcept {
  if (!is_known_) since_ = now;
  is_known_ = true;
  note(index_of(total < config_.agents_min ? OperatingMode::full : mode_for(active, total)), now);
  const OperatingMode to = held(now);
  if (to == mode_) return std::nullopt;
  const Change change{mode_, to, now};
  mode_ = to;
  since_ = now;
  return change;
}

void OperatingModes::note(std::uint32_t seen, HostTime now) noexcept {
  for (std::uint32_t mode = 0; mode < kOperatingModes; ++mode) {
    auto& worse = worse_since_[mode];
    auto& better = better_since_[mode];
    if (seen < mode) worse.reset();
    if (seen >= mode && !worse) worse = now;
    if (seen > mode) better.reset();
    if (seen <= mode && !better) better = now;
  }
}

// The worst that has been for long enough; else the best that has.
OperatingMode OperatingModes::held(HostTime now) const noexcept {
  const std::uint32_t current = index_of(mode_);
  for (std::uint32_t mode = kOperatingModes; --mode > current;)
    if (worse_since_[mode] && now - *worse_since_[mode] >= config_.enter_after)
      return static_cast<OperatingMode>(mode);
  for (std::uint32_t mode = 0; mode < current; ++mode)
    if (better_since_[mode] && now - *better_since_[mode] >= config_.leave_after)
      return static_cast<OperatingMode>(mode);
  return mode_;
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
