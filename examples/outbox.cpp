// An outbox in a program of its own: an order and the event that tells of it are one commit. The
// relay brings the event to a sink that dies before it says so; the event comes again, and the sink
// applies it once. An event that no attempt brings through ends among the dead letters; what was
// answered is there after the owner's death.
#include "engine/coordination/outbox.hpp"

#include <cstdio>

#include "engine/coordination/blocks/idempotency_registry.hpp"
#include "engine/coordination/blocks/memory_journal.hpp"
#include "engine/coordination/journaled_service.hpp"

using namespace mesh;
using namespace mesh::coordination;

namespace {

constexpr Nanos at(int second) { return Nanos{second * kNsPerSecond}; }

// Takes every delivery and answers none, until `now` is over; how often the effect took place.
int deliver(JournaledService<Outbox>& box, IdempotencyRegistry& sink, Nanos now,
            bool acknowledges) {
  static std::uint64_t sequence = 100;
  int applied = 0;
  OutboxActions actions;
  if (!box.tick(now, actions)) return -1;
  for (const auto& sent : actions.deliveries) {
    applied += sink.accept(sent.event, now.count()).code == Errc::ok ? 1 : 0;
    if (acknowledges) {
      box.execute({{1, ++sequence}, outbox::Confirm{sent.event, sent.fence}}, now).value();
    }
  }
  return applied;
}

}  // namespace

int main() {
  const auto config = OutboxConfig::preset("agent-event-bus").value();
  MemoryJournal journal;
  IdempotencyRegistry sink(1'000, 3'600 * kNsPerSecond);
  auto box = JournaledService<Outbox>::open(config, journal).value();
  box.execute({{1, 1}, outbox::AddWorker{"relay-1", 1}}, at(0)).value();

  outbox::Commit order;
  order.puts.push_back({"order-7", 0, {}, false});
  order.appends.push_back({"agent-0x1234", "order.created", {}, {}, 1});
  box.execute({{1, 2}, order}, at(0)).value();
  const int first = deliver(box, sink, at(0), false);  // the sink dies before it says so
  int again = 0;
  for (int second = 1; second < 80; ++second) {
    box.execute({{1, 1'000U + static_cast<unsigned>(second)}, outbox::Heartbeat{"relay-1"}},
                at(second))
        .value();
    again += deliver(box, sink, at(second), true);
  }

  Outbox alone(config);  // eight attempts fail
  alone.apply(outbox::AddWorker{"relay-1", 1}, at(0));
  alone.apply(outbox::AppendEvent{"agent-0x1234", "task.completed", {}}, at(0));
  OutboxActions actions;
  for (int second = 0; second < 300; ++second) {
    alone.apply(outbox::Heartbeat{"relay-1"}, at(second));
    alone.tick(at(second), actions);
    for (const auto& sent : actions.deliveries) {
      alone.apply(outbox::Fail{sent.event, sent.fence, false, "refused"}, at(second));
    }
  }

  box.execute({{1, 3}, outbox::AppendEvent{"agent-0x1234", "task.completed", {}}}, at(90)).value();
  journal.crash(0);
  const auto revived = JournaledService<Outbox>::open(config, journal).value();
  const auto partition = revived.service().partition_of("agent-0x1234");
  std::printf("applied %d time; %zu dead letter; after the death pending %llu, order-7 %s\n",
              first + again, alone.dead(9).size(),
              static_cast<unsigned long long>(revived.service().view(partition).pending),
              revived.service().entity("order-7") ? "there" : "lost");
  return revived.service().verify() && alone.verify() ? 0 : 1;
}
