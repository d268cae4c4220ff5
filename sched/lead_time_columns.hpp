// The models of lead_time.hpp for a whole mesh: one pass over columns gives every row's lead,
// confidence and bucket, and by the calibrated model its base too: the lead without the residual.
//
// plan_columns() is vectorised by Highway for the best target of this CPU. plan_columns_scalar()
// is the same float operations in the same order, row by row. They agree BIT FOR BIT on every
// target and any input: no fused multiply-add, no reciprocal estimate, and every float is rounded
// to an integer before it is used.
//
// Callers     any thread that may read the columns and owns the outputs. In the engine that is
//             the scheduler thread, the one writer of the table's columns: nothing changes under
//             the pass.
// Progress    bounded by rows. After PlanParameters::make() no allocation, lock or system call.
// Units       Leads in units of 16 ns (kLeadUnitNs) as int32, so up to 34.4 s; send_at is
//             exactly T - 16 * lead. Confidence in 1/65535. Heartbeats in milliseconds of mesh
//             time, modulo 2^32.
// Error       of a lead against nominal(): at most 8 * 2^-24 (4.8e-7) of it and half a unit, so
//             64 ns up to 0.11 s and 490 ns at 1 s; against calibrated() the same share of base,
//             residual and lead together. lead_time_arithmetic.hpp counts the roundings. Of a
//             confidence: 1/65535.
// Inputs      any bit pattern. Invalid as in lead_time.hpp: lead 0, confidence 0, kKeyInvalid.
//             A lead beyond a float's range counts as not finite. An age beyond 2^31 ms (24.8
//             days) reads as a heartbeat from the future: invalid until it is heard of again. A
//             queue above 2^30 counts as 2^30, which is long past 34 s.
// History     of a row that has none the calibrated pass gives what the nominal pass gives, bit for
//             bit, and its one_way + processing as base.
// Far         A lead that does not fit, from 34.4 s, is kLeadFar (INT32_MAX). While T is nearer
//             than that the row is simply late. When T is further the pass cannot know and gives
//             kKeyFar; resolve_far() decides those rows in double. Their send_at is that of
//             their bucket.
// Bucket      Key k is the send time now + k * width. kCentre takes the nearest to send_at (a tie
//             goes up), kByT the last that is not after send_at; both exact in integers. A row is
//             late by its send_at, never by its bucket.
// Errors      PlanParameters::make -> invalid_argument; capacity when there are more than
//             kMaxBuckets buckets up to T.
// Layout      Every pointer aligned to 64 bytes, every column padded to a multiple of 64 bytes.
//             The pass reads and writes whole groups of kPlanGroupRows, so also the rows beyond
//             `rows` in the last group.
// Cost        bench/sched/plan_bench.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "sched/lead_time.hpp"
#include "shm/base/limits.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::sched {

inline constexpr std::int64_t kLeadUnitNs = 16;
inline constexpr std::int32_t kLeadFar = std::numeric_limits<std::int32_t>::max();
inline constexpr std::size_t kPlanGroupRows = 16;
inline constexpr std::size_t kPlanAlignment = 64;

// The last keys of the u16 range name why a row is in no bucket.
inline constexpr std::uint16_t kKeyLate = 65'535;
inline constexpr std::uint16_t kKeyInvalid = 65'534;
inline constexpr std::uint16_t kKeyNotTargeted = 65'533;
inline constexpr std::uint16_t kKeyFar = 65'532;  // not after resolve_far()
inline constexpr std::uint16_t kKeyFirstReserved = kKeyFar;
static_assert(kMaxBuckets <= kKeyFirstReserved);

enum class Aim : std::uint8_t {
  kCentre,  // the bucket nearest to send_at
  kByT,     // the last bucket not after send_at
};

enum class Model : std::uint8_t { kNominal, kCalibrated };

// What only the calibrated model reads.
struct LearnedColumns {
  const float* work_ms = nullptr;      // processing at weight 0 with an empty queue
  const float* residual_ms = nullptr;  // of the request's aim
  const std::uint16_t* confidence = nullptr;
  const std::uint8_t* history = nullptr;  // 0: this row is planned by the nominal model
};

struct ImpedanceColumns {
  const float* latency_ms = nullptr;  // round trip
  const float* drift = nullptr;
  const float* reliability = nullptr;
  const std::uint32_t* queue_depth = nullptr;
  const std::uint32_t* heartbeat_ms = nullptr;
  const std::uint8_t* agent_class = nullptr;
  const std::uint64_t* eligible = nullptr;  // a bit a row; null: all
  std::uint32_t rows = 0;
  LearnedColumns learned{};
};

struct PlanColumns {
  std::int32_t* lead = nullptr;
  std::uint16_t* confidence = nullptr;
  std::uint16_t* key = nullptr;
  std::int32_t* base = nullptr;  // written by the calibrated model alone
};

struct PlanRequest {
  HostTime now{};
  HostTime target{};              // T
  std::uint32_t now_mesh_ms = 0;  // the clock of the heartbeat column
  double weight = 1;
  double z = kDefaultZ;
  Nanos bucket_width{kNsPerMs};
  Aim aim = Aim::kCentre;
  Model model = Model::kNominal;
  std::array<WorkFactors, kAgentClassCount> factors{};  // the calibrated model's
};

inline constexpr Nanos kBucketWidthMin{kNsPerMs / 10};
inline constexpr Nanos kBucketWidthMax{kNsPerMs * 100};
inline constexpr double kWeightMax = 1e6;
inline constexpr double kZMax = 100;
inline constexpr double kFactorMax = 10;  // of alpha and beta

// A request, checked and turned into the constants that the pass needs. Cheap to copy, immutable.
struct PlanParameters {
  [[nodiscard]] static Result<PlanParameters> make(const PlanRequest& request);

  PlanRequest request;
  std::uint32_t bucket_count = 0;    // 0 when T is past: everybody is late
  std::int64_t available_units = 0;  // floor((T - now) / 16 ns)
  std::int64_t bucket_origin = 0;    // key = floor((bucket_origin - lead) / width_units)

  // What one row's arithmetic uses: lead_time_arithmetic.hpp.
  alignas(64) std::array<float, kMaxClasses> work_units{};    // base * (1 + 0.5 w) * 0.1 in units;
                                                              // NaN: no class
  alignas(64) std::array<float, kMaxClasses> weight_units{};  // (1 + alpha w) in units
  alignas(64) std::array<float, kMaxClasses> queue_slope{};   // beta
  float z = 0;
  float width_reciprocal = 0;
  float bucket_shift = 0;
  std::int32_t width_units = 0;
  std::int32_t remainder_shift = 0;
  std::int32_t key_base = 0;
  std::int32_t lead_limit = 0;  // a longer lead is late
  std::int32_t late_key = 0;    // kKeyLate or kKeyFar
  std::uint32_t heartbeat_origin_ms = 0;
};

// The whole pass. Counts nothing: the keys say it all.
void plan_columns(const PlanParameters& parameters, const ImpedanceColumns& in,
                  const PlanColumns& out) noexcept;
void plan_columns_scalar(const PlanParameters& parameters, const ImpedanceColumns& in,
                         const PlanColumns& out) noexcept;

// The Highway target that plan_columns() runs: "AVX3", "AVX2", "NEON", ...
[[nodiscard]] const char* chosen_target() noexcept;

// True when plan_columns() may have left rows as kKeyFar.
[[nodiscard]] bool may_have_far(const PlanParameters& parameters) noexcept;

// Decides the rows that are kKeyFar by nominal() or calibrated(), in double. Returns how many there
// were.
std::uint32_t resolve_far(const PlanParameters& parameters, const ImpedanceColumns& in,
                          const PlanColumns& out) noexcept;

}  // namespace mesh::sched
