// What a whole mesh takes in memory: all that is mapped, whole, and what the engine has besides.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string_view>

#include "engine/engine.hpp"
#include "engine/memory_map.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_memory_test {

constexpr std::uint32_t kAgents = 30'000;
constexpr std::uint32_t kStations = 128;
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

// Private pages of this process, in bytes.
std::uint64_t anonymous_bytes() {
  constexpr std::string_view kName = "Anonymous:";
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(kName))
      return std::strtoull(line.c_str() + kName.size(), nullptr, 10) * 1024;
  return 0;
}

int be_station(const Channel& channel, std::uint32_t number) {
  const std::uint32_t count = (kAgents + number) / kStations;  // the remainder to the last ones
  const auto station = attach(channel, channel.hear(), count);
  if (station == nullptr) return 1;
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < count; ++i)
    agents.push_back({std::to_string(number).append("/").append(std::to_string(i))});
  if (!station->enrol(agents)) return 1;
  channel.tell("enrolled");
  while (!station->is_lost()) {
    station->poll(256, [](const engine::Delivery&) { return engine::Answer::ready(); });
    (void)station->wait(station->now() + Nanos{kNsPerSecond});
  }
  return 0;
}

TEST(EngineMemory, StaysUnder256MiBWith30000AgentsOn128StationsAlsoAfterOperations) {
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (std::uint32_t i = 0; i < kStations; ++i)
    children.push_back(
        std::make_unique<Child>([i](const Channel& channel) { return be_station(channel, i); }));
  const std::uint64_t before = anonymous_bytes();
  if (before == 0) GTEST_SKIP() << "no /proc/self/smaps_rollup here";
  const engine::MeshSize size{.agents = kAgents, .stations = kStations};
  const auto engine = start_engine(directory.path(), size);
  ASSERT_NE(engine, nullptr);
  for (const auto& child : children) child->tell(directory.path());
  for (const auto& child : children) ASSERT_EQ(child->hear(), "enrolled");
  for (int round = 0; round < 8; ++round) {
    engine::OperationRequest request;
    request.at_once = true;
    request.timeout = Nanos{60 * kNsPerSecond};
    const auto report = engine->scatter(request, false);
    ASSERT_TRUE(report.has_value()) << report.error().sentence;
    ASSERT_EQ(report->finished.result.counts.ready, kAgents);
  }
  const std::uint64_t own = anonymous_bytes() - before;
  const std::uint64_t mapped = engine::memory_map(size)->total_bytes();
  std::cout << "mapped " << mapped / kMiB << " MiB, the engine's own " << own / kMiB << " MiB\n";
  EXPECT_LT(mapped + own, 256 * kMiB);
}

}  // namespace of_engine_memory_test
}  // namespace mesh::testing
