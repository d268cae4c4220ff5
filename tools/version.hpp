// What `mesh --version` says: enough to tell whether two binaries can share a mesh.
#pragma once

#include <iosfwd>

namespace mesh::tools {

void write_version(std::ostream& out);

}  // namespace mesh::tools
