// What a station measures of its agents, and when it says so.
#include <cstdint>

#include "tests/engine/station/core_fixture.hpp"

namespace mesh::testing {
namespace of_station_core_measures_test {

using engine::Answer;
using engine::Delivery;
using sched::AnswerRecord;

class StationCoreMeasures : public CoreFixture {};

TEST_F(StationCoreMeasures, StoresMediansOfItsAgentsUnderTheRowsSequence) {
  for (std::uint64_t i = 1; i <= 3; ++i) {
    deliver({.target = agent(1), .message = i}, "");
    core_->poll(1, [&](const Delivery&) {
      now_ns_ += static_cast<std::int64_t>(i) * 10 * kNsPerMs;
      return Answer::ready();
    });
  }
  core_->upkeep(100);
  const auto& self = side_.self;
  EXPECT_EQ(self.samples.load_relaxed(1), 3U);
  EXPECT_EQ(self.latency_ms.load_relaxed(1), 4.0F);  // there 2 ms, and as much back
  EXPECT_EQ(self.processing_ms.load_relaxed(1), 20.0F);
  EXPECT_EQ(self.drift.load_relaxed(1), 0.0F);
  EXPECT_EQ(self.heartbeat_mesh_ms.load_relaxed(1), 1'060U);
  EXPECT_EQ(self.sequence.load_relaxed(1) % 2, 0U);
  EXPECT_EQ(self.samples.load_relaxed(0), 0U);
  EXPECT_EQ(core_->upkeep_due(), HostTime::max());
}

// Enrolled again an agent keeps the place in which the engine looks for what it measures; one that
// was another station's meanwhile has a new one.
TEST_F(StationCoreMeasures, StoresThemWhereTheEngineLooksForThem) {
  const std::vector<std::uint32_t> same_place = {1};
  ASSERT_TRUE(core_->add_agents(std::span(mine_).subspan(1, 1), same_place).has_value());
  EXPECT_EQ(core_->agents().size(), kAgents) << "it was there already";
  const auto answer_one = [&](std::uint64_t message) {
    deliver({.target = agent(1), .message = message}, "");
    std::uint32_t place = 77;
    core_->poll(1, [&](const Delivery& delivery) {
      place = delivery.agent;
      return Answer::ready();
    });
    core_->upkeep(100);
    return place;
  };
  EXPECT_EQ(answer_one(1), 1U);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 1U);
  const std::vector<std::uint32_t> another_place = {3};
  ASSERT_TRUE(core_->add_agents(std::span(mine_).subspan(1, 1), another_place).has_value());
  EXPECT_EQ(answer_one(2), 3U);
  EXPECT_EQ(side_.self.samples.load_relaxed(3), 1U);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 1U) << "nobody writes there any more";
  const std::vector<std::uint32_t> nowhere = {kAgents};
  const auto refused = core_->add_agents(std::span(mine_).subspan(1, 1), nowhere);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::corrupt);
}

// Answers that are due together come together: medians wait for a poll that has none.
TEST_F(StationCoreMeasures, LeavesUpkeepToAPollThatHasNothingElseToDo) {
  const auto ready = [](const Delivery&) { return Answer::ready(); };
  deliver({.target = agent(1), .message = 1}, "");
  core_->poll(1, ready);
  EXPECT_EQ(core_->upkeep_due(), from_ns(now_ns_) + engine::kUpkeepEvery);
  now_ns_ += engine::kUpkeepEvery.count() - 1;
  core_->poll(1, ready);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 0U) << "not due";
  now_ns_ += 1;
  deliver({.target = agent(2), .message = 2}, "");
  core_->poll(1, ready);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 0U) << "this one had a delivery";
  core_->poll(1, ready);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 1U);
  EXPECT_EQ(side_.self.samples.load_relaxed(2), 1U);
}

TEST_F(StationCoreMeasures, DoesUpkeepInTimeWhereNoPollIsIdle) {
  const auto ready = [](const Delivery&) { return Answer::ready(); };
  const auto poll_busy = [&] {
    deliver({.target = agent(1)}, "");
    core_->poll(1, ready);
    (void)core_->flush();
    (void)take<AnswerRecord>();
  };
  poll_busy();
  now_ns_ += (engine::kUpkeepEvery + engine::kUpkeepGrace).count() - 1;
  poll_busy();
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 0U);
  now_ns_ += 1;
  poll_busy();
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 3U);
  poll_busy();  // and not again before the next is due
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 3U);
}

// More answers than wait to be counted: none is forgotten.
TEST_F(StationCoreMeasures, CountsWhatWasMeasuredOnceTooMuchWaits) {
  const std::uint64_t body = append_body({}, "");
  for (int i = 1; i <= 3'000; ++i) {
    deliver_at({.target = agent(1)}, body, 0);
    core_->poll(1, [&](const Delivery&) {
      now_ns_ += i;
      return Answer::ready();
    });
    (void)core_->flush();
    (void)take<AnswerRecord>();
  }
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 0U) << "upkeep is not due";
  core_->upkeep(100);
  core_->upkeep(100);
  EXPECT_EQ(side_.self.samples.load_relaxed(1), 100U);
  // The fiftieth of the last hundred, 2,901 to 3,000 ns.
  EXPECT_FLOAT_EQ(side_.self.processing_ms.load_relaxed(1), 0.002950F);
}

}  // namespace of_station_core_measures_test
}  // namespace mesh::testing
