#include "engine/tasks/dependency_graph.hpp"

#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/tasks/graph_kit.hpp"

namespace mesh::tasks {
namespace of_dependency_graph_test {

using coordination::testing::expect_all_refused;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using testing::Ids;

using testing::small_graph;
using testing::task;
using testing::with;

// a is before b, b before d, ...: a diamond. 1 is a.
DependencyGraph diamond() { return with({task(1), task(2, {1}), task(3, {1}), task(4, {2, 3})}); }

// --- goldens -------------------------------------------------------------------------------------

// "t1" is 1, "a" is 1: names are numbers in the order of the alphabet.
std::uint64_t number_of(const Json& name) {
  const auto text = name.get<std::string>();
  return text.size() == 2 ? static_cast<std::uint64_t>(text[1] - '0')
                          : static_cast<std::uint64_t>(text[0] - 'a' + 1);
}
Json names_of(const Ids& ids, bool as_letters) {
  Json names = Json::array();
  for (const auto id : ids) {
    names.push_back(as_letters ? std::string(1, static_cast<char>('a' + id - 1))
                               : "t" + std::to_string(id));
  }
  return names;
}
Json run(const Json& steps, bool as_letters) {
  DependencyGraph graph(small_graph());
  Json actual = Json::array();
  for (const auto& step : steps) {
    const auto what = step.at(0).get<std::string>();
    if (what == "ready") {
      actual.push_back(names_of(graph.ready(), as_letters));
      continue;
    }
    DependencyGraphCommand command;
    if (what == "add") {
      Ids dependencies;
      for (const auto& name : step.at(2)) dependencies.push_back(number_of(name));
      command = task(number_of(step.at(1)), dependencies);
    } else if (what == "complete") {
      command = graph::MarkCompleted{number_of(step.at(1))};
    } else {
      command = graph::MarkFailed{number_of(step.at(1))};
    }
    const auto reply = graph.apply(command, Nanos{0});
    if (reply.code == Errc::cycle) {
      actual.push_back({{"status", "cycle"}, {"path", names_of(reply.path, as_letters)}});
    } else if (what == "add") {
      actual.push_back({{"status", std::string(name_of(reply.code))}});
    } else {
      actual.push_back(names_of(what == "fail" ? reply.cancelled : reply.ready, as_letters));
    }
  }
  return actual;
}

TEST(DependencyGraph, GoldenChainAndCycle) {
  const auto [inputs, expected] = golden("dependency_graph", "chain_and_cycle");
  EXPECT_TRUE(matches(expected, run(inputs, false)));
  const auto graph = with({task(1), task(2, {1}), task(3, {2})});
  EXPECT_EQ(graph.topological_order(), (Ids{1, 2, 3}));
}

TEST(DependencyGraph, GoldenDiamond) {
  const auto [inputs, expected] = golden("dependency_graph", "diamond");
  EXPECT_TRUE(matches(expected, run(inputs, true)));
}

TEST(DependencyGraph, GoldenFailureCancelsDependents) {
  const auto [inputs, expected] = golden("dependency_graph", "failure_cancels_dependents");
  EXPECT_TRUE(matches(expected, run(inputs, true)));
}

TEST(DependencyGraph, GoldenCriticalPath) {
  const auto [inputs, expected] = golden("dependency_graph", "critical_path");
  std::vector<graph::AddTask> tasks;
  for (const auto& [name, dependencies] : inputs.at("deps").items()) {
    Ids ids;
    for (const auto& one : dependencies) ids.push_back(number_of(one));
    tasks.push_back(task(number_of(name), ids));
  }
  const Json weights = inputs.at("weights");
  const auto path = with(tasks).critical_path([&](std::uint64_t id) {
    return weights.at(std::string(1, static_cast<char>('a' + id - 1))).get<std::uint64_t>();
  });
  EXPECT_TRUE(matches(expected, {{"length", path.length}, {"path", names_of(path.tasks, true)}}));
}

// --- refusals ------------------------------------------------------------------------------------

TEST(DependencyGraph, RefusesWhatCannotBeAndStaysAsItWas) {
  auto graph = diamond();
  graph.apply(graph::MarkCompleted{1}, Nanos{1});
  Ids nine;
  for (std::uint64_t id = 20; id < 29; ++id) nine.push_back(id);
  expect_all_refused<DependencyGraph>(
      graph,
      {
          {"a task twice", task(2), Errc::already_exists, Nanos{2}},
          {"itself", task(9, {9}), Errc::cycle, Nanos{2}},
          {"a circle", graph::AddDependencies{2, {4}}, Errc::cycle, Nanos{2}},
          {"a circle of a task that is there", task(2, {4}), Errc::cycle, Nanos{2}},
          {"too many dependencies", task(9, nine), Errc::invalid_argument, Nanos{2}},
          {"a priority of 4", task(9, {}, 4), Errc::invalid_argument, Nanos{2}},
          {"need of more than there are", task(9, {2, 2}, 0, 2), Errc::invalid_argument, Nanos{2}},
          {"completed twice", graph::MarkCompleted{1}, Errc::wrong_state, Nanos{2}},
          {"completed before its time", graph::MarkCompleted{4}, Errc::wrong_state, Nanos{2}},
          {"an unknown one completed", graph::MarkCompleted{99}, Errc::not_found, Nanos{2}},
          {"a finished one fails", graph::MarkFailed{1}, Errc::wrong_state, Nanos{2}},
          {"an unknown one fails", graph::MarkFailed{99}, Errc::not_found, Nanos{2}},
          {"a policy that is none", graph::MarkFailed{2, static_cast<FailurePolicy>(9)},
           Errc::invalid_argument, Nanos{2}},
          {"one that is waited for is removed", graph::Remove{2}, Errc::wrong_state, Nanos{2}},
          {"an unknown one is removed", graph::Remove{99}, Errc::not_found, Nanos{2}},
          {"more for an unknown one", graph::AddDependencies{99, {2}}, Errc::not_found, Nanos{2}},
          {"more for a finished one", graph::AddDependencies{1, {2}}, Errc::wrong_state, Nanos{2}},
          {"what it waits for already", graph::AddDependencies{4, {2}}, Errc::already_exists,
           Nanos{2}},
          {"a child of nobody", graph::Spawn{99, task(9)}, Errc::not_found, Nanos{2}},
          {"a child of a finished one", graph::Spawn{1, task(9)}, Errc::wrong_state, Nanos{2}},
          {"a child that waits for its parent", graph::Spawn{2, task(9, {4})}, Errc::cycle,
           Nanos{2}},
          {"before time began", task(9), Errc::invalid_argument, Nanos{-1}},
      });
}

TEST(DependencyGraph, TellsTheWholeCircle) {
  auto graph = with({task(1), task(2, {1}), task(3, {2})});
  EXPECT_EQ(graph.apply(graph::AddDependencies{1, {3}}, Nanos{0}).path, (Ids{1, 3, 2, 1}));
  EXPECT_EQ(graph.apply(task(7, {7}), Nanos{0}).path, (Ids{7, 7}));
  EXPECT_EQ(graph.apply(task(1, {3}), Nanos{0}).path, (Ids{1, 3, 2, 1}));
}

TEST(DependencyGraph, StrictKnowsEachDependencyOrRefuses) {
  auto config = small_graph();
  config.strict = true;
  DependencyGraph graph(config);
  expect_all_refused<DependencyGraph>(
      graph, {{"an unknown dependency", task(2, {1}), Errc::not_found, Nanos{0}}});
  EXPECT_EQ(graph.apply(task(1), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(graph.apply(task(2, {1}), Nanos{0}).code, Errc::ok);
}

TEST(DependencyGraph, RefusesAConfigByTheNameOfItsField) {
  const auto refused = [](auto change, std::string_view field) {
    DependencyGraphConfig config;
    change(config);
    const auto judged = DependencyGraph::validate(config);
    ASSERT_FALSE(judged) << field;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(field), std::string::npos) << judged.error().sentence;
  };
  refused([](auto& c) { c.tasks_max = 0; }, "tasks_max");
  refused([](auto& c) { c.tasks_max = (1U << 20) + 1; }, "tasks_max");
  refused([](auto& c) { c.edges_max = 0; }, "edges_max");
  refused([](auto& c) { c.dependencies_max = 0; }, "dependencies_max");
  refused([](auto& c) { c.on_failure = FailurePolicy::as_configured; }, "on_failure");
  refused([](auto& c) { c.events_max = 0; }, "events_max");
  EXPECT_EQ(DependencyGraphConfig::preset("huge").error().code, Errc::unknown_preset);
  for (const auto name : DependencyGraphConfig::names()) {
    EXPECT_TRUE(DependencyGraph::validate(DependencyGraphConfig::preset(name).value())) << name;
  }
}

// --- behaviours ----------------------------------------------------------------------------------

TEST(DependencyGraph, LoadsInAnyOrder) {
  auto graph = with({task(3, {2}), task(2, {1})});
  EXPECT_EQ(graph.view(1).state, GraphState::waiting_for_definition);
  EXPECT_EQ(graph.view(2).missing, 1U);
  EXPECT_EQ(graph.apply(graph::MarkCompleted{1}, Nanos{0}).code, Errc::wrong_state);
  const auto defined = graph.apply(task(1), Nanos{0});
  EXPECT_EQ(defined.ready, Ids{1});
  EXPECT_EQ(graph.topological_order(), (Ids{1, 2, 3}));
  EXPECT_EQ(graph.apply(graph::MarkCompleted{1}, Nanos{0}).ready, Ids{2});
}

TEST(DependencyGraph, GivesTheMostUrgentFirstThenAsInserted) {
  auto graph = with({task(5), task(4, {}, 2), task(9, {}, 3), task(1), task(3, {}, 2)});
  EXPECT_EQ(graph.ready(), (Ids{9, 4, 3, 5, 1}));
  EXPECT_EQ(graph.ready(2), (Ids{9, 4}));
}

TEST(DependencyGraph, ATaskIsNewlyReadyOnce) {
  auto graph = diamond();
  EXPECT_EQ(graph.apply(graph::MarkCompleted{1}, Nanos{0}).ready, (Ids{2, 3}));
  EXPECT_TRUE(graph.apply(graph::MarkCompleted{2}, Nanos{0}).ready.empty());
  EXPECT_EQ(graph.apply(graph::MarkCompleted{3}, Nanos{0}).ready, Ids{4});
}

TEST(DependencyGraph, BlockWaitsForWhoMayBeCompletedYet) {
  auto graph = diamond();
  const auto failed = graph.apply(graph::MarkFailed{1, FailurePolicy::block}, Nanos{0});
  EXPECT_TRUE(failed.cancelled.empty());
  EXPECT_EQ(graph.view(2).state, GraphState::blocked);
  EXPECT_EQ(graph.view(4).state, GraphState::waiting);
  EXPECT_EQ(graph.apply(graph::MarkCompleted{1}, Nanos{0}).ready, (Ids{2, 3}));
  EXPECT_EQ(graph.counters().recovered, 1U);
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, IgnoreGoesOnAsIfItWereDone) {
  auto graph = diamond();
  EXPECT_EQ(graph.apply(graph::MarkFailed{1, FailurePolicy::ignore}, Nanos{0}).ready, (Ids{2, 3}));
}

TEST(DependencyGraph, WhatWaitsForAFailedOneIsCancelledWhenItComes) {
  auto graph = with({task(1)});
  graph.apply(graph::MarkFailed{1}, Nanos{0});
  EXPECT_EQ(graph.apply(task(2, {1}), Nanos{0}).cancelled, Ids{2});
  EXPECT_EQ(graph.apply(task(3, {2, 7}), Nanos{0}).cancelled, Ids{3});
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, AnOrJoinNeedsOneAndFailsWithTheLast) {
  auto graph =
      with({task(1), task(2), task(3), task(4, {1, 2, 3}, 0, 1), task(5, {1, 2, 3}, 0, 2)});
  EXPECT_TRUE(graph.apply(graph::MarkFailed{1}, Nanos{0}).cancelled.empty());
  EXPECT_EQ(graph.apply(graph::MarkCompleted{2}, Nanos{0}).ready, Ids{4});
  EXPECT_EQ(graph.apply(graph::MarkFailed{3}, Nanos{0}).cancelled, Ids{5}) << "two of three";
  EXPECT_EQ(graph.view(4).state, GraphState::ready);
  auto other = with({task(1), task(2), task(3, {1, 2}, 0, 1)});
  EXPECT_TRUE(other.apply(graph::MarkFailed{1}, Nanos{0}).cancelled.empty());
  EXPECT_EQ(other.apply(graph::MarkFailed{2}, Nanos{0}).cancelled, Ids{3});
}

TEST(DependencyGraph, ATaskIsCompleteWhenWhatItSpawnedIs) {
  auto graph = with({task(1), task(2, {1})});
  EXPECT_EQ(graph.apply(graph::Spawn{1, task(10)}, Nanos{0}).ready, Ids{10});
  EXPECT_EQ(graph.apply(graph::Spawn{1, task(11, {10})}, Nanos{0}).code, Errc::ok);
  EXPECT_TRUE(graph.apply(graph::MarkCompleted{1}, Nanos{0}).ready.empty());
  EXPECT_EQ(graph.view(1).state, GraphState::finishing);
  EXPECT_EQ(graph.apply(graph::MarkCompleted{10}, Nanos{0}).ready, Ids{11});
  EXPECT_EQ(graph.apply(graph::MarkCompleted{11}, Nanos{0}).ready, Ids{2});
  EXPECT_EQ(graph.view(1).state, GraphState::completed);
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, WhatIsWaitedForAlreadyIsNoChild) {
  auto graph = with({task(1, {10})});
  EXPECT_EQ(graph.apply(graph::Spawn{1, task(10)}, Nanos{0}).code, Errc::already_exists);
  EXPECT_EQ(graph.apply(task(10), Nanos{0}).ready, Ids{10});
  EXPECT_EQ(graph.apply(graph::MarkCompleted{10}, Nanos{0}).ready, Ids{1});
}

TEST(DependencyGraph, AFailedChildTakesItsParentAlongAndAParentItsChildren) {
  auto graph = with({task(1), task(2, {1})});
  graph.apply(graph::Spawn{1, task(10)}, Nanos{0});
  graph.apply(graph::Spawn{1, task(11)}, Nanos{0});
  EXPECT_EQ(graph.apply(graph::MarkFailed{10}, Nanos{0}).cancelled, (Ids{1, 2, 11}));
  auto other = with({task(1)});
  other.apply(graph::Spawn{1, task(10)}, Nanos{0});
  other.apply(graph::Spawn{10, task(11)}, Nanos{0});
  EXPECT_EQ(other.apply(graph::MarkFailed{1}, Nanos{0}).cancelled, (Ids{10, 11}));
  EXPECT_TRUE(other.verify());
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, ForgetsTheOldestThatNobodyWaitsForWhenRoomIsNeeded) {
  auto graph = with({task(1), task(2), task(3, {1}), task(4)}, small_graph(4));
  graph.apply(graph::MarkCompleted{1}, Nanos{0});
  graph.apply(graph::MarkCompleted{2}, Nanos{0});
  EXPECT_EQ(graph.apply(task(5, {2}), Nanos{0}).code, Errc::capacity)
      << "1 is waited for, and 2 is named by it";
  EXPECT_EQ(graph.apply(task(5), Nanos{0}).code, Errc::ok);
  EXPECT_EQ(graph.view(2).state, GraphState::unknown);
  EXPECT_EQ(graph.view(1).state, GraphState::completed);
  EXPECT_EQ(graph.apply(task(6), Nanos{0}).code, Errc::capacity);
  EXPECT_EQ(graph.counters().forgotten, 1U);
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, RemovesWhatNobodyWaitsForAndWhoIsOnlyNamedByIt) {
  auto graph = with({task(1), task(2, {1, 77})});
  EXPECT_EQ(graph.apply(graph::Remove{2}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(graph.view(2).state, GraphState::unknown);
  EXPECT_EQ(graph.view(77).state, GraphState::unknown);
  EXPECT_EQ(graph.apply(graph::Remove{1}, Nanos{0}).code, Errc::ok);
  EXPECT_EQ(graph.stats().tasks, 0U);
  EXPECT_TRUE(graph.verify());
}

TEST(DependencyGraph, AnswersWhereThingsStand) {
  const auto graph = diamond();
  EXPECT_EQ(graph.depth(4).value(), 2U);
  EXPECT_EQ(graph.depth(9).error().code, Errc::not_found);
  EXPECT_EQ(graph.path(1, 4), (Ids{1, 2, 4}));
  EXPECT_TRUE(graph.path(4, 1).empty());
  EXPECT_EQ(graph.path(3, 3), Ids{3});
  const auto stats = graph.stats();
  EXPECT_EQ(stats.tasks, 4U);
  EXPECT_EQ(stats.edges, 4U);
  EXPECT_EQ(stats.ready, 1U);
  EXPECT_EQ(stats.depth, 2U);
  EXPECT_TRUE(graph.detect_cycles().empty());
  const std::string dot = graph.to_dot();
  EXPECT_NE(dot.find("\"2\" -> \"4\";"), std::string::npos);
  EXPECT_NE(dot.find("\"1\" [fillcolor=yellow, tooltip=ready]"), std::string::npos);
}

TEST(DependencyGraph, FindsTheCirclesOfALoadedList) {
  const std::vector<Dependency> edges{{1, 3}, {2, 1}, {3, 2}, {4, 3},
                                      {5, 5}, {6, 7}, {7, 6}, {8, 4}};
  const std::vector<Ids> expected{{1, 2, 3}, {5}, {6, 7}};
  EXPECT_EQ(find_cycles(edges), expected);
  EXPECT_TRUE(find_cycles(std::vector<Dependency>{{2, 1}, {3, 2}}).empty());
}

}  // namespace of_dependency_graph_test
}  // namespace mesh::tasks
