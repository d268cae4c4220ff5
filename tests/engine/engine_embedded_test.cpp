// An engine inside a program that also has its agents: a station a thread, on the same rings.
#include <thread>

#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_embedded_test {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::Reply;
using engine::Station;

constexpr std::uint32_t kAgents = 50;

std::unique_ptr<Station> station_of(const Engine& engine, const std::string& prefix) {
  auto station = Station::attach(engine.directory(), {.name = prefix, .agents = kAgents});
  EXPECT_TRUE(station.has_value()) << station.error().sentence;
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kAgents; ++i) agents.push_back({prefix + std::to_string(i)});
  const auto enrolled = (*station)->enrol(agents);
  EXPECT_TRUE(enrolled.has_value()) << enrolled.error().sentence;
  return std::move(*station);
}

engine::OperationRequest request() {
  engine::OperationRequest request;
  request.horizon = Nanos{300 * kNsPerMs};
  request.window = Nanos{30 * kNsPerSecond};  // the deadline of a test that has failed
  request.timeout = Nanos{60 * kNsPerSecond};
  return request;
}

void object_to(std::vector<Reply>& replies) {
  for (Reply& reply : replies) {
    reply.answer(Answer::in_conflict(sched::ConflictType::data_contradiction, {1, 2}));
  }
}

TEST(EmbeddedEngine, GathersFromStationsThatAnswerAtOnceAndFromOtherThreads) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path(), {.agents = 256, .stations = 4});
  ASSERT_NE(engine, nullptr);
  std::atomic<bool> over{false};
  const auto is_over = [&] { return over.load(std::memory_order_relaxed); };
  std::thread at_once([&] {
    const auto station = station_of(*engine, "at_once-");
    while (!is_over() && !station->is_lost()) {
      station->poll(256, [](const Delivery&) { return Answer::ready(); });
      (void)station->wait(station->now() + Nanos{10 * kNsPerMs});
    }
  });
  std::thread elsewhere([&] {
    const auto station = station_of(*engine, "elsewhere-");
    std::vector<std::thread> workers;
    while (!is_over() && !station->is_lost()) {
      std::vector<Reply> replies;
      station->poll(256,
                    [&](const Delivery&, Reply reply) { replies.push_back(std::move(reply)); });
      if (!replies.empty()) {
        workers.emplace_back([work = std::move(replies)]() mutable { object_to(work); });
      }
      (void)station->wait(station->now() + Nanos{10 * kNsPerMs});
    }
    for (std::thread& worker : workers) worker.join();
  });
  EXPECT_TRUE(eventually([&] { return engine->status()->agents_active == 2 * kAgents; }));
  for (int round = 0; round < 3; ++round) {
    const auto report = engine->scatter(request(), true);
    ASSERT_TRUE(report.has_value()) << report.error().sentence;
    const sched::GatherCounts& counts = report->finished.result.counts;
    EXPECT_EQ(counts.sent, 2 * kAgents);
    EXPECT_EQ(counts.ready, kAgents);
    EXPECT_EQ(counts.conflict, kAgents);
    EXPECT_EQ(report->trace.size(), 2 * kAgents);
  }
  over.store(true, std::memory_order_relaxed);
  at_once.join();
  elsewhere.join();
  EXPECT_TRUE(eventually([&] { return engine->status()->agents_active == 0; }));
}

// Nobody is asked anything, so scores are those of their classes' priors: C 466 ms, D 378. The mean
// is of the clusters' means, not of the agents (mesh.md part 10).
TEST(EmbeddedEngine, SaysTheMeanOfItsClustersMeans) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto station = Station::attach(engine->directory(), {.name = "three", .agents = 3});
  ASSERT_TRUE(station.has_value()) << station.error().sentence;
  const std::vector<engine::AgentDeclaration> agents = {
      {.name = "c-0", .agent_class = sched::AgentClass::persistent},
      {.name = "c-1", .agent_class = sched::AgentClass::persistent},
      {.name = "d-0", .agent_class = sched::AgentClass::gpu}};
  ASSERT_TRUE((*station)->enrol(agents).has_value());
  std::optional<double> mean;
  EXPECT_TRUE(eventually([&] {
    const auto status = engine->status();
    if (status && status->overview.expected == 3) mean = status->overview.mean_impedance_ms;
    return mean == (466.0 + 378.0) / 2;
  })) << "it stayed at "
      << mean.value_or(-1);
}

TEST(EmbeddedEngine, AsksAnAgentAndWaitsForItsAnswerButNotForEver) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  std::atomic<bool> over{false};
  std::thread pump([&] {
    const auto station = station_of(*engine, "asked-");
    std::vector<Reply> held;
    while (!over.load(std::memory_order_relaxed)) {  // relaxed: the join orders what follows
      station->poll(256, [&](const Delivery& delivery, Reply reply) {
        const std::string echo = std::string(delivery.text()) + "!";
        const auto body = std::as_bytes(std::span(echo));
        if (delivery.text() == "yes?") reply.answer(Answer::ready(body));
        if (delivery.text() == "no?")
          reply.answer(Answer::in_conflict(sched::ConflictType::hash_mismatch, {3, 4}, body));
        if (delivery.text() == "ever?") held.push_back(std::move(reply));
      });  // any other is declined by its Reply's end
      (void)station->wait(station->now() + Nanos{10 * kNsPerMs});
    }
  });
  EXPECT_TRUE(eventually([&] { return engine->find("asked-7").has_value(); }));
  const AgentId agent = engine->find("asked-7").value();
  const auto ask = [&](const std::string& text, Nanos patience = Nanos{60 * kNsPerSecond}) {
    return engine->ask(agent, std::as_bytes(std::span(text)), patience);
  };
  const auto text_of = [](std::span<const std::byte> body) {
    return std::string(reinterpret_cast<const char*>(body.data()), body.size());
  };
  const auto ready = ask("yes?");
  ASSERT_TRUE(ready.has_value()) << ready.error().sentence;
  EXPECT_EQ(ready->agent, agent);
  EXPECT_EQ(ready->state, sched::TrinaryState::ready);
  EXPECT_EQ(text_of(ready->body), "yes?!");
  const auto conflict = ask("no?");
  ASSERT_TRUE(conflict.has_value()) << conflict.error().sentence;
  EXPECT_EQ(conflict->state, sched::TrinaryState::conflict);
  EXPECT_EQ(conflict->conflict, sched::ConflictType::hash_mismatch);
  ASSERT_GE(conflict->body.size(), sizeof(engine::ConflictValues));
  EXPECT_EQ(text_of(std::span(conflict->body).subspan(sizeof(engine::ConflictValues))), "no?!");
  const auto declined = ask("what?");
  ASSERT_TRUE(declined.has_value()) << declined.error().sentence;
  EXPECT_EQ(declined->state, sched::TrinaryState::transit);
  const auto silent = ask("ever?", Nanos{50 * kNsPerMs});
  ASSERT_FALSE(silent.has_value());
  EXPECT_EQ(silent.error().code, Errc::timed_out);
  EXPECT_THAT(silent.error().sentence, ::testing::HasSubstr("50 ms"));
  const auto nobody = engine->ask(AgentId{1'234'567}, {}, Nanos{60 * kNsPerSecond});
  ASSERT_FALSE(nobody.has_value());
  EXPECT_EQ(nobody.error().code, Errc::no_such_agent);
  EXPECT_EQ(ask("yes?")->state, sched::TrinaryState::ready) << "a late answer is nobody else's";
  over.store(true, std::memory_order_relaxed);
  pump.join();
}

TEST(EmbeddedEngine, RunsWhatIsPostedOnThePumpsThread) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  const auto station = station_of(*engine, "posted-");
  const auto pump = std::this_thread::get_id();
  int ran = 0;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(station->post([&] {
        EXPECT_EQ(std::this_thread::get_id(), pump);
        ++ran;
      }));
    }
  });
  while (ran < 100) {
    station->poll(16, [](const Delivery&) { return Answer::ready(); });
    if (ran < 100) {
      ASSERT_NE(station->wait(station->now() + Nanos{60 * kNsPerSecond}),
                queues::WaitResult::kTimedOut);
    }
  }
  other.join();
}

TEST(EmbeddedEngine, RunsWhatWasPostedWithWorkThatThrows) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  const auto station = station_of(*engine, "posted-");
  int ran = 0;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(station->post([&ran, i] {
      if (i % 2 == 0) throw std::runtime_error("of the work's own");
      ++ran;
    }));
  }
  EXPECT_NO_THROW(station->poll(16, [](const Delivery&) { return Answer::ready(); }));
  EXPECT_EQ(ran, 5);
  EXPECT_EQ(station->work_threw(), 5U);
}

TEST(EmbeddedEngine, AStationsMessageReachesOnlyWhoHasWhatItRequires) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto attached = engine::Station::attach(directory.path(), {.agents = 2});
  ASSERT_TRUE(attached.has_value()) << attached.error().sentence;
  engine::Station& station = **attached;
  engine::AgentDeclaration able{.name = "able"};
  able.capabilities = {"vision"};
  const auto ids = station.enrol(std::vector<engine::AgentDeclaration>{able, {.name = "other"}});
  ASSERT_TRUE(ids.has_value()) << ids.error().sentence;
  engine::SendOptions options;
  options.source = ids->back();
  EXPECT_EQ(station.require("flight", options).error().code, Errc::not_found);
  ASSERT_TRUE(station.require("vision", options));
  for (const AgentId target : *ids) {
    options.target = target;
    ASSERT_EQ(station.send(options, {}), engine::SendStatus::sent);
  }
  station.flush();
  std::size_t messages = 0;
  std::size_t reports = 0;
  EXPECT_TRUE(eventually([&] {
    station.poll(16, [&](const Delivery& delivery) {
      messages += delivery.kind == sched::RecordKind::message ? 1U : 0U;
      reports += delivery.kind == sched::RecordKind::report ? 1U : 0U;
      if (delivery.kind == sched::RecordKind::message) {
        EXPECT_EQ(delivery.target, ids->front());
      }
      return Answer::ready();
    });
    return messages == 1 && reports == 1;
  }));
}

TEST(EmbeddedEngine, TellsWhoWaitsThatItStopped) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  const auto station = station_of(*engine, "silent-");
  std::atomic<bool> opened{false};
  std::thread caller([&] {
    opened.store(true, std::memory_order_relaxed);
    const auto report = engine->scatter(request(), false);  // nobody answers
    EXPECT_FALSE(report.has_value());
    EXPECT_TRUE(report.error().code == Errc::closed || report.error().code == Errc::busy);
  });
  EXPECT_TRUE(eventually([&] {
    return opened.load(std::memory_order_relaxed) && engine->status()->counters.deliveries != 0;
  }));
  engine->stop();
  caller.join();
  EXPECT_FALSE(engine->status().has_value());
  // What was delivered comes first, then that the engine has gone.
  std::size_t handled = 0;
  queues::WaitResult seen = queues::WaitResult::kReady;
  while (seen != queues::WaitResult::kFailed && seen != queues::WaitResult::kTimedOut) {
    handled += station->poll(256, [](const Delivery&) { return Answer::ready(); });
    seen = station->wait(station->now() + Nanos{60 * kNsPerSecond});
  }
  EXPECT_NE(handled, 0U);
  EXPECT_EQ(seen, queues::WaitResult::kFailed);
  EXPECT_TRUE(station->is_lost());
}

}  // namespace of_engine_embedded_test
}  // namespace mesh::testing
