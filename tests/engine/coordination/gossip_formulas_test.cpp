// The published numbers of the gossip parts: goldens.json, service gossip_engine.
#include "engine/coordination/adaptive_fanout.hpp"
#include "engine/coordination/bimodal_multicast.hpp"
#include "engine/coordination/blocks/merkle_map.hpp"
#include "engine/coordination/merkle_sync.hpp"
#include "engine/coordination/rumor_manager.hpp"
#include "engine/coordination/swim_membership.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_gossip_formulas_test {

using testing::golden;
using testing::Json;
using testing::matches;

MemberState state_named(const std::string& name) {
  for (const auto state : {MemberState::alive, MemberState::suspect, MemberState::dead}) {
    if (to_string(state) == name) return state;
  }
  ADD_FAILURE() << name;
  return MemberState::left;
}

TEST(GossipFormulas, GoldenOverrideTable) {
  const auto [inputs, expected] = golden("gossip_engine", "swim_override_table");
  ASSERT_EQ(inputs.size(), 27U);
  Json actual = Json::array();
  for (const auto& row : inputs) {
    actual.push_back(swim_overrides(state_named(row[0]), row[1], state_named(row[2]), row[3]));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(GossipFormulas, WhoLeftComesBackOnlyHigher) {
  EXPECT_TRUE(swim_overrides(MemberState::left, 1, MemberState::alive, 1));
  EXPECT_TRUE(swim_overrides(MemberState::left, 1, MemberState::suspect, 1));
  EXPECT_FALSE(swim_overrides(MemberState::left, 2, MemberState::dead, 1));
  EXPECT_FALSE(swim_overrides(MemberState::dead, 2, MemberState::left, 1));
  EXPECT_FALSE(swim_overrides(MemberState::alive, 1, MemberState::left, 1));
  EXPECT_TRUE(swim_overrides(MemberState::alive, 2, MemberState::left, 1));
}

TEST(GossipFormulas, GoldenDetection) {
  const auto [inputs, expected] = golden("gossip_engine", "swim_detection");
  Json actual = Json::array();
  for (const auto& members : inputs.at("members")) {
    const double chance = swim_probe_chance(members);
    actual.push_back({{"pinged_per_period", chance}, {"expected_periods", 1 / chance}});
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(GossipFormulas, GoldenSuspicionRetransmitAndAwareness) {
  const auto [inputs, expected] = golden("gossip_engine", "swim_suspicion");
  Json minima = Json::array();
  for (const auto& members : inputs.at("members")) {
    minima.push_back(suspicion_min_ms(inputs.at("mult"), members, inputs.at("period_ms")));
  }
  Json k2 = Json::array();
  for (std::uint32_t c = 0; c <= 2; ++c) k2.push_back(suspicion_timeout_ms(c, 2, 4'000, 24'000));
  Json k3 = Json::array();
  for (std::uint32_t c = 0; c <= 3; ++c) k3.push_back(suspicion_timeout_ms(c, 3, 2'000, 30'000));
  Json limits = Json::array();
  for (const std::uint64_t members : {5U, 30U, 100U, 1'000U, 30'000U}) {
    limits.push_back(retransmit_limit(inputs.at("mult"), members));
  }
  Json timeouts = Json::array();
  for (const int awareness : {0, 1, 3, 7}) timeouts.push_back(500 * (awareness + 1));
  const Json actual{{"minimum_ms", minima},
                    {"k2_4s_24s", k2},
                    {"k3_2s_30s", k3},
                    {"retransmit_limit", limits},
                    {"awareness_timeout_ms_0_1_3_7", timeouts}};
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(suspicion_timeout_ms(0, 0, 4'000, 24'000), 4'000) << "nobody to confirm it";
  EXPECT_EQ(suspicion_timeout_ms(9, 2, 4'000, 24'000), 4'000) << "never below the minimum";
}

TEST(GossipFormulas, GoldenFanout) {
  const auto [inputs, expected] = golden("gossip_engine", "fanout");
  Json actual = Json::array();
  for (const auto& row : inputs) {
    actual.push_back({{"fanout", fanout_for(row.at("n"), row.at("c"), 0)},
                      {"all_reached", all_reached_chance(row.at("c"))}});
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_NEAR(fanout_constant(all_reached_chance(3)), 3, 1e-9);
  EXPECT_EQ(fanout_for(30, 2, 0.5), 11U) << "half of it lost, twice as many";
}

TEST(GossipFormulas, GoldenRumours) {
  const auto [inputs, expected] = golden("gossip_engine", "rumors");
  Json residue = Json::array();
  Json rounds = Json::array();
  for (const auto& k : inputs.at("k")) residue.push_back(rumor_residue(k));
  for (const auto& n : inputs.at("n")) rounds.push_back(rumor_rounds(n));
  EXPECT_TRUE(matches(expected, {{"residue", residue}, {"rounds_to_cover", rounds}}));
}

TEST(GossipFormulas, GoldenBimodalRepair) {
  const auto [inputs, expected] = golden("gossip_engine", "bimodal_repair");
  Json actual = Json::array();
  for (const auto& rounds : inputs.at("repair_rounds")) {
    actual.push_back(missing_chance(inputs.at("loss"), rounds));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(GossipFormulas, GoldenMerkleGeometry) {
  const auto [inputs, expected] = golden("gossip_engine", "merkle_geometry");
  ASSERT_EQ(inputs.at("fan"), MerkleMap::kFan);
  std::uint32_t depth = 0;
  for (std::uint64_t leaves = 1; leaves < inputs.at("leaves").get<std::uint64_t>(); ++depth) {
    leaves *= MerkleMap::kFan;
  }
  const Json actual{{"depth", depth},
                    {"buckets", MerkleMap::kBuckets},
                    {"digests_for_one_difference", 1 + MerkleMap::kDepth * MerkleMap::kFan}};
  EXPECT_EQ(depth, MerkleMap::kDepth);
  EXPECT_TRUE(matches(expected, actual));
}

}  // namespace of_gossip_formulas_test
}  // namespace mesh::coordination
