// A file of agents that anyone wrote: read in full, or refused with the line and the reason.
#include <set>
#include <string>

#include "shm/base/assert.hpp"
#include "shm/base/limits.hpp"
#include "tests/fuzz.hpp"
#include "tools/agents_csv.hpp"

namespace mesh::testing {
namespace {

void check_table(const tools::AgentTable& table) {
  MESH_ASSERT(!table.agents().empty());
  std::set<std::string_view> names;
  std::uint32_t line = 1;
  for (const tools::AgentLine& agent : table.agents()) {
    MESH_ASSERT(!agent.name.empty());
    MESH_ASSERT(agent.name.size() <= kAgentNameBytes);
    MESH_ASSERT(names.insert(agent.name).second);
    MESH_ASSERT(agent.agent_class < 6);
    MESH_ASSERT(agent.line > line);
    line = agent.line;
  }
}

}  // namespace

// The first byte says whether the header line is put before the rest.
void fuzz_one(std::span<const std::byte> bytes) {
  FuzzInput input(bytes);
  std::string text;
  if (input.take<std::uint8_t>() % 2 == 0) text = std::string(tools::kAgentsCsvHeader) + "\n";
  text.append(reinterpret_cast<const char*>(input.rest().data()), input.rest().size());
  const auto table = tools::AgentTable::parse(std::move(text), "agents.csv");
  if (table) {
    check_table(*table);
    return;
  }
  MESH_ASSERT(table.error().code == Errc::bad_input);
  MESH_ASSERT(table.error().sentence.starts_with("agents.csv: line "));
  MESH_ASSERT(table.error().sentence.find('\n') == std::string::npos);
}

}  // namespace mesh::testing
