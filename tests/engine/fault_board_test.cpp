// Faults as they stand in the table: all of an order or nothing, until it is taken away or over.
#include "engine/fault_board.hpp"

#include <map>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "shm/row_seqlock.hpp"
#include "tests/engine/station/core_fixture.hpp"

namespace mesh::engine {
namespace of_fault_board_test {

constexpr MeshSize kSize{.agents = 64, .stations = 2, .agents_per_station = 32};

struct Board {
  shm::Layout layout = table_layout(kSize).value();
  testing::ZeroedPages table{layout.total_bytes()};
  FaultBoard board = FaultBoard::over(layout, table.bytes()).value();
  FaultView view = FaultView::over(layout, table.bytes()).value();

  [[nodiscard]] std::vector<AgentFault> seen() const {
    std::vector<AgentFault> faults;
    for (std::size_t row = 0; row < kFaultRows; ++row) {
      AgentFault fault;
      EXPECT_TRUE(view.read(row, fault));
      if (fault.agent != AgentId{}) faults.push_back(fault);
    }
    return faults;
  }
};

AgentFault fault(std::uint32_t row, std::uint64_t injection, std::int64_t expires_ns = 100) {
  AgentFault made;
  made.agent = agent_id(AgentIndex{row}, Generation{1});
  made.injection = injection;
  made.expires_ns = expires_ns;
  made.kind = AgentFaultKind::delay;
  made.add_ns = 7;
  return made;
}

TEST(FaultBoard, RefusesAnOrderForWhichThereIsNoRoomAndChangesNothing) {
  Board its;
  std::vector<AgentFault> many(kFaultRows - 1, fault(1, 1));
  ASSERT_TRUE(its.board.inject(many));
  const std::uint64_t before = its.view.generation->load_relaxed();
  const std::vector<AgentFault> two(2, fault(2, 2));
  const auto refused = its.board.inject(two);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::capacity);
  EXPECT_EQ(refused.error().detail, 1);
  EXPECT_EQ(its.view.generation->load_relaxed(), before);
  EXPECT_EQ(its.board.in_force(2, HostTime{}), 0U);
  EXPECT_TRUE(its.board.inject(std::vector{fault(2, 2)}));
}

TEST(FaultBoard, ChangesFiguresOfOneOrderAndNothingElseOfIt) {
  Board its;
  ASSERT_TRUE(its.board.inject(std::vector{fault(1, 1), fault(2, 1)}));
  ASSERT_TRUE(its.board.inject(std::vector{fault(3, 2)}));
  const std::uint64_t before = its.view.generation->load_relaxed();
  AgentFault figures;
  figures.injection = 1;
  figures.rate_ppm = 5;
  figures.bits = 6;
  figures.add_ns = 70;
  figures.jitter_ns = 80;
  EXPECT_EQ(its.board.change(figures), 2U);
  EXPECT_GT(its.view.generation->load_relaxed(), before) << "stations look again";
  for (const AgentFault& seen : its.seen()) {
    AgentFault expected = fault(static_cast<std::uint32_t>(index_of(seen.agent)), seen.injection);
    if (seen.injection == 1) {
      expected.rate_ppm = 5;
      expected.bits = 6;
      expected.add_ns = 70;
      expected.jitter_ns = 80;
    }
    EXPECT_EQ(seen, expected);
  }
  figures.injection = 3;
  const std::uint64_t after = its.view.generation->load_relaxed();
  EXPECT_EQ(its.board.change(figures), 0U) << "of one that is not there: nothing";
  EXPECT_EQ(its.view.generation->load_relaxed(), after);
}

TEST(FaultBoard, ShowsWhatWasOrderedAndIsArmedAsLongAsThereIsSomething) {
  Board its;
  EXPECT_FALSE(its.view.is_armed());
  const std::vector<AgentFault> two{fault(3, 1), fault(4, 1)};
  ASSERT_TRUE(its.board.inject(two));
  EXPECT_EQ(its.seen(), two);
  EXPECT_TRUE(its.view.is_armed());
  ASSERT_TRUE(its.board.inject(two)) << "given again";
  EXPECT_EQ(its.seen().size(), 2U);
  EXPECT_EQ(its.board.undo(1), 2U);
  EXPECT_EQ(its.board.undo(1), 0U);
  EXPECT_FALSE(its.view.is_armed());
  EXPECT_TRUE(its.seen().empty());
}

TEST(FaultBoard, FreesWhatIsOver) {
  Board its;
  ASSERT_TRUE(its.board.inject(std::vector{fault(3, 1, 100)}));
  ASSERT_TRUE(its.board.inject(std::vector{fault(3, 2, 200)}));
  its.board.sweep(from_ns(99));
  EXPECT_EQ(its.board.used(), 2U);
  its.board.sweep(from_ns(100));
  EXPECT_EQ(its.board.in_force(1, from_ns(100)), 0U);
  EXPECT_EQ(its.board.in_force(2, from_ns(100)), 1U);
  EXPECT_EQ(its.board.in_force(2, from_ns(200)), 0U) << "over, though not swept yet";
  its.board.sweep(from_ns(200));
  EXPECT_FALSE(its.view.is_armed());
}

TEST(FaultBoard, TheNextEngineGoesOnWithWhatStandsAndFreesARowThatWasHalfWritten) {
  Board its;
  ASSERT_TRUE(its.board.inject(std::vector{fault(3, 1), fault(4, 1), fault(5, 2)}));
  auto sequence = its.layout.column<std::uint32_t>(its.table.bytes(), "chaos.sequence").value();
  static_cast<void>(shm::RowWriter<HostMemory>(sequence).begin(1));  // dies here
  FaultBoard next = FaultBoard::over(its.layout, its.table.bytes()).value();
  EXPECT_EQ(next.used(), 2U);
  EXPECT_EQ(its.seen(), (std::vector{fault(3, 1), fault(5, 2)}));
  EXPECT_EQ(next.undo(1), 1U);
  EXPECT_EQ(next.undo(2), 1U);
  EXPECT_FALSE(its.view.is_armed());
}

TEST(FaultBoardProperty, HoldsWhatAListOfOrdersHolds) {
  EXPECT_TRUE(rc::check([] {
    Board its;
    std::map<std::uint64_t, std::vector<std::int64_t>> model;  // expiries by injection
    std::int64_t now = 0;
    const auto steps = *rc::gen::inRange(1, 60);
    for (int i = 0; i < steps; ++i) {
      const auto injection = *rc::gen::inRange<std::uint64_t>(1, 6);
      switch (*rc::gen::inRange(0, 3)) {
        case 0: {
          const auto agents = *rc::gen::inRange<std::uint32_t>(1, 9);
          const auto until = now + *rc::gen::inRange<std::int64_t>(1, 20);
          std::vector<AgentFault> order;
          for (std::uint32_t agent = 0; agent < agents; ++agent)
            order.push_back(fault(agent, injection, until));
          RC_ASSERT(its.board.inject(order).has_value());
          if (model[injection].empty()) model[injection].assign(agents, until);
          break;
        }
        case 1:
          its.board.undo(injection);
          model.erase(injection);
          break;
        default:
          now += *rc::gen::inRange<std::int64_t>(0, 10);
          its.board.sweep(from_ns(now));
          for (auto& [id, ends] : model) std::erase_if(ends, [&](auto end) { return end <= now; });
      }
      std::size_t sum = 0;
      for (const auto& [id, ends] : model) {
        sum += ends.size();
        RC_ASSERT(its.board.in_force(id, from_ns(now)) == ends.size());
      }
      RC_ASSERT(its.board.used() == sum);
      RC_ASSERT(its.view.is_armed() == (sum != 0));
      RC_ASSERT(its.seen().size() == sum);
    }
  }));
}

}  // namespace of_fault_board_test
}  // namespace mesh::engine
