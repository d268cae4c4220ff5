// What holds of the conflict handler whatever it is told: nobody is lost, nothing depends on the
// order of lists, deaths are harmless, the log is whole.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "engine/conflict/conflict_log.hpp"
#include "tests/engine/conflict/conflict_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_conflict_handler_rules_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using testing::conflict_ms;
using testing::conflict_s;
using testing::conflict_trace;
using testing::person_says;
using testing::report_of;
using testing::small_conflicts;
using testing::some_evidence;
using testing::some_report;
using testing::ticked;

bool is_sound(const ConflictHandler& handler) {
  const auto sound = handler.verify();
  if (!sound) ADD_FAILURE() << sound.error().sentence;
  return sound.has_value();
}

TEST(ConflictRules, EveryConflictIsResolvedOrInSomebodysSightInTime) {
  EXPECT_TRUE(rc::check("nothing is lost", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    auto config = small_conflicts();
    config.conflicts_max = 256;
    config.unlogged_max = 4'096;
    ConflictHandler handler(config);
    Nanos now{0};
    std::uint64_t reports = 0;
    for (const auto& one : conflict_trace(100, seed)) {
      now = one.now;
      const auto reply = handler.apply(one.command, now);
      reports = std::max(reports, reply.conflict);
      ticked(handler, now);
    }
    // The slowest: 1 hour, 10 minutes, 1 minute. Each priority's deadline begins at a tick.
    for (const int wait : {3'600, 600, 60, 1}) ticked(handler, now += conflict_s(wait));
    for (std::uint64_t id = 1; id <= reports; ++id) {
      const auto its = handler.find(id);
      RC_ASSERT(its.has_value());  // there was room for all, and not a day has passed
      RC_ASSERT(its->stage == ConflictStage::resolved || its->audience != engine::Audience::none);
    }
    RC_ASSERT(is_sound(handler));
  }));
}

TEST(ConflictRules, WinnerAndLosersAreTheParticipants) {
  EXPECT_TRUE(rc::check("nobody more, nobody less", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    auto config = small_conflicts();
    config.allows_lww = true;
    ConflictHandler handler(config);
    for (const auto& one : conflict_trace(80, seed)) {
      const auto reply = handler.apply(one.command, one.now);
      if (reply.stage != ConflictStage::resolved) continue;
      const auto& told = reply.resolution;
      std::set<std::uint32_t> all(told.losers.begin(), told.losers.end());
      RC_ASSERT(all.size() == told.losers.size());
      if (told.winner == kNobody) {
        RC_ASSERT(told.strategy == ResolutionStrategy::retry);
      } else {
        RC_ASSERT(all.insert(told.winner).second);
      }
      std::set<std::uint32_t> expected;
      const auto status = handler.find(reply.conflict);
      RC_ASSERT(status.has_value());
      for (const auto& one_of : status->participants) expected.insert(one_of.agent);
      RC_ASSERT(all == expected);
    }
    RC_ASSERT(is_sound(handler));
  }));
}

template <class List>
void shuffle(List& list, Rng& rng) {
  for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[rng.below(i)]);
}

TEST(ConflictRules, TheOrderOfParticipantsAndEvidenceDecidesNothing) {
  EXPECT_TRUE(rc::check("shuffled, the same verdict", [] {
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    auto config = small_conflicts();
    config.allows_lww = true;
    const auto report = std::get<conflict::Report>(some_report(rng));
    auto shuffled = report;
    shuffle(shuffled.participants, rng);
    const auto evidence =
        some_evidence(rng, static_cast<std::uint32_t>(report.participants.size()));
    auto other = evidence;
    shuffle(other.votes, rng);
    shuffle(other.origins, rng);
    shuffle(other.clocks, rng);
    const auto strategy = static_cast<ResolutionStrategy>(1 + rng.below(11));
    ConflictHandler first(config);
    ConflictHandler second(config);
    first.apply(report, Nanos{0});
    second.apply(shuffled, Nanos{0});
    const auto a = first.apply(testing::resolve_by(1, strategy, evidence), Nanos{0});
    const auto b = second.apply(testing::resolve_by(1, strategy, other), Nanos{0});
    RC_ASSERT(a.code == b.code);
    RC_ASSERT(a.stage == b.stage);
    RC_ASSERT(a.resolution.winner == b.resolution.winner);
    RC_ASSERT(a.resolution.reason == b.resolution.reason);
    RC_ASSERT(a.resolution.price == b.resolution.price);
    const auto set_of = [](const std::vector<std::uint32_t>& list) {
      return std::set<std::uint32_t>(list.begin(), list.end());
    };
    RC_ASSERT(set_of(a.resolution.losers) == set_of(b.resolution.losers));
    RC_ASSERT(set_of(a.resolution.branches) == set_of(b.resolution.branches));
    RC_ASSERT(set_of(a.resolution.drifting) == set_of(b.resolution.drifting));
  }));
}

TEST(ConflictRules, AMajorityOfPriorityTimestampAndAgentIsFoundByBruteForce) {
  EXPECT_TRUE(rc::check("the total order", [] {
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    std::vector<Participant> all;
    for (std::uint32_t agent = 0; agent < 2 + rng.below(3); ++agent) {
      all.push_back({.agent = agent,
                     .priority = static_cast<std::int64_t>(rng.below(3)),
                     .timestamp = 1 + rng.below(3)});
    }
    const auto wanted = *std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return std::tuple(-a.priority, a.timestamp, a.agent) <
             std::tuple(-b.priority, b.timestamp, b.agent);
    });
    ConflictHandler handler(small_conflicts());
    handler.apply(report_of(ConflictKind::resource, "r", all), Nanos{0});
    RC_ASSERT(handler.apply(conflict::AutoResolve{1, {}}, Nanos{0}).resolution.winner ==
              wanted.agent);
  }));
}

TEST(ConflictRules, PairsThatRecurOftenAreNeverMissedNorOverstated) {
  EXPECT_TRUE(rc::check("space saving", [] {
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    constexpr std::uint32_t kPlaces = 6;
    PairCounts counts(kPlaces);
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> truth;
    constexpr std::uint64_t kConflicts = 300;
    for (std::uint64_t i = 0; i < kConflicts; ++i) {
      const auto a = static_cast<std::uint32_t>(rng.below(1 + rng.below(6)));
      const auto b = a + 1 + static_cast<std::uint32_t>(rng.below(1 + rng.below(6)));
      counts.add(ConflictKind::resource, b, a, rng.below(2));
      ++truth[{a, b}];
    }
    std::set<std::pair<std::uint32_t, std::uint32_t>> found;
    for (const auto& one : counts.top(kPlaces)) {
      const std::uint64_t had = truth[{one.a, one.b}];
      RC_ASSERT(one.count >= had);
      RC_ASSERT(one.count - one.error <= had);
      found.insert({one.a, one.b});
    }
    for (const auto& [pair, had] : truth) {
      RC_ASSERT(had <= kConflicts / kPlaces || found.contains(pair));
    }
  }));
}

TEST(ConflictRules, StaysSoundWhateverItIsTold) {
  std::map<ConflictStage, int> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    ConflictHandler handler(small_conflicts(), seed);
    for (const auto& one : conflict_trace(300, mesh::testing::seed() + seed)) {
      ++seen[handler.apply(one.command, one.now).stage];
      ticked(handler, one.now);
      ASSERT_TRUE(is_sound(handler)) << "seed " << mesh::testing::seed() + seed;
    }
  }
  for (const auto stage : {ConflictStage::queued, ConflictStage::resolving, ConflictStage::manual,
                           ConflictStage::escalated, ConflictStage::resolved}) {
    EXPECT_GT(seen[stage], 0) << to_string(stage);
  }
}

TEST(ConflictRules, ReplaysAndSurvivesDeathsAndDamage) {
  expect_replays<ConflictHandler>(small_conflicts(), conflict_trace(300, mesh::testing::seed()));
  CrashSweep<ConflictHandler> sweep(small_conflicts(), conflict_trace(20, 3));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(4), 50U);
  ConflictHandler handler(small_conflicts());
  handler.apply(report_of(ConflictKind::resource, "r", {{.agent = 0}, {.agent = 1}}), Nanos{0});
  for (const auto& one : conflict_trace(4, 5)) handler.apply(one.command, one.now);
  expect_damage_found(handler, small_conflicts());
}

// --- the log -----------------------------------------------------------------------------------

TEST(ConflictLog, TellsTheStoryOfAConflictWithReferencesToItsReport) {
  MemoryJournal journal;
  auto log = ConflictLog::open(journal).value();
  ConflictHandler handler(small_conflicts());
  auto report = report_of(ConflictKind::resource, "gpu", {{.agent = 1}, {.agent = 2}});
  report.note = "both want it";
  handler.apply(report, conflict_ms(1));
  handler.apply(conflict::AssignManual{1, 7, "please"}, conflict_ms(2));
  handler.apply(person_says(1, 2), conflict_ms(3));
  EXPECT_EQ(log.keep(handler).value(), 3U);
  std::vector<ConflictRecord> story;
  ASSERT_TRUE(log.walk([&](std::uint64_t, const ConflictRecord& one) -> Status {
    story.push_back(one);
    return {};
  }));
  ASSERT_EQ(story.size(), 3U);
  EXPECT_EQ(story[0].fact, ConflictFact::reported);
  EXPECT_EQ(story[0].subject, "gpu");
  EXPECT_EQ(story[0].note, "both want it");
  EXPECT_EQ(story[0].agents, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(story[1].fact, ConflictFact::assigned);
  EXPECT_EQ(story[1].winner, 7U) << "the person";
  EXPECT_EQ(story[2].fact, ConflictFact::resolved);
  EXPECT_EQ(story[2].refers_to, 1U);
  EXPECT_EQ(story[2].winner, 2U);
  EXPECT_EQ(story[2].agents, std::vector<std::uint32_t>{1});
}

TEST(ConflictLog, HasEachRecordOnceHoweverOftenItIsKept) {
  MemoryJournal journal;
  ConflictHandler handler(small_conflicts());
  std::uint64_t kept = 0;
  for (const auto& one : conflict_trace(60, mesh::testing::seed())) {
    if (std::holds_alternative<conflict::Logged>(one.command)) continue;
    handler.apply(one.command, one.now);
    ticked(handler, one.now);
    auto log = ConflictLog::open(journal);  // as after a death before Logged
    ASSERT_TRUE(log) << log.error().sentence;
    kept = log->keep(handler).value();
    EXPECT_EQ(log->end(), handler.chain());
    if (kept % 3 == 0) handler.apply(conflict::Logged{kept}, one.now);
  }
  EXPECT_EQ(kept, handler.counters().records);
  EXPECT_EQ(journal.last_sequence(), kept);
}

// A journal in which one record is other than it was written.
class Tampered final : public Journal {
 public:
  explicit Tampered(std::vector<std::vector<std::byte>> records) : records_(std::move(records)) {}
  Result<std::uint64_t> append(std::span<const std::byte>) override {
    return fail(Errc::io_error, "");
  }
  Status sync() override { return {}; }
  Status replace_snapshot(const StoredSnapshot&) override { return {}; }
  Result<StoredSnapshot> newest_snapshot() const override { return StoredSnapshot{}; }
  Status replay(std::uint64_t, JournalVisitor& visitor) const override {
    for (std::size_t i = 0; i < records_.size(); ++i) {
      MESH_CHECK_OK(visitor.visit(i + 1, records_[i]));
    }
    return {};
  }

 private:
  std::vector<std::vector<std::byte>> records_;
};

struct Copier final : JournalVisitor {
  Status visit(std::uint64_t, std::span<const std::byte> record) override {
    records.emplace_back(record.begin(), record.end());
    return {};
  }
  std::vector<std::vector<std::byte>> records;
};

TEST(ConflictLog, FindsARecordThatIsEditedMissingDoubledOrMoved) {
  MemoryJournal journal;
  ConflictHandler handler(small_conflicts());
  for (std::uint32_t i = 0; i < 5; ++i) {
    handler.apply(
        report_of(ConflictKind::resource, "r" + std::to_string(i), {{.agent = 1}, {.agent = 2}}),
        Nanos{0});
  }
  ASSERT_TRUE(ConflictLog::open(journal)->keep(handler));
  Copier copier;
  ASSERT_TRUE(journal.replay(0, copier));
  const auto found = [](std::vector<std::vector<std::byte>> records) {
    Tampered tampered(std::move(records));
    const auto log = ConflictLog::open(tampered);
    return !log && log.error().code == Errc::corrupt;
  };
  EXPECT_FALSE(found(copier.records));
  for (std::size_t record = 0; record < copier.records.size(); ++record) {
    for (std::size_t at = 0; at < copier.records[record].size(); ++at) {
      auto edited = copier.records;
      edited[record][at] ^= std::byte{1};
      ASSERT_TRUE(found(edited)) << "record " << record << ", byte " << at;
    }
  }
  for (std::size_t record = 0; record + 1 < copier.records.size(); ++record) {
    auto missing = copier.records;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(record));
    EXPECT_TRUE(found(missing)) << record;
    auto doubled = copier.records;
    doubled.insert(doubled.begin() + static_cast<std::ptrdiff_t>(record), doubled[record]);
    EXPECT_TRUE(found(doubled)) << record;
    auto moved = copier.records;
    std::swap(moved[record], moved[record + 1]);
    EXPECT_TRUE(found(moved)) << record;
  }
}

TEST(ConflictLog, RefusesAnotherHandlersRecords) {
  MemoryJournal journal;
  ConflictHandler mine(small_conflicts());
  ConflictHandler other(small_conflicts());
  const auto report = [](std::string name) {
    return report_of(ConflictKind::resource, std::move(name), {{.agent = 1}, {.agent = 2}});
  };
  mine.apply(report("a"), Nanos{0});
  other.apply(report("b"), Nanos{0});
  auto log = ConflictLog::open(journal).value();
  ASSERT_TRUE(log.keep(mine));
  EXPECT_EQ(log.keep(other).error().code, Errc::corrupt);
  other.apply(report("c"), Nanos{0});
  other.apply(conflict::Logged{1}, Nanos{0});
  EXPECT_EQ(log.keep(other).error().code, Errc::corrupt) << "a gap, or another chain";
}

// Died between any two steps of: journal, apply, log, Logged.
TEST(ConflictLog, SurvivesADeathBetweenTheJournalAndItself) {
  using Hosted = JournaledService<ConflictHandler>;
  const auto trace = conflict_trace(24, 11);
  for (std::size_t death = 0; death < 3 * trace.size(); ++death) {
    MemoryJournal commands;
    MemoryJournal records;
    std::size_t step = 0;
    std::uint64_t sequence = 0;
    auto hosted = Hosted::open(small_conflicts(), commands).value();
    auto log = ConflictLog::open(records).value();
    const auto dies = [&] {
      if (step++ != death) return;
      commands.crash(commands.unsynced_bytes() / 2);
      records.crash(records.unsynced_bytes() / 2);
      hosted = Hosted::open(small_conflicts(), commands).value();
      log = ConflictLog::open(records).value();
    };
    const auto say = [&](const ConflictCommand& command, Nanos now) {
      ASSERT_TRUE(hosted.execute({{1, ++sequence}, command}, now));
    };
    for (const auto& one : trace) {
      if (std::holds_alternative<conflict::Logged>(one.command)) continue;
      say(one.command, one.now);
      dies();
      const auto kept = log.keep(hosted.service());
      ASSERT_TRUE(kept) << kept.error().sentence << ", death at " << death;
      dies();
      say(conflict::Logged{*kept}, one.now);
      dies();
    }
    ASSERT_EQ(log.end(), hosted.service().chain()) << "death at " << death;
    ASSERT_TRUE(is_sound(hosted.service()));
  }
}

}  // namespace of_conflict_handler_rules_test
}  // namespace mesh::tasks
