// SIGKILL of one of eight processes while all 30,000 agents are in an operation: known by event,
// nobody else notices, and what it had not answered waits for whoever comes back in its place.
#include <thread>

#include <unistd.h>

#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_station_loss_test {

using engine::Answer;
using engine::Delivery;
using engine::Station;

constexpr std::uint32_t kProcesses = 8;
constexpr std::uint32_t kEach = 3'750;
constexpr std::uint32_t kAgents = kProcesses * kEach;
constexpr std::uint32_t kVictim = 3;
constexpr std::uint64_t kStruckAt = 100;  // of what it is given
constexpr std::uint64_t kNever = ~std::uint64_t{0};

// A timer that cannot be what the loss is known by: it is over long after the test's patience is.
constexpr Nanos kFarOff{600 * kNsPerSecond};

std::vector<engine::AgentDeclaration> agents_of(std::uint32_t process) {
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < kEach; ++i)
    agents.push_back({"p" + std::to_string(process) + "/" + std::to_string(i)});
  return agents;
}

// Enrols the agents of `process`, answers READY, and says at the end what it was given. At the
// `struck_at`th it stands still within its handler, for good.
int serve(const Channel& channel, std::uint32_t process, std::uint64_t struck_at) {
  const auto station = attach(channel, channel.hear(), kEach);
  if (station == nullptr || !station->enrol(agents_of(process))) return 1;
  channel.tell("enrolled");
  std::uint64_t given = 0;
  std::uint64_t again = 0;
  std::vector<std::uint32_t> times(kEach);
  while (!station->is_lost() && given < kEach) {
    station->poll(256, [&](const Delivery& delivery) {
      if (++given == struck_at) {
        channel.tell("struck");
        for (;;) ::pause();
      }
      again += delivery.redelivered ? 1 : 0;
      return Answer::ready();
    });
    station->flush();
    if (struck_at == kNever && given >= kEach) break;
    (void)station->wait(station->now() + Nanos{10 * kNsPerMs});
  }
  channel.tell(std::to_string(given) + " given, " + std::to_string(again) + " again");
  return channel.hear() == kGone ? 0 : 1;
}

TEST(StationLoss, OfOneOfEightInAnOperationOf30000IsKnownByEventAndWhatItOwesWaitsForItsReturn) {
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (std::uint32_t process = 0; process < kProcesses; ++process) {
    children.push_back(std::make_unique<Child>([process](const Channel& channel) {
      return serve(channel, process, process == kVictim ? kStruckAt : kNever);
    }));
  }
  const Child heir([](const Channel& channel) { return serve(channel, kVictim, kNever); });
  engine::EngineOptions options;
  options.directory = directory.path();
  options.size = {.agents = kAgents, .stations = kProcesses + 1, .agents_per_station = kEach};
  options.stuck_after = kFarOff;
  options.loop.upkeep = Nanos{60 * kNsPerSecond};
  auto started = engine::Engine::start(options);
  ASSERT_TRUE(started.has_value()) << started.error().sentence;
  engine::Engine& engine = **started;
  for (const auto& child : children) child->tell(directory.path());
  for (const auto& child : children) ASSERT_EQ(child->hear(), "enrolled");
  ASSERT_EQ(engine.status()->agents_active, kAgents);

  engine::OperationRequest request;
  request.horizon = Nanos{500 * kNsPerMs};
  request.window = kFarOff;
  request.timeout = kFarOff;
  Result<engine::OperationReport> report = fail(Errc::closed, "not begun");
  std::thread operation([&] { report = engine.scatter(request, false); });
  ASSERT_EQ(children[kVictim]->hear(), "struck");
  children[kVictim]->end();
  // No timer can have said so: eventually() waits for a tenth of the shortest at most.
  EXPECT_TRUE(eventually([&] { return engine.status()->stations == kProcesses - 1; }));
  EXPECT_EQ(engine.status()->agents_active, kAgents - kEach);

  // The others are given each message once, and answer it.
  for (std::uint32_t process = 0; process < kProcesses; ++process) {
    if (process == kVictim) continue;
    EXPECT_EQ(children[process]->hear(), std::to_string(kEach) + " given, 0 again") << process;
  }
  EXPECT_TRUE(eventually([&] { return engine.status()->counters.answers >= kAgents - kEach; }));
  EXPECT_EQ(engine.status()->gauges.operations, 1U) << "it waits for those that it sent to";
  const std::uint64_t by_victim = engine.status()->counters.answers - (kAgents - kEach);
  EXPECT_LT(by_victim, kStruckAt);

  heir.tell(directory.path());
  ASSERT_EQ(heir.hear(), "enrolled");
  operation.join();
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  const auto& counts = report->finished.result.counts;
  EXPECT_EQ(counts.sent, kAgents);
  EXPECT_EQ(counts.ready, kAgents) << "with what was answered after its return";
  EXPECT_EQ(engine.status()->stations, kProcesses);
  EXPECT_EQ(engine.status()->counters.answers, kAgents) << "nobody answered twice";
  EXPECT_EQ(engine.status()->counters.duplicates, 0U);
}

}  // namespace of_station_loss_test
}  // namespace mesh::testing
