#include "engine/coordination/lock_manager.hpp"

#include <algorithm>

namespace mesh::coordination {
namespace {

constexpr unsigned kSlotBits = 20;
constexpr std::uint64_t kSlotMask = (std::uint64_t{1} << kSlotBits) - 1;

}  // namespace

LockManager::LockManager(const Config& config, std::uint64_t)
    : ServiceForm(config),
      resources_(config.resources_max),
      names_(config.resources_max),
      name_sizes_(config.resources_max),
      resource_slots_(config.resources_max),
      resource_index_(config.resources_max),
      locks_(config.locks_max),
      lock_slots_(config.locks_max),
      pairs_(config.locks_max),
      agents_(config.agents_max),
      waiters_((config.agents_max + 63) / 64),
      lease_ends_(config.locks_max),
      wait_ends_(config.agents_max),
      phantom_ends_(config.agents_max),
      colours_(config.agents_max) {
  dirty_.reserve(config.resources_max);
  news_.reserve(256);
  trail_.reserve(config.agents_max);
  cycle_.reserve(config.agents_max);
  if (!config.durable) fence_floor_ = std::uint64_t{config.boot_count} << 40;
}

// --- acquire -----------------------------------------------------------------------------------

Errc LockManager::check(const lock::Acquire& wanted) const noexcept {
  if (wanted.agent >= config_.agents_max) return Errc::no_such_agent;
  const bool is_possible = wanted.mode > LockMode::none && wanted.mode <= LockMode::x &&
                           wanted.priority <= kPriorityMax && wanted.timestamp.count() >= 0 &&
                           wanted.timestamp.count() <= kInstantMaxNs &&
                           wanted.timeout.count() <= kDurationMaxNs && wanted.lease.count() >= 0 &&
                           wanted.lease <= config_.lease_ns_max;
  if (!is_possible) return Errc::invalid_argument;
  return agents_[wanted.agent].wait.ticket != 0 ? Errc::wrong_state : Errc::ok;
}

Errc LockManager::room_for(std::uint32_t agent, const Path& path) const noexcept {
  std::uint32_t missing = 0;
  std::uint32_t locks = 0;
  std::uint32_t pinned = 0;
  for (std::size_t level = 0; level < path.count; ++level) {
    const std::uint32_t resource = path.resources[level];
    if (resource == kNone) {
      ++missing;
      ++locks;
      continue;
    }
    pinned += resources_[resource].refs == 0 ? 1U : 0U;
    locks += lock_of(agent, resource) == kNone ? 1U : 0U;
  }
  const std::uint32_t idle = resource_slots_.used() - busy_ - pinned;
  const bool fits = missing <= resource_slots_.left() + idle && locks <= lock_slots_.left() &&
                    locks + agents_[agent].lock_count <= config_.locks_per_agent_max;
  return fits ? Errc::ok : Errc::capacity;
}

LockManager::Wait LockManager::as_wait(const lock::Acquire& wanted,
                                       std::int64_t now_ns) const noexcept {
  Wait wait;
  const Nanos lease = wanted.lease.count() == 0 ? config_.lease_ns : wanted.lease;
  const Nanos timeout = wanted.timeout.count() < 0 ? config_.timeout_ns : wanted.timeout;
  wait.lease_ns = lease.count();
  wait.deadline_ns = now_ns + timeout.count();
  wait.mode = wanted.mode;
  wait.priority = wanted.priority;
  wait.station = wanted.station;
  wait.is_preemptible = wanted.preemptible;
  wait.key.tie = last_number_ + 1;
  if (config_.fairness == Fairness::timestamp) {
    wait.key.order = timestamp_of(wanted.agent, wanted);
    wait.key.tie = wanted.agent;
  }
  if (config_.fairness == Fairness::priority) {
    // All age alike, so who is ahead of whom never changes.
    wait.key.order = now_ns - std::int64_t{wanted.priority} * config_.aging_ns.count();
  }
  return wait;
}

// The first level of the path at which it would have to wait; path.count: none.
std::size_t LockManager::blocked_at(std::uint32_t agent, const Wait& wait,
                                    const Path& path) const noexcept {
  for (std::size_t level = 0; level < path.count; ++level) {
    const std::uint32_t resource = path.resources[level];
    if (resource == kNone) break;
    const std::uint32_t lock = lock_of(agent, resource);
    const LockMode held = lock == kNone ? LockMode::none : locks_[lock].mode;
    const LockMode mode = mode_at(wait.mode, level, path);
    if (covers(held, mode)) continue;
    if (!is_grantable(agent, resource, supremum(held, mode), key_at(wait, lock != kNone))) {
      return level;
    }
  }
  return path.count;
}

Errc LockManager::may_wait(const lock::Acquire& wanted, const Wait& wait,
                           std::uint32_t at) const noexcept {
  if (resources_[at].waiting >= config_.queue_max) return Errc::capacity;
  if (config_.prevention != Prevention::wait_die) return Errc::ok;
  // Older than everybody that it would wait for, or it dies.
  const std::pair mine{timestamp_of(wanted.agent, wanted), wanted.agent};
  const std::uint32_t lock = lock_of(wanted.agent, at);
  const bool is_leaf = hash_of(wanted.resource) == resources_[at].id;
  const LockMode asked = is_leaf ? wait.mode : intention_of(wait.mode);
  const LockMode mode = supremum(lock == kNone ? LockMode::none : locks_[lock].mode, asked);
  const auto is_elder = [&](std::uint32_t other) {
    return mine < std::pair{agents_[other].timestamp_ns, other};
  };
  for (std::uint32_t h = resources_[at].first_holder; h != kNone; h = locks_[h].holder.next) {
    const Lock& other = locks_[h];
    const bool conflicts = other.agent != wanted.agent && !compatible(mode, other.mode);
    if (conflicts && !is_elder(other.agent)) return Errc::deadlock_victim;
  }
  if (config_.fault == LockFault::asks_holders_alone) return Errc::ok;
  for (std::uint32_t w = resources_[at].first_waiter; w != kNone; w = agents_[w].wait.queue.next) {
    if (!(agents_[w].wait.key < key_at(wait, lock != kNone))) break;
    if (!compatible(mode, agents_[w].wait.wanted) && !is_elder(w)) return Errc::deadlock_victim;
  }
  return Errc::ok;
}

// What the agent itself has coarsened must be taken apart where it does not cover what it wants.
void LockManager::refine_own(std::uint32_t agent, LockMode mode, const Path& path) noexcept {
  for (std::size_t level = 0; level < path.count; ++level) {
    if (path.resources[level] == kNone) return;
    const std::uint32_t lock = lock_of(agent, path.resources[level]);
    if (lock == kNone || locks_[lock].base == LockMode::none) continue;
    const bool is_leaf = level + 1 == path.count;
    if (is_leaf || !covers(locks_[lock].mode, intention_of(mode))) refine(lock);
  }
}

// True: some of those in the way were coarsened, and are no more.
bool LockManager::refine_others(std::uint32_t agent, std::uint32_t resource,
                                LockMode mode) noexcept {
  bool any = false;
  for (std::uint32_t at = resources_[resource].first_holder; at != kNone;) {
    const std::uint32_t next = locks_[at].holder.next;
    const Lock& other = locks_[at];
    if (other.agent != agent && other.base != LockMode::none && !compatible(mode, other.mode)) {
      refine(at);
      any = true;
    }
    at = next;
  }
  return any;
}

// Where it would wait, after what others have coarsened there was taken apart; path.count: nowhere.
// `refused` says why it may not wait.
std::size_t LockManager::find_block(const lock::Acquire& wanted, const Wait& wait, const Path& path,
                                    Errc& refused) noexcept {
  for (;;) {
    const std::size_t level = blocked_at(wanted.agent, wait, path);
    if (level == path.count) return level;
    const std::uint32_t at = path.resources[level];
    if (wanted.timeout.count() != 0) refused = may_wait(wanted, wait, at);
    if (refused != Errc::ok) return level;
    if (!refine_others(wanted.agent, at, mode_at(wanted.mode, level, path))) return level;
  }
}

// The usual case: a name of one level that is known, nobody in the way, nothing held of it yet.
bool LockManager::is_plain(const lock::Acquire& wanted, const Path& path) const noexcept {
  const std::uint32_t resource = path.resources[0];
  return path.count == 1 && resource != kNone && resources_[resource].waiting == 0 &&
         compatible(wanted.mode, resources_[resource].held_modes) &&
         lock_of(wanted.agent, resource) == kNone;
}

LockManager::Reply LockManager::take_plain(const lock::Acquire& wanted, std::uint32_t resource,
                                           std::int64_t now_ns) noexcept {
  Agent& agent = agents_[wanted.agent];
  if (agent.lock_count == 0) agent.timestamp_ns = wanted.timestamp.count();
  const std::uint32_t lock = take(wanted.agent, resource, wanted.mode, now_ns);
  Lock& held = locks_[lock];
  held.own = 1;
  held.grant = ++last_number_ << kSlotBits | lock;
  held.lease_ns = (wanted.lease.count() == 0 ? config_.lease_ns : wanted.lease).count();
  held.expires_ns = now_ns + held.lease_ns;
  held.station = wanted.station;
  held.is_preemptible = wanted.preemptible;
  lease_ends_.set(lock, held.expires_ns, lock);
  ++counters_.grants;
  view_changed_ = true;
  Reply reply;
  reply.grant = held.grant;
  reply.fence = held.fence;
  reply.count = 1;
  reply.expires = Nanos{held.expires_ns};
  return reply;
}

LockManager::Reply LockManager::acquire(const lock::Acquire& wanted, std::int64_t now_ns) noexcept {
  Errc refused = check(wanted);
  Path path;
  if (refused == Errc::ok && !take_apart(wanted.resource, path)) refused = Errc::invalid_id;
  if (refused == Errc::ok) refused = room_for(wanted.agent, path);
  if (refused != Errc::ok) return refuse(refused);
  if (is_plain(wanted, path)) return take_plain(wanted, path.resources[0], now_ns);

  const Wait wait = as_wait(wanted, now_ns);
  refine_own(wanted.agent, wanted.mode, path);
  const std::size_t level = find_block(wanted, wait, path, refused);
  if (refused != Errc::ok) {
    counters_.died += refused == Errc::deadlock_victim ? 1U : 0U;
    return refuse(refused);
  }
  Reply reply;
  if (level < path.count && wanted.timeout.count() == 0) {
    ++counters_.would_block;
    reply.refusal = Refusal::would_block;
    return reply;
  }
  create(wanted.resource, path);
  Agent& agent = agents_[wanted.agent];
  if (agent.lock_count == 0) agent.timestamp_ns = wanted.timestamp.count();
  agent.wait = wait;
  agent.wait.leaf = path.resources[path.count - 1];
  view_changed_ = true;
  advance(wanted.agent, 0, now_ns);
  reply.ticket = agent.wait.ticket;
  if (reply.ticket != 0) {
    reply.refusal = Refusal::would_block;
    const std::uint32_t depth = resources_[agent.wait.at].waiting;
    hand_over(now_ns);
    if (depth > config_.detection_depth) break_cycles(now_ns, nullptr);
    return reply;
  }
  const Lock& held = locks_[lock_of(wanted.agent, path.resources[path.count - 1])];
  reply.grant = held.grant;
  reply.fence = held.fence;
  reply.count = held.own;
  reply.expires = Nanos{held.expires_ns};
  hand_over(now_ns);
  return reply;
}

// --- what is held ------------------------------------------------------------------------------

Errc LockManager::find_grant(std::uint64_t grant, std::uint32_t station,
                             std::uint32_t& lock) const noexcept {
  lock = static_cast<std::uint32_t>(grant & kSlotMask);
  const bool stands = lock < locks_.size() && lock_slots_.is_used(lock) && grant != 0 &&
                      locks_[lock].grant == grant && locks_[lock].own != 0;
  if (stands) {
    return station == 0 || locks_[lock].station == station ? Errc::ok : Errc::not_authorized;
  }
  const bool has_ended =
      grant != 0 && std::find(ended_.begin(), ended_.end(), grant) != ended_.end();
  return has_ended ? Errc::expired : Errc::not_owner;
}

LockManager::Reply LockManager::release(const lock::Release& order, std::int64_t now_ns) noexcept {
  std::uint32_t at = kNone;
  const Errc bad = find_grant(order.grant, order.station, at);
  if (bad != Errc::ok) return refuse(bad);
  Lock& held = locks_[at];
  if (held.own == 1 && (held.children != 0 || is_needed(held.agent, held.resource))) {
    return refuse(Errc::wrong_state);
  }
  return released(at, now_ns);
}

// One return: the reply is made where its caller has room for it, and never moved.
LockManager::Reply LockManager::released(std::uint32_t at, std::int64_t now_ns) noexcept {
  Lock& held = locks_[at];
  ++counters_.releases;
  Reply reply;
  reply.grant = held.grant;
  reply.count = --held.own;
  if (held.own != 0) {
    reply.fence = held.fence;
    reply.expires = Nanos{held.expires_ns};
    return reply;
  }
  const std::uint32_t agent = held.agent;
  const std::uint32_t above = resources_[held.resource].parent;
  give_up(at, now_ns);
  give_up_unused(agent, above, now_ns);
  hand_over(now_ns);
  return reply;
}

LockManager::Reply LockManager::renew(const lock::Renew& order, std::int64_t now_ns) noexcept {
  if (order.lease.count() < 0 || order.lease > config_.lease_ns_max) {
    return refuse(Errc::invalid_argument);
  }
  std::uint32_t at = kNone;
  const Errc bad = find_grant(order.grant, order.station, at);
  if (bad != Errc::ok) return refuse(bad);
  Lock& held = locks_[at];
  if (order.lease.count() != 0) held.lease_ns = order.lease.count();
  held.expires_ns = now_ns + held.lease_ns;
  arm(at);
  view_changed_ = true;
  Reply reply;
  reply.grant = held.grant;
  reply.fence = held.fence;
  reply.count = held.own;
  reply.expires = Nanos{std::min(held.expires_ns, held.revoke_ns)};
  return reply;
}

LockManager::Reply LockManager::cancel(const lock::Cancel& order, std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  const Wait& wait = agents_[order.agent].wait;
  if (order.ticket == 0 || wait.ticket != order.ticket) return refuse(Errc::not_found);
  if (order.station != 0 && wait.station != order.station) return refuse(Errc::not_authorized);
  end_wait(order.agent, LockNotice::cancelled, now_ns);
  news_.pop_back();  // the caller knows
  hand_over(now_ns);
  Reply reply;
  reply.ticket = order.ticket;
  return reply;
}

LockManager::Reply LockManager::raise(const lock::RaiseVersion& order) noexcept {
  Path path;
  if (!take_apart(order.resource, path)) return refuse(Errc::invalid_id);
  const std::uint32_t known = path.resources[path.count - 1];
  const std::uint64_t current = known == kNone ? version_floor_ : resources_[known].version;
  if (current != order.expected) {
    Reply reply = refuse(Errc::conflict);
    reply.version = current;
    return reply;
  }
  std::uint32_t missing = 0;
  std::uint32_t pinned = 0;
  for (std::size_t level = 0; level < path.count; ++level) {
    const std::uint32_t resource = path.resources[level];
    missing += resource == kNone ? 1U : 0U;
    pinned += resource != kNone && resources_[resource].refs == 0 ? 1U : 0U;
  }
  if (missing > resource_slots_.left() + resource_slots_.used() - busy_ - pinned) {
    return refuse(Errc::capacity);
  }
  create(order.resource, path);
  Reply reply;
  // An idle one may have been forgotten for it: then it starts higher, and goes up from there.
  reply.version = ++resources_[path.resources[path.count - 1]].version;
  return reply;
}

// --- deaths ------------------------------------------------------------------------------------

LockManager::Reply LockManager::close_station(std::uint32_t station, std::int64_t now_ns) noexcept {
  if (station == 0) return refuse(Errc::invalid_argument);
  Reply reply;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    const Wait& wait = agents_[agent].wait;
    if (wait.ticket != 0 && wait.station == station) {
      end_wait(agent, LockNotice::cancelled, now_ns);
      ++reply.count;
    }
  }
  for (std::uint32_t at = 0; at < config_.locks_max; ++at) {
    const bool is_lost =
        lock_slots_.is_used(at) && locks_[at].own != 0 && locks_[at].station == station;
    if (!is_lost) continue;
    ++reply.count;
    ++counters_.phantoms;
    emit(Event::phantom, Severity::warning, now_ns,
         {locks_[at].agent, locks_[at].grant, locks_[at].fence});
    revoke(at, LockNotice::phantom, now_ns);
  }
  hand_over(now_ns);
  return reply;
}

LockManager::Reply LockManager::suspect(std::uint32_t agent, bool is_dead,
                                        std::int64_t now_ns) noexcept {
  if (agent >= config_.agents_max) return refuse(Errc::no_such_agent);
  if (!is_dead) {
    phantom_ends_.clear(agent);
  } else if (!phantom_ends_.has(agent)) {
    phantom_ends_.set(agent, now_ns + config_.phantom_grace_ns.count(), agent);
  }
  return {};
}

// What is due at `now`: the dead, the leases, and then those that have waited too long.
void LockManager::catch_up(std::int64_t now_ns) noexcept {
  for (std::uint32_t agent; (agent = phantom_ends_.pop_due(now_ns)) != kNone;) {
    if (agents_[agent].wait.ticket != 0) end_wait(agent, LockNotice::cancelled, now_ns);
    while (agents_[agent].first_lock != kNone) {
      const std::uint32_t at = agents_[agent].first_lock;
      ++counters_.phantoms;
      emit(Event::phantom, Severity::warning, now_ns, {agent, locks_[at].grant, locks_[at].fence});
      revoke(at, LockNotice::phantom, now_ns);
    }
  }
  for (std::uint32_t at; (at = lease_ends_.pop_due(now_ns)) != kNone;) expire(at, now_ns);
  hand_over(now_ns);
  for (std::uint32_t agent; (agent = wait_ends_.pop_due(now_ns)) != kNone;) {
    end_wait(agent, LockNotice::timed_out, now_ns);
    hand_over(now_ns);
  }
}

// --- the form of every service -----------------------------------------------------------------

LockManager::Reply LockManager::dispatch(const Command& command, std::int64_t now_ns) noexcept {
  if (const auto* order = std::get_if<lock::Release>(&command)) return release(*order, now_ns);
  if (const auto* order = std::get_if<lock::Renew>(&command)) return renew(*order, now_ns);
  if (const auto* order = std::get_if<lock::Cancel>(&command)) return cancel(*order, now_ns);
  if (const auto* order = std::get_if<lock::Validate>(&command)) {
    if (!is_name(order->resource)) return refuse(Errc::invalid_id);
    const Errc verdict = judge(order->resource, order->fence);
    return verdict == Errc::ok ? Reply{} : refuse(verdict);
  }
  if (const auto* order = std::get_if<lock::StationClosed>(&command)) {
    return close_station(order->station, now_ns);
  }
  if (const auto* order = std::get_if<lock::AgentDead>(&command)) {
    return suspect(order->agent, true, now_ns);
  }
  if (const auto* order = std::get_if<lock::AgentAlive>(&command)) {
    return suspect(order->agent, false, now_ns);
  }
  if (const auto* order = std::get_if<lock::RaiseVersion>(&command)) return raise(*order);
  Reply reply;
  break_cycles(now_ns, &reply);
  return reply;
}

LockManager::Reply LockManager::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  return run(command, clock_.at(now));
}

LockManager::Reply LockManager::run(const Command& command, std::int64_t now_ns) noexcept {
  const std::int64_t due_ns =
      std::min({lease_ends_.next_ns(), wait_ends_.next_ns(), phantom_ends_.next_ns()});
  if (due_ns <= now_ns) catch_up(now_ns);
  const auto* wanted = std::get_if<lock::Acquire>(&command);
  Reply reply = wanted != nullptr ? acquire(*wanted, now_ns) : dispatch(command, now_ns);
  if (!news_.empty()) {
    reply.news.assign(news_.begin(), news_.end());
    news_.clear();
  }
  return reply;
}

void LockManager::tick(Nanos now, Actions& out) noexcept {
  out.news.clear();
  if (ServiceClock::is_valid(now)) {
    const std::int64_t now_ns = clock_.at(now);
    catch_up(now_ns);
    if (waiting_ != 0 && now_ns - detected_ns_ >= config_.detection_ns.count()) {
      detected_ns_ = now_ns;
      break_cycles(now_ns, nullptr);
    }
  }
  out.news.assign(news_.begin(), news_.end());
  news_.clear();
  const std::int64_t look_ns = waiting_ == 0 ? kNever : detected_ns_ + config_.detection_ns.count();
  out.next_tick = Nanos{
      std::min({lease_ends_.next_ns(), wait_ends_.next_ns(), phantom_ends_.next_ns(), look_ns})};
  out.view_changed = view_changed_;
  view_changed_ = false;
}

}  // namespace mesh::coordination
