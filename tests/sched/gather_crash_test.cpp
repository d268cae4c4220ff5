// Real deaths: fork, then SIGKILL before every access of open, schedule, start, on_answer, end and
// adopt. Whoever adopts and does the same again must come to what no death would have come to.
#include <functional>

#include "tests/crash_memory.hpp"
#include "tests/sched/gather_fixture.hpp"

namespace mesh::sched {
namespace of_gather_crash_test {

using namespace testing;
using mesh::testing::crash_plan;
using mesh::testing::CrashMemory;
using mesh::testing::Death;
using CrashGather = Gather<CrashMemory>;

constexpr std::uint32_t kRows = 130;

std::vector<GatherAnswer> burst() {
  std::vector<GatherAnswer> answers;
  for (std::uint32_t row = 60; row < 70; ++row) {
    answers.push_back(row % 3 == 0 ? conflict(row, row * kNsPerMs) : ready(row, 2 * kNsPerMs));
  }
  answers.push_back(ready(129, -80 * kNsPerMs));
  answers.push_back(declined(3));
  answers.push_back(ready(60));     // a contradiction
  answers.push_back(ready(61));     // a duplicate
  answers.push_back(ready(kRows));  // no such row
  return answers;
}

// The words of scheduled (0), ready (1), conflict (2) or spent (3).
std::uint64_t* bitmap(Place& place, std::size_t which) {
  return reinterpret_cast<std::uint64_t*>(&place.words() + 1) + which * row_bitmap_words(kRows);
}

std::uint64_t count_sites(const std::function<void()>& work) {
  crash_plan = {};
  work();
  return crash_plan.sites;
}
void die_at(std::uint64_t site, const std::function<void()>& work) {
  const int status = status_of_child([&] {
    crash_plan = {0, site, Death::kKill, nullptr};
    work();
  });
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "site " << site;
}

// Every site but those inside the loops over 1,794 counters and eight words a bitmap, of which
// every 89th stands for the rest: a death between two rounds of a loop is as good as another.
std::uint64_t next_site(std::uint64_t site, std::uint64_t sites) {
  constexpr std::uint64_t kEnds = 150;
  return site + (site > kEnds && site + kEnds + 89 < sites ? 89 : 1);
}

// Runs `work` on `place` as it is now once for each site; after each death `check` is called.
template <class Work, class Check>
void at_every_site(Place& place, Work&& work, Check&& check) {
  const std::vector<std::byte> before = place.bytes().copy();
  const std::uint64_t sites = count_sites(work);
  ASSERT_GT(sites, 2U);
  for (std::uint64_t site = 1; site <= sites; site = next_site(site, sites)) {
    SCOPED_TRACE(::testing::Message() << "site " << site << " of " << sites);
    place.bytes().restore(before);
    ASSERT_NO_FATAL_FAILURE(die_at(site, work));
    check();
    if (::testing::Test::HasFailure()) return;
  }
}

// Its adoption is no part of the death that is planned.
CrashGather adopted(Place& place) {
  const std::uint64_t at = std::exchange(crash_plan.at, 0);
  auto gather = place.gather<CrashMemory>();
  if (!gather.adopt()) ::_exit(3);
  crash_plan.sites = 0;
  crash_plan.at = at;
  return gather;
}
Gather<HostMemory> successor_of(Place& place) {
  auto gather = place.gather();
  const Status status = gather.adopt();
  EXPECT_TRUE(status) << status.error().sentence;
  return gather;
}

TEST(GatherCrash, ABurstReadAgainAfterADeathAnywhereComesToTheSame) {
  const std::vector<GatherAnswer> answers = burst();
  Place whole(kRows), place(kRows);
  auto undisturbed = whole.started(kRows);
  for (const GatherAnswer& one : answers) undisturbed.on_answer(one, kNow);
  const Outcome want = outcome_of(undisturbed);
  place.started(kRows);
  at_every_site(
      place,
      [&] {
        auto gather = adopted(place);
        for (const GatherAnswer& one : answers) gather.on_answer(one, kNow);
      },
      [&] {
        auto gather = successor_of(place);
        for (const GatherAnswer& one : answers) gather.on_answer(one, kNow);
        EXPECT_EQ(outcome_of(gather), want);
        EXPECT_TRUE(gather.verify());
      });
}

// Dying again while taking back, and again while reading again.
TEST(GatherCrash, ASuccessorMayDieAnywhereToo) {
  const std::vector<GatherAnswer> answers = {ready(1, 5), conflict(2, 6)};
  Place whole(kRows), place(kRows);
  auto undisturbed = whole.started(kRows);
  for (const GatherAnswer& one : answers) undisturbed.on_answer(one, kNow);
  const Outcome want = outcome_of(undisturbed);
  const auto read_burst = [&] {
    auto gather = place.gather<CrashMemory>();
    if (!gather.adopt()) ::_exit(3);
    for (const GatherAnswer& one : answers) gather.on_answer(one, kNow);
  };
  {
    auto gather = place.started(kRows);
    gather.on_answer(answers[0], kNow);
    gather.on_answer(answers[1], kNow);
    bitmap(place, 2)[0] = 0;  // half an arrival: the second is counted, and its bit never came
  }
  at_every_site(place, read_burst, [&] {
    auto gather = successor_of(place);
    for (const GatherAnswer& one : answers) gather.on_answer(one, kNow);
    EXPECT_EQ(outcome_of(gather), want);
  });
}

TEST(GatherCrash, AnOperationOpenedHalfWayIsNoOperation) {
  Place fresh(kRows), place(kRows);
  const Outcome want = outcome_of(fresh.started(kRows));
  // What the place held before must not show: an ended operation with answers.
  {
    auto old = place.started(kRows);
    for (const GatherAnswer& one : burst()) old.on_answer(one, kNow);
    old.end(GatherEnd::kWindow, kNow);
  }
  const std::vector<std::byte> before = place.bytes().copy();
  const auto open = [&] {
    auto gather = place.gather<CrashMemory>();
    if (!gather.open(options())) ::_exit(3);
    for (std::uint32_t row = 0; row < kRows; ++row) gather.schedule(row);
    gather.start();
  };
  const std::uint64_t sites = count_sites(open);
  ASSERT_GT(sites, kErrorSlots);
  for (std::uint64_t site = 1; site <= sites; site = next_site(site, sites)) {
    SCOPED_TRACE(::testing::Message() << "site " << site << " of " << sites);
    place.bytes().restore(before);
    ASSERT_NO_FATAL_FAILURE(die_at(site, open));
    auto gather = successor_of(place);
    // The first store frees it; nothing but the last one makes it an operation again.
    EXPECT_EQ(gather.state(), site == 1 ? GatherState::kEnded : GatherState::kFree);
    EXPECT_EQ(outcome_of(place.started(kRows)), want);
    if (HasFailure()) return;
  }
}

TEST(GatherCrash, AnEndCutShortIsEndedAgain) {
  Place place(kRows);
  {
    auto gather = place.started(kRows);
    for (const GatherAnswer& one : burst()) gather.on_answer(one, kNow);
  }
  at_every_site(
      place,
      [&] {
        auto gather = adopted(place);
        gather.end(GatherEnd::kWindow, kNow);
        gather.on_answer(ready(10), kNow);
      },
      [&] {
        auto gather = successor_of(place);
        gather.end(GatherEnd::kWindow, kNow);
        gather.on_answer(ready(10), kNow);
        const GatherResult result = gather.result(kNow);
        EXPECT_EQ(result.end, GatherEnd::kWindow);
        EXPECT_EQ(result.counts.late, 1U);
        EXPECT_EQ(result.counts.declined, 1U);
        EXPECT_TRUE(gather.verify());
      });
}

TEST(GatherCrash, EveryNamedPointIsReached) {
  Place place(kRows);
  std::set<std::string> names;
  crash_plan = {0, 0, Death::kKill, &names};
  auto gather = place.gather<CrashMemory>();
  ASSERT_TRUE(gather.open(options()));
  gather.schedule(0);
  gather.start();
  gather.on_answer(ready(0), kNow);
  gather.end(GatherEnd::kComplete, kNow);
  bitmap(place, 1)[0] = 0;
  ASSERT_TRUE(gather.adopt());
  crash_plan = {};
  EXPECT_EQ(names, (std::set<std::string>{"gather.open:freed", "gather.start:before_state",
                                          "gather.on_answer:before_bit", "gather.end:before_state",
                                          "gather.adopt:before_undo"}));
}

// Bytes that no death of ours leaves behind are said to be corrupt, and by name.
TEST(GatherAdopt, RefusesBytesThatMakeNoSense) {
  Place place(kRows);
  const auto refused = [&](auto&& break_it, const char* says) {
    auto gather = place.started(100);
    gather.on_answer(ready(5), kNow);
    gather.on_answer(conflict(6), kNow);
    gather.on_answer(declined(7), kNow);
    break_it(place.words());
    const Status status = place.gather().adopt();
    ASSERT_FALSE(status) << says;
    EXPECT_EQ(status.error().code, Errc::corrupt);
    EXPECT_THAT(status.error().sentence, ::testing::HasSubstr(says));
  };
  refused([](auto& w) { w.state_and_end.raw = 3; }, "state 3");
  refused([](auto& w) { w.state_and_end.raw = 2; }, "state 2 with end 0");
  refused([](auto& w) { w.state_and_end.raw = 2 | 5ULL << 32; }, "end 5");
  refused([](auto& w) { w.rows.raw = 131; }, "131 rows");
  refused([](auto& w) { w.undo.raw = 1; }, "arrival in progress");
  refused([](auto& w) { w.undo.raw = ~0ULL; }, "arrival in progress");
  refused([](auto& w) { w.undo.raw = 1ULL << 63 | 9ULL << 43 | 77; }, "before the");
  refused([](auto& w) { ++w.errors.counts[0].raw; }, "histogram");
  refused([](auto& w) { w.ready_min_ppm.raw = 1'000'001; }, "minimum");
  refused([](auto& w) { w.tolerance_ns.raw = -1; }, "tolerance");
  refused([&](auto&) { bitmap(place, 1)[0] |= 1 << 6; }, "two of");
  refused([&](auto&) { bitmap(place, 3)[0] |= 1 << 5; }, "two of");
  refused([&](auto&) { bitmap(place, 3)[1] |= 1ULL << 40; }, "not scheduled");
  refused([&](auto&) { bitmap(place, 0)[2] |= 4; }, "no row");
}

}  // namespace of_gather_crash_test
}  // namespace mesh::sched
