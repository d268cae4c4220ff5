// What may wait for an inbox that nobody reads, by priority.
#include "engine/loop/inbox_pressure.hpp"

#include <span>
#include <string_view>

#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine {
namespace of_inbox_pressure_test {

using sched::Priority;
using testing::LoopFixture;
using testing::RawStation;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(InboxPressure, AdmitsTheLessUrgentToLessOfItsShare) {
  InboxPressure pressure(1);  // a share of 2 + 1,024
  const auto most = [&](Priority priority) {
    std::uint32_t waiting = 0;
    while (pressure.admits(priority, waiting, Nanos{0})) ++waiting;
    return waiting;
  };
  EXPECT_EQ(most(Priority::background), 513U) << "half";
  EXPECT_EQ(most(Priority::normal), 1'026U) << "all of it";
  EXPECT_EQ(most(Priority::high), 1'154U) << "an eighth beyond";
  EXPECT_EQ(most(Priority::critical), 1'154U);
  EXPECT_TRUE(pressure.admits(Priority::background, 0, Nanos{0})) << "as soon as there is room";
  EXPECT_TRUE(pressure.controller().verify());
}

TEST(InboxPressure, GivesWayInOrderOfPriorityHoweverManyAgentsThereAre) {
  for (const std::uint32_t agents : {0U, 1U, 17U, 1'000U, 30'000U}) {
    InboxPressure pressure(agents);
    const std::uint32_t share = 2 * agents + InboxPressure::kShareMin;
    EXPECT_TRUE(pressure.admits(Priority::background, share / 2 - 1, Nanos{0})) << agents;
    EXPECT_FALSE(pressure.admits(Priority::background, share / 2, Nanos{0})) << agents;
    EXPECT_TRUE(pressure.admits(Priority::normal, share - 1, Nanos{0})) << agents;
    EXPECT_FALSE(pressure.admits(Priority::normal, share, Nanos{0})) << agents;
    EXPECT_TRUE(pressure.admits(Priority::high, share + share / 8 - 1, Nanos{0})) << agents;
    EXPECT_FALSE(pressure.admits(Priority::critical, share + share / 8, Nanos{0})) << agents;
  }
}

TEST(EngineLoop, RefusesBackgroundMessagesFirstWhereAnInboxFills) {
  LoopFixture mesh(10, 2);
  RawStation& alice = mesh.add(1, 1, "alice");
  mesh.add(2, 1, "bob");  // it never reads
  const auto send = [&](Priority priority) {
    sched::SendRecord record =
        RawStation::bare(mesh.ids[1][0], mesh.ids[2][0], bytes("x"), mesh.now_ns);
    record.verb_and_priority = sched::verb_and_priority(sched::Verb::act, priority);
    ASSERT_TRUE(alice.put(record));
    mesh.tick(1'000);
  };
  for (int i = 0; i < 900; ++i) send(Priority::background);
  // A quarter of the inbox, and half of what may wait behind it.
  EXPECT_EQ(mesh.loop->counters().target_full, 900U - 256U - 513U);
  EXPECT_EQ(mesh.loop->counters().pressure_refused, mesh.loop->counters().target_full);
  EXPECT_EQ(mesh.loop->gauges().pending, 513U);
  send(Priority::normal);
  send(Priority::high);
  EXPECT_EQ(mesh.loop->counters().target_full, 900U - 256U - 513U);
  EXPECT_TRUE(mesh.loop->verify());
}

}  // namespace of_inbox_pressure_test
}  // namespace mesh::engine
