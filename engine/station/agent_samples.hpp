// AgentSamples: the last 100 latencies and processing times of one agent, and what is made of them.
//
// Callers     the station's pump.
// Cost        add: two stores. summary: a selection over at most 100 values, twice; not for each
//             answer.
// Units       milliseconds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mesh::engine {

inline constexpr std::size_t kSamplesKept = 100;

struct SampleSummary {
  float latency_ms = 0;     // median
  float processing_ms = 0;  // median
  float drift = 0;          // standard deviation of the latencies by their mean; 0 below 2 samples
  std::uint32_t samples = 0;
};

class AgentSamples {
 public:
  void add(float latency_ms, float processing_ms) noexcept {
    latency_ms_[next_] = latency_ms;
    processing_ms_[next_] = processing_ms;
    next_ = static_cast<std::uint8_t>((next_ + 1U) % kSamplesKept);
    if (count_ < kSamplesKept) ++count_;
  }
  [[nodiscard]] SampleSummary summary() const noexcept;

 private:
  std::array<float, kSamplesKept> latency_ms_{};
  std::array<float, kSamplesKept> processing_ms_{};
  std::uint8_t count_ = 0;
  std::uint8_t next_ = 0;
};
static_assert(kSamplesKept <= 255);

}  // namespace mesh::engine
