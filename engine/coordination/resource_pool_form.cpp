// What a resource pool looks like from outside: its presets and factories, the range of its config,
// its views, its bytes, and what must hold.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "engine/coordination/resource_pool.hpp"

namespace mesh::coordination {
namespace {

constexpr std::array<std::string_view, 3> kPresets{"default", "small-host", "large-mesh"};

}  // namespace

std::string_view to_string(PoolNotice notice) noexcept {
  constexpr std::array<std::string_view, 7> kNames{"granted",   "begun",   "timed_out", "warned",
                                                   "preempted", "expired", "closed"};
  const auto index = static_cast<std::size_t>(notice);
  return index < kNames.size() ? kNames[index] : "unknown";
}

std::span<const std::string_view> ResourcePoolConfig::names() noexcept { return kPresets; }

Result<ResourcePoolConfig> ResourcePoolConfig::preset(std::string_view name) {
  ResourcePoolConfig config;
  if (name == "default") return config;
  if (name == "small-host") {
    config.resources_max = 16;
    config.agents_max = 128;
    config.reservations_max = 1'024;
    config.requests_max = 256;
    config.bookings_max = 64;
    return config;
  }
  if (name == "large-mesh") {
    config.resources_max = 256;
    config.agents_max = 32'768;
    config.reservations_max = 131'072;
    config.requests_max = 16'384;
    return config;
  }
  return unknown_preset("resource pool", name, kPresets);
}

pool::AddResource compute_pool(std::string id, std::uint64_t capacity) {
  pool::AddResource order;
  order.id = std::move(id);
  order.capacity = capacity;
  order.rules.preemption = Preemption::lower_priority;
  return order;
}

pool::AddResource connection_pool(std::string id, std::uint64_t capacity) {
  pool::AddResource order;
  order.id = std::move(id);
  order.kind = PoolKind::connection;
  order.capacity = capacity;
  order.rules.queue_policy = QueuePolicy::fifo;
  order.rules.lease_ns = Nanos{30 * kNsPerSecond};
  order.rules.agent_max_ppm = 250'000;
  return order;
}

pool::AddResource quota_pool(std::string id, std::uint64_t limit, Nanos window) {
  pool::AddResource order;
  order.id = std::move(id);
  order.kind = PoolKind::quota;
  order.capacity = limit;
  order.rules.agent_max_ppm = 1'000'000;
  order.rules.window_ns = window;
  return order;
}

Status ResourcePoolManager::validate(const Config& config) {
  constexpr std::uint32_t kSlots = SlotSet::kSlotsMax;
  const std::array<Check, 8> checks{{
      {config.resources_max >= 1 && config.resources_max <= 65'536,
       "resources_max is outside 1..65536"},
      {config.agents_max >= 1 && config.agents_max <= 1U << 20, "agents_max is outside 1..1048576"},
      {config.reservations_max >= 1 && config.bookings_max >= 1 &&
           config.reservations_max <= kSlots / 2 && config.bookings_max <= kSlots / 2,
       "reservations_max or bookings_max is outside 1..131072"},
      {config.requests_max >= 1 && config.requests_max <= kSlots,
       "requests_max is outside 1..262144"},
      {is_positive_duration(config.starvation_ns), "starvation_ns is outside 1 ns..36 years"},
      {is_positive_duration(config.credit_expiry_ns), "credit_expiry_ns is outside 1 ns..36 years"},
      {config.credit_share_ppm >= 1 && config.credit_share_ppm <= 1'000'000,
       "credit_share_ppm is outside 1..1000000"},
      events_in_range(config),
  }};
  return all_hold(Errc::invalid_config, checks);
}

// --- views -------------------------------------------------------------------------------------

std::uint32_t ResourcePoolManager::find(std::string_view resource) const noexcept {
  return resource_index_.find(hash_of(resource));
}

PoolView ResourcePoolManager::view(std::uint32_t resource) const noexcept {
  if (!is_resource(resource)) return {};
  const Resource& on = resources_[resource];
  const std::uint64_t limit = limit_of(on);
  return {limit - std::min(limit, on.active), on.capacity, on.waiting, on.revoked_fence};
}

std::uint64_t ResourcePoolManager::held(std::uint32_t agent,
                                        std::uint32_t resource) const noexcept {
  if (agent >= config_.agents_max) return 0;
  const std::uint32_t account = account_of(agent, resource);
  return account == kNone ? 0 : accounts_[account].held;
}

Result<ReservationView> ResourcePoolManager::inspect(std::uint64_t reservation) const {
  const std::uint32_t slot = reservation_index_.find(hash_of_serial(reservation));
  if (slot == kNone) {
    return complain(Errc::not_found, "no reservation " + std::to_string(reservation));
  }
  const Reservation& one = reservations_[slot];
  return ReservationView{
      one.agent, one.resource,          one.quantity,
      one.fence, Nanos{one.expires_ns}, {purposes_[slot].data(), purpose_sizes_[slot]}};
}

// --- bytes -------------------------------------------------------------------------------------

namespace {

template <class Link, class Visit>
void words_of_link(Link& link, Visit&& visit) {
  visit(link.next);
  visit(link.last);
}
template <class Resource, class Visit>
void words_of_resource(Resource& on, Visit&& visit) {
  visit(on.capacity);
  visit(on.active);
  visit(on.fence);
  visit(on.revoked_fence);
  visit(on.first);
  visit(on.last);
  visit(on.count);
  visit(on.waiting);
  visit(on.bookings);
  visit(on.window_ends_ns);
  visit(on.above_since_ns);
  visit(on.below_since_ns);
  visit(on.scaled_ns);
  visit(on.kind);
}
template <class Reservation, class Visit>
void words_of_reservation(Reservation& one, Visit&& visit) {
  visit(one.id);
  visit(one.fence);
  visit(one.quantity);
  visit(one.start_ns);
  visit(one.expires_ns);
  visit(one.lease_ns);
  visit(one.revoke_ns);
  visit(one.agent);
  visit(one.resource);
  visit(one.station);
  visit(one.priority);
  visit(one.account);
  words_of_link(one.link, visit);
}
template <class Account, class Visit>
void words_of_account(Account& one, Visit&& visit) {
  visit(one.held);
  visit(one.booked);
  visit(one.agent);
  visit(one.resource);
  words_of_link(one.link, visit);
}
template <class Request, class Visit>
void words_of_request(Request& one, Visit&& visit) {
  visit(one.ticket);
  visit(one.since_ns);
  visit(one.deadline_ns);
  visit(one.lease_ns);
  visit(one.agent);
  visit(one.station);
  visit(one.priority);
  visit(one.count);
  for (auto& item : one.items) {
    visit(item.resource);
    visit(item.quantity);
  }
  visit(one.allow_partial);
  visit(one.preempts);
  words_of_link(one.link, visit);
}
template <class Booking, class Visit>
void words_of_booking(Booking& one, Visit&& visit) {
  visit(one.id);
  visit(one.quantity);
  visit(one.start_ns);
  visit(one.end_ns);
  visit(one.agent);
  visit(one.resource);
  visit(one.station);
}

template <class Text>
std::uint8_t get_text(StateReader& reader, Text& into) {
  const auto bytes = reader.get_bytes();
  if (bytes.size() > into.size()) {
    reader.fail();
    return 0;
  }
  std::memcpy(into.data(), bytes.data(), bytes.size());
  return static_cast<std::uint8_t>(bytes.size());
}

}  // namespace

void ResourcePoolManager::save_state(StateWriter& writer) const {
  const auto put = [&](const auto& value) { writer.put(value); };
  const auto each = [&](const SlotSet& slots, auto&& save) {
    writer.put(slots.used());
    for (std::uint32_t slot = 0; slot < slots.slots(); ++slot) {
      if (!slots.is_used(slot)) continue;
      writer.put(slot);
      save(slot);
    }
  };
  for (const std::uint64_t word : {ended_count_, last_id_, last_ticket_}) writer.put(word);
  for (const auto& one : ended_) {
    writer.put(one.id);
    writer.put(one.why);
  }
  each(resource_slots_, [&](std::uint32_t slot) {
    const Resource& on = resources_[slot];
    writer.put(std::string_view(on.name.data(), on.name_size));
    writer.put(std::string_view(on.unit.data(), on.unit_size));
    words_of_resource(on, put);
    put_fields(on.rules, writer);
    put_fields(on.scale, writer);
  });
  each(reservation_slots_, [&](std::uint32_t slot) {
    writer.put(std::string_view(purposes_[slot].data(), purpose_sizes_[slot]));
    words_of_reservation(reservations_[slot], put);
  });
  each(account_slots_, [&](std::uint32_t slot) { words_of_account(accounts_[slot], put); });
  each(request_slots_, [&](std::uint32_t slot) { words_of_request(requests_[slot], put); });
  each(booking_slots_, [&](std::uint32_t slot) { words_of_booking(bookings_[slot], put); });
  writer.put(first_request_);
  writer.put(last_request_);
  const auto is_known = [&](std::uint32_t agent) {
    return weights_[agent] != 1 || first_account_[agent] != kNone;
  };
  std::uint32_t known = 0;
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) known += is_known(agent);
  writer.put(known);
  for (std::uint32_t agent = 0; agent < config_.agents_max; ++agent) {
    if (!is_known(agent)) continue;
    writer.put(agent);
    writer.put(weights_[agent]);
    writer.put(first_account_[agent]);
  }
}

// Slots with what is in them; load(slot) says whether it can be.
template <class Load>
void ResourcePoolManager::load_slots(StateReader& reader, SlotSet& slots, Load&& load) {
  const std::size_t count = reader.get_count(sizeof(std::uint32_t));
  for (std::size_t i = 0; i < count && !reader.failed(); ++i) {
    const auto slot = reader.get<std::uint32_t>();
    if (!slots.use(slot) || !load(slot)) reader.fail();
  }
}

bool ResourcePoolManager::load_resource(StateReader& reader, std::uint32_t slot) {
  Resource& on = resources_[slot];
  on.name_size = get_text(reader, on.name);
  on.unit_size = get_text(reader, on.unit);
  words_of_resource(on, [&](auto& value) { get_fields(value, reader); });
  get_fields(on.rules, reader);
  get_fields(on.scale, reader);
  const IdHash id = hash_of({on.name.data(), on.name_size});
  if (reader.failed() || on.capacity == 0 || resource_index_.find(id) != kNone) return false;
  resource_index_.set(id, slot);
  return on.rules.window_ns.count() > 0;
}

bool ResourcePoolManager::load_reservation(StateReader& reader, std::uint32_t slot) {
  purpose_sizes_[slot] = get_text(reader, purposes_[slot]);
  Reservation& one = reservations_[slot];
  words_of_reservation(one, [&](auto& value) { get_fields(value, reader); });
  if (reader.failed() || one.agent >= config_.agents_max || !is_resource(one.resource))
    return false;
  reservation_index_.set(hash_of_serial(one.id), slot);
  lease_ends_.set(slot, std::min(one.expires_ns, one.revoke_ns), one.id);
  return true;
}

bool ResourcePoolManager::load_request(StateReader& reader, std::uint32_t slot) {
  Request& one = requests_[slot];
  words_of_request(one, [&](auto& value) { get_fields(value, reader); });
  if (reader.failed() || one.agent >= config_.agents_max || one.count > kItemsMax) return false;
  for (std::size_t i = 0; i < one.count; ++i) {
    if (!is_resource(one.items[i].resource)) return false;
  }
  wait_ends_.set(slot, one.deadline_ns, one.ticket);
  return one.count != 0;
}

void ResourcePoolManager::load_state(StateReader& reader) {
  for (auto* word : {&ended_count_, &last_id_, &last_ticket_}) reader.get(*word);
  for (auto& one : ended_) {
    reader.get(one.id);
    one.why = reader.get_enum(PoolNotice::closed);
  }
  load_slots(reader, resource_slots_,
             [&](std::uint32_t slot) { return load_resource(reader, slot); });
  load_slots(reader, reservation_slots_,
             [&](std::uint32_t slot) { return load_reservation(reader, slot); });
  load_slots(reader, account_slots_, [&](std::uint32_t slot) {
    words_of_account(accounts_[slot], [&](auto& value) { get_fields(value, reader); });
    return accounts_[slot].agent < config_.agents_max && is_resource(accounts_[slot].resource);
  });
  load_slots(reader, request_slots_,
             [&](std::uint32_t slot) { return load_request(reader, slot); });
  load_slots(reader, booking_slots_, [&](std::uint32_t slot) {
    words_of_booking(bookings_[slot], [&](auto& value) { get_fields(value, reader); });
    booking_starts_.set(slot, bookings_[slot].start_ns, bookings_[slot].id);
    return bookings_[slot].agent < config_.agents_max && is_resource(bookings_[slot].resource);
  });
  reader.get(first_request_);
  reader.get(last_request_);
  const std::size_t agents = reader.get_count(12);
  for (std::size_t i = 0; i < agents && !reader.failed(); ++i) {
    const auto agent = reader.get<std::uint32_t>();
    if (agent >= config_.agents_max) return reader.fail();
    reader.get(weights_[agent]);
    reader.get(first_account_[agent]);
  }
}

// --- what must hold ----------------------------------------------------------------------------

// Its reservations add up to what is active, within its limit; each has its account.
bool ResourcePoolManager::is_whole(std::uint32_t resource) const {
  const Resource& on = resources_[resource];
  std::uint64_t active = 0;
  std::uint32_t count = 0;
  std::uint64_t last_fence = 0;
  for (std::uint32_t at = on.first; at != kNone; at = reservations_[at].link.next) {
    if (!reservation_slots_.is_used(at) || ++count > on.count) return false;
    const Reservation& one = reservations_[at];
    if (one.resource != resource || one.fence <= last_fence || one.fence > on.fence) return false;
    if (!account_slots_.is_used(one.account)) return false;
    const Account& account = accounts_[one.account];
    if (account.agent != one.agent || account.resource != resource) return false;
    last_fence = one.fence;
    active += one.quantity;
  }
  const bool adds_up = on.kind == PoolKind::quota ? count == 0 : active == on.active;
  return adds_up && count == on.count && on.active <= limit_of(on);
}

// What an agent has of a resource is what its reservations and bookings are, below its maximum.
bool ResourcePoolManager::are_accounts_right() const {
  std::vector<std::uint64_t> held(accounts_.size());
  std::vector<std::uint64_t> booked(accounts_.size());
  for (std::uint32_t slot = 0; slot < config_.reservations_max; ++slot) {
    if (reservation_slots_.is_used(slot))
      held[reservations_[slot].account] += reservations_[slot].quantity;
  }
  for (std::uint32_t slot = 0; slot < config_.bookings_max; ++slot) {
    if (!booking_slots_.is_used(slot)) continue;
    const std::uint32_t account = account_of(bookings_[slot].agent, bookings_[slot].resource);
    if (account == kNone) return false;
    booked[account] += bookings_[slot].quantity;
  }
  for (std::uint32_t slot = 0; slot < accounts_.size(); ++slot) {
    if (!account_slots_.is_used(slot)) continue;
    const Account& one = accounts_[slot];
    if (one.held != held[slot] || one.booked != booked[slot]) return false;
    if (one.held + one.booked == 0) return false;
    // A pool that has shrunk leaves what was within the maximum then.
    const Resource& on = resources_[one.resource];
    if (on.scale.max == 0 && one.held + one.booked > agent_max(on)) return false;
  }
  return true;
}

// At no later instant more than there is.
bool ResourcePoolManager::is_bookable() const {
  for (std::uint32_t slot = 0; slot < config_.bookings_max; ++slot) {
    if (!booking_slots_.is_used(slot)) continue;
    const Booking& one = bookings_[slot];
    std::uint64_t held = 0;
    for (std::uint32_t at = resources_[one.resource].first; at != kNone;
         at = reservations_[at].link.next) {
      if (reservations_[at].expires_ns > one.start_ns) held += reservations_[at].quantity;
    }
    const std::uint64_t sum = held + peak(one.resource, one.start_ns, one.start_ns + 1);
    if (sum > limit_of(resources_[one.resource])) return false;
  }
  return true;
}

bool ResourcePoolManager::is_queue_right() const {
  std::vector<std::uint32_t> waiting(config_.resources_max);
  std::uint32_t count = 0;
  std::uint64_t last_ticket = 0;
  for (std::uint32_t at = first_request_; at != kNone; at = requests_[at].link.next) {
    if (!request_slots_.is_used(at) || ++count > request_slots_.used()) return false;
    const Request& one = requests_[at];
    if (one.ticket <= last_ticket) return false;
    last_ticket = one.ticket;
    for (std::size_t i = 0; i < one.count; ++i) ++waiting[one.items[i].resource];
  }
  for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
    if (is_resource(resource) && resources_[resource].waiting != waiting[resource]) return false;
  }
  return count == request_slots_.used();
}

Status ResourcePoolManager::verify() const {
  bool whole = true;
  for (std::uint32_t resource = 0; resource < config_.resources_max; ++resource) {
    whole = whole && (!is_resource(resource) || is_whole(resource));
  }
  const Counters& sums = counters_;
  const std::uint64_t ended = sums.released + sums.expired + sums.preempted + sums.closed;
  const std::array<Check, 6> checks{{
      {whole, "the reservations of a resource do not add up to what is active, or exceed it"},
      {whole && are_accounts_right(), "an agent's account is not its reservations and bookings"},
      {whole && is_bookable(), "more is booked for an instant than there is"},
      {is_queue_right(), "the queue is not whole"},
      {sums.reservations == ended + reservation_slots_.used(),
       "a reservation has ended twice, or not at all"},
      {sums.waits == sums.served + sums.timeouts + sums.cancelled + request_slots_.used(),
       "a wait has ended twice, or not at all"},
  }};
  return all_hold(Errc::corrupt, checks);
}

template class ServiceForm<ResourcePoolManager, ResourcePoolConfig, ResourcePoolCommand,
                           ResourcePoolReply, ResourcePoolCounters, ResourcePoolActions>;

}  // namespace mesh::coordination
