// WatchOptions: how the engine watches the mesh's health; every duration of mesh.md part 12.
#pragma once

#include "engine/health/failure_detector.hpp"
#include "engine/health/operating_modes.hpp"

namespace mesh::engine::health {

struct WatchOptions {
  OperatingModes::Config modes{};
  DetectorConfig failures{};
};

}  // namespace mesh::engine::health
