// WatchOptions: how the engine watches the mesh's health; every duration of mesh.md part 12.
#pragma once

#include <cstdint>

#include "engine/health/failure_detector.hpp"
#include "engine/health/operating_modes.hpp"

namespace mesh::engine::health {

// The breakers of clusters, sectors and the mesh.
struct BreakerOptions {
  std::uint32_t cluster_failures_max = 5;  // in the window; one more opens it
  std::uint32_t sector_failures_max = 50;
  std::uint32_t open_sectors_max = 10;  // one more opens the mesh
  Nanos window{60 * kNsPerSecond};
  Nanos open{30 * kNsPerSecond};         // until the first probe
  Nanos probe_retry{60 * kNsPerSecond};  // after a probe that failed
  Nanos half_open{60 * kNsPerSecond};
  std::uint32_t half_open_pass_every = 10;
  std::uint32_t half_open_failure_ppm = 50'000;
  // Crashes after which a cluster is whole again so soon are taken back, once in a window.
  Nanos crash_grace{kNsPerSecond};
};

struct WatchOptions {
  OperatingModes::Config modes{};
  DetectorConfig failures{};
  BreakerOptions breakers{};
};

}  // namespace mesh::engine::health
