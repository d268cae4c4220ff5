// Scenario: what a simulated mesh is, what happens to it and what it is asked, from one TOML file;
// and every key there is, as a table that reads the file and prints docs/SIMULATION.md.
//
// Callers     set-up; any thread. Plain values and pure functions.
// Units       whole numbers only, so that a scenario means the same on every machine: times in
//             nanoseconds, shares and coefficients of variation in millionths, factors and weights
//             in thousandths.
// Errors      read_scenario takes nothing that it does not know and stops at nothing: every
//             complaint names its line, key, value and what the value may be. A file with any is
//             not to be used.
// Source      TOML 1.0.0 (toml++).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sched/agent_class.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::engine::simulation {

inline constexpr std::int64_t kShareAll = 1'000'000;  // millionths
inline constexpr std::int64_t kFactorOne = 1'000;     // thousandths
inline constexpr std::int64_t kFaultsMax = 256;

enum class FaultKind : std::int64_t {
  none = 0,
  death,       // its processes end, and perhaps come back
  silence,     // its agents take messages and answer none
  slowdown,    // delay and work take `factor` times as long
  loss,        // `rate` of its messages are never answered
  conflict,    // `rate` of its answers are conflicts
  clock_step,  // the host's clock is set by `step_ms`; the mesh's is slewed there
};
enum class FaultTarget : std::int64_t {
  all = 0,
  sector,       // number `which` and the `count` - 1 after it
  cluster,      // the same
  agent_class,  // class number `which`: 0 is A
  agents,       // `count` of them, or `share` of all, drawn
};

struct Fault {
  std::int64_t kind = 0;    // FaultKind
  std::int64_t target = 0;  // FaultTarget
  std::int64_t which = 0;
  std::int64_t count = 1;
  std::int64_t share = 0;  // 0: `count` of them
  std::int64_t at = 0;     // from the beginning
  std::int64_t lasts = 0;  // 0: to the end; death: as long as it happens again
  std::int64_t every = 0;  // death: again so often, each agent at a moment of its own; 0: once
  std::int64_t returns = 300 * kNsPerMs;
  std::int64_t factor = kFactorOne;
  std::int64_t rate = 0;
  std::int64_t step = 0;
  std::uint32_t line = 0;  // of the file
};

struct ClassFigures {
  std::int64_t share = 0;  // parts of the sum of all
  std::int64_t latency_min = 0;
  std::int64_t latency_max = 0;
  std::int64_t processing = 0;
};

struct Scenario {
  // mesh
  std::int64_t agents = 30'000;
  std::int64_t stations = 8;
  // run
  std::int64_t length = 3'600 * kNsPerSecond;
  std::int64_t settle = 5 * kNsPerSecond;
  // agents
  std::int64_t cv_min = 10'000;
  std::int64_t cv_max = 300'000;
  std::int64_t bias_deviation = 400'000;
  std::int64_t noise_deviation = 50'000;
  std::int64_t silent = 5'000;
  std::int64_t conflict = 10'000;
  std::int64_t change_share = 10'000;
  std::int64_t change_after = 10;
  std::array<ClassFigures, sched::kAgentClassCount> classes = {{
      {10, 5 * kNsPerMs, 20 * kNsPerMs, 10 * kNsPerMs},
      {8, 50 * kNsPerMs, 150 * kNsPerMs, 50 * kNsPerMs},
      {5, 100 * kNsPerMs, 300 * kNsPerMs, 200 * kNsPerMs},
      {2, 200 * kNsPerMs, 500 * kNsPerMs, 100 * kNsPerMs},
      {3, 10 * kNsPerMs, 800 * kNsPerMs, 150 * kNsPerMs},
      {2, 5 * kNsPerSecond, 7'200 * kNsPerSecond, 60 * kNsPerSecond},
  }};
  // operations
  std::int64_t every = 30 * kNsPerSecond;
  std::int64_t horizon = 1'500 * kNsPerMs;
  std::int64_t window = 500 * kNsPerMs;
  std::int64_t timeout = 5'000 * kNsPerMs;
  std::int64_t ready_min = 950'000;
  std::int64_t coverage_min = 500'000;
  std::int64_t conflict_max = 50'000;
  std::int64_t transit_max = 100'000;
  std::int64_t weight = 1'000;
  std::int64_t aim = 0;  // sched::Aim
  std::int64_t rounds = 4;
  // cascades
  std::int64_t cascade_every = 0;  // 0: none
  std::int64_t cascade_at = 0;
  std::int64_t cascade_lasts = 0;     // 0: to the end
  std::int64_t cascade_strategy = 0;  // CascadeStrategy, less one
  std::int64_t sector_window = 200 * kNsPerMs;
  std::int64_t cluster_window = 1'000 * kNsPerMs;
  std::int64_t agent_window = 2'000 * kNsPerMs;
  std::int64_t cascade_window = 1'000 * kNsPerMs;
  std::int64_t cascade_ready_min = 900'000;
  // pipelines
  std::int64_t pipeline_every = 0;  // 0: none
  std::int64_t pipeline_steps = 4;
  std::int64_t pipeline_window = 500 * kNsPerMs;
  // quorums
  std::int64_t quorum_every = 0;  // 0: none
  std::int64_t quorum_lead_window = 1'000 * kNsPerMs;
  std::int64_t quorum_window = 2'000 * kNsPerMs;
  // scale
  std::int64_t scale_agents = 0;  // 0: nobody comes
  std::int64_t scale_at = 0;
  std::int64_t scale_spawn = 300 * kNsPerMs;
  std::int64_t scale_class = 0;  // sched::AgentClass
  std::int64_t scale_per_process = 30;
  std::int64_t scale_warm_ups = 8;
  std::int64_t scale_wave_every = 500 * kNsPerMs;
  std::int64_t scale_wave_percent = 10;
  // contexts
  std::int64_t context_share = 0;  // 0: nobody hands one over
  std::int64_t context_every = 60 * kNsPerSecond;
  std::int64_t context_load = 20 * kNsPerMs;
  std::int64_t context_stuck = 0;
  std::int64_t context_wait = 10 * kNsPerSecond;
  // engine
  std::int64_t bucket = kNsPerMs;
  std::int64_t tolerance = 50 * kNsPerMs;
  std::int64_t upkeep = kNsPerSecond;
  std::int64_t model = 1;  // sched::Model
  std::int64_t look = 100 * kNsPerUs;
  std::int64_t detection = 200 * kNsPerUs;
  // health
  std::int64_t breaker_window = 60 * kNsPerSecond;
  std::int64_t crash_grace = kNsPerSecond;  // no key: for who builds a scenario
  std::int64_t breaker_open = 30 * kNsPerSecond;
  std::int64_t probe_retry = 60 * kNsPerSecond;
  std::int64_t half_open = 60 * kNsPerSecond;
  std::int64_t mode_enter = 3 * kNsPerSecond;
  std::int64_t mode_leave = 10 * kNsPerSecond;
  // conflicts
  std::int64_t context_divergence = 4;
  std::int64_t data_contradiction = 8;
  std::int64_t temporal_paradox = 2;
  std::int64_t capability_mismatch = 4;
  std::int64_t hash_mismatch = 2;
  std::int64_t other_conflict = 1;
  std::int64_t durable = 2 * kNsPerMs;
  std::int64_t step = 5 * kNsPerMs;
  std::int64_t person = 120 * kNsPerSecond;

  std::vector<Fault> faults;
};

// One mistake in a file. `line` from 1; 0: of the file as a whole.
struct ScenarioComplaint {
  std::uint32_t line = 0;
  std::string sentence;
};
struct ReadScenario {
  Scenario scenario;
  std::vector<ScenarioComplaint> complaints;  // in the order of their lines
};
[[nodiscard]] ReadScenario read_scenario(std::string_view toml);

// What no key alone can be blamed for, of a scenario whose agents or length were set by hand: empty
// where nothing is wrong.
[[nodiscard]] std::vector<ScenarioComplaint> check_scenario(const Scenario& scenario);

// The tables of docs/SIMULATION.md.
[[nodiscard]] std::string scenario_markdown();

}  // namespace mesh::engine::simulation
