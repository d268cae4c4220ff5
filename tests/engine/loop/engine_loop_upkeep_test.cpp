// Upkeep of rows, on virtual time: an idle agent is looked at and its sums are not done again; what
// changes is taken within one round.
#include "shm/row_seqlock.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_upkeep_test {

constexpr std::int64_t kRound = 1'100 * kMs;

struct Measured {
  std::uint32_t heartbeat_mesh_ms = 0;
  float latency_ms = 0;
  float processing_ms = 0;
  std::uint32_t samples = 0;
};

class Upkeep : public LoopFixture {
 public:
  explicit Upkeep(const LoopOptions& loop_options = {}) : LoopFixture(100, 2, loop_options) {
    station = &add(1, 2, "a");
    run(kRound, kMs);
  }
  template <class T>
  [[nodiscard]] shm::Column<HostMemory, T> self(const char* name) {
    return must(station->out_layout.column<T>(station->out.span(), name));
  }
  template <class T>
  [[nodiscard]] T agent(const char* name, std::uint32_t row = 0) {
    const auto layout = must(table_layout(size));
    return must(layout.column<T>(table.span(), name)).load_relaxed(row);
  }
  void begin() { self<std::uint32_t>("self.sequence").store_relaxed(0, ++sequence_); }
  void end() { self<std::uint32_t>("self.sequence").store_relaxed(0, ++sequence_); }
  void store(const Measured& measured) {
    self<std::uint32_t>("self.heartbeat_mesh_ms").store_relaxed(0, measured.heartbeat_mesh_ms);
    self<float>("self.latency_ms").store_relaxed(0, measured.latency_ms);
    self<float>("self.processing_ms").store_relaxed(0, measured.processing_ms);
    self<std::uint32_t>("self.samples").store_relaxed(0, measured.samples);
  }
  [[nodiscard]] std::uint32_t mesh_ms() const {
    return static_cast<std::uint32_t>((now_ns - kStartNs) / kNsPerMs);
  }

  RawStation* station = nullptr;

 private:
  std::uint32_t sequence_ = 0;
};

TEST(EngineLoopUpkeep, TakesWhatAStationMeasuresWithinARound) {
  Upkeep mesh;
  for (const float latency : {400.0F, 40.0F, 4.0F}) {
    const float before = mesh.agent<float>("agent.latency_ms");
    mesh.begin();
    mesh.store({mesh.mesh_ms(), latency, 5, 100});
    mesh.end();
    mesh.run(kRound, kMs);
    EXPECT_NE(mesh.agent<float>("agent.latency_ms"), before) << latency;
    EXPECT_NEAR(mesh.agent<float>("agent.latency_ms"), latency, 60);
  }
}

// A station that was stopped in the middle of a row: what it stores later counts too.
TEST(EngineLoopUpkeep, TakesTheRestOfARowWhoseWritingWasInterrupted) {
  Upkeep mesh;
  const std::uint32_t heartbeat = mesh.mesh_ms();
  mesh.begin();
  mesh.store({heartbeat, 400, 5, 100});
  mesh.run(3 * kRound, kMs);
  mesh.store({heartbeat, 40, 5, 100});  // the same heartbeat
  mesh.end();
  mesh.run(kRound, kMs);
  EXPECT_LT(mesh.agent<float>("agent.latency_ms"), 80);
}

TEST(EngineLoopUpkeep, TheScoreFollowsTheQueueOfAnAgentThatMeasuresNothing) {
  Upkeep mesh;
  const auto idle = mesh.agent<std::uint16_t>("agent.score");
  for (int i = 0; i < 20; ++i)
    must(mesh.loop->post({.target = mesh.ids[1][0], .body = bytes("x")}, from_ns(mesh.now_ns)));
  mesh.run(kRound, kMs);
  const auto busy = mesh.agent<std::uint16_t>("agent.score");
  EXPECT_GT(busy, idle);
  for (const auto& delivery : mesh.station->poll())
    ASSERT_TRUE(mesh.station->answer(delivery, TrinaryState::ready, mesh.now_ns));
  mesh.run(kRound, kMs);
  EXPECT_LT(mesh.agent<std::uint16_t>("agent.score"), busy);
}

TEST(EngineLoopUpkeep, ConfidenceFallsWhenAHeartbeatIsFreshNoMore) {
  Upkeep mesh;
  mesh.begin();
  mesh.store({mesh.mesh_ms(), 0, 0, 0});
  mesh.end();
  mesh.run(kRound, kMs);
  const auto fresh = mesh.agent<std::uint16_t>("agent.confidence");
  mesh.run(7 * kRound, kMs);
  EXPECT_EQ(mesh.agent<std::uint16_t>("agent.confidence"), fresh);
  mesh.run(3 * kRound, kMs);
  EXPECT_LT(mesh.agent<std::uint16_t>("agent.confidence"), fresh);
}

TEST(EngineLoopUpkeep, AnotherZIsTakenByIdleRowsToo) {
  Upkeep mesh;
  mesh.begin();
  mesh.store({mesh.mesh_ms(), 400, 5, 100});
  mesh.self<float>("self.drift").store_relaxed(0, 0.5F);
  mesh.end();
  mesh.run(2 * kRound, kMs);
  const float before = mesh.agent<float>("agent.residual_centre_ms");
  ASSERT_GT(before, 0);
  must(mesh.loop->retune({.z = 3.29}));
  mesh.run(kRound, kMs);
  EXPECT_NEAR(mesh.agent<float>("agent.residual_centre_ms") / before, 2, 0.01);
}

// What one agent's answers teach of its class is said of the others, who do nothing.
TEST(EngineLoopUpkeep, WhatAClassLearnsReachesIdleRowsOfIt) {
  Upkeep mesh;
  OperationRequest to_one{.targets = sched::selector(sched::SelectorKind::list, 1),
                          .list = std::span(&mesh.ids[1][0], 1),
                          .horizon = Nanos{50 * kMs},
                          .window = Nanos{20 * kMs}};
  // The second has been silent once, so that it is said to be as its class is.
  OperationRequest to_other = to_one;
  to_other.list = std::span(&mesh.ids[1][1], 1);
  for (int i = 0; i < 4; ++i) {
    must(mesh.loop->open(to_other, from_ns(mesh.now_ns)));
    mesh.run(kRound, kMs);
    static_cast<void>(mesh.station->poll());
  }
  mesh.run(12 * kRound, kMs);  // all that is its own has been taken in, its heartbeat is old
  const auto before = mesh.agent<std::uint16_t>("agent.confidence", 1);
  for (int i = 0; i < 40; ++i) {
    must(mesh.loop->open(to_one, from_ns(mesh.now_ns)));
    mesh.run(kRound, kMs);
    static_cast<void>(mesh.station->poll());
  }
  EXPECT_LT(mesh.agent<std::uint16_t>("agent.confidence", 1), before);
}

}  // namespace of_engine_loop_upkeep_test
}  // namespace mesh::engine
