// EventQueue against a list that is sorted.
#include "engine/simulation/event_queue.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "shm/base/nanos.hpp"

namespace mesh::engine::simulation {
namespace of_event_queue_test {

TEST(EventQueue, HasNothingWhenItIsEmpty) {
  EventQueue queue;
  EXPECT_EQ(queue.next_at(), EventQueue::kNever);
  queue.push({.at = 5});
  EXPECT_EQ(queue.next_at(), 5);
  EXPECT_EQ(queue.pop().at, 5);
  EXPECT_EQ(queue.next_at(), EventQueue::kNever);
}

// Near, within the ring, at its end, far beyond; while time goes on, also between two pops.
TEST(EventQueue, GivesEventsByTimeAndThenByTheOrderOfAsking) {
  EXPECT_TRUE(rc::check([] {
    EventQueue queue;
    struct Asked {
      std::int64_t at;
      std::uint32_t number;
    };
    std::vector<Asked> model;
    std::int64_t now = 0;
    std::uint32_t number = 0;
    const auto turns = *rc::gen::inRange(1, 300);
    for (int turn = 0; turn < turns; ++turn) {
      if (*rc::gen::inRange(0, 3) != 0 || model.empty()) {
        const std::int64_t unit = *rc::gen::element<std::int64_t>(
            0, 1, 1'000, kNsPerMs, kNsPerSecond, 8'589'934'592, 60 * kNsPerSecond);
        const std::int64_t at = now + unit * *rc::gen::inRange(0, 4);
        queue.push({.at = at, .a = ++number});
        model.push_back({at, number});
      } else {
        const auto first =
            std::min_element(model.begin(), model.end(), [](const Asked& a, const Asked& b) {
              return a.at != b.at ? a.at < b.at : a.number < b.number;
            });
        RC_ASSERT(queue.next_at() == first->at);
        RC_ASSERT(queue.pop().a == first->number);
        now = first->at;
        model.erase(first);
      }
    }
  }));
}

}  // namespace of_event_queue_test
}  // namespace mesh::engine::simulation
