#include "engine/conflict/conflict_handler.hpp"

#include <algorithm>
#include <cctype>

#include "sched/quorum.hpp"
#include "tests/engine/conflict/conflict_kit.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::tasks {
namespace of_conflict_handler_test {

using coordination::testing::expect_all_refused;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using testing::conflict_ms;
using testing::kNow;
using testing::kTwo;
using testing::person_says;
using testing::report_of;
using testing::reported;
using testing::resolve_by;
using testing::small_conflicts;
using enum ResolutionStrategy;

TEST(ConflictHandler, GoldenPriorityTable) {
  const auto [inputs, expected] = golden("conflict_handler", "priority_table");
  Json actual = Json::array();
  ConflictHandler handler(small_conflicts());
  for (const auto& row : inputs) {
    const auto name = row.at(0).get<std::string>();
    auto report = report_of(ConflictKind::none, "s" + std::to_string(actual.size()), kTwo);
    for (std::size_t kind = 1; kind < kConflictKinds; ++kind) {
      const auto one = static_cast<ConflictKind>(kind);
      if (to_string(one) == name) report.kind = one;
    }
    report.depth = report.affected = row.at(1).get<std::uint32_t>();
    actual.push_back(handler.apply(report, kNow).priority);
  }
  EXPECT_TRUE(matches(expected, actual));
}

Json outcome(const ConflictReply& reply) {
  const auto name = [](std::uint32_t agent) { return "agent" + std::to_string(agent); };
  Json losers = Json::array();
  for (const std::uint32_t one : reply.resolution.losers) losers.push_back(name(one));
  return {{"winner", name(reply.resolution.winner)}, {"losers", losers}};
}

TEST(ConflictHandler, GoldenStrategies) {
  const auto [inputs, expected] = golden("conflict_handler", "strategies");
  const auto& given = inputs.at("priority");
  std::vector<Participant> files;
  for (const std::uint32_t agent : {1U, 2U, 3U}) {
    const auto& priority = given.at("agent" + std::to_string(agent));
    files.push_back({.agent = agent});
    if (!priority.is_null()) files.back().priority = priority.get<std::int64_t>();
  }
  auto config = small_conflicts();
  ConflictHandler strict(config);
  const auto refused = strict.apply(
      resolve_by(reported(strict, report_of(ConflictKind::resource, "shared-file", files)),
                 priority),
      kNow);
  config.default_priority = given.at("default_priority").get<std::int64_t>();
  ConflictHandler handler(config);
  const auto by_priority = handler.apply(
      conflict::AutoResolve{
          reported(handler, report_of(ConflictKind::resource, "shared-file", files)), {}},
      kNow);

  std::vector<Participant> voted;
  Evidence evidence;
  for (const auto& [name, row] : inputs.at("votes_and_timestamp").items()) {
    const auto agent = static_cast<std::uint32_t>(name[0] - 'a');
    voted.push_back({.agent = agent, .timestamp = row.at(1).get<std::uint64_t>()});
    for (std::uint32_t i = 0; i < row.at(0).get<std::uint32_t>(); ++i) {
      evidence.votes.push_back({10 * agent + i, agent, 1});
    }
  }
  const auto by_votes = handler.apply(
      conflict::AutoResolve{reported(handler, report_of(ConflictKind::task_output, "out", voted)),
                            evidence},
      kNow);
  const Json actual{
      {"priority", outcome(by_priority)},
      {"priority_without_default", std::string(name_of(refused.code))},
      {"vote_then_timestamp", std::string(1, static_cast<char>('a' + by_votes.resolution.winner))}};
  EXPECT_TRUE(matches(expected, actual));
  EXPECT_EQ(by_votes.resolution.reason, ResolutionReason::earliest_timestamp);
}

// The quorum that scatter-gather and conflicts share is sched's.
TEST(ConflictHandler, GoldenTrinaryQuorum) {
  const auto [inputs, expected] = golden("conflict_handler", "trinary_quorum");
  Json actual = Json::array();
  for (const auto& row : inputs.at("n_ready_conflict_transit")) {
    const sched::QuorumCounts counts{row.at(1), row.at(2), row.at(3)};
    const auto verdict = sched::trinary_quorum(row.at(0).get<std::uint64_t>(), counts);
    if (!verdict) {
      actual.push_back(std::string(name_of(verdict.error().code)));
      continue;
    }
    std::string decision(name_of(verdict->decision));
    std::transform(decision.begin(), decision.end(), decision.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    Json one{{"decision", decision}};
    if (decision == "PROCEED") one["confidence"] = verdict->confidence;
    actual.push_back(one);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ConflictHandler, RefusesWhatCannotBeAndStaysAsItWas) {
  ConflictHandler handler(small_conflicts());
  const auto open = reported(handler, report_of(ConflictKind::resource, "r", kTwo));
  const auto ended = reported(handler, report_of(ConflictKind::other, "ended", kTwo));
  handler.apply(person_says(ended, 1), kNow);
  const std::string long_note(kConflictNoteMax + 1, 'x');
  auto noted = report_of(ConflictKind::resource, "n", kTwo);
  noted.note = long_note;
  auto named = resolve_by(open, timestamp);
  named.winner = 0;
  auto merged = resolve_by(open, branch_and_reconcile);
  merged.winner = 0;
  const auto report = [](std::string subject, std::vector<Participant> all) {
    return report_of(ConflictKind::resource, std::move(subject), std::move(all));
  };
  expect_all_refused<ConflictHandler>(
      handler,
      {{"no subject", report("", kTwo), Errc::invalid_id, kNow},
       {"a subject too long", report(std::string(129, 'x'), kTwo), Errc::invalid_id, kNow},
       {"no kind", report_of(ConflictKind::none, "x", kTwo), Errc::invalid_argument, kNow},
       {"an unknown kind", report_of(static_cast<ConflictKind>(77), "x", kTwo),
        Errc::invalid_argument, kNow},
       {"one alone", report("x", {{.agent = 1}}), Errc::invalid_argument, kNow},
       {"nobody", report_of(ConflictKind::other, "x", {}), Errc::invalid_argument, kNow},
       {"one twice", report("x", {{.agent = 1}, {.agent = 1}}), Errc::invalid_argument, kNow},
       {"too many", report("x", std::vector<Participant>(5)), Errc::invalid_argument, kNow},
       {"no such agent", report("x", {{.agent = 1}, {.agent = 8}}), Errc::invalid_argument, kNow},
       {"a reputation above one",
        report("x", {{.agent = 1, .reputation_ppm = 1'000'001}, {.agent = 2}}),
        Errc::invalid_argument, kNow},
       {"a bid below nothing", report("x", {{.agent = 1, .bid = -1}, {.agent = 2}}),
        Errc::invalid_argument, kNow},
       {"a note too long", noted, Errc::invalid_argument, kNow},
       {"the same again", report("r", {{.agent = 1}, {.agent = 0}}), Errc::already_exists, kNow},
       {"before time", report("x", kTwo), Errc::invalid_argument, Nanos{-1}},
       {"unknown", resolve_by(99, timestamp), Errc::not_found, kNow},
       {"no strategy", resolve_by(open, none), Errc::invalid_argument, kNow},
       {"no such strategy", resolve_by(open, static_cast<ResolutionStrategy>(99)),
        Errc::invalid_argument, kNow},
       {"resolved twice", person_says(ended, 1), Errc::wrong_state, kNow},
       {"no priorities", resolve_by(open, priority), Errc::invalid_argument, kNow},
       {"no timestamps", resolve_by(open, timestamp), Errc::invalid_argument, kNow},
       {"no reputations", resolve_by(open, reputation), Errc::invalid_argument, kNow},
       {"no bids", resolve_by(open, auction), Errc::invalid_argument, kNow},
       {"no clocks", resolve_by(open, clock_reconciliation), Errc::invalid_argument, kNow},
       {"no clocks of branches", resolve_by(open, branch_and_reconcile), Errc::invalid_argument,
        kNow},
       {"a machine's strategy with a winner", named, Errc::invalid_argument, kNow},
       {"merged before there were branches", merged, Errc::wrong_state, kNow},
       {"a person without a choice", resolve_by(open, manual), Errc::invalid_argument, kNow},
       {"a person's choice takes no part", person_says(open, 5), Errc::invalid_argument, kNow},
       {"a vote for a stranger", resolve_by(open, vote, {{{1, 5, 1}}, {}, {}}),
        Errc::invalid_argument, kNow},
       {"a stranger's origin", resolve_by(open, provenance, {{}, {{5, 1, 1, true}}, {}}),
        Errc::invalid_argument, kNow},
       {"a clock twice",
        resolve_by(open, clock_reconciliation, {{}, {}, {{0, {{0, 1}}}, {0, {{0, 1}}}}}),
        Errc::invalid_argument, kNow},
       {"by the chain, without inputs", conflict::AutoResolve{open, {}}, Errc::invalid_argument,
        kNow},
       {"by the chain, unknown", conflict::AutoResolve{99, {}}, Errc::not_found, kNow},
       {"by the chain, resolved", conflict::AutoResolve{ended, {}}, Errc::wrong_state, kNow},
       {"assigned, unknown", conflict::AssignManual{99, 0, {}}, Errc::not_found, kNow},
       {"assigned, resolved", conflict::AssignManual{ended, 0, {}}, Errc::wrong_state, kNow},
       {"assigned with a long note", conflict::AssignManual{open, 0, long_note},
        Errc::invalid_argument, kNow},
       {"asked for, unknown", conflict::Query{99}, Errc::not_found, kNow},
       {"logged before it is written", conflict::Logged{99}, Errc::invalid_argument, kNow}});
}

TEST(ConflictHandler, RefusesConfigsThatCannotBe) {
  const auto refused = [](auto&& change) {
    ConflictConfig config = small_conflicts();
    change(config);
    const auto judged = ConflictHandler::validate(config);
    return !judged && judged.error().code == Errc::invalid_config;
  };
  EXPECT_TRUE(refused([](auto& config) { config.participants_max = 65; }));
  EXPECT_TRUE(refused([](auto& config) { config.conflicts_max = 0; }));
  EXPECT_TRUE(refused([](auto& config) { config.unlogged_max = 0; }));
  EXPECT_TRUE(refused([](auto& config) { config.retention_ns = Nanos{0}; }));
  EXPECT_TRUE(refused([](auto& config) { config.default_priority = kNotGiven; }));
  EXPECT_TRUE(refused([](auto& config) { config.chains[1] = {}; })) << "a kind without a chain";
  EXPECT_TRUE(refused([](auto& config) { config.chains[1] = {{lww, manual}}; }));
  EXPECT_TRUE(refused([](auto& config) { config.chains[1] = {{manual, vote}}; }));
  EXPECT_FALSE(refused([](auto& config) {
    config.allows_lww = true;
    config.chains[1] = {{lww, manual}};
  }));
}

TEST(ConflictHandler, DoesNotInventInputsFromTheOrderOfTheList) {
  for (const ResolutionStrategy strategy : {priority, timestamp, reputation, lww, auction}) {
    auto config = small_conflicts();
    config.allows_lww = true;
    ConflictHandler handler(config);
    const auto id = reported(handler, report_of(ConflictKind::resource, "r",
                                                {{.agent = 0}, {.agent = 1}, {.agent = 2}}));
    EXPECT_EQ(handler.apply(resolve_by(id, strategy), kNow).code, Errc::invalid_argument)
        << to_string(strategy);
    EXPECT_EQ(handler.find(id)->stage, ConflictStage::queued);
  }
}

TEST(ConflictHandler, ATieGoesToTheEarlierTimestampThenToTheLowerAgent) {
  ConflictHandler handler(small_conflicts());
  const auto stamped = reported(handler, report_of(ConflictKind::resource, "r",
                                                   {{.agent = 0, .priority = 5, .timestamp = 30},
                                                    {.agent = 1, .priority = 5, .timestamp = 20},
                                                    {.agent = 2, .priority = 4, .timestamp = 10}}));
  const auto first = handler.apply(resolve_by(stamped, priority), kNow);
  EXPECT_EQ(first.resolution.winner, 1U);
  EXPECT_EQ(first.resolution.reason, ResolutionReason::tie_by_timestamp);
  EXPECT_EQ(first.resolution.losers, (std::vector<std::uint32_t>{0, 2}));
  const auto bare =
      reported(handler, report_of(ConflictKind::resource, "s",
                                  {{.agent = 3, .priority = 5}, {.agent = 2, .priority = 5}}));
  const auto second = handler.apply(resolve_by(bare, priority), kNow);
  EXPECT_EQ(second.resolution.winner, 2U);
  EXPECT_EQ(second.resolution.reason, ResolutionReason::tie_by_agent);
}

TEST(ConflictHandler, AVoterCountsOnceAndMayAbstain) {
  ConflictHandler handler(small_conflicts());
  const auto winner_by = [&](std::vector<Vote> votes) {
    const auto id =
        reported(handler, report_of(ConflictKind::data_contradiction,
                                    "v" + std::to_string(handler.counters().reported), kTwo));
    return handler.apply(resolve_by(id, vote, {std::move(votes), {}, {}}), kNow);
  };
  EXPECT_EQ(winner_by({{1, 0, 1}, {1, 0, 1}, {1, 0, 1}, {2, 1, 2}}).resolution.winner, 1U)
      << "one voter three times is one vote";
  EXPECT_EQ(winner_by({{1, 0, 9}, {1, 1, 9}, {2, 1, 1}}).resolution.winner, 1U)
      << "who votes for both votes for none";
  EXPECT_EQ(winner_by({{1, kNobody, 9}, {2, 0, 1}}).resolution.winner, 0U);
  const auto none_votes = winner_by({{1, kNobody, 9}});
  EXPECT_EQ(none_votes.stage, ConflictStage::manual);
  EXPECT_EQ(none_votes.resolution.reason, ResolutionReason::exhausted);
}

TEST(ConflictHandler, EvenProvenanceGoesToTheVoteAndAnEvenVoteToAPerson) {
  ConflictHandler handler(small_conflicts());
  const auto report = [&](const char* name) {
    return reported(handler, report_of(ConflictKind::data_contradiction, name, kTwo));
  };
  Evidence clear{{}, {{0, 10, 900'000, true}, {0, 11, 800'000, true}, {1, 12, 400'000, true}}, {}};
  const auto proven = handler.apply(conflict::AutoResolve{report("a"), clear}, kNow);
  EXPECT_EQ(proven.resolution.winner, 0U);
  EXPECT_EQ(proven.resolution.reason, ResolutionReason::strongest_provenance);
  Evidence even{{{7, 1, 1}}, {{0, 10, 500'000, true}, {1, 11, 500'000, true}}, {}};
  const auto voted = handler.apply(conflict::AutoResolve{report("b"), even}, kNow);
  EXPECT_EQ(voted.resolution.winner, 1U);
  EXPECT_EQ(voted.resolution.strategy, vote);
  even.votes.push_back({8, 0, 1});
  const auto id = report("c");
  EXPECT_EQ(handler.apply(conflict::AutoResolve{id, even}, kNow).stage, ConflictStage::manual);
  EXPECT_EQ(handler.view().manual, 1U);
  EXPECT_EQ(handler.apply(conflict::AutoResolve{id, clear}, kNow).code, Errc::wrong_state)
      << "it is a person's now";
  EXPECT_EQ(handler.apply(person_says(id, 0), kNow).resolution.reason, ResolutionReason::person);
}

TEST(ConflictHandler, OriginsThatNobodyVerifiedCountForNothing) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(handler, report_of(ConflictKind::data_contradiction, "d", kTwo));
  const Evidence evidence{
      {}, {{0, 10, 900'000, false}, {0, 11, 900'000, false}, {1, 12, 100'000, true}}, {}};
  EXPECT_EQ(handler.apply(conflict::AutoResolve{id, evidence}, kNow).resolution.winner, 1U);
}

TEST(ConflictHandler, ClocksTellWhoWasFirstAndWhoseStampDrifts) {
  ConflictHandler handler(small_conflicts());
  const auto paradox = report_of(ConflictKind::temporal_paradox, "t",
                                 {{.agent = 0, .timestamp = 900},
                                  {.agent = 1, .timestamp = 100},
                                  {.agent = 2, .timestamp = 200}});
  // 0 -> 1 -> 2 by their clocks; by its stamp 0 comes last.
  const Evidence clocks{
      {}, {}, {{0, {{0, 1}}}, {1, {{0, 1}, {1, 1}}}, {2, {{0, 1}, {1, 1}, {2, 1}}}}};
  const auto told = handler.apply(conflict::AutoResolve{reported(handler, paradox), clocks}, kNow);
  EXPECT_EQ(told.resolution.winner, 0U);
  EXPECT_EQ(told.resolution.drifting, std::vector<std::uint32_t>{0});
  const Evidence unordered{{}, {}, {{0, {{0, 1}}}, {1, {{1, 1}}}, {2, {{2, 1}}}}};
  EXPECT_EQ(handler.apply(conflict::AutoResolve{reported(handler, paradox), unordered}, kNow).stage,
            ConflictStage::manual)
      << "clocks that order nothing decide nothing";
  const Evidence impossible{{}, {}, {{0, {{1, 1}}}, {1, {{1, 1}}}, {2, {{2, 1}}}}};
  auto again = paradox;
  again.subject = "u";
  EXPECT_EQ(handler.apply(conflict::AutoResolve{reported(handler, again), impossible}, kNow).stage,
            ConflictStage::manual)
      << "no run has such clocks";
}

TEST(ConflictHandler, BranchesStandUntilSomebodyHasMergedThem) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(handler, report_of(ConflictKind::context_divergence, "plan",
                                              {{.agent = 0}, {.agent = 1}, {.agent = 2}}));
  // 2 had read what 0 wrote; 1 wrote beside them.
  const Evidence clocks{{}, {}, {{0, {{0, 1}}}, {1, {{1, 1}}}, {2, {{0, 1}, {2, 1}}}}};
  const auto kept = handler.apply(conflict::AutoResolve{id, clocks}, kNow);
  EXPECT_EQ(kept.stage, ConflictStage::resolving);
  EXPECT_EQ(kept.resolution.branches, (std::vector<std::uint32_t>{1, 2}));
  EXPECT_EQ(kept.resolution.winner, kNobody);
  EXPECT_TRUE(handler.is_quarantined("plan"));
  EXPECT_EQ(handler.apply(resolve_by(id, timestamp), kNow).code, Errc::wrong_state);
  auto merged = resolve_by(id, branch_and_reconcile);
  merged.winner = 1;
  const auto ended = handler.apply(merged, kNow);
  EXPECT_EQ(ended.stage, ConflictStage::resolved);
  EXPECT_EQ(ended.resolution.reason, ResolutionReason::merged);
  EXPECT_EQ(ended.resolution.losers, (std::vector<std::uint32_t>{0, 2}));
}

TEST(ConflictHandler, WhoHadSeenAllOtherWritesNeedsNoMerge) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(handler, report_of(ConflictKind::context_divergence, "plan", kTwo));
  const Evidence clocks{{}, {}, {{0, {{0, 2}, {1, 1}}}, {1, {{1, 1}}}}};
  const auto told = handler.apply(conflict::AutoResolve{id, clocks}, kNow);
  EXPECT_EQ(told.stage, ConflictStage::resolved);
  EXPECT_EQ(told.resolution.winner, 0U);
  EXPECT_EQ(told.resolution.reason, ResolutionReason::saw_all_others);
}

TEST(ConflictHandler, RetryLetsNobodyWinAndGivesUpAtItsLimit) {
  auto config = small_conflicts();
  config.chains[static_cast<std::size_t>(ConflictKind::resource)] = {{retry, manual}};
  config.retry_ns = conflict_ms(100);
  ConflictHandler handler(config);
  for (std::uint32_t attempt = 0; attempt < 4; ++attempt) {
    auto report = report_of(ConflictKind::resource, "r" + std::to_string(attempt), kTwo);
    report.attempt = attempt;
    const auto told = handler.apply(conflict::AutoResolve{reported(handler, report), {}}, kNow);
    if (attempt == 3) {
      EXPECT_EQ(told.stage, ConflictStage::manual);
      continue;
    }
    EXPECT_EQ(told.resolution.winner, kNobody);
    EXPECT_EQ(told.resolution.losers, (std::vector<std::uint32_t>{0, 1}));
    EXPECT_LE(told.resolution.retry_after, conflict_ms(100 << attempt));
    EXPECT_GT(told.resolution.retry_after, Nanos{0});
  }
  EXPECT_TRUE(handler.verify());
}

TEST(ConflictHandler, AnAuctionIsWonByTheHighestAtThePriceOfTheNext) {
  ConflictHandler handler(small_conflicts());
  const auto id = reported(
      handler, report_of(ConflictKind::resource, "gpu",
                         {{.agent = 0, .bid = 30}, {.agent = 1, .bid = 80}, {.agent = 2}}));
  const auto told = handler.apply(resolve_by(id, auction), kNow);
  EXPECT_EQ(told.resolution.winner, 1U);
  EXPECT_EQ(told.resolution.price, 30);
  EXPECT_EQ(told.resolution.losers, (std::vector<std::uint32_t>{0, 2}));
}

TEST(ConflictHandler, TheLastWriterWinsOnlyWhereThatIsAllowed) {
  const auto report = report_of(ConflictKind::task_output, "o",
                                {{.agent = 0, .timestamp = 5}, {.agent = 1, .timestamp = 9}});
  ConflictHandler strict(small_conflicts());
  const auto refused = strict.apply(resolve_by(reported(strict, report), lww), kNow);
  EXPECT_EQ(refused.refusal, Refusal::rejected_policy);
  EXPECT_EQ(refused.stage, ConflictStage::queued);
  auto config = small_conflicts();
  config.allows_lww = true;
  ConflictHandler handler(config);
  EXPECT_EQ(handler.apply(resolve_by(reported(handler, report), lww), kNow).resolution.winner, 1U);
}

}  // namespace of_conflict_handler_test
}  // namespace mesh::tasks
