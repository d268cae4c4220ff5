// Direct messages, on virtual time: what becomes of them when their target is slow, away, dead, or
// lacks something.
#include "engine/loop/engine_loop.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_messages_test {

// Answers.

TEST(EngineLoopMessages, AnAnswersBodyComesBackInTheReplyWithWhatItAnswers) {
  Pair mesh;
  RawStation::Message question = mesh.message("how many?");
  question.correlation = {7, 8};
  ASSERT_TRUE(mesh.alice.send(question));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  const auto asked = mesh.bob.read(got[0]);
  EXPECT_EQ(asked.body, "how many?");
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("forty-two"), mesh.now_ns + kMs));
  mesh.tick(2 * kMs);
  const auto back = mesh.alice.poll();
  ASSERT_EQ(back.size(), 1U);
  const auto reply = mesh.alice.read(back[0]);
  ASSERT_TRUE(reply.is_there);
  EXPECT_EQ(back[0].kind, RecordKind::reply);
  EXPECT_EQ(reply.header.source, mesh.ids[2][0]);
  EXPECT_EQ(reply.header.causation, asked.header.id);
  EXPECT_EQ(reply.header.correlation, (sched::MessageId{7, 8}));
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).state, TrinaryState::ready);
  EXPECT_EQ(reply.body.substr(sizeof(sched::ReplyHead)), "forty-two");
}

TEST(EngineLoopMessages, AReplyWithoutACorrelationOfItsOwnNamesTheQuestion) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  const sched::MessageId id = mesh.bob.read(got[0]).header.id;
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick();
  const auto back = mesh.alice.poll();
  ASSERT_EQ(back.size(), 1U);
  const auto reply = mesh.alice.read(back[0]);
  EXPECT_EQ(reply.header.correlation, id);
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).state, TrinaryState::conflict);
  EXPECT_EQ(as<sched::ReplyHead>(reply.body).conflict_type,
            sched::ConflictType::data_contradiction);
}

TEST(EngineLoopMessages, ASecondAnswerChangesNothing) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick();
  ASSERT_TRUE(mesh.bob.answer(got[0], TrinaryState::ready, mesh.now_ns));
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 1U);
  EXPECT_EQ(mesh.loop->counters().duplicates, 2U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
}

TEST(EngineLoopMessages, TheEnginesOwnQuestionGetsItsAnswerByTakeAnswered) {
  Pair mesh;
  const auto id =
      must(mesh.loop->post({.target = mesh.ids[2][1], .body = bytes("?")}, from_ns(mesh.now_ns)));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].target, mesh.ids[2][1]);
  EXPECT_FALSE(mesh.loop->take_answered());
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("!"), mesh.now_ns));
  mesh.tick();
  const auto answered = mesh.loop->take_answered();
  ASSERT_TRUE(answered);
  EXPECT_EQ(answered->question, id);
  EXPECT_EQ(answered->agent, mesh.ids[2][1]);
  EXPECT_EQ(answered->state, TrinaryState::ready);
  ASSERT_EQ(answered->body.size(), 1U);
  EXPECT_EQ(answered->body[0], std::byte{'!'});
  EXPECT_FALSE(mesh.loop->take_answered());
}

// A target that is away.

TEST(EngineLoopMessages, WhatWasDeliveredAndNotAnsweredWaitsForItsAgentsReturn) {
  Pair mesh;
  for (const char* const text : {"one", "two", "three"})
    ASSERT_TRUE(mesh.alice.send(mesh.message(text)));
  mesh.tick();
  auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 3U);
  ASSERT_TRUE(mesh.bob.answer(got[1], TrinaryState::ready, mesh.now_ns));
  mesh.lose(2);
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 1U) << "what it had answered before it died counts";
  EXPECT_EQ(mesh.loop->gauges().unanswered, 2U);
  RawStation& again = mesh.add(3, 2, "bob");
  EXPECT_EQ(mesh.ids[3], mesh.ids[2]) << "the same rows and generations";
  mesh.tick();
  got = again.poll();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(again.read(got[0]).body, "one");
  EXPECT_EQ(again.read(got[1]).body, "three");
  for (const auto& delivery : got) {
    EXPECT_TRUE(sched::has(delivery.flags, sched::RecordFlags::redelivered));
    ASSERT_TRUE(again.answer(delivery, TrinaryState::ready, mesh.now_ns));
  }
  mesh.tick();
  EXPECT_EQ(mesh.alice.poll().size(), 2U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, WhatIsSentToAnAgentThatIsAwayIsKeptInItsOrder) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message("before")));
  mesh.tick();
  mesh.lose(2);
  for (const char* const text : {"a", "b", "c"}) {
    ASSERT_TRUE(mesh.alice.send(mesh.message(text)));
    mesh.tick();
  }
  EXPECT_TRUE(mesh.alice.poll().empty()) << "nobody is told anything: it may come back";
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  std::string order;
  for (const auto& delivery : again.poll()) order += again.read(delivery).body + " ";
  EXPECT_EQ(order, "before a b c ");
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, OnlySoManyAreKeptForOneAgent) {
  Pair mesh;
  mesh.lose(2);
  for (int i = 0; i < 1'100; ++i) {
    ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns));
    mesh.tick();
  }
  std::size_t refused = 0;
  for (const auto& report : mesh.alice.poll())
    refused += report.kind == RecordKind::report && code_of(report) == Errc::target_full ? 1U : 0U;
  EXPECT_EQ(refused, 1'100U - 1'024U);
}

TEST(EngineLoopMessages, AnAgentAwayForItsTtlIsForgottenAndItsSendersAreTold) {
  Pair mesh({.agent_ttl = Nanos{5 * kNsPerSecond}});
  mesh.lose(2);
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.run(4 * kNsPerSecond, 10 * kMs);
  EXPECT_TRUE(mesh.alice.poll().empty());
  mesh.run(4 * kNsPerSecond, 10 * kMs);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::no_such_agent);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 1U);
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopMessages, AReplyThatNobodyReadWaitsForWhoAsked) {
  Pair mesh;
  ASSERT_TRUE(mesh.alice.send(mesh.message()));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_TRUE(mesh.bob.answer_with(got[0], bytes("late"), mesh.now_ns));
  mesh.tick();  // in alice's inbox, unread
  mesh.lose(1);
  RawStation& again = mesh.add(3, 1, "alice");
  mesh.tick();
  const auto back = again.poll();
  ASSERT_EQ(back.size(), 1U);
  EXPECT_EQ(back[0].kind, RecordKind::reply);
  EXPECT_EQ(again.read(back[0]).body.substr(sizeof(sched::ReplyHead)), "late");
  mesh.tick();
  EXPECT_EQ(mesh.loop->gauges().unanswered, 0U);
  EXPECT_TRUE(mesh.loop->verify());
}

// Limits on a message.

TEST(EngineLoopMessages, AMessagePastItsTimeWhileItWaitedIsDroppedAndReported) {
  Pair mesh;
  mesh.lose(2);
  RawStation::Message brief = mesh.message("brief");
  brief.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.send(brief));
  ASSERT_TRUE(mesh.alice.send(mesh.message("lasting")));
  mesh.run(100 * kMs, kMs);
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "lasting");
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
  EXPECT_EQ(mesh.loop->counters().expired, 1U);
}

// A clock that is wrong, or a liar: a message from next year would never expire.
TEST(EngineLoopMessages, OneMadeInTheFutureIsMadeNow) {
  Pair mesh;
  mesh.lose(2);
  RawStation::Message brief = mesh.message("brief");
  brief.ttl_ms = 50;
  brief.created_ns = mesh.now_ns + 365 * 86'400 * kNsPerSecond;
  ASSERT_TRUE(mesh.alice.send(brief));
  RawStation::Message soon = mesh.message("soon");  // within what a tick may take
  soon.created_ns = mesh.now_ns + kNsPerSecond / 2;
  ASSERT_TRUE(mesh.alice.send(soon));
  mesh.run(100 * kMs, kMs);
  EXPECT_EQ(mesh.loop->counters().created_ahead, 1U);
  RawStation& again = mesh.add(3, 2, "bob");
  mesh.tick();
  const auto got = again.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(again.read(got[0]).body, "soon");
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
}

TEST(EngineLoopMessages, OneThatItsStationFoundExpiredIsReportedToo) {
  Pair mesh;
  RawStation::Message brief = mesh.message();
  brief.ttl_ms = 50;
  ASSERT_TRUE(mesh.alice.send(brief));
  mesh.tick();
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1U);
  sched::AnswerRecord refusal{};
  refusal.message = got[0].message;
  refusal.agent = got[0].target;
  refusal.kind = RecordKind::refusal;
  ASSERT_TRUE(mesh.bob.put(refusal));
  mesh.tick(60 * kMs);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  ASSERT_EQ(told[0].kind, RecordKind::report);
  EXPECT_EQ(code_of(told[0]), Errc::expired);
}

TEST(EngineLoopMessages, ATargetThatLacksACapabilityGetsNothingAndItsSenderIsTold) {
  Pair mesh;
  const auto vision = static_cast<std::uint8_t>(must(mesh.loop->capability("vision")));
  RawStation& seeing = mesh.add(3, 1, "seeing");
  CapabilitySet can;
  can.insert(CapabilityBit{vision});
  const AgentSpec spec{"seeing-0", sched::AgentClass::edge, can};
  must(mesh.loop->enrol(StationId{3}, std::span(&spec, 1)));
  RawStation::Message needs = mesh.message("look");
  needs.capabilities = {vision};
  ASSERT_TRUE(mesh.alice.send(needs));
  needs.target = to(mesh.ids[3][0]);
  ASSERT_TRUE(mesh.alice.send(needs));
  mesh.tick();
  EXPECT_TRUE(mesh.bob.poll().empty());
  EXPECT_EQ(seeing.poll().size(), 1U);
  const auto told = mesh.alice.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(code_of(told[0]), Errc::capability_mismatch);
}

TEST(EngineLoopMessages, ACriticalMessageWaitsBehindAQuarterOfTheInboxOnly) {
  Pair mesh;
  for (int i = 0; i < 600; ++i)
    ASSERT_TRUE(mesh.alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("bulk"), mesh.now_ns));
  for (int i = 0; i < 4; ++i) mesh.tick(kMs);
  RawStation::Message critical = mesh.message("now!");
  critical.priority = Priority::critical;
  ASSERT_TRUE(mesh.alice.send(critical));
  mesh.tick(kMs);
  const auto got = mesh.bob.poll();
  ASSERT_EQ(got.size(), 1'024U / 4 + 1);
  EXPECT_EQ(mesh.bob.read(got.back()).body, "now!");
  std::size_t rest = 0;
  for (int i = 0; i < 10; ++i) {
    mesh.tick(kMs);
    rest += mesh.bob.poll().size();
  }
  EXPECT_EQ(rest, 600U - 256U);
}

// kUnansweredMin / 4 is less than what may wait for a station, so many agents send to many.
TEST(EngineLoopMessages, TheTableSaysWhoseInboxTakesNothingMoreUntilItDoes) {
  LoopFixture mesh(3'000, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& many = mesh.add(2, 40, "many");
  const auto table = must(table_layout(mesh.size));
  const auto full = must(table.array<ShmWord<std::uint8_t>>(mesh.table.span(), "inbox_full"));
  // A quarter of 1,024 slots, then what may wait: two for each agent and 1,024.
  constexpr int kMost = 256 + 2 * 40 + 1'024;
  for (int i = 0; i <= kMost; ++i) {
    EXPECT_EQ(full[2].load_relaxed(), 0) << i;
    ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][static_cast<std::size_t>(i % 40)],
                                bytes("x"), mesh.now_ns));
    mesh.tick(1'000);
  }
  EXPECT_EQ(full[2].load_relaxed(), 1);
  EXPECT_EQ(full[1].load_relaxed(), 0);
  mesh.restart();
  EXPECT_EQ(full[2].load_relaxed(), 0) << "of an engine that is gone nothing stays refused";
  for (int i = 0; i < 20; ++i) {
    many.poll();
    mesh.tick(kMs);
  }
  EXPECT_EQ(full[2].load_relaxed(), 0);
  EXPECT_EQ(mesh.loop->gauges().pending, 0U);
}

TEST(EngineLoopMessages, OneWithATimeLeavesEarlyByItsTargetsLead) {
  Pair mesh;
  RawStation::Message timed = mesh.message("at T");
  timed.arrive_ns = mesh.now_ns + 200 * kMs;
  ASSERT_TRUE(mesh.alice.send(timed));
  ASSERT_TRUE(mesh.alice.send(mesh.message("at once")));
  std::vector<std::pair<std::string, std::int64_t>> arrivals;
  const std::int64_t start = mesh.now_ns;
  mesh.run(250 * kMs, kMs, [&] {
    for (const auto& delivery : mesh.bob.poll()) {
      arrivals.emplace_back(mesh.bob.read(delivery).body, delivery.sent_ns - start);
      if (arrivals.back().first == "at T") {
        EXPECT_EQ(delivery.arrive_ns, timed.arrive_ns);
      }
    }
  });
  ASSERT_EQ(arrivals.size(), 2U);
  EXPECT_EQ(arrivals[0].first, "at once");
  EXPECT_EQ(arrivals[1].first, "at T");
  // Class A without history: 12 / 2 + 15 and the buffer, 24.5 ms.
  EXPECT_NEAR(static_cast<double>(arrivals[1].second), 200e6 - 24.5e6, 2e6);
}

// One that answers nothing leaves room for the others.

TEST(EngineLoopMessages, SilentAgentsOfOneStationLeaveHalfOfAllRoomToTheOthers) {
  LoopFixture mesh(64, 3);
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& silent = mesh.add(2, 16, "silent");
  RawStation& carol = mesh.add(3, 1, "carol");
  const auto all = kUnansweredMin;
  std::size_t refused = 0;
  for (std::uint32_t i = 0; i < all; ++i) {
    ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][i % 16], bytes("x"), mesh.now_ns));
    mesh.tick(1'000);
    silent.poll();  // it reads, and answers nothing
    for (const auto& report : alice.poll()) {
      ASSERT_EQ(report.kind, RecordKind::report);
      EXPECT_EQ(code_of(report), Errc::target_full);
      ++refused;
    }
  }
  EXPECT_EQ(mesh.loop->gauges().unanswered, all / 2);
  EXPECT_EQ(refused, all / 2);
  ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[3][0], bytes("x"), mesh.now_ns));
  mesh.tick();
  const auto got = carol.poll();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_TRUE(mesh.loop->verify());

  // Away, they owe together with all others that are away; back, with their new station.
  mesh.lose(2);
  mesh.tick();
  EXPECT_TRUE(mesh.loop->verify());
  mesh.add(4, 16, "silent");
  mesh.tick();
  EXPECT_TRUE(mesh.loop->verify());
  ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[4][0], bytes("x"), mesh.now_ns));
  mesh.tick();
  const auto refusals = alice.poll();
  ASSERT_EQ(refusals.size(), 1U);
  EXPECT_EQ(refusals[0].kind, RecordKind::report);
  mesh.restart();
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace of_engine_loop_messages_test
}  // namespace mesh::engine
