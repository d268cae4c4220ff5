#include "engine/coordination/redlock.hpp"

#include <algorithm>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {

bool RedlockRegion::receive(const RedlockMessage& message, Nanos now,
                            RedlockMessage& answer) noexcept {
  const bool is_its = nonce_ == message.nonce || MESH_MUTANT("redlock.owner");
  const bool is_owner = is_locked(now) && is_its;
  answer = {RedlockKind::refused, self_, message.nonce, token_, message.lease};
  if (message.kind == RedlockKind::unlock) {
    if (nonce_ == message.nonce) nonce_ = 0;
    return false;
  }
  if (message.kind == RedlockKind::lock && now >= ready_ && message.nonce != 0 &&
      (is_owner || !is_locked(now))) {
    nonce_ = message.nonce;
    expires_ = now + message.lease;
    answer.kind = RedlockKind::locked;
  }
  const bool is_higher = message.token > token_ || MESH_MUTANT("redlock.token");
  if (message.kind == RedlockKind::write && is_owner && is_higher) {
    token_ = message.token;
    answer.kind = RedlockKind::written;
    answer.token = token_;
  }
  return true;
}

bool RedlockClient::lock(std::uint64_t nonce, Nanos now, RedlockMessages& out) {
  if (state_ != RedlockState::idle || nonce == 0) return false;
  std::fill(regions_.begin(), regions_.end(), Region::silent);
  state_ = RedlockState::locking;
  nonce_ = nonce;
  token_ = 0;
  started_ = phase_ = now;
  asked_ = static_cast<std::uint32_t>(regions_.size());
  for (std::uint32_t i = 0; i < asked_; ++i) {
    out.push_back({RedlockKind::lock, i, nonce, 0, lease_});
  }
  return true;
}

std::uint32_t RedlockClient::count(Region state) const noexcept {
  return static_cast<std::uint32_t>(std::count(regions_.begin(), regions_.end(), state));
}

void RedlockClient::receive(const RedlockMessage& message, Nanos now, RedlockMessages& out) {
  if (message.nonce != nonce_ || message.region >= regions_.size()) return;
  Region& region = regions_[message.region];
  if (state_ == RedlockState::locking && region == Region::silent) {
    region = message.kind == RedlockKind::locked ? Region::locked : Region::refused;
    if (region == Region::locked) token_ = std::max(token_, message.token);
  } else if (state_ == RedlockState::writing && region == Region::locked) {
    region = message.kind == RedlockKind::written ? Region::written : Region::refused;
  }
  judge(now, out);
}

void RedlockClient::tick(Nanos now, RedlockMessages& out) { judge(now, out); }

// A phase is over when all have answered, or the silent ones have had their time.
void RedlockClient::judge(Nanos now, RedlockMessages& out) {
  const bool is_late = now - phase_ >= lease_ / 50 && !MESH_MUTANT("redlock.late");
  const bool is_valid =
      redlock_validity(lease_, now - started_).count() > 0 || MESH_MUTANT("redlock.validity");
  if (state_ == RedlockState::locking) {
    if (count(Region::silent) != 0 && !is_late) return;
    const bool is_enough = count(Region::locked) >= majority() || MESH_MUTANT("redlock.majority");
    if (!is_enough || !is_valid) return unlock(out);
    state_ = RedlockState::writing;
    phase_ = now;
    ++token_;
    for (std::uint32_t i = 0; i < regions_.size(); ++i) {
      if (regions_[i] == Region::locked)
        out.push_back({RedlockKind::write, i, nonce_, token_, lease_});
    }
  } else if (state_ == RedlockState::writing) {
    if (!is_valid) return unlock(out);
    if (count(Region::written) >= majority()) {
      state_ = RedlockState::held;
    } else if (count(Region::written) + count(Region::locked) < majority() || is_late) {
      unlock(out);
    }
  } else if (state_ == RedlockState::held && !is_valid) {
    unlock(out);
  }
}

void RedlockClient::unlock(RedlockMessages& out) {
  if (state_ == RedlockState::idle) return;
  state_ = RedlockState::idle;
  for (std::uint32_t i = 0; i < regions_.size(); ++i) {
    out.push_back({RedlockKind::unlock, i, nonce_, 0, lease_});
  }
}

}  // namespace mesh::coordination
