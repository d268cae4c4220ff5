// Real deaths: fork, then SIGKILL, exit or SIGSEGV at every access of append, walk, advance_tail
// and take_over, in every geometry, from positions near every wrap. Survivors must find what was
// told whole, what was freed gone, nothing half-written, and a log that goes on.
#include <random>

#include "tests/queues/payload_log_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_payload_log_crash_test {

using testing::CrashLog;
using testing::Death;
using testing::HostLog;
using testing::SharedLog;
using testing::Told;

constexpr std::uint64_t kCapacity = 256;

struct Geometry {
  const char* name;
  std::vector<std::uint32_t> before;  // bodies that stand, after `freed` bytes were freed
  std::uint64_t freed;
  std::vector<std::uint32_t> victim;  // bodies that the victim appends
};
// The starts stand 64 bytes before the region's end (0: at its start).
const Geometry kGeometries[] = {
    {"empty", {}, 0, {16, 40}},
    {"ends exactly at the wrap", {}, 0, {48, 0}},
    {"wrap with a skip", {}, 0, {24, 33}},
    {"wrap with a skip of one header", {32}, 0, {1, 17}},
    {"skip after a free", {100, 100}, 128, {40, 64}},
    {"full", {112, 112}, 0, {112}},
    {"exactly full", {48, 112, 48}, 0, {48, 112}},
    {"freeing several for one", {16, 16, 16, 16}, 0, {112, 112}},
    {"a lap of empty bodies", {}, 0, {0, 0, 0, 0, 0}},
};

void prepare(SharedLog& log, std::uint64_t start, const Geometry& geometry) {
  log.reset(start);
  auto writer = log.take_over().value();
  for (const std::uint32_t length : geometry.before) log.append(writer, length);
  if (geometry.freed != 0) log.free(writer, log.report().told[1].position);
}

// What the victim told before it died reads whole, or is gone because it was freed.
void check_told(SharedLog& log, std::uint64_t tail) {
  const auto reader = log.attach().value();
  std::vector<std::byte> out(kCapacity);
  for (std::uint64_t i = 0; i < log.report().count; ++i) {
    const Told& told = log.report().told[i];
    const auto copied = reader.copy(told.position, out);
    if (before(told.position, tail)) {
      ASSERT_EQ(copied.status, BodyStatus::kGone) << i;
    } else {
      ASSERT_EQ(copied.status, BodyStatus::kRead) << i;
      ASSERT_EQ(copied.length, told.length);
      ASSERT_EQ(copied.kind, told.number);
      ASSERT_TRUE(testing::is_body(std::span(out).first(told.length), told.number)) << i;
    }
  }
}

void check_survivors(SharedLog& log) {
  auto writer = log.take_over();
  ASSERT_TRUE(writer) << writer.error().sentence;
  const std::uint64_t tail = writer->tail();
  ASSERT_TRUE(tail == log.report().freed || tail == log.report().freeing);
  const auto counts = log.attach().value().verify();
  ASSERT_TRUE(counts) << counts.error().sentence;
  // All that stands is whole, and at most the one in flight was not told.
  std::uint64_t numbers_end = 0;
  const auto walked = writer->walk(writer->head(), [&](const HostLog::Body& body) {
    EXPECT_TRUE(testing::is_body(body.bytes(), body.kind)) << "torn at " << body.position;
    numbers_end = std::uint64_t{body.kind} + 1;
  });
  ASSERT_EQ(walked.status, WalkStatus::kDone);
  ASSERT_EQ(walked.position, writer->head());
  ASSERT_LE(numbers_end, log.report().count + 1);
  check_told(log, tail);
  // A new writer goes on for three laps.
  const std::uint64_t head = writer->head();
  for (std::uint32_t length = 5; writer->head() - head < 3 * kCapacity;
       length = (length * 7 + 13) % 113) {
    log.append(*writer, length);
    check_told(log, writer->tail());
    if (::testing::Test::HasFatalFailure()) return;
  }
}

struct Trial {
  std::uint64_t start;
  const Geometry& geometry;
  std::uint64_t site;
  Death death;
};

void victim(SharedLog& log, const Trial& trial) {
  testing::crash_plan = {0, trial.site, trial.death, nullptr};
  auto writer = log.take_over<CrashLog>().value();
  for (const std::uint32_t length : trial.geometry.victim) log.append(writer, length);
  log.report().sites = testing::crash_plan.sites;
  testing::crash_plan.at = 0;
}

class PayloadLogCrash : public ::testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Starts, PayloadLogCrash, ::testing::ValuesIn(testing::kLogStarts));

TEST_P(PayloadLogCrash, AWriterKilledAtAnyAccessLosesNothingToldAndLeavesNothingHalf) {
  SharedLog log(kCapacity);
  for (const Geometry& geometry : kGeometries) {
    prepare(log, GetParam(), geometry);
    testing::status_of_child([&] { victim(log, {GetParam(), geometry, 0, Death::kExit}); });
    const std::uint64_t sites = log.report().sites;
    ASSERT_GT(sites, 10U) << geometry.name;
    for (std::uint64_t site = 1; site <= sites; ++site)
      for (const Death death : {Death::kKill, Death::kExit, Death::kFault}) {
        if (death != Death::kKill && GetParam() != testing::kLogStarts[1]) continue;
        SCOPED_TRACE(::testing::Message() << geometry.name << ", start " << GetParam() << ", site "
                                          << site << ", death " << static_cast<int>(death));
        prepare(log, GetParam(), geometry);
        const int status = testing::status_of_child([&] {
          victim(log, {GetParam(), geometry, site, death});
        });
        ASSERT_TRUE(testing::died_as(status, death));
        check_survivors(log);
        if (HasFatalFailure()) return;
      }
  }
}

TEST(PayloadLogCrash, EveryNamedPointOfTheLogIsReached) {
  SharedLog log(kCapacity, kCapacity - 16);
  std::set<std::string> names;
  testing::crash_plan = {0, 0, Death::kKill, &names};
  auto writer = log.take_over<CrashLog>().value();
  log.append(writer, 16);
  std::vector<std::byte> out(16);
  EXPECT_EQ(log.attach<CrashLog>().value().copy(kCapacity, out).status, BodyStatus::kRead);
  log.free(writer, writer.head());
  testing::crash_plan = {};
  EXPECT_EQ(names,
            (std::set<std::string>{"payload.reserve:after_skip", "payload.commit:before_entry",
                                   "payload.entry:before_stamp", "payload.commit:before_head",
                                   "payload.commit:after_head", "payload.advance_tail:before_tail",
                                   "payload.advance_tail:after_tail", "payload.view:before_tail",
                                   "payload.copy:before_tail"}));
}

// How the writer of another process tells its reader a position, and waits until it was read.
struct Telling {
  ShmWord<std::uint64_t> count;  // odd: told, not yet read
  Told told;
};

[[noreturn]] void write_for_ever(SharedLog& log, Telling& telling, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  auto writer = log.take_over();
  if (!writer) ::_exit(3);
  for (std::uint32_t number = 1;; ++number) {
    const auto body = testing::make_body(number, static_cast<std::uint32_t>(random() % 400));
    auto done = writer->append(body, number);
    if (done.status == AppendStatus::kFull) {
      const auto walked = writer->walk(writer->tail() + done.bytes_short, [](const auto&) {});
      if (!writer->advance_tail(walked.position)) ::_exit(4);
      done = writer->append(body, number);
    }
    if (done.status != AppendStatus::kOk) ::_exit(5);
    if (number % 16 != 1) continue;
    if (telling.count.load_acquire() % 2 == 1) {
      ::sched_yield();  // and then goes on: a slow reader is lapped
      continue;
    }
    telling.told = {done.position, static_cast<std::uint32_t>(body.size()), number};
    telling.count.store_release(telling.count.load_relaxed() + 1);
  }
}

// Reads what is told, `wanted` times, while the child lives.
void read_told(const HostLog::Reader& reader, Telling& telling, std::uint64_t wanted, pid_t child) {
  std::vector<std::byte> out(512);
  for (std::uint64_t taken = 0; taken <= wanted;) {
    if (telling.count.load_acquire() % 2 == 0) {
      ASSERT_EQ(::waitpid(child, nullptr, WNOHANG), 0) << "the writer has ended";
      ::sched_yield();
      continue;
    }
    const Told told = telling.told;
    const auto copied = reader.copy(told.position, out);
    if (copied.status != BodyStatus::kGone) {
      ASSERT_EQ(copied.status, BodyStatus::kRead);
      ASSERT_EQ(copied.length, told.length);
      ASSERT_TRUE(testing::is_body(std::span(out).first(copied.length), told.number));
    }
    telling.count.store_release(telling.count.load_relaxed() + 1);
    ++taken;
  }
}

// Random moments under load, while a reader of another process reads what it is told.
TEST(PayloadLogCrash, FiveHundredRandomKillsUnderLoad) {
  std::mt19937_64 random(testing::seed());
  SharedLog log(1024, std::uint64_t{0} - 64 * 1024);
  auto& telling = *reinterpret_cast<Telling*>(&log.report());
  const auto reader = log.attach().value();
  for (int kill = 0; kill < 500; ++kill) {
    SCOPED_TRACE(kill);
    const std::uint64_t seed = random();
    telling.count.store_relaxed(0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) write_for_ever(log, telling, seed);
    read_told(reader, telling, random() % 20, child);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (HasFatalFailure()) return;
    ASSERT_TRUE(WIFSIGNALED(status));
    const auto counts = reader.verify();
    ASSERT_TRUE(counts) << counts.error().sentence;
    auto writer = log.take_over().value();
    const auto walked = writer.walk(writer.head(), [](const HostLog::Body& body) {
      EXPECT_TRUE(testing::is_body(body.bytes(), body.kind));
    });
    ASSERT_EQ(walked.status, WalkStatus::kDone);
  }
}

}  // namespace of_payload_log_crash_test
}  // namespace mesh::queues
