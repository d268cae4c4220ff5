// Canary: a manager under another configuration beside the one that answers.
#include "engine/coordination/canary.hpp"

#include "shm/base/assert.hpp"
#include "tests/engine/tasks/coordination_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_canary_test {

using testing::letter;
using testing::manager_of;
using testing::small_coordination;
using testing::ticked;
using testing::work;
using ManagerCanary = coordination::Canary<CoordinationManager>;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

// Tasks, letters, locks, ticks: what agents that fail now and then bring about.
struct Story {
  CoordinationManager first;
  ManagerCanary canary;
  coordination::Rng rng;
  std::int64_t now_ms = 10;
  std::uint64_t next_id = 100;

  CoordinationReply say(const CoordinationCommand& command) {
    auto reply = first.apply(command, ms(now_ms));
    canary.fed(command, reply, ms(now_ms));
    return reply;
  }
  void step() {
    ++now_ms;
    switch (rng.below(6)) {
      case 0: {
        const auto reply = say(manage::AssignTask{work(next_id++), kNoAgent});
        if (reply.task.fence != 0) held.push_back({next_id - 1, reply.task.fence, 0, 0, 0});
        return;
      }
      case 1:
        say(letter(static_cast<std::uint32_t>(rng.below(3)),
                   static_cast<std::uint32_t>(rng.below(3)), next_id++));
        return;
      case 2:
        say(message::Poll{static_cast<std::uint32_t>(rng.below(3)), 4});
        return;
      case 3: {
        const auto actions = ticked(first, ms(now_ms));
        canary.ticked(ms(now_ms), [&](const CoordinationManager& second) {
          return second.tasks().open_count() == first.tasks().open_count();
        });
        for (const auto& one : actions.assigned) held.push_back(one);
        return;
      }
      default:
        if (held.empty()) return;
        say(task::Start{held.back().id, held.back().fence});
        if (rng.below(4) == 0) {
          say(task::Fail{held.back().id, held.back().fence});
        } else {
          say(task::Complete{held.back().id, held.back().fence, 1});
        }
        held.pop_back();
    }
  }
  std::vector<TaskAssignment> held;
};

Story story_of(const CoordinationConfig& config, const CoordinationConfig& candidate,
               std::uint64_t seed) {
  auto first = manager_of(config);
  first.apply(manage::AssignTask{work(1), 0}, ms(1));
  auto canary = ManagerCanary::begin(first, candidate);
  MESH_ASSERT(canary.has_value());
  return {std::move(first), std::move(*canary), coordination::Rng(seed), 10, 100, {}};
}

TEST(Canary, RefusesACandidateThatIsNoneOrThatTheStateDoesNotFitInto) {
  auto first = manager_of(small_coordination());
  for (std::uint64_t id = 1; id <= 8; ++id) first.apply(work(id), ms(1));
  auto bad = small_coordination();
  bad.retries_max = 101;
  const auto refused = ManagerCanary::begin(first, bad);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid_config);
  auto small = small_coordination();
  small.tasks.tasks_max = 4;
  const auto too_small = ManagerCanary::begin(first, small);
  ASSERT_FALSE(too_small);
  EXPECT_EQ(too_small.error().code, Errc::corrupt) << too_small.error().sentence;
}

TEST(Canary, TheSameConfigurationSaysTheSameAndMayTakeOver) {
  const std::uint64_t seed = mesh::testing::seed();
  auto story = story_of(small_coordination(), small_coordination(), seed);
  for (int i = 0; i < 3'000; ++i) story.step();
  const auto& report = story.canary.report();
  EXPECT_GT(report.commands, 1'000U);
  EXPECT_GT(report.ticks, 300U);
  ASSERT_EQ(report.different(), 0U) << "command " << report.differences.front().nth;
  const auto hash = story.first.state_hash();
  const auto second = std::move(story.canary).take_over(0);
  ASSERT_TRUE(second) << second.error().sentence;
  EXPECT_EQ(second->state_hash(), hash);
}

// Half as many retries: the same until a task has failed so often.
TEST(Canary, ShowsWhereAnotherConfigurationSaysSomethingElse) {
  auto candidate = small_coordination();
  candidate.retries_max = 1;
  auto story = story_of(small_coordination(), candidate, 1);
  const auto fail_once = [&](std::uint64_t id) {
    story.now_ms += 60'000;
    ticked(story.first, ms(story.now_ms));
    story.canary.ticked(ms(story.now_ms));
    const auto view = story.first.tasks().view(id);
    story.say(task::Start{id, view.fence});
    story.say(task::Fail{id, view.fence});
  };
  story.say(manage::AssignTask{work(50), 0});
  const auto before = story.canary.report().commands;
  ASSERT_EQ(story.canary.report().different(), 0U);
  fail_once(50);
  EXPECT_EQ(story.canary.report().different(), 0U) << "both try again";
  fail_once(50);
  const auto& report = story.canary.report();
  ASSERT_EQ(report.different_answers, 1U);
  EXPECT_EQ(report.differences[0].nth, before + 4);
  EXPECT_EQ(report.differences[0].at, ms(story.now_ms));
  EXPECT_EQ(CoordinationCommand(task::Fail{}).index(), report.differences[0].command);
  EXPECT_EQ(story.first.tasks().view(50).state, TaskState::failed);
  EXPECT_EQ(story.canary.second().tasks().view(50).state, TaskState::dead);
}

TEST(Canary, WithMoreDifferencesThanAllowedItDoesNotTakeOver) {
  auto candidate = small_coordination();
  candidate.retries_max = 0;
  auto story = story_of(small_coordination(), candidate, 3);
  for (int i = 0; i < 1'000 && story.canary.report().different() < 3; ++i) story.step();
  ASSERT_GE(story.canary.report().different(), 3U);
  const auto allowed = story.canary.report().different();
  ManagerCanary kept = story.canary;
  auto refused = std::move(story.canary).take_over(allowed - 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::conflict);
  EXPECT_NE(refused.error().sentence.find(std::to_string(allowed) + " times"), std::string::npos)
      << refused.error().sentence;
  EXPECT_TRUE(std::move(kept).take_over(allowed));
}

}  // namespace of_canary_test
}  // namespace mesh::tasks
