// A backpressure controller that is bound to its queue, and what credit it grants to whom.
#include <cstdint>

#include <gtest/gtest.h>

#include "engine/coordination/backpressure_controller.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination {
namespace of_backpressure_rules_test {

using pressure::WantCredit;

constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

struct Ring {
  QueueCursors cursors;
  [[nodiscard]] DepthSource source() const {
    return {[](const void* ring) noexcept { return static_cast<const Ring*>(ring)->cursors; },
            this};
  }
};

// --- bound to a queue --------------------------------------------------------------------------

TEST(BackpressureBound, DoesNotDecideWithoutSeeingTheDepth) {
  Ring ring;
  BackpressureController bound(BackpressureConfig{}, ring.source());
  EXPECT_EQ(bound.should_accept(0, Nanos{0}).refusal, Refusal::none);
  ring.cursors.published = 200;  // nobody tells the controller
  EXPECT_EQ(bound.should_accept(3, Nanos{1}).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(bound.state(), PressureState::blocked);
  ring.cursors.taken = 90;
  EXPECT_EQ(bound.should_accept(0, Nanos{2}).refusal, Refusal::rejected_pressure) << "at 110";
  EXPECT_EQ(bound.should_accept(3, Nanos{2}).refusal, Refusal::none);
  ring.cursors.taken = 180;
  EXPECT_EQ(bound.should_accept(0, Nanos{3}).refusal, Refusal::none) << "at the low mark";
  EXPECT_EQ(bound.state(), PressureState::accepting);
  EXPECT_TRUE(bound.verify());
  BackpressureController unbound{BackpressureConfig{}};
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(unbound.should_accept(0, Nanos{0}).refusal, Refusal::none)
        << "whom nobody tells the depth knows none: that is what binding is for";
  }
}

TEST(BackpressureBound, NeverLetsItsQueuePassTheHardLimit) {
  Ring ring;
  BackpressureController bound(BackpressureConfig{}, ring.source());
  for (std::int64_t i = 0; i < 10'000; ++i) {
    if (bound.should_accept(3, ms(i)).refusal == Refusal::none) ++ring.cursors.published;
    if (i % 3 == 0 && ring.cursors.taken < ring.cursors.published) ++ring.cursors.taken;
    ASSERT_LE(ring.cursors.published - ring.cursors.taken, 200U);
  }
  EXPECT_GT(ring.cursors.published, 3'000U) << "and what is drained is filled again";
}

TEST(BackpressureBound, MeasuresWhatIsDrainedByTheCursors) {
  Ring ring;
  ring.cursors = {1'050, 1'000};
  BackpressureController bound(BackpressureConfig{}, ring.source());
  PressureActions actions;
  bound.tick(Nanos{0}, actions);
  ring.cursors = {1'090, 1'040};
  bound.tick(ms(100), actions);
  EXPECT_DOUBLE_EQ(bound.drain_rate_per_s(), 400) << "40 in 100 ms, not the thousand of before";
  ring.cursors = {1'140, 1'090};
  bound.tick(ms(200), actions);
  EXPECT_DOUBLE_EQ(bound.drain_rate_per_s(), 420);
}

TEST(BackpressureBound, IsBoundAnewWhenItIsRestored) {
  Ring ring;
  ring.cursors.published = 150;
  BackpressureController bound(BackpressureConfig{}, ring.source());
  bound.should_accept(3, Nanos{0});
  auto back = BackpressureController::restore({}, bound.snapshot());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->depth(), 150U);
  ring.cursors.published = 300;
  EXPECT_EQ(back->should_accept(3, Nanos{1}).refusal, Refusal::none) << "it sees nothing yet";
  back->bind(ring.source());
  EXPECT_EQ(back->should_accept(3, Nanos{2}).refusal, Refusal::rejected_pressure);
}

TEST(BackpressureBound, TakesCursorsThatGoBackAsAnotherQueues) {
  Ring ring;
  ring.cursors = {1'000, 900};
  BackpressureController bound(BackpressureConfig{}, ring.source());
  PressureActions actions;
  bound.tick(Nanos{0}, actions);
  ring.cursors = {30, 5};
  bound.tick(ms(100), actions);
  EXPECT_EQ(bound.depth(), 25U);
  EXPECT_DOUBLE_EQ(bound.drain_rate_per_s(), 0);
  ring.cursors = {5, 30};  // that cannot be: nothing stands there
  bound.tick(ms(200), actions);
  EXPECT_EQ(bound.depth(), 0U);
  EXPECT_TRUE(bound.verify());
}

// --- credit by priority ------------------------------------------------------------------------

TEST(BackpressureCredit, RefusesAPriorityThatThereIsNot) {
  BackpressureController controller{BackpressureConfig{}};
  testing::expect_refused<BackpressureController>(controller, {"priority 4", WantCredit{1, 5, 4}});
}

TEST(BackpressureCredit, IsForThoseWhomItWouldNotShed) {
  BackpressureController controller{BackpressureConfig{}};
  controller.apply(pressure::Observe{100, 0}, Nanos{0});
  controller.apply(pressure::Observe{110, 0}, Nanos{0});  // pressure .5
  for (const std::uint32_t priority : {0U, 1U}) {
    const auto refused = controller.apply(WantCredit{1, 5, priority}, Nanos{0});
    EXPECT_EQ(refused.refusal, Refusal::rejected_pressure) << priority;
    EXPECT_EQ(refused.grant.granted, 0U);
    EXPECT_GT(refused.retry_after.count(), 0);
  }
  EXPECT_EQ(controller.apply(WantCredit{1, 5, 2}, Nanos{0}).grant.granted, 2U)
      << "a quarter of the burst of 10";
  controller.apply(pressure::Observe{30, 0}, Nanos{1});  // pressure .056
  EXPECT_EQ(controller.apply(WantCredit{2, 5, 0}, Nanos{1}).refusal, Refusal::rejected_pressure)
      << "the background goes first";
  EXPECT_EQ(controller.apply(WantCredit{2, 5, 1}, Nanos{1}).grant.granted, 2U);
}

TEST(BackpressureCredit, IsNotNeededForWhatIsCriticalNorWhileAccepting) {
  BackpressureController controller{BackpressureConfig{}};
  const auto calm = controller.apply(WantCredit{1, 5, 0}, Nanos{0});
  EXPECT_EQ(calm.refusal, Refusal::none);
  EXPECT_EQ(calm.grant.granted, 0U);
  controller.apply(pressure::Observe{199, 0}, Nanos{0});
  const auto critical = controller.apply(WantCredit{1, 5, 3}, Nanos{0});
  EXPECT_EQ(critical.refusal, Refusal::none);
  EXPECT_EQ(critical.grant.granted, 0U) << "its bucket's units are the others'";
  EXPECT_EQ(controller.audit().granted, 0U);
  controller.apply(pressure::Observe{200, 0}, Nanos{0});
  EXPECT_EQ(controller.apply(WantCredit{1, 5, 3}, Nanos{0}).refusal, Refusal::rejected_pressure)
      << "blocked is blocked";
}

TEST(BackpressureCredit, IsRefusedByPressureFurtherOnToo) {
  BackpressureController controller{BackpressureConfig{}};
  controller.apply(pressure::Observe{100, 0}, Nanos{0});
  controller.apply(pressure::Observe{30, 0}, Nanos{0});
  controller.apply(pressure::HearDownstream{0, 300'000}, Nanos{0});
  EXPECT_EQ(controller.apply(WantCredit{1, 1, 1}, Nanos{0}).refusal, Refusal::rejected_pressure);
  EXPECT_EQ(controller.apply(WantCredit{1, 1, 2}, Nanos{0}).grant.granted, 1U);
}

}  // namespace of_backpressure_rules_test
}  // namespace mesh::coordination
