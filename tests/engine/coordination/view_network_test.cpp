// Whole networks of members: they come into one view within the bound, and their consensus goes on,
// whoever is silent or lies.
#include <algorithm>
#include <cstdio>
#include <string>

#include "tests/engine/coordination/view_world.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_network_test {

using testing::view_ms;
using testing::ViewPlan;
using testing::ViewWorld;

ViewPlan plan_of(std::uint64_t members, std::uint64_t seed) {
  ViewPlan plan;
  plan.members = members;
  plan.faulty = (members - 1) / 3;
  plan.seed = seed;
  plan.is_noisy = seed % 3 != 0;
  plan.config.base_timeout = view_ms(500);
  plan.config.max_timeout = view_ms(5'000);
  plan.config.multiplier_ppm = 1'500'000;
  plan.config.delta = view_ms(50);
  return plan;
}
// Storms so long that timeouts are at their longest.
ViewPlan storm_of(std::uint64_t members, std::uint64_t seed) {
  ViewPlan plan = plan_of(members, seed);
  plan.stable = view_ms(static_cast<std::int64_t>(3'000 + seed * 7'919 % 40'000));
  plan.loss_ppm = seed % 2 == 0 ? 900'000 : 500'000;
  return plan;
}
// So many views of the longest timeout, one after another, and one that succeeds.
std::int64_t views_ns(const ViewPlan& plan, std::uint64_t views) {
  const std::int64_t view_ns = (plan.config.max_timeout + 2 * plan.config.delta).count();
  return static_cast<std::int64_t>(views) * view_ns + 3 * plan.config.delta.count();
}
double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

// As many worlds as are asked for, each from its own seed: a certificate within `bound`, and two
// views in which all honest members stand when an honest leader has its quorum.
template <class Plan, class Bound>
void expect_progress(std::uint64_t usual, Plan&& plan, Bound&& bound) {
  std::vector<std::int64_t> times;
  std::int64_t limit = 0;
  for (mesh::testing::Repeats turns(usual); turns.next();) {
    const ViewPlan one = plan(mesh::testing::seed() + turns.count());
    SCOPED_TRACE("members " + std::to_string(one.members) + ", seed " + std::to_string(one.seed));
    limit = bound(one);
    ViewWorld world(one);
    world.run(2, one.stable + Nanos{8 * limit});
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_GE(world.first_qc_ns(), 0) << "no certificate after all was well";
    ASSERT_LE(world.first_qc_ns(), limit) << seconds(world.first_qc_ns()) << " s";
    ASSERT_EQ(world.rounds(), 2U) << "the honest were never all in an honest leader's view";
    ASSERT_EQ(world.violations(), 0U);
    world.verify();
    times.push_back(world.first_qc_ns());
  }
  std::sort(times.begin(), times.end());
  std::printf("first certificate after all was well: median %.2f s, max %.2f s; bound %.2f s\n",
              seconds(times[times.size() / 2]), seconds(times.back()), seconds(limit));
}

class ViewNetwork : public ::testing::TestWithParam<std::uint64_t> {};

// d_max + 2D + F (d_max + 2D) + 3D.
TEST_P(ViewNetwork, CertifiesAViewWithinTheBoundOnceAllIsWell) {
  expect_progress(
      60, [](std::uint64_t seed) { return plan_of(GetParam(), seed); },
      [](const ViewPlan& plan) { return views_ns(plan, plan.faulty + 1); });
}

// One view more: the one where all meet may be lost under an honest leader, where a few have given
// it up before the others came, too few to take these along and too many for a quorum.
TEST_P(ViewNetwork, CertifiesAViewWithinOneTimeoutMoreAfterALongStorm) {
  expect_progress(
      20, [](std::uint64_t seed) { return storm_of(GetParam(), seed); },
      [](const ViewPlan& plan) { return views_ns(plan, plan.faulty + 2); });
}

// One message of twenty is lost for ever: there is no bound, but there is progress.
TEST_P(ViewNetwork, GoesOnWhereMessagesAreAlwaysLost) {
  expect_progress(
      20,
      [](std::uint64_t seed) {
        ViewPlan plan = plan_of(GetParam(), seed);
        plan.loss_after_ppm = 50'000;
        return plan;
      },
      [](const ViewPlan& plan) { return views_ns(plan, 10 * (plan.faulty + 2)); });
}

// A relay has four delays, and there are F + 1 of them before everybody is asked.
TEST_P(ViewNetwork, CertifiesAViewOverRelays) {
  expect_progress(
      20,
      [](std::uint64_t seed) {
        ViewPlan plan = storm_of(GetParam(), seed);
        plan.config.sync = SyncMode::linear;
        return plan;
      },
      [](const ViewPlan& plan) {
        const auto relays = static_cast<std::int64_t>((plan.faulty + 1) * (plan.faulty + 2));
        return views_ns(plan, plan.faulty + 2) + relays * 4 * plan.config.delta.count();
      });
}

// Two stretches of F + 1 views: one to meet at the end of, one that begins together.
TEST_P(ViewNetwork, CertifiesAViewByTheClockBetweenHeavySyncs) {
  expect_progress(
      20,
      [](std::uint64_t seed) {
        ViewPlan plan = storm_of(GetParam(), seed);
        plan.config.sync = SyncMode::epochs;
        return plan;
      },
      [](const ViewPlan& plan) { return views_ns(plan, 4 * (plan.faulty + 1)); });
}

// A dead leader of many views is skipped with all of them.
TEST_P(ViewNetwork, CertifiesAViewUnderStickyLeaders) {
  expect_progress(
      20,
      [](std::uint64_t seed) {
        ViewPlan plan = storm_of(GetParam(), seed);
        plan.config.leader = LeaderRule::sticky;
        plan.config.sticky_views = 4;
        return plan;
      },
      [](const ViewPlan& plan) { return views_ns(plan, plan.faulty + 2); });
}

TEST_P(ViewNetwork, OutlivesStopsOfUpToHalf) {
  expect_progress(
      20,
      [](std::uint64_t seed) {
        ViewPlan plan = storm_of(GetParam(), seed);
        plan.config.faults = FaultModel::crash;
        plan.faulty = (GetParam() - 1) / 2;
        plan.is_noisy = false;
        return plan;
      },
      [](const ViewPlan& plan) { return views_ns(plan, plan.faulty + 2); });
}

INSTANTIATE_TEST_SUITE_P(Members, ViewNetwork, ::testing::Values(4U, 7U, 10U));

ViewPlan too_many_liars(std::uint64_t seed) {
  ViewPlan plan = plan_of(4 + 3 * (seed % 3), seed);
  plan.faulty += 1;
  plan.is_noisy = true;
  return plan;
}

// Nothing is promised then but what the world watches: no view without its certificate, none
// again, no member that says two things.
TEST(ViewSafety, HoldsWhereMoreThanFLie) {
  for (mesh::testing::Repeats turns(60); turns.next();) {
    const ViewPlan plan = too_many_liars(mesh::testing::seed() + turns.count());
    SCOPED_TRACE("members " + std::to_string(plan.members) + ", seed " + std::to_string(plan.seed));
    ViewWorld world(plan);
    world.run(1'000, plan.stable + view_ms(10'000));
    if (::testing::Test::HasFatalFailure()) return;
    world.verify();
  }
}

TEST(ViewSafety, TwoBlocksOfOneViewAreSeenWhereMoreThanFCertifyThem) {
  std::uint64_t violations = 0;
  for (std::uint64_t seed = 1; seed <= 1'000 && violations == 0; ++seed) {
    const ViewPlan plan = too_many_liars(seed);
    ViewWorld world(plan);
    world.run(1'000, plan.stable + view_ms(10'000));
    violations += world.violations();
  }
  EXPECT_GT(violations, 0U);
}

// A view that succeeds costs what its consensus sends, one message from or to each, and no more.
TEST(ViewMessages, AreNoneWhileLeadersAreHonest) {
  for (const std::uint64_t members : {4U, 10U, 31U}) {
    ViewPlan plan = plan_of(members, 5);
    plan.faulty = 0;
    plan.stable = Nanos{0};
    ViewWorld world(plan);
    world.run(20, view_ms(20'000));
    const std::uint64_t sent = world.sync_sent();
    const std::uint64_t views = world.highest_view();
    world.run(100, view_ms(600'000));
    EXPECT_GE(world.highest_view(), views + 100);
    EXPECT_EQ(world.sync_sent(), sent) << members;
  }
}

// What a view costs whose leader is dead.
std::uint64_t messages_of_a_lost_view(SyncMode sync, std::uint64_t members) {
  ViewPlan plan = plan_of(members, 3);
  plan.faulty = 1;
  plan.is_noisy = false;
  plan.stable = Nanos{0};
  plan.config.sync = sync;
  ViewWorld world(plan);
  world.run(members, view_ms(600'000));
  const std::uint64_t sent = world.sync_sent();
  const std::uint64_t lost = world.lost_views();
  world.run(4 * members, view_ms(6'000'000));
  return (world.sync_sent() - sent) / std::max<std::uint64_t>(1, world.lost_views() - lost);
}

TEST(ViewMessages, OfALostViewAreLinearOverRelaysAndSquareWithout) {
  for (const std::uint64_t members : {10U, 31U, 61U}) {
    const auto all = messages_of_a_lost_view(SyncMode::broadcast, members);
    const auto relays = messages_of_a_lost_view(SyncMode::linear, members);
    std::printf("%llu members: a lost view costs %llu messages, over relays %llu\n",
                static_cast<unsigned long long>(members), static_cast<unsigned long long>(all),
                static_cast<unsigned long long>(relays));
    EXPECT_GE(all, members * (members - 2));
    EXPECT_LE(all, 4 * members * members);
    EXPECT_GE(relays, members);
    EXPECT_LE(relays, 8 * members);
  }
}

}  // namespace of_view_network_test
}  // namespace mesh::coordination
