// The calibrated model: in double, and as a pass over columns.
#include <cmath>
#include <limits>

#include "sched/lead_time_arithmetic.hpp"
#include "sched/send_plan.hpp"
#include "tests/sched/plan_targets.hpp"
#include "tests/sched/test_mesh.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_calibrated_plan_test {

using testing::on_every_target;
using testing::TestMesh;
using testing::TestPlan;

constexpr std::uint32_t kNowMs = 5'000;
constexpr std::int64_t kNow = 1'000'000'000'123;

PlanRequest request_for(std::int64_t available_ns) {
  PlanRequest request;
  request.now = from_ns(kNow);
  request.target = from_ns(kNow + available_ns);
  request.now_mesh_ms = kNowMs;
  request.model = Model::kCalibrated;
  return request;
}
PlanRequest any_request(std::mt19937_64& random) {
  PlanRequest request = request_for(static_cast<std::int64_t>(random() % (60 * kNsPerSecond)));
  request.weight = static_cast<double>(random() % 40) / 8;
  request.aim = random() % 2 == 0 ? Aim::kCentre : Aim::kByT;
  for (WorkFactors& factors : request.factors) {
    factors = {static_cast<double>(random() % 100) / 50, static_cast<double>(random() % 100) / 200};
  }
  return request;
}
PlanParameters parameters_for(const PlanRequest& request) {
  auto made = PlanParameters::make(request);
  EXPECT_TRUE(made) << made.error().sentence;
  return made.value();
}
constexpr CalibratedInputs known(double work_ms, double residual_ms) {
  CalibratedInputs agent;
  agent.nominal = {.agent_class = AgentClass::persistent, .latency_ms = 200, .drift = 0.1};
  agent.has_history = true;
  agent.work_ms = work_ms;
  agent.residual_ms = residual_ms;
  agent.confidence = 0.875;
  return agent;
}

TEST(Calibrated, RefusesWhatNominalRefusesAndWorkOrResidualsThatAreNoNumbers) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double bad : {nan, infinity, -1.0}) {
    EXPECT_EQ(calibrated(known(bad, 0), {}).status, PlanStatus::kSkipInvalid) << bad;
  }
  for (const double bad : {nan, infinity, -infinity}) {
    EXPECT_EQ(calibrated(known(100, bad), {}).status, PlanStatus::kSkipInvalid) << bad;
  }
  CalibratedInputs agent = known(100, 0);
  agent.nominal.drift = -1;
  EXPECT_EQ(calibrated(agent, {}).status, PlanStatus::kSkipInvalid);
  EXPECT_EQ(calibrated(agent, {}).lead_ms, 0);
}

TEST(Calibrated, WorkedNumbers) {
  // 100 + 150 * (1 + 0.5 * 2) * (1 + 0.1 * 3) = 490, and 12 that it usually takes beyond.
  CalibratedInputs agent = known(150, 12);
  agent.nominal.queue_depth = 3;
  const NominalPlan plan = calibrated(agent, {.weight = 2, .available = Nanos{502 * kNsPerMs}});
  EXPECT_DOUBLE_EQ(plan.processing_ms, 390);
  EXPECT_DOUBLE_EQ(plan.lead_ms, 502);
  EXPECT_DOUBLE_EQ(plan.confidence, 0.875);
  EXPECT_EQ(plan.status, PlanStatus::kScheduled);
  agent.factors = {0.25, 0.5};
  EXPECT_DOUBLE_EQ(calibrated(agent, {.weight = 2}).lead_ms, 100 + 150 * 1.5 * 2.5 + 12);
  // Nobody is sent to after T.
  EXPECT_EQ(calibrated(known(10, -500), {}).lead_ms, 0);
}

TEST(Calibrated, WithoutHistoryIsTheNominalModelItself) {
  std::mt19937_64 random(mesh::testing::seed());
  TestMesh mesh(2'000);
  testing::fill_any_bits(mesh, random, kNowMs);
  const PlanRequest request = any_request(random);
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    CalibratedInputs agent = mesh.calibrated_inputs(row, request);
    agent.has_history = false;
    const NominalRequest asked{.weight = request.weight, .available = Nanos{kNsPerSecond}};
    const NominalPlan want = nominal(agent.nominal, asked);
    const NominalPlan plan = calibrated(agent, asked);
    ASSERT_EQ(plan.lead_ms, want.lead_ms);
    ASSERT_EQ(plan.confidence, want.confidence);
    ASSERT_EQ(plan.status, want.status);
  }
}

TEST(CalibratedParameters, RefuseWorkFactorsThatNothingComesTo) {
  for (const double bad : {-0.1, kFactorMax + 0.1, std::numeric_limits<double>::quiet_NaN()}) {
    PlanRequest request = request_for(kNsPerSecond);
    request.factors[2].alpha = bad;
    EXPECT_FALSE(PlanParameters::make(request)) << bad;
    request = request_for(kNsPerSecond);
    request.factors[5].beta = bad;
    EXPECT_FALSE(PlanParameters::make(request)) << bad;
  }
}

TEST(CalibratedColumns, WithoutHistoryAreTheNominalPassBitForBit) {
  on_every_target([] {
    std::mt19937_64 random(mesh::testing::seed());
    for (unsigned repeat = 0; repeat < 100; ++repeat) {
      TestMesh mesh(333);
      PlanRequest request = any_request(random);
      testing::fill_any_bits(mesh, random, request.now_mesh_ms);
      for (std::size_t row = 0; row < mesh.rows; ++row) mesh.history[row] = 0;
      TestPlan plan(mesh.rows), want(mesh.rows);
      plan_columns(parameters_for(request), mesh.learned_columns(request.aim, true),
                   plan.columns());
      request.model = Model::kNominal;
      plan_columns(parameters_for(request), mesh.columns(true), want.columns());
      for (std::size_t row = 0; row < mesh.rows; ++row) {
        ASSERT_EQ(plan.lead[row], want.lead[row]) << row;
        ASSERT_EQ(plan.confidence[row], want.confidence[row]) << row;
        ASSERT_EQ(plan.key[row], want.key[row]) << row;
      }
    }
  });
}

TEST(CalibratedColumns, EveryTargetEqualsTheScalarReferenceBitForBitOnAnyInput) {
  on_every_target([] {
    std::mt19937_64 random(mesh::testing::seed());
    for (std::uint32_t rows = 0; rows <= 200; ++rows) {
      for (unsigned repeat = 0; repeat < 20; ++repeat) {
        TestMesh mesh(rows);
        const PlanRequest request = any_request(random);
        const PlanParameters p = parameters_for(request);
        testing::fill_any_bits(mesh, random, request.now_mesh_ms);
        const ImpedanceColumns in = mesh.learned_columns(request.aim, repeat % 2 != 0);
        TestPlan vector(rows), scalar(rows);
        plan_columns(p, in, vector.columns());
        plan_columns_scalar(p, in, scalar.columns());
        for (std::size_t row = 0; row < rows; ++row) {
          ASSERT_EQ(vector.lead[row], scalar.lead[row]) << rows << " rows, row " << row;
          ASSERT_EQ(vector.base[row], scalar.base[row]) << rows << " rows, row " << row;
          ASSERT_EQ(vector.confidence[row], scalar.confidence[row]) << rows << ", row " << row;
          ASSERT_EQ(vector.key[row], scalar.key[row]) << rows << " rows, row " << row;
        }
      }
    }
  });
}

TEST(CalibratedColumns, AgreeWithTheDoubleModelWithinTheBoundThatIsCounted) {
  std::mt19937_64 random(mesh::testing::seed());
  std::uint32_t compared = 0;
  for (unsigned repeat = 0; repeat < 50; ++repeat) {
    TestMesh mesh(512);
    const PlanRequest request = any_request(random);
    testing::fill_realistic(mesh, random, request.now_mesh_ms);
    testing::fill_learned(mesh, random);
    TestPlan plan(mesh.rows);
    plan_columns(parameters_for(request), mesh.learned_columns(request.aim), plan.columns());
    for (std::size_t row = 0; row < mesh.rows; ++row) {
      const CalibratedInputs agent = mesh.calibrated_inputs(row, request);
      const NominalPlan want =
          calibrated(agent, {.weight = request.weight, .available = Nanos::max()});
      if (plan.lead[row] == kLeadFar) continue;
      ++compared;
      const double base_ms = want.one_way_ms + want.processing_ms;
      const double units =
          (base_ms + std::fabs(want.buffer_ms) + want.lead_ms) * arithmetic::kUnitsPerMs;
      const double bound = units * 8 / 16'777'216.0 + 0.5;
      ASSERT_NEAR(plan.lead[row], want.lead_ms * arithmetic::kUnitsPerMs, bound) << row;
      ASSERT_NEAR(plan.base[row], base_ms * arithmetic::kUnitsPerMs, bound) << row;
      ASSERT_NEAR(plan.confidence[row], want.confidence * 65'535, 1) << row;
    }
  }
  EXPECT_GT(compared, 10'000U);
}

TEST(CalibratedColumns, WorkOrResidualsThatAreNoNumbersAreInvalidAndOnNoSchedule) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  TestMesh mesh(7);
  for (std::size_t row = 0; row < mesh.rows; ++row) {
    mesh.set(row, {.latency_ms = 10, .heartbeat_ms = kNowMs});
    mesh.work[row] = 10;
    mesh.history[row] = 9;
    mesh.learned_confidence[row] = 60'000;
  }
  mesh.work[0] = nan;
  mesh.work[1] = -1;
  mesh.work[2] = infinity;
  mesh.residual_centre[3] = nan;
  mesh.residual_centre[4] = infinity;
  mesh.residual_centre[5] = -infinity;
  on_every_target([&] {
    TestPlan plan(mesh.rows);
    plan_columns(parameters_for(request_for(kNsPerSecond)), mesh.learned_columns(Aim::kCentre),
                 plan.columns());
    for (std::size_t row = 0; row < 6; ++row) {
      EXPECT_EQ(plan.key[row], kKeyInvalid) << row;
      EXPECT_EQ(plan.lead[row], 0) << row;
      EXPECT_EQ(plan.base[row], 0) << row;
      EXPECT_EQ(plan.confidence[row], 0) << row;
    }
    EXPECT_EQ(plan.key[6], 980);  // 5 + 10 * 1.5
    EXPECT_EQ(plan.confidence[6], 60'000);
  });
}

// 5 ms one way and 15 of work, which usually takes 6 more, and 19 in a hundred take up to 40 more.
TEST(CalibratedColumns, AimsAtTheResidualThatIsAskedFor) {
  TestMesh mesh(1);
  mesh.set(0, {.latency_ms = 10, .heartbeat_ms = kNowMs});
  mesh.work[0] = 10;
  mesh.residual_centre[0] = 6;
  mesh.residual_by_t[0] = 40.5F;
  mesh.history[0] = 1;
  PlanRequest request = request_for(kNsPerSecond);
  on_every_target([&] {
    TestPlan plan(1);
    request.aim = Aim::kCentre;
    plan_columns(parameters_for(request), mesh.learned_columns(request.aim), plan.columns());
    EXPECT_EQ(plan.lead[0], 26 * 62'500);
    EXPECT_EQ(plan.base[0], 20 * 62'500);
    EXPECT_EQ(plan.key[0], 974);
    request.aim = Aim::kByT;
    plan_columns(parameters_for(request), mesh.learned_columns(request.aim), plan.columns());
    EXPECT_EQ(plan.base[0], 20 * 62'500);
    EXPECT_EQ(plan.key[0], 939);  // 939.5, the bucket before
  });
}

TEST(CalibratedColumns, LeadsOfMinutesAreDecidedInDouble) {
  TestMesh mesh(2);
  for (std::uint32_t row = 0; row < 2; ++row) {
    mesh.set(row,
             {.agent_class = AgentClass::human, .latency_ms = 7'200'000, .heartbeat_ms = kNowMs});
    mesh.work[row] = 30'000;
    mesh.residual_centre[row] = row == 0 ? 10'000 : 30'000;
    mesh.history[row] = 12;
  }
  // 3,600 + 45 s and 10 or 30 more; T in 3,660 s, buckets of 100 ms.
  PlanRequest request = request_for(3'660 * kNsPerSecond);
  request.bucket_width = Nanos{100 * kNsPerMs};
  SendPlanner planner = SendPlanner::create(2).value();
  ASSERT_EQ(planner.plan(parameters_for(request), mesh.learned_columns(Aim::kCentre), {}),
            PlanOutcome::kPlanned);
  EXPECT_EQ(planner.counts().far, 2U);
  EXPECT_EQ(planner.key()[0], 50);
  EXPECT_EQ(planner.key()[1], kKeyLate);
  EXPECT_EQ(planner.base()[0], kLeadFar);
}

TEST(SendPlanner, HasTheLeadItselfAsBaseByTheNominalModel) {
  TestMesh mesh(1);
  mesh.set(0, {.latency_ms = 10, .heartbeat_ms = kNowMs});
  SendPlanner planner = SendPlanner::create(1).value();
  PlanRequest request = request_for(kNsPerSecond);
  request.model = Model::kNominal;
  ASSERT_EQ(planner.plan(parameters_for(request), mesh.columns(), {}), PlanOutcome::kPlanned);
  EXPECT_EQ(planner.base()[0], planner.lead()[0]);
  EXPECT_EQ(planner.base()[0], 20 * 62'500);
}

}  // namespace of_calibrated_plan_test
}  // namespace mesh::sched
