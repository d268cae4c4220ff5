#include "engine/tasks/resource_manager.hpp"

#include <algorithm>
#include <stdexcept>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_resource_manager_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_all_refused;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using coordination::testing::Timed;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
ResourceManagerConfig small_manager() {
  ResourceManagerConfig config;
  config.agents_max = 6;
  config.resources_max = 16;
  config.holdings_max = 16;
  config.events_max = 32;
  return config;
}
resource::Acquire want(std::uint32_t agent, std::string name, std::uint32_t priority = 0,
                       Nanos timeout = Nanos{-1}) {
  resource::Acquire one;
  one.agent = agent;
  one.resource = std::move(name);
  one.priority = priority;
  one.timeout = timeout;
  one.station = 1 + agent % 3;
  return one;
}
resource::AcquireAll want_all(std::uint32_t agent, std::vector<std::string> names,
                              Nanos timeout = Nanos{-1}) {
  return {agent, std::move(names), 0, timeout, 1 + agent % 3};
}
std::vector<ResourceNews> ticked(ResourceManager& manager, Nanos now) {
  ResourceActions actions;
  manager.tick(now, actions);
  return actions.news;
}

TEST(ResourceManager, GoldenDeadlockVictimIsTheYounger) {
  const auto [inputs, expected] = golden("resource_manager", "deadlock_victim_is_the_younger");
  ResourceManager manager(small_manager());
  const auto number = [](const Json& name) {
    return static_cast<std::uint32_t>(name.get<std::string>()[0] - 'A');
  };
  Json actual = Json::array();
  for (const auto& step : inputs) {
    if (step.at(0) == "acquire") {
      auto one = want(number(step.at(1)), step.at(2));
      one.timestamp = Nanos{step.at(4).get<std::int64_t>()};
      const auto reply = manager.apply(one, ms(1));
      if (reply.refusal == Refusal::would_block) {
        actual.push_back({{"status", "would_block"}});
      } else {
        actual.push_back({{"status", std::string(name_of(reply.code))}, {"fence", reply.fence}});
      }
      continue;
    }
    const auto news = ticked(manager, ms(251));
    ASSERT_EQ(news.size(), 1U);
    EXPECT_EQ(news[0].kind, ResourceNotice::victim);
    actual.push_back({{"victim", std::string(1, static_cast<char>('A' + news[0].agent))},
                      {"cycle", {"A", "B"}}});
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(manager.counters().victims, 1U);
  const auto released = manager.apply(resource::Release{1, "r2"}, ms(252));
  ASSERT_EQ(released.news.size(), 1U) << "the other goes on when the victim gives up";
  EXPECT_EQ(released.news[0].agent, 0U);
  EXPECT_TRUE(manager.verify());
}

TEST(ResourceManager, GoldenPriorityWithAging) {
  const auto [inputs, expected] = golden("resource_manager", "priority_with_aging");
  ResourceManager manager(small_manager());
  manager.apply(want(5, "r"), ms(0));
  Json effective = Json::array();
  const std::int64_t release_s = 6;
  std::vector<std::pair<std::int64_t, std::uint32_t>> order;  // when each asks
  std::uint32_t agent = 0;
  for (const auto& row : inputs.at("priority_waited_s")) {
    effective.push_back(row.at(0).get<std::int64_t>() +
                        row.at(1).get<std::int64_t>() *
                            inputs.at("aging_per_s").get<std::int64_t>());
    order.emplace_back(release_s - row.at(1).get<std::int64_t>(), agent++);
  }
  std::sort(order.begin(), order.end());
  for (const auto& [at_s, who] : order) {
    const auto priority = inputs.at("priority_waited_s").at(who).at(0).get<std::uint32_t>();
    manager.apply(want(who, "r", priority), ms(1'000 * at_s));
  }
  const auto released = manager.apply(resource::Release{5, "r"}, ms(1'000 * release_s));
  ASSERT_EQ(released.news.size(), 1U);
  EXPECT_TRUE(matches(expected, {{"effective", effective}, {"next", released.news[0].agent}}));
}

TEST(ResourceManager, GoldenAcquireAllOrder) {
  const auto [inputs, expected] = golden("resource_manager", "acquire_all_order");
  ResourceManager manager(small_manager());
  const auto names = inputs.at("ask").get<std::vector<std::string>>();
  // Whoever stands in the way of the k-th shows that those before it are held.
  Json order = Json::array();
  std::vector<std::string> left = names;
  while (!left.empty()) {
    ResourceManager other(small_manager());
    for (const auto& one : left) other.apply(want(1, one), ms(0));
    other.apply(want_all(0, names), ms(0));
    for (const auto& one : left) {
      const auto released = other.apply(resource::Release{1, one}, ms(1));
      if (!other.holds(0, one)) continue;  // not the one that it waits for
      order.push_back(one);
      left.erase(std::find(left.begin(), left.end(), one));
      break;
    }
  }
  EXPECT_TRUE(matches(expected, order));
}

TEST(ResourceManager, RefusesWhatCannotBeAndStaysAsItWas) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "r1"), ms(1));
  manager.apply(want(1, "r1"), ms(1));
  std::vector<std::string> many(kGroupMax + 1, "x");
  expect_all_refused<ResourceManager>(
      manager,
      {{"no name", want(2, ""), Errc::invalid_id, ms(1)},
       {"no such agent", want(6, "r2"), Errc::invalid_argument, ms(1)},
       {"a priority of 101", want(2, "r2", 101), Errc::invalid_argument, ms(1)},
       {"it waits already", want(1, "r2"), Errc::wrong_state, ms(1)},
       {"it waits already, for a group", want_all(1, {"r2"}), Errc::wrong_state, ms(1)},
       {"a group of nothing", want_all(2, {}), Errc::invalid_argument, ms(1)},
       {"a group too large", want_all(2, many), Errc::invalid_argument, ms(1)},
       {"a group of a nameless one", want_all(2, {"a", ""}), Errc::invalid_id, ms(1)},
       {"a group with what it holds", want_all(0, {"r1", "r2"}), Errc::already_exists, ms(1)},
       {"not its own", resource::Release{1, "r1"}, Errc::not_owner, ms(1)},
       {"unknown", resource::Release{0, "r9"}, Errc::not_owner, ms(1)},
       {"renews what it has not", resource::Renew{1, "r1"}, Errc::not_owner, ms(1)},
       {"nobody gives up", resource::ReleaseAll{6}, Errc::invalid_argument, ms(1)},
       {"before time", want(2, "r2"), Errc::invalid_argument, Nanos{-1}}});
  ResourceManagerConfig config;
  config.holdings_max = 1;
  EXPECT_EQ(ResourceManager::validate(config).error().code, Errc::invalid_config);
}

TEST(ResourceManager, AWaiterIsAnsweredByTheReleaseItselfOnce) {
  ResourceManager manager(small_manager());
  EXPECT_EQ(manager.apply(want(0, "r"), ms(0)).fence, 1U);
  const auto waits = manager.apply(want(1, "r"), ms(1));
  EXPECT_EQ(waits.refusal, Refusal::would_block);
  EXPECT_EQ(manager.waits(1), waits.ticket);
  const auto released = manager.apply(resource::Release{0, "r"}, ms(2));
  ASSERT_EQ(released.news.size(), 1U);
  EXPECT_EQ(released.news[0].ticket, waits.ticket);
  EXPECT_EQ(released.news[0].fence, 2U);
  EXPECT_TRUE(manager.holds(1, "r"));
  EXPECT_EQ(manager.judge("r", 1), Errc::stale_token);
  EXPECT_TRUE(ticked(manager, ms(3)).empty());
}

TEST(ResourceManager, TimeoutZeroIsATryAndOthersAreToldWhenItIsOver) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "r"), ms(0));
  const auto tried = manager.apply(want(1, "r", 0, Nanos{0}), ms(0));
  EXPECT_EQ(tried.refusal, Refusal::would_block);
  EXPECT_EQ(tried.ticket, 0U);
  const auto waits = manager.apply(want(1, "r", 0, ms(50)), ms(0));
  EXPECT_TRUE(ticked(manager, ms(49)).empty());
  const auto news = ticked(manager, ms(50));
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, ResourceNotice::timed_out);
  EXPECT_EQ(news[0].ticket, waits.ticket);
}

TEST(ResourceManager, SharedStandTogetherAndExclusiveAlone) {
  ResourceManager manager(small_manager());
  auto reader = want(0, "r");
  reader.shared = true;
  EXPECT_EQ(manager.apply(reader, ms(0)).refusal, Refusal::none);
  reader.agent = 1;
  EXPECT_EQ(manager.apply(reader, ms(0)).refusal, Refusal::none);
  EXPECT_EQ(manager.apply(want(2, "r"), ms(0)).refusal, Refusal::would_block);
}

TEST(ResourceManager, AGroupIsHeldWholeOrNotAtAll) {
  ResourceManager manager(small_manager());
  manager.apply(want(1, "b"), ms(0));
  const auto waits = manager.apply(want_all(0, {"c", "a", "b"}, ms(100)), ms(0));
  EXPECT_NE(waits.ticket, 0U);
  EXPECT_TRUE(manager.holds(0, "a"));
  EXPECT_EQ(manager.apply(resource::Release{0, "a"}, ms(1)).code, Errc::not_owner)
      << "not before its ticket is answered";
  const auto news = ticked(manager, ms(100));
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, ResourceNotice::timed_out);
  EXPECT_FALSE(manager.holds(0, "a"));
  EXPECT_EQ(manager.apply(want_all(0, {"a", "b"}, Nanos{0}), ms(101)).refusal,
            Refusal::would_block);
  EXPECT_FALSE(manager.holds(0, "a")) << "a try keeps nothing";
  manager.apply(want_all(0, {"c", "a", "b"}), ms(102));
  const auto released = manager.apply(resource::Release{1, "b"}, ms(103));
  ASSERT_EQ(released.news.size(), 1U);
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(manager.holds(0, name)) << name;
  EXPECT_EQ(manager.apply(resource::ReleaseAll{0}, ms(104)).count, 3U);
  EXPECT_TRUE(manager.verify());
}

TEST(ResourceManager, TwoGroupsInOppositeOrderNeverDeadlock) {
  ResourceManager manager(small_manager());
  manager.apply(want_all(0, {"a", "b"}), ms(0));
  manager.apply(want_all(1, {"b", "a"}), ms(0));
  EXPECT_TRUE(ticked(manager, ms(1'000)).empty()) << "no victim: one of them has both";
  const auto released = manager.apply(resource::ReleaseAll{0}, ms(1'001));
  ASSERT_EQ(released.news.size(), 1U);
  EXPECT_TRUE(manager.holds(1, "a"));
  EXPECT_TRUE(manager.holds(1, "b"));
}

TEST(ResourceManager, AnExpiredHolderIsToldAndFenced) {
  auto config = small_manager();
  config.lease_ns = ms(100);
  ResourceManager manager(config);
  const auto first = manager.apply(want(0, "r"), ms(0));
  manager.apply(resource::Renew{0, "r"}, ms(50));
  EXPECT_TRUE(ticked(manager, ms(149)).empty());
  const auto news = ticked(manager, ms(150));
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, ResourceNotice::expired);
  EXPECT_EQ(news[0].fence, first.fence);
  EXPECT_EQ(manager.judge("r", first.fence), Errc::stale_token);
  EXPECT_EQ(manager.apply(resource::Release{0, "r"}, ms(151)).code, Errc::not_owner);
}

TEST(ResourceManager, ADeadStationLeavesNothingHeldAndNobodyUnanswered) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "r"), ms(0));
  manager.apply(want(0, "s"), ms(0));
  manager.apply(want(1, "r"), ms(0));
  manager.apply(want(2, "s"), ms(0));
  const auto closed = manager.apply(resource::StationClosed{1}, ms(1));
  EXPECT_EQ(closed.count, 2U);
  EXPECT_EQ(closed.news.size(), 2U);
  EXPECT_TRUE(manager.holds(1, "r"));
  EXPECT_TRUE(manager.holds(2, "s"));
}

TEST(ResourceManager, WithHoldsItAsLongAsTheWorkLastsEvenIfItThrows) {
  ResourceManager manager(small_manager());
  const auto clock = [] { return ms(1); };
  std::uint64_t fence = 0;
  const auto reply = with_resource(manager, want(0, "r"), clock, [&](std::uint64_t held) {
    fence = held;
    EXPECT_TRUE(manager.holds(0, "r"));
  });
  EXPECT_EQ(reply.fence, fence);
  EXPECT_FALSE(manager.holds(0, "r"));
  EXPECT_THROW(with_resource(manager, want(0, "r"), clock,
                             [](std::uint64_t) { throw std::runtime_error("work"); }),
               std::runtime_error);
  EXPECT_FALSE(manager.holds(0, "r"));
}

std::vector<Timed<ResourceCommand>> trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<ResourceCommand>> commands;
  Nanos now{0};
  const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
  const auto name = [&] { return "r" + std::to_string(rng.below(5)); };
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t what = rng.below(20);
    ResourceCommand command = resource::StationClosed{1 + number(3)};
    if (what < 8) {
      auto one = want(number(6), name(), number(11), ms(number(3) * 400 - 1));
      one.shared = rng.below(3) == 0;
      one.timestamp = Nanos{static_cast<std::int64_t>(rng.below(100))};
      command = one;
    } else if (what < 11) {
      command = want_all(number(6), {name(), name(), name()}, ms(number(2) * 700));
    } else if (what < 17) {
      command = resource::Release{number(6), name()};
    } else if (what < 18) {
      command = resource::ReleaseAll{number(6)};
    } else if (what < 19) {
      command = resource::Renew{number(6), name()};
    }
    commands.push_back({now, command});
    now += ms(number(120));
  }
  return commands;
}

TEST(ResourceManager, StaysSoundWhateverItIsTold) {
  std::uint64_t granted = 0;
  std::uint64_t victims = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    auto config = small_manager();
    config.lease_ns = ms(2'000);
    ResourceManager manager(config);
    for (const auto& one : trace(400, mesh::testing::seed() + seed)) {
      manager.apply(one.command, one.now);
      const auto sound = manager.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << mesh::testing::seed() + seed;
    }
    granted += manager.counters().granted;
    victims += manager.counters().victims;
    for (std::uint32_t agent = 0; agent < 6; ++agent) {
      manager.apply(resource::ReleaseAll{agent}, ms(1'000'000));
    }
    EXPECT_EQ(manager.counters().held, manager.counters().given_up) << "nothing is held";
    EXPECT_TRUE(manager.verify());
  }
  EXPECT_GT(granted, 50U);
  EXPECT_GT(victims, 5U);
}

TEST(ResourceManager, ReplaysAndSurvivesDeathsAndDamage) {
  expect_replays<ResourceManager>(small_manager(), trace(400, mesh::testing::seed()));
  CrashSweep<ResourceManager> sweep(small_manager(), trace(20, 3));
  EXPECT_GT(sweep.run(4), 50U);
  ResourceManager manager(small_manager());
  for (const auto& one : trace(6, 5)) manager.apply(one.command, one.now);
  expect_damage_found(manager, small_manager());
}

}  // namespace of_resource_manager_test
}  // namespace mesh::tasks
