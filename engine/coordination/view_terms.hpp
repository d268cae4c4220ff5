// What ViewSynchronizer is told, and what it answers: config, certificates, commands, replies,
// messages, views. A view here is the BFT word: a numbered attempt with one leader.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/ed25519.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

enum class QuorumRule : std::uint8_t {
  minimal,   // the fewest of which any two share an honest member
  max_live,  // all but the faults that are allowed for
};
enum class FaultModel : std::uint8_t { byzantine, crash };
enum class LeaderRule : std::uint8_t { round_robin, reputation, sticky };
enum class ViewAuth : std::uint8_t {
  trusted_bitmap,  // one trust domain: whoever hands over a message answers for its signers
  ed25519,         // each signer's signature is verified
};
enum class SyncMode : std::uint8_t {
  broadcast,  // a timeout to everybody: n^2 messages a change of view
  linear,     // to a relay, the next one if that fails, at last to everybody
  epochs,     // by the clock from view to view, all together every so many views
};

// Quorum arithmetic, in weights.
struct QuorumSize {
  std::uint64_t faults = 0;   // F: what may be faulty
  std::uint64_t quorum = 0;   // Q
  std::uint64_t amplify = 0;  // A: among so many one is honest
  std::uint64_t live = 0;     // W - F
};
[[nodiscard]] constexpr QuorumSize quorum_size(std::uint64_t weight, FaultModel model,
                                               QuorumRule rule) noexcept {
  QuorumSize size;
  if (weight == 0) return size;
  const bool lies = model == FaultModel::byzantine;
  size.faults = (weight - 1) / (lies ? 3 : 2);
  size.live = weight - size.faults;
  size.quorum = (lies ? (weight + size.faults) / 2 : weight / 2) + 1;
  size.amplify = lies ? size.faults + 1 : 1;
  if (rule == QuorumRule::max_live) size.quorum = size.live;
  return size;
}

struct ViewSyncConfig {
  std::uint64_t self = 0;  // this engine's id
  Nanos base_timeout{1'000'000'000};
  Nanos max_timeout{60'000'000'000};
  std::uint32_t multiplier_ppm = 2'000'000;
  std::uint32_t decay_steps = UINT32_MAX;  // that a certificate takes back; all: to the base
  std::uint32_t jitter_ppm = 0;            // of a timeout, added at random; at most 100000
  FaultModel faults = FaultModel::byzantine;
  QuorumRule quorum = QuorumRule::minimal;
  LeaderRule leader = LeaderRule::round_robin;
  std::uint32_t sticky_views = 10;
  std::uint32_t rep_alpha_ppm = 300'000;
  std::uint32_t rep_floor_ppm = 50'000;
  std::uint32_t catch_up_threshold = 3;     // views ahead: its certificates are asked for
  std::uint64_t max_view_jump = 1'000'000;  // further, a timeout alone moves nobody
  Nanos divergence_window{10'000'000'000};
  std::uint32_t history = 128;  // views whose block, commits whose reputation is remembered
  Nanos delta{50'000'000};      // one way, at most, once the network is well
  ViewAuth auth = ViewAuth::trusted_bitmap;
  KeySeed secret{};  // ed25519: stays here; in no snapshot, journal or reply
  SyncMode sync = SyncMode::broadcast;
  std::uint32_t sync_views = 0;  // epochs: views from one to the next; 0: F + 1
  std::uint32_t members_max = 100;
  std::uint32_t events_max = 64;

  static Result<ViewSyncConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};
// Entering (D), proposal, vote, certificate: a view that is to succeed takes four delays.
[[nodiscard]] constexpr bool is_below_4delta(const ViewSyncConfig& config) noexcept {
  return config.base_timeout.count() / 4 < config.delta.count();
}

using BlockHash = std::array<std::uint64_t, 4>;

// A quorum voted for this block in this view. No signers: there is none.
struct QuorumCertificate {
  std::uint64_t epoch = 0;
  std::uint64_t view = 0;
  BlockHash block{};
  std::uint64_t weight = 0;  // as claimed; it is counted again
  std::vector<std::uint64_t> signers;
  std::vector<std::byte> signatures;  // ed25519: 64 bytes each, in the order of the signers
};
// Certificates by age: that of a later view is higher; 0 is none.
[[nodiscard]] inline std::uint64_t rank_of(const QuorumCertificate& qc) noexcept {
  return qc.signers.empty() ? 0 : qc.view + 1;
}
// A quorum gave this view up.
struct TimeoutCertificate {
  std::uint64_t epoch = 0;
  std::uint64_t view = 0;
  std::uint64_t weight = 0;
  std::vector<std::uint64_t> signers;
  std::vector<std::uint64_t> ranks;  // of the highest certificate that each signer knew
  std::vector<std::byte> signatures;
  QuorumCertificate high_qc;  // not below any of the ranks
};
// One member gives a view up. Of a view above its own it is a wish.
struct Timeout {
  std::uint64_t epoch = 0;
  std::uint64_t view = 0;
  std::uint64_t signer = 0;
  std::uint64_t rank = 0;
  std::uint64_t at = 0;              // the view that the signer is in: unsigned, a hint
  std::vector<std::byte> signature;  // of epoch, view and rank
  QuorumCertificate high_qc;         // not below the rank
  TimeoutCertificate entered_by;     // where a timeout brought it into its view
};

// The bytes that a member signs: of a vote, of a timeout.
using SignedBytes = std::array<std::uint8_t, 72>;
[[nodiscard]] SignedBytes vote_bytes(std::uint64_t epoch_hash, std::uint64_t epoch,
                                     std::uint64_t view, const BlockHash& block) noexcept;
[[nodiscard]] SignedBytes timeout_bytes(std::uint64_t epoch_hash, std::uint64_t epoch,
                                        std::uint64_t view, std::uint64_t rank) noexcept;

namespace view {
struct RegisterAgent {  // between epochs
  std::uint64_t agent = 0;
  std::uint64_t weight = 1;
  PublicKey key{};  // ed25519
};
struct RemoveAgent {  // between epochs
  std::uint64_t agent = 0;
};
struct StartEpoch {};  // the next one, with who is registered now, in view 0
struct EndEpoch {};
// Before the consensus on top lets a vote leave. The same again: the same answer.
struct Vote {
  std::uint64_t view = 0;
  BlockHash block{};
};
// The consensus on top has committed the block of this view: what reputations are made of.
struct Commit {
  std::uint64_t view = 0;
};
struct ReceiveQc {
  QuorumCertificate qc;
};
struct ReceiveTc {
  TimeoutCertificate tc;
};
struct ReceiveTimeout {
  Timeout timeout;
};
// linear: a relay shows that an honest member gave the view up. Less than a quorum of them.
struct ReceiveWishes {
  std::uint64_t relay = 0;
  TimeoutCertificate wishes;
};
struct CatchUpWanted {  // a peer is behind
  std::uint64_t from = 0;
  std::uint64_t epoch = 0;
};
struct ReceiveCatchUp {
  std::uint64_t from = 0;
  std::uint64_t epoch = 0;
  QuorumCertificate qc;
  TimeoutCertificate tc;
};
struct PeerView {  // a peer says where it is: moves nobody
  std::uint64_t from = 0;
  std::uint64_t view = 0;
};
}  // namespace view

using ViewCommand =
    std::variant<view::ReceiveTimeout, view::ReceiveQc, view::ReceiveTc, view::Vote, view::Commit,
                 view::RegisterAgent, view::RemoveAgent, view::StartEpoch, view::EndEpoch,
                 view::ReceiveWishes, view::CatchUpWanted, view::ReceiveCatchUp, view::PeerView>;

inline constexpr std::uint64_t kEveryone = UINT64_MAX;  // and nobody, where a leader is asked for

enum class ViewSendKind : std::uint8_t { timeout, tc, wishes, want_catch_up, catch_up };
constexpr ViewSendKind last_of(ViewSendKind) noexcept { return ViewSendKind::catch_up; }
[[nodiscard]] std::string_view to_string(ViewSendKind kind) noexcept;

// For the bridge to carry, once the command that made it is journaled.
struct ViewSend {
  ViewSendKind kind = ViewSendKind::timeout;
  std::uint64_t from = 0;
  std::uint64_t to = kEveryone;
  std::uint64_t epoch = 0;
  Timeout timeout;
  TimeoutCertificate tc;  // of wishes too
  QuorumCertificate qc;
};
// What it is to whoever receives it.
[[nodiscard]] ViewCommand command_of(const ViewSend& sent);

enum class ViewOutcome : std::uint8_t {
  none,
  ignored,      // stale: nothing in it is news
  kept,         // noted; the view is the same
  duplicate,    // of this signer this or a later one is known
  entered,      // it led into a later view
  epoch_ahead,  // of a later epoch: its members are not known here
  violation,    // two blocks are certified in one view: more than F are faulty
};
constexpr ViewOutcome last_of(ViewOutcome) noexcept { return ViewOutcome::violation; }
[[nodiscard]] std::string_view to_string(ViewOutcome outcome) noexcept;

struct ViewReply {
  Errc code = Errc::ok;
  ViewOutcome outcome = ViewOutcome::none;
  std::uint64_t epoch = 0;
  std::uint64_t view = 0;
  std::uint64_t leader = kEveryone;
  Nanos timer{0};                    // when the view is given up; 0: there is none
  std::vector<std::byte> signature;  // Vote, with ed25519
  std::vector<ViewSend> sends;
};

struct ViewSyncActions {
  std::vector<ViewSend> sends;
  bool view_changed = false;
  Nanos next_tick{0};
};

// Between epochs; in a view; the view is given up, no vote leaves; two blocks in one view.
enum class ViewState : std::uint8_t { idle, active, timed_out, frozen };
[[nodiscard]] std::string_view to_string(ViewState state) noexcept;

struct BftView {
  std::uint64_t view = 0;
  std::uint64_t leader = kEveryone;
  BlockHash high_qc{};
  std::uint64_t epoch = 0;
  std::uint32_t consecutive_timeouts = 0;
  ViewState state = ViewState::idle;
};

struct ViewSyncCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t entered_by_qc = 0;
  std::uint64_t entered_by_tc = 0;
  std::uint64_t entered_by_clock = 0;  // SyncMode::epochs alone
  std::uint64_t timers = 0;            // that fired
  std::uint64_t timeouts_sent = 0;     // again ones included
  std::uint64_t amplified = 0;
  std::uint64_t tcs_formed = 0;
  std::uint64_t votes = 0;
  std::uint64_t stale = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t unproven = 0;  // verification_failed
  std::uint64_t signatures_checked = 0;
  std::uint64_t violations = 0;
  std::uint64_t divergences = 0;
  std::uint64_t catch_ups_asked = 0;
  std::uint64_t catch_ups_answered = 0;
  std::uint64_t commits = 0;
  std::uint64_t late_commits = 0;
};

}  // namespace mesh::coordination
