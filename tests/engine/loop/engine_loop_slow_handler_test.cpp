// An agent that works for minutes on what it was sent, on virtual time: it is a straggler of an
// operation and nothing worse, nobody takes it for dead, and its answer is taken when it comes
// (DESIGN.md part 2: how long a handler takes is nobody's business; mesh.md parts 7 and 12).
#include "engine/station/station_core.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_slow_handler_test {

constexpr std::int64_t kSeconds = kNsPerSecond;
constexpr std::int64_t kAtWork = 300 * kSeconds;  // ten times what a silent agent is dead after

// a-0 and a-1 of one station, over the library that ships; b-0 of another. Only a-0 is slow.
class SlowMesh : public LoopFixture {
 public:
  SlowMesh() : LoopFixture(10, 2) {
    RawStation& memory = add(1, 2, "a");
    other_ = &add(2, 1, "b");
    CoreOptions core;
    core.agents = 2;
    core.mesh_agents = size.agents;
    core.side = must(StationSide::over(2, memory.in.span(), memory.out.span()));
    core.table = must(TableView::over(size, table.span()));
    core.payload = must(PayloadView::over(size, payload.span()));
    core.mesh_start_ns = kStartNs;
    core.read_clock = [](void* now) noexcept { return *static_cast<std::int64_t*>(now); };
    core.clock_context = &now_ns;
    core_ = must(StationCore::create(core));
    must(core_->add_agents(ids[1]));
  }
  // Everybody but a-0, whose Replies are kept, answers at once.
  void pump() {
    core_->poll(256, [this](const Delivery& delivery, Reply reply) {
      ++given_[delivery.agent];
      if (delivery.agent == 0) return held_.push_back(std::move(reply));
      core_->answer(std::move(reply), Answer::ready());
    });
    static_cast<void>(core_->flush());
    pump_other();
  }
  void pump_other() {
    for (const auto& delivery : other_->poll())
      other_->answer(delivery, TrinaryState::ready, now_ns);
  }
  void go_on(std::int64_t for_ns, std::int64_t step_ns = kMs) {
    run(for_ns, step_ns, [this] {
      pump();
      all_stayed_ &= agents_active() == 3;
    });
  }
  // a-0 is done with what it has.
  void finish() {
    for (Reply& reply : held_) core_->answer(std::move(reply), Answer::ready());
    held_.clear();
    static_cast<void>(core_->flush());
  }
  std::optional<FinishedOperation> gather() {
    must(loop->open({.horizon = Nanos{500 * kMs}, .window = Nanos{500 * kMs}}, from_ns(now_ns)));
    go_on(1'200 * kMs);
    return loop->take_finished();
  }

  template <class T>
  [[nodiscard]] T of_slow(const char* column) {
    const auto row = static_cast<std::size_t>(index_of(ids[1][0]));
    return must(must(table_layout(size)).column<T>(table.span(), column)).load_relaxed(row);
  }
  [[nodiscard]] std::size_t agents_active() const { return loop->agents_active(); }
  [[nodiscard]] const LoopCounters& counters() const { return loop->counters(); }
  // Nothing that is said of an agent that has died.
  void expect_alive() {
    EXPECT_TRUE(all_stayed_);
    EXPECT_EQ(of_slow<std::uint8_t>("agent.state"), static_cast<std::uint8_t>(AgentState::active));
    EXPECT_EQ(counters().agent_crashes, 0U);
    EXPECT_EQ(counters().stations_lost, 0U);
    EXPECT_EQ(counters().breakers_opened, 0U);
    EXPECT_EQ(counters().redelivered, 0U);
  }

  std::unique_ptr<StationCore> core_;
  RawStation* other_ = nullptr;
  std::array<int, 2> given_{};
  std::vector<Reply> held_;
  bool all_stayed_ = true;
};

TEST(EngineLoopSlowHandler, IsAStragglerAndNothingWorseAndItsAnswerIsTakenWhenItComes) {
  SlowMesh mesh;
  const auto finished = mesh.gather();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.end, sched::GatherEnd::kWindow);
  EXPECT_EQ(finished->result.counts.ready, 2U);
  EXPECT_EQ(finished->result.counts.straggler(), 1U);
  EXPECT_EQ(finished->result.counts.declined, 0U);
  EXPECT_EQ(finished->result.judgement.verdict, sched::GatherVerdict::kPartial);
  EXPECT_EQ(mesh.of_slow<std::uint32_t>("agent.queue_depth"), 1U);

  mesh.go_on(kAtWork, 10 * kMs);
  mesh.expect_alive();
  EXPECT_EQ(mesh.given_[0], 1) << "it is not given it again";
  EXPECT_EQ(mesh.counters().breaker_failures, 0U) << "one straggler is TRANSIT";
  EXPECT_EQ(mesh.of_slow<float>("agent.reliability"), 1.0F);
  EXPECT_EQ(mesh.counters().answers, 2U);

  const auto processing_ms = mesh.of_slow<float>("agent.processing_ms");
  mesh.finish();
  mesh.go_on(3 * kSeconds);  // the station's round, and the engine's
  EXPECT_EQ(mesh.counters().answers, 3U);
  EXPECT_EQ(mesh.counters().duplicates, 0U) << "late, and taken";
  EXPECT_EQ(mesh.counters().refused_records, 0U);
  EXPECT_EQ(mesh.counters().operations_ended, 1U);
  EXPECT_EQ(mesh.counters().ready, 2U) << "what was judged stays judged";
  EXPECT_FALSE(mesh.loop->take_finished());
  EXPECT_EQ(mesh.of_slow<std::uint32_t>("agent.queue_depth"), 0U);
  // One sample of five minutes among eight that are taken to be as its class is.
  EXPECT_GT(mesh.of_slow<float>("agent.processing_ms"), processing_ms + 30'000);
  mesh.expect_alive();
}

TEST(EngineLoopSlowHandler, OfADirectMessageItsAnswerIsGivenToWhoAsked) {
  SlowMesh mesh;
  const auto question = must(mesh.loop->post(
      {.target = mesh.ids[1][0], .body = bytes("take your time")}, from_ns(mesh.now_ns)));
  mesh.go_on(kAtWork, 10 * kMs);
  mesh.expect_alive();
  EXPECT_EQ(mesh.given_[0], 1);
  EXPECT_FALSE(mesh.loop->take_answered());
  mesh.finish();
  mesh.go_on(10 * kMs);
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->question, question);
  EXPECT_EQ(answered->state, TrinaryState::ready);
  EXPECT_FALSE(mesh.loop->take_answered());
}

// Of three in a row that it leaves unanswered the third is one failure, and the fourth none: it is
// at work on the first, and its cluster stays closed.
TEST(EngineLoopSlowHandler, TheThirdInARowThatIsNotAnsweredIsOneFailureAndNoDeath) {
  SlowMesh mesh;
  for (const std::uint64_t failures : {0U, 0U, 1U, 1U, 1U}) {
    ASSERT_TRUE(mesh.gather());
    mesh.go_on(kAtWork / 5, 10 * kMs);
    EXPECT_EQ(mesh.counters().breaker_failures, failures);
  }
  mesh.expect_alive();
  EXPECT_EQ(mesh.given_[0], 5);
  mesh.finish();
  mesh.go_on(3 * kSeconds);
  EXPECT_EQ(mesh.counters().duplicates, 0U);
  EXPECT_EQ(mesh.counters().answers, 16U) << "15, and that of who was told of the third";
  EXPECT_EQ(mesh.counters().silences_escalated, 1U);
  EXPECT_EQ(mesh.of_slow<std::uint32_t>("agent.queue_depth"), 0U);
  mesh.expect_alive();
}

// A handler that returns its Answer keeps the whole pump: what its station is sent waits in its
// inbox meanwhile and is given afterwards, and the other station notices nothing.
TEST(EngineLoopSlowHandler, ThatKeepsItsPumpMakesItsStationLateAndNobodyElse) {
  SlowMesh mesh;
  must(mesh.loop->open({.horizon = Nanos{500 * kMs}, .window = Nanos{500 * kMs}},
                       from_ns(mesh.now_ns)));
  mesh.run(600 * kMs, kMs, [&] { mesh.pump_other(); });
  int given = 0;
  std::optional<FinishedOperation> first;
  mesh.core_->poll(256, [&](const Delivery&) {
    if (++given == 1) {
      mesh.run(kAtWork, 10 * kMs, [&] {
        mesh.pump_other();
        mesh.all_stayed_ &= mesh.agents_active() == 3;
      });
      first = mesh.loop->take_finished();
      must(mesh.loop->post({.target = mesh.ids[1][1], .body = bytes("meanwhile")},
                           from_ns(mesh.now_ns)));
      mesh.run(10 * kMs, kMs);
    }
    return Answer::ready();
  });
  static_cast<void>(mesh.core_->flush());
  EXPECT_EQ(given, 2) << "what it had taken when it began";
  ASSERT_TRUE(first);
  EXPECT_EQ(first->result.counts.ready, 1U) << "the other station's";
  EXPECT_EQ(first->result.counts.straggler(), 2U);
  mesh.expect_alive();
  mesh.core_->poll(256, [&](const Delivery& delivery) {
    ++given;
    EXPECT_EQ(delivery.text(), "meanwhile");
    return Answer::ready();
  });
  static_cast<void>(mesh.core_->flush());
  mesh.run(10 * kMs, kMs);
  EXPECT_EQ(given, 3);
  EXPECT_EQ(mesh.counters().answers, 4U);
  EXPECT_EQ(mesh.counters().duplicates, 0U);
  EXPECT_TRUE(mesh.loop->take_answered());
  mesh.expect_alive();
}

}  // namespace of_engine_loop_slow_handler_test
}  // namespace mesh::engine
