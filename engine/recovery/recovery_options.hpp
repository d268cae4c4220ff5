// RecoveryOptions: how the processes of agents that crash are replaced.
#pragma once

#include <cstdint>
#include <string>

#include "shm/base/nanos.hpp"

namespace mesh::engine {

struct RecoveryOptions {
  std::string spawn{};          // a line of /bin/sh; empty: nobody is replaced
  Nanos backoff{kNsPerSecond};  // before the second try; doubled for each further one
  Nanos backoff_max{60 * kNsPerSecond};
  Nanos patience{30 * kNsPerSecond};      // that a replacement has to attach its agents
  std::uint32_t attempts = 5;             // then nobody tries any more, until `heal` is asked for
  Nanos context_wait{10 * kNsPerSecond};  // that what is for a returned agent waits for its context
  Nanos calm{60 * kNsPerSecond};          // back for so long, what was before is forgotten
};

}  // namespace mesh::engine
