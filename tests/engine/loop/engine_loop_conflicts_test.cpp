// Answers in CONFLICT, for whoever records them.
#include "engine/conflict/conflict_note.hpp"
#include "engine/station/delivery.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_conflicts_test {

struct Kept final : ConflictSink {
  std::vector<ConflictNote> notes;
  bool is_full = false;
  bool is_behind = false;
  bool has_room() noexcept override { return !is_behind; }
  bool take(const ConflictNote& note, const Carried& /*carried*/) noexcept override {
    if (!is_full) notes.push_back(note);
    return !is_full;
  }
};

// A mesh whose conflicts are kept.
struct Recorded : LoopFixture {
  Recorded() : LoopFixture(10, 3) {
    loop.reset();
    again();
  }
  void again() {
    loop = must(EngineLoop::create({size, table.span(), payload.span(), engine.span()}, options,
                                   {.wakes = &wakes, .conflicts = &kept}));
    for (auto& station : stations) must(loop->readopt(station->number, station->memory(), 1000));
  }
  static bool conflict(RawStation& station, const sched::DeliveryRecord& delivery,
                       std::int64_t at_ns) {
    const ConflictValues values{3, 5};
    const auto appended = station.sent_bodies.append(std::as_bytes(std::span(&values, 1)));
    sched::AnswerRecord record{};
    record.message = delivery.message;
    record.agent = delivery.target;
    record.operation = RawStation::operation_of(delivery);
    record.received_ns = delivery.sent_ns;
    record.finished_ns = at_ns;
    record.body_offset = static_cast<std::uint32_t>(appended.position);
    record.body_bytes = sizeof values;
    record.state = TrinaryState::conflict;
    record.conflict_type = sched::ConflictType::hash_mismatch;
    record.kind = RecordKind::answer;
    return station.put(record);
  }
  Kept kept;
};

TEST(EngineLoopConflicts, OfAnOperationEachIsNotedOnceWithItsValues) {
  Recorded mesh;
  mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 2, "bob");
  const OperationId id = must(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  for (const auto& delivery : bob.poll()) {
    ASSERT_TRUE(Recorded::conflict(bob, delivery, mesh.now_ns));
    ASSERT_TRUE(bob.answer(delivery, TrinaryState::conflict, mesh.now_ns)) << "again";
  }
  for (const auto& delivery : mesh.stations[0]->poll())
    ASSERT_TRUE(mesh.stations[0]->answer(delivery, TrinaryState::ready, mesh.now_ns));
  mesh.tick(kMs);
  ASSERT_EQ(mesh.kept.notes.size(), 2U) << "READY is none, and who answers twice has one";
  const ConflictNote& note = mesh.kept.notes[0];
  EXPECT_EQ(note.operation, id);
  EXPECT_EQ(note.agent, mesh.ids[2][0]);
  EXPECT_EQ(note.type, sched::ConflictType::hash_mismatch);
  EXPECT_TRUE(note.has_values);
  EXPECT_EQ(note.expected, 3U);
  EXPECT_EQ(note.received, 5U);
  EXPECT_NE(note.answer, mesh.kept.notes[1].answer);
  EXPECT_EQ(note.message, mesh.kept.notes[1].message);
  EXPECT_EQ(mesh.loop->counters().conflicts_noted, 2U);
}

TEST(EngineLoopConflicts, OfADirectMessageItIsNotedAndItsSenderHasTheReplyAllTheSame) {
  Recorded mesh;
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  ASSERT_TRUE(alice.send({.source = mesh.ids[1][0],
                          .target = to(mesh.ids[2][0]),
                          .created_ns = mesh.now_ns,
                          .body = bytes("sum?")}));
  mesh.tick();
  const auto got = bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(Recorded::conflict(bob, got[0], mesh.now_ns));
  mesh.tick(kMs);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_EQ(mesh.kept.notes[0].operation, OperationId{});
  EXPECT_EQ(mesh.kept.notes[0].received, 5U);
  const auto replies = alice.poll();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].kind, RecordKind::reply);
}

TEST(EngineLoopConflicts, OfABareMessageItIsNotedAlsoWhereTheReplyIsBare) {
  Recorded mesh;
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 1, "bob");
  ASSERT_TRUE(alice.send_bare(mesh.ids[1][0], mesh.ids[2][0], bytes("sum?"), mesh.now_ns));
  mesh.tick();
  const auto got = bob.poll();
  ASSERT_EQ(got.size(), 1U);
  ASSERT_TRUE(bob.answer(got[0], TrinaryState::conflict, mesh.now_ns));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_EQ(alice.poll().size(), 1U);
}

TEST(EngineLoopConflicts, OneWithoutValuesIsNotedWithoutThem) {
  Recorded mesh;
  mesh.add(1, 1, "alice");
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  RawStation& alice = *mesh.stations[0];
  for (const auto& delivery : alice.poll())
    ASSERT_TRUE(alice.answer(delivery, TrinaryState::conflict, mesh.now_ns));
  mesh.tick(kMs);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_FALSE(mesh.kept.notes[0].has_values);
  EXPECT_EQ(mesh.kept.notes[0].type, sched::ConflictType::data_contradiction);
}

TEST(EngineLoopConflicts, WhatIsNotTakenIsCountedAndStopsNothing) {
  Recorded mesh;
  mesh.kept.is_full = true;
  mesh.add(1, 1, "alice");
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  RawStation& alice = *mesh.stations[0];
  for (const auto& delivery : alice.poll())
    ASSERT_TRUE(alice.answer(delivery, TrinaryState::conflict, mesh.now_ns));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.loop->counters().conflicts_lost, 1U);
  EXPECT_TRUE(mesh.loop->take_finished());
}

// Back-pressure: nothing is lost, and nobody else waits for it.
TEST(EngineLoopConflicts, OneThatFindsNoRoomWaitsInItsOutboxAndOtherStationsGoOn) {
  Recorded mesh;
  RawStation& alice = mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 2, "bob");
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  mesh.kept.is_behind = true;
  const auto told = bob.poll();
  ASSERT_EQ(told.size(), 2U);
  ASSERT_TRUE(bob.answer(told[0], TrinaryState::conflict, mesh.now_ns));
  ASSERT_TRUE(bob.answer(told[1], TrinaryState::ready, mesh.now_ns)) << "behind it: it waits too";
  for (const auto& delivery : alice.poll())
    ASSERT_TRUE(alice.answer(delivery, TrinaryState::ready, mesh.now_ns));
  for (int i = 0; i < 20; ++i) mesh.tick(kMs);
  EXPECT_TRUE(mesh.kept.notes.empty());
  EXPECT_EQ(mesh.loop->counters().ready, 0U) << "the operation is not over";
  EXPECT_EQ(mesh.loop->counters().answers, 1U) << "alice's";
  EXPECT_EQ(mesh.loop->waiting_for_records(), 1U);
  EXPECT_TRUE(mesh.loop->waits_for_record(bob.number));
  EXPECT_FALSE(mesh.loop->waits_for_record(alice.number));
  EXPECT_EQ(mesh.loop->counters().conflicts_waited, 1U) << "once, however long";
  mesh.kept.is_behind = false;
  mesh.tick(kMs);
  EXPECT_EQ(mesh.kept.notes.size(), 1U);
  EXPECT_EQ(mesh.loop->counters().answers, 3U);
  EXPECT_EQ(mesh.loop->counters().conflicts_lost, 0U);
  EXPECT_EQ(mesh.loop->waiting_for_records(), 0U);
  const auto finished = mesh.loop->take_finished();
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->result.counts.ready, 2U);
  EXPECT_EQ(finished->result.counts.conflict, 1U);
}

// Its station is gone, and with it the outbox: what it had reported is handed over all the same.
TEST(EngineLoopConflicts, OfAStationThatDiesMeanwhileAllAreHandedOver) {
  Recorded mesh;
  mesh.add(1, 1, "alice");
  RawStation& bob = mesh.add(2, 2, "bob");
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  mesh.kept.is_behind = true;
  for (const auto& delivery : bob.poll())
    ASSERT_TRUE(bob.answer(delivery, TrinaryState::conflict, mesh.now_ns));
  mesh.tick(kMs);
  ASSERT_TRUE(mesh.kept.notes.empty());
  mesh.loop->detach(bob.number, from_ns(mesh.now_ns), Departure::lost);
  EXPECT_EQ(mesh.kept.notes.size(), 2U);
}

// An engine that dies between taking a burst in and freeing it reads it again: nobody knows whether
// its conflicts were noted, so they are noted again, by the same name.
TEST(EngineLoopConflicts, ABurstThatIsReadAgainIsNotedAgainByTheSameName) {
  Recorded mesh;
  RawStation& alice = mesh.add(1, 1, "alice");
  ASSERT_TRUE(mesh.loop->open({.at_once = true}, from_ns(mesh.now_ns)));
  mesh.tick();
  mesh.tick(kMs);
  for (const auto& delivery : alice.poll())
    ASSERT_TRUE(alice.answer(delivery, TrinaryState::conflict, mesh.now_ns));
  // The engine's cursor into the outbox as it was before the burst.
  const auto cursor =
      must(alice.in_layout.array<testing::Ring::ReaderPage>(alice.in.span(), "outbox_reader"));
  const std::uint64_t before = cursor.front().cursor.load_relaxed();
  mesh.tick(kMs);
  ASSERT_EQ(mesh.kept.notes.size(), 1U);
  mesh.loop.reset();
  cursor.front().cursor.store_relaxed(before);
  mesh.again();
  mesh.tick(kMs);
  ASSERT_EQ(mesh.kept.notes.size(), 2U);
  EXPECT_EQ(mesh.kept.notes[0].answer, mesh.kept.notes[1].answer);
}

}  // namespace of_engine_loop_conflicts_test
}  // namespace mesh::engine
