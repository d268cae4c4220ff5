// SwarmFleet: the processes of a swarm, each `mesh swarm --share I`, seen from the process that
// starts them; and the options that `mesh swarm` and `mesh demo` share.
//
// Callers     one thread at a time.
// Progress    wait_for_ids, wait_for_an_end: until a descriptor to stop at becomes readable, too.
// If the      child dies: closed, with which one and how. The fleet's end is that of all.
// other side
// dies
// Errors      bad_input, and ChildProcess's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shm/base/ids.hpp"
#include "shm/base/result.hpp"
#include "tools/child_process.hpp"
#include "tools/swarm_population.hpp"

namespace CLI {
class App;
}

namespace mesh::tools {

inline constexpr std::uint32_t kSwarmProcessesMax = 1'024;

struct SwarmCommandText {
  std::string agents;
  std::string processes;
  std::string profile = "mixed";
  std::string seed = "1";
};
void declare_swarm_options(CLI::App& command, SwarmCommandText& text);

struct SwarmCommand {
  std::uint32_t agents = 0;
  std::uint32_t processes = 0;
  SwarmProfile profile = SwarmProfile::mixed;
  std::uint64_t seed = 0;
};
Result<SwarmCommand> read_swarm_command(const SwarmCommandText& text);

struct FleetOptions {
  std::string directory;
  std::string prefix = "swarm";
  std::uint32_t change_at = 10;
  std::optional<int> engine_cpu;  // which the processes leave alone
};

class SwarmFleet {
 public:
  static Result<SwarmFleet> start(const SwarmCommand& command, const FleetOptions& options);
  ~SwarmFleet() { stop(); }
  SwarmFleet(SwarmFleet&&) = default;
  SwarmFleet& operator=(SwarmFleet&&) = delete;
  SwarmFleet(const SwarmFleet&) = delete;
  SwarmFleet& operator=(const SwarmFleet&) = delete;

  // Until all are enrolled: their handles in the population's order. Empty: stopped first.
  Result<std::vector<AgentId>> wait_for_ids(int stop_fd);
  // Until a process has ended: closed. Done: one of `stop_fds` was readable first.
  Status wait_for_an_end(std::span<const int> stop_fds);
  // All at once, then each is waited for.
  void stop() noexcept;

 private:
  enum class Seen : std::uint8_t { kReport, kStop };
  SwarmFleet(const SwarmCommand& command, std::vector<ChildProcess> children);
  Result<Seen> wait_for(std::size_t child, int stop_fd);
  [[nodiscard]] Error end_of(std::size_t child) const;

  SwarmCommand command_;
  std::vector<ChildProcess> children_;
};

}  // namespace mesh::tools
