// Bare messages, on virtual time: 16 bytes from slot to slot, kept by their entry alone.
#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_bare_test {

TEST(EngineLoopBare, ABareMessageStaysBareAndIsNamedByItsSendersPlace) {
  Pair mesh;
  const std::uint64_t at = mesh.alice.outbox.head();
  ASSERT_TRUE(
      mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("sixteen bytes ok"), mesh.now_ns));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(sched::has(got[0].flags, sched::RecordFlags::bare));
  EXPECT_EQ(static_cast<std::uint64_t>(got[0].message), std::uint64_t{1} << 48 | at);
  const auto read = mesh.bob.read(got[0]);
  EXPECT_EQ(read.body, "sixteen bytes ok");
  EXPECT_EQ(read.header.source, mesh.ids[1][0]);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

// Bare ones have a short way through the loop. Something that waits for the same station closes it.
struct Exchange {
  sched::DeliveryRecord message{};
  sched::DeliveryRecord reply{};
  LoopCounters counters;
  std::uint32_t depth = 0;  // of the target's queue, in between
};
Exchange exchange(bool by_the_long_way, Priority priority, TrinaryState state) {
  Pair mesh;
  const auto crowd = [&](RawStation& from, AgentId source, RawStation& at, AgentId target) {
    for (int i = 0; i < 300; ++i)  // a quarter of 1,024 slots, and 44 wait
      EXPECT_TRUE(from.send_bare(source, target, bytes("bulk"), mesh.now_ns));
    mesh.tick(kMs);
    for (int i = 0; i < 3; ++i) {
      if (!by_the_long_way) static_cast<void>(at.poll());
      mesh.tick(kMs);
    }
    EXPECT_EQ(mesh.loop->gauges().pending, by_the_long_way ? 44U : 0U);
  };
  Exchange made;
  crowd(mesh.alice, mesh.ids[1][0], mesh.bob, mesh.ids[2][1]);
  auto record =
      RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("sixteen bytes ok"), mesh.now_ns);
  record.verb_and_priority = sched::verb_and_priority(sched::Verb::decide, priority);
  EXPECT_TRUE(mesh.alice.put(record));
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  if (got.empty()) return made;
  made.message = got.back();
  const auto table = must(table_layout(mesh.size));
  made.depth = must(table.array<ShmWord<std::uint32_t>>(
      mesh.table.span(), "agent.queue_depth"))[static_cast<std::size_t>(index_of(mesh.ids[2][0]))]
                   .load_relaxed();
  mesh.tick(kMs);
  static_cast<void>(mesh.bob.poll());  // of the long way: what had waited
  crowd(mesh.bob, mesh.ids[2][1], mesh.alice, mesh.ids[1][0]);
  EXPECT_TRUE(mesh.bob.answer(made.message, state, mesh.now_ns + 5 * kMs));
  mesh.tick(10 * kMs);
  const auto back = mesh.alice.poll();
  if (!back.empty()) made.reply = back.back();
  mesh.tick(kMs);  // of the long way: what had waited
  made.counters = mesh.loop->counters();
  EXPECT_TRUE(mesh.loop->verify());
  return made;
}

TEST(EngineLoopBare, ABareMessageAndItsReplyAreTheSameByTheShortWayAndByTheLongWay) {
  for (const Priority priority : {Priority::high, Priority::critical}) {
    for (const TrinaryState state :
         {TrinaryState::ready, TrinaryState::transit, TrinaryState::conflict}) {
      const Exchange shortly = exchange(false, priority, state);
      const Exchange at_length = exchange(true, priority, state);
      EXPECT_EQ(std::memcmp(&shortly.message, &at_length.message, sizeof shortly.message), 0);
      EXPECT_EQ(std::memcmp(&shortly.reply, &at_length.reply, sizeof shortly.reply), 0);
      EXPECT_EQ(shortly.message.kind, RecordKind::message);
      EXPECT_EQ(shortly.reply.kind, RecordKind::reply);
      EXPECT_EQ(shortly.depth, 1U);
      EXPECT_EQ(shortly.depth, at_length.depth);
      EXPECT_EQ(shortly.counters.sends, at_length.counters.sends);
      EXPECT_EQ(shortly.counters.answers, at_length.counters.answers);
      EXPECT_EQ(shortly.counters.deliveries, at_length.counters.deliveries);
      EXPECT_EQ(shortly.counters.refused_records + at_length.counters.refused_records, 0U);
    }
  }
}

TEST(EngineLoopBare, ABareMessageWithATimeToLiveGetsAHeaderThatSaysSo) {
  Pair mesh;
  auto record = RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("for a while"), mesh.now_ns);
  record.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.put(record));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_FALSE(sched::has(got[0].flags, sched::RecordFlags::bare));
  const auto read = mesh.bob.read(got[0]);
  EXPECT_EQ(read.body, "for a while");
  EXPECT_EQ(read.header.expires_ns, mesh.now_ns + 50 * kMs);
}

TEST(EngineLoopBare, ABareQuestionsAnswerWithABodyHasAHeaderThatNamesTheQuestion) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("?"), mesh.now_ns));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("!"), mesh.now_ns));
  mesh.tick();
  const auto back = mesh.alice.poll();
  ASSERT_EQ(back.size(), 1U);
  ASSERT_FALSE(sched::has(back[0].flags, sched::RecordFlags::bare));
  const auto reply = mesh.alice.read(back[0]);
  EXPECT_EQ(reply.header.causation.low, static_cast<std::uint64_t>(got[0].message));
  EXPECT_EQ(reply.body.substr(sizeof(sched::ReplyHead)), "!");
}

TEST(EngineLoopBare, BareMessagesOutliveTheirTargetsStationAndTheEngine) {
  Pair mesh;
  for (const char* const text : {"one", "two", "three"})
    ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes(text), mesh.now_ns));
  mesh.tick();
  auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 3U);
  ASSERT_TRUE(mesh.bob.answer(got[1], TrinaryState::ready, mesh.now_ns));
  mesh.lose(2);
  mesh.tick();
  EXPECT_EQ(mesh.loop->counters().parked, 0U) << "its entry is all that a bare message needs";
  mesh.restart();  // what waits is only in `engine` memory now
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  got = again.poll();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(again.read(got[0]).body, "one");
  EXPECT_EQ(again.read(got[1]).body, "three");
  for (const auto& delivery : got) {
    EXPECT_TRUE(sched::has(delivery.flags, sched::RecordFlags::redelivered));
    EXPECT_EQ(again.read(delivery).header.source, mesh.ids[1][0]);
    ASSERT_TRUE(again.answer(delivery, TrinaryState::ready, mesh.now_ns));
  }
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 3U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopBare, ABareMessageThatIsDeliveredIsFoundByASuccessor) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  mesh.restart();
  EXPECT_EQ(mesh.loop->gauges().unanswered, 1U);
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick();
  EXPECT_TRUE(mesh.bob.poll().empty()) << "it was visible: it is not sent again";
  EXPECT_EQ(mesh.alice.poll().size(), 1U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopBare, ABareReplyThatNobodyReadWaitsForItsAgentsReturn) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("?"), mesh.now_ns));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick();
  mesh.lose(1);
  RawStation& again = mesh.add(3, 1, "alice");
  mesh.tick();
  const auto back = again.poll();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].kind, RecordKind::reply);
  EXPECT_TRUE(sched::has(back[0].flags, sched::RecordFlags::redelivered));
  const auto reply = as<sched::BareReplyBody>(again.read(back[0]).body);
  EXPECT_EQ(reply.head.state, TrinaryState::conflict);
  EXPECT_EQ(reply.question, static_cast<std::uint64_t>(got[0].message));
  EXPECT_EQ(sched::bare_source(back[0]), mesh.ids[2][0]);
  mesh.tick();
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

}  // namespace of_engine_loop_bare_test
}  // namespace mesh::engine
