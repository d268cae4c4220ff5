// Which lost process is replaced when: on virtual time.
#include "engine/recovery/replacement_plan.hpp"

#include <set>

#include <rapidcheck.h>

namespace mesh::engine {
namespace of_replacement_plan_test {

constexpr Nanos kS{kNsPerSecond};
constexpr HostTime kStart = from_ns(1'000 * kNsPerSecond);

LostProcess process(const std::string& name) {
  return {.station = "station of " + name, .agents = {{name, AgentId{1}}, {name + "-2", {}}}};
}
struct Planned {
  explicit Planned(const RecoveryOptions& options = {.spawn = "true"}) : plan(options) {}
  // What of this kind is to be done now.
  std::vector<std::string> at(Nanos after) {
    std::vector<std::string> spawned;
    for (const ReplacementAction& action : plan.tick(kStart + after)) {
      if (action.kind == ReplacementAction::Kind::spawn)
        spawned.push_back(action.key);
      else
        escalated.push_back(action.key + ": " + action.why);
    }
    return spawned;
  }
  using Names = std::vector<std::string>;
  ReplacementPlan plan;
  Names escalated;
};
using Names = Planned::Names;

TEST(ReplacementPlan, OfNobodyAndOfWhoIsNotKnownDoesNothing) {
  Planned planned;
  planned.plan.lost({.station = "empty"}, kStart);
  planned.plan.heal({.station = "empty"}, kStart);
  planned.plan.failed("nobody", "x", kStart);
  planned.plan.back("nobody", kStart);
  EXPECT_EQ(planned.at(kS), Names{});
  EXPECT_FALSE(planned.plan.next_due().has_value());
}

TEST(ReplacementPlan, StartsTheFirstAtOnceAndNoSecondWhileItIsOut) {
  Planned planned;
  planned.plan.lost(process("a"), kStart);
  EXPECT_EQ(planned.plan.next_due(), std::optional(kStart));
  EXPECT_EQ(planned.at(Nanos{0}), Names{"a"});
  EXPECT_EQ(planned.at(29 * kS), Names{});
  EXPECT_EQ(planned.plan.next_due(), std::optional(kStart + 30 * kS));
  planned.plan.back("a", kStart + 29 * kS);
  EXPECT_EQ(planned.at(1'000 * kS), Names{});
  EXPECT_TRUE(planned.plan.all().empty()) << "calm for a minute: forgotten";
  EXPECT_TRUE(planned.escalated.empty());
}

// mesh.md part 12: escalates when the replacement fails too; back-off: 1, 2, 4, ... s.
TEST(ReplacementPlan, EscalatesTheFirstFailureAndTriesAgainEverMoreSeldom) {
  Planned planned;
  planned.plan.lost(process("a"), kStart);
  EXPECT_EQ(planned.at(Nanos{0}), Names{"a"});
  Nanos now{0};
  for (const std::int64_t pause : {1, 2, 4, 8}) {
    planned.plan.failed("a", "exit code 3", kStart + now);
    EXPECT_EQ(planned.at(now + pause * kS - Nanos{1}), Names{}) << pause;
    now += pause * kS;
    EXPECT_EQ(planned.at(now), Names{"a"}) << pause;
  }
  planned.plan.failed("a", "exit code 3", kStart + now);
  EXPECT_EQ(planned.at(now + 10'000 * kS), Names{}) << "five failed: given up";
  EXPECT_EQ(planned.plan.find("a")->state, ReplacementState::given_up);
  EXPECT_EQ(planned.escalated, Names{"a: exit code 3"}) << "once an incident";
}

TEST(ReplacementPlan, ThePauseIsBoundedAndLatenessIsAFailure) {
  Planned planned({.spawn = "true",
                   .backoff = 10 * kS,
                   .backoff_max = 15 * kS,
                   .patience = 5 * kS,
                   .attempts = 9});
  planned.plan.lost(process("a"), kStart);
  EXPECT_EQ(planned.at(Nanos{0}), Names{"a"});
  EXPECT_EQ(planned.at(5 * kS), Names{}) << "late: its failure is noted";
  ASSERT_EQ(planned.escalated.size(), 1U);
  EXPECT_EQ(planned.escalated[0], "a: its agents were not back within 5000 ms");
  EXPECT_EQ(planned.at(15 * kS), Names{"a"});
  EXPECT_EQ(planned.at(20 * kS), Names{});
  EXPECT_EQ(planned.at(35 * kS - Nanos{1}), Names{}) << "longer than the first";
  EXPECT_EQ(planned.at(35 * kS), Names{"a"}) << "15 s, not 20";
}

TEST(ReplacementPlan, LostAgainBeforeItWasCalmGoesOnCountingAndAfterItBeginsAnew) {
  Planned planned;
  planned.plan.lost(process("a"), kStart);
  EXPECT_EQ(planned.at(Nanos{0}), Names{"a"});
  planned.plan.back("a", kStart + kS);
  planned.plan.lost(process("a"), kStart + 10 * kS);
  EXPECT_EQ(planned.at(10 * kS), Names{}) << "a crash loop: it waits";
  EXPECT_EQ(planned.at(11 * kS), Names{"a"});
  planned.plan.back("a", kStart + 12 * kS);
  planned.plan.lost(process("a"), kStart + 100 * kS);
  EXPECT_EQ(planned.at(100 * kS), Names{"a"}) << "at once";
  EXPECT_EQ(planned.plan.find("a")->failures, 0U);
}

TEST(ReplacementPlan, HealTriesAgainAtOnceWhatWasGivenUpOrWaitsAndLeavesWhatIsOut) {
  Planned planned({.spawn = "true", .attempts = 1});
  planned.plan.lost(process("a"), kStart);
  EXPECT_EQ(planned.at(Nanos{0}), Names{"a"});
  planned.plan.heal(process("a"), kStart);
  EXPECT_EQ(planned.at(kS), Names{}) << "it is out";
  planned.plan.failed("a", "of before", kStart + kS);
  EXPECT_EQ(planned.at(kS), Names{"a"}) << "that was not the one that was asked for";
  planned.plan.failed("a", "x", kStart + kS);
  EXPECT_EQ(planned.at(2 * kS), Names{}) << "that one was";
  planned.plan.heal(process("a"), kStart + 3 * kS);
  EXPECT_EQ(planned.at(3 * kS), Names{"a"});
  planned.plan.heal(process("b"), kStart + 3 * kS);
  EXPECT_EQ(planned.at(3 * kS), Names{"b"}) << "also one that nobody had told it of";
}

TEST(ReplacementPlan, HasNoMoreThanSoManyOutAtATime) {
  Planned planned;
  for (int i = 0; i < 40; ++i) planned.plan.lost(process("p" + std::to_string(100 + i)), kStart);
  EXPECT_EQ(planned.at(Nanos{0}).size(), kReplacementsOut);
  EXPECT_EQ(planned.at(kS).size(), 0U);
  planned.plan.back("p100", kStart + kS);
  EXPECT_EQ(planned.at(kS).size(), 1U);
}

// Whatever happens in any order: never two replacements out for one process, never more out than
// may be, no spawn of one that is given up but after heal, and never two escalations without a
// heal or a calm minute between them.
TEST(ReplacementPlan, KeepsItsInvariantsUnderAnything) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint32_t>& dice) {
    ReplacementPlan plan({.spawn = "true", .attempts = 3});
    std::set<std::string> out;
    std::map<std::string, int> failures;
    HostTime now = kStart;
    for (const std::uint32_t die : dice) {
      const std::string key = "p" + std::to_string(die % 20);
      switch (die / 20 % 6) {
        case 0:
          plan.lost(process(key), now);
          break;
        case 1:
          plan.heal(process(key), now);
          break;
        case 2:
          plan.failed(key, "x", now);
          break;
        case 3:
          plan.back(key, now);
          break;
        default:
          now += Nanos{die % 7} * kNsPerSecond;
      }
      const auto before = plan.all();
      for (const ReplacementAction& action : plan.tick(now)) {
        if (action.kind != ReplacementAction::Kind::spawn) continue;
        const auto was = before.find(action.key);
        RC_ASSERT(was != before.end());
        RC_ASSERT(was->second.state == ReplacementState::waiting ||
                  was->second.state == ReplacementState::out);
      }
      std::size_t counted = 0;
      for (const auto& [name, its] : plan.all()) {
        counted += its.state == ReplacementState::out ? 1U : 0U;
        RC_ASSERT(its.failures <= 3U);
        RC_ASSERT((its.state == ReplacementState::given_up) == (its.failures == 3U) ||
                  its.state == ReplacementState::back);
      }
      RC_ASSERT(counted == plan.out());
      RC_ASSERT(counted <= kReplacementsOut);
    }
  }));
}

}  // namespace of_replacement_plan_test
}  // namespace mesh::engine
