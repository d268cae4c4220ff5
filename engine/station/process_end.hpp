// end_this_process: this process ends here as a SIGKILL would end it: nothing is written, closed or
// told by whoever runs in it. For faults on purpose alone (fault_gate.hpp, loop/step_death.hpp).
//
// Callers     any thread.
#pragma once

namespace mesh::engine {

[[noreturn]] void end_this_process() noexcept;

}  // namespace mesh::engine
