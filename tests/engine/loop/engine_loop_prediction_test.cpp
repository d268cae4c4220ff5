// Send times that the loop learns from answers, on virtual time.
#include <map>

#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_prediction_test {

constexpr std::int64_t kHorizon = 300 * kMs;

// A station whose agents each take as long as is said, or answer nothing.
class Taught : public LoopFixture {
 public:
  explicit Taught(const LoopOptions& loop_options = {}) : LoopFixture(10, 3, loop_options) {}

  // By agent; negative: silent.
  std::map<AgentId, std::int64_t> takes_ns;

  // One operation from its opening to its end, and the time for upkeep after it.
  std::vector<TargetTrace> operate(sched::Aim aim = sched::Aim::kCentre) {
    OperationRequest request;
    request.horizon = Nanos{kHorizon};
    request.window = Nanos{200 * kMs};
    request.aim = aim;
    request.with_trace = true;
    const OperationId id = must(loop->open(request, from_ns(now_ns)));
    target_ns = now_ns + kHorizon;
    run(kHorizon + 250 * kMs, kMs, [&] { work(); });
    const std::vector<TargetTrace> traces = loop->trace(id);
    run(1'100 * kMs, kMs, [&] { work(); });
    return traces;
  }
  std::int64_t target_ns = 0;

 private:
  void work() {
    for (auto& station : stations) {
      for (const sched::DeliveryRecord& delivery : station->poll()) {
        const std::int64_t takes = takes_ns.at(delivery.target);
        if (takes < 0) continue;
        held_.push_back({station.get(), delivery, delivery.sent_ns + takes});
      }
    }
    std::erase_if(held_, [&](const Held& held) {
      if (held.due_ns > now_ns) return false;
      held.station->answer(held.delivery, TrinaryState::ready, held.due_ns);
      return true;
    });
  }
  struct Held {
    RawStation* station;
    sched::DeliveryRecord delivery;
    std::int64_t due_ns;
  };
  std::vector<Held> held_;
};

std::int64_t error_us(const Taught& mesh, const TargetTrace& trace) {
  return std::abs(trace.finished_ns - mesh.target_ns) / kNsPerUs;
}

TEST(EngineLoopPrediction, AgentsAreSentToByWhatTheyTookBefore) {
  Taught mesh;
  mesh.add(1, 2, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], 80 * kMs}, {mesh.ids[1][1], 7 * kMs}};
  const auto first = mesh.operate();
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[0].lead_us, first[0].nominal_lead_us);
  EXPECT_GT(error_us(mesh, first[0]), 50'000);
  for (unsigned i = 0; i < 3; ++i) mesh.operate();
  const auto later = mesh.operate();
  for (const TargetTrace& trace : later) {
    EXPECT_LE(error_us(mesh, trace), 1'000);  // a bucket
    EXPECT_NEAR(static_cast<double>(trace.lead_us),
                static_cast<double>(mesh.takes_ns[trace.agent]) / 1e3, 500);
    EXPECT_EQ(trace.nominal_lead_us, first[0].nominal_lead_us);
    EXPECT_GT(trace.confidence, first[0].confidence);
  }
}

// One message in four takes 120 ms longer. Aimed so that all are READY by T, the others are too
// early to be near it, and that is what is said.
TEST(EngineLoopPrediction, EachAimHasItsOwnConfidence) {
  Taught mesh;
  mesh.add(1, 1, "agent");
  for (unsigned i = 0; i < 16; ++i) {
    mesh.takes_ns = {{mesh.ids[1][0], (i % 4 == 0 ? 140 : 20) * kMs}};
    mesh.operate();
  }
  const auto by_t = mesh.operate(sched::Aim::kByT);
  const auto centre = mesh.operate();
  ASSERT_EQ(by_t.size(), 1U);
  EXPECT_GT(by_t[0].lead_us, centre[0].lead_us + 50'000);
  EXPECT_GT(centre[0].confidence, 0.6);
  EXPECT_LT(by_t[0].confidence, 0.5);
  mesh.restart();
  EXPECT_LT(mesh.operate(sched::Aim::kByT)[0].confidence, 0.5);
}

TEST(EngineLoopPrediction, TheNominalModelLearnsNothing) {
  Taught mesh({.model = sched::Model::kNominal});
  mesh.add(1, 1, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], 80 * kMs}};
  const std::int64_t lead = mesh.operate()[0].lead_us;
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(mesh.operate()[0].lead_us, lead);
}

TEST(EngineLoopPrediction, ASuccessorGoesOnFromWhatWasLearned) {
  Taught mesh;
  mesh.add(1, 2, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], 80 * kMs}, {mesh.ids[1][1], 7 * kMs}};
  for (unsigned i = 0; i < 4; ++i) mesh.operate();
  const auto before = mesh.operate();
  mesh.restart();
  const auto after = mesh.operate();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after[i].lead_us, before[i].lead_us);
    EXPECT_LE(error_us(mesh, after[i]), 1'000);
  }
}

TEST(EngineLoopPrediction, SilenceCostsConfidence) {
  Taught mesh;
  mesh.add(1, 1, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], -1}};
  const auto first = mesh.operate();
  for (unsigned i = 0; i < 8; ++i) mesh.operate();
  const auto later = mesh.operate();
  EXPECT_LT(later[0].confidence, 0.6 * first[0].confidence);
  // Nine messages wait at it by now, and either model counts them.
  EXPECT_NEAR(static_cast<double>(later[0].lead_us), static_cast<double>(later[0].nominal_lead_us),
              0.1 * static_cast<double>(later[0].nominal_lead_us));
}

TEST(EngineLoopPrediction, AnAnswerAfterTheEndTeachesToo) {
  Taught mesh;
  mesh.add(1, 1, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], 700 * kMs}};  // the nominal model gives it 24 ms
  mesh.operate();
  // Now it is known to need more than there is: it is skipped.
  OperationRequest request;
  request.horizon = Nanos{kHorizon};
  must(mesh.loop->open(request, from_ns(mesh.now_ns)));
  mesh.run(kHorizon + 600 * kMs, kMs);
  std::optional<FinishedOperation> last;
  while (auto finished = mesh.loop->take_finished()) last = finished;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->result.counts.skipped.insufficient_lead_time, 1U);
}

TEST(EngineLoopPrediction, AimedByTTheLeadIsLonger) {
  Taught mesh;
  mesh.add(1, 1, "agent");
  for (unsigned i = 0; i < 12; ++i) {
    mesh.takes_ns = {{mesh.ids[1][0], (60 + 10 * (i % 5)) * kMs}};
    mesh.operate();
  }
  mesh.takes_ns = {{mesh.ids[1][0], 80 * kMs}};
  const auto centre = mesh.operate();
  const auto by_t = mesh.operate(sched::Aim::kByT);
  EXPECT_NEAR(static_cast<double>(centre[0].lead_us), 80'000, 5'000);
  EXPECT_GE(by_t[0].lead_us, 95'000);
}

TEST(EngineLoopPrediction, TheNextAgentOfARowIsNotTakenForTheLast) {
  Taught mesh({.agent_ttl = Nanos{100 * kMs}});
  mesh.add(1, 1, "agent");
  mesh.takes_ns = {{mesh.ids[1][0], 80 * kMs}};
  const std::int64_t nominal = mesh.operate()[0].lead_us;
  for (unsigned i = 0; i < 3; ++i) mesh.operate();
  mesh.lose(1);
  mesh.run(2'500 * kMs, kMs);
  mesh.add(2, 1, "other");
  ASSERT_EQ(index_of(mesh.ids[2][0]), index_of(mesh.ids[1][0]));
  mesh.takes_ns[mesh.ids[2][0]] = 80 * kMs;
  EXPECT_EQ(mesh.operate()[0].lead_us, nominal);
}

}  // namespace of_engine_loop_prediction_test
}  // namespace mesh::engine
