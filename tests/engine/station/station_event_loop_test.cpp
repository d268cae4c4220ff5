// Station::fd(), arm() and disarm(): a station in an event loop of its owner's, in a real process.
// No wake-up is lost at whatever moment a message comes, and nothing wakes it while none does.
#include <array>
#include <sstream>
#include <thread>

#include <poll.h>
#include <sys/epoll.h>

#include "shm/base/point.hpp"
#include "tests/engine/engine_process.hpp"

namespace mesh::testing {
namespace of_station_event_loop_test {

using engine::Answer;
using engine::Delivery;
using engine::Engine;
using engine::Reply;
using engine::Station;

// Of a test that has failed: nothing else is known by it.
constexpr int kPatienceMs = 60'000;

bool is_readable(const Station& station) {
  pollfd one{station.fd(), POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

// An epoll loop, level-triggered, over a station and the channel to the test.
class EventLoop {
 public:
  EventLoop(Station& station, const Channel& channel) : station_(station), channel_(channel) {
    for (const int fd : {station.fd(), channel.fd()}) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = fd;
      EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
    }
  }
  struct Woken {
    bool by_station = false;
    bool by_channel = false;
  };
  // Sleeps for as long as it takes. Nothing: it took too long.
  Woken await() {
    std::array<epoll_event, 2> events{};
    const int count = ::epoll_wait(epoll_.get(), events.data(), 2, kPatienceMs);
    Woken woken;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      woken.by_station |= fd == station_.fd();
      woken.by_channel |= fd == channel_.fd();
    }
    return woken;
  }
  // Polls until it may sleep, sleeps, is awake again. `before_sleep` sees what the polls led to.
  template <class Handler>
  Woken turn(
      Handler&& handler, const std::function<void()>& before_sleep = [] {}) {
    do {
      while (station_.poll(256, handler) != 0) {
      }
    } while (!station_.arm());
    before_sleep();
    const Woken woken = await();
    station_.disarm();
    return woken;
  }

 private:
  Station& station_;
  const Channel& channel_;
  shm::Descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

std::unique_ptr<Station> enrolled(const Channel& channel, const std::vector<std::string>& names) {
  auto station = attach_with(channel, channel.hear(), names);
  if (station != nullptr) channel.tell("enrolled");
  return station;
}

// Two agents of one station send to each other, and it sleeps after each hop: one wake-up lost
// would be the end.
TEST(StationEventLoop, LosesNoWakeUp) {
  constexpr int kHops = 2'000;
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const auto station = enrolled(channel, {"ping", "pong"});
    if (station == nullptr) return 1;
    engine::SendOptions hop;
    hop.source = station->core().agents()[0];
    hop.target = station->core().agents()[1];
    if (station->send(hop, {}) != engine::SendStatus::sent) return 1;
    station->flush();
    EventLoop loop(*station, channel);
    for (int hops = 0; hops < kHops;) {
      const auto woken = loop.turn([&](const Delivery& delivery) {
        if (delivery.wants_answer() && ++hops < kHops) (void)station->send(hop, {});
        return Answer::ready();
      });
      if (hops < kHops && !woken.by_station) {
        channel.tell("slept for ever after " + std::to_string(hops) + " hops");
        return 1;
      }
    }
    channel.tell("all");
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  // Of the last hop nobody wakes it: it sleeps until the test speaks.
  ASSERT_TRUE(eventually([&] { return engine->status()->counters.sends >= kHops; }));
  ASSERT_TRUE(eventually([&] { return engine->status()->counters.answers >= kHops; }));
  child.tell("enough");
  EXPECT_EQ(child.hear(), "all");
}

// It counts how often its descriptor woke it: once for each message at most, and not at all while
// nothing comes, however often something else wakes the loop.
TEST(StationEventLoop, SleepsWhileNothingComes) {
  constexpr int kQuestions = 300;
  constexpr int kMessages = 20;
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const auto station = enrolled(channel, {"sleeper"});
    if (station == nullptr) return 1;
    EventLoop loop(*station, channel);
    int handled = 0;
    for (int wakes = 0; !station->is_lost();) {
      const auto woken = loop.turn([&](const Delivery&) {
        ++handled;
        return Answer::ready();
      });
      wakes += woken.by_station ? 1 : 0;
      if (!woken.by_channel) continue;
      if (channel.hear() == kGone) return 0;
      channel.tell(std::to_string(handled) + " " + std::to_string(wakes));
    }
    return 0;
  });
  const auto engine = start_engine(directory.path());
  ASSERT_NE(engine, nullptr);
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  const auto ask = [&] {
    child.tell("?");
    std::istringstream said(child.hear());
    std::pair<int, int> handled_and_wakes{-1, -1};
    said >> handled_and_wakes.first >> handled_and_wakes.second;
    return handled_and_wakes;
  };
  for (int i = 0; i < kQuestions; ++i) ASSERT_GE(ask().second, 0);
  const int idle = ask().second;
  EXPECT_LE(idle, 2) << "of " << kQuestions << " turns";
  const AgentId to = engine->find("sleeper").value();
  for (int i = 1; i <= kMessages; ++i) {
    ASSERT_TRUE(engine->send(to, bytes_of("!")).has_value());
    ASSERT_TRUE(eventually([&] { return ask().first == i; }));
  }
  const int busy = ask().second;
  EXPECT_LE(busy - idle, kMessages);
  for (int i = 0; i < kQuestions; ++i) ASSERT_GE(ask().second, 0);
  EXPECT_LE(ask().second - busy, 2) << "of " << kQuestions << " turns after the last message";
}

// A station that does one step at a time, as it is told.
class StationEventLoopSteps : public ::testing::Test {
 protected:
  StationEventLoopSteps() : child_(walk), engine_(start_engine(directory_.path())) {
    child_.tell(directory_.path());
    EXPECT_EQ(child_.hear(), "enrolled");
  }
  [[nodiscard]] std::string step(const std::string& name) const {
    child_.tell(name);
    return child_.hear();
  }
  // Published, and its station woken if it sleeps, once this returns.
  void send() {
    const auto count = [&] { return engine_->status()->counters.deliveries; };
    const std::uint64_t before = count();
    ASSERT_TRUE(engine_->send(engine_->find("stepper").value(), bytes_of("!")).has_value());
    ASSERT_TRUE(eventually([&] { return count() == before + 1; }));
  }
  [[nodiscard]] std::uint64_t answers() const { return engine_->status()->counters.answers; }

  ScratchDirectory directory_;
  Child child_;
  std::unique_ptr<Engine> engine_;

 private:
  static int walk(const Channel& channel) {
    const auto station = enrolled(channel, {"stepper"});
    if (station == nullptr) return 1;
    std::vector<Reply> held;
    int posted = 0;
    for (std::string step = channel.hear(); step != kGone; step = channel.hear()) {
      if (step == "poll") {
        channel.tell(std::to_string(station->poll(
            256, [&](const Delivery&, Reply reply) { held.push_back(std::move(reply)); })));
      } else if (step == "arm") {
        channel.tell(station->arm() ? "may sleep" : "poll");
      } else if (step == "arm while it comes") {
        arm_point(channel);
        channel.tell(station->arm() ? "may sleep" : "poll");
      } else if (step == "disarm") {
        station->disarm();
        channel.tell("awake");
      } else if (step == "is readable") {
        channel.tell(is_readable(*station) ? "yes" : "no");
      } else if (step == "sleep") {
        pollfd one{station->fd(), POLLIN, 0};
        channel.tell(::poll(&one, 1, kPatienceMs) == 1 ? "woken" : "slept for ever");
      } else if (step == "answer elsewhere") {
        std::thread([&] { held.pop_back(); }).join();  // declined
        channel.tell("done");
      } else if (step == "post") {
        std::thread([&] { station->post([&] { ++posted; }); }).join();
        channel.tell("done");
      } else {
        channel.tell(std::to_string(posted));
      }
    }
    return 0;
  }
  // Once it has said that it sleeps, and before it looks a last time, it lets the test act.
  static void arm_point(const Channel& channel) {
    points::arm(
        "spsc.park:before_check", 1,
        [](void* context) {
          const auto& to = *static_cast<const Channel*>(context);
          to.tell("about to look");
          (void)to.hear();
        },
        const_cast<Channel*>(&channel));
  }
};

TEST_F(StationEventLoopSteps, AMessageThatComesBetweenPollAndArmKeepsItAwake) {
  ASSERT_NE(engine_, nullptr);
  EXPECT_EQ(step("poll"), "0");
  send();
  EXPECT_EQ(step("arm"), "poll");
  EXPECT_EQ(step("is readable"), "no") << "it was awake";
  EXPECT_EQ(step("poll"), "1");
  // Not armed: whatever comes costs the engine no signal.
  send();
  EXPECT_EQ(step("is readable"), "no") << "arm() that declines leaves nothing armed";
  EXPECT_EQ(step("poll"), "1");
  EXPECT_EQ(step("arm"), "may sleep");
}

TEST_F(StationEventLoopSteps, AMessageThatComesAfterArmWakesIt) {
  ASSERT_NE(engine_, nullptr);
  EXPECT_EQ(step("arm"), "may sleep");
  EXPECT_EQ(step("is readable"), "no");
  send();
  EXPECT_EQ(step("sleep"), "woken");
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("is readable"), "no") << "what was signalled was taken";
  EXPECT_EQ(step("poll"), "1");
  EXPECT_EQ(step("arm"), "may sleep");
}

TEST_F(StationEventLoopSteps, AMessageThatComesWithinArmKeepsItAwake) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  ASSERT_NE(engine_, nullptr);
  EXPECT_EQ(step("arm while it comes"), "about to look");
  send();
  EXPECT_EQ(step("look"), "poll");
  EXPECT_EQ(step("is readable"), "yes") << "the engine found it asleep: a signal too many";
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("poll"), "1");
  EXPECT_EQ(step("arm"), "may sleep");
}

TEST_F(StationEventLoopSteps, WorkThatIsPostedKeepsItAwakeOrWakesIt) {
  ASSERT_NE(engine_, nullptr);
  EXPECT_EQ(step("post"), "done");
  EXPECT_EQ(step("arm"), "poll");
  EXPECT_EQ(step("poll"), "0");
  EXPECT_EQ(step("how many ran"), "1");
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("arm"), "may sleep");
  EXPECT_EQ(step("is readable"), "no");
  EXPECT_EQ(step("post"), "done");
  EXPECT_EQ(step("sleep"), "woken");
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("poll"), "0");
  EXPECT_EQ(step("how many ran"), "2");
}

TEST_F(StationEventLoopSteps, AReplyOfAnotherThreadKeepsItAwakeOrWakesIt) {
  ASSERT_NE(engine_, nullptr);
  send();
  send();
  EXPECT_EQ(step("poll"), "2");
  EXPECT_EQ(step("answer elsewhere"), "done");
  EXPECT_EQ(step("arm"), "poll");
  EXPECT_EQ(step("poll"), "0");
  EXPECT_TRUE(eventually([&] { return answers() == 1; }));
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("arm"), "may sleep");
  EXPECT_EQ(step("answer elsewhere"), "done");
  EXPECT_EQ(step("sleep"), "woken");
  EXPECT_EQ(step("disarm"), "awake");
  EXPECT_EQ(step("poll"), "0");
  EXPECT_TRUE(eventually([&] { return answers() == 2; }));
}

// What becomes of its engine: it sleeps on fd() alone, and nothing but that can end its sleep.

// Sleeps until it is lost, taking nothing from its inbox: told as the reason, the number of times
// it was woken, and whether whoever waits on it goes on finding that it is lost.
int wait_for_its_loss(const Channel& channel, const std::string& name) {
  const auto station = enrolled(channel, {name});
  if (station == nullptr) return 1;
  EventLoop loop(*station, channel);
  int wakes = 0;
  while (!station->is_lost()) {
    if (!loop.await().by_station) {
      channel.tell("slept for ever");
      return 1;
    }
    ++wakes;
    station->disarm();
    station->flush();
  }
  const std::size_t taken = station->poll(256, [](const Delivery&) { return Answer::ready(); });
  // Whatever stands in its inbox: who waits and polls by turns comes to an end.
  const auto waited = station->wait(station->now() + Nanos{kPatienceMs * kNsPerMs});
  EXPECT_EQ(waited, queues::WaitResult::kFailed);
  if (waited != queues::WaitResult::kFailed) return 1;
  station->disarm();
  channel.tell(std::string(name_of(station->lost_reason().code)) + ", woken " +
               std::to_string(wakes) + ", polled " + std::to_string(taken) +
               (is_readable(*station) ? ", readable" : ", not readable"));
  return 0;
}

TEST(StationEventLoop, AnEvictionEndsItsSleep) {
  const ScratchDirectory directory;
  const Child deaf([](const Channel& channel) { return wait_for_its_loss(channel, "deaf"); });
  engine::EngineOptions options = engine_options(directory.path());
  options.stuck_after = Nanos{40 * kNsPerMs};
  const auto engine = Engine::start(options);
  ASSERT_TRUE(engine.has_value()) << engine.error().sentence;
  deaf.tell(directory.path());
  ASSERT_EQ(deaf.hear(), "enrolled");
  // It has not said that it sleeps: the message itself wakes nobody.
  ASSERT_TRUE((*engine)->send((*engine)->find("deaf").value(), bytes_of("!")).has_value());
  EXPECT_EQ(deaf.hear(), "evicted, woken 1, polled 0, readable");
}

TEST(StationEventLoop, AnEngineThatIsTakenDownEndsItsSleep) {
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) { return wait_for_its_loss(channel, "sleeper"); });
  EngineProcess engine(engine_options(directory.path()));
  ASSERT_EQ(engine.hear(), "up");
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  EXPECT_EQ(engine.end(), 0);
  EXPECT_EQ(child.hear(), "no_mesh, woken 1, polled 0, readable");
}

// Nobody can tell it: it finds the next engine because the connection ends, and by no clock of its
// owner's.
TEST(StationEventLoop, AfterItsEngineWasKilledItIsWithTheNextOneAndSleepsAgain) {
  constexpr int kQuestions = 100;
  const ScratchDirectory directory;
  const Child child([](const Channel& channel) {
    const auto station = enrolled(channel, {"sleeper"});
    if (station == nullptr) return 1;
    EventLoop loop(*station, channel);
    std::uint64_t returns = 0;
    for (int wakes = 0; !station->is_lost();) {
      const auto answer = [&](const Delivery& delivery) {
        channel.tell(std::string(delivery.text()));
        return Answer::ready();
      };
      const auto woken = loop.turn(answer, [&] {
        if (station->reattached() == returns) return;
        returns = station->reattached();
        channel.tell("back " + std::to_string(returns));
      });
      if (!woken.by_station && !woken.by_channel) {
        channel.tell("slept for ever");
        return 1;
      }
      wakes += woken.by_station ? 1 : 0;
      if (!woken.by_channel) continue;
      if (channel.hear() == kGone) return 0;
      channel.tell(std::to_string(wakes));
    }
    channel.tell("lost: " + station->lost_reason().sentence);
    return 1;
  });
  auto engine = std::make_unique<EngineProcess>(engine_options(directory.path()));
  ASSERT_EQ(engine->hear(), "up");
  child.tell(directory.path());
  ASSERT_EQ(child.hear(), "enrolled");
  for (int kills = 1; kills <= 3; ++kills) {
    SCOPED_TRACE(kills);
    engine->kill();
    engine = std::make_unique<EngineProcess>(engine_options(directory.path()));
    ASSERT_EQ(engine->hear(), "up");
    ASSERT_EQ(child.hear(), "back " + std::to_string(kills));
    engine->send("sleeper", "again");
    ASSERT_EQ(child.hear(), "again");
    // Or the next engine finds that answer in the outbox, and counts two.
    ASSERT_TRUE(eventually([&] { return engine->status()["counters"]["answers"] == 1; }));
  }
  // It tries no longer, and what it was told has been taken.
  const auto wakes = [&] {
    child.tell("?");
    return std::stoi(child.hear());
  };
  for (int i = 0; i < kQuestions; ++i) (void)wakes();
  const int idle = wakes();
  for (int i = 0; i < kQuestions; ++i) (void)wakes();
  EXPECT_LE(wakes() - idle, 2) << "of " << kQuestions << " turns";
}

}  // namespace of_station_event_loop_test
}  // namespace mesh::testing
