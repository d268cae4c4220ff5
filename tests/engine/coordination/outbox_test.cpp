#include "engine/coordination/outbox.hpp"

#include <cmath>
#include <map>

#include "engine/coordination/blocks/jump_hash.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/outbox_kit.hpp"

namespace mesh::coordination {
namespace of_outbox_test {

using outbox::AppendEvent;
using outbox::Commit;
using outbox::Confirm;
using outbox::Fail;
using testing::bytes;
using testing::event;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::ms;
using testing::small_outbox;
using testing::tick;
using testing::with_worker;

// --- goldens -----------------------------------------------------------------------------------

TEST(Outbox, RoutesAKeyByItsGoldenHash) {
  const auto [inputs, expected] = golden("outbox", "partition_of_key");
  Json actual = Json::array();
  for (const std::uint64_t hash : inputs.at("key_hashes")) {
    actual.push_back(jump_hash(hash, inputs.at("partitions")));
  }
  EXPECT_TRUE(matches(expected, actual));
  Outbox box(OutboxConfig::preset("agent-event-bus").value());
  for (const std::string key : {"a", "agent-0x1234", "b"}) {
    const auto reply = box.apply(event(key), Nanos{0});
    EXPECT_EQ(Outbox::partition_of(reply.event), box.partition_of(key));
    EXPECT_EQ(box.partition_of(key), jump_hash(checksum(bytes(key)), 16));
  }
}

TEST(Outbox, DispatchesInTheGoldenOrder) {
  const auto [inputs, expected] = golden("outbox", "dispatch_order");
  for (const auto& [mode, order] : expected.items()) {
    SCOPED_TRACE(mode);
    OutboxConfig config = small_outbox();
    config.head_of_line = mode == "none"        ? HeadOfLine::none
                          : mode == "block_key" ? HeadOfLine::block_key
                                                : HeadOfLine::block_partition;
    Outbox box = with_worker(config);
    std::map<std::uint64_t, std::string> names;
    for (const auto& row : inputs.at("events_id_key")) {
      names[box.apply(event(row.at(1)), Nanos{0}).event] = row.at(0);
    }
    int left = inputs.at("e1_fails");
    Json actual = Json::array();
    for (int i = 0; i < 8; ++i) {
      const Nanos now = ms(40'000 * i);
      for (const auto& delivery : tick(box, now)) {
        actual.push_back(names[delivery.event]);
        if (names[delivery.event] == "e1" && left-- > 0) {
          box.apply(Fail{delivery.event, delivery.fence, false, "no"}, now);
        } else {
          box.apply(Confirm{delivery.event, delivery.fence}, now);
        }
      }
    }
    EXPECT_TRUE(matches(order, actual));
    EXPECT_EQ(box.counters().confirmed, 3U);
  }
}

TEST(Outbox, WaitsTheGoldenTimesBetweenAttempts) {
  const auto [inputs, expected] = golden("outbox", "retry_delays");
  for (const auto& [name, delays] : expected.items()) {
    SCOPED_TRACE(name);
    OutboxConfig config = small_outbox();
    config.attempts_max = 0;
    config.retry_base_ns = ms(inputs.at("base_ms"));
    config.retry_cap_ns = ms(inputs.at("cap_ms"));
    config.retry_multiplier = inputs.at("mult");
    config.retry_jitter = name == "no_jitter" ? RetryJitter::none : RetryJitter::decorrelated;
    Outbox box = with_worker(config, inputs.at("seed"));
    box.apply(event("a"), Nanos{0});
    Nanos now{0};
    for (const double delay : delays) {
      const auto sent = tick(box, now);
      ASSERT_EQ(sent.size(), 1U);
      const auto reply = box.apply(Fail{sent[0].event, sent[0].fence, false, "no"}, now);
      EXPECT_NEAR(static_cast<double>(reply.retry_after.count()) * 1e-6, delay, 1e-4);
      EXPECT_TRUE(tick(box, now + reply.retry_after - Nanos{1}).empty()) << "not before";
      now += reply.retry_after + ms(1);
    }
  }
}

TEST(Outbox, BuriesAfterTheLastAttemptAndNotAfterTheNext) {
  const auto [inputs, expected] = golden("outbox", "dead_letter_after_attempts_max");
  OutboxConfig config = small_outbox();
  config.attempts_max = inputs.at("attempts_max");
  Outbox box = with_worker(config);
  const std::uint64_t id = box.apply(event("a"), Nanos{0}).event;
  Json actual = Json::array();
  for (int i = 0; i < 5; ++i) {
    for (const auto& sent : tick(box, ms(60'000 * i))) {
      const auto reply = box.apply(Fail{sent.event, sent.fence, false, i == 0 ? "first" : "later"},
                                   ms(60'000 * i));
      actual.push_back({sent.attempt, to_string(reply.state)});
    }
  }
  EXPECT_TRUE(matches(expected, actual));
  const auto dead = box.dead(9);
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].event, id);
  EXPECT_EQ(dead[0].attempts, 3U);
  EXPECT_EQ(dead[0].first_error, "first");
  EXPECT_EQ(dead[0].last_error, "later");
}

// --- refusals ----------------------------------------------------------------------------------

TEST(Outbox, RefusesBadInputAndChangesNothing) {
  Outbox box = with_worker(small_outbox());
  box.apply(Commit{{{"order-1", 0, bytes("v1"), false}}, {}}, Nanos{0});
  const std::uint64_t id = box.apply(event("a"), Nanos{0}).event;
  const auto sent = tick(box, Nanos{0}).at(0);
  box.apply(outbox::AddCursor{"c"}, Nanos{0});
  const std::string big(129, 'x');
  const outbox::Bytes huge(1'001);
  testing::expect_all_refused<Outbox>(
      box,
      {{"nothing at all", Commit{}, Errc::invalid_argument},
       {"empty key", event(""), Errc::invalid_id},
       {"oversize key", event(big), Errc::invalid_id},
       {"key that is not UTF-8", event("\xff"), Errc::invalid_id},
       {"empty topic", AppendEvent{"a", "", {}}, Errc::invalid_id},
       {"oversize payload", AppendEvent{"a", "t", huge}, Errc::invalid_argument},
       {"oversize metadata", Commit{{}, {{"a", "t", {}, huge, 0}}}, Errc::invalid_argument},
       {"oversize value", Commit{{{"e", 0, huge, false}}, {}}, Errc::invalid_argument},
       {"empty entity", Commit{{{"", 0, {}, false}}, {}}, Errc::invalid_id},
       {"one entity twice", Commit{{{"e", 0, {}, false}, {"e", 0, {}, false}}, {}},
        Errc::invalid_argument},
       {"another version", Commit{{{"order-1", 7, {}, false}}, {}}, Errc::conflict},
       {"it is there already", Commit{{{"order-1", 0, {}, false}}, {}}, Errc::conflict},
       {"time below zero", event("a"), Errc::invalid_argument, Nanos{-1}},
       {"confirmation of nothing", Confirm{99, 1}, Errc::not_found},
       {"confirmation with a fence to come", Confirm{id, sent.fence + 1}, Errc::stale_token},
       {"failure of nothing", Fail{99, 1, false, ""}, Errc::not_found},
       {"an error that is not UTF-8", Fail{id, sent.fence, false, "\xff"}, Errc::invalid_argument},
       {"a worker again", outbox::AddWorker{"relay-1", 1}, Errc::already_exists},
       {"a worker without a name", outbox::AddWorker{"", 1}, Errc::invalid_id},
       {"heartbeat of nobody", outbox::Heartbeat{"z"}, Errc::not_found},
       {"drain of nobody", outbox::Drain{"z"}, Errc::not_found},
       {"removal of nobody", outbox::RemoveWorker{"z"}, Errc::not_found},
       {"replay of nothing", outbox::Replay{99, 1}, Errc::not_found},
       {"replay of what lives", outbox::Replay{id, 1}, Errc::wrong_state},
       {"purge of what lives", outbox::Purge{id}, Errc::wrong_state},
       {"purge of nothing", outbox::Purge{99}, Errc::not_found},
       {"a cursor again", outbox::AddCursor{"c"}, Errc::already_exists},
       {"a cursor without a name", outbox::AddCursor{""}, Errc::invalid_id},
       {"advance of nobody", outbox::Advance{"z", 0, 1}, Errc::not_found},
       {"advance elsewhere", outbox::Advance{"c", 1, 1}, Errc::invalid_argument},
       {"advance beyond the end", outbox::Advance{"c", 0, 99}, Errc::invalid_argument},
       {"removal of no cursor", outbox::RemoveCursor{"z"}, Errc::not_found},
       {"schema 0", outbox::SetTopic{"t", 0}, Errc::invalid_argument},
       {"topic without a name", outbox::SetTopic{"", 1}, Errc::invalid_id}});
}

TEST(Outbox, NamesTheFieldThatIsOutOfRange) {
  const auto judged = [](auto change) {
    OutboxConfig config;
    change(config);
    const auto status = Outbox::validate(config);
    return status ? std::string("valid") : status.error().sentence;
  };
  using ::testing::HasSubstr;
  EXPECT_THAT(judged([](auto& c) { c.partition_count = 0; }), HasSubstr("partition_count"));
  EXPECT_THAT(judged([](auto& c) { c.partition_count = 1'025; }), HasSubstr("partition_count"));
  EXPECT_THAT(judged([](auto& c) { c.retry_base_ns = Nanos{0}; }), HasSubstr("retry_base_ns"));
  EXPECT_THAT(judged([](auto& c) { c.retry_multiplier = std::nan(""); }),
              HasSubstr("retry_multiplier"));
  EXPECT_THAT(judged([](auto& c) { c.retention_ns = Nanos{-1}; }), HasSubstr("retention_ns"));
  EXPECT_THAT(judged([](auto& c) { c.confirm_timeout_ns = Nanos::max(); }),
              HasSubstr("confirm_timeout_ns"));
  EXPECT_THAT(judged([](auto& c) { c.events_capacity = UINT32_MAX; }),
              HasSubstr("events_capacity"));
  EXPECT_EQ(judged([](auto& c) { c.retention_ns = kForever; }), "valid");
}

TEST(Outbox, HasThePresetsOfItsSpecification) {
  const auto preset = [](std::string_view name) { return OutboxConfig::preset(name).value(); };
  EXPECT_EQ(preset("agent-event-bus").partition_count, 16U);
  EXPECT_EQ(preset("audit-log").partition_count, 1U);
  EXPECT_EQ(preset("audit-log").attempts_max, 0U);
  EXPECT_EQ(preset("audit-log").retention_ns, kForever);
  EXPECT_EQ(preset("audit-log").head_of_line, HeadOfLine::block_partition);
  EXPECT_EQ(preset("high-volume-telemetry").partition_count, 64U);
  EXPECT_EQ(preset("high-volume-telemetry").burst_max, 1'000U);
  EXPECT_EQ(preset("high-volume-telemetry").head_of_line, HeadOfLine::none);
  EXPECT_TRUE(preset("low-latency").push);
  EXPECT_EQ(preset("low-latency").burst_max, 16U);
}

TEST(Outbox, RefusesWhatIsBackedUpAndSaysWhenToAskAgain) {
  OutboxConfig config = small_outbox();
  config.pending_max = 2;
  Outbox box(config);
  box.apply(event("a"), Nanos{0});
  box.apply(event("b"), Nanos{0});
  const auto full = box.apply(event("c"), Nanos{0});
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after, ms(1));
  EXPECT_EQ(box.apply(Commit{{{"e", 0, {}, false}}, {{"c", "t", {}, {}, 0}}}, Nanos{0}).code,
            Errc::capacity);
  EXPECT_FALSE(box.entity("e")) << "the state went in without its event";
}

TEST(Outbox, RefusesWhatTheLogHasNoRoomForUntilItIsCompacted) {
  OutboxConfig config = small_outbox();
  config.events_capacity = 4;
  config.pending_max = 4;
  config.dead_max = 4;
  config.retention_ns = Nanos{0};
  config.compaction_interval_ns = ms(50);
  Outbox box = with_worker(config);
  tick(box, Nanos{0});
  for (const char* key : {"a", "b", "c", "d"}) box.apply(event(key), Nanos{0});
  for (const auto& sent : tick(box, ms(5))) {
    box.apply(Confirm{sent.event, sent.fence}, ms(5));
  }
  const auto full = box.apply(event("a"), ms(10));
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after, ms(40)) << "at the next compaction";
  tick(box, ms(50));
  EXPECT_EQ(box.apply(event("a"), ms(50)).code, Errc::ok);
}

// --- commits -----------------------------------------------------------------------------------

TEST(Outbox, CommitsStateAndEventsTogetherOrNeither) {
  Outbox box = with_worker(small_outbox());
  const Commit first{{{"order-1", 0, bytes("new"), false}, {"stock", 0, bytes("9"), false}},
                     {{"order-1", "order.created", bytes("x"), bytes("m"), 3}}};
  const auto done = box.apply(first, Nanos{5});
  EXPECT_EQ(done.code, Errc::ok);
  EXPECT_EQ(box.entity("order-1")->version, done.version);
  const auto shown = box.event(done.event).value();
  EXPECT_EQ(shown.key, "order-1");
  EXPECT_EQ(shown.topic, "order.created");
  EXPECT_EQ(shown.schema, 3U);
  EXPECT_EQ(shown.metadata, bytes("m"));
  const Commit second{{{"stock", done.version, bytes("8"), false}, {"order-1", 99, {}, false}},
                      {{"order-1", "order.changed", {}, {}, 0}}};
  const auto refused = box.apply(second, Nanos{6});
  EXPECT_EQ(refused.code, Errc::conflict);
  EXPECT_EQ(refused.index, 1U) << "the put whose version is another";
  EXPECT_EQ(refused.version, done.version);
  EXPECT_EQ(box.entity("stock")->value, bytes("9")) << "half a commit";
  EXPECT_EQ(box.counters().appended, 1U);
}

TEST(Outbox, GivesNoVersionTwiceAlsoAfterAnErase) {
  Outbox box(small_outbox());
  const auto first = box.apply(Commit{{{"e", 0, bytes("1"), false}}, {}}, Nanos{0}).version;
  EXPECT_EQ(box.apply(Commit{{{"e", first, {}, true}}, {}}, Nanos{0}).code, Errc::ok);
  EXPECT_FALSE(box.entity("e"));
  EXPECT_EQ(box.apply(Commit{{{"e", 0, bytes("2"), false}}, {}}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(box.apply(Commit{{{"e", first, bytes("3"), false}}, {}}, Nanos{0}).code, Errc::conflict)
      << "who read the first life writes over the second";
  EXPECT_EQ(box.apply(Commit{{{"e", outbox::kAnyVersion, bytes("3"), false}}, {}}, Nanos{0}).code,
            Errc::ok);
}

TEST(Outbox, TakesTheSchemaOfItsTopic) {
  Outbox box(small_outbox());
  box.apply(outbox::SetTopic{"t", 7}, Nanos{0});
  const auto id = box.apply(AppendEvent{"k", "t", {}}, Nanos{0}).event;
  box.apply(outbox::SetTopic{"t", 8}, Nanos{0});
  EXPECT_EQ(box.event(id)->schema, 7U) << "the one at the time of the append";
  EXPECT_EQ(box.apply(outbox::SetTopic{"u", 1}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(box.apply(outbox::SetTopic{"v", 1}, Nanos{0}).code, Errc::capacity);
}

TEST(Outbox, AppendsWithoutAllocating) {
  Outbox box(OutboxConfig::preset("agent-event-bus").value());
  const Outbox::Command command =
      AppendEvent{"agent-0x1234-with-a-long-name", "task.completed", outbox::Bytes(256)};
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 100; ++i) box.apply(command, Nanos{i});
  EXPECT_EQ(mesh::testing::allocation_count(), before);
}

// --- relay -------------------------------------------------------------------------------------

TEST(Outbox, DeliversOnceAndCountsIt) {
  Outbox box(OutboxConfig::preset("agent-event-bus").value());
  box.apply(outbox::AddWorker{"relay-1", 1}, Nanos{0});
  box.apply(event("agent-0x1234"), Nanos{0});
  const auto sent = tick(box, Nanos{0});
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(box.apply(Confirm{sent[0].event, sent[0].fence}, ms(3)).state, EventState::confirmed);
  EXPECT_EQ(box.apply(Confirm{sent[0].event, sent[0].fence}, ms(4)).code, Errc::ok)
      << "the same report again";
  EXPECT_EQ(box.counters().confirmed, 1U);
  EXPECT_EQ(box.view(Outbox::partition_of(sent[0].event)).pending, 0U);
  EXPECT_TRUE(tick(box, ms(500)).empty());
  EXPECT_EQ(box.latency(Outbox::partition_of(sent[0].event)).total(), 1U);
}

TEST(Outbox, CountsAnAttemptOnceThoughItFails) {
  OutboxConfig config = small_outbox();
  Outbox box = with_worker(config);
  const auto id = box.apply(event("a"), Nanos{0}).event;
  for (std::uint32_t attempt = 1; attempt <= 8; ++attempt) {
    const auto sent = tick(box, ms(100'000) * attempt);
    ASSERT_EQ(sent.size(), 1U);
    EXPECT_EQ(sent[0].attempt, attempt);
    box.apply(Fail{id, sent[0].fence, false, "no"}, ms(100'000) * attempt);
  }
  EXPECT_EQ(box.dead(9).size(), 1U) << "eight attempts, one dead letter";
}

TEST(Outbox, SendsAgainWhatIsNotConfirmedInTime) {
  Outbox box = with_worker(small_outbox());
  const auto id = box.apply(event("a"), Nanos{0}).event;
  const auto first = tick(box, Nanos{0}).at(0);
  EXPECT_TRUE(tick(box, ms(29'999)).empty());
  EXPECT_TRUE(tick(box, ms(30'000)).empty()) << "it waits as after a failure";
  const auto second = tick(box, ms(30'100));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second[0].attempt, 2U);
  EXPECT_EQ(box.apply(Confirm{id, first.fence}, ms(30'100)).code, Errc::stale_token);
  EXPECT_EQ(box.apply(Confirm{id, second[0].fence}, ms(30'100)).code, Errc::ok);
}

TEST(Outbox, LeavesALateReportOfAWorkerThatIsGoneStale) {
  Outbox box = with_worker(small_outbox());
  const auto id = box.apply(event("a"), Nanos{0}).event;
  const auto first = tick(box, Nanos{0}).at(0);
  box.apply(outbox::AddWorker{"relay-2", 2}, Nanos{0});
  EXPECT_EQ(box.apply(outbox::StationClosed{1}, ms(5)).count, 1U);
  const auto second = tick(box, ms(5));
  ASSERT_EQ(second.size(), 1U) << "at once, by the other";
  EXPECT_NE(second[0].worker, first.worker);
  EXPECT_EQ(box.apply(Confirm{id, first.fence}, ms(6)).code, Errc::stale_token);
  EXPECT_EQ(box.apply(Confirm{id, second[0].fence}, ms(6)).code, Errc::ok);
}

TEST(Outbox, TakesAWorkerThatIsSilentForDead) {
  OutboxConfig config = small_outbox();
  config.heartbeat_timeout_ns = ms(100);
  Outbox box = with_worker(config);
  box.apply(event("a"), Nanos{0});
  EXPECT_EQ(tick(box, Nanos{0}).size(), 1U);
  box.apply(outbox::Heartbeat{"relay-1"}, ms(60));
  tick(box, ms(150));
  EXPECT_EQ(box.owner(0), 0U);
  tick(box, ms(160));
  EXPECT_EQ(box.owner(0), Outbox::kNone);
  EXPECT_EQ(box.counters().taken_back, 1U);
  EXPECT_EQ(box.apply(outbox::Heartbeat{"relay-1"}, ms(161)).code, Errc::not_found);
}

TEST(Outbox, LetsADrainedWorkerFinishAndGivesItNothing) {
  Outbox box = with_worker(small_outbox());
  const auto id = box.apply(event("a"), Nanos{0}).event;
  const auto sent = tick(box, Nanos{0}).at(0);
  box.apply(outbox::Drain{"relay-1"}, ms(1));
  box.apply(event("b"), ms(1));
  EXPECT_TRUE(tick(box, ms(2)).empty());
  EXPECT_EQ(box.apply(Confirm{id, sent.fence}, ms(3)).code, Errc::ok);
}

TEST(Outbox, MovesFewPartitionsWhenAWorkerComes) {
  OutboxConfig config = OutboxConfig::preset("high-volume-telemetry").value();
  Outbox box(config);
  for (const char* name : {"w1", "w2", "w3"}) box.apply(outbox::AddWorker{name, 1}, Nanos{0});
  std::vector<std::uint32_t> before;
  for (std::uint32_t p = 0; p < 64; ++p) before.push_back(box.owner(p));
  const auto added = box.apply(outbox::AddWorker{"w4", 1}, Nanos{0}).index;
  std::size_t moved = 0;
  for (std::uint32_t p = 0; p < 64; ++p) {
    if (box.owner(p) == before[p]) continue;
    ++moved;
    EXPECT_EQ(box.owner(p), added) << "from one old worker to another";
  }
  EXPECT_GT(moved, 4U);
  EXPECT_LT(moved, 32U) << "about a quarter is the new one's";
}

TEST(Outbox, KeepsAKeyBehindItsDeadOnlyWhenAsked) {
  for (const bool halts : {false, true}) {
    OutboxConfig config = small_outbox();
    config.dead_halts_key = halts;
    Outbox box = with_worker(config);
    const auto first = box.apply(event("a"), Nanos{0}).event;
    const auto second = box.apply(event("a"), Nanos{0}).event;
    const auto sent = tick(box, Nanos{0}).at(0);
    EXPECT_EQ(box.apply(Fail{first, sent.fence, true, "never"}, ms(1)).state, EventState::dead);
    const auto next = tick(box, ms(2));
    EXPECT_EQ(next.size(), halts ? 0U : 1U);
    if (!halts) continue;
    EXPECT_EQ(box.apply(outbox::Replay{first, 1}, ms(3)).count, 1U);
    const auto again = tick(box, ms(4));
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].event, first) << "the same id, before its key's others";
    EXPECT_EQ(again[0].attempt, 1U) << "attempts start anew";
    box.apply(Confirm{first, again[0].fence}, ms(5));
    EXPECT_EQ(tick(box, ms(6)).at(0).event, second);
  }
}

TEST(Outbox, StopsTheKeyRatherThanDropWhenTheDeadHaveNoPlace) {
  OutboxConfig config = small_outbox();
  config.dead_max = 1;
  Outbox box = with_worker(config);
  const auto a = box.apply(event("a"), Nanos{0}).event;
  const auto b = box.apply(event("b"), Nanos{0}).event;
  box.apply(event("b", "next"), Nanos{0});
  for (const auto& sent : tick(box, Nanos{0})) {
    box.apply(Fail{sent.event, sent.fence, true, "never"}, Nanos{0});
  }
  EXPECT_EQ(box.event(a)->state, EventState::dead);
  EXPECT_EQ(box.event(b)->state, EventState::stuck);
  EXPECT_TRUE(tick(box, ms(5)).empty()) << "the next of b must not pass it";
  std::size_t told = 0;
  box.events().after(0, [&](const EventRecord& one) {
    told += one.kind == static_cast<std::uint16_t>(Outbox::Event::dead_full) ? 1U : 0U;
  });
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(box.apply(outbox::Purge{a}, ms(6)).code, Errc::ok);
  EXPECT_EQ(box.event(b)->state, EventState::dead) << "the place is its own now";
  EXPECT_EQ(tick(box, ms(7)).size(), 1U) << "and its key goes on";
}

}  // namespace of_outbox_test
}  // namespace mesh::coordination
