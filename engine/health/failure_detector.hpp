// FailureDetector: what is known of agents, turned into failures of six classes (mesh.md part 12).
//
// What counts, for breakers and reliability: a crash, an undeliverable or refused message, a wrong
// context hash, and an agent's third unanswered message in a row. One straggler is TRANSIT and a
// CONFLICT is information: neither counts.
//
// IMPEDANCE_SPIKE: a score over twice the agent's own average of the last hour, and `spike_margin`
// above it: scores are whole ms, and one of 1 that becomes 3 is no news. It is over when the score
// has fallen, or the average has come up to it: at most half an hour later. Several in one cluster
// escalate, once until none of it spikes.
//
// Cry-wolf guard: the detector measures its own lag first. When its own tick comes later than
// `lag_max` it was away itself, and what it did not hear in that time says nothing of others: it
// judges nothing until it has been punctual for `settle`, and silence counts from then. What is a
// fact and not a silence (a closed connection, a refusal, a hash) is reported even so.
//
// Callers     one thread: the engine's scheduler, or the simulator.
// Progress    every call: a few steps; tick(): the sectors. No allocation after create().
// Units       HostTime of one clock that does not go back. Rows, clusters and sectors by index.
// If the      engine dies: a successor begins with nothing counted, and judges silence from its own
// other side  beginning.
// dies
// Errors      create -> invalid_argument.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "shm/base/ids.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::engine::health {

enum class FailureClass : std::uint8_t {
  transient_network = 0,
  agent_crash,
  impedance_spike,
  context_corruption,
  byzantine_behavior,
  cascade_failure
};
inline constexpr std::uint32_t kFailureClasses = 6;
std::string_view name_of(FailureClass failure) noexcept;

struct Whereabouts {
  std::uint32_t row = 0;  // of the agent
  std::uint32_t cluster = 0;
  std::uint32_t sector = 0;
};

struct Failure {
  FailureClass failure{};
  Whereabouts where;  // of CASCADE_FAILURE: the sector alone
  HostTime at{};
  bool counts = false;         // for breakers and reliability
  bool escalates = false;      // to the sector coordinator
  std::uint64_t expected = 0;  // CONTEXT_CORRUPTION, BYZANTINE_BEHAVIOR: hashes
  std::uint64_t found = 0;
};

struct DetectorConfig {
  Nanos heartbeat_missed{10 * kNsPerSecond};  // two of them, at one each 5 s
  Nanos crashed{30 * kNsPerSecond};
  std::uint32_t spike_factor = 2;
  std::uint32_t spike_samples_min = 60;  // of its own average, before it is judged by it
  std::uint32_t spike_margin = 5;        // ms above it, besides
  std::uint32_t spikes_escalate = 3;     // agents of one cluster that spike at once
  Nanos spike_bin{600 * kNsPerSecond};   // six of them: the last hour
  Nanos cascade_window{10 * kNsPerSecond};
  std::uint32_t unanswered_max = 3;  // in a row
  Nanos lag_max{250 * kNsPerMs};     // of a tick that is late itself
  Nanos settle{2 * kNsPerSecond};
};

class FailureDetector {
 public:
  struct Size {
    std::uint32_t rows = 0;
    std::uint32_t clusters = 0;
    std::uint32_t sectors = 0;
  };
  static Result<FailureDetector> create(const Size& size, const DetectorConfig& config);

  // Facts. Each gives the failure that it is, or none.
  [[nodiscard]] Failure lost(const Whereabouts& where, HostTime now) noexcept;
  [[nodiscard]] Failure refused(const Whereabouts& where, HostTime now) noexcept;
  void answered(const Whereabouts& where) noexcept;
  [[nodiscard]] Failure unanswered(const Whereabouts& where, HostTime now) noexcept;
  [[nodiscard]] std::optional<Failure> context(const Whereabouts& where, std::uint64_t expected,
                                               std::uint64_t found, HostTime now) noexcept;
  // Of a comparable operation (compare()).
  struct Outcomes {
    std::uint64_t expected = 0;
    std::uint64_t found = 0;
  };
  [[nodiscard]] Failure differs(const Whereabouts& where, const Outcomes& outcomes,
                                HostTime now) noexcept;
  // The row is somebody else's from now on, or attached anew.
  void forget(std::uint32_t row, HostTime now) noexcept;

  // Silence and scores, looked at now and then: what is new of this agent.
  struct Sight {
    Whereabouts where;
    HostTime heartbeat{};
    std::uint16_t score = 0;
  };
  [[nodiscard]] std::optional<Failure> look(const Sight& sight, HostTime now) noexcept;
  [[nodiscard]] bool is_spiking(std::uint32_t row) const noexcept { return agents_[row].spikes; }
  // It is away: what its score was says nothing of it.
  void calm(std::uint32_t row) noexcept;
  [[nodiscard]] std::uint32_t spiking_in(std::uint32_t cluster) const noexcept {
    return cluster < clusters_.size() ? clusters_[cluster].spiking : 0;
  }
  // Its own average of the last hour; 0: too few samples.
  [[nodiscard]] std::uint32_t usual_score(std::uint32_t row) const noexcept;

  // Every tick period; `due` is when it should have been called.
  void tick(HostTime due, HostTime now) noexcept;
  // Sectors in which failures doubled over three windows running, since the last tick; each once a
  // window.
  [[nodiscard]] std::span<const std::uint32_t> cascading() const noexcept { return cascading_; }
  [[nodiscard]] bool is_late(HostTime now) const noexcept { return now < quiet_until_; }
  [[nodiscard]] Nanos lag() const noexcept { return lag_; }  // of the last tick

  [[nodiscard]] std::uint64_t count(FailureClass failure) const noexcept {
    return counts_[static_cast<std::size_t>(failure)];
  }
  [[nodiscard]] std::uint64_t suppressed() const noexcept { return suppressed_; }

 private:
  static constexpr std::size_t kSpikeBins = 6;
  enum class Silence : std::uint8_t { none = 0, missed, crashed };
  struct Agent {
    std::array<std::uint32_t, kSpikeBins> sum{};
    std::array<std::uint16_t, kSpikeBins> count{};
    std::uint32_t bin = 0;  // number of the newest, since the beginning
    std::uint8_t unanswered = 0;
    std::uint8_t missed = 0;  // heartbeats in a row
    Silence silence = Silence::none;
    bool spikes = false;
    std::uint32_t cluster = 0;  // where it is counted while it spikes
  };
  struct Cluster {
    std::uint32_t spiking = 0;
    bool is_told = false;  // that several are
  };
  struct Sector {
    std::array<std::uint32_t, 3> windows{};  // that are over, oldest first
    std::uint32_t now = 0;
  };

  FailureDetector(const Size& size, const DetectorConfig& config);
  Failure note(Failure failure) noexcept;
  [[nodiscard]] std::optional<Failure> look_for_silence(const Sight& sight, HostTime now) noexcept;
  [[nodiscard]] std::optional<Failure> look_for_spike(const Sight& sight, HostTime now) noexcept;
  [[nodiscard]] bool is_spike(const Agent& agent, std::uint16_t score) const noexcept;
  void count_spike(Agent& agent, bool spikes) noexcept;
  void turn_bins(Agent& agent, HostTime now) const noexcept;
  void end_window() noexcept;

  DetectorConfig config_;
  std::vector<Agent> agents_;
  std::vector<Cluster> clusters_;
  std::vector<Sector> sectors_;
  std::vector<std::uint32_t> cascading_;
  std::array<std::uint64_t, kFailureClasses> counts_{};
  std::uint64_t suppressed_ = 0;  // judgements withheld while late
  std::optional<HostTime> begun_;
  HostTime window_end_{};
  HostTime quiet_until_{};
  HostTime heard_since_{};  // silence is not counted from before
  Nanos lag_{};
};

// BYZANTINE_BEHAVIOR: in an operation marked comparable, an agent that differs from a majority of
// more than 2/3 of at least 7 answers. No such majority: DATA_CONTRADICTION, and nobody's fault.
struct Comparable {
  std::uint64_t outcome = 0;  // hash
  Whereabouts where;
};
enum class Comparison : std::uint8_t { too_few, agreed, outliers, contradiction };
struct Judgement {
  Comparison comparison = Comparison::too_few;
  std::uint64_t majority = 0;  // agreed, outliers
  std::uint32_t majority_count = 0;
};
inline constexpr std::uint32_t kComparableMin = 7;
// O(n), no allocation: who differs from `majority` is Byzantine where the result is outliers.
[[nodiscard]] Judgement compare(std::span<const Comparable> answers) noexcept;

}  // namespace mesh::engine::health
