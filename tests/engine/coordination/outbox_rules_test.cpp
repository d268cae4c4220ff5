// How much an outbox gives out and when; its log without changes of state; what it tells.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/coordination/outbox_kit.hpp"

namespace mesh::coordination {
namespace of_outbox_rules_test {

using testing::bytes;
using testing::event;
using testing::ms;
using testing::small_outbox;
using testing::tick;
using testing::with_worker;

std::vector<EventRecord> told_by(const Outbox& box) {
  std::vector<EventRecord> told;
  box.events().after(0, [&](const EventRecord& record) { told.push_back(record); });
  return told;
}
constexpr std::uint16_t kind(Outbox::Event event) { return static_cast<std::uint16_t>(event); }

// --- dispatch ----------------------------------------------------------------------------------

TEST(OutboxDispatch, GivesAtMostItsBurstOfAPartitionInATick) {
  OutboxConfig config = small_outbox();
  config.burst_max = 3;
  Outbox box = with_worker(config);
  for (int i = 0; i < 8; ++i) box.apply(event("k" + std::to_string(i)), Nanos{0});
  std::vector<std::size_t> given;
  for (int i = 1; i <= 4; ++i) given.push_back(tick(box, ms(i)).size());
  EXPECT_EQ(given, (std::vector<std::size_t>{3, 3, 2, 0}));
}

TEST(OutboxDispatch, TheBurstIsOfEachPartition) {
  OutboxConfig config = small_outbox();
  config.burst_max = 2;
  config.partition_count = 2;
  Outbox box = with_worker(config);
  std::vector<int> appended(2);
  for (int i = 0; appended[0] < 3 || appended[1] < 3; ++i) {
    const std::string key = "k" + std::to_string(i);
    if (appended[box.partition_of(key)]++ < 3) box.apply(event(key), Nanos{0});
  }
  EXPECT_EQ(tick(box, ms(1)).size(), 4U);
  EXPECT_EQ(tick(box, ms(2)).size(), 2U);
}

TEST(OutboxDispatch, PollsAtItsInterval) {
  OutboxConfig config = small_outbox();
  config.poll_interval_ns = ms(100);
  Outbox box = with_worker(config);
  tick(box, Nanos{0});
  box.apply(event("a"), ms(1));
  OutboxActions actions;
  box.tick(ms(1), actions);
  EXPECT_TRUE(actions.deliveries.empty());
  EXPECT_EQ(actions.next_tick, ms(100)) << "it says when";
  EXPECT_TRUE(tick(box, ms(99)).empty());
  EXPECT_EQ(tick(box, ms(100)).size(), 1U);
}

TEST(OutboxDispatch, PushGivesAtTheNextTick) {
  OutboxConfig config = small_outbox();
  config.poll_interval_ns = ms(100);
  config.push = true;
  Outbox box = with_worker(config);
  tick(box, Nanos{0});
  box.apply(event("a"), ms(1));
  EXPECT_EQ(tick(box, ms(1)).size(), 1U);
}

// --- changes of state --------------------------------------------------------------------------

TEST(OutboxChanges, StandInTheLogOnlyWhereTheyAreWanted) {
  for (const bool cdc : {true, false}) {
    OutboxConfig config = small_outbox();
    config.cdc = cdc;
    Outbox box = with_worker(config);
    box.apply(outbox::AddCursor{"c"}, Nanos{0});
    box.apply(outbox::Commit{{{"e", 0, bytes("one"), false}}, {{"e", "t", bytes("p"), {}, 0}}},
              Nanos{0});
    const auto read = box.read("c", 0, 10);
    ASSERT_TRUE(read);
    ASSERT_EQ(read->size(), cdc ? 2U : 1U);
    EXPECT_EQ(read->front().is_change, cdc);
    EXPECT_FALSE(read->back().is_change);
    EXPECT_EQ(box.counters().changes, cdc ? 1U : 0U);
    EXPECT_EQ(box.lag("c", 0).value(), cdc ? 2U : 1U);
    EXPECT_EQ(box.entity("e").value().value, bytes("one")) << "the state is there either way";
    EXPECT_TRUE(box.verify());
  }
}

// --- events ------------------------------------------------------------------------------------

TEST(OutboxEvents, TellOfAnEventThatDied) {
  OutboxConfig config = small_outbox();
  config.attempts_max = 1;
  Outbox box = with_worker(config);
  const auto id = box.apply(event("a"), Nanos{0}).event;
  const auto given = tick(box, ms(1));
  ASSERT_EQ(given.size(), 1U);
  box.apply(outbox::Fail{id, given[0].fence, false, "no"}, ms(2));
  const auto told = told_by(box);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].kind, kind(Outbox::Event::died));
  EXPECT_EQ(told[0].severity, Severity::warning);
  EXPECT_EQ(told[0].a, id);
  EXPECT_EQ(told[0].b, 1U) << "attempts";
}

TEST(OutboxEvents, TellOfAWorkerThatIsLostAndOfWhatItHeld) {
  OutboxConfig config = small_outbox();
  config.heartbeat_timeout_ns = ms(10);
  Outbox box = with_worker(config);
  box.apply(outbox::AddWorker{"idle", 2}, Nanos{0});
  for (const auto* key : {"a", "b"}) box.apply(event(key), Nanos{0});
  ASSERT_EQ(tick(box, ms(1)).size(), 2U);
  tick(box, ms(10));
  const auto told = told_by(box);
  ASSERT_EQ(told.size(), 2U);
  std::uint64_t back = 0;
  for (const auto& one : told) {
    EXPECT_EQ(one.kind, kind(Outbox::Event::worker_lost));
    EXPECT_EQ(one.severity, one.b == 0 ? Severity::info : Severity::warning);
    back += one.b;
  }
  EXPECT_NE(told[0].a, told[1].a);
  EXPECT_EQ(back, 2U);
}

TEST(OutboxEvents, TellOfACursorThatHoldsUpNothingAnyMore) {
  OutboxConfig config = small_outbox();
  config.cursor_idle_max_ns = ms(500);
  config.compaction_interval_ns = ms(100);
  Outbox box = with_worker(config);
  box.apply(outbox::AddCursor{"first"}, Nanos{0});
  box.apply(outbox::AddCursor{"second"}, ms(450));
  tick(box, ms(500));
  tick(box, ms(600));
  const auto told = told_by(box);
  ASSERT_EQ(told.size(), 1U) << "once";
  EXPECT_EQ(told[0].kind, kind(Outbox::Event::cursor_stale));
  EXPECT_EQ(told[0].a, 0U) << "the first";
}

}  // namespace of_outbox_rules_test
}  // namespace mesh::coordination
