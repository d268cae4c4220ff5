// SenderThrottleOptions: how senders are held back while the engine cannot keep up.
#pragma once

#include "shm/base/result.hpp"

namespace mesh::engine {

struct SenderThrottleOptions {
  static constexpr double kFloodFactorMin = 1.5;
  static constexpr double kFloodFactorMax = 1e6;
  static constexpr double kBaselineMost = 1e8;

  bool enabled = true;
  double flood_factor = 10;   // over so many times its baseline a sector is held to its baseline
  double baseline_min = 100;  // messages a second: no sector's baseline is less

  [[nodiscard]] Status check() const;
};

}  // namespace mesh::engine
