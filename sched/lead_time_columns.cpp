#include "sched/lead_time_columns.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "sched/lead_time_arithmetic.hpp"

namespace mesh::sched {
namespace {

using namespace arithmetic;

static_assert(kLeadUnitNs * static_cast<std::int64_t>(kUnitsPerMs) == kNsPerMs);
static_assert(std::bit_cast<std::int32_t>(kBucketRounder) == kBucketRounderBits);
static_assert(kHeartbeatAheadMs * kNsPerMs == kHeartbeatAheadNs);
static_assert((kHeartbeatFreshMs - kHeartbeatAheadMs) * kNsPerMs == kHeartbeatFreshNs);

Status check(const PlanRequest& request) {
  const std::int64_t width_ns = request.bucket_width.count();
  if (request.bucket_width < kBucketWidthMin || request.bucket_width > kBucketWidthMax) {
    return fail(Errc::invalid_argument,
                "plan: bucket_width is " + std::to_string(width_ns) + " ns, it must be " +
                    std::to_string(kBucketWidthMin.count()) + " to " +
                    std::to_string(kBucketWidthMax.count()) + " ns",
                width_ns);
  }
  if (width_ns % kLeadUnitNs != 0) {
    return fail(Errc::invalid_argument,
                "plan: bucket_width is " + std::to_string(width_ns) +
                    " ns, it must be a multiple of " + std::to_string(kLeadUnitNs) + " ns",
                width_ns);
  }
  if (!(request.weight >= 0 && request.weight <= kWeightMax)) {
    return fail(Errc::invalid_argument, "plan: payload weight is " +
                                            std::to_string(request.weight) + ", it must be 0 to " +
                                            std::to_string(kWeightMax));
  }
  if (!(request.z >= 0 && request.z <= kZMax)) {
    return fail(Errc::invalid_argument, "plan: z is " + std::to_string(request.z) +
                                            ", it must be 0 to " + std::to_string(kZMax));
  }
  for (const WorkFactors& factors : request.factors) {
    for (const double factor : {factors.alpha, factors.beta}) {
      if (factor >= 0 && factor <= kFactorMax) continue;
      return fail(Errc::invalid_argument, "plan: a work factor is " + std::to_string(factor) +
                                              ", it must be 0 to " + std::to_string(kFactorMax));
    }
  }
  return {};
}

// key = Cq - 1 - floor((lead - Cr - 1) / W), as constants of the pass.
Status derive_buckets(PlanParameters& p, std::int64_t available_ns) {
  const std::int64_t width = p.request.bucket_width.count() / kLeadUnitNs;
  p.width_units = static_cast<std::int32_t>(width);
  p.width_reciprocal = static_cast<float>(1.0 / static_cast<double>(width));
  p.available_units = available_ns >> 4;  // floor, also below 0
  if (p.available_units < 0) return {};   // bucket_count stays 0, everybody is late
  // Half a width in nanoseconds, added before the fraction of a unit is dropped: exact for odd
  // widths too.
  const std::int64_t half =
      p.request.aim == Aim::kCentre
          ? ((available_ns & (kLeadUnitNs - 1)) + width * kLeadUnitNs / 2) >> 4
          : 0;
  p.bucket_origin = p.available_units + half;
  const std::int64_t last = p.bucket_origin / width;
  const std::int64_t shift = p.bucket_origin % width + 1;
  if (last >= kMaxBuckets) {
    return fail(Errc::capacity,
                "plan: T is " + std::to_string(available_ns) + " ns away, that is " +
                    std::to_string(last + 1) + " buckets of " +
                    std::to_string(p.request.bucket_width.count()) + " ns; the limit is " +
                    std::to_string(kMaxBuckets),
                kMaxBuckets);
  }
  p.bucket_count = static_cast<std::uint32_t>(last + 1);
  p.bucket_shift = static_cast<float>(static_cast<double>(shift) / static_cast<double>(width));
  p.remainder_shift = static_cast<std::int32_t>(static_cast<std::uint32_t>(kBucketRounderBits) *
                                                    static_cast<std::uint32_t>(width) -
                                                static_cast<std::uint32_t>(shift));
  p.key_base = static_cast<std::int32_t>(last - 1 + kBucketRounderBits);
  return {};
}

struct Row {
  float latency_ms;
  float drift;
  float reliability;
  std::uint32_t queue_depth;
  std::uint32_t heartbeat_ms;
  std::uint32_t agent_class;
  std::uint32_t eligible;  // a mask
};

struct LearnedRow {
  float work_ms = 0;
  float residual_ms = 0;
  std::uint32_t confidence = 0;
  std::uint32_t history = 0;
};

struct RowPlan {
  std::int32_t lead;
  std::uint16_t confidence;
  std::uint16_t key;
  std::int32_t base;
};

constexpr std::uint32_t mask(bool yes) noexcept { return 0U - static_cast<std::uint32_t>(yes); }
constexpr std::uint32_t select(std::uint32_t choose, std::uint32_t yes, std::uint32_t no) noexcept {
  return (yes & choose) | (no & ~choose);
}

inline std::uint32_t bucket_of(const PlanParameters& p, float lead_units,
                               std::int32_t lead) noexcept {
  const float estimate = (lead_units * p.width_reciprocal - p.bucket_shift) + kBucketRounder;
  const auto bits = std::bit_cast<std::uint32_t>(estimate);
  const std::uint32_t remainder = static_cast<std::uint32_t>(lead) +
                                  static_cast<std::uint32_t>(p.remainder_shift) -
                                  bits * static_cast<std::uint32_t>(p.width_units);
  const auto correction = static_cast<std::uint32_t>(static_cast<std::int32_t>(remainder) >> 31);
  return static_cast<std::uint32_t>(p.key_base) - (bits + correction);
}

inline std::int32_t round_saturated(float units) noexcept {
  const std::int64_t rounded = std::llrintf(units < kLeadOverflow ? units : kLeadOverflow);
  return static_cast<std::int32_t>(rounded < kLeadFar ? rounded : kLeadFar);
}

// One order of operations: lead_time_simd.cpp is this function, lane for lane.
template <Model kModel>
inline RowPlan plan_row(const PlanParameters& p, const Row& row,
                        const LearnedRow& learned) noexcept {
  const float work_units = p.work_units[row.agent_class % kMaxClasses];
  const auto queue = static_cast<std::int32_t>(std::min(row.queue_depth, kQueueLimit));
  const float work = work_units * static_cast<float>(queue + kQueueOffset);
  float span = row.latency_ms * kOneWayUnits + work;
  float raw_units = span + span * (row.drift * p.z);

  // Branches where nearly every row goes one way, masks where data decides. Tried: masks everywhere
  // (40 % slower, more instructions), branches everywhere (10 % slower, mispredicted).
  const auto beat_age = static_cast<std::int32_t>(p.heartbeat_origin_ms - row.heartbeat_ms);
  bool valid = row.latency_ms >= 0 && row.drift >= 0 && row.reliability >= 0 &&
               row.reliability <= 1 && raw_units <= kLeadFinite && beat_age >= 0 &&
               row.agent_class < kMaxClasses;
  const bool is_known = kModel == Model::kCalibrated && learned.history != 0;
  if (is_known) {
    const float own_units = learned.work_ms * p.weight_units[row.agent_class % kMaxClasses];
    const float busy = static_cast<float>(queue) * p.queue_slope[row.agent_class % kMaxClasses] + 1;
    span = row.latency_ms * kOneWayUnits + own_units * busy;
    raw_units = span + learned.residual_ms * kResidualUnits;
    valid = valid && learned.work_ms >= 0 && span <= kLeadFinite && raw_units >= -kLeadFinite &&
            raw_units <= kLeadFinite;
  }
  if (!valid) {
    return {0, 0, static_cast<std::uint16_t>(select(row.eligible, kKeyInvalid, kKeyNotTargeted)),
            0};
  }
  if constexpr (kModel == Model::kCalibrated) raw_units = raw_units > 0 ? raw_units : 0.0F;
  const std::int32_t lead = round_saturated(raw_units);

  const auto fresh = std::bit_cast<float>(std::bit_cast<std::uint32_t>(kFreshUnits) &
                                          mask(beat_age < kHeartbeatFreshMs));
  const float share = (row.reliability * kReliabilityUnits - row.drift * kDriftUnits) + fresh;
  const float rounder = (share > 0 ? share : 0.0F) + kConfidenceRounder;
  const std::uint32_t confidence =
      is_known ? learned.confidence : std::bit_cast<std::uint32_t>(rounder);

  std::uint32_t key = bucket_of(p, raw_units, lead);
  key = select(mask(lead > p.lead_limit), static_cast<std::uint32_t>(p.late_key), key);
  key = select(row.eligible, key, kKeyNotTargeted);
  return {lead, static_cast<std::uint16_t>(confidence), static_cast<std::uint16_t>(key),
          kModel == Model::kCalibrated ? round_saturated(span) : 0};
}

}  // namespace

Result<PlanParameters> PlanParameters::make(const PlanRequest& request) {
  MESH_CHECK_OK(check(request));
  std::int64_t available_ns = 0;
  if (__builtin_sub_overflow(to_ns(request.target), to_ns(request.now), &available_ns)) {
    return fail(Errc::invalid_argument, "plan: T " + std::to_string(to_ns(request.target)) +
                                            " ns and now " + std::to_string(to_ns(request.now)) +
                                            " ns are further apart than 64 bits hold");
  }
  PlanParameters p;
  p.request = request;
  MESH_CHECK_OK(derive_buckets(p, available_ns));
  p.work_units.fill(std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < kAgentClassCount; ++i) {
    p.work_units[i] =
        static_cast<float>(kAgentClasses[i].base_processing_ms *
                           (1 + kWeightFactor * request.weight) * kUnitsPerMs * kQueueFactor);
  }
  p.weight_units.fill(std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < kAgentClassCount; ++i) {
    p.weight_units[i] =
        static_cast<float>((1 + request.factors[i].alpha * request.weight) * kUnitsPerMs);
    p.queue_slope[i] = static_cast<float>(request.factors[i].beta);
  }
  p.z = static_cast<float>(request.z);
  p.lead_limit = static_cast<std::int32_t>(
      std::clamp<std::int64_t>(p.available_units, -1, std::int64_t{kLeadFar} - 1));
  p.late_key = may_have_far(p) ? kKeyFar : kKeyLate;
  p.heartbeat_origin_ms = request.now_mesh_ms + std::uint32_t{kHeartbeatAheadMs};
  return p;
}

bool may_have_far(const PlanParameters& parameters) noexcept {
  return parameters.available_units >= kLeadFar;
}

namespace {

template <Model kModel, bool kAll>
void plan_rows(const PlanParameters& parameters, const ImpedanceColumns& columns,
               const PlanColumns& outputs) noexcept {
  // Locals: the stores below could otherwise alias the pointers and constants, and reload them.
  const PlanParameters p = parameters;
  const ImpedanceColumns in = columns;
  const PlanColumns out = outputs;
  for (std::size_t i = 0; i < in.rows; ++i) {
    const std::uint32_t eligible = kAll ? ~0U : mask(((in.eligible[i / 64] >> (i % 64)) & 1) != 0);
    LearnedRow learned;
    if constexpr (kModel == Model::kCalibrated) {
      learned = {in.learned.work_ms[i], in.learned.residual_ms[i], in.learned.confidence[i],
                 in.learned.history[i]};
    }
    const RowPlan planned =
        plan_row<kModel>(p,
                         {in.latency_ms[i], in.drift[i], in.reliability[i], in.queue_depth[i],
                          in.heartbeat_ms[i], in.agent_class[i], eligible},
                         learned);
    out.lead[i] = planned.lead;
    out.confidence[i] = planned.confidence;
    out.key[i] = planned.key;
    if constexpr (kModel == Model::kCalibrated) out.base[i] = planned.base;
  }
}

template <Model kModel>
void plan_targeted_rows(const PlanParameters& parameters, const ImpedanceColumns& in,
                        const PlanColumns& out) noexcept {
  if (in.eligible == nullptr) {
    plan_rows<kModel, true>(parameters, in, out);
  } else {
    plan_rows<kModel, false>(parameters, in, out);
  }
}

// A row that no float pass could decide, by the model in double.
NominalPlan plan_far(const PlanParameters& parameters, const ImpedanceColumns& in, std::size_t i) {
  const PlanRequest& request = parameters.request;
  // The heartbeat was judged by the pass; a young one here changes no send time.
  CalibratedInputs agent;
  agent.nominal.agent_class = static_cast<AgentClass>(in.agent_class[i]);
  agent.nominal.latency_ms = in.latency_ms[i];
  agent.nominal.drift = in.drift[i];
  agent.nominal.reliability = in.reliability[i];
  agent.nominal.queue_depth = in.queue_depth[i];
  if (request.model == Model::kCalibrated && in.learned.history[i] != 0 &&
      is_known(agent.nominal.agent_class)) {
    agent.has_history = true;
    agent.work_ms = in.learned.work_ms[i];
    agent.residual_ms = in.learned.residual_ms[i];
    agent.factors = request.factors[in.agent_class[i]];
  }
  return calibrated(agent, {.weight = request.weight, .z = request.z, .available = Nanos::max()});
}

}  // namespace

void plan_columns_scalar(const PlanParameters& parameters, const ImpedanceColumns& in,
                         const PlanColumns& out) noexcept {
  if (parameters.request.model == Model::kCalibrated) {
    plan_targeted_rows<Model::kCalibrated>(parameters, in, out);
  } else {
    plan_targeted_rows<Model::kNominal>(parameters, in, out);
  }
}

std::uint32_t resolve_far(const PlanParameters& parameters, const ImpedanceColumns& in,
                          const PlanColumns& out) noexcept {
  if (!may_have_far(parameters)) return 0;
  std::uint32_t far_rows = 0;
  for (std::size_t i = 0; i < in.rows; ++i) {
    if (out.key[i] != kKeyFar) continue;
    ++far_rows;
    const NominalPlan plan = plan_far(parameters, in, i);
    if (plan.status == PlanStatus::kSkipInvalid) {  // only if a column changed under the pass
      out.key[i] = kKeyInvalid;
      continue;
    }
    const double lead_units = plan.lead_ms * kUnitsPerMs;
    if (lead_units > static_cast<double>(parameters.available_units)) {
      out.key[i] = kKeyLate;
      continue;
    }
    const std::int64_t before_origin = parameters.bucket_origin - std::llrint(lead_units);
    out.key[i] = static_cast<std::uint16_t>(std::max<std::int64_t>(before_origin, 0) /
                                            parameters.width_units);
  }
  return far_rows;
}

}  // namespace mesh::sched
