// Each task ends once: one scheduler through one death after another at random steps; what was not
// synced survives in any part. `./dev stress` runs 10,000 deaths, the commit tier fewer.
#include "tests/engine/tasks/task_world.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::tasks {
namespace of_task_deaths_test {

using coordination::testing::Death;
using coordination::testing::Lives;
using testing::TaskWorld;

constexpr std::uint64_t kStepsMax = 60;  // a life has about a hundred

class InMemory {
 public:
  void live(TaskWorld& world, Rng& rng) {
    left_ = 1 + rng.below(kStepsMax);
    JournalOptions options;
    options.at_step = &InMemory::step;
    options.context = this;
    try {  // nothing dies between telling and hearing: the world needs no copy
      Lives<TaskWorld>::live(world, journal_, options, Rng(rng.next()),
                             [](std::span<const std::byte>) {});
    } catch (const Death&) {
      ++deaths_;
    }
    journal_.crash(rng.below(journal_.unsynced_bytes() + 1));
  }
  void live_on(TaskWorld& world, Rng& rng) {
    Lives<TaskWorld>::live(world, journal_, {}, Rng(rng.next()), [](std::span<const std::byte>) {});
  }
  Journal& journal() { return journal_; }
  [[nodiscard]] std::uint64_t deaths() const { return deaths_; }

 private:
  static void step(void* self, CommitStep) {
    if (--static_cast<InMemory*>(self)->left_ == 0) throw Death{};
  }

  MemoryJournal journal_;
  std::uint64_t left_ = 0;
  std::uint64_t deaths_ = 0;
};

void die_and_die_again(std::uint64_t usual) {
  TaskWorld world(mesh::testing::seed());
  InMemory place;
  Rng rng(mesh::testing::seed() + 1);
  std::uint64_t lives = 0;
  for (mesh::testing::Repeats deaths(usual); deaths.next();) {
    for (const std::uint64_t before = place.deaths(); place.deaths() == before; ++lives) {
      place.live(world, rng);
      ASSERT_FALSE(::testing::Test::HasFailure()) << "in life " << lives;
    }
  }
  world.drain();
  for (int left = 300;; --left) {
    ASSERT_GT(left, 0) << "it is never worked off";
    place.live_on(world, rng);
    ASSERT_FALSE(::testing::Test::HasFailure());
    auto service = JournaledService<TaskScheduler>::open(TaskWorld::config(), place.journal());
    ASSERT_TRUE(service) << service.error().sentence;
    if (service->service().open_count() != 0) continue;
    world.check(service->service());
    break;
  }
  EXPECT_GT(world.accepted(), usual / 10);
  EXPECT_GT(world.committed(), world.accepted() / 2);
}

TEST(TaskSchedulerDeaths, EachTaskIsCommittedOnceHoweverOftenTheSchedulerDies) {
  die_and_die_again(1'000);
}

}  // namespace of_task_deaths_test
}  // namespace mesh::tasks
