// Real deaths: SIGKILL before every access of every change of a row. What the next engine finds is
// free or whole, as it was or as it was to be.
#include <random>
#include <set>

#include <sys/wait.h>

#include "engine/registry.hpp"
#include "tests/crash_memory.hpp"
#include "tests/engine/test_table.hpp"
#include "tests/sanitizers.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_registry_crash_test {

using testing::CrashMemory;
using testing::Death;
using testing::TestTable;

constexpr StationId kStation{5};
constexpr StationId kOther{6};
constexpr std::uint32_t kUid = 1'000;
constexpr HostTime kNow = from_ns(77);
const std::string kName(63, 'q');

template <class Body>
bool survives(Body&& body) {
  const pid_t child = ::fork();
  EXPECT_GE(child, 0);
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// All that the next engine can know of row 1.
struct Seen {
  std::string name;
  std::uint64_t generation = 0;
  StationId station = kNoStation;
  AgentState state = AgentState::free;
  std::uint32_t uid = 0;
  std::int64_t offline_since_ns = 0;  // of those offline
  friend bool operator==(const Seen&, const Seen&) = default;
};
std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  return out << '"' << seen.name << "\" generation " << seen.generation << " station "
             << static_cast<unsigned>(seen.station) << " state " << static_cast<int>(seen.state)
             << " uid " << seen.uid << " offline since " << seen.offline_since_ns;
}

using Rows = RegistryRows<CrashMemory>;

class RowCrash : public ::testing::Test {
 protected:
  void reset() const {
    std::ranges::fill(table_.table_bytes(), std::byte{0});
    Registry registry = restarted();
    ASSERT_TRUE(registry.enrol({"first", 1, {.station = kStation}}).has_value());
  }
  Registry restarted() const {
    auto registry = Registry::create(table_.agents(), table_.owners(), {});
    EXPECT_TRUE(registry.has_value()) << registry.error().sentence;
    return std::move(registry).value();
  }
  Seen seen() const {
    Registry registry = restarted();
    const Status verified = registry.verify();
    EXPECT_TRUE(verified.has_value()) << verified.error().sentence;
    EXPECT_EQ(registry.find("first"), agent_id(AgentIndex{0}, Generation{1}));
    const AgentIndex row{1};
    const auto rows = table_.agents();
    Seen found;
    found.name = registry.name_of(row).view();
    if (found.name.empty()) return found;
    found.generation = static_cast<std::uint64_t>(generation_of(registry.id_of(row)));
    found.station = registry.station_of(row);
    found.state = static_cast<AgentState>(rows.state.load_relaxed(1));
    found.uid = table_.owners().uid.load_relaxed(1);
    if (found.station == kNoStation) {
      found.offline_since_ns = table_.owners().offline_since_ns.load_relaxed(1);
    }
    EXPECT_EQ(rows.latency_ms.load_relaxed(1), 12.0F);
    const AgentNames<> names(rows.sequence.view(), rows.id.view(), rows.name.view());
    EXPECT_EQ(names.read(row).status, shm::ReadStatus::kRead);  // even again
    return found;
  }

  // `change` killed before each of its accesses, after `prepare`: one of `allowed`, and the last
  // of them once it has all been done. Returns the named points that it passes.
  template <class Prepare, class Change>
  std::set<std::string> enumerate(const Prepare& prepare, const Change& change,
                                  const std::vector<Seen>& allowed) const {
    std::vector<bool> met(allowed.size());
    std::uint64_t site = 0;
    for (bool died = true; died && !HasFailure();) {
      ++site;
      SCOPED_TRACE(::testing::Message() << "site " << site);
      reset();
      Registry before = restarted();
      prepare(before);
      died = !survives([&] {
        const Rows rows(table_.agents<CrashMemory>(), table_.owners<CrashMemory>());
        testing::crash_plan = {0, site, Death::kKill, nullptr};
        change(rows);
      });
      const Seen found = seen();
      const auto at = std::ranges::find(allowed, found);
      EXPECT_NE(at, allowed.end()) << found;
      if (at == allowed.end()) break;
      met[static_cast<std::size_t>(at - allowed.begin())] = true;
      if (!died) {
        EXPECT_EQ(found, allowed.back());
      }
      EXPECT_EQ(seen(), found) << "a second restart finds something else";
    }
    EXPECT_GT(site, 5U);
    EXPECT_THAT(met, ::testing::Each(true)) << "a state that no death shows";
    reset();
    Registry before = restarted();
    prepare(before);
    std::set<std::string> points;
    testing::crash_plan = {0, 0, Death::kKill, &points};
    change(Rows(table_.agents<CrashMemory>(), table_.owners<CrashMemory>()));
    testing::crash_plan = {};
    return points;
  }

  TestTable table_{3};
};

const Seen kFree{};
const Seen kAttached{kName, 1, kStation, AgentState::active, kUid};
const Seen kOffline{kName, 1, kNoStation, AgentState::offline, kUid, 77};

void enrolled(Registry& registry) {
  ASSERT_TRUE(registry.enrol({kName, kUid, {.station = kStation}}).has_value());
}
void offline(Registry& registry) {
  enrolled(registry);
  std::array<AgentIndex, 4> rows{};
  registry.detach(kStation, kNow, rows);
  ASSERT_TRUE(registry.enrol({"first", 1, {.station = kOther}}).has_value());
}

TEST_F(RowCrash, KilledWhileANameTakesARowLeavesItFreeOrWhole) {
  const auto points =
      enumerate([](Registry&) {},
                [](const Rows& rows) { rows.take(1, encode(kName), kUid, {.station = kStation}); },
                {kFree, kAttached});
  EXPECT_THAT(points, ::testing::Contains("registry.take:before_length"));
}
TEST_F(RowCrash, KilledWhileANameTakesAUsedRowLeavesNothingOfTheLastTenant) {
  Seen next = kAttached;
  next.generation = 2;
  enumerate(
      [](Registry& registry) {
        ASSERT_TRUE(registry.enrol({"older", 9, {.station = kOther}}).has_value());
        std::array<AgentIndex, 4> rows{};
        registry.detach(kOther, kNow, rows);
        ASSERT_TRUE(registry.forget("older").has_value());
      },
      [](const Rows& rows) { rows.take(1, encode(kName), kUid, {.station = kStation}); },
      {kFree, next});
}
TEST_F(RowCrash, KilledWhileAnAgentComesBackLeavesItOfflineOrAttached) {
  const auto points =
      enumerate(offline, [](const Rows& rows) { rows.attach(1, {.station = kStation}); },
                {kOffline, kAttached});
  EXPECT_THAT(points, ::testing::Contains("registry.attach:before_station"));
}
TEST_F(RowCrash, KilledWhileAnAgentMovesLeavesItWithOneStation) {
  Seen moved = kAttached;
  moved.station = kOther;
  enumerate(enrolled, [](const Rows& rows) { rows.attach(1, {.station = kOther}); },
            {kAttached, moved});
}
TEST_F(RowCrash, KilledWhileAnAgentIsDetachedLeavesItAttachedOrOffline) {
  const auto points = enumerate(enrolled, [](const Rows& rows) { rows.detach(1, to_ns(kNow)); },
                                {kAttached, kOffline});
  EXPECT_THAT(points, ::testing::IsSupersetOf(
                          {"registry.detach:before_station", "registry.detach:after_station"}));
}
TEST_F(RowCrash, KilledWhileARowIsFreedLeavesItWholeOrFree) {
  const auto points =
      enumerate(offline, [](const Rows& rows) { rows.release(1); }, {kOffline, kFree});
  EXPECT_THAT(points, ::testing::Contains("registry.release:after_length"));
}

// The restart dies too, at every access, and the next one finishes it.
TEST_F(RowCrash, KilledWhileRecoveringIsRecoveredByTheNext) {
  bool recovery_died = true;
  for (std::uint64_t site = 1; recovery_died && !HasFailure(); ++site) {
    SCOPED_TRACE(site);
    recovery_died = false;
    for (std::uint64_t first = 1; first < 70 && !HasFailure(); ++first) {
      reset();
      Registry before = restarted();
      offline(before);
      survives([&] {
        testing::crash_plan = {0, first, Death::kKill, nullptr};
        Rows(table_.agents<CrashMemory>(), table_.owners<CrashMemory>()).release(1);
      });
      recovery_died |= !survives([&] {
        testing::crash_plan = {0, site, Death::kKill, nullptr};
        (void)Rows(table_.agents<CrashMemory>(), table_.owners<CrashMemory>()).recover(1);
      });
      const Seen found = seen();
      EXPECT_TRUE(found == kFree || found == kOffline) << found;
    }
  }
}

TEST_F(RowCrash, RefusesWhatNoDeathLeavesBehind) {
  const auto refused = [&](const std::string& part) {
    const auto registry = Registry::create(table_.agents(), table_.owners(), {});
    ASSERT_FALSE(registry.has_value());
    EXPECT_EQ(registry.error().code, Errc::corrupt);
    EXPECT_THAT(registry.error().sentence, ::testing::HasSubstr(part));
  };
  const auto rows = table_.agents();
  reset();
  rows.id.store_relaxed(0, agent_id(AgentIndex{2}, Generation{1}));
  refused("row 0: its id names row 2");
  reset();
  rows.id.store_relaxed(0, AgentId{0});
  refused("generation 0");
  reset();
  rows.state.store_relaxed(0, 9);
  refused("state 9");
  reset();
  rows.agent_class.store_relaxed(0, 6);
  refused("class 6");
  reset();
  rows.name.store_relaxed(0, 0xFF05);
  refused("row 0: byte 0, 0xff");
  reset();
  for (std::size_t i = 0; i < kNameWords; ++i) {
    rows.name.store_relaxed(kNameWords + i, rows.name.load_relaxed(i));
  }
  rows.id.store_relaxed(1, agent_id(AgentIndex{1}, Generation{1}));
  rows.state.store_relaxed(1, 1);
  refused("row 1: its name first is row 0's too");
}

// Random moments: a registry under random load, killed, and gone on with by the next.
TEST(RegistryKill, RandomKillsUnderLoadLeaveEveryRowFreeOrWhole) {
  constexpr int kKills = testing::kSlowBuild ? 50 : 500;
  const TestTable table(40);
  const testing::SharedBytes progress(4'096);
  auto& turns = *reinterpret_cast<ShmWord<std::uint64_t>*>(progress.bytes().data());
  std::mt19937_64 random(testing::seed());
  for (int kill = 0; kill < kKills; ++kill) {
    const std::uint64_t child_seed = random();
    turns.store_relaxed(0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto registry = Registry::create(table.agents(), table.owners(), {.agent_ttl = Nanos{10}});
      if (!registry || !registry->verify()) ::_exit(3);
      std::mt19937_64 own(child_seed);
      std::array<AgentIndex, 4> rows{};
      std::array<AgentId, 4> freed{};
      for (std::uint64_t turn = 1;; ++turn) {
        const StationId station{static_cast<std::uint16_t>(1 + own() % 4)};
        const std::string name(1 + own() % 63, static_cast<char>('a' + own() % 2));
        (void)registry->enrol({name, 0, {.station = station}});
        if (own() % 4 == 0)
          registry->detach(station, from_ns(static_cast<std::int64_t>(turn)), rows);
        if (own() % 4 == 0) registry->expire(from_ns(static_cast<std::int64_t>(turn)), freed);
        turns.store_release(turn);  // only the test's other process waits for it
      }
    }
    for (const std::uint64_t until = 1 + random() % 2'000; turns.load_acquire() < until;) {
      if (::waitpid(child, nullptr, WNOHANG) != 0)
        FAIL() << "kill " << kill << ": refused to start";
      ::sched_yield();
    }
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  }
  const auto registry = Registry::create(table.agents(), table.owners(), {});
  ASSERT_TRUE(registry.has_value()) << registry.error().sentence;
  const Status verified = registry->verify();
  EXPECT_TRUE(verified.has_value()) << verified.error().sentence;
}

}  // namespace of_registry_crash_test
}  // namespace mesh::engine
