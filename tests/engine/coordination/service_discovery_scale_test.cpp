// What a registry does where there are too many to know all of: other domains by type, subsets,
// zones that spill over, a million records.
#include <algorithm>
#include <map>
#include <set>

#include "tests/engine/coordination/discovery_nodes.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/repeats.hpp"

namespace mesh::coordination {
namespace of_service_discovery_scale_test {

using namespace testing::nodes;  // NOLINT(google-build-using-namespace): test words

DiscoveryConfig config_of(std::uint64_t self) {
  DiscoveryConfig config = small_config(self);
  config.instances_max = 64;
  config.store_bytes = 64'000;
  config.summaries_max = 4;
  return config;
}
void offer_many(Discovery& registry, std::uint32_t count, std::uint32_t load_ppm = 0,
                const std::string& zone = "a") {
  for (std::uint32_t i = 0; i < count; ++i) {
    auto one = offer(zone + std::to_string(i));
    one.locality.zone = zone;
    ASSERT_EQ(registry.apply(one, Nanos{0}).code, Errc::ok);
    registry.apply(discovery::UpdateLoad{one.instance, load_ppm}, Nanos{0});
  }
}

// --- other domains -----------------------------------------------------------------------------

TEST(ServiceDiscoveryScale, TellsAnotherDomainWhatThereIsAndNotOfWhom) {
  Discovery here(config_of(1));
  Discovery there(config_of(2));
  here.apply(discovery::AddPeer{2, true}, Nanos{0});
  there.apply(discovery::AddPeer{1, true}, Nanos{0});
  offer_many(here, 3, 200'000);
  DiscoveryActions actions;
  std::size_t sent = 0;
  for (int second = 0; second <= 10; ++second) {
    here.tick(seconds(second), actions);
    for (const auto& send : actions.sends) {
      EXPECT_EQ(send.message.kind, SyncKind::summaries);
      EXPECT_TRUE(send.message.records.empty());
      EXPECT_EQ(there.apply(discovery::Hear{1, send.message}, seconds(second)).code, Errc::ok);
      ++sent;
    }
  }
  EXPECT_EQ(sent, 2U) << "once each anti-entropy interval";
  const auto known = there.elsewhere("agent.*");
  ASSERT_EQ(known.size(), 1U);
  EXPECT_EQ(known[0].peer, 1U);
  EXPECT_EQ(known[0].summary.type, "agent.compute");
  EXPECT_EQ(known[0].summary.live, 3U);
  EXPECT_EQ(known[0].summary.load_ppm_mean, 200'000U);
  EXPECT_EQ(there.view().live, 0U) << "no record crossed";
  EXPECT_TRUE(there.elsewhere("agent.other").empty());
  auto again = Discovery::restore(config_of(2), there.snapshot());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->elsewhere("*").size(), 1U);
  EXPECT_EQ(again->state_hash(), there.state_hash());
  there.tick(seconds(39), actions);
  EXPECT_EQ(there.elsewhere("*").size(), 1U);
  there.tick(seconds(50), actions);
  EXPECT_TRUE(there.elsewhere("*").empty()) << "three intervals without word";
}

TEST(ServiceDiscoveryScale, TakesNoRecordsFromAnotherDomainAndNoMoreSummariesThanItHasRoomFor) {
  Discovery there(config_of(2));
  there.apply(discovery::AddPeer{1, true}, Nanos{0});
  const auto told = [](TypeSummary summary) {
    discovery::Hear heard;
    heard.peer = 1;
    heard.message.kind = SyncKind::summaries;
    heard.message.summaries.push_back(std::move(summary));
    return heard;
  };
  testing::expect_all_refused<Discovery>(
      there, {{"records", delta(1, {record("x", {1, false, 1, 1})}), Errc::invalid_argument},
              {"more healthy than live", told({"a.b", 1, 2, 0}), Errc::invalid_argument},
              {"no type", told({"", 1, 1, 0}), Errc::invalid_argument}});
  SyncMessage many;
  many.kind = SyncKind::summaries;
  for (int i = 0; i < 6; ++i) many.summaries.push_back({"a.t" + std::to_string(i), 1, 1, 0});
  const auto reply = there.apply(discovery::Hear{1, many}, Nanos{0});
  EXPECT_EQ(reply.taken, 4U);
  EXPECT_EQ(reply.left_out, 2U);
  EXPECT_TRUE(there.verify());
}

// Another domain that is not heard of is no reason to think that this one is cut off.
TEST(ServiceDiscoveryScale, IsNotCutOffWhereAnotherDomainIs) {
  Discovery here(config_of(1));
  here.apply(discovery::AddPeer{2, true}, Nanos{0});
  DiscoveryActions actions;
  for (int second = 0; second < 5; ++second) here.tick(seconds(second), actions);
  here.apply(discovery::SetReachable{2, false}, seconds(5));
  for (int second = 5; second < 20; ++second) here.tick(seconds(second), actions);
  EXPECT_FALSE(here.is_stale());
}

// --- subsets -----------------------------------------------------------------------------------

TEST(ServiceDiscoveryScale, DealsOutClientsEvenlyAndAlikeOnEveryNode) {
  Discovery registry(config_of(1));
  Discovery other(config_of(2));
  offer_many(registry, 30);
  for (int i = 29; i >= 0; --i) other.apply(offer("a" + std::to_string(i)), Nanos{0});
  std::map<std::string, int> clients_of;
  for (std::uint64_t client = 0; client < 300; ++client) {
    const auto mine = registry.subset("agent.compute", client, 10, Nanos{0}).value();
    EXPECT_EQ(mine.size(), 10U);
    EXPECT_EQ(std::set<std::string>(mine.begin(), mine.end()).size(), 10U);
    EXPECT_EQ(other.subset("_agent._compute", client, 10, Nanos{0}).value(), mine);
    for (const auto& name : mine) ++clients_of[name];
  }
  EXPECT_EQ(clients_of.size(), 30U);
  for (const auto& [name, count] : clients_of) EXPECT_EQ(count, 100) << name;
  EXPECT_EQ(registry.subset("agent.compute", 5, 99, Nanos{0})->size(), 30U) << "all there are";
  EXPECT_EQ(registry.subset("agent.compute", 5, 0, Nanos{0}).error().code, Errc::invalid_argument);
  EXPECT_EQ(registry.subset("agent.none", 5, 1, Nanos{0}).error().code, Errc::no_candidate);
  EXPECT_EQ(registry.subset("agent.*", 5, 1, Nanos{0}).error().code, Errc::invalid_id);
}

// --- zones -------------------------------------------------------------------------------------

TEST(ServiceDiscoveryScale, KeepsToItsZoneUntilThatIsLoadedAndSpillsOverThen) {
  Discovery registry(config_of(1));
  offer_many(registry, 2, 700'000, "a");
  offer_many(registry, 2, 0, "b");
  const DiscoveryPreferences near{.region = "us-east", .zone = "a", .spill_load_ppm = 800'000};
  const auto zone_of_best = [&] {
    return registry.resolve_one("agent.compute", near, Nanos{0})->instance.content.locality.zone;
  };
  DiscoveryPreferences by_score = near;
  by_score.spill_load_ppm = 0;
  EXPECT_EQ(
      registry.resolve_one("agent.compute", by_score, Nanos{0})->instance.content.locality.zone,
      "b")
      << "by its score alone the empty one wins";
  EXPECT_EQ(zone_of_best(), "a");
  EXPECT_EQ(registry.resolve("agent.compute", near, 9, Nanos{0})->size(), 2U);
  for (const auto* name : {"a0", "a1"}) {
    registry.apply(discovery::UpdateLoad{name, 850'000}, Nanos{0});
  }
  EXPECT_EQ(zone_of_best(), "b");
  EXPECT_EQ(registry.resolve("agent.compute", near, 9, Nanos{0})->size(), 4U);
}

// --- many --------------------------------------------------------------------------------------

// As many records as it was built for: a million in the stress tier.
TEST(ServiceDiscoveryScale, HoldsAsManyRecordsAsItsLimitAndFindsEachOfThem) {
  const auto count = static_cast<std::uint32_t>(mesh::testing::repeats(20'000));
  DiscoveryConfig config;
  config.instances_max = count;
  config.types_max = 1'000;
  config.store_bytes = std::uint64_t{count} * 256;
  Discovery registry(config, 1);
  discovery::Register one = offer("x");
  for (std::uint32_t i = 0; i < count; ++i) {
    one.instance = "i" + std::to_string(i);
    one.type = "agent.t" + std::to_string(i % 1'000);
    ASSERT_EQ(registry.apply(one, Nanos{0}).code, Errc::ok) << i;
  }
  one.instance = "one more";
  EXPECT_EQ(registry.apply(one, Nanos{0}).code, Errc::capacity);
  EXPECT_EQ(registry.view().live, count);
  for (std::uint32_t i = 0; i < count; i += 997) {
    ASSERT_TRUE(registry.find("i" + std::to_string(i)));
  }
  EXPECT_EQ(registry.query({.type = "agent.t7", .limit = count}, Nanos{0})->instances.size(),
            count / 1'000);
  EXPECT_TRUE(registry.verify());
}

}  // namespace of_service_discovery_scale_test
}  // namespace mesh::coordination
