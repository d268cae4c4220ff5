// The parts of a registry that others may use: digests of maps, versions, partitions, bounded load.
#include "engine/coordination/blocks/merkle_map.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "engine/coordination/blocks/bounded_load.hpp"
#include "engine/coordination/blocks/partition_detector.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/semver.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_merkle_map_test {

TEST(MerkleMap, HasEqualRootsForEqualMapsHoweverTheyCameAbout) {
  EXPECT_TRUE(rc::check("equal maps have equal roots", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    RC_LOG("seed " + std::to_string(seed));
    Rng rng(seed);
    MerkleMap one(64);
    MerkleMap other(64);
    std::map<std::uint32_t, std::uint64_t> plain;
    for (int i = 0; i < 200; ++i) {
      const auto entry = static_cast<std::uint32_t>(rng.below(64));
      if (rng.below(3) == 0) {
        one.erase(entry);
        plain.erase(entry);
      } else {
        plain[entry] = rng.below(8);
        one.set(entry, hash_of(entry, 1), plain[entry]);
      }
    }
    // Into other places, the other way round.
    for (auto at = plain.rbegin(); at != plain.rend(); ++at) {
      other.set(63 - at->first, hash_of(at->first, 1), at->second);
    }
    RC_ASSERT(one.root() == other.root());
    RC_ASSERT(one.count() == plain.size());
    RC_ASSERT(one.is_consistent());
    if (plain.empty()) return;
    const auto entry = plain.begin()->first;
    other.set(63 - entry, hash_of(entry, 1), plain[entry] + 100);
    RC_ASSERT(one.root() != other.root());
    other.set(63 - entry, hash_of(entry, 1), plain[entry]);
    RC_ASSERT(one.root() == other.root());
  }));
}

TEST(MerkleMap, HasUnequalRootsForUnequalMaps) {
  MerkleMap map(8);
  std::vector<IdHash> roots;
  for (std::uint64_t i = 0; i < 100'000; ++i) {
    map.set(static_cast<std::uint32_t>(i % 8), hash_of(i % 8, 1), i + 1);
    roots.push_back(map.root());
  }
  std::sort(roots.begin(), roots.end());
  EXPECT_EQ(std::adjacent_find(roots.begin(), roots.end()), roots.end());
}

// Two maps of a few keys and versions, changed at random: now they are equal, now they are not.
TEST(MerkleMap, TwoRandomMapsHaveOneRootIfAndOnlyIfTheyAreEqual) {
  Rng rng(mesh::testing::seed());
  std::array<MerkleMap, 2> maps{MerkleMap(8), MerkleMap(8)};
  std::array<std::array<std::uint64_t, 8>, 2> plain{};  // versions; 0: it is not there
  std::uint64_t equal = 0;
  std::uint64_t wrong = 0;
  mesh::testing::Repeats trials(20'000);
  while (trials.next()) {
    const std::size_t which = rng.below(2);
    const auto entry = static_cast<std::uint32_t>(rng.below(trials.count() % 4 == 0 ? 8 : 2));
    const std::uint64_t version = rng.below(3);
    plain[which][entry] = version;
    if (version == 0) {
      maps[which].erase(entry);
    } else {
      maps[which].set(entry, hash_of(entry, 1), version);
    }
    if (trials.count() % 50 == 0) {  // far apart they would stay so
      for (std::uint32_t at = 0; at < 8; ++at) {
        plain[1][at] = plain[0][at];
        if (plain[0][at] == 0) {
          maps[1].erase(at);
        } else {
          maps[1].set(at, hash_of(at, 1), plain[0][at]);
        }
      }
    }
    const bool is_equal = plain[0] == plain[1];
    equal += is_equal ? 1U : 0U;
    wrong += is_equal == (maps[0].root() == maps[1].root()) ? 0U : 1U;
  }
  EXPECT_EQ(wrong, 0U) << "seed " << mesh::testing::seed();
  EXPECT_GT(equal, trials.count() / 60);
  EXPECT_GT(trials.count() - equal, trials.count() / 60);
}

TEST(MerkleMap, ShowsADifferenceInOneChildOfEachLevel) {
  MerkleMap one(64);
  MerkleMap other(64);
  for (std::uint32_t i = 0; i < 64; ++i) {
    one.set(i, hash_of(i, 1), 1);
    other.set(i, hash_of(i, 1), i == 5 ? 2 : 1);
  }
  std::uint32_t index = 0;
  for (std::uint32_t level = 0; level < MerkleMap::kDepth; ++level) {
    const auto left = one.children(level, index);
    const auto right = other.children(level, index);
    std::uint32_t found = 0;
    std::uint32_t which = 0;
    for (std::uint32_t i = 0; i < MerkleMap::kFan; ++i) {
      if (left[i] == right[i]) continue;
      which = i;
      ++found;
    }
    ASSERT_EQ(found, 1U) << "level " << level;
    index = MerkleMap::kFan * index + which;
  }
  EXPECT_EQ(index, MerkleMap::bucket_of(hash_of(5, 1)));
  std::vector<std::uint32_t> there;
  one.for_bucket(index, [&](std::uint32_t entry) { there.push_back(entry); });
  EXPECT_EQ(there, std::vector<std::uint32_t>{5});
}

TEST(MerkleMap, MovesAnEntryThatIsGivenAnotherKey) {
  MerkleMap map(2);
  map.set(0, hash_of(1, 1), 1);
  map.set(1, hash_of(1, 1), 1);
  map.set(0, hash_of(2, 1), 1);
  EXPECT_TRUE(map.is_consistent());
  map.erase(1);
  map.erase(1);
  EXPECT_EQ(map.count(), 1U);
  EXPECT_TRUE(map.is_consistent());
}

Semver version(std::string_view text) {
  Semver one;
  EXPECT_TRUE(parse(text, one)) << text;
  return one;
}

TEST(Semver, OrdersAsItsSpecificationSays) {
  // semver.org 2.0.0, part 11.
  const std::array order{"1.0.0-alpha",  "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
                         "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",       "1.0.0",
                         "1.0.1",        "1.2.0",         "1.10.0",           "2.0.0"};
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t k = 0; k < order.size(); ++k) {
      EXPECT_TRUE(compare(version(order[i]), version(order[k])) == (i <=> k))
          << order[i] << " and " << order[k];
    }
  }
  EXPECT_TRUE(compare(version("1.0.0+build.7"), version("1.0.0")) == 0);
}

TEST(Semver, RefusesWhatIsNoVersion) {
  Semver one;
  for (const auto* bad : {"", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "1.2.3-a..b",
                          "1.2.3-01", "1.2.3+", "1.2.-3", "v1.2.3", "1.2.4294967296", "1.2.3 ",
                          "1.2.3-a_b", "1.2.3-a.", "1.2.3-0123456789abcdef0123456789abcdefx"}) {
    EXPECT_FALSE(parse(bad, one)) << bad;
  }
}

TEST(Semver, RangesContainWhatTheySay) {
  const auto contains = [](std::string_view range, std::string_view text) {
    SemverRange one;
    EXPECT_TRUE(one.parse(range)) << range;
    return one.contains(version(text));
  };
  EXPECT_TRUE(contains("", "0.0.1"));
  EXPECT_TRUE(contains("*", "9.9.9"));
  EXPECT_TRUE(contains("1.2.3", "1.2.3"));
  EXPECT_FALSE(contains("=1.2.3", "1.2.4"));
  EXPECT_TRUE(contains(">=1.2.0 <2.0.0", "1.9.9"));
  EXPECT_FALSE(contains(">=1.2.0  <2.0.0", "2.0.0"));
  EXPECT_FALSE(contains(">1.2.0", "1.2.0"));
  EXPECT_TRUE(contains("<=1.2.0", "1.2.0"));
  EXPECT_TRUE(contains("^1.2.3", "1.9.0"));
  EXPECT_FALSE(contains("^1.2.3", "2.0.0-alpha"));
  EXPECT_FALSE(contains("^1.2.3", "1.2.2"));
  EXPECT_TRUE(contains("^0.2.3", "0.2.9"));
  EXPECT_FALSE(contains("^0.2.3", "0.3.0"));
  EXPECT_FALSE(contains("^0.0.3", "0.0.4"));
  EXPECT_TRUE(contains("~1.2.3", "1.2.9"));
  EXPECT_FALSE(contains("~1.2.3", "1.3.0"));
  SemverRange bad;
  for (const auto* text : {"new", ">=1", "^", "1.2.3 -", "^4294967295.0.0",
                           "1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0 1.0.0"}) {
    EXPECT_FALSE(bad.parse(text)) << text;
  }
}

TEST(PartitionDetector, SuspectsAfterThreeLowChecksInARow) {
  PartitionDetector one;
  EXPECT_FALSE(one.check(2, 4)) << "half is not below half";
  EXPECT_FALSE(one.check(1, 4));
  EXPECT_FALSE(one.check(1, 4));
  EXPECT_FALSE(one.check(3, 4)) << "begins again";
  EXPECT_FALSE(one.check(1, 4));
  EXPECT_FALSE(one.check(1, 4));
  EXPECT_TRUE(one.check(1, 4));
  EXPECT_EQ(one.state(), PartitionState::suspected);
  one.end_healing();
  EXPECT_EQ(one.state(), PartitionState::suspected) << "it is not healing";
  EXPECT_TRUE(one.check(2, 4));
  EXPECT_EQ(one.state(), PartitionState::healing);
  one.end_healing();
  EXPECT_EQ(one.state(), PartitionState::connected);
}

TEST(BoundedLoad, KeepsEveryServerBelowItsShareByWeight) {
  const std::array servers{BoundedServer{hash_of("a"), 1}, BoundedServer{hash_of("b"), 3}};
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < 100; ++i) keys.push_back(hash_of(i, 5).low);
  const auto places = place_bounded(1.0, keys, servers);
  EXPECT_EQ(std::count(places.begin(), places.end(), 0U), 25);
  EXPECT_EQ(std::count(places.begin(), places.end(), 1U), 75);
  const std::array turned{servers[1], servers[0]};
  const auto again = place_bounded(1.0, keys, turned);
  for (std::size_t i = 0; i < keys.size(); ++i) ASSERT_EQ(again[i], 1 - places[i]);
}

}  // namespace of_merkle_map_test
}  // namespace mesh::coordination
