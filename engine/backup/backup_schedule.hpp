// BackupSchedule: when the next backup is due. Pure.
//
// Callers     one thread; any clock that does not go back.
// Units       Nanos of that clock.
#pragma once

#include <algorithm>
#include <optional>

#include "shm/base/nanos.hpp"

namespace mesh::engine {

class BackupSchedule {
 public:
  // After a failure the next try is not a whole period away.
  static constexpr Nanos kTriedAgainAfter{60 * kNsPerSecond};

  // 0: never. `age`: of the last good one; none: there is none, and the first is due at once.
  BackupSchedule(Nanos every, Nanos now, std::optional<Nanos> age) noexcept
      : every_(every), due_(age ? now + std::max(Nanos{0}, every - *age) : now) {}

  [[nodiscard]] bool is_on() const noexcept { return every_ > Nanos{0}; }
  [[nodiscard]] bool is_due(Nanos now) const noexcept { return is_on() && now >= due_; }
  [[nodiscard]] Nanos due() const noexcept { return due_; }
  // Also one that was asked for by hand: a good one is as good as a scheduled one.
  void ended(Nanos now, bool is_good) noexcept {
    due_ = now + (is_good ? every_ : std::min(every_, kTriedAgainAfter));
  }

 private:
  Nanos every_;
  Nanos due_;
};

}  // namespace mesh::engine
