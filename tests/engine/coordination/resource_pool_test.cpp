#include "engine/coordination/resource_pool.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/pool_kit.hpp"

namespace mesh::coordination {
namespace of_resource_pool_test {

using testing::golden;
using testing::Json;
using testing::matches;
using testing::plain_pool;
using testing::pool_s;
using testing::small_pools;
using testing::units;
using Pools = ResourcePoolManager;

std::string status_of(const ResourcePoolReply& reply) {
  return std::string(reply.code != Errc::ok ? name_of(reply.code) : to_string(reply.refusal));
}
std::vector<std::uint32_t> told(const std::vector<PoolNews>& news, PoolNotice kind) {
  std::vector<std::uint32_t> agents;
  for (const auto& one : news) {
    if (one.kind == kind) agents.push_back(one.agent);
  }
  return agents;
}
std::vector<PoolNews> tick(Pools& pools, Nanos now) {
  ResourcePoolActions actions;
  pools.tick(now, actions);
  return actions.news;
}

// --- goldens -----------------------------------------------------------------------------------

TEST(ResourcePool, GoldenAllocateReleaseExpire) {
  const auto [inputs, expected] = golden("resource_pool", "allocate_release_expire");
  Pools pools(small_pools());
  auto order = plain_pool(inputs.at("capacity"));
  order.rules.agent_max_ppm = static_cast<std::uint32_t>(
      inputs.at("units_per_agent_max").get<std::uint64_t>() * 1'000'000 / order.capacity);
  pools.apply(order, Nanos{0});
  std::map<std::string, std::uint32_t> agents;
  Json actual = Json::array();
  for (const auto& step : inputs.at("steps")) {
    const Nanos now{step.back().get<std::int64_t>()};
    if (step.at(0) == "tick") {
      tick(pools, now);
      actual.push_back({{"free", pools.view(0).free}});
      continue;
    }
    if (step.at(0) == "release") {
      const auto reply = pools.apply(pool::Release{step.at(1), 0}, now);
      Json json{{"status", status_of(reply)}};
      if (reply.code == Errc::ok) json["free"] = reply.free;
      actual.push_back(json);
      continue;
    }
    const auto agent =
        agents.try_emplace(step.at(1), static_cast<std::uint32_t>(agents.size())).first->second;
    auto wanted = units(agent, 0, step.at(2));
    wanted.lease = Nanos{step.at(3).get<std::int64_t>()};
    const auto reply = pools.apply(wanted, now);
    Json json{{"status", status_of(reply)}};
    if (reply.reservation != 0) {
      json.update(
          {{"granted", reply.granted}, {"reservation", reply.reservation}, {"free", reply.free}});
    }
    actual.push_back(json);
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
}

TEST(ResourcePool, GoldenDominantResourceFairness) {
  const auto [inputs, expected] = golden("resource_pool", "dominant_resource_fairness");
  Pools pools(small_pools());
  std::vector<std::uint64_t> capacity = inputs.at("capacity");
  std::vector<std::uint64_t> all;
  for (std::uint32_t i = 0; i < 2; ++i) {
    auto order = plain_pool(capacity[i]);
    order.id = "r" + std::to_string(i);
    pools.apply(order, Nanos{0});
    all.push_back(pools.apply(units(7, i, capacity[i]), Nanos{0}).reservation);
  }
  std::map<std::uint64_t, std::string> who;
  const auto& demands = inputs.at("demands");
  for (int i = 0; i < 4; ++i) {
    for (std::uint32_t agent = 0; agent < 2; ++agent) {
      const std::string name = agent == 0 ? "A" : "B";
      pool::Gang task;
      task.agent = agent;
      task.items = {{0, demands.at(name).at(0)}, {1, demands.at(name).at(1)}};
      task.wait = pool_s(60);
      who[pools.apply(task, Nanos{0}).ticket] = name;
    }
  }
  Json order = Json::array();
  std::set<std::uint64_t> served;
  for (const auto reservation : all) {
    for (const auto& one : pools.apply(pool::Release{reservation, 0}, Nanos{1}).news) {
      if (served.insert(one.ticket).second) order.push_back(who.at(one.ticket));
    }
  }
  EXPECT_TRUE(matches(expected.at("order"), order));
  const auto used = [&](std::uint32_t i) { return capacity[i] - pools.view(i).free; };
  EXPECT_TRUE(matches(expected.at("used"), Json::array({used(0), used(1)})));
  EXPECT_EQ(pools.held(0, 0) / demands.at("A").at(0).get<std::uint64_t>(), expected["tasks"]["A"]);
  EXPECT_EQ(pools.held(1, 0) / demands.at("B").at(0).get<std::uint64_t>(), expected["tasks"]["B"]);
}

TEST(ResourcePool, GoldenPreemptionVictims) {
  const auto [inputs, expected] = golden("resource_pool", "preemption_victims");
  Json actual = Json::array();
  for (const auto& request : inputs.at("requests_priority_quantity")) {
    Pools pools(small_pools());
    auto order = plain_pool(8);
    order.rules.preemption = Preemption::lower_priority;
    pools.apply(order, Nanos{0});
    auto holders = inputs.at("holders_id_priority_units_start").get<std::vector<Json>>();
    std::sort(holders.begin(), holders.end(),
              [](const Json& a, const Json& b) { return a.at(3) < b.at(3); });
    std::map<std::uint64_t, std::string> names;
    for (const auto& one : holders) {
      auto held = units(1, 0, one.at(2));
      held.priority = one.at(1);
      names[pools.apply(held, pool_s(one.at(3))).reservation] = one.at(0);
    }
    auto wanted = units(2, 0, request.at(1));
    wanted.priority = request.at(0);
    Json victims = Json::array();
    for (const auto& one : pools.apply(wanted, pool_s(30)).news) {
      if (one.kind == PoolNotice::warned) victims.push_back(names.at(one.reservation));
    }
    actual.push_back(victims);
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
}

TEST(ResourcePool, GoldenAutoscale) {
  const auto [inputs, expected] = golden("resource_pool", "autoscale");
  Pools pools(small_pools());
  auto order = plain_pool(inputs.at("capacity"));
  order.scale.max = 100;
  order.scale.up_ppm = inputs.at("scale_up_ppm");
  order.scale.step_ppm = inputs.at("step_ppm");
  order.scale.up_cooldown_ns = pool_s(inputs.at("cooldown_s"));
  pools.apply(order, Nanos{0});
  auto wanted = units(0, 0, inputs.at("in_use"));
  wanted.lease = pool_s(3'600);
  pools.apply(wanted, Nanos{0});
  Json actual = Json::array();
  for (const auto& at : inputs.at("held_s")) {
    tick(pools, pool_s(at));
    actual.push_back(pools.view(0).capacity);
  }
  EXPECT_TRUE(matches(expected, actual));
}

// --- refusals ----------------------------------------------------------------------------------

TEST(ResourcePool, RefusesBadInputAndChangesNothing) {
  Pools pools(small_pools());
  pools.apply(plain_pool(8), Nanos{0});
  pools.apply(quota_pool("q", 10, pool_s(60)), Nanos{0});
  const auto held = pools.apply(units(0, 0, 2), Nanos{0});
  auto urgent = units(0, 0, 1);
  urgent.priority = 11;
  auto long_lease = units(0, 0, 1);
  long_lease.lease = pool_s(3'601);
  auto late = units(0, 0, 1);
  late.lease = Nanos{-1};
  auto patient = units(0, 0, 1);
  patient.wait = Nanos::max();
  auto vague = units(0, 0, 1);
  vague.purpose = "\xff";
  auto unsound = plain_pool(8);
  unsound.id = "x";
  unsound.rules.agent_max_ppm = 0;
  auto huge = plain_pool(Pools::kUnitsMax + 1);
  huge.id = "x";
  auto flapping = plain_pool(8);
  flapping.id = "x";
  flapping.scale.max = 10;
  flapping.scale.down_ppm = flapping.scale.up_ppm;
  auto nameless = plain_pool(8);
  nameless.id = "";
  testing::expect_all_refused<Pools>(
      pools,
      {{"no name", nameless, Errc::invalid_id},
       {"the same name", plain_pool(9), Errc::already_exists},
       {"rules that cannot be", unsound},
       {"more units than can be", huge},
       {"scale that flaps", flapping},
       {"resource that is not there", units(0, 3, 1), Errc::not_found},
       {"agent that is not there", units(8, 0, 1), Errc::no_such_agent},
       {"nothing", units(0, 0, 0)},
       {"priority that is not there", urgent},
       {"lease above the largest", long_lease},
       {"lease below zero", late},
       {"wait without end", patient},
       {"purpose that is not UTF-8", vague, Errc::invalid_id},
       {"more than there is", units(0, 0, 9), Errc::insufficient_quantity},
       {"time below zero", units(0, 0, 1), Errc::invalid_argument, Nanos{-1}},
       {"release of nothing", pool::Release{99, 0}, Errc::not_found},
       {"release by another", pool::Release{held.reservation, 9}, Errc::not_authorized},
       {"renewal above the largest", pool::Renew{held.reservation, pool_s(3'601), 0}},
       {"resize to nothing", pool::Resize{held.reservation, 0, 0}},
       {"resize above all", pool::Resize{held.reservation, 9, 0}, Errc::insufficient_quantity},
       {"gang of nothing", pool::Gang{0, {}, 0, Nanos{0}, Nanos{0}, 0}},
       {"gang of one twice", pool::Gang{0, {{0, 1}, {0, 1}}, 0, Nanos{0}, Nanos{0}, 0}},
       {"gang with a quota", pool::Gang{0, {{0, 1}, {1, 1}}, 0, Nanos{0}, Nanos{0}, 0}},
       {"cancel of nothing", pool::Cancel{5, 0}, Errc::not_found},
       {"booking in the past", pool::Book{0, 0, 1, Nanos{0}, pool_s(1), 0}},
       {"booking of all and more", pool::Book{0, 0, 9, pool_s(1), pool_s(1), 0},
        Errc::insufficient_quantity},
       {"cancel of no booking", pool::CancelBooking{5, 0}, Errc::not_found},
       {"weight 0", pool::SetWeight{0, 0}},
       {"weight of nobody", pool::SetWeight{8, 1}, Errc::no_such_agent},
       {"fence of nothing", pool::Validate{0, 99}, Errc::stale_token},
       {"credit of no quota", pool::WantCredit{0, 1, 1}},
       {"removal while in use", pool::RemoveResource{0}, Errc::wrong_state},
       {"removal of nothing", pool::RemoveResource{3}, Errc::not_found},
       {"station 0", pool::StationClosed{0}}});
}

TEST(ResourcePool, NamesTheFieldThatIsOutOfRange) {
  for (auto field : {&ResourcePoolConfig::resources_max, &ResourcePoolConfig::agents_max,
                     &ResourcePoolConfig::reservations_max, &ResourcePoolConfig::requests_max,
                     &ResourcePoolConfig::bookings_max, &ResourcePoolConfig::credit_share_ppm}) {
    ResourcePoolConfig config;
    config.*field = 0;
    EXPECT_EQ(Pools::validate(config).error().code, Errc::invalid_config);
  }
  ResourcePoolConfig config;
  config.starvation_ns = Nanos::max();
  EXPECT_NE(Pools::validate(config).error().sentence.find("starvation_ns"), std::string::npos);
}

TEST(ResourcePool, RefusesWhatIsFull) {
  auto config = small_pools();
  config.reservations_max = 2;
  config.bookings_max = 1;
  Pools pools(config);
  auto order = plain_pool(8);
  order.rules.queue_max = 1;
  pools.apply(order, Nanos{0});
  pools.apply(units(0, 0, 7), Nanos{0});
  ASSERT_EQ(status_of(pools.apply(pool::Book{0, 0, 1, pool_s(9), pool_s(1), 0}, Nanos{0})), "ok");
  testing::expect_all_refused<Pools>(
      pools, {{"the last slot is booked", units(1, 0, 1), Errc::capacity},
              {"no booking left", pool::Book{1, 0, 1, pool_s(9), pool_s(1), 0}, Errc::capacity}});
}

// --- behaviour ---------------------------------------------------------------------------------

TEST(ResourcePool, ReleasesOnceAndFreesAStationAtOnce) {
  Pools pools(small_pools());
  pools.apply(compute_pool("gpu-cluster", 8), Nanos{0});
  auto wanted = units(0, 0, 2);
  wanted.purpose = "inference";
  const auto first = pools.apply(wanted, Nanos{0});
  EXPECT_EQ(first.granted, 2U);
  EXPECT_EQ(first.free, 6U);
  EXPECT_EQ(pools.inspect(first.reservation)->purpose, "inference");
  EXPECT_EQ(pools.apply(pool::Release{first.reservation, 0}, pool_s(1)).free, 8U);
  EXPECT_EQ(pools.apply(pool::Release{first.reservation, 0}, pool_s(1)).code, Errc::not_owner);
  pools.apply(wanted, pool_s(2));
  const auto reply = pools.apply(pool::StationClosed{1}, pool_s(3));
  EXPECT_EQ(told(reply.news, PoolNotice::closed), std::vector{0U});
  EXPECT_EQ(pools.view(0).free, 8U);
}

TEST(ResourcePool, GrantsAPartOnlyToWhoTakesOne) {
  Pools pools(small_pools());
  pools.apply(plain_pool(8), Nanos{0});
  pools.apply(units(0, 0, 6), Nanos{0});
  auto wanted = units(1, 0, 4);
  EXPECT_EQ(pools.apply(wanted, Nanos{0}).refusal, Refusal::would_block);
  wanted.allow_partial = true;
  EXPECT_EQ(pools.apply(wanted, Nanos{0}).granted, 2U);
  EXPECT_EQ(pools.apply(wanted, Nanos{0}).refusal, Refusal::would_block) << "not even one";
}

TEST(ResourcePool, KeepsItsReserveForTheMostUrgent) {
  Pools pools(small_pools());
  auto order = plain_pool(8);
  order.rules.min_reserve = 2;
  pools.apply(order, Nanos{0});
  EXPECT_EQ(pools.apply(units(0, 0, 7), Nanos{0}).refusal, Refusal::would_block);
  auto wanted = units(0, 0, 7);
  wanted.priority = 10;
  EXPECT_EQ(pools.apply(wanted, Nanos{0}).granted, 7U);
}

TEST(ResourcePool, OvercommitsByItsShare) {
  Pools pools(small_pools());
  auto order = plain_pool(10);
  order.rules.overcommit_ppm = 200'000;
  pools.apply(order, Nanos{0});
  EXPECT_EQ(pools.apply(units(0, 0, 10), Nanos{0}).granted, 10U);
  EXPECT_EQ(pools.apply(units(1, 0, 2), Nanos{0}).granted, 2U);
  EXPECT_EQ(pools.view(0).free, 0U);
}

TEST(ResourcePool, ServesByItsPolicy) {
  for (const auto policy : {QueuePolicy::fifo, QueuePolicy::priority, QueuePolicy::fair}) {
    Pools pools(small_pools());
    auto order = plain_pool(8);
    order.rules.queue_policy = policy;
    pools.apply(order, Nanos{0});
    const auto all = pools.apply(units(0, 0, 6), Nanos{0});
    pools.apply(units(1, 0, 2), Nanos{0});
    auto big = units(1, 0, 6);
    big.wait = pool_s(60);
    auto small = units(2, 0, 2);
    small.wait = pool_s(60);
    small.priority = 5;
    pools.apply(big, Nanos{0});
    pools.apply(small, Nanos{0});
    const auto served =
        told(pools.apply(pool::Release{all.reservation, 0}, pool_s(1)).news, PoolNotice::granted);
    // fair: agent 2 has nothing yet. After it, 4 units are left: too few for the other.
    const std::vector<std::uint32_t> expected{policy == QueuePolicy::fifo ? 1U : 2U};
    EXPECT_EQ(served, expected) << static_cast<int>(policy);
  }
}

TEST(ResourcePool, LetsNothingPassWhoHasWaitedTooLong) {
  Pools pools(small_pools());
  pools.apply(plain_pool(8), Nanos{0});
  auto held = units(0, 0, 6);
  held.lease = pool_s(30);
  pools.apply(held, Nanos{0});
  auto big = units(1, 0, 8);
  big.wait = pool_s(60);
  pools.apply(big, Nanos{0});
  EXPECT_EQ(pools.apply(units(2, 0, 1), pool_s(10)).granted, 1U) << "it would not fit anyway";
  EXPECT_EQ(pools.apply(units(3, 0, 1), pool_s(10.1)).refusal, Refusal::would_block);
  pools.apply(pool::Release{2, 0}, pool_s(11));
  EXPECT_EQ(told(tick(pools, pool_s(30)), PoolNotice::granted), std::vector{1U});
}

TEST(ResourcePool, WarnsAndTakesAfterTheGraceAndRefusesTheFence) {
  Pools pools(small_pools());
  auto order = compute_pool("gpu", 4);
  order.rules.agent_max_ppm = 1'000'000;
  pools.apply(order, Nanos{0});
  const auto low = pools.apply(units(0, 0, 4), Nanos{0});
  auto wanted = units(1, 0, 2);
  wanted.priority = 3;
  const auto reply = pools.apply(wanted, pool_s(1));
  EXPECT_EQ(told(reply.news, PoolNotice::warned), std::vector{0U});
  EXPECT_NE(reply.ticket, 0U);
  EXPECT_EQ(pools.apply(pool::Validate{0, low.fence}, pool_s(1.5)).code, Errc::ok);
  const auto news = tick(pools, pool_s(2));
  EXPECT_EQ(told(news, PoolNotice::preempted), std::vector{0U});
  EXPECT_EQ(told(news, PoolNotice::granted), std::vector{1U});
  EXPECT_EQ(pools.apply(pool::Validate{0, low.fence}, pool_s(2)).code, Errc::stale_token);
  EXPECT_EQ(pools.apply(pool::Release{low.reservation, 0}, pool_s(2)).code, Errc::stale_token);
  EXPECT_EQ(pools.view(0).revoked_fence, low.fence);
}

TEST(ResourcePool, PreemptsNobodyWhereTheVictimsDoNotSuffice) {
  Pools pools(small_pools());
  auto order = compute_pool("gpu", 4);
  order.rules.agent_max_ppm = 1'000'000;
  pools.apply(order, Nanos{0});
  pools.apply(units(0, 0, 1), Nanos{0});
  auto high = units(1, 0, 3);
  high.priority = 9;
  pools.apply(high, Nanos{0});
  auto wanted = units(2, 0, 2);
  wanted.priority = 5;
  const auto reply = pools.apply(wanted, pool_s(1));
  EXPECT_TRUE(reply.news.empty());
  EXPECT_EQ(reply.refusal, Refusal::would_block);
}

TEST(ResourcePool, TakesSeveralResourcesTogetherOrNone) {
  Pools pools(small_pools());
  pools.apply(plain_pool(4), Nanos{0});
  auto other = plain_pool(2);
  other.id = "s";
  pools.apply(other, Nanos{0});
  const pool::Gang both{0, {{0, 3}, {1, 2}}, 0, Nanos{0}, pool_s(60), 1};
  const auto first = pools.apply(both, Nanos{0});
  ASSERT_EQ(first.grants.size(), 2U);
  pool::Gang second = both;
  second.agent = 1;
  EXPECT_NE(pools.apply(second, Nanos{0}).ticket, 0U);
  EXPECT_EQ(pools.held(1, 0), 0U) << "a wait holds nothing";
  EXPECT_TRUE(pools.apply(pool::Release{first.grants[0].reservation, 0}, pool_s(1)).news.empty());
  const auto news = pools.apply(pool::Release{first.grants[1].reservation, 0}, pool_s(1)).news;
  EXPECT_EQ(told(news, PoolNotice::granted), (std::vector{1U, 1U}));
}

TEST(ResourcePool, HonoursABookingAgainstLeasesRenewalsAndOtherBookings) {
  Pools pools(small_pools());
  pools.apply(plain_pool(8), Nanos{0});
  auto held = units(0, 0, 4);
  held.lease = pool_s(20);
  const auto lease = pools.apply(held, Nanos{0});
  const auto booked = pools.apply(pool::Book{1, 0, 6, pool_s(30), pool_s(10), 1}, Nanos{0});
  ASSERT_EQ(status_of(booked), "ok");
  EXPECT_EQ(status_of(pools.apply(pool::Book{2, 0, 3, pool_s(35), pool_s(10), 1}, Nanos{0})),
            "would_block");
  EXPECT_EQ(status_of(pools.apply(pool::Book{2, 0, 3, pool_s(15), pool_s(10), 1}, Nanos{0})), "ok");
  EXPECT_EQ(pools.apply(pool::Renew{lease.reservation, pool_s(40), 0}, pool_s(1)).refusal,
            Refusal::would_block)
      << "it would reach into what is booked";
  auto wanted = units(3, 0, 3);
  wanted.lease = pool_s(40);
  EXPECT_EQ(pools.apply(wanted, pool_s(1)).refusal, Refusal::would_block);
  wanted.lease = pool_s(10);
  EXPECT_EQ(pools.apply(wanted, pool_s(1)).granted, 3U) << "over before then";
  tick(pools, pool_s(25));
  const auto news = tick(pools, pool_s(30));
  EXPECT_EQ(told(news, PoolNotice::begun), std::vector{1U});
  EXPECT_EQ(pools.held(1, 0), 6U);
  tick(pools, pool_s(40));
  EXPECT_EQ(pools.held(1, 0), 0U);
}

TEST(ResourcePool, ScalesDownWithoutTouchingWhatIsHeldAndNeverFlaps) {
  Pools pools(small_pools());
  auto order = plain_pool(8);
  order.scale = {16,         4,           800'000,    300'000,    250'000,
                 pool_s(30), pool_s(300), pool_s(60), pool_s(300)};
  pools.apply(order, Nanos{0});
  auto wanted = units(0, 0, 7);
  wanted.lease = pool_s(40);
  pools.apply(wanted, Nanos{0});
  std::vector<std::pair<int, std::uint64_t>> changes;
  std::uint64_t capacity = 8;
  for (int at = 0; at < 3'000; ++at) {
    tick(pools, pool_s(at));
    if (pools.view(0).capacity != capacity) changes.push_back({at, pools.view(0).capacity});
    capacity = pools.view(0).capacity;
  }
  const std::vector<std::pair<int, std::uint64_t>> expected{
      {30, 10}, {340, 8}, {640, 6}, {940, 5}, {1'240, 4}};
  EXPECT_EQ(changes, expected);
}

TEST(ResourcePool, AQuotaCountsToTheEndOfItsWindow) {
  Pools pools(small_pools());
  pools.apply(quota_pool("api", 10, pool_s(60)), Nanos{0});
  EXPECT_EQ(pools.apply(units(0, 0, 7), pool_s(1)).free, 3U);
  const auto refused = pools.apply(units(0, 0, 4), pool_s(20));
  EXPECT_EQ(refused.refusal, Refusal::quota_exhausted);
  EXPECT_EQ(refused.retry_after, pool_s(40));
  EXPECT_EQ(pools.apply(units(0, 0, 4), pool_s(60)).granted, 4U);
}

TEST(ResourcePool, CreditsOfAQuotaAreTakenWhenGrantedAndEndWithTheWindow) {
  Pools pools(small_pools());
  pools.apply(quota_pool("api", 100, pool_s(60)), Nanos{0});
  const auto first = pools.apply(pool::WantCredit{0, 1, 40}, Nanos{0});
  EXPECT_EQ(first.granted, 25U) << "its share";
  EXPECT_EQ(first.expires, Nanos{20 * kNsPerMs});
  std::uint64_t sum = first.granted;
  for (std::uint32_t station = 2; station < 9; ++station) {
    sum += pools.apply(pool::WantCredit{0, station, 40}, Nanos{0}).granted;
  }
  EXPECT_EQ(sum, 100U);
  EXPECT_EQ(pools.apply(pool::WantCredit{0, 9, 1}, Nanos{0}).refusal, Refusal::no_credit);
  const auto late = pools.apply(pool::WantCredit{0, 9, 1}, pool_s(60));
  EXPECT_EQ(late.granted, 1U);
}

TEST(ResourcePool, SharesByWeight) {
  Pools pools(small_pools());
  pools.apply(plain_pool(9), Nanos{0});
  pools.apply(pool::SetWeight{1, 2}, Nanos{0});
  const auto all = pools.apply(units(7, 0, 9), Nanos{0});
  for (std::uint32_t i = 0; i < 8; ++i) {
    auto wanted = units(i % 2, 0, 1);
    wanted.wait = pool_s(5);
    pools.apply(wanted, Nanos{0});
  }
  pools.apply(pool::Resize{all.reservation, 3, 0}, pool_s(1));
  EXPECT_EQ(pools.held(0, 0), 2U);
  EXPECT_EQ(pools.held(1, 0), 4U);
}

}  // namespace of_resource_pool_test
}  // namespace mesh::coordination
