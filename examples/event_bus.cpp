// Handlers by name and by pattern, one that throws, and a reader of another process that was too
// slow and knows it.
#include "engine/tasks/event_bus.hpp"

#include <cstdio>
#include <stdexcept>

#include "engine/tasks/event_page.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  EventBus bus(EventBusConfig::preset("standard").value());
  int tasks = 0;
  int failures = 0;
  const auto bad = bus.on("task:*", [&](const EventRecord&, std::string_view) {
    ++tasks;
    if (tasks == 2) throw std::runtime_error("a handler of its own kind");
  });
  const auto told = bus.once("eventbus:handler-failed",
                             [&](const EventRecord&, std::string_view) { ++failures; });
  const auto none = bus.on("task:finished", [](const EventRecord&, std::string_view) {});

  EventPageHead<> head{};
  std::vector<EventPageSlot<>> slots(4);  // far too few, to be seen
  EventPageWriter<> page(head, slots);
  EventReader<> console(head, slots);
  for (std::uint64_t i = 0; i < 10; ++i) {
    EventBus::Note note;
    note.name = i % 2 == 0 ? EventName::task_created : EventName::circuitbreaker_state_change;
    note.a = i;
    note.text = "agent-17";
    bus.emit(note, Nanos{static_cast<std::int64_t>(i)});
    page.publish_new(bus.records());
  }
  while (bus.poll([] { return Nanos{0}; }) != 0) {
  }
  const auto seen = console.poll([](const EventRecord&) {});
  std::printf("%d tasks, %d handler failed, the console saw %d and lost %d; %s\n", tasks, failures,
              static_cast<int>(seen), static_cast<int>(console.lost()),
              none ? "" : none.error().sentence.c_str());
  return bad && told && bus.verify() ? 0 : 1;
}
