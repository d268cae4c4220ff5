// Who answers is not buried: old word against a member is answered, and what is believed of a
// suspect is said again before it is acted on.
#include "tests/engine/coordination/swim_kit.hpp"

namespace mesh::coordination {
namespace of_gossip_swim_refutation_test {

using testing::acknowledge;
using testing::gossip_ms;
using testing::opened;
using testing::swim_of;
using testing::tell;
using Swim = SwimMembership;

// The updates of all messages to one member.
std::vector<SwimUpdate> said_to(const GossipOutbox& out, std::uint64_t to) {
  std::vector<SwimUpdate> found;
  for (const auto& send : out.sends()) {
    StateReader reader(out.bytes_of(send));
    const Envelope envelope = opened(reader);
    if (send.to != to) continue;
    for (int i = 0; i < 3; ++i) static_cast<void>(reader.get<std::uint64_t>());
    if (envelope.kind == Swim::ack) {
      VivaldiPoint point;
      point.load(reader);
    }
    while (reader.get<bool>() && !reader.failed()) {
      SwimUpdate one;
      one.state = reader.get<MemberState>();
      one.member = reader.get<std::uint64_t>();
      one.incarnation = reader.get<std::uint64_t>();
      if (one.state == MemberState::suspect) one.accuser = reader.get<std::uint64_t>();
      if (one.state == MemberState::alive) {
        one.address = text_in(reader);
        one.metadata = text_in(reader);
      }
      found.push_back(one);
    }
    EXPECT_FALSE(reader.failed());
  }
  return found;
}
std::size_t said_of(const std::vector<SwimUpdate>& updates, std::uint64_t member) {
  return static_cast<std::size_t>(std::count_if(
      updates.begin(), updates.end(), [&](const auto& one) { return one.member == member; }));
}

TEST(SwimMembership, AnswersOldWordAgainstAMemberWithWhatItKnows) {
  for (const auto word : {MemberState::suspect, MemberState::dead}) {
    Swim one = swim_of(1, 4);
    tell(one, 3, {{MemberState::alive, 2, 5, 0, "a", ""}}, 0);
    GossipOutbox out(1, {});
    tell(one, 4, {{word, 2, 4, 3, {}, {}}}, 0, &out);
    const auto said = said_to(out, 4);
    ASSERT_EQ(said.size(), 1U) << to_string(word);
    EXPECT_EQ(said[0].state, MemberState::alive);
    EXPECT_EQ(said[0].member, 2U);
    EXPECT_EQ(said[0].incarnation, 5U);
    EXPECT_EQ(said[0].address, "a") << "the whole row";
    EXPECT_EQ(out.sends().size(), 1U) << "nobody else is told";
    EXPECT_EQ(one.find(2)->state, MemberState::alive);
  }
}

TEST(SwimMembership, AnswersOldWordAgainstItself) {
  Swim one = swim_of(1, 4);
  tell(one, 3, {{MemberState::suspect, 1, 1, 3, {}, {}}}, 0);
  ASSERT_EQ(one.self().incarnation, 2U);
  GossipOutbox out(1, {});
  tell(one, 4, {{MemberState::suspect, 1, 1, 3, {}, {}}}, 0, &out);
  const auto said = said_to(out, 4);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].member, 1U);
  EXPECT_EQ(said[0].incarnation, 2U);
  EXPECT_EQ(one.self().incarnation, 2U) << "refuted once";
}

TEST(SwimMembership, DoesNotAnswerWordThatItShares) {
  Swim one = swim_of(1, 4);
  GossipOutbox out(1, {});
  tell(one, 3, {{MemberState::suspect, 2, 1, 3, {}, {}}}, 0, &out);
  tell(one, 4, {{MemberState::suspect, 2, 1, 4, {}, {}}}, 0, &out);
  tell(one, 4, {{MemberState::alive, 2, 1, 0, "a", ""}}, 0, &out);
  EXPECT_EQ(out.sends().size(), 0U) << "neither news, nor an echo, nor good word that is old";
}

TEST(SwimMembership, SaysAgainWhomItSuspectsBeforeItBuriesThem) {
  Swim one = swim_of(1, 10);
  GossipOutbox out(1, {1'024, 1U << 20, 4'096});
  tell(one, 3, {{MemberState::suspect, 2, 1, 3, {}, {}}}, 0);
  std::vector<std::int64_t> said_ms;  // beside what goes to itself with each message to it
  for (std::int64_t t = 0; t < 24'000; t += 50) {
    out.clear();
    one.tick(gossip_ms(t), out);
    std::size_t said = 0;
    for (std::uint64_t to = 3; to <= 10; ++to) said += said_of(said_to(out, to), 2);
    if (said != 0) said_ms.push_back(t);
    acknowledge(one, out, gossip_ms(t));
  }
  ASSERT_EQ(one.find(2)->state, MemberState::suspect);
  const auto between = [&](std::int64_t from, std::int64_t until) {
    return std::count_if(said_ms.begin(), said_ms.end(),
                         [&](std::int64_t t) { return t >= from && t < until; });
  };
  EXPECT_GT(between(0, 1'500), 0) << "as news";
  EXPECT_EQ(between(1'500, 2'000), 0) << "passed on as often as it may be";
  EXPECT_GT(between(2'000, 3'500), 0) << "two periods before it may end, which is at 4 s";
  EXPECT_EQ(between(3'500, 22'000), 0);
  EXPECT_GT(between(22'000, 24'000), 0) << "two periods before it ends, with none to confirm it";
  one.tick(gossip_ms(24'000), out);
  EXPECT_EQ(one.find(2)->state, MemberState::dead) << "no later for that";
}

TEST(SwimMembership, IsSetRightBeforeItBuriesWhoseRefutationItMissed) {
  Swim one = swim_of(1, 4);
  Swim other = swim_of(3, 4);
  tell(one, 4, {{MemberState::suspect, 2, 1, 4, {}, {}}}, 0);
  tell(other, 2, {{MemberState::alive, 2, 2, 0, "a", ""}}, 0);  // of which nothing came to `one`
  GossipOutbox mine(1, {1'024, 1U << 20, 4'096});
  GossipOutbox theirs(3, {1'024, 1U << 20, 4'096});
  GossipOutbox ignored(1, {});
  for (std::int64_t t = 1'900; t < 4'000; t += 50) {
    mine.clear();
    one.tick(gossip_ms(t), mine);
    acknowledge(one, mine, gossip_ms(t));  // or it would find them silent itself
    for (const auto& send : mine.sends()) {
      if (send.to != 3 || send.lane != GossipLane::answer) continue;  // of its gossip alone
      theirs.clear();
      StateReader reader(mine.bytes_of(send));
      const Envelope envelope = opened(reader);
      ASSERT_EQ(other.hear(envelope, reader, gossip_ms(t), theirs), Errc::ok);
      for (const auto& answer : theirs.sends()) {
        StateReader back(theirs.bytes_of(answer));
        const Envelope from = opened(back);
        ASSERT_EQ(one.hear(from, back, gossip_ms(t), ignored), Errc::ok);
      }
    }
  }
  EXPECT_EQ(one.find(2)->state, MemberState::alive);
  EXPECT_EQ(one.find(2)->incarnation, 2U);
  EXPECT_EQ(one.counters().died, 0U);
}

}  // namespace of_gossip_swim_refutation_test
}  // namespace mesh::coordination
