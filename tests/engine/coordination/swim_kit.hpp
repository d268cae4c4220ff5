// One member of a membership, and what a test says to it.
#pragma once

#include <vector>

#include "tests/engine/coordination/gossip_net.hpp"

namespace mesh::coordination::testing {

inline SwimConfig config_of(std::uint64_t self, std::uint32_t members_max = 64) {
  SwimConfig config;
  config.self = self;
  config.members_max = members_max;
  return config;
}
inline SwimMembership swim_of(std::uint64_t self, std::uint64_t members) {
  SwimMembership one(config_of(self), self);
  GossipOutbox out(self, {});
  for (std::uint64_t id = 1; id <= members; ++id) {
    if (id != self) one.add({id, 1, "a", ""}, 0, out);
  }
  return one;
}
// One message with these updates.
inline void tell(SwimMembership& to, std::uint64_t from, const std::vector<SwimUpdate>& updates,
                 std::int64_t now_ns, GossipOutbox* answer = nullptr) {
  GossipOutbox out(from, {});
  StateWriter& writer = out.begin(GossipPart::swim, SwimMembership::updates, to.self().id);
  writer.put(std::uint64_t{0});
  writer.put(std::uint64_t{1});
  writer.put(std::uint64_t{0});
  for (const auto& one : updates) {
    writer.put(true);
    writer.put(one.state);
    writer.put(one.member);
    writer.put(one.incarnation);
    if (one.state == MemberState::suspect) writer.put(one.accuser);
    if (one.state == MemberState::alive) {
      writer.put(one.address);
      writer.put(one.metadata);
    }
  }
  writer.put(false);
  out.end(GossipLane::answer);
  StateReader reader(out.bytes_of(out.sends()[0]));
  Envelope envelope;
  ASSERT_EQ(open_envelope(reader, envelope), EnvelopeVerdict::good);
  GossipOutbox ignored(to.self().id, {});
  ASSERT_EQ(to.hear(envelope, reader, now_ns, answer == nullptr ? ignored : *answer), Errc::ok);
}
// Whoever was probed by what is in `out` answers.
inline void acknowledge(SwimMembership& to, GossipOutbox& out, std::int64_t now_ns) {
  std::vector<GossipSend> probes;
  for (const auto& send : out.sends()) {
    if (send.lane == GossipLane::probe && send.sequence != 0) probes.push_back(send);
  }
  for (const auto& probe : probes) {
    GossipOutbox from(probe.to, {4, 16'384, 4'096});
    StateWriter& writer = from.begin(GossipPart::swim, SwimMembership::ack, to.self().id);
    writer.put(probe.sequence);
    writer.put(std::uint64_t{1});
    writer.put(std::uint64_t{0});
    VivaldiPoint{}.save(writer);
    writer.put(false);
    from.end(GossipLane::answer);
    StateReader reader(from.bytes_of(from.sends()[0]));
    const Envelope envelope = opened(reader);
    ASSERT_EQ(to.hear(envelope, reader, now_ns, out), Errc::ok);
  }
}

}  // namespace mesh::coordination::testing
