// nominal(): how long before T one agent must be sent its message, in double precision.
//
//     one_way    = latency / 2
//     processing = base[class] * (1 + 0.5 weight) * (1 + 0.1 queue)
//     buffer     = z * drift * (one_way + processing)
//     lead       = one_way + processing + buffer
//     send_at    = T - lead; skipped when that is before now
//     confidence = 0.5 reliability - 0.3 drift + (heartbeat younger than 10 s ? 0.2 : 0),
//                  clamped to 0..1
//
// calibrated(): the same for an agent whose answers are known, with what they taught:
//
//     processing = work * (1 + alpha weight) * (1 + beta queue)
//     base       = one_way + processing
//     lead       = base + residual, at least 0: what answers took beyond base, half of the time
//                  (aim centre) or 95 times in a hundred (aim by_t)
//     confidence = as it was learned
// Without history it is nominal() itself. sched/predictor.hpp makes what it needs.
//
// These are the golden references: `mesh plan` prints them, and lead_time_columns.hpp, which
// computes the same for a whole mesh in float, is measured against them.
//
// Callers     anyone; pure functions, no allocation.
// Units       milliseconds as double; available and heartbeat age in Nanos.
// Errors      in the result. kSkipLate is insufficient_lead_time: needed is lead_ms, available is
//             the request's. kSkipInvalid is invalid_impedance:
//             latency, drift or reliability negative or not finite;
//             reliability above 1: it is a share, so a larger one is a broken writer, which a
//             clamp would hide;
//             a byte that names no class; a heartbeat more than kHeartbeatAheadNs in the future;
//             weight or z negative or not finite; a lead that is not finite;
//             with history also: work negative or not finite, residual not finite.
#pragma once

#include <cstdint>

#include "sched/agent_class.hpp"
#include "shm/base/nanos.hpp"

namespace mesh::sched {

inline constexpr double kWeightFactor = 0.5;
inline constexpr double kQueueFactor = 0.1;
inline constexpr double kDefaultZ = 1.645;  // one-sided 95 % of a normal distribution
inline constexpr double kReliabilityShare = 0.5;
inline constexpr double kDriftPenalty = 0.3;
inline constexpr double kFreshShare = 0.2;
inline constexpr std::int64_t kHeartbeatFreshNs = 10 * kNsPerSecond;
// A station may store a heartbeat after the engine has read the time of this tick. So much "from
// the future" is young; more is a broken writer.
inline constexpr std::int64_t kHeartbeatAheadNs = 1 * kNsPerSecond;

enum class PlanStatus : std::uint8_t {
  kScheduled = 0,
  kSkipLate = 1,     // insufficient_lead_time
  kSkipInvalid = 2,  // invalid_impedance
};

struct NominalInputs {
  AgentClass agent_class = AgentClass::edge;
  double latency_ms = 0;  // round trip
  double drift = 0;
  double reliability = 1;
  std::uint32_t queue_depth = 0;
  Nanos heartbeat_age{0};
};

struct NominalRequest {
  double weight = 1;
  double z = kDefaultZ;
  Nanos available{0};  // T - now
};

struct NominalPlan {
  double one_way_ms = 0;
  double processing_ms = 0;
  double buffer_ms = 0;
  double lead_ms = 0;
  double confidence = 0;
  PlanStatus status = PlanStatus::kSkipInvalid;
};

// When invalid, every number of the result is 0.
[[nodiscard]] NominalPlan nominal(const NominalInputs& agent,
                                  const NominalRequest& request) noexcept;

// How much longer work takes than at weight 0 with an empty queue.
struct WorkFactors {
  double alpha = kWeightFactor;
  double beta = kQueueFactor;

  [[nodiscard]] constexpr double of(double weight, double queue_depth) const noexcept {
    return (1 + alpha * weight) * (1 + beta * queue_depth);
  }
  friend constexpr bool operator==(const WorkFactors&, const WorkFactors&) = default;
};

// What was learned of one agent and its class.
struct CalibratedInputs {
  NominalInputs nominal;
  bool has_history = false;
  double work_ms = 0;      // processing at weight 0 with an empty queue
  double residual_ms = 0;  // of the request's aim
  double confidence = 0;
  WorkFactors factors;
};

// buffer_ms is the residual then. When invalid, every number of the result is 0.
[[nodiscard]] NominalPlan calibrated(const CalibratedInputs& agent,
                                     const NominalRequest& request) noexcept;

}  // namespace mesh::sched
