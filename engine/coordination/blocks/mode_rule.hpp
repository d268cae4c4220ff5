// ModeRule: how much of the mesh is there, with hysteresis by time. The engine's operating modes
// and the coordination manager's are this one.
//
// Callers     one thread.  Progress  wait-free.
// Units       shares are compared exactly: active * 100 with percent * total.
// Guarantees  a worse mode is entered when it has been at least so bad for enter_ns, a better one
//             when it has been at least so good for leave_ns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

// Worse is more.
enum class MeshMode : std::uint8_t {
  full,
  degraded_light,     // nothing of background priority
  degraded_moderate,  // priority 2 and 3, and no scatter over 1,000 agents
  degraded_severe,    // priority 3, and nothing to the whole mesh
  emergency,          // nothing new
};
constexpr MeshMode last_of(MeshMode) noexcept { return MeshMode::emergency; }
inline constexpr std::size_t kMeshModes = 5;
[[nodiscard]] constexpr std::string_view to_string(MeshMode mode) noexcept {
  constexpr std::array<std::string_view, kMeshModes> kNames{
      "FULL", "DEGRADED_LIGHT", "DEGRADED_MODERATE", "DEGRADED_SEVERE", "EMERGENCY"};
  const auto index = static_cast<std::size_t>(mode);
  return index < kNames.size() ? kNames[index] : "unknown";
}

// What `active` of `total` alone says. Nobody is there: full, there is nothing to lack.
[[nodiscard]] constexpr MeshMode mesh_mode_of(std::uint64_t active, std::uint64_t total) noexcept {
  constexpr std::array<std::uint64_t, kMeshModes> kBelowPercent{101, 95, 80, 60, 30};
  std::size_t mode = 0;
  while (total != 0 && mode + 1 < kMeshModes && active * 100 < kBelowPercent[mode + 1] * total) {
    ++mode;
  }
  return static_cast<MeshMode>(mode);
}

class ModeRule {
 public:
  // True: the mode is another one now.
  bool observe(MeshMode seen, std::int64_t now_ns, std::int64_t enter_ns,
               std::int64_t leave_ns) noexcept {
    for (std::size_t at = 0; at < kMeshModes; ++at) {
      const auto mode = static_cast<MeshMode>(at);
      note(worse_since_[at], seen >= mode, now_ns);
      note(better_since_[at], seen <= mode, now_ns);
    }
    const MeshMode before = mode_;
    mode_ = held(now_ns, enter_ns, leave_ns);
    if (mode_ != before) since_ns_ = now_ns;
    return mode_ != before;
  }
  // Goes on in a mode that it was told of.
  void resume(MeshMode mode, std::int64_t since_ns) noexcept {
    mode_ = mode;
    since_ns_ = since_ns;
  }
  [[nodiscard]] MeshMode mode() const noexcept { return mode_; }
  [[nodiscard]] std::int64_t since_ns() const noexcept { return since_ns_; }

  void save(StateWriter& writer) const {
    writer.put(mode_);
    writer.put(since_ns_);
    for (const std::int64_t since : worse_since_) writer.put(since);
    for (const std::int64_t since : better_since_) writer.put(since);
  }
  void load(StateReader& reader) {
    mode_ = reader.get_enum(last_of(MeshMode{}));
    reader.get(since_ns_);
    for (std::int64_t& since : worse_since_) reader.get(since);
    for (std::int64_t& since : better_since_) reader.get(since);
  }

 private:
  static constexpr std::int64_t kNotNow = -1;
  using Since = std::array<std::int64_t, kMeshModes>;

  static void note(std::int64_t& since_ns, bool is_so, std::int64_t now_ns) noexcept {
    if (!is_so) {
      since_ns = kNotNow;
    } else if (since_ns == kNotNow) {
      since_ns = now_ns;
    }
  }
  // The worst that has been for long enough; else the best that has.
  [[nodiscard]] MeshMode held(std::int64_t now_ns, std::int64_t enter_ns,
                              std::int64_t leave_ns) const noexcept {
    const auto lasts = [&](std::int64_t since_ns, std::int64_t least_ns) {
      return since_ns != kNotNow && now_ns - since_ns >= least_ns;
    };
    const auto current = static_cast<std::size_t>(mode_);
    for (std::size_t at = kMeshModes; --at > current;) {
      if (lasts(worse_since_[at], enter_ns)) return static_cast<MeshMode>(at);
    }
    for (std::size_t at = 0; at < current; ++at) {
      if (lasts(better_since_[at], leave_ns)) return static_cast<MeshMode>(at);
    }
    return mode_;
  }

  MeshMode mode_ = MeshMode::full;
  std::int64_t since_ns_ = 0;
  Since worse_since_{kNotNow, kNotNow, kNotNow, kNotNow, kNotNow};
  Since better_since_{kNotNow, kNotNow, kNotNow, kNotNow, kNotNow};
};

}  // namespace mesh::coordination
