// estimate(): what an agent's own arrivals say of its next one.
//
//     work     m_a: median of processing / (1 + alpha w)(1 + beta q)
//     base     one_way + m_a (1 + alpha w)(1 + beta q)
//     residual observed - base, with today's base for old samples too
//     centre   smoothed median of the residuals: the mean of their middle third
//     by_t     95 % of residuals are below it
//     sure     share of sends that are answered, times share of residuals within the tolerance of
//              what is aimed at: centre, or by_t (sure_by_t)
//
// An own figure from n samples is (n own + k prior) / (n + k). k = 8 for by_t (prior: the class's
// spread times the agent's own scale). Of the two shares in sure k is what the class has taught
// (Trust), the priors are the class's answering, and how far its arrivals fall from what was said,
// for an agent of this scale. k = 1 for work (prior: the class's base): an agent's own processing
// varies by percents, a class's agents by half, so 8 would keep a third of the class's error after
// 15 samples (tried: bursty queues at 1.28 times the oracle's 90 % error instead of 1.07). centre
// needs no prior: what work and latency have from the class it takes back.
//
// Step        the newest 5 residuals all lie more than 4 robust deviations (1.4826 times the median
//             distance from the median) off the median of the older ones, on one side: only those 5
//             describe the agent now. At least 5 older ones are needed to know a deviation.
// Drift       of 16 or more, the newest 8 lie significantly off the rest (3 standard errors): they
//             alone count until they agree again.
//
// Callers     anyone; pure, no allocation.
// Cost        bench/sched/predictor_bench.cpp.
// Units       milliseconds.
#pragma once

#include <cstdint>
#include <span>

#include "sched/arrivals.hpp"
#include "sched/class_learning.hpp"

namespace mesh::sched {

inline constexpr double kPriorSamples = 8;
inline constexpr double kWorkPriorSamples = 1;
inline constexpr std::uint32_t kStepSamples = 5;
inline constexpr double kStepDeviations = 4;

struct EstimateInputs {
  std::span<const ArrivalSample> samples;  // newest first, at most kArrivalsKept
  std::uint32_t unanswered = 0;            // of the last 32 sends
  double one_way_ms = 0;
  double base_processing_ms = 0;  // of its class
  double tolerance_ms = 0;        // what counts as inside
};

struct AgentEstimate {
  double work_ms = 0;
  double centre_ms = 0;
  double by_t_ms = 0;
  double scale_ms = 0;         // of one residual around centre, like a standard deviation
  double sure = 0;             // before the class's calibration
  double sure_by_t = 0;        // the same, aimed at by_t
  double answers = 0;          // own share of sends that were answered
  double inside = 0;           // own share of residuals within the tolerance of centre
  double inside_prior = 0;     // the class's word for that
  std::uint32_t evidence = 0;  // arrivals and misses behind `sure`
  std::uint32_t used = 0;      // samples behind it; fewer than given after a step: drop the others
  bool has_stepped = false;
  bool has_risen = false;   // where it has stepped: it takes longer than before
  WorkReference reference;  // of these samples, for the class's next one
};

// At least one sample, as in estimate().
[[nodiscard]] WorkReference work_reference(std::span<const ArrivalSample> samples,
                                           const WorkFactors& factors) noexcept;

[[nodiscard]] AgentEstimate estimate(const EstimateInputs& agent,
                                     const ClassLearning& learned) noexcept;

}  // namespace mesh::sched
