// The selector and what it is made of.
#include "engine/coordination/blocks/selector.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "engine/coordination/blocks/beta_sample.hpp"
#include "engine/coordination/blocks/eigen_trust.hpp"
#include "engine/coordination/blocks/recency_list.hpp"

namespace mesh::coordination {
namespace of_selector_test {

std::uint64_t any_seed() { return *rc::gen::arbitrary<std::uint64_t>(); }

std::vector<std::uint32_t> rows_of(const auto& set) {
  std::vector<std::uint32_t> rows;
  set.for_each([&](std::uint32_t row) { rows.push_back(row); });
  return rows;
}

RC_GTEST_PROP(CandidateSet, EqualsASetOfRows, ()) {
  const auto size = *rc::gen::inRange<std::uint32_t>(1, 1'000);
  CandidateSet set(size);
  std::set<std::uint32_t> model;
  Rng rng(any_seed());
  for (int i = 0; i < 600; ++i) {
    const auto row = static_cast<std::uint32_t>(rng.below(size));
    const bool member = rng.below(3) != 0;
    set.set(row, member);
    member ? static_cast<void>(model.insert(row)) : static_cast<void>(model.erase(row));
  }
  RC_ASSERT(set.count() == model.size());
  const std::vector<std::uint32_t> rows(model.begin(), model.end());
  RC_ASSERT(rows_of(set) == rows);
  CandidateMask mask(size);
  mask.fill();
  mask.keep(set.words());
  mask.count_again();
  RC_ASSERT(mask.count() == model.size());
  for (std::uint32_t rank = 0; rank < rows.size(); ++rank) {
    RC_ASSERT(set.select(rank) == rows[rank]);
    RC_ASSERT(mask.select(rank) == rows[rank]);
  }
  RC_ASSERT(!set.test(size + 64));
}

RC_GTEST_PROP(RecencyList, KeepsTheOrderOfTouches, ()) {
  constexpr std::uint32_t kNodes = 40;
  RecencyNodes nodes(kNodes);
  RecencyList list;
  std::vector<std::uint32_t> untouched;
  std::vector<std::uint32_t> touched;
  Rng rng(any_seed());
  for (int i = 0; i < 200; ++i) {
    const auto node = static_cast<std::uint32_t>(rng.below(kNodes));
    const bool fresh = std::count(untouched.begin(), untouched.end(), node) +
                           std::count(touched.begin(), touched.end(), node) ==
                       0;
    if (fresh) {
      list.add(nodes, node, node);
      untouched.insert(std::lower_bound(untouched.begin(), untouched.end(), node), node);
      continue;
    }
    std::erase(untouched, node);
    std::erase(touched, node);
    if (rng.below(3) == 0) {
      list.erase(nodes, node);
      continue;
    }
    list.touch(nodes, node);
    touched.push_back(node);
  }
  auto expected = untouched;
  expected.insert(expected.end(), touched.begin(), touched.end());
  std::vector<std::uint32_t> order;
  for (auto at = list.first(); at != RecencyList::kNone; at = nodes[at].next) order.push_back(at);
  RC_ASSERT(order == expected);
  RC_ASSERT(list.last_untouched() == (untouched.empty() ? RecencyList::kNone : untouched.back()));
}

TEST(BetaSample, HasTheMeanAndVarianceOfItsDistribution) {
  Rng rng(11);
  for (const auto& [a, b] : {std::pair{1.0, 1.0}, {3.0, 1.5}, {0.5, 0.7}, {40.0, 10.0}}) {
    constexpr int kDraws = 40'000;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = beta_sample(a, b, rng);
      ASSERT_TRUE(x >= 0 && x <= 1);
      sum += x, squares += x * x;
    }
    const double mean = sum / kDraws;
    const double variance = a * b / ((a + b) * (a + b) * (a + b + 1));
    EXPECT_NEAR(mean, a / (a + b), 0.01);
    EXPECT_NEAR(squares / kDraws - mean * mean, variance, 0.1 * variance);
  }
}

TEST(EigenTrust, GivesNothingToThoseThatOnlyPraiseEachOther) {
  // 0 trusts 1; 2 and 3 trust each other and nobody else trusts them.
  std::vector<double> ratings(16);
  ratings[1] = 1;
  ratings[2 * 4 + 3] = ratings[3 * 4 + 2] = 100;
  std::vector<double> trust(4);
  std::vector<double> scratch(4);
  eigen_trust(ratings, trust, scratch);
  EXPECT_GT(trust[1], 0.3);
  EXPECT_EQ(trust[2], 0);
  EXPECT_EQ(trust[3], 0);
  EXPECT_NEAR(std::accumulate(trust.begin(), trust.end(), 0.0), 1, 1e-9);
}

// --- pick --------------------------------------------------------------------------------------

TEST(Selector, ArgmaxTiesEndAtTheLowerRow) {
  CandidateSet set(200);
  for (const std::uint32_t row : {7U, 80U, 150U}) set.set(row, true);
  Rng rng(1);
  const PlainScorer same{[](std::uint32_t) { return 0.5; }};
  EXPECT_EQ(pick_from(set, {PickPolicy::argmax}, same, rng), 7U);
  const PlainScorer by_row{[](std::uint32_t row) { return row == 80 ? 0.9 : 0.5; }};
  EXPECT_EQ(pick_from(set, {PickPolicy::argmax}, by_row, rng), 80U);
}

TEST(Selector, OfTwoChoicesTheBetterWinsWhateverTheSeed) {
  CandidateSet set(100);
  set.set(3, true);
  set.set(99, true);
  const PlainScorer scorer{[](std::uint32_t row) { return row == 99 ? 0.6 : 0.4; }};
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Rng rng(seed);
    EXPECT_EQ(pick_from(set, {PickPolicy::p2c}, scorer, rng), 99U) << seed;
  }
  set.set(3, false);
  Rng rng(0);
  EXPECT_EQ(pick_from(set, {PickPolicy::p2c}, scorer, rng), 99U) << "one alone";
  set.set(99, false);
  EXPECT_EQ(pick_from(set, {PickPolicy::p2c}, scorer, rng), kNoRow);
}

TEST(Selector, TwoChoicesKeepThirtyThousandBinsWithinFiveOfTheMean) {
  constexpr std::uint32_t kBins = 30'000;
  CandidateSet set(kBins);
  for (std::uint32_t row = 0; row < kBins; ++row) set.set(row, true);
  std::vector<int> load(kBins);
  std::vector<int> random_load(kBins);
  Rng rng(5);
  const PlainScorer emptier{[&](std::uint32_t row) { return -load[row]; }};
  for (std::uint32_t ball = 0; ball < kBins; ++ball) {
    ++load[pick_from(set, {PickPolicy::p2c}, emptier, rng)];
    ++random_load[rng.below(kBins)];
  }
  const int most = *std::max_element(load.begin(), load.end());
  EXPECT_LE(most - 1, 5);
  EXPECT_LT(most, *std::max_element(random_load.begin(), random_load.end()));
}

TEST(Selector, WeightedPicksAreInProportionToThePowerOfTheScore) {
  CandidateSet set(3);
  for (std::uint32_t row = 0; row < 3; ++row) set.set(row, true);
  const std::array<double, 3> scores{0.9, 0.6, 0.3};
  const PlainScorer scorer{[&](std::uint32_t row) { return scores[row]; }};
  for (const double gamma : {1.0, 2.0, 1.5}) {
    Rng rng(9);
    std::array<int, 3> picked{};
    constexpr int kPicks = 60'000;
    for (int i = 0; i < kPicks; ++i) {
      ++picked[pick_from(set, {PickPolicy::weighted, gamma}, scorer, rng)];
    }
    double sum = 0;
    for (const double score : scores) sum += std::pow(score, gamma);
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(picked[i], kPicks * std::pow(scores[i], gamma) / sum, 700) << gamma << ' ' << i;
    }
  }
}

TEST(Selector, WeightedPicksKeepTheirProportionWhereDrawsHardlyEverHit) {
  CandidateSet set(2);
  set.set(0, true);
  set.set(1, true);
  const PlainScorer scorer{[](std::uint32_t row) { return row == 0 ? 1e-4 : 3e-4; }};
  Rng rng(2);
  int ones = 0;
  constexpr int kPicks = 8'000;
  for (int i = 0; i < kPicks; ++i) {
    ones += pick_from(set, {PickPolicy::weighted}, scorer, rng) == 1 ? 1 : 0;
  }
  EXPECT_NEAR(ones, 0.75 * kPicks, 200);
  const PlainScorer nothing{[](std::uint32_t) { return 0.0; }};
  EXPECT_EQ(pick_from(set, {PickPolicy::weighted}, nothing, rng), 0U) << "none is worth anything";
}

// --- filters -----------------------------------------------------------------------------------

struct Mesh {
  std::vector<std::uint64_t> offers;
  std::vector<std::uint32_t> region;
  std::vector<float> health;
  std::vector<float> impedance;
  std::vector<bool> active, routable, quarantined;
};

Mesh random_mesh(Selector& selector, std::uint32_t rows, Rng& rng) {
  Mesh mesh;
  for (std::uint32_t row = 0; row < rows; ++row) {
    mesh.offers.push_back(rng.next() & rng.next());
    mesh.region.push_back(static_cast<std::uint32_t>(rng.below(3)));
    mesh.health.push_back(static_cast<float>(rng.u01()));
    mesh.impedance.push_back(static_cast<float>(1'000 * rng.u01()));
    mesh.active.push_back(rng.below(8) != 0);
    mesh.routable.push_back(rng.below(8) != 0);
    mesh.quarantined.push_back(rng.below(8) == 0);
    for (unsigned c = 0; c < 64; ++c) selector.offer(row, c, (mesh.offers[row] >> c & 1U) != 0);
    selector.set_active(row, mesh.active[row]);
    selector.set_routable(row, mesh.routable[row]);
    selector.set_quarantined(row, mesh.quarantined[row]);
  }
  return mesh;
}

RC_GTEST_PROP(Selector, SelectsWhatPassesEveryFilterAndCountsTheRest, ()) {
  const auto rows = *rc::gen::inRange<std::uint32_t>(1, 400);
  Selector selector(rows);
  Rng rng(any_seed());
  const Mesh mesh = random_mesh(selector, rows, rng);
  const std::array<std::uint32_t, 2> exclude{static_cast<std::uint32_t>(rng.below(rows)), rows};
  SelectQuery query;
  query.capabilities = std::uint64_t{1} << rng.below(64);
  if (rng.below(2) == 0) query.capabilities |= std::uint64_t{1} << rng.below(64);
  if (rng.below(2) == 0) query.region = 1;
  if (rng.below(2) == 0) query.health_min = 0.3;
  if (rng.below(2) == 0) query.impedance_max = 700;
  query.exclude = exclude;
  const SelectColumns columns{mesh.region, mesh.health, mesh.impedance};
  SelectRemoved removed{};
  std::vector<std::uint32_t> expected;
  for (std::uint32_t row = 0; row < rows; ++row) {
    const std::array<bool, kSelectFilters> passes{
        (mesh.offers[row] & query.capabilities) == query.capabilities,
        mesh.active[row],
        mesh.routable[row],
        !mesh.quarantined[row],
        row != exclude[0],
        query.region == kAnyRegion || mesh.region[row] == query.region,
        static_cast<double>(mesh.health[row]) >= query.health_min,
        static_cast<double>(mesh.impedance[row]) <= query.impedance_max};
    const auto first = std::find(passes.begin(), passes.end(), false) - passes.begin();
    if (first == kSelectFilters) {
      expected.push_back(row);
    } else {
      ++removed[static_cast<std::size_t>(first)];
    }
  }
  const SelectResult result = selector.filter(query, columns);
  RC_ASSERT(result.code == (expected.empty() ? Errc::no_candidate : Errc::ok));
  RC_ASSERT(rows_of(selector.candidates()) == expected);
  RC_ASSERT(result.removed == (expected.empty() ? removed : SelectRemoved{}));
  RC_ASSERT(selector.explain(query, columns) == removed);
}

TEST(Selector, FindBestIsItsConfigurationWithImpedanceAlone) {
  // mesh.md: the N of lowest impedance, 500 at most, mesh-wide.
  constexpr std::uint32_t kRows = 500;
  Selector selector(kRows);
  std::vector<float> impedance;
  Rng rng(3);
  for (std::uint32_t row = 0; row < kRows; ++row) {
    impedance.push_back(static_cast<float>(rng.below(1'000)));
    selector.offer(row, row % 2, true);
    selector.set_active(row, true);
  }
  SelectRequest request;
  request.query.capabilities = 2;
  request.query.impedance_max = 500;
  request.columns.impedance = impedance;
  request.pick.policy = PickPolicy::argmax;
  const SelectTerms weights{.impedance = 1};
  const PlainScorer scorer{[&](std::uint32_t row) {
    return select_score({.impedance = impedance_term(static_cast<double>(impedance[row]))},
                        weights);
  }};
  std::array<std::uint32_t, 10> found{};
  const auto result = selector.select(request, scorer, rng, found);
  std::vector<std::uint32_t> sorted;
  for (std::uint32_t row = 1; row < kRows; row += 2) {
    if (impedance[row] <= 500) sorted.push_back(row);
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](auto a, auto b) { return impedance[a] < impedance[b]; });
  ASSERT_EQ(result.count, 10U);
  EXPECT_TRUE(std::equal(found.begin(), found.end(), sorted.begin()));
}

TEST(Selector, SaysWhichFilterEmptiedTheSet) {
  Selector selector(4);
  for (std::uint32_t row = 0; row < 4; ++row) {
    selector.set_active(row, row != 0);
    selector.offer(row, 5, row != 1);
    selector.set_routable(row, row != 2);
    selector.set_quarantined(row, row == 3);
  }
  SelectRequest request;
  request.query.capabilities = 1U << 5;
  const PlainScorer scorer{[](std::uint32_t) { return 1.0; }};
  Rng rng(1);
  std::array<std::uint32_t, 2> out{};
  const auto result = selector.select(request, scorer, rng, out);
  EXPECT_EQ(result.code, Errc::no_candidate);
  EXPECT_EQ(result.removed, (SelectRemoved{1, 1, 1, 1, 0, 0, 0, 0}));
  EXPECT_EQ(to_string(SelectFilter::quarantined), "quarantined");
}

TEST(Selector, RefusesBoundsThatAreNoNumbersAndAnAnswerWithoutRoom) {
  Selector selector(1);
  selector.set_active(0, true);
  SelectRequest request;
  Rng rng(1);
  const PlainScorer scorer{[](std::uint32_t) { return 1.0; }};
  std::array<std::uint32_t, 1> out{};
  EXPECT_EQ(selector.select(request, scorer, rng, {}).code, Errc::invalid_argument);
  request.query.impedance_max = std::nan("");
  EXPECT_EQ(selector.select(request, scorer, rng, out).code, Errc::invalid_argument);
  selector.offer(9, 0, true);
  selector.offer(0, 64, true);
  selector.set_active(9, true);
  EXPECT_EQ(selector.filter({}, {}).code, Errc::ok) << "a row that is none is passed over";
}

TEST(Selector, ExploresTheLeastRecentlyTriedEachNthTime) {
  Selector selector(3, 4);
  for (std::uint32_t row = 0; row < 3; ++row) selector.set_active(row, true);
  SelectRequest request;
  request.pick.policy = PickPolicy::argmax;
  const PlainScorer scorer{[](std::uint32_t row) { return row == 0 ? 0.9 : 0.1; }};
  Rng rng(1);
  std::array<std::uint32_t, 1> out{};
  std::vector<std::uint32_t> picked;
  for (int i = 0; i < 12; ++i) {
    const auto result = selector.select(request, scorer, rng, out);
    EXPECT_EQ(result.explored, i % 4 == 3);
    picked.push_back(out[0]);
  }
  EXPECT_EQ(picked, (std::vector<std::uint32_t>{0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1}));
}

// As argmax one by one, and it asks nobody whether he is admitted who would be none of them.
TEST(Selector, TheTopOfASetIsWhatArgmaxPicksOneByOne) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint8_t>& scores, std::uint8_t wanted) {
    CandidateSet left(scores.size() + 1);
    for (std::uint32_t row = 0; row < scores.size(); ++row) left.set(row, true);
    const PlainScorer scorer{[&](std::uint32_t row) { return scores[row] % 16 / 16.0; }};
    const auto admits = [&](std::uint32_t row) { return scores[row] % 3 != 0; };
    const std::size_t count = wanted % 20;
    const auto top = pick_top(left, scorer, admits, count);
    for (std::uint32_t row = 0; row < scores.size(); ++row)
      if (!admits(row)) left.set(row, false);
    Rng rng(1);
    for (const Ranked& one : top) {
      RC_ASSERT(one.row == pick_from(left, {PickPolicy::argmax}, scorer, rng));
      RC_ASSERT(one.score == scorer.score(one.row));
      left.set(one.row, false);
    }
    RC_ASSERT(top.size() == count || left.count() == 0U);
  }));
}

TEST(Selector, AnswersWithDistinctRowsUnderEachPolicy) {
  Selector selector(20);
  for (std::uint32_t row = 0; row < 20; ++row) selector.set_active(row, true);
  const PlainScorer scorer{[](std::uint32_t row) { return 0.01 * row + 0.1; }};
  Rng rng(4);
  for (const auto policy :
       {PickPolicy::p2c, PickPolicy::argmax, PickPolicy::weighted, PickPolicy::thompson}) {
    SelectRequest request;
    request.pick.policy = policy;
    std::array<std::uint32_t, 32> out{};
    const auto result = selector.select(request, scorer, rng, out);
    EXPECT_EQ(result.count, 20U) << to_string(policy);
    EXPECT_EQ(std::set(out.begin(), out.begin() + 20).size(), 20U) << to_string(policy);
  }
}

}  // namespace of_selector_test
}  // namespace mesh::coordination
