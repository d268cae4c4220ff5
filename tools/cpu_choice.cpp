#include "tools/cpu_choice.hpp"

#include <cerrno>
#include <string>

#include <sched.h>

#include "sched/pinning.hpp"
#include "shm/system_error.hpp"

namespace mesh::tools {

Result<std::vector<int>> cpus_without(int cpu) {
  MESH_TRY(std::vector<int> cpus, sched::allowed_cpus());
  if (cpus.size() > 1) std::erase(cpus, cpu);
  return cpus;
}

Status stay_on(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<unsigned>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    return shm::system_failure("sched_setaffinity " + sched::format_cpus(cpus), errno);
  }
  return {};
}

}  // namespace mesh::tools
