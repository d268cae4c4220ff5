// What an agent says that it is doing, from its station's pump to the engine's eyes.
#include "engine/station/activity.hpp"

#include "tests/engine/station/core_fixture.hpp"

namespace mesh::testing {
namespace of_activity_test {

using engine::Activity;

class ActivityTest : public CoreFixture {
 public:
  void SetUp() override {
    CoreFixture::SetUp();
    views_ = engine::ActivityViews::over(kAgents, out_.bytes()).value();
  }
  Errc code(const Status& status) { return status ? Errc::ok : status.error().code; }

 protected:
  engine::ActivityViews views_;
};

TEST_F(ActivityTest, IsRefusedWhereItCannotBe) {
  EXPECT_EQ(code(core_->report(stranger(), {.task = "x"})), Errc::no_such_agent);
  EXPECT_EQ(code(core_->report(AgentId{0}, {.task = "x"})), Errc::no_such_agent);
  const auto refused = [&](const Activity& activity) {
    return code(core_->report(agent(0), activity)) == Errc::invalid_argument;
  };
  EXPECT_TRUE(refused({.task = std::string(64, 'x')}));
  EXPECT_TRUE(refused({.task = "two\nlines"}));
  EXPECT_TRUE(refused({.task = "\xff"}));
  EXPECT_TRUE(refused({.task = "x", .waiting_on = "a\x1b[2Jb"}));
  EXPECT_TRUE(refused({.task = "", .waiting_on = "db"}));
  EXPECT_TRUE(refused({.task = "x", .since = from_ns(now_ns_ + 1)}));
  EXPECT_TRUE(
      refused({.task = "x", .since = from_ns(now_ns_) - engine::kActivityAgeMax - Nanos{1}}));
  EXPECT_FALSE(views_.read(0).has_value());
}

TEST_F(ActivityTest, IsSeenAsItWasSaidAndReplacedAsAWhole) {
  ASSERT_TRUE(core_->report(agent(1), {.task = "index 7", .waiting_on = "db-1"}));
  const auto seen = views_.read(1);
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->agent, agent(1));
  EXPECT_EQ(seen->task, "index 7");
  EXPECT_EQ(seen->waiting_on, "db-1");
  EXPECT_EQ(seen->since_ns, now_ns_);
  const std::string longest(63, 'y');
  ASSERT_TRUE(core_->report(agent(1), {.task = longest, .since = from_ns(5)}));
  EXPECT_EQ(views_.read(1)->task, longest);
  EXPECT_EQ(views_.read(1)->waiting_on, "");
  EXPECT_EQ(views_.read(1)->since_ns, 5);
  EXPECT_FALSE(views_.read(0).has_value());
  ASSERT_TRUE(core_->report(agent(1), {}));
  EXPECT_FALSE(views_.read(1).has_value());
}

// What a station writes is input.
TEST_F(ActivityTest, IsNotBelievedWhereItsBytesAreNoText) {
  const shm::Layout layout = engine::station_out_layout(kAgents).value();
  const auto columns = engine::ActivityColumns::over(layout, out_.bytes()).value();
  ASSERT_TRUE(core_->report(agent(2), {.task = "honest", .waiting_on = "x"}));
  ASSERT_TRUE(views_.read(2).has_value());
  const auto poke = [&](std::size_t word, std::uint64_t value) {
    columns.task.store_relaxed(2 * engine::kNameWords + word, value);
  };
  poke(0, ~std::uint64_t{0});  // a length of 255
  EXPECT_FALSE(views_.read(2).has_value());
  ASSERT_TRUE(core_->report(agent(2), {.task = "honest"}));
  poke(7, 1);  // not zero behind its text
  EXPECT_FALSE(views_.read(2).has_value());
  ASSERT_TRUE(core_->report(agent(2), {.task = "honest"}));
  columns.sequence.store_relaxed(2, 7);  // its writer died, or says so
  EXPECT_FALSE(views_.read(2).has_value());
}

}  // namespace of_activity_test
}  // namespace mesh::testing
