// PostgreSQL's server is stopped under the recorder and comes back.
#include "tests/engine/store/recorder_fixture.hpp"

namespace mesh::engine {
namespace of_postgres_outage_test {

using testing::conflicts;
using testing::RecorderTest;
using testing::tickets;

TEST_F(RecorderTest, AServerThatIsStoppedAndComesBackLosesNothing) {
  testing::PostgresServer server;
  if (!server.missing().empty()) GTEST_SKIP() << server.missing();
  ASSERT_TRUE(server.make_database("mesh"));
  where_ = server.address("mesh");
  start();
  offer(1, 100);
  turn(1'000);
  EXPECT_EQ(recorder_->status().stored, 100U);
  ASSERT_TRUE(server.stop());  // at once, as if it had crashed
  for (std::uint64_t i = 1; i < 5; ++i) {
    offer(1 + 100 * i, 100);
    turn(1'000);
  }
  EXPECT_EQ(durable_, tickets(1, 500));
  EXPECT_EQ(recorder_->status().waiting, 400U);
  EXPECT_FALSE(recorder_->status().is_store_up);
  ASSERT_TRUE(server.start());
  turn_until_done();
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down, RecorderAlarm::store_back}));
  EXPECT_EQ(stored(), conflicts(1, 500));
}

// The records were committed, and the answer never came: sent again, they are there once.
TEST_F(RecorderTest, ACommitWhoseAnswerWasLostIsKnownAgain) {
  testing::PostgresServer server;
  if (!server.missing().empty()) GTEST_SKIP() << server.missing();
  ASSERT_TRUE(server.make_database("mesh"));
  where_ = server.address("mesh");
  {
    auto store = open_store({.where = where_}).value();
    ASSERT_TRUE(store->append(conflicts(1, 50)));  // what the lost commit did
  }
  start();
  offer(1, 60);
  turn_until_done();
  EXPECT_EQ(recorder_->status().repeated, 50U);
  EXPECT_EQ(durable_, tickets(1, 60));
  EXPECT_EQ(stored(), conflicts(1, 60));
}

}  // namespace of_postgres_outage_test
}  // namespace mesh::engine
