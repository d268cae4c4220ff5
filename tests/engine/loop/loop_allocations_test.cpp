// tick() allocates nothing, whatever it has to do, once it has done it before.
#include "tests/allocations.hpp"
#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::testing {
namespace of_loop_allocations_test {

constexpr std::uint32_t kAgents = 40;

// A mesh in which every phase has work: messages between stations, operations of all, answers in
// all three states, upkeep.
class Busy {
 public:
  Busy() : mesh_(2 * kAgents, 2) {
    mesh_.add(1, kAgents, "one");
    mesh_.add(2, kAgents, "two", sched::AgentClass::gpu);
  }

  // Allocations of the ticks alone: opening an operation and reading its result are set-up.
  std::uint64_t turn() {
    const std::vector<std::byte> body(300);
    must(mesh_.loop->open(
        {.horizon = Nanos{400 * kNsPerMs}, .window = Nanos{200 * kNsPerMs}, .body = body},
        from_ns(mesh_.now_ns)));
    std::uint64_t allocated = 0;
    for (int step = 0; step < 700; ++step) {
      const std::uint64_t before = allocation_count();
      mesh_.tick(kNsPerMs);
      allocated += allocation_count() - before;
      for (auto& station : mesh_.stations) answer(*station);
      send(step);
    }
    while (const auto finished = mesh_.loop->take_finished()) ++finished_;
    return allocated;
  }
  [[nodiscard]] std::uint64_t finished() const { return finished_; }
  [[nodiscard]] const engine::LoopCounters& counters() const { return mesh_.loop->counters(); }

 private:
  void answer(RawStation& station) {
    for (const sched::DeliveryRecord& delivery : station.poll()) {
      if (delivery.kind != sched::RecordKind::message) continue;
      if (answered_ % 8 != 7) {  // one in eight stays silent
        station.answer(
            delivery,
            answered_ % 8 == 6 ? sched::TrinaryState::conflict : sched::TrinaryState::ready,
            mesh_.now_ns);
      }
      ++answered_;
    }
  }
  void send(int step) {
    if (step % 10 != 0) return;
    const std::vector<std::byte> body(8);
    mesh_.stations[0]->send_bare(mesh_.ids[1][0], mesh_.ids[2][0], body, mesh_.now_ns);
    mesh_.stations[0]->send_bare(mesh_.ids[1][0], AgentId{12'345}, body, mesh_.now_ns);
  }

  LoopFixture mesh_;
  std::uint64_t answered_ = 0;
  std::uint64_t finished_ = 0;
};

TEST(EngineLoop, TicksWithoutAllocating) {
  Busy busy;
  (void)busy.turn();  // whatever grows once has grown
  EXPECT_EQ(busy.turn(), 0U);
  EXPECT_EQ(busy.turn(), 0U);
  // It did do all that.
  EXPECT_EQ(busy.finished(), 3U);
  EXPECT_GT(busy.counters().deliveries, 3U * 2 * kAgents);
  EXPECT_GT(busy.counters().answers, 3U * kAgents);
  EXPECT_GT(busy.counters().sends, 100U);
  EXPECT_GT(busy.counters().no_such_agent, 100U);
}

}  // namespace of_loop_allocations_test
}  // namespace mesh::testing
