// Bad input that only a full table, a limit or a state makes bad: refused once each, with nothing
// changed. What is bad by itself stands in the test of each service.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/coordination/federation_router.hpp"
#include "tests/engine/coordination/outbox_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"

namespace mesh::coordination {
namespace of_service_refusals_test {

using testing::bytes;
using testing::expect_all_refused;
using testing::seconds;

// --- exactly-once queue ------------------------------------------------------------------------

using Queue = ExactlyOnceQueue;

once::Enqueue keyed(std::string id, std::string key) {
  auto one = testing::task(std::move(id));
  one.affinity_key = std::move(key);
  return one;
}

TEST(QueueRefusals, OfWhatIsBeyondALimit) {
  Queue queue(testing::small_queue());
  queue.apply(testing::task("a"), Nanos{0});
  const auto fence = queue.apply(testing::by("w"), Nanos{0}).tasks.at(0).fence;
  auto brief = testing::task("b");
  brief.ttl = Nanos{-1};
  auto endless = testing::task("b");
  endless.ttl = seconds(31 * 86'400.0);
  auto distant = testing::task("b");
  distant.delay = seconds(31 * 86'400.0);
  const once::Bytes large(1'001);
  expect_all_refused<Queue>(
      queue, {{"oversize key", keyed("b", std::string(129, 'x')), Errc::invalid_id},
              {"key that is not UTF-8", keyed("b", "\xff"), Errc::invalid_id},
              {"ttl below zero", brief},
              {"ttl beyond 30 days", endless},
              {"delay beyond 30 days", distant},
              {"oversize result", once::Complete{"a", fence, large}},
              {"nack into the past", once::Nack{"a", fence, false, Nanos{-1}}},
              {"nack beyond 12 h", once::Nack{"a", fence, false, seconds(12 * 3'600.0 + 1)}},
              {"renewal below 10 ms", once::Renew{"a", fence, Nanos{9'999'999}}},
              {"redrive of nothing", once::Redrive{"z", 1}, Errc::not_found},
              {"purge of nothing", once::Purge{"z"}, Errc::not_found},
              {"oversize worker", testing::by(std::string(129, 'w')), Errc::invalid_id}});
}

TEST(QueueRefusals, OfWhatItsTablesHaveNoPlaceFor) {
  auto config = testing::small_queue();
  config.capacity = 2;
  config.workers_max = 2;
  Queue queue(config);
  for (const auto* worker : {"w1", "w2"}) queue.apply(testing::by(worker), Nanos{0});
  for (const auto* id : {"a", "b"}) queue.apply(testing::task(id), Nanos{0});
  expect_all_refused<Queue>(queue, {{"a third task", testing::task("c"), Errc::capacity},
                                    {"a third worker", testing::by("w3"), Errc::capacity}});
  config = testing::small_queue();
  config.dedup_mode = DedupMode::producer_seq;
  config.producers_max = 1;
  Queue of_producers(config);
  const auto from = [](std::uint64_t producer) {
    auto one = testing::task("of " + std::to_string(producer));
    one.producer = producer;
    one.sequence = 1;
    return one;
  };
  EXPECT_EQ(of_producers.apply(from(1), Nanos{0}).code, Errc::ok);
  expect_all_refused<Queue>(of_producers, {{"a second producer", from(2), Errc::capacity}});
}

TEST(QueueRefusals, OfWhatItsStoreHasNoBytesFor) {
  auto config = testing::small_queue();
  config.store_bytes = 4'000;
  Queue queue(config);
  const std::string payload(900, 'x');
  int taken = 0;
  while (queue.apply(testing::task("t" + std::to_string(taken), payload), Nanos{0}).code ==
         Errc::ok) {
    ++taken;
  }
  ASSERT_GT(taken, 0);
  ASSERT_LT(taken, 5) << "of 4,000 bytes";
  expect_all_refused<Queue>(queue,
                            {{"no bytes left", testing::task("z", payload), Errc::capacity}});
  const auto held = queue.apply(testing::by("w"), Nanos{0}).tasks.at(0);
  EXPECT_EQ(queue.apply(testing::done(held.id, held.fence), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(queue.apply(testing::task("z", payload), Nanos{0}).code, Errc::ok) << "its bytes";
}

TEST(QueueRefusals, OfTheCompletionOfATaskThatIsDead) {
  auto config = testing::small_queue();
  config.attempts_max = 1;
  Queue queue(config);
  queue.apply(testing::task("a"), Nanos{0});
  const auto held = queue.apply(testing::by("w"), Nanos{0}).tasks.at(0);
  ExactlyOnceQueueActions actions;
  queue.tick(seconds(30), actions);  // its lease runs out, and with it its only attempt
  ASSERT_EQ(queue.inspect("a").reason, DeathReason::attempts);
  const Nanos now = seconds(31);
  expect_all_refused<Queue>(queue, {{"though the fence is its last", testing::done("a", held.fence),
                                     Errc::wrong_state, now}});
  queue.apply(once::Purge{"a"}, now);
  expect_all_refused<Queue>(
      queue, {{"purged", testing::done("a", held.fence), Errc::wrong_state, now},
              {"redriven once it is gone", once::Redrive{"a", 1}, Errc::wrong_state, now}});
}

// --- outbox ------------------------------------------------------------------------------------

TEST(OutboxRefusals, OfWhatItsTablesHaveNoPlaceFor) {
  auto config = testing::small_outbox();
  config.workers_max = 1;
  config.cursors_max = 1;
  config.entities_max = 1;
  Outbox box = testing::with_worker(config);
  box.apply(outbox::AddCursor{"c"}, Nanos{0});
  box.apply(outbox::Commit{{{"e", 0, bytes("v"), false}}, {}}, Nanos{0});
  expect_all_refused<Outbox>(
      box,
      {{"a second worker", outbox::AddWorker{"relay-2", 2}, Errc::capacity},
       {"a second cursor", outbox::AddCursor{"d"}, Errc::capacity},
       {"a second entity", outbox::Commit{{{"f", 0, bytes("v"), false}}, {}}, Errc::capacity}});
  EXPECT_EQ(box.apply(outbox::Commit{{{"e", 1, bytes("w"), false}}, {}}, Nanos{0}).code, Errc::ok)
      << "the one that is there has its place";
}

TEST(OutboxRefusals, OfWhatIsBeyondALimit) {
  auto config = testing::small_outbox();
  config.commit_items_max = 2;
  Outbox box(config);
  const std::string large(129, 'x');
  const outbox::Append one{"k", "t", {}, {}, 0};
  expect_all_refused<Outbox>(
      box,
      {{"three items of two", outbox::Commit{{}, {one, one, one}}},
       {"puts and appends together",
        outbox::Commit{{{"e", 0, {}, false}, {"f", 0, {}, false}}, {one}}},
       {"oversize entity", outbox::Commit{{{large, 0, {}, false}}, {}}, Errc::invalid_id},
       {"entity that is not UTF-8", outbox::Commit{{{"\xff", 0, {}, false}}, {}}, Errc::invalid_id},
       {"oversize topic", outbox::AppendEvent{"k", large, {}}, Errc::invalid_id},
       {"oversize worker", outbox::AddWorker{large, 1}, Errc::invalid_id},
       {"oversize cursor", outbox::AddCursor{large}, Errc::invalid_id},
       {"topic that is not UTF-8", outbox::SetTopic{"\xff", 1}, Errc::invalid_id}});
  EXPECT_EQ(box.apply(outbox::Commit{{{"e", 0, {}, false}}, {one}}, Nanos{0}).code, Errc::ok);
}

TEST(OutboxRefusals, OfQuestionsAboutWhatIsNotThere) {
  Outbox box = testing::with_worker(testing::small_outbox());
  box.apply(outbox::AddCursor{"c"}, Nanos{0});
  EXPECT_EQ(box.read("c", 1, 9).error().code, Errc::invalid_argument) << "one partition";
  EXPECT_EQ(box.lag("c", 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(box.lag("z", 0).error().code, Errc::not_found);
  EXPECT_EQ(box.event(1).error().code, Errc::not_found);
  EXPECT_EQ(box.entity("e").error().code, Errc::not_found);
  EXPECT_EQ(box.view(7).appended, 0U);
}

// --- federation --------------------------------------------------------------------------------

using Router = FederationRouter;
using federation::AddNetwork;

AddNetwork of(std::string name, std::uint64_t quota = 100) {
  return {std::move(name), 1, 1'000'000, quota, seconds(60), 0};
}
FederationConfig wide() {
  FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.loans_max = 1;
  return config;
}

TEST(FederationRefusals, OfReportsThatMakeNoSense) {
  Router router(wide());
  router.apply(of("a"), Nanos{0});
  router.apply(of("b"), Nanos{0});
  const auto id = router.apply(federation::Submit{0, 0, 1}, Nanos{0}).id;
  ASSERT_TRUE(router.apply(federation::DispatchNext{}, Nanos{0}).any);
  using federation::Complete;
  const auto no_outcome = static_cast<RequestOutcome>(4);
  expect_all_refused<Router>(
      router, {{"no such outcome", Complete{id, no_outcome, Nanos{0}}},
               {"a wait below zero", Complete{id, RequestOutcome::rate_limited, Nanos{-1}}},
               {"by another network", Complete{id, RequestOutcome::ok, Nanos{0}, 1}},
               {"cancelled on its way", federation::Cancel{id}, Errc::wrong_state}});
  EXPECT_EQ(router.apply(Complete{id, RequestOutcome::ok, Nanos{0}}, Nanos{1}).code, Errc::ok);
  expect_all_refused<Router>(
      router,
      {{"a second time", Complete{id, RequestOutcome::ok, Nanos{0}}, Errc::wrong_state, Nanos{1}},
       {"cancelled once answered", federation::Cancel{id}, Errc::wrong_state, Nanos{1}}});
  ASSERT_TRUE(router.apply(federation::TakeCompletion{}, Nanos{1}).any);
  expect_all_refused<Router>(
      router, {{"once it is taken", Complete{id, RequestOutcome::ok, Nanos{0}}, Errc::not_found,
                Nanos{1}}});
}

TEST(FederationRefusals, OfWhatItHasNoPlaceForAndOfImpossibleNetworks) {
  Router router(wide());
  for (const auto* name : {"a", "b", "c"}) router.apply(of(name), Nanos{0});
  ASSERT_EQ(router.apply(federation::Borrow{0, 1, 5, 0}, Nanos{0}).granted, 5U);
  expect_all_refused<Router>(
      router, {{"a second loan", federation::Borrow{1, 2, 5, 0}, Errc::capacity},
               {"unknown borrower", federation::Borrow{0, 9, 1, 0}, Errc::not_found},
               {"oversize name", of(std::string(129, 'x')), Errc::invalid_id},
               {"a quota beyond 32 bits", of("d", std::uint64_t{1} << 32), Errc::invalid_config},
               {"a window below zero", AddNetwork{"d", 1, 1, 1, Nanos{-1}}, Errc::invalid_config}});
}

TEST(FederationRefusals, NamesEachFieldThatIsOutOfRange) {
  const auto refused = [](std::string_view field, auto&& change) {
    FederationConfig config;
    change(config);
    const auto status = Router::validate(config);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, Errc::invalid_config);
    EXPECT_NE(status.error().sentence.find(field), std::string::npos) << status.error().sentence;
  };
  refused("requester_share_ppm", [](auto& c) { c.requester_share_ppm = 0; });
  refused("requester_share_ppm", [](auto& c) { c.requester_share_ppm = 1'000'001; });
  refused("donate_ppm", [](auto& c) { c.donate_ppm = 1'000'001; });
  refused("min_trust_ppm", [](auto& c) { c.min_trust_ppm = 1'000'001; });
  refused("coalesce_window_ns", [](auto& c) { c.coalesce_window_ns = Nanos{-1}; });
  refused("breaker_open_ns", [](auto& c) { c.breaker_open_ns = Nanos{0}; });
  refused("networks_max", [](auto& c) { c.networks_max = 0; });
  refused("loans_max", [](auto& c) { c.loans_max = 65'537; });
  refused("idle_after_ns", [](auto& c) { c.idle_after_ns = Nanos{-1}; });
  refused("hedge_ppm", [](auto& c) { c.hedge_ppm = 1'000'001; });
  refused("credit_expiry_ns", [](auto& c) { c.credit_expiry_ns = Nanos{0}; });
  refused("grants_max", [](auto& c) { c.grants_max = 0; });
}

}  // namespace of_service_refusals_test
}  // namespace mesh::coordination
