// The graph against its definition, on random graphs; restarts, deaths, damage.
#include <algorithm>
#include <map>
#include <set>

#include "engine/tasks/dependency_graph.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/tasks/graph_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_dependency_rules_test {

using coordination::testing::CrashSweep;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using testing::graph_trace;
using testing::Ids;
using testing::small_graph;
using testing::task;

// Everything by the definition, at whatever cost.
class Model {
 public:
  std::map<std::uint64_t, std::set<std::uint64_t>> dependencies;  // of defined tasks
  std::map<std::uint64_t, std::uint64_t> inserted;
  std::set<std::uint64_t> done;
  std::set<std::uint64_t> dead;

  [[nodiscard]] bool reaches(std::uint64_t from, std::uint64_t to) const {  // along dependencies
    if (from == to) return true;
    const auto it = dependencies.find(from);
    if (it == dependencies.end()) return false;
    return std::any_of(it->second.begin(), it->second.end(),
                       [&](std::uint64_t next) { return reaches(next, to); });
  }
  [[nodiscard]] std::set<std::uint64_t> ready() const {
    std::set<std::uint64_t> ids;
    for (const auto& [id, on] : dependencies) {
      const bool is_met =
          std::all_of(on.begin(), on.end(), [&](std::uint64_t one) { return done.contains(one); });
      if (is_met && !done.contains(id) && !dead.contains(id)) ids.insert(id);
    }
    return ids;
  }
  std::set<std::uint64_t> kill(std::uint64_t id) {
    const std::set<std::uint64_t> before = dead;
    std::set<std::uint64_t> hit{id};
    for (bool grows = true; grows;) {
      grows = false;
      for (const auto& [task, on] : dependencies) {
        const bool is_hit =
            std::any_of(on.begin(), on.end(), [&](std::uint64_t one) { return hit.contains(one); });
        grows = (is_hit && hit.insert(task).second) || grows;
      }
    }
    dead.insert(hit.begin(), hit.end());
    hit.erase(id);
    std::erase_if(hit, [&](std::uint64_t one) { return before.contains(one); });
    return hit;
  }
  [[nodiscard]] std::uint64_t longest(std::uint64_t id) const {  // weight of a task: its id
    std::uint64_t most = 0;
    const auto it = dependencies.find(id);
    if (it == dependencies.end()) return id;
    for (const auto on : it->second) most = std::max(most, longest(on));
    return id + most;
  }
};

class RandomGraph : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kTasks = 12;

  std::uint64_t any() { return 1 + rng_.below(kTasks); }
  void add(std::uint64_t id) {
    Ids on;
    for (std::uint64_t i = rng_.below(4); i != 0; --i) on.push_back(any());
    const bool closes = std::any_of(on.begin(), on.end(),
                                    [&](std::uint64_t one) { return model_.reaches(one, id); });
    const auto reply = graph_.apply(task(id, on), Nanos{0});
    if (closes) {
      ASSERT_EQ(reply.code, Errc::cycle);
      ++cycles_;
      return;
    }
    if (model_.dependencies.contains(id)) {
      ASSERT_EQ(reply.code, Errc::already_exists);
      return;
    }
    ASSERT_EQ(reply.code, Errc::ok);
    model_.dependencies[id] = {on.begin(), on.end()};
    const bool is_lost = std::any_of(on.begin(), on.end(),
                                     [&](std::uint64_t one) { return model_.dead.contains(one); });
    if (is_lost) model_.kill(id);
  }
  void complete(std::uint64_t id) {
    const auto before = model_.ready();
    const auto reply = graph_.apply(graph::MarkCompleted{id}, Nanos{0});
    ASSERT_EQ(reply.code == Errc::ok, before.contains(id));
    if (!before.contains(id)) return;
    model_.done.insert(id);
    std::set<std::uint64_t> fresh = model_.ready();
    std::erase_if(fresh, [&](std::uint64_t one) { return before.contains(one); });
    ASSERT_EQ(std::set<std::uint64_t>(reply.ready.begin(), reply.ready.end()), fresh);
    ASSERT_EQ(reply.ready.size(), fresh.size());
  }
  void fail(std::uint64_t id) {
    const bool may =
        model_.dependencies.contains(id) && !model_.done.contains(id) && !model_.dead.contains(id);
    const auto reply = graph_.apply(graph::MarkFailed{id}, Nanos{0});
    ASSERT_EQ(reply.code == Errc::ok, may);
    if (!may) return;
    const auto hit = model_.kill(id);
    ASSERT_EQ(reply.cancelled, Ids(hit.begin(), hit.end()));
  }
  void step() {
    const std::uint64_t what = rng_.below(10);
    if (what < 6) {
      add(any());
    } else if (what < 9) {
      complete(any());
    } else {
      fail(any());
    }
    const auto ready = graph_.ready();
    ASSERT_EQ(std::set<std::uint64_t>(ready.begin(), ready.end()), model_.ready());
    ASSERT_TRUE(graph_.verify());
  }
  void check_orders() {
    const Ids order = graph_.topological_order();
    std::map<std::uint64_t, std::size_t> places;
    for (std::size_t i = 0; i < order.size(); ++i) places[order[i]] = i;
    for (const auto& [id, on] : model_.dependencies) {
      for (const auto one : on) ASSERT_LT(places.at(one), places.at(id));
    }
    std::uint64_t longest = 0;
    for (const auto id : order) longest = std::max(longest, model_.longest(id));
    ASSERT_EQ(graph_.critical_path([](std::uint64_t id) { return id; }).length, longest);
  }

  Rng rng_{mesh::testing::seed()};
  DependencyGraph graph_{small_graph(13)};
  Model model_;
  std::uint64_t cycles_ = 0;
};

TEST_F(RandomGraph, IsWhatTheDefinitionSays) {
  for (int round = 0; round < 300; ++round) {
    graph_ = DependencyGraph(small_graph(13));
    model_ = {};
    for (int i = 0; i < 60; ++i) {
      SCOPED_TRACE("round " + std::to_string(round) + ", step " + std::to_string(i));
      step();
      if (HasFatalFailure()) return;
    }
    check_orders();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(cycles_, 100U) << "so that circles were tried at all";
}

TEST(DependencyGraph, ReplaysToTheSameBytes) {
  expect_replays<DependencyGraph>(small_graph(20), graph_trace(2'000, mesh::testing::seed()));
}

TEST(DependencyGraph, FindsDamageInASnapshot) {
  DependencyGraph graph(small_graph(8));
  for (const auto& one : graph_trace(40, 5)) graph.apply(one.command, one.now);
  expect_damage_found(graph, small_graph(8));
}

TEST(DependencyGraph, ADeathAtAnyStepLosesNothingThatWasAnswered) {
  CrashSweep<DependencyGraph> sweep(small_graph(20), graph_trace(25, 9));
  EXPECT_GT(sweep.run(4), 100U);
}

TEST(DependencyGraph, StaysSoundWhateverItIsTold) {
  std::uint64_t completed = 0;
  std::uint64_t cancelled = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    DependencyGraph graph(small_graph(20));
    for (const auto& one : graph_trace(500, mesh::testing::seed() + seed)) {
      graph.apply(one.command, one.now);
      const auto sound = graph.verify();
      ASSERT_TRUE(sound) << sound.error().sentence << ", seed " << seed;
    }
    completed += graph.counters().completed;
    cancelled += graph.counters().cancelled;
  }
  EXPECT_GT(completed, 200U);
  EXPECT_GT(cancelled, 20U);
}

TEST(DependencyGraph, AllocatesNothingButItsAnswers) {
  DependencyGraph graph(small_graph(64));
  std::vector<DependencyGraphCommand> commands;
  for (std::uint64_t id = 1; id <= 60; ++id) {
    commands.push_back(task(id, id < 3 ? Ids{} : Ids{id - 1, id - 2}));
  }
  graph.apply(commands[1], Nanos{0});
  const std::uint64_t before = mesh::testing::allocation_count();
  for (std::size_t i = 2; i < commands.size(); ++i) graph.apply(commands[i], Nanos{0});
  EXPECT_EQ(mesh::testing::allocation_count(), before) << "none of these is ready";
}

}  // namespace of_dependency_rules_test
}  // namespace mesh::tasks
