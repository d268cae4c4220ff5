// ClassLearning: what the agents of one class have taught together: how payload weight and queue
// lengthen work, how wide residuals spread, how far a said probability may be believed.
//
// Weight and queue, by online least squares. With m_a an agent's own work,
//     processing = m_a (1 + alpha w)(1 + beta q)
// and against the agent's own earlier samples (so that m_a cancels: who always gets the same weight
// says nothing about weight), each sample is one equation, linear in small changes of the two:
//     processing / m_a / (1 + alpha w)(1 + beta q) - 1 = x_w d_alpha + x_q d_beta
//     x_w = w / (1 + alpha w) - mean of the same over the earlier samples, x_q likewise
// Both start at their nominal values, are held there by a small ridge, and do not move before 8
// samples have said something of them.
//
// Spread. by_t aims at centre + spread * scale: `spread` is moved until 95 % of new residuals,
// measured against what was said before they came, are below it.
//
// Offs. How far new arrivals really fall from what was said before they came, in the agent's own
// scale: a distribution in bins, the normal one until there is evidence. A share that is counted in
// the samples which made the prediction flatters it; this one does not.
//
// Trust. How many samples of the class an agent's own share weighs: k of (n own + k prior)/(n + k).
// With p the class's word, s the agent's own share of earlier samples and x what came now (0 or 1),
//     tau^2 = mean (x - p)(s - p)     by how much agents of the class differ, free of chance
//     k     = mean p (1 - p) / tau^2 - 1
// Where agents are all alike k is large and chance moves nobody; where some never answer it is
// small.
//
// Reliability. Of predictions with at least 8 sends behind them, by 16 steps of probability: how
// many were said, and by how much they came true more often than was said, in sum. calibrate()
// shifts a probability by that mean. Each aim has its own.
//
// Steps. When an agent is found to have stepped, its last five arrivals had been held against what
// was said of the agent that it was: they taught its class that words are worth nothing. Where many
// step at once that is all a class then knows. learn_step() takes back what five arrivals did:
// `spread` returns by their moves; by how much words were wrong shrinks by four times the five's
// share of all words (of one agent in a hundred nothing to speak of, of all of them nearly all);
// offs and trust fade as if five had come.
//
// Callers     one thread; plain values. ClassMemory is where they survive the engine.
// Progress    bounded; no allocation.
// Limits      old evidence fades (kMemory samples), so that a class may change.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "sched/arrival_sample.hpp"
#include "sched/lead_time_columns.hpp"

namespace mesh::sched {

inline constexpr std::uint32_t kEvidence = 8;  // samples before anything moves
inline constexpr std::size_t kSaidSteps = 16;

// Where an agent's earlier samples stand in the two directions of the least squares.
struct WorkReference {
  double work_ms = 0;  // m_a by the factors in force
  double weight = 0;   // mean of w / (1 + alpha w)
  double queue = 0;    // mean of q / (1 + beta q)
};

// Which of the two words: of an arrival near T by aim centre, or by aim by_t.
enum class Said : std::uint8_t { centre, by_t };

struct Trust {
  double cross = 0;     // (x - p)(s - p), in sum
  double variance = 0;  // p (1 - p)
  double seen = 0;

  void learn(double prior, double own, bool is_hit) noexcept;
  void forget(double samples) noexcept;
  [[nodiscard]] double prior_samples() const noexcept;
  [[nodiscard]] bool is_sane() const noexcept;
  friend bool operator==(const Trust&, const Trust&) = default;
};

struct ReliabilityMemory {
  std::array<double, kSaidSteps> said{};
  std::array<double, kSaidSteps> exceeded{};  // hits beyond what was said
  friend bool operator==(const ReliabilityMemory&, const ReliabilityMemory&) = default;
};

inline constexpr std::size_t kOffBins = 22;

struct ClassLearning {
  double commits = 0;  // 0: nothing was ever learned
  WorkFactors factors;
  // Least squares: x x' and x y.
  double squares_weight = 0;
  double squares_both = 0;
  double squares_queue = 0;
  double moment_weight = 0;
  double moment_queue = 0;
  double seen_weight = 0;  // samples that said something of it
  double seen_queue = 0;
  double spread = kDefaultZ;
  double spread_seen = 0;
  double sent = 0;
  double answered = 0;
  Trust answering;  // of an agent's share of sends that it answered
  Trust arriving;   // of its share of answers within the tolerance
  std::array<double, kOffBins> offs{};
  ReliabilityMemory of_centre;
  ReliabilityMemory of_by_t;

  void learn_work(const ArrivalSample& sample, const WorkReference& reference) noexcept;
  // `standardised`: (observed - centre as predicted) / scale as predicted.
  void learn_spread(double standardised) noexcept;
  void learn_answer(bool is_answered) noexcept;
  void learn_off(double standardised) noexcept;
  // An agent has stepped, its newest `arrivals` showed it; up: they took longer than before.
  void learn_step(std::uint32_t arrivals, bool is_up) noexcept;
  void learn_hit(Said which, double said_before_calibration, bool is_hit) noexcept;

  // Takes the factors that the least squares come to. True: they moved enough to matter.
  bool solve() noexcept;
  [[nodiscard]] double answer_share() const noexcept;
  [[nodiscard]] double calibrate(Said which, double probability) const noexcept;
  // The share of arrivals whose standardised distance from the centre is below that.
  [[nodiscard]] double share_below(double standardised) const noexcept;
  // Every number is one that learning can come to.
  [[nodiscard]] bool is_sane() const noexcept;

  friend bool operator==(const ClassLearning&, const ClassLearning&) = default;
};

inline constexpr std::size_t kClassWords = sizeof(ClassLearning) / sizeof(std::uint64_t);
static_assert(sizeof(ClassLearning) == kClassWords * sizeof(std::uint64_t));
static_assert(kClassWords == 14 + 2 * 3 + kOffBins + 4 * kSaidSteps);

}  // namespace mesh::sched
