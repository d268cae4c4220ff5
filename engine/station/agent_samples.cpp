#include "engine/station/agent_samples.hpp"

#include <algorithm>
#include <cmath>
#include <span>

namespace mesh::engine {
namespace {

// The element ceil(n / 2) of n in order, counted from 1: of an even number the lower in the middle.
float median_of(std::span<const float> samples) noexcept {
  std::array<float, kSamplesKept> copy{};
  const auto end = std::copy(samples.begin(), samples.end(), copy.begin());
  const auto middle = copy.begin() + static_cast<std::ptrdiff_t>((samples.size() - 1) / 2);
  std::nth_element(copy.begin(), middle, end);
  return *middle;
}

float drift_of(std::span<const float> samples) noexcept {
  if (samples.size() < 2) return 0;
  const auto count = static_cast<double>(samples.size());
  double mean = 0;
  for (const float sample : samples) mean += static_cast<double>(sample) / count;
  if (!(mean > 0)) return 0;
  double variance = 0;
  for (const float sample : samples) {
    const double off = static_cast<double>(sample) - mean;
    variance += off * off / count;
  }
  return static_cast<float>(std::sqrt(variance) / mean);
}

}  // namespace

SampleSummary AgentSamples::summary() const noexcept {
  if (count_ == 0) return {};
  const std::span latencies(latency_ms_.data(), count_);
  return {median_of(latencies), median_of({processing_ms_.data(), count_}), drift_of(latencies),
          count_};
}

}  // namespace mesh::engine
