// One thread, no deaths: refusals, order, flow control, hostile cursors, counters near their ends.
#include "queues/spsc_ring.hpp"

#include <deque>
#include <random>

#include "tests/queues/ring_fixture.hpp"
#include "tests/seed.hpp"

namespace mesh::queues {
namespace of_spsc_ring_test {

using testing::Host;
using testing::SharedRing;
using testing::write_batch;

TEST(SpscRing, RefusesSlotCountsThatAreNoPowerOfTwoFrom2To65536) {
  SharedRing ring(16);
  const auto slots = ring.slots<Host>();
  for (const std::size_t count : {0U, 1U, 3U, 12U}) {
    const auto writer = Host::Writer::take_over(slots.first(count), &ring.page<Host>());
    ASSERT_FALSE(writer) << count;
    EXPECT_EQ(writer.error().code, Errc::invalid_argument);
    EXPECT_EQ(writer.error().detail, static_cast<std::int64_t>(count));
    EXPECT_FALSE(Host::Reader::attach(slots.first(count), &ring.page<Host>()));
  }
  const std::span<Host::Slot> too_many(slots.data(), 2 * kRingSlotsMax);
  EXPECT_EQ(Host::Writer::take_over(too_many, &ring.page<Host>()).error().code,
            Errc::invalid_argument);
}

TEST(SpscRing, RefusesNullAndMisalignedMemory) {
  SharedRing ring(16);
  const auto slots = ring.slots<Host>();
  auto* bytes = reinterpret_cast<std::byte*>(slots.data());
  const std::span<Host::Slot> shifted(reinterpret_cast<Host::Slot*>(bytes + 8), 8);
  EXPECT_EQ(Host::Writer::take_over(shifted, &ring.page<Host>()).error().code, Errc::misaligned);
  EXPECT_EQ(Host::Writer::take_over(slots, nullptr).error().code, Errc::misaligned);
  EXPECT_EQ(Host::Reader::attach(slots, nullptr).error().code, Errc::misaligned);
  const std::span<Host::Slot> null_slots(static_cast<Host::Slot*>(nullptr), 8);
  EXPECT_EQ(Host::Writer::take_over(null_slots, &ring.page<Host>()).error().code, Errc::misaligned);
}

TEST(SpscRing, ZeroedMemoryIsAnEmptyRingAtPositionZero) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  EXPECT_EQ(writer.head(), 0U);
  EXPECT_FALSE(reader.ready());
  EXPECT_EQ(reader.poll(8, [](auto) { FAIL() << "a record out of nothing"; }), 0U);
}

TEST(SpscRing, ShowsNothingOfABatchBeforeRevealAndAllOfItAfter) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  for (int part = 0; part < 2; ++part) {
    auto run = writer.claim(3);
    for (std::size_t i = 0; i < 3; ++i) testing::build(run.slots[i], run.position + i);
    writer.stage(3);
    EXPECT_FALSE(reader.ready());
  }
  writer.reveal();
  std::uint64_t expected = 0;
  EXPECT_EQ(reader.poll(100,
                        [&](auto view) {
                          EXPECT_EQ(view.position(), expected++);
                          EXPECT_TRUE(testing::is_whole(view));
                        }),
            6U);
}

TEST(SpscRing, SplitsARunAtTheWrapAndRevealsBothHalvesAtOnce) {
  SharedRing ring(8, std::uint64_t{0} - 2);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(write_batch(writer, 6));  // positions 2^64-2 .. 3: slots 6, 7, 0 .. 3
  EXPECT_EQ(writer.head(), 4U);
  std::uint64_t expected = std::uint64_t{0} - 2;
  EXPECT_EQ(reader.poll(100,
                        [&](auto view) {
                          EXPECT_EQ(view.position(), expected++);
                          EXPECT_TRUE(testing::is_whole(view));
                        }),
            6U);
}

TEST(SpscRing, ReturnsFullWhenTheReaderStallsAndGoesOnWhenItFrees) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(write_batch(writer, 8));
  EXPECT_EQ(writer.claim(1).status, ClaimStatus::kFull);
  EXPECT_EQ(writer.free_slots(), 0U);
  EXPECT_EQ(reader.poll(1, [](auto) {}), 1U);
  EXPECT_EQ(writer.claim(5).slots.size(), 1U);
}

TEST(SpscRing, GivesAtMostARunOf1024Slots) {
  SharedRing ring(4096);
  auto writer = ring.take_over().value();
  EXPECT_EQ(writer.claim(4096).slots.size(), kRunSlotsMax);
}

TEST(SpscRing, ABurstStopsWhereTheCallbackDeclinesAndThatRecordStays) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(write_batch(writer, 5));
  EXPECT_EQ(reader.poll(8, [](auto view) { return view.position() < 3; }), 3U);
  std::uint64_t first = 99;
  EXPECT_EQ(reader.poll(1, [&](auto view) { first = view.position(); }), 1U);
  EXPECT_EQ(first, 3U);
}

TEST(SpscRing, TheCursorIsStoredOncePerBurst) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(write_batch(writer, 5));
  EXPECT_EQ(reader.poll(5, [&](auto) { EXPECT_EQ(ring.page<Host>().cursor.load_relaxed(), 0U); }),
            5U);
  EXPECT_EQ(ring.page<Host>().cursor.load_relaxed(), 5U);
}

TEST(SpscRing, ACursorThatGoesBackOrPastTheHeadIsCorruptForGood) {
  for (const std::uint64_t start : testing::kStarts) {
    for (const std::uint64_t lie : {start + 1, start + 7, start + 1000, start - 8, ~start}) {
      SharedRing ring(8, start);
      auto writer = ring.take_over().value();
      auto reader = ring.attach().value();
      ASSERT_TRUE(write_batch(writer, 6));
      ASSERT_EQ(reader.poll(2, [](auto) {}), 2U);
      ASSERT_EQ(writer.free_slots(), 4U);
      ring.page<Host>().cursor.store_relaxed(lie);
      EXPECT_EQ(writer.claim(8).status, lie == start + 6 ? ClaimStatus::kOk : ClaimStatus::kCorrupt)
          << lie;
      ring.page<Host>().cursor.store_relaxed(start + 2);
      EXPECT_EQ(writer.claim(8).status, ClaimStatus::kCorrupt) << "it lied once";
      EXPECT_EQ(writer.free_slots(), 0U);
    }
  }
}

TEST(SpscRing, TakeOverRefusesACursorOutsideTheRing) {
  for (const std::uint64_t start : testing::kStarts) {
    SharedRing ring(8, start);
    auto writer = ring.take_over().value();
    ASSERT_TRUE(write_batch(writer, 4));
    for (const std::uint64_t lie : {start + 5, start - 5, start + (std::uint64_t{1} << 40)}) {
      ring.page<Host>().cursor.store_relaxed(lie);
      const auto again = ring.take_over();
      ASSERT_FALSE(again) << lie;
      EXPECT_EQ(again.error().code, Errc::corrupt);
      EXPECT_NE(again.error().sentence.find(std::to_string(start + 4)), std::string::npos);
    }
  }
}

TEST(SpscRing, TakeOverRefusesStampsThatNoWriterLeaves) {
  std::mt19937_64 random(testing::seed());
  for (const std::uint64_t start : testing::kStarts) {
    if (start == 0) continue;  // there zero is a stamp too: that of a slot never used
    SharedRing ring(8, start);
    auto writer = ring.take_over().value();
    ASSERT_TRUE(write_batch(writer, 4));
    for (std::size_t index = 0; index < 8; ++index) {
      auto& stamp = ring.slots<Host>()[index].stamp;
      const std::uint64_t right = stamp.load_relaxed();
      for (const std::uint64_t wrong : {right + 1, right - 1, right + 16, random() | 1}) {
        stamp.store_relaxed(wrong);
        EXPECT_FALSE(ring.take_over()) << start << ' ' << index << ' ' << wrong;
      }
      stamp.store_relaxed(right);
    }
    EXPECT_TRUE(ring.take_over());
  }
}

TEST(SpscRing, AReaderWhoseCursorItsSlotContradictsIsRefused) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  ASSERT_TRUE(write_batch(writer, 4));
  ring.page<Host>().cursor.store_relaxed(17);
  EXPECT_EQ(ring.attach().error().code, Errc::corrupt);
}

TEST(SpscRing, WildStampsNeverTakeTheReaderOutsideTheRing) {
  std::mt19937_64 random(testing::seed());
  SharedRing ring(8);
  auto reader = ring.attach().value();
  for (int round = 0; round < 10'000; ++round) {
    auto& slot = ring.slots<Host>()[random() & 7];
    slot.stamp.store_relaxed(random() % 2 == 0 ? random() : reader.cursor() + random() % 16);
    const std::uint64_t before_poll = reader.cursor();
    const std::size_t polled = reader.poll(16, [](auto view) { (void)view.read(); });
    EXPECT_LE(polled, 8U);
    EXPECT_EQ(reader.cursor(), before_poll + polled);
  }
}

TEST(SpscRing, SlotsFollowTheStation) {
  EXPECT_EQ(ring_slots_for(0), 1024U);
  EXPECT_EQ(ring_slots_for(512), 1024U);
  EXPECT_EQ(ring_slots_for(513), 2048U);
  EXPECT_EQ(ring_slots_for(3750), 8192U);
  EXPECT_EQ(ring_slots_for(30'000), 65'536U);
  EXPECT_EQ(ring_slots_for(~0U), 65'536U);
}

TEST(SpscRing, AParkedReaderIsSeenByACheckedRevealAndARecordByAParkingReader) {
  SharedRing ring(8);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  EXPECT_TRUE(reader.prepare_to_park());
  writer.stage(writer.claim(1).slots.size());
  EXPECT_TRUE(writer.reveal_checked());
  EXPECT_FALSE(reader.prepare_to_park());
  reader.unpark();
  writer.stage(writer.claim(1).slots.size());
  EXPECT_FALSE(writer.reveal_checked());
}

// Random operations against a deque, from every start: order, content, free count, visibility.
RC_GTEST_PROP(SpscRing, BehavesAsAQueueOfRevealedBatches, ()) {
  const std::uint64_t start = *rc::gen::elementOf(
      std::vector<std::uint64_t>(std::begin(testing::kStarts), std::end(testing::kStarts)));
  const auto shift = *rc::gen::inRange(1, 5);
  const std::uint64_t capacity = std::uint64_t{1} << shift;
  SharedRing ring(capacity, start);
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  std::deque<std::uint64_t> visible;
  std::deque<std::uint64_t> staged;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, int>>>(
      rc::gen::pair(rc::gen::inRange(0, 4), rc::gen::inRange(1, 20)));
  for (const auto& [what, amount] : steps) {
    if (what == 0) {
      const auto run = writer.claim(static_cast<std::size_t>(amount));
      const std::uint64_t used = visible.size() + staged.size();
      RC_ASSERT((run.status == ClaimStatus::kFull) == (used == capacity));
      RC_ASSERT(run.slots.size() <= capacity - used);
      for (std::size_t i = 0; i < run.slots.size(); ++i) {
        testing::build(run.slots[i], run.position + i);
        staged.push_back(run.position + i);
      }
      writer.stage(run.slots.size());
    } else if (what == 1) {
      writer.reveal();
      visible.insert(visible.end(), staged.begin(), staged.end());
      staged.clear();
    } else if (what == 2) {
      const std::size_t expected = std::min(visible.size(), static_cast<std::size_t>(amount));
      std::vector<std::uint64_t> seen;  // checked afterwards: poll is noexcept, RC_ASSERT throws
      std::size_t torn = 0;
      const std::size_t polled = reader.poll(static_cast<std::size_t>(amount), [&](auto view) {
        seen.push_back(view.position());
        if (!testing::is_whole(view)) ++torn;
      });
      RC_ASSERT(polled == expected);
      RC_ASSERT(torn == 0U);
      const auto end = visible.begin() + static_cast<std::ptrdiff_t>(expected);
      RC_ASSERT(seen == std::vector<std::uint64_t>(visible.begin(), end));
      visible.erase(visible.begin(), end);
    } else {
      writer = ring.take_over().value();  // the open batch dies
      staged.clear();
      RC_ASSERT(writer.head() == reader.cursor() + visible.size());
    }
  }
}

}  // namespace of_spsc_ring_test
}  // namespace mesh::queues
