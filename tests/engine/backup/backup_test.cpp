// Backups: there whole or not at all, and nothing that was changed passes for one.
#include <atomic>
#include <thread>

#include <fcntl.h>
#include <rapidcheck.h>
#include <sys/file.h>

#include "engine/backup/backup_schedule.hpp"
#include "engine/backup/backup_status.hpp"
#include "shm/base/point.hpp"
#include "shm/descriptor.hpp"
#include "tests/engine/backup/backup_fixture.hpp"
#include "tests/shm/processes.hpp"

namespace mesh::testing {
namespace of_backup_test {

using engine::BackupSchedule;
using engine::BackupStatus;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

#if defined(MESH_FAULTS)
constexpr bool kHasPoints = true;
#else
constexpr bool kHasPoints = false;
#endif

// Refusals first.

TEST(Backup, RefusesNoDirectoryAndOneWithoutAParent) {
  BackedUp mesh;
  auto request = mesh.request();
  request.directory.clear();
  EXPECT_EQ(engine::take_backup(request).error().code, Errc::bad_input);
  request.directory = mesh.folder.file("no/such/place");
  EXPECT_EQ(engine::take_backup(request).error().code, Errc::not_found);
}

TEST(Backup, RefusesASecondOneInTheSameDirectoryMeanwhile) {
  BackedUp mesh;
  mesh.make();
  const shm::Descriptor lock(::open((mesh.directory + "/.lock").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(engine::take_backup(mesh.request()).error().code, Errc::busy);
  EXPECT_EQ(mesh.names().size(), 1U);
}

TEST(Backup, OfAStoreThatIsNoneThereIsNoneAndNothingIsLeftOfIt) {
  BackedUp mesh;
  const BackupInfo before = mesh.make();
  std::ofstream(mesh.store, std::ios::trunc) << "this is no database, and never was one";
  std::filesystem::remove(mesh.store + "-wal");
  const auto refused = engine::take_backup(mesh.request());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::corrupt);
  EXPECT_EQ(mesh.names().size(), 1U);
  EXPECT_TRUE(engine::check_backup(before.path).has_value());
  auto request = mesh.request();
  request.store = mesh.folder.file("nowhere.db");
  EXPECT_EQ(engine::take_backup(request).error().code, Errc::not_found);
  EXPECT_EQ(mesh.names().size(), 1U);
}

// A store whose chain was edited below the database copies well, and is no good backup.
TEST(Backup, OfAStoreWhoseChainIsBrokenThereIsNone) {
  const SqliteBackend backend;
  {
    const auto opened = engine::open_store({.where = backend.where()});
    ASSERT_TRUE((*opened)->append(conflicts(1, 20)).has_value());
  }
  ASSERT_TRUE(backend.sql("DROP TRIGGER records_no_update"));
  ASSERT_TRUE(backend.sql("UPDATE records SET expected = x'00' WHERE position = 7"));
  BackedUp mesh;
  auto request = mesh.request();
  request.store = backend.where();
  const auto refused = engine::take_backup(request);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::verification_failed);
  EXPECT_THAT(refused.error().sentence, HasSubstr("record 7"));
  EXPECT_THAT(mesh.names(), IsEmpty());
}

TEST(Backup, ThatIsToBeStoppedIsGivenUp) {
  BackedUp mesh(2'000);
  auto request = mesh.request();
  int asked = 0;
  request.keep_going = [&] { return ++asked < 3; };
  EXPECT_EQ(engine::take_backup(request).error().code, Errc::cancelled);
  EXPECT_THAT(mesh.names(), IsEmpty());
}

TEST(Backup, HoldsTheStoreAndTheTablesAndSaysHowMuch) {
  BackedUp mesh;
  const BackupInfo made = mesh.make();
  EXPECT_EQ(made.path, mesh.directory + "/mesh-20270115T080000.000Z");
  const auto checked = engine::check_backup(made.path);
  ASSERT_TRUE(checked.has_value()) << checked.error().sentence;
  EXPECT_EQ(checked->agents, 3U);
  EXPECT_EQ(checked->rules, 1U);
  ASSERT_TRUE(checked->store.has_value());
  EXPECT_EQ(checked->store->content.records, 40U);
  EXPECT_EQ(checked->store->content.head.position, 40U);
  EXPECT_EQ(checked->size_bytes(), made.size_bytes());
  const auto text = content_of(made.path + "/tables.snapshot");
  EXPECT_EQ(engine::read_tables(text)->agents, some_tables().agents);
}

TEST(Backup, OfAMeshWithoutAStoreHoldsItsTablesAlone) {
  BackedUp mesh;
  auto request = mesh.request();
  request.store.clear();
  const auto made = engine::take_backup(request);
  ASSERT_TRUE(made.has_value());
  EXPECT_FALSE(engine::check_backup(made->path)->store.has_value());
}

TEST(Backup, KeepsAsManyAsItIsToldTheNewest) {
  BackedUp mesh;
  std::vector<std::string> made;
  for (int i = 0; i < 5; ++i) made.push_back(mesh.make().path);
  const std::vector<std::string> left = engine::backups_in(mesh.directory);
  ASSERT_EQ(left.size(), 3U);
  EXPECT_EQ(left[0], made[4]);
  EXPECT_EQ(left[2], made[2]);
  auto request = mesh.request();
  request.keep = 0;
  ASSERT_TRUE(engine::take_backup(request).has_value());
  EXPECT_EQ(engine::backups_in(mesh.directory).size(), 4U) << "0: none goes";
}

// Whoever writes meanwhile waits for nobody, and each copy is the store of one moment.
TEST(Backup, OfAStoreThatIsWrittenMeanwhileIsTheStoreOfOneMoment) {
  BackedUp mesh(500);
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> appended{0};
  std::thread writer([&] {
    while (!over.load(std::memory_order_relaxed)) {  // relaxed: the join orders what follows
      mesh.add(10);
      appended.fetch_add(10, std::memory_order_relaxed);  // relaxed: a count that stands alone
    }
  });
  std::vector<engine::ChainHead> heads;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = appended.load(std::memory_order_relaxed);  // relaxed: as above
    heads.push_back(mesh.make().store->content.head);
    while (appended.load(std::memory_order_relaxed) == before) sched_yield();  // relaxed: as above
  }
  over.store(true, std::memory_order_relaxed);  // relaxed: as above
  writer.join();
  const auto store = engine::open_store({.where = mesh.store});
  for (const engine::ChainHead& head : heads) {
    const auto seen = (*store)->verify(head);
    EXPECT_TRUE(seen->whole) << seen->sentence;
  }
  EXPECT_LT(heads.front().position, heads.back().position);
}

// Any byte of any file of it: what was changed is found.
TEST(Backup, WithOneByteChangedIsNone) {
  BackedUp mesh(10);
  const BackupInfo made = mesh.make();
  std::vector<std::string> files = {made.path + "/backup.json"};
  for (const auto& file : made.files) files.push_back(made.path + "/" + file.name);
  ASSERT_EQ(files.size(), 3U);
  EXPECT_TRUE(rc::check([&](std::uint32_t where, std::uint8_t flip) {
    for (const std::string& path : files) {
      const std::string whole = content_of(path);
      std::string changed = whole;
      const std::size_t at = where * 2'654'435'761U % changed.size();
      changed[at] = static_cast<char>(changed[at] ^ (flip | 1));
      std::ofstream(path, std::ios::binary | std::ios::trunc) << changed;
      const bool is_taken = engine::check_backup(made.path).has_value();
      std::ofstream(path, std::ios::binary | std::ios::trunc) << whole;
      RC_ASSERT(!is_taken);
    }
  }));
  EXPECT_TRUE(engine::check_backup(made.path).has_value()) << "and whole again it is one";
}

TEST(Backup, CutShortOrWithAFileGoneIsNone) {
  BackedUp mesh;
  const BackupInfo made = mesh.make();
  const std::string store = made.path + "/store.sqlite";
  std::filesystem::resize_file(store, std::filesystem::file_size(store) / 2);
  EXPECT_EQ(engine::check_backup(made.path).error().code, Errc::verification_failed);
  std::filesystem::remove(store);
  EXPECT_EQ(engine::check_backup(made.path).error().code, Errc::not_found);
  EXPECT_EQ(engine::check_backup(mesh.folder.path()).error().code, Errc::not_found);
}

// A process that dies while it makes one: what was there before is whole, what it was making is no
// backup by its name, and the next one goes well and sweeps it.
void expect_sound_after_death(BackedUp& mesh, const std::string& before, const std::string& where) {
  EXPECT_TRUE(engine::check_backup(before).has_value()) << where;
  for (const std::string& path : engine::backups_in(mesh.directory)) {
    const auto checked = engine::check_backup(path);
    EXPECT_TRUE(checked.has_value()) << where << ": " << path;
  }
  const auto next = engine::take_backup(mesh.request());
  ASSERT_TRUE(next.has_value()) << where << ": " << next.error().sentence;
  EXPECT_TRUE(engine::check_backup(next->path).has_value()) << where;
  for (const std::string& name : mesh.names())
    EXPECT_TRUE(name.ends_with("Z")) << where << ": " << name << " is left";
}

TEST(BackupCrash, KilledInTheMiddleOfACopyTheOneBeforeIsWholeAndTheNextGoesWell) {
  BackedUp mesh(2'000);
  for (int at = 1; at <= 3; ++at) {
    const std::string before = mesh.make().path;
    auto request = mesh.request();
    int asked = 0;
    request.keep_going = [&] {
      if (++asked == at) ::kill(::getpid(), SIGKILL);
      return true;
    };
    const int status =
        status_of_child([&] { return engine::take_backup(request).has_value() ? 0 : 1; });
    ASSERT_TRUE(WIFSIGNALED(status)) << "the copy had no step " << at;
    expect_sound_after_death(mesh, before, "killed at step " + std::to_string(at));
  }
}

TEST(BackupCrash, KilledAtEachPointTheOneBeforeIsWholeAndTheNextGoesWell) {
  if (!kHasPoints) GTEST_SKIP() << "built without MESH_FAULTS: ./dev asan has it";
  for (const char* const point :
       {"backup.fill:after_tables", "backup.fill:after_store", "backup.make:before_manifest",
        "backup.take:before_rename", "backup.take:after_rename", "backup.prune:after_rename"}) {
    BackedUp mesh;
    for (int i = 0; i < 3; ++i) mesh.make();  // as many as are kept: the next one prunes
    const std::string before = mesh.make().path;
    const int status = status_of_child([&] {
      points::arm(
          point, 1, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
      return engine::take_backup(mesh.request()).has_value() ? 0 : 1;
    });
    ASSERT_TRUE(WIFSIGNALED(status)) << point << " was not reached";
    expect_sound_after_death(mesh, before, point);
  }
}

// When the next one is due.

TEST(BackupSchedule, IsOffWithoutAPeriodAndAtOnceWithoutAnyBackup) {
  EXPECT_FALSE(BackupSchedule(Nanos{0}, Nanos{0}, std::nullopt).is_due(Nanos{INT64_MAX}));
  EXPECT_TRUE(BackupSchedule(Nanos{100}, Nanos{5}, std::nullopt).is_due(Nanos{5}));
}

TEST(BackupSchedule, GoesOnFromTheAgeOfTheLastAndTriesAFailedOneAgainWithinAMinute) {
  constexpr Nanos kHour{3'600 * kNsPerSecond};
  constexpr Nanos kMinute{60 * kNsPerSecond};
  BackupSchedule schedule(kHour, Nanos{0}, kMinute);
  EXPECT_FALSE(schedule.is_due(kHour - kMinute - Nanos{1}));
  EXPECT_TRUE(schedule.is_due(kHour - kMinute));
  schedule.ended(kHour, true);
  EXPECT_EQ(schedule.due(), 2 * kHour);
  schedule.ended(2 * kHour, false);
  EXPECT_EQ(schedule.due(), 2 * kHour + kMinute);
  BackupSchedule old(kHour, Nanos{0}, 3 * kHour);
  EXPECT_TRUE(old.is_due(Nanos{0})) << "overdue";
}

TEST(BackupStatus, StandsInItsFileAsItWasWritten) {
  const ScratchDirectory folder;
  EXPECT_EQ(engine::read_status(folder.path()).error().code, Errc::not_found);
  std::ofstream(folder.file("backup.status")) << "[]\n";
  EXPECT_EQ(engine::read_status(folder.path()).error().code, Errc::verification_failed);
  const BackupStatus status{.directory = "/a/b",
                            .every = Nanos{7},
                            .tried_unix_ns = 3,
                            .is_good = false,
                            .error = "it \"broke\"\n",
                            .took = Nanos{9},
                            .good_unix_ns = 2,
                            .good_path = "/a/b/c",
                            .good_bytes = 11};
  ASSERT_TRUE(engine::write_status(folder.path(), status).has_value());
  EXPECT_EQ(*engine::read_status(folder.path()), status);
}

}  // namespace of_backup_test
}  // namespace mesh::testing
