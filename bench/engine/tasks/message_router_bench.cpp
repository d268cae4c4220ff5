// MessageRouter: a message sent, handed over and acknowledged on one host, singly and by sixteen,
// and one that comes from another host, beside a map of queues behind a mutex.
#include <deque>
#include <map>
#include <mutex>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/tasks/message_router.hpp"

namespace {

using namespace mesh;
using namespace mesh::tasks;

constexpr double kLocalBudget = 500;  // 2 million a second

struct PlainRouter {
  void send(std::uint32_t to, std::uint64_t payload) {
    const std::lock_guard guard(mutex);
    boxes[to].push_back(payload);
  }
  std::uint64_t poll(std::uint32_t agent) {
    const std::lock_guard guard(mutex);
    auto& box = boxes[agent];
    if (box.empty()) return 0;
    const std::uint64_t first = box.front();
    box.pop_front();
    return first;
  }
  std::mutex mutex;
  std::map<std::uint32_t, std::deque<std::uint64_t>> boxes;
};

message::RegisterAgent resident(std::uint32_t agent, bool here) {
  message::RegisterAgent one;
  one.agent = agent;
  one.here = here;
  return one;
}

}  // namespace

int main() {
  coordination::bench::print_head();
  auto config = MessageRouterConfig::preset("standard").value();
  MessageRouter router(config, 1);
  PlainRouter plain;
  constexpr std::uint32_t kAgents = 256;
  for (std::uint32_t i = 0; i < kAgents; ++i) router.apply(resident(i, true), Nanos{0});
  router.apply(resident(kAgents, false), Nanos{0});
  message::Send one;
  one.size_bytes = 64;
  const auto theirs = coordination::bench::measure([&](std::uint64_t i) {
    const auto to = static_cast<std::uint32_t>(i % kAgents);
    plain.send(to, i + 1);
    return plain.poll(to);
  });
  const auto local = coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i) * 500};
    one.from = static_cast<std::uint32_t>(i * 7 % kAgents);
    one.to = static_cast<std::uint32_t>(i % kAgents);
    const auto sent = router.apply(one, now);
    if (router.apply(message::Poll{one.to, 1}, now).count != 1) std::abort();
    return router.apply(message::Ack{one.to, sent.id.number}, now).code;
  });
  coordination::bench::print_row("MessageRouter/send+poll+ack", kLocalBudget, local, theirs);

  constexpr std::uint64_t kBurst = 16;
  std::int64_t begun = 1'000'000'000'000;
  const auto burst = coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{begun + static_cast<std::int64_t>(i) * 500};
    one.to = static_cast<std::uint32_t>(i / kBurst % kAgents);
    router.apply(one, now);
    if (i % kBurst != kBurst - 1) return Errc::ok;
    const auto handed = router.apply(message::Poll{one.to, kBurst}, now);
    for (const auto& each : handed.deliveries) {
      if (router.apply(message::Ack{one.to, each.id.number}, now).code != Errc::ok) std::abort();
    }
    return handed.code;
  });
  coordination::bench::print_row("MessageRouter/the same, polled by 16", kLocalBudget, burst,
                                 theirs);

  begun *= 2;
  MessageTransfer transfer;
  transfer.from = kAgents;
  transfer.priority = 1;
  const auto received = coordination::bench::measure([&](std::uint64_t i) {
    const Nanos now{begun + static_cast<std::int64_t>(i) * 500};
    transfer.id = {now.count(), std::uint64_t{1} << 48 | (i + 1)};
    transfer.place = {1, i + 1, i + 1};
    if (router.apply(message::Receive{transfer}, now).count != 1) std::abort();
    if (router.apply(message::Poll{0, 1}, now).count != 1) std::abort();
    return router.apply(message::Ack{0, transfer.id.number}, now).answers.size();
  });
  coordination::bench::print_row("MessageRouter/receive+poll+ack", 2 * kLocalBudget, received,
                                 theirs);
  return router.verify() ? 0 : 1;
}
