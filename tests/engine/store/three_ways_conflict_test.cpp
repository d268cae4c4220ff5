// The usual example of the conflict handler, three ways (three_ways.hpp).
#include "tests/engine/conflict/conflict_kit.hpp"
#include "tests/engine/store/three_ways.hpp"

namespace mesh::tasks {
namespace of_three_ways_conflict_test {

using coordination::testing::Script;
using testing::conflict_s;
using testing::person_says;
using testing::report_of;

TEST(ThreeWays, AConflictGoesToTheHighestPriorityAndAnOverdueOneToAPerson) {
  auto config = testing::small_conflicts();
  config.default_priority = 0;
  Script<ConflictHandler> script(config);
  script.say(Nanos{0},
             report_of(ConflictKind::resource, "shared-file",
                       {{.agent = 1, .priority = 10}, {.agent = 2, .priority = 5}, {.agent = 3}}));
  script.say(Nanos{0}, report_of(ConflictKind::other, "what the plan says", {{.agent = 4}}));
  script.say(conflict_s(1), conflict::AutoResolve{1, {}},
             [](const auto& handler, const auto& reply) {
               EXPECT_EQ(reply.resolution.winner, 1U);
               EXPECT_EQ(reply.resolution.losers, (std::vector<std::uint32_t>{2, 3}));
               EXPECT_FALSE(handler.is_quarantined("shared-file"));
             });
  script.say(conflict_s(2), conflict::AutoResolve{1, {}},
             [](const auto&, const auto& reply) { EXPECT_EQ(reply.code, Errc::wrong_state); });
  script.tick(conflict_s(600), [](const auto& handler, const auto& actions) {
    ASSERT_EQ(actions.news.size(), 1U);
    EXPECT_EQ(actions.news[0].conflict, 2U);
    EXPECT_EQ(handler.find(2)->stage, ConflictStage::escalated);
  });
  script.say(conflict_s(610), person_says(2, 4), [](const auto& handler, const auto& reply) {
    EXPECT_EQ(reply.resolution.reason, ResolutionReason::person);
    EXPECT_EQ(handler.unlogged(), 5U) << "two reports, two resolutions, one escalation";
  });
  script.say(conflict_s(611), conflict::Logged{5},
             [](const auto& handler, const auto&) { EXPECT_EQ(handler.unlogged(), 0U); });
  script.run();
}

}  // namespace of_three_ways_conflict_test
}  // namespace mesh::tasks
