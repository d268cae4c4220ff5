// Which safety check is switched off: the one that MESH_MUTANT names. mutants.py runs this program.
#include <cstdlib>
#include <string_view>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {

bool is_mutant(std::string_view name) noexcept {
  static const char* const chosen = std::getenv("MESH_MUTANT");
  return chosen != nullptr && name == chosen;
}

}  // namespace mesh::coordination
