// Members that die at the steps of their commit, in whole networks: whoever starts again
// contradicts nothing that it sent, and the others go on.
#include <string>

#include "tests/engine/coordination/view_world.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_crash_test {

using testing::view_ms;
using testing::ViewPlan;
using testing::ViewWorld;

TEST(ViewDeaths, ContradictNothingThatWasSentAndStopNobody) {
  std::uint64_t deaths = 0;
  for (mesh::testing::Repeats turns(24); turns.next();) {
    ViewPlan plan;
    plan.seed = mesh::testing::seed() + turns.count();
    plan.members = 4 + 3 * (turns.count() % 3);
    plan.faulty = (plan.members - 1) / 3;
    plan.is_noisy = turns.count() % 2 == 0;
    plan.deaths_ppm = 30'000;
    plan.config.base_timeout = view_ms(500);
    plan.config.max_timeout = view_ms(5'000);
    plan.config.multiplier_ppm = 1'500'000;
    plan.config.history = 8;
    plan.config.sync = static_cast<SyncMode>(turns.count() % 3);
    SCOPED_TRACE("members " + std::to_string(plan.members) + ", seed " + std::to_string(plan.seed));
    ViewWorld world(plan);
    world.run(5, plan.stable + view_ms(300'000));
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_EQ(world.rounds(), 5U);
    ASSERT_EQ(world.violations(), 0U);
    world.verify();
    deaths += world.deaths();
  }
  EXPECT_GT(deaths, 24U);
}

}  // namespace of_view_crash_test
}  // namespace mesh::coordination
