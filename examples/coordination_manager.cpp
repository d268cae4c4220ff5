// One door: a task, a resource and a message; what happened by name; a mode that refuses; an end
// that waits for what is on its way.
#include "engine/tasks/coordination_manager.hpp"

#include <cstdio>

#include "engine/tasks/coordination_json.hpp"

int main() {
  using namespace mesh;
  using namespace mesh::tasks;
  const auto typo = coordination_config_of(R"({"maxRetry": 3})");
  const auto config =
      coordination_config_of(R"({"preset": "development", "maxRetries": 3, "retryDelay": 1000})");
  if (typo || !config) return 1;
  CoordinationManager manager(*config, 42);
  const auto s = [](std::int64_t count) { return Nanos{count * kNsPerSecond}; };
  for (std::uint32_t agent = 1; agent <= 2; ++agent) {
    task::RegisterAgent worker;
    worker.agent = agent;
    manager.apply(worker, s(0));
    message::RegisterAgent mailbox;
    mailbox.agent = agent;
    manager.apply(mailbox, s(0));
  }
  int events = 0;
  if (!manager.bus().on("*", [&](const EventRecord&, std::string_view) { ++events; })) return 1;

  manage::AssignTask job;
  job.task.id = 7;
  job.agent = 1;
  const auto assigned = manager.apply(job, s(1));
  resource::Acquire lock;
  lock.agent = 1;
  lock.resource = "file-lock";
  const auto locked = manager.apply(lock, s(1));
  message::Send note;
  note.from = 1;
  note.to = 2;
  manager.apply(note, s(1));
  const auto heard = manager.apply(message::Poll{2, 1}, s(2)).message.deliveries;
  manager.apply(message::Ack{2, heard.at(0).id.number}, s(2));

  manager.apply(manage::ObserveAgents{28'499, 30'000}, s(10));
  manager.apply(manage::ObserveAgents{28'499, 30'000}, s(13));
  note.priority = 0;
  const auto refused = manager.apply(note, s(13));

  manager.apply(manage::Shutdown{}, s(14));
  manager.apply(task::Start{7, assigned.task.fence}, s(14));
  manager.apply(task::Complete{7, assigned.task.fence, 0}, s(15));
  CoordinationActions actions;
  manager.tick(s(15), actions);
  manager.bus().poll([] { return Nanos{0}; });
  std::printf("fence %d; %s, so %s; closed %d, completed %d, %d events\n",
              static_cast<int>(locked.resource.fence),
              std::string(to_string(manager.mode())).c_str(),
              std::string(name_of(refused.code)).c_str(), actions.closed ? 1 : 0,
              static_cast<int>(manager.metrics().current().task.completed), events);
  return manager.verify() ? 0 : 1;
}
