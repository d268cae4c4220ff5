// The operator's hold on an agent, on virtual time.
#include "engine/health/health_view.hpp"
#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace {

struct Routed : Pair {
  using Pair::Pair;
  AgentId bob_id() { return ids[2][0]; }
  Errc post_code(AgentId target) {
    const auto posted = loop->post({.target = target, .body = bytes("?")}, from_ns(now_ns));
    return posted ? Errc::ok : posted.error().code;
  }
  OperationId open_to_all() {
    return must(loop->open({.horizon = Nanos{500 * kMs}}, from_ns(now_ns)));
  }
  bool is_routable(AgentId agent) {
    const auto view = must(health::HealthView::over(must(table_layout(size)), table.span()));
    return view.is_routable(index_of(agent));
  }
};

TEST(RouteAround, RefusesWhoIsNobody) {
  Routed mesh;
  EXPECT_EQ(mesh.loop->route_around(AgentId{0}, true).error().code, Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->route_around(agent_id(AgentIndex{9}, Generation{7}), true).error().code,
            Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->gauges().routed_around, 0U);
}

TEST(RouteAround, RefusesNewMessagesAndTellsTheirSenderWhy) {
  Routed mesh;
  EXPECT_TRUE(must(mesh.loop->route_around(mesh.bob_id(), true)));
  EXPECT_FALSE(must(mesh.loop->route_around(mesh.bob_id(), true))) << "it was so before";
  EXPECT_EQ(mesh.loop->gauges().routed_around, 1U);
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::not_routable);
  EXPECT_EQ(mesh.post_code(mesh.ids[2][1]), Errc::ok) << "its neighbour is sent to";
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  EXPECT_EQ(mesh.bob.poll().size(), 1U);
  const auto reports = mesh.alice.poll();
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(reports[0].kind, RecordKind::report);
  EXPECT_EQ(code_of(reports[0]), Errc::not_routable);
  EXPECT_TRUE(must(mesh.loop->route_around(mesh.bob_id(), false)));
  EXPECT_FALSE(must(mesh.loop->route_around(mesh.bob_id(), false)));
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::ok);
  must(mesh.loop->verify());
}

TEST(RouteAround, LetsWhatWasAcceptedBeforeGoOnItsWay) {
  Routed mesh;
  ASSERT_EQ(mesh.post_code(mesh.bob_id()), Errc::ok);
  const auto later = mesh.loop->post(
      {.target = mesh.bob_id(), .arrive = from_ns(mesh.now_ns + 200 * kMs), .body = bytes("later")},
      from_ns(mesh.now_ns));
  ASSERT_TRUE(later.has_value());
  must(mesh.loop->route_around(mesh.bob_id(), true));
  mesh.run(400 * kMs, kMs);
  EXPECT_EQ(mesh.bob.poll().size(), 2U);
  must(mesh.loop->verify());
}

TEST(RouteAround, MakesOperationsSkipTheAgentAndCountIt) {
  Routed mesh;
  must(mesh.loop->route_around(mesh.bob_id(), true));
  mesh.open_to_all();
  std::size_t got = 0;
  mesh.run(3'000 * kMs, kMs, [&] {
    for (RawStation* const station : {&mesh.alice, &mesh.bob}) {
      for (const auto& delivery : station->poll()) {
        EXPECT_NE(delivery.target, mesh.bob_id());
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
        ++got;
      }
    }
  });
  EXPECT_EQ(got, 2U);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished.has_value());
  EXPECT_EQ(finished->result.counts.skipped.not_routable, 1U);
  EXPECT_EQ(finished->result.counts.ready, 2U);
}

TEST(RouteAround, IsSeenByEverybodyWhoLooksForTheBestAgent) {
  Routed mesh;
  mesh.tick();
  EXPECT_TRUE(mesh.is_routable(mesh.bob_id()));
  must(mesh.loop->route_around(mesh.bob_id(), true));
  EXPECT_FALSE(mesh.is_routable(mesh.bob_id()));
  EXPECT_TRUE(mesh.is_routable(mesh.ids[2][1]));
}

TEST(RouteAround, OutlivesTheEngineAndTheAgentsAbsence) {
  Routed mesh;
  must(mesh.loop->route_around(mesh.bob_id(), true));
  mesh.restart();
  EXPECT_EQ(mesh.loop->gauges().routed_around, 1U);
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::not_routable);
  mesh.lose(2);
  // Its name is not freed by waiting: it would be rid of the hold.
  mesh.run(1'300 * kNsPerSecond, kNsPerSecond);
  EXPECT_TRUE(mesh.loop->find("bob-0").has_value());
  EXPECT_FALSE(mesh.loop->find("bob-1").has_value()) << "agent_ttl has passed";
  mesh.add(3, 2, "bob");
  EXPECT_EQ(mesh.ids[3][0], mesh.bob_id());
  EXPECT_EQ(mesh.post_code(mesh.bob_id()), Errc::not_routable);
  EXPECT_EQ(mesh.post_code(mesh.ids[3][1]), Errc::ok);
  must(mesh.loop->verify());
}

}  // namespace
}  // namespace mesh::engine
