// How long resources were held, as the manager reports it, and that what is given up is free: also
// of paths, which stand on each other.
#include <map>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/tasks/resource_manager.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_resource_holds_test {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }
constexpr std::uint32_t kAgents = 5;

ResourceManagerConfig small_manager() {
  ResourceManagerConfig config;
  config.agents_max = kAgents + 1;  // and one who looks what is free
  config.resources_max = 32;
  config.holdings_max = 32;
  config.lease_ns = ms(2'000);
  config.events_max = 32;
  return config;
}
resource::Acquire want(std::uint32_t agent, std::string name, Nanos timeout = Nanos{0}) {
  resource::Acquire one;
  one.agent = agent;
  one.resource = std::move(name);
  one.timeout = timeout;
  one.station = 1 + agent;
  return one;
}
double ms_at(const ResourceManager& manager, double quantile) {
  return static_cast<double>(manager.hold_times().quantile(quantile).value()) / kNsPerMs;
}

// --- how long ----------------------------------------------------------------------------------

TEST(ResourceHoldTimes, AreFromTheFirstAcquireToTheLastRelease) {
  ResourceManager manager(small_manager());
  EXPECT_EQ(manager.hold_times().quantile(0.5).error().code, Errc::not_found) << "of nothing";
  manager.apply(want(0, "r"), ms(0));
  manager.apply(want(0, "r"), ms(100));
  manager.apply(resource::Release{0, "r"}, ms(200));
  EXPECT_EQ(manager.hold_times().total(), 0U) << "it has it still";
  manager.apply(resource::Release{0, "r"}, ms(400));
  ASSERT_EQ(manager.hold_times().total(), 1U);
  EXPECT_NEAR(ms_at(manager, 1), 400, 400.0 / 64);
  EXPECT_EQ(manager.counters().hold_ns, 400U * kNsPerMs);
}

TEST(ResourceHoldTimes, CountAlsoWhatEndsByItself) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "lease"), ms(0));
  ResourceActions actions;
  manager.tick(ms(2'000), actions);
  EXPECT_EQ(actions.news.size(), 1U);
  EXPECT_NEAR(ms_at(manager, 1), 2'000, 2'000.0 / 64);
  manager.apply(want(1, "station"), ms(2'000));
  manager.apply(resource::StationClosed{2}, ms(2'050));
  EXPECT_EQ(manager.hold_times().total(), 2U);
  EXPECT_NEAR(ms_at(manager, 0), 50, 50.0 / 64);
}

// "a" was an intention of its agent's before it was its own.
TEST(ResourceHoldTimes, OfAPathAreThoseOfWhatWasAskedFor) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "a/b"), ms(0));
  manager.apply(want(0, "a"), ms(100));
  manager.apply(resource::Release{0, "a/b"}, ms(150));
  manager.apply(resource::Release{0, "a"}, ms(200));
  ASSERT_EQ(manager.hold_times().total(), 2U);
  EXPECT_NEAR(ms_at(manager, 0), 100, 100.0 / 64) << "a";
  EXPECT_NEAR(ms_at(manager, 1), 150, 150.0 / 64) << "a/b";
}

// --- paths -------------------------------------------------------------------------------------

TEST(ResourcePaths, WhatStandsOnAnotherIsGivenUpFirst) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "a/b"), ms(0));
  manager.apply(want(0, "a"), ms(0));
  const std::uint64_t before = manager.state_hash();
  EXPECT_EQ(manager.apply(resource::Release{0, "a"}, ms(1)).code, Errc::wrong_state);
  EXPECT_EQ(manager.state_hash(), before);
  EXPECT_TRUE(manager.holds(0, "a"));
  EXPECT_EQ(manager.apply(want(1, "a/c"), ms(1)).refusal, Refusal::would_block);
  EXPECT_EQ(manager.apply(resource::Release{0, "a/b"}, ms(2)).code, Errc::ok);
  EXPECT_EQ(manager.apply(resource::Release{0, "a"}, ms(2)).code, Errc::ok);
  EXPECT_EQ(manager.apply(want(1, "a"), ms(2)).refusal, Refusal::none);
}

TEST(ResourcePaths, AGroupHasNothingUnderWhichItsAgentHoldsSomething) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "a/b"), ms(0));
  const resource::AcquireAll group{0, {"a", "g"}, 0, ms(100), 1};
  EXPECT_EQ(manager.apply(group, ms(0)).code, Errc::wrong_state) << "it could not be given back";
  manager.apply(resource::Release{0, "a/b"}, ms(1));
  EXPECT_EQ(manager.apply(group, ms(1)).refusal, Refusal::none);
}

TEST(ResourcePaths, AreFreeWhenAllIsGivenUpInWhateverOrderTheyWereTaken) {
  std::vector<std::string> names{"a", "a/b", "a/b/c", "a/d"};
  do {
    for (const bool by_station : {false, true}) {
      ResourceManager manager(small_manager());
      for (const auto& name : names) ASSERT_EQ(manager.apply(want(0, name), ms(0)).code, Errc::ok);
      const ResourceCommand all = by_station ? ResourceCommand(resource::StationClosed{1})
                                             : ResourceCommand(resource::ReleaseAll{0});
      EXPECT_EQ(manager.apply(all, ms(1)).count, names.size());
      EXPECT_EQ(manager.apply(want(1, "a"), ms(1)).refusal, Refusal::none) << names[0] << names[1];
      EXPECT_TRUE(manager.verify());
    }
  } while (std::next_permutation(names.begin(), names.end()));
}

// --- who waits ---------------------------------------------------------------------------------

TEST(ResourceWaits, AreExplainedAsLongAsTheyLast) {
  ResourceManager manager(small_manager());
  manager.apply(want(0, "b"), ms(0));
  const auto waits = manager.apply(resource::AcquireAll{1, {"b", "a"}, 0, ms(500), 2}, ms(1));
  ASSERT_NE(waits.ticket, 0U);
  const LockWaitView view = manager.explain(waits.ticket);
  EXPECT_EQ(view.ticket, waits.ticket);
  EXPECT_EQ(view.agent, 1U);
  EXPECT_EQ(view.resource, "b") << "it has a";
  EXPECT_EQ(view.until, ms(501));
  EXPECT_EQ(view.in_its_way, std::vector<std::uint32_t>{0});
  manager.apply(resource::Release{0, "b"}, ms(2));
  EXPECT_EQ(manager.explain(waits.ticket).ticket, 0U);
  EXPECT_EQ(manager.explain(0).ticket, 0U);
}

// --- whatever happens --------------------------------------------------------------------------

// Who holds what since when, by looking at it after each step.
class Watched {
 public:
  explicit Watched(std::uint64_t seed) : rng_(seed), manager_(small_manager()) {}

  void step() {
    now_ += ms(number(150));
    ResourceActions actions;
    manager_.tick(now_, actions);
    look();
    manager_.apply(command(), now_);
    look();
    const auto sound = manager_.verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
  }
  void end() {
    for (std::uint32_t agent = 0; agent < kAgents; ++agent)
      manager_.apply(resource::ReleaseAll{agent}, now_);
    look();
  }
  void expect_reported() const {
    EXPECT_EQ(manager_.hold_times().total(), manager_.counters().given_up);
    EXPECT_EQ(manager_.hold_times().total(), model_.total());
    EXPECT_EQ(manager_.counters().hold_ns, sum_ns_);
    if (model_.total() == 0) return;
    for (const double quantile : {0.0, 0.25, 0.5, 0.9, 0.99, 1.0}) {
      EXPECT_EQ(manager_.hold_times().quantile(quantile).value(), model_.quantile(quantile).value())
          << quantile;
    }
  }
  // Nobody has any: one who comes gets each, one after the other.
  void expect_free() {
    for (const std::string& name : kNames) {
      EXPECT_EQ(manager_.apply(want(kAgents, name), now_).refusal, Refusal::none) << name;
      EXPECT_EQ(manager_.apply(resource::Release{kAgents, name}, now_).code, Errc::ok) << name;
    }
  }
  [[nodiscard]] std::uint64_t held() const { return manager_.counters().held; }

 private:
  static inline const std::vector<std::string> kNames{"a", "a/b", "a/b/c", "a/d",
                                                      "e", "e/f", "g",     "s"};

  std::uint32_t number(std::uint64_t below) {
    return static_cast<std::uint32_t>(rng_.below(below));
  }
  const std::string& name() { return kNames[number(kNames.size())]; }
  ResourceCommand command() {
    const std::uint32_t agent = number(kAgents);
    const std::uint64_t what = rng_.below(20);
    if (what < 9) {
      auto one = want(agent, name(), ms(number(3) * 300));
      one.shared = one.resource == "s";  // nobody waits for what he has in another way already
      return one;
    }
    if (what < 11) return resource::AcquireAll{agent, {"e", "g"}, 0, ms(300), 1 + agent};
    if (what < 17) return resource::Release{agent, name()};
    if (what < 18) return resource::ReleaseAll{agent};
    if (what < 19) return resource::Renew{agent, name()};
    return resource::StationClosed{1 + agent};
  }
  void look() {
    std::uint64_t begun = 0;
    for (std::uint32_t agent = 0; agent < kAgents; ++agent) {
      for (const std::string& one : kNames) {
        const bool holds = manager_.holds(agent, one);
        const auto known = since_.find({agent, one});
        if (holds && known == since_.end()) {
          since_[{agent, one}] = now_;
          ++begun;
        }
        if (holds || known == since_.end()) continue;
        const auto held_ns = static_cast<std::uint64_t>((now_ - known->second).count());
        model_.add(held_ns);
        sum_ns_ += held_ns;
        since_.erase(known);
      }
    }
    // Of a group that failed in the very step in which it got some of it.
    for (; seen_ + begun < manager_.counters().held; ++begun) model_.add(0);
    seen_ += begun;
  }

  Rng rng_;
  ResourceManager manager_;
  Nanos now_{0};
  std::map<std::pair<std::uint32_t, std::string>, Nanos> since_;
  LogHistogram model_;
  std::uint64_t sum_ns_ = 0;
  std::uint64_t seen_ = 0;  // holdings that began
};

TEST(ResourceHolds, AreReportedAsTheyWereAndFreeAtTheEndWhateverHappens) {
  std::uint64_t held = 0;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::uint64_t seed = mesh::testing::seed() + i;
    SCOPED_TRACE("seed " + std::to_string(seed));
    Watched watched(seed);
    for (int step = 0; step < 400; ++step) ASSERT_NO_FATAL_FAILURE(watched.step());
    watched.expect_reported();
    watched.end();
    watched.expect_reported();
    watched.expect_free();
    held += watched.held();
  }
  EXPECT_GT(held, 500U);
}

}  // namespace of_resource_holds_test
}  // namespace mesh::tasks
