// The smallest agent: it joins the mesh in a directory and answers each message with its length.
//
//     example_first_agent DIR [NAME]     until that mesh goes down
#include <cstdio>
#include <string>
#include <vector>

#include "engine/station/station.hpp"

using namespace mesh::engine;

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::vector<AgentDeclaration> agents{{.name = argc > 2 ? argv[2] : "first"}};
  auto station = Station::attach(argv[1], {.name = "first", .agents = 1});
  if (!station || !(*station)->enrol(agents)) return 1;
  std::string said;  // copied once the handler has returned
  while (!(*station)->is_lost()) {
    (*station)->poll(64, [&](const Delivery& message) {
      if (message.text() == "stop")
        return Answer::in_conflict(mesh::sched::ConflictType::other, {});
      said = std::to_string(message.text().size()) + " bytes";
      return Answer::ready(std::as_bytes(std::span(said)));
    });
    (*station)->wait((*station)->now() + mesh::Nanos{mesh::kNsPerSecond});  // sleeps
  }
  return 0;
}
