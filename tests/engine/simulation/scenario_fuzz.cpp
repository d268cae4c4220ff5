// Hostile scenario files: read, or complained of with a sentence for each mistake; and what is read
// without a complaint is a scenario in which nothing is wrong.
#include <cstddef>
#include <span>
#include <string_view>

#include "engine/simulation/scenario.hpp"
#include "shm/base/assert.hpp"
#include "tests/fuzz.hpp"

namespace mesh::testing {

void fuzz_one(std::span<const std::byte> bytes) {
  using namespace engine::simulation;
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const ReadScenario read = read_scenario(text);
  if (read.complaints.empty()) MESH_ASSERT(check_scenario(read.scenario).empty());
  for (const ScenarioComplaint& complaint : read.complaints)
    MESH_ASSERT(!complaint.sentence.empty());
}

}  // namespace mesh::testing
