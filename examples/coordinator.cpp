// A coordinator: an agent among the agents, which asks the others of its sector for something at
// one moment T and goes on with its own work until the result comes: nobody waits for everybody.
// The engine counts the answers; the coordinator is told once, with everything that they came to.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <stdlib.h>

#include "engine/engine.hpp"
#include "engine/station/station.hpp"

using namespace mesh::engine;
using mesh::sched::RecordKind;
using mesh::sched::SelectorKind;

constexpr std::uint32_t kAgents = 60;

// Sends for T = 500 ms from now, to all of sector 0.
bool ask(Station& station, mesh::AgentId own) {
  SendOptions options;
  options.source = own;
  options.many = mesh::sched::selector(SelectorKind::sector, 0);
  options.strategy = mesh::sched::Strategy::scatter_gather;
  options.arrive = station.now() + mesh::Nanos{500 * mesh::kNsPerMs};
  const std::string text = "inventory";
  return station.send(options, std::as_bytes(std::span(text))) == SendStatus::sent;
}

// Until the result is there, or nobody tells it any more.
bool coordinate(const std::string& directory) {
  auto station = Station::attach(directory, {.name = "sector-0", .agents = kAgents}).value();
  std::vector<AgentDeclaration> names{{"coordinator"}};
  for (std::uint32_t i = 1; i < kAgents; ++i) names.push_back({"shelf-" + std::to_string(i)});
  const std::vector<mesh::AgentId> agents = station->enrol(names).value();
  if (!ask(*station, agents.front())) return false;
  station->flush();
  bool told = false;
  std::uint64_t work = 0;
  while (!told && !station->is_lost()) {
    station->poll(64, [&](const Delivery& delivery) {
      if (delivery.kind == RecordKind::message) return Answer::ready();  // a shelf has counted
      mesh::sched::ResultBody result{};
      if (delivery.kind == RecordKind::result && delivery.body.size() == sizeof result) {
        std::memcpy(&result, delivery.body.data(), sizeof result);
        std::printf("%u of %u ready, %u in conflict, %u silent\n", result.ready, result.targeted,
                    result.conflict, result.straggler);
        told = true;
      }
      return Answer::declined();  // asked nothing: not looked at
    });
    ++work;  // whatever else a coordinator has to do
    station->wait(station->now() + mesh::Nanos{mesh::kNsPerMs});
  }
  std::printf("meanwhile it turned to its own work %s\n", work > 10 ? "many times" : "hardly");
  return told;
}

int main() {
  char folder[] = "/dev/shm/mesh_coordinator_XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  bool told = false;
  {
    EngineOptions options;
    options.directory = std::string(folder) + "/mesh";
    options.size = {.agents = kAgents, .stations = 2, .agents_per_station = kAgents};
    const auto engine = Engine::start(options).value();
    std::thread pump([&] { told = coordinate(engine->directory()); });
    pump.join();
  }
  std::filesystem::remove_all(folder);
  return told ? 0 : 1;
}
