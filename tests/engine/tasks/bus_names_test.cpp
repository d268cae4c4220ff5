// What the coordination services say of themselves, heard on the bus under the names that people
// know: each transition from the service that makes it, and each name from somebody.
#include "engine/tasks/bus_names.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/coordination/backpressure_controller.hpp"
#include "engine/coordination/capability_health.hpp"
#include "engine/coordination/chaos_harness.hpp"
#include "engine/coordination/circuit_breaker.hpp"
#include "engine/coordination/exactly_once_queue.hpp"
#include "engine/coordination/federation_router.hpp"
#include "engine/coordination/gossip_engine.hpp"
#include "engine/coordination/outbox.hpp"
#include "engine/coordination/throttle_governor.hpp"
#include "tests/engine/coordination/auction_kit.hpp"
#include "tests/engine/coordination/lock_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"
#include "tests/engine/coordination/view_kit.hpp"

namespace mesh::tasks {
namespace of_bus_names_test {

namespace kit = coordination::testing;
using coordination::LockManager;
using coordination::LockMode;
using coordination::Prevention;
using coordination::TaskAuction;
using coordination::ViewSynchronizer;

struct Heard {
  std::string name;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  std::uint64_t c = 0;
  friend bool operator==(const Heard&, const Heard&) = default;
};

// A bus, and what was said on it of one service.
template <class Service>
class Listener {
 public:
  Listener() : bus_(EventBusConfig::preset("standard").value()) {
    EXPECT_TRUE(bus_.on("*", [this](const EventRecord& event, std::string_view) {
      heard_.push_back(
          {std::string(name_of(static_cast<EventName>(event.kind))), event.a, event.b, event.c});
    }));
  }
  // New since it was asked last.
  std::vector<Heard> hear(const Service& service) {
    heard_.clear();
    lost_ += tell_bus(service, told_, bus_, Nanos{1});
    while (bus_.poll([] { return Nanos{1}; }, 16) != 0) {
    }
    return heard_;
  }
  std::vector<std::string> names(const Service& service) {
    std::vector<std::string> names;
    for (const Heard& one : hear(service)) names.push_back(one.name);
    return names;
  }
  [[nodiscard]] std::uint64_t lost() const { return lost_; }

 private:
  EventBus bus_;
  std::vector<Heard> heard_;
  std::uint64_t told_ = 0;
  std::uint64_t lost_ = 0;
};

using Names = std::vector<std::string>;

TEST(BusNames, AnAuctionIsOpenedBidInAndResolved) {
  TaskAuction house(kit::small_house("open-market"));
  Listener<TaskAuction> listener;
  house.apply(coordination::auction::Open{"gpu", 0}, Nanos{0});
  house.apply(kit::bid(1, 70), Nanos{0});
  house.apply(kit::bid(2, 69), Nanos{0});  // refused: it beats nobody
  house.apply(kit::bid(2, 90), Nanos{0});
  house.apply(coordination::auction::Resolve{0, true}, Nanos{0});
  EXPECT_EQ(listener.hear(house), (std::vector<Heard>{{"auction:opened", 0, 0, 0},
                                                      {"auction:bid", 0, 1, 70},
                                                      {"auction:bid", 0, 2, 90},
                                                      {"auction:resolved", 0, 1, 90}}));
  EXPECT_TRUE(listener.hear(house).empty()) << "each is said once";
}

TEST(BusNames, ASealedBidShowsNeitherItsPriceNorItsBidder) {
  TaskAuction house(kit::small_house());
  Listener<TaskAuction> listener;
  house.apply(coordination::auction::Open{"task", 0}, Nanos{0});
  house.apply(kit::bid(5, 1'234), Nanos{0});
  EXPECT_EQ(listener.hear(house),
            (std::vector<Heard>{{"auction:opened", 0, 0, 0}, {"auction:bid", 0, 1, 0}}));
}

TEST(BusNames, ALockIsWoundedAPhantomCoarsenedAndADeadlockIsDetected) {
  Listener<LockManager> listener;
  LockManager wounding(kit::small_locks(Prevention::wound_wait));
  wounding.apply(kit::want(0, "r", LockMode::x, 9), Nanos{0});
  wounding.apply(kit::want(1, "r", LockMode::x, 4), Nanos{0});
  EXPECT_EQ(listener.names(wounding), Names{"lock:wounded"});

  Listener<LockManager> other;
  LockManager locks(kit::small_locks());
  for (const char* row : {"t/1", "t/2", "t/3"}) {
    locks.apply(kit::want(0, row, LockMode::x), Nanos{0});
  }
  const auto coarsened = other.hear(locks);
  ASSERT_EQ(coarsened.size(), 1U);
  EXPECT_EQ(coarsened[0].name, "lock:coarsened");
  EXPECT_EQ(coarsened[0].a, 0U) << "whose";
  EXPECT_EQ(coarsened[0].b, 3U) << "what it stands for";
  locks.apply(kit::want(1, "r1", LockMode::x, 1), Nanos{0});
  locks.apply(kit::want(2, "r2", LockMode::x, 2), Nanos{0});
  locks.apply(kit::want(1, "r2", LockMode::x, 1), Nanos{0});
  locks.apply(kit::want(2, "r1", LockMode::x, 2), Nanos{0});
  locks.apply(coordination::lock::Detect{}, Nanos{1});
  const auto victim = other.hear(locks);
  ASSERT_EQ(victim.size(), 1U);
  EXPECT_EQ(victim[0].name, "deadlock:detected");
  EXPECT_EQ(victim[0].a, 2U) << "the younger";
  locks.apply(coordination::lock::StationClosed{kit::want(1, "r1", LockMode::x).station}, Nanos{2});
  const Names gone = other.names(locks);
  EXPECT_GE(std::count(gone.begin(), gone.end(), "lock:phantom"), 1);
}

TEST(BusNames, AViewIsEnteredAndGivenUp) {
  ViewSynchronizer views = kit::views_of(kit::small_views(), 4);
  Listener<ViewSynchronizer> listener;
  listener.hear(views);
  views.apply(coordination::view::ReceiveQc{kit::qc_of(0, {1, 2, 3})}, Nanos{1});
  EXPECT_EQ(listener.hear(views), (std::vector<Heard>{{"view:entered", 1, 0, 1}}));
  coordination::ViewSyncActions actions;
  views.tick(views.next_timer(), actions);
  views.tick(views.next_timer(), actions);  // said again to the others, and not here
  EXPECT_EQ(listener.hear(views), (std::vector<Heard>{{"view:timeout", 1, 0, 1}}));
}

TEST(BusNames, ATaskThatKillsItsStationsIsADeadLetterAndPoison) {
  using coordination::ExactlyOnceQueue;
  auto config = kit::small_queue();
  config.poison_stations = 2;
  ExactlyOnceQueue queue(config);
  Listener<ExactlyOnceQueue> listener;
  queue.apply(kit::task("a"), Nanos{0});
  queue.apply(kit::by("w", 6), Nanos{0});
  queue.apply(coordination::once::StationClosed{6}, Nanos{1});
  EXPECT_TRUE(listener.hear(queue).empty());
  queue.apply(kit::by("w", 7), Nanos{2});
  queue.apply(coordination::once::StationClosed{7}, Nanos{3});
  EXPECT_EQ(listener.hear(queue),
            (std::vector<Heard>{{"queue:dead-letter", 1, 1, 0}, {"queue:poison", 1, 7, 0}}));
}

TEST(BusNames, AFederationShedsAndLendsAndIsThrottled) {
  using coordination::FederationRouter;
  using coordination::RequestOutcome;
  namespace federation = coordination::federation;
  coordination::FederationConfig config;
  config.burst_ppm = 1'000'000;
  config.breaker_429 = 1;
  FederationRouter router(config);
  Listener<FederationRouter> listener;
  const Nanos minute{60 * kNsPerSecond};
  router.apply(federation::AddNetwork{"a", 1, 1'000'000, 10, minute}, Nanos{0});
  router.apply(federation::AddNetwork{"b", 1, 1'000'000, 10, minute}, Nanos{0});
  for (int i = 0; i < 8; ++i) {
    router.apply(federation::Submit{0, 0, 3}, Nanos{0});
    router.apply(federation::DispatchNext{}, Nanos{0});
  }
  router.apply(federation::Submit{0, 0, 0}, Nanos{1});  // 20 % are left: under 25
  EXPECT_EQ(listener.hear(router), (std::vector<Heard>{{"federation:shed", 0, 0, 200'000}}));
  router.apply(federation::Borrow{1, 0, 2, 0}, Nanos{2});
  EXPECT_EQ(listener.hear(router), (std::vector<Heard>{{"federation:loan", 1, 0, 2}}));
  const auto asked = router.apply(federation::Submit{0, 0, 3}, Nanos{3});
  router.apply(federation::DispatchNext{}, Nanos{3});
  router.apply(federation::Complete{asked.id, RequestOutcome::rate_limited, minute}, Nanos{3});
  EXPECT_EQ(listener.names(router), Names{"federation:throttled"});
}

TEST(BusNames, WhatAServiceOverwroteIsCounted) {
  auto config = kit::small_house();
  config.events_max = 4;
  TaskAuction house(config);
  house.apply(coordination::auction::Open{"task", 0}, Nanos{0});
  for (std::uint32_t i = 0; i < 9; ++i) house.apply(kit::bid(i % 8, 5), Nanos{0});
  Listener<TaskAuction> listener;
  EXPECT_EQ(listener.hear(house).size(), 4U);
  EXPECT_EQ(listener.lost(), 6U) << "ten were said";
}

// Every event of a service that has a name of the bus.
template <class Service>
void add_names(std::set<EventName>& names, std::uint64_t b_max = 0) {
  for (std::uint16_t kind = 1; kind < 32; ++kind) {
    for (std::uint64_t b = 0; b <= b_max; ++b) {
      EventRecord event;
      event.kind = kind;
      event.b = b;
      names.insert(bus_name<Service>(event));
    }
  }
}

// The task family, the manager and the bus speak these names themselves; all others the services.
TEST(BusNames, EachNameOfAServiceIsSaidByOne) {
  std::set<EventName> said;
  add_names<coordination::AdaptiveThrottleGovernor>(said);
  add_names<coordination::BackpressureController>(said);
  add_names<coordination::CapabilityHealthMonitor>(said);
  add_names<coordination::ChaosHarness>(said, 16);
  add_names<coordination::CircuitBreaker>(said);
  add_names<coordination::ExactlyOnceQueue>(said);
  add_names<coordination::FederationRouter>(said);
  add_names<coordination::GossipEngine>(said);
  add_names<LockManager>(said);
  add_names<coordination::Outbox>(said);
  add_names<TaskAuction>(said);
  add_names<ViewSynchronizer>(said);
  const std::vector<std::string_view> families{
      "circuitbreaker:", "backpressure:", "throttle:",   "auction:",   "outbox:",
      "health:",         "view:",         "membership:", "partition:", "lock:",
      "chaos:",          "deadlock:",     "federation:", "queue:"};
  for (std::uint16_t at = 1; at <= kEventNames; ++at) {
    const auto name = static_cast<EventName>(at);
    const bool is_theirs = std::any_of(
        families.begin(), families.end(),
        [&](std::string_view family) { return name_of(name).substr(0, family.size()) == family; });
    EXPECT_TRUE(!is_theirs || said.count(name) == 1) << name_of(name) << " is said by nobody";
  }
}

}  // namespace of_bus_names_test
}  // namespace mesh::tasks
