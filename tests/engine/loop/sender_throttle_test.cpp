// Who may send how much while the engine cannot keep up: the throttle alone, in a closed loop.
#include "engine/loop/sender_throttle.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/allocations.hpp"

namespace mesh::engine {
namespace of_sender_throttle_test {

using sched::Priority;

constexpr Nanos kMs{kNsPerMs};

// An engine that takes `drained_per_s` messages off a store of `room`, and has no room for more;
// what it takes in has waited for `wait`. Each sector sends so many a second.
struct Offered {
  double per_s = 0;
  Priority priority = Priority::normal;
};
struct Count {
  double sent = 0;
  double admitted = 0;
  double without_room = 0;
  [[nodiscard]] double done() const { return admitted - without_room; }
};

class Closed {
 public:
  explicit Closed(std::uint32_t sectors, SenderThrottleOptions options = {})
      : throttle(sectors, options), counts(sectors), owed_(sectors) {}

  // A millisecond at a time; in each the sectors take turns.
  void run(Nanos length, const std::vector<std::vector<Offered>>& offered) {
    for (const Nanos until = now + length; now < until; now += kMs) {
      stored_ = std::max(0.0, stored_ - drained_per_s / 1'000);
      for (std::uint32_t sector = 0; sector < offered.size(); ++sector) {
        owed_[sector].resize(offered[sector].size());
        for (std::size_t kind = 0; kind < offered[sector].size(); ++kind)
          send(sector, offered[sector][kind], owed_[sector][kind]);
      }
      throttle.turn(seen, now);
    }
  }
  void forget_counts() { counts.assign(counts.size(), {}); }
  [[nodiscard]] double done_per_s(std::uint32_t sector, Nanos in) const {
    return counts[sector].done() / (static_cast<double>(in.count()) * 1e-9);
  }

  SenderThrottle throttle;
  SenderThrottle::Seen seen;
  std::vector<Count> counts;
  std::map<Priority, Count> by_priority;
  Nanos now{kNsPerSecond};
  double drained_per_s = 1e12;
  double room = 1e12;
  Nanos wait{0};

 private:
  void send(std::uint32_t sector, const Offered& offered, double& owed) {
    for (owed += offered.per_s / 1'000; owed >= 1; owed -= 1) {
      ++seen.sends;
      ++counts[sector].sent;
      ++by_priority[offered.priority].sent;
      throttle.note_wait(wait.count());
      if (!throttle.admits(sector, offered.priority, now)) continue;
      ++counts[sector].admitted;
      ++by_priority[offered.priority].admitted;
      if (stored_ + 1 <= room) {
        stored_ += 1;
        continue;
      }
      ++counts[sector].without_room;
      ++seen.without_room;
    }
  }
  std::vector<std::vector<double>> owed_;
  double stored_ = 0;
};

std::vector<std::vector<Offered>> each(std::vector<double> rates) {
  std::vector<std::vector<Offered>> all;
  for (const double rate : rates) all.push_back({{rate, Priority::normal}});
  return all;
}
constexpr Nanos seconds(std::int64_t count) { return Nanos{count * kNsPerSecond}; }

TEST(SenderThrottleOptions, RefusesWhatIsNoFactorAndNoBaseline) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(SenderThrottleOptions{}.check());
  for (const double factor : {0.0, 1.0, -10.0, 1e7, nan}) {
    const Status checked = SenderThrottleOptions{.flood_factor = factor}.check();
    ASSERT_FALSE(checked) << factor;
    EXPECT_EQ(checked.error().code, Errc::invalid_config);
  }
  for (const double least : {0.0, -1.0, 1e9, nan})
    EXPECT_FALSE(SenderThrottleOptions{.baseline_min = least}.check()) << least;
}

TEST(SenderThrottle, NobodyIsHeldBackWhileTheEngineKeepsUpHoweverMuchIsSent) {
  Closed mesh(4);
  mesh.run(seconds(70), each({10, 10, 10, 0}));
  mesh.run(seconds(3), each({400'000, 10, 10, 0}));
  EXPECT_EQ(mesh.counts[0].admitted, mesh.counts[0].sent);
  EXPECT_EQ(mesh.throttle.times(), 0U);
  EXPECT_EQ(mesh.throttle.rate(), 0);
}

TEST(SenderThrottle, ATenthWithoutRoomIsBorne) {
  Closed mesh(2);
  mesh.room = 100;
  mesh.drained_per_s = 9'100;
  mesh.run(seconds(10), each({5'000, 5'000}));
  EXPECT_GT(mesh.seen.without_room, 5'000U);
  EXPECT_EQ(mesh.throttle.times(), 0U);
}

TEST(SenderThrottle, WhoSendsLittleKeepsAllOfItWhileAnotherFloods) {
  Closed mesh(10);
  mesh.room = 5'000;
  mesh.drained_per_s = 2'000;
  std::vector<double> rates(10, 20);
  rates[0] = 20'000;
  mesh.run(seconds(10), each(rates));
  mesh.forget_counts();
  mesh.run(seconds(60), each(rates));
  EXPECT_TRUE(mesh.throttle.is_limiting());
  for (std::uint32_t sector = 1; sector < 10; ++sector) {
    EXPECT_EQ(mesh.counts[sector].admitted, mesh.counts[sector].sent) << sector;
    EXPECT_GT(mesh.done_per_s(sector, seconds(60)), 0.8 * 20) << sector;
  }
  EXPECT_GT(mesh.done_per_s(0, seconds(60)), 0.65 * (2'000 - 9 * 20)) << "and the rest is used";
  EXPECT_LT(mesh.counts[0].without_room, 0.35 * mesh.counts[0].admitted);
  EXPECT_TRUE(mesh.throttle.governor().verify());
}

TEST(SenderThrottle, TwoThatFloodShareEqually) {
  Closed mesh(2);
  mesh.room = 5'000;
  mesh.drained_per_s = 4'000;
  mesh.run(seconds(10), each({30'000, 60'000}));
  mesh.forget_counts();
  mesh.run(seconds(60), each({30'000, 60'000}));
  const double a = mesh.counts[0].admitted;
  const double b = mesh.counts[1].admitted;
  EXPECT_GT((a + b) * (a + b) / (2 * (a * a + b * b)), 0.95) << a << " and " << b;
}

TEST(SenderThrottle, WhereEverythingWaitsForASecondTheRateIsCutAndFoundAgain) {
  Closed mesh(2);
  mesh.run(seconds(2), each({50'000, 50'000}));
  mesh.wait = Nanos{130 * kNsPerMs};
  mesh.run(Nanos{1'600 * kNsPerMs}, each({50'000, 50'000}));
  ASSERT_TRUE(mesh.throttle.is_limiting());
  EXPECT_EQ(mesh.throttle.times(), 1U);
  EXPECT_LT(mesh.throttle.rate(), 0.75 * 100'000);
  mesh.run(seconds(1), each({50'000, 50'000}));
  EXPECT_LT(mesh.throttle.rate(), 0.2 * 100'000) << "while it lasts";
  mesh.wait = Nanos{0};
  mesh.run(seconds(20), each({50'000, 50'000}));
  EXPECT_FALSE(mesh.throttle.is_limiting()) << "once it is over, and 5 s after all was admitted";
  EXPECT_EQ(mesh.throttle.times(), 1U);
}

// A loop that was kept from its core takes in what has waited for it: that is no flood.
TEST(SenderThrottle, PausesOfTheEngineLimitNobody) {
  Closed mesh(2);
  mesh.run(seconds(2), each({5'000, 5'000}));
  for (int pause = 0; pause < 50; ++pause) {
    mesh.wait = Nanos{500 * kNsPerMs};
    mesh.run(Nanos{700 * kNsPerMs}, each({5'000, 5'000}));
    mesh.wait = Nanos{0};
    mesh.run(Nanos{100 * kNsPerMs}, each({5'000, 5'000}));
  }
  EXPECT_EQ(mesh.throttle.times(), 0U);
  // Nor do a few late ones, far apart.
  mesh.wait = seconds(1);
  for (int i = 0; i < 50; ++i) {
    mesh.run(Nanos{20 * kNsPerMs}, each({500, 0}));
    mesh.run(Nanos{480 * kNsPerMs}, each({0, 0}));
  }
  EXPECT_EQ(mesh.throttle.times(), 0U);
}

TEST(SenderThrottle, OneThatWritesFalseTimesMakesNobodyLate) {
  Closed mesh(2);
  for (int ms = 0; ms < 2'000; ++ms) {
    mesh.throttle.note_wait(seconds(3'600).count());  // of a liar
    mesh.run(kMs, each({0, 1'000}));
  }
  EXPECT_EQ(mesh.throttle.times(), 0U);
  mesh.throttle.note_wait(-5);
  mesh.throttle.note_wait(std::numeric_limits<std::int64_t>::min());
  mesh.run(seconds(1), each({1'000, 1'000}));
  EXPECT_EQ(mesh.throttle.times(), 0U);
}

TEST(SenderThrottle, BackgroundGivesWayAndUrgentHasAnEighthMore) {
  Closed mesh(1);
  mesh.room = 5'000;
  mesh.drained_per_s = 2'000;
  const std::vector<std::vector<Offered>> offered = {
      {{3'000, Priority::background}, {3'000, Priority::normal}}};
  mesh.run(seconds(10), offered);
  mesh.by_priority.clear();
  mesh.run(seconds(30), offered);
  const double normal = mesh.by_priority[Priority::normal].admitted;
  EXPECT_LT(mesh.by_priority[Priority::background].admitted, 0.1 * normal);

  Closed urgent(2);
  urgent.room = 5'000;
  urgent.drained_per_s = 2'000;
  const std::vector<std::vector<Offered>> both = {{{5'000, Priority::normal}},
                                                  {{5'000, Priority::critical}}};
  urgent.run(seconds(10), both);
  urgent.by_priority.clear();
  urgent.run(seconds(30), both);
  const double more = urgent.by_priority[Priority::critical].admitted /
                      urgent.by_priority[Priority::normal].admitted;
  EXPECT_NEAR(more, 1.1, 0.04) << "its share moves while it is spent";
}

TEST(SenderThrottle, ASectorWithNothingButBackgroundHasMostOfItsShare) {
  Closed mesh(2);
  mesh.room = 5'000;
  mesh.drained_per_s = 2'000;
  const std::vector<std::vector<Offered>> offered = {{{5'000, Priority::background}},
                                                     {{5'000, Priority::normal}}};
  mesh.run(seconds(10), offered);
  mesh.by_priority.clear();
  mesh.run(seconds(30), offered);
  EXPECT_GT(mesh.by_priority[Priority::background].admitted,
            0.6 * mesh.by_priority[Priority::normal].admitted);
}

// mesh.md 16: over ten times the baseline.
TEST(SenderThrottle, OneOverTenTimesItsBaselineIsHeldToIt) {
  Closed mesh(3);
  mesh.run(seconds(600), each({200, 200, 200}));
  mesh.room = 5'000;
  mesh.drained_per_s = 2'500;
  const auto flood = each({8'000, 1'900, 200});
  mesh.run(seconds(5), flood);
  ASSERT_TRUE(mesh.throttle.is_limiting());
  EXPECT_TRUE(mesh.throttle.is_flooding(0));
  EXPECT_FALSE(mesh.throttle.is_flooding(1)) << "nine times and a half";
  EXPECT_FALSE(mesh.throttle.is_flooding(2));
  EXPECT_NEAR(mesh.throttle.share(0), 200, 10) << "its baseline";
  mesh.forget_counts();
  mesh.run(seconds(20), flood);
  EXPECT_NEAR(mesh.done_per_s(0, seconds(20)), 215, 20) << "which follows slowly";
  EXPECT_GT(mesh.done_per_s(1, seconds(20)), 1'500) << "the room is for the others";
  mesh.run(seconds(9), each({200, 3'000, 200}));
  EXPECT_TRUE(mesh.throttle.is_flooding(0)) << "10 s after it flooded last";
  mesh.run(seconds(2), each({200, 3'000, 200}));
  EXPECT_FALSE(mesh.throttle.is_flooding(0));
}

TEST(SenderThrottle, AFloodThatStaysIsUsualInTheEnd) {
  Closed mesh(2);
  mesh.run(seconds(600), each({200, 200}));
  mesh.room = 2'000;
  mesh.drained_per_s = 2'500;
  const auto flood = each({8'000, 200});
  mesh.run(seconds(60), flood);
  EXPECT_TRUE(mesh.throttle.is_flooding(0));
  EXPECT_LT(mesh.throttle.share(0), 300);
  mesh.drained_per_s = 20'000;
  mesh.run(seconds(120), flood);
  EXPECT_TRUE(mesh.throttle.is_flooding(0)) << "not soon";
  mesh.run(seconds(600), flood);
  EXPECT_FALSE(mesh.throttle.is_limiting());
  mesh.forget_counts();
  mesh.run(seconds(10), flood);
  EXPECT_EQ(mesh.counts[0].admitted, mesh.counts[0].sent);
}

TEST(SenderThrottle, CriticalMessagesOfOneThatFloodsHaveNoMoreThanItsBaseline) {
  Closed mesh(2);
  mesh.run(seconds(600), each({200, 200}));
  mesh.room = 5'000;
  mesh.drained_per_s = 2'500;
  const std::vector<std::vector<Offered>> flood = {{{9'000, Priority::critical}},
                                                   {{1'000, Priority::normal}}};
  mesh.run(seconds(5), flood);
  mesh.forget_counts();
  mesh.run(seconds(10), flood);
  EXPECT_NEAR(mesh.counts[0].admitted / 10, 210, 15);
}

TEST(SenderThrottle, AYoungMeshHasNoBaselines) {
  Closed mesh(2);
  mesh.room = 1'000;
  mesh.drained_per_s = 2'000;
  mesh.run(seconds(20), each({20'000, 10}));
  ASSERT_TRUE(mesh.throttle.is_limiting());
  EXPECT_FALSE(mesh.throttle.is_flooding(0));
  EXPECT_GT(mesh.throttle.share(0), 500);
}

TEST(SenderThrottle, ALittleSenderIsTakenToSendTheLeastBaseline) {
  Closed mesh(2, {.flood_factor = 10, .baseline_min = 300});
  mesh.run(seconds(120), each({1, 1}));
  mesh.room = 1'000;
  mesh.drained_per_s = 1'000;
  mesh.run(seconds(5), each({2'900, 1}));
  ASSERT_TRUE(mesh.throttle.is_limiting());
  EXPECT_FALSE(mesh.throttle.is_flooding(0)) << "not over ten times 300";
  mesh.run(seconds(5), each({3'200, 1}));
  EXPECT_TRUE(mesh.throttle.is_flooding(0));
  EXPECT_NEAR(mesh.throttle.share(0), 300, 1);
}

TEST(SenderThrottle, SwitchedOffItHoldsNobodyAndLetsGoAtOnce) {
  Closed mesh(1, {.enabled = false});
  mesh.room = 100;
  mesh.drained_per_s = 100;
  mesh.run(seconds(5), each({5'000}));
  EXPECT_EQ(mesh.throttle.times(), 0U);
  mesh.throttle.set_options({}, mesh.now);
  mesh.run(seconds(5), each({5'000}));
  ASSERT_TRUE(mesh.throttle.is_limiting());
  mesh.throttle.set_options({.enabled = false}, mesh.now);
  EXPECT_FALSE(mesh.throttle.is_limiting());
  EXPECT_TRUE(mesh.throttle.admits(0, Priority::background, mesh.now));
}

TEST(SenderThrottle, SectorsBeyondItsPlacesShareOneWithTheirNeighbours) {
  SenderThrottle small(SenderThrottle::kSendersMax, {});
  EXPECT_EQ(small.governor().config().tenants_max, SenderThrottle::kSendersMax);
  for (const std::uint32_t sectors : {1U, 2U, 255U, 257U, 1'000U, 3'496U}) {
    SenderThrottle throttle(sectors, {});
    EXPECT_LE(throttle.governor().config().tenants_max, SenderThrottle::kSendersMax) << sectors;
    EXPECT_TRUE(throttle.admits(sectors - 1, Priority::normal, seconds(1)));
    EXPECT_TRUE(throttle.admits(~0U, Priority::normal, seconds(1))) << "nowhere yet";
  }
}

// Whatever is offered: no more is admitted than the rates that were in force, a second's burst at
// the beginning and for each growth of the rate, and an eighth for what is urgent.
TEST(SenderThrottle, AdmitsNoMoreThanItsRate) {
  EXPECT_TRUE(rc::check([] {
    const auto sectors = *rc::gen::inRange<std::uint32_t>(1, 8);
    Closed mesh(sectors);
    mesh.room = *rc::gen::inRange(100, 5'000);
    mesh.drained_per_s = *rc::gen::inRange(200, 5'000);
    std::vector<std::vector<Offered>> offered(sectors);
    for (auto& of : offered)
      of = {{static_cast<double>(*rc::gen::inRange(0, 9'000)),
             static_cast<Priority>(*rc::gen::inRange(0, 4))}};
    mesh.run(seconds(2), offered);
    const auto rate = [&] { return mesh.throttle.is_limiting() ? mesh.throttle.rate() : 1e12; };
    double allowed = rate();
    double before = rate();
    mesh.forget_counts();
    for (int ms = 0; ms < 10'000; ++ms) {
      mesh.run(kMs, offered);
      const double growth = std::max(rate() - std::exchange(before, rate()), 0.0);
      allowed += rate() / 1'000 + sectors * 0.01 + growth;
    }
    double admitted = 0;
    for (const Count& count : mesh.counts) admitted += count.admitted;
    RC_ASSERT(admitted <= 1.13 * allowed);
    RC_ASSERT(mesh.throttle.governor().verify().has_value());
  }));
}

TEST(SenderThrottle, AllocatesNothingWhateverItHasToDo) {
  Closed mesh(100);
  std::vector<double> rates(100, 20);
  rates[0] = rates[7] = 9'000;
  const std::vector<std::vector<Offered>> calm = each(std::vector<double>(100, 20));
  mesh.run(seconds(70), calm);
  mesh.room = 2'000;
  mesh.drained_per_s = 3'000;
  const std::vector<std::vector<Offered>> flood = each(rates);
  mesh.run(Nanos{2 * kNsPerMs}, flood);
  const std::uint64_t before = testing::allocation_count();
  mesh.run(seconds(30), flood);
  ASSERT_TRUE(mesh.throttle.is_flooding(0));
  mesh.drained_per_s = 1e9;
  mesh.run(seconds(30), calm);
  const std::uint64_t allocated = testing::allocation_count() - before;
  EXPECT_FALSE(mesh.throttle.is_limiting());
  EXPECT_EQ(allocated, 0U);
}

}  // namespace of_sender_throttle_test
}  // namespace mesh::engine
