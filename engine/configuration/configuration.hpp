// Configuration: what a mesh is to be, from one TOML file; and every option there is, as a table
// that reads the file, prints docs/CONFIGURATION.md and makes the example file.
//
// Callers     set-up and reload; any thread. Plain values and pure functions.
// Units       as each option says; Nanos once read.
// Errors      read_configuration takes nothing that it does not know and stops at nothing: every
//             complaint names its line, key, value and what the value may be. A file with any is
//             not to be used. engine_options -> bad_input.
// Source      TOML 1.0.0 (toml++).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine {

struct Configuration {
  std::string name = "default";  // of the mesh, where no directory is given
  std::string directory{};
  std::uint64_t agents = 0;  // 0: as many as there are places
  std::uint64_t sectors = 100;
  std::uint64_t clusters = 10;        // in each sector
  std::uint64_t cluster_agents = 30;  // in each cluster
  std::uint64_t stations = 128;
  queues::WaitPolicy wait = queues::WaitPolicy::kAdaptive;
  std::optional<int> cpu{};
  Nanos reconnect{2'000 * kNsPerMs};
  Nanos stuck_after{10 * kNsPerSecond};
  AttachPolicy attach{};
  LoopOptions loop{};
  ConflictStoreOptions conflicts{};
  BackupOptions backup{};
  RecoveryOptions recovery{};
  bool allow_live_chaos = false;
};

// One mistake in a file. `line` from 1; 0: of the file as a whole.
struct Complaint {
  std::uint32_t line = 0;
  std::string key{};
  std::string sentence{};
};

struct ReadConfiguration {
  Configuration configuration;
  std::vector<Complaint> complaints;  // in the order of their lines
};
[[nodiscard]] ReadConfiguration read_configuration(std::string_view toml);

// What an engine is started with. Its directory is as given, so perhaps empty: where a name leads
// to is the program's to decide.
[[nodiscard]] Result<EngineOptions> engine_options(const Configuration& configuration);
// What of it a running engine takes.
[[nodiscard]] Tuning tuning_of(const Configuration& configuration);

// Of two files: what changes at once, and what only with a restart.
// `running` with those options of `wanted` that a reload applies.
[[nodiscard]] Configuration with_tuning_of(Configuration running, const Configuration& wanted);
[[nodiscard]] Reload reload(const Configuration& before, const Configuration& after);

// For documents and consoles.
struct OptionFacts {
  std::string_view table;
  std::string_view key;
  std::string_view sentence;   // what it is for
  std::string range;           // "0.1 to 100 ms", "spin, adaptive or park"
  std::string value;           // as TOML; of the configuration asked. Empty: not set
  bool is_reloadable = false;  // mesh reload applies it; others need a restart
  bool differs = false;        // from the default
};
[[nodiscard]] std::vector<OptionFacts> options_of(const Configuration& configuration);

// A whole file with every option at its default, and what each is for.
[[nodiscard]] std::string example_configuration();
// The table of docs/CONFIGURATION.md.
[[nodiscard]] std::string configuration_markdown();

}  // namespace mesh::engine
