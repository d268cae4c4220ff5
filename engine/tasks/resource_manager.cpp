#include "engine/tasks/resource_manager.hpp"

#include <algorithm>

#include "engine/tasks/event_names.hpp"

namespace mesh::tasks {
namespace {

IdHash hash_of_grant(std::uint64_t grant) noexcept { return hash_of(grant, 8); }

}  // namespace

LockManagerConfig ResourceManager::lock_config(const Config& config) {
  LockManagerConfig locks;
  locks.lease_ns = config.lease_ns;
  locks.lease_ns_max = std::max(locks.lease_ns_max, config.lease_ns);
  locks.timeout_ns = config.timeout_ns;
  locks.prevention = Prevention::none;
  locks.fairness = Fairness::priority;
  locks.aging_ns = config.aging_ns;
  locks.detection_ns = config.detection_ns;
  locks.coarsen_at = 0;
  locks.agents_max = config.agents_max;
  locks.resources_max = config.resources_max;
  locks.locks_max = config.holdings_max;
  locks.locks_per_agent_max = config.holdings_max;
  locks.events_max = 1;  // what happens is told here
  return locks;
}

ResourceManager::ResourceManager(const Config& config, std::uint64_t seed)
    : ServiceForm(config),
      locks_(lock_config(config), seed),
      holdings_(config.holdings_max),
      slots_(config.holdings_max),
      index_(config.holdings_max),
      by_grant_(config.holdings_max),
      waits_(config.agents_max) {
  heard_.reserve(256);
  news_.reserve(256);
  sorted_.reserve(kGroupMax);
}

std::uint32_t ResourceManager::find(std::uint32_t agent, std::string_view resource) const noexcept {
  return index_.find(hash_of_holding(agent, resource));
}

bool ResourceManager::holds(std::uint32_t agent, std::string_view resource) const noexcept {
  return find(agent, resource) != kNone;
}

std::uint64_t ResourceManager::waits(std::uint32_t agent) const noexcept {
  return agent < config_.agents_max ? waits_[agent].ticket : 0;
}

LockWaitView ResourceManager::explain(std::uint64_t ticket) const {
  for (const Wait& wait : waits_) {
    if (ticket == 0 || wait.ticket != ticket) continue;
    LockWaitView view = locks_.poll(wait.lock_ticket);
    view.ticket = ticket;
    return view;
  }
  return {};
}

// --- with the lock -----------------------------------------------------------------------------

LockReply ResourceManager::ask(const LockCommand& command, std::int64_t now_ns) noexcept {
  LockReply reply = locks_.apply(command, Nanos{now_ns});
  heard_.insert(heard_.end(), reply.news.begin(), reply.news.end());
  view_changed_ = true;
  return reply;
}

void ResourceManager::keep(std::uint32_t agent, const Name& name, const LockReply& grant,
                           std::int64_t now_ns) noexcept {
  const std::uint32_t known = find(agent, name.text());
  if (known != kNone) {  // again, or in a stronger mode: the lock counts, too
    Holding& held = holdings_[known];
    by_grant_.erase(hash_of_grant(held.grant));
    held.grant = grant.grant;
    held.fence = grant.fence;
    ++held.count;
    by_grant_.set(hash_of_grant(held.grant), known);
    return;
  }
  const std::uint32_t slot = slots_.take();  // there is one: the lock has as many at most
  Holding& fresh = holdings_[slot] = {};
  fresh.name = name;
  fresh.grant = grant.grant;
  fresh.fence = grant.fence;
  fresh.since_ns = now_ns;
  fresh.agent = agent;
  fresh.station = waits_[agent].station;
  fresh.count = 1;
  fresh.in_group = waits_[agent].ticket != 0;
  index_.set(hash_of_holding(agent, name.text()), slot);
  by_grant_.set(hash_of_grant(grant.grant), slot);
  ++counters_.held;
  emit(EventName::resource_acquired, Severity::debug, now_ns,
       {agent, grant.fence, hash_of(name.text()).low});
}

// The lock has been told, or has told us.
void ResourceManager::give_up(std::uint32_t slot, std::int64_t now_ns) noexcept {
  const Holding gone = holdings_[slot];
  index_.erase(hash_of_holding(gone.agent, gone.name.text()));
  by_grant_.erase(hash_of_grant(gone.grant));
  slots_.free(slot);
  ++counters_.given_up;
  counters_.hold_ns += static_cast<std::uint64_t>(now_ns - gone.since_ns);
  hold_times_.add(static_cast<std::uint64_t>(now_ns - gone.since_ns));
  emit(EventName::resource_released, Severity::debug, now_ns,
       {gone.agent, gone.fence, hash_of(gone.name.text()).low});
}

// False, and held as before: something that stands on it is held still, or waited for.
bool ResourceManager::let_go(std::uint32_t slot, std::int64_t now_ns) noexcept {
  Holding& held = holdings_[slot];
  for (; held.count > 1; --held.count) ask(lock::Release{held.grant, held.station}, now_ns);
  if (ask(lock::Release{held.grant, held.station}, now_ns).code == Errc::wrong_state) return false;
  give_up(slot, now_ns);
  return true;
}

// What stands on others goes before them, in whatever order it was taken: so often as it is deep.
template <class Which>
std::uint32_t ResourceManager::let_go_where(Which&& which, std::int64_t now_ns) noexcept {
  std::uint32_t count = 0;
  for (bool goes_on = true; goes_on;) {
    const std::uint32_t before = count;
    std::uint32_t left = 0;
    for (std::uint32_t slot = 0; slot < config_.holdings_max; ++slot) {
      if (!slots_.is_used(slot) || !which(holdings_[slot])) continue;
      ++(let_go(slot, now_ns) ? count : left);
    }
    goes_on = left != 0 && count != before;
  }
  return count;
}

void ResourceManager::tell(const Wait& wait, std::uint32_t agent, ResourceNotice kind,
                           std::uint64_t fence) noexcept {
  const std::uint32_t at = std::min(wait.next, wait.count - 1);
  news_.push_back({kind, agent, wait.ticket, fence, std::string(wait.names[at].text())});
}

// The next of what its ticket names, and the next, until one is taken by somebody else.
ResourceManager::Reply ResourceManager::go_on(std::uint32_t agent, std::int64_t now_ns) noexcept {
  Wait& wait = waits_[agent];
  Reply reply;
  reply.ticket = wait.ticket;
  for (; wait.next < wait.count; ++wait.next) {
    lock::Acquire wanted;
    wanted.agent = agent;
    wanted.resource = wait.names[wait.next].text();
    wanted.mode = wait.shared ? LockMode::s : LockMode::x;
    wanted.priority = wait.priority;
    wanted.station = wait.station;
    wanted.timeout = Nanos{std::max<std::int64_t>(0, wait.deadline_ns - now_ns)};
    const LockReply got = ask(wanted, now_ns);
    reply.code = got.code;
    reply.refusal = got.refusal;
    if (got.code != Errc::ok) return reply;
    if (got.refusal != Refusal::none) {
      wait.lock_ticket = got.ticket;
      return reply;
    }
    keep(agent, wait.names[wait.next], got, now_ns);
    reply.fence = got.fence;
  }
  return reply;
}

// What a ticket that fails had already got.
void ResourceManager::drop_group(std::uint32_t agent, std::int64_t now_ns) noexcept {
  let_go_where([agent](const Holding& one) { return one.agent == agent && one.in_group; }, now_ns);
}

void ResourceManager::end_wait(std::uint32_t agent, ResourceNotice why,
                               std::int64_t now_ns) noexcept {
  counters_.timed_out += why == ResourceNotice::timed_out ? 1U : 0U;
  counters_.victims += why == ResourceNotice::victim ? 1U : 0U;
  counters_.cancelled += why == ResourceNotice::cancelled ? 1U : 0U;
  const auto name = hash_of(waits_[agent].names[waits_[agent].next].text()).low;
  if (why == ResourceNotice::victim) {
    emit(EventName::deadlock_detected, Severity::warning, now_ns,
         {agent, waits_[agent].ticket, name});
  } else {
    emit(EventName::resource_timeout, Severity::info, now_ns, {agent, waits_[agent].ticket, name});
  }
  tell(waits_[agent], agent, why, 0);
  drop_group(agent, now_ns);
  waits_[agent].ticket = waits_[agent].lock_ticket = 0;
}

void ResourceManager::hear(const LockNews& one, std::int64_t now_ns) noexcept {
  Wait& wait = waits_[one.agent];
  if (one.ticket != 0) {
    if (one.ticket != wait.lock_ticket || wait.ticket == 0) return;  // it gave up meanwhile
    wait.lock_ticket = 0;
    if (one.kind == LockNotice::timed_out) {
      return end_wait(one.agent, ResourceNotice::timed_out, now_ns);
    }
    if (one.kind != LockNotice::granted) {
      const bool is_victim = one.kind == LockNotice::victim;
      return end_wait(one.agent, is_victim ? ResourceNotice::victim : ResourceNotice::cancelled,
                      now_ns);
    }
    LockReply grant;
    grant.grant = one.grant;
    grant.fence = one.fence;
    keep(one.agent, wait.names[wait.next], grant, now_ns);
    ++wait.next;
    const Reply rest = go_on(one.agent, now_ns);
    if (rest.code != Errc::ok) return end_wait(one.agent, ResourceNotice::cancelled, now_ns);
    if (rest.refusal != Refusal::none) {
      // Its time is over in this very instant: there was no more to wait.
      if (wait.lock_ticket == 0) end_wait(one.agent, ResourceNotice::timed_out, now_ns);
      return;
    }
    ++counters_.granted;
    tell(wait, one.agent, ResourceNotice::granted, wait.count == 1 ? one.fence : rest.fence);
    for (std::uint32_t i = 0; i < wait.count; ++i) {
      holdings_[find(one.agent, wait.names[i].text())].in_group = false;
    }
    wait.ticket = 0;
    return;
  }
  const std::uint32_t slot = by_grant_.find(hash_of_grant(one.grant));
  if (slot == kNone) return;
  const Holding gone = holdings_[slot];
  ++counters_.expired;
  news_.push_back(
      {ResourceNotice::expired, gone.agent, 0, gone.fence, std::string(gone.name.text())});
  give_up(slot, now_ns);
  if (!gone.in_group) return;  // else what it waits for would be half of a group
  ask(lock::Cancel{gone.agent, waits_[gone.agent].lock_ticket, waits_[gone.agent].station}, now_ns);
  end_wait(gone.agent, ResourceNotice::cancelled, now_ns);
}

// What the lock has to say, and what follows from that, until nothing more does.
void ResourceManager::hear(std::int64_t now_ns) noexcept {
  for (std::size_t i = 0; i < heard_.size(); ++i) {
    const LockNews one = heard_[i];
    hear(one, now_ns);
  }
  heard_.clear();
}

// --- commands ----------------------------------------------------------------------------------

Errc ResourceManager::check(const resource::AcquireAll& order) const noexcept {
  if (order.agent >= config_.agents_max) return Errc::invalid_argument;
  if (waits_[order.agent].ticket != 0) return Errc::wrong_state;
  const bool is_possible = !order.resources.empty() && order.resources.size() <= kGroupMax &&
                           order.priority <= LockManager::kPriorityMax &&
                           order.timeout.count() <= kDurationMaxNs;
  if (!is_possible) return Errc::invalid_argument;
  for (const auto& one : order.resources) {
    if (!is_name(one) || one.find('/') != std::string::npos) return Errc::invalid_id;
  }
  return slots_.left() < order.resources.size() ? Errc::capacity : Errc::ok;
}

ResourceManager::Reply ResourceManager::on(const resource::Acquire& order,
                                           std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::invalid_argument);
  if (!is_name(order.resource)) return refuse(Errc::invalid_id);
  Wait& wait = waits_[order.agent];
  if (wait.ticket != 0) return refuse(Errc::wrong_state);
  if (slots_.left() == 0) return refuse(Errc::capacity);
  lock::Acquire wanted;
  wanted.agent = order.agent;
  wanted.resource = order.resource;
  wanted.mode = order.shared ? LockMode::s : LockMode::x;
  wanted.priority = order.priority;
  wanted.timestamp = order.timestamp;
  wanted.timeout = order.timeout;
  wanted.station = order.station;
  const LockReply got = ask(wanted, now_ns);
  if (got.code != Errc::ok) return refuse(got.code);
  Name name;
  name.size = static_cast<std::uint8_t>(order.resource.size());
  std::copy(order.resource.begin(), order.resource.end(), name.bytes.begin());
  wait.station = order.station;
  Reply reply;
  reply.refusal = got.refusal;
  reply.fence = got.fence;
  if (got.refusal == Refusal::none) {
    keep(order.agent, name, got, now_ns);
  } else if (got.ticket != 0) {
    wait.ticket = ++last_ticket_;
    wait.lock_ticket = got.ticket;
    wait.deadline_ns = 0;  // and what else a group's ticket left here: it stands in snapshots
    wait.priority = 0;
    wait.shared = false;
    wait.next = 0;
    wait.count = 1;
    wait.names[0] = name;
    ++counters_.waits;
    reply.ticket = wait.ticket;
    emit(EventName::resource_requested, Severity::debug, now_ns,
         {order.agent, wait.ticket, hash_of(order.resource).low});
  }
  return reply;
}

ResourceManager::Reply ResourceManager::on(const resource::AcquireAll& order,
                                           std::int64_t now_ns) noexcept {
  const Errc bad = check(order);
  if (bad != Errc::ok) return refuse(bad);
  sorted_.assign(order.resources.begin(), order.resources.end());  // reserved
  std::sort(sorted_.begin(), sorted_.end());
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  for (const auto one : sorted_) {
    if (holds(order.agent, one)) return refuse(Errc::already_exists);
    // It could not be given back if the group failed: what stands on it comes first.
    if (locks_.mode_of(order.agent, one) != LockMode::none) return refuse(Errc::wrong_state);
  }
  Wait& wait = waits_[order.agent];
  const Nanos timeout = order.timeout.count() < 0 ? config_.timeout_ns : order.timeout;
  wait.ticket = ++last_ticket_;
  wait.lock_ticket = 0;
  wait.deadline_ns = now_ns + timeout.count();
  wait.priority = order.priority;
  wait.station = order.station;
  wait.shared = false;
  wait.next = 0;
  wait.count = static_cast<std::uint32_t>(sorted_.size());
  for (std::size_t i = 0; i < sorted_.size(); ++i) {
    wait.names[i] = {};
    wait.names[i].size = static_cast<std::uint8_t>(sorted_[i].size());
    std::copy(sorted_[i].begin(), sorted_[i].end(), wait.names[i].bytes.begin());
  }
  Reply reply = go_on(order.agent, now_ns);
  const bool waits_on = reply.code == Errc::ok && wait.lock_ticket != 0;
  if (waits_on) {
    ++counters_.waits;
    return reply;
  }
  if (reply.code != Errc::ok || reply.refusal != Refusal::none) {
    drop_group(order.agent, now_ns);  // a try, or no room: nothing is kept
    wait.ticket = 0;
    reply.ticket = 0;
    return reply;
  }
  for (std::uint32_t i = 0; i < wait.count; ++i) {
    holdings_[find(order.agent, wait.names[i].text())].in_group = false;
  }
  wait.ticket = 0;
  return reply;
}

ResourceManager::Reply ResourceManager::on(const resource::Release& order,
                                           std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find(order.agent, order.resource);
  const bool is_its = slot != kNone && !holdings_[slot].in_group;
  if (!is_its) return refuse(Errc::not_owner);
  Holding& held = holdings_[slot];
  Reply reply;
  reply.fence = held.fence;
  if (held.count == 1) return let_go(slot, now_ns) ? reply : refuse(Errc::wrong_state);
  --held.count;
  ask(lock::Release{held.grant, held.station}, now_ns);
  return reply;
}

ResourceManager::Reply ResourceManager::on(const resource::Renew& order,
                                           std::int64_t now_ns) noexcept {
  const std::uint32_t slot = find(order.agent, order.resource);
  if (slot == kNone) return refuse(Errc::not_owner);
  const LockReply got =
      ask(lock::Renew{holdings_[slot].grant, Nanos{0}, holdings_[slot].station}, now_ns);
  if (got.code != Errc::ok) return refuse(got.code);
  Reply reply;
  reply.fence = holdings_[slot].fence;
  return reply;
}

// Its wait first: what it holds of an unanswered ticket goes with that.
std::uint32_t ResourceManager::give_up_all(std::uint32_t agent, std::int64_t now_ns) noexcept {
  std::uint32_t count = 0;
  const Wait& wait = waits_[agent];
  if (wait.ticket != 0) {
    ask(lock::Cancel{agent, wait.lock_ticket, wait.station}, now_ns);
    end_wait(agent, ResourceNotice::cancelled, now_ns);
    ++count;
  }
  return count + let_go_where([agent](const Holding& one) { return one.agent == agent; }, now_ns);
}

ResourceManager::Reply ResourceManager::on(const resource::ReleaseAll& order,
                                           std::int64_t now_ns) noexcept {
  if (order.agent >= config_.agents_max) return refuse(Errc::invalid_argument);
  Reply reply;
  reply.count = give_up_all(order.agent, now_ns);
  return reply;
}

ResourceManager::Reply ResourceManager::on(const resource::StationClosed& order,
                                           std::int64_t now_ns) noexcept {
  Reply reply;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    const bool is_its = waits_[agent].ticket != 0 && waits_[agent].station == order.station;
    if (!is_its) continue;
    ask(lock::Cancel{agent, waits_[agent].lock_ticket, order.station}, now_ns);
    end_wait(agent, ResourceNotice::cancelled, now_ns);
    ++reply.count;
  }
  reply.count +=
      let_go_where([&](const Holding& one) { return one.station == order.station; }, now_ns);
  return reply;
}

// Leases, time-outs and deadlocks of the lock; when it wants to be asked again.
Nanos ResourceManager::catch_up(std::int64_t now_ns) noexcept {
  LockActions actions;
  locks_.tick(Nanos{now_ns}, actions);
  view_changed_ = view_changed_ || actions.view_changed;
  heard_.insert(heard_.end(), actions.news.begin(), actions.news.end());
  hear(now_ns);
  return actions.next_tick;
}

ResourceManager::Reply ResourceManager::apply(const Command& command, Nanos now) noexcept {
  ++counters_.commands;
  if (!ServiceClock::is_valid(now)) return refuse(Errc::invalid_argument);
  const std::int64_t now_ns = clock_.at(now);
  static_cast<void>(catch_up(now_ns));
  Reply reply = std::visit([&](const auto& order) { return on(order, now_ns); }, command);
  hear(now_ns);
  if (!news_.empty()) {
    reply.news = news_;
    news_.clear();
  }
  return reply;
}

void ResourceManager::tick(Nanos now, Actions& out) noexcept {
  if (ServiceClock::is_valid(now)) out.next_tick = catch_up(clock_.at(now));
  out.news = news_;
  news_.clear();
  out.view_changed = std::exchange(view_changed_, false);
}

}  // namespace mesh::tasks
