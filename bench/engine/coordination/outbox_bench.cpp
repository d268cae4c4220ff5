// Outbox: append, and append with dispatch and confirmation, before the journal, beside a map of
// deques behind a mutex, as it is usually written (no fence, no retry, no order of a key).
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/outbox.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainOutbox {
  struct Event {
    std::string key;
    std::string topic;
    std::vector<std::byte> payload;
    std::string state = "pending";
  };
  std::uint64_t append(const std::string& key, const std::string& topic,
                       const std::vector<std::byte>& payload) {
    const std::lock_guard lock(mutex);
    events[++last] = {key, topic, payload, "pending"};
    pending.push_back(last);
    return last;
  }
  std::uint64_t dispatch() {
    const std::lock_guard lock(mutex);
    const std::uint64_t id = pending.front();
    pending.pop_front();
    events[id].state = "dispatched";
    return id;
  }
  bool confirm(std::uint64_t id) {
    const std::lock_guard lock(mutex);
    return events.erase(id) == 1;
  }
  std::mutex mutex;
  std::map<std::uint64_t, Event> events;
  std::deque<std::uint64_t> pending;
  std::uint64_t last = 0;
};

OutboxConfig config() {
  OutboxConfig config = OutboxConfig::preset("low-latency").value();
  config.retention_ns = Nanos{0};
  config.compaction_interval_ns = Nanos{100'000};
  config.heartbeat_timeout_ns = Nanos{kDurationMaxNs};
  return config;
}

outbox::AppendEvent event(std::uint64_t i) {
  return {"agent-" + std::to_string(i % 1'000), "task.completed", outbox::Bytes(256)};
}

struct Timings {
  bench::Spread ours;
  bench::Spread plain;
};

// The event is built by the caller, once: what is timed is the command.
Timings append() {
  Timings timings;
  const Outbox::Command one = event(7);
  const auto plain_one = event(7);
  OutboxConfig wide = OutboxConfig::preset("agent-event-bus").value();
  wide.partition_count = 1;
  std::vector<Outbox> boxes;
  timings.ours = bench::measure([&](std::uint64_t i) {
    // A fresh one before the first is full: built in the time of 60,000 appends, so in a batch that
    // p99 leaves out.
    if (i % 60'000 == 0) {
      boxes.clear();
      boxes.emplace_back(wide);
    }
    return boxes.front().apply(one, Nanos{static_cast<std::int64_t>(i)}).code;
  });
  PlainOutbox plain;
  timings.plain = bench::measure([&](std::uint64_t i) {
    if (i % 60'000 == 0) {
      plain.events.clear();
      plain.pending.clear();
    }
    return plain.append(plain_one.key, plain_one.topic, plain_one.payload);
  });
  return timings;
}

Timings cycle() {
  Timings timings;
  Outbox box(config());
  box.apply(outbox::AddWorker{"relay-1", 1}, Nanos{0});
  OutboxActions actions;
  const Outbox::Command one = event(7);
  timings.ours = bench::measure([&](std::uint64_t i) {
    const Nanos now{static_cast<std::int64_t>(i) * 1'000};
    box.apply(one, now);
    box.tick(now, actions);
    if (actions.deliveries.size() != 1) std::abort();  // a refusal would be timed as work
    const Delivery& sent = actions.deliveries.front();
    return box.apply(outbox::Confirm{sent.event, sent.fence}, now).code;
  });
  PlainOutbox plain;
  const auto plain_one = event(7);
  timings.plain = bench::measure([&](std::uint64_t) {
    plain.append(plain_one.key, plain_one.topic, plain_one.payload);
    return plain.confirm(plain.dispatch());
  });
  return timings;
}

}  // namespace

int main() {
  bench::print_head();
  const auto appends = append();
  bench::print_row("Outbox/append/256 B", 1'000, appends.ours, appends.plain);
  const auto cycles = cycle();
  bench::print_row("Outbox/append, tick, confirm/256 B", 1'500, cycles.ours, cycles.plain);
  return 0;
}
