// What a lock manager looks like from outside: its presets, the range of its config, its views, its
// bytes, and what must hold.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/coordination/lock_manager.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"fast-locks", "standard", "high-contention"};
constexpr Nanos ms(std::int64_t count) { return Nanos{count * kNsPerMs}; }

}  // namespace

std::string_view to_string(LockNotice notice) noexcept {
  constexpr std::array<std::string_view, 8> kNames{"granted", "timed_out", "victim",  "wounded",
                                                   "revoked", "expired",   "phantom", "cancelled"};
  const auto index = static_cast<std::size_t>(notice);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> LockManagerConfig::names() noexcept { return kPresets; }

Result<LockManagerConfig> LockManagerConfig::preset(std::string_view name) {
  LockManagerConfig config;
  if (name == "standard") return config;
  config.prevention = Prevention::none;
  if (name == "fast-locks") {
    config.lease_ns = ms(5'000);
    config.fairness = Fairness::fifo;
    config.detection_ns = ms(50);
    config.coarsen_at = 64;
    config.queue_max = 256;
    return config;
  }
  if (name == "high-contention") {
    config.lease_ns = ms(10'000);
    config.fairness = Fairness::priority;
    config.detection_ns = ms(20);
    config.coarsen_at = 8;
    config.queue_max = 4'096;
    return config;
  }
  return unknown_preset("lock manager", name, kPresets);
}

Status LockManager::validate(const Config& config) {
  const bool by_time = config.fairness == Fairness::timestamp;
  const std::array<Check, 14> checks{{
      {is_positive_duration(config.lease_ns) && config.lease_ns <= config.lease_ns_max,
       "lease_ns is outside 1 ns..lease_ns_max"},
      {is_duration(config.lease_ns_max), "lease_ns_max is outside 0..36 years"},
      {is_duration(config.timeout_ns), "timeout_ns is outside 0..36 years"},
      {config.prevention <= Prevention::wait_die && config.fairness <= Fairness::priority,
       "prevention or fairness is no value of its enum"},
      {config.prevention != Prevention::wound_wait || by_time,
       "wound_wait needs fairness timestamp: in any other queue the old wait behind the young"},
      {config.prevention != Prevention::wait_die || config.fairness == Fairness::fifo,
       "wait_die needs fairness fifo"},
      {is_duration(config.wound_grace_ns) && is_duration(config.phantom_grace_ns),
       "wound_grace_ns or phantom_grace_ns is outside 0..36 years"},
      {is_positive_duration(config.aging_ns) &&
           config.aging_ns.count() <= kDurationMaxNs / (LockManager::kPriorityMax + 1),
       "aging_ns is outside 1 ns..130 days"},
      {is_positive_duration(config.detection_ns), "detection_ns is outside 1 ns..36 years"},
      {is_duration(config.coarsen_window_ns), "coarsen_window_ns is outside 0..36 years"},
      {config.queue_max >= 1 && config.locks_per_agent_max >= 1 && config.agents_max >= 1 &&
           config.agents_max <= 1U << 20,
       "queue_max or locks_per_agent_max is 0, or agents_max outside 1..1048576"},
      {config.locks_max >= 1 && config.locks_max <= SlotSet::kSlotsMax &&
           config.resources_max >= kDepthMax && config.resources_max <= SlotSet::kSlotsMax,
       "locks_max is outside 1..262144, or resources_max outside 8..262144"},
      {config.fault == LockFault::none, "fault is for tests"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

LockView LockManager::view(std::string_view resource) const noexcept {
  const std::uint32_t at = resource_index_.find(hash_of(resource));
  LockView view;
  if (at == kNone) return view;
  const Resource& on = resources_[at];
  for (std::size_t mode = 1; mode < kLockModes; ++mode) {
    view.holders += on.held[mode];
    if (on.held[mode] != 0) view.mode = static_cast<LockMode>(mode);
  }
  view.waiting = on.waiting;
  view.fence = on.fence;
  if (on.first_holder != kNone) {
    view.first_holder = locks_[on.first_holder].agent;
    view.expires = Nanos{locks_[on.first_holder].expires_ns};
  }
  return view;
}

std::uint64_t LockManager::waits(std::uint32_t agent) const noexcept {
  return agent < config_.agents_max ? agents_[agent].wait.ticket : 0;
}

std::uint32_t LockManager::locks_of(std::uint32_t agent) const noexcept {
  return agent < config_.agents_max ? agents_[agent].lock_count : 0;
}

LockMode LockManager::mode_of(std::uint32_t agent, std::string_view resource) const noexcept {
  const std::uint32_t at = resource_index_.find(hash_of(resource));
  if (at == kNone || agent >= config_.agents_max) return LockMode::none;
  const std::uint32_t lock = lock_of(agent, at);
  return lock == kNone ? LockMode::none : locks_[lock].mode;
}

Errc LockManager::judge(std::string_view resource, std::uint64_t fence) const noexcept {
  const std::uint32_t at = resource_index_.find(hash_of(resource));
  if (at == kNone) return Errc::not_found;
  for (std::uint32_t h = resources_[at].first_holder; h != kNone; h = locks_[h].holder.next) {
    if (fence != 0 && locks_[h].fence == fence) return Errc::ok;
  }
  const std::uint32_t above = resources_[at].parent;
  std::uint32_t h = above == kNone ? kNone : resources_[above].first_holder;
  for (; h != kNone; h = locks_[h].holder.next) {  // one that its parent stands for
    const std::uint32_t folded = lock_of(locks_[h].agent, at);
    const bool holds = folded != kNone && locks_[folded].is_folded;
    if (holds && fence != 0 && locks_[folded].fence == fence) return Errc::ok;
  }
  return Errc::stale_token;
}

std::uint64_t LockManager::read_version(std::string_view resource) const noexcept {
  const std::uint32_t at = resource_index_.find(hash_of(resource));
  return at == kNone ? version_floor_ : resources_[at].version;
}

std::vector<ContendedResource> LockManager::top_contended(std::size_t count) const {
  std::vector<ContendedResource> all;
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    if (!resource_slots_.is_used(at) || resources_[at].contended == 0) continue;
    all.push_back({std::string(names_[at].data(), name_sizes_[at]), resources_[at].contended,
                   resources_[at].waiting});
  }
  std::sort(all.begin(), all.end(), [](const ContendedResource& a, const ContendedResource& b) {
    return a.waits != b.waits ? a.waits > b.waits : a.name < b.name;
  });
  if (all.size() > count) all.resize(count);
  return all;
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

// The words of one thing, in one order, for both directions.
template <class Resource, class Visit>
void words_of_resource(Resource& on, Visit&& visit) {
  visit(on.id.low);
  visit(on.id.high);
  visit(on.fence);
  visit(on.version);
  visit(on.contended);
  visit(on.parent);
  visit(on.refs);
  visit(on.first_holder);
  visit(on.last_holder);
  visit(on.first_waiter);
  visit(on.last_waiter);
  visit(on.waiting);
  visit(on.depth);
}
template <class Lock, class Visit>
void words_of_lock(Lock& held, Visit&& visit) {
  visit(held.grant);
  visit(held.fence);
  visit(held.expires_ns);
  visit(held.revoke_ns);
  visit(held.lease_ns);
  visit(held.since_ns);
  visit(held.window_ns);
  visit(held.window_count);
  visit(held.agent);
  visit(held.resource);
  visit(held.station);
  visit(held.own);
  visit(held.children);
  visit(held.holder.next);
  visit(held.holder.last);
  visit(held.sibling.next);
  visit(held.sibling.last);
  visit(held.mode);
  visit(held.base);
  visit(held.is_folded);
  visit(held.is_preemptible);
}
template <class Agent, class Visit>
void words_of_agent(Agent& agent, Visit&& visit) {
  visit(agent.timestamp_ns);
  visit(agent.first_lock);
  visit(agent.lock_count);
  visit(agent.wait.ticket);
  visit(agent.wait.key.group);
  visit(agent.wait.key.order);
  visit(agent.wait.key.tie);
  visit(agent.wait.lease_ns);
  visit(agent.wait.deadline_ns);
  visit(agent.wait.leaf);
  visit(agent.wait.at);
  visit(agent.wait.priority);
  visit(agent.wait.station);
  visit(agent.wait.queue.next);
  visit(agent.wait.queue.last);
  visit(agent.wait.mode);
  visit(agent.wait.wanted);
  visit(agent.wait.is_preemptible);
}

}  // namespace

void LockManager::save_state(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  for (const auto grant : ended_) writer.put(grant);
  for (const std::uint64_t word :
       {ended_count_, last_number_, fence_floor_, version_floor_, std::uint64_t{hand_}}) {
    writer.put(word);
  }
  writer.put(detected_ns_);
  writer.put(resource_slots_.used());
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    if (!resource_slots_.is_used(at)) continue;
    writer.put(at);
    writer.put(std::string_view(names_[at].data(), name_sizes_[at]));
    words_of_resource(resources_[at], put);
  }
  writer.put(lock_slots_.used());
  for (std::uint32_t at = 0; at < config_.locks_max; ++at) {
    if (!lock_slots_.is_used(at)) continue;
    writer.put(at);
    words_of_lock(locks_[at], put);
  }
  const auto is_known = [&](std::uint32_t agent) {
    return agents_[agent].lock_count != 0 || agents_[agent].wait.ticket != 0 ||
           phantom_ends_.has(agent);
  };
  const Agent nobody;
  std::uint32_t known = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) known += is_known(agent);
  writer.put(known);
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (!is_known(agent)) continue;
    writer.put(agent);
    // A suspect that has nothing: what it was does not count.
    const bool has_any = agents_[agent].lock_count != 0 || agents_[agent].wait.ticket != 0;
    words_of_agent(has_any ? agents_[agent] : nobody, put);
    writer.put(phantom_ends_.has(agent));
    writer.put(phantom_ends_.at_ns(agent));
  }
}

void LockManager::load_resource(StateReader& reader) {
  const auto at = reader.get<std::uint32_t>();
  const auto name = reader.get_bytes();
  if (name.size() > kNameBytesMax || !resource_slots_.use(at)) return reader.fail();
  name_sizes_[at] = static_cast<std::uint8_t>(name.size());
  std::memcpy(names_[at].data(), name.data(), name.size());
  Resource& on = resources_[at];
  words_of_resource(on, [&](auto& value) { get_fields(value, reader); });
  const bool is_known = resource_index_.find(on.id) != kNone;
  if (is_known || (on.parent != kNone && on.parent >= config_.resources_max) ||
      on.depth >= kDepthMax) {
    return reader.fail();
  }
  resource_index_.set(on.id, at);
  if (on.refs != 0) ++busy_;
}

void LockManager::load_lock(StateReader& reader) {
  const auto at = reader.get<std::uint32_t>();
  if (!lock_slots_.use(at)) return reader.fail();
  Lock& held = locks_[at];
  words_of_lock(held, [&](auto& value) { get_fields(value, reader); });
  if (held.agent >= config_.agents_max || !resource_slots_.is_used(held.resource)) {
    return reader.fail();
  }
  if (!held.is_folded) count_mode(held.resource, held.mode, true);
  arm(at);
}

void LockManager::load_agent(StateReader& reader) {
  const auto at = reader.get<std::uint32_t>();
  if (at >= config_.agents_max) return reader.fail();
  Agent& agent = agents_[at];
  words_of_agent(agent, [&](auto& value) { get_fields(value, reader); });
  const auto is_suspect = reader.get<bool>();
  const auto phantom_ns = reader.get<std::int64_t>();
  if (is_suspect) phantom_ends_.set(at, phantom_ns, at);
  if (agent.wait.ticket == 0) return;
  const bool is_possible =
      resource_slots_.is_used(agent.wait.at) && resource_slots_.is_used(agent.wait.leaf);
  if (!is_possible) return reader.fail();
  ++waiting_;
  waiters_[at / 64] |= std::uint64_t{1} << (at % 64);
  wait_ends_.set(at, agent.wait.deadline_ns, at);
}

void LockManager::load_state(StateReader& reader) {
  for (auto& grant : ended_) reader.get(grant);
  for (auto* word : {&ended_count_, &last_number_, &fence_floor_, &version_floor_}) {
    reader.get(*word);
  }
  hand_ = static_cast<std::uint32_t>(reader.get<std::uint64_t>());
  if (hand_ >= config_.resources_max) return reader.fail();
  reader.get(detected_ns_);
  const std::size_t resources = reader.get_count(60);
  for (std::size_t i = 0; i < resources && !reader.failed(); ++i) load_resource(reader);
  const std::size_t locks = reader.get_count(100);
  for (std::size_t i = 0; i < locks && !reader.failed(); ++i) load_lock(reader);
  const std::size_t agents = reader.get_count(90);
  for (std::size_t i = 0; i < agents && !reader.failed(); ++i) load_agent(reader);
  if (!reader.failed()) index_locks(reader);
}

// --- what must hold ----------------------------------------------------------------------------

// Its holders stand together, its counts are theirs, and its queue is in order.
bool LockManager::is_whole(const Resource& resource, std::uint32_t index) const noexcept {
  std::array<std::uint32_t, kLockModes> held{};
  std::uint32_t holders = 0;
  for (std::uint32_t at = resource.first_holder; at != kNone; at = locks_[at].holder.next) {
    if (!lock_slots_.is_used(at) || ++holders > config_.locks_max) return false;
    const Lock& one = locks_[at];
    if (one.resource != index || one.is_folded || one.fence > resource.fence) return false;
    for (std::size_t mode = 1; mode < kLockModes; ++mode) {
      if (held[mode] != 0 && !compatible(one.mode, static_cast<LockMode>(mode))) return false;
    }
    ++held[static_cast<std::size_t>(one.mode)];
  }
  std::uint32_t waiting = 0;
  const Agent* last = nullptr;
  for (std::uint32_t at = resource.first_waiter; at != kNone; at = agents_[at].wait.queue.next) {
    if (at >= config_.agents_max || ++waiting > config_.agents_max) return false;
    if (agents_[at].wait.ticket == 0 || agents_[at].wait.at != index) return false;
    if (last != nullptr && agents_[at].wait.key < last->wait.key) return false;
    last = &agents_[at];
  }
  return held == resource.held && waiting == resource.waiting;
}

// It has what it needs above it, and is one of its owner's.
bool LockManager::stands(std::uint32_t lock) const noexcept {
  const Lock& held = locks_[lock];
  if (lock_of(held.agent, held.resource) != lock || held.mode == LockMode::none) return false;
  std::uint32_t children = 0;
  std::uint32_t count = 0;
  for (std::uint32_t at = agents_[held.agent].first_lock; at != kNone;
       at = locks_[at].sibling.next) {
    if (!lock_slots_.is_used(at) || ++count > config_.locks_max) return false;
    children += resources_[locks_[at].resource].parent == held.resource ? 1U : 0U;
  }
  const bool is_used = held.own != 0 || children != 0 || is_needed(held.agent, held.resource);
  if (children != held.children || !is_used || count != agents_[held.agent].lock_count)
    return false;
  const std::uint32_t above = resources_[held.resource].parent;
  if (above == kNone) return !held.is_folded;
  const std::uint32_t parent = lock_of(held.agent, above);
  if (parent == kNone) return false;
  const bool covered = covers(locks_[parent].mode, intention_of(held.mode));
  return covered && (!held.is_folded || locks_[parent].base != LockMode::none);
}

// What it waits for cannot be had now: no wake-up is lost.
bool LockManager::waits_rightly(std::uint32_t agent) const noexcept {
  const Wait& wait = agents_[agent].wait;
  return !is_grantable(agent, wait.at, wait.wanted, wait.key) && wait_ends_.has(agent);
}

// Every reference to a resource is one of a lock, a wait or a child.
bool LockManager::counts_references() const {
  std::vector<std::uint32_t> expected(config_.resources_max);
  for (std::uint32_t at = 0; at < config_.locks_max; ++at) {
    if (lock_slots_.is_used(at)) ++expected[locks_[at].resource];
  }
  for (const Agent& agent : agents_) {
    if (agent.wait.ticket != 0) ++expected[agent.wait.leaf];
  }
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    const bool has_parent = resource_slots_.is_used(at) && resources_[at].parent != kNone;
    if (has_parent) ++expected[resources_[at].parent];
  }
  std::uint32_t busy = 0;
  bool same = true;
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    if (!resource_slots_.is_used(at)) continue;
    same = same && resources_[at].refs == expected[at];
    busy += expected[at] != 0 ? 1U : 0U;
  }
  return same && busy == busy_;
}

Status LockManager::verify() const {
  bool whole = true;
  for (std::uint32_t at = 0; at < config_.resources_max; ++at) {
    whole = whole && (!resource_slots_.is_used(at) || is_whole(resources_[at], at));
  }
  bool stand = whole;
  for (std::uint32_t at = 0; at < config_.locks_max; ++at) {
    stand = stand && (!lock_slots_.is_used(at) || stands(at));
  }
  bool rightly = whole;
  std::uint32_t waiting = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (agents_[agent].wait.ticket == 0) continue;
    ++waiting;
    rightly = rightly && waits_rightly(agent);
  }
  const Counters& sums = counters_;
  const std::array<Check, 7> checks{{
      {whole, "the holders of a resource do not stand together, or its queue is not in order"},
      {counts_references(), "a resource counts as used that is not, or the reverse"},
      {stand, "a lock lacks what it needs above it, or its owner"},
      {rightly, "somebody waits for what is free"},
      {waiting == waiting_, "the number of those that wait is not that of the waits"},
      {sums.taken == sums.given_up + lock_slots_.used(), "taken is not given up + held"},
      {sums.waits == sums.handed_over + sums.timeouts + sums.cancelled + sums.victims + waiting,
       "a wait has ended twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<LockManager, LockManagerConfig, LockCommand, LockReply, LockCounters,
                           LockActions>;

}  // namespace mesh::coordination
