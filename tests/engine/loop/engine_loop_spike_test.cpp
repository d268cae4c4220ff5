// IMPEDANCE_SPIKE in a running loop, on virtual time: whose score is over twice its own average is
// routed around until it is not; several in one cluster are escalated (mesh.md part 12).
#include <algorithm>
#include <set>
#include <string>

#include <rapidcheck.h>

#include "engine/agent_rows.hpp"
#include "engine/error_log.hpp"
#include "engine/event_ring.hpp"
#include "engine/health/health_view.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_spike_test {

constexpr float kUsualMs = 40;
constexpr float kSpikeMs = 400;
constexpr std::int64_t kRound = 25 * kMs;  // more than two upkeeps

// Agents of one cluster on one station, looked at each 10 ms: 60 looks are an average.
struct Spiky : LoopFixture {
  explicit Spiky(std::uint32_t count = 10)
      : LoopFixture(count, 1, every_10_ms()), agents(count), station(add(1, count, "a")) {
    rows = must(AgentRows<HostMemory>::in(must(table_layout(size)), table.span()));
    for (std::uint32_t i = 0; i < agents; ++i) measure(i, kUsualMs);
    run(1'000 * kMs, kMs);
    for (std::uint32_t i = 0; i < agents; ++i) EXPECT_EQ(rows.cluster.load_relaxed(row(i)), 0U);
  }
  static LoopOptions every_10_ms() {
    LoopOptions options;
    options.upkeep = Nanos{10 * kMs};
    options.model = sched::Model::kNominal;
    return options;
  }
  [[nodiscard]] std::size_t row(std::uint32_t agent) {
    return static_cast<std::size_t>(index_of(ids[1][agent]));
  }
  template <class T>
  void store(const char* name, std::uint32_t agent, T value) {
    must(station.out_layout.column<T>(station.out.span(), name)).store_relaxed(agent, value);
  }
  // What its station says of it from now on.
  void measure(std::uint32_t agent, float latency_ms) {
    sequence += 2;
    store<float>("self.latency_ms", agent, latency_ms);
    store<float>("self.processing_ms", agent, 5);
    store<float>("self.drift", agent, 0);
    store<std::uint32_t>("self.samples", agent, 100);
    store<std::uint32_t>("self.sequence", agent, sequence);
  }
  void spike(std::initializer_list<std::uint32_t> which, float latency_ms = kSpikeMs) {
    for (const std::uint32_t agent : which) measure(agent, latency_ms);
    run(kRound, kMs);
  }
  [[nodiscard]] health::HealthView view() {
    return must(health::HealthView::over(must(table_layout(size)), table.span()));
  }
  [[nodiscard]] bool is_spiking(std::uint32_t agent) {
    return (rows.routing.load_relaxed(row(agent)) & kSpiking) != 0;
  }
  [[nodiscard]] bool leads(std::uint32_t agent) {
    return static_cast<AgentRole>(rows.role.load_relaxed(row(agent))) != AgentRole::agent;
  }
  // Who of them is sent what was opened.
  std::set<AgentId> reached(const OperationRequest& request) {
    static_cast<void>(station.poll());
    must(loop->open(request, from_ns(now_ns)));
    tick(kMs);
    std::set<AgentId> got;
    for (const auto& delivery : station.poll()) {
      got.insert(delivery.target);
      EXPECT_TRUE(station.answer(delivery, TrinaryState::ready, now_ns));
    }
    tick(kMs);
    return got;
  }
  std::vector<SeenError> errors() {
    auto all = must(ErrorLogView::over(must(table_layout(size)), table.span(), "scheduler")).read();
    std::erase_if(all, [](const SeenError& error) { return error.code != Errc::impedance_spike; });
    return all;
  }
  std::uint32_t agents;
  RawStation& station;
  AgentRows<HostMemory> rows;
  std::uint32_t sequence = 0;
};

TEST(ImpedanceSpike, AnAgentFarOverItsOwnAverageIsRoutedAroundUntilItsScoreFalls) {
  Spiky mesh;
  EXPECT_EQ(mesh.view().find_best({.count = 20, .score_max = 1'000}).size(), 10U);
  mesh.spike({5});
  EXPECT_TRUE(mesh.is_spiking(5));
  EXPECT_FALSE(mesh.view().is_routable(index_of(mesh.ids[1][5])));
  for (const auto& found : mesh.view().find_best({.count = 20, .score_max = 1'000}))
    EXPECT_NE(found.agent, index_of(mesh.ids[1][5]));
  EXPECT_EQ(mesh.loop->counters().impedance_spikes, 1U);
  EXPECT_EQ(mesh.loop->gauges().spiking, 1U);
  EXPECT_EQ(mesh.loop->gauges().routed_around, 0U) << "that is the operator's";
  const auto got = mesh.reached({.at_once = true});
  EXPECT_EQ(got.size(), 9U);
  EXPECT_FALSE(got.contains(mesh.ids[1][5]));
  must(mesh.loop->verify());
  mesh.spike({5}, kUsualMs);
  EXPECT_FALSE(mesh.is_spiking(5));
  EXPECT_TRUE(mesh.view().is_routable(index_of(mesh.ids[1][5])));
  EXPECT_EQ(mesh.reached({.at_once = true}).size(), 10U);
  EXPECT_EQ(mesh.loop->gauges().spiking, 0U);
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 0U) << "one is not several";
  must(mesh.loop->verify());
}

TEST(ImpedanceSpike, WhoIsNamedIsReachedAllTheSame) {
  Spiky mesh;
  mesh.spike({5});
  static_cast<void>(mesh.station.poll());
  must(mesh.loop->post({.target = mesh.ids[1][5], .body = bytes("you")}, from_ns(mesh.now_ns)));
  mesh.tick(kMs);
  EXPECT_EQ(mesh.station.poll().size(), 1U);
  const AgentId named = mesh.ids[1][5];
  EXPECT_EQ(mesh.reached({.targets = sched::selector(sched::SelectorKind::list),
                          .list = std::span(&named, 1),
                          .at_once = true}),
            std::set<AgentId>{named});
}

TEST(ImpedanceSpike, LessThanTwiceItsAverageIsNone) {
  Spiky mesh;
  mesh.spike({5}, kUsualMs * 1.5F);
  mesh.run(1'000 * kMs, kMs);
  EXPECT_FALSE(mesh.is_spiking(5));
  EXPECT_EQ(mesh.loop->counters().impedance_spikes, 0U);
}

TEST(ImpedanceSpike, AnAgentThatStaysSlowIsThatSlow) {
  Spiky mesh;
  mesh.spike({5});
  ASSERT_TRUE(mesh.is_spiking(5));
  mesh.run(2'000 * kMs, kMs);  // twice as many looks as the average had
  EXPECT_FALSE(mesh.is_spiking(5));
  EXPECT_EQ(mesh.loop->counters().impedance_spikes, 1U);
}

TEST(ImpedanceSpike, WhoLeadsIsReplacedAtOnceAndWhoLeadsThenStays) {
  Spiky mesh;
  ASSERT_TRUE(mesh.leads(0) && mesh.leads(1)) << "coordinator and lead";
  mesh.spike({0, 1});
  EXPECT_FALSE(mesh.leads(0));
  EXPECT_FALSE(mesh.leads(1));
  std::uint32_t leaders = 0;
  for (std::uint32_t i = 2; i < mesh.agents; ++i) leaders += mesh.leads(i) ? 1U : 0U;
  EXPECT_EQ(leaders, 2U);
  mesh.spike({0, 1}, kUsualMs);
  EXPECT_FALSE(mesh.leads(0) || mesh.leads(1));
  must(mesh.loop->verify());
}

TEST(ImpedanceSpike, SeveralInOneClusterAreEscalatedOnce) {
  Spiky mesh;
  mesh.spike({5, 6});
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 0U);
  EXPECT_TRUE(mesh.errors().empty());
  static_cast<void>(mesh.station.poll());
  mesh.spike({7});
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 1U);
  const auto told = mesh.station.poll();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].target, mesh.ids[1][0]) << "the coordinator of the sector";
  const auto read = mesh.station.read(told[0]);
  ASSERT_TRUE(read.is_there);
  EXPECT_EQ(read.header.verb, sched::Verb::decide);
  EXPECT_EQ(read.body,
            "cluster 0: the impedance of 3 of 10 agents is over twice their own of the last hour; "
            "the last of them is 'a-7'");
  ASSERT_EQ(mesh.errors().size(), 1U);
  EXPECT_EQ(mesh.errors()[0].count, 1U);
  EXPECT_EQ(mesh.errors()[0].text, read.body);
  const auto ring = must(EventRingView::over(must(table_layout(mesh.size)), mesh.table.span()));
  const auto events = ring.read(HostTime{});
  EXPECT_EQ(std::count_if(events.begin(), events.end(),
                          [](const Event& event) { return event.kind == EventKind::spikes; }),
            1);
  mesh.spike({8});
  mesh.spike({8}, kUsualMs);
  mesh.spike({8});
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 1U) << "it is known";
  mesh.spike({5, 6, 7, 8}, kUsualMs);
  mesh.spike({5, 6, 7});
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 2U);
  must(mesh.loop->verify());
}

// It is not they: whom else could it be sent to.
TEST(ImpedanceSpike, WhereMostOfAClusterSpikesNobodyOfItIsRoutedAround) {
  Spiky mesh;
  mesh.spike({0, 1, 2, 3, 4});
  EXPECT_EQ(mesh.loop->gauges().spiking, 5U);
  mesh.spike({5});
  EXPECT_EQ(mesh.loop->gauges().spiking, 0U);
  EXPECT_EQ(mesh.reached({.at_once = true}).size(), 10U);
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 1U);
  mesh.spike({5}, kUsualMs);
  EXPECT_EQ(mesh.loop->gauges().spiking, 5U);
  must(mesh.loop->verify());
}

// The engine was stopped for a second, and what it sees after that is of its own making.
TEST(ImpedanceSpike, AnEngineThatWasLateJudgesNoScoreOfThatTime) {
  Spiky mesh;
  for (std::uint32_t i = 0; i < 3; ++i) mesh.measure(i, kSpikeMs);
  mesh.tick(1'000 * kMs);
  mesh.run(1'500 * kMs, kMs);
  EXPECT_EQ(mesh.loop->gauges().spiking, 0U);
  EXPECT_GT(mesh.loop->counters().judgements_withheld, 0U);
  for (std::uint32_t i = 0; i < 3; ++i) mesh.measure(i, kUsualMs);
  mesh.run(1'500 * kMs, kMs);
  EXPECT_EQ(mesh.loop->counters().impedance_spikes, 0U);
  EXPECT_EQ(mesh.loop->counters().spikes_escalated, 0U);
  mesh.spike({5});
  EXPECT_EQ(mesh.loop->gauges().spiking, 1U) << "it is punctual again";
}

TEST(ImpedanceSpike, ASuccessorThatKnowsNoAverageRoutesNobodyAround) {
  Spiky mesh;
  mesh.spike({5, 6});
  mesh.restart();
  EXPECT_EQ(mesh.loop->gauges().spiking, 2U) << "as it was found";
  must(mesh.loop->verify());
  mesh.run(kRound, kMs);
  EXPECT_EQ(mesh.loop->gauges().spiking, 0U);
  EXPECT_FALSE(mesh.is_spiking(5));
  must(mesh.loop->verify());
}

TEST(ImpedanceSpike, WhoIsAwaySpikesNoMore) {
  Spiky mesh;
  mesh.spike({5, 6});
  mesh.lose(1);
  mesh.run(kRound, kMs);
  EXPECT_EQ(mesh.loop->gauges().spiking, 0U);
  must(mesh.loop->verify());
}

// Whatever is measured of whom: the table, the loop and the roles say the same, and of no cluster
// is more than half routed around.
TEST(ImpedanceSpike, WhoeverSpikesInWhateverOrderHalfOfAClusterIsAlwaysLeft) {
  EXPECT_TRUE(rc::check([](const std::vector<std::uint32_t>& dice) {
    Spiky mesh;
    for (const std::uint32_t die : dice) {
      mesh.spike({die % mesh.agents}, die / 10 % 3 == 0 ? kUsualMs : kSpikeMs);
      std::size_t around = 0;
      for (std::uint32_t i = 0; i < mesh.agents; ++i) {
        if (!mesh.is_spiking(i)) continue;
        ++around;
        RC_ASSERT(!mesh.leads(i));
        RC_ASSERT(!mesh.view().is_routable(index_of(mesh.ids[1][i])));
      }
      RC_ASSERT(mesh.loop->gauges().spiking == around);
      RC_ASSERT(2 * around <= mesh.agents);
      RC_ASSERT(mesh.loop->verify().has_value());
    }
  }));
}

}  // namespace of_engine_loop_spike_test
}  // namespace mesh::engine
