// The numbers of mesh.md parts 4 to 7 as the loop has them: what it does where nobody says
// otherwise, and what it makes of measurements that are worked out by hand.
#include <limits>

#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_golden_test {

constexpr std::int64_t kRound = 1'100 * kMs;

// Of an operation's horizon mesh.md says that it is equal to the window: docs/verbs/scatter.md.
TEST(EngineLoopGolden, DefaultsAreTheSpecified) {
  const OperationRequest request;
  EXPECT_EQ(request.window, Nanos{500 * kMs});
  EXPECT_EQ(request.timeout, Nanos{5'000 * kMs});
  EXPECT_EQ(request.ready_min, 0.95);
  EXPECT_EQ(request.coverage_min, 0.5);
  EXPECT_EQ(request.weight, 1);
  EXPECT_EQ(request.ttl, Nanos{0});
  EXPECT_EQ(request.priority, Priority::normal);
  const LoopOptions options;
  EXPECT_EQ(options.model, sched::Model::kCalibrated);
  EXPECT_EQ(options.z, 1.645);
  EXPECT_EQ(options.bucket, Nanos{kMs});
  EXPECT_EQ(options.upkeep, Nanos{kNsPerSecond});
  EXPECT_EQ(options.agent_ttl, Nanos{600 * kNsPerSecond});
}

// One agent of class A, and what its station stores of it.
struct Measured : LoopFixture {
  Measured() : LoopFixture(10, 1, {.model = sched::Model::kNominal}), station(add(1, 1, "a")) {
    run(kRound, kMs);
  }
  void store(float latency_ms, float drift, std::uint32_t samples) {
    const auto put = [&]<class T>(const char* name, T value) {
      must(station.out_layout.column<T>(station.out.span(), name)).store_relaxed(0, value);
    };
    put("self.heartbeat_mesh_ms", static_cast<std::uint32_t>((now_ns - kStartNs) / kMs));
    put("self.latency_ms", latency_ms);
    put("self.processing_ms", 5.0F);
    put("self.drift", drift);
    put("self.samples", samples);
    put("self.sequence", sequence += 2);
    run(kRound, kMs);
  }
  template <class T>
  [[nodiscard]] T agent(const char* name) {
    return must(must(table_layout(size)).column<T>(table.span(), name)).load_relaxed(0);
  }
  RawStation& station;
  std::uint32_t sequence = 0;
};

// (n own + 8 prior) / (n + 8), of class A's 12 ms and a drift of 0.1.
TEST(EngineLoopGolden, AStationsFigureIsShrunkTowardItsClass) {
  Measured mesh;
  EXPECT_EQ(mesh.agent<std::uint16_t>("agent.score"), 24U) << "(6 + 15) * 1.1645";
  mesh.store(400, 0.5F, 12);
  EXPECT_NEAR(mesh.agent<float>("agent.latency_ms"), 244.8, 1e-3) << "(12 * 400 + 8 * 12) / 20";
  EXPECT_NEAR(mesh.agent<float>("agent.drift"), 0.34, 1e-6) << "(12 * 0.5 + 8 * 0.1) / 20";
  EXPECT_EQ(mesh.agent<std::uint16_t>("agent.score"), 214U)
      << "122.4 + 15 + 1.645 * 0.34 * 137.4 = 214.25";
  EXPECT_NEAR(mesh.agent<std::uint16_t>("agent.confidence") / 65'535.0, 0.598, 1e-4)
      << "0.5 - 0.3 * 0.34 + 0.2";
  mesh.store(400, 0.5F, 1'000'000);
  EXPECT_NEAR(mesh.agent<float>("agent.latency_ms"), 371.259, 1e-3)
      << "at most 100 samples: (100 * 400 + 96) / 108";
}

TEST(EngineLoopGolden, AScoreEndsAtAThousand) {
  Measured mesh;
  mesh.store(86'000'000, 0.1F, 100);
  EXPECT_EQ(mesh.agent<std::uint16_t>("agent.score"), 1'000U);
}

// A station's numbers are input: what is no delay is not taken, nor is what it is measured with.
TEST(EngineLoopGolden, AFigureThatIsNoDelayIsNotTaken) {
  Measured mesh;
  mesh.store(400, 0.5F, 12);
  const auto latency = mesh.agent<float>("agent.latency_ms");
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float bad : {kNan, kInfinity, -kInfinity, -1.0F, 86'400'001.0F * 2}) {
    mesh.store(bad, 0.5F, 100);
    EXPECT_EQ(mesh.agent<float>("agent.latency_ms"), latency) << bad;
    mesh.store(1, bad, 100);
    EXPECT_EQ(mesh.agent<float>("agent.latency_ms"), latency) << bad;
  }
  mesh.store(1, 0.5F, 0);
  EXPECT_EQ(mesh.agent<float>("agent.latency_ms"), latency) << "of no samples";
}

// Lateness is first slot published less the bucket's due.
TEST(EngineLoopGolden, ABucketIsAsLateAsTheTickThatSendsIt) {
  Pair mesh;
  must(mesh.loop->open({.horizon = Nanos{100 * kMs}}, from_ns(mesh.now_ns)));
  const std::int64_t due = to_ns(mesh.tick().next_due);
  ASSERT_GT(due, mesh.now_ns);
  mesh.now_ns = due + 300 * kNsPerUs;
  mesh.tick();
  ASSERT_EQ(mesh.bob.poll().size(), 2U);
  EXPECT_EQ(mesh.loop->lateness().count(), 1U) << "one bucket, to two stations";
  EXPECT_EQ(mesh.loop->lateness().max_ns(), 300 * kNsPerUs);
}

}  // namespace of_engine_loop_golden_test
}  // namespace mesh::engine
