// The resource pools under random commands, restarts and deaths.
#include <map>
#include <set>

#include "engine/coordination/resource_pool.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/pool_kit.hpp"

namespace mesh::coordination {
namespace of_resource_pool_rules_test {

using testing::plain_pool;
using testing::pool_s;
using testing::pool_trace;
using testing::small_pools;
using testing::units;
using Pools = ResourcePoolManager;

TEST(ResourcePool, TimesOutAndIsNotServedAfterwards) {
  Pools pools(small_pools());
  pools.apply(plain_pool(4), Nanos{0});
  const auto held = pools.apply(units(0, 0, 4), Nanos{0});
  auto wanted = units(1, 0, 1);
  wanted.wait = pool_s(5);
  pools.apply(wanted, Nanos{0});
  ResourcePoolActions actions;
  pools.tick(pool_s(5), actions);
  ASSERT_EQ(actions.news.size(), 1U);
  EXPECT_EQ(actions.news[0].kind, PoolNotice::timed_out);
  EXPECT_TRUE(pools.apply(pool::Release{held.reservation, 0}, pool_s(6)).news.empty());
}

RC_GTEST_PROP(ResourcePool, NeverReservesAUnitTwiceAndEndsEachReservationOnce, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  Pools pools(small_pools());
  std::set<std::uint64_t> begun;
  std::set<std::uint64_t> ended;
  std::map<std::uint32_t, std::uint64_t> fences;
  const auto hear = [&](const std::vector<PoolNews>& news) {
    for (const auto& one : news) {
      if (one.kind == PoolNotice::granted || one.kind == PoolNotice::begun) {
        RC_ASSERT(begun.insert(one.reservation).second);
        RC_ASSERT(one.fence > fences[one.resource]);
        fences[one.resource] = one.fence;
      } else if (one.reservation != 0 && one.kind != PoolNotice::warned) {
        RC_ASSERT(ended.insert(one.reservation).second);
      }
    }
  };
  for (const auto& [now, command] : pool_trace(small_pools(), 150, seed)) {
    const auto reply = pools.apply(command, now);
    hear(reply.news);
    const auto* gone = std::get_if<pool::Release>(&command);
    if (gone != nullptr && reply.code == Errc::ok)
      RC_ASSERT(ended.insert(gone->reservation).second);
    ResourcePoolActions actions;
    pools.tick(now, actions);
    hear(actions.news);
    const auto sound = pools.verify();
    if (!sound) RC_LOG() << sound.error().sentence;
    RC_ASSERT(sound.has_value());
  }
}

TEST(ResourcePool, ReplaysToTheSameBytes) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    testing::expect_replays<Pools>(small_pools(), pool_trace(small_pools(), 200, seed));
  }
}

TEST(ResourcePool, FindsADamagedSnapshot) {
  Pools pools(small_pools());
  for (const auto& [now, command] : pool_trace(small_pools(), 12, 4)) pools.apply(command, now);
  testing::expect_damage_found(pools, small_pools());
}

TEST(ResourcePool, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Pools> sweep(small_pools(), pool_trace(small_pools(), 30, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(5), 3U * 30 * 4);
}

TEST(ResourcePool, AllocatesNothingWhileNobodyIsToldAnything) {
  Pools pools(small_pools());
  pools.apply(plain_pool(8), Nanos{0});
  const auto wanted = units(0, 0, 2);
  ResourcePoolActions actions;
  bool sound = true;
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 1'000; ++i) {
    const auto reply = pools.apply(wanted, Nanos{i});
    sound = sound && reply.granted == 2;
    pools.apply(pool::Release{reply.reservation, 0}, Nanos{i});
    pools.tick(Nanos{i}, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_TRUE(sound);
}

}  // namespace of_resource_pool_rules_test
}  // namespace mesh::coordination
