// Every golden of the building blocks.
#include <cmath>
#include <cstdio>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/decay_counter.hpp"
#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/coordination/blocks/jump_hash.hpp"
#include "engine/coordination/blocks/largest_remainder.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/ols.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/blocks/window_counter.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_golden_blocks_test {

using testing::golden;
using testing::Json;
using testing::matches;

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%016llx", static_cast<unsigned long long>(value));
  return text.data();
}

TEST(GoldenRng, PrintsTheReferenceWords) {
  SplitMix64 seeds(42);
  Rng words(42);
  Rng below(42);
  Rng reals(42);
  Json split = Json::array();
  Json next = Json::array();
  Json digits = Json::array();
  Json unit = Json::array();
  for (int i = 0; i < 3; ++i) split.push_back(hex(seeds.next()));
  for (int i = 0; i < 3; ++i) next.push_back(hex(words.next()));
  for (int i = 0; i < 8; ++i) digits.push_back(below.below(10));
  for (int i = 0; i < 3; ++i) unit.push_back(reals.u01());
  EXPECT_TRUE(matches(golden("rng", "splitmix64").expected, split));
  EXPECT_TRUE(matches(golden("rng", "xoshiro256ss").expected, next));
  EXPECT_TRUE(matches(golden("rng", "below").expected, digits));
  EXPECT_TRUE(matches(golden("rng", "u01").expected, unit));
}

Json json_of(const TakeResult& result) {
  switch (result.status) {
    case TakeStatus::kTaken:
      return {{"status", "ok"}};
    case TakeStatus::kRejectedRate:
      return {{"status", "rejected_rate"}, {"retry_after_ns", result.retry_after_ns}};
    case TakeStatus::kInvalid:
      return {{"status", "invalid_argument"}};
  }
  return {};
}

TEST(GoldenGcraBucket, TakesAtTenASecondWithABurstOfFive) {
  const auto [inputs, expected] = golden("gcra_bucket", "rate10_burst5");
  GcraBucket bucket(inputs.at("rate_per_s"), inputs.at("burst"));
  Json replies = Json::array();
  for (const auto& step : inputs.at("steps")) {
    replies.push_back(json_of(bucket.take(step.at("now"), step.at("n"))));
  }
  EXPECT_TRUE(matches(expected, replies));
}

TEST(GoldenGcraBucket, RoundsTheInterval) {
  const auto [inputs, expected] = golden("gcra_bucket", "emission_interval");
  Json intervals = Json::array();
  for (const double rate : inputs.at("rate_per_s")) {
    intervals.push_back(GcraBucket(rate, 1).interval());
  }
  EXPECT_TRUE(matches(expected, intervals));
}

TEST(GoldenGcraBucket, RefundsNeverLiftItAboveItsBurst) {
  const auto [inputs, expected] = golden("gcra_bucket", "refund");
  GcraBucket bucket(inputs.at("rate_per_s"), inputs.at("burst"));
  Json replies = Json::array();
  for (const std::string step : inputs.at("steps")) {
    const std::uint64_t n = step == "available" ? 0 : std::stoull(step.substr(5));
    if (step.starts_with("take")) replies.push_back(json_of(bucket.take(0, n)));
    if (step.starts_with("give")) bucket.give(0, n);
    if (step == "available") replies.push_back({{"available", bucket.available(0)}});
  }
  EXPECT_TRUE(matches(expected, replies));
}

Json credit_step(CreditPool& pool, const Json& step) {
  const std::string verb = step.at(0);
  if (verb == "audit") {
    const CreditAudit audit = pool.audit();
    return {{"granted", audit.granted},   {"spent", audit.spent}, {"lapsed", audit.lapsed},
            {"returned", audit.returned}, {"live", audit.live},   {"ok", audit.is_balanced()}};
  }
  if (verb == "give_back") return {{"returned", pool.give_back(step.at(1), step.at(2))}};
  if (verb == "spend") return {{"spent", pool.spend(step.at(1), step.at(2), step.at(3))}};
  const Grant grant = pool.want(step.at(1), step.at(2), step.at(3));
  if (grant.granted == 0) return {{"granted", 0}};
  return {{"granted", grant.granted}, {"expires", grant.expires_ns}};
}

TEST(GoldenCreditPool, GrantsSpendsLapsesAndTakesBack) {
  for (const char* name : {"grant_spend_lapse", "burst_is_the_ceiling", "give_back_is_reusable"}) {
    SCOPED_TRACE(name);
    const auto [inputs, expected] = golden("credit_pool", name);
    CreditConfig config;
    config.rate_per_s = inputs.at("rate_per_s");
    config.burst = inputs.at("burst");
    config.expiry_ns = inputs.at("expiry_ns");
    config.share_ppm_max = inputs.at("max_share_ppm");
    ASSERT_TRUE(CreditPool::validate(config));
    CreditPool pool(config);
    Json replies = Json::array();
    for (const auto& step : inputs.at("steps")) replies.push_back(credit_step(pool, step));
    EXPECT_TRUE(matches(expected, replies));
  }
}

TEST(GoldenWindowCounter, ForgetsTheOldestBucketWhole) {
  const auto [inputs, expected] = golden("window_counter", "bucket_edges");
  Json failed = Json::array();
  for (const auto& instants : inputs.at("failures_at")) {
    WindowCounter window(inputs.at("window_ns"), inputs.at("buckets"));
    for (const std::int64_t now : instants) window.add(now, true);
    failed.push_back(window.sum().failed);
  }
  EXPECT_TRUE(matches(expected, failed));
}

TEST(GoldenWindowCounter, KeepsTotals) {
  const auto [inputs, expected] = golden("window_counter", "totals");
  WindowCounter window(inputs.at("window_ns"), inputs.at("buckets"));
  Json rows = Json::array();
  for (const auto& add : inputs.at("adds")) {
    window.add(add.at("now"), add.at("fail") == 1, add.at("slow") == 1);
    const WindowTotals& sum = window.totals(add.at("now"));
    rows.push_back({sum.total, sum.failed, sum.slow});
    EXPECT_TRUE(window.is_consistent());
  }
  EXPECT_TRUE(matches(expected, rows));
}

TEST(GoldenWindowCounter, EstimatesASlidingWindow) {
  const auto [inputs, expected] = golden("window_counter", "sliding_hybrid");
  Json estimates = Json::array();
  for (const auto& row : inputs) {
    estimates.push_back(sliding_estimate(row.at("prev"), row.at("cur"), row.at("fraction")));
  }
  EXPECT_TRUE(matches(expected, estimates));
}

TEST(GoldenLogHistogram, FindsBucketsAndQuantiles) {
  const auto buckets = golden("log_histogram", "buckets");
  Json rows = Json::array();
  for (const std::uint64_t value : buckets.inputs.at("values")) {
    const HistogramBucket bucket = LogHistogram::bucket(LogHistogram::index_of(value));
    rows.push_back({{"exponent", bucket.exponent},
                    {"sub", bucket.sub},
                    {"low", bucket.low},
                    {"high", bucket.high},
                    {"report", bucket.report}});
  }
  EXPECT_TRUE(matches(buckets.expected, rows));

  const auto quantiles = golden("log_histogram", "quantiles");
  LogHistogram histogram;
  for (const std::uint64_t value : quantiles.inputs.at("values")) histogram.add(value);
  Json reports = Json::array();
  for (const double q : quantiles.inputs.at("q")) reports.push_back(*histogram.quantile(q));
  EXPECT_TRUE(matches(quantiles.expected, reports));
  EXPECT_EQ(name_of(LogHistogram{}.quantile(0.5).error().code),
            golden("log_histogram", "empty").expected);
}

TEST(GoldenDecayCounter, HalvesEachHalfLife) {
  const auto [inputs, expected] = golden("decay_counter", "half_life_60s");
  const std::int64_t half_life = inputs.at("half_life_ns");
  const std::int64_t read_at = inputs.at("read_at_s").get<std::int64_t>() * kNsPerSecond;
  DecayCounter success;
  DecayCounter failure;
  for (const std::int64_t at : inputs.at("success_at_s")) success.add(at * kNsPerSecond, half_life);
  for (const std::int64_t at : inputs.at("failure_at_s")) failure.add(at * kNsPerSecond, half_life);
  const Json actual{{"success", success.read(read_at, half_life)},
                    {"failure", failure.read(read_at, half_life)}};
  EXPECT_TRUE(matches(expected, actual));
}

TEST(GoldenDecayCounter, CrossesEpochsAndNeverSticks) {
  const auto [inputs, expected] = golden("decay_counter", "across_epochs");
  Json reads = Json::array();
  for (const std::int64_t at : inputs.at("read_at_s")) {
    DecayCounter counter;
    counter.add(0, inputs.at("half_life_ns"), inputs.at("add").at("weight"));
    reads.push_back(counter.read(at * kNsPerSecond, inputs.at("half_life_ns")));
  }
  EXPECT_TRUE(matches(expected, reads));

  const auto sticks = golden("decay_counter", "naive_quantised_decay_sticks");
  double naive = sticks.inputs.at("start");
  for (int i = 0; i < sticks.inputs.at("steps"); ++i)
    naive = std::nearbyint(naive * std::exp2(-1.0 / 64));
  DecayCounter counter;
  counter.add(0, 64, sticks.inputs.at("start"));
  const Json actual{{"naive_sticks_at", static_cast<int>(naive)},
                    {"forward_decay", counter.read(sticks.inputs.at("steps"), 64)}};
  EXPECT_TRUE(matches(sticks.expected, actual));
}

TEST(GoldenBackoff, GrowsAndJitters) {
  const BackoffConfig config{100, 2, 5'000};
  Json exponential = Json::array();
  Json full = Json::array();
  Json decorrelated = Json::array();
  Rng full_rng(42);
  Rng decorrelated_rng(42);
  for (std::uint32_t k = 0; k < 8; ++k) exponential.push_back(backoff_exponential(config, k));
  for (std::uint32_t k = 0; k < 4; ++k) full.push_back(backoff_full_jitter(config, k, full_rng));
  double last = config.base;
  for (int i = 0; i < 6; ++i) {
    last = backoff_decorrelated(config, last, decorrelated_rng);
    decorrelated.push_back(last);
  }
  EXPECT_TRUE(matches(golden("backoff", "exponential").expected, exponential));
  EXPECT_TRUE(matches(golden("backoff", "full_jitter").expected, full));
  EXPECT_TRUE(matches(golden("backoff", "decorrelated").expected, decorrelated));
}

TEST(GoldenOls, FitsFivePointsAndRefusesFewer) {
  const auto points_of = [](const Json& inputs) {
    std::vector<Point> points;
    for (const auto& point : inputs) points.push_back({point.at(0), point.at(1)});
    return points;
  };
  const auto [inputs, expected] = golden("ols", "five_points");
  const auto line = ols(points_of(inputs));
  ASSERT_TRUE(line);
  const Json actual{{"slope", line->slope}, {"intercept", line->intercept}, {"r2", line->r2}};
  EXPECT_TRUE(matches(expected, actual));
  for (const char* name : {"too_few", "no_variance"}) {
    const auto refused = golden("ols", name);
    EXPECT_EQ(name_of(ols(points_of(refused.inputs)).error().code), refused.expected);
  }
}

Json filled(double total, const Json& items) {
  std::vector<FillItem> rows;
  for (const auto& item : items) {
    rows.push_back(
        {item.at(0), item.at(1), item.at(2), item.size() == 4 ? item.at(3).get<double>() : 0});
  }
  std::vector<double> shares(rows.size());
  std::vector<double> scratch(2 * rows.size());
  EXPECT_TRUE(water_fill(total, rows, shares, scratch));
  return shares;
}

TEST(GoldenWaterFill, GivesWeightsFloorsAndCaps) {
  const auto plain = golden("water_fill", "weights_floors_caps");
  Json rows = Json::array();
  for (const auto& one : plain.inputs)
    rows.push_back(filled(one.at("total"), one.at("items_w_lo_hi")));
  EXPECT_TRUE(matches(plain.expected, rows));
  const auto based = golden("water_fill", "with_base");
  EXPECT_TRUE(matches(based.expected,
                      filled(based.inputs.at("total"), based.inputs.at("items_w_lo_hi_base"))));
  const auto turned = golden("water_fill", "permutation_invariant");
  EXPECT_TRUE(matches(turned.expected,
                      filled(turned.inputs.at("total"), turned.inputs.at("items_w_lo_hi"))));
}

TEST(GoldenJumpHash, PicksBucketsAndMovesFewKeys) {
  const auto [inputs, expected] = golden("jump_hash", "n16");
  Json five = Json::array();
  for (const std::uint64_t key : inputs.at("keys")) five.push_back(jump_hash(key, 16));
  EXPECT_TRUE(matches(expected, five));
  int moved = 0;
  for (std::uint64_t key = 0; key < 17'000; ++key)
    moved += jump_hash(key, 16) != jump_hash(key, 17);
  const Json growth{{"moved", moved}, {"fraction", moved / 17'000.0}};
  EXPECT_TRUE(matches(golden("jump_hash", "growth_moves_little").expected, growth));
  const Json edges{jump_hash(0, 1), jump_hash(0, 1'024), jump_hash(UINT64_MAX, 1'024)};
  EXPECT_TRUE(matches(golden("jump_hash", "edges").expected, edges));
}

Json split(const Json& inputs) {
  const std::vector<std::uint64_t> weights = inputs.at("weights");
  std::vector<std::uint64_t> shares(weights.size());
  if (!largest_remainder(inputs.at("total"), weights, shares)) return "invalid_argument";
  return shares;
}

TEST(GoldenLargestRemainder, LosesNothingAndBreaksTiesByIndex) {
  const auto ties = golden("largest_remainder", "ties_to_lower_index");
  Json rows = Json::array();
  for (const auto& one : ties.inputs) rows.push_back(split(one));
  EXPECT_TRUE(matches(ties.expected, rows));
  for (const char* name : {"zero_weight", "one_share_is_zero"}) {
    const auto [inputs, expected] = golden("largest_remainder", name);
    EXPECT_TRUE(matches(expected, split(inputs)));
  }
}

}  // namespace of_golden_blocks_test
}  // namespace mesh::coordination
