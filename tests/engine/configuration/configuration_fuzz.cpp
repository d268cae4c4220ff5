// Hostile configuration files: read, or complained of with a sentence for each mistake; and what is
// read without a complaint can be started.
#include <cstddef>
#include <span>
#include <string_view>

#include "engine/configuration/configuration.hpp"
#include "shm/base/assert.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {

void fuzz_one(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const engine::ReadConfiguration read = engine::read_configuration(text);
  if (read.complaints.empty()) MESH_ASSERT(engine::engine_options(read.configuration).has_value());
  for (const engine::Complaint& complaint : read.complaints)
    MESH_ASSERT(!complaint.sentence.empty());
}

}  // namespace mesh::testing
