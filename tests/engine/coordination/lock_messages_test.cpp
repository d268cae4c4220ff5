// What a region and a voter refuse of the messages that come to them: one message a test.
#include "engine/coordination/lock_quorum.hpp"
#include "engine/coordination/redlock.hpp"
#include "tests/engine/coordination/lock_kit.hpp"

namespace mesh::coordination {
namespace of_lock_messages_test {

using testing::lock_ms;

TEST(Redlock, ARegionWritesNoTokenThatIsNotHigherThanItsOwn) {
  RedlockRegion region(0);
  RedlockMessage answer;
  region.receive({RedlockKind::lock, 0, 7, 0, lock_ms(100)}, Nanos{0}, answer);
  region.receive({RedlockKind::write, 0, 7, 5, {}}, Nanos{1}, answer);
  EXPECT_EQ(answer.kind, RedlockKind::written);
  for (const std::uint64_t token : {5U, 4U}) {
    region.receive({RedlockKind::write, 0, 7, token, {}}, Nanos{2}, answer);
    EXPECT_EQ(answer.kind, RedlockKind::refused) << token;
    EXPECT_EQ(region.token(), 5U);
  }
}

TEST(Redlock, WhoHoldsItGivesItUpBeforeItsLeaseMayBeOver) {
  RedlockClient client(5, lock_ms(10'000));
  RedlockMessages out;
  client.lock(1, Nanos{0}, out);
  for (std::uint32_t i = 0; i < 5; ++i) {
    client.receive({RedlockKind::locked, i, 1, 0, {}}, lock_ms(10), out);
  }
  for (std::uint32_t i = 0; i < 5; ++i) {
    client.receive({RedlockKind::written, i, 1, 1, {}}, lock_ms(20), out);
  }
  out.clear();
  client.tick(lock_ms(9'897), out);
  EXPECT_EQ(client.state(), RedlockState::held) << "1 % and 2 ms are for the clocks";
  client.tick(lock_ms(9'898), out);
  EXPECT_EQ(client.state(), RedlockState::idle);
  EXPECT_EQ(out.size(), 5U) << "everywhere";
}

// A grant of the request before is none of this one: the vote may be with another by now.
TEST(LockQuorum, AGrantOfAnEarlierRequestIsNoVote) {
  VoteRequester one(0, {0, 1});
  VoteMessages out;
  one.request(1, out);
  one.release(out);
  one.request(2, out);
  for (const std::uint32_t member : {0U, 1U}) {
    one.receive({VoteMessageKind::grant, member, 0, 1, 1}, out);
  }
  EXPECT_FALSE(one.is_inside());
  for (const std::uint32_t member : {0U, 1U}) {
    one.receive({VoteMessageKind::grant, member, 0, 2, 1}, out);
  }
  EXPECT_TRUE(one.is_inside());
}

}  // namespace of_lock_messages_test
}  // namespace mesh::coordination
