// CoordinationManager: what a command costs through the one door, beside the service alone; a tick.
#include "bench/engine/coordination/service_bench.hpp"
#include "engine/tasks/coordination_manager.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

constexpr std::uint32_t kAgents = 64;

template <class Door>
void enrol(Door& door) {
  for (std::uint32_t i = 0; i < kAgents; ++i) {
    message::RegisterAgent one;
    one.agent = i;
    door.apply(one, Nanos{0});
  }
}
// A message sent, handed over, acknowledged.
template <class Door, class Reply>
coordination::bench::Spread measure_messages(Door& door, Reply&& reply_of) {
  message::Send one;
  return coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i) * 1'000};
    one.from = static_cast<std::uint32_t>(i * 7 % kAgents);
    one.to = static_cast<std::uint32_t>(i % kAgents);
    const std::uint64_t number = reply_of(door.apply(one, now)).id.number;
    door.apply(message::Poll{one.to, 1}, now);
    const auto done = door.apply(message::Ack{one.to, number}, now);
    if (done.code != Errc::ok) std::abort();
    return done.code;
  });
}

}  // namespace

int main() {
  coordination::bench::print_head();
  auto config = CoordinationConfig::preset("development").value();
  CoordinationManager manager(config, 1);
  MessageRouter alone(CoordinationManager::effective(config).messages, 1);
  enrol(manager);
  enrol(alone);
  const auto plain = measure_messages(
      alone, [](const MessageReply& reply) -> auto& { return reply; });
  const auto ours = measure_messages(
      manager, [](const CoordinationReply& reply) -> auto& { return reply.message; });
  coordination::bench::print_row("CoordinationManager/send+poll+ack", 2'000, ours, plain);

  for (std::uint32_t i = 0; i < kAgents; ++i) {
    task::RegisterAgent one;
    one.agent = i;
    manager.apply(one, Nanos{0});
  }
  CoordinationActions actions;
  const std::int64_t begun = 1'000'000'000'000;
  const auto ticked = coordination::bench::measure([&](std::uint64_t i) {
    manager.tick(Nanos{begun + static_cast<std::int64_t>(i) * 1'000'000}, actions);
    return actions.next_tick;
  });
  coordination::bench::print_row("CoordinationManager/tick, 64 agents", 10'000, ticked, plain);
  return manager.verify() ? 0 : 1;
}
