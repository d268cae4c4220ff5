// SIGKILL of a station's process at each step of what it does: attaching, enrolling, polling,
// answering, sending, running what was posted. It is known by event, an operation waits for it by
// its rules, what it had answered visibly stays answered, and the rest waits for its agent's return
// and is answered once.
//
// Named points are compiled in where MESH_FAULTS is on (./dev asan, ./dev cover); everywhere it
// also dies of itself wherever a program of its owner's runs: in its handlers and between two
// polls.
#include <thread>

#include "shm/base/point.hpp"
#include "tests/engine/station_processes.hpp"

namespace mesh::testing {
namespace of_station_deaths_test {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::Reply;
using engine::Station;

// No timer can be what a death is known by: they are over long after the test's patience is.
constexpr Nanos kFarOff{600 * kNsPerSecond};
constexpr std::uint64_t kOwed = 4;  // of one agent: three direct messages, and an operation's

void die() { ::kill(::getpid(), SIGKILL); }
void die_at(const char* point, unsigned at_count) {
  points::arm(
      point, at_count, [](void*) { die(); }, nullptr);
}

// What a station's process does once all that it is owed stands in its inbox. It ends in its death.
using Life = std::function<void(Station&)>;

int struck(const Channel& channel, const Life& life) {
  const auto station = attach_with(channel, channel.hear(), {"struck"});
  if (station == nullptr) return 1;
  channel.tell("enrolled");
  if (channel.hear() != "go") return 1;
  life(*station);
  return 1;
}

// Answers READY, and says with the text "last" what it was given up to it: each text, and behind it
// a + if it was marked as given before.
int lister(const Channel& channel, const std::string& name) {
  const auto station = attach_with(channel, channel.hear(), {name});
  if (station == nullptr) return 1;
  channel.tell("enrolled");
  std::string given;
  serve_until_lost(*station, [&](const Delivery& delivery) {
    given += std::string(delivery.text()) + (delivery.redelivered ? "+ " : " ");
    if (delivery.text() == "last") channel.tell(given);
    return Answer::ready();
  });
  return 0;
}

std::unique_ptr<Engine> engine_without_timers(const std::string& directory) {
  engine::EngineOptions options;
  options.directory = directory;
  options.size = {.agents = 64, .stations = 8};
  options.stuck_after = kFarOff;
  options.loop.upkeep = Nanos{60 * kNsPerSecond};
  auto engine = Engine::start(options);
  EXPECT_TRUE(engine.has_value()) << engine.error().sentence;
  return engine ? std::move(*engine) : nullptr;
}

// One operation over all agents, which ends when all have answered, or with the engine.
class Operation {
 public:
  explicit Operation(Engine& engine) : engine_(engine), thread_([this] { run(); }) {}
  ~Operation() {
    if (!thread_.joinable()) return;
    engine_.stop();
    thread_.join();
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  [[nodiscard]] sched::GatherCounts counts() {
    thread_.join();
    EXPECT_TRUE(report_.has_value()) << report_.error().sentence;
    return report_ ? report_->finished.result.counts : sched::GatherCounts{};
  }

 private:
  void run() {
    engine::OperationRequest request;
    request.horizon = Nanos{200 * kNsPerMs};
    request.window = kFarOff;
    request.timeout = kFarOff;
    request.body = bytes_of("all");
    report_ = engine_.scatter(request, false);
  }
  Engine& engine_;
  Result<engine::OperationReport> report_ = fail(Errc::closed, "not begun");
  std::thread thread_;
};

// Three direct messages and one of an operation stand in its inbox when `life` begins. `answered`
// of them, the first, count as answered in spite of its death.
void expect_the_rest_waits(const Life& life, std::uint64_t answered) {
  const ScratchDirectory directory;
  Child victim([&](const Channel& channel) { return struck(channel, life); });
  const Child heir([](const Channel& channel) { return lister(channel, "struck"); });
  const Child other([](const Channel& channel) { return lister(channel, "other"); });
  const auto engine = engine_without_timers(directory.path());
  ASSERT_NE(engine, nullptr);
  for (const Child* const one : {static_cast<const Child*>(&victim), &other}) {
    one->tell(directory.path());
    ASSERT_EQ(one->hear(), "enrolled");
  }
  const AgentId to = engine->find("struck").value();
  const std::vector<std::string> texts = {"m0", "m1", "m2"};
  for (const std::string& text : texts) ASSERT_TRUE(engine->send(to, bytes_of(text)).has_value());
  const auto counters = [&] { return engine->status()->counters; };
  ASSERT_TRUE(eventually([&] { return counters().deliveries == texts.size(); }));
  Operation operation(*engine);
  ASSERT_TRUE(eventually([&] { return counters().deliveries == kOwed + 1; }));
  victim.tell("go");
  ASSERT_EQ(victim.hear(), kGone);
  ASSERT_TRUE(WIFSIGNALED(victim.wait())) << "it was not killed: the point was never reached";

  EXPECT_TRUE(eventually([&] { return engine->status()->stations == 1; }));
  EXPECT_EQ(engine->status()->agents_active, 1U);
  EXPECT_TRUE(eventually([&] { return counters().answers == answered + 1; }))
      << counters().answers << " answers, one of them the other's";
  if (answered != kOwed) {
    EXPECT_EQ(engine->status()->gauges.operations, 1U) << "it ended without its answer";
  }

  heir.tell(directory.path());
  ASSERT_EQ(heir.hear(), "enrolled");
  const sched::GatherCounts counts = operation.counts();
  EXPECT_EQ(counts.sent, 2U);
  EXPECT_EQ(counts.ready, 2U);
  ASSERT_TRUE(engine->send(to, bytes_of("last")).has_value());
  std::string given = heir.hear();
  if (answered != kOwed) {
    const std::size_t at = given.find("all");
    ASSERT_NE(at, given.npos) << given;
    given.erase(at, given.find(' ', at) + 1 - at);  // it has a time of its own
  }
  std::string expected;
  for (std::size_t i = answered; i < texts.size(); ++i) expected += texts[i] + "+ ";
  EXPECT_EQ(given, expected + "last ");
  EXPECT_TRUE(eventually([&] { return counters().answers == kOwed + 2; }));
  EXPECT_EQ(counters().duplicates, 0U);
  EXPECT_EQ(counters().refused_records, 0U);
}

// How a station answers. One that is not killed comes to an end all the same, and the test says so.
constexpr int kTurns = 20;

void answer_at_once(Station& station) {
  for (int turn = 0; turn < kTurns; ++turn) {
    station.poll(256, [](const Delivery&) { return Answer::ready(bytes_of("an answer")); });
    (void)station.wait(station.now() + Nanos{kNsPerSecond});
  }
}
// By another thread, which is done before the pump looks again.
void answer_elsewhere(Station& station) {
  for (int turn = 0; turn < kTurns; ++turn) {
    std::vector<Reply> replies;
    station.poll(256, [&](const Delivery&, Reply reply) { replies.push_back(std::move(reply)); });
    std::thread([work = std::move(replies)]() mutable {
      for (Reply& reply : work) reply.answer(Answer::ready());
    }).join();
  }
}
void answer_in_posted_work(Station& station) {
  for (int turn = 0; turn < kTurns; ++turn) {
    const auto replies = std::make_shared<std::vector<Reply>>();
    station.poll(256, [&](const Delivery&, Reply reply) { replies->push_back(std::move(reply)); });
    station.post([&station, replies] {
      for (Reply& reply : *replies) station.answer(std::move(reply), Answer::ready());
    });
  }
}

struct Point {
  const char* name;
  unsigned at_count;
  std::uint64_t answered;
};
void expect_at(const Point& point, void (*live)(Station&)) {
  SCOPED_TRACE(std::string(point.name) + " reached " + std::to_string(point.at_count) + " times");
  expect_the_rest_waits(
      [&](Station& station) {
        die_at(point.name, point.at_count);
        live(station);
      },
      point.answered);
}

TEST(StationDeaths, AtAnyPointOfAPollWhatWasNotShownToTheEngineWaitsForItsReturn) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const Point& point : {Point{"spsc.poll:before_record", 1, 0},
                             {"spsc.poll:before_record", kOwed, 0},
                             {"payload.copy:before_tail", 1, 0},
                             {"spsc.poll:before_cursor", 1, 0},
                             {"spsc.poll:after_cursor", 1, 0},
                             {"station.poll:before_handlers", 1, 0},
                             {"station.poll:before_answer", 1, 0},
                             {"station.poll:before_answer", kOwed, 0},
                             {"payload.commit:before_head", kOwed, 0},
                             {"station.poll:after_handlers", 1, 0},
                             {"spsc.fill:before_records", 1, 0},
                             {"station.flush:before_reveal", 1, 0},
                             {"spsc.reveal:before_stamp", 1, 0},
                             {"spsc.reveal:after_stamp", 1, kOwed},
                             {"station.flush:before_wake", 1, kOwed},
                             {"spsc.park:before_check", 1, kOwed}}) {
    expect_at(point, answer_at_once);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(StationDeaths, AtAnyPointOfAReplyOfAnotherThreadNothingIsAnsweredByHalf) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const Point& point : {Point{"station.reply:before_push", 1, 0},
                             {"station.reply:before_push", kOwed, 0},
                             {"station.reply:before_bell", 1, 0},
                             {"station.reply:before_staging", 1, 0}}) {
    expect_at(point, answer_elsewhere);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(StationDeaths, AtAnyPointOfPostedWorkNothingIsAnsweredByHalf) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const Point& point :
       {Point{"station.post:before_bell", 1, 0}, {"station.post:before_work", 1, 0}}) {
    expect_at(point, answer_in_posted_work);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// Its process dies before it has its agent, or before it knows that it has it: what waits for the
// agent waits on, and nothing of the process is left.
TEST(StationDeaths, AtAnyPointOfAttachingAndEnrollingWhatWaitsForItsAgentWaitsOn) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const char* const point : {"station.attach:after_answer", "station.attach:after_descriptors",
                                  "station.attach:before_core", "station.enrol:before_agents"}) {
    SCOPED_TRACE(point);
    const ScratchDirectory directory;
    Child before([](const Channel& channel) { return lister(channel, "struck"); });
    Child victim([&](const Channel& channel) {
      die_at(point, 1);
      return struck(channel, [](Station&) {});
    });
    const Child heir([](const Channel& channel) { return lister(channel, "struck"); });
    const auto engine = engine_without_timers(directory.path());
    ASSERT_NE(engine, nullptr);
    const auto is_empty = [&] {
      return engine->status()->stations == 0 && engine->status()->connections == 0;
    };
    ASSERT_TRUE(eventually(is_empty));
    const std::size_t descriptors = count_open_descriptors();
    before.tell(directory.path());
    ASSERT_EQ(before.hear(), "enrolled");
    const AgentId to = engine->find("struck").value();
    before.end();
    ASSERT_TRUE(eventually(is_empty));
    ASSERT_TRUE(engine->send(to, bytes_of("waits")).has_value());

    victim.tell(directory.path());
    ASSERT_EQ(victim.hear(), kGone);
    EXPECT_TRUE(WIFSIGNALED(victim.wait())) << "the point was never reached";
    EXPECT_TRUE(eventually([&] { return is_empty() && engine->status()->stations_ever == 2; }));
    EXPECT_EQ(engine->status()->agents_active, 0U);
    EXPECT_TRUE(eventually([&] { return count_open_descriptors() == descriptors; }));

    heir.tell(directory.path());
    ASSERT_EQ(heir.hear(), "enrolled");
    EXPECT_EQ(engine->find("struck").value(), to);
    ASSERT_TRUE(engine->send(to, bytes_of("last")).has_value());
    const std::string given = heir.hear();
    EXPECT_TRUE(given == "waits last " || given == "waits+ last ") << given;
    EXPECT_TRUE(eventually([&] { return engine->status()->counters.answers == 2; }));
    EXPECT_EQ(engine->status()->counters.duplicates, 0U);
  }
}

// P1: a message survives its sender from the moment at which the engine can see it.
TEST(StationDeaths, AtAnyPointOfASendTheMessageIsThereAsAWholeOrNotAtAll) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  struct Case {
    const char* point;
    bool is_sent;
  };
  for (const Case& of : {Case{"payload.commit:before_entry", false},
                         {"payload.commit:after_head", false},
                         {"station.send:before_record", false},
                         {"spsc.fill:before_records", false},
                         {"station.flush:before_reveal", false},
                         {"spsc.reveal:before_stamp", false},
                         {"spsc.reveal:after_stamp", true},
                         {"station.flush:before_wake", true}}) {
    SCOPED_TRACE(of.point);
    const ScratchDirectory directory;
    const Child other([](const Channel& channel) { return lister(channel, "other"); });
    Child sender([&](const Channel& channel) {
      const auto station = attach(channel, channel.hear());
      if (station == nullptr) return 1;
      const auto ids = station->enrol(std::vector<engine::AgentDeclaration>{{"sender"}});
      if (!ids) return 1;
      channel.tell("enrolled");
      engine::SendOptions options;
      options.source = ids->front();
      options.target = AgentId{std::stoull(channel.hear())};
      die_at(of.point, 1);
      (void)station->send(options, bytes_of("a message"));
      station->flush();
      return 1;
    });
    const auto engine = engine_without_timers(directory.path());
    ASSERT_NE(engine, nullptr);
    for (const Child* const one : {static_cast<const Child*>(&sender), &other}) {
      one->tell(directory.path());
      ASSERT_EQ(one->hear(), "enrolled");
    }
    const AgentId to = engine->find("other").value();
    sender.tell(std::to_string(static_cast<std::uint64_t>(to)));
    ASSERT_EQ(sender.hear(), kGone);
    EXPECT_TRUE(WIFSIGNALED(sender.wait())) << "the point was never reached";
    EXPECT_TRUE(eventually([&] { return engine->status()->stations == 1; }));
    ASSERT_TRUE(engine->send(to, bytes_of("last")).has_value());
    EXPECT_EQ(other.hear(), of.is_sent ? "a message last " : "last ");
  }
}

// Where a program of its owner's runs, in every build.

TEST(StationDeaths, InItsHandlerBeforeAnyAnswerEverythingWaits) {
  for (const std::uint64_t at : {std::uint64_t{1}, kOwed}) {
    SCOPED_TRACE(at);
    expect_the_rest_waits(
        [at](Station& station) {
          std::uint64_t given = 0;
          station.poll(256, [&](const Delivery&) {
            if (++given == at) die();
            return Answer::ready();
          });
        },
        0);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(StationDeaths, InItsHandlerAfterTheAnswerThatNobodySawYetEverythingWaits) {
  expect_the_rest_waits(
      [](Station& station) {
        std::uint64_t given = 0;
        station.poll(256, [&](const Delivery&, Reply reply) {
          station.answer(std::move(reply), Answer::ready());
          if (++given == kOwed) die();
        });
      },
      0);
}

TEST(StationDeaths, BetweenTwoPollsWhatTheFirstAnsweredStaysAnswered) {
  expect_the_rest_waits(
      [](Station& station) {
        station.poll(2, [](const Delivery&) { return Answer::ready(); });
        die();
      },
      2);
}

TEST(StationDeaths, InTheHandlerOfTheSecondPollWhatTheFirstAnsweredStaysAnswered) {
  expect_the_rest_waits(
      [](Station& station) {
        std::uint64_t given = 0;
        for (;;) {
          station.poll(2, [&](const Delivery&) {
            if (++given == 3) die();
            return Answer::ready();
          });
        }
      },
      2);
}

TEST(StationDeaths, AfterItAnsweredAllNothingComesAgain) {
  expect_the_rest_waits(
      [](Station& station) {
        station.poll(256, [](const Delivery&) { return Answer::ready(); });
        die();
      },
      kOwed);
}

TEST(StationDeaths, WithItsRepliesInOtherThreadsEverythingWaits) {
  expect_the_rest_waits(
      [](Station& station) {
        std::vector<Reply> replies;
        station.poll(256,
                     [&](const Delivery&, Reply reply) { replies.push_back(std::move(reply)); });
        std::thread([&] {
          for (Reply& reply : replies) reply.answer(Answer::ready());
          die();
        }).join();
      },
      0);
}

TEST(StationDeaths, InWorkThatWasPostedEverythingWaits) {
  expect_the_rest_waits(
      [](Station& station) {
        station.post(die);
        station.poll(256, [](const Delivery&) { return Answer::ready(); });
      },
      0);
}

}  // namespace of_station_deaths_test
}  // namespace mesh::testing
