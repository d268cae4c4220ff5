// What is to be decided about reaches who decides (mesh.md part 12, "escalates"): an agent's third
// unanswered message in a row, and a sector whose failures double, in a running loop on virtual
// time.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/error_log.hpp"
#include "engine/event_ring.hpp"
#include "tests/engine/health/breakers_fixture.hpp"

namespace mesh::testing {
namespace of_engine_loop_escalations_test {

using engine::Event;
using engine::EventKind;
using engine::SeenError;
using ::testing::HasSubstr;

// Thirty agents of one cluster; whom is told what to decide about is kept.
struct Quiet : BreakerMesh {
  Quiet() : BreakerMesh(1) {}
  // Everybody is asked; all answer but these.
  void ask(const std::set<AgentId>& silent) {
    must_be_ok(scatter(1));
    run(3 * kMs, kMs);
    take(silent);
    run(20 * kMs, kMs);
    take({});
  }
  void take(const std::set<AgentId>& silent) {
    RawStation& its = station(1);
    for (const sched::DeliveryRecord& delivery : its.poll()) {
      if (delivery.kind != sched::RecordKind::message) continue;
      if (RawStation::operation_of(delivery) == OperationId{}) {
        told.push_back({delivery.target, its.read(delivery)});
      } else if (silent.contains(delivery.target)) {
        continue;
      }
      its.answer(delivery, sched::TrinaryState::ready, now_ns);
    }
  }
  std::vector<SeenError> errors(Errc code) {
    auto all = must(engine::ErrorLogView::over(must(engine::table_layout(size)), table.span(),
                                               "scheduler"))
                   .read();
    std::erase_if(all, [&](const SeenError& error) { return error.code != code; });
    return all;
  }
  std::vector<Event> events(EventKind kind) {
    auto all =
        must(engine::EventRingView::over(must(engine::table_layout(size)), table.span())).read({});
    std::erase_if(all, [&](const Event& event) { return event.kind != kind; });
    return all;
  }
  struct Told {
    AgentId who{};
    RawStation::Read what;
  };
  std::vector<Told> told;
};

TEST(TransientNetwork, AThirdUnansweredInARowIsToldTheCoordinatorOnceUntilItsAgentAnswers) {
  Quiet mesh;
  const AgentId silent = mesh.agent(1, 7);
  mesh.ask({silent});
  mesh.ask({silent});
  mesh.ask({});  // the row is broken
  mesh.ask({silent});
  mesh.ask({silent});
  EXPECT_EQ(mesh.loop->counters().silences_escalated, 0U);
  EXPECT_TRUE(mesh.told.empty());
  mesh.ask({silent});
  EXPECT_EQ(mesh.loop->counters().silences_escalated, 1U);
  ASSERT_EQ(mesh.told.size(), 1U);
  EXPECT_EQ(mesh.told[0].who, mesh.agent(1, 0)) << "the coordinator of its sector";
  ASSERT_TRUE(mesh.told[0].what.is_there);
  EXPECT_EQ(mesh.told[0].what.header.verb, sched::Verb::decide);
  EXPECT_EQ(mesh.told[0].what.header.priority, sched::Priority::high);
  EXPECT_EQ(mesh.told[0].what.body,
            "cluster 0: 's1-7' left three messages in a row unanswered; so do 1 of 30 agents "
            "there");
  ASSERT_EQ(mesh.errors(Errc::timed_out).size(), 1U);
  EXPECT_EQ(mesh.errors(Errc::timed_out)[0].text, mesh.told[0].what.body);
  ASSERT_EQ(mesh.events(EventKind::silent).size(), 1U);
  EXPECT_EQ(mesh.events(EventKind::silent)[0].agent, silent);
  EXPECT_EQ(mesh.events(EventKind::silent)[0].after, 1U);
  for (int i = 0; i < 4; ++i) mesh.ask({silent});
  EXPECT_EQ(mesh.loop->counters().silences_escalated, 1U) << "it is known";
  mesh.ask({});
  for (int i = 0; i < 3; ++i) mesh.ask({silent});
  EXPECT_EQ(mesh.loop->counters().silences_escalated, 2U);
  EXPECT_EQ(mesh.told.size(), 2U);
  must(mesh.loop->verify());
}

TEST(TransientNetwork, SeveralOfAClusterAreToldTogether) {
  Quiet mesh;
  for (int i = 0; i < 3; ++i) mesh.ask({mesh.agent(1, 7), mesh.agent(1, 8), mesh.agent(1, 9)});
  EXPECT_EQ(mesh.loop->counters().silences_escalated, 1U);
  ASSERT_EQ(mesh.told.size(), 1U);
  EXPECT_THAT(mesh.told[0].what.body, HasSubstr("so do 3 of 30 agents there"));
}

TEST(CascadeFailure, IsToldTheOperatorAtOnce) {
  engine::LoopOptions options = BreakerMesh::hundredth();
  options.watch.breakers.cluster_failures_max = 100;
  BreakerMesh mesh(2, options);
  for (const std::size_t failures : {2U, 4U, 8U}) {
    mesh.fail(1, failures);
    mesh.run(100 * kMs - 13 * kMs, kMs);
  }
  mesh.run(100 * kMs, kMs);
  ASSERT_EQ(mesh.loop->counters().cascade_failures, 1U);
  auto all = must(engine::ErrorLogView::over(must(engine::table_layout(mesh.size)),
                                             mesh.table.span(), "scheduler"))
                 .read();
  std::erase_if(all, [](const SeenError& error) { return error.code != Errc::open; });
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].count, 1U);
  EXPECT_THAT(all[0].text, HasSubstr("sector " + std::to_string(mesh.column("agent.sector", 1)) +
                                     ": its failures doubled"));
}

}  // namespace of_engine_loop_escalations_test
}  // namespace mesh::testing
