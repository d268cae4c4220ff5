#include "engine/coordination/service_discovery.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/coordination/blocks/bounded_load.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/discovery_nodes.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_service_discovery_test {

using testing::golden;
using testing::Json;
using testing::matches;
using namespace testing::nodes;  // NOLINT(google-build-using-namespace): test words

// --- goldens -----------------------------------------------------------------------------------

TEST(ServiceDiscovery, GoldenResolveScore) {
  const auto [inputs, expected] = golden("service_discovery", "resolve_score");
  Discovery one(small_config());
  const auto rows = inputs.at("health_locality_load_version_latency_ms");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto wanted = offer("i" + std::to_string(i));
    if (rows.at(i).at(1) != 1) wanted.locality = {"eu-west", "b", ""};
    ASSERT_EQ(one.apply(wanted, Nanos{0}).code, Errc::ok);
    const auto load = std::llround(rows.at(i).at(2).get<double>() * kLoadFull);
    one.apply(discovery::UpdateLoad{wanted.instance, static_cast<std::uint32_t>(load)}, Nanos{0});
    one.apply(discovery::Observe{wanted.instance, rows.at(i).at(0),
                                 rows.at(i).at(4).get<int>() * Nanos{kNsPerMs}},
              Nanos{0});
  }
  const auto all =
      one.resolve("agent.compute", {.region = "us-east", .zone = "a"}, 9, Nanos{0}).value();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].instance.content.instance, "i0") << "local wins";
  Json actual = Json::array({all[0].breakdown.score, all[1].breakdown.score});
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_DOUBLE_EQ(all[1].breakdown.locality, 0.2);
  EXPECT_DOUBLE_EQ(all[0].breakdown.load, 0.6);
}

TEST(ServiceDiscovery, GoldenLease) {
  const auto [inputs, expected] = golden("service_discovery", "lease");
  auto config = DiscoveryConfig::preset("medium-network").value();
  config.instances_max = 16;
  Discovery one(config);
  EXPECT_EQ(config.lease_ns, seconds(inputs.at("lease_s")));
  Json actual = Json::array();
  for (const auto& step : inputs.at("steps")) {
    const Nanos now = seconds(step.at(1));
    if (step.at(0) == "query") {
      actual.push_back(!one.query({.type = "agent.compute"}, now)->instances.empty());
      continue;
    }
    const auto reply = step.at(0) == "register" ? one.apply(offer("x"), now)
                                                : one.apply(discovery::Renew{"x"}, now);
    actual.push_back(reply.expires.count() / kNsPerSecond);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ServiceDiscovery, GoldenMergeOrder) {
  const auto [inputs, expected] = golden("service_discovery", "merge_order");
  const auto order = [](const Json& json) {
    return RecordOrder{json.at("incarnation"), json.at("tombstone") == 1, json.at("seq"), 2};
  };
  Json actual = Json::array();
  Json merged = Json::array();
  for (const auto& pair : inputs) {
    const RecordOrder first = order(pair.at(0));
    const RecordOrder second = order(pair.at(1));
    actual.push_back(compare(first, second) > 0 ? "first" : "second");
    Discovery one(small_config());
    one.apply(discovery::AddPeer{2}, Nanos{0});
    one.apply(delta(2, {record("x", first, 1), record("x", second, 2)}), Nanos{0});
    const auto here = one.find("x");
    const bool is_first = first.is_tombstone ? !here : here && here->content.load_ppm == 1;
    merged.push_back(is_first ? "first" : "second");
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_TRUE(matches(expected, merged)) << "whatever came first";
}

TEST(ServiceDiscovery, GoldenBoundedLoad) {
  const auto [inputs, expected] = golden("service_discovery", "bounded_load");
  const std::uint64_t cap =
      bounded_load_cap(inputs.at("c"), inputs.at("keys"), 1, inputs.at("servers"));
  EXPECT_TRUE(matches(expected, Json(cap)));
  DiscoveryConfig config;
  Discovery one(config);
  const std::size_t servers = inputs.at("servers");
  for (std::size_t i = 0; i < servers; ++i) one.apply(offer("s" + std::to_string(i)), Nanos{0});
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < inputs.at("keys"); ++i) keys.push_back(hash_of(i, 77).low);
  const auto places = one.place("agent.compute", keys, inputs.at("c"), Nanos{0}).value();
  std::map<std::string, std::uint64_t> loads;
  for (const auto& place : places) ++loads[place];
  std::uint64_t most = 0;
  for (const auto& [server, load] : loads) most = std::max(most, load);
  EXPECT_EQ(most, cap) << "with 1,000 keys some server is full";
  EXPECT_EQ(loads.size(), servers);
  one.apply(discovery::Drain{"s3"}, Nanos{0});
  const auto after = one.place("agent.compute", keys, inputs.at("c"), Nanos{0}).value();
  std::size_t moved = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) moved += after[i] != places[i] ? 1U : 0U;
  EXPECT_EQ(std::count(after.begin(), after.end(), "s3"), 0);
  EXPECT_LT(moved, 250U) << "33 keys had to move, and what they push aside";
}

// --- examples ----------------------------------------------------------------------------------

TEST(ServiceDiscovery, ExampleResolvesWithItsBreakdownUntilTheLeaseEnds) {
  Discovery sd(DiscoveryConfig::preset("small-cluster").value());
  sd.apply(discovery::Register{.instance = "compute-001",
                               .type = "agent.compute",
                               .name = "GPT Worker",
                               .agent = "agent-0x1234",
                               .endpoint = "tls://10.0.0.7:4433",
                               .version = "1.2.0",
                               .locality = {.region = "us-east", .zone = "a", .rack = ""},
                               .attributes = {},
                               .weight = 1,
                               .status = InstanceStatus::ready,
                               .lease = Nanos{0},
                               .station = 0},
           Nanos{0});
  const auto best = sd.resolve_one("agent.compute", {.region = "us-east"}, Nanos{0});
  ASSERT_TRUE(best);
  EXPECT_EQ(best->instance.content.instance, "compute-001");
  EXPECT_EQ(best->instance.content.endpoint, "tls://10.0.0.7:4433");
  EXPECT_DOUBLE_EQ(best->breakdown.health, 1);
  EXPECT_DOUBLE_EQ(best->breakdown.locality, 0.7) << "the region, and no zone was asked for";
  EXPECT_DOUBLE_EQ(best->breakdown.load, 1);
  EXPECT_DOUBLE_EQ(best->breakdown.version, 1);
  EXPECT_DOUBLE_EQ(best->breakdown.latency, 0.5) << "nothing is known of it";
  const auto late = sd.resolve_one("agent.compute", {.region = "us-east"}, seconds(15));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::no_candidate);
  EXPECT_NE(late.error().sentence.find("leases ended 1"), std::string::npos);
}

TEST(ServiceDiscovery, EndsTheLeasesOfAStationAtOnce) {
  Discovery one(small_config());
  auto held = offer("held");
  held.station = 4;
  one.apply(held, Nanos{0});
  one.apply(offer("other"), Nanos{0});
  EXPECT_EQ(one.apply(discovery::Renew{"held"}, Nanos{0}).code, Errc::not_owner);
  EXPECT_EQ(one.apply(discovery::StationClosed{4}, seconds(1)).code, Errc::ok);
  const auto left = one.query({.type = "agent.compute"}, seconds(1)).value();
  ASSERT_EQ(left.instances.size(), 1U);
  EXPECT_EQ(left.instances[0].content.instance, "other");
  EXPECT_EQ(one.view().tombstones, 1U);
}

TEST(ServiceDiscovery, TakesARegistrationAfterTheEndWithAHigherIncarnation) {
  Discovery one(small_config());
  EXPECT_EQ(one.apply(offer("x"), Nanos{0}).incarnation, 1U);
  EXPECT_EQ(one.apply(offer("x"), Nanos{0}).sequence, 2U) << "the same life, said again";
  EXPECT_EQ(one.apply(discovery::Renew{"x"}, seconds(15)).code, Errc::expired);
  DiscoveryActions actions;
  one.tick(seconds(15), actions);
  EXPECT_EQ(one.counters().expired, 1U);
  EXPECT_EQ(one.apply(discovery::Renew{"x"}, seconds(16)).code, Errc::expired);
  EXPECT_EQ(one.apply(offer("x"), seconds(16)).incarnation, 2U);
  EXPECT_EQ(one.apply(discovery::Deregister{"x"}, seconds(17)).incarnation, 2U);
  EXPECT_EQ(one.apply(offer("x"), seconds(18)).incarnation, 3U);
  one.apply(discovery::Deregister{"x"}, seconds(19));
  one.tick(seconds(19 + 299), actions);
  EXPECT_EQ(one.view().tombstones, 1U);
  one.tick(seconds(19 + 300), actions);
  EXPECT_EQ(one.view().tombstones, 0U) << "forgotten, and its place is free";
  EXPECT_TRUE(one.verify());
}

TEST(ServiceDiscovery, StartsAboveItsEarlierLivesWhereItsJournalWasLost) {
  auto config = small_config();
  config.incarnation_first = std::uint64_t{3} << 40;
  Discovery one(config);
  EXPECT_EQ(one.apply(offer("x"), Nanos{0}).incarnation, std::uint64_t{3} << 40);
}

TEST(ServiceDiscovery, NeverReturnsWhatIsDrainingFailedOrNotReady) {
  Discovery one(small_config());
  for (const auto* name :
       {"drained", "failed", "unready", "starting", "well1", "well2", "well3", "well4"}) {
    one.apply(offer(name), Nanos{0});
  }
  one.apply(discovery::Drain{"drained"}, Nanos{0});
  one.apply(discovery::Observe{"failed", 0.29, Nanos{0}}, Nanos{0});
  one.apply(discovery::SetStatus{"unready", InstanceStatus::not_ready}, Nanos{0});
  one.apply(discovery::SetStatus{"starting", InstanceStatus::starting}, Nanos{0});
  EXPECT_EQ(one.query({.type = "agent.compute"}, Nanos{0})->instances.size(), 4U);
  DiscoveryQuery all{.type = "agent.compute"};
  all.include_unhealthy = true;
  EXPECT_EQ(one.query(all, Nanos{0})->instances.size(), 8U);
  const auto best = one.resolve("agent.compute", {}, 9, Nanos{0}).value();
  ASSERT_EQ(best.size(), 4U);
  for (const auto& chosen : best) {
    EXPECT_EQ(chosen.instance.content.instance.substr(0, 4), "well");
    EXPECT_FALSE(chosen.is_panic);
  }
  EXPECT_EQ(one.apply(discovery::SetStatus{"drained", InstanceStatus::ready}, Nanos{0}).code,
            Errc::wrong_state);
  EXPECT_EQ(one.apply(offer("drained"), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(one.query({.type = "agent.compute"}, Nanos{0})->instances.size(), 5U);
}

TEST(ServiceDiscovery, PanicsWhereLessThanHalfOfATypeIsHealthy) {
  Discovery one(small_config());
  for (const auto* name : {"a", "b", "c", "drained"}) one.apply(offer(name), Nanos{0});
  one.apply(discovery::Drain{"drained"}, Nanos{0});
  one.apply(discovery::Observe{"a", 0.1, Nanos{0}}, Nanos{0});
  EXPECT_EQ(one.resolve("agent.compute", {}, 9, Nanos{0})->size(), 2U);
  one.apply(discovery::Observe{"b", 0.1, Nanos{0}}, Nanos{0});
  const auto all = one.resolve("agent.compute", {}, 9, Nanos{0}).value();
  EXPECT_EQ(all.size(), 3U) << "all but the drained one";
  EXPECT_TRUE(all[0].is_panic);
  EXPECT_EQ(all[0].instance.content.instance, "c");
}

TEST(ServiceDiscovery, ScoresLocalityByRackZoneAndRegion) {
  Discovery one(small_config());
  auto at = offer("x");
  at.locality = {"us-east", "a", "r1"};
  one.apply(at, Nanos{0});
  const auto locality = [&](const DiscoveryPreferences& wanted) {
    return one.resolve_one("agent.compute", wanted, Nanos{0})->breakdown.locality;
  };
  EXPECT_DOUBLE_EQ(locality({}), 1);
  EXPECT_DOUBLE_EQ(locality({.region = "us-east", .zone = "a", .rack = "r1"}), 1);
  EXPECT_DOUBLE_EQ(locality({.region = "us-east", .zone = "a", .rack = "r2"}), 0.9);
  EXPECT_DOUBLE_EQ(locality({.region = "us-east", .zone = "a"}), 1);
  EXPECT_DOUBLE_EQ(locality({.region = "us-east", .zone = "b"}), 0.7);
  EXPECT_DOUBLE_EQ(locality({.region = "eu-west", .zone = "a"}), 0.2);
  EXPECT_EQ(one.resolve_one("agent.compute", {.region = "", .zone = "a"}, Nanos{0}).error().code,
            Errc::invalid_argument);
}

TEST(ServiceDiscovery, PrefersTheNewestVersionThatSatisfies) {
  Discovery one(small_config());
  for (const auto* version : {"1.2.0", "1.9.0", "2.0.0"}) {
    auto wanted = offer(version);
    wanted.version = version;
    one.apply(wanted, Nanos{0});
  }
  const auto best = one.resolve("agent.compute", {.versions = "^1.0.0"}, 9, Nanos{0}).value();
  ASSERT_EQ(best.size(), 2U);
  EXPECT_EQ(best[0].instance.content.version, "1.9.0");
  EXPECT_DOUBLE_EQ(best[0].breakdown.version, 1);
  EXPECT_DOUBLE_EQ(best[1].breakdown.version, 0.5);
  const auto none = one.resolve_one("agent.compute", {.versions = ">2.0.0"}, Nanos{0});
  EXPECT_EQ(none.error().code, Errc::no_candidate);
  EXPECT_NE(none.error().sentence.find("outside the versions 3"), std::string::npos);
}

TEST(ServiceDiscovery, QueriesByAttributesPrefixesAndAliases) {
  Discovery one(small_config());
  auto gpu = offer("gpu", "_agent._compute");
  gpu.attributes = {{"model", "h200"}, {"driver", "5.4.1"}};
  auto cpu = offer("cpu");
  cpu.attributes = {{"model", "epyc"}};
  ASSERT_EQ(one.apply(gpu, Nanos{0}).code, Errc::ok);
  ASSERT_EQ(one.apply(cpu, Nanos{0}).code, Errc::ok);
  ASSERT_EQ(one.apply(offer("store", "agent.storage"), Nanos{0}).code, Errc::ok);
  ASSERT_EQ(one.apply(offer("agentless", "agents.other"), Nanos{0}).code, Errc::ok);
  const auto names = [&](const std::string& type, std::vector<AttributeFilter> filters) {
    std::string found;
    const auto all = one.query({.type = type, .filters = std::move(filters)}, Nanos{0}).value();
    for (const auto& instance : all.instances) found += instance.content.instance + " ";
    return found;
  };
  EXPECT_EQ(names("agent.compute", {}), "cpu gpu ");
  EXPECT_EQ(names("_agent._compute", {}), "cpu gpu ");
  EXPECT_EQ(names("agent.*", {}), "cpu gpu store ");
  EXPECT_EQ(names("*", {}), "agentless cpu gpu store ");
  EXPECT_EQ(names("agent.none", {}), "");
  EXPECT_EQ(names("agent.*", {{"model", FilterOp::equal, {"h200"}}}), "gpu ");
  EXPECT_EQ(names("agent.*", {{"model", FilterOp::not_equal, {"h200"}}}), "cpu store ");
  EXPECT_EQ(names("agent.*", {{"model", FilterOp::in, {"h200", "epyc"}}}), "cpu gpu ");
  EXPECT_EQ(names("agent.*", {{"driver", FilterOp::exists, {}}}), "gpu ");
  EXPECT_EQ(names("agent.*", {{"driver", FilterOp::in_range, {">=5.4.0 <6.0.0"}}}), "gpu ");
  EXPECT_EQ(names("agent.*", {{"driver", FilterOp::in_range, {"<5.4.0"}}}), "");
  EXPECT_EQ(names("agent.*", {{"model", FilterOp::exists, {}}, {"driver", FilterOp::exists, {}}}),
            "gpu ");
  EXPECT_EQ(one.query({.type = "agent.*", .limit = 2}, Nanos{0})->instances.size(), 2U);
  for (const auto& bad :
       {AttributeFilter{"a", FilterOp::equal, {}}, AttributeFilter{"a", FilterOp::exists, {"b"}},
        AttributeFilter{"a", FilterOp::in, {}},
        AttributeFilter{"a", FilterOp::in_range, {"new"}}}) {
    EXPECT_EQ(one.query({.type = "*", .filters = {bad}}, Nanos{0}).error().code,
              Errc::invalid_argument);
  }
  EXPECT_EQ(one.query({.type = "agent..x"}, Nanos{0}).error().code, Errc::invalid_id);
  EXPECT_EQ(one.query({.type = "*", .limit = 0}, Nanos{0}).error().code, Errc::invalid_argument);
  const auto summaries = one.summaries(Nanos{0});
  ASSERT_EQ(summaries.size(), 3U);
  EXPECT_EQ(summaries[0].type, "agent.compute");
  EXPECT_EQ(summaries[0].healthy, 2U);
}

TEST(ServiceDiscovery, TellsWatchersWhatChangedOrThatTheyMissedSomething) {
  Discovery one(small_config());  // eight changes are kept
  std::string told;
  const auto watch = [&](std::uint64_t from, const char* type, const char* instance) {
    told.clear();
    return one.watch(from, type, instance, [&](const RegistryChange& change) {
      told += std::string(change.instance) + (change.kind == ChangeKind::added     ? "+ "
                                              : change.kind == ChangeKind::updated ? "~ "
                                                                                   : "- ");
    });
  };
  one.apply(offer("a"), Nanos{0});
  one.apply(offer("b", "agent.storage"), Nanos{0});
  one.apply(discovery::UpdateLoad{"a", 5}, Nanos{0});
  one.apply(discovery::Renew{"a"}, Nanos{0});
  one.apply(discovery::Deregister{"b"}, Nanos{0});
  EXPECT_EQ(watch(0, "", "").version, 4U) << "a renewal is no change";
  EXPECT_EQ(told, "a+ b+ a~ b- ");
  watch(0, "agent.compute", "");
  EXPECT_EQ(told, "a+ a~ ");
  watch(2, "", "b");
  EXPECT_EQ(told, "b- ");
  for (std::uint32_t i = 0; i < 5; ++i) one.apply(discovery::UpdateLoad{"a", 10 + i}, Nanos{0});
  EXPECT_TRUE(watch(0, "", "").is_resync_required) << "nine changes, one of them is gone";
  EXPECT_EQ(told, "");
  EXPECT_FALSE(watch(1, "", "").is_resync_required);
  EXPECT_TRUE(watch(10, "", "").is_resync_required) << "of another life";
}

TEST(ServiceDiscovery, ProbesThoseThatAskedAndDoubtsItselfWhenTheyAreSilent) {
  Discovery one(small_config());
  one.apply(offer("x"), Nanos{0});
  one.apply(offer("unprobed"), Nanos{0});
  one.apply(discovery::SetProbing{"x", true}, Nanos{0});
  DiscoveryActions actions;
  one.tick(seconds(4), actions);
  EXPECT_TRUE(actions.probes.empty());
  one.tick(seconds(5), actions);
  ASSERT_EQ(actions.probes.size(), 1U);
  EXPECT_EQ(actions.probes[0].kind, ProbeKind::liveness);
  EXPECT_EQ(actions.probes[0].deadline, seconds(6));
  one.apply(discovery::ProbeResult{"x", 1, true, Nanos{80 * kNsPerMs}}, seconds(5.1));
  EXPECT_EQ(one.apply(discovery::ProbeResult{"x", 1, true, Nanos{0}}, seconds(5.2)).code,
            Errc::expired);
  EXPECT_EQ(one.apply(discovery::ProbeResult{"x", 9, true, Nanos{0}}, seconds(5.2)).code,
            Errc::invalid_argument);
  // The even ones ask whether it is ready: three bad answers, and it is not.
  for (int i = 0; i < 6; ++i) {
    const Nanos now = seconds(12 + 6 * i);
    one.apply(discovery::Renew{"x"}, now);
    one.tick(now, actions);
    ASSERT_EQ(actions.probes.size(), 1U);
    const auto& probe = actions.probes[0];
    one.apply(
        discovery::ProbeResult{"x", probe.sequence, probe.kind == ProbeKind::liveness, Nanos{0}},
        now);
  }
  EXPECT_EQ(one.find("x")->content.status, InstanceStatus::not_ready);
  EXPECT_EQ(one.awareness(), 0U);
  // Silence: the observer gives the next probe more time.
  one.tick(seconds(50), actions);
  ASSERT_EQ(actions.probes.size(), 1U);
  one.tick(seconds(51), actions);
  EXPECT_EQ(one.awareness(), 1U);
  EXPECT_EQ(one.counters().probes_missed, 1U);
  one.apply(offer("x"), seconds(51));
  one.apply(discovery::Renew{"x"}, seconds(56));
  one.tick(seconds(56), actions);
  ASSERT_EQ(actions.probes.size(), 1U);
  EXPECT_EQ(actions.probes[0].deadline, seconds(58)) << "twice its patience";
  EXPECT_TRUE(one.verify());
}

TEST(ServiceDiscovery, CallsDeadWhatMissesItsLivenessProbesAndTakesItBack) {
  Discovery one(small_config());
  one.apply(offer("x"), Nanos{0});
  one.apply(discovery::SetProbing{"x", true}, Nanos{0});
  DiscoveryActions actions;
  const auto answer_until = [&](double from, bool is_alive) {
    for (int i = 0; i < 6; ++i) {
      const Nanos now = seconds(from + 6 * i);
      one.apply(discovery::Renew{"x"}, now);
      one.tick(now, actions);
      for (const auto& probe : actions.probes) {
        one.apply(discovery::ProbeResult{"x", probe.sequence, is_alive, Nanos{0}}, now);
      }
    }
  };
  answer_until(5, false);
  EXPECT_EQ(one.find("x")->content.status, InstanceStatus::dead);
  answer_until(41, true);
  EXPECT_EQ(one.find("x")->content.status, InstanceStatus::ready);
}

TEST(ServiceDiscovery, AllocatesNothingForItsOwnInstances) {
  Discovery one(small_config());
  auto wanted = offer("an instance with a name of more than a few bytes");
  wanted.attributes = {{"model", "a value of more than a few bytes"}};
  const discovery::Renew renewal{wanted.instance};
  const discovery::Deregister end{wanted.instance};
  DiscoveryActions actions;
  std::vector<Discovery::Command> commands{wanted,
                                           renewal,
                                           wanted,
                                           discovery::UpdateLoad{wanted.instance, 7},
                                           discovery::Drain{wanted.instance},
                                           end,
                                           wanted};
  const std::uint64_t before = mesh::testing::allocation_count();
  bool is_taken = true;
  for (int i = 0; i < 50; ++i) {
    for (const auto& command : commands) {
      is_taken = one.apply(command, seconds(i)).code == Errc::ok && is_taken;
      one.tick(seconds(i), actions);
    }
  }
  const std::uint64_t after = mesh::testing::allocation_count();
  EXPECT_EQ(after, before);
  EXPECT_TRUE(is_taken);
}

}  // namespace of_service_discovery_test
}  // namespace mesh::coordination
