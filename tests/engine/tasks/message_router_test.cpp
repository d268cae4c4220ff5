// MessageRouter on one host: mailboxes, order, full mailboxes, and what it is told wrongly.
#include "engine/tasks/message_router.hpp"

#include <algorithm>

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/tasks/message_kit.hpp"

namespace mesh::tasks {
namespace of_message_router_test {

using coordination::testing::expect_all_refused;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using testing::letter;
using testing::payloads;
using testing::resident;
using testing::router_of;
using testing::small_router;
using testing::ticked;

using Numbers = std::vector<std::uint64_t>;

constexpr Nanos ms(std::int64_t count) { return testing::post_ms(count); }

MessageTransfer arrival(std::uint64_t sequence, std::uint64_t floor = 1) {
  MessageTransfer one;
  one.id = {0, std::uint64_t{9} << 48 | sequence};
  one.from = 4;
  one.to = 0;
  one.priority = 1;
  one.place = {1, sequence, floor};
  one.payload = sequence;
  return one;
}
Numbers polled(MessageRouter& router, std::uint32_t agent, Nanos now, std::uint32_t count = 16) {
  return payloads(router.apply(message::Poll{agent, count}, now));
}

// --- refusals ------------------------------------------------------------------------------------

TEST(MessageRouter, RefusesWhatItDoesNotKnowAndWhatCannotBe) {
  auto router = router_of(small_router());
  const auto sent = router.apply(letter(0, 1), Nanos{0});
  const std::uint64_t number = sent.id.number;
  auto big = letter(0, 1);
  big.size_bytes = (1U << 20) + 1;
  auto urgent = letter(0, 1, 0, 4);
  auto late = letter(0, 1);
  late.ttl = Nanos{-1};
  auto caused = letter(0, 1);
  caused.cause = {6, 1};
  auto looped = arrival(1);
  looped.route.hops = 9;
  auto foreign = arrival(1);
  foreign.to = 5;
  auto own = arrival(1);
  own.id.number = 77;
  auto nowhere = arrival(0);
  auto ahead = arrival(3, 4);
  message::Respond answer{letter(1, 0)};
  answer.send.correlation = number;
  expect_all_refused<MessageRouter>(
      router,
      {{"beyond the table", letter(6, 1), Errc::no_such_agent, Nanos{0}},
       {"nobody receives", letter(0, 5), Errc::no_such_agent, Nanos{0}},
       {"nobody sends", letter(5, 0), Errc::no_such_agent, Nanos{0}},
       {"a body over the limit", big, Errc::invalid_argument, Nanos{0}},
       {"no priority", urgent, Errc::invalid_argument, Nanos{0}},
       {"a negative ttl", late, Errc::invalid_argument, Nanos{0}},
       {"a cause of nobody", caused, Errc::invalid_argument, Nanos{0}},
       {"before time", letter(0, 1), Errc::invalid_argument, Nanos{-1}},
       {"a request that waits backwards", message::Request{letter(0, 1), Nanos{-1}},
        Errc::invalid_argument, Nanos{0}},
       {"a response to no request", answer, Errc::expired, Nanos{0}},
       {"a broadcast to nobody", message::Broadcast{letter(2, 2), message::Scope::cluster},
        Errc::no_candidate, Nanos{0}},
       {"no topic", message::Publish{letter(0, 0), "a.*"}, Errc::invalid_argument, Nanos{0}},
       {"no pattern", message::Subscribe{0, "a*"}, Errc::invalid_argument, Nanos{0}},
       {"nobody subscribes", message::Subscribe{5, "a"}, Errc::no_such_agent, Nanos{0}},
       {"no subscription", message::Unsubscribe{0, "a"}, Errc::not_found, Nanos{0}},
       {"no mailbox", message::Poll{5, 1}, Errc::no_such_agent, Nanos{0}},
       {"none polled", message::Poll{0, 0}, Errc::invalid_argument, Nanos{0}},
       {"not handed over", message::Ack{1, number}, Errc::wrong_state, Nanos{0}},
       {"another's", message::Ack{0, number}, Errc::not_owner, Nanos{0}},
       {"no message", message::Nack{1, number + 1, false}, Errc::not_found, Nanos{0}},
       {"round and round", message::Receive{looped}, Errc::cycle, Nanos{0}},
       {"for nobody", message::Receive{foreign}, Errc::no_such_agent, Nanos{0}},
       {"its own", message::Receive{own}, Errc::conflict, Nanos{0}},
       {"of no place", message::Receive{nowhere}, Errc::invalid_argument, Nanos{0}},
       {"before its floor", message::Receive{ahead}, Errc::invalid_argument, Nanos{0}},
       {"no letter", message::TakeLetters{0}, Errc::invalid_argument, Nanos{0}},
       {"a relay of no level", message::SetRelay{RelayLevel::direct, 0, 1}, Errc::invalid_argument,
        Nanos{0}},
       {"a relay of no cluster", message::SetRelay{RelayLevel::cluster_lead, 3, 1},
        Errc::invalid_argument, Nanos{0}},
       {"a relay that is nobody", message::SetRelay{RelayLevel::bridge, 0, 5}, Errc::no_such_agent,
        Nanos{0}},
       {"a scatter to nobody", message::ScatterGather{0, {}, 0, ms(1), 1}, Errc::no_candidate,
        Nanos{0}},
       {"a scatter of no window", message::ScatterGather{0, {1}, 0, Nanos{0}, 1},
        Errc::invalid_argument, Nanos{0}},
       {"a scatter to one unknown", message::ScatterGather{0, {5}, 0, ms(1), 1},
        Errc::no_such_agent, Nanos{0}},
       {"of no cluster", message::RegisterAgent{0, true, 1, 3, 0, true}, Errc::invalid_argument,
        Nanos{0}},
       {"it moves while it has messages", resident(1, false), Errc::wrong_state, Nanos{0}},
       {"nobody leaves", message::RemoveAgent{5}, Errc::no_such_agent, Nanos{0}}});
}

TEST(MessageRouter, NamesTheFieldThatIsOutsideItsRange) {
  const auto judged = [](auto change) {
    MessageRouterConfig config;
    change(config);
    const auto status = MessageRouter::validate(config);
    return status ? std::string("ok") : status.error().sentence;
  };
  EXPECT_EQ(judged([](auto&) {}), "ok");
  EXPECT_NE(judged([](auto& one) { one.queue_max = 0; }).find("queue_max"), std::string::npos);
  EXPECT_NE(judged([](auto& one) { one.pairs_max = 1U << 19; }).find("pairs_max"),
            std::string::npos);
  EXPECT_NE(judged([](auto& one) { one.retry_ns = Nanos{0}; }).find("retry_ns"), std::string::npos);
  EXPECT_NE(judged([](auto& one) { one.ttl_ns = Nanos{-1}; }).find("ttl_ns"), std::string::npos);
  EXPECT_NE(judged([](auto& one) { one.host = 1U << 16; }).find("host"), std::string::npos);
}

// --- goldens -------------------------------------------------------------------------------------

TEST(MessageRouter, GoldenReorderAndDuplicates) {
  const auto [inputs, expected] = golden("message_router", "reorder_and_duplicates");
  auto router = router_of(small_router());
  Json actual = Json::array();
  for (const std::uint64_t sequence : inputs.at("sequences")) {
    const std::uint64_t duplicates = router.counters().duplicates;
    EXPECT_EQ(router.apply(message::Receive{arrival(sequence)}, Nanos{0}).code, Errc::ok);
    const bool is_known = router.counters().duplicates != duplicates;
    actual.push_back(
        {{"status", is_known ? "duplicate" : "ok"}, {"delivered", polled(router, 0, Nanos{0})}});
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(MessageRouter, GoldenWindowTooOld) {
  const auto [inputs, expected] = golden("message_router", "window_too_old");
  auto config = small_router();
  config.order = MessageOrder::none;
  auto router = router_of(config);
  Json actual = Json::array();
  for (const std::uint64_t sequence : inputs.at("sequences")) {
    actual.push_back(name_of(router.apply(message::Receive{arrival(sequence)}, Nanos{0}).code));
  }
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(router.counters().stale, 1U);
}

TEST(MessageRouter, GoldenTopics) {
  const auto [inputs, expected] = golden("message_router", "topics");
  Json actual = Json::array();
  for (const auto& row : inputs) {
    auto router = router_of(small_router());
    EXPECT_EQ(router.apply(message::Subscribe{2, row.at(0)}, Nanos{0}).code, Errc::ok);
    actual.push_back(router.apply(message::Publish{letter(0, 0), row.at(1)}, Nanos{0}).count == 1);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(MessageRouter, RetriesWithinOneTwoAndFourSecondsThenItIsDead) {
  EXPECT_EQ(MessageRouter::retry_bound({}, 0), ms(1'000));
  EXPECT_EQ(MessageRouter::retry_bound({}, 1), ms(2'000));
  EXPECT_EQ(MessageRouter::retry_bound({}, 2), ms(4'000));
  for (std::uint64_t seed = 1; seed < 40; ++seed) {
    MessageRouter router(small_router(), seed);
    router.apply(resident(0), Nanos{0});
    router.apply(resident(4, false), Nanos{0});
    router.apply(letter(0, 4), Nanos{0});
    std::vector<std::int64_t> sent;
    std::int64_t dead_ns = -1;
    std::int64_t now_ns = 0;
    for (int i = 0; i < 20 && dead_ns < 0; ++i) {
      const auto actions = ticked(router, Nanos{now_ns});
      if (!actions.transfers.empty()) sent.push_back(now_ns);
      if (!actions.news.empty()) {
        dead_ns = now_ns;
        EXPECT_EQ(actions.news[0].kind, MessageNotice::dead);
        EXPECT_EQ(actions.news[0].agent, 0U) << "its sender is told";
      }
      now_ns = std::max(now_ns, actions.next_tick.count());
    }
    ASSERT_EQ(sent.size(), 4U) << "seed " << seed;
    for (std::uint32_t k = 0; k < 3; ++k) {
      EXPECT_LE(sent[k + 1] - sent[k], MessageRouter::retry_bound({}, k).count());
    }
    EXPECT_LE(dead_ns, ms(10'000).count());
    EXPECT_EQ(router.counters().dead, 1U);
    EXPECT_TRUE(router.verify());
  }
}

// --- one host ------------------------------------------------------------------------------------

TEST(MessageRouter, AMessageThatComesBeforeItsReceiverPollsWaitsUntilItsTtl) {
  auto router = router_of(small_router());
  const std::uint64_t number = router.apply(letter(0, 1, 7), Nanos{0}).id.number;
  EXPECT_EQ(polled(router, 1, ms(29'999)), Numbers{7});
  router.apply(message::Ack{1, number}, ms(29'999));
  router.apply(letter(0, 2, 8), ms(30'000));
  const auto news = ticked(router, ms(60'000)).news;
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, MessageNotice::expired);
  EXPECT_TRUE(polled(router, 2, ms(60'000)).empty());
  EXPECT_EQ(router.counters().expired, 1U);
}

TEST(MessageRouter, HandsOverTheMostUrgentFirstAndEachPairInOrder) {
  auto router = router_of(small_router());
  router.apply(letter(0, 1, 1, 0), Nanos{0});
  router.apply(letter(2, 1, 2, 1), Nanos{0});
  router.apply(letter(0, 1, 3, 3), Nanos{0});
  router.apply(letter(0, 1, 4, 1), Nanos{0});
  router.apply(letter(2, 1, 5, 3), Nanos{0});
  EXPECT_EQ(polled(router, 1, Nanos{0}), (Numbers{3, 5, 2, 4, 1}));
}

TEST(MessageRouter, WhatIsAcknowledgedIsDoneAndSoOnlyOnce) {
  auto router = router_of(small_router());
  const auto sent = router.apply(letter(0, 1), ms(1));
  EXPECT_EQ(sent.id.created_ns, ms(1).count());
  EXPECT_EQ(MessageRouter::host_of(sent.id.number), 0U);
  polled(router, 1, ms(2));
  EXPECT_EQ(router.view(sent.id.number).state, MessageState::in_hand);
  EXPECT_EQ(router.apply(message::Ack{1, sent.id.number}, ms(3)).code, Errc::ok);
  EXPECT_EQ(router.apply(message::Ack{1, sent.id.number}, ms(3)).code, Errc::not_found);
  EXPECT_EQ(router.view(sent.id.number).state, MessageState::unknown);
  EXPECT_EQ(router.counters().acked, 1U);
}

TEST(MessageRouter, WhatIsRefusedComesAgainThreeTimesAndThenItIsDead) {
  auto router = router_of(small_router());
  const std::uint64_t number = router.apply(letter(0, 1), Nanos{0}).id.number;
  Nanos now{0};
  for (std::uint32_t attempt = 0; attempt < 4; ++attempt) {
    const auto handed = router.apply(message::Poll{1, 9}, now);
    ASSERT_EQ(handed.deliveries.size(), 1U) << attempt;
    EXPECT_EQ(handed.deliveries[0].attempt, attempt);
    const auto reply = router.apply(message::Nack{1, number, false}, now);
    if (attempt == 3) {
      ASSERT_EQ(reply.news.size(), 1U);
      EXPECT_EQ(reply.news[0].why, Errc::cancelled);
      break;
    }
    EXPECT_LE(reply.retry_after, MessageRouter::retry_bound({}, attempt));
    if (reply.retry_after > Nanos{0}) {
      EXPECT_TRUE(polled(router, 1, now + reply.retry_after - Nanos{1}).empty());
    }
    now += reply.retry_after;
  }
  EXPECT_EQ(router.counters().dead, 1U);
  EXPECT_EQ(router.counters().retried, 3U);
}

TEST(MessageRouter, AReceiverThatStallsHasItUntilTheTimeOut) {
  auto router = router_of(small_router());
  const std::uint64_t number = router.apply(letter(0, 1), Nanos{0}).id.number;
  polled(router, 1, ms(5'000));
  EXPECT_TRUE(ticked(router, ms(14'999)).news.empty());
  const auto news = ticked(router, ms(15'000)).news;
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].why, Errc::timed_out);
  EXPECT_EQ(router.apply(message::Ack{1, number}, ms(15'000)).code, Errc::not_found);
}

TEST(MessageRouter, WhatADeadStationHadInHandComesAgain) {
  auto router = router_of(small_router());
  for (std::uint64_t i = 1; i <= 3; ++i) router.apply(letter(0, 1, i), Nanos{0});
  EXPECT_EQ(polled(router, 1, Nanos{0}, 2), (Numbers{1, 2}));
  EXPECT_EQ(router.apply(message::StationClosed{9}, ms(1)).count, 0U);
  EXPECT_EQ(router.apply(message::StationClosed{2}, ms(1)).count, 2U);
  auto again = polled(router, 1, ms(2));
  std::sort(again.begin(), again.end());
  EXPECT_EQ(again, (Numbers{1, 2, 3}));
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, ARemovedAgentsMessagesAreDeadAndTheirSendersAreTold) {
  auto router = router_of(small_router());
  router.apply(letter(0, 1), Nanos{0});
  router.apply(letter(1, 2, 5), Nanos{0});
  router.apply(message::Subscribe{1, "a"}, Nanos{0});
  const auto removed = router.apply(message::RemoveAgent{1}, Nanos{0});
  ASSERT_EQ(removed.news.size(), 1U);
  EXPECT_EQ(removed.news[0].agent, 0U);
  EXPECT_EQ(removed.news[0].why, Errc::no_such_agent);
  EXPECT_EQ(polled(router, 2, Nanos{0}), Numbers{5}) << "what it has sent goes on";
  EXPECT_EQ(router.apply(message::Publish{letter(0, 0), "a"}, Nanos{0}).count, 0U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, AcknowledgesByItselfWhereNobodyIsToSaySo) {
  for (const MessageAck ack : {MessageAck::none, MessageAck::received}) {
    auto config = small_router();
    config.ack = ack;
    auto router = router_of(config);
    const std::uint64_t number = router.apply(letter(0, 1, 3), Nanos{0}).id.number;
    EXPECT_EQ(polled(router, 1, Nanos{0}), Numbers{3});
    EXPECT_EQ(router.apply(message::Ack{1, number}, Nanos{0}).code, Errc::not_found);
    EXPECT_EQ(router.counters().acked, 1U) << to_string(ack);
  }
}

TEST(MessageRouter, EventsAlwaysSayWhoHasSentIt) {
  auto router = router_of(small_router());
  auto brief = letter(2, 1);
  brief.ttl = ms(1);
  router.apply(brief, Nanos{0});
  ticked(router, ms(1));
  const std::uint64_t number = router.apply(letter(2, 1), ms(2)).id.number;
  polled(router, 1, ms(2));
  router.apply(message::Nack{1, number, true}, ms(2));
  std::vector<std::uint16_t> kinds;
  router.events().after(0, [&](const EventRecord& event) {
    kinds.push_back(event.kind);
    EXPECT_EQ(event.source, 2U);
    EXPECT_EQ(event.a, 2U);
    EXPECT_EQ(event.b, 1U);
  });
  const auto number_of = [](EventName name) { return static_cast<std::uint16_t>(name); };
  EXPECT_EQ(kinds, (std::vector<std::uint16_t>{
                       number_of(EventName::message_sent), number_of(EventName::message_expired),
                       number_of(EventName::message_sent), number_of(EventName::message_delivered),
                       number_of(EventName::message_dead)}));
}

// --- a full mailbox ------------------------------------------------------------------------------

TEST(MessageRouter, AFullMailboxPushesBack) {
  auto router = router_of(small_router());
  for (std::uint64_t i = 0; i < 8; ++i) router.apply(letter(0, 1, i), Nanos{0});
  const auto hash = router.state_hash();
  const auto reply = router.apply(letter(2, 1), Nanos{0});
  EXPECT_EQ(reply.refusal, Refusal::rejected_pressure);
  EXPECT_EQ(router.counters().declined, 1U);
  EXPECT_EQ(router.state_hash(), hash);
}

TEST(MessageRouter, AFullMailboxDropsTheOldestOfTheBackgroundAlone) {
  auto config = small_router();
  config.overflow = MessageOverflow::drop_oldest;
  auto router = router_of(config);
  for (std::uint64_t i = 0; i < 8; ++i) router.apply(letter(0, 1, i, i < 6 ? 1 : 0), Nanos{0});
  const auto first = router.apply(letter(2, 1, 10), Nanos{0});
  EXPECT_EQ(first.refusal, Refusal::none);
  ASSERT_EQ(first.news.size(), 1U);
  EXPECT_EQ(first.news[0].agent, 0U);
  EXPECT_EQ(router.apply(letter(2, 1, 11), Nanos{0}).refusal, Refusal::none);
  EXPECT_EQ(router.apply(letter(2, 1, 12), Nanos{0}).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(router.counters().dropped, 2U);
  EXPECT_EQ(polled(router, 1, Nanos{0}), (Numbers{0, 1, 2, 3, 4, 5, 10, 11}));
}

TEST(MessageRouter, AFullMailboxKeepsDeadLetters) {
  auto config = small_router();
  config.overflow = MessageOverflow::dlq;
  auto router = router_of(config);
  for (std::uint64_t i = 0; i < 13; ++i) router.apply(letter(0, 1, i), Nanos{0});
  EXPECT_EQ(router.counters().declined, 5U);
  EXPECT_EQ(router.letters(), 4U) << "the oldest letter is forgotten";
  EXPECT_EQ(payloads(router.apply(message::TakeLetters{9}, Nanos{0})), (Numbers{9, 10, 11, 12}));
  EXPECT_EQ(router.letters(), 0U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, NobodyHasMoreUnansweredThanItsReceiverCouldTellApart) {
  auto config = small_router();
  config.messages_max = 4'096;
  config.queue_max = 4'096;
  auto router = router_of(config);
  for (int i = 0; i < 1'024; ++i) {
    ASSERT_EQ(router.apply(letter(0, 1), Nanos{0}).refusal, Refusal::none) << i;
  }
  EXPECT_EQ(router.apply(letter(0, 1), Nanos{0}).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(router.apply(letter(0, 1, 0, 2), Nanos{0}).refusal, Refusal::none) << "another lane";
  EXPECT_TRUE(router.verify());
}

}  // namespace of_message_router_test
}  // namespace mesh::tasks
