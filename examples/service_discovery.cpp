// Who offers what, on three hosts: the nearest of two wins; a host that is cut off goes on serving
// and says so; when word passes again, what was taken for dead is back.
#include "engine/coordination/service_discovery.hpp"

#include <cstdio>
#include <utility>
#include <vector>

using namespace mesh;
using namespace mesh::coordination;

namespace {

struct Hosts {
  Hosts() {
    for (std::uint64_t id = 1; id <= 3; ++id) {
      auto config = DiscoveryConfig::preset("small-cluster").value();
      config.self = id;
      nodes.emplace_back(config, id);
      for (std::uint64_t peer = 1; peer <= 3; ++peer) {
        if (peer != id) nodes.back().apply(discovery::AddPeer{peer}, now);
      }
    }
  }
  [[nodiscard]] bool is_cut(std::uint64_t a, std::uint64_t b) const {
    return cut_off && (a == 1 || b == 1);
  }
  void set_cut(bool is_cut) {
    cut_off = is_cut;
    for (std::uint64_t peer = 2; peer <= 3; ++peer) {
      nodes[0].apply(discovery::SetReachable{peer, !is_cut}, now);
      nodes[peer - 1].apply(discovery::SetReachable{1, !is_cut}, now);
    }
  }
  // What the bridge does with the actions: it carries them, and the answers.
  void second() {
    now += Nanos{kNsPerSecond};
    nodes[0].apply(discovery::Renew{"compute-001"}, now);
    nodes[1].apply(discovery::Renew{"compute-002"}, now);
    for (std::uint64_t id = 1; id <= 3; ++id) {
      DiscoveryActions actions;
      nodes[id - 1].tick(now, actions);
      for (auto& sent : actions.sends) {
        std::uint64_t from = id;
        std::uint64_t to = sent.peer;
        while (sent.message.kind != SyncKind::none && !is_cut(from, to)) {
          auto reply = nodes[to - 1].apply(discovery::Hear{from, std::move(sent.message)}, now);
          sent.message = std::move(reply.answer);
          std::swap(from, to);
        }
      }
    }
  }
  std::vector<ServiceDiscovery> nodes;
  Nanos now{0};
  bool cut_off = false;
};

discovery::Register worker(const char* instance, const char* region) {
  discovery::Register one;
  one.instance = instance;
  one.type = "agent.compute";
  one.name = "GPT Worker";
  one.endpoint = "tls://10.0.0.7:4433";
  one.version = "1.2.0";
  one.locality = {region, "a", ""};
  return one;
}

}  // namespace

int main() {
  Hosts hosts;
  hosts.nodes[0].apply(worker("compute-001", "us-east"), hosts.now);
  hosts.nodes[1].apply(worker("compute-002", "eu-west"), hosts.now);
  for (int i = 0; i < 5; ++i) hosts.second();
  const auto best =
      hosts.nodes[2].resolve_one("agent.compute", {.region = "us-east", .zone = "a"}, hosts.now);
  if (!best) return 1;
  const ScoreBreakdown& why = best->breakdown;
  std::printf("score %.3f: health %.2f locality %.2f load %.2f version %.2f latency %.2f\n",
              why.score, why.health, why.locality, why.load, why.version, why.latency);
  hosts.set_cut(true);
  for (int i = 0; i < 20; ++i) hosts.second();
  const auto alone = hosts.nodes[0].query({.type = "agent.*"}, hosts.now).value();
  const bool is_alone = alone.is_stale && alone.instances.size() == 1;
  hosts.set_cut(false);
  for (int i = 0; i < 20; ++i) hosts.second();
  const auto left = hosts.nodes[0].query({.type = "_agent._compute"}, hosts.now).value();
  const auto right = hosts.nodes[2].query({.type = "_agent._compute"}, hosts.now).value();
  const bool is_whole = !left.is_stale && left.instances.size() == 2 && right.instances.size() == 2;
  std::printf("%s wins; cut off: %s; healed: %s\n", best->instance.content.instance.c_str(),
              is_alone ? "stale" : "unexpected", is_whole ? "both see 2" : "unexpected");
  return is_alone && is_whole && hosts.nodes[0].verify() ? 0 : 1;
}
