// A real SIGKILL of the recording process at every step between a record and its durability. What
// was acknowledged is in the store once; of the rest, each record is there once and whole, or not.
#include <csignal>
#include <functional>
#include <random>
#include <set>

#include "tests/engine/store/recorder_fixture.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::engine {
namespace of_recorder_crash_test {

using testing::conflict;

constexpr std::uint64_t kRounds = 16;
constexpr std::uint64_t kEachRound = 7;
constexpr std::uint64_t kRecords = kRounds * kEachRound;

// Kills its process when a step is reached for the n-th time.
class Killer {
 public:
  Killer(std::string name, unsigned at_count) : name_(std::move(name)), at_count_(at_count) {}
  void reached(const std::string& name) {
    if (name == name_ && ++count_ == at_count_) ::kill(::getpid(), SIGKILL);
  }

 private:
  std::string name_;
  unsigned at_count_;
  unsigned count_ = 0;
};

std::string name_of(StoreStep step) {
  constexpr const char* kNames[] = {"store.in_transaction", "store.before_commit",
                                    "store.after_commit"};
  return kNames[static_cast<unsigned>(step)];
}
std::string name_of(SpillStep step) {
  constexpr const char* kNames[] = {"spill.half_written", "spill.before_sync", "spill.after_sync",
                                    "spill.before_clear"};
  return kNames[static_cast<unsigned>(step)];
}
std::string name_of(RecorderStep step) {
  constexpr const char* kNames[] = {"recorder.before_write", "recorder.before_acknowledge",
                                    "recorder.in_catch_up"};
  return kNames[static_cast<unsigned>(step)];
}

struct Trial {
  std::string folder;
  std::uint64_t down_until_round = 0;  // its store's folder is made then
};

RecorderOptions options_of(const Trial& run, Killer* killer) {
  RecorderOptions options;
  options.group_records_max = 20;
  options.queue_records = 256;
  options.spill = {.path = run.folder + "/spill", .size_bytes = 256U << 10};
  StoreOptions store{.where = run.folder + "/store/mesh.db"};
  if (killer != nullptr) {
    store.at_step = [killer](StoreStep step) { killer->reached(name_of(step)); };
    options.spill.at_step = [killer](SpillStep step) { killer->reached(name_of(step)); };
    options.at_step = [killer](RecorderStep step) { killer->reached(name_of(step)); };
  }
  options.open_store = [store] { return open_store(store); };
  return options;
}

// The victim. What was acknowledged is written to `acknowledged` at once.
int record_all(const Trial& run, Killer& killer, int acknowledged) {
  auto options = options_of(run, &killer);
  options.on_durable = [acknowledged](std::uint64_t ticket) {
    static_cast<void>(!::write(acknowledged, &ticket, sizeof ticket));
  };
  auto recorder = Recorder::create(std::move(options)).value();
  HostTime now = from_ns(kNsPerSecond);
  for (std::uint64_t round = 0; round < kRounds; ++round) {
    if (round == run.down_until_round) std::filesystem::create_directory(run.folder + "/store");
    for (std::uint64_t i = 0; i < kEachRound; ++i) {
      const std::uint64_t number = round * kEachRound + i + 1;
      static_cast<void>(recorder->offer({.record = conflict(number), .ticket = number}));
    }
    now += Nanos{2 * kNsPerSecond};
    recorder->turn(now);
  }
  for (int i = 0; i < 30; ++i) recorder->turn(now += Nanos{2 * kNsPerSecond});
  return 0;
}

struct Death {
  bool was_killed = false;
  std::set<std::uint64_t> acknowledged;
};
Death die(const Trial& run, Killer killer, unsigned kill_after_acknowledged = ~0U) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    ::_exit(record_all(run, killer, ends[1]));
  }
  ::close(ends[1]);
  Death death;
  std::uint64_t ticket = 0;
  while (::read(ends[0], &ticket, sizeof ticket) == sizeof ticket) {
    death.acknowledged.insert(ticket);
    if (death.acknowledged.size() == kill_after_acknowledged) ::kill(child, SIGKILL);
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  death.was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  return death;
}

// The next process on the same files: it catches up, and is offered all again when `again`.
void recover(const Trial& run, bool again) {
  std::filesystem::create_directory(run.folder + "/store");
  auto recorder = Recorder::create(options_of(run, nullptr));
  ASSERT_TRUE(recorder) << recorder.error().sentence;
  for (std::uint64_t number = 1; again && number <= kRecords; ++number)
    ASSERT_EQ((*recorder)->offer({.record = conflict(number)}), OfferStatus::kTaken);
  HostTime now = from_ns(kNsPerSecond);
  for (int i = 0; i < 40; ++i) (*recorder)->turn(now += Nanos{2 * kNsPerSecond});
  ASSERT_EQ((*recorder)->status().waiting, 0U) << (*recorder)->status().last_failure;
  ASSERT_EQ((*recorder)->unsettled(), 0U);
}

void check(const Trial& run, const std::set<std::uint64_t>& acknowledged) {
  recover(run, false);
  const auto records = testing::records_at(run.folder + "/store/mesh.db");  // verifies the chain
  std::set<std::uint64_t> there;
  for (const Record& record : records) {
    EXPECT_TRUE(there.insert(record.subject.low).second) << record.subject.low << " twice";
    EXPECT_EQ(record, conflict(record.subject.low)) << "not whole";
  }
  for (const std::uint64_t ticket : acknowledged)
    EXPECT_TRUE(there.contains(ticket)) << ticket << " was acknowledged and is lost";
  recover(run, true);  // whoever got no answer sends again
  EXPECT_EQ(testing::records_at(run.folder + "/store/mesh.db").size(), kRecords);
}

struct Place {
  const char* step;
  std::uint64_t down_until_round;  // 0: the store is up all the time
  std::vector<unsigned> counts;
};

class RecorderCrash : public ::testing::TestWithParam<Place> {};

TEST_P(RecorderCrash, KilledAtThisStepItLosesNothingAcknowledgedAndKeepsNothingTwice) {
  for (const unsigned at_count : GetParam().counts) {
    SCOPED_TRACE(at_count);
    const testing::ScratchDirectory folder;
    const Trial run{folder.path(), GetParam().down_until_round};
    const Death death = die(run, Killer(GetParam().step, at_count));
    ASSERT_TRUE(death.was_killed) << "the step was not reached " << at_count << " times";
    check(run, death.acknowledged);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Steps, RecorderCrash,
    ::testing::Values(
        Place{"recorder.before_write", 0, {1, 2, 16}}, Place{"store.in_transaction", 0, {1, 2, 16}},
        Place{"store.before_commit", 0, {1, 2, 16}}, Place{"store.after_commit", 0, {1, 2, 16}},
        Place{"recorder.before_acknowledge", 0, {1, 2, 16}},
        Place{"recorder.before_write", 6, {1, 4, 12}}, Place{"spill.half_written", 6, {1, 2, 5}},
        Place{"spill.before_sync", 6, {1, 2, 5}}, Place{"spill.after_sync", 6, {1, 2, 5}},
        Place{"recorder.before_acknowledge", 6, {1, 4, 12}},
        Place{"store.in_transaction", 6, {1, 2}}, Place{"store.before_commit", 6, {1, 2}},
        Place{"store.after_commit", 6, {1, 2}}, Place{"recorder.in_catch_up", 6, {1, 2}},
        Place{"spill.before_clear", 6, {1}}),
    [](const auto& its) {
      std::string name = its.param.step;
      std::replace(name.begin(), name.end(), '.', '_');
      return name + (its.param.down_until_round == 0 ? "" : "_after_an_outage");
    });

TEST(RecorderCrashAnywhere, KilledAtAnyMomentItLosesNothingAcknowledged) {
  std::mt19937_64 random(testing::seed());
  for (testing::Repeats kills(6); kills.next();) {
    const testing::ScratchDirectory folder;
    const Trial run{folder.path(), random() % kRounds};
    const auto after = static_cast<unsigned>(1 + random() % kRecords);
    const Death death = die(run, Killer("", 0), after);
    EXPECT_GE(death.acknowledged.size(), after);
    check(run, death.acknowledged);
    ASSERT_FALSE(HasFailure()) << "seed " << testing::seed() << ", run " << kills.count();
  }
}

// Killed again while it recovers, and again.
TEST(RecorderCrashAnywhere, KilledInEveryRecoveryItStillLosesNothing) {
  std::mt19937_64 random(testing::seed());
  const testing::ScratchDirectory folder;
  std::set<std::uint64_t> acknowledged;
  for (int i = 0; i < 6; ++i) {
    const Trial run{folder.path(), i < 3 ? kRounds + 1 : random() % kRounds};  // down at first
    const char* const steps[] = {"spill.half_written", "recorder.in_catch_up", "store.after_commit",
                                 "recorder.before_acknowledge"};
    const Death death =
        die(run, Killer(steps[random() % 4], static_cast<unsigned>(1 + random() % 3)));
    acknowledged.insert(death.acknowledged.begin(), death.acknowledged.end());
  }
  check({folder.path(), 0}, acknowledged);
}

}  // namespace of_recorder_crash_test
}  // namespace mesh::engine
