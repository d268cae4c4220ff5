// A network of gossiping hosts on virtual time: delay, loss, doubled and reordered messages,
// partitions, deaths and stalls, all from one seed; and the hosts: membership alone, the tree
// alone, whole engines.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/coordination/gossip_engine.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr std::int64_t gossip_ms(std::int64_t count) { return count * kNsPerMs; }

// The envelope of a message that is a good one; `reader` stands behind it.
inline Envelope opened(StateReader& reader) {
  Envelope envelope;
  EXPECT_EQ(open_envelope(reader, envelope), EnvelopeVerdict::good);
  return envelope;
}

struct NetOptions {
  double loss = 0;
  double doubled = 0;
  std::int64_t delay_min_ns = gossip_ms(1);
  std::int64_t delay_max_ns = gossip_ms(20);
};

// Hosts are numbered from 1; a Node has hear(bytes, now_ns), tick(now_ns), next_ns() and
// flush(send), which calls send(to, bytes) for what it wants sent.
template <class Node>
class LossyNet {
 public:
  LossyNet(std::uint64_t seed, NetOptions options) : rng_(seed), options_(options) {}

  Node& add(std::unique_ptr<Node> node, std::int64_t first_tick_ns = 0) {
    hosts_.push_back({std::move(node)});
    plan(hosts_.size(), first_tick_ns);
    return *hosts_.back().node;
  }
  [[nodiscard]] std::size_t size() const { return hosts_.size(); }
  Node& operator[](std::uint64_t host) { return *hosts_[host - 1].node; }
  [[nodiscard]] bool is_up(std::uint64_t host) const { return hosts_[host - 1].is_up; }
  void kill(std::uint64_t host) { hosts_[host - 1].is_up = false; }
  void revive(std::uint64_t host, std::unique_ptr<Node> node) {
    hosts_[host - 1].node = std::move(node);
    hosts_[host - 1].is_up = true;
    hosts_[host - 1].tick_ns = INT64_MAX;
    plan(host, now_ns_);
  }
  // It neither hears nor ticks until then; what comes waits.
  void stall(std::uint64_t host, std::int64_t until_ns) {
    hosts_[host - 1].stalled_ns = until_ns;
    plan(host, until_ns);
  }
  // Hosts talk within their group alone.
  void set_group(std::uint64_t host, int group) { hosts_[host - 1].group = group; }
  void heal() {
    for (auto& host : hosts_) host.group = 0;
  }
  NetOptions& options() { return options_; }
  [[nodiscard]] std::int64_t now_ns() const { return now_ns_; }
  [[nodiscard]] std::uint64_t messages() const { return messages_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // The same for the same seed: every message, when and to whom.
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  Rng& rng() { return rng_; }
  // What a host was told by its owner leaves now.
  void flush(std::uint64_t host) {
    send_all(host);
    plan(host, std::max(now_ns_, hosts_[host - 1].node->next_ns()));
  }

  void run_until(std::int64_t until_ns) {
    while (!events_.empty() && events_.top().at_ns <= until_ns) {
      Event event = events_.top();
      events_.pop();
      now_ns_ = std::max(now_ns_, event.at_ns);
      step(event);
    }
    now_ns_ = until_ns;
  }
  void run_for(std::int64_t span_ns) { run_until(now_ns_ + span_ns); }

 private:
  struct Host {
    std::unique_ptr<Node> node;
    bool is_up = true;
    int group = 0;
    std::int64_t stalled_ns = 0;
    std::int64_t tick_ns = INT64_MAX;
  };
  struct Event {
    std::int64_t at_ns = 0;
    std::uint64_t order = 0;
    std::uint64_t to = 0;
    std::shared_ptr<std::vector<std::byte>> bytes;  // none: a tick
    bool operator<(const Event& other) const {
      return at_ns != other.at_ns ? at_ns > other.at_ns : order > other.order;
    }
  };
  void plan(std::uint64_t host, std::int64_t at_ns) {
    Host& one = hosts_[host - 1];
    if (at_ns >= one.tick_ns) return;
    one.tick_ns = at_ns;
    events_.push({at_ns, ++order_, host, nullptr});
  }
  void step(Event& event) {
    Host& host = hosts_[event.to - 1];
    if (!host.is_up) return;
    if (host.stalled_ns > now_ns_) {
      event.at_ns = host.stalled_ns;
      if (event.bytes != nullptr) events_.push(event);
      return;
    }
    if (event.bytes != nullptr) {
      host.node->hear(*event.bytes, now_ns_);
    } else {
      if (event.at_ns != host.tick_ns) return;  // planned anew since
      host.tick_ns = INT64_MAX;
      host.node->tick(now_ns_);
    }
    send_all(event.to);
    plan(event.to, std::max(now_ns_ + 1'000, host.node->next_ns()));
  }
  void send_all(std::uint64_t from) {
    hosts_[from - 1].node->flush([&](std::uint64_t to, std::span<const std::byte> bytes) {
      ++messages_;
      bytes_ += bytes.size();
      const std::uint64_t words[] = {trace_, static_cast<std::uint64_t>(now_ns_), from, to,
                                     checksum(bytes)};
      trace_ = checksum(std::as_bytes(std::span(words)));
      if (to == 0 || to > hosts_.size()) return;
      if (hosts_[from - 1].group != hosts_[to - 1].group) return;
      const int copies = rng_.u01() < options_.doubled ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        if (rng_.u01() < options_.loss) continue;
        const auto spread =
            static_cast<std::uint64_t>(options_.delay_max_ns - options_.delay_min_ns + 1);
        const std::int64_t delay =
            options_.delay_min_ns + static_cast<std::int64_t>(rng_.below(spread));
        events_.push({now_ns_ + delay, ++order_, to,
                      std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end())});
      }
    });
  }

  Rng rng_;
  NetOptions options_;
  std::vector<Host> hosts_;
  std::priority_queue<Event> events_;
  std::int64_t now_ns_ = 0;
  std::uint64_t order_ = 0;
  std::uint64_t messages_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t trace_ = 0;
};

// What every host of one part has: an outbox, and messages that go to that part.
template <class Part, GossipPart kPart>
struct PartNode {
  PartNode(std::uint64_t self, Part made)
      : part(std::move(made)), out(self, {512, 1U << 17, 4'096}) {}
  void hear(std::span<const std::byte> bytes, std::int64_t now_ns) {
    StateReader reader(bytes);
    Envelope envelope;
    ASSERT_EQ(open_envelope(reader, envelope), EnvelopeVerdict::good);
    ASSERT_EQ(envelope.part, kPart);
    ASSERT_EQ(name_of(part.hear(envelope, reader, now_ns, out)), "ok");
    if constexpr (requires { part.take_delivery([](auto&&, auto&&) {}); }) {
      part.take_delivery([&](const BroadcastId& id, std::span<const std::byte>) {
        ++delivered[{id.origin, id.sequence}];
      });
    }
  }
  void tick(std::int64_t now_ns) { part.tick(now_ns, out); }
  [[nodiscard]] std::int64_t next_ns() const { return part.next_ns(); }
  template <class Send>
  void flush(Send&& send) {
    for (const auto& one : out.sends()) send(one.to, out.bytes_of(one));
    out.clear();
  }
  Part part;
  GossipOutbox out;
  std::map<std::pair<std::uint64_t, std::uint64_t>, int> delivered;
};
using SwimNode = PartNode<SwimMembership, GossipPart::swim>;
using TreeNode = PartNode<Plumtree, GossipPart::tree>;
using OverlayNode = PartNode<HyParView, GossipPart::overlay>;

struct EngineNode {
  EngineNode(const GossipConfig& config, std::uint64_t seed) : engine(config, seed) {}
  void hear(std::span<const std::byte> bytes, std::int64_t now_ns) {
    const auto reply = engine.apply(gossip::Hear{{bytes.begin(), bytes.end()}}, Nanos{now_ns});
    ASSERT_EQ(name_of(reply.code), "ok");
    for (const auto& one : reply.delivered) {
      delivered.push_back(one);
      delivered.back().payload.shrink_to_fit();
    }
    tick(now_ns);
  }
  void tick(std::int64_t now_ns) {
    engine.tick(Nanos{now_ns}, actions);
    next = actions.next_tick.count();
    for (const auto& one : actions.divergences) divergences.push_back(one);
    for (const auto& one : actions.membership_updates) updates.push_back(one);
    if (actions.reserve_until != 0) {
      engine.apply(gossip::Reserved{actions.reserve_until}, Nanos{now_ns});
    }
    actions.for_sends([&](const GossipSend& send) {
      const auto bytes = actions.bytes_of(send);
      pending.push_back({send.to, {bytes.begin(), bytes.end()}});
    });
  }
  [[nodiscard]] std::int64_t next_ns() const { return next; }
  template <class Send>
  void flush(Send&& send) {
    const auto list = std::exchange(pending, {});
    for (const auto& [to, bytes] : list) send(to, std::span<const std::byte>(bytes));
  }
  std::size_t count(GossipNews kind) const {
    return static_cast<std::size_t>(std::count_if(
        delivered.begin(), delivered.end(), [kind](const auto& one) { return one.kind == kind; }));
  }
  GossipEngine engine;
  GossipActions actions;
  std::int64_t next = 0;
  std::vector<GossipDelivery> delivered;
  std::vector<ContextDivergence> divergences;
  std::vector<MembershipUpdate> updates;
  std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> pending;
};
using EngineNet = LossyNet<EngineNode>;

inline GossipConfig small_gossip(std::uint64_t self = 1) {
  auto config = GossipConfig::preset("small-cluster").value();
  config.self = self;
  config.members_max = 16;
  config.messages_max = 128;
  config.rumors_max = 8;
  config.summaries_max = 16;
  config.payload_bytes_max = 256;
  config.store_bytes = 32'768;
  config.outbox_messages = 512;
  config.outbox_bytes = 1U << 19;
  config.events_max = 32;
  return config;
}

// Hosts 1..n, each told of host 1 alone.
inline void start_engines(EngineNet& net, std::size_t count, GossipConfig config,
                          std::uint64_t seed) {
  for (std::uint64_t self = 1; self <= count; ++self) {
    config.self = self;
    auto& node = net.add(std::make_unique<EngineNode>(config, seed * 1'000 + self),
                         static_cast<std::int64_t>(
                             net.rng().below(static_cast<std::uint64_t>(config.probe_ns.count()))));
    node.engine.apply(gossip::SetSelf{"tls://host-" + std::to_string(self), "zone=a"}, Nanos{0});
    if (self != 1) {
      node.engine.apply(gossip::AddMember{1, "tls://host-1", 1, ""}, Nanos{0});
    }
  }
}
inline std::uint32_t alive_at(EngineNet& net, std::uint64_t host) {
  return net[host].engine.view().alive;
}

}  // namespace mesh::coordination::testing
