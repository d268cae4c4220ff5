// What the operator has the loop mend: breakers, and who is away.
#include "engine/health/health_view.hpp"
#include "engine/loop/healing.hpp"
#include "tests/engine/loop/cascade_mesh.hpp"

namespace mesh::engine {
namespace of_engine_loop_healing_test {

using console::Scope;
using console::ScopeKind;
using coordination::BreakerState;

std::vector<BreakerChange> reset(Sectors& mesh, const Scope& scope) {
  return must(reset_breakers(*mesh.loop, scope, from_ns(mesh.now_ns)));
}
BreakerState shown(Sectors& mesh, std::size_t place) {
  const auto view =
      must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  return coordination::BreakerView::state_of(view.breaker(place)->word);
}
// Station 3 dies and comes back until the breakers of all its clusters are open.
std::unique_ptr<Sectors> opened() {
  auto mesh = Sectors::full();
  mesh->run(1'500 * kMs, 10 * kMs);
  for (int i = 0; i < 8; ++i) {
    mesh->lose(3);
    mesh->run(1'500 * kMs, 10 * kMs);
    mesh->add(3, Sectors::kAgents - 2, "agent");
  }
  mesh->run(12'000 * kMs, 50 * kMs);  // until the mode is FULL again
  return mesh;
}

TEST(EngineLoopHealing, RefusesPlacesThatAreNot) {
  const auto mesh = Sectors::full();
  for (const Scope& scope : {Scope{ScopeKind::sector, 2}, Scope{ScopeKind::cluster, 20}}) {
    EXPECT_EQ(reset_breakers(*mesh->loop, scope, from_ns(mesh->now_ns)).error().code,
              Errc::invalid_argument);
    EXPECT_EQ(ailing_agents(*mesh->loop, scope).error().code, Errc::invalid_argument);
  }
}

TEST(EngineLoopHealing, OfAMeshThatIsWellThereIsNothing) {
  const auto mesh = Sectors::full();
  mesh->run(1'500 * kMs, 10 * kMs);
  EXPECT_TRUE(reset(*mesh, {}).empty());
  EXPECT_TRUE(must(ailing_agents(*mesh->loop, {})).empty());
}

TEST(EngineLoopHealing, ResetsTheBreakersOfThePlaceAndNoOthers) {
  const auto mesh = opened();
  const std::size_t first_cluster = 3;  // the mesh and two sectors before it
  ASSERT_EQ(shown(*mesh, first_cluster + 4), BreakerState::open);
  ASSERT_EQ(shown(*mesh, first_cluster + 15), BreakerState::open);
  const auto one = reset(*mesh, {ScopeKind::cluster, 4});
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].of, (Scope{ScopeKind::cluster, 4}));
  EXPECT_EQ(one[0].was, BreakerState::open);
  EXPECT_EQ(one[0].now, BreakerState::closed);
  EXPECT_EQ(shown(*mesh, first_cluster + 4), BreakerState::closed) << "as every process reads it";
  EXPECT_EQ(shown(*mesh, first_cluster + 5), BreakerState::open);
  reset(*mesh, {ScopeKind::sector, 0});
  EXPECT_EQ(shown(*mesh, 1), BreakerState::closed);
  EXPECT_EQ(shown(*mesh, first_cluster + 5), BreakerState::closed);
  EXPECT_EQ(shown(*mesh, first_cluster + 15), BreakerState::open) << "of the other sector";
  reset(*mesh, {});
  EXPECT_EQ(shown(*mesh, first_cluster + 15), BreakerState::closed);
  const auto posted = mesh->loop->post({.target = mesh->ids[3][0]}, from_ns(mesh->now_ns));
  EXPECT_TRUE(posted.has_value()) << posted.error().sentence;
  mesh->run(1'500 * kMs, 10 * kMs);
  EXPECT_EQ(shown(*mesh, first_cluster + 15), BreakerState::closed) << "nothing is counted twice";
  EXPECT_TRUE(mesh->loop->verify());
}

TEST(EngineLoopHealing, NamesWhoIsMissedAndNotWhoHasLeft) {
  const auto mesh = Sectors::full();
  mesh->lose(1);
  mesh->lose(2, Departure::left);
  const auto ailing = must(ailing_agents(*mesh->loop, {}));
  ASSERT_EQ(ailing.size(), 1U);
  EXPECT_EQ(ailing[0].name, "first-0");
  EXPECT_EQ(ailing[0].id, mesh->ids[1][0]);
  EXPECT_FALSE(ailing[0].is_quarantined);
  EXPECT_TRUE(must(ailing_agents(*mesh->loop, {ScopeKind::sector, 1})).empty());
}

}  // namespace of_engine_loop_healing_test
}  // namespace mesh::engine
