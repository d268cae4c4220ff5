// What an outbox keeps: its log and cursors, what its sink applies, what stands after a death.
#include <algorithm>
#include <map>
#include <stdexcept>

#include "engine/coordination/blocks/idempotency_registry.hpp"
#include "engine/coordination/outbox_delivery.hpp"
#include "tests/engine/coordination/outbox_kit.hpp"

namespace mesh::coordination {
namespace of_outbox_log_test {

using outbox::AppendEvent;
using outbox::Commit;
using outbox::Confirm;
using outbox::Fail;
using testing::bytes;
using testing::event;
using testing::eventful_outbox;
using testing::ms;
using testing::outbox_trace;
using testing::small_outbox;
using testing::tick;
using testing::Timed;
using testing::with_worker;

// --- the inbox ---------------------------------------------------------------------------------

TEST(Outbox, CommitsAnEffectOnceWithTheEventThatItConsumes) {
  Outbox sink(small_outbox());
  Commit effect{{{"balance", 0, bytes("7"), false}}, {{"k", "paid", bytes("p"), {}, 0}}, 41};
  EXPECT_EQ(sink.apply(effect, Nanos{0}).code, Errc::ok);
  effect.puts[0].version_expected = outbox::kAnyVersion;
  EXPECT_EQ(sink.apply(effect, ms(1)).code, Errc::duplicate) << "the source sent it again";
  EXPECT_EQ(sink.counters().appended, 1U);
  EXPECT_EQ(sink.apply(Commit{{}, {}, 42}, ms(1)).code, Errc::ok) << "of no effect, and known";
  EXPECT_EQ(sink.apply(Commit{{}, {}, 42}, ms(1)).code, Errc::duplicate);
  EXPECT_EQ(sink.counters().consumed, 2U);
  EXPECT_EQ(sink.counters().consumed_again, 2U);
  auto again = Outbox::restore(small_outbox(), sink.snapshot());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->apply(effect, ms(2)).code, Errc::duplicate) << "also in its next life";
}

TEST(Outbox, KnowsNothingOfAnEventWhoseCommitItRefused) {
  Outbox sink(small_outbox());
  Commit effect{{{"balance", 9, bytes("7"), false}}, {}, 41};
  EXPECT_EQ(sink.apply(effect, Nanos{0}).code, Errc::conflict);
  effect.puts[0].version_expected = 0;
  EXPECT_EQ(sink.apply(effect, Nanos{0}).code, Errc::ok);
}

TEST(Outbox, RefusesToConsumeMoreThanItCanRemember) {
  OutboxConfig config = small_outbox();
  config.inbox_max = 2;
  config.inbox_window_ns = ms(100);
  Outbox sink(config);
  sink.apply(Commit{{}, {}, 1}, ms(0));
  sink.apply(Commit{{}, {}, 2}, ms(10));
  const std::uint64_t hash = sink.state_hash();
  const auto full = sink.apply(Commit{{}, {}, 3}, ms(20));
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after, ms(80));
  EXPECT_EQ(sink.state_hash(), hash);
  EXPECT_EQ(sink.apply(Commit{{}, {}, 3}, ms(100)).code, Errc::ok) << "the oldest is forgotten";
  EXPECT_EQ(sink.apply(Commit{{}, {}, 2}, ms(100)).code, Errc::duplicate);
}

TEST(Outbox, KnowsAMillionIdsForADayByDefault) {
  OutboxConfig config = small_outbox();
  config.inbox_max = OutboxConfig{}.inbox_max;
  config.inbox_window_ns = OutboxConfig{}.inbox_window_ns;
  ASSERT_EQ(config.inbox_max, 1'000'000U);
  Outbox sink(config);
  constexpr std::int64_t kStep = 10'000'000;  // 10 ms: the last one comes after less than 3 hours
  for (std::uint64_t id = 1; id <= config.inbox_max; ++id) {
    const Nanos now{static_cast<std::int64_t>(id) * kStep};
    ASSERT_EQ(sink.apply(Commit{{}, {}, id}, now).code, Errc::ok) << id;
  }
  const Nanos end{config.inbox_max * kStep};
  const auto full = sink.apply(Commit{{}, {}, config.inbox_max + 1}, end);
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after, Nanos{kStep} + config.inbox_window_ns - end);
  for (std::uint64_t id = 1; id <= config.inbox_max; id += 997) {
    ASSERT_EQ(sink.apply(Commit{{}, {}, id}, end).code, Errc::duplicate) << id;
  }
  const Nanos day_later = end + config.inbox_window_ns - Nanos{1};
  EXPECT_EQ(sink.apply(Commit{{}, {}, config.inbox_max}, day_later).code, Errc::duplicate);
  EXPECT_EQ(sink.apply(Commit{{}, {}, 1}, day_later).code, Errc::ok) << "forgotten by now";
}

// --- a sink in the same program ----------------------------------------------------------------

TEST(Outbox, ReportsWhatAFunctionSaysAndTakesWhatItThrowsForAFailure) {
  Outbox box = with_worker(small_outbox());
  for (const auto* key : {"good", "busy", "bad", "odd"}) box.apply(event(key), Nanos{0});
  OutboxActions actions;
  std::map<std::string, int> seen;
  const auto deliver = [&](const LogRecord& record) -> DeliveryAnswer {
    ++seen[record.key];
    if (record.key == "busy") return {DeliveryVerdict::retry, "later"};
    if (record.key == "bad") return {DeliveryVerdict::permanent, "never"};
    if (record.key == "odd") throw std::runtime_error("a bug");
    return {};
  };
  std::size_t confirmed = 0;
  for (int i = 0; i < 40 && seen.size() < 4; ++i) {
    box.tick(ms(i), actions);
    confirmed += deliver_all(box, actions, ms(i), deliver);
  }
  EXPECT_EQ(confirmed, 1U);
  EXPECT_EQ(seen.size(), 4U);
  EXPECT_GE(box.counters().failures, 3U);
  const auto dead = box.dead(9);
  ASSERT_EQ(dead.size(), 1U) << "the others are tried again";
  EXPECT_EQ(dead[0].last_error, "never");
  EXPECT_TRUE(box.verify());
}

// --- cursors -----------------------------------------------------------------------------------

TEST(Outbox, ShowsACursorWhatWasCommittedInOrder) {
  Outbox box(small_outbox());
  box.apply(outbox::AddCursor{"c"}, Nanos{0});
  box.apply(Commit{{{"e", 0, bytes("1"), false}}, {{"e", "t", bytes("p"), {}, 0}}}, Nanos{0});
  const auto version = box.entity("e")->version;
  box.apply(Commit{{{"e", version, {}, true}}, {}}, Nanos{0});
  EXPECT_EQ(box.lag("c", 0).value(), 3U);
  const auto read = box.read("c", 0, 9).value();
  ASSERT_EQ(read.size(), 3U);
  EXPECT_TRUE(read[0].is_change);
  EXPECT_EQ(read[0].key, "e");
  EXPECT_EQ(read[0].hash_before, 0U);
  EXPECT_EQ(read[0].hash_after, checksum(bytes("1")));
  EXPECT_FALSE(read[1].is_change);
  EXPECT_EQ(read[1].payload, bytes("p"));
  EXPECT_EQ(read[2].hash_after, 0U) << "erased";
  box.apply(outbox::Advance{"c", 0, 2}, Nanos{0});
  EXPECT_EQ(box.lag("c", 0).value(), 1U);
  EXPECT_EQ(box.read("c", 0, 9)->at(0).sequence, 3U);
  EXPECT_EQ(box.read("z", 0, 9).error().code, Errc::not_found);
}

TEST(Outbox, CompactsNothingThatACursorHasNotRead) {
  OutboxConfig config = small_outbox();
  config.retention_ns = ms(1'000);
  config.compaction_interval_ns = ms(100);
  config.cursor_idle_max_ns = ms(10'000);
  Outbox box = with_worker(config);
  box.apply(outbox::AddCursor{"slow"}, Nanos{0});
  for (int i = 0; i < 3; ++i) box.apply(event("a"), Nanos{0});
  for (int i = 0; i < 3; ++i) {
    const auto sent = tick(box, ms(i)).at(0);
    box.apply(Confirm{sent.event, sent.fence}, ms(i));
  }
  tick(box, ms(2'000));
  EXPECT_EQ(box.view(0).floor, 0U);
  box.apply(outbox::Advance{"slow", 0, 2}, ms(2'000));
  tick(box, ms(3'000));
  EXPECT_EQ(box.view(0).floor, 2U);
  EXPECT_EQ(box.event(1).error().code, Errc::not_found);
  EXPECT_EQ(box.read("slow", 0, 9)->at(0).sequence, 3U);
  const auto back = box.apply(outbox::Advance{"slow", 0, 1}, ms(3'000));
  EXPECT_EQ(back.code, Errc::expired);
  EXPECT_EQ(back.floor, 2U);
  tick(box, ms(13'000));  // idle too long: it is stale and holds up nothing
  EXPECT_EQ(box.view(0).floor, 3U);
  EXPECT_EQ(box.read("slow", 0, 9).error().code, Errc::expired);
  EXPECT_EQ(box.read("slow", 0, 9).error().detail, 3);
  EXPECT_EQ(box.state().sequences.at(0), 3U) << "from here it goes on";
  EXPECT_EQ(box.apply(outbox::Advance{"slow", 0, 3}, ms(13'000)).code, Errc::ok);
}

TEST(Outbox, KeepsTheLastEventOfEachKeyWhenAsked) {
  OutboxConfig config = small_outbox();
  config.retention_ns = Nanos{0};
  config.key_compaction = true;
  config.compaction_interval_ns = ms(100);
  Outbox box = with_worker(config);
  box.apply(outbox::AddCursor{"late"}, Nanos{0});
  Nanos now{0};
  for (const char* key : {"a", "b", "a"}) {
    box.apply(event(key), now += ms(5));
    const auto sent = tick(box, now).at(0);
    box.apply(Confirm{sent.event, sent.fence}, now);
  }
  box.apply(outbox::Advance{"late", 0, 3}, ms(20));
  tick(box, ms(500));
  box.apply(outbox::AddCursor{"new"}, ms(500));
  const auto left = box.read("new", 0, 9).value();
  ASSERT_EQ(left.size(), 2U);
  EXPECT_EQ(left[0].key, "b");
  EXPECT_EQ(left[1].key, "a");
  EXPECT_EQ(left[1].sequence, 3U);
}

// --- the sink ----------------------------------------------------------------------------------

TEST(IdempotencyRegistry, TakesAnIdOnceInItsWindowAndForgetsNoneBefore) {
  IdempotencyRegistry registry(2, 100);
  int effects = 0;
  const auto effect = [&] { return ++effects > 1; };  // the first one fails
  EXPECT_EQ(registry.once(7, 0, effect).code, Errc::callback_failed);
  EXPECT_EQ(registry.once(7, 1, effect).code, Errc::ok);
  EXPECT_EQ(registry.once(7, 2, effect).code, Errc::duplicate);
  EXPECT_EQ(effects, 2);
  EXPECT_EQ(registry.accept(8, 50).code, Errc::ok);
  const auto full = registry.accept(9, 60);
  EXPECT_EQ(full.code, Errc::capacity);
  EXPECT_EQ(full.retry_after_ns, 41);
  StateWriter writer;
  registry.save(writer);
  IdempotencyRegistry again(2, 100);
  StateReader reader(writer.bytes());
  again.load(reader);
  EXPECT_TRUE(reader.finish("registry"));
  EXPECT_EQ(again.accept(7, 100).code, Errc::duplicate);
  EXPECT_EQ(again.accept(9, 101).code, Errc::ok) << "7 is a window old";
  EXPECT_EQ(again.accept(8, 101).code, Errc::duplicate);
}

// A sink that dies before it acknowledges, and one that dies before it applies, at random; workers
// that come and go. Every event is applied once, in the order of its key.
struct Relay {
  explicit Relay(const OutboxConfig& config) : box(config, 3) {}

  void step() {
    now += ms(*rc::gen::inRange(1, 40'000));
    const int what = *rc::gen::inRange(0, 10);
    if (what < 4) {
      append();
    } else if (what == 4) {
      box.apply(outbox::StationClosed{*rc::gen::inRange<std::uint32_t>(1, 3)}, now);
    } else if (what == 5) {
      add_workers();
    } else if (what == 6) {
      box.apply(outbox::Replay{0, 2}, now);
    }
    relay();
  }
  void append() {
    const std::string key(1, "abc"[*rc::gen::inRange(0, 3)]);
    const auto reply = box.apply(event(key, key + std::to_string(next)), now);
    if (reply.code != Errc::ok) return;
    appended[key].push_back(reply.event);
    ++next;
  }
  void add_workers() {
    box.apply(outbox::AddWorker{"w1", 1}, now);
    box.apply(outbox::AddWorker{"w2", 2}, now);
  }
  void relay() {
    for (const auto& sent : tick(box, now)) {
      const int fate = *rc::gen::inRange(0, 6);
      if (fate == 0) continue;  // died before it applied anything
      if (fate == 1) {
        box.apply(Fail{sent.event, sent.fence, false, "no"}, now);
        continue;
      }
      const auto shown = box.event(sent.event).value();
      if (registry.accept(sent.event, now.count()).code == Errc::ok) {
        applied[shown.key].push_back(sent.event);
      }
      if (fate != 2) box.apply(Confirm{sent.event, sent.fence}, now);  // 2: died before it said so
    }
  }
  void drain() {
    add_workers();
    for (int i = 0; i < 400; ++i) {
      now += ms(31'000);
      for (const auto& sent : tick(box, now)) {
        const auto shown = box.event(sent.event).value();
        if (registry.accept(sent.event, now.count()).code == Errc::ok) {
          applied[shown.key].push_back(sent.event);
        }
        box.apply(Confirm{sent.event, sent.fence}, now);
      }
      for (const auto& letter : box.dead(1)) box.apply(outbox::Replay{letter.event, 1}, now);
    }
  }

  Outbox box;
  IdempotencyRegistry registry{1'024, kDurationMaxNs};
  Nanos now{0};
  std::uint64_t next = 0;
  std::map<std::string, std::vector<std::uint64_t>> appended;
  std::map<std::string, std::vector<std::uint64_t>> applied;
};

RC_GTEST_PROP(Outbox, AppliesEachEventOnceInTheOrderOfItsKey, ()) {
  OutboxConfig config = small_outbox();
  config.partition_count = *rc::gen::inRange<std::uint32_t>(1, 4);
  config.head_of_line = *rc::gen::element(HeadOfLine::block_key, HeadOfLine::block_partition);
  config.attempts_max = 0;  // a dead one lets its key's others pass
  config.retry_jitter = RetryJitter::decorrelated;
  Relay relay(config);
  relay.add_workers();
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) relay.step();
  relay.drain();
  RC_ASSERT(relay.applied == relay.appended);
  RC_ASSERT(relay.box.counters().confirmed == relay.next);
}

RC_GTEST_PROP(Outbox, LosesNothingWhateverDies, ()) {
  OutboxConfig config = small_outbox();
  config.head_of_line =
      *rc::gen::element(HeadOfLine::none, HeadOfLine::block_key, HeadOfLine::block_partition);
  config.attempts_max = 2;
  config.dead_max = *rc::gen::inRange<std::uint32_t>(1, 4);
  config.dead_halts_key = *rc::gen::arbitrary<bool>();
  Relay relay(config);
  relay.add_workers();
  const int steps = *rc::gen::inRange(1, 60);
  for (int i = 0; i < steps; ++i) relay.step();
  auto again = Outbox::restore(config, relay.box.snapshot());
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->snapshot() == relay.box.snapshot());
  relay.drain();
  for (auto* keys : {&relay.applied, &relay.appended}) {
    for (auto& [key, events] : *keys) std::sort(events.begin(), events.end());
  }
  RC_ASSERT(relay.applied == relay.appended);
}

// --- replay and death --------------------------------------------------------------------------

TEST(Outbox, ReplaysToTheSameBytes) {
  for (const HeadOfLine mode :
       {HeadOfLine::none, HeadOfLine::block_key, HeadOfLine::block_partition}) {
    for (const bool keeps : {false, true}) {
      OutboxConfig config = eventful_outbox();
      config.head_of_line = mode;
      config.key_compaction = keeps;
      config.dead_halts_key = keeps;
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        testing::expect_replays<Outbox>(config, outbox_trace(200, seed));
      }
    }
  }
}

TEST(Outbox, FindsADamagedSnapshot) {
  Outbox box = with_worker(small_outbox());
  box.apply(Commit{{{"e", 0, bytes("1"), false}}, {{"e", "t", bytes("p"), {}, 0}}}, Nanos{0});
  tick(box, Nanos{0});
  testing::expect_damage_found(box, small_outbox());
}

TEST(Outbox, SurvivesADeathAtEachStepOfItsJournal) {
  testing::CrashSweep<Outbox> sweep(eventful_outbox(), outbox_trace(40, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(3), 600U);
}

TEST(Outbox, HasAnAnsweredEventAfterADeath) {
  MemoryJournal journal;
  {
    auto box = JournaledService<Outbox>::open(small_outbox(), journal);
    ASSERT_TRUE(box);
    ASSERT_EQ(box->execute({{1, 1}, event("a")}, Nanos{0})->code, Errc::ok);
  }
  journal.crash(0);
  auto box = JournaledService<Outbox>::open(small_outbox(), journal);
  ASSERT_TRUE(box);
  EXPECT_EQ(box->service().view(0).pending, 1U);
}

TEST(Outbox, TakesATornCommitForNone) {
  const Commit both{{{"e", 0, bytes("1"), false}}, {{"e", "t", bytes("p"), {}, 0}}};
  for (std::size_t kept = 0;; ++kept) {
    MemoryJournal journal;
    StateWriter record;
    record.put(std::uint8_t{0});
    record.put(Nanos{0});
    record.put(std::uint32_t{1});
    record.put(std::uint64_t{1});
    Outbox::encode(Outbox::Command{both}, record);
    ASSERT_TRUE(journal.append(record.bytes()));
    const bool is_whole = kept >= journal.unsynced_bytes();
    journal.crash(kept);
    auto box = JournaledService<Outbox>::open(small_outbox(), journal);
    ASSERT_TRUE(box) << kept;
    ASSERT_EQ(box->service().entity("e").has_value(), is_whole) << kept;
    ASSERT_EQ(box->service().view(0).pending, is_whole ? 1U : 0U) << kept;
    if (is_whole) break;
  }
}

}  // namespace of_outbox_log_test
}  // namespace mesh::coordination
