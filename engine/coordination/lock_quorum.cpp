#include "engine/coordination/lock_quorum.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/coordination/blocks/mutant.hpp"

namespace mesh::coordination {
namespace {

bool has(const std::vector<std::uint32_t>& all, std::uint32_t one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}
bool take_out(std::vector<std::uint32_t>& all, std::uint32_t one) {
  return std::erase(all, one) != 0;
}

}  // namespace

// --- quorums -----------------------------------------------------------------------------------

std::vector<Quorum> grid_quorums(std::uint32_t members) {
  std::uint32_t wide = 1;
  while (wide * wide < members) ++wide;
  std::vector<Quorum> all(members);
  for (std::uint32_t self = 0; self < members; ++self) {
    for (std::uint32_t other = 0; other < members; ++other) {
      if (other / wide == self / wide || other % wide == self % wide) all[self].push_back(other);
    }
  }
  return all;
}

std::vector<Quorum> projective_plane(std::uint32_t q) {
  std::vector<std::array<std::uint32_t, 3>> points;
  for (std::uint32_t a = 0; a < q; ++a) {
    for (std::uint32_t b = 0; b < q; ++b) points.push_back({1, a, b});
  }
  for (std::uint32_t a = 0; a < q; ++a) points.push_back({0, 1, a});
  points.push_back({0, 0, 1});
  std::vector<Quorum> lines(points.size());
  for (std::size_t line = 0; line < points.size(); ++line) {
    const auto& l = points[line];
    for (std::uint32_t i = 0; i < points.size(); ++i) {
      const auto& p = points[i];
      if ((l[0] * p[0] + l[1] * p[1] + l[2] * p[2]) % q == 0) lines[line].push_back(i);
    }
  }
  return lines;
}

std::vector<Quorum> maekawa_quorums(std::uint32_t members) {
  for (const std::uint32_t q : {2U, 3U, 5U, 7U, 11U, 13U, 17U, 19U, 23U, 29U, 31U}) {
    if (q * q + q + 1 == members) return projective_plane(q);
  }
  return grid_quorums(members);
}

Quorum quorum_without(std::span<const Quorum> quorums, std::span<const std::uint32_t> dead) {
  for (const Quorum& quorum : quorums) {
    const bool lives = std::none_of(dead.begin(), dead.end(),
                                    [&](std::uint32_t member) { return has(quorum, member); });
    if (lives) return quorum;
  }
  return {};
}

// --- arbiter -----------------------------------------------------------------------------------

void VoteArbiter::send(VoteMessageKind kind, const Request& to, VoteMessages& out) const {
  out.push_back({kind, self_, to.member, to.timestamp, epoch_});
}

void VoteArbiter::queue(const Request& request) {
  const auto at = std::find_if(queue_.begin(), queue_.end(),
                               [&](const Request& other) { return request.before(other); });
  queue_.insert(at, request);
}

// A member's request, whether it has the vote or waits for it. Only this one: what it has asked
// since is another.
void VoteArbiter::forget(std::uint32_t member, std::uint64_t timestamp) {
  const auto is_it = [&](const Request& one) {
    return one.member == member && one.timestamp == timestamp;
  };
  std::erase_if(queue_, is_it);
  if (locked_ && is_it(vote_)) locked_ = inquired_ = false;
}

// The vote to the oldest; where an older one than its holder waits it is asked for, once; and all
// others know that they are not next.
void VoteArbiter::settle(std::int64_t now_ns, VoteMessages& out) {
  const bool is_ready = now_ns >= ready_ns_ || MESH_MUTANT("vote.old_leases");
  if (!locked_ && !queue_.empty() && is_ready) {
    vote_ = queue_.front();
    queue_.erase(queue_.begin());
    locked_ = true;
    inquired_ = false;
    send(VoteMessageKind::grant, vote_, out);
  }
  if (!locked_) return;
  const bool is_contested = !queue_.empty() && queue_.front().before(vote_);
  const bool asks = is_contested && !MESH_MUTANT("vote.inquire");
  if (asks && !std::exchange(inquired_, true)) send(VoteMessageKind::inquire, vote_, out);
  for (std::size_t i = is_contested ? 1 : 0; i < queue_.size(); ++i) {
    if (!std::exchange(queue_[i].was_failed, true)) send(VoteMessageKind::failed, queue_[i], out);
  }
}

void VoteArbiter::receive(const VoteMessage& message, std::int64_t now_ns, VoteMessages& out) {
  const Request about{message.timestamp, message.from, false};
  const bool is_holder =
      locked_ && vote_.member == message.from && vote_.timestamp == message.timestamp;
  if (message.kind == VoteMessageKind::request && !is_holder) {
    forget(message.from, message.timestamp);  // asked twice: once
    queue(about);
  }
  if (message.kind == VoteMessageKind::release) forget(message.from, message.timestamp);
  if (message.kind == VoteMessageKind::relinquish && is_holder) {
    locked_ = inquired_ = false;
    queue({message.timestamp, message.from, true});
  }
  settle(now_ns, out);
}

void VoteArbiter::tick(std::int64_t now_ns, VoteMessages& out) { settle(now_ns, out); }

void VoteArbiter::member_dead(std::uint32_t member, std::int64_t now_ns, VoteMessages& out) {
  std::erase_if(queue_, [&](const Request& one) { return one.member == member; });
  if (locked_ && vote_.member == member) {
    locked_ = inquired_ = false;
  }
  settle(now_ns, out);
}

// --- requester ---------------------------------------------------------------------------------

void VoteRequester::send(VoteMessageKind kind, std::uint32_t to, VoteMessages& out) const {
  out.push_back({kind, self_, to, timestamp_, 0});
}

void VoteRequester::look() noexcept {
  const std::size_t enough = MESH_MUTANT("vote.all") ? quorum_.size() / 2 + 1 : quorum_.size();
  inside_ = waiting_ && votes_.size() >= enough;
  if (!inside_) return;
  waiting_ = false;
  inquired_.clear();  // answered by the release
}

bool VoteRequester::request(std::uint64_t timestamp, VoteMessages& out) {
  if (waiting_ || inside_) return false;
  timestamp_ = timestamp;
  waiting_ = true;
  must_yield_ = false;
  votes_.clear();
  inquired_.clear();
  for (const auto member : quorum_) send(VoteMessageKind::request, member, out);
  return true;
}

void VoteRequester::yield_inquired(VoteMessages& out) {
  if (!must_yield_) return;
  for (const auto arbiter : std::vector<std::uint32_t>(inquired_)) {
    if (!take_out(votes_, arbiter)) continue;  // its grant is still on the way
    take_out(inquired_, arbiter);
    send(VoteMessageKind::relinquish, arbiter, out);
  }
}

void VoteRequester::receive(const VoteMessage& message, VoteMessages& out) {
  const bool is_of_now = message.timestamp == timestamp_ || MESH_MUTANT("vote.late_message");
  if (!waiting_ || !is_of_now || !has(quorum_, message.from)) return;
  if (message.kind == VoteMessageKind::grant && !has(votes_, message.from)) {
    votes_.push_back(message.from);
  }
  if (message.kind == VoteMessageKind::failed && !MESH_MUTANT("vote.yield")) must_yield_ = true;
  if (message.kind == VoteMessageKind::inquire && !has(inquired_, message.from)) {
    inquired_.push_back(message.from);
  }
  look();
  if (waiting_) yield_inquired(out);
}

void VoteRequester::release(VoteMessages& out) {
  if (!waiting_ && !inside_) return;
  for (const auto member : quorum_) send(VoteMessageKind::release, member, out);
  waiting_ = inside_ = false;
  votes_.clear();
  inquired_.clear();
}

void VoteRequester::switch_quorum(Quorum quorum, VoteMessages& out) {
  const Quorum before = std::exchange(quorum_, std::move(quorum));
  if (!waiting_) return;  // who is inside leaves by its old quorum's votes: those stand
  for (const auto member : before) {
    if (has(quorum_, member)) continue;
    send(VoteMessageKind::release, member, out);
    take_out(votes_, member);
    take_out(inquired_, member);
  }
  for (const auto member : quorum_) {
    if (!has(before, member)) send(VoteMessageKind::request, member, out);
  }
  look();
}

}  // namespace mesh::coordination
