// The power goes at any write of a life: between the sectors of one, before or after a sync, in the
// middle of moving SQLite's log into its file. What was answered is there, the rest wholly or not.
#include "tests/engine/coordination/outbox_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"
#include "tests/engine/store/journal_disk.hpp"
#include "tests/engine/store/power_cut.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::coordination {
namespace of_sqlite_journal_power_test {

using testing::CrashSweep;

template <DurableService Service>
void cut_at_random(CrashSweep<Service>& sweep, std::uint64_t usual) {
  const mesh::testing::ScratchDirectory folder;
  std::vector<std::size_t> answered_at;
  mesh::testing::PowerCut power;
  auto journal =
      engine::SqliteJournal::open({.where = folder.file("journal.db"), .service = "test"}).value();
  power.stop();
  sweep.prepare();
  sweep.live(*journal, {}, [&] { answered_at.push_back(power.count()); });
  ASSERT_FALSE(::testing::Test::HasFailure());
  const std::size_t end = power.count();
  Rng rng(mesh::testing::seed());
  for (mesh::testing::Repeats cuts(usual); cuts.next();) {
    const std::size_t cut = 1 + rng.below(end);
    const std::uint64_t kept_percent = rng.below(101);
    SCOPED_TRACE("cut after write " + std::to_string(cut) + " of " + std::to_string(end) + ", " +
                 std::to_string(kept_percent) + " % of what was not synced kept, seed " +
                 std::to_string(mesh::testing::seed()));
    const mesh::testing::ScratchDirectory left;
    power.leave(cut, left.path(), rng, kept_percent);
    const auto answered = static_cast<std::size_t>(
        std::upper_bound(answered_at.begin(), answered_at.end(), cut) - answered_at.begin());
    auto found = engine::SqliteJournal::open({.where = left.file("journal.db"), .service = "test"});
    ASSERT_TRUE(found) << found.error().sentence;
    sweep.resume(**found, answered);
    ASSERT_FALSE(::testing::Test::HasFailure());
  }
}

// A life long enough that SQLite moves its log into its file several times.
TEST(SqliteJournalPower, AQueueLosesNothingThatItHadAnswered) {
  CrashSweep<ExactlyOnceQueue> sweep(testing::small_queue(),
                                     testing::queue_trace(testing::small_queue(), 120, 5));
  cut_at_random(sweep, 200);
}

TEST(SqliteJournalPower, AnOutboxLosesNothingThatItHadAnswered) {
  CrashSweep<Outbox> sweep(testing::eventful_outbox(), testing::outbox_trace(60, 5));
  sweep.with_ticks();
  cut_at_random(sweep, 200);
}

}  // namespace of_sqlite_journal_power_test
}  // namespace mesh::coordination
