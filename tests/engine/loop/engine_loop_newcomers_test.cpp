// Newcomers on virtual time: made before they come, warmed up, and admitted in waves.
#include "engine/health/health_view.hpp"
#include "engine/loop/newcomers.hpp"
#include "tests/allocations.hpp"
#include "tests/engine/loop/loop_pair.hpp"

namespace mesh::engine {
namespace of_engine_loop_newcomers_test {

constexpr std::int64_t kRound = 500 * kMs;

// Ten residents on station 1; newcomers come on station 2.
struct Growing : LoopFixture {
  explicit Growing(const LoopOptions& loop_options = {}) : LoopFixture(300, 8, loop_options) {
    add(1, 10, "resident");
    rows = must(AgentRows<HostMemory>::in(must(table_layout(size)), table.span()));
    go_on(1'200 * kMs);
  }
  std::vector<AgentId> make(std::uint32_t count) {
    std::vector<Making> newcomers;
    for (std::uint32_t i = 0; i < count; ++i) newcomers.push_back({"new-" + std::to_string(i)});
    made = must(make_newcomers(*loop, newcomers, 1000, from_ns(now_ns)));
    return made;
  }
  // Everybody answers, `newcomers_delay` later, and its station measures that.
  void turn() {
    tick(10 * kMs);
    for (auto& station : stations)
      for (const auto& delivery : station->poll()) {
        if (delivery.kind != RecordKind::message) continue;
        ++got[delivery.target];
        if (sched::is_in_payload_log(delivery.message))
          verbs[delivery.target].insert(verb_of(delivery));
        if (silent.contains(delivery.target)) continue;
        ASSERT_TRUE(station->answer(delivery, TrinaryState::ready, now_ns));
        measure(*station, delivery.target);
      }
  }
  [[nodiscard]] sched::Verb verb_of(const sched::DeliveryRecord& delivery) {
    const auto layout = must(payload_layout(size));
    const auto reader = must(testing::Log::Reader::attach(
        testing::RawStation::words(layout, payload, "log"),
        must(layout.array<testing::Log::Header>(payload.span(), "log.header")).data()));
    std::vector<std::byte> room(sched::kMessageHeaderBytes + delivery.body_bytes);
    EXPECT_EQ(reader.copy(sched::position_of(delivery.message), room).status,
              queues::BodyStatus::kRead);
    sched::MessageHeader header{};
    std::memcpy(&header, room.data(), sizeof header);
    return header.verb;
  }
  void measure(RawStation& station, AgentId agent) {
    const auto& its = ids[static_cast<std::uint16_t>(station.number)];
    const auto at =
        static_cast<std::size_t>(std::find(its.begin(), its.end(), agent) - its.begin());
    const auto put = [&](auto value, const char* name) {
      must(station.out_layout.column<decltype(value)>(station.out.span(), name))
          .store_relaxed(at, value);
    };
    const std::uint32_t samples = ++measured[agent];
    put(static_cast<std::uint32_t>((now_ns - kStartNs) / kNsPerMs), "self.heartbeat_mesh_ms");
    put(delay_ms(agent), "self.latency_ms");
    put(1.0F, "self.processing_ms");
    put(drift, "self.drift");
    put(std::min(samples, 100U), "self.samples");
    put(2 * samples, "self.sequence");
  }
  // Every other second another one, of who jumps.
  [[nodiscard]] float delay_ms(AgentId agent) const {
    const bool is_far = (now_ns / kNsPerSecond) % 2 == 1;
    return jumping.contains(agent) && is_far ? 900.0F : 10.0F;
  }
  void go_on(std::int64_t for_ns) {
    for (const std::int64_t end = now_ns + for_ns; now_ns < end;) turn();
  }
  [[nodiscard]] std::uint8_t routing(AgentId id) const {
    return rows.routing.load_relaxed(static_cast<std::size_t>(index_of(id)));
  }
  [[nodiscard]] std::size_t admitted() const {
    std::size_t count = 0;
    for (const AgentId id : made) count += routing(id) == 0 ? 1U : 0U;
    return count;
  }
  FinishedOperation scatter() {
    must(loop->open({.timeout = Nanos{300 * kMs}, .at_once = true, .body = bytes("work")},
                    from_ns(now_ns)));
    std::optional<FinishedOperation> finished;
    while (!finished) {
      turn();
      finished = loop->take_finished();
    }
    return *finished;
  }

  AgentRows<HostMemory> rows;
  std::vector<AgentId> made;
  std::map<AgentId, int> got;
  std::map<AgentId, std::set<sched::Verb>> verbs;
  std::map<AgentId, std::uint32_t> measured;
  std::set<AgentId> silent;
  std::set<AgentId> jumping;
  float drift = 0.1F;
};

TEST(EngineLoopNewcomers, RefusesMoreThanFitWithTheNumberThatDoesAndNamesThatAre) {
  Growing mesh;
  std::vector<Making> many(291, {"x"});
  const auto more = make_newcomers(*mesh.loop, many, 1000, from_ns(mesh.now_ns));
  EXPECT_EQ(more.error().code, Errc::capacity);
  EXPECT_EQ(more.error().detail, 290);
  const std::vector<Making> taken = {{"new"}, {"resident-3"}};
  EXPECT_EQ(make_newcomers(*mesh.loop, taken, 1000, from_ns(mesh.now_ns)).error().code,
            Errc::name_taken);
  const std::vector<Making> nameless = {{""}};
  EXPECT_FALSE(make_newcomers(*mesh.loop, nameless, 1000, from_ns(mesh.now_ns)));
  EXPECT_EQ(mesh.loop->agents_enrolled(), 10U) << "all or none";
}

TEST(EngineLoopNewcomers, BeforeTheyComeTheyHaveAPlaceAndAreMissedByNobody) {
  Growing mesh;
  for (const AgentId id : mesh.make(100)) {
    EXPECT_EQ(mesh.routing(id), kNewcomer);
    EXPECT_NE(place_of(*mesh.loop, id).cluster, kNoPlace);
  }
  mesh.go_on(20'000 * kMs);
  const auto view =
      must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  EXPECT_EQ(view.mesh()->mode, health::OperatingMode::full) << "100 of 110 have not come";
  EXPECT_EQ(view.mesh()->summary.agents, 10U);
  EXPECT_EQ(mesh.loop->gauges().newcomers, 100U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, FillTheirClassesClustersAndThenNewOnesInTheEmptiestSectors) {
  Growing mesh;
  std::map<std::uint32_t, int> clusters;
  for (const AgentId id : mesh.make(80)) ++clusters[place_of(*mesh.loop, id).cluster];
  // 20 places beside the ten residents, then 30 and 30.
  ASSERT_EQ(clusters.size(), 3U);
  EXPECT_EQ(clusters.begin()->second, 20);
}

// mesh.md part 15.
TEST(EngineLoopNewcomers, AThousandMakeThirtyFourClustersInTheLeastLoadedSectors) {
  LoopFixture mesh(3'000, 2);
  mesh.add(1, 60, "resident", sched::AgentClass::serverless);  // a cluster in each of two sectors
  std::vector<Making> newcomers;
  for (int i = 0; i < 1'000; ++i) newcomers.push_back({"new-" + std::to_string(i)});
  std::set<std::uint32_t> clusters;
  for (const AgentId id : must(make_newcomers(*mesh.loop, newcomers, 1000, from_ns(mesh.now_ns))))
    clusters.insert(place_of(*mesh.loop, id).cluster);
  EXPECT_EQ(clusters.size(), 34U);
  const std::vector<std::uint32_t> agents = agents_by_cluster(*mesh.loop);
  std::vector<std::uint32_t> of_sector(agents.size() / kClustersPerSector);
  ASSERT_EQ(of_sector.size(), 10U);
  for (std::size_t at = 0; at < agents.size(); ++at)
    of_sector[at / kClustersPerSector] += agents[at];
  const auto [least, most] = std::minmax_element(of_sector.begin(), of_sector.end());
  EXPECT_LE(*most - *least, 30U);
}

TEST(EngineLoopNewcomers, NoOperationAndNoMessageGoesToThemAndTheyLeadNothing) {
  Growing mesh;
  mesh.make(4);
  mesh.add(2, 4, "new");
  const FinishedOperation finished = mesh.scatter();
  EXPECT_EQ(finished.result.counts.sent, 10U);
  EXPECT_EQ(finished.result.counts.targeted(), 10U) << "it is not meant for them";
  for (const AgentId id : mesh.made) {
    const auto posted = mesh.loop->post({.target = id}, from_ns(mesh.now_ns));
    ASSERT_FALSE(posted);
    EXPECT_EQ(posted.error().code, Errc::not_routable);
    EXPECT_THAT(posted.error().sentence, ::testing::HasSubstr("newcomer"));
    EXPECT_EQ(mesh.rows.role.load_relaxed(static_cast<std::size_t>(index_of(id))),
              static_cast<std::uint8_t>(AgentRole::agent));
  }
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, AreWarmedUpBySyncsAloneAndAdmittedOnceTheirProfileIsStable) {
  Growing mesh;
  mesh.make(2);
  mesh.add(2, 2, "new");
  mesh.go_on(6 * kRound);
  EXPECT_EQ(mesh.admitted(), 0U) << "after so few answers nobody is known";
  EXPECT_EQ(mesh.scatter().result.counts.sent, 10U);
  mesh.go_on(10 * kRound);
  EXPECT_EQ(mesh.admitted(), 2U);
  EXPECT_EQ(mesh.loop->counters().newcomers_admitted, 2U);
  EXPECT_EQ(mesh.loop->gauges().newcomers, 0U);
  for (const AgentId id : mesh.made) {
    EXPECT_GE(mesh.got[id], 8);
    EXPECT_EQ(mesh.verbs[id], std::set<sched::Verb>{sched::Verb::sync});
  }
  for (const AgentId id : mesh.ids[1]) EXPECT_EQ(mesh.got[id], 1) << "residents have no warm-ups";
  const FinishedOperation finished = mesh.scatter();
  EXPECT_EQ(finished.result.counts.sent, 12U);
  EXPECT_EQ(mesh.loop->counters().operations_ended, 2U) << "warm-ups count as no operations";
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, AreAdmittedInWavesOfATenth) {
  Growing mesh;
  mesh.make(50);
  mesh.add(2, 50, "new");
  std::size_t before = 0;
  std::size_t waves = 0;
  for (int i = 0; i < 60; ++i) {
    mesh.go_on(kRound);
    const std::size_t now = mesh.admitted();
    EXPECT_LE(now - before, 10U) << "a wave of five, perhaps two in the span that is looked at";
    waves += now != before ? 1U : 0U;
    before = now;
  }
  EXPECT_EQ(before, 50U);
  EXPECT_GE(waves, 8U);
}

TEST(EngineLoopNewcomers, WhoIsSilentOrScattersIsNotAdmitted) {
  for (int what = 0; what < 2; ++what) {
    Growing mesh;
    mesh.drift = what == 1 ? 20.0F : 0.1F;
    mesh.make(2);
    mesh.add(2, 2, "new");
    if (what == 0) mesh.silent.insert(mesh.made[0]);
    mesh.go_on(30 * kRound);
    EXPECT_EQ(mesh.admitted(), what == 0 ? 1U : 0U) << what;
    mesh.drift = 0.1F;
    if (what == 0) continue;
    mesh.go_on(60 * kRound);
    EXPECT_EQ(mesh.admitted(), 2U) << "once they are steady";
  }
}

// Found by the simulator, where one message in two hundred is never answered.
TEST(EngineLoopNewcomers, OneThatLeavesAWarmUpUnansweredIsAskedAgainAndAdmitted) {
  Growing mesh;
  mesh.make(2);
  mesh.add(2, 2, "new");
  mesh.silent.insert(mesh.made[0]);
  mesh.go_on(2 * kRound);
  EXPECT_EQ(mesh.got[mesh.made[0]], 1) << "one at a time";
  mesh.silent.clear();
  mesh.go_on(8 * kRound);
  EXPECT_EQ(mesh.got[mesh.made[0]], 1) << "it may answer yet";
  mesh.go_on(30 * kRound);
  EXPECT_EQ(mesh.admitted(), 2U);
}

TEST(EngineLoopNewcomers, OneThatNeverAnswersHasNoMoreThanAFewOfThem) {
  Growing mesh;
  mesh.make(1);
  mesh.add(2, 1, "new");
  mesh.silent.insert(mesh.made[0]);
  mesh.go_on(400 * kRound);
  EXPECT_EQ(mesh.admitted(), 0U);
  EXPECT_LE(mesh.got[mesh.made[0]], static_cast<int>(kInVainMost) + 1);
}

// A profile that has as many answers as it takes, and still moves, is not stable.
TEST(EngineLoopNewcomers, OneWhoseScoreJumpsIsNotAdmittedUntilItStands) {
  Growing mesh({.model = sched::Model::kNominal});  // whose score follows the measured delay
  mesh.make(20);
  mesh.jumping = {mesh.made[3], mesh.made[11]};
  mesh.add(2, 20, "new");
  mesh.go_on(60 * kRound);
  EXPECT_EQ(mesh.admitted(), 18U);
  for (const AgentId id : mesh.jumping) {
    EXPECT_EQ(mesh.routing(id), kNewcomer);
    EXPECT_GE(mesh.measured[id], 8U) << "it was not for want of answers";
  }
  mesh.jumping.clear();
  mesh.go_on(20 * kRound);
  EXPECT_EQ(mesh.admitted(), 20U);
}

// While a mesh is doubled its operations are as good as before: coverage is of whom they are for.
TEST(EngineLoopNewcomers, AreNoPartOfWhatOperationsAndCascadesAreJudgedBy) {
  Growing mesh;
  mesh.make(100);
  const auto judge = [&](const char* when) {
    const FinishedOperation finished = mesh.scatter();
    EXPECT_EQ(finished.result.judgement.verdict, sched::GatherVerdict::kSuccess) << when;
    EXPECT_EQ(finished.result.counts.targeted(), 10U) << when;
    EXPECT_EQ(finished.result.coverage(), 1.0) << when;
    must(mesh.loop->open({.targets = sched::selector(sched::SelectorKind::cluster,
                                                     place_of(*mesh.loop, mesh.ids[1][0]).cluster),
                          .timeout = Nanos{300 * kMs},
                          .at_once = true},
                         from_ns(mesh.now_ns)));
    must(mesh.loop->open_cascade({}, from_ns(mesh.now_ns)));
    must(mesh.loop->open_cascade({.strategy = CascadeStrategy::quorum,
                                  .cluster = place_of(*mesh.loop, mesh.ids[1][0]).cluster},
                                 from_ns(mesh.now_ns)));
    std::optional<FinishedOperation> of_cluster;
    std::vector<FinishedCascade> cascades;
    for (int i = 0; i < 1'000 && (!of_cluster || cascades.size() < 2); ++i) {
      mesh.turn();
      if (auto one = mesh.loop->take_finished()) of_cluster = one;
      while (auto one = mesh.loop->take_finished_cascade()) cascades.push_back(*one);
    }
    ASSERT_TRUE(of_cluster.has_value()) << when;
    EXPECT_EQ(of_cluster->result.counts.targeted(), 10U) << when;
    ASSERT_EQ(cascades.size(), 2U) << when;
    for (const FinishedCascade& cascade : cascades) {
      EXPECT_EQ(cascade.status, CascadeStatus::success) << when;
      EXPECT_EQ(cascade.agents.targeted, 10U) << when;
    }
    EXPECT_EQ(cascades[0].clusters + cascades[1].clusters, 2U) << when << ": one each";
  };
  judge("before they have come");
  mesh.add(2, 100, "new");
  judge("when they have come");
  EXPECT_EQ(mesh.admitted(), 0U);
  // Who names one is told that it is not sent to.
  const std::vector<AgentId> named = {mesh.ids[1][0], mesh.made[0]};
  must(mesh.loop->open({.targets = sched::selector(sched::SelectorKind::list),
                        .list = named,
                        .timeout = Nanos{100 * kMs},
                        .at_once = true},
                       from_ns(mesh.now_ns)));
  std::optional<FinishedOperation> finished;
  while (!finished) {
    mesh.turn();
    finished = mesh.loop->take_finished();
  }
  EXPECT_EQ(finished->result.counts.skipped.not_routable, 1U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, WhatTheyLeaveUnansweredAndThatTheyDieIsNoFailure) {
  Growing mesh;
  mesh.make(20);
  mesh.add(2, 20, "new");
  for (const AgentId id : mesh.made) mesh.silent.insert(id);
  for (int death = 0; death < 8; ++death) {
    mesh.go_on(40 * kRound);
    mesh.lose(2);
    mesh.go_on(4 * kRound);
    mesh.add(2, 20, "new");
  }
  const LoopCounters& counters = mesh.loop->counters();
  EXPECT_EQ(counters.breaker_failures, 0U);
  EXPECT_EQ(counters.breakers_opened, 0U);
  EXPECT_EQ(counters.agent_crashes, 0U);
  EXPECT_EQ(counters.stations_lost, 8U) << "the processes are counted";
  const auto view =
      must(health::HealthView::over(must(table_layout(mesh.size)), mesh.table.span()));
  EXPECT_EQ(view.mesh()->mode, health::OperatingMode::full);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, WhoDoesNotComeIsForgottenAndItsRowIsFree) {
  Growing mesh({.agent_ttl = Nanos{5 * kNsPerSecond}});
  mesh.make(3);
  mesh.add(2, 1, "new");  // new-0 alone
  mesh.go_on(8'000 * kMs);
  EXPECT_EQ(mesh.loop->agents_enrolled(), 11U);
  EXPECT_FALSE(mesh.loop->find("new-1"));
  EXPECT_TRUE(mesh.loop->verify());
  mesh.go_on(8'000 * kMs);
  EXPECT_EQ(mesh.loop->gauges().newcomers, 0U);
}

TEST(EngineLoopNewcomers, OneWhoseProcessDiesIsWarmedUpAgainWhenItIsBack) {
  Growing mesh;
  mesh.make(1);
  mesh.add(2, 1, "new");
  mesh.go_on(5 * kRound);
  mesh.lose(2);
  mesh.go_on(20 * kRound);
  EXPECT_EQ(mesh.admitted(), 0U);
  mesh.measured.clear();  // another process, which has measured nothing
  mesh.add(2, 1, "new");
  mesh.go_on(20 * kRound);
  EXPECT_EQ(mesh.admitted(), 1U);
}

TEST(EngineLoopNewcomers, TheOperatorsHoldStandsBesideTheirs) {
  Growing mesh;
  mesh.make(1);
  mesh.add(2, 1, "new");
  must(mesh.loop->route_around(mesh.made[0], true));
  mesh.go_on(30 * kRound);
  EXPECT_EQ(mesh.got[mesh.made[0]], 0) << "nothing new at all";
  EXPECT_EQ(mesh.routing(mesh.made[0]), kNewcomer | kRoutedAround);
  must(mesh.loop->route_around(mesh.made[0], false));
  mesh.go_on(20 * kRound);
  EXPECT_EQ(mesh.admitted(), 1U);
}

TEST(EngineLoopNewcomers, ASuccessorGoesOnAdmittingThem) {
  Growing mesh;
  mesh.make(20);
  mesh.add(2, 20, "new");
  mesh.go_on(13 * kRound);
  const std::size_t before = mesh.admitted();
  EXPECT_GT(before, 0U);
  EXPECT_LT(before, 20U);
  mesh.restart();
  EXPECT_EQ(mesh.admitted(), before) << "the hold outlives its engine";
  EXPECT_EQ(mesh.loop->gauges().newcomers, 20 - before);
  mesh.go_on(20 * kRound);
  EXPECT_EQ(mesh.admitted(), 20U);
  EXPECT_TRUE(mesh.loop->verify());
}

TEST(EngineLoopNewcomers, ATickOfThemAllocatesNothing) {
  Growing mesh;
  mesh.make(40);
  mesh.add(2, 40, "new");
  for (int i = 0; i < 2'000; ++i) {
    mesh.now_ns += 10 * kMs;
    const std::uint64_t before = testing::allocation_count();
    mesh.loop->tick(from_ns(mesh.now_ns));
    ASSERT_EQ(testing::allocation_count(), before);
    mesh.turn();
  }
  EXPECT_EQ(mesh.admitted(), 40U);
}

}  // namespace of_engine_loop_newcomers_test
}  // namespace mesh::engine
