// ArrivalSample: what one answer taught about its agent, packed into 64 bits so that gather keeps
// it with one store.
//
// It holds what was observed, not a residual: a residual belongs to the prediction of its day, and
// predictions move. From the observation a residual against today's prediction can be had at any
// time, so that old and new samples always speak of the same thing.
//
//     bits  0-21  observed: sent to READY, in 16 ns          17 bits of mantissa, up to 52 days
//          22-35  processing, in 1/16383 of observed
//          36-47  payload weight, in 1/64                     7 bits of mantissa, up to 1e6
//          48-59  queue depth                                 8 bits of mantissa, up to 8 million
//             62  late: the answer came after its operation had ended
//             63  always 1: zero bits are no sample
//
// Callers     anyone; plain values and pure functions.
// Error       observed 2^-18 of it (4 us at 1 s); weight 2^-8, exact in 1/64 up to 4; queue exact
//             up to 512, then 2^-9.
// Units       milliseconds unpacked; nanoseconds go in.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "shm/base/nanos.hpp"

namespace mesh::sched {

// A float without sign: exact below 2^(mantissa + 1), then rounded to mantissa + 1 bits.
struct ShortFloat {
  unsigned mantissa = 0;
  unsigned bits = 0;

  [[nodiscard]] constexpr std::uint64_t pack(std::uint64_t value) const noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= mantissa) return value;
    const unsigned shift = width - mantissa - 1;
    // Rounded to nearest; a carry runs on into the exponent, which is what it should do.
    const std::uint64_t kept = shift == 0 ? value : ((value >> (shift - 1)) + 1) >> 1;
    const std::uint64_t code =
        (std::uint64_t{shift} << mantissa) + kept;  // kept has its leading one: exponent shift + 1
    return std::min(code, (std::uint64_t{1} << bits) - 1);
  }
  [[nodiscard]] constexpr std::uint64_t unpack(std::uint64_t code) const noexcept {
    const std::uint64_t exponent = code >> mantissa;
    if (exponent == 0) return code;
    const std::uint64_t one = std::uint64_t{1} << mantissa;
    return (one | (code & (one - 1))) << (exponent - 1);
  }
};

inline constexpr ShortFloat kObservedCode{.mantissa = 17, .bits = 22};
inline constexpr ShortFloat kWeightCode{.mantissa = 7, .bits = 12};
inline constexpr ShortFloat kQueueCode{.mantissa = 8, .bits = 12};

struct ArrivalSample {
  double observed_ms = 0;    // sent to READY or CONFLICT
  double processing_ms = 0;  // as the station says, at most observed
  double weight = 0;
  double queue_depth = 0;  // when it was planned
  bool late = false;
};

// What gather knows of an answer.
struct Arrival {
  std::int64_t observed_ns = 0;    // finished - sent, at least 0
  std::int64_t processing_ns = 0;  // a station's word: any number
  double weight = 0;               // finite, at least 0
  std::uint32_t queue_depth = 0;
  bool late = false;
};

namespace arrival_sample_detail {
inline constexpr std::int64_t kUnitNs = 16;
inline constexpr std::uint64_t kProcessingOne = (1U << 14) - 1;
inline constexpr double kWeightOne = 64;
inline constexpr double kWeightCodeMax = 1e6 * kWeightOne;
inline constexpr unsigned kProcessingAt = 22;
inline constexpr unsigned kWeightAt = 36;
inline constexpr unsigned kQueueAt = 48;
inline constexpr unsigned kLateAt = 62;
constexpr std::uint64_t field(std::uint64_t packed, unsigned at, unsigned bits) noexcept {
  return (packed >> at) & ((std::uint64_t{1} << bits) - 1);
}
}  // namespace arrival_sample_detail

// What all answers to one message have in common, packed once.
class ArrivalPacker {
 public:
  explicit ArrivalPacker(double weight) noexcept {
    using namespace arrival_sample_detail;
    const double clamped = std::clamp(weight * kWeightOne, 0.0, kWeightCodeMax);
    common_ = kWeightCode.pack(static_cast<std::uint64_t>(clamped + 0.5)) << kWeightAt |
              std::uint64_t{1} << 63;
  }
  // Never 0. Of `arrival` all but the weight counts.
  [[nodiscard]] std::uint64_t pack(const Arrival& arrival) const noexcept {
    using namespace arrival_sample_detail;
    const std::int64_t observed = std::max<std::int64_t>(arrival.observed_ns, 0);
    const std::int64_t processing = std::clamp<std::int64_t>(arrival.processing_ns, 0, observed);
    const double share =
        observed == 0 ? 0.0 : static_cast<double>(processing) / static_cast<double>(observed);
    return kObservedCode.pack(static_cast<std::uint64_t>(observed) / kUnitNs) |
           static_cast<std::uint64_t>(
               static_cast<std::int64_t>(share * static_cast<double>(kProcessingOne) + 0.5))
               << kProcessingAt |
           kQueueCode.pack(arrival.queue_depth) << kQueueAt |
           std::uint64_t{arrival.late ? 1U : 0U} << kLateAt | common_;
  }

 private:
  std::uint64_t common_ = 0;
};

// Never 0.
[[nodiscard]] inline std::uint64_t pack(const Arrival& arrival) noexcept {
  return ArrivalPacker(arrival.weight).pack(arrival);
}

[[nodiscard]] inline ArrivalSample unpack(std::uint64_t packed) noexcept {
  using namespace arrival_sample_detail;
  ArrivalSample sample;
  sample.observed_ms =
      static_cast<double>(kObservedCode.unpack(field(packed, 0, kObservedCode.bits))) *
      (static_cast<double>(kUnitNs) / static_cast<double>(kNsPerMs));
  sample.processing_ms = sample.observed_ms *
                         static_cast<double>(field(packed, kProcessingAt, 14)) /
                         static_cast<double>(kProcessingOne);
  sample.weight =
      static_cast<double>(kWeightCode.unpack(field(packed, kWeightAt, kWeightCode.bits))) /
      kWeightOne;
  sample.queue_depth =
      static_cast<double>(kQueueCode.unpack(field(packed, kQueueAt, kQueueCode.bits)));
  sample.late = field(packed, kLateAt, 1) != 0;
  return sample;
}
[[nodiscard]] constexpr bool is_late(std::uint64_t packed) noexcept {
  return arrival_sample_detail::field(packed, arrival_sample_detail::kLateAt, 1) != 0;
}

}  // namespace mesh::sched
