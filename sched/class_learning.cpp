#include "sched/class_learning.hpp"

#include <algorithm>
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
constexpr double kTrustMemory = 1'024;
constexpr double kTrustPrior = 64;  // outcomes that k = 8 counts for
constexpr double kTrustStart = 8;
constexpr double kTrustLeast = 0.25;
constexpr double kTrustMost = 100;
constexpr double kOffMemory = 512;
constexpr double kStepVoids = 4;  // what a step makes void, by what its own arrivals taught
constexpr double kOffPrior = 64;  // arrivals that the normal distribution counts for

// Where the bins of `offs` end; the last has no end.
constexpr std::array<double, kOffBins - 1> kOffEnds = {
    -10, -6, -4, -3, -2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 10};
// How much of a normal distribution is below each: no two libraries' erf() agree to the last bit.
constexpr std::array<double, kOffBins - 1> kNormalBelow = {
    0,        0,        0.000032, 0.001350, 0.022750, 0.066807, 0.158655,
    0.226627, 0.308538, 0.401294, 0.5,      0.598706, 0.691462, 0.773373,
    0.841345, 0.933193, 0.977250, 0.998650, 0.999968, 1,        1};

std::size_t off_bin(double standardised) noexcept {
  return static_cast<std::size_t>(std::lower_bound(kOffEnds.begin(), kOffEnds.end(), standardised) -
                                  kOffEnds.begin());
}

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

void ClassLearning::learn_hit(Said which, double said_before_calibration, bool is_hit) noexcept {
  ReliabilityMemory& memory = which == Said::centre ? of_centre : of_by_t;
  const std::size_t step = step_of(said_before_calibration);
  fade(memory.said[step], kSaidMemory);
  fade(memory.exceeded[step], kSaidMemory);
  memory.said[step] += 1;
  memory.exceeded[step] += (is_hit ? 1 : 0) - said_before_calibration;
}

void ClassLearning::learn_off(double standardised) noexcept {
  for (double& bin : offs) fade(bin, kOffMemory);
  offs[off_bin(standardised)] += 1;
}

void ClassLearning::learn_step(std::uint32_t arrivals, bool is_up) noexcept {
  const double n = arrivals;
  const double step = kSpreadStep / std::max(spread_seen, static_cast<double>(kEvidence));
  spread -= n * step * ((is_up ? 1.0 : 0.0) - kByTMiss);
  spread = std::clamp(spread, kSpreadMin, kSpreadMax);
  for (ReliabilityMemory* memory : {&of_centre, &of_by_t}) {
    double all = kSaidPrior;
    for (const double said : memory->said) all += said;
    const double kept = std::max(1 - kStepVoids * n / all, 0.0);
    for (double& exceeded : memory->exceeded) exceeded *= kept;
  }
  for (double& bin : offs) fade(bin, kOffMemory / n);
  arriving.forget(n);
}

// Evidence and the normal distribution together, straight between the ends of bins.
double ClassLearning::share_below(double standardised) const noexcept {
  if (!(standardised > kOffEnds.front())) return 0;
  if (standardised >= kOffEnds.back()) return 1;
  const std::size_t bin = off_bin(standardised);  // from 1 on
  double seen = 0;
  double below = 0;
  for (std::size_t i = 0; i < kOffBins; ++i) {
    seen += offs[i];
    below += i < bin ? offs[i] : 0;
  }
  const double low = below + kOffPrior * kNormalBelow[bin - 1];
  const double high = below + offs[bin] + kOffPrior * kNormalBelow[bin];
  const double part = (standardised - kOffEnds[bin - 1]) / (kOffEnds[bin] - kOffEnds[bin - 1]);
  return (low + part * (high - low)) / (seen + kOffPrior);
}

void Trust::learn(double prior, double own, bool is_hit) noexcept {
  for (double* sum : {&cross, &variance, &seen}) fade(*sum, kTrustMemory);
  cross += ((is_hit ? 1.0 : 0.0) - prior) * (own - prior);
  variance += prior * (1 - prior);
  seen += 1;
}

void Trust::forget(double samples) noexcept {
  for (double* sum : {&cross, &variance, &seen}) fade(*sum, kTrustMemory / samples);
}

double Trust::prior_samples() const noexcept {
  if (!(variance > 0)) return kTrustStart;
  const double chance = variance / seen;
  const double differ = (cross + kTrustPrior * chance / (kTrustStart + 1)) / (seen + kTrustPrior);
  if (!(differ > 0)) return kTrustMost;
  return std::clamp(chance / differ - 1, kTrustLeast, kTrustMost);
}

bool Trust::is_sane() const noexcept {
  return std::isfinite(cross) && is_amount(variance) && is_amount(seen) &&
         std::fabs(cross) <= seen && variance <= seen;
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

double ClassLearning::calibrate(Said which, double probability) const noexcept {
  const ReliabilityMemory& memory = which == Said::centre ? of_centre : of_by_t;
  const std::size_t step = step_of(probability);
  return std::clamp(probability + memory.exceeded[step] / (memory.said[step] + kSaidPrior), 0.0,
                    1.0);
}

bool ClassLearning::is_sane() const noexcept {
  bool sane = is_amount(commits) && is_amount(factors.alpha) && factors.alpha <= kFactorMax &&
              is_amount(factors.beta) && factors.beta <= kFactorMax;
  sane = sane && is_amount(squares_weight) && is_amount(squares_queue) &&
         std::isfinite(squares_both) && std::isfinite(moment_weight) && std::isfinite(moment_queue);
  sane = sane && is_amount(seen_weight) && is_amount(seen_queue) && spread >= kSpreadMin &&
         spread <= kSpreadMax && is_amount(spread_seen) && spread_seen <= kSpreadMemory;
  sane = sane && is_amount(sent) && is_amount(answered) && answered <= sent;
  sane = sane && answering.is_sane() && arriving.is_sane();
  sane = sane && std::all_of(offs.begin(), offs.end(), is_amount);
  for (const ReliabilityMemory& memory : {of_centre, of_by_t}) {
    for (std::size_t i = 0; i < kSaidSteps; ++i) {
      sane = sane && is_amount(memory.said[i]) && std::fabs(memory.exceeded[i]) <= memory.said[i];
    }
  }
  return sane;
}

}  // namespace mesh::sched
