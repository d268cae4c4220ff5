// The published index of live instances: lists of rows against plain vectors, and a reader that
// has nothing but a copy of it.
#include "engine/coordination/service_index.hpp"

#include <algorithm>
#include <map>

#include "engine/coordination/service_discovery.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_service_index_test {

constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

RC_GTEST_PROP(ServiceIndex, EqualsAVectorForEachOfItsLists, ()) {
  constexpr std::size_t kRows = 40;
  constexpr std::size_t kLists = 5;
  ServiceIndex index(kRows, kLists);
  std::array<ServiceIndex::List, kLists> lists;
  std::map<std::uint32_t, std::pair<std::size_t, std::uint32_t>> places;  // list, place; by record
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  for (int i = 0; i < 400; ++i) {
    const auto record = static_cast<std::uint32_t>(rng.below(kRows));
    const auto known = places.find(record);
    if (known == places.end()) {
      const std::size_t list = rng.below(kLists);
      ServiceRow row;
      row.record = record;
      row.load_ppm = record * 3;
      places[record] = {list, index.append(lists[list], row)};
    } else {
      const auto [list, place] = known->second;
      places[index.erase(lists[list], place)].second = place;
      places.erase(record);
    }
    std::size_t seen = 0;
    for (std::size_t list = 0; list < kLists; ++list) {
      index.for_each(lists[list], [&](const ServiceRow& row) {
        ++seen;
        RC_ASSERT(places.at(row.record).first == list);
        RC_ASSERT(&index[places.at(row.record).second] == &row);
        RC_ASSERT(row.load_ppm == row.record * 3);
      });
    }
    RC_ASSERT(seen == places.size());
  }
}

// One block of eight for each of five types, and one record each: the blocks must suffice.
TEST(ServiceIndex, HasABlockForEachListHoweverTheRowsAreSpread) {
  ServiceIndex index(5, 5);
  std::array<ServiceIndex::List, 5> lists;
  for (auto& list : lists) index.append(list, {});
  std::size_t seen = 0;
  for (const auto& list : lists) index.for_each(list, [&](const ServiceRow&) { ++seen; });
  EXPECT_EQ(seen, 5U);
}

discovery::Register instance(int number, std::string region) {
  discovery::Register one;
  one.instance = "compute-" + std::to_string(number);
  one.type = "agent.compute";
  one.endpoint = "tls://10.0.0." + std::to_string(number);
  one.version = "1." + std::to_string(number % 3) + ".0";
  one.locality = {std::move(region), "", ""};
  return one;
}

// What a reader does that has a copy of the index and nothing else: the best by the documented sum.
std::uint32_t best_of(const ServiceIndex& index, const ServiceIndex::List& list,
                      std::string_view region) {
  Semver newest;
  index.for_each(list, [&](const ServiceRow& row) {
    if (compare(row.version, newest) > 0) newest = row.version;
  });
  double most = -1;
  IdHash best_id;
  std::uint32_t best = ServiceIndex::kNone;
  index.for_each(list, [&](const ServiceRow& row) {
    ScoreBreakdown terms;
    terms.health = row.health;
    terms.locality = row.region == hash_of(region).low ? 0.7 : 0.2;
    terms.load = 1 - row.load_ppm / 1e6;
    terms.version = compare(row.version, newest) == 0 ? 1 : 0.5;
    terms.latency = row.latency_ns < 0 ? 0.5 : 1 / (1 + static_cast<double>(row.latency_ns) / 50e6);
    const double score = resolve_score(terms).score;
    if (score < most || (score == most && !(row.id < best_id))) return;
    most = score;
    best_id = row.id;
    best = row.record;
  });
  return best;
}

TEST(ServiceDiscovery, PublishesAnIndexByWhichAReaderChoosesTheSame) {
  ServiceDiscovery registry(DiscoveryConfig::preset("small-cluster").value());
  Rng rng(5);
  for (int i = 0; i < 30; ++i) {
    registry.apply(instance(i, i % 2 == 0 ? "us-east" : "eu-west"), Nanos{0});
  }
  for (int round = 0; round < 200; ++round) {
    const std::string who = "compute-" + std::to_string(rng.below(30));
    const auto load = static_cast<std::uint32_t>(rng.below(1'000'001));
    registry.apply(discovery::UpdateLoad{who, load}, Nanos{0});
    const std::string other = "compute-" + std::to_string(rng.below(30));
    registry.apply(discovery::Observe{other, 0.4 + 0.6 * rng.u01(),
                                      Nanos{static_cast<std::int64_t>(rng.below(200'000'000))}},
                   Nanos{0});
    const ServiceIndex copy = registry.index();
    const auto rows = registry.rows_of("agent.compute");
    const auto best = registry.resolve_one("agent.compute", {.region = "us-east"}, Nanos{0});
    ASSERT_TRUE(best);
    const std::uint32_t chosen = best_of(copy, rows, "us-east");
    bool is_same = false;
    copy.for_each(rows, [&](const ServiceRow& row) {
      if (row.record == chosen) is_same = row.id == hash_of(best->instance.content.instance);
    });
    ASSERT_TRUE(is_same) << "round " << round;
    ASSERT_TRUE(registry.verify());
  }
}

TEST(ServiceDiscovery, TakesWhatIsBuriedOutOfItsIndexAndPutsItBack) {
  ServiceDiscovery registry(DiscoveryConfig::preset("small-cluster").value());
  for (int i = 0; i < 20; ++i) registry.apply(instance(i, "us-east"), Nanos{0});
  const ServiceIndex before = registry.index();
  const auto rows_before = registry.rows_of("agent.compute");
  for (int i = 0; i < 20; i += 2) {
    registry.apply(discovery::Deregister{"compute-" + std::to_string(i)}, seconds(1));
  }
  EXPECT_EQ(registry.rows_of("agent.compute").count, 10U);
  EXPECT_TRUE(registry.verify()) << "what took the place of a buried one knows where it stands";
  std::vector<IdHash> left;
  registry.index().for_each(registry.rows_of("agent.compute"),
                            [&](const ServiceRow& row) { left.push_back(row.id); });
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(std::count(left.begin(), left.end(), hash_of("compute-" + std::to_string(i))), i % 2)
        << i;
  }
  EXPECT_EQ(registry.rows_of("agent.nothing").count, 0U);
  DiscoveryActions actions;
  registry.tick(seconds(15), actions);
  EXPECT_EQ(registry.rows_of("agent.compute").count, 0U) << "their leases have ended";
  registry.apply(instance(3, "us-east"), seconds(16));
  EXPECT_EQ(registry.rows_of("agent.compute").count, 1U);
  EXPECT_TRUE(registry.verify());
  std::size_t kept = 0;
  before.for_each(rows_before, [&](const ServiceRow&) { ++kept; });
  EXPECT_EQ(kept, 20U) << "a reader's copy is its own";
}

}  // namespace of_service_index_test
}  // namespace mesh::coordination
