#include "tools/version.hpp"

#include <ostream>

#include "sched/lead_time_columns.hpp"

namespace mesh::tools {

void write_version(std::ostream& out) {
  out << "mesh " << MESH_VERSION << '\n'
      << "vector target " << sched::chosen_target() << '\n'
      << "compiler " << MESH_COMPILER << '\n';
}

}  // namespace mesh::tools
