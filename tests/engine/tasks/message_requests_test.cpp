// MessageRouter: requests that are sent twice, and how long somebody waits.
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/engine/tasks/message_kit.hpp"

namespace mesh::tasks {
namespace of_message_requests_test {

using coordination::testing::expect_all_refused;
using testing::letter;
using testing::resident;
using testing::router_of;
using testing::small_router;
using testing::ticked;

constexpr Nanos ms(std::int64_t count) { return testing::post_ms(count); }

// Of agent 0, to agent 1, after 20 ms to agent 2.
message::Request hedged(std::uint64_t payload = 5, Nanos timeout = ms(1'000)) {
  return {letter(0, 1, payload), timeout, 2, ms(20)};
}
std::vector<MessageDelivery> polled(MessageRouter& router, std::uint32_t agent, Nanos now) {
  return router.apply(message::Poll{agent, 16}, now).deliveries;
}
message::Respond answer_to(const MessageDelivery& asked, std::uint64_t payload) {
  message::Respond answer{letter(asked.to, asked.from, payload)};
  answer.send.correlation = asked.id.number;
  return answer;
}

TEST(MessageRouter, RefusesASecondCopyThatCannotBe) {
  auto router = router_of(small_router());
  const auto with = [](std::uint32_t to, Nanos after) {
    return message::Request{letter(0, 1), ms(100), to, after};
  };
  expect_all_refused<MessageRouter>(
      router, {{"to nobody", with(5, ms(1)), Errc::no_such_agent, Nanos{0}},
               {"to nobody's number", with(77, ms(1)), Errc::no_such_agent, Nanos{0}},
               {"to the same", with(1, ms(1)), Errc::invalid_argument, Nanos{0}},
               {"to who asks", with(0, ms(1)), Errc::invalid_argument, Nanos{0}},
               {"at once", with(2, Nanos{0}), Errc::invalid_argument, Nanos{0}},
               {"before", with(2, Nanos{-1}), Errc::invalid_argument, Nanos{0}},
               {"to none, later", with(kNoAgent, ms(1)), Errc::invalid_argument, Nanos{0}}});
}

TEST(MessageRouter, ALateRequestGoesToASecondAgentAndTheFirstAnswerCounts) {
  auto router = router_of(small_router());
  const auto asked = router.apply(hedged(), Nanos{0});
  EXPECT_EQ(ticked(router, ms(10)).next_tick, ms(20));
  const auto first = polled(router, 1, ms(10));
  ASSERT_EQ(first.size(), 1U);
  EXPECT_TRUE(polled(router, 2, ms(19)).empty());
  const auto second = polled(router, 2, ms(20));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].kind, MessageKind::request);
  EXPECT_EQ(second[0].payload, 5U);
  EXPECT_EQ(second[0].from, 0U);
  EXPECT_NE(second[0].id.number, asked.id.number);
  auto intruder = answer_to(second[0], 9);
  intruder.send.from = 1;
  EXPECT_EQ(router.apply(intruder, ms(21)).code, Errc::not_owner);
  EXPECT_EQ(router.apply(answer_to(second[0], 6), ms(21)).code, Errc::ok);
  EXPECT_EQ(router.apply(answer_to(first[0], 7), ms(22)).code, Errc::expired) << "too late";
  const auto answers = polled(router, 0, ms(23));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].payload, 6U);
  EXPECT_EQ(answers[0].correlation, asked.id.number) << "the number that it knows";
  EXPECT_EQ(router.counters().hedged, 1U);
  EXPECT_EQ(router.counters().hedge_won, 1U);
  EXPECT_EQ(router.open_requests(), 0U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, ARequestThatIsAnsweredInTimeIsSentOnce) {
  auto router = router_of(small_router());
  router.apply(hedged(), Nanos{0});
  const auto first = polled(router, 1, ms(1));
  router.apply(answer_to(first[0], 6), ms(19));
  ticked(router, ms(500));
  EXPECT_TRUE(polled(router, 2, ms(500)).empty());
  EXPECT_EQ(router.counters().hedged, 0U);
}

// The first wakes up after the second has answered: there is nothing for it to do, and nobody is
// told of it.
TEST(MessageRouter, ACopyThatNobodyHasBegunIsTakenAwayByTheAnswerToTheOther) {
  auto router = router_of(small_router());
  router.apply(hedged(), Nanos{0});
  const auto second = polled(router, 2, ms(20));
  ASSERT_EQ(second.size(), 1U);
  const auto reply = router.apply(answer_to(second[0], 6), ms(21));
  EXPECT_TRUE(reply.news.empty());
  EXPECT_TRUE(polled(router, 1, ms(22)).empty());
  EXPECT_EQ(router.counters().expired, 1U);
  EXPECT_TRUE(ticked(router, ms(900)).news.empty());
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, ARequestWhoseFirstCopyIsDeadGoesToTheSecondAtOnce) {
  auto router = router_of(small_router());
  const auto asked = router.apply(hedged(), Nanos{0});
  polled(router, 1, ms(1));
  const auto refused = router.apply(message::Nack{1, asked.id.number, true}, ms(2));
  EXPECT_TRUE(refused.news.empty()) << "another is asked: nothing is lost yet";
  const auto second = polled(router, 2, ms(2));
  ASSERT_EQ(second.size(), 1U) << "not after 20 ms";
  router.apply(answer_to(second[0], 6), ms(3));
  EXPECT_EQ(polled(router, 0, ms(3)).size(), 1U);
  EXPECT_EQ(router.counters().abandoned, 0U);
}

TEST(MessageRouter, WithBothCopiesDeadItIsToldOnceUnderTheNumberThatItKnows) {
  for (const bool is_first_the_last : {false, true}) {
    auto router = router_of(small_router());
    const auto asked = router.apply(hedged(), Nanos{0});
    polled(router, 1, ms(1));
    const auto second = polled(router, 2, ms(20));
    std::array<message::Nack, 2> nacks{message::Nack{1, asked.id.number, true},
                                       message::Nack{2, second.at(0).id.number, true}};
    if (is_first_the_last) std::swap(nacks[0], nacks[1]);
    EXPECT_TRUE(router.apply(nacks[0], ms(30)).news.empty());
    EXPECT_EQ(router.open_requests(), 1U);
    const auto news = router.apply(nacks[1], ms(31)).news;
    ASSERT_EQ(news.size(), 1U);
    EXPECT_EQ(news[0].number, asked.id.number);
    EXPECT_EQ(news[0].agent, 0U);
    EXPECT_EQ(router.counters().abandoned, 1U);
    EXPECT_EQ(router.open_requests(), 0U);
    EXPECT_TRUE(router.verify());
  }
}

// One at once and one in two requests: the second that is late is not sent twice, the third is.
TEST(MessageRouter, NoMoreThanTheirShareOfRequestsIsSentTwice) {
  auto config = small_router();
  config.hedge_burst = 0;
  config.hedge_ppm_max = 500'000;
  auto router = router_of(config);
  std::vector<std::uint64_t> sent_twice;
  for (std::int64_t i = 0; i < 4; ++i) {
    const Nanos now = ms(i * 100);
    router.apply(hedged(static_cast<std::uint64_t>(i), ms(90)), now);
    polled(router, 1, now);
    ticked(router, now + ms(20));
    for (const auto& one : polled(router, 2, now + ms(21))) {
      sent_twice.push_back(one.payload);
      router.apply(message::Ack{2, one.id.number}, now + ms(22));
    }
    EXPECT_EQ(ticked(router, now + ms(99)).news.size(), 1U) << "timed out";
  }
  EXPECT_EQ(sent_twice, (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(router.counters().hedge_withheld, 2U);
}

TEST(MessageRouter, ADeadRequestWhoseSecondCopyHasNoRoomIsToldSo) {
  auto config = small_router();
  config.hedge_burst = 0;
  config.hedge_ppm_max = 0;
  auto router = router_of(config);
  const auto asked = router.apply(hedged(), Nanos{0});
  polled(router, 1, ms(1));
  router.apply(message::Nack{1, asked.id.number, true}, ms(2));
  const auto news = ticked(router, ms(2)).news;
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, MessageNotice::dead);
  EXPECT_EQ(news[0].why, Errc::no_candidate);
  EXPECT_EQ(news[0].number, asked.id.number);
  EXPECT_EQ(router.open_requests(), 0U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, ARestartBetweenTheTwoCopiesChangesNothing) {
  auto router = router_of(small_router());
  const auto asked = router.apply(hedged(), Nanos{0});
  const auto first = polled(router, 1, ms(1));
  auto early = MessageRouter::restore(small_router(), router.snapshot());
  ASSERT_TRUE(early);
  const auto second = polled(*early, 2, ms(20));
  ASSERT_EQ(second.size(), 1U);
  auto late = MessageRouter::restore(small_router(), early->snapshot());
  ASSERT_TRUE(late);
  EXPECT_EQ(late->apply(answer_to(second[0], 6), ms(21)).code, Errc::ok);
  EXPECT_EQ(late->apply(answer_to(first[0], 7), ms(21)).code, Errc::expired);
  EXPECT_EQ(polled(*late, 0, ms(22)).at(0).correlation, asked.id.number);
}

// For what a request leads to: its own messages need not live longer.
TEST(MessageRouter, ADeliverySaysHowLongSomebodyWaitsForIt) {
  auto config = small_router();
  config.ttl_ns = Nanos{0};
  auto router = router_of(config);
  auto brief = letter(0, 1, 1);
  brief.ttl = ms(50);
  router.apply(brief, Nanos{0});
  router.apply(letter(0, 1, 2), Nanos{0});
  router.apply(message::Request{letter(0, 1, 3), ms(80)}, Nanos{0});
  const auto all = polled(router, 1, ms(10));
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].remaining, ms(40)) << "its ttl";
  EXPECT_EQ(all[1].remaining, Nanos{0}) << "for ever";
  EXPECT_EQ(all[2].remaining, ms(70)) << "the time-out of who asked";
}

TEST(MessageRouter, ARequestToAnotherHostTakesTheTimeThatIsLeftAlong) {
  auto router = router_of(small_router(), 1);
  router.apply(resident(4, false), Nanos{0});
  router.apply(message::Request{letter(0, 4), ms(80)}, Nanos{0});
  const auto transfers = ticked(router, ms(30)).transfers;
  ASSERT_EQ(transfers.size(), 1U);
  EXPECT_EQ(transfers[0].remaining, ms(50));
}

}  // namespace of_message_requests_test
}  // namespace mesh::tasks
