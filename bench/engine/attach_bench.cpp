// A station's attach, and 30,000 agents enrolled over the control socket.
//
//     engine_attach_bench [--quick] [--json]
//
// attach        Station::attach of a station of so many agents, from connect to its first poll,
//               beside what it cannot be less than: a connection with one request, and the
//               station's two memories, made and mapped. Bar: 2 ms.
// registration  30,000 names from one station, in packets of 500: the whole time, and the
//               processor time of the engine's process meanwhile. Bar: 1 s of engine time.
#include <cstdlib>
#include <filesystem>
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
#include "engine/station/control_client.hpp"
#include "engine/station/station.hpp"
#include "shm/files.hpp"
#include "shm/mapping.hpp"

namespace mesh::bench {
namespace {

using engine::Engine;
using engine::Station;

constexpr std::uint32_t kAgents = 30'000;

class Directory {
 public:
  Directory() {
    std::string path = "/dev/shm/mesh_attach_bench_XXXXXX";
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
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::unique_ptr<Engine> start(const std::string& directory) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = kAgents, .stations = 8, .agents_per_station = kAgents};
  return Engine::start(options).value();
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}
double processor_seconds() {
  rusage usage{};
  MESH_ASSERT(::getrusage(RUSAGE_SELF, &usage) == 0);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

// The file that the engine makes and the memfd, allocated and mapped as they are for a station.
void make_memories(int directory, std::uint32_t agents) {
  const shm::Layout in = engine::station_in_layout(agents).value();
  const shm::Layout out = engine::station_out_layout(agents).value();
  const auto file = shm::create_file({directory, "bare", in.total_bytes()}).value();
  shm::MappingOptions options;
  options.name = "bare";
  options.size_bytes = in.total_bytes();
  options.access = shm::Access::kReadWrite;
  options.prefault = shm::Prefault::kPopulate;
  const auto mapped_in = shm::Mapping::map(file.get(), options).value();
  const auto memory = shm::create_sealed_memory("bare", out.total_bytes()).value();
  options.size_bytes = out.total_bytes();
  options.prefault = shm::Prefault::kNone;
  const auto mapped_out = shm::Mapping::map(memory.descriptor.get(), options).value();
  keep(mapped_in.bytes()[0]);
  keep(mapped_out.bytes()[0]);
  MESH_ASSERT(shm::remove_file(directory, "bare"));
}

struct Samples {
  std::vector<double> attach_us, request_us, memories_us, over_memories;
};

// The engine has forgotten the station before the next one attaches: numbers and files are free.
void wait_until_gone(Engine& engine) {
  while (engine.status()->stations != 0) ::sched_yield();
}

Samples attach_rounds(unsigned rounds, std::uint32_t agents) {
  const Directory directory;
  const auto engine = start(directory.mesh());
  const auto folder = shm::open_directory(directory.path()).value();
  Samples samples;
  const auto timed = [](auto&& work) {
    const std::int64_t begun = now_ns();
    work();
    return static_cast<double>(now_ns() - begun) * 1e-3;
  };
  for (unsigned round = 0; round < rounds; ++round) {
    std::unique_ptr<Station> station;
    samples.attach_us.push_back(timed([&] {
      station = Station::attach(engine->directory(), {.agents = agents}).value();
      station->poll(1, [](const engine::Delivery&) { return engine::Answer::ready(); });
    }));
    station.reset();
    wait_until_gone(*engine);
    samples.request_us.push_back(timed([&] {
      auto client = engine::ControlClient::connect(engine->directory(), {}).value();
      MESH_ASSERT(client.request(R"({"op":"status"})").has_value());
    }));
    samples.memories_us.push_back(timed([&] { make_memories(folder.get(), agents); }));
    samples.over_memories.push_back(samples.attach_us.back() /
                                    (samples.request_us.back() + samples.memories_us.back()));
  }
  return samples;
}

void show(const std::string& name, const std::vector<double>& samples, const char* unit,
          bool json) {
  const Spread spread = spread_of(samples);
  const Latency tail = latency_of(samples);
  if (json) {
    std::cout << "{\"name\":\"" << name << "\",\"unit\":\"" << unit << "\",\"spread\":";
    write_json(std::cout, spread);
    std::cout << ",\"p99\":" << tail.p99 << ",\"max\":" << tail.max << "}\n";
    return;
  }
  std::cout << "  " << std::left << std::setw(44) << name << std::right << std::setw(10)
            << spread.median << ' ' << unit << "  (p10 " << spread.p10 << ", p90 " << spread.p90
            << ", p99 " << tail.p99 << ", max " << tail.max << ")\n";
}

// The engine in a process of its own: its processor time is what is asked for.
struct Registration {
  double wall_ms = 0;
  double engine_ms = 0;
};
struct Shared {
  ShmWord<std::uint32_t> step;
  double engine_seconds;
};

void serve(const std::string& directory, Shared& shared) {
  const auto engine = start(directory);
  const double before = processor_seconds();
  shared.step.store_release(1);                             // SYNC bench.registered release
  while (shared.step.load_acquire() != 2) ::usleep(1'000);  // SYNC bench.registered acquire
  shared.engine_seconds = processor_seconds() - before;
  shared.step.store_release(3);  // SYNC bench.registered release
}

Registration registration() {
  const Directory directory;
  SharedArea area(4'096);
  auto& shared = *reinterpret_cast<Shared*>(area.at(0));
  const pid_t child = ::fork();
  MESH_ASSERT(child >= 0);
  if (child == 0) {
    serve(directory.mesh(), shared);
    ::_exit(0);
  }
  while (shared.step.load_acquire() != 1) ::usleep(1'000);  // SYNC bench.registered acquire
  const auto station = Station::attach(directory.mesh(), {.agents = kAgents}).value();
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kAgents; ++i) {
    agents.push_back({"sector-" + std::to_string(i / 300) + "/agent-" + std::to_string(i)});
  }
  const std::int64_t begun = now_ns();
  MESH_ASSERT(station->enrol(agents).has_value());
  Registration result;
  result.wall_ms = static_cast<double>(now_ns() - begun) * 1e-6;
  shared.step.store_release(2);                             // SYNC bench.registered release
  while (shared.step.load_acquire() != 3) ::usleep(1'000);  // SYNC bench.registered acquire
  result.engine_ms = shared.engine_seconds * 1e3;
  MESH_ASSERT(::waitpid(child, nullptr, 0) == child);
  return result;
}

void run(bool quick, bool json) {
  std::vector<double> wall, engine;
  for (int round = 0; round < (quick ? 3 : 11); ++round) {  // before any thread: it forks
    const Registration one = registration();
    wall.push_back(one.wall_ms);
    engine.push_back(one.engine_ms);
  }
  show("30,000 enrolled, whole time", wall, "ms", json);
  show("30,000 enrolled, engine's processor time", engine, "ms", json);
  for (const std::uint32_t agents : {30U, 3'750U, kAgents}) {
    const Samples samples = attach_rounds(quick ? 31 : 301, agents);
    const std::string of = std::to_string(agents) + " agents, ";
    show(of + "attach", samples.attach_us, "us", json);
    show(of + "a connection and one request", samples.request_us, "us", json);
    show(of + "the two memories, made and mapped", samples.memories_us, "us", json);
    show(of + "attach over both of these", samples.over_memories, "x", json);
  }
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
  mesh::bench::run(quick, json);
  return 0;
}
