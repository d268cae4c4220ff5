// An engine inside a program that also has its agents: a station a thread, on the same rings.
#include <thread>

#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace {

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
  EXPECT_EQ(station->wait(station->now() + Nanos{60 * kNsPerSecond}),
            queues::WaitResult::kReady);  // the delivery, first
  station->poll(256, [](const Delivery&) { return Answer::ready(); });
  EXPECT_EQ(station->wait(station->now() + Nanos{60 * kNsPerSecond}), queues::WaitResult::kFailed);
  EXPECT_TRUE(station->is_lost());
}

}  // namespace
}  // namespace mesh::testing
