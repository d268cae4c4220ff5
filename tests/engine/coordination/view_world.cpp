// The honest part of the world: members, their consensus, the network, and what is watched.
#include "tests/engine/coordination/view_world.hpp"

#include <algorithm>

namespace mesh::coordination::testing {

ViewWorld::ViewWorld(const ViewPlan& plan) : plan_(plan), rng_(plan.seed) {
  for (std::uint64_t i = 0; i < plan_.members; ++i) {
    order_.push_back(i);
    nodes_.push_back(std::make_unique<Node>());
  }
  for (std::uint64_t i = plan_.members; i > 1; --i) std::swap(order_[i - 1], order_[below(i)]);
  for (std::uint64_t i = 0; i < plan_.faulty; ++i) nodes_[order_[i]]->is_faulty = true;
  for (std::uint64_t i = 0; i < plan_.members; ++i) {
    if (!nodes_[i]->is_faulty) start(i);
  }
}

void ViewWorld::run(std::uint64_t rounds, Nanos end) {
  is_born_ = true;
  const std::uint64_t wanted = rounds_ + rounds;
  while (!events_.empty() && rounds_ < wanted && now_ns_ <= end.count()) {
    const Event event = events_.top();
    events_.pop();
    now_ns_ = event.at_ns;
    if (is_well() && !was_well_) {
      was_well_ = true;
      view_when_well_ = highest_view();
    }
    if (event.packet == nullptr) {
      wake(event.to);
    } else {
      deliver(event.to, event.packet);
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
}

std::uint64_t ViewWorld::lost_views() const {
  std::uint64_t lost = 0;
  for (const auto& node : nodes_) {
    if (!node->is_faulty) lost = std::max(lost, views(*node).counters().entered_by_tc);
  }
  return lost;
}

std::uint64_t ViewWorld::deaths() const {
  std::uint64_t sum = 0;
  for (const auto& node : nodes_) sum += node->views ? node->views->deaths() : 0;
  return sum;
}

std::uint64_t ViewWorld::highest_view() const {
  std::uint64_t view = 0;
  for (const auto& node : nodes_) view = std::max(view, node->is_faulty ? 0 : node->view);
  return view;
}

void ViewWorld::verify() const {
  for (const auto& node : nodes_) {
    if (node->is_faulty) continue;
    const auto sound = views(*node).verify();
    ASSERT_TRUE(sound) << sound.error().sentence;
  }
}

const ViewSynchronizer& ViewWorld::views(const Node& node) {
  return node.plain ? *node.plain : node.views->service();
}

std::uint64_t ViewWorld::quorum() const {
  return quorum_size(plan_.members, plan_.config.faults, plan_.config.quorum).quorum;
}

void ViewWorld::start(std::uint64_t i) {
  Node& node = *nodes_[i];
  auto config = plan_.config;
  config.self = i;
  config.members_max = static_cast<std::uint32_t>(plan_.members);
  config.secret = seed_of(i);
  if (plan_.deaths_ppm != 0) {
    node.views = std::make_unique<MortalViews>(config, plan_.seed);
  } else {
    node.plain = std::make_unique<ViewSynchronizer>(config, plan_.seed);
  }
  for (std::uint64_t agent = 0; agent < plan_.members; ++agent) {
    view::RegisterAgent order{agent, 1, {}};
    if (config.auth == ViewAuth::ed25519) order.key = key_pair_of(seed_of(agent)).open;
    apply(i, order, 0);
  }
  apply(i, view::StartEpoch{}, 0);
  if (plan_.config.auth == ViewAuth::ed25519) return;
  const std::uint64_t first = below(4);  // an earlier life of all has brought each somewhere
  if (first == 0) return;
  TimeoutCertificate tc = tc_of(first - 1, {});
  for (std::uint64_t agent = 0; agent < quorum(); ++agent) {
    tc.signers.push_back(agent);
    really_gave_up_[tc.view].insert(agent);
  }
  tc.ranks.resize(quorum());
  tc.weight = quorum();
  apply(i, view::ReceiveTc{tc}, below(500) * kNsPerMs);
}

bool ViewWorld::apply(std::uint64_t i, const ViewCommand& command, std::uint64_t at_ns) {
  now_ns_ = std::max(now_ns_, static_cast<std::int64_t>(at_ns));
  return act(i, &command).has_value();
}

std::optional<ViewReply> ViewWorld::act(std::uint64_t i, const ViewCommand* command) {
  Node& node = *nodes_[i];
  const Nanos now{now_ns_};
  ViewReply reply;
  ViewSyncActions actions;
  if (node.plain) {
    if (command == nullptr) {
      node.plain->tick(now, actions);
    } else {
      reply = node.plain->apply(*command, now);
    }
  } else {
    const std::size_t death = is_born_ && chance(plan_.deaths_ppm) ? 1 + below(5) : 0;
    if (command == nullptr) {
      if (!node.views->tick(now, actions, death)) return die(node, i);
    } else {
      auto lived = node.views->apply(*command, now, death);
      if (!lived) return die(node, i);
      reply = std::move(*lived);
    }
  }
  settle(i, command == nullptr ? actions.sends : reply.sends);
  if (reply.outcome == ViewOutcome::violation) ++violations_;
  return reply;
}

std::optional<ViewReply> ViewWorld::die(Node& node, std::uint64_t i) {
  node.proposed = 0;
  node.proposal = nullptr;
  node.votes.clear();
  look(i);
  return std::nullopt;
}

void ViewWorld::settle(std::uint64_t i, const std::vector<ViewSend>& sends) {
  for (const auto& sent : sends) {
    if (sent.kind == ViewSendKind::timeout) note_timeout(*nodes_[i], sent.timeout);
    Packet packet;
    packet.from = i;
    packet.sync = sent;
    if (sent.to == kEveryone) {
      broadcast(std::move(packet));
    } else {
      send(sent.to, std::make_shared<const Packet>(std::move(packet)));
    }
  }
  look(i);
}

void ViewWorld::look(std::uint64_t i) {
  Node& node = *nodes_[i];
  const ViewSynchronizer& at = views(node);
  note_own_timeout(node, i);
  const std::int64_t timer_ns = at.next_timer().count();
  if (timer_ns != node.timer_ns && timer_ns != INT64_MAX) {
    node.timer_ns = timer_ns;
    events_.push({std::max(timer_ns, now_ns_), ++order_number_, i, nullptr});
  }
  const std::uint64_t view = at.current_view();
  if (view == node.view) return;
  ASSERT_GT(view, node.view) << "member " << i << " went back";
  ASSERT_TRUE(is_justified(view)) << "member " << i << " entered " << view << " from " << node.view
                                  << " without a certificate";
  node.view = view;
  std::erase_if(node.votes, [&](const auto& one) { return one.first.first + 2 < view; });
  const auto [known, fresh] = leaders_.try_emplace(view, at.leader(view));
  ASSERT_EQ(known->second, at.leader(view)) << "two leaders of view " << view;
  note_qc(i);
  if (at.leader(view) == i) {
    propose(i);
  } else {
    Packet hello;
    hello.kind = Kind::new_view;
    hello.from = i;
    hello.view = view;
    send(at.leader(view), std::make_shared<const Packet>(std::move(hello)));
  }
}

void ViewWorld::wake(std::uint64_t i) {
  Node& node = *nodes_[i];
  if (views(node).next_timer().count() > now_ns_) return;
  node.timer_ns = -1;
  act(i, nullptr);
}

void ViewWorld::propose(std::uint64_t i) {
  Node& node = *nodes_[i];
  Packet packet;
  packet.kind = Kind::proposal;
  packet.from = i;
  packet.view = node.view;
  packet.block = block_of(node.view, i);
  packet.qc = views(node).high_qc();
  node.proposed = node.view + 1;
  node.proposal = std::make_shared<const Packet>(packet);
  for (std::uint64_t to = 0; to < plan_.members; ++to) {
    if (to != i) send(to, node.proposal);
  }
  vote(i, *node.proposal);
}

void ViewWorld::vote(std::uint64_t i, const Packet& proposal) {
  Node& node = *nodes_[i];
  const ViewSynchronizer& at = views(node);
  if (at.current_view() != proposal.view || at.leader(proposal.view) != proposal.from) return;
  const ViewCommand command = view::Vote{proposal.view, proposal.block};
  const auto reply = act(i, &command);
  if (!reply || reply->code != Errc::ok) return;
  ASSERT_GT(proposal.view + 1, node.gave_up) << "member " << i << " votes in a view it gave up";
  ASSERT_TRUE(node.voted != proposal.view + 1 || node.voted_block == proposal.block)
      << "member " << i << " voted twice";
  node.voted = proposal.view + 1;
  node.voted_block = proposal.block;
  really_voted_[{proposal.view, proposal.block}].insert(i);
  Packet packet;
  packet.kind = Kind::vote;
  packet.from = i;
  packet.view = proposal.view;
  packet.block = proposal.block;
  packet.signature = reply->signature;
  if (proposal.from == i) {
    collect(i, packet);
  } else {
    send(proposal.from, std::make_shared<const Packet>(std::move(packet)));
  }
}

void ViewWorld::collect(std::uint64_t i, const Packet& vote) {
  Node& node = *nodes_[i];
  Voters& voters = node.votes[{vote.view, vote.block}];
  voters[vote.from] = vote.signature;
  if (voters.size() != quorum()) return;
  Packet packet;
  packet.kind = Kind::qc;
  packet.from = i;
  packet.view = vote.view;
  packet.qc = certificate(vote.view, vote.block, voters);
  note_round(vote.view);
  broadcast(packet);
  apply(i, view::ReceiveQc{packet.qc}, 0);
}

QuorumCertificate ViewWorld::certificate(std::uint64_t view, const BlockHash& block,
                                         const Voters& voters) {
  QuorumCertificate qc = qc_of(view, {});
  qc.block = block;
  for (const auto& [voter, signature] : voters) {
    qc.signers.push_back(voter);
    qc.signatures.insert(qc.signatures.end(), signature.begin(), signature.end());
  }
  qc.weight = voters.size();
  return qc;
}

void ViewWorld::broadcast(Packet packet) {
  const auto shared = std::make_shared<const Packet>(std::move(packet));
  for (std::uint64_t to = 0; to < plan_.members; ++to) {
    if (to != shared->from) send(to, shared);
  }
}

void ViewWorld::send(std::uint64_t to, const Shared& packet) {
  if (packet->kind == Kind::sync) ++sync_sent_;
  const std::uint64_t delta_ns = static_cast<std::uint64_t>(plan_.config.delta.count());
  if (is_well()) {
    if (chance(plan_.loss_after_ppm)) return;
    return arrive(to, packet, 1 + below(delta_ns));
  }
  if (chance(plan_.loss_ppm)) return;
  for (int copies = chance(100'000) ? 2 : 1; copies > 0; --copies) {
    const auto late_ns = static_cast<std::int64_t>(1 + below(2'000 * kNsPerMs));
    const auto last_ns = plan_.stable.count() - now_ns_ + static_cast<std::int64_t>(delta_ns);
    arrive(to, packet, static_cast<std::uint64_t>(std::min(late_ns, last_ns)));
  }
}

void ViewWorld::arrive(std::uint64_t to, const Shared& packet, std::uint64_t after_ns) {
  events_.push({now_ns_ + static_cast<std::int64_t>(after_ns), ++order_number_, to, packet});
  const std::uint64_t words[] = {trace_,       static_cast<std::uint64_t>(now_ns_) + after_ns,
                                 packet->from, to,
                                 packet->view, static_cast<std::uint64_t>(packet->kind)};
  trace_ = checksum(std::as_bytes(std::span(words)));
}

void ViewWorld::deliver(std::uint64_t to, const Shared& packet) {
  if (nodes_[to]->is_faulty) return overhear(to, packet);
  switch (packet->kind) {
    case Kind::sync: {
      const ViewCommand command = command_of(packet->sync);
      const auto reply = act(to, &command);
      const bool is_lie = reply && reply->code == Errc::verification_failed;
      ASSERT_TRUE(!is_lie || nodes_[packet->from]->is_faulty)
          << "an honest member's " << to_string(packet->sync.kind) << " was not believed";
      refused_ += is_lie ? 1U : 0U;
      return;
    }
    case Kind::proposal:
      if (!packet->qc.signers.empty()) apply(to, view::ReceiveQc{packet->qc}, 0);
      if (!packet->tc.signers.empty()) apply(to, view::ReceiveTc{packet->tc}, 0);
      return vote(to, *packet);
    case Kind::vote:
      return collect(to, *packet);
    case Kind::qc:
      apply(to, view::ReceiveQc{packet->qc}, 0);
      return;
    case Kind::new_view: {
      const Node& node = *nodes_[to];
      if (node.proposed == packet->view + 1 && node.view == packet->view) {
        send(packet->from, node.proposal);
      }
      return;
    }
  }
}

void ViewWorld::note_own_timeout(Node& node, std::uint64_t i) {
  const std::uint64_t level = views(node).given_up();
  if (level != 0) really_gave_up_[level - 1].insert(i);
}

void ViewWorld::note_timeout(Node& node, const Timeout& timeout) {
  ASSERT_GE(timeout.view + 1, node.gave_up) << "it gave up a later view before";
  ASSERT_TRUE(timeout.view + 1 != node.gave_up || timeout.rank == node.gave_up_rank)
      << "two timeouts of one view say two things";
  node.gave_up = timeout.view + 1;
  node.gave_up_rank = timeout.rank;
  really_gave_up_[timeout.view].insert(timeout.signer);
}

bool ViewWorld::is_justified(std::uint64_t view) const {
  if (plan_.config.sync == SyncMode::epochs) return true;  // ViewSynchronizer::verify() looks
  for (auto at = really_voted_.lower_bound({view - 1, BlockHash{}});
       at != really_voted_.end() && at->first.first == view - 1; ++at) {
    if (with_faulty(at->second) >= quorum()) return true;
  }
  for (auto at = really_gave_up_.rbegin(); at != really_gave_up_.rend(); ++at) {
    const bool leads =
        plan_.config.leader == LeaderRule::sticky
            ? (at->first / plan_.config.sticky_views + 1) * plan_.config.sticky_views == view
            : at->first + 1 == view;
    if (leads && with_faulty(at->second) >= quorum()) return true;
  }
  return false;
}

std::uint64_t ViewWorld::with_faulty(std::set<std::uint64_t> signers) const {
  for (std::uint64_t k = 0; k < plan_.members; ++k) {
    if (nodes_[k]->is_faulty) signers.insert(k);
  }
  return signers.size();
}

void ViewWorld::note_qc(std::uint64_t i) {
  const std::uint64_t rank = rank_of(views(*nodes_[i]).high_qc());
  if (rank == 0 || !certified_.insert(rank).second) return;
  const std::int64_t after_ns = now_ns_ - plan_.stable.count();
  const bool counts = was_well_ && rank > view_when_well_ && after_ns > plan_.config.delta.count();
  if (counts && first_qc_ns_ < 0) first_qc_ns_ = after_ns;
}

void ViewWorld::note_round(std::uint64_t view) {
  if (!is_well()) return;
  for (const auto& node : nodes_) {
    if (!node->is_faulty && node->view != view) return;
  }
  ++rounds_;
}

}  // namespace mesh::coordination::testing
