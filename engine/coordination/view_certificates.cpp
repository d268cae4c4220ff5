// Certificates of the view synchronizer: what they weigh, who signed them, which of them is kept.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/coordination/view_synchronizer.hpp"

namespace mesh::coordination {
namespace {

// What a signature of a vote is never taken for: one of a timeout, of another epoch or network.
constexpr std::uint64_t kVoteTag = 0x6573'6870'766F'7465U;
constexpr std::uint64_t kTimeoutTag = 0x6573'6870'7469'6D65U;

SignedBytes bytes_of(const std::array<std::uint64_t, 9>& words) noexcept {
  SignedBytes bytes{};
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (std::size_t k = 0; k < 8; ++k) {
      bytes[i * 8 + k] = static_cast<std::uint8_t>(words[i] >> (8 * k));
    }
  }
  return bytes;
}
std::span<const std::byte> signature_at(const std::vector<std::byte>& all,
                                        std::size_t at) noexcept {
  if (all.size() < (at + 1) * kSignatureBytes) return {};
  return std::span(all).subspan(at * kSignatureBytes, kSignatureBytes);
}

}  // namespace

SignedBytes vote_bytes(std::uint64_t epoch_hash, std::uint64_t epoch, std::uint64_t view,
                       const BlockHash& block) noexcept {
  return bytes_of({kVoteTag, epoch_hash, epoch, view, block[0], block[1], block[2], block[3], 0});
}
SignedBytes timeout_bytes(std::uint64_t epoch_hash, std::uint64_t epoch, std::uint64_t view,
                          std::uint64_t rank) noexcept {
  return bytes_of({kTimeoutTag, epoch_hash, epoch, view, rank, 0, 0, 0, 0});
}

// Each distinct member once, whatever is claimed; who is unknown or repeated adds nothing.
bool ViewSynchronizer::weigh(std::span<const std::uint64_t> signers, std::uint64_t claimed,
                             std::uint64_t least, Signers& known) const noexcept {
  if (signers.size() > 2 * members_.size()) return false;  // padding: not worth a look
  std::uint64_t weight = 0;
  for (const auto signer : signers) {
    const std::uint32_t member = index_of(signer);
    if (member == kNone || known[member]) continue;
    known[member] = true;
    weight += members_[member].weight;
  }
  return weight == claimed && weight >= least;
}

bool ViewSynchronizer::is_signed_by(std::uint32_t member, const SignedBytes& bytes,
                                    std::span<const std::byte> signature) noexcept {
  if (config_.auth == ViewAuth::trusted_bitmap) return true;
  if (signature.size() != kSignatureBytes) return false;
  ++counters_.signatures_checked;
  Signature copy{};
  std::memcpy(copy.data(), signature.data(), kSignatureBytes);
  return is_signed(members_[member].key, bytes, copy);
}

// Its view's block is the one that was certified here before.
bool ViewSynchronizer::knows(const QuorumCertificate& qc) const noexcept {
  const Certified& slot = certified_[qc.view % config_.history];
  return slot.level > qc.view + 1 || (slot.level == qc.view + 1 && slot.block == qc.block);
}

// old: there is nothing in it that is not known, and no signature was looked at.
ViewSynchronizer::Proof ViewSynchronizer::prove(const QuorumCertificate& qc) noexcept {
  Signers known;
  const bool is_whole = qc.epoch == epoch_ && qc.view <= kViewMax &&
                        weigh(qc.signers, qc.weight, size_.quorum, known);
  if (!is_whole) return Proof::bad;
  if (qc.view < view_ && knows(qc)) return Proof::old;
  const SignedBytes bytes = vote_bytes(epoch_hash_, epoch_, qc.view, qc.block);
  for (std::size_t i = 0; i < qc.signers.size() && known.any(); ++i) {
    const std::uint32_t member = index_of(qc.signers[i]);
    if (member == kNone || !known[member]) continue;
    known[member] = false;  // the first of a repeated signer counts
    if (!is_signed_by(member, bytes, signature_at(qc.signatures, i))) return Proof::bad;
  }
  return Proof::fresh;
}

// Timeouts of one view by at least so much, each signed, none above the certificate beside them.
bool ViewSynchronizer::prove_wishes(const TimeoutCertificate& tc, std::uint64_t least) noexcept {
  Signers known;
  const bool is_whole = tc.epoch == epoch_ && tc.ranks.size() == tc.signers.size() &&
                        weigh(tc.signers, tc.weight, least, known);
  if (!is_whole) return false;
  const std::uint64_t proven = std::max(rank_of(high_qc_), rank_of(tc.high_qc));
  for (std::size_t i = 0; i < tc.signers.size(); ++i) {
    const std::uint32_t member = index_of(tc.signers[i]);
    if (member == kNone) continue;
    if (tc.ranks[i] > proven) return false;
    const SignedBytes bytes = timeout_bytes(epoch_hash_, epoch_, tc.view, tc.ranks[i]);
    if (!is_signed_by(member, bytes, signature_at(tc.signatures, i))) return false;
  }
  return true;
}

ViewSynchronizer::Proof ViewSynchronizer::prove(const TimeoutCertificate& tc) noexcept {
  const bool has_news = rank_of(tc.high_qc) > rank_of(high_qc_);
  Signers known;
  const bool is_whole = tc.epoch == epoch_ && tc.view <= kViewMax &&
                        tc.ranks.size() == tc.signers.size() &&
                        weigh(tc.signers, tc.weight, size_.quorum, known);
  if (!is_whole) return Proof::bad;
  if (after_tc(tc.view) <= view_ && !has_news) return Proof::old;
  if (has_news && prove(tc.high_qc) == Proof::bad) return Proof::bad;
  return prove_wishes(tc, size_.quorum) ? Proof::fresh : Proof::bad;
}

// Of what came along with a message: bad where one is, fresh where one is news. None is old.
ViewSynchronizer::Proof ViewSynchronizer::prove_both(const QuorumCertificate& qc,
                                                     const TimeoutCertificate& tc) noexcept {
  Proof proof = Proof::old;
  if (rank_of(qc) > rank_of(high_qc_)) {
    if (prove(qc) == Proof::bad) return Proof::bad;
    proof = Proof::fresh;
  }
  if (!tc.signers.empty() && after_tc(tc.view) > view_) {
    if (prove(tc) == Proof::bad) return Proof::bad;
    proof = Proof::fresh;
  }
  return proof;
}

ViewOutcome ViewSynchronizer::take(const QuorumCertificate& qc, std::int64_t now_ns) noexcept {
  Certified& slot = certified_[qc.view % config_.history];
  if (slot.level == qc.view + 1 && slot.block != qc.block) {
    frozen_ = true;
    view_changed_ = true;
    ++counters_.violations;
    emit(Event::safety_violation, Severity::error, now_ns, {qc.view, slot.block[0], qc.block[0]});
    return ViewOutcome::violation;
  }
  if (slot.level < qc.view + 1) slot = {qc.view + 1, qc.block};
  if (rank_of(qc) > rank_of(high_qc_)) keep(qc);
  if (qc.view >= view_) {
    enter(qc.view + 1, By::qc, now_ns);
    return ViewOutcome::entered;
  }
  ++counters_.stale;
  return ViewOutcome::kept;
}

ViewOutcome ViewSynchronizer::take(const TimeoutCertificate& tc, std::int64_t now_ns) noexcept {
  ViewOutcome outcome = ViewOutcome::kept;
  if (rank_of(tc.high_qc) > rank_of(high_qc_)) outcome = take(tc.high_qc, now_ns);
  if (after_tc(tc.view) <= view_) return outcome;
  keep(tc);
  enter(tc_target(), By::tc, now_ns);
  return ViewOutcome::entered;
}

// What prove_both() has found to be good. none: neither was news.
ViewOutcome ViewSynchronizer::take_both(const QuorumCertificate& qc, const TimeoutCertificate& tc,
                                        std::int64_t now_ns) noexcept {
  ViewOutcome outcome = ViewOutcome::none;
  if (rank_of(qc) > rank_of(high_qc_)) outcome = take(qc, now_ns);
  if (!tc.signers.empty() && after_tc(tc.view) > view_) outcome = take(tc, now_ns);
  return outcome;
}

// Only what counts: distinct members, by their first signature. So it fits, whatever came.
void ViewSynchronizer::keep(const QuorumCertificate& qc) noexcept {
  high_qc_.epoch = qc.epoch;
  high_qc_.view = qc.view;
  high_qc_.block = qc.block;
  high_qc_.weight = qc.weight;
  high_qc_.signers.clear();
  high_qc_.signatures.clear();
  Signers kept;
  for (std::size_t i = 0; i < qc.signers.size(); ++i) {
    const std::uint32_t member = index_of(qc.signers[i]);
    if (member == kNone || kept[member]) continue;
    kept[member] = true;
    high_qc_.signers.push_back(qc.signers[i]);
    const auto signature = signature_at(qc.signatures, i);
    high_qc_.signatures.insert(high_qc_.signatures.end(), signature.begin(), signature.end());
  }
}

void ViewSynchronizer::keep(const TimeoutCertificate& tc) noexcept {
  high_tc_.epoch = tc.epoch;
  high_tc_.view = tc.view;
  high_tc_.weight = tc.weight;
  high_tc_.signers.clear();
  high_tc_.ranks.clear();
  high_tc_.signatures.clear();
  Signers kept;
  for (std::size_t i = 0; i < tc.signers.size(); ++i) {
    const std::uint32_t member = index_of(tc.signers[i]);
    if (member == kNone || kept[member]) continue;
    kept[member] = true;
    high_tc_.signers.push_back(tc.signers[i]);
    high_tc_.ranks.push_back(tc.ranks[i]);
    const auto signature = signature_at(tc.signatures, i);
    high_tc_.signatures.insert(high_tc_.signatures.end(), signature.begin(), signature.end());
  }
}

// From the timeouts that are known here.
void ViewSynchronizer::form_tc(std::uint64_t view) noexcept {
  high_tc_.epoch = epoch_;
  high_tc_.view = view;
  high_tc_.weight = 0;
  high_tc_.signers.clear();
  high_tc_.ranks.clear();
  high_tc_.signatures.clear();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (heard_[i].level != view + 1) continue;
    high_tc_.weight += members_[i].weight;
    high_tc_.signers.push_back(members_[i].agent);
    high_tc_.ranks.push_back(heard_[i].rank);
    if (config_.auth == ViewAuth::trusted_bitmap) continue;
    const auto bytes = std::as_bytes(std::span(heard_[i].signature));
    high_tc_.signatures.insert(high_tc_.signatures.end(), bytes.begin(), bytes.end());
  }
}

std::uint64_t ViewSynchronizer::tc_target() const noexcept {
  return high_tc_.signers.empty() ? 0 : after_tc(high_tc_.view);
}

}  // namespace mesh::coordination
