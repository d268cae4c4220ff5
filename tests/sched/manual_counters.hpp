// ManualCounters: the two clocks that ClockPublisher compares, moved by hand.
#pragma once

#include <cstdint>
#include <functional>

#include "shm/base/nanos.hpp"

namespace mesh::testing {

struct ManualTime {
  std::int64_t mono_ns = 1'000 * kNsPerSecond;
  std::uint64_t tick_base = 0;
  std::int64_t mono_base = 1'000 * kNsPerSecond;
  std::uint64_t hz = 2'600'000'000;
  bool invariant = true;
  std::function<void()> on_wait = [] {};

  [[nodiscard]] std::uint64_t ticks() const {
    __extension__ typedef unsigned __int128 Wide;
    const auto elapsed = static_cast<Wide>(mono_ns - mono_base);
    return tick_base + static_cast<std::uint64_t>(elapsed * hz / kNsPerSecond);
  }
  void set_ticks(std::uint64_t value) {
    tick_base = value;
    mono_base = mono_ns;
  }
  void set_hz(std::uint64_t value) {
    set_ticks(ticks());
    hz = value;
  }
  void set_drift_ppm(std::int64_t ppm) {
    set_hz(static_cast<std::uint64_t>(2'600'000'000 + 2'600 * ppm));
  }
  void advance(std::int64_t ns) { mono_ns += ns; }
};

struct ManualCounters {
  ManualTime* time;
  [[nodiscard]] std::uint64_t ticks() const noexcept { return time->ticks(); }
  [[nodiscard]] std::int64_t monotonic_ns() const noexcept { return time->mono_ns; }
  [[nodiscard]] bool ticks_invariant() const noexcept { return time->invariant; }
  void wait(std::int64_t ns) const noexcept {
    time->advance(ns);
    time->on_wait();
  }
};

}  // namespace mesh::testing
