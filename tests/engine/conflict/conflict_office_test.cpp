// The conflict office over a real store and a real spill file, on virtual time.
#include "engine/conflict/conflict_office.hpp"

#include <filesystem>
#include <set>

#include "engine/conflict/conflict_thread.hpp"
#include "tests/engine/conflict/journal_memory.hpp"
#include "tests/engine/store/recorder_fixture.hpp"

namespace mesh::engine {
namespace of_conflict_office_test {

using sched::ConflictType;
using testing::JournalMemory;
using testing::records_at;

constexpr std::int64_t kOffset = 1'700'000'000'000'000'000;

ConflictNote note(std::uint64_t number, ConflictType type = ConflictType::other) {
  return {.answer = {77, number},
          .message = {5, number},
          .agent = AgentId{number % 100},
          .operation = OperationId{9},
          .type = type,
          .has_values = true,
          .expected = 1,
          .received = number,
          .at = from_ns(1'000)};
}

class ConflictOfficeTest : public ::testing::Test {
 protected:
  bool take(std::uint64_t number, const std::string& carried = {}) {
    return office_->take(note(number), {.answer = std::as_bytes(std::span(carried))});
  }
  void start(ConflictOfficeOptions options = {}) {
    office_.reset();
    options.store.where = where_;
    options.spill = {.path = folder_.file("spill"), .size_bytes = spill_bytes_};
    options.unix_offset_ns = kOffset;
    auto made = ConflictOffice::create(
        options,
        {.escalate =
             [this](const Escalate& escalate, const Record& conflict) {
               EXPECT_EQ(escalate.subject, conflict.subject);
               escalated_.push_back(escalate);
             },
         .run_step = run_step_,
         .complete =
             [this](const ConflictNote&, const Carried& carried, ConflictReport&) {
               if (carried.answer.empty()) return;
               carried_.emplace_back(reinterpret_cast<const char*>(carried.answer.data()),
                                     carried.answer.size());
             },
         .alarm = [this](RecorderAlarm what, const std::string&) { alarms_.push_back(what); }});
    ASSERT_TRUE(made) << made.error().sentence;
    office_ = std::move(*made);
  }
  void settle() {
    for (int i = 0; i < 1'000; ++i) {
      now_ += Nanos{kNsPerSecond};
      if (!office_->turn(now_)) return;
    }
    FAIL() << "it never comes to rest";
  }
  std::vector<Record> stored() {
    office_.reset();
    return records_at(where_);
  }

  testing::ScratchDirectory folder_;
  std::string where_ = folder_.file("conflicts.db");
  HostTime now_ = from_ns(kNsPerSecond);
  std::function<StepEnded(const RunStep&)> run_step_;
  std::vector<Escalate> escalated_;
  std::vector<std::string> carried_;
  std::vector<RecorderAlarm> alarms_;
  std::uint64_t spill_bytes_ = 1U << 20;
  std::unique_ptr<ConflictOffice> office_;
};

TEST_F(ConflictOfficeTest, RefusesToBeMadeWithoutRoomOrASpillFile) {
  EXPECT_EQ(ConflictOffice::create(
                {.store = {.where = where_}, .spill = {.path = folder_.file("none/spill")}}, {})
                .error()
                .code,
            Errc::not_found);
  EXPECT_EQ(
      ConflictOffice::create(
          {.store = {.where = where_}, .spill = {.path = folder_.file("spill")}, .notes_max = 0},
          {})
          .error()
          .code,
      Errc::invalid_argument);
}

TEST_F(ConflictOfficeTest, HasNoRoomForAnswersBeforeItIsFullAndRecordsAllThatItTook) {
  start({.notes_max = 64});
  std::uint64_t taken = 0;
  while (office_->has_room()) ASSERT_TRUE(take(++taken));
  EXPECT_EQ(taken, 56U) << "an eighth is kept for what cannot wait";
  while (taken < 100) ASSERT_TRUE(take(++taken)) << "cannot wait, and waits in private memory";
  settle();
  EXPECT_EQ(office_->status().recorded, 64U);
  EXPECT_FALSE(office_->has_room()) << "what waits goes first";
  office_->tend();
  EXPECT_TRUE(office_->has_room());
  settle();
  EXPECT_EQ(office_->status().recorded, taken);
  EXPECT_EQ(office_->status().refused, 0U);
  EXPECT_EQ(stored().size(), 2 * taken) << "each, and that it is a person's";
}

// mesh.md 11: every conflict is recorded, whatever stands on the desk.
TEST_F(ConflictOfficeTest, RecordsWhatFindsTheDeskFullAndTakesItOverWhenThereIsRoom) {
  start({.desk = {.capacity = 8}});
  for (std::uint64_t i = 1; i <= 20; ++i) ASSERT_TRUE(take(i));
  settle();
  EXPECT_EQ(office_->status().recorded, 20U);
  EXPECT_EQ(office_->status().unplaced, 12U);
  EXPECT_EQ(office_->desk().open(), 8U);
  // Decided one after the other, whichever has a place.
  for (std::uint64_t decided = 0; decided < 20; ++decided) {
    const auto snapshot = office_->desk().snapshot();
    ASSERT_FALSE(snapshot.cases.empty()) << decided;
    const SubjectId subject = snapshot.cases.begin()->first;
    ASSERT_EQ(office_->decide(subject, "yes", now_), DeskAnswer::taken);
    settle();
  }
  EXPECT_EQ(office_->status().resolved, 20U);
  EXPECT_EQ(office_->desk().open(), 0U);
  std::size_t resolved = 0;
  for (const Record& record : stored())
    resolved += record.state == ConflictState::resolved ? 1U : 0U;
  EXPECT_EQ(resolved, 20U);
}

TEST_F(ConflictOfficeTest, ASuccessorRecordsWhatItsDeadPredecessorHadOnlyNoted) {
  JournalMemory memory(64);
  start({.journal = memory.place()});
  for (std::uint64_t i = 1; i <= 10; ++i) ASSERT_TRUE(take(i, "carried " + std::to_string(i)));
  start({.journal = memory.place()});  // the first has not had a turn
  settle();
  EXPECT_EQ(office_->status().recorded, 10U);
  start({.journal = memory.place()});
  settle();
  EXPECT_EQ(office_->status().noted, 0U) << "what is durable is not taken again";
  std::size_t conflicts = 0;
  for (const Record& record : stored()) conflicts += record.step == 0 ? 1U : 0U;
  EXPECT_EQ(conflicts, 10U);
  EXPECT_EQ(carried_.size(), 10U);
  EXPECT_EQ(carried_.back(), "carried 10");
}

// Store and spill file are full: what is noted stays in the journal, and its memory outlives us.
TEST_F(ConflictOfficeTest, WhatNothingTakesStaysInTheJournalAndTheAlarmIsRaisedOnce) {
  JournalMemory memory(1'024);
  const std::string there_later = std::exchange(where_, folder_.file("none/conflicts.db"));
  spill_bytes_ = kSpillBytesMin;
  start({.journal = memory.place()});
  std::uint64_t taken = 0;
  for (int turns = 0; turns < 200; ++turns) {
    for (int i = 0; i < 50 && office_->has_room(); ++i)
      ASSERT_TRUE(take(++taken, std::string(100, 'x')));
    office_->turn(now_ += Nanos{kNsPerMs});
  }
  EXPECT_FALSE(office_->has_room()) << "the loop leaves the next one in its outbox";
  EXPECT_GT(office_->status().recorded, 0U);
  EXPECT_LT(office_->status().recorded, taken);
  EXPECT_GT(office_->status().waiting, 0U);
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down, RecorderAlarm::spill_full}));
  where_ = there_later;
  start({.journal = memory.place()});
  now_ += Nanos{60 * kNsPerSecond};
  settle();
  std::set<std::uint64_t> there;
  for (const Record& record : stored()) {
    if (record.step != 0) continue;
    EXPECT_TRUE(there.insert(record.subject.low).second) << "twice";
  }
  EXPECT_EQ(there.size(), taken) << "nothing is lost";
}

TEST_F(ConflictOfficeTest, RecordsEachConflictWithItsValuesOnTheWallClock) {
  start();
  ASSERT_TRUE(office_->take(note(1, ConflictType::data_contradiction), {}));
  settle();
  const auto records = stored();
  ASSERT_FALSE(records.empty());
  const Record& first = records.front();
  EXPECT_EQ(first.subject, (SubjectId{77, 1}));
  EXPECT_EQ(first.kind, StoredKind::conflict);
  EXPECT_EQ(first.type, ConflictType::data_contradiction);
  EXPECT_EQ(first.priority, 2);
  EXPECT_EQ(first.agent, AgentId{1});
  EXPECT_EQ(first.message, (sched::MessageId{5, 1}));
  EXPECT_EQ(first.operation, OperationId{9});
  EXPECT_EQ(first.expected, "1");
  EXPECT_EQ(first.received, "1");
  EXPECT_EQ(static_cast<std::int64_t>(first.at), kOffset + 1'000);
}

TEST_F(ConflictOfficeTest, KeepsOneThatIsNotedTwiceOnce) {
  start();
  ASSERT_TRUE(take(1));
  ASSERT_TRUE(take(1));
  settle();
  EXPECT_EQ(office_->status().recorded, 1U);
  EXPECT_EQ(office_->desk().open(), 1U);
}

TEST_F(ConflictOfficeTest, HandsToAPersonWhatNobodyCanDoAndClosesItByADecision) {
  start();
  ASSERT_TRUE(take(1));
  EXPECT_EQ(office_->decide({77, 2}, "no", now_), DeskAnswer::no_such);
  settle();
  EXPECT_EQ(office_->status().for_person, 1U);
  EXPECT_EQ(office_->decide({77, 1}, "", now_), DeskAnswer::invalid);
  EXPECT_EQ(office_->decide({77, 1}, "the second is right", now_), DeskAnswer::taken);
  settle();
  EXPECT_EQ(office_->status().resolved, 1U);
  EXPECT_EQ(office_->status().open, 0U);
  const auto records = stored();
  EXPECT_EQ(records.back().state, ConflictState::resolved);
  EXPECT_EQ(records.back().received, "the second is right");
}

TEST_F(ConflictOfficeTest, EscalatesOnlyWhatIsUrgentAndOnlyOnceItsRecordIsDurable) {
  start();
  ASSERT_TRUE(office_->take(note(1, ConflictType::capability_mismatch), {}));  // priority 1
  ASSERT_TRUE(office_->take(note(2, ConflictType::temporal_paradox), {}));     // priority 4
  office_->turn(now_);
  for (const Escalate& one : escalated_) EXPECT_EQ(one.subject, (SubjectId{77, 2}));
  settle();
  ASSERT_FALSE(escalated_.empty());
  EXPECT_EQ(escalated_.front().subject, (SubjectId{77, 2}));
  EXPECT_EQ(escalated_.front().audience, Audience::operator_too);
}

TEST_F(ConflictOfficeTest, RunsTheStepsOfAStrategyWhereSomebodyCan) {
  std::vector<ConflictStep> steps;
  run_step_ = [&](const RunStep& step) {
    steps.push_back(step.step);
    return StepEnded{step.subject, step.step, true, "done"};
  };
  start();
  ASSERT_TRUE(office_->take(note(1, ConflictType::capability_mismatch), {}));
  settle();
  EXPECT_EQ(steps, (std::vector{ConflictStep::mend_capabilities, ConflictStep::route_elsewhere}));
  EXPECT_EQ(office_->status().resolved, 1U);
  EXPECT_EQ(stored().size(), 3U) << "the conflict, and a record for each step";
}

TEST_F(ConflictOfficeTest, ASuccessorHasOnItsDeskWhatIsOpenInTheStore) {
  start();
  for (std::uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(take(i));
  settle();
  ASSERT_EQ(office_->decide({77, 3}, "enough", now_), DeskAnswer::taken);
  settle();
  start();
  EXPECT_FALSE(office_->status().is_taken_over);
  settle();
  EXPECT_TRUE(office_->status().is_taken_over);
  EXPECT_EQ(office_->desk().open(), 4U);
  EXPECT_EQ(office_->desk().find({77, 3}), nullptr);
  EXPECT_EQ(office_->decide({77, 1}, "by the next", now_), DeskAnswer::taken);
  settle();
  std::string decided;
  for (const Record& record : stored())
    if (record.subject == SubjectId{77, 1} && record.state == ConflictState::resolved)
      decided = record.received;
  EXPECT_EQ(decided, "by the next");
}

TEST_F(ConflictOfficeTest, ARestartWritesNothingAboutWhatWaitsForAPerson) {
  start();
  for (std::uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(take(i));
  settle();
  ASSERT_EQ(office_->status().for_person, 5U);
  const std::size_t written = stored().size();
  const std::size_t escalated = escalated_.size();
  for (int restart = 0; restart < 3; ++restart) {
    start();
    settle();
    EXPECT_EQ(office_->desk().open(), 5U);
    EXPECT_EQ(office_->status().for_person, 5U);
    EXPECT_EQ(stored().size(), written);
    EXPECT_EQ(escalated_.size(), escalated);
  }
}

TEST_F(ConflictOfficeTest, GoesOnWhileTheStoreIsAwayAndCatchesUp) {
  const std::string away = where_;
  where_ = folder_.file("none/conflicts.db");
  start();
  for (std::uint64_t i = 1; i <= 10; ++i) ASSERT_TRUE(take(i));
  settle();
  EXPECT_EQ(office_->status().recorded, 10U) << "in the spill file: synced, and acknowledged";
  EXPECT_FALSE(office_->status().recorder.is_store_up);
  EXPECT_GT(office_->status().recorder.waiting, 0U);
  std::filesystem::create_directory(folder_.file("none"));
  settle();
  now_ += Nanos{60 * kNsPerSecond};
  settle();
  EXPECT_EQ(office_->status().recorder.waiting, 0U);
  EXPECT_EQ(stored().size(), 20U);
}

TEST_F(ConflictOfficeTest, AThreadTurnsItAndLeavesNothingBehind) {
  start();
  struct Decide final : OfficeCall {
    explicit Decide(std::atomic<int>& times) : calls(times) {}
    void run(ConflictOffice& office, HostTime now) override {
      static_cast<void>(office.decide({77, 999}, "nobody's", now));
      calls.fetch_add(1, std::memory_order_release);
    }
    std::atomic<int>& calls;
  };
  std::atomic<int> calls{0};
  std::atomic<std::int64_t> clock{kNsPerSecond};
  // relaxed: a clock alone.
  ConflictThread thread(
      *office_, [&] { return from_ns(clock.fetch_add(kNsPerMs, std::memory_order_relaxed)); });
  thread.start();
  for (std::uint64_t i = 1; i <= 200; ++i) {
    while (!take(i)) std::this_thread::yield();
    if (i % 50 == 0) thread.post(std::make_unique<Decide>(calls));
  }
  while (calls.load(std::memory_order_acquire) != 4) std::this_thread::yield();
  EXPECT_EQ(thread.stop(), 0U);
  EXPECT_EQ(office_->status().recorded, 200U);
  EXPECT_EQ(office_->status().noted, 200U);
}

}  // namespace of_conflict_office_test
}  // namespace mesh::engine
