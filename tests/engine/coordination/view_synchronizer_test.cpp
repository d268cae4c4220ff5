#include "engine/coordination/view_synchronizer.hpp"

#include <map>
#include <string>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/view_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_view_synchronizer_test {

using testing::Agents;
using testing::block_of;
using testing::count_of;
using testing::golden;
using testing::Json;
using testing::matches;
using testing::qc_of;
using testing::small_views;
using testing::tc_of;
using testing::timeout_of;
using testing::view_ms;
using testing::views_of;

// A name of a golden as an id: in the same order.
std::uint64_t id_of(const std::string& name) { return static_cast<std::uint64_t>(name.back()); }
Agents ids_of(const Json& names) {
  Agents ids;
  for (const auto& name : names) ids.push_back(id_of(name));
  return ids;
}
ViewSynchronizer golden_views(const Json& inputs) {
  ViewSynchronizer views(small_views(id_of(inputs.at("me"))));
  for (const auto& [name, weight] : inputs.at("members").items()) {
    views.apply(view::RegisterAgent{id_of(name), weight, {}}, Nanos{0});
  }
  views.apply(view::StartEpoch{}, Nanos{0});
  return views;
}
std::string name_of_leader(std::uint64_t id) { return {static_cast<char>(id)}; }
ViewReply enter(ViewSynchronizer& views, std::uint64_t view, Nanos now = Nanos{0}) {
  return views.apply(view::ReceiveQc{qc_of(view - 1, {1, 2, 3})}, now);
}

// --- goldens -----------------------------------------------------------------------------------

TEST(ViewSynchronizer, GoldenQuorumTable) {
  const auto [inputs, expected] = golden("view_synchronizer", "quorum_table");
  Json actual;
  for (const auto model : {FaultModel::byzantine, FaultModel::crash}) {
    Json rows = Json::array();
    for (const std::uint64_t weight : inputs.at("weights")) {
      const auto size = quorum_size(weight, model, QuorumRule::minimal);
      rows.push_back({{"W", weight},
                      {"F", size.faults},
                      {"Q", size.quorum},
                      {"live_max", size.live},
                      {"amplify", size.amplify}});
      EXPECT_EQ(quorum_size(weight, model, QuorumRule::max_live).quorum, size.live);
    }
    actual[model == FaultModel::byzantine ? "byzantine" : "crash"] = rows;
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ViewSynchronizer, GoldenTimeouts) {
  const auto [inputs, expected] = golden("view_synchronizer", "timeouts");
  auto config = small_views();
  config.base_timeout = view_ms(inputs.at("base_ms"));
  config.max_timeout = view_ms(inputs.at("cap_ms"));
  config.multiplier_ppm = static_cast<std::uint32_t>(1e6 * inputs.at("mult").get<double>());
  const ViewSynchronizer views(config);
  Json actual = Json::array();
  for (std::uint32_t k = 0; k < expected.size(); ++k) {
    actual.push_back(static_cast<double>(views.timeout_after(k).count()) / 1e6);
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(ViewSynchronizer, GoldenQuorumCertificate) {
  const auto [inputs, expected] = golden("view_synchronizer", "quorum_certificate");
  auto views = golden_views(inputs);
  Json results = Json::array();
  Json leader;
  for (const auto& step : inputs.at("steps")) {
    const auto reply =
        views.apply(view::ReceiveQc{qc_of(step.at(1), ids_of(step.at(2)))}, Nanos{0});
    const auto status = reply.code == Errc::ok ? to_string(reply.outcome) : name_of(reply.code);
    results.push_back({{"status", status}, {"view", views.current_view()}});
  }
  EXPECT_TRUE(matches(expected.at("results"), results)) << results.dump();
  EXPECT_EQ("agent-" + name_of_leader(views.leader(1)), expected.at("leader_of_view_1"));
}

TEST(ViewSynchronizer, GoldenTimeoutAmplification) {
  const auto [inputs, expected] = golden("view_synchronizer", "timeout_amplification");
  auto views = golden_views(inputs);
  const std::uint64_t start = inputs.at("start_view");
  views.apply(view::ReceiveQc{qc_of(start - 1, ids_of(Json{"A", "B", "C"}))}, Nanos{0});
  Json actual = Json::array();
  for (const auto& step : inputs.at("steps")) {
    const auto reply = views.apply(
        view::ReceiveTimeout{timeout_of(step.at(1), id_of(step.at(2).get<std::string>()))},
        Nanos{0});
    Json row{{"view", views.current_view()}};
    row["status"] = reply.outcome == ViewOutcome::ignored ? "ignored" : "ok";
    if (reply.outcome != ViewOutcome::ignored) {
      Json actions = Json::array();
      for (const auto& sent : reply.sends) {
        actions.push_back(sent.kind == ViewSendKind::timeout ? "broadcast_timeout"
                          : sent.kind == ViewSendKind::tc    ? "relay_tc"
                                                             : "other");
      }
      row["actions"] = actions;
    }
    actual.push_back(row);
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
}

TEST(ViewSynchronizer, GoldenLeaders) {
  const auto [inputs, expected] = golden("view_synchronizer", "leaders");
  Json actual;
  for (const auto rule : {LeaderRule::round_robin, LeaderRule::sticky}) {
    auto config = small_views('A');
    config.leader = rule;
    config.sticky_views = inputs.at("sticky_views");
    ViewSynchronizer views(config);
    for (const std::string name : inputs.at("members")) {
      views.apply(view::RegisterAgent{id_of(name), 1, {}}, Nanos{0});
    }
    views.apply(view::StartEpoch{}, Nanos{0});
    Json leaders = Json::array();
    for (const std::uint64_t view : inputs.at("views")) {
      leaders.push_back(name_of_leader(views.leader(view)));
    }
    actual[rule == LeaderRule::sticky ? "sticky" : "round_robin"] = leaders;
    if (rule != LeaderRule::sticky) continue;
    for (const auto& [text, target] : expected.at("sticky_view_entered_after_timeout_of").items()) {
      ViewSynchronizer fresh = views;
      fresh.apply(view::ReceiveTc{tc_of(std::stoull(text), ids_of(Json{"A", "B", "C"}))}, Nanos{0});
      actual["sticky_view_entered_after_timeout_of"][text] = fresh.current_view();
    }
  }
  EXPECT_TRUE(matches(expected, actual)) << actual.dump();
}

TEST(ViewSynchronizer, TwoQuorumsShareAnHonestMemberAndTheHonestAreOne) {
  for (std::uint64_t weight = 1; weight < 2'000; ++weight) {
    const auto lies = quorum_size(weight, FaultModel::byzantine, QuorumRule::minimal);
    ASSERT_GE(2 * lies.quorum, weight + lies.faults + 1) << weight;
    ASSERT_LE(lies.quorum, lies.live) << weight;
    ASSERT_EQ(lies.amplify, lies.faults + 1) << weight;
    const auto stops = quorum_size(weight, FaultModel::crash, QuorumRule::minimal);
    ASSERT_GE(2 * stops.quorum, weight + 1) << weight;
    ASSERT_LE(stops.quorum, stops.live) << weight;
  }
  EXPECT_EQ(quorum_size(6, FaultModel::byzantine, QuorumRule::max_live).quorum, 5U);
}

// --- refusals ----------------------------------------------------------------------------------

TEST(ViewSynchronizer, RefusesBadInputAndChangesNothing) {
  auto views = views_of(small_views(), 4);
  enter(views, 3);
  auto heavy = qc_of(5, {1, 2, 3});
  heavy.weight = 4;
  auto light = qc_of(5, {1, 2});
  light.weight = 3;
  auto foreign_tc = tc_of(5, {1, 2, 3});
  foreign_tc.ranks.pop_back();
  auto rank_without_proof = tc_of(5, {1, 2, 3});
  rank_without_proof.ranks = {9, 1, 1};
  auto boast = timeout_of(5, 2);
  boast.rank = 9;
  auto forged = timeout_of(5, 2);
  forged.high_qc = qc_of(8, {2, 2, 2});
  auto forged_entry = timeout_of(5, 2);
  forged_entry.entered_by = tc_of(4, {2});
  auto nowhere = timeout_of(ViewSynchronizer::kViewMax + 1, 2);
  auto mixed = timeout_of(5, 2, qc_of(7, {1, 2, 3}));
  mixed.high_qc.epoch = 2;
  testing::expect_all_refused<ViewSynchronizer>(
      views,
      {{"time below zero", view::StartEpoch{}, Errc::invalid_argument, Nanos{-1}},
       {"register within an epoch", view::RegisterAgent{9, 1, {}}, Errc::wrong_state},
       {"remove within an epoch", view::RemoveAgent{1}, Errc::wrong_state},
       {"an epoch within an epoch", view::StartEpoch{}, Errc::wrong_state},
       {"more weight claimed than there is", view::ReceiveQc{heavy}, Errc::verification_failed},
       {"a quorum claimed", view::ReceiveQc{light}, Errc::verification_failed},
       {"no signers", view::ReceiveQc{qc_of(5, {})}, Errc::verification_failed},
       {"a repeated signer", view::ReceiveQc{qc_of(5, {2, 2, 3})}, Errc::verification_failed},
       {"a stranger", view::ReceiveQc{qc_of(5, {2, 3, 77})}, Errc::verification_failed},
       {"a crowd", view::ReceiveQc{qc_of(5, Agents(9, 2))}, Errc::verification_failed},
       {"a view beyond all", view::ReceiveQc{qc_of(ViewSynchronizer::kViewMax + 1, {1, 2, 3})}},
       {"no quorum of timeouts", view::ReceiveTc{tc_of(5, {1, 2})}, Errc::verification_failed},
       {"fewer ranks than signers", view::ReceiveTc{foreign_tc}, Errc::verification_failed},
       {"a rank without its certificate", view::ReceiveTc{rank_without_proof},
        Errc::verification_failed},
       {"timeouts beyond all", view::ReceiveTc{tc_of(UINT64_MAX, {1, 2, 3})}},
       {"a timeout of a stranger", view::ReceiveTimeout{timeout_of(5, 77)},
        Errc::verification_failed},
       {"a timeout beyond all", view::ReceiveTimeout{nowhere}},
       {"a rank that nothing shows", view::ReceiveTimeout{boast}, Errc::verification_failed},
       {"with a forged certificate", view::ReceiveTimeout{forged}, Errc::verification_failed},
       {"with a forged entry", view::ReceiveTimeout{forged_entry}, Errc::verification_failed},
       {"with another epoch's certificate", view::ReceiveTimeout{mixed}, Errc::verification_failed},
       {"wishes of too few", view::ReceiveWishes{2, tc_of(5, {2})}, Errc::verification_failed},
       {"wishes shown by a stranger", view::ReceiveWishes{77, tc_of(5, {2, 3})},
        Errc::verification_failed},
       {"wishes beyond all", view::ReceiveWishes{2, tc_of(UINT64_MAX, {2, 3})}},
       {"help for a stranger", view::CatchUpWanted{77, 1}, Errc::no_such_agent},
       {"help without a certificate", view::ReceiveCatchUp{2, 1, {}, {}},
        Errc::verification_failed},
       {"help that is forged", view::ReceiveCatchUp{2, 1, qc_of(9, {2}), {}},
        Errc::verification_failed},
       {"help beyond all", view::ReceiveCatchUp{2, 1, qc_of(UINT64_MAX, {1, 2, 3}), {}}},
       {"a view of a stranger", view::PeerView{77, 5}, Errc::no_such_agent},
       {"a view of my own", view::PeerView{1, 5}, Errc::no_such_agent},
       {"a view beyond all of a peer", view::PeerView{2, UINT64_MAX}},
       {"a vote in another view", view::Vote{4, block_of(4)}, Errc::wrong_state},
       {"a commit that nothing certifies", view::Commit{3}, Errc::wrong_state}});
  EXPECT_EQ(views.current_view(), 3U);
}

TEST(ViewSynchronizer, RefusesBetweenEpochsWhatNeedsOne) {
  auto config = small_views();
  config.members_max = 2;
  ViewSynchronizer views(config);
  views.apply(view::RegisterAgent{1, 1, {}}, Nanos{0});
  views.apply(view::RegisterAgent{2, 1, {}}, Nanos{0});
  testing::expect_all_refused<ViewSynchronizer>(
      views, {{"no weight", view::RegisterAgent{3, 0, {}}},
              {"too much weight", view::RegisterAgent{3, ViewSynchronizer::kWeightMax + 1, {}}},
              {"no id", view::RegisterAgent{kEveryone, 1, {}}},
              {"twice", view::RegisterAgent{2, 5, {}}, Errc::already_exists},
              {"more than fit", view::RegisterAgent{3, 1, {}}, Errc::capacity},
              {"who is not there", view::RemoveAgent{3}, Errc::no_such_agent},
              {"no epoch to end", view::EndEpoch{}, Errc::wrong_state},
              {"a certificate", view::ReceiveQc{qc_of(0, {1, 2})}, Errc::wrong_state},
              {"timeouts", view::ReceiveTc{tc_of(0, {1, 2})}, Errc::wrong_state},
              {"a timeout", view::ReceiveTimeout{timeout_of(0, 2)}, Errc::wrong_state},
              {"wishes", view::ReceiveWishes{2, tc_of(0, {2})}, Errc::wrong_state},
              {"a question", view::CatchUpWanted{2, 0}, Errc::wrong_state},
              {"an answer", view::ReceiveCatchUp{2, 0, {}, {}}, Errc::wrong_state},
              {"a peer", view::PeerView{2, 1}, Errc::wrong_state},
              {"a vote", view::Vote{0, block_of(0)}, Errc::wrong_state},
              {"a commit", view::Commit{0}, Errc::wrong_state}});
  ViewSynchronizer nobody(config);
  testing::expect_refused<ViewSynchronizer>(
      nobody, {"an epoch of nobody", view::StartEpoch{}, Errc::wrong_state});
  EXPECT_EQ(nobody.leader(0), kEveryone);
  EXPECT_EQ(nobody.state(), ViewState::idle);
}

TEST(ViewSynchronizer, NamesTheFieldThatIsOutOfRange) {
  const auto refuses = [](auto change, std::string_view name) {
    ViewSyncConfig config;
    change(config);
    const auto judged = ViewSynchronizer::validate(config);
    ASSERT_FALSE(judged) << name;
    EXPECT_NE(judged.error().sentence.find(name), std::string::npos) << judged.error().sentence;
  };
  refuses([](auto& c) { c.sync = static_cast<SyncMode>(9); }, "sync");
  refuses([](auto& c) { c.self = kEveryone; }, "self");
  refuses([](auto& c) { c.base_timeout = Nanos{0}; }, "base_timeout");
  refuses([](auto& c) { c.max_timeout = Nanos{1}; }, "max_timeout");
  refuses([](auto& c) { c.multiplier_ppm = 999'999; }, "multiplier_ppm");
  refuses([](auto& c) { c.jitter_ppm = 100'001; }, "jitter_ppm");
  refuses([](auto& c) { c.sticky_views = 0; }, "sticky_views");
  refuses([](auto& c) { c.rep_alpha_ppm = 1'000'001; }, "rep_alpha_ppm");
  refuses([](auto& c) { c.rep_floor_ppm = 0; }, "rep_floor_ppm");
  refuses([](auto& c) { c.catch_up_threshold = 0; }, "catch_up_threshold");
  refuses([](auto& c) { c.max_view_jump = 0; }, "max_view_jump");
  refuses([](auto& c) { c.divergence_window = Nanos{0}; }, "divergence_window");
  refuses([](auto& c) { c.delta = Nanos{-1}; }, "delta");
  refuses([](auto& c) { c.history = 3; }, "history");
  refuses([](auto& c) { c.members_max = 101; }, "members_max");
}

TEST(ViewSynchronizer, PresetsAreWhatTheirNamesSay) {
  const auto fast = ViewSyncConfig::preset("fast-consensus").value();
  EXPECT_EQ(fast.base_timeout, view_ms(200));
  EXPECT_EQ(fast.max_timeout, view_ms(5'000));
  EXPECT_EQ(fast.multiplier_ppm, 1'500'000U);
  EXPECT_EQ(fast.leader, LeaderRule::round_robin);
  EXPECT_EQ(fast.quorum, QuorumRule::minimal);
  EXPECT_EQ(fast.catch_up_threshold, 2U);
  const auto careful = ViewSyncConfig::preset("byzantine-tolerant").value();
  EXPECT_EQ(careful.base_timeout, view_ms(1'000));
  EXPECT_EQ(careful.max_timeout, view_ms(60'000));
  EXPECT_EQ(careful.multiplier_ppm, 2'000'000U);
  EXPECT_EQ(careful.leader, LeaderRule::reputation);
  EXPECT_EQ(careful.quorum, QuorumRule::max_live);
  EXPECT_EQ(careful.auth, ViewAuth::ed25519);
  EXPECT_EQ(careful.catch_up_threshold, 5U);
  const auto busy = ViewSyncConfig::preset("high-throughput").value();
  EXPECT_EQ(busy.base_timeout, view_ms(500));
  EXPECT_EQ(busy.max_timeout, view_ms(10'000));
  EXPECT_EQ(busy.leader, LeaderRule::sticky);
  EXPECT_EQ(busy.sticky_views, 10U);
  EXPECT_EQ(busy.multiplier_ppm, 1'500'000U);
  EXPECT_EQ(busy.quorum, QuorumRule::minimal);
  for (const auto name : ViewSyncConfig::names()) {
    EXPECT_FALSE(is_below_4delta(ViewSyncConfig::preset(name).value())) << name;
  }
}

// --- bytes, restarts ---------------------------------------------------------------------------

TEST(ViewSynchronizer, ReplaysToTheSameBytes) {
  for (const auto rule : {LeaderRule::round_robin, LeaderRule::reputation, LeaderRule::sticky}) {
    auto config = small_views();
    config.leader = rule;
    config.jitter_ppm = 100'000;
    testing::expect_replays<ViewSynchronizer>(
        config, testing::view_trace(config, 400, mesh::testing::seed()));
  }
}

TEST(ViewSynchronizer, FindsEveryDamageOfASnapshot) {
  auto config = small_views();
  config.members_max = 4;
  config.history = 4;
  auto views = views_of(config, 4);
  enter(views, 3);
  views.apply(view::Vote{3, block_of(3)}, view_ms(1));
  ViewSyncActions actions;
  views.tick(view_ms(5'000), actions);
  testing::expect_damage_found(views, config);
}

TEST(ViewSynchronizer, ComesThroughADeathAtEveryStep) {
  const auto config = small_views();
  testing::CrashSweep<ViewSynchronizer> sweep(config, testing::view_trace(config, 40, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(7), 100U);
}

TEST(ViewSynchronizer, AllocatesNothingWhereItSendsNothing) {
  auto views = views_of(small_views(), 4);
  const view::ReceiveQc ahead{qc_of(5, {1, 2, 3})};
  const view::ReceiveTimeout first{timeout_of(6, 2)};
  const view::ReceiveTimeout late{timeout_of(3, 2)};
  const view::PeerView peer{3, 6};
  const ViewCommand commands[]{ahead, ahead, first, first, late, peer, view::Vote{6, block_of(6)}};
  std::uint64_t sent = 0;
  ViewSyncActions actions;
  views.tick(view_ms(1), actions);
  const std::uint64_t before = mesh::testing::allocation_count();
  for (const auto& command : commands) {
    sent += views.apply(command, view_ms(2)).sends.size();
    views.tick(view_ms(3), actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count() - before, 2 * sent) << "a message is its own";
  EXPECT_EQ(views.current_view(), 6U);
}

}  // namespace of_view_synchronizer_test
}  // namespace mesh::coordination
