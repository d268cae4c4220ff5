// Redlock with a fence: a lock on a majority of independent regions, and a token that no other
// holder, earlier or later, can have.
//
//   idle --lock--> locking --majority, still valid--> writing --majority wrote the token--> held
//            |                                           |
//            --too few, or too late--> idle <------------+   unlock everywhere
//
// Callers     one thread each; no I/O: messages in, messages out.
// Progress    wait-free.
// Units       Nanos. validity = lease - elapsed - (lease / 100 + 2 ms).
// Guarantees  timing gives no safety, the token does: it is written to a majority of regions, each
//             of which takes it only from the nonce that owns its lock and only if it is above what
//             it has. Two majorities share a region: a paused holder cannot mint a second one.
//             Every resource must refuse a token below the largest it has seen.
// If the      region dies: five regions stand two deaths. It comes back empty: it lends no lock for
// other side  a lease (ready_ns). The holder pauses: its writes carry an old token.
// dies
// Source      Redlock (antirez); the two-phase token: after Kleppmann 2016.
#pragma once

#include <cstdint>
#include <vector>

#include "shm/base/nanos.hpp"

namespace mesh::coordination {

[[nodiscard]] constexpr Nanos redlock_validity(Nanos lease, Nanos elapsed) noexcept {
  return lease - elapsed - (lease / 100 + Nanos{2 * kNsPerMs});
}

enum class RedlockKind : std::uint8_t { lock, locked, refused, write, written, unlock };

struct RedlockMessage {
  RedlockKind kind = RedlockKind::lock;
  std::uint32_t region = 0;
  std::uint64_t nonce = 0;
  std::uint64_t token = 0;  // locked: the region's; write: the new one
  Nanos lease{0};
};
using RedlockMessages = std::vector<RedlockMessage>;

class RedlockRegion {
 public:
  explicit RedlockRegion(std::uint32_t self, std::uint64_t token = 0,
                         Nanos ready = Nanos{0}) noexcept
      : self_(self), token_(token), ready_(ready) {}
  // True: `answer` is to be sent back.
  bool receive(const RedlockMessage& message, Nanos now, RedlockMessage& answer) noexcept;
  [[nodiscard]] std::uint64_t token() const noexcept { return token_; }
  [[nodiscard]] bool is_locked(Nanos now) const noexcept { return nonce_ != 0 && now < expires_; }

 private:
  std::uint32_t self_;
  std::uint64_t nonce_ = 0;
  std::uint64_t token_;
  Nanos expires_{0};
  Nanos ready_;
};

enum class RedlockState : std::uint8_t { idle, locking, writing, held };

class RedlockClient {
 public:
  RedlockClient(std::uint32_t regions, Nanos lease) : lease_(lease), regions_(regions) {}

  // `nonce` is not 0 and never used before. False: not idle.
  bool lock(std::uint64_t nonce, Nanos now, RedlockMessages& out);
  void receive(const RedlockMessage& message, Nanos now, RedlockMessages& out);
  void tick(Nanos now, RedlockMessages& out);  // a region that is silent for lease / 50 is left out
  void unlock(RedlockMessages& out);

  [[nodiscard]] RedlockState state() const noexcept { return state_; }
  [[nodiscard]] std::uint64_t token() const noexcept { return token_; }
  [[nodiscard]] Nanos valid_until() const noexcept {
    return started_ + redlock_validity(lease_, {});
  }
  [[nodiscard]] std::uint32_t majority() const noexcept {
    return static_cast<std::uint32_t>(regions_.size()) / 2 + 1;
  }

 private:
  enum class Region : std::uint8_t { silent, locked, refused, written };
  void judge(Nanos now, RedlockMessages& out);
  [[nodiscard]] std::uint32_t count(Region state) const noexcept;

  Nanos lease_;
  std::vector<Region> regions_;
  Nanos started_{0};
  Nanos phase_{0};
  std::uint64_t nonce_ = 0;
  std::uint64_t token_ = 0;
  std::uint32_t asked_ = 0;  // of the phase
  RedlockState state_ = RedlockState::idle;
};

}  // namespace mesh::coordination
