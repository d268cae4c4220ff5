#include "sched/predictor.hpp"

#include <random>
#include <set>

#include "tests/crash_memory.hpp"
#include "tests/sched/shared_bytes.hpp"
#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_predictor_test {

using mesh::testing::crash_plan;
using mesh::testing::CrashMemory;
using mesh::testing::Death;
using testing::SharedBytes;

std::vector<ArrivalSample> samples_of(std::initializer_list<double> totals) {
  std::vector<ArrivalSample> samples;
  for (const double total : totals) samples.push_back({total, 15, 1, 0, false});
  return samples;
}
// Class A: base 10, so 15 at weight 1; 5 ms one way.
AgentEstimate estimate_of(const std::vector<ArrivalSample>& samples, std::uint32_t unanswered = 0) {
  return estimate({.samples = samples,
                   .unanswered = unanswered,
                   .one_way_ms = 5,
                   .base_processing_ms = 10,
                   .tolerance_ms = 50},
                  {});
}

TEST(AgentEstimate, WorkIsTheMedianPerUnitOfWeightAndQueueShrunkByOneSample) {
  std::vector<ArrivalSample> samples;
  for (const auto& [weight, queue, work] :
       {std::tuple{0.0, 0.0, 18.0}, {1.0, 0.0, 20.0}, {2.0, 5.0, 22.0}, {4.0, 1.0, 900.0}}) {
    const double processing = work * (1 + 0.5 * weight) * (1 + 0.1 * queue);
    samples.push_back({processing + 5, processing, weight, queue, false});
  }
  EXPECT_DOUBLE_EQ(estimate_of(samples).work_ms, (4 * 20.0 + 10) / 5);
}

TEST(AgentEstimate, CentreIsTheMeanOfTheMiddleThird) {
  EXPECT_DOUBLE_EQ(estimate_of(samples_of({27})).centre_ms, 7);
  EXPECT_DOUBLE_EQ(estimate_of(samples_of({27, 31})).centre_ms, 9);
  EXPECT_DOUBLE_EQ(estimate_of(samples_of({25, 21, 22, 23, 24, 500})).centre_ms, 3.5);
  // A third of 22 and of 25 beside 23.
  EXPECT_NEAR(estimate_of(samples_of({25, 21, 22, 23, 500})).centre_ms, 3.2, 1e-9);
}

TEST(AgentEstimate, OneWildArrivalMovesNeitherCentreNorScaleFar) {
  const AgentEstimate calm = estimate_of(samples_of({20, 21, 22, 23, 24, 25, 26, 27, 28, 29}));
  const AgentEstimate wild = estimate_of(samples_of({20, 21, 22, 23, 1e7, 25, 26, 27, 28, 29}));
  EXPECT_NEAR(calm.centre_ms, wild.centre_ms, 1);
  EXPECT_LT(wild.scale_ms, 2 * calm.scale_ms);
}

TEST(AgentEstimate, AStepKeepsTheFiveThatShowedItAndFourDoNot) {
  const std::vector<ArrivalSample> steady =
      samples_of({20.1, 20.3, 19.8, 20, 20.2, 19.9, 20.4, 19.7, 20.1});
  for (std::uint32_t newest = 1; newest <= 5; ++newest) {
    for (const double to : {60.0, 21.9, 15.1}) {
      std::vector<ArrivalSample> samples = steady;
      for (std::uint32_t i = 0; i < newest; ++i)
        samples.insert(samples.begin(), {to, 15, 1, 0, false});
      const AgentEstimate found = estimate_of(samples);
      EXPECT_EQ(found.has_stepped, newest == 5) << newest << " at " << to;
      EXPECT_EQ(found.used, newest == 5 ? 5U : samples.size());
      if (newest == 5) {
        EXPECT_NEAR(found.centre_ms, to - 5 - found.work_ms * 1.5, 1e-9);
      }
    }
  }
}

TEST(AgentEstimate, FiveOnBothSidesOrWithinFourDeviationsAreNoStep) {
  std::vector<ArrivalSample> samples =
      samples_of({60, 1, 60, 1, 60, 20.1, 20.3, 19.8, 20, 20.2, 19.9, 20.4, 19.7, 20.1});
  EXPECT_FALSE(estimate_of(samples).has_stepped);
  samples = samples_of({21, 21, 21, 21, 21, 20.1, 20.3, 19.8, 20, 20.2, 19.9, 20.4, 19.7, 20.1});
  EXPECT_FALSE(estimate_of(samples).has_stepped);
}

TEST(AgentEstimate, SurenessIsTheShareInsideShrunkTowardTheClassAndMissesAreOutside) {
  std::vector<ArrivalSample> samples(8, samples_of({20}).front());
  const AgentEstimate all = estimate_of(samples);
  EXPECT_DOUBLE_EQ(all.sure, 1);
  EXPECT_EQ(all.evidence, 8U);
  const AgentEstimate half = estimate_of(samples, 8);
  EXPECT_EQ(half.evidence, 16U);
  EXPECT_DOUBLE_EQ(half.sure, (16 * 0.5 + 8 * 1) / 24);
  // Of its last 32 sends it answered none, whatever it did before.
  const AgentEstimate none = estimate_of(samples, 32);
  EXPECT_EQ(none.evidence, 32U);
  EXPECT_DOUBLE_EQ(none.sure, 8.0 / 40);
  samples[3].observed_ms = 200;
  EXPECT_LT(estimate_of(samples).sure, 1);
}

// by_t lies 60 ms beyond the centre: an arrival at the centre is then more than 50 ms early.
TEST(AgentEstimate, SurenessByTIsOfArrivalsNearWhatByTAimsAt) {
  std::vector<double> totals(16, 25);
  for (unsigned i = 0; i < 4; ++i) totals[4 * i] = 105;
  std::vector<ArrivalSample> samples;
  for (const double total : totals) samples.push_back({total, 15, 1, 0, false});
  const AgentEstimate found = estimate_of(samples);
  ASSERT_GT(found.by_t_ms, found.centre_ms + 50);
  EXPECT_DOUBLE_EQ(found.inside, 0.75);
  EXPECT_GT(found.sure, 0.6);
  EXPECT_LT(found.sure_by_t, 0.5);
}

TEST(AgentEstimate, WhoNeverAnswersIsBelievedSoonerWhereAgentsDiffer) {
  ClassLearning differ;
  ClassLearning alike;
  for (unsigned i = 0; i < 2'000; ++i) {
    const bool answers = i % 2 == 0;
    differ.answering.learn(0.5, answers ? 1 : 0, answers);       // each as it always did
    alike.answering.learn(0.5, answers ? 0.6 : 0.4, i % 4 < 2);  // by chance
  }
  EXPECT_LT(differ.answering.prior_samples(), 1);
  EXPECT_GT(alike.answering.prior_samples(), 50);
  EXPECT_DOUBLE_EQ(ClassLearning{}.answering.prior_samples(), 8);
  const std::vector<ArrivalSample> samples(8, samples_of({20}).front());
  const auto sure = [&](const ClassLearning& learned) {
    return estimate({.samples = samples,
                     .unanswered = 24,
                     .one_way_ms = 5,
                     .base_processing_ms = 10,
                     .tolerance_ms = 50},
                    learned)
        .sure;
  };
  EXPECT_NEAR(sure(differ), 0.25, 0.03);
  EXPECT_GT(sure(alike), 0.5);
}

// What an agent of `work` at some load teaches.
void teach(ClassLearning& learned, const WorkFactors& truth, const ArrivalSample& load) {
  ArrivalSample sample = load;
  sample.processing_ms = 100 * truth.of(load.weight, load.queue_depth);
  // Its earlier samples were all at weight 1 with an empty queue.
  const WorkReference reference{.work_ms = 100 * truth.of(1, 0) / learned.factors.of(1, 0),
                                .weight = 1 / (1 + learned.factors.alpha),
                                .queue = 0};
  learned.learn_work(sample, reference);
}

TEST(ClassLearning, FactorsStandStillWithoutEightSamplesThatSaySomethingOfThem) {
  ClassLearning learned;
  for (unsigned i = 0; i < 1'000; ++i) teach(learned, {2, 0.7}, {0, 0, 1, 0, false});
  EXPECT_FALSE(learned.solve());
  for (unsigned i = 0; i < 7; ++i) teach(learned, {2, 0.7}, {0, 0, 3, 0, false});
  EXPECT_FALSE(learned.solve());
  EXPECT_EQ(learned.factors, WorkFactors{});
  teach(learned, {2, 0.7}, {0, 0, 3, 0, false});
  EXPECT_TRUE(learned.solve());
  EXPECT_GT(learned.factors.alpha, kWeightFactor);
  EXPECT_EQ(learned.factors.beta, kQueueFactor);
}

TEST(ClassLearning, FactorsComeToTheTruth) {
  for (const WorkFactors truth : {WorkFactors{0.9, 0.25}, {0.1, 0.02}, {2, 0.6}, {0, 0}}) {
    ClassLearning learned;
    std::mt19937_64 random(mesh::testing::seed());
    for (unsigned i = 0; i < 4'000; ++i) {
      teach(learned, truth,
            {0, 0, static_cast<double>(random() % 5), static_cast<double>(random() % 10), false});
      if (i % 20 == 0) learned.solve();
    }
    EXPECT_NEAR(learned.factors.alpha, truth.alpha, 0.05 + 0.05 * truth.alpha);
    EXPECT_NEAR(learned.factors.beta, truth.beta, 0.01 + 0.05 * truth.beta);
    EXPECT_TRUE(learned.is_sane());
  }
}

TEST(ClassLearning, ProbabilitiesAreShiftedByHowOftenTheyCameTrue) {
  ClassLearning learned;
  EXPECT_EQ(learned.calibrate(Said::centre, 0.9), 0.9);
  for (unsigned i = 0; i < 4'000; ++i) learned.learn_hit(Said::centre, 0.9, i % 10 < 7);
  EXPECT_NEAR(learned.calibrate(Said::centre, 0.9), 0.7, 0.02);
  EXPECT_EQ(learned.calibrate(Said::centre, 0.5), 0.5);
}

TEST(ClassLearning, OffsAreNormalUntilThereIsEvidence) {
  ClassLearning learned;
  EXPECT_DOUBLE_EQ(learned.share_below(0), 0.5);
  EXPECT_NEAR(learned.share_below(1) - learned.share_below(-1), 0.6827, 1e-4);
  EXPECT_EQ(learned.share_below(-1e9), 0);
  EXPECT_EQ(learned.share_below(std::numeric_limits<double>::infinity()), 1);
  EXPECT_EQ(learned.share_below(std::numeric_limits<double>::quiet_NaN()), 0);
  // Half of all arrivals fall three deviations late.
  for (unsigned i = 0; i < 4'000; ++i) learned.learn_off(i % 2 == 0 ? 2.9 : 0.1);
  EXPECT_NEAR(learned.share_below(2), 0.5, 0.06);
  EXPECT_GT(learned.share_below(3), 0.97);
  EXPECT_TRUE(learned.is_sane());
}

RC_GTEST_PROP(ClassLearning, SharesBelowGrowAndStayShares, ()) {
  ClassLearning learned;
  for (const int off : *rc::gen::container<std::vector<int>>(rc::gen::inRange(-1'500, 1'500)))
    learned.learn_off(off / 100.0);
  double before = 0;
  for (int at = -1'200; at <= 1'200; ++at) {
    const double below = learned.share_below(at / 100.0);
    RC_ASSERT(below >= before && below <= 1);
    before = below;
  }
  RC_ASSERT(before == 1);
  RC_ASSERT(learned.is_sane());
}

TEST(ClassLearning, EachAimHasItsOwnReliability) {
  ClassLearning learned;
  for (unsigned i = 0; i < 4'000; ++i) learned.learn_hit(Said::by_t, 0.9, i % 2 == 0);
  EXPECT_EQ(learned.calibrate(Said::centre, 0.9), 0.9);
  EXPECT_NEAR(learned.calibrate(Said::by_t, 0.9), 0.5, 0.04);
}

TEST(ClassLearning, SpreadComesToTheNinetyFifthOfAHundred) {
  ClassLearning learned;
  std::mt19937_64 random(mesh::testing::seed());
  double mean = 0;
  for (unsigned i = 0; i < 20'000; ++i) {
    learned.learn_spread(static_cast<double>(random() % 10'000) / 1'000);  // uniform 0 to 10
    if (i >= 10'000) mean += learned.spread / 10'000;
  }
  EXPECT_NEAR(mean, 9.5, 0.2);
}

TEST(ClassLearning, AStepTakesBackWhatItsArrivalsTaught) {
  constexpr unsigned kAgents = 200;
  ClassLearning learned;
  std::mt19937_64 random(mesh::testing::seed());
  for (unsigned i = 0; i < 20'000; ++i) {
    learned.learn_spread(static_cast<double>(random() % 10'000) / 1'000);
    for (const Said which : {Said::centre, Said::by_t}) learned.learn_hit(which, 0.9, i % 10 != 0);
  }
  const ClassLearning before = learned;
  for (unsigned i = 0; i < kStepSamples * kAgents; ++i) {
    learned.learn_spread(100);
    for (const Said which : {Said::centre, Said::by_t}) learned.learn_hit(which, 0.9, false);
  }
  EXPECT_GT(learned.spread, before.spread + 15);
  EXPECT_LT(learned.calibrate(Said::centre, 0.9), 0.5);
  for (unsigned i = 0; i < kAgents; ++i) learned.learn_step(kStepSamples, true);
  EXPECT_NEAR(learned.spread, before.spread, 0.01);
  EXPECT_NEAR(learned.calibrate(Said::by_t, 0.9), 0.9, 0.03);
}

TEST(ClassLearning, TheStepOfOneAgentInManyMovesNobodysWord) {
  ClassLearning learned;
  for (unsigned i = 0; i < 5'000; ++i) learned.learn_hit(Said::centre, 0.9, i % 2 == 0);
  const double word = learned.calibrate(Said::centre, 0.9);
  learned.learn_step(kStepSamples, false);
  EXPECT_NEAR(learned.calibrate(Said::centre, 0.9), word, 0.01);
}

RC_GTEST_PROP(ClassLearning, IsSaneWhateverStepsAmongWhateverArrives, ()) {
  ClassLearning learned;
  for (int i = 0; i < 300; ++i) {
    const bool yes = *rc::gen::arbitrary<bool>();
    const double word = *rc::gen::inRange(0, 1'000) / 1'000.0;
    switch (*rc::gen::inRange(0, 5)) {
      case 0:
        learned.learn_step(kStepSamples, yes);
        break;
      case 1:
        learned.learn_off(20 * word - 10);
        break;
      case 2:
        learned.learn_spread(100 * word - 50);
        break;
      case 3:
        learned.arriving.learn(word, yes ? 1 : 0, yes);
        break;
      default:
        learned.learn_hit(yes ? Said::centre : Said::by_t, word, word > 0.3);
    }
    RC_ASSERT(learned.is_sane());
  }
}

// The memory of classes.

using Classes = ClassMemory<HostMemory>;

TEST(ClassMemory, RefusesTooFewBytesACrookedStartAndNumbersThatNoLearningComesTo) {
  SharedBytes bytes(kClassMemoryBytes + kCacheLine);
  EXPECT_EQ(Classes::over(bytes.span().first(kClassMemoryBytes - 1)).error().code, Errc::truncated);
  EXPECT_EQ(Classes::over(bytes.span().subspan(8)).error().code, Errc::misaligned);
  Classes memory = Classes::over(bytes.span()).value();
  EXPECT_EQ(memory.load(0).value(), ClassLearning{});
  auto* const words = reinterpret_cast<std::uint64_t*>(bytes.span().data());
  words[0] = 2;
  EXPECT_EQ(memory.load(0).error().code, Errc::corrupt);
  words[0] = 0;
  ClassLearning broken;
  broken.factors.alpha = -1;
  memory.commit(0, broken);
  EXPECT_EQ(memory.load(0).error().code, Errc::corrupt);
  broken.factors.alpha = std::numeric_limits<double>::quiet_NaN();
  memory.commit(0, broken);
  EXPECT_EQ(memory.load(0).error().code, Errc::corrupt);
  EXPECT_EQ(memory.load(1).value(), ClassLearning{});
}

TEST(ClassMemoryCrash, ACommitKilledAnywhereLeavesOneWholeCopy) {
  SharedBytes bytes(kClassMemoryBytes);
  ClassLearning old;
  for (unsigned i = 0; i < 100; ++i) old.learn_hit(Said::centre, 0.5, true);
  Classes::over(bytes.span()).value().commit(3, old);
  ClassLearning next = old;
  for (unsigned i = 0; i < 100; ++i) next.learn_hit(Said::centre, 0.9, false);
  const std::vector<std::byte> image = bytes.copy();
  const auto work = [&] {
    ClassLearning learned = next;
    ClassMemory<CrashMemory>::over(bytes.span()).value().commit(3, learned);
  };
  crash_plan = {};
  work();
  const std::uint64_t sites = crash_plan.sites;
  ASSERT_GT(sites, kClassWords);
  for (std::uint64_t site = 1; site <= sites; ++site) {
    bytes.restore(image);
    const int status = testing::status_of_child([&] {
      crash_plan = {0, site, Death::kKill, nullptr};
      work();
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << site;
    EXPECT_EQ(Classes::over(bytes.span()).value().load(3).value(), old) << site;
  }
}

// All of it together.

constexpr std::uint32_t kRows = 4;

RowFacts facts_of(const RowPrediction& before) {
  RowFacts facts;
  facts.latency_ms = facts.latency_before_ms = 10;
  facts.drift = 0.1F;
  facts.nominal_confidence = 0.67;
  facts.before = before;
  return facts;
}
RowPrediction unknown() {
  return {.work_ms = 10,
          .residual_centre_ms = 0,
          .residual_by_t_ms = 0,
          .confidence = probability_bits(0.67),
          .confidence_by_t = probability_bits(0.67),
          .history = 0};
}
Arrival arrival_of(double ms) {
  return {.observed_ns = static_cast<std::int64_t>(ms * 1e6),
          .processing_ns = 15 * kNsPerMs,
          .weight = 1};
}
template <class P>
RowPrediction learn(P& predictor, std::uint32_t row, const RowPrediction& before) {
  return predictor.learn(row, facts_of(before)).value_or(before);
}

TEST(Predictor, RefusesTooFewBytes) {
  SharedBytes bytes(predictor_bytes(kRows));
  EXPECT_FALSE(Predictor<>::create(bytes.span().first(arrivals_bytes(kRows)), kRows, {}));
  EXPECT_TRUE(Predictor<>::create(bytes.span(), kRows, {}));
}

TEST(Predictor, WithoutHistorySaysNothingNew) {
  SharedBytes bytes(predictor_bytes(kRows));
  auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
  ASSERT_TRUE(predictor.adopt());
  EXPECT_EQ(predictor.learn(0, facts_of(unknown())), std::nullopt);
  EXPECT_EQ(predictor.factors(AgentClass::edge), WorkFactors{});
}

TEST(Predictor, OneAnswerIsPredictedAgainAndNothingNewIsNoWork) {
  SharedBytes bytes(predictor_bytes(kRows));
  auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
  predictor.on_answer(1, arrival_of(42));
  const auto learned = predictor.learn(1, facts_of(unknown()));
  ASSERT_TRUE(learned);
  EXPECT_EQ(learned->history, 1);
  const double base = 5 + static_cast<double>(learned->work_ms) * 1.5;
  EXPECT_NEAR(base + static_cast<double>(learned->residual_centre_ms), 42, 1e-3);
  EXPECT_GT(learned->residual_by_t_ms, learned->residual_centre_ms);
  EXPECT_EQ(predictor.learn(1, facts_of(*learned)), std::nullopt);
  // A latency that moved moves the residual against it.
  RowFacts moved = facts_of(*learned);
  moved.latency_ms = 14;
  const auto again = predictor.learn(1, moved);
  ASSERT_TRUE(again);
  EXPECT_NEAR(again->residual_centre_ms, learned->residual_centre_ms - 2, 1e-3);
}

TEST(Predictor, SilenceAloneLowersConfidenceAndKeepsTheNominalLead) {
  SharedBytes bytes(predictor_bytes(kRows));
  auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
  for (unsigned i = 0; i < 8; ++i) predictor.on_unanswered(2);
  const auto learned = predictor.learn(2, facts_of(unknown()));
  ASSERT_TRUE(learned);
  EXPECT_EQ(learned->history, 8);
  EXPECT_NEAR(learned->confidence, 0.67 / 2 * 65'535, 1);
  EXPECT_FLOAT_EQ(learned->work_ms, 10);
  EXPECT_NEAR(learned->residual_centre_ms, kDefaultZ * 0.1 * 20, 1e-5);
}

TEST(Predictor, AStationsOwnMedianIsBelievedBeforeAnyAnswer) {
  SharedBytes bytes(predictor_bytes(kRows));
  auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
  RowFacts facts = facts_of(unknown());
  facts.station_processing_ms = 150;
  facts.station_samples = 9;
  const auto learned = predictor.learn(0, facts);
  ASSERT_TRUE(learned);
  EXPECT_FLOAT_EQ(learned->work_ms, (9 * 100 + 10) / 10.0F);
  EXPECT_EQ(learned->history, 9);
}

TEST(Predictor, AnotherAgentsRowStartsAnew) {
  SharedBytes bytes(predictor_bytes(kRows));
  auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
  predictor.on_answer(1, arrival_of(42));
  predictor.on_unanswered(1);
  (void)predictor.learn(1, facts_of(unknown()));
  predictor.on_answer(1, arrival_of(43));
  predictor.forget(1);
  EXPECT_EQ(predictor.learn(1, facts_of(unknown())), std::nullopt);
}

// Killed before every access of a turn of upkeep and of the answers before it. The successor plays
// what the dead one had still to do, and comes to the same predictions as without the death.
TEST(PredictorCrash, ATurnKilledAnywhereIsFinishedByASuccessor) {
  SharedBytes bytes(predictor_bytes(kRows));
  std::array<RowPrediction, kRows> before{};
  {
    auto predictor = Predictor<>::create(bytes.span(), kRows, {}).value();
    before.fill(unknown());
    for (unsigned i = 0; i < 12; ++i) {
      for (std::uint32_t row = 0; row < kRows; ++row) {
        predictor.on_answer(row, arrival_of(20 + row + i % 5));
        before[row] = learn(predictor, row, before[row]);
      }
      predictor.commit();
    }
    predictor.on_answer(0, arrival_of(25));
    predictor.on_answer(1, arrival_of(26));
    predictor.on_unanswered(2);
  }
  const std::vector<std::byte> image = bytes.copy();
  const auto turn = [&](auto& predictor) {
    std::array<RowPrediction, kRows> after{};
    for (std::uint32_t row = 0; row < kRows; ++row) after[row] = learn(predictor, row, before[row]);
    predictor.commit();
    return after;
  };
  const auto adopted = [&](auto policy) {
    auto made = Predictor<decltype(policy)>::create(bytes.span(), kRows, {}).value();
    if (!made.adopt()) ::_exit(3);
    return made;
  };
  auto undisturbed = adopted(HostMemory{});
  const auto want = turn(undisturbed);
  std::set<std::string> names;
  bytes.restore(image);
  const auto work = [&] {
    auto predictor = adopted(CrashMemory{});
    turn(predictor);
  };
  crash_plan = {0, 0, Death::kKill, &names};
  work();
  const std::uint64_t sites = crash_plan.sites;
  EXPECT_EQ(names,
            (std::set<std::string>{"arrivals.settle:before_mark", "arrivals.settle:before_free",
                                   "class_memory.commit:before_stands"}));
  for (std::uint64_t site = 1; site <= sites; ++site) {
    SCOPED_TRACE(::testing::Message() << "site " << site << " of " << sites);
    bytes.restore(image);
    const int status = testing::status_of_child([&] {
      crash_plan = {0, site, Death::kKill, nullptr};
      work();
    });
    ASSERT_TRUE(WIFSIGNALED(status));
    auto successor = adopted(HostMemory{});
    const auto after = turn(successor);
    for (std::uint32_t row = 0; row < kRows; ++row) {
      EXPECT_EQ(after[row].work_ms, want[row].work_ms);
      EXPECT_EQ(after[row].residual_centre_ms, want[row].residual_centre_ms);
      // What classes learned in that turn may be lost, or of one sample be there twice.
      EXPECT_NEAR(after[row].confidence, want[row].confidence, 65'535 * 0.02);
      EXPECT_EQ(after[row].history, want[row].history);
    }
    if (HasFailure()) return;
  }
}

}  // namespace of_predictor_test
}  // namespace mesh::sched
