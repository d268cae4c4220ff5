// Agents that are expected: in their rows before their processes are.
#include "engine/health/health_view.hpp"
#include "engine/loop/expected.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_expected_test {

using sched::AgentClass;

struct Expecting : LoopFixture {
  explicit Expecting(std::uint64_t agents = 10) : LoopFixture(agents, 3) { tick(); }
  Result<std::vector<AgentId>> expect(std::vector<KeptAgent> agents) {
    return expect_agents(*loop, agents, from_ns(now_ns));
  }
  AgentRows<HostMemory> rows() {
    return must(AgentRows<HostMemory>::in(must(table_layout(size)), table.span()));
  }
};

KeptAgent known(std::string name) {
  return {.name = std::move(name),
          .uid = 1'000,  // the fixture's
          .agent_class = AgentClass::gpu,
          .capabilities = {"see"},
          .cluster = 3,
          .routing = kRoutedAround,
          .score = 321,
          .latency_ms = 44,
          .processing_ms = 55,
          .drift = 0.25F,
          .reliability = 0.5F,
          .work_ms = 33};
}

TEST(EngineLoopExpected, RefusesNamesThatAreThereThatAreNoneAndMoreThanTheMeshHas) {
  Expecting mesh(2);
  mesh.add(1, 1, "here");
  EXPECT_EQ(mesh.expect({{.name = "here-0", .uid = 1'000}}).error().code, Errc::name_taken);
  EXPECT_EQ(mesh.expect({{.name = ""}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.expect({{.name = "x", .agent_class = static_cast<AgentClass>(9)}}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(mesh.expect({{.name = "x", .capabilities = {""}}}).error().code,
            Errc::invalid_argument);
  const auto refused = mesh.expect({{.name = "a"}, {.name = "b"}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 2U) << "those before it stay";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpected, AreOfflineInTheirPlacesAndMissedByNobody) {
  Expecting mesh(100);
  mesh.add(1, 40, "here");
  const auto ids = must(mesh.expect({known("a"), known("b")}));
  EXPECT_EQ(mesh.loop->agents_enrolled(), 42U);
  EXPECT_EQ(mesh.loop->agents_active(), 40U);
  const auto rows = mesh.rows();
  const auto row = static_cast<std::size_t>(index_of(ids[0]));
  EXPECT_EQ(rows.state.load_relaxed(row), static_cast<std::uint8_t>(AgentState::offline));
  EXPECT_EQ(rows.cluster.load_relaxed(row), 3U);
  EXPECT_EQ(rows.score.load_relaxed(row), 321U);
  mesh.run(3'000 * kMs, 10 * kMs);
  const auto view =
      must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  ASSERT_TRUE(view.mesh().has_value());
  EXPECT_EQ(view.mesh()->summary.agents, 40U);
  EXPECT_EQ(mesh.loop->gauges().routed_around, 2U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpected, ComeBackToTheirRowWithWhatWaitedForThemAndTheirHold) {
  Expecting mesh(100);
  KeptAgent away = known("away-0");
  away.routing = 0;
  const AgentId id = must(mesh.expect({away, known("held-0")}))[0];
  must(mesh.loop->post({.target = id, .body = bytes("welcome")}, from_ns(mesh.now_ns)));
  RawStation& station = mesh.add(1, 1, "away", AgentClass::gpu);
  mesh.add(2, 1, "held", AgentClass::gpu);
  EXPECT_EQ(mesh.ids[1][0], id);
  mesh.tick(kMs);
  const auto got = station.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(station.read(got[0]).body, "welcome");
  const auto rows = mesh.rows();
  const auto row = static_cast<std::size_t>(index_of(id));
  EXPECT_EQ(rows.cluster.load_relaxed(row), 3U);
  EXPECT_EQ(rows.work_ms.load_relaxed(row), 33.0F) << "its profile is where it begins";
  const auto refused = mesh.loop->post({.target = mesh.ids[2][0]}, from_ns(mesh.now_ns));
  EXPECT_EQ(refused.error().code, Errc::not_routable);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpected, OfAnotherUserTheNameIsTaken) {
  Expecting mesh;
  KeptAgent other = known("theirs-0");
  other.uid = 4'242;
  must(mesh.expect({other}));
  EXPECT_THROW(mesh.add(1, 1, "theirs"), std::runtime_error);
}

TEST(EngineLoopExpected, OfAClusterThatIsFullOrNoneAreplacedLikeAnybody) {
  Expecting mesh(60);
  std::vector<KeptAgent> many;
  for (int i = 0; i < 31; ++i) {
    KeptAgent one = known("n" + std::to_string(i));
    one.cluster = i == 0 ? kNoPlace : 1;
    many.push_back(one);
  }
  must(mesh.expect(many));
  many = {known("late")};
  many[0].cluster = 1;
  const AgentId late = must(mesh.expect(many))[0];
  EXPECT_NE(mesh.rows().cluster.load_relaxed(static_cast<std::size_t>(index_of(late))), 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopExpected, ASuccessorFindsThem) {
  Expecting mesh;
  const AgentId id = must(mesh.expect({known("a")}))[0];
  mesh.restart();
  EXPECT_EQ(mesh.loop->find("a"), std::optional(id));
  EXPECT_EQ(mesh.loop->gauges().routed_around, 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace of_engine_loop_expected_test
}  // namespace mesh::engine
