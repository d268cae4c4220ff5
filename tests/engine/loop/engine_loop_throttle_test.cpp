// What senders are told by a loop that cannot keep up.
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "tests/engine/loop/loop_fixture.hpp"

namespace mesh::engine {
namespace of_engine_loop_throttle_test {

constexpr std::int64_t kLateNs = 130 * kNsPerMs;

using testing::LoopFixture;
using testing::RawStation;

constexpr std::uint32_t kAgents = 600;  // two sectors

class TwoSectors {
 public:
  TwoSectors() : mesh(kAgents, 2) {
    stations_ = {&mesh.add(1, kAgents / 2, "a"), &mesh.add(2, kAgents / 2, "b")};
    mesh.tick(kNsPerMs);
    sectors_ = testing::must(testing::must(table_layout(mesh.size))
                                 .array<std::uint32_t>(mesh.table.span(), "agent.sector"));
    for (const auto& [station, ids] : mesh.ids)
      for (const AgentId id : ids) senders_[sector_of(id)].push_back({station, id});
  }
  [[nodiscard]] bool are_two() const { return !senders_[0].empty() && !senders_[1].empty(); }

  // A millisecond in which a sector's agents send themselves `count` messages, which have waited
  // for `waited_ns`.
  void send(std::uint32_t sector, int count, std::int64_t waited_ns) {
    const std::vector<Sender>& all = senders_[sector];
    for (int i = 0; i < count; ++i) {
      const Sender& from = all[next_++ % all.size()];
      ASSERT_TRUE(
          stations_[from.station - 1U]->send_bare(from.id, from.id, {}, mesh.now_ns - waited_ns));
    }
  }
  // A millisecond later all that was delivered is answered.
  void step() {
    mesh.tick(kNsPerMs);
    for (RawStation* const station : stations_) {
      for (const sched::DeliveryRecord& delivery : station->poll()) {
        if (delivery.kind == sched::RecordKind::message) {
          ASSERT_TRUE(station->answer(delivery, sched::TrinaryState::ready, mesh.now_ns));
          ++delivered;
        } else if (delivery.kind == sched::RecordKind::report) {
          sched::ReportBody body{};
          const sched::BareBody bytes = sched::bare_body(delivery);
          std::memcpy(&body, bytes.bytes, sizeof body);
          ASSERT_EQ(static_cast<Errc>(body.code), Errc::throttled);
          ++throttled[sector_of(delivery.target)];
        }
      }
    }
  }
  void run(int ms, std::uint32_t sector, int count, std::int64_t waited_ns) {
    for (int i = 0; i < ms; ++i) {
      send(sector, count, waited_ns);
      step();
    }
  }

  LoopFixture mesh;
  int delivered = 0;
  std::array<int, 2> throttled{};

 private:
  struct Sender {
    std::uint16_t station;
    AgentId id;
  };
  [[nodiscard]] std::uint32_t sector_of(AgentId id) const {
    return sectors_[static_cast<std::uint32_t>(index_of(id))];
  }
  std::span<std::uint32_t> sectors_;
  std::vector<RawStation*> stations_;
  std::array<std::vector<Sender>, 2> senders_;
  std::size_t next_ = 0;
};

TEST(EngineLoop, TellsASenderThatIsOverItsShareWhileEverythingWaits) {
  TwoSectors two;
  two.run(300, 0, 20, 0);
  EXPECT_EQ(two.mesh.loop->counters().throttled, 0U);
  two.run(2'000, 0, 20, kLateNs);
  const LoopCounters& counters = two.mesh.loop->counters();
  EXPECT_EQ(counters.throttle_begun, 1U);
  EXPECT_GT(counters.throttled, 1'000U);
  EXPECT_EQ(two.throttled[0], static_cast<int>(counters.throttled));
  EXPECT_EQ(two.delivered + two.throttled[0], 2'300 * 20) << "each is delivered, or told why not";
  EXPECT_GT(two.mesh.loop->gauges().send_rate, 0U);
  two.run(8'000, 0, 1, 0);
  EXPECT_EQ(two.mesh.loop->gauges().send_rate, 0U) << "it keeps up again";
}

TEST(EngineLoop, HoldsBackNoSectorThatSendsLittle) {
  TwoSectors two;
  ASSERT_TRUE(two.are_two());
  two.run(300, 0, 20, 0);
  for (int i = 0; i < 3'000; ++i) {
    two.send(0, 20, kLateNs);
    if (i % 20 == 0) two.send(1, 1, kLateNs);
    two.step();
  }
  EXPECT_GT(two.throttled[0], 1'000);
  EXPECT_EQ(two.throttled[1], 0);
}

TEST(EngineLoop, SendsWhatIsReadAgainThoughItsSenderIsOverItsShare) {
  TwoSectors two;
  two.run(300, 0, 20, 0);
  two.run(2'000, 0, 20, kLateNs);
  ASSERT_GT(two.throttled[0], 0);
  const int before = two.delivered;
  two.send(0, 50, kLateNs);
  two.mesh.restart();
  for (int i = 0; i < 5; ++i) two.step();
  EXPECT_EQ(two.delivered - before, 50) << "a successor begins with nobody limited";
}

TEST(EngineLoop, HoldsBackNothingOfTheOperators) {
  TwoSectors two;
  two.run(300, 0, 20, 0);
  two.run(2'000, 0, 20, kLateNs);
  ASSERT_GT(two.mesh.loop->gauges().send_rate, 0U);
  const std::uint64_t before = two.mesh.loop->counters().throttled;
  for (int i = 0; i < 500; ++i)
    EXPECT_TRUE(two.mesh.loop->post({.target = two.mesh.ids[1][0]}, from_ns(two.mesh.now_ns)));
  EXPECT_EQ(two.mesh.loop->counters().throttled, before);
}

TEST(EngineLoop, RefusesThrottleOptionsThatCannotBe) {
  TwoSectors two;
  LoopTuning tuning;
  tuning.throttle.flood_factor = 0;
  const Status refused = two.mesh.loop->retune(tuning);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::invalid_config);
  tuning.throttle = {.enabled = false};
  ASSERT_TRUE(two.mesh.loop->retune(tuning));
  two.run(300, 0, 20, 0);
  two.run(2'000, 0, 20, kLateNs);
  EXPECT_EQ(two.mesh.loop->counters().throttled, 0U);
}

}  // namespace of_engine_loop_throttle_test
}  // namespace mesh::engine
