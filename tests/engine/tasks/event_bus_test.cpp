#include "engine/tasks/event_bus.hpp"

#include <set>
#include <stdexcept>

#include "tests/allocations.hpp"
#include "tests/engine/coordination/goldens.hpp"
#include "tests/engine/coordination/service_kit.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_event_bus_test {

using coordination::testing::BadInput;
using coordination::testing::CrashSweep;
using coordination::testing::expect_all_refused;
using coordination::testing::expect_damage_found;
using coordination::testing::expect_replays;
using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;
using coordination::testing::Timed;

EventBusConfig small_bus(std::uint32_t events = 16) {
  EventBusConfig config;
  config.records_max = events;
  config.names_max = 4;
  config.subscriptions_max = 4;
  return config;
}
const EventClock kNoTime = [] { return Nanos{0}; };
EventBus::Note note(EventName name, std::uint64_t a = 0, std::uint32_t source = 0) {
  EventBus::Note one;
  one.name = name;
  one.a = a;
  one.source = source;
  return one;
}

// --- names and patterns --------------------------------------------------------------------------

TEST(EventBus, GoldenPrefixMatch) {
  const auto [inputs, expected] = golden("event_bus", "prefix_match");
  Json actual = Json::array();
  for (const auto& row : inputs) {
    actual.push_back(event_matches(row.at(0).get<std::string>(), row.at(1).get<std::string>()));
  }
  EXPECT_TRUE(matches(expected, actual));
}

TEST(EventBus, FindsEachOfItsNamesAndNoneTwice) {
  std::set<std::string_view> names;
  for (std::uint16_t i = 1; i <= kEventNames; ++i) {
    const auto name = static_cast<EventName>(i);
    EXPECT_TRUE(names.insert(name_of(name)).second) << name_of(name);
    EXPECT_EQ(find_event(name_of(name)), name);
  }
  EXPECT_EQ(find_event("task:assigend"), EventName::none);
  EXPECT_EQ(find_event("none"), EventName::none);
}

// A rename breaks whoever listens: names stand as they were published.
TEST(EventBus, KeepsTheNamesThatAreItsInterface) {
  for (const char* name : {"task:created",
                           "task:assigned",
                           "task:started",
                           "task:completed",
                           "task:failed",
                           "task:cancelled",
                           "task:retried",
                           "task:dead",
                           "agent:registered",
                           "agent:unregistered",
                           "agent:state-changed",
                           "resource:acquired",
                           "resource:released",
                           "resource:requested",
                           "resource:timeout",
                           "deadlock:detected",
                           "lock:wounded",
                           "lock:phantom",
                           "lock:coarsened",
                           "message:sent",
                           "message:delivered",
                           "message:expired",
                           "message:dead",
                           "workstealing:request",
                           "workstealing:completed",
                           "conflict:resource",
                           "conflict:task",
                           "conflict:mesh",
                           "conflict:escalated",
                           "conflict:resolved",
                           "circuitbreaker:state-change",
                           "backpressure:on",
                           "backpressure:off",
                           "throttle:mode-changed",
                           "auction:opened",
                           "auction:bid",
                           "auction:resolved",
                           "queue:dead-letter",
                           "queue:poison",
                           "health:status-changed",
                           "health:remediation",
                           "view:entered",
                           "view:timeout",
                           "view:divergence",
                           "membership:suspect",
                           "membership:dead",
                           "membership:alive",
                           "membership:left",
                           "partition:suspected",
                           "partition:confirmed",
                           "partition:healed",
                           "federation:shed",
                           "federation:loan",
                           "federation:throttled",
                           "system:mode-changed",
                           "system:freeze",
                           "system:thaw"}) {
    EXPECT_NE(find_event(name), EventName::none) << name;
  }
  EXPECT_EQ(static_cast<int>(find_event("task:created")), 1);
  EXPECT_EQ(static_cast<int>(find_event("system:thaw")), 65);
  EXPECT_TRUE(EventFilter::of("outbox:*"));
  EXPECT_TRUE(EventFilter::of("chaos:*"));
}

TEST(EventBus, NamesTheNearestWhereNoneIsNamedSo) {
  EventBus bus(small_bus());
  for (const char* wrong : {"task:complete", "tasks:*", "", "task"}) {
    const auto none = bus.on(wrong, [](const EventRecord&, std::string_view) {});
    ASSERT_FALSE(none) << wrong;
    EXPECT_EQ(none.error().code, Errc::invalid_argument);
  }
  const auto none = bus.on("task:complete", [](const EventRecord&, std::string_view) {});
  EXPECT_NE(none.error().sentence.find("task:completed"), std::string::npos)
      << none.error().sentence;
  const auto huge = bus.on(std::string(100'000, 'x'), [](const EventRecord&, std::string_view) {});
  EXPECT_LT(huge.error().sentence.size(), 300U);
}

TEST(EventBus, FiltersBySeverityAndSource) {
  EventBus bus(small_bus());
  std::vector<std::uint64_t> heard;
  SubscriptionOptions options;
  options.at_least = Severity::warning;
  options.source = 7;
  ASSERT_TRUE(bus.on(
      "task:*", [&](const EventRecord& e, std::string_view) { heard.push_back(e.a); }, options));
  for (const auto severity :
       {Severity::debug, Severity::info, Severity::warning, Severity::error}) {
    for (const std::uint32_t source : {6U, 7U}) {
      auto one = note(EventName::task_failed, heard.size(), source);
      one.severity = severity;
      one.a = static_cast<std::uint64_t>(severity) * 10 + source;
      bus.emit(one, Nanos{1});
    }
  }
  bus.poll(kNoTime);
  EXPECT_EQ(heard, (std::vector<std::uint64_t>{27, 37}));
}

// --- refusals ------------------------------------------------------------------------------------

TEST(EventBus, RefusesWhatIsNoEventAndStaysAsItWas) {
  EventBus bus(small_bus());
  for (int i = 0; i < 4; ++i) {
    const std::string text = "text " + std::to_string(i);
    auto one = note(EventName::task_created);
    one.text = text;
    ASSERT_EQ(bus.emit(one, Nanos{5}).code, Errc::ok);
  }
  const auto emit = [](EventName name, std::string text) {
    event::Emit one;
    one.name = name;
    one.text = std::move(text);
    return one;
  };
  auto severe = emit(EventName::task_dead, "");
  severe.severity = static_cast<Severity>(9);
  const std::vector<BadInput<EventBus>> bad{
      {"no name", emit(EventName::none, ""), Errc::invalid_argument, Nanos{9}},
      {"a name from the future", emit(static_cast<EventName>(kEventNames + 1), ""),
       Errc::invalid_argument, Nanos{9}},
      {"a severity that is none", severe, Errc::invalid_argument, Nanos{9}},
      {"a text that is not UTF-8", emit(EventName::task_dead, "\xff"), Errc::invalid_id, Nanos{9}},
      {"a text that is too long", emit(EventName::task_dead, std::string(129, 'a')),
       Errc::invalid_id, Nanos{9}},
      {"a fifth text", emit(EventName::task_dead, "text 4"), Errc::capacity, Nanos{9}},
      {"before time began", emit(EventName::task_dead, ""), Errc::invalid_argument, Nanos{-1}},
  };
  expect_all_refused(bus, bad);
}

TEST(EventBus, RefusesAConfigByTheNameOfItsField) {
  const auto refused = [](auto change, std::string_view field) {
    EventBusConfig config;
    change(config);
    const auto judged = EventBus::validate(config);
    ASSERT_FALSE(judged) << field;
    EXPECT_EQ(judged.error().code, Errc::invalid_config);
    EXPECT_NE(judged.error().sentence.find(field), std::string::npos) << judged.error().sentence;
  };
  refused([](auto& c) { c.names_max = 0; }, "names_max");
  refused([](auto& c) { c.subscriptions_max = 0; }, "subscriptions_max");
  refused([](auto& c) { c.depth_max = 256; }, "depth_max");
  refused([](auto& c) { c.handler_budget_ns = Nanos{0}; }, "handler_budget_ns");
  refused([](auto& c) { c.records_max = 0; }, "records_max");
  for (const auto name : EventBusConfig::names()) {
    EXPECT_TRUE(EventBus::validate(EventBusConfig::preset(name).value()));
  }
  EXPECT_EQ(EventBusConfig::preset("huge").error().code, Errc::unknown_preset);
}

// --- handlers ------------------------------------------------------------------------------------

TEST(EventBus, RunsHandlersInPollAndNeverInEmit) {
  EventBus bus(small_bus());
  std::vector<std::uint64_t> heard;
  ASSERT_TRUE(
      bus.on("task:*", [&](const EventRecord& e, std::string_view) { heard.push_back(e.a); }));
  bus.emit(note(EventName::task_created, 1), Nanos{1});
  bus.emit(note(EventName::agent_registered, 2), Nanos{2});
  bus.emit(note(EventName::task_dead, 3), Nanos{3});
  EXPECT_TRUE(heard.empty());
  EXPECT_EQ(bus.poll(kNoTime), 3U);
  EXPECT_EQ(heard, (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(bus.poll(kNoTime), 0U);
}

TEST(EventBus, OnceIsOnceAndOffIsOff) {
  EventBus bus(small_bus());
  int once = 0;
  int always = 0;
  ASSERT_TRUE(bus.once("task:created", [&](const EventRecord&, std::string_view) { ++once; }));
  const auto id = bus.on("task:created", [&](const EventRecord&, std::string_view) { ++always; });
  for (int i = 0; i < 3; ++i) bus.emit(note(EventName::task_created), Nanos{1});
  bus.poll(kNoTime);
  EXPECT_EQ(once, 1);
  EXPECT_EQ(always, 3);
  EXPECT_TRUE(bus.off(*id));
  EXPECT_EQ(bus.off(*id).error().code, Errc::not_found);
  bus.emit(note(EventName::task_created), Nanos{1});
  bus.poll(kNoTime);
  EXPECT_EQ(always, 3);
}

TEST(EventBus, AHandlerMayTakeItselfOffAndPutOthersOn) {
  EventBus bus(small_bus());
  int first = 0;
  int second = 0;
  SubscriptionId own{};
  own = bus.on("task:*",
               [&](const EventRecord&, std::string_view) {
                 ++first;
                 EXPECT_TRUE(bus.off(own));
                 EXPECT_TRUE(
                     bus.on("task:*", [&](const EventRecord&, std::string_view) { ++second; }));
               })
            .value();
  for (int i = 0; i < 2; ++i) {
    bus.emit(note(EventName::task_created), Nanos{1});
    bus.poll(kNoTime);
  }
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1) << "it hears of what came after it did";
}

TEST(EventBus, RefusesMoreHandlersThanItsLimit) {
  EventBus bus(small_bus());
  const auto nothing = [](const EventRecord&, std::string_view) {};
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(bus.on("*", nothing));
  const auto none = bus.on("*", nothing);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::capacity);
  EXPECT_EQ(none.error().detail, 4);
  EXPECT_EQ(bus.on("*", nullptr).error().code, Errc::invalid_argument);
}

TEST(EventBus, AHandlerThatThrowsOrIsSlowHarmsNobodyAndIsToldOf) {
  EventBus bus(small_bus());
  std::int64_t time_ns = 0;
  int heard = 0;
  std::vector<EventName> warned;
  const auto bad = bus.on("task:*", [&](const EventRecord&, std::string_view) {
    time_ns += 2'000'000;
    throw std::runtime_error("mine");
  });
  ASSERT_TRUE(bus.on("task:*", [&](const EventRecord&, std::string_view) { ++heard; }));
  ASSERT_TRUE(bus.on("eventbus:*", [&](const EventRecord& e, std::string_view) {
    warned.push_back(static_cast<EventName>(e.kind));
    EXPECT_EQ(e.severity, Severity::warning);
    EXPECT_EQ(e.a, 1U) << "of which event";
    time_ns += 2'000'000;  // slow itself: no warning of a warning
  }));
  bus.emit(note(EventName::task_created), Nanos{1});
  while (bus.poll([&] { return Nanos{time_ns}; }) != 0) {
  }
  EXPECT_EQ(heard, 1);
  EXPECT_EQ(warned, (std::vector<EventName>{EventName::eventbus_slow_handler,
                                            EventName::eventbus_handler_failed}));
  const auto stats = bus.stats(*bad).value();
  EXPECT_EQ(stats.delivered, 1U);
  EXPECT_EQ(stats.failed, 1U);
  EXPECT_EQ(stats.slow, 1U);
  EXPECT_EQ(stats.slowest, Nanos{2'000'000});
}

TEST(EventBus, GoldenReentrantEmit) {
  const auto [inputs, expected] = golden("event_bus", "reentrant_emit");
  auto config = small_bus(64);
  config.depth_max = inputs.at("depth_max");
  EventBus bus(config);
  int handled = 0;
  int refused = 0;
  ASSERT_TRUE(bus.on("task:created", [&](const EventRecord&, std::string_view) {
    ++handled;
    refused += bus.emit(note(EventName::task_created), Nanos{2}).code == Errc::cycle ? 1 : 0;
    EXPECT_EQ(bus.poll(kNoTime), 0U) << "a handler that polls does nothing";
  }));
  bus.emit(note(EventName::task_created), Nanos{1});
  while (bus.poll(kNoTime) != 0) {
  }
  EXPECT_TRUE(matches(expected, {{"handled", handled}, {"refused", refused}}));
  EXPECT_EQ(bus.counters().too_deep, 1U);
  EXPECT_TRUE(bus.verify());
  bus.emit(note(EventName::task_created), Nanos{3});
  bus.poll(kNoTime, 1);
  EXPECT_EQ(handled, 17) << "the next one begins at the surface";
}

// --- the ring ------------------------------------------------------------------------------------

TEST(EventBus, CountsWhatWasOverwrittenBeforeItWasPolled) {
  EventBus bus(small_bus(4));
  std::vector<std::uint64_t> heard;
  const auto id =
      bus.on("*", [&](const EventRecord& e, std::string_view) { heard.push_back(e.sequence); });
  for (int i = 0; i < 10; ++i) bus.emit(note(EventName::task_created), Nanos{1});
  bus.poll(kNoTime);
  EXPECT_EQ(heard, (std::vector<std::uint64_t>{7, 8, 9, 10}));
  EXPECT_EQ(bus.lost(), 6U);
  EXPECT_EQ(bus.stats(*id)->lost, 6U);
  const auto late = bus.on("*", [](const EventRecord&, std::string_view) {});
  bus.poll(kNoTime);
  EXPECT_EQ(bus.stats(*late)->lost, 0U) << "what came before it was not its own";
}

TEST(EventBus, KeepsATextAsLongAsARecordRefersToIt) {
  EventBus bus(small_bus(4));
  const auto emit = [&](std::string_view text) {
    auto one = note(EventName::circuitbreaker_state_change);
    one.text = text;
    return bus.emit(one, Nanos{1}).code;
  };
  for (const char* text : {"a", "b", "c", "d"}) ASSERT_EQ(emit(text), Errc::ok);
  EXPECT_EQ(emit("e"), Errc::capacity);
  EXPECT_EQ(emit("a"), Errc::ok) << "it is there";
  EXPECT_EQ(emit(""), Errc::ok);  // overwrites b
  EXPECT_EQ(emit("e"), Errc::ok) << "b is free again";
  std::string texts;
  bus.records().after(0, [&](const EventRecord& e) { texts += std::string(bus.text_of(e)) + ","; });
  EXPECT_EQ(texts, "d,a,,e,");
  EXPECT_TRUE(bus.verify());
  EXPECT_NE(bus.debug().find("circuitbreaker:state-change"), std::string::npos);
}

std::vector<Timed<EventBusCommand>> trace(std::size_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Timed<EventBusCommand>> commands;
  for (std::size_t i = 0; i < count; ++i) {
    event::Emit one;
    one.name = static_cast<EventName>(rng.below(kEventNames + 1));  // some are none
    one.severity = static_cast<Severity>(rng.below(4));
    one.source = static_cast<std::uint32_t>(rng.below(5));
    one.a = rng.next();
    if (rng.below(2) == 0) one.text = "text " + std::to_string(rng.below(7));
    commands.push_back({Nanos{static_cast<std::int64_t>(i * 10 + rng.below(30))}, one});
  }
  return commands;
}

TEST(EventBus, ReplaysToTheSameBytes) {
  expect_replays<EventBus>(small_bus(8), trace(300, mesh::testing::seed()));
}

TEST(EventBus, FindsDamageInASnapshot) {
  EventBus bus(small_bus(4));
  for (const auto& one : trace(20, 3)) bus.apply(one.command, one.now);
  expect_damage_found(bus, small_bus(4));
}

TEST(EventBus, ADeathAtAnyStepLosesNothingThatWasAnswered) {
  CrashSweep<EventBus> sweep(small_bus(4), trace(12, 5));
  EXPECT_GT(sweep.run(3), 50U);
}

TEST(EventBus, ARestoredBusGoesOnBehindTheLastNumber) {
  EventBus bus(small_bus(4));
  for (int i = 0; i < 6; ++i) bus.emit(note(EventName::task_created), Nanos{1});
  auto again = EventBus::restore(small_bus(4), bus.snapshot());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->emit(note(EventName::task_dead), Nanos{2}).sequence, 7U);
  EventBus fresh(small_bus(4));
  ASSERT_TRUE(fresh.adopt(100));
  EXPECT_EQ(fresh.emit(note(EventName::task_dead), Nanos{2}).sequence, 101U);
  EXPECT_TRUE(fresh.verify());
  EXPECT_EQ(fresh.adopt(200).error().code, Errc::wrong_state);
  auto adopted = EventBus::restore(small_bus(4), fresh.snapshot());
  ASSERT_TRUE(adopted) << adopted.error().sentence;
  EXPECT_EQ(adopted->state_hash(), fresh.state_hash());
}

// Whatever is emitted, polled and taken off: each handler hears of each event of its pattern once,
// in the order of its source, or knows how many it lost.
TEST(EventBus, EachHandlerHearsOfEachEventOnceOrKnowsHowManyItLost) {
  Rng rng(mesh::testing::seed());
  for (int round = 0; round < 50; ++round) {
    EventBus bus(small_bus(8));
    std::uint64_t emitted = 0;
    std::uint64_t heard = 0;
    std::uint64_t last = 0;
    const auto id = bus.on("*", [&](const EventRecord& e, std::string_view) {
      ++heard;
      EXPECT_GT(e.sequence, last);
      last = e.sequence;
    });
    for (int i = 0; i < 200; ++i) {
      if (rng.below(6) == 0) bus.poll(kNoTime, rng.below(6));
      const auto name = static_cast<EventName>(1 + rng.below(kEventNames - 2));
      emitted += bus.emit(note(name), Nanos{i}).code == Errc::ok ? 1U : 0U;
    }
    while (bus.poll(kNoTime) != 0) {
    }
    EXPECT_EQ(heard + bus.stats(*id)->lost, emitted);
    EXPECT_TRUE(bus.verify());
  }
}

TEST(EventBus, AllocatesNothingToEmit) {
  EventBus bus(small_bus(64));
  EventBusActions actions;
  auto one = note(EventName::circuitbreaker_state_change);
  const std::uint64_t before = mesh::testing::allocation_count();
  for (int i = 0; i < 200; ++i) {
    one.text = i % 2 == 0 ? "agent-17" : "agent-18";
    ASSERT_EQ(bus.emit(one, Nanos{i}).code, Errc::ok);
    bus.tick(Nanos{i}, actions);
  }
  EXPECT_EQ(mesh::testing::allocation_count(), before);
}

}  // namespace of_event_bus_test
}  // namespace mesh::tasks
