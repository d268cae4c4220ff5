// Meshes at their edges, in real processes: as many stations and agents as there may be, agents
// that are slow, silent or there twice.
#include <deque>

#include <sys/resource.h>

#include "engine/engine.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_engine_extremes_test {

using engine::Answer;
using engine::Delivery;
using engine::Reply;
using engine::Station;

// Ends when all have answered; the window is the deadline of a test that has failed.
engine::OperationRequest to_all() {
  engine::OperationRequest request;
  request.horizon = Nanos{500 * kNsPerMs};
  request.window = Nanos{60 * kNsPerSecond};
  request.timeout = Nanos{90 * kNsPerSecond};
  return request;
}
// Ends by its window: somebody is not going to answer.
engine::OperationRequest that_ends_soon() {
  engine::OperationRequest request = to_all();
  request.horizon = Nanos{300 * kNsPerMs};
  request.window = Nanos{500 * kNsPerMs};
  return request;
}

std::vector<engine::AgentDeclaration> named(const std::string& prefix, std::uint32_t count) {
  std::vector<engine::AgentDeclaration> agents;
  for (std::uint32_t i = 0; i < count; ++i) agents.push_back({prefix + std::to_string(i)});
  return agents;
}

void answer_until_lost(Station& station) {
  while (!station.is_lost()) {
    station.poll(256, [](const Delivery&) { return Answer::ready(); });
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
  }
}

// `count` agents that answer READY until the engine has gone.
int responder(const Channel& channel, const std::string& prefix, std::uint32_t count) {
  const auto station = attach(channel, channel.hear(), count);
  if (station == nullptr || !station->enrol(named(prefix, count))) return 1;
  channel.tell("enrolled");
  answer_until_lost(*station);
  return 0;
}

TEST(EngineExtremes, GathersFrom200Stations) {
  constexpr std::uint32_t kStations = 200;
  rlimit files{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;  // here the engine, and the test's own end of 200 channels
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
  if (files.rlim_cur < 1'200) GTEST_SKIP() << "1,200 open files are needed: ulimit -n";
  const ScratchDirectory directory;
  std::vector<std::unique_ptr<Child>> children;
  for (std::uint32_t i = 0; i < kStations; ++i) {
    children.push_back(std::make_unique<Child>([i](const Channel& channel) {
      return responder(channel, "station-" + std::to_string(i) + "/", 2);
    }));
  }
  const auto engine = start_engine(
      directory.path(), {.agents = 2 * kStations, .stations = kStations, .agents_per_station = 2});
  ASSERT_NE(engine, nullptr);
  for (const auto& child : children) child->tell(directory.path());
  for (const auto& child : children) ASSERT_EQ(child->hear(), "enrolled");
  EXPECT_EQ(engine->status()->stations, kStations);
  const auto report = engine->scatter(to_all(), false);
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  EXPECT_EQ(report->finished.result.counts.sent, 2 * kStations);
  EXPECT_EQ(report->finished.result.counts.ready, 2 * kStations);

  // One more than there may be; and half of them die at once.
  const auto refused = Station::attach(directory.path(), {.name = "one too many"});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::capacity) << refused.error().sentence;
  for (std::uint32_t i = 0; i < kStations / 2; ++i) children[i]->end();
  EXPECT_TRUE(eventually([&] { return engine->status()->stations == kStations / 2; }));
  const auto half = engine->scatter(to_all(), false);
  ASSERT_TRUE(half.has_value()) << half.error().sentence;
  // Whoever is asked answers. Of the living those are not asked whose cluster's breaker has opened
  // by then: of its agents too many had died.
  const auto& counts = half->finished.result.counts;
  EXPECT_EQ(counts.sent + counts.skipped.not_routable, 2 * kStations);
  EXPECT_LE(counts.sent, kStations);
  EXPECT_GT(counts.sent, 0U);
  EXPECT_EQ(counts.ready, counts.sent);
}

TEST(EngineExtremes, Gathers30000AgentsOfOneStation) {
  constexpr std::uint32_t kAgents = 30'000;
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) { return responder(channel, "agent-", kAgents); });
  const auto engine = start_engine(
      directory.path(), {.agents = kAgents, .stations = 1, .agents_per_station = kAgents});
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  EXPECT_EQ(engine->status()->agents_active, kAgents);
  for (int round = 0; round < 2; ++round) {  // the second laps no ring, but finds none empty
    const auto report = engine->scatter(to_all(), true);
    ASSERT_TRUE(report.has_value()) << report.error().sentence;
    EXPECT_EQ(report->finished.result.counts.sent, kAgents);
    EXPECT_EQ(report->finished.result.counts.ready, kAgents);
    EXPECT_EQ(report->trace.size(), kAgents);
  }
  EXPECT_EQ(engine->status()->counters.refused_records, 0U);
}

// A handler takes as long as it takes: its Reply is held over several operations, the pump goes on,
// and the answer is taken when it comes.
TEST(EngineExtremes, WaitsForNoHandlerAndTakesItsAnswerWheneverItComes) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const auto station = attach(channel, channel.hear(), 2);
    if (station == nullptr || !station->enrol(named("agent-", 2))) return 1;
    channel.tell("enrolled");
    std::vector<Reply> held;
    int answered = 0;
    while (!station->is_lost() && (held.size() < 3 || answered < 3)) {
      station->poll(256, [&](const Delivery& delivery, Reply reply) {
        if (delivery.agent == 0) {
          ++answered;
          return reply.answer(Answer::ready());
        }
        held.push_back(std::move(reply));
      });
      (void)station->wait(station->now() + Nanos{kNsPerSecond});
    }
    if (channel.hear() != "answer") return 1;
    for (Reply& reply : held) reply.answer(Answer::ready());
    answer_until_lost(*station);
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  for (int round = 0; round < 3; ++round) {
    const auto report = engine->scatter(that_ends_soon(), false);
    ASSERT_TRUE(report.has_value()) << report.error().sentence;
    EXPECT_EQ(report->finished.result.end, sched::GatherEnd::kWindow);
    EXPECT_EQ(report->finished.result.counts.ready, 1U);
    EXPECT_EQ(report->finished.result.counts.straggler(), 1U);
  }
  const std::uint64_t answers = engine->status()->counters.answers;
  EXPECT_EQ(answers, 3U);
  child.tell("answer");
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == answers + 3; }));
  EXPECT_EQ(engine->status()->counters.refused_records, 0U);
  const auto report = engine->scatter(to_all(), false);
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  EXPECT_EQ(report->finished.result.counts.ready, 2U);
}

// It polls, and never answers: it is a straggler each time, and holds up nobody, however often.
TEST(EngineExtremes, GoesOnBesideAnAgentThatNeverAnswers) {
  constexpr int kMessages = 1'024;  // a quarter of what this mesh keeps: no agent has more
  const ScratchDirectory directory;
  const Child silent([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (station == nullptr || !station->enrol(named("silent-", 1))) return 1;
    channel.tell("enrolled");
    std::deque<Reply> held;  // dropped, they would answer
    while (!station->is_lost()) {
      station->poll(256, [&](const Delivery&, Reply reply) { held.push_back(std::move(reply)); });
      (void)station->wait(station->now() + Nanos{kNsPerSecond});
    }
    return 0;
  });
  const Child other([](const Channel& channel) { return responder(channel, "other-", 1); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  silent.tell(directory.path());
  other.tell(directory.path());
  ASSERT_EQ(silent.hear(), "enrolled");
  ASSERT_EQ(other.hear(), "enrolled");
  const auto report = engine->scatter(that_ends_soon(), false);
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  EXPECT_EQ(report->finished.result.counts.straggler(), 1U);
  EXPECT_EQ(report->finished.result.counts.ready, 1U);
  const AgentId to = engine->find("silent-0").value();
  int sent = 0;
  EXPECT_TRUE(eventually([&] {
    sent += engine->send(to, bytes_of("?")).has_value() ? 1 : 0;
    return sent == kMessages;
  })) << sent;
  const auto refused = engine->send(to, bytes_of("one more"));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::target_full);
  ASSERT_TRUE(engine->send(engine->find("other-0").value(), bytes_of("!")).has_value());
  EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == 2; }));
}

TEST(EngineExtremes, RefusesNamesThatAreNoneAndWhoeverWasAskedForWithThem) {
  const ScratchDirectory directory;
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  auto station = Station::attach(directory.path(), {.agents = 8});
  ASSERT_TRUE(station.has_value()) << station.error().sentence;
  for (const std::string& name : {std::string(), std::string(64, 'x'), std::string("a\0b", 3),
                                  std::string("\xff"), std::string("line\nbreak")}) {
    const auto enrolled = (*station)->enrol(std::vector<engine::AgentDeclaration>{{name}});
    ASSERT_FALSE(enrolled.has_value()) << name;
    EXPECT_EQ(enrolled.error().code, Errc::invalid_argument) << enrolled.error().sentence;
  }
  const auto half = (*station)->enrol(std::vector<engine::AgentDeclaration>{{"good"}, {""}});
  EXPECT_FALSE(half.has_value());
  EXPECT_FALSE(engine->find("good").has_value());
  EXPECT_EQ(engine->status()->agents_enrolled, 0U);
  EXPECT_TRUE((*station)->enrol(std::vector<engine::AgentDeclaration>{{"good"}}).has_value());
}

// The same name by the same user is the same agent: whoever enrols it last has it.
TEST(EngineExtremes, MovesANameToTheStationThatEnrolsItLast) {
  const ScratchDirectory directory;
  const auto listen = [](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (station == nullptr) return 1;
    const auto ids = station->enrol(std::vector<engine::AgentDeclaration>{{"alice"}});
    if (!ids) return 1;
    channel.tell(std::to_string(static_cast<std::uint64_t>(ids->front())));
    while (!station->is_lost()) {
      station->poll(256, [&](const Delivery& delivery) {
        channel.tell(std::string(delivery.text()));
        return Answer::ready();
      });
      (void)station->wait(station->now() + Nanos{kNsPerSecond});
    }
    return 0;
  };
  Child first(listen);
  const Child second(listen);
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  first.tell(directory.path());
  const std::string id = first.hear();
  const AgentId alice = engine->find("alice").value();
  EXPECT_EQ(id, std::to_string(static_cast<std::uint64_t>(alice)));
  ASSERT_TRUE(engine->send(alice, bytes_of("to the first")).has_value());
  EXPECT_EQ(first.hear(), "to the first");
  second.tell(directory.path());
  EXPECT_EQ(second.hear(), id) << "the same row and generation";
  EXPECT_EQ(engine->status()->agents_enrolled, 1U);
  ASSERT_TRUE(engine->send(alice, bytes_of("to the second")).has_value());
  EXPECT_EQ(second.hear(), "to the second");
  // The death of the one that it left takes nothing from it.
  first.end();
  EXPECT_TRUE(eventually([&] { return engine->status()->stations == 1; }));
  EXPECT_EQ(engine->status()->agents_active, 1U);
  ASSERT_TRUE(engine->send(alice, bytes_of("still the second")).has_value());
  EXPECT_EQ(second.hear(), "still the second");
}

// Its process is killed while a child that it forked holds every descriptor and mapping it could
// keep: the station is known to be dead all the same, and its name is free for the next.
TEST(EngineExtremes, KnowsAStationDeadWhoseForkedChildLivesOn) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const auto station = attach(channel, channel.hear());
    if (station == nullptr || !station->enrol(named("parent-", 1))) return 1;
    if (::fork() == 0) {
      channel.tell("forked");
      (void)channel.hear();  // until the test is over
      ::_exit(0);
    }
    answer_until_lost(*station);
    return 0;
  });
  const Child successor([](const Channel& channel) { return responder(channel, "parent-", 1); });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "forked");
  ASSERT_TRUE(eventually([&] { return engine->status()->agents_active == 1; }));
  ::kill(child.process(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return engine->status()->stations == 0; }));
  EXPECT_EQ(engine->status()->agents_active, 0U);
  successor.tell(directory.path());
  ASSERT_EQ(successor.hear(), "enrolled");
  const auto report = engine->scatter(to_all(), false);
  ASSERT_TRUE(report.has_value()) << report.error().sentence;
  EXPECT_EQ(report->finished.result.counts.ready, 1U);
}

}  // namespace of_engine_extremes_test
}  // namespace mesh::testing
