// What a station waits for, and until when: room in its outbox, something to poll, an answer of the
// engine's. The engine is stopped (SIGSTOP) where it is to do nothing: a deadline is reached
// because nothing can come before it, and never by a guess at how long something takes.
#include <thread>

#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_station_deadlines_test {

using engine::Answer;
using engine::Delivery;
using engine::SendStatus;
using engine::Station;
using queues::WaitResult;

constexpr Nanos kSoon{20 * kNsPerMs};

engine::EngineOptions patient_options(const std::string& directory) {
  engine::EngineOptions options = engine_options(directory);
  options.stuck_after = kForEver;  // the station here reads little
  return options;
}

class StationDeadlines : public ::testing::Test {
 protected:
  StationDeadlines() : engine_(patient_options(directory_.path())) {
    EXPECT_EQ(engine_.hear(), "up");
    engine::StationOptions options;
    options.agents = 4;
    options.connect.timeout = kSoon;
    options.wait.policy = queues::WaitPolicy::kPark;
    // So short a patience may be over before an engine that is kept from running has answered.
    EXPECT_TRUE(eventually([&] {
      auto attached = Station::attach(directory_.path(), options);
      if (attached) station_ = std::move(*attached);
      return station_ != nullptr;
    }));
  }
  ~StationDeadlines() override { go_on(); }
  void SetUp() override { ASSERT_NE(station_, nullptr); }
  // Returns once it does nothing any more.
  void stop() const {
    ASSERT_EQ(::kill(engine_.process(), SIGSTOP), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(engine_.process(), &status, WUNTRACED), engine_.process());
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  void go_on() const {
    if (engine_.process() > 0) ::kill(engine_.process(), SIGCONT);
  }
  Result<AgentId> enrol(const std::string& name) {
    auto ids = station_->enrol(std::vector<engine::AgentDeclaration>{{name}});
    if (!ids) return tl::unexpected<Error>(ids.error());
    return ids->front();
  }
  // The same again, however often the engine is too slow for so short a patience.
  AgentId enrolled(const std::string& name) {
    Result<AgentId> got = fail(Errc::timed_out, "");
    EXPECT_TRUE(eventually([&] {
      got = enrol(name);
      return got || got.error().code != Errc::timed_out;
    }));
    EXPECT_TRUE(got.has_value()) << got.error().sentence;
    return got.value_or(AgentId{});
  }

  ScratchDirectory directory_;
  EngineProcess engine_;
  std::unique_ptr<Station> station_;
};

// Room in the outbox.

class StationSendUntil : public StationDeadlines {
 protected:
  // An outbox that is full of what a stopped engine does not take.
  void fill() {
    options_.source = enrolled("sender");
    options_.target = options_.source;
    options_.priority = sched::Priority::high;  // the table refuses it nothing but a full outbox
    stop();
    if (HasFatalFailure()) return;
    SendStatus status = SendStatus::sent;
    for (int i = 0; i < 100'000 && status == SendStatus::sent; ++i)
      status = station_->send(options_, {});
    station_->flush();
    ASSERT_EQ(status, SendStatus::full);
  }
  engine::SendOptions options_;
};

TEST_F(StationSendUntil, SaysFullAtItsDeadlineAndNotBefore) {
  fill();
  if (HasFatalFailure()) return;
  const HostTime deadline = station_->now() + kSoon;
  EXPECT_EQ(station_->send_until(deadline, options_, {}), SendStatus::full);
  EXPECT_GE(station_->now(), deadline);
}

TEST_F(StationSendUntil, TriesOnceAlthoughItsDeadlineIsOver) {
  options_.source = enrolled("sender");
  options_.target = options_.source;
  EXPECT_EQ(station_->send_until(HostTime{}, options_, {}), SendStatus::sent);
  fill();
  if (HasFatalFailure()) return;
  const std::uint64_t refused = station_->core().counters().send_refused;
  EXPECT_EQ(station_->send_until(HostTime{}, options_, {}), SendStatus::full);
  EXPECT_EQ(station_->core().counters().send_refused, refused + 1);
}

TEST_F(StationSendUntil, SendsAsSoonAsThereIsRoom) {
  fill();
  if (HasFatalFailure()) return;
  const HostTime deadline = station_->now() + kForEver;
  std::thread other([this] { go_on(); });
  EXPECT_EQ(station_->send_until(deadline, options_, {}), SendStatus::sent);
  EXPECT_LT(station_->now(), deadline);
  other.join();
}

TEST_F(StationSendUntil, WaitsForRoomAloneAndReturnsAtOnceWhatIsInVain) {
  options_.source = enrolled("sender");
  options_.target = AgentId{1'234'567};
  const HostTime deadline = station_->now() + kForEver;
  EXPECT_EQ(station_->send_until(deadline, options_, {}), SendStatus::no_such_agent);
  EXPECT_LT(station_->now(), deadline);
}

TEST_F(StationSendUntil, EndsWithAStationThatIsLost) {
  fill();
  if (HasFatalFailure()) return;
  // Its engine ends, and says so to whoever is attached.
  std::thread other([this] {
    go_on();
    (void)engine_.end();
  });
  const HostTime deadline = station_->now() + kForEver;
  SendStatus status = SendStatus::sent;
  while (status == SendStatus::sent) status = station_->send_until(deadline, options_, {});
  other.join();
  EXPECT_EQ(status == SendStatus::full ? station_->send(options_, {}) : status, SendStatus::lost);
  EXPECT_TRUE(station_->is_lost());
  EXPECT_LT(station_->now(), deadline);
}

// Something to poll.

TEST_F(StationDeadlines, AWaitEndsAtItsDeadlineWhereNothingComes) {
  stop();
  if (HasFatalFailure()) return;
  station_->disarm();  // what was signalled before is taken
  const HostTime deadline = station_->now() + kSoon;
  EXPECT_EQ(station_->wait(deadline), WaitResult::kTimedOut);
  EXPECT_GE(station_->now(), deadline);
  EXPECT_EQ(station_->wait(HostTime{}), WaitResult::kTimedOut) << "over already";
}

TEST_F(StationDeadlines, AWaitEndsWithWhatComesBeforeIt) {
  engine::SendOptions options;
  options.source = enrolled("agent");
  options.target = options.source;
  ASSERT_EQ(station_->send(options, {}), SendStatus::sent);
  station_->flush();
  const HostTime deadline = station_->now() + kForEver;
  std::size_t taken = 0;
  while (taken == 0) {  // a signal without a message is no message
    ASSERT_NE(station_->wait(deadline), WaitResult::kTimedOut);
    taken = station_->poll(256, [](const Delivery&) { return Answer::ready(); });
  }
  EXPECT_LT(station_->now(), deadline);
}

TEST_F(StationDeadlines, AWaitThatFindsSomethingReturnsAlthoughItsDeadlineIsOver) {
  ASSERT_TRUE(station_->post([] {}));
  EXPECT_EQ(station_->wait(HostTime{}), WaitResult::kReady);
}

// An answer of the engine's.

TEST_F(StationDeadlines, ARequestThatIsNotAnsweredInTimeSaysSo) {
  stop();
  if (HasFatalFailure()) return;
  const auto refused = enrol("late");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::timed_out) << refused.error().sentence;
  EXPECT_FALSE(station_->is_lost());
  engine::StationOptions options;
  options.connect.timeout = kSoon;
  const auto other = Station::attach(directory_.path(), options);
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code, Errc::timed_out) << other.error().sentence;
  engine::SendOptions sending;
  EXPECT_EQ(station_->require("vision", sending).error().code, Errc::timed_out);
}

// The answer that came too late is not taken for that to another request: the agents would have
// each other's handles.
TEST_F(StationDeadlines, AnAnswerThatComesTooLateIsNobodyElses) {
  for (const bool polls_between : {false, true}) {
    SCOPED_TRACE(polls_between ? "the pump finds it" : "the next request finds it");
    const std::string first = polls_between ? "first again" : "first";
    const std::string second = polls_between ? "second again" : "second";
    stop();
    if (HasFatalFailure()) return;
    ASSERT_EQ(enrol(first).error().code, Errc::timed_out);
    go_on();
    if (polls_between) {
      // The engine has enrolled it; what it answered stands in the socket.
      ASSERT_TRUE(eventually([&] { return engine_.status()["agents_enrolled"] == 3; }));
      station_->disarm();  // looks at once
      (void)station_->poll(16, [](const Delivery&) { return Answer::ready(); });
    }
    const AgentId of_second = enrolled(second);
    const AgentId of_first = enrolled(first);
    EXPECT_NE(of_first, of_second);
    const auto rows = engine_.ask(R"({"op":"status"})")["agents_enrolled"];
    EXPECT_EQ(rows, polls_between ? 4 : 2);
    // What is sent to a name comes to the place that the engine gave its agent.
    for (const auto& [name, place] :
         {std::pair{first, polls_between ? 2U : 0U}, std::pair{second, polls_between ? 3U : 1U}}) {
      engine_.send(name, name);
      bool has_come = false;
      EXPECT_TRUE(eventually([&, name = name, place = place] {
        station_->poll(16, [&](const Delivery& delivery) {
          EXPECT_EQ(delivery.text(), name);
          EXPECT_EQ(delivery.agent, place) << name;
          has_come = true;
          return Answer::ready();
        });
        return has_come;
      }));
    }
  }
}

// Whoever gives up waiting may have been enrolled: what then comes for the agent is its own, and
// nobody needs to ask again for that.
class StationLateEnrolment : public StationDeadlines {
 protected:
  // The engine cannot have answered.
  void enrol_in_vain() {
    stop();
    if (HasFatalFailure()) return;
    const auto refused = enrol("late");
    ASSERT_FALSE(refused.has_value());
    ASSERT_EQ(refused.error().code, Errc::timed_out) << refused.error().sentence;
  }
  // Polls until its agent is given what `engine` sends it.
  void expect_given(const EngineProcess& engine) {
    AgentId target{};
    const auto poll = [&] {
      station_->poll(16, [&](const Delivery& delivery) {
        if (delivery.text() == "hello") target = delivery.target;
        return Answer::ready();
      });
    };
    EXPECT_TRUE(eventually([&] {
      poll();
      return engine.status()["agents_active"] == 1;
    }));
    engine.send("late", "hello");
    EXPECT_TRUE(eventually([&] {
      poll();
      return target != AgentId{};
    }));
    EXPECT_EQ(station_->core().counters().not_ours, 0U);
    EXPECT_EQ(station_->core().agents().size(), 1U);
    EXPECT_TRUE(station_->core().is_ours(target));
    EXPECT_EQ(enrolled("late"), target);
    EXPECT_EQ(engine.status()["agents_enrolled"], 1);
  }
};

TEST_F(StationLateEnrolment, ItsAgentIsGivenWhatComesForItOnceTheEngineHasAnswered) {
  enrol_in_vain();
  if (HasFatalFailure()) return;
  go_on();
  expect_given(engine_);
}

TEST_F(StationLateEnrolment, TheNextEngineIsAskedWhereItsOwnDiedWithoutAnAnswer) {
  enrol_in_vain();
  if (HasFatalFailure()) return;
  engine_.kill();
  const EngineProcess next(patient_options(directory_.path()));
  ASSERT_EQ(next.hear(), "up");
  expect_given(next);
  EXPECT_EQ(station_->reattached(), 1U);
}

TEST_F(StationLateEnrolment, ARefusalThatComesLateLeavesItsAgentsWhereTheyAre) {
  stop();
  if (HasFatalFailure()) return;
  ASSERT_EQ(enrol("").error().code, Errc::timed_out);  // no name
  go_on();
  EXPECT_TRUE(eventually([&] {
    station_->poll(16, [](const Delivery&) { return Answer::ready(); });
    return !station_->core().expects_agents();
  }));
  EXPECT_TRUE(station_->core().agents().empty());
  const AgentId other = enrolled("other");
  engine_.send("other", "hello");
  bool has_come = false;
  EXPECT_TRUE(eventually([&] {
    station_->poll(16, [&](const Delivery& delivery) {
      EXPECT_EQ(delivery.target, other);
      has_come = true;
      return Answer::ready();
    });
    return has_come;
  }));
}

}  // namespace of_station_deadlines_test
}  // namespace mesh::testing
