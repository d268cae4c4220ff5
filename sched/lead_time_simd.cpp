// plan_columns(): plan_row() of lead_time_columns.cpp, lane for lane. Compiled once for each
// Highway target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE \
  "sched/lead_time_simd.cpp"     // found from the repository root, a bare name is not
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "sched/lead_time_arithmetic.hpp"
#include "sched/lead_time_columns.hpp"

HWY_BEFORE_NAMESPACE();
namespace mesh::sched {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using namespace arithmetic;

// Never wider than a group: rows are padded to groups, not to vectors.
using Floats = hn::CappedTag<float, kPlanGroupRows>;
using Ints = hn::RebindToSigned<Floats>;
using Words = hn::RebindToUnsigned<Floats>;
using Halves = hn::Rebind<std::uint16_t, Floats>;
using Bytes = hn::Rebind<std::uint8_t, Floats>;
using VF = hn::Vec<Floats>;
using VI = hn::Vec<Ints>;
using MF = hn::Mask<Floats>;

// work_units[class % 16], whatever the byte: one register look-up at 16 lanes, two at 8, a gather
// below.
struct ClassTable {
#if HWY_TARGET != HWY_SCALAR && HWY_MAX_BYTES >= 64
  explicit ClassTable(const float* table) : all(hn::Load(Floats(), table)) {}
  HWY_INLINE VF operator[](VI index) const {
#if HWY_IS_DEBUG_BUILD
    // It asserts what the instruction does by itself: only four bits of an index count.
    index = hn::And(index, hn::Set(Ints(), kMaxClasses - 1));
#endif
    return hn::TableLookupLanes(all, hn::IndicesFromVec(Floats(), index));
  }
  VF all;
#elif HWY_TARGET != HWY_SCALAR && HWY_MAX_BYTES == 32
  explicit ClassTable(const float* table)
      : low(hn::Load(Floats(), table)), high(hn::Load(Floats(), table + 8)) {}
  HWY_INLINE VF operator[](VI index) const {
    const Ints di;
    const auto lane = hn::IndicesFromVec(Floats(), hn::And(index, hn::Set(di, 7)));
    const auto is_high = hn::RebindMask(Floats(), hn::Gt(index, hn::Set(di, 7)));
    return hn::IfThenElse(is_high, hn::TableLookupLanes(high, lane),
                          hn::TableLookupLanes(low, lane));
  }
  VF low, high;
#else
  explicit ClassTable(const float* first) : table(first) {}
  HWY_INLINE VF operator[](VI index) const {
    return hn::GatherIndex(Floats(), table, hn::And(index, hn::Set(Ints(), kMaxClasses - 1)));
  }
  const float* table;
#endif
};

HWY_INLINE MF eligible_mask(const std::uint64_t* words, std::size_t row) {
  const std::uint64_t bits = words[row / 64] >> (row % 64);
  std::uint8_t bytes[8];  // LoadMaskBits may read eight
  __builtin_memcpy(bytes, &bits, sizeof bytes);
  return hn::LoadMaskBits(Floats(), bytes);
}

// Rounded to nearest, INT32_MAX when it does not fit. NearestInt spends four operations on overflow
// of either sign; no lane is negative or NaN here, so x86's "indefinite" 0x80000000 is the only
// case.
HWY_INLINE VI round_saturated(VF amount) {
#if HWY_TARGET == HWY_AVX3
  const VI rounded{_mm512_cvtps_epi32(amount.raw)};
#elif HWY_TARGET == HWY_AVX2
  const VI rounded{_mm256_cvtps_epi32(amount.raw)};
#else
  return hn::NearestInt(amount);
#endif
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  const Words du;
  return hn::BitCast(Ints(), hn::Min(hn::BitCast(du, rounded), hn::Set(du, kLeadFar)));
#endif
}

// The key of every lane, right where lead_units is a lead that is not late.
HWY_INLINE VI bucket_of(const PlanParameters& p, VF lead_units, VI lead) {
  const Floats df;
  const Ints di;
  const VF centred =
      hn::Sub(hn::Mul(lead_units, hn::Set(df, p.width_reciprocal)), hn::Set(df, p.bucket_shift));
  const VI bits = hn::BitCast(di, hn::Add(centred, hn::Set(df, kBucketRounder)));
  const VI remainder = hn::Sub(hn::Add(lead, hn::Set(di, p.remainder_shift)),
                               hn::Mul(bits, hn::Set(di, p.width_units)));
  return hn::Sub(hn::Set(di, p.key_base), hn::Add(bits, hn::ShiftRight<31>(remainder)));
}

// What the pass reads once: constants in registers, tables.
struct Tables {
  explicit Tables(const PlanParameters& p)
      : work(p.work_units.data()), weight(p.weight_units.data()), queue(p.queue_slope.data()) {}
  ClassTable work;
  ClassTable weight;
  ClassTable queue;
};

// A row with history, in the lanes of `known`: what was learned instead of the nominal figures.
struct Learned {
  MF known;
  VF span;
  VF raw_units;
  VI confidence;
};

HWY_INLINE Learned learned_of(const Tables& tables, const ImpedanceColumns& in, std::size_t row,
                              VI agent_class) {
  const Floats df;
  const Ints di;
  const Words du;
  const auto queue = hn::Min(hn::Load(du, in.queue_depth + row), hn::Set(du, kQueueLimit));
  const VF work_ms = hn::Load(df, in.learned.work_ms + row);
  const VF own_units = hn::Mul(work_ms, tables.weight[agent_class]);
  const VF busy =
      hn::Add(hn::Mul(hn::ConvertTo(df, hn::BitCast(di, queue)), tables.queue[agent_class]),
              hn::Set(df, 1));
  const VF one_way = hn::Mul(hn::Load(df, in.latency_ms + row), hn::Set(df, kOneWayUnits));
  Learned out;
  const VI history = hn::PromoteTo(di, hn::LoadU(Bytes(), in.learned.history + row));
  out.known = hn::RebindMask(df, hn::Gt(history, hn::Zero(di)));
  out.span = hn::Add(one_way, hn::Mul(own_units, busy));
  out.raw_units = hn::Add(
      out.span, hn::Mul(hn::Load(df, in.learned.residual_ms + row), hn::Set(df, kResidualUnits)));
  // Work below 0 shows as NaN from here on.
  const MF is_work = hn::Ge(work_ms, hn::Zero(df));
  out.raw_units =
      hn::IfThenElse(is_work, out.raw_units, hn::Set(df, std::numeric_limits<float>::quiet_NaN()));
  out.confidence = hn::PromoteTo(di, hn::LoadU(Halves(), in.learned.confidence + row));
  return out;
}

// One turn of plan_all's loop, of which the five are locals.
template <Model kModel, bool kAll>
HWY_INLINE void plan_vector(  // NOLINT(readability-function-size): always inlined
    const PlanParameters& p, const Tables& tables, const ImpedanceColumns& in,
    const PlanColumns& out, std::size_t row) {
  const Floats df;
  const Ints di;
  const Words du;
  const VF latency = hn::Load(df, in.latency_ms + row);
  const VF drift = hn::Load(df, in.drift + row);
  const VF reliability = hn::Load(df, in.reliability + row);
  const VI agent_class = hn::PromoteTo(di, hn::LoadU(Bytes(), in.agent_class + row));

  const auto queue = hn::Min(hn::Load(du, in.queue_depth + row), hn::Set(du, kQueueLimit));
  const VI busy = hn::Add(hn::BitCast(di, queue), hn::Set(di, kQueueOffset));
  const VF work = hn::Mul(tables.work[agent_class], hn::ConvertTo(df, busy));
  VF span = hn::Add(hn::Mul(latency, hn::Set(df, kOneWayUnits)), work);
  VF raw_units = hn::Add(span, hn::Mul(span, hn::Mul(drift, hn::Set(df, p.z))));

  // Min may lose a NaN, yet a NaN in latency or drift also shows in raw_units, one in reliability
  // in `<= 1`.
  const VI beat_age = hn::BitCast(
      di, hn::Sub(hn::Set(du, p.heartbeat_origin_ms), hn::Load(du, in.heartbeat_ms + row)));
  const VF smallest = hn::Min(hn::Min(latency, drift), reliability);
  const MF in_range = hn::And(hn::Ge(smallest, hn::Zero(df)), hn::Le(reliability, hn::Set(df, 1)));
  const MF finite = hn::Le(raw_units, hn::Set(df, kLeadFinite));
  // One sign for both: a heartbeat from the future, a class beyond the table.
  const VI known = hn::Or(beat_age, hn::Sub(hn::Set(di, kMaxClasses - 1), agent_class));
  MF valid = hn::And(hn::And(in_range, finite), hn::RebindMask(df, hn::Gt(known, hn::Set(di, -1))));

  Learned learned;
  if constexpr (kModel == Model::kCalibrated) {
    learned = learned_of(tables, in, row, agent_class);
    span = hn::IfThenElse(learned.known, learned.span, span);
    raw_units = hn::IfThenElse(learned.known, learned.raw_units, raw_units);
    valid = hn::And(valid, hn::Le(hn::Abs(raw_units), hn::Set(df, kLeadFinite)));
    valid = hn::And(valid, hn::Le(span, hn::Set(df, kLeadFinite)));
    raw_units = hn::Max(raw_units, hn::Zero(df));
    hn::Store(round_saturated(hn::IfThenElseZero(valid, span)), di, out.base + row);
  }
  const VF lead_units = hn::IfThenElseZero(valid, raw_units);
  const VI lead = round_saturated(lead_units);
  hn::Store(lead, di, out.lead + row);

  const MF fresh = hn::RebindMask(df, hn::Lt(beat_age, hn::Set(di, kHeartbeatFreshMs)));
  const VF share = hn::Add(hn::Sub(hn::Mul(reliability, hn::Set(df, kReliabilityUnits)),
                                   hn::Mul(drift, hn::Set(df, kDriftUnits))),
                           hn::IfThenElseZero(fresh, hn::Set(df, kFreshUnits)));
  const VF share_valid = hn::IfThenElseZero(valid, hn::Max(share, hn::Zero(df)));
  VI confidence = hn::BitCast(di, hn::Add(share_valid, hn::Set(df, kConfidenceRounder)));
  if constexpr (kModel == Model::kCalibrated) {
    confidence = hn::IfThenElse(hn::RebindMask(di, hn::And(learned.known, valid)),
                                learned.confidence, confidence);
  }
  hn::StoreU(hn::TruncateTo(Halves(), hn::BitCast(du, confidence)), Halves(), out.confidence + row);

  const auto late = hn::Gt(lead, hn::Set(di, p.lead_limit));
  VI key = hn::IfThenElse(late, hn::Set(di, p.late_key), bucket_of(p, lead_units, lead));
  key = hn::IfThenElse(hn::RebindMask(di, valid), key, hn::Set(di, kKeyInvalid));
  if constexpr (!kAll) {
    const auto eligible = hn::RebindMask(di, eligible_mask(in.eligible, row));
    key = hn::IfThenElse(eligible, key, hn::Set(di, kKeyNotTargeted));
  }
  hn::StoreU(hn::TruncateTo(Halves(), hn::BitCast(du, key)), Halves(), out.key + row);
}

template <Model kModel, bool kAll>
HWY_INLINE void plan_all(const PlanParameters& parameters, const ImpedanceColumns& columns,
                         const PlanColumns& outputs) {
  // Locals: the stores below could otherwise alias the pointers and constants, and reload them.
  const PlanParameters p = parameters;
  const ImpedanceColumns in = columns;
  const PlanColumns out = outputs;
  const Tables tables(p);
  const std::size_t padded = (in.rows + kPlanGroupRows - 1) / kPlanGroupRows * kPlanGroupRows;
  for (std::size_t row = 0; row < padded; row += hn::Lanes(Floats())) {
    plan_vector<kModel, kAll>(p, tables, in, out, row);
  }
}

void plan_columns_target(const PlanParameters& parameters, const ImpedanceColumns& in,
                         const PlanColumns& out) {
  if (in.eligible == nullptr) {
    plan_all<Model::kNominal, true>(parameters, in, out);
  } else {
    plan_all<Model::kNominal, false>(parameters, in, out);
  }
}

void plan_calibrated_target(const PlanParameters& parameters, const ImpedanceColumns& in,
                            const PlanColumns& out) {
  if (in.eligible == nullptr) {
    plan_all<Model::kCalibrated, true>(parameters, in, out);
  } else {
    plan_all<Model::kCalibrated, false>(parameters, in, out);
  }
}

const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace mesh::sched
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "shm/base/assert.hpp"

namespace mesh::sched {
namespace {

HWY_EXPORT(plan_columns_target);
HWY_EXPORT(plan_calibrated_target);
HWY_EXPORT(target_name);

bool is_aligned(const void* pointer) noexcept {
  return reinterpret_cast<std::uintptr_t>(pointer) % kPlanAlignment == 0;
}

}  // namespace

void plan_columns(const PlanParameters& parameters, const ImpedanceColumns& in,
                  const PlanColumns& out) noexcept {
  MESH_ASSERT(is_aligned(in.latency_ms) && is_aligned(in.drift) && is_aligned(in.reliability));
  MESH_ASSERT(is_aligned(in.queue_depth) && is_aligned(in.heartbeat_ms));
  MESH_ASSERT(is_aligned(in.agent_class) && is_aligned(in.eligible));
  MESH_ASSERT(is_aligned(out.lead) && is_aligned(out.confidence) && is_aligned(out.key));
  if (parameters.request.model == Model::kCalibrated) {
    const LearnedColumns& learned = in.learned;
    MESH_ASSERT(is_aligned(learned.work_ms) && is_aligned(learned.residual_ms));
    MESH_ASSERT(is_aligned(learned.confidence) && is_aligned(learned.history));
    MESH_ASSERT(is_aligned(out.base) && out.base != nullptr);
    HWY_DYNAMIC_DISPATCH(plan_calibrated_target)(parameters, in, out);
    return;
  }
  HWY_DYNAMIC_DISPATCH(plan_columns_target)(parameters, in, out);
}

const char* chosen_target() noexcept { return HWY_DYNAMIC_DISPATCH(target_name)(); }

}  // namespace mesh::sched
#endif  // HWY_ONCE
