// A real SIGKILL of the process that owns a durable service, at every step of its commits and of
// its journal's transactions. What was answered is there and is answered the same; what was not is
// wholly there or wholly absent.
#include "tests/engine/coordination/outbox_kit.hpp"
#include "tests/engine/coordination/queue_kit.hpp"
#include "tests/engine/store/journal_disk.hpp"

namespace mesh::coordination {
namespace of_sqlite_journal_crash_test {

using testing::CrashSweep;
using testing::eventful_outbox;
using testing::outbox_trace;
using testing::queue_trace;
using testing::small_queue;
using testing::SqliteDisk;

// Each command has seven steps: before_journal, journaled, the transaction's three, synced,
// applied.
TEST(SqliteJournalCrash, AQueueKilledAtEachStepAnswersWhatItHadAnsweredAndLosesNothing) {
  CrashSweep<ExactlyOnceQueue, SqliteDisk> sweep(small_queue(), queue_trace(small_queue(), 16, 5));
  EXPECT_GT(sweep.run(5), 16U * 7);
}

TEST(SqliteJournalCrash, AnOutboxKilledAtEachStepAnswersWhatItHadAnsweredAndLosesNothing) {
  CrashSweep<Outbox, SqliteDisk> sweep(eventful_outbox(), outbox_trace(14, 5));
  sweep.with_ticks();
  EXPECT_GT(sweep.run(3), 14U * 2 * 7);
}

}  // namespace of_sqlite_journal_crash_test
}  // namespace mesh::coordination
