#include "sched/agent_estimate.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "sched/share.hpp"
#include "shm/base/assert.hpp"

namespace mesh::sched {
namespace {

constexpr double kRobust = 1.4826;         // median distance to standard deviation, normal
constexpr double kMeanDistance = 1.25331;  // mean distance to standard deviation, normal
constexpr double kMedianError = 1.57;      // variance of a median by that of a mean, normal
constexpr double kFarOff = 5;              // a distance counts at most so many deviations
constexpr double kScaleFloorMs = 0.02;
constexpr double kScaleFloorShare = 1e-4;  // of the whole delay
constexpr double kScalePriorSamples = 2;
constexpr std::size_t kNewest = 8;
constexpr std::size_t kDriftSamples = 16;
constexpr double kDriftErrors = 3;
constexpr Share kByT{950'000};

// Up to kArrivalsKept numbers, on the stack.
struct Numbers {
  std::array<double, kArrivalsKept> values{};
  std::size_t count = 0;

  void add(double value) noexcept { values[count++] = value; }
  [[nodiscard]] std::span<const double> all() const noexcept { return {values.data(), count}; }
};

// Insertion sort: the fastest there is for so few, and they are mostly near their places.
Numbers sorted(std::span<const double> values) noexcept {
  Numbers out;
  for (const double value : values) {
    std::size_t at = out.count++;
    for (; at > 0 && out.values[at - 1] > value; --at) out.values[at] = out.values[at - 1];
    out.values[at] = value;
  }
  return out;
}
// Element ceil(n / 2), counted from 1.
double median_of(const Numbers& ordered) noexcept {
  return ordered.values[(ordered.count + 1) / 2 - 1];
}
// The mean of the middle third: as robust as a median for our purposes and a tenth less noisy.
double centre_of(const Numbers& ordered) noexcept {
  const double low = static_cast<double>(ordered.count) / 3;
  const double high = static_cast<double>(ordered.count) - low;
  double sum = 0;
  double weight = 0;
  for (auto i = static_cast<std::size_t>(low); i < ordered.count; ++i) {
    const double from = std::max(low, static_cast<double>(i));
    const double to = std::min(high, static_cast<double>(i) + 1);
    if (to <= from) break;
    sum += (to - from) * ordered.values[i];
    weight += to - from;
  }
  return sum / weight;
}

// Median distance from `centre`, as a standard deviation.
double robust_deviation(std::span<const double> values, double centre) noexcept {
  Numbers distances;
  for (const double value : values) distances.add(std::fabs(value - centre));
  return kRobust * median_of(sorted(distances.all()));
}

double floor_of(double delay_ms) noexcept {
  return std::max(kScaleFloorMs, kScaleFloorShare * delay_ms);
}

enum class Step : std::uint8_t { kNone, kUp, kDown };
Step step_in(std::span<const double> residuals, double floor) noexcept {
  if (residuals.size() < std::size_t{2} * kStepSamples) return Step::kNone;
  const auto older = residuals.subspan(kStepSamples);
  const double before = median_of(sorted(older));
  const double far = kStepDeviations * std::max(robust_deviation(older, before), floor);
  const auto newest = residuals.first(kStepSamples);
  const auto all = [&](auto&& is_off) { return std::all_of(newest.begin(), newest.end(), is_off); };
  if (all([&](double r) { return r - before > far; })) return Step::kUp;
  return all([&](double r) { return before - r > far; }) ? Step::kDown : Step::kNone;
}

bool has_drifted(std::span<const double> residuals, double floor) noexcept {
  if (residuals.size() < kDriftSamples) return false;
  const auto newest = residuals.first(kNewest);
  const auto older = residuals.subspan(kNewest);
  const double now = centre_of(sorted(newest));
  const double before = centre_of(sorted(older));
  const auto n = static_cast<double>(newest.size());
  const auto m = static_cast<double>(older.size());
  const double deviation = std::max(
      (n * robust_deviation(newest, now) + m * robust_deviation(older, before)) / (n + m), floor);
  const double error = deviation * std::sqrt(kMedianError / n + kMedianError / m);
  return std::fabs(now - before) > kDriftErrors * error;
}

// Like a standard deviation, and no single arrival makes it large.
double scale_of(std::span<const double> residuals, double centre, double floor) noexcept {
  const double most = kFarOff * std::max(robust_deviation(residuals, centre), floor);
  double sum = 0;
  for (const double r : residuals) sum += std::min(std::fabs(r - centre), most);
  return kMeanDistance * sum / static_cast<double>(residuals.size());
}

double shrunk(double own, double n, double prior, double k) noexcept {
  return (n * own + k * prior) / (n + k);
}

// Of those residuals, the share within the tolerance of `aim`.
double share_inside(std::span<const double> residuals, double aim, double tolerance) noexcept {
  const auto inside = std::count_if(residuals.begin(), residuals.end(),
                                    [&](double r) { return std::fabs(r - aim) <= tolerance; });
  return static_cast<double>(inside) / static_cast<double>(residuals.size());
}

void estimate_sureness(const EstimateInputs& agent, const ClassLearning& learned,
                       std::span<const double> residuals, AgentEstimate& out) noexcept {
  const std::size_t sends = kArrivalsKept - std::min(agent.unanswered, kArrivalsKept);
  const auto counted = residuals.first(std::min(residuals.size(), sends));
  const auto arrived = static_cast<double>(counted.size());
  out.evidence = static_cast<std::uint32_t>(counted.size()) + agent.unanswered;
  const auto n = static_cast<double>(out.evidence);
  out.answers = arrived / n;
  const double answers =
      shrunk(out.answers, n, learned.answer_share(), learned.answering.prior_samples());
  const double k = learned.arriving.prior_samples();
  const auto sure = [&](double aim, double& own, double& prior) {
    const double from = (aim - agent.tolerance_ms - out.centre_ms) / out.scale_ms;
    const double to = (aim + agent.tolerance_ms - out.centre_ms) / out.scale_ms;
    prior = learned.share_below(to) - learned.share_below(from);
    own = counted.empty() ? prior : share_inside(counted, aim, agent.tolerance_ms);
    return answers * shrunk(own, arrived, prior, k);
  };
  out.sure = sure(out.centre_ms, out.inside, out.inside_prior);
  double own = 0;
  double prior = 0;
  out.sure_by_t = sure(out.by_t_ms, own, prior);
}

}  // namespace

WorkReference work_reference(std::span<const ArrivalSample> samples,
                             const WorkFactors& factors) noexcept {
  MESH_DCHECK(!samples.empty());
  Numbers work;
  WorkReference sum;
  for (const ArrivalSample& sample : samples) {
    work.add(sample.processing_ms / factors.of(sample.weight, sample.queue_depth));
    sum.weight += sample.weight / (1 + factors.alpha * sample.weight);
    sum.queue += sample.queue_depth / (1 + factors.beta * sample.queue_depth);
  }
  const auto n = static_cast<double>(work.count);
  return {median_of(sorted(work.all())), sum.weight / n, sum.queue / n};
}

AgentEstimate estimate(const EstimateInputs& agent, const ClassLearning& learned) noexcept {
  MESH_DCHECK(!agent.samples.empty());
  MESH_DCHECK(agent.samples.size() <= kArrivalsKept);
  AgentEstimate out;
  EstimateInputs now = agent;
  Numbers residuals;
  for (;;) {
    out.reference = work_reference(now.samples, learned.factors);
    out.work_ms = shrunk(out.reference.work_ms, static_cast<double>(now.samples.size()),
                         agent.base_processing_ms, kWorkPriorSamples);
    residuals.count = 0;
    for (const ArrivalSample& sample : now.samples) {
      residuals.add(sample.observed_ms - agent.one_way_ms -
                    out.work_ms * learned.factors.of(sample.weight, sample.queue_depth));
    }
    const double delay = now.samples.front().observed_ms;
    const Step step = out.has_stepped ? Step::kNone : step_in(residuals.all(), floor_of(delay));
    if (step == Step::kNone) break;
    out.has_stepped = true;
    out.has_risen = step == Step::kUp;
    now.samples = now.samples.first(kStepSamples);
  }
  out.used = static_cast<std::uint32_t>(now.samples.size());
  const double floor = floor_of(now.samples.front().observed_ms);
  std::span<const double> counted = residuals.all();
  if (has_drifted(counted, floor)) counted = counted.first(kNewest);
  const Numbers ordered = sorted(counted);
  const auto n = static_cast<double>(ordered.count);
  out.centre_ms = centre_of(ordered);
  const double span = agent.one_way_ms + out.work_ms * learned.factors.of(1, 0);
  out.scale_ms = std::max(
      shrunk(scale_of(counted, out.centre_ms, floor), n, kPriorDrift * span, kScalePriorSamples),
      floor);
  const std::uint32_t rank = rank_of(kByT, static_cast<std::uint32_t>(ordered.count));
  out.by_t_ms = shrunk(ordered.values[rank - 1], n, out.centre_ms + learned.spread * out.scale_ms,
                       kPriorSamples);
  estimate_sureness(now, learned, counted, out);
  return out;
}

}  // namespace mesh::sched
