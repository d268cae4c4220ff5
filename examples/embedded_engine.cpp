// A mesh inside your own program: the engine on threads of its own, agents on another thread, and a
// scatter-gather from main(). Its agents are a Station on the same rings as any process's: more
// stations could attach from outside at any time.
#include <cstdio>
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <stdlib.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"

using mesh::engine::Engine;
using mesh::engine::Station;

constexpr std::uint32_t kAgents = 300;

// The pump: everything of a Station happens on one thread.
void agents(const std::string& directory, std::promise<void> enrolled) {
  auto station = Station::attach(directory, {.name = "inside", .agents = kAgents}).value();
  std::vector<mesh::engine::AgentDeclaration> names;
  for (std::uint32_t i = 0; i < kAgents; ++i) names.push_back({"agent-" + std::to_string(i)});
  station->enrol(names).value();
  enrolled.set_value();
  while (!station->is_lost()) {
    station->poll(256, [](const mesh::engine::Delivery& delivery) {
      if (delivery.text() != "warm up") return mesh::engine::Answer::declined();
      return mesh::engine::Answer::ready();  // arrived, and integrated
    });
    station->wait(station->now() + mesh::Nanos{mesh::kNsPerSecond});
  }
}

int main() {
  char folder[] = "/dev/shm/mesh_embedded_XXXXXX";  // a mesh is a directory on a tmpfs, its owner's
  if (mkdtemp(folder) == nullptr) return 1;
  mesh::engine::EngineOptions options;
  options.directory = std::string(folder) + "/mesh";
  options.size = {.agents = kAgents, .stations = 4, .agents_per_station = kAgents};
  auto engine = Engine::start(options).value();

  std::promise<void> enrolled;
  const auto are_enrolled = enrolled.get_future();
  std::thread pump(agents, engine->directory(), std::move(enrolled));
  are_enrolled.wait();

  const std::string text = "warm up";
  mesh::engine::OperationRequest request;               // to all of them
  request.horizon = mesh::Nanos{500 * mesh::kNsPerMs};  // T is half a second away
  request.window = mesh::Nanos{30 * mesh::kNsPerSecond};
  request.timeout = mesh::Nanos{60 * mesh::kNsPerSecond};
  request.body = std::as_bytes(std::span(text));
  const auto report = engine->scatter(request, false);
  if (report) std::printf("%s\n", mesh::sched::sentence_of(report->finished.result).c_str());

  engine.reset();  // it takes the mesh away: the station sees that, and ends
  pump.join();
  std::filesystem::remove_all(folder);
  return report ? 0 : 1;
}
