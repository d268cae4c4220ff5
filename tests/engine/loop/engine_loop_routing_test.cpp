// The operator's hold on an agent, on virtual time.
#include "engine/health/health_view.hpp"
#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_routing_test {

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
  // The short way of bare messages goes round nobody's hold.
  ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.bob_id(), bytes("bare"), mesh.now_ns));
  mesh.tick();
  EXPECT_EQ(mesh.bob.poll().size(), 0U);
  const auto of_bare = mesh.alice.poll();
  ASSERT_EQ(of_bare.size(), 1U);
  EXPECT_EQ(code_of(of_bare[0]), Errc::not_routable);
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

// Routing rules.

// pi-0 and pi-1 of class E, gpu-0 and gpu-1 of class D; all can do inference, and hear.
struct Ruled : LoopFixture {
  Ruled() : LoopFixture(10, 3) {
    for (const std::string_view name : {"inference", "hear"})
      all.insert(must(loop->capability(name)));
    inference.insert(must(loop->find_capability("inference")));
    join(1, "pi", sched::AgentClass::local);
    join(2, "gpu", sched::AgentClass::gpu);
  }
  void join(std::uint16_t number, const std::string& prefix, sched::AgentClass agent_class) {
    stations.push_back(std::make_unique<RawStation>(StationId{number}, 2));
    must(loop->attach(StationId{number}, stations.back()->memory(), 1000));
    const std::array<std::string, 2> names = {prefix + "-0", prefix + "-1"};
    const std::array<AgentSpec, 2> specs = {
        {{names[0], agent_class, all}, {names[1], agent_class, all}}};
    ids[number] = must(loop->enrol(StationId{number}, specs));
  }
  void obey(std::initializer_list<const char*> lines) {
    for (const char* const line : lines) must(rules.apply_line(line));
    loop->obey(rules);
  }
  // Which of the four take work that asks for it.
  std::string takers(const CapabilitySet& required) {
    std::string who;
    for (std::uint16_t number = 1; number <= 2; ++number) {
      for (const AgentId id : ids[number]) {
        const bool takes = loop->post({.target = id, .capabilities = required, .body = bytes("?")},
                                      from_ns(now_ns))
                               .has_value();
        who += takes ? '1' : '0';
      }
    }
    return who;
  }
  CapabilitySet all, inference;
  console::RoutingRules rules;
};

TEST(RoutingRules, TakeWorkFromAClassAndGiveItToAnAgentOfIt) {
  Ruled mesh;
  EXPECT_EQ(mesh.takers(mesh.inference), "1111");
  mesh.obey({"deny class E inference"});
  EXPECT_EQ(mesh.takers(mesh.inference), "0011");
  EXPECT_EQ(mesh.takers({}), "1111") << "other work is theirs";
  mesh.obey({"allow agent 4 pi-1 inference", "deny agent 5 gpu-0 inference"});
  EXPECT_EQ(mesh.takers(mesh.inference), "0101");
  mesh.obey({"drop class E inference", "drop agent 5 gpu-0 inference"});
  EXPECT_EQ(mesh.takers(mesh.inference), "1111");
}

TEST(RoutingRules, MakeOperationsSkipWhoIsDenied) {
  Ruled mesh;
  mesh.obey({"deny class E inference"});
  must(mesh.loop->open(
      {.horizon = Nanos{1'500 * kMs}, .window = Nanos{50 * kMs}, .capabilities = mesh.inference},
      from_ns(mesh.now_ns)));
  mesh.run(3'000 * kMs, kMs, [&] {
    for (const auto& station : mesh.stations)
      for (const auto& delivery : station->poll())
        station->answer(delivery, TrinaryState::ready, mesh.now_ns);
  });
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished.has_value());
  EXPECT_EQ(finished->result.counts.skipped.capability_mismatch, 2U);
  EXPECT_EQ(finished->result.counts.ready, 2U);
}

TEST(RoutingRules, HoldForWhoComesLaterAndForCapabilitiesThatComeLater) {
  Ruled mesh;
  mesh.obey({"deny class E inference", "deny class D sight", "deny agent 5 gpu-1 inference"});
  mesh.lose(2);
  mesh.all.insert(must(mesh.loop->capability("sight")));  // it has a bit only now
  mesh.join(3, "gpu", sched::AgentClass::gpu);
  mesh.ids[2] = mesh.ids[3];
  EXPECT_EQ(mesh.takers(mesh.inference), "0010");
  CapabilitySet sight;
  sight.insert(must(mesh.loop->find_capability("sight")));
  EXPECT_EQ(mesh.takers(sight), "0000");
  mesh.obey({"drop class D sight"});
  EXPECT_EQ(mesh.takers(sight), "0011") << "who has declared it";
}

}  // namespace of_engine_loop_routing_test
}  // namespace mesh::engine
