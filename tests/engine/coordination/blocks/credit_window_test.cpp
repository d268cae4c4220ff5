// Credit from end to end, and pressure from hop to hop.
#include "engine/coordination/blocks/credit_window.hpp"

#include <deque>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "engine/coordination/blocks/pressure_relay.hpp"
#include "engine/coordination/blocks/rng.hpp"

namespace mesh::coordination {
namespace of_credit_window_test {

TEST(CreditWindow, StopsTheSenderAtWhatTheReceiverSaid) {
  WindowReceiver receiver(4);
  WindowSender sender;
  EXPECT_FALSE(sender.send()) << "nothing was said yet";
  sender.heard(receiver.limit());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(sender.send());
    ASSERT_EQ(receiver.accept(), Errc::ok);
  }
  EXPECT_FALSE(sender.send());
  EXPECT_FALSE(receiver.is_due());
  EXPECT_EQ(receiver.consume(1), Errc::ok);
  EXPECT_FALSE(receiver.is_due()) << "one of four is not worth a message";
  EXPECT_EQ(receiver.consume(1), Errc::ok);
  EXPECT_TRUE(receiver.is_due());
  sender.heard(receiver.limit());
  EXPECT_EQ(sender.available(), 2U);
}

TEST(CreditWindow, RefusesWhatWasNeverAllowedAndWhatWasNeverReceived) {
  WindowReceiver receiver(4);
  EXPECT_EQ(receiver.accept(5), Errc::corrupt);
  EXPECT_EQ(receiver.queued(), 0U);
  EXPECT_EQ(receiver.consume(1), Errc::invalid_argument);
}

TEST(CreditWindow, KeepsItsWordWhereTheWindowShrinks) {
  WindowReceiver receiver(8);
  WindowSender sender(receiver.limit());
  receiver.resize(2);
  EXPECT_EQ(receiver.limit(), 8U);
  EXPECT_TRUE(sender.send(8));
  EXPECT_EQ(receiver.accept(8), Errc::ok);
  EXPECT_EQ(receiver.consume(6), Errc::ok);
  EXPECT_EQ(receiver.limit(), 8U) << "two are still queued";
  EXPECT_EQ(receiver.consume(1), Errc::ok);
  EXPECT_EQ(receiver.limit(), 9U);
}

// Announcements are lost, repeated and reordered; the queue never holds more than the window, and
// everything gets through.
RC_GTEST_PROP(CreditWindow, NeverQueuesMoreThanItsWindowWhateverTheNetworkDoes, ()) {
  const auto window = *rc::gen::inRange<std::uint64_t>(1, 20);
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  WindowReceiver receiver(window);
  WindowSender sender(window);
  std::vector<std::uint64_t> said;
  std::uint64_t through = 0;
  for (int i = 0; i < 2'000; ++i) {
    switch (rng.below(3)) {
      case 0:
        if (sender.send()) RC_ASSERT(receiver.accept() == Errc::ok);
        break;
      case 1:
        if (receiver.queued() == 0) break;
        RC_ASSERT(receiver.consume() == Errc::ok);
        ++through;
        break;
      default:
        if (rng.below(2) == 0) said.push_back(receiver.limit());
        if (!said.empty() && rng.below(2) == 0) sender.heard(said[rng.below(said.size())]);
    }
    RC_ASSERT(receiver.queued() <= window);
  }
  RC_ASSERT(through > window);
}

TEST(PressureRelay, TellsTheGreatestOfThoseHeardLately) {
  PressureRelay relay(3, 100);
  EXPECT_EQ(relay.most(0), 0U);
  EXPECT_TRUE(relay.hear(0, 300'000, 0));
  EXPECT_TRUE(relay.hear(2, 700'000, 50));
  EXPECT_FALSE(relay.hear(3, 1, 50)) << "there is no such child";
  EXPECT_EQ(relay.most(60), 700'000U);
  EXPECT_TRUE(relay.hear(2, 100'000, 70));
  EXPECT_EQ(relay.most(99), 300'000U);
  EXPECT_EQ(relay.most(100), 100'000U) << "the first was silent for its time to live";
  EXPECT_EQ(relay.most(170), 0U);
}

}  // namespace of_credit_window_test
}  // namespace mesh::coordination
