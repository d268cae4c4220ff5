// What `mesh demo` sets beside its own figures: the nominal model and an oracle, from the same
// answers, and how often what was said with some confidence came true.
//
//     ran      |finished - T|                  the model that the mesh ran by
//     nominal  |finished - sent - its lead|    what the nominal model would have sent by
//     oracle   |finished - sent - its lead|    sent so that the agent's true median lands on T
//
// Nobody can know more of an agent than the oracle does: what it misses is the agents' own jitter.
//
// Callers     one thread, cold.
// Units       as the names say; shares from 0 to 1.
// Errors      none. What was not measured is absent.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/loop/engine_loop.hpp"
#include "tools/swarm_population.hpp"

namespace mesh::tools {

struct ErrorPercentiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  friend bool operator==(const ErrorPercentiles&, const ErrorPercentiles&) = default;
};

// Sorts `errors_ns`, all at least 0; nothing of none.
[[nodiscard]] std::optional<ErrorPercentiles> percentiles_ms(std::span<std::int64_t> errors_ns);

// One target of an operation, and who it is by the population.
struct DemoTarget {
  std::uint32_t index = 0;
  AgentDraw drawn;
  double bias = 1;  // in force for this delivery
  engine::TargetTrace trace;
  std::int64_t oracle_lead_ns = 0;
};

// Arrived, READY or CONFLICT.
[[nodiscard]] bool answered(const engine::TargetTrace& trace) noexcept;

// The errors that figures are made of: of all that answered, and of those whose own jitter is small
// enough that the mesh's error can be told from it.
inline constexpr double kLowJitterMs = 2;
inline constexpr std::int64_t kInsideNs = 50 * kNsPerMs;

struct ErrorFigures {
  std::optional<ErrorPercentiles> arrival_error_ms;
  std::optional<ErrorPercentiles> arrival_error_low_jitter_ms;
  std::optional<double> inside_50ms;
};

class DemoErrors {
 public:
  void add(const DemoTarget& target, std::int64_t error_ns);
  void add(const DemoErrors& errors);
  [[nodiscard]] ErrorFigures figures() const;

 private:
  std::vector<std::int64_t> all_ns_;
  std::vector<std::int64_t> low_jitter_ns_;
};

// Of one operation, or of several.
struct ModelErrors {
  DemoErrors ran;
  DemoErrors nominal;
  DemoErrors oracle;

  // Of a target that answered.
  void add(const DemoTarget& target, HostTime t);
  void add(const ModelErrors& errors);
};

// By twenty steps of confidence: of sends that were said to arrive within 50 ms of T with about
// this probability, how many did. Who did not answer did not arrive.
class Reliability {
 public:
  struct Step {
    double said = 0;  // mean
    double hit = 0;   // share
    std::uint64_t n = 0;
  };
  void add(const DemoTarget& target, HostTime t);
  void add(const Reliability& other);
  // Those that hold any, ascending.
  [[nodiscard]] std::vector<Step> steps() const;

 private:
  struct Sum {
    double said = 0;
    std::uint64_t hits = 0;
    std::uint64_t n = 0;
  };
  std::array<Sum, 20> sums_{};
};

}  // namespace mesh::tools
