#include "engine/station/process_end.hpp"

#include <csignal>

#include <unistd.h>

namespace mesh::engine {

void end_this_process() noexcept {
  ::kill(::getpid(), SIGKILL);
  ::_exit(128 + SIGKILL);  // tidy: allow(abort) a container's first process survives its own signal
}

}  // namespace mesh::engine
