// ServiceClock: the instant that a service goes by. An instant before the last one is taken as the
// last one, and counted: a service's time never goes back.
//
// Units       ns of the host clock. Instants end at kInstantMaxNs (146 years) and durations at
//             kDurationMaxNs (36 years): so no sum of an instant and a few durations leaves an
//             int64, whatever a caller or a config says.
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

inline constexpr std::int64_t kInstantMaxNs = INT64_MAX / 2;
inline constexpr std::int64_t kDurationMaxNs = INT64_MAX / 8;
[[nodiscard]] constexpr bool is_duration(Nanos duration) noexcept {
  return duration.count() >= 0 && duration.count() <= kDurationMaxNs;
}
[[nodiscard]] constexpr bool is_positive_duration(Nanos duration) noexcept {
  return duration.count() > 0 && duration.count() <= kDurationMaxNs;
}

class ServiceClock {
 public:
  // The instant to go by. Ask is_valid() first: anything else is the caller's mistake.
  std::int64_t at(Nanos now) noexcept {
    if (now.count() < last_ns_) [[unlikely]] {
      ++regressions_;
      return last_ns_;
    }
    last_ns_ = now.count();
    return last_ns_;
  }
  [[nodiscard]] static bool is_valid(Nanos now) noexcept {
    return now.count() >= 0 && now.count() <= kInstantMaxNs;
  }
  // True: `now` is valid and not before the last one. What a hot path asks, in one comparison.
  [[nodiscard]] bool goes_on(Nanos now) const noexcept {
    return static_cast<std::uint64_t>(now.count()) - static_cast<std::uint64_t>(last_ns_) <=
           static_cast<std::uint64_t>(kInstantMaxNs - last_ns_);
  }
  [[nodiscard]] std::int64_t last_ns() const noexcept { return last_ns_; }
  [[nodiscard]] std::uint64_t regressions() const noexcept { return regressions_; }

  void save(StateWriter& writer) const {
    writer.put(last_ns_);
    writer.put(regressions_);
  }
  void load(StateReader& reader) {
    reader.get(last_ns_);
    reader.get(regressions_);
    if (!is_valid(Nanos{last_ns_})) reader.fail();
  }

 private:
  std::int64_t last_ns_ = 0;
  std::uint64_t regressions_ = 0;  // good for 584 years at one a nanosecond
};

}  // namespace mesh::coordination
