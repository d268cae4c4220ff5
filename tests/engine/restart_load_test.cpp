// Engines killed under load: what was committed arrives, once, in order, and nobody is lost.
#include <chrono>
#include <random>

#include "shm/base/point.hpp"
#include "tests/engine/station_ring.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::testing {
namespace of_restart_load_test {

class RestartUnderLoad : public ::testing::TestWithParam<std::size_t> {};

INSTANTIATE_TEST_SUITE_P(Stations, RestartUnderLoad, ::testing::Values(1, 4),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_P(RestartUnderLoad, LosesNothingThatWasCommittedAndKeepsItsOrder) {
  Ring ring(GetParam());
  auto engine = std::make_unique<EngineProcess>(ring.options());
  ASSERT_EQ(engine->hear(), "up");
  ASSERT_NO_FATAL_FAILURE(ring.begin());
  std::mt19937_64 random(seed());
  std::vector<double> back_ms;
  for (Repeats kills(10); kills.next();) {
    SCOPED_TRACE(kills.count());
    ASSERT_TRUE(ring.goes_on(1 + random() % 2'000));
    engine->kill();
    const auto killed_at = std::chrono::steady_clock::now();
    engine = std::make_unique<EngineProcess>(ring.options());
    ASSERT_EQ(engine->hear(), "up");
    // What was in inboxes goes on without an engine: back is who has heard of the new one.
    const std::uint64_t returns = kills.count() * GetParam();
    ASSERT_TRUE(eventually([&] { return ring.sum(&Told::reattached) >= returns; }));
    ASSERT_TRUE(ring.goes_on(1));
    back_ms.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - killed_at)
            .count());
  }
  ring.settle(*engine);
  std::sort(back_ms.begin(), back_ms.end());
  std::printf(
      "%zu stations, %zu kills: %llu messages, %llu duplicates dropped, service back after %.0f ms "
      "(median), %.0f ms (most)\n",
      GetParam(), back_ms.size(), static_cast<unsigned long long>(ring.sum(&Told::committed)),
      static_cast<unsigned long long>(ring.sum(&Told::dropped)), back_ms[back_ms.size() / 2],
      back_ms.back());
}

TEST(RestartUnderLoadAtPoints, LosesNothingWhereverTheEngineDies) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  Ring ring(2);
  {
    EngineProcess first(ring.options());
    ASSERT_EQ(first.hear(), "up");
    ASSERT_NO_FATAL_FAILURE(ring.begin());
    ASSERT_TRUE(ring.goes_on(100));
    first.kill();
  }
  for (const char* const point :
       {"loop.tick:after_intake", "loop.tick:after_dispatch", "loop.tick:before_reveal",
        "loop.tick:after_reveal", "loop.tick:after_settle", "loop.settle:before_taken",
        "unanswered.accept:before_state", "unanswered.deliver:before_state",
        "payload.commit:before_entry", "payload.commit:before_head", "payload.commit:after_head",
        "payload.entry:before_stamp", "payload.advance_tail:before_tail",
        "payload.advance_tail:after_tail", "spsc.reveal:before_stamp", "spsc.reveal:after_stamp",
        "spsc.take_over:before_wipe", "clock.publish:odd", "clock.publish:before_even"}) {
    for (const unsigned count : {1U, 2U, 50U}) {
      if (count == 50 && std::string_view(point).substr(0, 4) != "loop") continue;
      SCOPED_TRACE(::testing::Message() << point << " " << count);
      const EngineProcess dying(ring.options(), [point, count] {
        points::arm(
            point, count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      });
      ASSERT_TRUE(dying.dies()) << "the point was not reached";
    }
  }
  EngineProcess last(ring.options());
  ASSERT_EQ(last.hear(), "up");
  ASSERT_TRUE(ring.goes_on(1'000));
  ring.settle(last);
}

}  // namespace of_restart_load_test
}  // namespace mesh::testing
