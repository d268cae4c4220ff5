// Who waits for whom: the queues, the hand-over, wounds, and the search for deadlocks.
#include <algorithm>
#include <bit>

#include "engine/coordination/blocks/mutant.hpp"
#include "engine/coordination/lock_manager.hpp"

namespace mesh::coordination {

// --- order -------------------------------------------------------------------------------------

std::int64_t LockManager::timestamp_of(std::uint32_t agent,
                                       const lock::Acquire& wanted) const noexcept {
  const Agent& known = agents_[agent];
  return known.lock_count == 0 ? wanted.timestamp.count() : known.timestamp_ns;
}

bool LockManager::is_older(std::uint32_t a, std::uint32_t b) const noexcept {
  return std::pair{agents_[a].timestamp_ns, a} < std::pair{agents_[b].timestamp_ns, b};
}

// A conversion goes first: those that wait for it to end would wait for ever. Where timestamps
// decide, they decide here too.
LockManager::Key LockManager::key_at(const Wait& wait, bool is_conversion) const noexcept {
  Key key = wait.key;
  key.group = is_conversion && config_.prevention == Prevention::none ? 0 : 1;
  return key;
}

// --- grants ------------------------------------------------------------------------------------

bool LockManager::is_free(std::uint32_t agent, std::uint32_t resource,
                          LockMode mode) const noexcept {
  const Resource& on = resources_[resource];
  LockModes others = on.held_modes;
  if (compatible(mode, others)) return true;
  const std::uint32_t own = lock_of(agent, resource);
  if (own == kNone || locks_[own].is_folded) return false;
  if (on.held[static_cast<std::size_t>(locks_[own].mode)] == 1) {
    others = static_cast<LockModes>(others & ~bit_of(locks_[own].mode));
  }
  return compatible(mode, others);
}

bool LockManager::is_grantable(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                               const Key& key) const noexcept {
  if (!is_free(agent, resource, mode)) return false;
  for (std::uint32_t w = resources_[resource].first_waiter; w != kNone;
       w = agents_[w].wait.queue.next) {
    if (!(agents_[w].wait.key < key)) return true;
    if (!compatible(mode, agents_[w].wait.wanted)) return false;
  }
  return true;
}

std::uint32_t LockManager::grant_at(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                                    std::int64_t now_ns) noexcept {
  const std::uint32_t lock = lock_of(agent, resource);
  if (lock == kNone) return take(agent, resource, mode, now_ns);
  Lock& held = locks_[lock];
  if (held.mode == mode) return lock;
  set_mode(lock, mode);
  // Its owner is told of a new token only where it asked for the lock itself.
  const bool is_asked = resource == agents_[agent].wait.leaf || held.fence == 0;
  if (is_data(mode) && is_asked) held.fence = ++resources_[resource].fence;
  ++counters_.conversions;
  return lock;
}

// From level `from` of the path that the agent wants down to its leaf, as far as it gets.
void LockManager::advance(std::uint32_t agent, std::size_t from, std::int64_t now_ns) noexcept {
  const Wait& wait = agents_[agent].wait;
  std::array<std::uint32_t, kDepthMax> path{};
  const std::size_t depth = resources_[wait.leaf].depth;
  for (std::uint32_t at = wait.leaf; at != kNone; at = resources_[at].parent) {
    path[resources_[at].depth] = at;
  }
  std::uint32_t lock = lock_of(agent, path[depth]);
  for (std::size_t level = from; level <= depth; ++level) {
    const LockMode mode = level == depth ? wait.mode : intention_of(wait.mode);
    lock = lock_of(agent, path[level]);
    const LockMode held = lock == kNone ? LockMode::none : locks_[lock].mode;
    if (!covers(held, mode)) {
      const LockMode wanted = supremum(held, mode);
      const Key key = key_at(wait, lock != kNone);
      const bool passes = is_grantable(agent, path[level], wanted, key) ||
                          (refine_others(agent, path[level], wanted) &&
                           is_grantable(agent, path[level], wanted, key));
      if (!passes) return block(agent, path[level], wanted, now_ns);
      lock = grant_at(agent, path[level], wanted, now_ns);
    }
    if (!wait.is_preemptible) locks_[lock].is_preemptible = false;
  }
  finish(agent, lock, now_ns);
}

void LockManager::finish(std::uint32_t agent, std::uint32_t lock, std::int64_t now_ns) noexcept {
  Wait& wait = agents_[agent].wait;
  Lock& held = locks_[lock];
  const bool is_new = held.own++ == 0;
  if (is_new) held.grant = ++last_number_ << 20 | lock;
  held.lease_ns = wait.lease_ns;
  held.expires_ns =
      is_new ? now_ns + wait.lease_ns : std::max(held.expires_ns, now_ns + wait.lease_ns);
  held.station = wait.station;
  arm(lock);
  ++counters_.grants;
  if (!is_new) ++counters_.reentries;
  if (wait.ticket != 0) {
    news_.push_back({LockNotice::granted, agent, wait.station, wait.ticket, held.grant, held.fence,
                     Nanos{held.expires_ns}});
    ++counters_.handed_over;
    --waiting_;
    wait_ends_.clear(agent);
    drop_ref(wait.leaf);
  }
  wait = {};
  const std::uint32_t above = resources_[held.resource].parent;
  if (is_new && above != kNone) consider_coarsening(lock_of(agent, above), now_ns);
}

// --- the queue ---------------------------------------------------------------------------------

void LockManager::block(std::uint32_t agent, std::uint32_t resource, LockMode wanted,
                        std::int64_t now_ns) noexcept {
  Wait& wait = agents_[agent].wait;
  if (wait.ticket == 0) {
    wait.ticket = ++last_number_;
    ++waiting_;
    ++counters_.waits;
    add_ref(wait.leaf);
    wait_ends_.set(agent, wait.deadline_ns, agent);
  }
  ++resources_[resource].contended;
  const bool wounds = config_.prevention == Prevention::wound_wait;
  const bool is_faulty = config_.fault == LockFault::wounds_before_it_queues;
  if (wounds && is_faulty) {
    wait.at = resource;
    wound(agent, resource, wanted, now_ns);
    hand_over(now_ns);
  }
  enqueue(agent, resource, wanted);
  if (is_faulty) mark_dirty(resource);
  if (wounds && !is_faulty) wound(agent, resource, wanted, now_ns);
}

void LockManager::enqueue(std::uint32_t agent, std::uint32_t resource, LockMode wanted) noexcept {
  Wait& wait = agents_[agent].wait;
  Resource& on = resources_[resource];
  wait.at = resource;
  wait.wanted = wanted;
  wait.key = key_at(wait, lock_of(agent, resource) != kNone);
  std::uint32_t after = on.last_waiter;
  while (after != kNone && wait.key < agents_[after].wait.key) {
    after = agents_[after].wait.queue.last;
  }
  const std::uint32_t next = after == kNone ? on.first_waiter : agents_[after].wait.queue.next;
  wait.queue = {next, after};
  (after == kNone ? on.first_waiter : agents_[after].wait.queue.next) = agent;
  (next == kNone ? on.last_waiter : agents_[next].wait.queue.last) = agent;
  ++on.waiting;
  waiters_[agent / 64] |= std::uint64_t{1} << (agent % 64);
}

void LockManager::dequeue(std::uint32_t agent) noexcept {
  const Wait& wait = agents_[agent].wait;
  Resource& on = resources_[wait.at];
  const auto [next, last] = wait.queue;
  (last == kNone ? on.first_waiter : agents_[last].wait.queue.next) = next;
  (next == kNone ? on.last_waiter : agents_[next].wait.queue.last) = last;
  --on.waiting;
  waiters_[agent / 64] &= ~(std::uint64_t{1} << (agent % 64));
}

// Without a grant.
void LockManager::end_wait(std::uint32_t agent, LockNotice why, std::int64_t now_ns) noexcept {
  Wait& wait = agents_[agent].wait;
  tell(why, agent, wait.ticket);
  if (why == LockNotice::timed_out) ++counters_.timeouts;
  if (why == LockNotice::victim) ++counters_.victims;
  if (why == LockNotice::cancelled) ++counters_.cancelled;
  dequeue(agent);
  wait_ends_.clear(agent);
  --waiting_;
  mark_dirty(wait.at);
  const std::uint32_t above = resources_[wait.at].parent;
  const std::uint32_t leaf = wait.leaf;
  wait = {};
  drop_ref(leaf);
  give_up_unused(agent, above, now_ns);
  view_changed_ = true;
}

// The younger ones that are in the way have until the grace is over.
void LockManager::wound(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                        std::int64_t now_ns) noexcept {
  for (std::uint32_t at = resources_[resource].first_holder; at != kNone;) {
    Lock& other = locks_[at];
    const std::uint32_t lock = at;
    at = other.holder.next;
    const bool yields = other.agent != agent && other.is_preemptible && other.revoke_ns == kNever &&
                        !compatible(mode, other.mode) && is_older(agent, other.agent);
    if (!yields) continue;
    ++counters_.wounded;
    emit(Event::wounded, Severity::info, now_ns, {other.agent, other.grant, other.fence});
    news_.push_back({LockNotice::wounded, other.agent, other.station, 0, other.grant, other.fence,
                     Nanos{now_ns + config_.wound_grace_ns.count()}});
    other.revoke_ns = now_ns + config_.wound_grace_ns.count();
    if (config_.wound_grace_ns.count() == 0) {
      expire(lock, now_ns);
    } else {
      arm(lock);
    }
  }
}

void LockManager::mark_dirty(std::uint32_t resource) noexcept {
  Resource& on = resources_[resource];
  if (on.is_dirty || on.waiting == 0) return;
  on.is_dirty = true;
  dirty_.push_back(resource);
}

// Until nothing that was freed is left for anybody who waits.
void LockManager::hand_over(std::int64_t now_ns) noexcept {
  while (!dirty_.empty()) {
    const std::uint32_t resource = dirty_.back();
    dirty_.pop_back();
    resources_[resource].is_dirty = false;
    pump(resource, now_ns);
  }
}

// Each that stands with the holders and with all that stay before it.
void LockManager::pump(std::uint32_t resource, std::int64_t now_ns) noexcept {
  LockModes ahead = 0;
  for (std::uint32_t agent = resources_[resource].first_waiter; agent != kNone;) {
    const Wait& wait = agents_[agent].wait;
    const std::uint32_t next = wait.queue.next;
    const LockMode wanted = wait.wanted;
    if (compatible(wanted, ahead) && is_free(agent, resource, wanted)) {
      dequeue(agent);
      const std::uint32_t lock = grant_at(agent, resource, wanted, now_ns);
      if (!wait.is_preemptible) locks_[lock].is_preemptible = false;
      if (resource == wait.leaf) {
        finish(agent, lock, now_ns);
      } else {
        advance(agent, resources_[resource].depth + 1, now_ns);
      }
      view_changed_ = true;
    } else {
      ahead = static_cast<LockModes>(ahead | bit_of(wanted));
      if (wanted == LockMode::x) return;
    }
    agent = next;
  }
}

// --- deadlocks ---------------------------------------------------------------------------------

// The next that the agent waits for: each holder, then each earlier waiter, that does not stand
// with what it wants. A cursor of 0 begins; kNone ends.
std::uint32_t LockManager::next_blocker(std::uint32_t agent, std::uint32_t& cursor,
                                        bool& in_queue) const noexcept {
  const Wait& wait = agents_[agent].wait;
  while (!in_queue) {
    const std::uint32_t at = cursor;
    if (at == kNone) {
      in_queue = true;
      cursor = resources_[wait.at].first_waiter;
      break;
    }
    cursor = locks_[at].holder.next;
    const Lock& other = locks_[at];
    if (other.agent != agent && !compatible(wait.wanted, other.mode)) return other.agent;
  }
  while (cursor != kNone && cursor != agent) {
    const std::uint32_t at = cursor;
    cursor = agents_[at].wait.queue.next;
    if (!compatible(wait.wanted, agents_[at].wait.wanted)) return at;
  }
  return kNone;
}

LockWaitView LockManager::poll(std::uint64_t ticket) const {
  LockWaitView view;
  for (std::uint32_t agent = 0; ticket != 0 && agent < config_.agents_max; ++agent) {
    const Wait& wait = agents_[agent].wait;
    if (wait.ticket != ticket) continue;
    view.ticket = ticket;
    view.agent = agent;
    view.wanted = wait.wanted;
    view.resource = std::string(names_[wait.at].data(), name_sizes_[wait.at]);
    view.until = Nanos{wait.deadline_ns};
    const Resource& at = resources_[wait.at];
    for (std::uint32_t w = at.first_waiter; w != agent; w = agents_[w].wait.queue.next)
      ++view.ahead;
    std::uint32_t cursor = at.first_holder;
    bool in_queue = false;
    for (std::uint32_t other = 0; (other = next_blocker(agent, cursor, in_queue)) != kNone;) {
      const auto& known = view.in_its_way;
      if (std::find(known.begin(), known.end(), other) == known.end())
        view.in_its_way.push_back(other);
    }
    break;
  }
  return view;
}

// Depth first from one agent; true: there is a cycle, in cycle_.
bool LockManager::follow(std::uint32_t agent) const noexcept {
  enum : std::uint8_t { white, grey, black };
  const auto enter = [&](std::uint32_t next) {
    colours_[next] = grey;
    trail_.push_back({next, resources_[agents_[next].wait.at].first_holder, false});
  };
  trail_.clear();
  enter(agent);
  while (!trail_.empty()) {
    Visit& visit = trail_.back();
    const std::uint32_t next = next_blocker(visit.agent, visit.cursor, visit.in_queue);
    if (next == kNone) {
      colours_[visit.agent] = black;
      trail_.pop_back();
      continue;
    }
    if (agents_[next].wait.ticket == 0 || colours_[next] == black) continue;
    if (colours_[next] == white) {
      enter(next);
      continue;
    }
    const auto first = std::find_if(trail_.begin(), trail_.end(),
                                    [&](const Visit& seen) { return seen.agent == next; });
    for (auto at = first; at != trail_.end(); ++at) cycle_.push_back(at->agent);
    std::sort(cycle_.begin(), cycle_.end());
    return true;
  }
  return false;
}

bool LockManager::find_cycle() const noexcept {
  cycle_.clear();
  if (waiting_ < 2) return false;
  std::fill(colours_.begin(), colours_.end(), std::uint8_t{0});
  for (std::size_t word = 0; word < waiters_.size(); ++word) {
    for (std::uint64_t bits = waiters_[word]; bits != 0; bits &= bits - 1) {
      const auto agent =
          static_cast<std::uint32_t>(word * 64 + static_cast<unsigned>(std::countr_zero(bits)));
      if (colours_[agent] == 0 && follow(agent)) return true;
    }
  }
  return false;
}

bool LockManager::has_deadlock() const noexcept { return find_cycle(); }

// The youngest; then the least urgent, the one that holds least, the highest number.
std::uint32_t LockManager::victim() const noexcept {
  const auto gives_way = [&](std::uint32_t agent) {
    const Agent& one = agents_[agent];
    const std::int64_t urgency = MESH_MUTANT("lock.victim_priority") ? 0 : one.wait.priority;
    const std::int64_t locks = MESH_MUTANT("lock.victim_locks") ? 0 : one.lock_count;
    return std::tuple{one.timestamp_ns, -urgency, -locks, agent};
  };
  return *std::max_element(cycle_.begin(), cycle_.end(), [&](std::uint32_t a, std::uint32_t b) {
    return gives_way(a) < gives_way(b);
  });
}

void LockManager::break_cycles(std::int64_t now_ns, Reply* reply) noexcept {
  while (find_cycle()) {
    const std::uint32_t agent = victim();
    if (reply != nullptr && reply->cycle.empty()) reply->cycle = cycle_;
    emit(Event::victim, Severity::warning, now_ns, {agent, agents_[agent].wait.ticket, 0});
    end_wait(agent, LockNotice::victim, now_ns);
    while (config_.abort_victim_locks && agents_[agent].first_lock != kNone) {
      revoke(agents_[agent].first_lock, LockNotice::revoked, now_ns);
    }
    hand_over(now_ns);
  }
}

}  // namespace mesh::coordination
