// EventBus: an emit with and without handlers, its delivery, and a page for other processes, beside
// a map of lists of std::function behind a mutex.
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/tasks/event_bus.hpp"
#include "engine/tasks/event_page.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

struct PlainBus {
  std::size_t emit(const std::string& name, std::uint64_t a) {
    const std::lock_guard guard(mutex);
    const auto found = handlers.find(name);
    if (found == handlers.end()) return 0;
    for (const auto& one : found->second) one(a);
    return found->second.size();
  }
  std::mutex mutex;
  std::map<std::string, std::vector<std::function<void(std::uint64_t)>>> handlers;
};

}  // namespace

int main() {
  coordination::bench::print_head();
  EventBus bus(EventBusConfig::preset("standard").value());
  PlainBus plain;
  EventBus::Note note;
  note.name = EventName::task_created;
  const auto emit = [&](std::uint64_t i) {
    note.a = i;
    return bus.emit(note, Nanos{static_cast<std::int64_t>(i)}).sequence;
  };
  const auto alone = coordination::bench::measure(emit);
  const std::string name = "task:created";
  const auto plain_alone =
      coordination::bench::measure([&](std::uint64_t i) { return plain.emit(name, i); });
  coordination::bench::print_row("EventBus/emit, no handler", 5, alone, plain_alone);

  const std::int64_t begun = 1'000'000'000'000;
  std::uint64_t heard = 0;
  if (!bus.on("task:*", [&](const EventRecord& event, std::string_view) { heard += event.a; })) {
    return 1;
  }
  plain.handlers[name].push_back([&](std::uint64_t a) { heard += a; });
  const auto with_handler = coordination::bench::measure([&](std::uint64_t i) {
    note.a = i;
    return bus.emit(note, Nanos{begun + static_cast<std::int64_t>(i)}).sequence;
  });
  const auto plain_one =
      coordination::bench::measure([&](std::uint64_t i) { return plain.emit(name, i); });
  coordination::bench::print_row("EventBus/emit, one handler", 30, with_handler, plain_one);

  const EventClock no_clock = [] { return Nanos{0}; };
  bus.poll(no_clock, SIZE_MAX);
  const auto delivered = coordination::bench::measure([&](std::uint64_t i) {
    note.a = i;
    bus.emit(note, Nanos{2 * begun + static_cast<std::int64_t>(i)});
    return bus.poll(no_clock, 1);
  });
  coordination::bench::print_row("EventBus/emit and deliver", 60, delivered, plain_one);

  EventPageHead<> head{};
  std::vector<EventPageSlot<>> slots(65'536);
  EventPageWriter<> writer(head, slots);
  EventRecord record;
  const auto published = coordination::bench::measure([&](std::uint64_t) {
    ++record.sequence;
    writer.publish(record);
    return record.sequence;
  });
  coordination::bench::print_row("EventPage/publish", 30, published, plain_one);
  EventReader<> reader(head, slots, record.sequence);
  const auto read = coordination::bench::measure([&](std::uint64_t) {
    ++record.sequence;
    writer.publish(record);
    return reader.poll([&](const EventRecord& event) { heard += event.sequence; });
  });
  coordination::bench::print_row("EventPage/publish and read", 60, read, plain_one);
  return heard == 0 ? 1 : 0;
}
