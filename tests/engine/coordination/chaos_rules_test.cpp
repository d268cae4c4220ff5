// What holds of the chaos harness whatever it is told; what it refuses; its game days.
#include "engine/coordination/chaos_harness.hpp"
#include "tests/engine/coordination/chaos_kit.hpp"

namespace mesh::coordination {
namespace of_chaos_rules_test {

using testing::BadInput;
using testing::chaos_ms;
using testing::chaos_s;
using testing::chaos_trace;
using testing::ChaosRig;
using testing::small_chaos;
using testing::small_plan;

ChaosConfig tiny() {
  auto config = small_chaos();
  config.samples_max = 16;
  config.timeline_max = 8;
  config.agents_max = 20;
  config.safety.blast_radius_ppm = 200'000;
  return config;
}

TEST(ChaosRules, TheSameCommandsGiveTheSameBytesRestoredOrNot) {
  EXPECT_TRUE(rc::check("replay", [](std::uint64_t seed) {
    testing::expect_replays<ChaosHarness>(small_chaos(), chaos_trace(small_chaos(), 150, seed));
    RC_ASSERT(!::testing::Test::HasFailure());
  }));
}

TEST(ChaosRules, ASnapshotThatIsDamagedIsRefused) {
  ChaosHarness harness(tiny());
  ChaosActions actions;
  for (const auto& [now, command] : chaos_trace(tiny(), 120, 3)) {
    harness.apply(command, now);
    harness.tick(now, actions);
  }
  ASSERT_GT(harness.counters().injections, 0U);
  testing::expect_damage_found(harness, tiny());
}

// However the driver answers, or does not, and whatever else is said.
TEST(ChaosRules, NoMoreAgentsAreStruckThanTheRadiusOfTheirExperimentAllows) {
  EXPECT_TRUE(rc::check("blast radius", [](std::uint64_t seed) {
    const auto config = small_chaos();
    ChaosHarness harness(config);
    testing::ChaosPlayer player(seed);
    ChaosActions actions;
    std::map<std::uint32_t, std::uint32_t> radius;  // of the plan in each slot
    Nanos now{0};
    for (int i = 0; i < 300; ++i) {
      const auto command = player.next();
      const auto reply = harness.apply(command, now);
      const auto* made = std::get_if<chaos::Create>(&command);
      if (made != nullptr && reply.code == Errc::ok) {
        radius[reply.id] = made->safety.blast_radius_ppm;
      }
      harness.tick(now, actions);
      player.hear(actions);
      std::uint32_t widest = 0;  // of those that injected in this tick, one after another
      for (const auto& order : actions.orders) {
        if (!order.is_undo) widest = std::max(widest, radius.at(order.experiment));
      }
      for (const auto& order : actions.orders) {
        if (order.is_undo) continue;
        RC_ASSERT(harness.affected() <= blast_limit(harness.agents(), widest));
        for (const std::uint32_t agent : actions.targets_of(order)) {
          RC_ASSERT(harness.is_affected(agent));
        }
      }
      const auto sound = harness.verify();
      if (!sound) RC_FAIL(sound.error().sentence);
      now += chaos_ms(static_cast<std::int64_t>(player.rng().below(400)));
    }
  }));
}

// The dead-man switch: nobody answers any more, and nobody says anything but the time.
TEST(ChaosRules, NothingIsInForceAfterTheLastOfItHasExpired) {
  EXPECT_TRUE(rc::check("expiry", [](std::uint64_t seed) {
    const auto config = small_chaos();
    ChaosHarness harness(config);
    ChaosActions actions;
    Nanos last{0};
    Nanos now{0};
    for (const auto& [at, command] : chaos_trace(config, 200, seed)) {
      now = at;
      harness.apply(command, now);
      harness.tick(now, actions);
      for (const auto& order : actions.orders) last = std::max(last, order.expires);
    }
    harness.apply(chaos::Restarted{}, now);
    for (; now <= last; now += chaos_ms(500)) harness.tick(now, actions);
    harness.tick(std::max(now, last), actions);
    RC_ASSERT(!harness.is_armed());
    for (std::uint32_t agent = 0; agent < config.agents_max; ++agent) {
      RC_ASSERT(!harness.word(agent).is_set);
    }
    RC_ASSERT(harness.verify().has_value());
  }));
}

TEST(ChaosRules, ATickAgainAtTheSameInstantDoesNothing) {
  EXPECT_TRUE(rc::check("tick twice", [](std::uint64_t seed) {
    ChaosHarness harness(small_chaos());
    ChaosActions actions;
    for (const auto& [now, command] : chaos_trace(small_chaos(), 150, seed)) {
      harness.apply(command, now);
      harness.tick(now, actions);
      const std::uint64_t hash = harness.state_hash();
      harness.tick(now, actions);
      RC_ASSERT(harness.state_hash() == hash);
      RC_ASSERT(actions.orders.empty());
    }
  }));
}

TEST(ChaosRules, SelectionIsUniformWhateverTheSeed) {
  std::array<int, 10> drawn{};
  for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
    std::array<std::uint32_t, 10> agents{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    draw_targets(seed, 3, agents);
    for (int i = 0; i < 3; ++i) ++drawn[agents[static_cast<std::size_t>(i)]];
  }
  for (const int count : drawn) EXPECT_NEAR(count, 6'000, 300);  // four deviations: 260
}

TEST(ChaosRules, NearestRankIsWhatSortingGives) {
  EXPECT_TRUE(rc::check("nearest rank", [](std::vector<int> numbers, std::uint32_t q) {
    RC_PRE(!numbers.empty());
    const std::uint32_t q_ppm = q % 1'000'001;
    std::vector<double> values(numbers.begin(), numbers.end());
    auto sorted = values;
    std::sort(sorted.begin(), sorted.end());
    // The smallest with at least q of all at or below it.
    double expected = sorted.back();
    for (std::size_t i = sorted.size(); i-- > 0;) {
      if ((i + 1) * 1'000'000 >= std::uint64_t{q_ppm} * sorted.size()) expected = sorted[i];
    }
    RC_ASSERT(nearest_rank(values, q_ppm) == expected);
  }));
}

// --- refusals ----------------------------------------------------------------------------------

chaos::Create with(std::function<void(chaos::Create&)> change) {
  chaos::Create plan = small_plan("another");
  change(plan);
  return plan;
}

TEST(ChaosHarness, RefusesWhatIsNoPlanAndChangesNothing) {
  ChaosRig rig;
  rig.apply(small_plan());
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto bad = [](std::string name, chaos::Create plan, Errc code) {
    return BadInput<ChaosHarness>{std::move(name), std::move(plan), code, Nanos{0}};
  };
  testing::expect_all_refused<ChaosHarness>(
      rig.harness,
      {bad("no name", with([](auto& plan) { plan.name.clear(); }), Errc::invalid_id),
       bad("long name", with([](auto& plan) { plan.name.assign(129, 'x'); }), Errc::invalid_id),
       bad("no UTF-8", with([](auto& plan) { plan.name = "\xff"; }), Errc::invalid_id),
       bad("long description", with([](auto& plan) { plan.description.assign(129, 'x'); }),
           Errc::invalid_id),
       bad("same name", small_plan(), Errc::already_exists),
       bad("nothing to verify", with([](auto& plan) { plan.hypothesis.assertions.clear(); }),
           Errc::invalid_config),
       bad("tolerance", with([](auto& plan) { plan.hypothesis.tolerance_ppm = 1'000'001; }),
           Errc::invalid_config),
       bad("no window", with([](auto& plan) { plan.hypothesis.window = Nanos{0}; }),
           Errc::invalid_config),
       bad("not a number", with([=](auto& plan) { plan.hypothesis.assertions[0].value = nan; }),
           Errc::invalid_argument),
       bad("empty metric", with([](auto& plan) { plan.hypothesis.assertions[0].metric.clear(); }),
           Errc::invalid_argument),
       bad("between backwards",
           with([](auto& plan) { plan.hypothesis.assertions[0].op = AssertionOp::between; }),
           Errc::invalid_argument),
       bad("neither phases nor faults", with([](auto& plan) { plan.faults.clear(); }),
           Errc::invalid_argument),
       bad("both", with([](auto& plan) { plan.phases.resize(1); }), Errc::invalid_argument),
       bad("no duration", with([](auto& plan) { plan.faults[0].duration = Nanos{0}; }),
           Errc::invalid_argument),
       bad("endless", with([](auto& plan) { plan.faults[0].duration = Nanos::max(); }),
           Errc::invalid_argument),
       bad("nobody", with([](auto& plan) { plan.faults[0].targets.agents.clear(); }),
           Errc::invalid_argument),
       bad("twice the same agent", with([](auto& plan) {
             plan.faults[0].targets.agents = {3, 3};
           }),
           Errc::invalid_argument),
       bad("two faults of one type on one agent",
           with([](auto& plan) { plan.faults.push_back(plan.faults[0]); }), Errc::invalid_argument),
       bad("share above one", with([](auto& plan) { plan.faults[0].params.rate_ppm = 1'000'001; }),
           Errc::invalid_argument),
       bad("no radius", with([](auto& plan) {
             plan.has_safety = true;
             plan.safety.blast_radius_ppm = 0;
           }),
           Errc::invalid_config),
       bad("window backwards", with([](auto& plan) {
             plan.has_safety = true;
             plan.safety.blocked_windows = {{chaos_s(2), chaos_s(1), Nanos{0}}};
           }),
           Errc::invalid_argument),
       bad("switch between", with([](auto& plan) {
             plan.has_safety = true;
             plan.safety.kill_switches = {{"success_rate", AssertionOp::between, 1, Nanos{0}}};
           }),
           Errc::invalid_argument),
       bad("more phases than there may be", with([](auto& plan) {
             plan.faults.clear();
             plan.phases.resize(17, {"", {}, Nanos{0}, chaos_s(1), true, false});
           }),
           Errc::capacity),
       bad("starts before time", with([](auto& plan) { plan.starts_at = Nanos{-1}; }),
           Errc::invalid_argument)});
}

TEST(ChaosHarness, RefusesWhatIsNotThereOrNotInThatState) {
  ChaosRig rig;
  rig.apply(small_plan());
  auto unknown = small_plan("unknown metric");
  unknown.hypothesis.assertions[0].metric = "no-such";
  rig.apply(unknown);
  const double infinite = std::numeric_limits<double>::infinity();
  testing::expect_all_refused<ChaosHarness>(
      rig.harness,
      {{"sample of nothing", chaos::Sample{9, 1}, Errc::not_found, Nanos{0}},
       {"infinite", chaos::Sample{0, infinite}, Errc::invalid_argument, Nanos{0}},
       {"metric again", chaos::AddMetric{"success_rate"}, Errc::already_exists, Nanos{0}},
       {"metric without name", chaos::AddMetric{""}, Errc::invalid_id, Nanos{0}},
       {"label again", chaos::AddLabel{"chaos=allowed"}, Errc::already_exists, Nanos{0}},
       {"agent beyond", chaos::SetAgent{64}, Errc::no_such_agent, Nanos{0}},
       {"label unknown", chaos::SetAgent{1, 0, 0, ChaosRole::member, 2}, Errc::not_found, Nanos{0}},
       {"remove nobody", chaos::RemoveAgent{40}, Errc::no_such_agent, Nanos{0}},
       {"approve nothing", chaos::Approve{2, "me"}, Errc::not_found, Nanos{0}},
       {"approve by nobody", chaos::Approve{0, ""}, Errc::invalid_id, Nanos{0}},
       {"start nothing", chaos::Start{2}, Errc::not_found, Nanos{0}},
       {"start blind", chaos::Start{1}, Errc::verification_failed, Nanos{0}},
       {"pause a draft", chaos::Pause{0}, Errc::wrong_state, Nanos{0}},
       {"resume a draft", chaos::Resume{0}, Errc::wrong_state, Nanos{0}},
       {"kill nothing", chaos::Kill{2}, Errc::not_found, Nanos{0}},
       {"report nothing", chaos::Report{2}, Errc::not_found, Nanos{0}},
       {"forget a draft", chaos::Forget{0}, Errc::wrong_state, Nanos{0}},
       {"confirm nothing", chaos::Confirm{1, Errc::ok}, Errc::not_found, Nanos{0}},
       {"undo nothing", chaos::Undone{1}, Errc::not_found, Nanos{0}},
       {"recovered nobody", chaos::Recovered{40}, Errc::no_such_agent, Nanos{0}},
       {"its own cause", chaos::Effect{1, 1, 0, false}, Errc::invalid_argument, Nanos{0}},
       {"effect on nobody", chaos::Effect{1, 0, 64, false}, Errc::no_such_agent, Nanos{0}},
       {"no game day", chaos::BeginGameDay{0}, Errc::not_found, Nanos{0}},
       {"game day without steps", chaos::PlanGameDay{"day", {{"me", Participant::in_charge}}, {}},
        Errc::invalid_argument, Nanos{0}}});
}

TEST(ChaosHarness, RefusesConfigsOutsideTheirRangesByName) {
  const auto expect = [](std::function<void(ChaosConfig&)> change, std::string_view named) {
    ChaosConfig config;
    change(config);
    const auto judged = ChaosHarness::validate(config);
    ASSERT_FALSE(judged) << named;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(named), std::string::npos) << judged.error().sentence;
  };
  expect([](auto& config) { config.tick_ns = Nanos{0}; }, "tick_ns");
  expect([](auto& config) { config.grace_ns = Nanos::max(); }, "grace_ns");
  expect([](auto& config) { config.agents_max = 0; }, "agents_max");
  expect([](auto& config) { config.experiments_max = 65; }, "experiments_max");
  expect([](auto& config) { config.samples_max = 0; }, "samples_max");
  expect([](auto& config) { config.timeline_max = 0; }, "timeline_max");
  expect([](auto& config) { config.safety.blast_radius_ppm = 0; }, "blast_radius_ppm");
}

// --- game days ---------------------------------------------------------------------------------

chaos::PlanGameDay a_day(std::uint32_t experiment) {
  return {"friday",
          {{"ann", Participant::in_charge}, {"bob", Participant::observer}},
          {{"look", false, 0, "look at the console", chaos_s(5), 2},
           {"break", true, experiment, "", chaos_s(20), 0}}};
}

TEST(ChaosGameDay, GoesStepByStepAndWaitsForItsExperiment) {
  ChaosRig rig;
  const auto made = rig.apply(small_plan());
  const auto day = rig.apply(a_day(made.id));
  ASSERT_EQ(day.code, Errc::ok);
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 0, 0}).code, Errc::wrong_state) << "planning";
  rig.apply(chaos::BeginGameDay{day.id});
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 0, 0}).code, Errc::wrong_state) << "checkpoints";
  EXPECT_EQ(rig.apply(chaos::CheckOff{day.id, 0, 0, 1}).code, Errc::not_authorized);
  EXPECT_EQ(rig.apply(chaos::CheckOff{day.id, 0, 2, 0}).code, Errc::not_found);
  rig.apply(chaos::CheckOff{day.id, 0, 0, 0});
  rig.apply(chaos::CheckOff{day.id, 0, 1, 0});
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 1, 0}).code, Errc::wrong_state) << "out of turn";
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 0, 0}).code, Errc::ok);
  rig.apply(chaos::Start{made.id});
  rig.pass(chaos_s(3));
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 1, 0}).code, Errc::wrong_state) << "it runs";
  ASSERT_TRUE(rig.pass_until_over(made.id));
  EXPECT_EQ(rig.apply(chaos::ApproveStep{day.id, 1, 0}).game_day, GameDayState::debriefing);
  EXPECT_EQ(rig.apply(chaos::EndGameDay{day.id}).game_day, GameDayState::completed);
  const GameDayReport report = rig.harness.game_day(day.id);
  EXPECT_EQ(report.name, "friday");
  EXPECT_FALSE(report.was_aborted);
  ASSERT_EQ(report.steps.size(), 2U);
  EXPECT_EQ(report.steps[0].took, chaos_s(3));
  EXPECT_EQ(report.steps[0].checked, 3U);
  auto plan = a_day(made.id);
  const auto text = rig.harness.game_day_text(day.id, plan);
  ASSERT_TRUE(text) << text.error().sentence;
  EXPECT_EQ(text->find("# Game day: friday\n\ncompleted\n"), 0U) << *text;
  for (const char* const row :
       {"| look: look at the console | yes | ann | 5.0 s | 3.0 s | 2 of 2 | - |",
        "| break | yes | ann | 20.0 s |", "| completed, "})
    EXPECT_NE(text->find(row), std::string::npos) << row << " in " << *text;
  EXPECT_EQ(rig.harness.game_day_text(day.id + 1, plan).error().code, Errc::not_found);
  plan.name = "monday";
  EXPECT_EQ(rig.harness.game_day_text(day.id, plan).error().code, Errc::invalid_argument);
}

// What people write is text, and makes no cells.
TEST(ChaosGameDay, ItsReportIsATableWhateverPeopleCallTheirSteps) {
  ChaosRig rig;
  const auto made = rig.apply(small_plan());
  auto plan = a_day(made.id);
  plan.steps[0].description = "a|b\nc";
  const auto day = rig.apply(plan);
  ASSERT_EQ(day.code, Errc::ok);
  const std::string text = rig.harness.game_day_text(day.id, plan).value();
  EXPECT_NE(text.find("| a\\|b c: look at the console | no | - | 5.0 s | - | 0 of 2 | - |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\nplanning\n"), std::string::npos) << text;
}

TEST(ChaosGameDay, AbortsAllThatRunsInIt) {
  ChaosRig rig;
  const auto made = rig.apply(small_plan());
  const auto day = rig.apply(a_day(made.id));
  rig.apply(chaos::BeginGameDay{day.id});
  rig.apply(chaos::Start{made.id});
  rig.pass(chaos_s(3));
  ASSERT_TRUE(rig.harness.is_armed());
  EXPECT_EQ(rig.apply(chaos::AbortAll{day.id}).game_day, GameDayState::debriefing);
  rig.pass(chaos_s(1));
  EXPECT_FALSE(rig.harness.is_armed());
  EXPECT_EQ(rig.harness.state(made.id), ExperimentState::aborted);
  EXPECT_TRUE(rig.harness.game_day(day.id).was_aborted);
}

}  // namespace of_chaos_rules_test
}  // namespace mesh::coordination
