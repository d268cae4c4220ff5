#include <cstring>
#include <fstream>
#include <thread>

#include "engine/store/recorder_thread.hpp"
#include "tests/engine/store/recorder_fixture.hpp"

// Last: its BLOCK_SIZE is a name of moodycamel's.
#include <sys/mount.h>

namespace mesh::engine {
namespace of_recorder_test {

using testing::conflict;
using testing::conflicts;
using testing::RecorderTest;
using testing::tickets;

TEST_F(RecorderTest, RefusesToBeMadeWithoutAStoreOrASpillFile) {
  EXPECT_EQ(Recorder::create({}).error().code, Errc::invalid_argument);
  auto wrong = options();
  wrong.spill.path = folder_.file("none/spill");
  EXPECT_EQ(Recorder::create(std::move(wrong)).error().code, Errc::not_found);
}

TEST_F(RecorderTest, RefusesARecordThatNoStoreWouldTake) {
  start();
  Record record = conflict(1);
  record.subject = {};
  EXPECT_EQ(recorder_->offer({.record = record}), OfferStatus::kInvalid);
  EXPECT_EQ(recorder_->unsettled(), 0U);
}

TEST_F(RecorderTest, RefusesWhatDoesNotFitItsQueueAndCountsIt) {
  auto small = options();
  small.queue_records = 64;
  start(std::move(small));
  offer(1, 64);
  EXPECT_EQ(offer(65), OfferStatus::kFull);
  EXPECT_EQ(recorder_->status().refused, 1U);
  Offered refused{.record = conflict(65)};
  EXPECT_EQ(recorder_->offer(refused), OfferStatus::kFull);
  EXPECT_EQ(refused.record, conflict(65)) << "it is still its owner's";
  turn();
  EXPECT_EQ(offer(65), OfferStatus::kTaken);
  turn();
  EXPECT_EQ(stored(), conflicts(1, 65));
}

TEST_F(RecorderTest, MakesAllThatCameMeanwhileDurableWithOneCommit) {
  start();
  offer(1, 500);
  turn();
  EXPECT_EQ(recorder_->status().groups, 1U);
  EXPECT_EQ(durable_, tickets(1, 500));
  EXPECT_EQ(stored(), conflicts(1, 500));
}

TEST_F(RecorderTest, AcknowledgesNothingBeforeItIsCommitted) {
  auto watched = options();
  std::uint64_t in_store = 0;
  watched.at_step = [&](RecorderStep step) {
    EXPECT_TRUE(durable_.empty());
    if (step != RecorderStep::before_acknowledge) return;
    in_store = testing::records_at(where_).size();  // by another connection
  };
  start(std::move(watched));
  offer(1, 5);
  turn();
  EXPECT_EQ(in_store, 5U);
  EXPECT_EQ(durable_.size(), 5U);
}

TEST_F(RecorderTest, WhileTheStoreIsDownRecordsAreDurableInTheSpillFile) {
  is_down_ = true;
  start();
  offer(1, 10);
  turn();
  EXPECT_EQ(durable_, tickets(1, 10));
  EXPECT_EQ(recorder_->status().waiting, 10U);
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down}));
  recorder_.reset();  // and after a restart they are still there
  is_down_ = false;
  start();
  turn_until_done();
  EXPECT_EQ(stored(), conflicts(1, 10));
}

TEST_F(RecorderTest, CatchesUpInOrderAndNewRecordsGoBehindWhatWaits) {
  is_down_ = true;
  auto small = options();
  small.group_records_max = 10;
  start(std::move(small));
  offer(1, 35);
  while (turn()) {
  }
  is_down_ = false;
  std::uint64_t next = 36;
  turn(10'000);
  while (recorder_->status().waiting != 0) {
    if (next < 60) offer(next++, 1);
    turn();
  }
  offer(next, 5);
  turn_until_done();
  EXPECT_EQ(recorder_->status().spilled, next - 1);
  EXPECT_EQ(durable_, tickets(1, next + 4));
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down, RecorderAlarm::store_back}));
  EXPECT_EQ(recorder_->status().repeated, 0U);
  EXPECT_EQ(stored(), conflicts(1, next + 4));
}

TEST_F(RecorderTest, TriesAStoreThatIsDownAgainAfterTwiceAsLongEachTimeUpToTenSeconds) {
  is_down_ = true;
  start();
  for (int i = 0; i < 6'000; ++i) turn(10);
  std::vector<std::int64_t> waits_ms;
  for (std::size_t i = 1; i < opened_at_.size(); ++i)
    waits_ms.push_back((opened_at_[i] - opened_at_[i - 1]).count() / kNsPerMs);
  ASSERT_GE(waits_ms.size(), 9U);
  waits_ms.resize(9);
  EXPECT_EQ(waits_ms,
            (std::vector<std::int64_t>{100, 200, 400, 800, 1'600, 3'200, 6'400, 10'000, 10'000}));
  EXPECT_EQ(alarms_.size(), 1U) << "one alarm an outage";
}

TEST_F(RecorderTest, WithStoreAndSpillFileFullItRefusesAndLosesNothingThatItTook) {
  is_down_ = true;
  spill_bytes_ = kSpillBytesMin;
  auto small = options();
  small.queue_records = 128;
  small.group_records_max = 64;
  start(std::move(small));
  std::uint64_t taken = 0;
  while (offer(taken + 1) == OfferStatus::kTaken) {
    ++taken;
    turn();
  }
  EXPECT_GT(taken, 128U);
  EXPECT_LT(durable_.size(), taken);
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down, RecorderAlarm::spill_full}));
  EXPECT_GT(recorder_->status().refused, 0U);
  is_down_ = false;
  turn_until_done();
  EXPECT_EQ(durable_, tickets(1, taken));
  EXPECT_EQ(stored(), conflicts(1, taken));
}

TEST_F(RecorderTest, AFullStoreIsAStoreThatIsDownUntilThereIsRoom) {
  store_bytes_max_ = 256U << 10;
  start();
  for (std::uint64_t i = 0; i < 50; ++i) {
    offer(1 + 50 * i, 50);
    turn(1'000);
  }
  EXPECT_EQ(durable_, tickets(1, 2'500));
  EXPECT_GT(recorder_->status().waiting, 0U);
  EXPECT_GT(recorder_->status().stored, 0U);
  store_bytes_max_ = 0;
  turn_until_done();
  EXPECT_EQ(stored(), conflicts(1, 2'500));
}

// A real full disk. Needs the right to mount; the spill file stands elsewhere, as it should.
TEST_F(RecorderTest, ADiskThatFillsUpLosesNothing) {
  testing::ScratchDirectory disk;
  if (::mount("none", disk.path().c_str(), "tmpfs", 0, "size=512k") != 0)
    GTEST_SKIP() << "tmpfs cannot be mounted here: " << std::strerror(errno);
  where_ = disk.file("mesh.db");
  start();
  for (std::uint64_t i = 0; i < 60; ++i) {
    offer(1 + 50 * i, 50);
    turn(1'000);
  }
  EXPECT_EQ(durable_, tickets(1, 3'000));
  EXPECT_GT(recorder_->status().waiting, 0U);
  const std::string failure = recorder_->status().last_failure;
  EXPECT_EQ(::mount("none", disk.path().c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  turn_until_done();
  EXPECT_EQ(stored(), conflicts(1, 3'000)) << failure;
  EXPECT_EQ(::umount2(disk.path().c_str(), MNT_DETACH), 0);
}

// Its descriptor becomes one that can neither be written nor synced.
void break_descriptor(const std::string& path) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  int broken = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    if (std::filesystem::read_symlink(entry.path(), ignored) != path) continue;
    ASSERT_GE(::dup2(ends[0], std::stoi(entry.path().filename().string())), 0);
    ++broken;
  }
  ::close(ends[0]);
  ::close(ends[1]);
  ASSERT_EQ(broken, 1);
}

TEST_F(RecorderTest, ASpillFileThatCannotBeSyncedIsNeverTrustedAgainAndIsReplaced) {
  is_down_ = true;
  start();
  break_descriptor(options().spill.path);
  offer(1, 5);
  turn();
  turn();
  EXPECT_TRUE(durable_.empty()) << "acknowledged after a failed write";
  EXPECT_EQ(recorder_->status().in_memory, 5U);
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::store_down, RecorderAlarm::spill_full}));
  is_down_ = false;
  turn_until_done();
  EXPECT_EQ(durable_, tickets(1, 5));
  EXPECT_EQ(stored(), conflicts(1, 5));
}

TEST_F(RecorderTest, SaysThatItsSpillFileWasDamaged) {
  is_down_ = true;
  start();
  offer(1, 3);
  turn();
  recorder_.reset();
  {
    std::fstream file(options().spill.path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4'096 + 40);
    file.put('!');
  }
  alarms_.clear();
  is_down_ = false;
  start();
  EXPECT_EQ(alarms_, (std::vector{RecorderAlarm::spill_damaged}));
  turn_until_done();
  EXPECT_EQ(stored(), conflicts(2, 2));
}

TEST_F(RecorderTest, KeepsOnceWhatIsOfferedTwice) {
  start();
  offer(1, 10);
  offer(5, 10);
  turn_until_done();
  EXPECT_EQ(durable_.size(), 20U);
  EXPECT_EQ(recorder_->status().repeated, 6U);
  EXPECT_EQ(stored(), conflicts(1, 14));
}

TEST_F(RecorderTest, ItsThreadMakesEverythingOfFourThreadsDurableBeforeItStops) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kEach = 400;
  start();
  RecorderThread thread(*recorder_);
  thread.start();
  std::vector<std::thread> offering;
  for (std::uint64_t who = 0; who < kThreads; ++who) {
    offering.emplace_back([this, who] {
      for (std::uint64_t i = 1; i <= kEach; ++i)
        EXPECT_EQ(offer(who * 10'000 + i), OfferStatus::kTaken);
    });
  }
  for (auto& its : offering) its.join();
  EXPECT_EQ(thread.stop(), 0U);
  EXPECT_EQ(durable_.size(), kThreads * kEach);
  std::array<std::uint64_t, kThreads> last{};
  for (const std::uint64_t ticket : durable_) {
    EXPECT_GT(ticket % 10'000, last.at(ticket / 10'000)) << "out of the order of its thread";
    last.at(ticket / 10'000) = ticket % 10'000;
  }
  EXPECT_EQ(stored().size(), kThreads * kEach);
}

TEST_F(RecorderTest, ItsThreadSaysHowManyCouldNotBeKeptAnywhere) {
  is_down_ = true;
  spill_bytes_ = kSpillBytesMin;
  start();
  std::uint64_t taken = 0;
  while (taken < 1'000) offer(++taken, 1);
  RecorderThread thread(*recorder_);
  thread.start();
  const std::uint64_t left = thread.stop();
  EXPECT_EQ(durable_.size() + left, taken);
  EXPECT_GT(left, 0U);
}

}  // namespace of_recorder_test
}  // namespace mesh::engine
