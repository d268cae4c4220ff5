// Members that lie: what they pick up, forge, tell one member alone, and say twice.
#include "tests/engine/coordination/view_world.hpp"

namespace mesh::coordination::testing {

void ViewWorld::overhear(std::uint64_t i, const Shared& packet) {
  if (!plan_.is_noisy) return;
  Node& node = *nodes_[i];
  node.view = std::max(node.view, packet->view);
  if (packet->kind == Kind::sync && packet->sync.kind == ViewSendKind::timeout) {
    const Timeout& timeout = packet->sync.timeout;
    node.view = std::max(node.view, timeout.at);
    node.timeouts[timeout.view][timeout.signer] = timeout;
    if (node.timeouts.size() > 8) node.timeouts.erase(node.timeouts.begin());
  }
  if (packet->kind == Kind::vote) {
    node.votes[{packet->view, packet->block}][packet->from] = packet->signature;
  }
  if (node.heard.size() < 64) {
    node.heard.push_back(packet);
  } else {
    node.heard[below(64)] = packet;
  }
  if (below(3) == 0) lie(i);
  if (packet->kind == Kind::new_view && node.proposed < packet->view + 1)
    two_faced(i, packet->view);
}

std::uint64_t ViewWorld::victim() {
  std::uint64_t to = below(plan_.members);
  while (nodes_[to]->is_faulty) to = (to + 1) % plan_.members;
  return to;
}

void ViewWorld::lie(std::uint64_t i) {
  Node& node = *nodes_[i];
  switch (below(6)) {
    case 0:
      return send(victim(), node.heard[below(node.heard.size())]);  // old news
    case 1:
      return lie_timeout(i);
    case 2:
      return tell_one_qc(i);
    case 3:
      return tell_one_tc(i);
    case 4:
      return forge(i);
    default:
      return lie_vote(i);
  }
}

ViewWorld::Packet ViewWorld::sync_packet(std::uint64_t i, ViewSendKind kind) const {
  Packet packet;
  packet.from = i;
  packet.sync.kind = kind;
  packet.sync.from = i;
  packet.sync.epoch = 1;
  return packet;
}

void ViewWorld::lie_timeout(std::uint64_t i) {
  static constexpr std::array<std::uint64_t, 6> kAhead{0, 0, 1, 2, 50, 2'000'000};
  Packet packet = sync_packet(i, ViewSendKind::timeout);
  Timeout& timeout = packet.sync.timeout;
  timeout = timeout_of(nodes_[i]->view + kAhead[below(kAhead.size())], i);
  if (below(4) == 0) timeout.rank = timeout.view + 1;
  sign_timeout(timeout);
  for (std::uint64_t times = 1 + below(plan_.members); times > 0; --times) {
    send(victim(), std::make_shared<const Packet>(packet));
  }
}

void ViewWorld::sign_timeout(Timeout& timeout) const {
  if (plan_.config.auth != ViewAuth::ed25519) return;
  timeout.signature =
      signature_of(timeout.signer, timeout_bytes(epoch_hash(), 1, timeout.view, timeout.rank));
}

std::vector<std::byte> ViewWorld::signature_of(std::uint64_t agent,
                                               const SignedBytes& bytes) const {
  const Signature signature = sign(key_pair_of(seed_of(agent)), bytes);
  const auto view = std::as_bytes(std::span(signature));
  return {view.begin(), view.end()};
}

std::uint64_t ViewWorld::epoch_hash() const {
  return views(*nodes_[order_.back()]).epoch_hash();  // the last in order is honest
}

void ViewWorld::tell_one_qc(std::uint64_t i) {
  for (const auto& [what, voters] : nodes_[i]->votes) {
    Voters all = voters;
    for (std::uint64_t k = 0; k < plan_.members; ++k) {
      if (!nodes_[k]->is_faulty) continue;
      all[k] = plan_.config.auth == ViewAuth::ed25519
                   ? signature_of(k, vote_bytes(epoch_hash(), 1, what.first, what.second))
                   : std::vector<std::byte>{};
      really_voted_[what].insert(k);
    }
    if (all.size() < quorum() || below(2) == 0) continue;
    Packet packet;
    packet.kind = Kind::qc;
    packet.from = i;
    packet.view = what.first;
    packet.qc = certificate(what.first, what.second, all);
    return send(victim(), std::make_shared<const Packet>(std::move(packet)));
  }
}

void ViewWorld::tell_one_tc(std::uint64_t i) {
  for (const auto& [view, known] : nodes_[i]->timeouts) {
    std::map<std::uint64_t, Timeout> all = known;
    for (std::uint64_t k = 0; k < plan_.members; ++k) {
      if (!nodes_[k]->is_faulty) continue;
      all[k] = timeout_of(view, k);
      sign_timeout(all[k]);
      really_gave_up_[view].insert(k);
    }
    if (all.size() < quorum() || below(2) == 0) continue;
    Packet packet = sync_packet(i, ViewSendKind::tc);
    TimeoutCertificate& tc = packet.sync.tc;
    tc = tc_of(view, {});
    for (const auto& [signer, timeout] : all) {
      tc.signers.push_back(signer);
      tc.ranks.push_back(timeout.rank);
      tc.signatures.insert(tc.signatures.end(), timeout.signature.begin(), timeout.signature.end());
      if (rank_of(timeout.high_qc) > rank_of(tc.high_qc)) tc.high_qc = timeout.high_qc;
    }
    tc.weight = all.size();
    return send(victim(), std::make_shared<const Packet>(std::move(packet)));
  }
}

void ViewWorld::forge(std::uint64_t i) {
  Packet packet = sync_packet(i, below(2) == 0 ? ViewSendKind::tc : ViewSendKind::catch_up);
  const std::uint64_t view = nodes_[i]->view + below(4);
  packet.sync.qc = qc_of(view, Agents(quorum(), i));
  packet.sync.tc = tc_of(view, Agents(quorum(), i));
  if (below(2) == 0) packet.sync.qc.weight = packet.sync.tc.weight = quorum();
  if (plan_.config.auth == ViewAuth::ed25519) {  // now with all their names
    for (std::uint64_t k = 0; k < quorum(); ++k) {
      packet.sync.qc.signers[k] = packet.sync.tc.signers[k] = k;
    }
    packet.sync.qc.signatures.assign(quorum() * kSignatureBytes, std::byte{7});
    packet.sync.tc.signatures = packet.sync.qc.signatures;
    packet.sync.qc.weight = packet.sync.tc.weight = quorum();
  }
  send(victim(), std::make_shared<const Packet>(std::move(packet)));
}

void ViewWorld::lie_vote(std::uint64_t i) {
  Packet packet;
  packet.kind = Kind::vote;
  packet.from = i;
  packet.view = nodes_[i]->view;
  const std::uint64_t to = victim();
  packet.block = block_of(packet.view, to);
  if (plan_.config.auth == ViewAuth::ed25519) {
    packet.signature = signature_of(i, vote_bytes(epoch_hash(), 1, packet.view, packet.block));
  }
  really_voted_[{packet.view, packet.block}].insert(i);
  send(to, std::make_shared<const Packet>(std::move(packet)));
}

void ViewWorld::two_faced(std::uint64_t i, std::uint64_t view) {
  Node& node = *nodes_[i];
  node.proposed = view + 1;
  const std::uint64_t how = below(3);
  if (how == 0) return;
  for (std::uint64_t to = 0; to < plan_.members; ++to) {
    Packet packet;
    packet.kind = Kind::proposal;
    packet.from = i;
    packet.view = view;
    packet.block = block_of(view, how == 1 ? 100 : 100 + below(2));
    send(to, std::make_shared<const Packet>(std::move(packet)));
  }
}

}  // namespace mesh::coordination::testing
