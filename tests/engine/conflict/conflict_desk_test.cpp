#include "engine/conflict/conflict_desk.hpp"

#include <random>

#include "engine/store/store.hpp"
#include "tests/engine/store/store_fixture.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_conflict_desk_test {

using sched::ConflictType;

ConflictReport report(std::uint64_t number, ConflictFacts facts) {
  ConflictReport made;
  made.subject = {77, number};
  made.at = WireTime{1'000'000};
  made.agent = AgentId{number % 100};
  made.message = {5, number};
  made.facts = facts;
  made.expected = "1";
  made.received = "2";
  return made;
}

template <class T>
std::vector<T> only(const std::vector<DeskAction>& actions) {
  std::vector<T> found;
  for (const DeskAction& action : actions) {
    if (const T* const its = std::get_if<T>(&action)) found.push_back(*its);
  }
  return found;
}

class ConflictDeskTest : public ::testing::Test {
 protected:
  DeskAnswer apply(const DeskCommand& command) {
    const DeskResult result = desk_.apply(command, now_);
    take(result.actions);
    return result.answer;
  }
  void tick(Nanos later = {}) {
    now_ += later;
    take(desk_.tick(now_));
  }
  void take(const std::vector<DeskAction>& actions) {
    actions_ = actions;
    for (const WriteRecord& its : only<WriteRecord>(actions)) records_.push_back(its.record);
    const Status whole = desk_.verify();
    EXPECT_TRUE(whole) << whole.error().sentence;
  }
  void record_all() {
    while (acknowledged_ < records_.size()) {
      const Record& record = records_[acknowledged_++];
      EXPECT_EQ(apply(Recorded{record.subject, record.step}), DeskAnswer::taken);
    }
  }
  // Reported, durable, and in the queue.
  void open(std::uint64_t number, ConflictFacts facts) {
    ASSERT_EQ(apply(report(number, facts)), DeskAnswer::taken);
    record_all();
  }
  static SubjectId subject(std::uint64_t number) { return {77, number}; }

  ConflictDesk desk_;
  HostTime now_ = from_ns(10 * kNsPerSecond);
  std::vector<DeskAction> actions_;  // of the last call
  std::vector<Record> records_;      // all that were to be written
  std::size_t acknowledged_ = 0;
};

TEST_F(ConflictDeskTest, RefusesWhatNamesNothingWhatItHasAndWhatNobodyAskedFor) {
  ConflictReport nameless = report(1, {});
  nameless.subject = {};
  EXPECT_EQ(apply(nameless), DeskAnswer::invalid);
  EXPECT_EQ(apply(Recorded{subject(1), 0}), DeskAnswer::no_such);
  EXPECT_EQ(apply(StepEnded{subject(1), ConflictStep::ask_person, true}), DeskAnswer::no_such);
  EXPECT_EQ(apply(Decided{subject(1), "yes"}), DeskAnswer::no_such);
  EXPECT_EQ(apply(report(1, {.type = ConflictType::temporal_paradox})), DeskAnswer::taken);
  EXPECT_EQ(apply(report(1, {.type = ConflictType::temporal_paradox})), DeskAnswer::repeated);
  EXPECT_EQ(apply(Recorded{subject(1), 1}), DeskAnswer::not_expected);
  EXPECT_EQ(apply(StepEnded{subject(1), ConflictStep::collect_clocks, true}),
            DeskAnswer::not_expected);
  EXPECT_EQ(apply(Decided{subject(1), "early"}), DeskAnswer::not_expected);
  EXPECT_TRUE(actions_.empty());
}

TEST_F(ConflictDeskTest, RefusesMoreThanItsCapacity) {
  desk_ = ConflictDesk({.capacity = 2});
  EXPECT_EQ(apply(report(1, {})), DeskAnswer::taken);
  EXPECT_EQ(apply(report(2, {})), DeskAnswer::taken);
  EXPECT_EQ(apply(report(3, {})), DeskAnswer::full);
  EXPECT_EQ(desk_.open(), 2U);
  EXPECT_FALSE(validate(DeskConfig{.capacity = 0}));
}

TEST_F(ConflictDeskTest, QuarantinesAtOnceAndAcknowledgesOnlyWhatIsDurable) {
  apply(report(1, {.type = ConflictType::hash_mismatch}));
  EXPECT_EQ(only<QuarantineData>(actions_).size(), 1U);
  ASSERT_EQ(only<WriteRecord>(actions_).size(), 1U);
  EXPECT_TRUE(only<Acknowledge>(actions_).empty());
  tick();
  EXPECT_TRUE(actions_.empty()) << "nothing is done before the record is durable";
  apply(Recorded{subject(1), 0});
  EXPECT_EQ(only<Acknowledge>(actions_).size(), 1U);
}

TEST_F(ConflictDeskTest, WritesWhatPart11SaysIntoTheRecord) {
  ConflictReport made = report(9, {.type = ConflictType::context_divergence, .depth = 11});
  made.operation = OperationId{4};
  made.context_hash = 99;
  apply(made);
  const Record& record = records_.at(0);
  EXPECT_EQ(record.subject, made.subject);
  EXPECT_EQ(record.at, made.at);
  EXPECT_EQ(record.agent, made.agent);
  EXPECT_EQ(record.message, made.message);
  EXPECT_EQ(record.type, ConflictType::context_divergence);
  EXPECT_EQ(record.expected, "1");
  EXPECT_EQ(record.received, "2");
  EXPECT_EQ(record.context_hash, 99U);
  EXPECT_EQ(record.operation, OperationId{4});
  EXPECT_EQ(record.priority, 3);
  EXPECT_EQ(record.state, ConflictState::open);
}

TEST_F(ConflictDeskTest, EscalatesPriority3ToTheCoordinatorAnd4AlsoToTheOperator) {
  const struct {
    ConflictFacts facts;
    Audience audience;
  } rows[] = {
      {{.type = ConflictType::capability_mismatch}, Audience::none},
      {{.type = ConflictType::other}, Audience::none},
      {{.type = ConflictType::data_contradiction, .affected = 101}, Audience::sector_coordinator},
      {{.type = ConflictType::temporal_paradox}, Audience::operator_too}};
  std::uint64_t number = 0;
  for (const auto& row : rows) {
    apply(report(++number, row.facts));
    apply(Recorded{subject(number), 0});
    const auto told = only<Escalate>(actions_);
    ASSERT_EQ(told.size(), row.audience == Audience::none ? 0U : 1U);
    EXPECT_EQ(told.empty() ? Audience::none : told[0].audience, row.audience);
  }
}

TEST_F(ConflictDeskTest, TheQueueGoesByPriorityThenDeadlineThenOrderOfReports) {
  open(1, {.type = ConflictType::capability_mismatch});  // 1
  open(2, {.type = ConflictType::other});                // 2
  open(3, {.type = ConflictType::temporal_paradox});     // 4
  now_ += Nanos{kNsPerSecond};
  open(4, {.type = ConflictType::other});                            // 2, a second later
  open(5, {.type = ConflictType::context_divergence, .depth = 11});  // 3
  open(6, {.type = ConflictType::other});                            // 2, with 4
  const std::vector<SubjectId> wanted = {subject(3), subject(5), subject(2),
                                         subject(4), subject(6), subject(1)};
  EXPECT_EQ(desk_.queued(), wanted);
}

TEST_F(ConflictDeskTest, RunsAStrategyStepByStepEachARecordOfItsOwn) {
  open(1, {.type = ConflictType::hash_mismatch});
  tick();
  for (const ConflictStep step : steps_of(ConflictStrategy::quarantine_and_reload)) {
    const auto runs = only<RunStep>(actions_);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].step, step);
    now_ += Nanos{kNsPerMs};
    EXPECT_EQ(apply(StepEnded{subject(1), step, true, "done"}), DeskAnswer::taken);
    EXPECT_TRUE(only<RunStep>(actions_).empty()) << "before the record is durable";
    record_all();
  }
  const auto closed = only<Closed>(actions_);
  ASSERT_EQ(closed.size(), 1U);
  EXPECT_EQ(closed[0].took, Nanos{4 * kNsPerMs});
  EXPECT_EQ(desk_.open(), 0U);
  EXPECT_EQ(desk_.counters().resolved, 1U);
  ASSERT_EQ(records_.size(), 5U);
  for (std::uint32_t step = 0; step < 5; ++step) EXPECT_EQ(records_[step].step, step);
  EXPECT_EQ(records_[3].expected, "check_hash");
  EXPECT_EQ(records_[3].state, ConflictState::resolving);
  EXPECT_EQ(records_[4].state, ConflictState::resolved);
  EXPECT_EQ(static_cast<std::int64_t>(records_[4].at), 1'000'000 + 4 * kNsPerMs);
}

TEST_F(ConflictDeskTest, AStepThatFailsIsAPersonsTask) {
  open(1, {.type = ConflictType::data_contradiction});
  tick();
  apply(StepEnded{subject(1), ConflictStep::trace_origins, false, "too even"});
  EXPECT_EQ(records_.back().state, ConflictState::for_person);
  record_all();
  ASSERT_EQ(only<RunStep>(actions_).size(), 1U);
  EXPECT_EQ(only<RunStep>(actions_)[0].step, ConflictStep::ask_person);
  EXPECT_EQ(desk_.resolving(), 0U);
  EXPECT_EQ(apply(Decided{subject(1), ""}), DeskAnswer::invalid);
  EXPECT_EQ(apply(Decided{subject(1), "take the first"}), DeskAnswer::taken);
  EXPECT_EQ(apply(Decided{subject(1), "no, the second"}), DeskAnswer::not_expected);
  EXPECT_EQ(records_.back().received, "take the first");
  record_all();
  ASSERT_EQ(only<Closed>(actions_).size(), 1U);
  EXPECT_TRUE(only<Closed>(actions_)[0].by_person);
  EXPECT_EQ(desk_.counters().by_person, 1U);
}

TEST_F(ConflictDeskTest, ReviewsByPeopleTakeNoPlace) {
  desk_ = ConflictDesk({.resolving_max = 1});
  for (std::uint64_t number = 1; number <= 5; ++number) open(number, {.type = ConflictType::other});
  open(6, {.type = ConflictType::capability_mismatch});
  open(7, {.type = ConflictType::capability_mismatch});
  tick();
  record_all();
  EXPECT_EQ(desk_.resolving(), 1U);
  EXPECT_EQ(desk_.queued(), (std::vector{subject(7)}));
  EXPECT_EQ(desk_.find(subject(3))->state, CaseState::for_person);
}

TEST_F(ConflictDeskTest, SomebodyMayDecideWhatIsStillQueued) {
  open(1, {.type = ConflictType::capability_mismatch});
  EXPECT_EQ(apply(Decided{subject(1), "leave it"}), DeskAnswer::taken);
  EXPECT_TRUE(desk_.queued().empty());
  record_all();
  EXPECT_EQ(desk_.open(), 0U);
}

TEST_F(ConflictDeskTest, AConflictThatIsOverdueIsEscalatedOnceToWhoDoesNotKnowYet) {
  const struct {
    ConflictFacts facts;
    std::int64_t due_s;
    Audience told;
  } rows[] = {
      {{.type = ConflictType::capability_mismatch}, 3'600, Audience::sector_coordinator},
      {{.type = ConflictType::other}, 600, Audience::sector_coordinator},
      {{.type = ConflictType::context_divergence, .depth = 11}, 60, Audience::operator_too}};
  std::uint64_t number = 0;
  for (const auto& row : rows) {
    const HostTime reported = now_;
    open(++number, row.facts);
    EXPECT_EQ(desk_.next_deadline(), reported + Nanos{row.due_s * kNsPerSecond});
    tick(Nanos{row.due_s * kNsPerSecond - 1});
    EXPECT_TRUE(only<Escalate>(actions_).empty());
    tick(Nanos{1});
    ASSERT_EQ(only<Escalate>(actions_).size(), 1U);
    EXPECT_EQ(only<Escalate>(actions_)[0].audience, row.told);
    EXPECT_EQ(records_.back().expected, "overdue");
    tick(Nanos{3'600 * kNsPerSecond});
    EXPECT_TRUE(only<Escalate>(actions_).empty());
    EXPECT_EQ(desk_.next_deadline(), kNoDeadline);
  }
  EXPECT_EQ(desk_.counters().overdue, 3U);
}

// Part 11: resolution p99 under 100 ms when it needs no person. So "at once" is late after that.
TEST_F(ConflictDeskTest, AtOnceIsLateAfterAHundredMilliseconds) {
  open(1, {.type = ConflictType::temporal_paradox});
  tick(Nanos{100 * kNsPerMs - 1});
  EXPECT_EQ(desk_.counters().overdue, 0U);
  const std::size_t written = records_.size();
  tick(Nanos{1});
  EXPECT_EQ(desk_.counters().overdue, 1U);
  EXPECT_EQ(records_.size(), written) << "the operator knows already";
}

TEST_F(ConflictDeskTest, AResolutionWhoseLastRecordIsAwaitedIsNotOverdue) {
  open(1, {.type = ConflictType::capability_mismatch});
  tick();
  apply(StepEnded{subject(1), ConflictStep::mend_capabilities, true});
  record_all();
  apply(StepEnded{subject(1), ConflictStep::route_elsewhere, true});
  tick(Nanos{7'200 * kNsPerSecond});
  EXPECT_TRUE(actions_.empty());
  EXPECT_EQ(records_.back().state, ConflictState::resolved);
}

TEST_F(ConflictDeskTest, ADeskMadeFromASnapshotGoesOnAlike) {
  open(1, {.type = ConflictType::hash_mismatch});
  open(2, {.type = ConflictType::other});
  tick();
  ConflictDesk other(desk_.snapshot());
  ASSERT_TRUE(other.verify());
  const DeskCommand command = StepEnded{subject(1), ConflictStep::quarantine_agent, true, "x"};
  const auto left = desk_.apply(command, now_);
  const auto right = other.apply(command, now_);
  EXPECT_EQ(only<WriteRecord>(left.actions).at(0).record,
            only<WriteRecord>(right.actions).at(0).record);
  EXPECT_EQ(desk_.snapshot().cases, other.snapshot().cases);
}

TEST_F(ConflictDeskTest, AfterARestartItGoesOnFromTheLastRecordedStep) {
  open(1, {.type = ConflictType::hash_mismatch});
  tick();
  apply(StepEnded{subject(1), ConflictStep::quarantine_agent, true});
  record_all();
  apply(StepEnded{subject(1), ConflictStep::load_snapshot, true});  // and its record is durable

  ConflictDesk next;
  const WireTime wall{1'000'000 + 30 * kNsPerSecond};
  EXPECT_EQ(next.adopt(records_, now_, wall), DeskAnswer::taken);
  EXPECT_EQ(next.adopt(records_, now_, wall), DeskAnswer::repeated);
  ASSERT_TRUE(next.verify());
  const auto actions = next.tick(now_);
  ASSERT_EQ(only<RunStep>(actions).size(), 1U);
  EXPECT_EQ(only<RunStep>(actions)[0].step, ConflictStep::check_hash);
  EXPECT_EQ(next.counters().overdue, 1U) << "it was due 30 s ago";
  const auto ended = next.apply(StepEnded{subject(1), ConflictStep::check_hash, true}, now_);
  EXPECT_EQ(only<WriteRecord>(ended.actions).at(0).record.step, 3U);
}

// However often it is restarted: what a person was asked is on record, and who had to know knows.
TEST_F(ConflictDeskTest, AfterARestartWhatWaitsForAPersonIsNeitherRecordedNorEscalatedAgain) {
  open(1, {.type = ConflictType::other});
  open(2, {.type = ConflictType::data_contradiction});
  tick();
  apply(StepEnded{subject(2), ConflictStep::trace_origins, false, "too even"});
  record_all();
  tick(Nanos{3'600 * kNsPerSecond});  // both are overdue
  record_all();
  std::vector<Record> kept = records_;
  for (int restart = 0; restart < 3; ++restart) {
    desk_ = ConflictDesk();
    actions_.clear();
    for (const std::uint64_t number : {1U, 2U}) {
      std::vector<Record> its;
      for (const Record& record : kept)
        if (record.subject == subject(number)) its.push_back(record);
      ASSERT_EQ(desk_.adopt(its, now_, its.front().at), DeskAnswer::taken);
      EXPECT_EQ(desk_.find(subject(number))->state, CaseState::for_person);
    }
    tick(Nanos{3'600 * kNsPerSecond});
    EXPECT_TRUE(actions_.empty());
    EXPECT_TRUE(desk_.queued().empty());
  }
  EXPECT_EQ(records_.size(), kept.size());
  EXPECT_EQ(apply(Decided{subject(2), "the first"}), DeskAnswer::taken);
  EXPECT_EQ(records_.back().step, 3U) << "behind the conflict, its failed step, and overdue";
}

TEST_F(ConflictDeskTest, AfterARestartAReviewThatNobodyWasAskedForYetIsAsked) {
  open(1, {.type = ConflictType::other});
  ConflictDesk next;
  ASSERT_EQ(next.adopt(records_, now_, records_[0].at), DeskAnswer::taken);
  const auto written = only<WriteRecord>(next.tick(now_));
  ASSERT_EQ(written.size(), 1U);
  EXPECT_EQ(written[0].record.state, ConflictState::for_person);
}

TEST_F(ConflictDeskTest, AdoptsNeitherWhatIsResolvedNorWhatMakesNoSense) {
  open(1, {.type = ConflictType::other});
  ConflictDesk next;
  EXPECT_EQ(next.adopt({}, now_, {}), DeskAnswer::invalid);
  auto records = records_;
  records[0].strategy = 200;
  EXPECT_EQ(next.adopt(records, now_, {}), DeskAnswer::invalid);
  records = records_;
  records[0].step = 1;
  EXPECT_EQ(next.adopt(records, now_, {}), DeskAnswer::invalid);
  records = records_;
  records.push_back(testing::step_of(records[0], 1, ConflictState::resolved));
  EXPECT_EQ(next.adopt(records, now_, {}), DeskAnswer::invalid);
  EXPECT_EQ(next.open(), 0U);
}

// Reports, answers and time in any order, and a desk made anew from its snapshot now and then.
class RandomRun {
 public:
  explicit RandomRun(std::uint64_t seed) : random_(seed) {}

  // Until everything that was reported is closed; false if that never comes.
  bool run() {
    constexpr int kReportingSteps = 300;
    constexpr int kStepsMax = 20'000;
    for (int i = 0; i < kReportingSteps || !todo_.empty() || desk_.open() != 0; ++i) {
      if (i == kStepsMax || has_failed()) return false;
      now_ += Nanos{static_cast<std::int64_t>(random_() % 40) * kNsPerSecond};
      if (i < kReportingSteps && random_() % 3 == 0) report_one();
      if (random_() % 2 == 0) take(desk_.tick(now_));
      if (random_() % 50 == 0) desk_ = ConflictDesk(desk_.snapshot());
      if (!todo_.empty()) settle_one();
    }
    return true;
  }

  [[nodiscard]] std::uint64_t reported() const { return reported_; }
  [[nodiscard]] std::uint64_t closed() const { return closed_; }
  [[nodiscard]] const std::map<SubjectId, std::vector<Record>>& records() const { return records_; }

 private:
  static bool has_failed() { return ::testing::Test::HasFailure(); }

  void report_one() {
    const ConflictFacts facts{static_cast<ConflictType>(random_() % 7),
                              static_cast<std::uint32_t>(random_() % 20),
                              static_cast<std::uint32_t>(random_() % 200), random_() % 3 != 0};
    const auto result = desk_.apply(report(reported_ + 1, facts), now_);
    if (result.answer == DeskAnswer::taken) ++reported_;
    take(result.actions);
  }
  void take(const std::vector<DeskAction>& actions) {
    for (const DeskAction& action : actions) {
      if (const auto* its = std::get_if<WriteRecord>(&action))
        records_[its->record.subject].push_back(its->record);
      if (std::holds_alternative<Closed>(action)) ++closed_;
      todo_.push_back(action);
    }
    const Status whole = desk_.verify();
    EXPECT_TRUE(whole) << whole.error().sentence;
  }
  void settle_one() {
    const std::size_t at = random_() % todo_.size();
    const DeskAction action = todo_[at];
    todo_.erase(todo_.begin() + static_cast<std::ptrdiff_t>(at));
    if (const auto* its = std::get_if<WriteRecord>(&action))
      take(desk_.apply(Recorded{its->record.subject, its->record.step}, now_).actions);
    if (const auto* its = std::get_if<RunStep>(&action))
      take(desk_.apply(answer(*its), now_).actions);
  }
  DeskCommand answer(const RunStep& its) {
    if (its.step == ConflictStep::ask_person) return Decided{its.subject, "so be it"};
    return StepEnded{its.subject, its.step, random_() % 4 != 0, "x"};
  }

  std::mt19937_64 random_;
  ConflictDesk desk_{DeskConfig{.capacity = 40, .resolving_max = 3}};
  HostTime now_ = from_ns(kNsPerSecond);
  std::vector<DeskAction> todo_;
  std::map<SubjectId, std::vector<Record>> records_;
  std::uint64_t reported_ = 0;
  std::uint64_t closed_ = 0;
};

TEST(ConflictDesk, WhateverHappensEveryConflictIsResolvedOnceAndItsRecordsAreComplete) {
  for (std::uint64_t repeat = 0; repeat < testing::repeats(200); ++repeat) {
    SCOPED_TRACE(testing::seed() + repeat);
    RandomRun random(testing::seed() + repeat);
    ASSERT_TRUE(random.run());
    EXPECT_GT(random.reported(), 0U);
    EXPECT_EQ(random.closed(), random.reported());
    EXPECT_EQ(random.records().size(), random.reported());
    for (const auto& [subject, its] : random.records()) {
      for (std::size_t step = 0; step < its.size(); ++step) {
        ASSERT_EQ(its[step].step, step);
        ASSERT_EQ(its[step].state == ConflictState::resolved, step + 1 == its.size());
      }
    }
  }
}

}  // namespace of_conflict_desk_test
}  // namespace mesh::engine
