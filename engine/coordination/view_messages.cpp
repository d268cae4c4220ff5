// What the view synchronizer sends, what it makes of where its peers are, and who leads.
#include <algorithm>
#include <utility>

#include "engine/coordination/view_synchronizer.hpp"

namespace mesh::coordination {

// --- messages ----------------------------------------------------------------------------------

ViewSend ViewSynchronizer::message(ViewSendKind kind, std::uint64_t to) const {
  ViewSend sent;
  sent.kind = kind;
  sent.from = config_.self;
  sent.to = to;
  sent.epoch = epoch_;
  return sent;
}

TimeoutCertificate ViewSynchronizer::tc_to_send() const {
  TimeoutCertificate tc = high_tc_;
  if (!tc.signers.empty()) tc.high_qc = high_qc_;
  return tc;
}

// With what brought its sender here: whoever is behind comes after it, and is counted.
void ViewSynchronizer::send_timeout(std::uint64_t to) {
  const Heard& mine = heard_[me_];
  ViewSend sent = message(ViewSendKind::timeout, to);
  Timeout& timeout = sent.timeout;
  timeout.epoch = epoch_;
  timeout.view = mine.level - 1;
  timeout.signer = config_.self;
  timeout.rank = mine.rank;
  timeout.at = view_;
  if (config_.auth == ViewAuth::ed25519) {
    const auto bytes = std::as_bytes(std::span(mine.signature));
    timeout.signature.assign(bytes.begin(), bytes.end());
  }
  timeout.high_qc = high_qc_;
  if (tc_target() > rank_of(high_qc_)) timeout.entered_by = tc_to_send();
  sends_.push_back(std::move(sent));
  ++counters_.timeouts_sent;
}

void ViewSynchronizer::send_tc() {
  ViewSend sent = message(ViewSendKind::tc, kEveryone);
  sent.tc = tc_to_send();
  sends_.push_back(std::move(sent));
}

// A relay's proof that the view is being given up: the others join, and answer to it.
void ViewSynchronizer::send_wishes(std::uint64_t view) {
  wished_ = view + 1;
  ViewSend sent = message(ViewSendKind::wishes, kEveryone);
  TimeoutCertificate& wishes = sent.tc;
  wishes.epoch = epoch_;
  wishes.view = view;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (heard_[i].level != view + 1) continue;
    wishes.weight += members_[i].weight;
    wishes.signers.push_back(members_[i].agent);
    wishes.ranks.push_back(heard_[i].rank);
    if (config_.auth == ViewAuth::trusted_bitmap) continue;
    const auto bytes = std::as_bytes(std::span(heard_[i].signature));
    wishes.signatures.insert(wishes.signatures.end(), bytes.begin(), bytes.end());
  }
  wishes.high_qc = high_qc_;
  sends_.push_back(std::move(sent));
}

void ViewSynchronizer::send_catch_up(std::uint64_t to) {
  if (std::max(rank_of(high_qc_), tc_target()) == 0) return;  // it has nothing to show
  ++counters_.catch_ups_answered;
  ViewSend sent = message(ViewSendKind::catch_up, to);
  sent.qc = high_qc_;
  if (tc_target() > rank_of(high_qc_)) sent.tc = tc_to_send();
  sends_.push_back(std::move(sent));
}

ViewCommand command_of(const ViewSend& sent) {
  switch (sent.kind) {
    case ViewSendKind::timeout:
      return view::ReceiveTimeout{sent.timeout};
    case ViewSendKind::tc:
      return view::ReceiveTc{sent.tc};
    case ViewSendKind::wishes:
      return view::ReceiveWishes{sent.from, sent.tc};
    case ViewSendKind::want_catch_up:
      return view::CatchUpWanted{sent.from, sent.epoch};
    case ViewSendKind::catch_up:
      break;
  }
  return view::ReceiveCatchUp{sent.from, sent.epoch, sent.qc, sent.tc};
}

// --- peers -------------------------------------------------------------------------------------

// It gives up a view that is over. What ended it here may have reached nobody else: a certificate
// of votes is not passed on, and one of timeouts may be lost. Once a view and peer.
void ViewSynchronizer::help(std::uint32_t member, std::int64_t now_ns) noexcept {
  Peer& peer = peers_[member];
  const bool is_overdue = by_ == By::qc || now_ns - entered_ns_ >= 2 * config_.delta.count();
  if (!is_overdue || peer.helped == view_ + 1 || peer.view >= view_) return;
  peer.helped = view_ + 1;
  send_catch_up(members_[member].agent);
}

// Where a peer says it is: never a reason to go there, but to ask it for its proof.
void ViewSynchronizer::note_peer(std::uint32_t member, std::uint64_t view,
                                 std::int64_t now_ns) noexcept {
  Peer& peer = peers_[member];
  peer.view = view;
  peer.heard_ns = now_ns;
  const bool is_behind = view > view_ && view - view_ >= config_.catch_up_threshold;
  const std::int64_t pause_ns = timeout_after(consecutive_).count();
  const bool has_asked = peer.asked_ns >= 0 && now_ns - peer.asked_ns < pause_ns;
  if (!is_behind || has_asked) return;
  peer.asked_ns = now_ns;
  ++counters_.catch_ups_asked;
  sends_.push_back(message(ViewSendKind::want_catch_up, members_[member].agent));
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::CatchUpWanted& order,
                                             std::int64_t now_ns) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  if (order.epoch > epoch_) return other_epoch(order.epoch, now_ns);
  if (index_of(order.from) == kNone) return refuse(Errc::no_such_agent);
  send_catch_up(order.from);
  return answer(ViewOutcome::kept);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::ReceiveCatchUp& order,
                                             std::int64_t now_ns) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  if (order.qc.view > kViewMax || order.tc.view > kViewMax) return refuse(Errc::invalid_argument);
  if (order.epoch != epoch_) return other_epoch(order.epoch, now_ns);
  const bool shows_any = !order.qc.signers.empty() || !order.tc.signers.empty();
  const Proof proof = shows_any ? prove_both(order.qc, order.tc) : Proof::bad;
  if (proof == Proof::bad) return unproven();
  if (proof == Proof::old) return stale();
  return answer(take_both(order.qc, order.tc, now_ns));
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::PeerView& order,
                                             std::int64_t now_ns) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  if (order.view > kViewMax) return refuse(Errc::invalid_argument);
  const std::uint32_t member = index_of(order.from);
  if (member == kNone || member == me_) return refuse(Errc::no_such_agent);
  note_peer(member, order.view, now_ns);
  return answer(ViewOutcome::kept);
}

// The spread of the views once F by weight are left out at either end: no F liars can widen it.
void ViewSynchronizer::watch(std::int64_t now_ns) noexcept {
  scratch_.clear();
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    const Peer& peer = peers_[i];
    const bool is_fresh =
        peer.heard_ns >= 0 && now_ns - peer.heard_ns <= config_.divergence_window.count();
    if (i == me_) {
      scratch_.emplace_back(view_, members_[i].weight);
    } else if (is_fresh) {
      scratch_.emplace_back(peer.view, members_[i].weight);
    }
  }
  std::sort(scratch_.begin(), scratch_.end());
  const auto trimmed = [&](auto first, auto last) {
    std::uint64_t weight = 0;
    while (first != last && (weight += first->second) <= size_.faults) ++first;
    return first == last ? view_ : first->first;
  };
  const std::uint64_t lowest = trimmed(scratch_.begin(), scratch_.end());
  const std::uint64_t highest = trimmed(scratch_.rbegin(), scratch_.rend());
  if (highest <= lowest || highest - lowest <= 2) {
    diverged_ns_ = -1;
    divergence_told_ = false;
    return;
  }
  if (diverged_ns_ < 0) diverged_ns_ = now_ns;
  const bool is_long = now_ns - diverged_ns_ >= config_.divergence_window.count();
  if (!is_long || divergence_told_) return;
  divergence_told_ = true;
  ++counters_.divergences;
  emit(Event::divergence, Severity::warning, now_ns, {lowest, highest, 0});
}

// --- leaders -----------------------------------------------------------------------------------

std::uint64_t ViewSynchronizer::relay_of(std::uint64_t view, std::uint32_t attempt) const noexcept {
  const std::uint32_t first = leader_index(after_tc(view));
  const std::size_t at = (first == kNone ? 0 : first) + std::size_t{attempt};
  return members_[at % members_.size()].agent;
}

// Which reputations choose the leader of this view: those of the latest commit that is old enough.
std::uint32_t ViewSynchronizer::snapshot_for(std::uint64_t view) const noexcept {
  const std::uint64_t kept = std::min<std::uint64_t>(commit_count_, config_.history);
  for (std::uint64_t back = 1; back <= kept; ++back) {
    const auto at = static_cast<std::uint32_t>((commit_count_ - back) % config_.history);
    const std::uint64_t level = commit_levels_[at];
    if (level == 0 || level - 1 + kReputationLag <= view) return at;
  }
  return kNone;
}

std::uint32_t ViewSynchronizer::leader_index(std::uint64_t view) const noexcept {
  const std::size_t count = members_.size();
  if (config_.leader == LeaderRule::round_robin) return static_cast<std::uint32_t>(view % count);
  if (config_.leader == LeaderRule::sticky) {
    return static_cast<std::uint32_t>(view / config_.sticky_views % count);
  }
  const std::uint32_t snapshot = snapshot_for(view);
  if (snapshot == kNone) return kNone;
  const std::uint32_t* values = &values_[std::size_t{snapshot} * config_.members_max];
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += values[i];
  std::uint64_t pick = Rng(epoch_hash_ ^ view).below(sum);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (pick < values[i]) return i;
    pick -= values[i];
  }
  return kNone;
}

std::uint64_t ViewSynchronizer::leader(std::uint64_t view) const noexcept {
  if (!running_) return kEveryone;
  const std::uint32_t at = leader_index(view);
  return at == kNone ? kEveryone : members_[at].agent;
}

// The leaders of the views between this commit and the one before have failed, this one's has not.
// All that have committed the same compute the same. Of a long gap the latest views count.
void ViewSynchronizer::learn(std::uint64_t committed) noexcept {
  const std::uint64_t last = commit_levels_[(commit_count_ - 1) % config_.history];
  const auto row = [&](std::uint64_t count) {
    return values_.begin() +
           static_cast<std::ptrdiff_t>(count % config_.history * config_.members_max);
  };
  const auto fresh = row(commit_count_);
  std::copy_n(row(commit_count_ - 1), members_.size(), fresh);
  const std::uint64_t alpha = config_.rep_alpha_ppm;
  std::uint64_t view =
      std::max(last, committed - std::min<std::uint64_t>(committed, config_.history));
  if (config_.leader != LeaderRule::reputation) view = committed + 1;
  for (; view <= committed; ++view) {
    const std::uint32_t at = leader_index(view);
    if (at == kNone) continue;
    const std::uint64_t value = fresh[at];
    const std::uint64_t after = view == committed ? value + alpha * (1'000'000 - value) / 1'000'000
                                                  : value - alpha * value / 1'000'000;
    fresh[at] = std::max(config_.rep_floor_ppm, static_cast<std::uint32_t>(after));
  }
  commit_levels_[commit_count_ % config_.history] = committed + 1;
  ++commit_count_;
}

std::span<const std::uint32_t> ViewSynchronizer::reputations() const noexcept {
  if (commit_count_ == 0) return {};
  const std::size_t at = (commit_count_ - 1) % config_.history;
  return std::span(values_).subspan(at * config_.members_max, members_.size());
}

}  // namespace mesh::coordination
