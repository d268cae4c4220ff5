#include "engine/coordination/blocks/column_scorer.hpp"

#include <cmath>
#include <limits>

namespace mesh::coordination {
namespace of_column_scorer_test {

constexpr SelectTerms kAll{.reputation = .25,
                           .health = .2,
                           .latency = .1,
                           .load = .15,
                           .locality = .1,
                           .impedance = .15,
                           .version = .05};

struct Columns {
  std::vector<float> reputation, health, latency, utilisation, impedance;
  std::vector<std::uint32_t> region, zone, version;
  [[nodiscard]] TermColumns spans() const {
    return {reputation, health, latency, utilisation, impedance, region, zone, version};
  }
};

TEST(ColumnScorer, IsTheWeightedMeanOfItsTerms) {
  const Columns columns{{.9F}, {.8F}, {200.F}, {.25F}, {400.F}, {7}, {3}, {5}};
  const TermWishes wishes{kAll, 200, 7, 3, 6};
  const ColumnScorer scorer(columns.spans(), wishes);
  const SelectTerms terms = scorer.terms(0);
  EXPECT_NEAR(terms.reputation, .9, 1e-6);
  EXPECT_NEAR(terms.health, .8, 1e-6);
  EXPECT_NEAR(terms.latency, .5, 1e-9) << "at the reference";
  EXPECT_NEAR(terms.load, .75, 1e-9);
  EXPECT_NEAR(terms.locality, 1, 1e-9);
  EXPECT_NEAR(terms.impedance, .6, 1e-9);
  EXPECT_NEAR(terms.version, .5, 1e-9) << "an older one";
  const double sum =
      .25 * .9 + .2 * .8 + .1 * .5 + .15 * .75 + .1 * 1 + .15 * .6 + .05 * .5;  // weights sum to 1
  EXPECT_NEAR(scorer.score(0), sum, 1e-6);
}

TEST(ColumnScorer, KnowsNearFromFar) {
  const Columns columns{{}, {}, {}, {}, {}, {7, 7, 8}, {3, 4, 3}, {}};
  const SelectTerms near_only{.locality = 1};
  const ColumnScorer zoned(columns.spans(), {near_only, 200, 7, 3, 0});
  EXPECT_DOUBLE_EQ(zoned.score(0), 1);
  EXPECT_DOUBLE_EQ(zoned.score(1), .7);
  EXPECT_DOUBLE_EQ(zoned.score(2), .2) << "the same number, of another region";
  EXPECT_DOUBLE_EQ(ColumnScorer(columns.spans(), {near_only, 200, 7}).score(0), .7);
  EXPECT_DOUBLE_EQ(ColumnScorer(columns.spans(), {near_only}).score(2), 1) << "no wish";
}

TEST(ColumnScorer, TakesWhatIsMissingOrNoNumberForTheWorst) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinite = std::numeric_limits<float>::infinity();
  const Columns columns{{nan, infinite, -3.F},
                        {nan},
                        {nan, -1.F, infinite},
                        {nan, 9.F},
                        {nan, 5'000.F},
                        {1},
                        {},
                        {1}};
  const ColumnScorer scorer(columns.spans(), {kAll, 200, 7, 3, 6});
  EXPECT_DOUBLE_EQ(scorer.terms(0).reputation, 0);
  EXPECT_DOUBLE_EQ(scorer.terms(1).reputation, 1);
  EXPECT_DOUBLE_EQ(scorer.terms(2).reputation, 0);
  EXPECT_DOUBLE_EQ(scorer.terms(1).latency, .5) << "not known";
  EXPECT_DOUBLE_EQ(scorer.terms(2).latency, 0);
  EXPECT_DOUBLE_EQ(scorer.terms(1).load, 0) << "overloaded";
  EXPECT_DOUBLE_EQ(scorer.terms(1).impedance, 0);
  for (std::uint32_t row = 0; row < 5; ++row) {
    EXPECT_TRUE(scorer.score(row) >= 0 && scorer.score(row) <= 1) << row;
  }
  EXPECT_DOUBLE_EQ(scorer.score(9), 0) << "beyond every column";
  EXPECT_DOUBLE_EQ(ColumnScorer({}, {kAll}).score(0), 0) << "nothing is known of anybody";
}

// Impedance alone: what routing within a cluster and find_best are.
TEST(ColumnScorer, WithImpedanceAloneFindsTheNearest) {
  std::vector<float> impedance{300, 120, 700, 120};
  Selector selector(4);
  for (std::uint32_t row = 0; row < 4; ++row) {
    selector.set_active(row, true);
    selector.offer(row, 0, true);
  }
  TermColumns columns;
  columns.impedance = impedance;
  const ColumnScorer scorer(columns, {{.impedance = 1}});
  SelectRequest request;
  request.query.capabilities = 1;
  request.pick.policy = PickPolicy::argmax;
  Rng rng(1);
  std::array<std::uint32_t, 3> found{};
  EXPECT_EQ(selector.select(request, scorer, rng, found).count, 3U);
  EXPECT_EQ(found, (std::array<std::uint32_t, 3>{1, 3, 0})) << "of two alike the lower row first";
}

RC_GTEST_PROP(ColumnScorer, StaysInItsRangeAndNeverFallsWhenATermRises, ()) {
  const auto draw = [](int most) { return static_cast<float>(*rc::gen::inRange(0, most)) / 100.F; };
  Columns columns{{draw(100)},
                  {draw(100)},
                  {draw(100'000)},
                  {draw(100)},
                  {draw(100'000)},
                  {*rc::gen::inRange(1U, 3U)},
                  {1},
                  {*rc::gen::inRange(1U, 3U)}};
  const auto weight = [] { return static_cast<double>(*rc::gen::inRange(0, 5)); };
  TermWishes wishes{
      {weight(), weight(), weight(), weight(), weight(), weight(), weight()}, 100, 1, 1, 2};
  const double before = ColumnScorer(columns.spans(), wishes).score(0);
  RC_ASSERT(before >= 0);
  RC_ASSERT(before <= 1);
  switch (*rc::gen::inRange(0, 5)) {
    case 0:
      columns.reputation[0] += .01F;
      break;
    case 1:
      columns.health[0] += .01F;
      break;
    case 2:
      columns.latency[0] *= .9F;
      break;
    case 3:
      columns.utilisation[0] *= .9F;
      break;
    default:
      columns.impedance[0] *= .9F;
  }
  RC_ASSERT(ColumnScorer(columns.spans(), wishes).score(0) >= before);
  // A term without a column changes nothing: as if it weighed nothing.
  TermColumns fewer = columns.spans();
  fewer.health = {};
  TermWishes without = wishes;
  without.weights.health = 0;
  RC_ASSERT(ColumnScorer(fewer, wishes).score(0) ==
            ColumnScorer(columns.spans(), without).score(0));
}

}  // namespace of_column_scorer_test
}  // namespace mesh::coordination
