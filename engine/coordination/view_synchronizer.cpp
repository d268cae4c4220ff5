#include "engine/coordination/view_synchronizer.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "engine/coordination/blocks/backoff.hpp"
#include "engine/coordination/blocks/id_hash.hpp"

namespace mesh::coordination {
namespace {

constexpr double kWhole = 1'000'000;  // in ppm

std::uint64_t word_of(const PublicKey& key, std::size_t at) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word |= std::uint64_t{key[at * 8 + i]} << (8 * i);
  return word;
}

}  // namespace

ViewSynchronizer::ViewSynchronizer(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      rng_(seed),
      certified_(config.history),
      commit_levels_(config.history),
      values_(std::size_t{config.history} * config.members_max) {
  if (config.auth == ViewAuth::ed25519) keys_ = key_pair_of(config.secret);
  const std::size_t members = config.members_max;
  members_.reserve(members);
  heard_.reserve(members);
  peers_.reserve(members);
  scratch_.reserve(members);
  high_qc_.signers.reserve(members);
  high_qc_.signatures.reserve(members * kSignatureBytes);
  high_tc_.signers.reserve(members);
  high_tc_.ranks.reserve(members);
  high_tc_.signatures.reserve(members * kSignatureBytes);
  sends_.reserve(members + 4);
}

// --- members, epochs ---------------------------------------------------------------------------

std::uint32_t ViewSynchronizer::index_of(std::uint64_t agent) const noexcept {
  const auto at =
      std::lower_bound(members_.begin(), members_.end(), agent,
                       [](const Member& member, std::uint64_t id) { return member.agent < id; });
  if (at == members_.end() || at->agent != agent) return kNone;
  return static_cast<std::uint32_t>(at - members_.begin());
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::RegisterAgent& order,
                                             std::int64_t) noexcept {
  if (running_) return refuse(Errc::wrong_state);
  const bool is_possible =
      order.weight >= 1 && order.weight <= kWeightMax && order.agent != kEveryone;
  if (!is_possible) return refuse(Errc::invalid_argument);
  if (config_.auth == ViewAuth::ed25519) {
    const bool is_usable =
        is_public_key(order.key) && (order.agent != config_.self || order.key == keys_.open);
    if (!is_usable) return refuse(Errc::invalid_argument);
  }
  if (index_of(order.agent) != kNone) return refuse(Errc::already_exists);
  if (members_.size() == config_.members_max) return refuse(Errc::capacity);
  const auto at = std::find_if(members_.begin(), members_.end(),
                               [&](const Member& one) { return one.agent > order.agent; });
  members_.insert(at, {order.agent, order.weight, order.key});  // reserved
  return answer(ViewOutcome::kept);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::RemoveAgent& order,
                                             std::int64_t) noexcept {
  if (running_) return refuse(Errc::wrong_state);
  const std::uint32_t at = index_of(order.agent);
  if (at == kNone) return refuse(Errc::no_such_agent);
  members_.erase(members_.begin() + at);
  return answer(ViewOutcome::kept);
}

// As a member is before it has seen anything of an epoch.
void ViewSynchronizer::forget_views() noexcept {
  frozen_ = counted_ = divergence_told_ = false;
  by_ = By::start;
  view_ = sent_ = voted_ = wished_ = 0;
  voted_block_ = {};
  consecutive_ = attempt_ = 0;
  timer_ns_ = kNever;
  diverged_ns_ = -1;
  keep(QuorumCertificate{});
  keep(TimeoutCertificate{});
  heard_.assign(members_.size(), {});
  peers_.assign(members_.size(), {});
  std::fill(certified_.begin(), certified_.end(), Certified{});
  std::fill(commit_levels_.begin(), commit_levels_.end(), 0);
  commit_count_ = 1;
  std::fill_n(values_.begin(), members_.size(), 1'000'000U);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::StartEpoch&,
                                             std::int64_t now_ns) noexcept {
  if (running_ || members_.empty()) return refuse(Errc::wrong_state);
  std::uint64_t weight = 0;
  IdHash hash = hash_of(++epoch_, members_.size());
  for (const Member& member : members_) {
    weight += member.weight;
    hash = hash_of(hash.low ^ member.agent, hash.high ^ member.weight);
    for (std::size_t at = 0; at < 4; at += 2) {
      hash = hash_of(hash.low ^ word_of(member.key, at), hash.high ^ word_of(member.key, at + 1));
    }
  }
  epoch_hash_ = hash.low;
  size_ = quorum_size(weight, config_.faults, config_.quorum);
  me_ = index_of(config_.self);
  running_ = true;
  forget_views();
  entered_ns_ = now_ns;
  start_timer(now_ns);
  view_changed_ = true;
  emit(Event::epoch_started, Severity::info, now_ns, {epoch_, members_.size(), weight});
  if (is_below_4delta(config_)) {
    emit(Event::timeout_below_4delta, Severity::warning, now_ns,
         {static_cast<std::uint64_t>(config_.base_timeout.count()),
          4 * static_cast<std::uint64_t>(config_.delta.count()), 0});
  }
  return answer(ViewOutcome::entered);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::EndEpoch&, std::int64_t) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  running_ = false;
  forget_views();
  view_changed_ = true;
  return answer(ViewOutcome::kept);
}

// --- views -------------------------------------------------------------------------------------

Nanos ViewSynchronizer::timeout_after(std::uint32_t consecutive) const noexcept {
  const BackoffConfig growth{static_cast<double>(config_.base_timeout.count()),
                             config_.multiplier_ppm / kWhole,
                             static_cast<double>(config_.max_timeout.count())};
  return Nanos{static_cast<std::int64_t>(backoff_exponential(growth, consecutive))};
}

void ViewSynchronizer::start_timer(std::int64_t now_ns) noexcept {
  if (!is_member()) return;  // who only looks on gives nothing up
  std::int64_t wait_ns = timeout_after(consecutive_).count();
  if (config_.jitter_ppm != 0) {
    const double share = rng_.u01() * config_.jitter_ppm / kWhole;
    wait_ns += static_cast<std::int64_t>(share * static_cast<double>(wait_ns));
  }
  timer_ns_ = now_ns + wait_ns;
}

// Once a view, whether its timer fires, or others give it up first.
void ViewSynchronizer::count_timeout() noexcept {
  if (counted_) return;
  counted_ = true;
  if (consecutive_ != UINT32_MAX) ++consecutive_;
}

void ViewSynchronizer::enter(std::uint64_t view, By by, std::int64_t now_ns) noexcept {
  if (by == By::qc) {
    consecutive_ -= std::min(consecutive_, config_.decay_steps);
    ++counters_.entered_by_qc;
  } else if (by == By::tc) {
    count_timeout();
    ++counters_.entered_by_tc;
  } else {
    ++counters_.entered_by_clock;
  }
  emit(Event::entered, Severity::debug, now_ns, {view, view_, epoch_});
  view_ = view;
  by_ = by;
  counted_ = false;
  attempt_ = 0;
  entered_ns_ = now_ns;
  view_changed_ = true;
  start_timer(now_ns);
}

// After TC(v) a leader of many views has lost them all: else it would cost a timeout for each.
std::uint64_t ViewSynchronizer::after_tc(std::uint64_t view) const noexcept {
  if (config_.leader != LeaderRule::sticky) return view + 1;
  return (view / config_.sticky_views + 1) * config_.sticky_views;
}

// SyncMode::epochs: so many views from one meeting of all to the next.
std::uint64_t ViewSynchronizer::stretch() const noexcept {
  if (config_.sync != SyncMode::epochs) return 1;
  return config_.sync_views != 0 ? config_.sync_views : size_.faults + 1;
}

std::uint64_t ViewSynchronizer::weight_at(std::uint64_t view) const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (heard_[i].level == view + 1) sum += members_[i].weight;
  }
  return sum;
}

// My own timeout of this view, and of none below it any more. What it says of my certificates is
// said once; sent again it carries later ones, but swears to the same.
void ViewSynchronizer::give_up(std::uint64_t view) noexcept {
  sent_ = view + 1;
  Heard& mine = heard_[me_];
  mine = {sent_, rank_of(high_qc_), {}};
  if (config_.auth == ViewAuth::ed25519) {
    mine.signature = sign(keys_, timeout_bytes(epoch_hash_, epoch_, view, mine.rank));
  }
  view_changed_ = true;
}

void ViewSynchronizer::fire(std::int64_t now_ns) noexcept {
  ++counters_.timers;
  if ((view_ + 1) % stretch() != 0) {
    count_timeout();
    return enter(view_ + 1, By::clock, now_ns);
  }
  count_timeout();
  const std::uint64_t before = view_;
  if (sent_ < view_ + 1) {
    give_up(view_);
    emit(Event::timed_out, Severity::info, now_ns, {view_, 0, epoch_});
  }
  const bool to_relay =
      config_.sync == SyncMode::linear && attempt_ <= size_.faults && attempt_ < members_.size();
  const std::uint64_t to = to_relay ? relay_of(sent_ - 1, attempt_++) : kEveryone;
  if (to != config_.self) send_timeout(to);
  gather(sent_ - 1, kEveryone, now_ns);
  if (view_ != before) return;
  start_timer(now_ns);
  // A relay has four delays: to hear, to show what it heard, to hear the others, to tell them all.
  if (to_relay) {
    timer_ns_ = std::min(timer_ns_, now_ns + std::max<std::int64_t>(4 * config_.delta.count(), 1));
  }
}

// What the timeouts of this view that are known amount to.
void ViewSynchronizer::gather(std::uint64_t view, std::uint64_t relay,
                              std::int64_t now_ns) noexcept {
  if (view < view_) return;
  std::uint64_t weight = weight_at(view);
  const bool is_near = view - view_ <= config_.max_view_jump;
  const bool is_linear = config_.sync == SyncMode::linear;
  if (is_member() && is_near && sent_ < view + 1 && weight >= size_.amplify) {
    ++counters_.amplified;
    give_up(view);
    weight += members_[me_].weight;
    if (!is_linear || relay != kEveryone) send_timeout(is_linear ? relay : kEveryone);
  }
  if (weight >= size_.quorum) {
    form_tc(view);
    ++counters_.tcs_formed;
    enter(tc_target(), By::tc, now_ns);
    if (!is_linear || relay == kEveryone) send_tc();  // a relay tells all, and nobody else
    return;
  }
  const bool shows = is_linear && relay == kEveryone && is_near && wished_ < view + 1;
  if (shows && weight >= size_.amplify) send_wishes(view);
}

// --- commands ----------------------------------------------------------------------------------

ViewState ViewSynchronizer::state() const noexcept {
  if (!running_) return ViewState::idle;
  if (frozen_) return ViewState::frozen;
  return sent_ > view_ ? ViewState::timed_out : ViewState::active;
}

ViewSynchronizer::Reply ViewSynchronizer::answer(ViewOutcome outcome) noexcept {
  Reply reply;
  reply.outcome = outcome;
  reply.epoch = epoch_;
  reply.view = view_;
  reply.leader = leader(view_);
  reply.timer = Nanos{timer_ns_ == kNever ? 0 : timer_ns_};
  return reply;
}
ViewSynchronizer::Reply ViewSynchronizer::stale() noexcept {
  ++counters_.stale;
  return answer(ViewOutcome::ignored);
}
ViewSynchronizer::Reply ViewSynchronizer::unproven() noexcept {
  ++counters_.unproven;
  Reply reply = refuse(Errc::verification_failed);
  reply.epoch = epoch_;
  reply.view = view_;
  return reply;
}

// Of another epoch nothing can be verified here.
ViewSynchronizer::Reply ViewSynchronizer::other_epoch(std::uint64_t epoch,
                                                      std::int64_t now_ns) noexcept {
  if (epoch < epoch_) return stale();
  if (told_epoch_ < epoch_) {  // once an epoch: anybody can claim this
    told_epoch_ = epoch_;
    emit(Event::epoch_ahead, Severity::info, now_ns, {epoch, epoch_, 0});
  }
  return answer(ViewOutcome::epoch_ahead);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::Vote& order, std::int64_t) noexcept {
  const bool may_vote =
      running_ && !frozen_ && is_member() && order.view == view_ && sent_ < view_ + 1;
  if (!may_vote) return refuse(Errc::wrong_state);
  const bool is_again = voted_ == view_ + 1;
  if (is_again && voted_block_ != order.block) return refuse(Errc::conflict);
  if (!is_again) {
    voted_ = view_ + 1;
    voted_block_ = order.block;
    ++counters_.votes;
  }
  Reply reply = answer(is_again ? ViewOutcome::duplicate : ViewOutcome::kept);
  if (config_.auth == ViewAuth::ed25519) {
    const Signature signature =
        sign(keys_, vote_bytes(epoch_hash_, epoch_, order.view, order.block));
    const auto bytes = std::as_bytes(std::span(signature));
    reply.signature.assign(bytes.begin(), bytes.end());
  }
  return reply;
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::Commit& order, std::int64_t) noexcept {
  const bool is_certified = running_ && order.view < rank_of(high_qc_);
  if (!is_certified) return refuse(Errc::wrong_state);
  const std::uint64_t last = commit_levels_[(commit_count_ - 1) % config_.history];
  if (order.view + 1 <= last) return stale();
  if (order.view + kReputationLag <= view_) ++counters_.late_commits;
  ++counters_.commits;
  learn(order.view);
  view_changed_ = true;
  return answer(ViewOutcome::kept);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::ReceiveQc& order,
                                             std::int64_t now_ns) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  if (order.qc.view > kViewMax) return refuse(Errc::invalid_argument);
  if (order.qc.epoch != epoch_) return other_epoch(order.qc.epoch, now_ns);
  const Proof proof = prove(order.qc);
  if (proof == Proof::bad) return unproven();
  if (proof == Proof::old) return stale();
  return answer(take(order.qc, now_ns));
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::ReceiveTc& order,
                                             std::int64_t now_ns) noexcept {
  if (!running_) return refuse(Errc::wrong_state);
  if (order.tc.view > kViewMax) return refuse(Errc::invalid_argument);
  if (order.tc.epoch != epoch_) return other_epoch(order.tc.epoch, now_ns);
  const Proof proof = prove(order.tc);
  if (proof == Proof::bad) return unproven();
  if (proof == Proof::old) return stale();
  const ViewOutcome outcome = take(order.tc, now_ns);
  pass_on(outcome);
  return answer(outcome);
}

// Whoever enters by a TC passes it on, once, so that all enter within one delay. A relay tells all.
void ViewSynchronizer::pass_on(ViewOutcome outcome) noexcept {
  const bool is_news = outcome == ViewOutcome::entered && by_ == By::tc;
  if (is_news && is_member() && config_.sync != SyncMode::linear) send_tc();
}

// Whether this timeout is what it says. Its certificates have been looked at before.
bool ViewSynchronizer::accept(std::uint32_t member, const Timeout& timeout) noexcept {
  const std::uint64_t proven = std::max(rank_of(high_qc_), rank_of(timeout.high_qc));
  if (timeout.rank > proven) return false;
  return is_signed_by(member, timeout_bytes(epoch_hash_, epoch_, timeout.view, timeout.rank),
                      timeout.signature);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::ReceiveTimeout& order,
                                             std::int64_t now_ns) noexcept {
  const Timeout& timeout = order.timeout;
  if (!running_) return refuse(Errc::wrong_state);
  if (timeout.view > kViewMax) return refuse(Errc::invalid_argument);
  if (timeout.epoch != epoch_) return other_epoch(timeout.epoch, now_ns);
  const std::uint32_t member = index_of(timeout.signer);
  if (member == kNone) return unproven();
  if (member == me_) return stale();  // an echo
  const Proof proof = prove_both(timeout.high_qc, timeout.entered_by);
  if (proof == Proof::bad) return unproven();
  const bool is_late = timeout.view < view_;
  const bool is_known = heard_[member].level >= timeout.view + 1;
  const bool is_news = !is_late && !is_known;
  if ((is_news || proof == Proof::fresh) && !accept(member, timeout)) return unproven();
  const ViewOutcome led = take_both(timeout.high_qc, timeout.entered_by, now_ns);
  pass_on(led);
  note_peer(member, timeout.at, now_ns);
  if (timeout.view < view_) {
    if (led != ViewOutcome::none) return answer(led);
    help(member, now_ns);
    return stale();
  }
  if (!is_known) return remember(member, timeout, led, now_ns);
  ++counters_.duplicates;
  return answer(led == ViewOutcome::none ? ViewOutcome::duplicate : led);
}

// What it says is new, and counts from now on. led: what its certificates did.
ViewSynchronizer::Reply ViewSynchronizer::remember(std::uint32_t member, const Timeout& timeout,
                                                   ViewOutcome led, std::int64_t now_ns) noexcept {
  Heard& heard = heard_[member];
  heard = {timeout.view + 1, timeout.rank, {}};
  if (timeout.signature.size() == kSignatureBytes) {
    std::memcpy(heard.signature.data(), timeout.signature.data(), kSignatureBytes);
  }
  const std::uint64_t before = view_;
  gather(timeout.view, kEveryone, now_ns);
  const bool entered = view_ != before || led == ViewOutcome::entered;
  return answer(entered ? ViewOutcome::entered : ViewOutcome::kept);
}

ViewSynchronizer::Reply ViewSynchronizer::on(const view::ReceiveWishes& order,
                                             std::int64_t now_ns) noexcept {
  const TimeoutCertificate& wishes = order.wishes;
  if (!running_) return refuse(Errc::wrong_state);
  if (wishes.view > kViewMax) return refuse(Errc::invalid_argument);
  if (wishes.epoch != epoch_) return other_epoch(wishes.epoch, now_ns);
  if (index_of(order.relay) == kNone) return unproven();
  if (wishes.view < view_) return stale();
  const Proof proof = prove_both(wishes.high_qc, {});
  if (proof == Proof::bad || !prove_wishes(wishes, size_.amplify)) return unproven();
  const std::uint64_t before = view_;
  take_both(wishes.high_qc, {}, now_ns);
  if (wishes.view < view_) return answer(ViewOutcome::entered);
  for (std::size_t i = 0; i < wishes.signers.size(); ++i) {
    const std::uint32_t member = index_of(wishes.signers[i]);
    if (member == kNone || member == me_ || heard_[member].level > wishes.view) continue;
    heard_[member] = {wishes.view + 1, wishes.ranks[i], {}};
    if (config_.auth == ViewAuth::ed25519) {
      std::memcpy(heard_[member].signature.data(), &wishes.signatures[i * kSignatureBytes],
                  kSignatureBytes);
    }
  }
  gather(wishes.view, order.relay, now_ns);
  return answer(view_ != before ? ViewOutcome::entered : ViewOutcome::kept);
}

// --- the two entries ---------------------------------------------------------------------------

ViewSynchronizer::Reply ViewSynchronizer::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  if (!sends_.empty()) {
    reply.sends.assign(std::make_move_iterator(sends_.begin()),
                       std::make_move_iterator(sends_.end()));
    sends_.clear();
  }
  return reply;
}

void ViewSynchronizer::tick(Nanos now, Actions& out) noexcept {
  out.sends.clear();
  std::int64_t next_ns = kNever;
  if (ServiceClock::is_valid(now) && running_) {
    const std::int64_t now_ns = clock_.at(now);
    if (timer_ns_ <= now_ns) fire(now_ns);
    watch(now_ns);
    next_ns = timer_ns_;
    if (diverged_ns_ >= 0 && !divergence_told_) {
      next_ns = std::min(next_ns, diverged_ns_ + config_.divergence_window.count());
    }
  }
  out.sends.assign(std::make_move_iterator(sends_.begin()), std::make_move_iterator(sends_.end()));
  sends_.clear();
  out.next_tick = Nanos{next_ns};
  out.view_changed = std::exchange(view_changed_, false);
}

}  // namespace mesh::coordination
