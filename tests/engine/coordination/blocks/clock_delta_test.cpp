#include "engine/coordination/blocks/clock_delta.hpp"

#include <algorithm>

#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {
namespace of_clock_delta_test {

std::size_t size_of(const VectorClock& clock) { return clock.entries().size(); }

TEST(ClockDelta, SendsOnlyWhatIsNotAcknowledged) {
  ClockSender sender;
  VectorClock now;
  for (std::uint64_t agent = 1; agent <= 100; ++agent) now.set(agent, 5);
  const auto whole = sender.next(now);
  EXPECT_EQ(whole.entries.entries().size(), 100U);
  EXPECT_EQ(size_of(sender.next(now).entries), 100U) << "nothing was acknowledged yet";
  sender.acknowledged(whole.number);
  EXPECT_EQ(size_of(sender.next(now).entries), 0U);
  now.set(7, 6);
  const auto changed = sender.next(now);
  ASSERT_EQ(changed.entries.entries().size(), 1U);
  EXPECT_EQ(changed.entries.at(std::uint64_t{7}), 6U);
}

TEST(ClockDelta, IgnoresAnAcknowledgementOfWhatWasNeverSentOrLongAgo) {
  ClockSender sender;
  VectorClock now;
  now.set(1, 1);
  const auto first = sender.next(now);
  sender.acknowledged(99);
  sender.acknowledged(0);
  EXPECT_EQ(sender.known().entries().size(), 0U);
  for (std::size_t i = 0; i < ClockSender::kUnacknowledged; ++i) {
    now.set(1, now.at(std::uint64_t{1}) + 1);
    static_cast<void>(sender.next(now));
  }
  sender.acknowledged(first.number);
  EXPECT_EQ(sender.known().entries().size(), 0U) << "its place has been taken";
}

TEST(ClockDelta, BeginsAnewWithTheWholeClock) {
  ClockSender sender;
  VectorClock now;
  now.set(1, 1);
  const auto before = sender.next(now);
  sender.acknowledged(before.number);
  sender.forget();
  const auto again = sender.next(now);
  EXPECT_EQ(again.entries.entries().size(), 1U);
  EXPECT_GT(again.number, before.number) << "no number twice";
}

// A network that loses, doubles and reorders deltas and acknowledgements.
RC_GTEST_PROP(ClockDelta, CatchesUpWhateverTheNetworkDoesAndIsNeverAhead, ()) {
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  ClockSender sender;
  ClockReceiver receiver;
  VectorClock now;
  std::vector<ClockDelta> deltas;
  std::vector<std::uint64_t> acknowledgements;
  const auto any = [&](auto& list) { return list[rng.below(list.size())]; };
  for (int step = 0; step < 300; ++step) {
    switch (rng.below(4)) {
      case 0:
        RC_ASSERT(now.tick_inplace(1 + rng.below(30)) == Errc::ok);
        break;
      case 1:
        deltas.push_back(sender.next(now));
        break;
      case 2:
        if (!deltas.empty()) acknowledgements.push_back(receiver.take(any(deltas)));
        break;
      default:
        if (!acknowledgements.empty()) sender.acknowledged(any(acknowledgements));
    }
    RC_ASSERT(dominates(now, receiver.clock()));
    RC_ASSERT(dominates(receiver.clock(), sender.known()));
  }
  const auto last = sender.next(now);
  receiver.take(last);
  RC_ASSERT(compare(receiver.clock(), now) == CausalOrder::equal);
  sender.acknowledged(last.number);
  RC_ASSERT(size_of(sender.next(now).entries) == 0);
}

}  // namespace of_clock_delta_test
}  // namespace mesh::coordination
