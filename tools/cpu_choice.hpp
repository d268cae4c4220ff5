// Which cpus a process leaves to the engine: where stations run on its core too, an operation takes
// ten times as long.
//
// Callers     main(), before it starts threads.
// Errors      system_error.
#pragma once

#include <vector>

#include "shm/base/result.hpp"

namespace mesh::tools {

// The cpus that this process may use, without `cpu`; all of them where that would leave none.
Result<std::vector<int>> cpus_without(int cpu);
// The calling thread, and those that it starts from now on, stay on `cpus`.
Status stay_on(const std::vector<int>& cpus);

}  // namespace mesh::tools
