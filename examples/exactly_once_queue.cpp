// A queue in a program of its own: a worker stalls, another takes its task over, and what the
// first one
// reports in the end is refused by its old fence.
#include "engine/coordination/exactly_once_queue.hpp"

#include <cstdio>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  ExactlyOnceQueue queue(ExactlyOnceQueueConfig::preset("default").value());
  const auto at = [](int second) { return Nanos{second * kNsPerSecond}; };

  once::Enqueue task;
  task.id = "task-1";
  task.affinity_key = "shard-a";
  const auto accepted = queue.apply(task, at(0));
  const auto again = queue.apply(task, at(1));
  const auto first = queue.apply(once::Claim{"worker-1", 1, 1, false}, at(1)).tasks.at(0);
  const auto second = queue.apply(once::Claim{"worker-2", 2, 1, false}, at(31)).tasks.at(0);
  const auto late = queue.apply(once::Complete{"task-1", first.fence, {}}, at(32));
  const auto done = queue.apply(once::Complete{"task-1", second.fence, {}}, at(33));
  const auto repeated = queue.apply(once::Complete{"task-1", second.fence, {}}, at(34));
  std::printf("%s, sent again %s; fence 1 %s, fence 2 %s, again %s; committed %llu time\n",
              name_of(accepted.code).data(), name_of(again.code).data(), name_of(late.code).data(),
              name_of(done.code).data(), name_of(repeated.code).data(),
              static_cast<unsigned long long>(queue.counters().completed));
  return queue.verify() ? 0 : 1;
}
