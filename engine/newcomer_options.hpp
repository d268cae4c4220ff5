// NewcomerOptions: how agents that a mesh is scaled by come into its traffic.
#pragma once

#include <cstdint>

#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct NewcomerOptions {
  std::uint32_t warm_ups = 8;        // measured answers that a profile needs to be one
  Nanos every{500 * kNsPerMs};       // a newcomer is looked at, and a share of them admitted
  std::uint32_t share_percent = 10;  // of all that came, at least one
};

}  // namespace mesh::engine
