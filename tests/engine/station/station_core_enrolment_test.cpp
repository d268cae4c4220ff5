// What comes for agents of which the station does not know yet that they are its own.
#include "tests/engine/station/core_fixture.hpp"

namespace mesh::testing {
namespace of_station_core_enrolment_test {

using engine::Answer;
using engine::Delivery;

class StationCoreEnrolment : public CoreFixture {
 protected:
  static AgentId newcomer() { return agent_id(AgentIndex{20}, Generation{1}); }
  // One that is for the newcomer between two that are not.
  void deliver_three() {
    deliver({.target = agent(0), .message = 1}, "before");
    deliver({.target = newcomer(), .message = 2}, "new");
    deliver({.target = agent(1), .message = 3}, "behind");
  }
  std::string poll() {
    std::string given;
    core_->poll(10, [&](const Delivery& delivery) {
      given += std::string(delivery.text()) + " ";
      return Answer::ready();
    });
    return given;
  }
};

TEST_F(StationCoreEnrolment, WhatIsForAnAgentThatIsBeingEnrolledWaitsInTheInboxAndKeepsItsOrder) {
  core_->expect_agents(true);
  deliver_three();
  EXPECT_EQ(poll(), "before ");
  EXPECT_EQ(poll(), "");
  EXPECT_TRUE(core_->ready());
  const std::array<std::uint32_t, 1> place{3};
  ASSERT_TRUE(core_->add_agents(std::array{newcomer()}, place).has_value());
  core_->expect_agents(false);
  EXPECT_EQ(poll(), "new behind ");
  EXPECT_EQ(core_->counters().not_ours, 0U);
  EXPECT_EQ(core_->counters().taken, 3U);
  EXPECT_EQ(core_->counters().handled, 3U);
}

TEST_F(StationCoreEnrolment, WhatIsForAnAgentThatWasRefusedIsDeclinedOnceThatIsKnown) {
  core_->expect_agents(true);
  deliver_three();
  EXPECT_EQ(poll(), "before ");
  EXPECT_EQ(core_->counters().not_ours, 0U);
  core_->expect_agents(false);
  EXPECT_EQ(poll(), "behind ");
  EXPECT_EQ(core_->counters().not_ours, 1U);
  EXPECT_EQ(core_->counters().taken, 3U);
}

}  // namespace of_station_core_enrolment_test
}  // namespace mesh::testing
