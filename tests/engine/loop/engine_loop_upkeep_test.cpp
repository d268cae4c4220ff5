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

// mesh.md part 4: successes / attempts of the last hour.
class Reliability : public Upkeep {
 public:
  using Upkeep::Upkeep;
  // So many messages of the engine's to the first agent, which all come to this.
  void send_some(int count, TrinaryState state, bool declines = false) {
    for (int i = 0; i < count; ++i)
      must(loop->post({.target = ids[1][0], .body = bytes("x")}, from_ns(now_ns)));
    settle(state, declines);
  }
  void ask_all(TrinaryState state, bool declines = false) {
    must(loop->open({.timeout = Nanos{100 * kMs}, .at_once = true}, from_ns(now_ns)));
    settle(state, declines);
  }
  void settle(TrinaryState state, bool declines) {
    tick(kMs);
    for (const auto& delivery : station->poll()) {
      if (delivery.kind != sched::RecordKind::message || delivery.target != ids[1][0]) continue;
      if (declines) {
        sched::AnswerRecord record{};
        record.message = delivery.message;
        record.agent = delivery.target;
        record.operation = RawStation::operation_of(delivery);
        record.received_ns = record.finished_ns = now_ns;
        record.kind = sched::RecordKind::refusal;
        ASSERT_TRUE(station->put(record));
      } else {
        ASSERT_TRUE(station->answer(delivery, state, now_ns));
      }
    }
    run(kRound, kMs);
  }
  [[nodiscard]] float measured() { return agent<float>("agent.reliability"); }
};

TEST(EngineLoopReliability, IsOneUntilSomethingFails) {
  Reliability mesh;
  EXPECT_EQ(mesh.measured(), 1);
  mesh.send_some(4, TrinaryState::ready);
  mesh.send_some(4, TrinaryState::conflict);
  mesh.ask_all(TrinaryState::ready);
  EXPECT_EQ(mesh.measured(), 1) << "a conflict is information";
}

TEST(EngineLoopReliability, FallsWithWhatIsRefused) {
  Reliability mesh;
  mesh.send_some(6, TrinaryState::ready);
  mesh.ask_all(TrinaryState::ready);
  mesh.send_some(4, TrinaryState::ready, true);
  EXPECT_FLOAT_EQ(mesh.measured(), (7 + 8) / (11.0F + 8));
  mesh.ask_all(TrinaryState::ready, true);
  EXPECT_FLOAT_EQ(mesh.measured(), (7 + 8) / (12.0F + 8));
}

TEST(EngineLoopReliability, CountsTheThirdInARowThatIsNotAnswered) {
  Reliability mesh;
  for (int i = 0; i < 2; ++i) {
    must(mesh.loop->open({.timeout = Nanos{100 * kMs}, .at_once = true}, from_ns(mesh.now_ns)));
    mesh.run(kRound, kMs);
    EXPECT_EQ(mesh.measured(), 1) << "a straggler is none";
  }
  must(mesh.loop->open({.timeout = Nanos{100 * kMs}, .at_once = true}, from_ns(mesh.now_ns)));
  mesh.run(kRound, kMs);
  EXPECT_FLOAT_EQ(mesh.measured(), 8 / 9.0F);
}

TEST(EngineLoopReliability, FallsWithALostStationAndNotWithOneThatLeaves) {
  Reliability mesh;
  mesh.send_some(3, TrinaryState::ready);
  mesh.lose(1, Departure::left);
  mesh.run(kRound, kMs);
  EXPECT_EQ(mesh.measured(), 1);
  mesh.station = &mesh.add(1, 2, "a");
  mesh.lose(1);
  mesh.run(kRound, kMs);
  EXPECT_FLOAT_EQ(mesh.measured(), (3 + 8) / (4.0F + 8));
}

TEST(EngineLoopReliability, AnHourLaterItIsForgotten) {
  Reliability mesh;
  mesh.send_some(4, TrinaryState::ready, true);  // one more, and more besides, open its breaker
  EXPECT_FLOAT_EQ(mesh.measured(), 8 / 12.0F);
  mesh.run(3'500 * kNsPerSecond, 500 * kMs);
  EXPECT_FLOAT_EQ(mesh.measured(), 8 / 12.0F);
  mesh.run(120 * kNsPerSecond, 500 * kMs);
  EXPECT_EQ(mesh.measured(), 1);
}

TEST(EngineLoopReliability, StandsUntilASuccessorHasMeasuredIt) {
  Reliability mesh;
  mesh.send_some(4, TrinaryState::ready, true);
  mesh.restart();
  mesh.run(kRound, kMs);
  EXPECT_FLOAT_EQ(mesh.measured(), 8 / 12.0F);
  mesh.send_some(1, TrinaryState::ready);
  EXPECT_EQ(mesh.measured(), 1);
}

// 0.5 * reliability - 0.3 * drift + 0.2 where the heartbeat is fresh.
TEST(EngineLoopReliability, IsPartOfTheNominalConfidence) {
  Reliability mesh({.model = sched::Model::kNominal});
  mesh.send_some(8, TrinaryState::ready);
  const auto before = sched::confidence_of(mesh.agent<std::uint16_t>("agent.confidence"));
  mesh.send_some(16, TrinaryState::ready, true);
  const auto after = sched::confidence_of(mesh.agent<std::uint16_t>("agent.confidence"));
  EXPECT_NEAR(before - after, 0.5 * (1 - mesh.measured()), 0.001);
}

}  // namespace of_engine_loop_upkeep_test
}  // namespace mesh::engine
