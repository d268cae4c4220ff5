// Three hosts, of which two know the first: they find each other, one says what it has, one dies.
#include "engine/coordination/gossip_engine.hpp"

#include <cstdio>
#include <memory>

int main() {
  using namespace mesh;
  using namespace mesh::coordination;
  const auto ms = [](std::int64_t count) { return Nanos{count * kNsPerMs}; };
  std::vector<std::unique_ptr<GossipEngine>> hosts;
  for (std::uint64_t self = 1; self <= 3; ++self) {
    auto config = GossipConfig::preset("small-cluster").value();
    config.self = self;
    hosts.push_back(std::make_unique<GossipEngine>(config, self));
    hosts.back()->apply(gossip::SetSelf{"tls://host-" + std::to_string(self), "zone=a"}, ms(0));
    if (self != 1) hosts.back()->apply(gossip::AddMember{1, "tls://host-1", 1, ""}, ms(0));
  }
  bool is_third_up = true;
  std::size_t broadcasts = 0;
  GossipActions actions;
  const auto run = [&](std::int64_t from, std::int64_t until) {
    for (std::int64_t t = from; t < until; t += 10) {
      for (auto& host : hosts) {
        if (host == hosts[2] && !is_third_up) continue;
        host->tick(ms(t), actions);
        actions.for_sends([&](const GossipSend& send) {  // what the bridge would carry
          if (send.to == 3 && !is_third_up) return;
          const auto bytes = actions.bytes_of(send);
          const auto reply =
              hosts[send.to - 1]->apply(gossip::Hear{{bytes.begin(), bytes.end()}}, ms(t));
          for (const auto& one : reply.delivered) {
            broadcasts += one.kind == GossipNews::broadcast ? 1U : 0U;
          }
        });
      }
    }
  };
  run(0, 3'000);
  const auto seen = hosts[1]->view().alive;
  const std::vector<std::byte> load{std::byte{17}};
  hosts[2]->apply(gossip::SetSummary{"load/3", load}, ms(3'000));
  hosts[2]->apply(gossip::Broadcast{load, false}, ms(3'000));
  run(3'000, 4'000);
  const auto summary = hosts[1]->summary("load/3");
  is_third_up = false;
  run(4'000, 30'000);
  std::printf("host 2 sees %u alive, load %d of host %llu; %zu heard the broadcast; host 3 is %s\n",
              seen, summary ? static_cast<int>(summary->payload[0]) : -1,
              static_cast<unsigned long long>(summary ? summary->origin : 0), broadcasts,
              to_string(hosts[1]->member(3)->state).data());
  return hosts[0]->verify() && hosts[1]->verify() ? 0 : 1;
}
