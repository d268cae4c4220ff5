#include "sched/timing_wheel.hpp"

#include <random>

#include "tests/seed.hpp"

namespace mesh::sched {
namespace of_timing_wheel_test {

TimingWheel make_wheel(std::uint32_t capacity, std::int64_t start_ns = 0,
                       std::uint32_t operations = 16) {
  return std::move(TimingWheel::create({capacity, operations, start_ns}).value());
}

std::vector<WheelEntry> fired_by(TimingWheel& wheel, std::int64_t now_ns,
                                 std::uint32_t limit = 1'000'000) {
  std::vector<WheelEntry> fired;
  wheel.advance(now_ns, limit, [&](const WheelEntry& entry) { fired.push_back(entry); });
  return fired;
}

std::vector<std::uint16_t> buckets_of(const std::vector<WheelEntry>& entries) {
  std::vector<std::uint16_t> buckets;
  for (const WheelEntry& entry : entries) buckets.push_back(entry.bucket);
  return buckets;
}

TEST(TimingWheel, RefusesSizesAndStartsItCannotHave) {
  for (const std::uint32_t capacity : {0U, kMaxWheelEntries + 1}) {
    const auto wheel = TimingWheel::create({.capacity = capacity});
    ASSERT_FALSE(wheel);
    EXPECT_EQ(wheel.error().code, Errc::invalid_argument);
    EXPECT_EQ(wheel.error().detail, capacity);
    EXPECT_THAT(wheel.error().sentence, ::testing::HasSubstr(std::to_string(capacity)));
  }
  EXPECT_FALSE(TimingWheel::create({.capacity = 1, .operations = 0}));
  EXPECT_FALSE(TimingWheel::create({.capacity = 1, .operations = UINT32_MAX}));
  // Of the largest mesh there is every message may be timed.
  EXPECT_TRUE(TimingWheel::create({.capacity = 1, .operations = 4 * kMaxAgents + kMaxOperations}));
  EXPECT_FALSE(TimingWheel::create({.capacity = 1, .start_ns = -1}));
  EXPECT_FALSE(TimingWheel::create({.capacity = 1, .start_ns = INT64_MAX}));
  EXPECT_TRUE(TimingWheel::create({.capacity = 1, .start_ns = TimingWheel::kDueNsMax}));
}

TEST(TimingWheel, RefusesTimesNearTheEndsOfInt64ByType) {
  TimingWheel wheel = make_wheel(4);
  for (const std::int64_t due : {INT64_MAX, INT64_MAX - 1, TimingWheel::kDueNsMax + 1, INT64_MIN,
                                 INT64_MIN + 1, TimingWheel::kDueNsMin - 1}) {
    EXPECT_EQ(wheel.schedule({0, 0, due}).status, ScheduleStatus::kOutOfRange) << due;
  }
  EXPECT_EQ(wheel.schedule({0, 0, TimingWheel::kDueNsMax}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.schedule({0, 0, TimingWheel::kDueNsMin}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.size(), 2U);
  EXPECT_TRUE(wheel.verify());
}

TEST(TimingWheel, RefusesAnOperationItHasNoPlaceFor) {
  TimingWheel wheel = make_wheel(4);
  EXPECT_EQ(wheel.schedule({16, 0, 0}).status, ScheduleStatus::kNoSuchOperation);
  EXPECT_EQ(wheel.schedule({15, 0, 0}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.cancel_operation(16), 0U);
}

TEST(TimingWheel, IsFullAtItsCapacityAndHasRoomAgainAfterFiringOrCancelling) {
  TimingWheel wheel = make_wheel(3);
  const auto far = wheel.schedule({0, 1, 1'000'000'000});
  ASSERT_EQ(wheel.schedule({0, 2, 10}).status, ScheduleStatus::kScheduled);
  ASSERT_EQ(wheel.schedule({0, 3, 10}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.schedule({0, 4, 10}).status, ScheduleStatus::kFull);
  EXPECT_TRUE(wheel.cancel(far.handle));
  EXPECT_EQ(wheel.schedule({0, 5, 10}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.schedule({0, 6, 10}).status, ScheduleStatus::kFull);
  EXPECT_EQ(buckets_of(fired_by(wheel, 10)), (std::vector<std::uint16_t>{2, 3, 5}));
  EXPECT_EQ(wheel.size(), 0U);
  EXPECT_TRUE(wheel.verify());
}

TEST(TimingWheel, FiresAtTheExactNanosecondAndNeverBefore) {
  for (const std::int64_t due : {std::int64_t{1}, std::int64_t{65'535}, std::int64_t{65'536},
                                 std::int64_t{4'194'304}, std::int64_t{3'600'000'000'007}}) {
    TimingWheel wheel = make_wheel(4);
    ASSERT_EQ(wheel.schedule({1, 2, due}).status, ScheduleStatus::kScheduled);
    EXPECT_EQ(wheel.next_due_ns(), due);
    EXPECT_TRUE(fired_by(wheel, due - 1).empty()) << due;
    EXPECT_EQ(wheel.next_due_ns(), due) << "also after it moved down its levels";
    EXPECT_EQ(fired_by(wheel, due), (std::vector<WheelEntry>{{1, 2, due}}));
    EXPECT_EQ(wheel.next_due_ns(), TimingWheel::kNever);
  }
}

TEST(TimingWheel, FiresWhatIsDueTogetherInTheOrderOfScheduling) {
  TimingWheel wheel = make_wheel(128);
  for (std::uint16_t bucket = 0; bucket < 100; ++bucket) {
    ASSERT_EQ(wheel.schedule({0, bucket, 50'000'000}).status, ScheduleStatus::kScheduled);
  }
  const auto fired = fired_by(wheel, 60'000'000);
  ASSERT_EQ(fired.size(), 100U);
  for (std::uint16_t bucket = 0; bucket < 100; ++bucket) EXPECT_EQ(fired[bucket].bucket, bucket);
}

TEST(TimingWheel, SaysWhatFiresNextInTheSlotThatTimeIsIn) {
  TimingWheel wheel = make_wheel(4);
  EXPECT_FALSE(wheel.next());
  ASSERT_EQ(wheel.schedule({3, 7, kNsPerMs + 5}).status, ScheduleStatus::kScheduled);
  ASSERT_EQ(wheel.schedule({2, 6, kNsPerMs + 4}).status, ScheduleStatus::kScheduled);
  EXPECT_TRUE(fired_by(wheel, kNsPerMs - 300'000).empty());
  EXPECT_FALSE(wheel.next()) << "slots away";
  EXPECT_TRUE(fired_by(wheel, kNsPerMs + 3).empty());
  ASSERT_TRUE(wheel.next());
  EXPECT_EQ(*wheel.next(), (WheelEntry{2, 6, kNsPerMs + 4}));
  EXPECT_EQ(fired_by(wheel, kNsPerMs + 4).size(), 1U);
  EXPECT_EQ(*wheel.next(), (WheelEntry{3, 7, kNsPerMs + 5}));
}

TEST(TimingWheel, FiresAtOnceWhatIsDueInThePast) {
  TimingWheel wheel = make_wheel(8, 1'000'000'000);
  ASSERT_EQ(wheel.schedule({0, 1, 999'999'999}).status, ScheduleStatus::kScheduled);
  ASSERT_EQ(wheel.schedule({0, 2, -5}).status, ScheduleStatus::kScheduled);
  EXPECT_EQ(wheel.next_due_ns(), -5);
  EXPECT_EQ(buckets_of(fired_by(wheel, 1'000'000'000)), (std::vector<std::uint16_t>{2, 1}));
}

TEST(TimingWheel, HoldsWhatIsDueInDaysAndInACentury) {
  TimingWheel wheel = make_wheel(8);
  constexpr std::int64_t kDay = 86'400 * kNsPerSecond;
  ASSERT_EQ(wheel.schedule({0, 1, 36'500 * kDay + 3}).status, ScheduleStatus::kScheduled);
  ASSERT_EQ(wheel.schedule({0, 2, 9 * kDay + 1}).status, ScheduleStatus::kScheduled);
  ASSERT_EQ(wheel.schedule({0, 3, TimingWheel::kDueNsMax}).status, ScheduleStatus::kScheduled);
  EXPECT_TRUE(fired_by(wheel, 9 * kDay).empty());
  EXPECT_EQ(buckets_of(fired_by(wheel, 9 * kDay + 1)), (std::vector<std::uint16_t>{2}));
  EXPECT_TRUE(fired_by(wheel, 36'500 * kDay + 2).empty());
  EXPECT_EQ(wheel.next_due_ns(), 36'500 * kDay + 3);
  EXPECT_EQ(buckets_of(fired_by(wheel, 36'500 * kDay + 3)), (std::vector<std::uint16_t>{1}));
  EXPECT_EQ(buckets_of(fired_by(wheel, INT64_MAX)), (std::vector<std::uint16_t>{3}));
  EXPECT_TRUE(wheel.verify());
}

TEST(TimingWheel, FiresAtMostTheLimitAndSaysThatThereIsMore) {
  TimingWheel wheel = make_wheel(64);
  for (std::uint16_t bucket = 0; bucket < 10; ++bucket) {
    (void)wheel.schedule({0, bucket, 1'000'000 + bucket});
  }
  std::vector<std::uint16_t> fired;
  unsigned calls = 0;
  for (bool more = true; more; ++calls) {
    const Advanced advanced = wheel.advance(
        2'000'000, 3, [&](const WheelEntry& entry) { fired.push_back(entry.bucket); });
    ASSERT_LE(advanced.fired, 3U);
    ASSERT_LE(advanced.moved, 3U);
    more = advanced.more;
    ASSERT_TRUE(wheel.verify());
    ASSERT_LT(calls, 100U);
  }
  EXPECT_EQ(fired, (std::vector<std::uint16_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(TimingWheel, LetsWhatIsFiredScheduleAndCancel) {
  TimingWheel wheel = make_wheel(8);
  (void)wheel.schedule({0, 1, 100});
  const auto doomed = wheel.schedule({0, 2, 200});
  std::vector<std::uint16_t> fired;
  wheel.advance(1'000'000, 100, [&](const WheelEntry& entry) {
    fired.push_back(entry.bucket);
    if (entry.bucket != 1) return;
    EXPECT_TRUE(wheel.cancel(doomed.handle));
    (void)wheel.schedule({0, 3, 50});         // past: now
    (void)wheel.schedule({0, 4, 500'000});    // due within this advance
    (void)wheel.schedule({0, 5, 9'000'000});  // later
  });
  EXPECT_EQ(fired, (std::vector<std::uint16_t>{1, 3, 4}));
  EXPECT_EQ(wheel.next_due_ns(), 9'000'000);
}

TEST(TimingWheel, CancelsByHandleOnceAndNeverTheNextTenant) {
  TimingWheel wheel = make_wheel(1);
  const auto first = wheel.schedule({0, 1, 100'000'000});
  EXPECT_TRUE(wheel.cancel(first.handle));
  EXPECT_FALSE(wheel.cancel(first.handle));
  const auto second = wheel.schedule({0, 2, 100'000'000});
  EXPECT_EQ(second.handle.index, first.handle.index);
  EXPECT_FALSE(wheel.cancel(first.handle));
  EXPECT_EQ(buckets_of(fired_by(wheel, 100'000'000)), (std::vector<std::uint16_t>{2}));
  EXPECT_FALSE(wheel.cancel(second.handle));
  EXPECT_FALSE(wheel.cancel({}));
  EXPECT_FALSE(wheel.cancel({1, 0}));
}

TEST(TimingWheel, CancelsAllOfAnOperationAndNothingElse) {
  TimingWheel wheel = make_wheel(64);
  for (std::uint16_t bucket = 0; bucket < 30; ++bucket) {
    (void)wheel.schedule({bucket % 3U, bucket, std::int64_t{bucket} * 777'777});
  }
  EXPECT_EQ(wheel.cancel_operation(1), 10U);
  EXPECT_EQ(wheel.cancel_operation(1), 0U);
  EXPECT_TRUE(wheel.verify());
  const auto fired = fired_by(wheel, kNsPerSecond);
  EXPECT_EQ(fired.size(), 20U);
  for (const WheelEntry& entry : fired) EXPECT_NE(entry.operation, 1U);
}

#ifndef MESH_DCHECKS
TEST(TimingWheel, CountsATimeThatGoesBackAsTheLastOne) {
  TimingWheel wheel = make_wheel(8);
  (void)fired_by(wheel, kNsPerSecond);
  EXPECT_TRUE(fired_by(wheel, 5).empty());
  (void)wheel.schedule({0, 1, kNsPerSecond - 1});
  EXPECT_EQ(fired_by(wheel, 6).size(), 1U);
  EXPECT_TRUE(wheel.verify());
}
#endif

// The wheel beside a sorted map, operation by operation.
class Model {
 public:
  Model(std::uint64_t seed, std::uint32_t capacity, std::int64_t start_ns)
      : random_(seed),
        wheel_(make_wheel(capacity, start_ns)),
        capacity_(capacity),
        now_(start_ns) {}

  void step() {
    const std::uint64_t choice = random_() % 100;
    if (choice < 55) {
      schedule();
    } else if (choice < 70) {
      cancel();
    } else if (choice < 71) {
      cancel_operation();
    } else {
      advance();
    }
    check_next_due();
  }
  const TimingWheel& wheel() const { return wheel_; }
  std::uint64_t fired() const { return fired_; }
  std::uint64_t largest() const { return largest_; }

 private:
  using Key = std::pair<std::int64_t, std::uint64_t>;
  struct Entry {
    WheelEntry entry;
    TimerHandle handle;
  };

  // Any magnitude: half of it within some slots, the rest up to two years.
  std::int64_t distance() { return static_cast<std::int64_t>(random_() >> (8 + random_() % 56)); }
  void schedule() {
    const std::int64_t offset = random_() % 8 == 0 ? -distance() / 1'024 : distance();
    const WheelEntry entry{static_cast<std::uint32_t>(random_() % 16),
                           static_cast<std::uint16_t>(random_()), now_ + offset};
    if (entry.due_ns > TimingWheel::kDueNsMax) return;
    const Scheduled scheduled = wheel_.schedule(entry);
    const bool is_full = pending_.size() == capacity_;
    ASSERT_EQ(scheduled.status, is_full ? ScheduleStatus::kFull : ScheduleStatus::kScheduled);
    if (is_full) return;
    const Key key{entry.due_ns, order_++};
    pending_.emplace(key, Entry{entry, scheduled.handle});
    handles_.push_back({key, scheduled.handle});
  }
  void cancel() {
    if (handles_.empty()) return;
    const auto at = static_cast<std::ptrdiff_t>(random_() % handles_.size());
    const auto [key, handle] = handles_[static_cast<std::size_t>(at)];
    handles_[static_cast<std::size_t>(at)] = handles_.back();
    handles_.pop_back();
    ASSERT_EQ(wheel_.cancel(handle), pending_.erase(key) == 1);
    was_cancelled_ = true;
  }
  void cancel_operation() {
    const auto operation = static_cast<std::uint32_t>(random_() % 16);
    const auto count = std::erase_if(
        pending_, [&](const auto& item) { return item.second.entry.operation == operation; });
    ASSERT_EQ(wheel_.cancel_operation(operation), count);
    was_cancelled_ = true;
  }
  void advance() {
    // Far steps are rare: each empties the wheel of all that is nearer, and a full wheel tests
    // more.
    std::int64_t step =
        random_() % 2'000 == 0 ? distance() : static_cast<std::int64_t>(random_() % 200'000);
    if (random_() % 4 == 0 && !pending_.empty()) {  // to just before, at or after what is next
      step = std::max<std::int64_t>(pending_.begin()->first.first - now_, 0) +
             static_cast<std::int64_t>(random_() % 3) - 1;
    }
    now_ = std::min(now_ + std::max<std::int64_t>(step, 0), TimingWheel::kDueNsMax);
    const auto limit = static_cast<std::uint32_t>(1 + random_() % 64);
    bool wrong = false;
    const Advanced advanced = wheel_.advance(now_, limit, [&](const WheelEntry& entry) {
      ++fired_;
      const auto expected = pending_.begin();
      wrong |= expected == pending_.end() || expected->second.entry != entry || entry.due_ns > now_;
      if (expected != pending_.end()) pending_.erase(expected);
    });
    ASSERT_FALSE(wrong) << "fired early, late or out of order";
    ASSERT_LE(advanced.fired, limit);
    ASSERT_LE(advanced.moved, limit);
    if (!advanced.more) {
      ASSERT_TRUE(pending_.empty() || pending_.begin()->first.first > now_) << "left behind";
    }
    if (handles_.size() > 4 * capacity_) handles_.clear();
  }
  void check_next_due() {
    ASSERT_EQ(wheel_.size(), pending_.size());
    largest_ = std::max<std::uint64_t>(largest_, pending_.size());
    const std::int64_t earliest =
        pending_.empty() ? TimingWheel::kNever : pending_.begin()->first.first;
    if (pending_.empty() || !was_cancelled_) {
      ASSERT_EQ(wheel_.next_due_ns(), earliest);
      was_cancelled_ = false;
    } else {
      ASSERT_LE(wheel_.next_due_ns(), earliest);
    }
  }

  std::mt19937_64 random_;
  TimingWheel wheel_;
  std::uint32_t capacity_;
  std::int64_t now_;
  std::uint64_t order_ = 0;
  std::uint64_t fired_ = 0;
  std::uint64_t largest_ = 0;
  bool was_cancelled_ = false;  // then next_due_ns is a lower bound, until the wheel is empty
  std::map<Key, Entry> pending_;
  std::vector<std::pair<Key, TimerHandle>> handles_;
};

void expect_like_model(std::uint64_t seed, std::uint32_t capacity, std::int64_t start_ns) {
  SCOPED_TRACE("capacity " + std::to_string(capacity) + ", start " + std::to_string(start_ns));
  Model model(seed, capacity, start_ns);
  for (int step = 0; step < 250'000; ++step) {
    model.step();
    if (::testing::Test::HasFatalFailure()) FAIL() << "step " << step;
    if (step % 5'000 == 0) {
      const Status status = model.wheel().verify();
      ASSERT_TRUE(status) << status.error().sentence << ", step " << step;
    }
  }
  EXPECT_GT(model.fired(), 1'000U);
  EXPECT_GE(model.largest(), std::min(capacity, 200U));
}

TEST(TimingWheel, BehavesAsASortedMapOverMillionsOfOperations) {
  for (const std::uint32_t capacity : {1U, 7U, 200U, 4'096U}) {
    for (const std::int64_t start :
         {std::int64_t{0}, std::int64_t{1'000'000'000'000}, std::int64_t{1} << 48}) {
      expect_like_model(testing::seed() + capacity, capacity, start);
    }
  }
}

// A cancelled entry leaves at most one look for nothing: who sleeps until next_due and advances to
// it gets on, and comes to the true next entry in a bounded number of steps.
TEST(TimingWheel, SleepingUntilNextDueReachesEveryEntryInFewSteps) {
  std::mt19937_64 random(testing::seed());
  TimingWheel wheel = make_wheel(10'000);
  std::vector<TimerHandle> handles;
  for (int i = 0; i < 10'000; ++i) {
    const auto due = static_cast<std::int64_t>(random() >> (16 + random() % 40));
    handles.push_back(wheel.schedule({0, 0, due}).handle);
  }
  for (std::size_t i = 0; i < handles.size(); i += 2) wheel.cancel(handles[i]);
  std::uint64_t steps = 0;
  std::uint64_t fired = 0;
  while (wheel.next_due_ns() != TimingWheel::kNever) {
    fired += wheel.advance(wheel.next_due_ns(), 1'000'000, [](const WheelEntry&) {}).fired;
    ASSERT_LE(++steps, 20'000U);
  }
  EXPECT_EQ(fired, 5'000U);
}

}  // namespace of_timing_wheel_test
}  // namespace mesh::sched
