// Resources by their paths, and the locks on them: taken from the root down, given up from the leaf
// up, coarsened and refined.
#include <algorithm>
#include <cstring>

#include "engine/coordination/lock_manager.hpp"

namespace mesh::coordination {

// --- resources ---------------------------------------------------------------------------------

bool LockManager::take_apart(std::string_view name, Path& path) const noexcept {
  if (!is_name(name)) return false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    if (end == begin || path.count == kDepthMax) return false;
    const IdHash id = hash_of(name.substr(0, end));
    path.set_id(path.count, id);
    path.ends[path.count] = end;
    path.resources[path.count] = resource_index_.find(id);
    ++path.count;
    begin = end + 1;
  }
  return true;
}

void LockManager::add_ref(std::uint32_t resource) noexcept {
  if (resources_[resource].refs++ == 0) ++busy_;
}

void LockManager::drop_ref(std::uint32_t resource) noexcept {
  if (--resources_[resource].refs == 0) --busy_;
}

// A free place, or that of an idle resource, which is forgotten: what comes after starts above its
// token and its version. There must be one.
std::uint32_t LockManager::place_for_resource() noexcept {
  const std::uint32_t free = resource_slots_.take();
  if (free != SlotSet::kNone) return free;
  while (resources_[hand_].refs != 0) hand_ = (hand_ + 1) % config_.resources_max;
  const std::uint32_t place = hand_;
  hand_ = (hand_ + 1) % config_.resources_max;
  const Resource& idle = resources_[place];
  fence_floor_ = std::max(fence_floor_, idle.fence);
  version_floor_ = std::max(version_floor_, idle.version);
  resource_index_.erase(idle.id);
  if (idle.parent != kNone) drop_ref(idle.parent);
  ++counters_.forgotten;
  return place;
}

// What is missing of the path. There must be room. No level is forgotten for another one's sake.
void LockManager::create(std::string_view name, Path& path) noexcept {
  std::uint32_t parent = kNone;
  for (std::size_t level = 0; level < path.count; ++level) {
    if (path.resources[level] == kNone) {
      const std::uint32_t at = place_for_resource();
      Resource& fresh = resources_[at] = {};
      fresh.id = path.id(level);
      fresh.fence = fence_floor_;
      fresh.version = version_floor_;
      fresh.parent = parent;
      fresh.depth = static_cast<std::uint32_t>(level);
      if (parent != kNone) add_ref(parent);
      name_sizes_[at] = static_cast<std::uint8_t>(path.ends[level]);
      std::memcpy(names_[at].data(), name.data(), path.ends[level]);
      resource_index_.set(fresh.id, at);
      path.resources[level] = at;
    }
    add_ref(path.resources[level]);
    parent = path.resources[level];
  }
  for (std::size_t level = 0; level < path.count; ++level) drop_ref(path.resources[level]);
}

bool LockManager::is_under(std::uint32_t resource, std::uint32_t above) const noexcept {
  while (resource != kNone && resources_[resource].depth > resources_[above].depth) {
    resource = resources_[resource].parent;
  }
  return resource == above;
}

// --- locks -------------------------------------------------------------------------------------

namespace {
// Both numbers in one word, mixed: no text to hash.
IdHash pair_of(std::uint32_t agent, std::uint32_t resource) noexcept {
  const std::uint64_t both = std::uint64_t{agent} << 32 | resource;
  const std::uint64_t mixed = (both ^ both >> 29) * 0x9E37'79B9'7F4A'7C15U;
  return {mixed ^ mixed >> 32, both};
}
}  // namespace

// What was loaded: each level stands on the one above it, and each lock is found by its owner.
void LockManager::index_locks(StateReader& reader) {
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    const Resource& on = resources_[at];
    if (!resource_slots_.is_used(at) || (on.parent == kNone && on.depth == 0)) continue;
    const bool hangs = on.parent != kNone && resource_slots_.is_used(on.parent) &&
                       resources_[on.parent].depth + 1 == on.depth;
    if (!hangs) return reader.fail();
  }
  for (std::uint32_t at = 0; at < config_.locks_max; ++at) {
    if (lock_slots_.is_used(at)) pairs_.set(pair_of(locks_[at].agent, locks_[at].resource), at);
  }
}

std::uint32_t LockManager::lock_of(std::uint32_t agent, std::uint32_t resource) const noexcept {
  if (agents_[agent].lock_count == 0) return kNone;
  return pairs_.find(pair_of(agent, resource));
}

void LockManager::count_mode(std::uint32_t resource, LockMode mode, bool more) noexcept {
  Resource& on = resources_[resource];
  std::uint32_t& count = on.held[static_cast<std::size_t>(mode)];
  count += more ? 1U : UINT32_MAX;
  const LockModes bit = bit_of(mode);
  on.held_modes = static_cast<LockModes>(count != 0 ? on.held_modes | bit : on.held_modes & ~bit);
}

void LockManager::link_holder(std::uint32_t lock) noexcept {
  Lock& held = locks_[lock];
  Resource& on = resources_[held.resource];
  held.holder = {kNone, on.last_holder};
  (on.last_holder == kNone ? on.first_holder : locks_[on.last_holder].holder.next) = lock;
  on.last_holder = lock;
  count_mode(held.resource, held.mode, true);
}

void LockManager::unlink_holder(std::uint32_t lock) noexcept {
  const Lock& held = locks_[lock];
  Resource& on = resources_[held.resource];
  const auto [next, last] = held.holder;
  (last == kNone ? on.first_holder : locks_[last].holder.next) = next;
  (next == kNone ? on.last_holder : locks_[next].holder.last) = last;
  count_mode(held.resource, held.mode, false);
}

void LockManager::set_mode(std::uint32_t lock, LockMode mode) noexcept {
  Lock& held = locks_[lock];
  if (!held.is_folded) count_mode(held.resource, held.mode, false);
  held.mode = mode;
  if (!held.is_folded) count_mode(held.resource, mode, true);
}

std::uint32_t LockManager::take(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                                std::int64_t now_ns) noexcept {
  const std::uint32_t lock = lock_slots_.take();  // room_for() has seen that there is one
  Resource& on = resources_[resource];
  Agent& owner = agents_[agent];
  Lock& fresh = locks_[lock] = {};
  fresh.agent = agent;
  fresh.resource = resource;
  fresh.mode = mode;
  fresh.since_ns = now_ns;
  fresh.fence = is_data(mode) ? ++on.fence : 0;
  fresh.sibling.next = owner.first_lock;
  if (owner.first_lock != kNone) locks_[owner.first_lock].sibling.last = lock;
  const std::uint32_t parent = on.parent == kNone ? kNone : lock_of(agent, on.parent);
  owner.first_lock = lock;
  ++owner.lock_count;
  pairs_.set(pair_of(agent, resource), lock);
  add_ref(resource);
  if (parent != kNone) {
    ++locks_[parent].children;
    fresh.is_folded = locks_[parent].base != LockMode::none;
  }
  if (!fresh.is_folded) link_holder(lock);
  ++counters_.taken;
  return lock;
}

void LockManager::arm(std::uint32_t lock) noexcept {
  const Lock& held = locks_[lock];
  const std::int64_t due_ns = std::min(held.expires_ns, held.revoke_ns);
  if (due_ns == kNever) {
    lease_ends_.clear(lock);
  } else {
    lease_ends_.set(lock, due_ns, lock);
  }
}

// The lock alone; what stands on it is gone, and what it stands on is the caller's to look at.
void LockManager::give_up(std::uint32_t lock, std::int64_t now_ns) noexcept {
  Lock& held = locks_[lock];
  const std::uint32_t resource = held.resource;
  Agent& owner = agents_[held.agent];
  if (!held.is_folded) unlink_holder(lock);
  const auto [next, last] = held.sibling;
  (last == kNone ? owner.first_lock : locks_[last].sibling.next) = next;
  if (next != kNone) locks_[next].sibling.last = last;
  --owner.lock_count;
  pairs_.erase(pair_of(held.agent, resource));
  lease_ends_.clear(lock);
  if (is_data(held.mode)) hold_times_.add(static_cast<std::uint64_t>(now_ns - held.since_ns));
  const std::uint32_t above = resources_[resource].parent;
  const std::uint32_t parent = above == kNone ? kNone : lock_of(held.agent, above);
  if (parent != kNone && --locks_[parent].children == 0 && locks_[parent].base != LockMode::none) {
    refine(parent);
  }
  held = {};
  lock_slots_.free(lock);
  mark_dirty(resource);
  drop_ref(resource);
  ++counters_.given_up;
  view_changed_ = true;
}

// True: a wait of the agent goes on below.
bool LockManager::is_needed(std::uint32_t agent, std::uint32_t resource) const noexcept {
  const Wait& wait = agents_[agent].wait;
  return wait.ticket != 0 && resources_[resource].depth < resources_[wait.at].depth &&
         is_under(wait.leaf, resource);
}

// Intentions that nothing stands on any more, from `resource` up.
void LockManager::give_up_unused(std::uint32_t agent, std::uint32_t resource,
                                 std::int64_t now_ns) noexcept {
  while (resource != kNone) {
    const std::uint32_t lock = lock_of(agent, resource);
    if (lock == kNone || locks_[lock].own != 0 || locks_[lock].children != 0) return;
    if (is_needed(agent, resource)) return;
    resource = resources_[resource].parent;
    give_up(lock, now_ns);
  }
}

void LockManager::tell(LockNotice kind, std::uint32_t agent, std::uint64_t ticket) noexcept {
  LockNews news;
  news.kind = kind;
  news.agent = agent;
  news.ticket = ticket;
  news.station = agents_[agent].wait.station;
  news_.push_back(news);
}

// Its owner is told, and told again if it comes with it.
void LockManager::end_grant(std::uint32_t lock, LockNotice why) noexcept {
  const Lock& held = locks_[lock];
  if (held.own == 0) return;
  news_.push_back({why, held.agent, held.station, 0, held.grant, held.fence, Nanos{0}});
  ended_[ended_count_++ % ended_.size()] = held.grant;
}

void LockManager::revoke_below(std::uint32_t lock, LockNotice why, std::int64_t now_ns) noexcept {
  const std::uint32_t resource = locks_[lock].resource;
  const std::uint32_t agent = locks_[lock].agent;
  while (locks_[lock].children != 0) {
    for (std::uint32_t at = agents_[agent].first_lock; at != kNone;) {
      const std::uint32_t next = locks_[at].sibling.next;
      if (at != lock && locks_[at].children == 0 && is_under(locks_[at].resource, resource)) {
        end_grant(at, why);
        give_up(at, now_ns);
      }
      at = next;
    }
  }
  const Wait& wait = agents_[agent].wait;
  if (is_needed(agent, resource) && wait.ticket != 0)
    end_wait(agent, LockNotice::cancelled, now_ns);
}

// The lock, and all that stands on it.
void LockManager::revoke(std::uint32_t lock, LockNotice why, std::int64_t now_ns) noexcept {
  const std::uint32_t agent = locks_[lock].agent;
  const std::uint64_t grant = locks_[lock].grant;
  const std::uint32_t above = resources_[locks_[lock].resource].parent;
  const std::uint32_t resource = locks_[lock].resource;
  revoke_below(lock, why, now_ns);
  // The end of a wait may have given it up already, where it was there for that wait alone.
  if (lock_of(agent, resource) == lock && locks_[lock].grant == grant) {
    end_grant(lock, why);
    give_up(lock, now_ns);
  }
  give_up_unused(agent, above, now_ns);
}

// To what the locks below and a wait below need; nobody asked for it any more.
void LockManager::weaken(std::uint32_t lock) noexcept {
  if (locks_[lock].base != LockMode::none) refine(lock);
  Lock& held = locks_[lock];
  LockMode needed = LockMode::none;
  for (std::uint32_t at = agents_[held.agent].first_lock; at != kNone;
       at = locks_[at].sibling.next) {
    if (resources_[locks_[at].resource].parent == held.resource) {
      needed = supremum(needed, intention_of(locks_[at].mode));
    }
  }
  if (is_needed(held.agent, held.resource)) {
    needed = supremum(needed, intention_of(agents_[held.agent].wait.mode));
  }
  set_mode(lock, needed);
  held.own = 0;
  held.fence = 0;
  held.expires_ns = kNever;
  arm(lock);
  mark_dirty(held.resource);
}

void LockManager::expire(std::uint32_t lock, std::int64_t now_ns) noexcept {
  const Lock& held = locks_[lock];
  view_changed_ = true;
  if (held.revoke_ns <= now_ns) {
    ++counters_.revoked;
    emit(Event::revoked, Severity::warning, now_ns, {held.agent, held.grant, held.fence});
    return revoke(lock, LockNotice::revoked, now_ns);
  }
  ++counters_.expired;
  emit(Event::phantom, Severity::warning, now_ns, {held.agent, held.grant, held.fence});
  if (held.children == 0 && !is_needed(held.agent, held.resource)) {
    return revoke(lock, LockNotice::expired, now_ns);
  }
  end_grant(lock, LockNotice::expired);
  weaken(lock);
}

// --- coarsening --------------------------------------------------------------------------------

// What the lock must become to stand for all its children; none: it cannot.
LockMode LockManager::coarse_mode(std::uint32_t lock) const noexcept {
  const Lock& parent = locks_[lock];
  const bool stands_alone =
      resources_[parent.resource].waiting == 0 && parent.base == LockMode::none;
  if (!stands_alone || parent.is_folded || parent.revoke_ns != kNever) return LockMode::none;
  LockMode mode = LockMode::s;
  for (std::uint32_t at = agents_[parent.agent].first_lock; at != kNone;
       at = locks_[at].sibling.next) {
    const Lock& child = locks_[at];
    if (resources_[child.resource].parent != parent.resource) continue;
    if (child.children != 0 || child.revoke_ns != kNever) return LockMode::none;
    if (resources_[child.resource].waiting != 0) return LockMode::none;
    if (!covers(LockMode::s, child.mode)) mode = LockMode::x;
  }
  const LockMode wanted = supremum(parent.mode, mode);
  const bool is_open = is_free(parent.agent, parent.resource, wanted);
  return is_open && wanted != LockMode::six ? wanted : is_open ? LockMode::x : LockMode::none;
}

void LockManager::consider_coarsening(std::uint32_t lock, std::int64_t now_ns) noexcept {
  Lock& parent = locks_[lock];
  if (config_.coarsen_at == 0 || parent.base != LockMode::none || is_data(parent.mode)) return;
  if (parent.window_count == 0 || now_ns - parent.window_ns > config_.coarsen_window_ns.count()) {
    parent.window_ns = now_ns;
    parent.window_count = 0;
  }
  ++parent.window_count;
  if (std::min(parent.window_count, parent.children) < config_.coarsen_at) return;
  const LockMode mode = coarse_mode(lock);
  if (mode == LockMode::none || !is_free(parent.agent, parent.resource, mode)) return;
  parent.base = parent.mode;
  set_mode(lock, mode);
  parent.fence = ++resources_[parent.resource].fence;
  for (std::uint32_t at = agents_[parent.agent].first_lock; at != kNone;
       at = locks_[at].sibling.next) {
    if (resources_[locks_[at].resource].parent != parent.resource) continue;
    unlink_holder(at);
    locks_[at].is_folded = true;
  }
  ++counters_.coarsened;
  emit(Event::coarsened, Severity::debug, now_ns, {parent.agent, parent.children, parent.fence});
}

// The children first, then the parent: at no instant is anything less protected.
void LockManager::refine(std::uint32_t lock) noexcept {
  Lock& parent = locks_[lock];
  for (std::uint32_t at = agents_[parent.agent].first_lock; at != kNone;
       at = locks_[at].sibling.next) {
    if (resources_[locks_[at].resource].parent != parent.resource || !locks_[at].is_folded)
      continue;
    locks_[at].is_folded = false;
    link_holder(at);
  }
  set_mode(lock, parent.base);
  parent.base = LockMode::none;
  parent.window_count = 0;
  parent.fence = 0;  // an intention, as it was
  mark_dirty(parent.resource);
  ++counters_.refined;
}

}  // namespace mesh::coordination
