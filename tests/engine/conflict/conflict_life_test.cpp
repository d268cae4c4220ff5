// How conflicts of the handler live: told, overdue, remembered, counted; and its bytes.
#include "engine/conflict/conflict_handler.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/conflict/conflict_kit.hpp"
#include "tests/engine/coordination/service_story.hpp"

namespace mesh::tasks {
namespace of_conflict_life_test {

using testing::conflict_ms;
using testing::conflict_s;
using testing::kNow;
using testing::kTwo;
using testing::person_says;
using testing::report_of;
using testing::reported;
using testing::resolve_by;
using testing::small_conflicts;
using testing::ticked;
using enum ResolutionStrategy;

TEST(ConflictHandler, ASubjectIsContestedUntilTheLastConflictAboutItIsResolved) {
  ConflictHandler handler(small_conflicts());
  const auto first = reported(handler, report_of(ConflictKind::resource, "r", kTwo));
  const auto second =
      reported(handler, report_of(ConflictKind::resource, "r", {{.agent = 0}, {.agent = 2}}));
  EXPECT_TRUE(handler.is_quarantined("r"));
  handler.apply(person_says(first, 0), kNow);
  EXPECT_TRUE(handler.is_quarantined("r"));
  handler.apply(person_says(second, 0), kNow);
  EXPECT_FALSE(handler.is_quarantined("r"));
  EXPECT_EQ(handler.apply(report_of(ConflictKind::resource, "r", kTwo), kNow).code, Errc::ok)
      << "what was resolved may come again";
}

TEST(ConflictHandler, WhatIsUrgentIsToldAtOnceAndWhatIsOverdueRises) {
  ConflictHandler handler(small_conflicts());
  const auto urgent = handler.apply(report_of(ConflictKind::temporal_paradox, "t", kTwo), Nanos{0});
  ASSERT_EQ(urgent.news.size(), 1U);
  EXPECT_EQ(urgent.news[0].kind, ConflictNotice::operator_too);
  handler.apply(person_says(urgent.conflict, 0), Nanos{0});
  const auto id = reported(handler, report_of(ConflictKind::resource, "r", kTwo), Nanos{0});
  EXPECT_TRUE(ticked(handler, conflict_s(599)).empty());
  const auto told = ticked(handler, conflict_s(600));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].kind, ConflictNotice::coordinator);
  EXPECT_EQ(told[0].priority, 3);
  EXPECT_EQ(handler.find(id)->stage, ConflictStage::escalated);
  EXPECT_EQ(handler.view().oldest_overdue, conflict_s(600));
  const auto operators = ticked(handler, conflict_s(660));
  ASSERT_EQ(operators.size(), 1U);
  EXPECT_EQ(operators[0].kind, ConflictNotice::operator_too);
  EXPECT_EQ(handler.view().open[4], 1U);
  EXPECT_TRUE(ticked(handler, conflict_s(9'999)).empty()) << "there is nobody above";
  EXPECT_EQ(handler.view().escalated, 1U) << "and it stays in sight";
  EXPECT_EQ(handler.apply(person_says(id, 1), conflict_s(9'999)).stage, ConflictStage::resolved);
  EXPECT_EQ(handler.view().oldest_overdue, Nanos{0});
  EXPECT_TRUE(handler.verify());
}

TEST(ConflictHandler, APersonWhoDoesNotAnswerDoesNotHideIt) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(handler, report_of(ConflictKind::other, "o", kTwo), Nanos{0});
  handler.apply(conflict::AssignManual{id, 7, "please look"}, Nanos{0});
  EXPECT_EQ(ticked(handler, conflict_s(600)).size(), 1U);
  EXPECT_EQ(handler.find(id)->stage, ConflictStage::manual);
  EXPECT_EQ(handler.find(id)->audience, engine::Audience::sector_coordinator);
}

TEST(ConflictHandler, ForgetsTheOldestResolvedForRoomAndNothingThatIsOpen) {
  auto config = small_conflicts();
  config.conflicts_max = 3;
  ConflictHandler handler(config);
  const auto name = [](int i) {
    std::string text = "r";
    return text + std::to_string(i);
  };
  for (int i = 0; i < 3; ++i) reported(handler, report_of(ConflictKind::resource, name(i), kTwo));
  EXPECT_EQ(handler.apply(report_of(ConflictKind::resource, "x", kTwo), kNow).code, Errc::capacity);
  handler.apply(person_says(2, 0), kNow);
  handler.apply(person_says(1, 0), conflict_ms(2));
  reported(handler, report_of(ConflictKind::resource, "x", kTwo), conflict_ms(3));
  EXPECT_FALSE(handler.find(2)) << "resolved first, forgotten first";
  EXPECT_TRUE(handler.find(1));
  EXPECT_TRUE(handler.find(3));
  ticked(handler, conflict_s(86'401));
  EXPECT_FALSE(handler.find(1)) << "after a day";
  EXPECT_TRUE(handler.verify());
}

TEST(ConflictHandler, TakesNoMoreThanTheLogHasRoomFor) {
  auto config = small_conflicts();
  config.unlogged_max = 2;
  ConflictHandler handler(config);
  const auto first = reported(handler, report_of(ConflictKind::resource, "a", kTwo), Nanos{0});
  reported(handler, report_of(ConflictKind::resource, "b", kTwo), Nanos{0});
  EXPECT_EQ(handler.apply(report_of(ConflictKind::resource, "c", kTwo), Nanos{0}).code,
            Errc::capacity);
  EXPECT_EQ(handler.apply(person_says(first, 0), Nanos{0}).code, Errc::capacity);
  EXPECT_TRUE(ticked(handler, conflict_s(600)).empty()) << "deadlines wait for room, too";
  EXPECT_EQ(handler.apply(conflict::Logged{1}, conflict_s(600)).code, Errc::ok);
  EXPECT_EQ(ticked(handler, conflict_s(600)).size(), 1U);
  EXPECT_EQ(handler.apply(conflict::Logged{3}, conflict_s(600)).code, Errc::ok);
  EXPECT_EQ(handler.unlogged(), 0U);
  EXPECT_EQ(ticked(handler, conflict_s(600)).size(), 1U);
  EXPECT_TRUE(handler.verify());
}

TEST(ConflictHandler, FindsWhoRecursAndSaysWhatWouldEndIt) {
  auto config = small_conflicts();
  config.conflicts_max = 64;
  config.unlogged_max = 512;
  ConflictHandler handler(config);
  const auto again = [&](ConflictKind kind, std::string subject, std::vector<Participant> all) {
    const auto id = reported(handler, report_of(kind, std::move(subject), all));
    handler.apply(person_says(id, all[0].agent), kNow);
  };
  for (int i = 0; i < 5; ++i) again(ConflictKind::resource, "gpu", kTwo);
  for (int i = 0; i < 3; ++i) {
    again(ConflictKind::resource, i == 0 ? "gpu" : "disk", {{.agent = 3}, {.agent = 2}});
  }
  again(ConflictKind::task_output, "o", kTwo);
  const auto found = handler.recurring(3);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].count, 5U);
  EXPECT_EQ(found[0].advice, ConflictAdvice::partition) << "one thing, again and again";
  EXPECT_EQ(found[1].a, 2U);
  EXPECT_EQ(found[1].b, 3U);
  EXPECT_EQ(found[1].advice, ConflictAdvice::acquire_in_order) << "several things";
  EXPECT_EQ(found[2].advice, ConflictAdvice::separate_outputs);
}

TEST(ConflictHandler, SaysByEventsWhatTheBusNames) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(handler, report_of(ConflictKind::resource, "r", kTwo));
  reported(handler, report_of(ConflictKind::task_output, "o", kTwo));
  reported(handler, report_of(ConflictKind::temporal_paradox, "t", kTwo));
  handler.apply(person_says(id, 1), kNow);
  std::vector<std::uint16_t> kinds;
  handler.events().after(0, [&](const EventRecord& event) { kinds.push_back(event.kind); });
  EXPECT_EQ(kinds, (std::vector<std::uint16_t>{26, 27, 28, 29, 30}))
      << "conflict:resource, task, mesh, escalated, resolved";
}

TEST(ConflictHandler, HasThePatternOfARoom) {
  ConflictHandler handler({}, 1);
  const std::uint64_t hash = handler.state_hash();
  for (const std::int64_t ns : {std::int64_t{-1}, INT64_MIN, kInstantMaxNs + 1, INT64_MAX}) {
    EXPECT_NE(handler.apply(report_of(ConflictKind::resource, "r", kTwo), Nanos{ns}).code,
              Errc::ok);
    ticked(handler, Nanos{ns});
  }
  EXPECT_EQ(handler.state_hash(), hash);
  EXPECT_EQ(handler.counters().refused, 4U);
  EXPECT_EQ(handler.clock_regressions(), 0U) << "an instant that cannot be is no instant";
  const auto none_such = ConflictConfig::preset("no-such");
  ASSERT_FALSE(none_such);
  EXPECT_EQ(none_such.error().code, Errc::unknown_preset);
  for (const auto name : ConflictConfig::names()) {
    EXPECT_NE(none_such.error().sentence.find(name), std::string::npos) << name;
    EXPECT_TRUE(ConflictHandler::validate(ConflictConfig::preset(name).value())) << name;
  }
  for (const std::uint32_t count : {0U, kEventsMax + 1}) {
    ConflictConfig config;
    config.events_max = count;
    EXPECT_NE(ConflictHandler::validate(config).error().sentence.find("events_max"),
              std::string::npos);
  }
  const std::array bytes{static_cast<std::byte>(std::variant_size_v<ConflictCommand>)};
  StateReader reader(bytes);
  ConflictHandler::decode_command(reader);
  EXPECT_EQ(reader.finish("command").error().code, Errc::corrupt);
}

TEST(ConflictHandler, AllocatesNothingForAReportOfContention) {
  ConflictHandler handler(small_conflicts());
  ConflictCommand first = report_of(ConflictKind::resource, "r", kTwo);
  ConflictCommand second = report_of(ConflictKind::resource, "s", kTwo);
  handler.apply(first, kNow);
  const std::uint64_t before = mesh::testing::allocation_count();
  const auto reply = handler.apply(second, kNow);
  EXPECT_EQ(mesh::testing::allocation_count(), before);
  EXPECT_EQ(reply.stage, ConflictStage::queued);
}

TEST(ConflictHandler, ItsBytesStand) {
  auto config = small_conflicts();
  config.allows_lww = true;
  auto retried = report_of(ConflictKind::capability_mismatch, "c", kTwo);
  retried.note = "cannot";
  auto merged = resolve_by(3, branch_and_reconcile);
  merged.winner = 1;
  merged.note = "merged by hand";
  const Evidence clocks{{}, {}, {{0, {{0, 1}}}, {1, {{1, 1}}}}};
  EXPECT_EQ(
      coordination::testing::story<ConflictHandler>(
          config,
          {report_of(ConflictKind::resource, "r",
                     {{.agent = 0, .priority = 1}, {.agent = 1, .priority = 2}}),
           conflict::AutoResolve{1, {}}, report_of(ConflictKind::data_contradiction, "d", kTwo),
           conflict::AutoResolve{2, {{{4, 0, 2}}, {{0, 5, 1, true}, {1, 6, 1, true}}, {}}},
           report_of(ConflictKind::context_divergence, "x", kTwo), conflict::AutoResolve{3, clocks},
           conflict::Logged{2}, merged, retried, conflict::AutoResolve{4, {}}, conflict::Query{4},
           report_of(ConflictKind::task_output, "o",
                     {{.agent = 2, .timestamp = 5}, {.agent = 3, .timestamp = 6}}),
           conflict::AssignManual{5, 9, "look"}, resolve_by(5, lww), person_says(5, 2)}),
      9061710334443517108U);
}

}  // namespace of_conflict_life_test
}  // namespace mesh::tasks
