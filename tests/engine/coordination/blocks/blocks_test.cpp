// What the building blocks promise beyond their goldens.
#include <cmath>
#include <numeric>

#include "engine/coordination/blocks/credit_pool.hpp"
#include "engine/coordination/blocks/decay_counter.hpp"
#include "engine/coordination/blocks/event_log.hpp"
#include "engine/coordination/blocks/fence_counter.hpp"
#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/coordination/blocks/largest_remainder.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_clock.hpp"
#include "engine/coordination/blocks/view_row.hpp"
#include "engine/coordination/blocks/water_fill.hpp"
#include "engine/coordination/blocks/window_counter.hpp"

namespace mesh::coordination {
namespace of_blocks_test {

std::int64_t random_ns(std::int64_t below) { return *rc::gen::inRange<std::int64_t>(0, below); }

RC_GTEST_PROP(GcraBucket, EqualsAContinuousBucketOfUnits, ()) {
  // T is a whole number for these rates, so that units are exact in doubles.
  const double rate = *rc::gen::element(1.0, 10.0, 1'000.0, 64'000.0);
  const auto burst = *rc::gen::inRange<std::uint64_t>(1, 50);
  GcraBucket bucket(rate, burst);
  __extension__ using Wide = __int128;
  const auto interval = static_cast<Wide>(bucket.interval());
  Wide level = static_cast<Wide>(burst) * interval;  // units times T
  std::int64_t now = 0;
  for (int i = 0; i < 100; ++i) {
    const std::int64_t step = random_ns(static_cast<std::int64_t>(2e9 / rate) + 1);
    now += step;
    level = std::min(level + static_cast<Wide>(step) * 64, static_cast<Wide>(burst) * interval);
    const auto n = *rc::gen::inRange<std::uint64_t>(1, burst + 1);
    const bool fits = level >= static_cast<Wide>(n) * interval;
    const TakeResult taken = bucket.take(now, n);
    RC_ASSERT((taken.status == TakeStatus::kTaken) == fits);
    if (fits) level -= static_cast<Wide>(n) * interval;
    if (!fits) {
      GcraBucket early = bucket;
      GcraBucket later = bucket;
      RC_ASSERT(early.take(now + taken.retry_after_ns - 1, n).status == TakeStatus::kRejectedRate);
      RC_ASSERT(later.take(now + taken.retry_after_ns, n).status == TakeStatus::kTaken);
    }
    RC_ASSERT(bucket.available(now) == static_cast<std::uint64_t>(level / interval));
  }
}

TEST(GcraBucket, IsFullAgainAfterItsWordHasWrapped) {
  GcraBucket bucket(10, 5);
  ASSERT_EQ(bucket.take(0, 5).status, TakeStatus::kTaken);
  constexpr std::int64_t kYear = std::int64_t{31'556'952} * kNsPerSecond;
  for (std::int64_t year = 1; year < 40; ++year) {
    EXPECT_EQ(bucket.available(year * kYear), 5U) << year;
  }
}

TEST(GcraBucket, RefusesRatesThatMakeNoBucket) {
  for (const double rate : {0.0, -1.0, std::nan(""), HUGE_VAL, 2e9}) {
    EXPECT_FALSE(GcraBucket::is_valid(rate, 1)) << rate;
  }
  EXPECT_FALSE(GcraBucket::is_valid(1, 0));
  EXPECT_FALSE(GcraBucket::is_valid(1e-9, UINT64_MAX));
  EXPECT_TRUE(GcraBucket::is_valid(1e8, 1));
}

TEST(GcraBucket, KeepsWhatWasSpentWhenItsRateChanges) {
  GcraBucket bucket(10, 10);
  ASSERT_EQ(bucket.take(0, 6).status, TakeStatus::kTaken);
  bucket.change(1'000, 10, 0);
  EXPECT_EQ(bucket.available(0), 4U);
  bucket.change(1, 5, 0);
  EXPECT_EQ(bucket.available(0), 0U);
}

RC_GTEST_PROP(WindowCounter, EqualsACountOfWhatItRemembers, ()) {
  const auto buckets = *rc::gen::inRange<std::size_t>(1, 65);
  const std::int64_t window_ns = static_cast<std::int64_t>(buckets) * 1'000;
  WindowCounter window(window_ns, buckets);
  std::vector<std::pair<std::int64_t, bool>> all;
  std::int64_t now = 0;
  for (int i = 0; i < 200; ++i) {
    now += random_ns(*rc::gen::element<std::int64_t>(2, 900, 5'000, 200'000));
    const bool failed = *rc::gen::arbitrary<bool>();
    window.add(now, failed);
    all.emplace_back(now, failed);
    const std::int64_t first = now / 1'000 - static_cast<std::int64_t>(buckets) + 1;
    WindowTotals expected;
    for (const auto& [at, was_failed] : all) {
      if (at / 1'000 < first) continue;
      ++expected.total;
      expected.failed += was_failed ? 1 : 0;
    }
    RC_ASSERT(window.sum() == expected);
    RC_ASSERT(window.is_consistent());
  }
}

RC_GTEST_PROP(HybridWindow, NamesTheFirstInstantThatFits, ()) {
  const std::uint64_t quota = *rc::gen::inRange<std::uint64_t>(1, 40);
  HybridWindow window(1'000);
  std::int64_t now = 0;
  for (int i = 0; i < 100; ++i) {
    now += random_ns(300);
    const auto n = *rc::gen::inRange<std::uint64_t>(1, quota + 1);
    const HybridVerdict verdict = window.ask(n, quota, now);
    if (verdict.fits) {
      window.spend(n);
      RC_ASSERT(window.estimate(now) <= static_cast<double>(quota) + 1e-9);
      continue;
    }
    HybridWindow later = window;
    HybridWindow earlier = window;
    RC_ASSERT(verdict.retry_after_ns > 0);
    RC_ASSERT(!earlier.ask(n, quota, now + verdict.retry_after_ns - 1).fits);
    RC_ASSERT(later.ask(n, quota, now + verdict.retry_after_ns).fits);
  }
}

RC_GTEST_PROP(LogHistogram, ReportsWithinOneSixtyFourth, ()) {
  const auto value = *rc::gen::inRange<std::uint64_t>(1'024, std::uint64_t{1} << 40);
  const HistogramBucket bucket = LogHistogram::bucket(LogHistogram::index_of(value));
  RC_ASSERT(bucket.low <= value && value < bucket.high);
  const auto off =
      static_cast<double>(std::max(bucket.report, value) - std::min(bucket.report, value));
  RC_ASSERT(off <= static_cast<double>(value) / 64);
}

TEST(LogHistogram, MergesByAddition) {
  LogHistogram a;
  LogHistogram b;
  LogHistogram both;
  for (std::uint64_t i = 0; i < 1'000; ++i) {
    (i % 3 == 0 ? a : b).add(1'000 + i * i);
    both.add(1'000 + i * i);
  }
  a.merge(b);
  EXPECT_EQ(a.total(), both.total());
  for (const double q : {0.0, 0.5, 0.99, 1.0}) EXPECT_EQ(*a.quantile(q), *both.quantile(q));
  EXPECT_EQ(a.quantile(1.5).error().code, Errc::invalid_argument);
  EXPECT_EQ(a.quantile(std::nan("")).error().code, Errc::invalid_argument);
}

RC_GTEST_PROP(DecayCounter, StaysWithinTwoInTenMillion, ()) {
  const std::int64_t half_life = 60 * kNsPerSecond;
  DecayCounter counter;
  double exact = 0;
  std::int64_t now = 0;
  for (int i = 0; i < 200; ++i) {
    const std::int64_t step = random_ns(half_life);
    now += step;
    exact = exact * std::exp2(-static_cast<double>(step) / static_cast<double>(half_life)) + 1;
    counter.add(now, half_life);
    RC_ASSERT(std::abs(counter.read(now, half_life) - exact) < 2e-7 * exact + 1e-6);
  }
}

TEST(DecayCounter, StopsAtItsGreatestValue) {
  DecayCounter counter;
  counter.add(0, 1'000, UINT64_MAX);
  counter.add(0, 1'000, UINT64_MAX);
  EXPECT_EQ(counter.word() >> 8, DecayCounter::kValueMax);
}

RC_GTEST_PROP(WaterFill, GivesTheTotalWithinTheBoundsWhateverTheOrder, ()) {
  const auto count = *rc::gen::inRange<std::size_t>(1, 12);
  std::vector<FillItem> items;
  double floors = 0;
  double ceilings = 0;
  for (std::size_t i = 0; i < count; ++i) {
    FillItem item;
    item.weight = *rc::gen::inRange(1, 10);
    item.lo = *rc::gen::inRange(0, 10);
    item.hi = item.lo + *rc::gen::inRange(0, 20);
    item.base = *rc::gen::inRange(0, 5);
    floors += item.lo;
    ceilings += item.hi;
    items.push_back(item);
  }
  const double total = *rc::gen::inRange(0, 200);
  std::vector<double> shares(count);
  std::vector<double> scratch(2 * count);
  RC_ASSERT(water_fill(total, items, shares, scratch));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  RC_ASSERT(std::abs(sum - std::min(total, ceilings)) < 1e-6);
  for (std::size_t i = 0; i < count && floors <= total; ++i) {
    RC_ASSERT(shares[i] >= items[i].lo - 1e-9 && shares[i] <= items[i].hi + 1e-9);
  }
  std::vector<FillItem> turned(items.rbegin(), items.rend());
  std::vector<double> turned_shares(count);
  RC_ASSERT(water_fill(total, turned, turned_shares, scratch));
  for (std::size_t i = 0; i < count; ++i) {
    RC_ASSERT(std::abs(shares[i] - turned_shares[count - 1 - i]) < 1e-9);
  }
}

TEST(WaterFill, RefusesWhatHasNoAnswer) {
  std::array<double, 1> shares{};
  std::array<double, 2> scratch{};
  for (const FillItem item : {FillItem{0, 0, 1, 0}, FillItem{1, 2, 1, 0},
                              FillItem{1, 0, HUGE_VAL, 0}, FillItem{std::nan(""), 0, 1, 0}}) {
    EXPECT_FALSE(water_fill(1, std::array{item}, shares, scratch));
  }
  EXPECT_FALSE(water_fill(std::nan(""), std::array{FillItem{1, 0, 1, 0}}, shares, scratch));
  EXPECT_FALSE(
      water_fill(1, std::array{FillItem{1, 0, 1, 0}}, shares, std::span(scratch).first(1)));
}

RC_GTEST_PROP(LargestRemainder, SumsToTheTotalAndStaysWithinOneOfTheShare, ()) {
  const auto weights =
      *rc::gen::nonEmpty(rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange(1, 100)));
  const auto total = *rc::gen::inRange<std::uint64_t>(0, 100'000);
  std::vector<std::uint64_t> shares(weights.size());
  RC_ASSERT(largest_remainder(total, weights, shares));
  const auto sum = std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
  RC_ASSERT(std::accumulate(shares.begin(), shares.end(), std::uint64_t{0}) == total);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    RC_ASSERT(shares[i] * sum + sum > total * weights[i] &&
              shares[i] * sum < total * weights[i] + sum);
  }
}

RC_GTEST_PROP(CreditPool, AccountsForEveryUnitAndKeepsTheRate, ()) {
  CreditConfig config;
  config.rate_per_s = 1'000;
  config.burst = 50;
  config.kind = *rc::gen::element(CreditKind::rate, CreditKind::level);
  config.grants_max = 6;
  CreditPool pool(config);
  std::array<CreditPurse, 4> purses;
  std::uint64_t admitted = 0;
  std::uint64_t in_use = 0;
  std::int64_t now = 0;
  for (int i = 0; i < 300; ++i) {
    now += random_ns(4'000'000);
    const auto station = *rc::gen::inRange<std::uint32_t>(0, 4);
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        purses[station].add(pool.want(station, *rc::gen::inRange<std::uint64_t>(0, 30), now));
        break;
      case 1: {
        for (int spends = 0; spends < 5; ++spends) static_cast<void>(purses[station].spend(now));
        const std::uint64_t spent = purses[station].take_report();
        RC_ASSERT(pool.spend(station, spent, now) == spent);
        admitted += spent;
        in_use += spent;
        break;
      }
      case 2:
        pool.give_back(station, now);
        purses[station].clear();
        break;
      default:
        pool.tick(now);
        break;
    }
    RC_ASSERT(pool.audit().is_balanced());
    if (config.kind == CreditKind::level) {
      RC_ASSERT(pool.available(now) + pool.audit().live + in_use == config.burst);
    } else {
      const double bound = 1e-9 * static_cast<double>(now + config.expiry_ns) * config.rate_per_s;
      RC_ASSERT(static_cast<double>(admitted) <= bound + static_cast<double>(config.burst));
    }
  }
}

TEST(CreditPool, NeverSpendsAfterExpiry) {
  CreditPurse purse;
  purse.add({3, 100});
  EXPECT_TRUE(purse.spend(99));
  EXPECT_FALSE(purse.spend(100));
  EXPECT_EQ(purse.take_report(), 1U);
}

TEST(CreditPool, RefusesConfigsOutsideTheirRange) {
  const auto code = [](auto&& change) {
    CreditConfig config;
    change(config);
    const auto status = CreditPool::validate(config);
    return status ? Errc::ok : status.error().code;
  };
  EXPECT_EQ(code([](auto& c) { c.burst = 0; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto& c) { c.rate_per_s = -1; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto& c) { c.expiry_ns = 0; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto& c) { c.horizon_ns = 0; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto& c) { c.share_ppm_max = 1'000'001; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto& c) { c.grants_max = 0; }), Errc::invalid_config);
  EXPECT_EQ(code([](auto&) {}), Errc::ok);
}

TEST(FenceCounter, RefusesStaleNumbersAndThoseNeverGivenOut) {
  FenceCounter fence;
  EXPECT_EQ(fence.judge(0), FenceVerdict::kStale);
  const std::uint64_t first = fence.next();
  const std::uint64_t second = fence.next();
  EXPECT_EQ(fence.judge(first), FenceVerdict::kStale);
  EXPECT_EQ(fence.judge(second), FenceVerdict::kCurrent);
  EXPECT_EQ(fence.judge(second + 1), FenceVerdict::kFromTheFuture);
  EXPECT_GT(FenceCounter::after_boot(1).next(), second);
}

TEST(Rng, DrawsEachOfTheSmallNumbersAboutEquallyOften) {
  Rng rng(1);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70'000; ++i) ++counts[rng.below(7)];
  for (const int count : counts) EXPECT_NEAR(count, 10'000, 500);
  EXPECT_EQ(rng.below(0), 0U);
}

TEST(ServiceClock, NeverGoesBackAndCountsWhoWouldTakeItThere) {
  ServiceClock clock;
  EXPECT_EQ(clock.at(Nanos{10}), 10);
  EXPECT_EQ(clock.at(Nanos{9}), 10);
  EXPECT_EQ(clock.at(Nanos{11}), 11);
  EXPECT_EQ(clock.regressions(), 1U);
  EXPECT_FALSE(ServiceClock::is_valid(Nanos{-1}));
}

TEST(Names, AreOneTo128BytesOfUtf8) {
  EXPECT_TRUE(check_name("agent", "worker-\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  for (const std::string& bad :
       {std::string(), std::string(129, 'a'), std::string("\xFF"), std::string("\xC0\x80"),
        std::string("\xED\xA0\x80"), std::string("\xE2\x82"), std::string("\xF4\x90\x80\x80")}) {
    EXPECT_EQ(check_name("agent", bad).error().code, Errc::invalid_id) << bad;
    EXPECT_FALSE(is_name(bad));
  }
  EXPECT_TRUE(is_name(std::string(128, 'a')));
}

TEST(EventLog, ShowsALossByAGapInItsSequence) {
  EventLog log(4);
  for (std::uint64_t i = 1; i <= 6; ++i) {
    EventRecord event;
    event.a = i;
    log.emit(event);
  }
  std::vector<std::uint64_t> seen;
  EXPECT_EQ(log.after(1, [&](const EventRecord& event) { seen.push_back(event.sequence); }), 6U);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{3, 4, 5, 6}));
  EXPECT_EQ(log.after(6, [](const EventRecord&) { FAIL(); }), 6U);
}

// By its formula; and the same whether its step was made for it or for another instant.
RC_GTEST_PROP(DecayScale, IsOfItsInstantAloneAndRight, ()) {
  const auto half_life =
      *rc::gen::inRange<std::int64_t>(1, std::int64_t{30} * 86'400 * kNsPerSecond);
  const auto now = *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << 57);
  const DecayScale scale(now, half_life);
  const double into = static_cast<double>(now % (8 * half_life)) / static_cast<double>(half_life);
  const double bits = std::exp2(into) * 0x1p24;
  RC_ASSERT(scale.epoch == (static_cast<std::uint64_t>(now / (8 * half_life)) & 0xFFU));
  RC_ASSERT(std::abs(static_cast<double>(scale.unit) - bits) < 0.5 + 1e-12 * bits);
  RC_ASSERT(std::abs(scale.per_bit * bits - 1) < 1e-12);
  const DecayStep step(now, half_life);
  RC_ASSERT(step.holds(now));
  const DecayStep begun(step.begin_ns, half_life);
  const DecayScale same = begun.at(now);
  RC_ASSERT(same.unit == scale.unit && same.per_bit == scale.per_bit && same.epoch == scale.epoch);
  RC_ASSERT(!step.holds(step.begin_ns + step.length_ns) && !step.holds(step.begin_ns - 1));
}

TEST(ViewRow, AsASlotOfARingIsReadByItsNumberAlone) {
  ViewRow<> row{};
  ViewWords words{};
  EXPECT_FALSE(row.read_as(1, words));
  row.publish_as(1, {1, 2, 3, 4, 5, 6, 7});
  ASSERT_TRUE(row.read_as(1, words));
  EXPECT_EQ(words, (ViewWords{1, 2, 3, 4, 5, 6, 7}));
  row.publish_as(9, {7, 6, 5, 4, 3, 2, 1});
  EXPECT_FALSE(row.read_as(1, words)) << "overwritten";
  EXPECT_TRUE(row.read_as(9, words));
  row.sequence.raw = 0;  // its writer has died inside
  EXPECT_FALSE(row.read_as(9, words));
}

TEST(ViewRow, IsReadWholeOrNotAtAll) {
  ViewRow<> row{};
  ViewWords words{};
  ASSERT_TRUE(row.read(words));
  row.publish({1, 2, 3, 4, 5, 6, 7});
  ASSERT_TRUE(row.read(words));
  EXPECT_EQ(words, (ViewWords{1, 2, 3, 4, 5, 6, 7}));
  row.sequence.raw |= 1U;  // its writer has died inside
  EXPECT_FALSE(row.read(words));
  row.publish({7, 6, 5, 4, 3, 2, 1});
  ASSERT_TRUE(row.read(words));
  EXPECT_EQ(words[0], 7U);
}

}  // namespace of_blocks_test
}  // namespace mesh::coordination
