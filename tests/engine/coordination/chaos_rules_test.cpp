// What holds of the chaos harness whatever it is told.
#include "engine/coordination/chaos_harness.hpp"
#include "tests/engine/coordination/chaos_kit.hpp"

namespace mesh::coordination {
namespace of_chaos_rules_test {

using testing::chaos_ms;
using testing::chaos_s;
using testing::chaos_trace;
using testing::small_chaos;

ChaosConfig tiny() {
  auto config = small_chaos();
  config.samples_max = 16;
  config.timeline_max = 8;
  config.agents_max = 20;
  config.safety.blast_radius_ppm = 200'000;
  return config;
}

TEST(ChaosRules, TheSameCommandsGiveTheSameBytesRestoredOrNot) {
  EXPECT_TRUE(rc::check("replay", [](std::uint64_t seed) {
    testing::expect_replays<ChaosHarness>(small_chaos(), chaos_trace(small_chaos(), 150, seed));
    RC_ASSERT(!::testing::Test::HasFailure());
  }));
}

TEST(ChaosRules, ASnapshotThatIsDamagedIsRefused) {
  ChaosHarness harness(tiny());
  ChaosActions actions;
  for (const auto& [now, command] : chaos_trace(tiny(), 120, 3)) {
    harness.apply(command, now);
    harness.tick(now, actions);
  }
  ASSERT_GT(harness.counters().injections, 0U);
  testing::expect_damage_found(harness, tiny());
}

// However the driver answers, or does not, and whatever else is said.
TEST(ChaosRules, NoMoreAgentsAreStruckThanTheRadiusOfTheirExperimentAllows) {
  EXPECT_TRUE(rc::check("blast radius", [](std::uint64_t seed) {
    const auto config = small_chaos();
    ChaosHarness harness(config);
    testing::ChaosPlayer player(seed);
    ChaosActions actions;
    std::map<std::uint32_t, std::uint32_t> radius;  // of the plan in each slot
    Nanos now{0};
    for (int i = 0; i < 300; ++i) {
      const auto command = player.next();
      const auto reply = harness.apply(command, now);
      const auto* made = std::get_if<chaos::Create>(&command);
      if (made != nullptr && reply.code == Errc::ok) {
        radius[reply.id] = made->safety.blast_radius_ppm;
      }
      harness.tick(now, actions);
      player.hear(actions);
      for (const auto& order : actions.orders) {
        if (order.is_undo) continue;
        RC_ASSERT(harness.affected() <=
                  blast_limit(harness.agents(), radius.at(order.experiment)));
        for (const std::uint32_t agent : actions.targets_of(order)) {
          RC_ASSERT(harness.is_affected(agent));
        }
      }
      const auto sound = harness.verify();
      if (!sound) RC_FAIL(sound.error().sentence);
      now += chaos_ms(static_cast<std::int64_t>(player.rng().below(400)));
    }
  }));
}

// The dead-man switch: nobody answers any more, and nobody says anything but the time.
TEST(ChaosRules, NothingIsInForceAfterTheLastOfItHasExpired) {
  EXPECT_TRUE(rc::check("expiry", [](std::uint64_t seed) {
    const auto config = small_chaos();
    ChaosHarness harness(config);
    ChaosActions actions;
    Nanos last{0};
    Nanos now{0};
    for (const auto& [at, command] : chaos_trace(config, 200, seed)) {
      now = at;
      harness.apply(command, now);
      harness.tick(now, actions);
      for (const auto& order : actions.orders) last = std::max(last, order.expires);
    }
    harness.apply(chaos::Restarted{}, now);
    for (; now <= last; now += chaos_ms(500)) harness.tick(now, actions);
    harness.tick(std::max(now, last), actions);
    RC_ASSERT(!harness.is_armed());
    for (std::uint32_t agent = 0; agent < config.agents_max; ++agent) {
      RC_ASSERT(!harness.word(agent).is_set);
    }
    RC_ASSERT(harness.verify().has_value());
  }));
}

TEST(ChaosRules, ATickAgainAtTheSameInstantDoesNothing) {
  EXPECT_TRUE(rc::check("tick twice", [](std::uint64_t seed) {
    ChaosHarness harness(small_chaos());
    ChaosActions actions;
    for (const auto& [now, command] : chaos_trace(small_chaos(), 150, seed)) {
      harness.apply(command, now);
      harness.tick(now, actions);
      const std::uint64_t hash = harness.state_hash();
      harness.tick(now, actions);
      RC_ASSERT(harness.state_hash() == hash);
      RC_ASSERT(actions.orders.empty());
    }
  }));
}

TEST(ChaosRules, SelectionIsUniformWhateverTheSeed) {
  std::array<int, 10> drawn{};
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    std::array<std::uint32_t, 10> agents{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    draw_targets(seed, 3, agents);
    for (int i = 0; i < 3; ++i) ++drawn[agents[static_cast<std::size_t>(i)]];
  }
  for (const int count : drawn) EXPECT_NEAR(count, 6'000, 300);  // four deviations: 260
}

TEST(ChaosRules, NearestRankIsWhatSortingGives) {
  EXPECT_TRUE(rc::check("nearest rank", [](std::vector<int> numbers, std::uint32_t q) {
    RC_PRE(!numbers.empty());
    const std::uint32_t q_ppm = q % 1'000'001;
    std::vector<double> values(numbers.begin(), numbers.end());
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    // The smallest with at least q of all at or below it.
    double expected = sorted.back();
    for (std::size_t i = sorted.size(); i-- > 0;) {
      if ((i + 1) * 1'000'000 >= std::uint64_t{q_ppm} * sorted.size()) expected = sorted[i];
    }
    RC_ASSERT(nearest_rank(values, q_ppm) == expected);
  }));
}

}  // namespace of_chaos_rules_test
}  // namespace mesh::coordination
