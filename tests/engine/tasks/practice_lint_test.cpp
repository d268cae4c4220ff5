#include "engine/tasks/practice_lint.hpp"

#include <array>
#include <set>

#include "engine/coordination/blocks/rng.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_practice_lint_test {

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

PracticeLintConfig small_lint() {
  PracticeLintConfig config;
  config.held_long_ns = ms(100);
  config.several_max = 2;
  config.wait_max_ns = ms(60'000);
  config.agents_max = 6;
  config.resources_max = 16;
  config.orders_max = 64;
  config.holdings_max = 16;
  config.findings_max = 8;
  return config;
}

// A manager, and a lint that sees all that it is told.
struct Watched {
  Watched() : Watched(small_lint()) {}
  explicit Watched(const PracticeLintConfig& config)
      : manager(ResourceManagerConfig::preset("pi4b").value()), lint(config) {}
  ResourceReply say(const ResourceCommand& command, Nanos now) {
    const auto reply = manager.apply(command, now);
    lint.saw(command, reply, now);
    return reply;
  }
  ResourceReply acquire(std::uint32_t agent, std::string name, Nanos now, Nanos timeout = ms(10)) {
    resource::Acquire order;
    order.agent = agent;
    order.resource = std::move(name);
    order.timeout = timeout;
    order.station = agent + 1;
    return say(order, now);
  }
  void release(std::uint32_t agent, std::string name, Nanos now) {
    say(resource::Release{agent, std::move(name)}, now);
  }
  void tick(Nanos now) {
    ResourceActions actions;
    manager.tick(now, actions);
    lint.heard(actions.news, now);
    lint.look(now);
  }
  ResourceManager manager;
  PracticeLint lint;
};

TEST(PracticeLint, SaysNothingOfCleanUse) {
  Watched watched;
  for (int i = 0; i < 200; ++i) {
    const auto agent = static_cast<std::uint32_t>(i % 4);
    const Nanos now = ms(10 * i);
    watched.acquire(agent, "a", now);
    watched.acquire(agent, "b", now);
    watched.tick(now + ms(5));
    watched.release(agent, "b", now + ms(6));
    watched.release(agent, "a", now + ms(6));
    watched.say(resource::AcquireAll{agent, {"b", "a"}, 0, ms(10), 1}, now + ms(7));
    watched.say(resource::ReleaseAll{agent}, now + ms(8));
  }
  EXPECT_TRUE(watched.lint.findings().empty());
  EXPECT_EQ(watched.lint.untracked(), 0U);
  EXPECT_EQ(watched.lint.holdings(), 0U);
}

TEST(PracticeLint, FindsWhatIsHeldForLongOnceWhileItIs) {
  Watched watched;
  watched.acquire(3, "disk", ms(50));
  watched.tick(ms(150));
  EXPECT_TRUE(watched.lint.findings().empty()) << "100 ms is not longer than 100 ms";
  watched.tick(ms(151));
  watched.tick(ms(500));
  ASSERT_EQ(watched.lint.findings().size(), 1U);
  const auto& found = watched.lint.findings()[0];
  EXPECT_EQ(found.practice, Practice::held_long);
  EXPECT_EQ(found.agent, 3U);
  EXPECT_EQ(found.resource, "disk");
  EXPECT_EQ(found.since, ms(50));
  EXPECT_FALSE(found.advice.empty());
  watched.release(3, "disk", ms(600));
  watched.acquire(3, "disk", ms(700));
  watched.release(3, "disk", ms(801));
  EXPECT_EQ(watched.lint.found(Practice::held_long), 2U) << "also where nobody looked meanwhile";
}

TEST(PracticeLint, FindsWhoHoldsSeveralAtOnce) {
  Watched watched;
  watched.acquire(1, "a", ms(1));
  watched.acquire(1, "b", ms(2));
  watched.acquire(1, "b", ms(2));
  EXPECT_TRUE(watched.lint.findings().empty()) << "one of them twice is no third";
  watched.acquire(1, "c", ms(3));
  watched.acquire(1, "d", ms(4));
  ASSERT_EQ(watched.lint.found(Practice::held_several), 1U);
  EXPECT_EQ(watched.lint.findings()[0].resource, "c");
  watched.release(1, "d", ms(5));
  watched.release(1, "c", ms(5));
  watched.acquire(1, "c", ms(6));
  EXPECT_EQ(watched.lint.found(Practice::held_several), 2U) << "it does it again";
}

TEST(PracticeLint, FindsAWaitWithoutEnd) {
  Watched watched;
  watched.acquire(0, "a", ms(0), ms(60'000));
  watched.acquire(0, "b", ms(0), ms(60'001));
  ASSERT_EQ(watched.lint.found(Practice::no_timeout), 1U);
  EXPECT_EQ(watched.lint.findings()[0].resource, "b");
  watched.say(resource::AcquireAll{1, {"d", "c"}, 0, ms(3'600'000), 2}, ms(1));
  EXPECT_EQ(watched.lint.found(Practice::no_timeout), 2U);
  auto config = small_lint();
  config.default_timeout_ns = ms(3'600'000);
  Watched lazy(config);
  lazy.acquire(0, "a", ms(0), ms(-1));
  EXPECT_EQ(lazy.lint.found(Practice::no_timeout), 1U) << "whoever names none waits by default";
}

TEST(PracticeLint, FindsTwoOrdersOfTheSameTwoBeforeTheyEverDeadlock) {
  Watched watched;
  watched.acquire(0, "a", ms(0));
  watched.acquire(0, "b", ms(1));
  watched.say(resource::ReleaseAll{0}, ms(2));
  watched.acquire(1, "b", ms(10));
  watched.acquire(1, "a", ms(11));  // nobody is in its way
  ASSERT_EQ(watched.lint.found(Practice::unordered), 1U);
  const auto& found = watched.lint.findings()[0];
  EXPECT_EQ(found.agent, 1U);
  EXPECT_EQ(found.resource, "a");
  EXPECT_EQ(found.since, ms(11));
  EXPECT_EQ(std::set<std::string>(found.circle.begin(), found.circle.end()),
            (std::set<std::string>{"a", "b"}));
}

TEST(PracticeLint, FindsACircleOfThreeThatNoTwoAgentsMake) {
  Watched watched;
  const std::array<std::pair<const char*, const char*>, 3> orders{
      {{"a", "b"}, {"b", "c"}, {"c", "a"}}};
  for (std::uint32_t agent = 0; agent < 3; ++agent) {
    watched.acquire(agent, orders[agent].first, ms(agent));
    watched.acquire(agent, orders[agent].second, ms(agent));
    watched.say(resource::ReleaseAll{agent}, ms(agent));
    EXPECT_EQ(watched.lint.found(Practice::unordered), agent == 2 ? 1U : 0U);
  }
  ASSERT_EQ(watched.lint.findings().size(), 1U);
  const auto& circle = watched.lint.findings()[0].circle;
  EXPECT_EQ(std::set<std::string>(circle.begin(), circle.end()).size(), 3U);
}

TEST(PracticeLint, SeesWhatIsGrantedLaterAndWhatALeaseEnds) {
  Watched watched;
  watched.acquire(0, "b", ms(0));
  watched.acquire(1, "a", ms(1));
  EXPECT_EQ(watched.acquire(1, "b", ms(2), ms(50)).refusal, Refusal::would_block);
  watched.release(0, "b", ms(3));
  EXPECT_EQ(watched.lint.holdings(), 2U) << "by the release of the one before";
  watched.say(resource::StationClosed{2}, ms(4));
  EXPECT_EQ(watched.lint.holdings(), 0U);
  watched.acquire(0, "c", ms(5));
  watched.tick(Nanos{400 * kNsPerSecond});
  EXPECT_EQ(watched.lint.holdings(), 0U) << "its lease is over";
  EXPECT_EQ(watched.lint.found(Practice::held_long), 1U);
}

TEST(PracticeLint, HoldsWhatTheManagerHoldsWhateverItIsTold) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Rng rng(mesh::testing::seed() + seed);
    auto config = small_lint();
    config.holdings_max = 256;
    Watched watched(config);
    Nanos now{0};
    const auto number = [&](std::uint64_t n) { return static_cast<std::uint32_t>(rng.below(n)); };
    const auto name = [&] { return std::string(1, static_cast<char>('a' + rng.below(5))); };
    for (int i = 0; i < 400; ++i) {
      now += ms(number(60));
      const std::uint64_t what = rng.below(10);
      if (what < 4) watched.acquire(number(6), name(), now, ms(number(3) * 100));
      if (what == 4) {
        const std::uint32_t agent = number(6);
        watched.say(resource::AcquireAll{agent, {name(), name()}, 0, ms(100), agent + 1}, now);
      }
      if (what > 4 && what < 8) watched.release(number(6), name(), now);
      if (what == 8) watched.say(resource::ReleaseAll{number(6)}, now);
      if (what == 9) watched.say(resource::StationClosed{1 + number(6)}, now);
      watched.tick(now);
    }
    // What is held of an unanswered group the lint sees when it is answered: end the waits first.
    watched.tick(now + ms(1'000));
    std::uint32_t held = 0;
    for (std::uint32_t agent = 0; agent < 6; ++agent) {
      for (char one = 'a'; one < 'f'; ++one) {
        held += watched.manager.holds(agent, std::string(1, one)) ? 1U : 0U;
      }
    }
    EXPECT_EQ(watched.lint.holdings(), held) << "seed " << mesh::testing::seed() + seed;
    EXPECT_EQ(watched.lint.untracked(), 0U);
  }
}

TEST(PracticeLint, KeepsToItsMemoryAndCountsWhatDidNotFit) {
  auto config = small_lint();
  config.holdings_max = 2;
  config.resources_max = 8;
  config.several_max = 100;
  Watched watched(config);
  for (int i = 0; i < 12; ++i) {
    watched.acquire(0, "r" + std::to_string(i), ms(i), ms(70'000));
  }
  EXPECT_EQ(watched.lint.holdings(), 2U);
  EXPECT_EQ(watched.lint.findings().size(), 8U);
  EXPECT_EQ(watched.lint.found(Practice::no_timeout), 12U);
  EXPECT_EQ(watched.lint.dropped(), 4U);
  EXPECT_GT(watched.lint.untracked(), 10U);
}

TEST(PracticeLint, RefusesConfigsThatCannotBe) {
  const auto refused = [](auto&& change) {
    auto config = small_lint();
    change(config);
    const auto judged = PracticeLint::validate(config);
    return !judged && judged.error().code == Errc::invalid_config;
  };
  EXPECT_TRUE(refused([](auto& config) { config.several_max = 0; }));
  EXPECT_TRUE(refused([](auto& config) { config.held_long_ns = Nanos{0}; }));
  EXPECT_TRUE(refused([](auto& config) { config.wait_max_ns = Nanos{-1}; }));
  EXPECT_TRUE(refused([](auto& config) { config.findings_max = 0; }));
  EXPECT_TRUE(refused([](auto& config) { config.holdings_max = 0; }));
  EXPECT_TRUE(refused([](auto& config) { config.resources_max = 0; }));
  EXPECT_FALSE(refused([](auto&) {}));
}

}  // namespace of_practice_lint_test
}  // namespace mesh::tasks
