// What a mesh of 30,000 agents costs that does nothing: processor time of its engine and of each
// station, and memory.
//
//     engine_idle_bench [--quick] [--json]
//
// processor  the engine in a process of its own, 8 stations of 3,750 agents each in theirs, all
//            adaptive; user and system time by getrusage over some seconds. Beside it a process
//            that only sleeps, a second at a time, as the stations do. Bar: 1 % of a core each.
// memory     128 stations attached, 30,000 agents enrolled: every mapped memory, whole, and what
//            the engine's process (bar: 256 MiB together) and the stations have besides.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include "bench/across.hpp"
#include "bench/interleave.hpp"
#include "engine/engine.hpp"
#include "engine/station/station.hpp"

namespace mesh::bench {
namespace {

using engine::Engine;
using engine::Station;

constexpr std::uint32_t kAgents = 30'000;
constexpr std::size_t kStations = 8;
constexpr std::size_t kProcesses = kStations + 2;  // the engine, and one that only sleeps
constexpr std::uint32_t kManyStations = 128;

class Directory {
 public:
  Directory() {
    std::string path = "/dev/shm/mesh_idle_bench_XXXXXX";
    MESH_ASSERT(::mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Directory() {
    std::error_code ignored;  // what cannot be removed was not ours
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  [[nodiscard]] std::string mesh() const { return path_ + "/mesh"; }

 private:
  std::string path_;
};

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}
double processor_seconds() {
  rusage usage{};
  MESH_ASSERT(::getrusage(RUSAGE_SELF, &usage) == 0);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

std::vector<engine::AgentDeclaration> names(std::uint32_t station, std::uint32_t count) {
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string name = "station-";
    name.append(std::to_string(station)).append("/agent-").append(std::to_string(i));
    agents.push_back({std::move(name)});
  }
  return agents;
}

engine::EngineOptions engine_options(const std::string& directory, std::uint32_t stations) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = kAgents, .stations = stations};
  return options;
}

// One process's part of what the parent reads. Steps: 1 ready; 2 measure; 3 measured.
struct Part {
  ShmWord<std::uint32_t> step;
  double share_of_core;
};
struct Shared {
  Part parts[kProcesses];
  ShmWord<std::uint32_t> go;   // 1: measure
  ShmWord<std::uint32_t> end;  // 1: stop measuring
};

// Runs turn(), which waits up to a second each time, and measures between two of its ends.
template <class Turn>
void measure(Shared& shared, Part& part, Turn&& turn) {
  part.step.store_release(1);                    // SYNC bench.idle release
  while (shared.go.load_acquire() == 0) turn();  // SYNC bench.idle acquire
  const double before = processor_seconds();
  const std::int64_t begun = now_ns();
  while (shared.end.load_acquire() == 0) turn();  // SYNC bench.idle acquire
  part.share_of_core =
      (processor_seconds() - before) / (static_cast<double>(now_ns() - begun) * 1e-9);
  part.step.store_release(3);  // SYNC bench.idle release
}

void be_engine(const std::string& directory, Shared& shared) {
  const auto engine = Engine::start(engine_options(directory, kStations)).value();
  measure(shared, shared.parts[0],
          [&] { static_cast<void>(engine->wait_for_down(Nanos{kNsPerSecond})); });
  // Until the stations have measured: its end would wake them.
  for (std::size_t i = 1; i < kProcesses; ++i) {
    while (shared.parts[i].step.load_acquire() != 3) ::usleep(10'000);  // SYNC bench.idle acquire
  }
}

void be_station(const std::string& directory, std::uint32_t number, Shared& shared) {
  engine::StationOptions options;
  options.agents = kAgents / kStations;
  options.connect.patience = Nanos{30 * kNsPerSecond};
  const auto station = Station::attach(directory, options).value();
  MESH_ASSERT(station->enrol(names(number, options.agents)).has_value());
  measure(shared, shared.parts[number + 1U], [&] {
    station->poll(256, [](const engine::Delivery&) { return engine::Answer::ready(); });
    static_cast<void>(station->wait(station->now() + Nanos{kNsPerSecond}));
  });
}

pid_t in_child(const auto& body) {
  const pid_t child = ::fork();
  MESH_ASSERT(child >= 0);
  if (child != 0) return child;
  body();
  ::_exit(0);
}

// Shares of a core: the engine, the stations, and last the process that only sleeps.
std::vector<double> idle_shares(unsigned seconds) {
  const Directory directory;
  SharedArea area(sizeof(Shared) + 4'096);
  auto& shared = *reinterpret_cast<Shared*>(area.at(0));
  std::vector<pid_t> children;
  children.push_back(in_child([&] { be_engine(directory.mesh(), shared); }));
  for (std::uint32_t i = 0; i < kStations; ++i) {
    children.push_back(in_child([&] { be_station(directory.mesh(), i, shared); }));
  }
  children.push_back(in_child(
      [&] { measure(shared, shared.parts[kProcesses - 1], [] { ::usleep(1'000'000); }); }));
  for (Part& part : shared.parts) {
    while (part.step.load_acquire() == 0) ::usleep(10'000);  // SYNC bench.idle acquire
  }
  ::sleep(1);                  // what they did to get here is over
  shared.go.store_release(1);  // SYNC bench.idle release
  ::sleep(seconds);
  shared.end.store_release(1);  // SYNC bench.idle release
  for (const pid_t child : children) {
    int status = 0;
    MESH_ASSERT(::waitpid(child, &status, 0) == child);
    MESH_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  std::vector<double> shares;
  for (const Part& part : shared.parts) shares.push_back(part.share_of_core);
  return shares;
}

// Bytes of a line of /proc/self/smaps_rollup.
std::uint64_t rolled_up(std::string_view name) {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name))
      return std::strtoull(line.c_str() + name.size(), nullptr, 10) << 10U;
  }
  return 0;
}

struct MemoryUse {
  std::uint64_t mapped = 0;     // by the memory map: all five kinds, every station
  std::uint64_t directory = 0;  // of the mesh's files
  std::uint64_t engine = 0;     // anonymous memory of the engine's process, beyond its beginning
  std::uint64_t stations = 0;   // the same of all stations
};

struct MemoryWords {
  ShmWord<std::uint32_t> step;  // 1: the engine runs; 2: all are enrolled; 3: measured; 4: end
  std::uint64_t engine_bytes;
};

void await(const ShmWord<std::uint32_t>& step, std::uint32_t value) {
  while (step.load_acquire() != value) ::usleep(1'000);  // SYNC bench.memory acquire
}

void measure_engine(const std::string& directory, MemoryWords& words) {
  const std::uint64_t before = rolled_up("Anonymous:");
  const auto engine = Engine::start(engine_options(directory, kManyStations)).value();
  words.step.store_release(1);  // SYNC bench.memory release
  await(words.step, 2);
  MESH_ASSERT(engine->status()->agents_enrolled == kAgents);
  words.engine_bytes = rolled_up("Anonymous:") - before;
  words.step.store_release(3);  // SYNC bench.memory release
  await(words.step, 4);
}

MemoryUse memory_use() {
  const Directory directory;
  SharedArea area(4'096);
  auto& words = *reinterpret_cast<MemoryWords*>(area.at(0));
  const pid_t child = in_child([&] { measure_engine(directory.mesh(), words); });
  await(words.step, 1);
  MemoryUse use;
  const std::uint64_t before = rolled_up("Anonymous:");
  std::vector<std::unique_ptr<Station>> stations;
  for (std::uint32_t i = 0; i < kManyStations; ++i) {
    // The remainder goes to the last ones.
    const std::uint32_t count = (kAgents + i) / kManyStations;
    stations.push_back(Station::attach(directory.mesh(), {.agents = count}).value());
    MESH_ASSERT(stations.back()->enrol(names(i, count)).has_value());
  }
  use.stations = rolled_up("Anonymous:") - before;
  words.step.store_release(2);  // SYNC bench.memory release
  await(words.step, 3);
  use.engine = words.engine_bytes;
  use.mapped = engine::memory_map({.agents = kAgents, .stations = kManyStations})->total_bytes();
  for (const auto& entry : std::filesystem::directory_iterator(directory.mesh())) {
    if (entry.is_regular_file()) use.directory += entry.file_size();
  }
  stations.clear();
  words.step.store_release(4);  // SYNC bench.memory release
  MESH_ASSERT(::waitpid(child, nullptr, 0) == child);
  return use;
}

void show(const char* name, double value, const char* unit, bool json) {
  if (json) {
    std::cout << "{\"name\":\"" << name << "\",\"" << unit << "\":" << value << "}\n";
  } else {
    std::cout << "  " << std::left << std::setw(52) << name << std::right << value << ' ' << unit
              << '\n';
  }
}

void run(unsigned seconds, bool json) {
  const std::vector<double> shares = idle_shares(seconds);
  const Spread stations =
      spread_of({shares.begin() + 1, shares.begin() + 1 + static_cast<std::ptrdiff_t>(kStations)});
  show("engine, idle, 8 stations and 30,000 agents", shares.front() * 100, "% of a core", json);
  show("station, idle, 3,750 agents, the median of 8", stations.median * 100, "% of a core", json);
  show("station, idle, the most of 8",
       *std::max_element(shares.begin() + 1, shares.end() - 1) * 100, "% of a core", json);
  show("a process that only sleeps", shares.back() * 100, "% of a core", json);
  const MemoryUse use = memory_use();
  const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  show("30,000 agents, 128 stations: all mapped memories", mib(use.mapped), "MiB", json);
  show("  of which files of the mesh's directory", mib(use.directory), "MiB", json);
  show("  the engine's own, besides", mib(use.engine), "MiB", json);
  show("  128 stations' own, besides", mib(use.stations), "MiB", json);
  show("the mesh: mapped, and the engine's own (bar: 256)", mib(use.mapped + use.engine), "MiB",
       json);
  show("and with what 128 stations' libraries have", mib(use.mapped + use.engine + use.stations),
       "MiB", json);
}

}  // namespace
}  // namespace mesh::bench

int main(int argc, char** argv) {
  bool quick = std::getenv("MESH_BENCH_QUICK") != nullptr;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") quick = true;
    if (std::string_view(argv[i]) == "--json") json = true;
  }
  if (!json) std::cout << mesh::bench::context() << '\n';
  mesh::bench::run(quick ? 3 : 10, json);
  return 0;
}
