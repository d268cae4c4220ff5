// Four engines that must be in the same view, one of which says nothing. Its view is given up by
// the three others together; the next leader has its quorum. What claims a weight that nobody
// signed moves nobody.
#include "engine/coordination/view_synchronizer.hpp"

#include <array>
#include <cstdio>
#include <vector>

namespace {

using namespace mesh;
using namespace mesh::coordination;

constexpr std::array<std::uint64_t, 3> kAlive{0, 2, 3};  // 1 is silent

std::vector<ViewSynchronizer> four_engines() {
  std::vector<ViewSynchronizer> engines;
  for (std::uint64_t id = 0; id < 4; ++id) {
    auto config = ViewSyncConfig::preset("fast-consensus").value();
    config.self = id;
    ViewSynchronizer& engine = engines.emplace_back(config, id);
    for (std::uint64_t agent = 0; agent < 4; ++agent) {
      engine.apply(view::RegisterAgent{agent, 1, {}}, Nanos{0});
    }
    engine.apply(view::StartEpoch{}, Nanos{0});
  }
  return engines;
}

// The consensus on top asks before each vote; a quorum of votes is a certificate.
void certify(std::vector<ViewSynchronizer>& engines, std::uint64_t view, Nanos now) {
  QuorumCertificate qc;
  qc.epoch = 1;
  qc.view = view;
  qc.block = {view, 7, 7, 7};
  for (const auto id : kAlive) {
    const auto vote = engines[id].apply(view::Vote{view, qc.block}, now);
    if (vote.code == Errc::ok) qc.signers.push_back(id);
  }
  qc.weight = qc.signers.size();
  for (const auto id : kAlive) engines[id].apply(view::ReceiveQc{qc}, now);
}

// Every timer fires; the bridge carries what is said, and what is said to that.
void give_up(std::vector<ViewSynchronizer>& engines, Nanos now) {
  std::vector<ViewSend> bridge;
  for (const auto id : kAlive) {
    ViewSyncActions actions;
    engines[id].tick(now, actions);
    bridge.insert(bridge.end(), actions.sends.begin(), actions.sends.end());
  }
  for (std::size_t at = 0; at < bridge.size(); ++at) {
    const ViewSend sent = bridge[at];
    for (const auto id : kAlive) {
      if (id == sent.from || (sent.to != kEveryone && sent.to != id)) continue;
      const auto reply = engines[id].apply(command_of(sent), now);
      bridge.insert(bridge.end(), reply.sends.begin(), reply.sends.end());
    }
  }
}

}  // namespace

int main() {
  auto engines = four_engines();
  certify(engines, 0, Nanos{1'000'000});
  const Nanos late{250'000'000};  // view 1 is led by engine 1
  give_up(engines, late);
  int together = 0;
  for (const auto id : kAlive) together += engines[id].current_view() == 2 ? 1 : 0;
  const BftView view = engines[0].view();
  certify(engines, 2, late);
  const bool is_certified = engines[3].current_view() == 3;

  QuorumCertificate bare;
  bare.epoch = 1;
  bare.view = 9;
  bare.weight = 3;
  const auto refused = engines[0].apply(view::ReceiveQc{bare}, late);
  std::printf(
      "engine 1 is silent: %d of 4 left view 1 together; view %llu, leader %llu, %s; a bare "
      "weight: %s\n",
      together, static_cast<unsigned long long>(view.view),
      static_cast<unsigned long long>(view.leader), is_certified ? "certified" : "lost",
      name_of(refused.code).data());
  for (const auto& engine : engines) {
    if (!engine.verify()) return 1;
  }
  return 0;
}
