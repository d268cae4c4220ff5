// A storm of conflicts in a real mesh: agents' processes report as fast as they can, the engine is
// killed in the middle of it. What was reported is recorded, each once, and the chain is whole.
#include <filesystem>
#include <random>

#include <nlohmann/json.hpp>

#include "tests/engine/context_mesh.hpp"
#include "tests/engine/engine_process.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_conflict_storm_test {

using engine::Answer;
using engine::Delivery;
using engine::Station;
using nlohmann::json;

constexpr std::uint32_t kAgents = 20;

// Agents that answer "?" in CONFLICT, of a type that needs no person and one that does, by turns.
// Tells "ready"; asked "how many?", so many it has answered.
int objecting_station(const Channel& channel) {
  engine::StationOptions options{.name = "agents", .agents = kAgents};
  options.engine_patience = kForEver;
  options.connect.patience = kForEver;
  auto attached = Station::attach(channel.hear(), options);
  if (!attached) return 1;
  Station& station = **attached;
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kAgents; ++i) agents.push_back({"agent-" + std::to_string(i)});
  if (!station.enrol(agents)) return 1;
  channel.tell("ready");
  std::uint64_t answered = 0;
  pollfd asked{channel.fd(), POLLIN, 0};
  while (!station.is_lost()) {
    station.poll(256, [&](const Delivery& delivery) {
      if (delivery.text() != "?") return Answer::ready();
      ++answered;
      return Answer::in_conflict(
          answered % 8 == 0 ? sched::ConflictType::other : sched::ConflictType::temporal_paradox,
          {answered, 2}, bytes_of(R"({"events":[
        {"agent":"a","at_ns":2,"clock":{"a":1}},{"agent":"b","at_ns":1,"clock":{"a":1,"b":1}}]})"));
    });
    (void)station.wait(station.now() + Nanos{kNsPerMs});
    if (::poll(&asked, 1, 0) != 1) continue;
    if (channel.hear() == kGone) return 0;
    channel.tell(std::to_string(answered));
  }
  channel.tell("lost: " + station.lost_reason().sentence);
  return 1;
}

class ConflictStorm : public ::testing::Test {
 protected:
  engine::EngineOptions options() {
    engine::EngineOptions options = engine_options(directory_.path());
    options.conflicts.store = where_;
    options.loop.watch.breakers.cluster_failures_max = 1U << 30;
    return options;
  }
  // `rounds` operations of all agents, several at a time.
  static void ask_all(EngineProcess& engine, std::uint64_t rounds) {
    for (std::uint64_t round = 0; round < rounds; ++round)
      (void)engine.ask(R"({"op":"broadcast","text":"?"})");
  }
  static std::uint64_t answered_by(const Child& agents) {
    agents.tell("how many?");
    const std::string count = agents.hear();
    if (count.find_first_not_of("0123456789") == count.npos) return std::stoull(count);
    ADD_FAILURE() << count;
    return 0;
  }
  // Conflicts in the store.
  [[nodiscard]] std::uint64_t recorded() const {
    const auto store = ConflictReader(where_).open();
    std::uint64_t count = 0;
    engine::RecordQuery query{.kind = engine::StoredKind::conflict,
                              .limit = engine::kQueryLimitMax};
    for (;;) {
      const auto page = store->find(query).value();
      count += page.size();
      if (page.size() < query.limit) return count;
      query.before = engine::RecordPlace{page.back().record.at, page.back().at.position};
    }
  }
  void expect_whole() const {
    const auto seen = ConflictReader(where_).open()->verify({});
    ASSERT_TRUE(seen) << seen.error().sentence;
    EXPECT_TRUE(seen->whole) << seen->sentence;
  }

  ScratchDirectory directory_;
  ScratchDirectory files_;
  std::string where_ = files_.path() + "/conflicts.db";
};

// What is acknowledged is there; and what was only accepted when the engine died is recorded by the
// next one, for it stands in memory that outlives engines.
TEST_F(ConflictStorm, AnEngineKilledInTheMiddleOfItLosesNoReportAndRecordsNoneTwice) {
  std::mt19937_64 random(seed());
  const Child agents(objecting_station);
  std::uint64_t acknowledged = 0;
  bool is_first = true;
  for (Repeats kills(2); kills.next();) {
    EngineProcess engine(options());
    ASSERT_EQ(engine.hear(), "up");
    if (is_first) {
      agents.tell(directory_.path());
      ASSERT_EQ(agents.hear(), "ready");
      is_first = false;
    }
    ASSERT_TRUE(eventually([&] { return engine.status()["agents_active"] == kAgents; }));
    ask_all(engine, 5 + random() % 20);
    const std::uint64_t wanted = random() % 100;
    EXPECT_TRUE(eventually([&] {
      const json conflicts = engine.status()["conflicts"];
      acknowledged = conflicts["recorded"].get<std::uint64_t>();
      return acknowledged >= wanted || conflicts["waiting"] == 0;
    }));
    engine.kill();
    EXPECT_GE(recorded(), acknowledged) << "seed " << seed();
    expect_whole();
  }
  EngineProcess last(options());
  ASSERT_EQ(last.hear(), "up");
  ASSERT_TRUE(eventually([&] { return last.status()["agents_active"] == kAgents; }));
  std::uint64_t reported = 0;
  EXPECT_TRUE(eventually([&] {
    reported = answered_by(agents);
    return recorded() >= reported;
  })) << recorded()
      << " of " << reported << ", seed " << seed();
  EXPECT_EQ(last.end(), 0);
  EXPECT_EQ(recorded(), reported) << "each once, seed " << seed();
  expect_whole();
}

// 1,000,000 in the stress tier. An operation is over long before the last of its answers is taken.
TEST_F(ConflictStorm, EveryReportIsRecordedHoweverFastTheyCome) {
  const Child agents(objecting_station);
  EngineProcess engine(options());
  ASSERT_EQ(engine.hear(), "up");
  agents.tell(directory_.path());
  ASSERT_EQ(agents.hear(), "ready");
  const std::uint64_t rounds = std::max<std::uint64_t>(repeats(600) / kAgents, 1);
  constexpr std::uint64_t kAhead = 100;  // far fewer than there may be operations
  for (std::uint64_t done = 0; done < rounds; done += kAhead) {
    ask_all(engine, std::min(kAhead, rounds - done));
    ASSERT_TRUE(eventually([&] { return answered_by(agents) >= done * kAgents; }));
  }
  ASSERT_TRUE(eventually([&] { return answered_by(agents) == rounds * kAgents; }));
  for (std::uint64_t seen = 0; seen < rounds * kAgents;) {
    const std::uint64_t before = seen;
    ASSERT_TRUE(eventually([&] {
      seen = engine.status()["conflicts"]["recorded"];
      return seen > before;
    })) << "of "
        << rounds * kAgents << " none was recorded after " << seen;
  }
  EXPECT_EQ(engine.status()["conflicts"]["refused"], 0);
  EXPECT_EQ(engine.end(), 0);
  EXPECT_EQ(recorded(), rounds * kAgents);
  expect_whole();
}

// mesh.md 11: back-pressure and a bounded spill file, an alarm, and no record lost.
TEST_F(ConflictStorm, WithTheStoreAwayAndTheSpillFileFullNothingIsLostNotEvenWithTheEngine) {
  constexpr std::uint64_t kRounds = 40;
  const Child agents(objecting_station);
  const std::string folder = files_.path() + "/later";
  where_ = folder + "/conflicts.db";
  engine::EngineOptions away = options();
  away.conflicts.spill = files_.path() + "/spill";
  away.conflicts.spill_bytes = 64U << 10;  // some hundred records
  {
    EngineProcess engine(away);
    ASSERT_EQ(engine.hear(), "up");
    agents.tell(directory_.path());
    ASSERT_EQ(agents.hear(), "ready");
    ask_all(engine, kRounds);
    EXPECT_TRUE(eventually([&] { return answered_by(agents) == kRounds * kAgents; }));
    EXPECT_TRUE(eventually([&] {
      const json conflicts = engine.status()["conflicts"];
      return conflicts["noted"] == kRounds * kAgents && conflicts["recorded"] > 0;
    }));
    const json status = engine.status();
    EXPECT_LT(status["conflicts"]["recorded"], kRounds * kAgents) << "the spill file is small";
    EXPECT_GT(status["conflicts"]["waiting"], 0);
    EXPECT_EQ(status["conflicts"]["store_is_up"], false);
    EXPECT_EQ(status["counters"]["conflicts_lost"], 0);
    engine.kill();
  }
  std::filesystem::create_directory(folder);
  EngineProcess next(away);
  ASSERT_EQ(next.hear(), "up");
  EXPECT_TRUE(eventually([&] { return recorded() == kRounds * kAgents; })) << recorded();
  EXPECT_EQ(next.end(), 0);
  EXPECT_EQ(recorded(), kRounds * kAgents) << "each once";
  expect_whole();
}

}  // namespace of_conflict_storm_test
}  // namespace mesh::testing
