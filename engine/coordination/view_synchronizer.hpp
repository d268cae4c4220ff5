// ViewSynchronizer: brings the members of a consensus into the same view, for long enough, however
// slow or faulty some of them are. It agrees on nothing but the number of the view.
//
//   idle --StartEpoch--> active, view 0 --QC or TC of a later view--> active, the view after it
//                          |                     ^
//                          | timer               | a quorum of timeouts: TC
//                          v                     |
//                        timed_out: no vote leaves; the timeout is sent again and again
//   two blocks certified in one view: frozen, until the next epoch. EndEpoch: idle.
//
// Callers     one thread, which owns the machine; no I/O: messages in, messages out, the bridge
//             carries them. Hosted by JournaledService a message leaves after its cause is synced,
//             so a member that starts again contradicts nothing that it sent.
// Progress    wait-free. A tick does what its timer demands; a command never fires a timer.
// Cost        a stale message: one look. A timeout: one walk over the members. Ed25519: 50 us each
//             signer that is not known yet. Allocates nothing after construction but the messages
//             of a reply and of a tick.
// Units       agents are ids of engines below 2^64 - 1, at most 100 of them; weights 1..2^20; views
//             below 2^62, from 0 in each epoch. Nanos of the host clock.
// Guarantees  a view is entered by a certificate alone (SyncMode::epochs: or by the clock, within
//             one stretch), and never a lower one in an epoch. After a timeout of view v no vote
//             leaves in any view up to v. One vote a view. Leader(view) depends on the view, the
//             members and what was committed, on nothing that one member alone saw.
//             At most F faulty, messages within delta: a quorum certificate within
//             d_max + 2 delta + F (d_max + 2 delta) + 3 delta, d_max the longest timeout; after a
//             storm that has brought timeouts there, within one d_max + 2 delta more.
// If the      member is silent: its views cost a timeout each. It lies: what it cannot prove is
// other side  refused; its own timeouts alone move nobody. It stops and starts again: it asks for
// dies        the certificates that it missed. More than F: no view may be reached, none is
//             entered without proof, and a second block in a view freezes this member.
// Errors      wrong_state (register within an epoch; a message outside one; a vote after the
//             timeout, or in another view), invalid_argument (weight, key, view), already_exists,
//             no_such_agent, capacity, conflict (a second vote), verification_failed (too little
//             weight, another weight than claimed, a signature, a rank without its certificate).
// Source      partial synchrony: Dwork, Lynch & Stockmeyer 1988; HotStuff: Yin et al. 2019; timeout
//             certificates: Jolteon, 2021; relays: Cogsworth, Naor et al. 2019; amplification:
//             Bracha 1987; views by the clock between heavy syncs: RareSync, 2022.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"
#include "engine/coordination/view_terms.hpp"

namespace mesh::coordination {

class ViewSynchronizer final : public ServiceForm<ViewSynchronizer, ViewSyncConfig, ViewCommand,
                                                  ViewReply, ViewSyncCounters, ViewSyncActions> {
 public:
  // epoch_started: a epoch, b members, c their weight. safety_violation: a view, b and c the first
  // words of both blocks. divergence: a lowest view, b highest. timeout_below_4delta: a the timeout
  // and b four delays in ns. epoch_ahead: a its epoch. entered: a view, b the one before, c epoch.
  // timed_out: a view, given up here; c epoch.
  enum class Event : std::uint16_t {
    epoch_started = 1,
    safety_violation,
    divergence,
    timeout_below_4delta,
    epoch_ahead,
    entered,
    timed_out,
  };
  static constexpr std::uint32_t kMembersMax = 100;
  static constexpr std::uint64_t kWeightMax = std::uint64_t{1} << 20;
  static constexpr std::uint64_t kViewMax = std::uint64_t{1} << 62;
  // A commit counts for the leaders of views so much later: by then the certificates that commit
  // it have passed through every member that did not fall behind.
  static constexpr std::uint64_t kReputationLag = 3;

  static Status validate(const Config& config);
  explicit ViewSynchronizer(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] std::uint64_t current_view() const noexcept { return view_; }
  [[nodiscard]] std::uint64_t epoch() const noexcept { return epoch_; }
  [[nodiscard]] std::uint64_t epoch_hash() const noexcept { return epoch_hash_; }
  [[nodiscard]] ViewState state() const noexcept;
  // kEveryone: there is no epoch, or what this view's choice stood on is forgotten.
  [[nodiscard]] std::uint64_t leader(std::uint64_t view) const noexcept;
  [[nodiscard]] BftView view() const noexcept;
  [[nodiscard]] QuorumSize quorum() const noexcept { return size_; }
  [[nodiscard]] const QuorumCertificate& high_qc() const noexcept { return high_qc_; }
  // The latest timeout that left: its view + 1; 0: none in this epoch.
  [[nodiscard]] std::uint64_t given_up() const noexcept { return sent_; }
  // After so many timeouts in a row, without jitter.
  [[nodiscard]] Nanos timeout_after(std::uint32_t consecutive) const noexcept;
  // What a tick does not do before.
  [[nodiscard]] Nanos next_timer() const noexcept { return Nanos{timer_ns_}; }
  [[nodiscard]] std::span<const std::uint32_t> reputations() const noexcept;  // ppm, by id

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"view_synchronizer", 1};
  static constexpr std::string_view kWho = "view synchronizer";
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::int64_t kNever = INT64_MAX;
  using Signers = std::bitset<128>;

  struct Member {
    std::uint64_t agent = 0;
    std::uint64_t weight = 0;
    PublicKey key{};
  };
  // The highest timeout of a member: one, whatever it sends. level: its view + 1.
  struct Heard {
    std::uint64_t level = 0;
    std::uint64_t rank = 0;
    Signature signature{};
  };
  struct Peer {
    std::uint64_t view = 0;
    std::uint64_t helped = 0;  // the level that it was sent the certificates of
    std::int64_t heard_ns = -1;
    std::int64_t asked_ns = -1;
  };
  struct Certified {
    std::uint64_t level = 0;
    BlockHash block{};
  };
  enum class By : std::uint8_t { start, qc, tc, clock };
  enum class Proof : std::uint8_t { bad, old, fresh };

  Reply on(const view::RegisterAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const view::RemoveAgent& order, std::int64_t now_ns) noexcept;
  Reply on(const view::StartEpoch& order, std::int64_t now_ns) noexcept;
  Reply on(const view::EndEpoch& order, std::int64_t now_ns) noexcept;
  Reply on(const view::Vote& order, std::int64_t now_ns) noexcept;
  Reply on(const view::Commit& order, std::int64_t now_ns) noexcept;
  Reply on(const view::ReceiveQc& order, std::int64_t now_ns) noexcept;
  Reply on(const view::ReceiveTc& order, std::int64_t now_ns) noexcept;
  Reply on(const view::ReceiveTimeout& order, std::int64_t now_ns) noexcept;
  Reply on(const view::ReceiveWishes& order, std::int64_t now_ns) noexcept;
  Reply on(const view::CatchUpWanted& order, std::int64_t now_ns) noexcept;
  Reply on(const view::ReceiveCatchUp& order, std::int64_t now_ns) noexcept;
  Reply on(const view::PeerView& order, std::int64_t now_ns) noexcept;

  [[nodiscard]] std::uint32_t index_of(std::uint64_t agent) const noexcept;
  [[nodiscard]] bool is_member() const noexcept { return me_ != kNone; }
  void forget_views() noexcept;
  void enter(std::uint64_t view, By by, std::int64_t now_ns) noexcept;
  void start_timer(std::int64_t now_ns) noexcept;
  void count_timeout() noexcept;
  void fire(std::int64_t now_ns) noexcept;
  void give_up(std::uint64_t view) noexcept;
  void gather(std::uint64_t view, std::uint64_t relay, std::int64_t now_ns) noexcept;
  void pass_on(ViewOutcome outcome) noexcept;
  Reply remember(std::uint32_t member, const Timeout& timeout, ViewOutcome led,
                 std::int64_t now_ns) noexcept;
  [[nodiscard]] bool accept(std::uint32_t member, const Timeout& timeout) noexcept;
  [[nodiscard]] std::uint64_t weight_at(std::uint64_t view) const noexcept;
  [[nodiscard]] std::uint64_t after_tc(std::uint64_t view) const noexcept;
  [[nodiscard]] std::uint64_t stretch() const noexcept;
  Reply answer(ViewOutcome outcome) noexcept;
  Reply stale() noexcept;
  Reply unproven() noexcept;
  Reply other_epoch(std::uint64_t epoch, std::int64_t now_ns) noexcept;

  // view_certificates.cpp
  [[nodiscard]] bool weigh(std::span<const std::uint64_t> signers, std::uint64_t claimed,
                           std::uint64_t least, Signers& known) const noexcept;
  [[nodiscard]] Proof prove(const QuorumCertificate& qc) noexcept;
  [[nodiscard]] Proof prove(const TimeoutCertificate& tc) noexcept;
  [[nodiscard]] bool prove_wishes(const TimeoutCertificate& tc, std::uint64_t least) noexcept;
  [[nodiscard]] bool is_signed_by(std::uint32_t member, const SignedBytes& bytes,
                                  std::span<const std::byte> signature) noexcept;
  [[nodiscard]] bool knows(const QuorumCertificate& qc) const noexcept;
  ViewOutcome take(const QuorumCertificate& qc, std::int64_t now_ns) noexcept;
  ViewOutcome take(const TimeoutCertificate& tc, std::int64_t now_ns) noexcept;
  ViewOutcome take_both(const QuorumCertificate& qc, const TimeoutCertificate& tc,
                        std::int64_t now_ns) noexcept;
  [[nodiscard]] Proof prove_both(const QuorumCertificate& qc,
                                 const TimeoutCertificate& tc) noexcept;
  void keep(const QuorumCertificate& qc) noexcept;
  void keep(const TimeoutCertificate& tc) noexcept;
  void form_tc(std::uint64_t view) noexcept;
  [[nodiscard]] std::uint64_t tc_target() const noexcept;

  // view_messages.cpp
  [[nodiscard]] ViewSend message(ViewSendKind kind, std::uint64_t to) const;
  [[nodiscard]] TimeoutCertificate tc_to_send() const;
  void send_timeout(std::uint64_t to);
  void send_tc();
  void send_wishes(std::uint64_t view);
  void send_catch_up(std::uint64_t to);
  void help(std::uint32_t member, std::int64_t now_ns) noexcept;
  void note_peer(std::uint32_t member, std::uint64_t view, std::int64_t now_ns) noexcept;
  void watch(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint64_t relay_of(std::uint64_t view, std::uint32_t attempt) const noexcept;
  [[nodiscard]] std::uint32_t leader_index(std::uint64_t view) const noexcept;
  [[nodiscard]] std::uint32_t snapshot_for(std::uint64_t view) const noexcept;
  void learn(std::uint64_t committed) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_members(StateReader& reader);
  void load_views(StateReader& reader);
  void save_reputations(StateWriter& writer) const;
  void load_reputations(StateReader& reader);

  Rng rng_;
  KeyPair keys_;
  std::vector<Member> members_;  // by id
  QuorumSize size_;
  std::uint32_t me_ = kNone;
  bool running_ = false;
  bool frozen_ = false;
  bool counted_ = false;  // this view's timeout is among the consecutive ones
  By by_ = By::start;
  std::uint64_t epoch_ = 0;
  std::uint64_t epoch_hash_ = 0;
  std::uint64_t view_ = 0;
  std::uint64_t sent_ = 0;   // the highest timeout that left: its view + 1
  std::uint64_t voted_ = 0;  // the latest vote that left: its view + 1
  BlockHash voted_block_{};
  std::uint64_t wished_ = 0;  // linear: the wishes that this relay has shown, view + 1
  std::uint64_t told_epoch_ = 0;
  std::uint32_t consecutive_ = 0;
  std::uint32_t attempt_ = 0;  // linear: relays tried in this view
  std::int64_t entered_ns_ = 0;
  std::int64_t timer_ns_ = kNever;
  std::int64_t diverged_ns_ = -1;
  bool divergence_told_ = false;
  QuorumCertificate high_qc_;
  TimeoutCertificate high_tc_;  // without its quorum certificate: high_qc_ is not below it
  std::vector<Heard> heard_;    // by member
  std::vector<Peer> peers_;
  std::vector<Certified> certified_;  // by view modulo their number
  // Reputations after each commit, the latest `history` of them: level of the commit, values.
  std::vector<std::uint64_t> commit_levels_;
  std::vector<std::uint32_t> values_;
  std::uint64_t commit_count_ = 0;  // the first stands for none
  std::vector<std::pair<std::uint64_t, std::uint64_t>> scratch_;
  std::vector<ViewSend> sends_;
  bool view_changed_ = true;
};

static_assert(DurableService<ViewSynchronizer>);

extern template class ServiceForm<ViewSynchronizer, ViewSyncConfig, ViewCommand, ViewReply,
                                  ViewSyncCounters, ViewSyncActions>;

}  // namespace mesh::coordination
