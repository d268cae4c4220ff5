// The ring of events as other processes read it.
#include "engine/tasks/event_page.hpp"

#include <thread>

#include "engine/tasks/event_bus.hpp"
#include "tests/engine/coordination/goldens.hpp"

namespace mesh::tasks {
namespace of_event_page_test {

using coordination::testing::golden;
using coordination::testing::Json;
using coordination::testing::matches;

EventBusConfig small_bus(std::uint32_t records) {
  EventBusConfig config;
  config.records_max = records;
  return config;
}
EventBus::Note note(EventName name, std::uint64_t a = 0) {
  EventBus::Note one;
  one.name = name;
  one.a = a;
  return one;
}

struct Page {
  explicit Page(std::size_t size) : slots(size) {}
  EventPageHead<> head{};
  std::vector<EventPageSlot<>> slots;
};

TEST(EventPage, GoldenOverwriteIsCounted) {
  const auto [inputs, expected] = golden("event_bus", "overwrite_is_counted");
  Page page(inputs.at("ring").get<std::size_t>());
  EventPageWriter<> writer(page.head, page.slots);
  // The golden counts from 0, sequences from 1: cursor 2 has seen two events.
  EventReader<> reader(page.head, page.slots, inputs.at("reader_cursor").get<std::uint64_t>());
  EventBus bus(small_bus(4));
  for (int i = 0; i < inputs.at("published").get<int>(); ++i) {
    bus.emit(note(EventName::task_created, static_cast<std::uint64_t>(i)), Nanos{i});
    writer.publish_new(bus.records());
  }
  Json delivered = Json::array();
  reader.poll([&](const EventRecord& e) { delivered.push_back(e.a); });
  EXPECT_TRUE(matches(expected, {{"lost", reader.lost()}, {"delivered", delivered}}));
}

TEST(EventPage, PassesOverASlotWhoseWriterDiedInIt) {
  Page page(4);
  EventPageWriter<> writer(page.head, page.slots);
  EventBus bus(small_bus(4));
  for (int i = 0; i < 3; ++i) bus.emit(note(EventName::task_created), Nanos{i});
  writer.publish_new(bus.records());
  page.slots[1].sequence.raw = 0;  // as a death between two stores leaves it
  EventReader<> reader(page.head, page.slots);
  std::vector<std::uint64_t> seen;
  EXPECT_EQ(reader.poll([&](const EventRecord& e) { seen.push_back(e.sequence); }), 2U);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{1, 3}));
  EXPECT_EQ(reader.lost(), 1U);
}

TEST(EventPage, AReaderFromAnotherLifeSeesNothing) {
  Page page(4);
  EventReader<> reader(page.head, page.slots, 99);
  EXPECT_EQ(reader.poll([](const EventRecord&) {}), 0U);
  EXPECT_EQ(reader.lost(), 0U);
}

// Two threads over one page: whatever a reader is given is one event, whole, and none is given
// twice or out of order; what it is not given is counted.
TEST(EventPage, AReaderIsGivenWholeEventsInOrderOrKnowsHowManyItLost) {
  constexpr std::uint64_t kEvents = 200'000;
  Page page(64);
  std::thread engine([&] {
    EventPageWriter<> writer(page.head, page.slots);
    EventRecord event;
    for (std::uint64_t i = 1; i <= kEvents; ++i) {
      event.sequence = i;
      event.t_ns = static_cast<std::int64_t>(i);
      event.a = event.b = event.c = i;
      writer.publish(event);
    }
  });
  EventReader<> reader(page.head, page.slots);
  std::uint64_t seen = 0;
  std::uint64_t last = 0;
  while (reader.cursor() < kEvents) {
    seen += reader.poll([&](const EventRecord& e) {
      ASSERT_GT(e.sequence, last);
      last = e.sequence;
      ASSERT_EQ(e.a, e.sequence);
      ASSERT_EQ(e.b, e.sequence);
      ASSERT_EQ(e.c, e.sequence);
    });
    if (::testing::Test::HasFailure()) break;
    std::this_thread::yield();
  }
  engine.join();
  EXPECT_EQ(seen + reader.lost(), kEvents);
}

}  // namespace of_event_page_test
}  // namespace mesh::tasks
