#include "engine/coordination/client_throttle.hpp"

#include "tests/engine/coordination/goldens.hpp"

namespace mesh::coordination {
namespace of_client_throttle_test {

using testing::golden;
using testing::Json;
using testing::matches;

TEST(ClientThrottle, RefusesInProportionToWhatIsNotAccepted) {
  const auto [inputs, expected] = golden("circuit_breaker", "adaptive_client_throttle");
  Json probabilities = Json::array();
  for (const auto& row : inputs.at("requests_accepts")) {
    probabilities.push_back(reject_probability(row.at(0), row.at(1), inputs.at("k")));
  }
  EXPECT_TRUE(matches(expected, probabilities));
}

TEST(ClientThrottle, SendsTwiceWhatABackendAccepts) {
  ClientThrottle throttle(2, Nanos{10 * kNsPerSecond}, 1);
  int sent = 0;
  int room = 0;  // in tenths: the backend takes 100 a second of the 1,000 that are asked for
  for (int ms = 0; ms < 100'000; ++ms) {
    const Nanos now{ms * kNsPerMs};
    room = std::min(room + 1, 100);
    if (!throttle.should_send(now)) continue;
    ++sent;
    const bool accepted = room >= 10;
    room -= accepted ? 10 : 0;
    throttle.record(accepted, now);
  }
  EXPECT_NEAR(sent, 20'000, 5'000);
}

TEST(BreakerGroup, KeepsTheWorstOutAndNeverEverybody) {
  BreakerGroup group(10);
  std::vector<BreakerScore> scores(10);
  scores[2] = {true, 400'000};
  scores[5] = {true, 900'000};
  scores[7] = {true, 400'000};
  scores[9] = {true, 300'000};
  group.select(scores);
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < 10; ++i) {
    if (group.is_ejected(i)) out.push_back(i);
  }
  EXPECT_EQ(out, (std::vector<std::size_t>{2, 5, 7}));
  EXPECT_FALSE(group.in_panic());
}

TEST(BreakerGroup, LetsEverybodyInWhenMostAreOpen) {
  BreakerGroup group(10);
  std::vector<BreakerScore> scores(10);
  for (std::size_t i = 0; i < 5; ++i) scores[i] = {true, 1};
  group.select(scores);
  EXPECT_FALSE(group.in_panic());
  scores[5] = {true, 1};
  group.select(scores);
  EXPECT_TRUE(group.in_panic());
  for (std::size_t i = 0; i < 10; ++i) EXPECT_FALSE(group.is_ejected(i));
}

}  // namespace of_client_throttle_test
}  // namespace mesh::coordination
