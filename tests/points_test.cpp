// A real SIGKILL at every named point, in the code that ships (HostMemory), and what the survivors
// then find. Part of the builds that have the points (MESH_FAULTS): ./dev asan and ./dev cover run
// it. tools/tidy.py sees to it that no point is left out.
#include <functional>

#include "engine/capabilities.hpp"
#include "sched/arrivals.hpp"
#include "sched/class_memory.hpp"
#include "sched/clock.hpp"
#include "shm/attach.hpp"
#include "shm/columns.hpp"
#include "shm/row_seqlock.hpp"
#include "tests/queues/ring_fixture.hpp"
#include "tests/sched/manual_counters.hpp"

namespace mesh {
namespace of_points_test {

using testing::Host;
using testing::SharedRing;

// Runs `work` in a child that kills itself the at_count-th time it comes to the point. False, and a
// failure, if it never does.
bool killed_at(const char* point, unsigned at_count, const std::function<void()>& work) {
  const int status = testing::status_of_child([&] {
    points::arm(
        point, at_count, [](void*) { ::kill(::getpid(), SIGKILL); }, nullptr);
    work();
  });
  const bool killed = testing::died_as(status, testing::Death::kKill);
  EXPECT_TRUE(killed) << point << " was not reached " << at_count << " times";
  return killed;
}

// Memory that a forked child shares.
template <std::size_t kWanted>
class SharedMemory {
 public:
  static constexpr std::size_t kBytes = (kWanted + 4095) / 4096 * 4096;
  SharedMemory()
      : base_(::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (base_ == MAP_FAILED) throw std::runtime_error("mmap");
  }
  ~SharedMemory() { ::munmap(base_, kBytes); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(base_), kBytes};
  }
  template <class T>
  [[nodiscard]] T& as() const {
    return *static_cast<T*>(base_);
  }

 private:
  void* base_;
};
using SharedPage = SharedMemory<4096>;

TEST(Points, ACreatorKilledWithinFormatLeavesNothingThatAttaches) {
  const shm::Layout layout =
      shm::LayoutBuilder({.name = "sample", .kind = 7, .version = 1, .page_bytes = 4096})
          .add(shm::region_of<std::uint32_t>("state", 100, "engine"))
          .build()
          .value();
  const struct {
    const char* point;
    unsigned at_count;
  } deaths[] = {{"header.format:word", 1},
                {"header.format:word", shm::kHeaderWords - 1},
                {"header.format:before_magic", 1}};
  for (const auto& death : deaths) {
    const SharedPage page;
    ASSERT_TRUE(killed_at(death.point, death.at_count,
                          [&] { static_cast<void>(shm::format(page.bytes(), layout, {})); }));
    const auto attached = shm::attach(page.bytes(), layout, {});
    ASSERT_FALSE(attached) << death.point;
    EXPECT_EQ(attached.error().code, Errc::bad_magic);
  }
}

TEST(Points, AWriterKilledWithinARowLeavesItBusyUntilItsSuccessorWritesIt) {
  for (const char* const point : {"row_seqlock.write:odd", "row_seqlock.write:before_even"}) {
    const SharedPage page;
    const auto sequence =
        shm::Column<HostMemory, std::uint32_t>::over(page.bytes().first(64), 8).value();
    const auto value =
        shm::Column<HostMemory, std::uint64_t>::over(page.bytes().subspan(64, 64), 8).value();
    const shm::RowWriter<HostMemory> writer(sequence);
    const auto write = [&](std::uint64_t number) {
      writer.write(3, [&](const auto& stores) { stores.store(value, number); });
    };
    std::uint64_t read = 0;
    const auto read_row = [&] {
      return shm::RowReader<HostMemory>(sequence.view()).read(3, [&](const auto& loads) {
        read = loads.load(value.view());
      });
    };
    write(1);
    ASSERT_TRUE(killed_at(point, 1, [&] { write(2); }));
    EXPECT_EQ(read_row(), shm::ReadStatus::kBusy) << point;
    EXPECT_TRUE(writer.is_half_written(3));
    write(3);
    ASSERT_EQ(read_row(), shm::ReadStatus::kRead) << point;
    EXPECT_EQ(read, 3U);
  }
}

TEST(Points, ACapabilityKilledBeforeItsLengthIsNotGiven) {
  const SharedPage page;
  const auto names =
      shm::Column<HostMemory, std::uint64_t>::over(page.bytes(), 2 * engine::kNameWords).value();
  const engine::CapabilityBit bit{1};
  const engine::NameBytes name = engine::encode("a capability with a name of several words");
  ASSERT_TRUE(killed_at("capabilities.intern:before_length", 1,
                        [&] { engine::store_capability_name(names, bit, name); }));
  const auto seen = engine::capability_name_at(names.view(), bit);
  EXPECT_EQ(engine::NameBytes::length_of(seen[0]), 0U);
  engine::store_capability_name(names, bit, name);
  EXPECT_EQ(engine::capability_name_at(names.view(), bit), name.words);
}

TEST(Points, AnArrivalKilledBeforeItsMarkStillWaitsAndAfterItIsCountedOnce) {
  for (const char* const point : {"arrivals.settle:before_mark", "arrivals.settle:before_free"}) {
    const SharedMemory<sched::arrivals_bytes(8)> memory;
    auto arrivals = sched::Arrivals<>::over(memory.bytes(), 8).value();
    arrivals.store(3, sched::pack({.observed_ns = 5 * kNsPerMs}));
    arrivals.settle(3);
    arrivals.store(3, sched::pack({.observed_ns = 7 * kNsPerMs}));
    ASSERT_TRUE(killed_at(point, 1, [&] { arrivals.settle(3); })) << point;
    ASSERT_TRUE(arrivals.adopt());
    arrivals.settle(3);
    EXPECT_EQ(arrivals.size(3), 2U);
    EXPECT_EQ(arrivals.newest(3, 0), sched::pack({.observed_ns = 7 * kNsPerMs}));
  }
}

TEST(Points, AClassKilledBeforeItsCopyStandsKeepsWhatItKnew) {
  const SharedMemory<sched::kClassMemoryBytes> memory;
  auto classes = sched::ClassMemory<>::over(memory.bytes()).value();
  sched::ClassLearning learned;
  learned.learn_answer(true);
  ASSERT_TRUE(
      killed_at("class_memory.commit:before_stands", 1, [&] { classes.commit(0, learned); }));
  EXPECT_EQ(classes.load(0).value(), sched::ClassLearning{});
}

TEST(Points, APublisherKilledWithinALineStopsNoClock) {
  using testing::ManualCounters;
  using testing::ManualTime;
  for (const char* const point : {"clock.publish:odd", "clock.publish:before_even"}) {
    const SharedPage page;
    auto& words = page.as<sched::ClockWords>();
    ManualTime time;
    sched::ClockPublisher<ManualCounters> publisher(words, {}, ManualCounters{&time});
    sched::ClockReader<ManualCounters> reader(words, ManualCounters{&time});
    const std::int64_t at_first = reader.now_ns();
    ASSERT_TRUE(killed_at(point, 1, [&] {
      time.advance(kNsPerSecond);
      publisher.publish();
    }));
    EXPECT_EQ(words.sequence.load_relaxed() % 2, 1U) << point;
    time.advance(2 * kNsPerSecond);
    const std::int64_t without_engine = reader.now_ns();
    EXPECT_NEAR(static_cast<double>(without_engine - at_first), 2e9, 1e5) << point;
    const sched::ClockPublisher<ManualCounters> successor(words, {}, ManualCounters{&time});
    EXPECT_EQ(words.sequence.load_relaxed() % 2, 0U);
    EXPECT_GE(reader.now_ns(), without_engine) << point;
  }
}

constexpr std::uint64_t kSlots = 8;
constexpr std::uint64_t kWritten = 5;  // and read, before anybody dies
constexpr std::uint64_t kBatch = 4;    // what the victim writes or reads: crosses the wrap

struct RingDeath {
  const char* point;
  bool visible;  // the whole batch is there afterwards, or nothing of it
};

void write_and_read_on(SharedRing& ring, std::uint64_t head, std::uint64_t cursor) {
  auto writer = ring.take_over();
  ASSERT_TRUE(writer) << writer.error().sentence;
  ASSERT_EQ(writer->head(), head);
  auto reader = ring.attach().value();
  ASSERT_EQ(reader.cursor(), cursor);
  for (std::uint64_t lap = 0; lap < 3 * kSlots; ++lap) {
    std::uint64_t at = reader.cursor();
    const std::uint64_t there = writer->head() - at;
    EXPECT_EQ(reader.poll(kSlots,
                          [&](auto view) {
                            EXPECT_EQ(view.position(), at++);
                            EXPECT_TRUE(testing::is_whole(view));
                          }),
              there);
    ASSERT_TRUE(testing::write_batch(*writer, 3));
  }
}

void write_some(SharedRing& ring) {
  auto writer = ring.take_over().value();
  auto reader = ring.attach().value();
  ASSERT_TRUE(testing::write_batch(writer, kWritten));
  ASSERT_EQ(reader.poll(kSlots, [](auto) {}), kWritten);
}

TEST(Points, AWriterKilledInTheRingShowsAllOfItsBatchOrNothing) {
  for (const RingDeath& death : {RingDeath{"spsc.take_over:before_wipe", false},
                                 {"spsc.fill:before_records", false},
                                 {"spsc.stage:before_stamps", false},
                                 {"spsc.reveal:before_stamp", false},
                                 {"spsc.reveal:after_stamp", true}}) {
    SCOPED_TRACE(death.point);
    SharedRing ring(kSlots);
    write_some(ring);
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(killed_at(death.point, 1, [&] {
      auto writer = ring.take_over().value();
      testing::write_batch(writer, kBatch);
    }));
    write_and_read_on(ring, kWritten + (death.visible ? kBatch : 0), kWritten);
  }
}

TEST(Points, AReaderKilledInTheRingLeavesItsBurstToTheNext) {
  for (const RingDeath& death : {RingDeath{"spsc.poll:before_record", true},
                                 {"spsc.poll:before_cursor", true},
                                 {"spsc.poll:after_cursor", false}}) {
    SCOPED_TRACE(death.point);
    SharedRing ring(kSlots);
    write_some(ring);
    auto writer = ring.take_over().value();
    ASSERT_TRUE(testing::write_batch(writer, kBatch));
    ASSERT_TRUE(killed_at(death.point, 1, [&] {
      auto reader = ring.attach().value();
      reader.poll(kBatch, [](auto) {});
    }));
    write_and_read_on(ring, kWritten + kBatch, kWritten + (death.visible ? 0 : kBatch));
  }
}

TEST(Points, AReaderKilledWhileItParksIsSeenAsAsleepAndHarmsNobody) {
  SharedRing ring(kSlots);
  write_some(ring);
  ASSERT_TRUE(killed_at("spsc.park:before_check", 1, [&] {
    auto reader = ring.attach().value();
    static_cast<void>(reader.prepare_to_park());
  }));
  auto writer = ring.take_over().value();
  writer.fill(writer.claim(1), [](auto& slot, std::uint64_t at) { testing::build(slot, at); });
  EXPECT_TRUE(writer.reveal_checked()) << "a signal too many, to nobody";
  ring.attach().value().unpark();
  write_and_read_on(ring, kWritten + 1, kWritten);
}

}  // namespace of_points_test
}  // namespace mesh
