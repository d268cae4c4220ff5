// The arithmetic of one row, as both passes of lead_time_columns.hpp do it. Internal to
// sched/lead_time_*.
//
// Lead, in units of 16 ns (62,500 a millisecond), with constants folded so that most are exact:
//     one_way = latency * 31250
//     work    = work_units[class] * float(queue + 10)
//               where work_units = base * (1 + 0.5 w) / 10, because 1 + 0.1 q = (q + 10) / 10
//     span    = one_way + work
//     lead    = span + span * (z * drift)
// Roundings, each at most u = 2^-24 of its value: work 3 (table, queue above 2^24, product),
// span 1 more, so 4; the buffer 3 more on its part (z, z * drift, product); the last sum 1. A
// buffer is at most all of the lead: 8 u in all.
//
// By the calibrated model, of a row with history:
//     work = (work_ms * weight_units[class]) * (float(queue) * beta[class] + 1)
//               where weight_units = (1 + alpha w) * 62500
//     base = one_way + work
//     lead = max(base + residual_ms * 62500, 0)
// Roundings: work 6 (two tables, three products, a sum), base 1 more; the residual 1 on its part
// and the last sum 1. Of the base 7 u, of the residual u, and u of the lead: 8 u of base +
// |residual| + lead.
//
// Bucket: with W the width and C the bucket origin (T - now, plus half a width for kCentre), both
// in units,
//     key = floor((C - lead) / W)
// and with Cq = C div W, Cr = C mod W and c = Cr + 1, which is 1..W,
//     key = Cq - 1 - q,   q = floor((lead - c) / W)
// so that every term fits 32 bits, however far away T is. q is estimated in float and corrected
// once. The estimate e rounds lead / W - c / W to the nearest integer, by adding 1.5 * 2^23: the
// low mantissa bits then are the integer. For a row that is not late, lead / W < kMaxBuckets + 1,
// so before it is rounded the estimate is wrong by less than 66,000 * 4 * 2^-24 = 0.016. Nearest
// of v +- 0.016 is floor(v) or floor(v) + 1, never less. So r = lead - c - e * W, exact modulo
// 2^32, is negative exactly when e is one too many: q = e + (r >> 31). The keys of late and
// invalid rows are replaced, and nothing here can trap.
//
// Confidence, in 1/65535: reliability * 32767.5 - drift * 19660.5 (+ 13107 when fresh), at least
// 0. It cannot pass 0.7 * 65535, because reliability above 1 is invalid: no upper clamp. Rounded
// by adding 2^23.
//
// Heartbeat: t = now + 1000 - heartbeat, modulo 2^32. Negative as int32: from the future, or 24.8
// days old. Fresh: t < 11000.
#pragma once

#include <cstdint>
#include <limits>

namespace mesh::sched::arithmetic {

inline constexpr double kUnitsPerMs = 62'500;
inline constexpr float kOneWayUnits = 31'250.0F;
inline constexpr float kResidualUnits = 62'500.0F;
inline constexpr std::int32_t kQueueOffset = 10;
inline constexpr std::uint32_t kQueueLimit = 1U << 30;
inline constexpr float kLeadFinite = std::numeric_limits<float>::max();
inline constexpr float kLeadOverflow = 2'147'483'648.0F;  // does not fit int32: far

inline constexpr float kReliabilityUnits = 32'767.5F;
inline constexpr float kDriftUnits = 19'660.5F;
inline constexpr float kFreshUnits = 13'107.0F;
inline constexpr float kConfidenceRounder = 8'388'608.0F;  // 2^23

inline constexpr std::int32_t kHeartbeatAheadMs = 1'000;
inline constexpr std::int32_t kHeartbeatFreshMs = 10'000 + kHeartbeatAheadMs;

inline constexpr float kBucketRounder = 12'582'912.0F;  // 1.5 * 2^23
inline constexpr std::int32_t kBucketRounderBits = 0x4B40'0000;

}  // namespace mesh::sched::arithmetic
