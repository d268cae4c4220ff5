// GossipEngine among 200 hosts: a tick with nothing due, a probe heard and answered, a broadcast
// heard over the tree; beside a map of members behind a mutex.
#include <map>
#include <mutex>
#include <string>

#include "bench/engine/coordination/service_bench.hpp"
#include "engine/coordination/gossip_engine.hpp"

namespace {

using namespace mesh;
using namespace mesh::coordination;

struct PlainMembers {
  bool heard(std::uint64_t member, std::int64_t now_ns) {
    const std::lock_guard guard(mutex);
    last["host-" + std::to_string(member)] = now_ns;
    return true;
  }
  std::mutex mutex;
  std::map<std::string, std::int64_t> last;
};

std::vector<std::byte> message_of(GossipOutbox& out) {
  const auto bytes = out.bytes_of(out.sends().front());
  std::vector<std::byte> whole(bytes.begin(), bytes.end());
  out.clear();
  return whole;
}
std::vector<std::byte> ping_of(std::uint64_t from, std::uint64_t sequence) {
  GossipOutbox out(from, {});
  StateWriter& writer = out.begin(GossipPart::swim, SwimMembership::ping, 1);
  writer.put(sequence);
  writer.put(std::uint64_t{1});
  writer.put(std::uint64_t{1});
  writer.put(false);
  out.end(GossipLane::probe);
  return message_of(out);
}
std::vector<std::byte> broadcast_of(std::uint64_t from, std::uint64_t sequence) {
  GossipOutbox out(from, {});
  StateWriter& writer = out.begin(GossipPart::tree, Plumtree::gossip, 1);
  writer.put(from);
  writer.put(sequence);
  writer.put(std::uint32_t{1});
  writer.put(std::uint32_t{0});
  writer.put(std::uint32_t{2'000});
  const std::vector<std::byte> payload(65);
  writer.put(std::span<const std::byte>(payload));
  out.end(GossipLane::tree);
  return message_of(out);
}

}  // namespace

int main() {
  bench::print_head();
  auto config = GossipConfig::preset("medium-network").value();
  config.messages_max = 65'536;
  config.store_bytes = 1U << 25;
  GossipEngine engine(config, 1);
  GossipActions actions;
  PlainMembers plain;
  for (std::uint64_t host = 2; host <= 200; ++host) {
    engine.apply(gossip::AddMember{host, "tls://host", 1, ""}, Nanos{0});
    plain.heard(host, 0);
  }
  engine.tick(Nanos{0}, actions);
  const auto theirs = bench::measure(
      [&](std::uint64_t i) { return plain.heard(2 + i % 199, static_cast<std::int64_t>(i)); });

  const auto idle = bench::measure([&](std::uint64_t) {
    engine.tick(Nanos{1}, actions);
    return actions.next_tick.count();
  });
  bench::print_row("GossipEngine/tick, nothing due", 200, idle, theirs);

  std::vector<GossipCommand> pings;
  for (std::uint64_t host = 2; host <= 200; ++host) pings.push_back(gossip::Hear{ping_of(host, 1)});
  const auto pinged = bench::measure([&](std::uint64_t i) {
    const auto reply = engine.apply(pings[i % pings.size()], Nanos{2});
    engine.tick(Nanos{2}, actions);
    if (actions.answers.size() != 1) std::abort();  // a refusal would be timed as work
    return reply.code;
  });
  bench::print_row("GossipEngine/ping heard, ack handed out", 2'000, pinged, theirs);

  std::int64_t now_ns = 3;
  std::vector<GossipCommand> told;
  std::uint64_t sequence = 0;
  const auto told_to = bench::measure([&](std::uint64_t i) {
    if (i % 1'000 == 0) {  // a batch: made beforehand would be the better part of the memory
      told.clear();
      for (int k = 0; k < 1'000; ++k) told.emplace_back(gossip::Hear{broadcast_of(2, ++sequence)});
      now_ns += 4 * kNsPerSecond;
      engine.tick(Nanos{now_ns}, actions);
    }
    const auto reply = engine.apply(told[i % 1'000], Nanos{now_ns});
    if (reply.delivered.size() != 1) std::abort();
    return reply.code;
  });
  bench::print_row("GossipEngine/broadcast heard (message made)", 3'000, told_to, theirs);
  return engine.verify() ? 0 : 1;
}
