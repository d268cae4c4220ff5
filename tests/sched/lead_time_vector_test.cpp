#include <cmath>
#include <limits>

#include "sched/lead_time_arithmetic.hpp"
#include "sched/lead_time_columns.hpp"
#include "tests/sched/plan_targets.hpp"
#include "tests/sched/test_mesh.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_lead_time_vector_test {

using testing::Agent;
using testing::TestMesh;
using testing::TestPlan;

constexpr std::uint32_t kNowMs = 5'000;  // so that heartbeats of some seconds ago have wrapped
constexpr std::int64_t kNow = 1'000'000'000'123;

PlanRequest request_for(std::int64_t available_ns) {
  PlanRequest request;
  request.now = from_ns(kNow);
  request.target = from_ns(kNow + available_ns);
  request.now_mesh_ms = kNowMs;
  return request;
}
PlanParameters parameters_for(const PlanRequest& request) {
  auto made = PlanParameters::make(request);
  EXPECT_TRUE(made) << made.error().sentence;
  return made.value();
}

using testing::choose;
using testing::on_every_target;
using testing::targets;

// Refusals.

TEST(PlanParameters, RefusesABucketWidthOutOfRangeOrOffTheGrid) {
  PlanRequest request = request_for(kNsPerSecond);
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-16}, kBucketWidthMin.count() - 16,
                                 kBucketWidthMax.count() + 16, kNsPerMs + 1}) {
    request.bucket_width = Nanos{bad};
    const auto made = PlanParameters::make(request);
    ASSERT_FALSE(made) << bad;
    EXPECT_EQ(made.error().code, Errc::invalid_argument);
    EXPECT_NE(made.error().sentence.find(std::to_string(bad)), std::string::npos);
  }
}

TEST(PlanParameters, RefusesNonsenseWeightAndZ) {
  for (const double bad : {-1.0, std::numeric_limits<double>::quiet_NaN(),
                           std::numeric_limits<double>::infinity(), 1e300}) {
    PlanRequest request = request_for(kNsPerSecond);
    request.weight = bad;
    EXPECT_FALSE(PlanParameters::make(request)) << bad;
    request = request_for(kNsPerSecond);
    request.z = bad;
    EXPECT_FALSE(PlanParameters::make(request)) << bad;
  }
}

TEST(PlanParameters, RefusesMoreBucketsThanTheLimitAndTakesExactlyTheLimit) {
  PlanRequest request = request_for(std::int64_t{kMaxBuckets} * kNsPerMs);
  request.aim = Aim::kByT;
  const auto over = PlanParameters::make(request);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, Errc::capacity);
  EXPECT_EQ(over.error().detail, kMaxBuckets);
  request.target -= Nanos{1};
  EXPECT_EQ(parameters_for(request).bucket_count, kMaxBuckets);
}

TEST(PlanParameters, RefusesTimesFurtherApartThan64Bits) {
  PlanRequest request;
  request.now = from_ns(std::numeric_limits<std::int64_t>::min());
  request.target = from_ns(1);
  const auto made = PlanParameters::make(request);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, Errc::invalid_argument);
}

TEST(PlanColumns, EveryKindOfInvalidRowIsNamedAndOnNoSchedule) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<Agent> bad;
  for (const float value : {nan, -nan, infinity, -infinity, -1.0F, -1e-45F}) {
    bad.push_back({.latency_ms = value});
    bad.push_back({.drift = value});
    bad.push_back({.reliability = value});
  }
  bad.push_back({.reliability = 1.0000001F});
  bad.push_back({.latency_ms = 3e38F, .drift = 3e38F});
  for (const unsigned byte : {6U, 15U, 16U, 17U, 128U, 255U}) {
    bad.push_back({.agent_class = static_cast<AgentClass>(byte)});
  }
  TestMesh mesh(static_cast<std::uint32_t>(bad.size()) + 1);
  for (std::size_t row = 0; row < bad.size(); ++row) {
    bad[row].heartbeat_ms = kNowMs;
    mesh.set(row, bad[row]);
  }
  mesh.set(bad.size(), {.heartbeat_ms = kNowMs + 1'001});  // from the future
  const PlanParameters p = parameters_for(request_for(kNsPerSecond));
  on_every_target([&] {
    TestPlan plan(mesh.rows);
    plan_columns(p, mesh.columns(), plan.columns());
    for (std::size_t row = 0; row < mesh.rows; ++row) {
      EXPECT_EQ(plan.key[row], kKeyInvalid) << row;
      EXPECT_EQ(plan.lead[row], 0) << row;
      EXPECT_EQ(plan.confidence[row], 0) << row;
    }
  });
}

// Which code runs.

TEST(PlanColumns, ChoosesTheBestTargetOfThisCpuByItself) {
  choose(0);
  std::string expected = hwy::TargetName(targets().front());
#if defined(__x86_64__)
  // Asked of the compiler's run time, not of Highway: a mistaken mask would otherwise agree with
  // itself.
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    expected = "AVX3";
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    expected = "AVX2";
  }
#endif
  EXPECT_EQ(chosen_target(), expected);
  std::string all;
  for (const std::int64_t target : targets()) all += std::string(" ") + hwy::TargetName(target);
  std::cout << "chosen " << chosen_target() << " of" << all << '\n';
}

// Worked numbers: T = now + 1 s, buckets of 1 ms.

TEST(PlanColumns, GoldenRows) {
  struct Case {
    Agent agent;
    double lead_ms;  // by hand, see lead_time_test.cpp
    std::uint16_t centre, by_t;
    std::uint16_t confidence;
  };
  const Case cases[] = {
      // send_at 975.5455; 0.5 - 0.03 + 0.2 = 0.67 -> 43908.45
      {{AgentClass::edge, 12, 0.1F, 1, 0, kNowMs}, 24.4545, 976, 975, 43'908},
      // 50 + 75 * 1.2 = 140, * 1.329 = 186.06; send_at 813.94; 0.25 - 0.06 + 0.2 = 0.39 -> 25558.65
      {{AgentClass::serverless, 100, 0.2F, 0.5F, 2, kNowMs}, 186.06, 814, 813, 25'559},
      // send_at 429.395; heartbeat 10 s old: 0.5 - 0.03 = 0.47 -> 30801.45
      {{AgentClass::persistent, 200, 0.1F, 1, 3, kNowMs - 10'000}, 570.605, 429, 429, 30'801},
      // 175 + 150 * 2 = 475; send_at 525; 0.7 -> 45874.5, to even
      {{AgentClass::gpu, 350, 0, 1, 10, kNowMs}, 475, 525, 525, 45'874},
      // 75 + 225 * 1.1 = 322.5, * 1.8225 = 587.75625; send_at 412.24375; 0.5 - 0.15 + 0.2 = 0.55 ->
      // 36044.25
      {{AgentClass::local, 150, 0.5F, 1, 1, kNowMs - 9'999}, 587.75625, 412, 412, 36'044},
      // 139.74 s: late, and far
      {{AgentClass::human, 60'000, 0.1F, 1, 0, kNowMs}, 139'740, kKeyLate, kKeyLate, 43'908},
  };
  TestMesh mesh(std::size(cases));
  for (std::size_t row = 0; row < std::size(cases); ++row) mesh.set(row, cases[row].agent);
  PlanRequest request = request_for(kNsPerSecond);
  on_every_target([&] {
    for (const Aim aim : {Aim::kCentre, Aim::kByT}) {
      request.aim = aim;
      TestPlan plan(mesh.rows);
      plan_columns(parameters_for(request), mesh.columns(), plan.columns());
      for (std::size_t row = 0; row < std::size(cases); ++row) {
        const Case& want = cases[row];
        EXPECT_EQ(plan.key[row], aim == Aim::kCentre ? want.centre : want.by_t) << row;
        EXPECT_EQ(plan.confidence[row], want.confidence) << row;
        if (row == 5) {
          EXPECT_EQ(plan.lead[row], kLeadFar);
        } else {
          const double units = want.lead_ms * arithmetic::kUnitsPerMs;
          EXPECT_NEAR(plan.lead[row], units, units * 8 / 16'777'216.0 + 0.5) << row;
        }
      }
    }
  });
}

TEST(PlanColumns, SendAtExactlyNowIsScheduledAndOneNanosecondLessIsLate) {
  TestMesh mesh(1);
  mesh.set(0, {.agent_class = AgentClass::gpu, .latency_ms = 350, .heartbeat_ms = kNowMs});
  const std::int64_t lead_ns = 325 * kNsPerMs;  // 175 + 150, exact in float units
  on_every_target([&] {
    TestPlan plan(1);
    plan_columns(parameters_for(request_for(lead_ns)), mesh.columns(), plan.columns());
    EXPECT_EQ(plan.lead[0], lead_ns / kLeadUnitNs);
    EXPECT_EQ(plan.key[0], 0);
    plan_columns(parameters_for(request_for(lead_ns - 1)), mesh.columns(), plan.columns());
    EXPECT_EQ(plan.key[0], kKeyLate);
  });
}

TEST(PlanColumns, HeartbeatAgesTurnAtTenSecondsAndAtOneSecondAhead) {
  const std::pair<std::int32_t, int> cases[] = {{-1'001, -1},     {-1'000, 45'874},
                                                {0, 45'874},      {9'999, 45'874},
                                                {10'000, 32'768}, {60'000, 32'768}};
  TestMesh mesh(std::size(cases));
  for (std::size_t row = 0; row < std::size(cases); ++row) {
    mesh.set(row, {.heartbeat_ms = kNowMs - static_cast<std::uint32_t>(cases[row].first)});
  }
  on_every_target([&] {
    TestPlan plan(mesh.rows);
    plan_columns(parameters_for(request_for(kNsPerSecond)), mesh.columns(), plan.columns());
    for (std::size_t row = 0; row < std::size(cases); ++row) {
      if (cases[row].second < 0) {
        EXPECT_EQ(plan.key[row], kKeyInvalid);
      } else {
        EXPECT_EQ(plan.confidence[row], cases[row].second) << cases[row].first;
      }
    }
  });
}

TEST(PlanColumns, ATargetInThePastMakesEveryValidRowLate) {
  TestMesh mesh(40);
  std::mt19937_64 random(mesh::testing::seed());
  testing::fill_realistic(mesh, random, kNowMs);
  for (const std::int64_t available : {std::int64_t{-1}, -kNsPerSecond, -100'000 * kNsPerSecond}) {
    const PlanParameters p = parameters_for(request_for(available));
    EXPECT_EQ(p.bucket_count, 0U);
    TestPlan plan(mesh.rows);
    plan_columns(p, mesh.columns(), plan.columns());
    for (std::size_t row = 0; row < mesh.rows; ++row) EXPECT_EQ(plan.key[row], kKeyLate);
  }
}

// Properties.

PlanRequest any_request(std::mt19937_64& random) {
  PlanRequest request;
  const std::int64_t width = static_cast<std::int64_t>(
      random() % 2 == 0 ? 6'250 + random() % 100 : 6'250 + random() % (6'250'000 - 6'249));
  request.bucket_width = Nanos{width * kLeadUnitNs};
  std::int64_t reach = (std::int64_t{kMaxBuckets} - 1) * width * kLeadUnitNs;
  if (random() % 2 == 0) reach = std::min<std::int64_t>(reach, 2 * kNsPerSecond);
  const auto available = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(reach));
  request.now = from_ns(static_cast<std::int64_t>(random() >> 2));
  request.target = request.now + Nanos{random() % 16 == 0 ? -available : available};
  request.now_mesh_ms = static_cast<std::uint32_t>(random());
  request.weight = static_cast<double>(random() % 40) / 8;
  request.aim = random() % 2 == 0 ? Aim::kCentre : Aim::kByT;
  return request;
}

TEST(PlanColumns, EveryTargetEqualsTheScalarReferenceBitForBitOnAnyInput) {
  on_every_target([] {
    std::mt19937_64 random(mesh::testing::seed());
    for (std::uint32_t rows = 0; rows <= 200; ++rows) {
      for (unsigned repeat = 0; repeat < 20; ++repeat) {
        TestMesh mesh(rows);
        const PlanParameters p = parameters_for(any_request(random));
        testing::fill_any_bits(mesh, random, p.request.now_mesh_ms);
        const bool with_eligible = repeat % 2 != 0;
        TestPlan vector(rows), scalar(rows);
        plan_columns(p, mesh.columns(with_eligible), vector.columns());
        plan_columns_scalar(p, mesh.columns(with_eligible), scalar.columns());
        for (std::size_t row = 0; row < rows; ++row) {
          ASSERT_EQ(vector.lead[row], scalar.lead[row]) << rows << " rows, row " << row;
          ASSERT_EQ(vector.confidence[row], scalar.confidence[row]) << rows << ", row " << row;
          ASSERT_EQ(vector.key[row], scalar.key[row]) << rows << " rows, row " << row;
        }
      }
    }
  });
}

// Against int64 arithmetic in nanoseconds, which knows nothing of units, reciprocals or
// corrections.
TEST(PlanColumns, BucketAndLatenessAreExactInIntegers) {
  on_every_target([] {
    std::mt19937_64 random(mesh::testing::seed() + 1);
    for (unsigned repeat = 0; repeat < 2'000; ++repeat) {
      TestMesh mesh(96);
      const PlanRequest request = any_request(random);
      const PlanParameters p = parameters_for(request);
      testing::fill_realistic(mesh, random, request.now_mesh_ms);
      TestPlan plan(mesh.rows);
      plan_columns(p, mesh.columns(), plan.columns());
      const std::int64_t available = (request.target - request.now).count();
      const std::int64_t width = request.bucket_width.count();
      for (std::size_t row = 0; row < mesh.rows; ++row) {
        if (plan.lead[row] == kLeadFar) {
          ASSERT_EQ(plan.key[row], may_have_far(p) ? kKeyFar : kKeyLate);
          continue;
        }
        const std::int64_t send_at = available - kLeadUnitNs * plan.lead[row];
        if (send_at < 0) {
          ASSERT_EQ(plan.key[row], kKeyLate);
          continue;
        }
        const std::int64_t want =
            request.aim == Aim::kCentre ? (2 * send_at + width) / (2 * width) : send_at / width;
        ASSERT_EQ(plan.key[row], want)
            << "available " << available << " width " << width << " lead " << plan.lead[row];
        ASSERT_LT(plan.key[row], p.bucket_count);
      }
    }
  });
}

// Every nanosecond around the middle and the end of a bucket: widths of an odd number of units have
// their middle inside one.
TEST(PlanColumns, NearestTurnsAtExactlyHalfABucketAlsoForOddWidths) {
  TestMesh mesh(1);
  mesh.set(0, {.agent_class = AgentClass::gpu, .latency_ms = 350, .heartbeat_ms = kNowMs});
  const std::int64_t lead_ns = 325 * kNsPerMs;  // exact
  for (const std::int64_t width_ns : {6'250 * 16, 6'251 * 16, 62'501 * 16}) {
    for (const std::int64_t edge : {width_ns / 2, width_ns, 7 * width_ns + width_ns / 2}) {
      for (std::int64_t send_at = edge - 40; send_at <= edge + 40; ++send_at) {
        PlanRequest request = request_for(lead_ns + send_at);
        request.bucket_width = Nanos{width_ns};
        TestPlan plan(1);
        plan_columns(parameters_for(request), mesh.columns(), plan.columns());
        ASSERT_EQ(plan.key[0], (2 * send_at + width_ns) / (2 * width_ns))
            << width_ns << ' ' << send_at;
        request.aim = Aim::kByT;
        plan_columns(parameters_for(request), mesh.columns(), plan.columns());
        ASSERT_EQ(plan.key[0], send_at / width_ns) << width_ns << ' ' << send_at;
      }
    }
  }
}

// Each lead in turn, so that both sides of every bucket edge are met.
TEST(PlanColumns, BucketIsExactOnBothSidesOfEveryEdge) {
  std::mt19937_64 random(mesh::testing::seed() + 2);
  for (const std::int64_t width : {6'250, 6'251, 62'500, 62'501, 6'249'999, 6'250'000}) {
    PlanRequest request = request_for(std::min<std::int64_t>(
        33 * kNsPerSecond, (std::int64_t{kMaxBuckets} - 2) * width * kLeadUnitNs));
    request.bucket_width = Nanos{width * kLeadUnitNs};
    for (const Aim aim : {Aim::kCentre, Aim::kByT}) {
      request.aim = aim;
      request.target += Nanos{static_cast<std::int64_t>(random() % 16)};
      const PlanParameters p = parameters_for(request);
      const std::uint32_t count = std::min(p.bucket_count - 2, 3'000U);
      TestMesh mesh(count * 2);
      for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t key = 1 + static_cast<std::uint32_t>(random() % (p.bucket_count - 2));
        // The float latency next to the edge of `key`: base 15 ms at weight 1, no drift.
        const double lead = static_cast<double>(p.bucket_origin - std::int64_t{key} * width);
        const double latency = std::max(0.0, lead / 31'250 - 30);
        mesh.set(2 * i, {.latency_ms = static_cast<float>(latency), .heartbeat_ms = kNowMs});
        mesh.set(2 * i + 1, {.latency_ms = std::nextafter(static_cast<float>(latency), 1e9F),
                             .heartbeat_ms = kNowMs});
      }
      TestPlan plan(mesh.rows);
      plan_columns(p, mesh.columns(), plan.columns());
      for (std::size_t row = 0; row < mesh.rows; ++row) {
        if (plan.lead[row] > p.lead_limit) continue;
        ASSERT_EQ(plan.key[row], (p.bucket_origin - plan.lead[row]) / width) << width;
      }
    }
  }
}

TEST(PlanColumns, LeadAndConfidenceStayWithinTheStatedBoundOfTheDoubleModel) {
  std::mt19937_64 random(mesh::testing::seed() + 3);
  double worst_relative = 0, worst_below_1s_ns = 0, worst_below_100ms_ns = 0, worst_confidence = 0;
  for (unsigned repeat = 0; repeat < 200; ++repeat) {
    TestMesh mesh(1'000);
    PlanRequest request = any_request(random);
    request.target = request.now + Nanos{30 * kNsPerSecond};
    request.bucket_width = Nanos{10 * kNsPerMs};
    testing::fill_realistic(mesh, random, request.now_mesh_ms);
    TestPlan plan(mesh.rows);
    plan_columns(parameters_for(request), mesh.columns(), plan.columns());
    for (std::size_t row = 0; row < mesh.rows; ++row) {
      const NominalPlan want = nominal(
          mesh.inputs(row, request.now_mesh_ms),
          {.weight = request.weight, .z = request.z, .available = request.target - request.now});
      const double units = want.lead_ms * arithmetic::kUnitsPerMs;
      worst_confidence =
          std::max(worst_confidence, std::abs(plan.confidence[row] - want.confidence * 65'535));
      if (units > 2e9) continue;  // far
      const double error = std::abs(plan.lead[row] - units);
      ASSERT_LE(error, units * 8 / 16'777'216.0 + 0.5) << want.lead_ms;
      worst_relative = std::max(worst_relative, error / units);
      if (want.lead_ms < 1000) worst_below_1s_ns = std::max(worst_below_1s_ns, error * 16);
      if (want.lead_ms < 110) {
        worst_below_100ms_ns = std::max(worst_below_100ms_ns, error * 16);
        ASSERT_LE(error * 16, 64);
      }
    }
  }
  EXPECT_LE(worst_confidence, 1);
  RecordProperty("worst_below_1s_ns", std::to_string(worst_below_1s_ns));
  std::cout << "worst error: " << worst_below_100ms_ns << " ns below 110 ms, " << worst_below_1s_ns
            << " ns below 1 s, relative " << worst_relative << ", confidence " << worst_confidence
            << "/65535\n";
}

// "Never on a schedule when invalid", told by the double model, which shares no code with the pass.
TEST(PlanColumns, WhatTheDoubleModelCallsInvalidIsNeverScheduled) {
  std::mt19937_64 random(mesh::testing::seed() + 4);
  unsigned invalid = 0, scheduled = 0;
  for (unsigned repeat = 0; repeat < 300; ++repeat) {
    TestMesh mesh(100);
    const PlanRequest request = any_request(random);
    const PlanParameters p = parameters_for(request);
    testing::fill_any_bits(mesh, random, request.now_mesh_ms);
    TestPlan plan(mesh.rows);
    plan_columns(p, mesh.columns(true), plan.columns());
    for (std::size_t row = 0; row < mesh.rows; ++row) {
      const NominalPlan want = nominal(mesh.inputs(row, request.now_mesh_ms),
                                       {.weight = request.weight, .available = Nanos::max()});
      if (!mesh.is_eligible(row)) {
        ASSERT_EQ(plan.key[row], kKeyNotTargeted);
      } else if (want.status == PlanStatus::kSkipInvalid) {
        ++invalid;
        ASSERT_EQ(plan.key[row], kKeyInvalid);
      } else if (plan.key[row] == kKeyInvalid) {
        // The one difference: a lead that only double can hold.
        ASSERT_GT(want.lead_ms * arithmetic::kUnitsPerMs, 3.4e38);
      } else {
        scheduled += plan.key[row] < kKeyFirstReserved ? 1U : 0U;
      }
    }
  }
  EXPECT_GT(invalid, 1'000U);
  EXPECT_GT(scheduled, 1'000U);
}

// Far.

TEST(ResolveFar, DecidesByTheDoubleModelWhatThePassCannot) {
  // Humans without drift: 30 s + 90 s * (1 + 0.1 q): 120 s, 129 s, 138 s; buckets of 10 ms, T in
  // 130 s.
  TestMesh mesh(4);
  for (std::uint32_t row = 0; row < 3; ++row) {
    mesh.set(row, {.agent_class = AgentClass::human,
                   .latency_ms = 60'000,
                   .queue_depth = row,
                   .heartbeat_ms = kNowMs});
  }
  mesh.set(3, {.agent_class = AgentClass::gpu, .latency_ms = 350, .heartbeat_ms = kNowMs});
  PlanRequest request = request_for(130 * kNsPerSecond);
  request.bucket_width = Nanos{10 * kNsPerMs};
  const PlanParameters p = parameters_for(request);
  on_every_target([&] {
    TestPlan plan(mesh.rows);
    plan_columns(p, mesh.columns(), plan.columns());
    EXPECT_EQ(plan.key[0], kKeyFar);
    EXPECT_EQ(plan.lead[0], kLeadFar);
    EXPECT_EQ(resolve_far(p, mesh.columns(), plan.columns()), 3U);
    EXPECT_EQ(plan.key[0], 1'000);  // 130 - 120 s
    EXPECT_EQ(plan.key[1], 100);
    EXPECT_EQ(plan.key[2], kKeyLate);
    EXPECT_EQ(plan.key[3], 12'968);  // 130 - 0.325 s = 12967.5 buckets: the tie goes up
  });
}

TEST(ResolveFar, TouchesNothingWhileTIsNearerThanTheLongestLead) {
  const PlanParameters p = parameters_for(request_for(34 * kNsPerSecond));
  EXPECT_FALSE(may_have_far(p));
  EXPECT_EQ(resolve_far(p, {}, {}), 0U);
}

}  // namespace of_lead_time_vector_test
}  // namespace mesh::sched
