#include "engine/coordination/blocks/priority_admission.hpp"

#include <algorithm>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {
namespace of_priority_admission_test {

constexpr std::int64_t kMs = 1'000'000;
using Admission = PriorityAdmission;

TEST(PriorityAdmission, TakesAllUntilItIsOverloaded) {
  Admission admission;
  for (int i = 0; i < 5'000; ++i) ASSERT_TRUE(admission.admit(0, i * kMs));
  EXPECT_EQ(admission.floor(), 0U);
}

TEST(PriorityAdmission, CutsATwentiethOfWhatItTookWhereItsQueueIsSlow) {
  Admission admission;
  for (std::uint32_t i = 0; i < 200; ++i) {
    EXPECT_TRUE(admission.admit(i, 0));
    admission.waited(21 * kMs);
  }
  admission.roll(1'000 * kMs);
  EXPECT_EQ(admission.floor(), 10U) << "one request of each level: ten of 200 stay out";
  EXPECT_FALSE(admission.admit(9, 1'000 * kMs));
  EXPECT_TRUE(admission.admit(10, 1'000 * kMs));
}

TEST(PriorityAdmission, JudgesByTheMeanWaitAndNotByOneRequest) {
  Admission admission;
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_TRUE(admission.admit(i, 0));
    admission.waited(i == 0 ? 1'000 * kMs : 5 * kMs);
  }
  admission.roll(1'000 * kMs);
  EXPECT_EQ(admission.floor(), 0U);
}

TEST(PriorityAdmission, NeverRefusesWhatIsCritical) {
  Admission admission;
  Rng rng(1);
  for (int window = 0; window < 500; ++window) {
    for (int i = 0; i < 50; ++i) {
      const auto level = Admission::level_of(3, rng.next(), 0);
      ASSERT_TRUE(admission.admit(level, window * 1'000 * kMs));
      static_cast<void>(
          admission.admit(Admission::level_of(0, rng.next(), 0), window * 1'000 * kMs));
      admission.waited(900 * kMs);
    }
  }
  EXPECT_EQ(admission.floor(), Admission::kFloorMax);
}

TEST(PriorityAdmission, KeepsASendersShareForAnEpochAndThenDealsAnew) {
  EXPECT_EQ(Admission::level_of(2, 77, 5), Admission::level_of(2, 77, 5));
  EXPECT_EQ(Admission::level_of(9, 77, 5), Admission::level_of(3, 77, 5)) << "no such priority";
  int moved = 0;
  for (std::uint64_t sender = 0; sender < 1'000; ++sender) {
    const auto now = Admission::level_of(1, sender, 5);
    ASSERT_TRUE(now >= Admission::kShares && now < 2 * Admission::kShares);
    moved += now != Admission::level_of(1, sender, 6) ? 1 : 0;
  }
  EXPECT_GT(moved, 950);
}

TEST(PeerFloor, StopsWhatWouldBeRefusedUntilItIsOld) {
  PeerFloor peer(2'000 * kMs);
  EXPECT_TRUE(peer.passes(0, 0)) << "nothing was heard";
  peer.heard(100, 10 * kMs);
  EXPECT_FALSE(peer.passes(99, 11 * kMs));
  EXPECT_TRUE(peer.passes(100, 11 * kMs));
  EXPECT_TRUE(peer.passes(0, 2'011 * kMs)) << "the peer has not spoken for its time to live";
  peer.heard(9'999, 3'000 * kMs);
  EXPECT_TRUE(peer.passes(Admission::kFloorMax, 3'001 * kMs)) << "critical, whatever it says";
}

// A server of 100 a second under 200 a second, then under 50; a queue in front of it.
struct Server {
  void second(int offered, Rng& rng) {
    for (int i = 0; i < offered; ++i) {
      now_ns += 1'000 * kMs / offered;
      const auto priority = static_cast<std::uint32_t>(i % 4);
      const auto level = Admission::level_of(priority, rng.below(1'000), 0);
      free_ns = std::max(free_ns, now_ns);
      if (!admission.admit(level, now_ns)) continue;
      ++taken[priority];
      admission.waited(free_ns - now_ns);
      free_ns += 10 * kMs;
    }
  }
  Admission admission;
  std::int64_t now_ns = 0;
  std::int64_t free_ns = 0;
  std::array<int, 4> taken{};
};

TEST(PriorityAdmission, FindsWhatTheServerCanAndServesTheUrgentFirst) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    Server server;
    for (int i = 0; i < 120; ++i) server.second(200, rng);
    server.taken = {};
    for (int i = 0; i < 120; ++i) server.second(200, rng);
    const int all = server.taken[0] + server.taken[1] + server.taken[2] + server.taken[3];
    EXPECT_GT(all, 120 * 80) << "of 100 a second";
    EXPECT_LT(all, 120 * 104);
    EXPECT_EQ(server.taken[3], 120 * 50) << "all that is critical";
    EXPECT_GT(server.taken[2], 120 * 25);
    EXPECT_LT(server.taken[0], 120 * 5);
    EXPECT_LT(server.free_ns - server.now_ns, 2'000 * kMs) << "the queue does not grow";
    for (int i = 0; i < 300; ++i) server.second(50, rng);
    EXPECT_EQ(server.admission.floor(), 0U) << "the load is gone";
  }
}

}  // namespace of_priority_admission_test
}  // namespace mesh::coordination
