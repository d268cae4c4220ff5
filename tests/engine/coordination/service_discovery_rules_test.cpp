// What a service registry refuses, and what holds of it whatever it is told.
#include <array>
#include <cmath>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/engine/coordination/discovery_nodes.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_service_discovery_rules_test {

using testing::Timed;
using namespace testing::nodes;  // NOLINT(google-build-using-namespace): test words

// --- refusals ----------------------------------------------------------------------------------

TEST(ServiceDiscovery, RefusesAConfigOutsideItsRange) {
  const auto refused = [](auto&& change) {
    DiscoveryConfig config;
    change(config);
    const auto judged = Discovery::validate(config);
    return judged ? std::string() : judged.error().sentence;
  };
  using C = DiscoveryConfig;
  EXPECT_NE(refused([](C& c) { c.self = 0; }).find("self"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.incarnation_first = 0; }).find("incarnation"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.lease_ns = seconds(61); }).find("lease_ns"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.lease_ns_max = Nanos::max(); }).find("lease"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.refresh_ns = c.lease_ns; }).find("refresh"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.gossip_ns = Nanos{0}; }).find("gossip_ns"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.fanout = 1; }).find("fanout"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.anti_entropy_ns = Nanos{5}; }).find("anti"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.tombstone_ns = seconds(59); }).find("tomb"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.peers_max = 4'096, c.gossip_ns = seconds(10); }).find("tomb"),
            std::string::npos)
      << "3 x 10 s x log2(4096) is more than 300 s";
  EXPECT_NE(refused([](C& c) { c.share_min = NAN; }).find("share_min"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.panic_share = 2; }).find("panic_share"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.partition_checks = 0; }).find("partition"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.health_min = -1; }).find("health_min"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.latency_ref_ns = Nanos{0}; }).find("latency"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.probe_timeout_ns = Nanos{0}; }).find("probe"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.misses_max = 0; }).find("misses_max"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.instances_max = 0; }).find("instances"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.peers_max = 0; }).find("peers_max"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.changes_max = 0; }).find("changes_max"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.message_nodes_max = 0; }).find("message"), std::string::npos);
  EXPECT_NE(refused([](C& c) { c.store_bytes = 0; }).find("store_bytes"), std::string::npos);
}

TEST(ServiceDiscovery, HasThePresetsOfItsThreeScales) {
  const auto small = DiscoveryConfig::preset("small-cluster").value();
  EXPECT_EQ(small.lease_ns, seconds(15));
  EXPECT_EQ(small.refresh_ns, seconds(5));
  EXPECT_EQ(small.gossip_ns, seconds(1));
  EXPECT_EQ(small.fanout, 2U);
  EXPECT_EQ(small.anti_entropy_ns, seconds(10));
  EXPECT_EQ(small.tombstone_ns, seconds(300));
  const auto medium = DiscoveryConfig::preset("medium-network").value();
  EXPECT_EQ(medium.lease_ns, seconds(30));
  EXPECT_EQ(medium.refresh_ns, seconds(10));
  EXPECT_EQ(medium.gossip_ns, seconds(1));
  EXPECT_EQ(medium.fanout, 3U);
  EXPECT_EQ(medium.anti_entropy_ns, seconds(30));
  EXPECT_EQ(medium.tombstone_ns, seconds(600));
  const auto large = DiscoveryConfig::preset("large-federation").value();
  EXPECT_EQ(large.lease_ns, seconds(60));
  EXPECT_EQ(large.refresh_ns, seconds(20));
  EXPECT_EQ(large.gossip_ns, seconds(2));
  EXPECT_EQ(large.fanout, 4U);
  EXPECT_EQ(large.anti_entropy_ns, seconds(120));
  EXPECT_EQ(large.tombstone_ns, seconds(1'800));
}

TEST(ServiceDiscovery, RefusesBadInputAndChangesNothing) {
  Discovery one(small_config());
  one.apply(offer("x"), Nanos{0});
  one.apply(offer("gone"), Nanos{0});
  one.apply(discovery::Deregister{"gone"}, Nanos{0});
  one.apply(discovery::AddPeer{2}, Nanos{0});
  one.apply(delta(2, {record("theirs", {1, false, 1, 2})}), Nanos{0});
  const auto with = [](auto&& change) {
    auto wanted = offer("new");
    change(wanted);
    return wanted;
  };
  using R = discovery::Register;
  const std::string big(129, 'n');
  auto far = record("far", {1, false, 1, 2});
  far.left = seconds(16);
  auto nameless = record("", {1, false, 1, 2});
  auto bad_level = delta(2, {});
  bad_level.message.level = 4;
  auto bad_row = delta(2, {});
  bad_row.message.rows.push_back({1, {}});
  auto bad_bucket = delta(2, {});
  bad_bucket.message.buckets.push_back(65'536);
  testing::expect_all_refused<Discovery>(
      one,
      {{"time below zero", offer("new"), Errc::invalid_argument, Nanos{-1}},
       {"empty name", with([](R& r) { r.instance = ""; }), Errc::invalid_id},
       {"oversize name", with([&](R& r) { r.instance = big; }), Errc::invalid_id},
       {"no UTF-8", with([](R& r) { r.instance = "\xFF"; }), Errc::invalid_id},
       {"a prefix as its type", with([](R& r) { r.type = "agent.*"; }), Errc::invalid_id},
       {"an empty label", with([](R& r) { r.type = "agent..x"; }), Errc::invalid_id},
       {"oversize endpoint", with([&](R& r) { r.endpoint = big + big; }), Errc::invalid_id},
       {"oversize agent", with([&](R& r) { r.agent = big; }), Errc::invalid_id},
       {"no version", with([](R& r) { r.version = "1.2"; }), Errc::invalid_argument},
       {"no weight", with([](R& r) { r.weight = 0; }), Errc::invalid_argument},
       {"status draining", with([](R& r) { r.status = InstanceStatus::draining; }),
        Errc::invalid_argument},
       {"a zone of nowhere", with([](R& r) { r.locality.region = ""; }), Errc::invalid_argument},
       {"lease too short", with([](R& r) { r.lease = seconds(4.9); }), Errc::invalid_argument},
       {"lease too long", with([](R& r) { r.lease = seconds(61); }), Errc::invalid_argument},
       {"lease below 0", with([](R& r) { r.lease = Nanos{-1}; }), Errc::invalid_argument},
       {"33 attributes", with([](R& r) {
          for (int i = 0; i < 33; ++i) r.attributes.push_back({std::to_string(i), ""});
        }),
        Errc::invalid_argument},
       {"1025 bytes of attributes", with([](R& r) {
          r.attributes = {{"k", std::string(1'024, 'v')}};
        }),
        Errc::invalid_argument},
       {"an attribute twice", with([](R& r) {
          r.attributes = {{"k", "1"}, {"k", "2"}};
        }),
        Errc::invalid_argument},
       {"another station has it", with([](R& r) { r.instance = "x", r.station = 3; }),
        Errc::already_exists},
       {"another node has it", offer("theirs"), Errc::already_exists},
       {"renew nothing", discovery::Renew{"no"}, Errc::not_found},
       {"renew what ended", discovery::Renew{"gone"}, Errc::expired},
       {"renew another node's", discovery::Renew{"theirs"}, Errc::not_owner},
       {"renew another station's", discovery::Renew{"x", 3}, Errc::not_owner},
       {"renew no name", discovery::Renew{""}, Errc::invalid_id},
       {"end another station's", discovery::Deregister{"x", 3}, Errc::not_owner},
       {"drain nothing", discovery::Drain{"no"}, Errc::not_found},
       {"status dead", discovery::SetStatus{"x", InstanceStatus::dead}, Errc::invalid_argument},
       {"load above 1", discovery::UpdateLoad{"x", kLoadFull + 1}, Errc::invalid_argument},
       {"health above 1", discovery::Observe{"x", 1.1, Nanos{0}}, Errc::invalid_argument},
       {"health NaN", discovery::Observe{"x", NAN, Nanos{0}}, Errc::invalid_argument},
       {"latency below 0", discovery::Observe{"x", 1, Nanos{-1}}, Errc::invalid_argument},
       {"observe what ended", discovery::Observe{"gone", 1, Nanos{0}}, Errc::not_found},
       {"probe another node's", discovery::SetProbing{"theirs"}, Errc::not_owner},
       {"result without a probe", discovery::ProbeResult{"x", 0}, Errc::not_found},
       {"station 0 closed", discovery::StationClosed{0}, Errc::invalid_argument},
       {"peer 0", discovery::AddPeer{0}, Errc::invalid_argument},
       {"itself a peer", discovery::AddPeer{1}, Errc::invalid_argument},
       {"a peer again", discovery::AddPeer{2}, Errc::already_exists},
       {"no such peer", discovery::RemovePeer{9}, Errc::not_found},
       {"reach no such peer", discovery::SetReachable{9}, Errc::not_found},
       {"hear no such peer", delta(9, {}), Errc::not_found},
       {"a record without a name", delta(2, {nameless}), Errc::invalid_argument},
       {"a record of owner 0", delta(2, {record("y", {1, false, 1, 0})}), Errc::invalid_argument},
       {"incarnation 0", delta(2, {record("y", {0, false, 1, 2})}), Errc::invalid_argument},
       {"incarnation 2^63", delta(2, {record("y", {std::uint64_t{1} << 63, true, 1, 2})}),
        Errc::invalid_argument},
       {"more left than its lease", delta(2, {record("y", {1, false, 1, 2}), far}),
        Errc::invalid_argument},
       {"level 4", bad_level, Errc::invalid_argument},
       {"no such node", bad_row, Errc::invalid_argument},
       {"no such bucket", bad_bucket, Errc::invalid_argument}});
  EXPECT_EQ(one.resolve_one("agent.*", {}, Nanos{0}).error().code, Errc::invalid_id);
  EXPECT_EQ(one.resolve_one("agent.x", {}, Nanos{-1}).error().code, Errc::invalid_argument);
  EXPECT_EQ(one.resolve("agent.compute", {}, 0, Nanos{0}).error().code, Errc::invalid_argument);
  EXPECT_EQ(one.place("agent.compute", {}, 0.5, Nanos{0}).error().code, Errc::invalid_argument);
  EXPECT_EQ(one.find("gone").error().code, Errc::not_found);
}

TEST(ServiceDiscovery, RefusesWhatItHasNoRoomFor) {
  auto config = small_config();
  config.peers_max = 1;
  Discovery one(config);
  one.apply(discovery::AddPeer{2}, Nanos{0});
  for (const auto* type : {"a", "b", "c", "d"}) one.apply(offer(type, type), Nanos{0});
  for (int i = 4; i < 16; ++i) one.apply(offer(std::to_string(i), "a"), Nanos{0});
  testing::expect_all_refused<Discovery>(
      one, {{"a seventeenth", offer("more", "a"), Errc::capacity},
            {"a fifth type", offer("4", "e"), Errc::capacity},
            {"a second peer", discovery::AddPeer{3}, Errc::capacity}});
  const auto heard = one.apply(delta(2, {record("y", {1, false, 1, 2})}), Nanos{0});
  EXPECT_EQ(heard.left_out, 1U) << "told, not dropped in silence";
  EXPECT_EQ(one.counters().left_out, 1U);
  config.store_bytes = 480;
  Discovery narrow(config);
  EXPECT_EQ(narrow.apply(offer("a"), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(narrow.apply(offer("b"), Nanos{0}).code, Errc::ok);
  testing::expect_all_refused<Discovery>(narrow, {{"no bytes left", offer("c"), Errc::capacity}});
}

// --- properties --------------------------------------------------------------------------------

double plain_score(const DiscoveredInstance& one, const DiscoveryPreferences& wanted) {
  const Locality& at = one.content.locality;
  double locality = 0.2;
  if (at.region == wanted.region) {
    locality = 0.7;
    if (at.zone == wanted.zone && !at.zone.empty()) {
      locality = wanted.rack.empty() || at.rack == wanted.rack ? 1 : 0.9;
    }
  }
  return 0.35 + 0.25 * locality + 0.2 * (1 - one.content.load_ppm / 1e6) + 0.1 + 0.1 * 0.5;
}

TEST(ServiceDiscovery, ResolvesToWhatBruteForceFinds) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    Discovery one(DiscoveryConfig{});
    const std::array<std::string, 3> places{"a", "b", "c"};
    for (int i = 0; i < 100; ++i) {
      auto wanted = offer(std::to_string(i), rng.below(2) == 0 ? "work" : "play");
      wanted.locality = {places[rng.below(3)], places[rng.below(3)], places[rng.below(3)]};
      one.apply(wanted, Nanos{0});
      one.apply(
          discovery::UpdateLoad{wanted.instance, static_cast<std::uint32_t>(rng.below(kLoadFull))},
          Nanos{0});
      if (rng.below(5) == 0) one.apply(discovery::Drain{wanted.instance}, Nanos{0});
    }
    const DiscoveryPreferences wanted{places[rng.below(3)], places[rng.below(3)],
                                      places[rng.below(3)]};
    double most = -1;
    std::string best;
    const auto all = one.query({.type = "work"}, Nanos{0}).value();
    for (const auto& instance : all.instances) {
      const double score = plain_score(instance, wanted);
      if (score <= most) continue;
      most = score;
      best = instance.content.instance;
    }
    const auto resolved = one.resolve_one("work", wanted, Nanos{0}).value();
    ASSERT_EQ(resolved.instance.content.instance, best);
    ASSERT_NEAR(resolved.breakdown.score, most, 1e-12);
    ASSERT_EQ(one.resolve("work", wanted, 5, Nanos{0})->at(0).instance.content.instance, best);
  }
}

std::vector<Timed<Discovery::Command>> trace(std::size_t count, std::uint64_t seed) {
  std::vector<Timed<Discovery::Command>> commands;
  commands.push_back({Nanos{0}, discovery::AddPeer{2}});
  commands.push_back({Nanos{0}, discovery::AddPeer{3}});
  Rng rng(seed);
  Nanos now{0};
  const auto order = [&] {
    return RecordOrder{1 + rng.below(4), rng.below(4) == 0, rng.below(4), 1 + rng.below(3)};
  };
  while (commands.size() < count) {
    now += Nanos{static_cast<std::int64_t>(rng.below(1'500'000'000))};
    const std::string name = "i" + std::to_string(rng.below(6));
    const auto station = static_cast<std::uint32_t>(rng.below(2));
    const std::uint64_t peer = 2 + rng.below(2);
    auto wanted = offer(name, rng.below(2) == 0 ? "work" : "play");
    wanted.station = station;
    Discovery::Command command = wanted;
    switch (rng.below(16)) {
      case 0:
      case 1:
        command = discovery::Renew{name, station};
        break;
      case 2:
        command = discovery::Deregister{name, station};
        break;
      case 3:
        command = discovery::Drain{name, station};
        break;
      case 4:
        command = discovery::UpdateLoad{name, static_cast<std::uint32_t>(rng.below(9)), station};
        break;
      case 5:
        command = discovery::Observe{name, rng.u01(), Nanos{5}};
        break;
      case 6:
        command = discovery::SetProbing{name, rng.below(4) != 0, station};
        break;
      case 7:
        command = discovery::ProbeResult{name, rng.below(4), rng.below(2) == 0, Nanos{3}};
        break;
      case 8:
        command = discovery::SetReachable{peer, rng.below(2) == 0};
        break;
      case 9:
        command = discovery::SetStatus{name, InstanceStatus::not_ready, station};
        break;
      case 10:
      case 11:
        command = delta(peer, {record(name, order()), record("j" + name, order())});
        break;
      case 12: {
        auto heard = delta(peer, {});
        heard.message.kind = SyncKind::digests;
        heard.message.rows.push_back({});
        command = heard;
        break;
      }
      default:
        break;
    }
    if (rng.below(30) == 0) command = discovery::StationClosed{1};
    if (rng.below(30) == 0) command = discovery::RemovePeer{peer};
    if (rng.below(10) == 0) command = discovery::AddPeer{peer};
    commands.push_back({now, command});
  }
  return commands;
}

TEST(ServiceDiscovery, ReplaysToTheSameBytes) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    testing::expect_replays<Discovery>(small_config(), trace(500, seed));
  }
}

TEST(ServiceDiscovery, FindsADamagedSnapshot) {
  Discovery one(small_config());
  for (const auto& [now, command] : trace(60, 2)) one.apply(command, now);
  testing::expect_damage_found(one, small_config());
}

TEST(ServiceDiscovery, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Discovery> sweep(small_config(), trace(24, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(5), 3U * 24 * 4);
}

TEST(ServiceDiscovery, StaysSoundWhateverItIsTold) {
  Discovery one(small_config());
  DiscoveryActions actions;
  for (const auto& [now, command] : trace(3'000, 4)) {
    one.apply(command, now);
    one.tick(now, actions);
    if (one.counters().commands % 16 != 0) continue;
    const auto sound = one.verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
  }
  EXPECT_GT(one.counters().refuted, 0U);
  EXPECT_GT(one.counters().expired, 0U);
  EXPECT_GT(one.counters().merged, 0U);
}

}  // namespace of_service_discovery_rules_test
}  // namespace mesh::coordination
