#include "sched/class_learning.hpp"

#include <cmath>

namespace mesh::sched {
namespace {

// What was learned so many samples ago counts 1/e.
constexpr double kWorkMemory = 4'096;
constexpr double kAnswerMemory = 2'048;
constexpr double kSaidMemory = 1'024;  // for each step
constexpr double kSpreadMemory = 200;

constexpr double kRidge = 0.05;        // evidence that the nominal factors count for
constexpr double kSaysNothing = 1e-3;  // a direction this short is rounding
constexpr double kOutlier = 0.5;       // a sample pulls no further than half of itself
constexpr double kMovedAlpha = 0.005;  // of (1 + alpha w) at weight 1: half a percent
constexpr double kMovedBeta = 0.001;
constexpr double kRelinearise = 5;  // a move of a fifth forgets all that was before
constexpr double kSpreadStep = 4;
constexpr double kByTMiss = 0.05;
constexpr double kSpreadMin = 0.25;
constexpr double kSpreadMax = 50;
constexpr double kSentPrior = 20;  // sends that the nominal reliability counts for
constexpr double kSaidPrior = 64;  // predictions that a probability as it is counts for

void fade(double& value, double memory) noexcept { value -= value / memory; }

std::size_t step_of(double probability) noexcept {
  const double at = probability * static_cast<double>(kSaidSteps);
  return std::min(static_cast<std::size_t>(std::max(at, 0.0)), kSaidSteps - 1);
}

bool is_amount(double value) noexcept { return std::isfinite(value) && value >= 0; }

}  // namespace

void ClassLearning::learn_work(const ArrivalSample& sample,
                               const WorkReference& reference) noexcept {
  const double expected = reference.work_ms * factors.of(sample.weight, sample.queue_depth);
  if (!(expected > 0) || !(sample.processing_ms > 0)) return;
  const double x_weight = sample.weight / (1 + factors.alpha * sample.weight) - reference.weight;
  const double x_queue =
      sample.queue_depth / (1 + factors.beta * sample.queue_depth) - reference.queue;
  const bool says_weight = std::fabs(x_weight) > kSaysNothing;
  const bool says_queue = std::fabs(x_queue) > kSaysNothing;
  if (!says_weight && !says_queue) return;
  const double off = std::clamp(sample.processing_ms / expected - 1, -kOutlier, kOutlier);
  // As an equation for the factors themselves.
  const double y = off + x_weight * factors.alpha + x_queue * factors.beta;
  for (double* sum :
       {&squares_weight, &squares_both, &squares_queue, &moment_weight, &moment_queue}) {
    fade(*sum, kWorkMemory);
  }
  squares_weight += x_weight * x_weight;
  squares_both += x_weight * x_queue;
  squares_queue += x_queue * x_queue;
  moment_weight += x_weight * y;
  moment_queue += x_queue * y;
  seen_weight += says_weight ? 1 : 0;
  seen_queue += says_queue ? 1 : 0;
}

// Robbins and Monro: at the 95 % quantile the steps up and down cancel.
void ClassLearning::learn_spread(double standardised) noexcept {
  spread_seen = std::min(spread_seen + 1, kSpreadMemory);
  const double step = kSpreadStep / std::max(spread_seen, static_cast<double>(kEvidence));
  spread += step * ((standardised > spread ? 1.0 : 0.0) - kByTMiss);
  spread = std::clamp(spread, kSpreadMin, kSpreadMax);
}

void ClassLearning::learn_answer(bool is_answered) noexcept {
  fade(sent, kAnswerMemory);
  fade(answered, kAnswerMemory);
  sent += 1;
  answered += is_answered ? 1 : 0;
}

void ClassLearning::learn_hit(double said_before_calibration, bool is_hit) noexcept {
  const std::size_t step = step_of(said_before_calibration);
  fade(said[step], kSaidMemory);
  fade(exceeded[step], kSaidMemory);
  said[step] += 1;
  exceeded[step] += (is_hit ? 1 : 0) - said_before_calibration;
}

bool ClassLearning::solve() noexcept {
  const double a = squares_weight + kRidge;
  const double b = squares_both;
  const double c = squares_queue + kRidge;
  const double m = moment_weight + kRidge * kWeightFactor;
  const double n = moment_queue + kRidge * kQueueFactor;
  const double determinant = a * c - b * b;  // at least kRidge squared
  WorkFactors solved = factors;
  if (seen_weight >= kEvidence) {
    solved.alpha = std::clamp((c * m - b * n) / determinant, 0.0, kFactorMax);
  }
  if (seen_queue >= kEvidence) {
    solved.beta = std::clamp((a * n - b * m) / determinant, 0.0, kFactorMax);
  }
  if (!std::isfinite(solved.alpha) || !std::isfinite(solved.beta)) return false;
  const bool moved = std::fabs(solved.alpha - factors.alpha) > kMovedAlpha ||
                     std::fabs(solved.beta - factors.beta) > kMovedBeta;
  if (!moved) return false;
  // Older equations were made linear at other factors: the further these are, the less they say.
  const double distance = std::fabs(solved.alpha - factors.alpha) / (1 + solved.alpha) +
                          std::fabs(solved.beta - factors.beta) / (0.1 + solved.beta);
  const double kept = std::max(1 - kRelinearise * distance, 0.0);
  for (double* sum :
       {&squares_weight, &squares_both, &squares_queue, &moment_weight, &moment_queue}) {
    *sum *= kept;
  }
  factors = solved;
  return true;
}

double ClassLearning::answer_share() const noexcept {
  return (answered + kSentPrior * kPriorReliability) / (sent + kSentPrior);
}

double ClassLearning::calibrate(double probability) const noexcept {
  const std::size_t step = step_of(probability);
  return std::clamp(probability + exceeded[step] / (said[step] + kSaidPrior), 0.0, 1.0);
}

bool ClassLearning::is_sane() const noexcept {
  bool sane = is_amount(commits) && is_amount(factors.alpha) && factors.alpha <= kFactorMax &&
              is_amount(factors.beta) && factors.beta <= kFactorMax;
  sane = sane && is_amount(squares_weight) && is_amount(squares_queue) &&
         std::isfinite(squares_both) && std::isfinite(moment_weight) && std::isfinite(moment_queue);
  sane = sane && is_amount(seen_weight) && is_amount(seen_queue) && spread >= kSpreadMin &&
         spread <= kSpreadMax && is_amount(spread_seen) && spread_seen <= kSpreadMemory;
  sane = sane && is_amount(sent) && is_amount(answered) && answered <= sent;
  for (std::size_t i = 0; i < kSaidSteps; ++i) {
    sane = sane && is_amount(said[i]) && std::fabs(exceeded[i]) <= said[i];
  }
  return sane;
}

}  // namespace mesh::sched
