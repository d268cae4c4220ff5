// What the services of routing tell as events: each kind, of whom, and with what numbers.
#include <functional>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/coordination/discovery_nodes.hpp"
#include "tests/engine/coordination/health_probes.hpp"
#include "tests/engine/coordination/reputation_crew.hpp"

namespace mesh::coordination {
namespace of_service_events_test {

using Monitor = CapabilityHealthMonitor;
using Discovery = ServiceDiscovery;
using testing::probes::millis;
using testing::probes::monitor_of;
using testing::probes::probe;
using testing::probes::seconds;

CapabilityHealthConfig health_preset(std::string_view name) {
  return CapabilityHealthConfig::preset(name).value();
}

// The events of one kind since it was asked last.
template <class Service>
class Told {
 public:
  explicit Told(typename Service::Event kind) : kind_(static_cast<std::uint16_t>(kind)) {}
  void hear(const Service& service) {
    service.events().after(last_, [&](const EventRecord& event) {
      if (event.kind == kind_) events.push_back(event);
    });
    last_ = service.events().last_sequence();
  }
  std::vector<EventRecord> events;

 private:
  std::uint16_t kind_;
  std::uint64_t last_ = 0;
};

// --- capability health -------------------------------------------------------------------------

TEST(HealthEvents, TellEachChangeOfStatusOfWhomFromWhatToWhat) {
  Monitor monitor = monitor_of(health_preset("agent-mesh"));
  Told<Monitor> told(Monitor::Event::status_change);
  probe(monitor, 7, seconds(0), 40);
  for (int i = 1; i <= 3; ++i) probe(monitor, 7, seconds(5 * i), 40, false);
  told.hear(monitor);
  ASSERT_GE(told.events.size(), 2U);
  for (const auto& event : told.events) {
    EXPECT_EQ(event.severity, Severity::warning);
    EXPECT_EQ(event.source, 7U);
  }
  EXPECT_EQ(told.events.front().a, static_cast<std::uint64_t>(HealthStatus::unknown));
  EXPECT_EQ(told.events.back().b, static_cast<std::uint64_t>(HealthStatus::failed));
  for (std::size_t i = 1; i < told.events.size(); ++i) {
    EXPECT_EQ(told.events[i].a, told.events[i - 1].b) << "each begins where the last ended";
  }
  EXPECT_EQ(monitor.counters().status_changes, told.events.size());
}

TEST(HealthEvents, TellEachRemedyAndItsCause) {
  Monitor monitor = monitor_of(health_preset("real-time-api"));
  Told<Monitor> told(Monitor::Event::remediation);
  HealthActions actions;
  std::vector<Remediation> taken;
  for (int i = 0; i < 600; ++i) {
    const auto reply = probe(monitor, 0, seconds(i), 0, false);
    if (reply.remediation != Remediation::none) taken.push_back(reply.remediation);
    monitor.tick(seconds(i), actions);
    for (std::size_t k = 0; k < actions.count; ++k) taken.push_back(actions.actions[k].action);
    told.hear(monitor);
  }
  ASSERT_GE(taken.size(), 2U);
  ASSERT_EQ(told.events.size(), taken.size());
  for (std::size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(told.events[i].a, static_cast<std::uint64_t>(taken[i])) << i;
  }
}

// A remedy of one healthy provider, probed each second, whose latency and outcome `sample` says.
EventRecord first_remedy(Monitor& monitor,
                         const std::function<std::pair<double, bool>(int)>& sample) {
  Told<Monitor> told(Monitor::Event::remediation);
  HealthActions actions;
  for (int i = 0; i < 400 && told.events.empty(); ++i) {
    const auto [ms, ok] = sample(i);
    probe(monitor, 0, seconds(i), ms, ok);
    EXPECT_TRUE(i < 3 || monitor.view(0, 0).status == HealthStatus::healthy) << i;
    monitor.tick(seconds(i), actions);
    told.hear(monitor);
  }
  return told.events.empty() ? EventRecord{} : told.events.front();
}

TEST(HealthCauses, ABudgetThatBurnsIsOneOfAHealthyProvider) {
  Monitor monitor = monitor_of(health_preset("real-time-api"));
  const auto remedy = first_remedy(monitor, [](int i) {
    return std::pair{40.0, i != 200 && i != 205};
  });  // of a thousand: one
  EXPECT_EQ(remedy.a, static_cast<std::uint64_t>(Remediation::increase_probe_rate));
  EXPECT_EQ(remedy.b, static_cast<std::uint64_t>(HealthCause::burn));
  EXPECT_GE(remedy.t_ns, seconds(262).count()) << "its window is clean, and its budget burns on";
}

TEST(HealthCauses, ATrendIsOneLongBeforeTheProviderFails) {
  auto config = health_preset("real-time-api");
  config.cusum_h_ns = seconds(10);  // a shift is another cause
  Monitor monitor = monitor_of(config);
  const auto remedy = first_remedy(monitor, [](int i) {
    return std::pair{i < 30 ? 10.0 : 10 + 1.7 * (i - 30), true};
  });
  EXPECT_EQ(remedy.a, static_cast<std::uint64_t>(Remediation::increase_probe_rate));
  EXPECT_EQ(remedy.b, static_cast<std::uint64_t>(HealthCause::trend));
}

TEST(HealthEvents, TellWhenAnAlertBeginsAndEnds) {
  Monitor monitor = monitor_of(health_preset("real-time-api"));
  Told<Monitor> told(Monitor::Event::alert);
  HealthActions actions;
  double now = 0;
  const auto run = [&](double for_s, int fail_every) {
    for (const double end = now + for_s; now < end; now += 0.1) {
      const bool ok = fail_every == 0 || static_cast<int>(now * 10 + 0.5) % fail_every != 0;
      probe(monitor, 0, seconds(now), 40, ok);
      monitor.tick(seconds(now), actions);
      told.hear(monitor);
    }
  };
  run(300, 0);
  EXPECT_TRUE(told.events.empty());
  run(125, 10);
  run(60, 0);
  std::vector<std::uint64_t> pages;
  for (const auto& event : told.events) {
    EXPECT_TRUE(event.a == 1 || event.a == 2) << "1 pages, 2 is a ticket";
    if (event.a == 1) pages.push_back(event.b);
  }
  EXPECT_EQ(pages, (std::vector<std::uint64_t>{1, 0})) << "on, and off";
}

TEST(HealthEvents, TellOfALatencyThatHasMovedFromWhatItWas) {
  auto config = health_preset("agent-mesh");
  config.cusum_k_ns = millis(10);
  config.cusum_h_ns = millis(80);
  Monitor monitor = monitor_of(config);
  Told<Monitor> told(Monitor::Event::latency_shift);
  for (int i = 0; i < 65; ++i) {
    probe(monitor, 3, seconds(5 * i), i < 60 ? 100 : 140);
    told.hear(monitor);
  }
  ASSERT_EQ(told.events.size(), 1U);
  EXPECT_EQ(told.events[0].source, 3U);
  EXPECT_NEAR(static_cast<double>(told.events[0].a), 100'000, 1'000) << "microseconds";
}

TEST(HealthEvents, TellOfADependencyThatIsBlamedAndOfItsEnd) {
  Monitor monitor = monitor_of(health_preset("real-time-api"));
  Told<Monitor> told(Monitor::Event::dependency);
  HealthActions actions;
  for (int i = 0; i < 300; ++i) {
    for (std::uint32_t agent = 0; agent < 5; ++agent) {
      probe(monitor, agent, seconds(i), i >= 40 && i < 100 && agent < 4 ? 900 : 40);
    }
    monitor.tick(seconds(i), actions);
    told.hear(monitor);
  }
  ASSERT_EQ(told.events.size(), 2U);
  EXPECT_EQ(told.events[0].a, 1U);
  EXPECT_EQ(told.events[0].b, 4U) << "of five";
  EXPECT_EQ(told.events[0].c, 0U) << "the capability";
  EXPECT_EQ(told.events[1].a, 0U);
}

TEST(HealthEvents, TellThatTheDetectorItselfWasLate) {
  Monitor monitor = monitor_of(health_preset("agent-mesh"));
  Told<Monitor> told(Monitor::Event::detector_late);
  HealthActions actions;
  for (int i = 0; i <= 10; ++i) monitor.tick(seconds(5 * i), actions);
  monitor.tick(seconds(200), actions);
  told.hear(monitor);
  ASSERT_EQ(told.events.size(), 1U);
  EXPECT_EQ(told.events[0].a, static_cast<std::uint64_t>(seconds(150).count())) << "away so long";
}

// --- reputation --------------------------------------------------------------------------------

TEST(ReputationEvents, TellWhoIsEjectedAndWhoIsReleased) {
  auto config = ReputationConfig::preset("default").value();
  config.quarantine_below = 0;
  auto router = testing::crew::crew(config, 20);
  Told<ReputationWeightedRouter> ejected(ReputationWeightedRouter::Event::ejected);
  Told<ReputationWeightedRouter> released(ReputationWeightedRouter::Event::released);
  for (std::uint32_t i = 0; i < 20; ++i) {
    for (int k = 0; k < 30; ++k)
      testing::crew::answer(router, i, i != 5 || k % 3 == 0, seconds(50));
  }
  ReputationActions actions;
  router.tick(seconds(60), actions);
  ejected.hear(router);
  ASSERT_EQ(ejected.events.size(), 1U);
  EXPECT_EQ(ejected.events[0].severity, Severity::warning);
  EXPECT_EQ(ejected.events[0].source, 5U);
  EXPECT_EQ(ejected.events[0].a, 0U) << "the capability";
  EXPECT_LT(ejected.events[0].b, 500'000U) << "its reputation, in millionths";
  router.tick(seconds(121), actions);
  released.hear(router);
  ASSERT_EQ(released.events.size(), 1U);
  EXPECT_EQ(released.events[0].source, 5U);
}

// --- discovery ---------------------------------------------------------------------------------

Discovery node(std::uint64_t self) {
  Discovery one(testing::nodes::small_config(self));
  one.apply(discovery::AddPeer{3 - self}, Nanos{0});
  return one;
}

TEST(DiscoveryEvents, TellWhatIsAddedAndRemovedAtWhichVersion) {
  Discovery one = node(1);
  Told<Discovery> added(Discovery::Event::added);
  Told<Discovery> removed(Discovery::Event::removed);
  one.apply(testing::nodes::offer("x"), Nanos{0});
  const std::uint64_t version = one.view().version;
  DiscoveryActions actions;
  one.tick(seconds(16), actions);  // its lease has ended
  added.hear(one);
  removed.hear(one);
  ASSERT_EQ(added.events.size(), 1U);
  EXPECT_EQ(added.events[0].severity, Severity::info);
  EXPECT_EQ(added.events[0].a, version);
  EXPECT_EQ(added.events[0].b, 1U) << "its owner";
  ASSERT_EQ(removed.events.size(), 1U);
  EXPECT_GT(removed.events[0].a, version);
  EXPECT_EQ(removed.events[0].b, 1U);
}

TEST(DiscoveryEvents, TellOfAFalseDeathThatIsRefuted) {
  Discovery one = node(1);
  Discovery other = node(2);
  Told<Discovery> told(Discovery::Event::refuted);
  one.apply(testing::nodes::offer("x"), Nanos{0});
  testing::nodes::exchange(one, other, Nanos{0});
  one.apply(discovery::Renew{"x"}, seconds(14));
  DiscoveryActions actions;
  other.tick(seconds(15), actions);
  testing::nodes::exchange(one, other, seconds(15));
  told.hear(one);
  ASSERT_EQ(told.events.size(), 1U);
  EXPECT_EQ(told.events[0].a, 2U) << "its new incarnation";
}

TEST(DiscoveryEvents, TellOfTwoOwnersAndWhoHasTheInstanceNow) {
  Discovery one = node(1);
  Discovery other = node(2);
  Told<Discovery> told(Discovery::Event::owner_conflict);
  one.apply(testing::nodes::offer("x"), Nanos{0});
  other.apply(testing::nodes::offer("x"), Nanos{0});
  other.apply(discovery::Renew{"x"}, Nanos{0});
  testing::nodes::exchange(one, other, Nanos{0});
  told.hear(one);
  ASSERT_EQ(told.events.size(), 1U);
  EXPECT_EQ(told.events[0].severity, Severity::warning);
  EXPECT_EQ(told.events[0].a, 1U);
  EXPECT_EQ(told.events[0].b, 2U) << "the other";
}

}  // namespace of_service_events_test
}  // namespace mesh::coordination
