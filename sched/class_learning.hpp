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
// Reliability. Of predictions with at least 8 sends behind them, by 16 steps of probability: how
// many were said, and by how much they came true more often than was said, in sum. calibrate()
// shifts a probability by that mean.
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
  std::array<double, kSaidSteps> said{};
  std::array<double, kSaidSteps> exceeded{};  // hits beyond what was said

  void learn_work(const ArrivalSample& sample, const WorkReference& reference) noexcept;
  // `standardised`: (observed - centre as predicted) / scale as predicted.
  void learn_spread(double standardised) noexcept;
  void learn_answer(bool is_answered) noexcept;
  void learn_hit(double said_before_calibration, bool is_hit) noexcept;

  // Takes the factors that the least squares come to. True: they moved enough to matter.
  bool solve() noexcept;
  [[nodiscard]] double answer_share() const noexcept;
  [[nodiscard]] double calibrate(double probability) const noexcept;
  // Every number is one that learning can come to.
  [[nodiscard]] bool is_sane() const noexcept;

  friend bool operator==(const ClassLearning&, const ClassLearning&) = default;
};

inline constexpr std::size_t kClassWords = sizeof(ClassLearning) / sizeof(std::uint64_t);
static_assert(sizeof(ClassLearning) == kClassWords * sizeof(std::uint64_t));
static_assert(kClassWords == 14 + 2 * kSaidSteps);

}  // namespace mesh::sched
