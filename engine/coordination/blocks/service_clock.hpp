// ServiceClock: the instant that a service goes by. An instant before the last one is taken as the
// last one, and counted: a service's time never goes back.
#pragma once

#include <cstdint>

#include "engine/coordination/blocks/state_codec.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::coordination {

class ServiceClock {
 public:
  // The instant to go by. Below zero is the caller's mistake: ask is_valid() first.
  std::int64_t at(Nanos now) noexcept {
    if (now.count() < last_ns_) [[unlikely]] {
      ++regressions_;
      return last_ns_;
    }
    last_ns_ = now.count();
    return last_ns_;
  }
  [[nodiscard]] static bool is_valid(Nanos now) noexcept { return now.count() >= 0; }
  [[nodiscard]] std::int64_t last_ns() const noexcept { return last_ns_; }
  [[nodiscard]] std::uint64_t regressions() const noexcept { return regressions_; }

  void save(StateWriter& writer) const {
    writer.put(last_ns_);
    writer.put(regressions_);
  }
  void load(StateReader& reader) {
    reader.get(last_ns_);
    reader.get(regressions_);
    if (last_ns_ < 0) reader.fail();
  }

 private:
  std::int64_t last_ns_ = 0;
  std::uint64_t regressions_ = 0;  // good for 584 years at one a nanosecond
};

}  // namespace mesh::coordination
