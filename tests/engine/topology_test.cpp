// Where agents stand and who leads them.
#include "engine/topology.hpp"

#include <random>
#include <set>

#include "engine/registry.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_topology_test {

using sched::AgentClass;
using ::testing::HasSubstr;
using testing::TestTable;

// Rows with a class, a score and a state, without the names that topology does not read.
class Mesh {
 public:
  Mesh(std::uint64_t rows, const TopologySize& size)
      : table_(rows), rows_(table_.agents()), topology(Topology::create(rows_, size).value()) {}

  AgentIndex add(AgentClass agent_class, std::uint16_t score) {
    const std::size_t row = used_++;
    rows_.sector.store_relaxed(row, kNoPlace);
    rows_.cluster.store_relaxed(row, kNoPlace);
    rows_.state.store_relaxed(row, static_cast<std::uint8_t>(AgentState::active));
    rows_.agent_class.store_relaxed(row, static_cast<std::uint8_t>(agent_class));
    rows_.score.store_relaxed(row, score);
    return agent_index(row);
  }
  Place placed(AgentClass agent_class, std::uint16_t score) {
    return topology.place(add(agent_class, score)).value();
  }
  // Placed there, whoever else is.
  AgentIndex at(std::uint32_t cluster, std::uint16_t score,
                AgentClass agent_class = AgentClass::edge) {
    const AgentIndex row = add(agent_class, score);
    EXPECT_EQ(topology.place_in(row, cluster).value().cluster, cluster);
    return row;
  }
  Vacancy set_state(AgentIndex row, AgentState state) {
    rows_.state.store_relaxed(row_of(row), static_cast<std::uint8_t>(state));
    return topology.refresh(row);
  }
  void set_score(AgentIndex row, std::uint16_t score) {
    rows_.score.store_relaxed(row_of(row), score);
    topology.refresh(row);
  }
  void expect_sound() const {
    const Status verified = topology.verify();
    EXPECT_TRUE(verified.has_value()) << verified.error().sentence;
  }
  Result<Topology> restarted() const { return Topology::create(rows_, topology.size()); }
  const AgentRows<HostMemory>& rows() const { return rows_; }

 private:
  TestTable table_;
  AgentRows<HostMemory> rows_;
  std::size_t used_ = 0;

 public:
  Topology topology;
};

TEST(Topology, RefusesSizesOfNothingAndOfTooMuch) {
  const TestTable table(4);
  for (const TopologySize size : {TopologySize{0, 1, 1},
                                  TopologySize{1, 0, 1},
                                  {1, 1, 0},
                                  {1U << 31, 2, 2},
                                  {~0U, ~0U, ~0U},
                                  {2, 1U << 20, 2}}) {
    const auto refused = Topology::create(table.agents(), size);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Errc::invalid_argument);
  }
  EXPECT_TRUE(Topology::create(table.agents(), {}).has_value());
}

TEST(Topology, RefusesFreeRowsUnknownClassesAndWhoHasAPlace) {
  Mesh mesh(4, {1, 2, 2});
  EXPECT_EQ(mesh.topology.place(AgentIndex{3}).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.topology.place(AgentIndex{4}).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.topology.place(kNoAgent).error().code, Errc::invalid_argument);
  const AgentIndex odd = mesh.add(static_cast<AgentClass>(6), 1);
  EXPECT_EQ(mesh.topology.place(odd).error().code, Errc::invalid_argument);
  const AgentIndex row = mesh.at(1, 1);
  const auto twice = mesh.topology.place(row);
  ASSERT_FALSE(twice.has_value());
  EXPECT_THAT(twice.error().sentence, HasSubstr("stands in cluster 1"));
  EXPECT_EQ(mesh.topology.place_in(row, 2).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.topology.move(row, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.topology.move(odd, 0).error().code, Errc::invalid_argument);
  EXPECT_EQ(mesh.topology.leave(odd), Vacancy{});
  mesh.expect_sound();
}

TEST(Topology, RefusesAFullClusterAndAFullMesh) {
  Mesh mesh(4, {1, 1, 2});
  mesh.at(0, 1);
  mesh.at(0, 1);
  const AgentIndex row = mesh.add(AgentClass::edge, 1);
  EXPECT_EQ(mesh.topology.place_in(row, 0).error().code, Errc::capacity);
  const auto refused = mesh.topology.place(row);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_THAT(refused.error().sentence, HasSubstr("all 2 places of 1 clusters"));
}

TEST(Topology, PlacesWithItsOwnClassThoughAnotherMeanIsNearer) {
  Mesh mesh(8, {1, 4, 3});
  mesh.at(0, 500, AgentClass::gpu);
  mesh.at(1, 100, AgentClass::edge);
  EXPECT_EQ(mesh.placed(AgentClass::edge, 500).cluster, 1U);
  EXPECT_EQ(mesh.placed(AgentClass::gpu, 100).cluster, 0U);
}

TEST(Topology, PlacesWithTheNearestMeanOfItsClass) {
  Mesh mesh(16, {1, 4, 5});
  mesh.at(0, 100);
  mesh.at(1, 301);
  mesh.at(2, 201);
  mesh.at(2, 202);                                            // mean 201.5
  EXPECT_EQ(mesh.placed(AgentClass::edge, 150).cluster, 0U);  // 50 from 100, 51.5 from 201.5
  EXPECT_EQ(mesh.placed(AgentClass::edge, 252).cluster, 1U);  // 49 from 301, 50.5 from 201.5
  EXPECT_EQ(mesh.placed(AgentClass::edge, 0).cluster, 0U);
  EXPECT_EQ(mesh.placed(AgentClass::edge, 1'000).cluster, 1U);
  mesh.expect_sound();
}

TEST(Topology, BreaksTiesByTheLowerCluster) {
  Mesh mesh(8, {1, 4, 3});
  mesh.at(2, 100);
  mesh.at(1, 300);
  EXPECT_EQ(mesh.placed(AgentClass::edge, 200).cluster, 1U);
}

TEST(Topology, OpensAnEmptyClusterInTheLeastLoadedSectorBeforeItMixesClasses) {
  Mesh mesh(32, {3, 2, 2});
  mesh.at(0, 10);
  mesh.at(0, 10);
  mesh.at(2, 10);
  // Sector 2 is empty; its first cluster is 4.
  EXPECT_EQ(mesh.placed(AgentClass::gpu, 10), (Place{2, 4}));
  EXPECT_EQ(mesh.placed(AgentClass::gpu, 10), (Place{2, 4}));
  // Sector 1 has one agent, sectors 0 and 2 two.
  EXPECT_EQ(mesh.placed(AgentClass::human, 1'000), (Place{1, 3}));
  EXPECT_EQ(mesh.placed(AgentClass::local, 10), (Place{0, 1}));
  EXPECT_EQ(mesh.placed(AgentClass::serverless, 10), (Place{2, 5}));
  // No cluster is empty now: class D goes where the mean is nearest, among 2, 3, 1 and 5.
  EXPECT_EQ(mesh.placed(AgentClass::gpu, 990), (Place{1, 3}));
  EXPECT_EQ(mesh.topology.class_of(3), AgentClass::gpu);  // one each: the lower class
  EXPECT_EQ(mesh.topology.class_of(1), AgentClass::local);
  mesh.expect_sound();
}

// 334 + 267 + 167 + 67 + 100 + 67 clusters are 1,002: the last ones are mixed, and all fit.
TEST(Topology, PlacesTheDefaultMeshOf30000ExactlyFull) {
  Mesh mesh(30'000, {});
  constexpr std::uint32_t kShares[] = {10'000, 8'000, 5'000, 2'000, 3'000, 2'000};
  std::vector<AgentClass> newcomers;
  for (std::size_t i = 0; i < std::size(kShares); ++i) {
    newcomers.insert(newcomers.end(), kShares[i], static_cast<AgentClass>(i));
  }
  std::mt19937_64 random(testing::seed());
  std::ranges::shuffle(newcomers, random);
  for (const AgentClass agent_class : newcomers) {
    const auto score = static_cast<std::uint16_t>(random() % 1'001);
    ASSERT_TRUE(mesh.topology.place(mesh.add(agent_class, score)).has_value());
  }
  std::uint32_t mixed = 0;
  for (std::uint32_t cluster = 0; cluster < 1'000; ++cluster) {
    EXPECT_EQ(mesh.topology.cluster(cluster).agents, 30U);
    std::set<std::uint8_t> classes;
    for (const std::uint32_t row : mesh.topology.agents_of(cluster)) {
      classes.insert(mesh.rows().agent_class.load_relaxed(row));
    }
    mixed += classes.size() > 1 ? 1U : 0U;
  }
  EXPECT_LE(mixed, 6U);
  EXPECT_GE(mixed, 1U);
  for (std::uint32_t sector = 0; sector < 100; ++sector) {
    EXPECT_EQ(mesh.topology.sector(sector).agents, 300U);
  }
  mesh.expect_sound();
}

TEST(Topology, GivesTheSameMeshForTheSameJoins) {
  const auto build = [](std::uint64_t seed) {
    Mesh mesh(400, {4, 4, 8});
    std::mt19937_64 random(seed);
    std::vector<std::uint32_t> clusters;
    for (int i = 0; i < 128; ++i) {
      const auto agent_class = static_cast<AgentClass>(random() % 6);
      clusters.push_back(
          mesh.placed(agent_class, static_cast<std::uint16_t>(random() % 5)).cluster);
    }
    return clusters;
  };
  EXPECT_EQ(build(testing::seed()), build(testing::seed()));
}

TEST(Topology, PromotesTheHealthyAgentWithTheLowestScoreAndTheLowerRowOfTwo) {
  Mesh mesh(8, {1, 2, 4});
  EXPECT_EQ(mesh.topology.promote_lead(0), kNoAgent);  // nobody there
  const AgentIndex fastest = mesh.at(0, 10);
  const AgentIndex second = mesh.at(0, 20);
  const AgentIndex same = mesh.at(0, 20);
  mesh.set_state(fastest, AgentState::degraded);
  EXPECT_EQ(mesh.topology.promote_lead(0), second);
  EXPECT_EQ(mesh.topology.role_of(second), AgentRole::lead);
  mesh.set_state(fastest, AgentState::active);
  EXPECT_EQ(mesh.topology.promote_lead(0), second);  // a healthy lead stays
  EXPECT_EQ(mesh.set_state(second, AgentState::offline), (Vacancy{0, kNoPlace}));
  mesh.set_state(fastest, AgentState::quarantined);
  EXPECT_EQ(mesh.topology.promote_lead(0), same);
  EXPECT_EQ(mesh.topology.role_of(second), AgentRole::agent);
  mesh.set_state(same, AgentState::offline);
  EXPECT_EQ(mesh.topology.promote_lead(0), kNoAgent);
  EXPECT_EQ(mesh.topology.lead(0), kNoAgent);
  EXPECT_EQ(mesh.topology.role_of(same), AgentRole::agent);
  mesh.expect_sound();
}

TEST(Topology, PromotesACoordinatorFromTheWholeSectorAndLeadsOnlyIfNobodyElseIsLeft) {
  Mesh mesh(8, {2, 2, 4});
  const AgentIndex lead_0 = mesh.at(0, 1);
  const AgentIndex plain = mesh.at(1, 50);
  mesh.at(2, 0);  // of the other sector
  EXPECT_EQ(mesh.topology.promote_lead(0), lead_0);
  EXPECT_EQ(mesh.topology.promote_coordinator(0), plain);
  EXPECT_EQ(mesh.topology.role_of(plain), AgentRole::coordinator);
  EXPECT_EQ(mesh.set_state(plain, AgentState::offline), (Vacancy{kNoPlace, 0}));
  EXPECT_EQ(mesh.topology.promote_coordinator(0), lead_0);
  EXPECT_EQ(mesh.topology.lead(0), kNoAgent);  // to be promoted again, when there is someone
  EXPECT_EQ(mesh.topology.promote_lead(0), kNoAgent);
  mesh.set_state(lead_0, AgentState::degraded);
  EXPECT_EQ(mesh.topology.promote_coordinator(0), kNoAgent);
  mesh.expect_sound();
}

TEST(Topology, FillsWhatIsVacantAlsoTheClusterThatLostItsLeadToTheSector) {
  Mesh mesh(8, {2, 2, 4});
  const AgentIndex first = mesh.at(0, 1);
  mesh.topology.fill({.cluster = 0, .sector = 0});
  EXPECT_EQ(mesh.topology.coordinator(0), first) << "alone it leads the sector";
  const AgentIndex second = mesh.at(0, 2);
  const AgentIndex third = mesh.at(0, 3);
  mesh.topology.fill({.cluster = 0, .sector = 0});
  EXPECT_EQ(mesh.topology.lead(0), second);
  mesh.set_state(first, AgentState::offline);
  mesh.topology.fill({.cluster = kNoPlace, .sector = 0});
  EXPECT_EQ(mesh.topology.coordinator(0), third) << "who leads nothing before who does";
  mesh.set_state(third, AgentState::offline);
  mesh.topology.fill({.cluster = kNoPlace, .sector = 0});
  EXPECT_EQ(mesh.topology.coordinator(0), second);
  EXPECT_EQ(mesh.topology.lead(0), kNoAgent) << "nobody is left for it";
  mesh.expect_sound();
}

TEST(Topology, RelievesALeaderWhoIsMoreThanTwiceAsSlowAsTheBestAndABitAndNoOther) {
  for (const bool is_slow : {false, true}) {
    Mesh mesh(8, {1, 2, 4});
    const auto score = static_cast<std::uint16_t>(is_slow ? 41 : 40);  // 2 x 10 + 20
    const AgentIndex coordinator = mesh.at(0, score);
    mesh.topology.fill({.cluster = 0, .sector = 0});
    const AgentIndex lead = mesh.at(0, score);
    mesh.topology.fill({.cluster = 0, .sector = 0});
    const AgentIndex fast = mesh.at(0, 10);
    const AgentIndex other = mesh.at(1, 10);
    mesh.topology.relieve({.cluster = 0, .sector = kNoPlace});
    EXPECT_EQ(mesh.topology.lead(0), is_slow ? fast : lead);
    EXPECT_EQ(mesh.topology.coordinator(0), coordinator);
    mesh.topology.relieve({.cluster = kNoPlace, .sector = 0});
    EXPECT_EQ(mesh.topology.coordinator(0), is_slow ? other : coordinator);
    EXPECT_EQ(mesh.topology.role_of(is_slow ? coordinator : fast), AgentRole::agent);
    mesh.expect_sound();
  }
}

TEST(Topology, TellsWhatALeaverLeavesVacant) {
  Mesh mesh(8, {2, 2, 4});
  const AgentIndex lead = mesh.at(3, 1);
  const AgentIndex coordinator = mesh.at(3, 2);
  const AgentIndex plain = mesh.at(3, 3);
  mesh.topology.promote_lead(3);
  mesh.topology.promote_coordinator(1);
  EXPECT_EQ(mesh.topology.leave(lead), (Vacancy{3, kNoPlace}));
  EXPECT_EQ(mesh.topology.leave(coordinator), (Vacancy{kNoPlace, 1}));
  EXPECT_EQ(mesh.topology.leave(plain), Vacancy{});
  EXPECT_EQ(mesh.topology.leave(plain), Vacancy{});
  EXPECT_EQ(mesh.topology.role_of(lead), AgentRole::agent);
  EXPECT_EQ(mesh.rows().cluster.load_relaxed(row_of(lead)), kNoPlace);
  EXPECT_EQ(mesh.topology.class_of(3), std::nullopt);
  mesh.expect_sound();
}

TEST(Topology, MovesAnAgentAndItsRoleStaysBehind) {
  Mesh mesh(8, {2, 1, 4});
  const AgentIndex lead = mesh.at(0, 7);
  mesh.topology.promote_lead(0);
  EXPECT_EQ(mesh.topology.move(lead, 1).value(), (Vacancy{0, kNoPlace}));
  EXPECT_EQ(mesh.topology.role_of(lead), AgentRole::agent);
  EXPECT_EQ(mesh.topology.place_of(lead), (Place{1, 1}));
  EXPECT_EQ(mesh.rows().sector.load_relaxed(row_of(lead)), 1U);
  mesh.expect_sound();
}

TEST(Topology, BalancesUntilNoSectorHasAClustersWorthMoreThanAnother) {
  Mesh mesh(200, {4, 5, 6});
  for (std::uint32_t i = 0; i < 30; ++i) mesh.at(i / 6, static_cast<std::uint16_t>(i));
  std::uint32_t moves = 0;
  while (const auto move = mesh.topology.next_move()) {
    ASSERT_TRUE(mesh.topology.move(move->agent, move->to_cluster).has_value());
    ASSERT_LT(++moves, 100U);
    mesh.expect_sound();
  }
  std::uint32_t most = 0;
  std::uint32_t least = 200;
  for (std::uint32_t sector = 0; sector < 4; ++sector) {
    most = std::max(most, mesh.topology.sector(sector).agents);
    least = std::min(least, mesh.topology.sector(sector).agents);
  }
  EXPECT_LE(most - least, 6U);
  EXPECT_GT(moves, 0U);
}

TEST(Topology, MovesNobodyAmongStrangersToBalance) {
  Mesh mesh(20, {2, 1, 8});
  for (int i = 0; i < 8; ++i) mesh.at(0, 1, AgentClass::edge);
  EXPECT_TRUE(mesh.topology.next_move() == std::nullopt);  // 8 more are a cluster's worth, no more
  Mesh lopsided(20, {2, 2, 4});
  for (int i = 0; i < 8; ++i) lopsided.at(static_cast<std::uint32_t>(i / 4), 1, AgentClass::edge);
  lopsided.at(2, 1, AgentClass::gpu);
  lopsided.at(3, 1, AgentClass::human);
  EXPECT_TRUE(lopsided.topology.next_move() == std::nullopt);
}

TEST(Topology, GoesOnFromTheColumnsAfterARestart) {
  Mesh mesh(8, {2, 2, 4});
  const AgentIndex lead = mesh.at(2, 1);
  const AgentIndex coordinator = mesh.at(2, 2);
  const AgentIndex torn = mesh.at(0, 2);
  mesh.topology.promote_lead(2);
  mesh.topology.promote_coordinator(1);
  mesh.rows().sector.store_relaxed(row_of(torn), 1);  // a death between the stores of a move
  mesh.rows().role.store_relaxed(row_of(torn), 1);    // and of a promotion, unfinished
  auto again = mesh.restarted();
  ASSERT_TRUE(again.has_value()) << again.error().sentence;
  EXPECT_TRUE(again->verify().has_value());
  EXPECT_EQ(again->lead(2), lead);
  EXPECT_EQ(again->coordinator(1), coordinator);
  EXPECT_EQ(again->place_of(torn), (Place{0, 0}));
  EXPECT_EQ(mesh.rows().sector.load_relaxed(row_of(torn)), 0U);
  EXPECT_EQ(again->lead(0), torn);
}

TEST(Topology, LetsTheFirstOfTwoClaimantsLead) {
  Mesh mesh(8, {1, 1, 4});
  const AgentIndex first = mesh.at(0, 9);
  const AgentIndex second = mesh.at(0, 1);
  mesh.rows().role.store_relaxed(row_of(first), 1);
  mesh.rows().role.store_relaxed(row_of(second), 1);
  auto again = mesh.restarted().value();
  EXPECT_EQ(again.lead(0), first);
  EXPECT_EQ(again.role_of(second), AgentRole::agent);
  EXPECT_TRUE(again.verify().has_value());
}

TEST(Topology, RefusesColumnsThatItNeverWrote) {
  Mesh mesh(8, {1, 2, 2});
  const AgentIndex row = mesh.at(0, 1);
  mesh.rows().cluster.store_relaxed(row_of(row), 2);
  EXPECT_EQ(mesh.restarted().error().code, Errc::corrupt);
  EXPECT_FALSE(mesh.topology.verify().has_value());
  mesh.rows().cluster.store_relaxed(row_of(row), 1);
  EXPECT_TRUE(mesh.restarted().has_value());
  mesh.rows().agent_class.store_relaxed(row_of(row), 6);
  EXPECT_EQ(mesh.restarted().error().code, Errc::corrupt);
}

// The search that place() abridges: {order, distance, cluster}; an order of 9: no cluster has room.
using Choice = std::tuple<int, double, std::uint32_t>;
Choice best_of_all(const Topology& topology, AgentClass agent_class, double score) {
  Choice best{9, 0, 0};
  for (std::uint32_t c = 0; c < topology.cluster_count(); ++c) {
    const GroupCounts& counts = topology.cluster(c);
    if (counts.agents == 5) continue;
    const double mean =
        counts.agents == 0 ? 0 : static_cast<double>(counts.score_sum) / counts.agents;
    const int order = counts.agents == 0 ? 1 : topology.class_of(c) == agent_class ? 0 : 2;
    const double distance =
        counts.agents == 0 ? topology.sector(topology.sector_of(c)).agents : std::abs(mean - score);
    best = std::min(best, Choice(order, distance, c));
  }
  return best;
}

// A new row, if it was placed: where the search through all clusters would.
std::optional<AgentIndex> place_one(Mesh& mesh, std::uint32_t die) {
  Topology& topology = mesh.topology;
  const auto agent_class = static_cast<AgentClass>((die >> 8) % 3);
  const AgentIndex row = mesh.add(agent_class, static_cast<std::uint16_t>(die % 1'001));
  const double score = die % 1'001;
  const auto [order, distance, cluster] = best_of_all(topology, agent_class, score);
  const auto place = topology.place(row);
  RC_ASSERT(place.has_value() == (order != 9));
  if (!place) return std::nullopt;
  if (place->cluster != cluster) {  // doubles round: equally near, then
    RC_ASSERT(order != 1);
    const GroupCounts& now = topology.cluster(place->cluster);
    const double before = static_cast<double>(now.score_sum) - score;
    RC_ASSERT(std::abs(std::abs(before / (now.agents - 1) - score) - distance) < 1e-9);
  }
  return row;
}

// One of the things that happen to those that are present.
void change_one(Mesh& mesh, std::vector<AgentIndex>& present, std::uint32_t die) {
  Topology& topology = mesh.topology;
  const auto any = [&](std::uint32_t number) { return present[number % present.size()]; };
  const std::uint32_t what = die >> 28;
  if (what < 10) {
    const AgentIndex row = any(die);
    topology.leave(row);
    mesh.rows().state.store_relaxed(row_of(row), 0);
    std::erase(present, row);
  } else if (what < 12) {
    mesh.set_score(any(die), static_cast<std::uint16_t>(die % 1'001));
    mesh.set_state(any(die / 7), static_cast<AgentState>(1 + die % 4));
  } else if (what < 13) {
    (void)topology.move(any(die), die % topology.cluster_count());
  } else if (what < 14) {
    mesh.rows().agent_class.store_relaxed(row_of(any(die)), static_cast<std::uint8_t>(die % 6));
    topology.refresh(any(die));
  } else {
    topology.promote_lead(die % topology.cluster_count());
    topology.promote_coordinator(die % 3);
  }
}

// Random joins, leaves, moves, scores, states, promotions and restarts: counts are always those
// that a recount gives, and placement is what a search through all clusters finds.
RC_GTEST_PROP(Topology, CountsStayTrueAndPlacementIsTheBestOfAll,
              (std::vector<std::uint32_t> dice)) {
  Mesh mesh(600, {3, 3, 5});
  Topology& topology = mesh.topology;
  std::vector<AgentIndex> present;
  for (std::uint32_t& die : dice) die *= 0x9E37'79B1U;  // small numbers are the likeliest
  for (std::size_t step = 0; step < std::min<std::size_t>(6 * dice.size(), 590); ++step) {
    const std::uint32_t die = dice[step % dice.size()] + static_cast<std::uint32_t>(step) * 40'503U;
    if (die >> 28 < 8 || present.empty()) {
      if (const auto row = place_one(mesh, die)) present.push_back(*row);
    } else {
      change_one(mesh, present, die);
    }
    const Status verified = topology.verify();
    if (!verified) RC_FAIL(verified.error().sentence);
  }
  const auto again = mesh.restarted();
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->verify().has_value());
  for (std::uint32_t c = 0; c < topology.cluster_count(); ++c) {
    RC_ASSERT(again->cluster(c) == topology.cluster(c));
    RC_ASSERT(again->lead(c) == topology.lead(c));
  }
}

// Registry and topology over one table: an agent that comes back stands where it stood.
TEST(Topology, KeepsThePlaceOfAnAgentThatComesBackAndFreesThatOfOneForgotten) {
  const TestTable table(4);
  Registry registry = Registry::create(table.agents(), table.owners(), {}).value();
  Topology topology = Topology::create(table.agents(), {1, 2, 2}).value();
  const StationId station{1};
  const AgentId id = registry.enrol({"a", 1, {.station = station}}).value().id;
  EXPECT_EQ(topology.place_of(index_of(id)), Place{});
  const Place place = topology.place(index_of(id)).value();
  EXPECT_EQ(topology.promote_lead(place.cluster), index_of(id));
  std::array<AgentIndex, 1> rows{};
  registry.detach(station, from_ns(1), rows);
  EXPECT_EQ(topology.refresh(rows[0]), (Vacancy{place.cluster, kNoPlace}));
  EXPECT_EQ(topology.cluster(place.cluster).healthy, 0U);
  ASSERT_TRUE(registry.enrol({"a", 1, {.station = station}}).has_value());
  EXPECT_EQ(topology.refresh(rows[0]), Vacancy{});
  EXPECT_EQ(topology.place_of(index_of(id)), place);
  registry.detach(station, from_ns(2), rows);
  ASSERT_TRUE(registry.forget("a").has_value());
  topology.leave(rows[0]);
  EXPECT_TRUE(topology.verify().has_value());
  EXPECT_TRUE(registry.verify().has_value());
  EXPECT_EQ(topology.cluster(place.cluster).agents, 0U);
}

}  // namespace of_topology_test
}  // namespace mesh::engine
