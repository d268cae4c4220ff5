// Real deaths: fork, then SIGKILL, exit or SIGSEGV at every access of stage, reveal and
// reveal_checked, poll, park and take_over, in every geometry, from counters near every wrap.
// Survivors must find 0 lost, 0 torn, 0 phantom, 0 stuck.
#include <random>

#include "tests/queues/ring_fixture.hpp"
#include "tests/repeats.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_spsc_ring_crash_test {

using testing::Crash;
using testing::Death;
using testing::Host;
using testing::SharedRing;
using testing::write_batch;
using testing::write_batch_checked;

constexpr std::uint64_t kCapacity = 8;

struct Geometry {
  const char* name;
  std::uint64_t consumed;  // positions written and polled before
  std::uint64_t unread;    // written, not polled
  std::size_t batch;       // what the victim then publishes, twice
};
constexpr Geometry kGeometries[] = {
    {"index 0, empty", 0, 0, 2},
    {"index 0, filling all", 0, 0, 8},
    {"last slot", 7, 0, 1},
    {"wrap inside the batch", 6, 0, 4},
    {"empty in the middle", 3, 0, 3},
    {"one free", 2, 7, 1},
    {"full", 5, 8, 1},
    {"second lap, half full", 12, 4, 4},
};

std::uint64_t prepare(SharedRing& ring, std::uint64_t start, const Geometry& geometry) {
  ring.reset(start);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  for (std::uint64_t i = 0; i < geometry.consumed; ++i) {
    EXPECT_TRUE(write_batch(writer, 1));
    EXPECT_EQ(reader.poll(1, [](auto) {}), 1U);
  }
  if (geometry.unread != 0) {
    EXPECT_TRUE(write_batch(writer, geometry.unread));
  }
  return start + geometry.consumed;  // the reader's cursor
}

// Polls everything there is. Fails on a gap, a repeat or a torn record; returns the next position
// expected.
template <class Reader>
std::uint64_t drain(Reader& reader, std::uint64_t expected) {
  while (reader.poll(3, [&](auto view) {
    EXPECT_EQ(view.position(), expected);
    EXPECT_TRUE(testing::is_whole(view)) << "torn at " << view.position();
    ++expected;
  }) != 0) {
  }
  return expected;
}

// A new writer goes on for three laps in batches of 1, 2, 3 ...: no phantom, nothing stuck.
void three_laps(SharedRing& ring, std::uint64_t expected_head) {
  auto writer = ring.take_over();
  ASSERT_TRUE(writer) << writer.error().sentence;
  ASSERT_EQ(writer->head(), expected_head);
  auto reader = ring.attach().value();
  std::uint64_t expected = drain(reader, reader.cursor());
  ASSERT_EQ(expected, expected_head);
  for (std::size_t batch = 1; writer->head() - expected_head < 3 * kCapacity;
       batch = batch % kCapacity + 1) {
    ASSERT_TRUE(write_batch(*writer, batch));
    expected = drain(reader, expected);
    ASSERT_EQ(expected, writer->head()) << "a phantom or a stuck reader";
  }
}

struct Trial {
  std::uint64_t start;
  const Geometry& geometry;
  std::uint64_t site;
  Death death;
  bool drain_first;  // before the take-over, or only after
};

// The victim: publishes its batch twice, as far as there is room: to a reader that spins, and to
// one that is parked; where the batch is odd, the other way round.
void publish_twice(SharedRing& ring, const Trial& trial) {
  auto writer = ring.take_over<Crash>().value();
  Crash::Reader::say_parked(ring.page<Crash>());
  testing::crash_plan = {0, trial.site, trial.death, testing::crash_plan.names};
  for (std::uint64_t round = trial.geometry.batch % 2; round < 2 + trial.geometry.batch % 2;
       ++round) {
    bool is_parked = true;
    const bool is_written = round % 2 == 0
                                ? write_batch(writer, trial.geometry.batch)
                                : write_batch_checked(writer, trial.geometry.batch, is_parked);
    if (!is_written) break;
    if (!is_parked) ::_exit(1);  // who sleeps is to be signalled
    ring.report().committed = ring.report().committed + trial.geometry.batch;
  }
  ring.report().sites = testing::crash_plan.sites;
  testing::crash_plan.at = 0;
}

void check_publish_trial(SharedRing& ring, const Trial& trial) {
  SCOPED_TRACE(::testing::Message() << trial.geometry.name << ", start " << trial.start << ", site "
                                    << trial.site << ", death " << static_cast<int>(trial.death));
  const std::uint64_t cursor = prepare(ring, trial.start, trial.geometry);
  const std::uint64_t old_head = cursor + trial.geometry.unread;
  const int status = testing::status_of_child([&] { publish_twice(ring, trial); });
  ASSERT_TRUE(testing::died_as(status, trial.death));
  const std::uint64_t committed = ring.report().committed;
  std::uint64_t head = old_head;
  if (trial.drain_first) {
    auto reader = ring.attach().value();
    head = drain(reader, cursor);
  } else {
    head = ring.take_over().value().head();
  }
  // All that was committed is there, at most the one batch in flight besides, and only as a whole.
  ASSERT_GE(head - old_head, committed);
  ASSERT_LE(head - old_head, committed + trial.geometry.batch);
  ASSERT_EQ((head - old_head) % trial.geometry.batch, 0U);
  three_laps(ring, head);
}

class SpscRingCrash : public ::testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Starts, SpscRingCrash, ::testing::ValuesIn(testing::kStarts));

TEST_P(SpscRingCrash, AWriterKilledAtAnyAccessLosesNothingAndLeavesNothing) {
  SharedRing ring(kCapacity);
  for (const Geometry& geometry : kGeometries) {
    prepare(ring, GetParam(), geometry);
    testing::status_of_child([&] {
      publish_twice(ring, {GetParam(), geometry, 0, Death::kExit, true});
    });
    const std::uint64_t sites = ring.report().sites;
    ASSERT_GT(sites, 0U) << geometry.name;
    for (std::uint64_t site = 1; site <= sites; ++site)
      for (const Death death : {Death::kKill, Death::kExit, Death::kFault})
        for (const bool drain_first : {true, false}) {
          check_publish_trial(ring, {GetParam(), geometry, site, death, drain_first});
          if (HasFatalFailure()) return;
        }
  }
}

// A batch that was never revealed, as large as the ring has room for: what a take-over wipes.
void leave_dead_batch(SharedRing& ring, std::uint64_t start, const Geometry& geometry) {
  prepare(ring, start, geometry);
  auto writer = ring.take_over().value();
  ASSERT_TRUE(
      testing::stage_batch(writer, std::min<std::uint64_t>(kCapacity - geometry.unread, 5)));
}

TEST_P(SpscRingCrash, AWriterKilledWhileTakingOverCanBeTakenOverAgain) {
  SharedRing ring(kCapacity);
  for (const Geometry& geometry : kGeometries) {
    leave_dead_batch(ring, GetParam(), geometry);
    testing::status_of_child([&] {
      testing::crash_plan = {};
      (void)ring.take_over<Crash>().value();
      ring.report().sites = testing::crash_plan.sites;
    });
    const std::uint64_t sites = ring.report().sites;
    ASSERT_GT(sites, kCapacity) << geometry.name;
    for (std::uint64_t site = 1; site <= sites; ++site) {
      SCOPED_TRACE(::testing::Message() << geometry.name << ", site " << site);
      leave_dead_batch(ring, GetParam(), geometry);
      const int status = testing::status_of_child([&] {
        testing::crash_plan = {0, site, Death::kKill, nullptr};
        (void)ring.take_over<Crash>();
      });
      ASSERT_TRUE(testing::died_as(status, Death::kKill));
      three_laps(ring, GetParam() + geometry.consumed + geometry.unread);
      if (HasFatalFailure()) return;
    }
  }
}

// The victim: polls all that there is in bursts of three, then goes to sleep and wakes.
void poll_and_park(SharedRing& ring, std::uint64_t site) {
  auto reader = ring.attach<Crash>().value();
  ring.report().seen_end = reader.cursor();
  testing::crash_plan = {0, site, Death::kKill, nullptr};
  while (reader.poll(3, [&](auto view) {
    if (!testing::is_whole(view)) ::_exit(1);
    ring.report().seen_end = view.position() + 1;
  }) != 0) {
  }
  if (!reader.prepare_to_park()) ::_exit(2);
  reader.unpark();
  ring.report().sites = testing::crash_plan.sites;
  testing::crash_plan.at = 0;
}

TEST_P(SpscRingCrash, AReaderKilledAtAnyAccessHandsItsBurstToTheNext) {
  SharedRing ring(kCapacity);
  for (const Geometry& geometry : kGeometries) {
    prepare(ring, GetParam(), geometry);
    ASSERT_EQ(testing::status_of_child([&] { poll_and_park(ring, 0); }), 0) << geometry.name;
    const std::uint64_t sites = ring.report().sites;
    ASSERT_GT(sites, geometry.unread * 8);
    for (std::uint64_t site = 1; site <= sites; ++site) {
      SCOPED_TRACE(::testing::Message() << geometry.name << ", site " << site);
      const std::uint64_t head = prepare(ring, GetParam(), geometry) + geometry.unread;
      const int status = testing::status_of_child([&] { poll_and_park(ring, site); });
      ASSERT_TRUE(testing::died_as(status, Death::kKill));
      // The writer may reuse what was freed, and nothing else.
      auto writer = ring.take_over().value();
      const std::uint64_t freed = writer.cursor();
      EXPECT_FALSE(before(ring.report().seen_end, freed))
          << "freed without having been handed over";
      EXPECT_LE(ring.report().seen_end - freed, 3U) << "more than a burst is seen again";
      ASSERT_EQ(writer.free_slots(), kCapacity - (head - freed));
      auto reader = ring.attach().value();
      EXPECT_EQ(drain(reader, freed), head) << "lost or stuck";
      three_laps(ring, head);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(SpscRingCrash, EveryNamedPointOfTheRingIsReached) {
  SharedRing ring(kCapacity);
  std::set<std::string> names;
  testing::crash_plan = {0, 0, Death::kKill, &names};
  auto writer = ring.take_over<Crash>().value();
  auto reader = ring.attach<Crash>().value();
  (void)reader.prepare_to_park();
  ASSERT_TRUE(write_batch(writer, 2));
  writer.stage(writer.claim(1).slots.size());
  writer.reveal();
  EXPECT_EQ(reader.poll(3, [](auto) {}), 3U);
  testing::crash_plan = {};
  EXPECT_EQ(names, (std::set<std::string>{"spsc.take_over:before_wipe", "spsc.stage:before_stamps",
                                          "spsc.fill:before_records", "spsc.reveal:before_stamp",
                                          "spsc.reveal:after_stamp", "spsc.poll:before_record",
                                          "spsc.poll:before_cursor", "spsc.poll:after_cursor",
                                          "spsc.park:before_check"}));
}

// Takes what comes until the reader has come to `last`.
template <class Reader>
void drain_to(Reader& reader, std::uint64_t expected, std::uint64_t last) {
  while (expected != last && !::testing::Test::HasFailure()) {
    const std::uint64_t now = drain(reader, expected);
    if (now == expected) ::sched_yield();
    expected = now;
  }
}

// Stopped, not dead: nothing partial is seen however long the reader looks, another ring goes round
// three times meanwhile, and when the writer goes on it finishes its batch and three laps more.
TEST_P(SpscRingCrash, AWriterStoppedForThreeLapsGoesOnAsIfNothingHappened) {
  SharedRing ring(kCapacity);
  SharedRing other(kCapacity);
  const std::uint64_t start = GetParam();
  const auto victim = [&](std::uint64_t site) {
    auto writer = ring.take_over<Crash>().value();
    testing::crash_plan = {0, site, Death::kStop, nullptr};
    write_batch(writer, 4);
    ring.report().sites = testing::crash_plan.sites;
    while (writer.head() - start < 4 + 3 * kCapacity)
      if (!write_batch(writer, 1 + writer.head() % 3)) ::sched_yield();
  };
  const auto run = [&](std::uint64_t site) {
    ring.reset(start);
    other.reset(start);
    auto reader = ring.attach().value();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      victim(site);
      ::_exit(0);
    }
    std::uint64_t expected = start;
    if (site != 0) {
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
      ASSERT_TRUE(WIFSTOPPED(status));
      for (std::uint64_t look = 0; look < 3 * kCapacity; ++look) expected = drain(reader, expected);
      EXPECT_TRUE(expected == start || expected == start + 4) << "half a batch is visible";
      three_laps(other, start);
      ::kill(child, SIGCONT);
    }
    // head when the victim ends: the first at or past 4 + 3 laps, in steps of 1 + head % 3
    std::uint64_t last = start + 4;
    while (last - start < 4 + 3 * kCapacity) last += 1 + last % 3;
    drain_to(reader, expected, last);
    int status = 0;
    if (::testing::Test::HasFailure()) ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  };
  run(0);
  const std::uint64_t sites = ring.report().sites;
  ASSERT_GT(sites, 30U);
  for (std::uint64_t site = 1; site <= sites && !HasFailure(); ++site) {
    SCOPED_TRACE(site);
    run(site);
  }
}

// Random moments: each victim is killed after the reader has taken a random number of its records.
TEST(SpscRingCrash, WritersKilledAtRandomMomentsUnderLoadLoseNothing) {
  std::mt19937_64 random(testing::seed());
  SharedRing ring(64, std::uint64_t{0} - 1000);
  auto reader = ring.attach().value();
  std::uint64_t expected = std::uint64_t{0} - 1000;
  for (testing::Repeats kills(1'000); kills.next();) {
    const std::uint64_t child_seed = random();
    ring.report().committed = 0;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      std::mt19937_64 own(child_seed);
      auto writer = ring.take_over();
      if (!writer) ::_exit(3);
      for (;;) {
        if (!write_batch(*writer, 1 + own() % 20)) ::sched_yield();
        ring.report().committed = writer->revealed();
      }
    }
    for (std::uint64_t wanted = random() % 500, taken = 0; taken <= wanted;) {
      const std::uint64_t now = drain(reader, expected);
      taken += now - expected;
      if (now == expected) ::sched_yield();
      expected = now;
      if (::testing::Test::HasFailure()) break;
    }
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    expected = drain(reader, expected);
    EXPECT_FALSE(before(expected, ring.report().committed)) << "lost";
    ASSERT_FALSE(::testing::Test::HasFailure()) << "kill " << kills.count();
  }
}

}  // namespace of_spsc_ring_crash_test
}  // namespace mesh::queues
