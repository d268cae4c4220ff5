// Maekawa's lock among hosts: whoever holds the votes of one quorum is inside; any two quorums
// have a member in common, and a member has one vote.
//
//   arbiter     free --request--> locked(request) --release, relinquish--> locked(oldest) or free
//   requester   idle --request--> waiting --all of its quorum's votes--> inside --release--> idle
//
// Callers     one thread each; no I/O: messages in, messages out, the bridge carries them.
// Progress    wait-free.
// Ordering    messages from one host to another arrive in order, or not at all once it is dead (the
//             bridge is a stream). Each carries its request's timestamp: a late one is dropped.
// Cost        3 |S| messages without contention, 5 |S| with. |S| is q + 1 in the plane of
//             q * q + q + 1 members, at most 2 ceil(sqrt N) - 1 in a grid.
// Units       members 0..n-1; timestamps of requests, older first; of two alike the lower member.
// If the      requester dies: member_dead() gives its vote on. The arbiter dies: switch_quorum() to
// other side  one without it. It comes back: it lends no vote before vote_lease_ns, when every
// dies        holder of its earlier life is over, and its epoch is higher.
// Source      Maekawa 1985; INQUIRE, RELINQUISH, FAILED as in Sanders 1987: whoever is not next has
//             been told FAILED, or a deferred inquiry would wait for ever.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mesh::coordination {

using Quorum = std::vector<std::uint32_t>;

// Row and column of a grid ceil(sqrt n) wide; a ragged last row needs no special case.
[[nodiscard]] std::vector<Quorum> grid_quorums(std::uint32_t members);
// The lines of PG(2, q), q a prime: q * q + q + 1 of q + 1 points, any two with one in common.
[[nodiscard]] std::vector<Quorum> projective_plane(std::uint32_t q);
// The plane where `members` is that of a prime up to 31, else the grid. Every member is in the
// quorum of its number in a grid; in a plane it need not be.
[[nodiscard]] std::vector<Quorum> maekawa_quorums(std::uint32_t members);
// The first that has no dead member; empty: there is none.
[[nodiscard]] Quorum quorum_without(std::span<const Quorum> quorums,
                                    std::span<const std::uint32_t> dead);

enum class VoteMessageKind : std::uint8_t { request, grant, failed, inquire, relinquish, release };

struct VoteMessage {
  VoteMessageKind kind = VoteMessageKind::request;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint64_t timestamp = 0;  // of the request that it is about
  std::uint64_t epoch = 0;      // of the arbiter: how often it has started
};
using VoteMessages = std::vector<VoteMessage>;

class VoteArbiter {
 public:
  // No vote before `ready_ns`: 0 for the first life, else its start + vote_lease_ns.
  VoteArbiter(std::uint32_t self, std::uint64_t epoch, std::int64_t ready_ns) noexcept
      : self_(self), epoch_(epoch), ready_ns_(ready_ns) {}

  void receive(const VoteMessage& message, std::int64_t now_ns, VoteMessages& out);
  void tick(std::int64_t now_ns, VoteMessages& out);
  void member_dead(std::uint32_t member, std::int64_t now_ns, VoteMessages& out);

  [[nodiscard]] bool is_locked() const noexcept { return locked_; }
  [[nodiscard]] std::uint32_t holder() const noexcept { return vote_.member; }

 private:
  struct Request {
    std::uint64_t timestamp = 0;
    std::uint32_t member = 0;
    bool was_failed = false;
    [[nodiscard]] bool before(const Request& other) const noexcept {
      return timestamp != other.timestamp ? timestamp < other.timestamp : member < other.member;
    }
  };
  void queue(const Request& request);
  void forget(std::uint32_t member, std::uint64_t timestamp);
  void settle(std::int64_t now_ns, VoteMessages& out);
  void send(VoteMessageKind kind, const Request& to, VoteMessages& out) const;

  std::uint32_t self_;
  std::uint64_t epoch_;
  std::int64_t ready_ns_;
  bool locked_ = false;
  bool inquired_ = false;
  Request vote_;
  std::vector<Request> queue_;  // oldest first
};

class VoteRequester {
 public:
  VoteRequester(std::uint32_t self, Quorum quorum) : self_(self), quorum_(std::move(quorum)) {}

  // False: it waits or is inside already.
  bool request(std::uint64_t timestamp, VoteMessages& out);
  void receive(const VoteMessage& message, VoteMessages& out);
  // Leaves, or gives up waiting.
  void release(VoteMessages& out);
  // To a quorum without a member that is dead: asks those that are new, releases the others.
  void switch_quorum(Quorum quorum, VoteMessages& out);

  [[nodiscard]] bool is_inside() const noexcept { return inside_; }
  [[nodiscard]] bool is_waiting() const noexcept { return waiting_; }

 private:
  void send(VoteMessageKind kind, std::uint32_t to, VoteMessages& out) const;
  void yield_inquired(VoteMessages& out);
  void look() noexcept;

  std::uint32_t self_;
  Quorum quorum_;
  std::uint64_t timestamp_ = 0;
  bool waiting_ = false;
  bool inside_ = false;
  bool must_yield_ = false;              // a FAILED came, or it has relinquished
  std::vector<std::uint32_t> votes_;     // who granted
  std::vector<std::uint32_t> inquired_;  // who asks for the vote back
};

}  // namespace mesh::coordination
