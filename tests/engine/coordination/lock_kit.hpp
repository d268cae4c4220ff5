// What the tests of the lock manager share: a small one, its commands, a trace, and a witness that
// knows only what was answered.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/coordination/lock_manager.hpp"
#include "tests/engine/coordination/service_kit.hpp"

namespace mesh::coordination::testing {

constexpr Nanos lock_ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

inline LockManagerConfig small_locks(Prevention prevention = Prevention::none) {
  LockManagerConfig config;
  config.prevention = prevention;
  config.fairness = prevention == Prevention::wound_wait ? Fairness::timestamp : Fairness::fifo;
  config.wound_grace_ns = Nanos{0};
  config.agents_max = 8;
  config.locks_max = 64;
  config.locks_per_agent_max = 16;
  config.resources_max = 12;
  config.queue_max = 6;
  config.coarsen_at = 3;
  config.events_max = 16;
  return config;
}

inline lock::Acquire want(std::uint32_t agent, std::string resource, LockMode mode,
                          std::int64_t timestamp = 0) {
  lock::Acquire wanted;
  wanted.agent = agent;
  wanted.resource = std::move(resource);
  wanted.mode = mode;
  wanted.timestamp = Nanos{timestamp};
  wanted.station = 1 + agent % 3;
  return wanted;
}

// What a holder believes by the replies and the news that it was given, and nothing else.
class LockWitness {
 public:
  struct Held {
    std::uint32_t agent = 0;
    std::string resource;
    LockMode mode = LockMode::none;
    std::uint64_t fence = 0;
  };

  void answered(const lock::Acquire& wanted, const LockReply& reply, Nanos deadline) {
    if (reply.ticket != 0) pending_[reply.ticket] = {wanted, deadline};
    hear(reply.news);  // what was due came first
    if (reply.grant != 0) granted(reply.grant, reply.fence, wanted);
  }
  void released(std::uint64_t grant, const LockReply& reply) {
    if (reply.code == Errc::ok && reply.count == 0) held_.erase(grant);
    hear(reply.news);
  }
  void cancelled(std::uint64_t ticket) { pending_.erase(ticket); }
  void hear(const std::vector<LockNews>& news) {
    for (const auto& one : news) {
      const auto waited = pending_.find(one.ticket);
      if (one.kind == LockNotice::granted) {
        ASSERT_NE(waited, pending_.end()) << "granted what was given up: " << one.ticket;
        granted(one.grant, one.fence, waited->second.first);
      }
      if (one.ticket != 0) {
        ASSERT_EQ(pending_.erase(one.ticket), 1U) << to_string(one.kind) << ": ended twice";
      } else if (one.kind != LockNotice::wounded) {
        held_.erase(one.grant);
      }
    }
  }
  // No two believe what does not stand together, above and below included.
  [[nodiscard]] ::testing::AssertionResult is_exclusive() const {
    for (const auto& [grant, a] : held_) {
      for (const auto& [other, b] : held_) {
        if (a.agent == b.agent) continue;
        const bool below = b.resource.starts_with(a.resource + "/");
        const bool clash = (a.resource == b.resource && !compatible(a.mode, b.mode)) ||
                           (below && !compatible(a.mode, intention_of(b.mode)));
        if (clash) {
          return ::testing::AssertionFailure()
                 << "agent " << a.agent << " holds " << a.resource << " " << to_string(a.mode)
                 << ", agent " << b.agent << " " << b.resource << " " << to_string(b.mode);
        }
      }
    }
    return ::testing::AssertionSuccess();
  }
  [[nodiscard]] bool waits_past(Nanos now) const {
    for (const auto& [ticket, wait] : pending_) {
      if (wait.second < now) return true;
    }
    return false;
  }
  [[nodiscard]] std::uint64_t a_grant(std::size_t at) const {
    if (held_.empty()) return 0;
    return std::next(held_.begin(), static_cast<std::ptrdiff_t>(at % held_.size()))->first;
  }
  [[nodiscard]] std::vector<std::uint64_t> grants_of(std::uint32_t agent) const {
    std::vector<std::uint64_t> grants;
    for (const auto& [grant, one] : held_) {
      if (one.agent == agent) grants.push_back(grant);
    }
    return grants;
  }
  [[nodiscard]] const std::map<std::uint64_t, Held>& held() const { return held_; }
  [[nodiscard]] const auto& pending() const { return pending_; }

 private:
  void granted(std::uint64_t grant, std::uint64_t fence, const lock::Acquire& wanted) {
    Held& held = held_[grant];
    const LockMode before = held.mode;
    held.agent = wanted.agent;
    held.resource = wanted.resource;
    held.mode = supremum(before, wanted.mode);
    if (fence != held.fence) {
      ASSERT_GT(fence, newest_[held.resource])
          << "a token came back: agent " << held.agent << ", " << held.resource << ' '
          << to_string(before) << " and " << to_string(wanted.mode);
      newest_[held.resource] = fence;
    }
    held.fence = fence;
  }

  std::map<std::uint64_t, Held> held_;
  std::map<std::uint64_t, std::pair<lock::Acquire, Nanos>> pending_;
  std::map<std::string, std::uint64_t> newest_;
};

// Random commands of agents that play by the rules, and of some that do not.
class LockPlayer {
 public:
  explicit LockPlayer(std::uint64_t seed) : rng_(seed) {}

  struct Move {
    LockCommand command;
    Nanos now{0};
  };
  Move next(const LockWitness& witness) {
    now_ += Nanos{static_cast<std::int64_t>(rng_.below(40)) * kNsPerMs};
    if (rng_.below(50) == 0) now_ += lock_ms(static_cast<std::int64_t>(rng_.below(40'000)));
    const auto what = rng_.below(100);
    if (what < 55) return {acquire(), now_};
    if (what < 85) return {lock::Release{witness.a_grant(rng_.next()), 0}, now_};
    if (what < 88) return {lock::Renew{witness.a_grant(rng_.next()), lock_ms(20'000), 0}, now_};
    if (what < 91 && !witness.pending().empty()) {
      const auto& [ticket, wait] = *witness.pending().begin();
      return {lock::Cancel{wait.first.agent, ticket, 0}, now_};
    }
    const auto agent = static_cast<std::uint32_t>(rng_.below(8));
    if (what < 93) return {lock::AgentDead{agent}, now_};
    if (what < 95) return {lock::AgentAlive{agent}, now_};
    if (what < 96) {
      return {lock::StationClosed{1 + static_cast<std::uint32_t>(rng_.below(3))}, now_};
    }
    if (what < 98) return {lock::RaiseVersion{path(), rng_.below(3)}, now_};
    return {lock::Detect{}, now_};
  }
  [[nodiscard]] Rng& rng() { return rng_; }
  [[nodiscard]] Nanos now() const { return now_; }

 private:
  std::string path() {
    static constexpr std::array<const char*, 9> kPaths{"a",   "b",     "a/b", "a/c", "a/d",
                                                       "a/e", "a/b/x", "b/y", "c"};
    return kPaths[rng_.below(kPaths.size())];
  }
  lock::Acquire acquire() {
    const auto agent = static_cast<std::uint32_t>(rng_.below(8));
    auto wanted = want(agent, path(), static_cast<LockMode>(1 + rng_.below(6)),
                       static_cast<std::int64_t>(rng_.below(1'000)));
    wanted.priority = static_cast<std::uint32_t>(rng_.below(5));
    wanted.timeout = rng_.below(6) == 0 ? Nanos{0} : lock_ms(5'000);
    wanted.lease = rng_.below(4) == 0 ? lock_ms(300) : Nanos{0};
    return wanted;
  }

  Rng rng_;
  Nanos now_{0};
};

inline void tell(LockWitness& witness, const LockCommand& command, const LockReply& reply,
                 Nanos now) {
  if (const auto* wanted = std::get_if<lock::Acquire>(&command)) {
    return witness.answered(*wanted, reply, now + wanted->timeout);
  }
  if (const auto* order = std::get_if<lock::Release>(&command)) {
    return witness.released(order->grant, reply);
  }
  if (const auto* order = std::get_if<lock::Cancel>(&command)) {
    if (reply.code == Errc::ok) witness.cancelled(order->ticket);
  }
  witness.hear(reply.news);
}

inline std::vector<Timed<LockCommand>> lock_trace(const LockManagerConfig& config,
                                                  std::size_t count, std::uint64_t seed) {
  LockManager follower(config);
  LockPlayer player(seed);
  LockWitness witness;
  std::vector<Timed<LockCommand>> commands;
  LockActions actions;
  for (std::size_t i = 0; i < count; ++i) {
    const auto move = player.next(witness);
    tell(witness, move.command, follower.apply(move.command, move.now), move.now);
    follower.tick(move.now, actions);
    witness.hear(actions.news);
    commands.push_back({move.now, move.command});
  }
  return commands;
}

}  // namespace mesh::coordination::testing
