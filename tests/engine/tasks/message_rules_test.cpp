// MessageRouter: requests, messages to many, and what is asked of every service.
#include <algorithm>

#include "tests/allocations.hpp"
#include "tests/engine/tasks/message_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_message_rules_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using testing::letter;
using testing::message_trace;
using testing::payloads;
using testing::resident;
using testing::router_of;
using testing::small_router;
using testing::ticked;

using Numbers = std::vector<std::uint64_t>;

constexpr Nanos ms(std::int64_t count) { return testing::post_ms(count); }

Numbers polled(MessageRouter& router, std::uint32_t agent, Nanos now, std::uint32_t count = 16) {
  return payloads(router.apply(message::Poll{agent, count}, now));
}

// --- requests ------------------------------------------------------------------------------------

TEST(MessageRouter, ARequestIsAnsweredOnce) {
  auto router = router_of(small_router());
  const auto asked = router.apply(message::Request{letter(0, 1, 5), Nanos{0}}, Nanos{0});
  const auto got = router.apply(message::Poll{1, 1}, ms(1));
  ASSERT_EQ(got.deliveries.size(), 1U);
  EXPECT_EQ(got.deliveries[0].kind, MessageKind::request);
  message::Respond answer{letter(1, 0, 6)};
  answer.send.correlation = got.deliveries[0].id.number;
  message::Respond intruder = answer;
  intruder.send.from = 2;
  EXPECT_EQ(router.apply(intruder, ms(2)).code, Errc::not_owner);
  EXPECT_EQ(router.apply(answer, ms(2)).code, Errc::ok);
  EXPECT_EQ(router.apply(answer, ms(2)).code, Errc::expired) << "a second answer";
  const auto answered = router.apply(message::Poll{0, 1}, ms(3));
  ASSERT_EQ(answered.deliveries.size(), 1U);
  EXPECT_EQ(answered.deliveries[0].correlation, asked.id.number);
  EXPECT_EQ(answered.deliveries[0].payload, 6U);
  EXPECT_EQ(router.counters().answered, 1U);
  EXPECT_TRUE(ticked(router, ms(9'999)).news.empty());
}

// pitfalls B5: nothing drew anything. The bounds stand with the retries themselves.
TEST(MessageRouter, TheDelayOfARetryIsDrawnFromTheWholeOfItsBound) {
  double least = 1;
  double most = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    MessageRouter router(small_router(), mesh::testing::seed() + seed);
    router.apply(resident(0), Nanos{0});
    router.apply(resident(1), Nanos{0});
    const std::uint64_t number = router.apply(letter(0, 1), Nanos{0}).id.number;
    router.apply(message::Poll{1, 1}, Nanos{0});
    const Nanos delay = router.apply(message::Nack{1, number}, Nanos{0}).retry_after;
    const double share = static_cast<double>(delay.count()) /
                         static_cast<double>(MessageRouter::retry_bound({}, 0).count());
    least = std::min(least, share);
    most = std::max(most, share);
  }
  EXPECT_LT(least, 0.2);
  EXPECT_GT(most, 0.8);
  EXPECT_LE(most, 1);
}

TEST(MessageRouter, OnlyARequestWhoseTimeIsOverIsCleanedUp) {
  auto router = router_of(small_router());
  router.apply(message::Request{letter(0, 1), ms(100)}, Nanos{0});
  const auto later = router.apply(message::Request{letter(0, 1), Nanos{0}}, ms(99));
  EXPECT_TRUE(ticked(router, ms(99)).news.empty());
  const auto news = ticked(router, ms(100)).news;
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, MessageNotice::timed_out);
  EXPECT_EQ(router.open_requests(), 1U) << "the one of a millisecond ago waits on";
  message::Respond answer{letter(1, 0)};
  answer.send.correlation = later.id.number;
  EXPECT_EQ(router.apply(answer, ms(10'098)).code, Errc::ok);
  EXPECT_EQ(router.counters().timed_out, 1U);
}

TEST(MessageRouter, ARequestWhoseMessageIsDeadWaitsNoLonger) {
  auto router = router_of(small_router());
  const auto asked = router.apply(message::Request{letter(0, 1), Nanos{0}}, Nanos{0});
  polled(router, 1, Nanos{0});
  const auto reply = router.apply(message::Nack{1, asked.id.number, true}, Nanos{0});
  ASSERT_EQ(reply.news.size(), 1U) << "told once";
  EXPECT_EQ(router.open_requests(), 0U);
  EXPECT_EQ(router.counters().abandoned, 1U);
}

// --- to many -------------------------------------------------------------------------------------

TEST(MessageRouter, ABroadcastReachesAllOthersOfItsScope) {
  auto router = router_of(small_router(), 5);
  EXPECT_EQ(router.apply(message::Broadcast{letter(0, 9, 1), message::Scope::all}, Nanos{0}).count,
            4U);
  EXPECT_EQ(
      router.apply(message::Broadcast{letter(0, 1, 2), message::Scope::cluster}, Nanos{0}).count,
      2U);
  EXPECT_EQ(
      router.apply(message::Broadcast{letter(0, 0, 3), message::Scope::sector}, Nanos{0}).count,
      2U);
  EXPECT_TRUE(polled(router, 0, Nanos{0}).empty());
  EXPECT_EQ(polled(router, 1, Nanos{0}), (Numbers{1, 2}));
  EXPECT_EQ(polled(router, 4, Nanos{0}), (Numbers{1, 2, 3}));
}

TEST(MessageRouter, ABroadcastSaysHowManyHadNoRoom) {
  auto router = router_of(small_router(), 3);
  for (std::uint64_t i = 0; i < 8; ++i) router.apply(letter(0, 1, i), Nanos{0});
  const auto reply = router.apply(message::Broadcast{letter(0, 0), message::Scope::all}, Nanos{0});
  EXPECT_EQ(reply.count, 1U);
  EXPECT_EQ(reply.declined, 1U);
}

TEST(MessageRouter, APublicationReachesASubscriberOnceHoweverManyPatternsFit) {
  auto router = router_of(small_router());
  for (const char* pattern : {"sector.*.alerts", "sector.**"}) {
    EXPECT_EQ(router.apply(message::Subscribe{2, pattern}, Nanos{0}).code, Errc::ok);
  }
  EXPECT_EQ(router.apply(message::Subscribe{2, "sector.**"}, Nanos{0}).code, Errc::already_exists);
  EXPECT_EQ(router.apply(message::Publish{letter(0, 0, 4), "sector.7.alerts"}, Nanos{0}).count, 1U);
  EXPECT_EQ(polled(router, 2, Nanos{0}), Numbers{4});
  router.apply(message::Unsubscribe{2, "sector.**"}, Nanos{0});
  EXPECT_EQ(router.apply(message::Publish{letter(0, 0), "sector.7.a.alerts"}, Nanos{0}).count, 0U);
}

TEST(MessageRouter, AScatterIsCarriedOutByTheMesh) {
  auto router = router_of(small_router());
  const auto reply =
      router.apply(message::ScatterGather{0, {1, 2, 3}, 9, ms(500), 950'000}, Nanos{0});
  ASSERT_EQ(reply.scatters.size(), 1U);
  EXPECT_EQ(reply.scatters[0].targets, (std::vector<std::uint32_t>{1, 2, 3}));
  EXPECT_EQ(reply.scatters[0].window, ms(500));
  EXPECT_EQ(reply.scatters[0].rate_ppm_min, 950'000U);
  EXPECT_EQ(router.counters().sent, 0U);
}

// --- as every service ----------------------------------------------------------------------------

TEST(MessageRouter, StaysSoundWhateverItIsTold) {
  std::uint64_t acked = 0;
  std::uint64_t dead = 0;
  std::uint64_t received = 0;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    auto config = small_router();
    config.order = static_cast<MessageOrder>(seed % 3);
    config.ack = static_cast<MessageAck>(seed / 3 % 3);
    config.overflow = static_cast<MessageOverflow>(seed / 2 % 3);
    const std::uint64_t of = mesh::testing::seed() + seed;
    MessageRouter router(config, 7);
    for (const auto& one : message_trace(config, 400, of)) {
      router.apply(one.command, one.now);
      const auto sound = router.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << of;
      ticked(router, one.now);
    }
    acked += router.counters().acked;
    dead += router.counters().dead;
    received += router.counters().received;
  }
  EXPECT_GT(acked, 300U);
  EXPECT_GT(dead, 100U);
  EXPECT_GT(received, 100U);
}

// --- while the mesh lacks agents -----------------------------------------------------------------

constexpr message::Restrain kFromHigh{2, false, false};

TEST(MessageRouter, WhatIsKeptGoesInTheOrderOfSendingWhenItMay) {
  auto router = router_of(small_router());
  EXPECT_EQ(router.apply(message::Restrain{5}, ms(0)).code, Errc::invalid_argument);
  router.apply(letter(0, 1, 1), ms(0));
  router.apply(kFromHigh, ms(1));
  router.apply(letter(0, 1, 2), ms(1));
  router.apply(letter(0, 1, 3), ms(2));
  router.apply(letter(2, 1, 4), ms(3));
  router.apply(letter(0, 1, 5, 2), ms(4));
  EXPECT_EQ(polled(router, 1, ms(5)), (Numbers{5, 1})) << "what was sent before goes on";
  router.apply(message::Restrain{}, ms(6));
  EXPECT_EQ(polled(router, 1, ms(7)), (Numbers{2, 3, 4}));
  EXPECT_EQ(router.counters().parked, 3U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, WhatIsKeptForAnotherHostIsNotWaitedForByItsPair) {
  auto router = router_of(small_router());
  router.apply(resident(4, false), ms(0));
  router.apply(kFromHigh, ms(0));
  router.apply(letter(0, 4, 1), ms(0));
  const auto asked = router.apply(message::Request{letter(1, 0, 2, 3), ms(900)}, ms(0)).id;
  EXPECT_TRUE(ticked(router, ms(1)).transfers.empty());
  message::Respond answer{letter(0, 4, 3)};  // of the pair that has one kept
  answer.send.correlation = asked.number;
  router.apply(answer, ms(1));
  const auto first = ticked(router, ms(2)).transfers;
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].payload, 3U);
  EXPECT_EQ(first[0].place.sequence, 1U);
  router.apply(message::Restrain{}, ms(3));
  const auto second = ticked(router, ms(4)).transfers;
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].place.sequence, 2U);
}

TEST(MessageRouter, WhatIsKeptExpiresInItsTime) {
  auto router = router_of(small_router());
  router.apply(kFromHigh, ms(0));
  auto one = letter(0, 1, 1);
  one.ttl = ms(50);
  const auto number = router.apply(one, ms(0)).id.number;
  const auto news = ticked(router, ms(50)).news;
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].kind, MessageNotice::expired);
  EXPECT_EQ(news[0].number, number);
  EXPECT_EQ(router.parked(), 0U);
  EXPECT_TRUE(router.verify());
}

TEST(MessageRouter, WhatIsKeptStandsAfterARestart) {
  auto router = router_of(small_router());
  router.apply(kFromHigh, ms(0));
  for (std::uint64_t i = 1; i <= 3; ++i) router.apply(letter(0, 1, i), ms(0));
  auto restored = MessageRouter::restore(small_router(), router.snapshot());
  ASSERT_TRUE(restored) << restored.error().sentence;
  EXPECT_EQ(restored->parked(), 3U);
  restored->apply(message::Restrain{}, ms(1));
  EXPECT_EQ(polled(*restored, 1, ms(1)), (Numbers{1, 2, 3}));
}

TEST(MessageRouter, ReplaysAndSurvivesDeathsAndDamage) {
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    auto config = small_router();
    config.order = static_cast<MessageOrder>(seed);
    config.overflow = static_cast<MessageOverflow>(seed);
    expect_replays<MessageRouter>(config, message_trace(config, 250, mesh::testing::seed() + seed));
  }
  CrashSweep<MessageRouter> sweep(small_router(), message_trace(small_router(), 20, 3));
  EXPECT_GT(sweep.run(4), 50U);
  auto config = small_router();
  config.pairs_max = 8;
  MessageRouter router(config);
  for (const auto& one : message_trace(config, 12, 5)) router.apply(one.command, one.now);
  expect_damage_found(router, config);
}

TEST(MessageRouter, AllocatesNothingButWhatItAnswers) {
  auto router = router_of(small_router());
  const auto round = [&](Nanos now) {
    const std::uint64_t number = router.apply(letter(0, 1), now).id.number;
    router.apply(message::Poll{1, 1}, now);
    router.apply(message::Ack{1, number}, now);
  };
  round(Nanos{0});
  MessageRouterActions actions;
  router.tick(ms(1), actions);
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 100; ++i) round(ms(2 + i));
  router.tick(ms(200), actions);
  EXPECT_LE(mesh::testing::allocation_count() - before, 100U) << "the list of each poll";
}

}  // namespace of_message_rules_test
}  // namespace mesh::tasks
