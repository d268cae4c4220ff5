// What ResourcePoolManager is told, and what it answers: config, commands, replies, news, views.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/refusal.hpp"
#include "shm/base/nanos.hpp"
#include "shm/base/result.hpp"

namespace mesh::coordination {

struct ResourcePoolConfig {
  std::uint32_t resources_max = 64;
  std::uint32_t agents_max = 1'024;
  std::uint32_t reservations_max = 16'384;
  std::uint32_t requests_max = 4'096;  // that wait
  std::uint32_t bookings_max = 1'024;
  Nanos starvation_ns{10'000'000'000};  // a request that has waited so long lets none pass it by
  Nanos credit_expiry_ns{20'000'000};
  std::uint32_t credit_share_ppm = 250'000;  // of a quota, for one station at once
  std::uint32_t events_max = 256;

  static Result<ResourcePoolConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

enum class PoolKind : std::uint8_t { compute, connection, quota };
constexpr PoolKind last_of(PoolKind) noexcept { return PoolKind::quota; }
enum class QueuePolicy : std::uint8_t { fifo, priority, fair };
constexpr QueuePolicy last_of(QueuePolicy) noexcept { return QueuePolicy::fair; }
enum class Preemption : std::uint8_t { off, lower_priority };
constexpr Preemption last_of(Preemption) noexcept { return Preemption::lower_priority; }

struct PoolRules {
  std::uint32_t agent_max_ppm = 500'000;  // of the capacity, for one agent; at least one unit
  std::uint32_t overcommit_ppm = 0;
  std::uint64_t min_reserve = 0;  // units that only priority 10 may take
  std::uint32_t queue_max = 1'024;
  QueuePolicy queue_policy = QueuePolicy::fair;
  Preemption preemption = Preemption::off;
  Nanos grace_ns{1'000'000'000};
  Nanos lease_ns{60'000'000'000};
  Nanos lease_ns_max{3'600'000'000'000};
  Nanos window_ns{60'000'000'000};  // quota: how long its units count
};
struct PoolScale {
  std::uint64_t max = 0;  // 0: the capacity stays as it is
  std::uint64_t min = 1;
  std::uint32_t up_ppm = 800'000;
  std::uint32_t down_ppm = 300'000;
  std::uint32_t step_ppm = 250'000;
  Nanos up_hold_ns{30'000'000'000};
  Nanos down_hold_ns{300'000'000'000};
  Nanos up_cooldown_ns{60'000'000'000};
  Nanos down_cooldown_ns{300'000'000'000};
};

namespace pool {
struct AddResource {
  std::string id;
  PoolKind kind = PoolKind::compute;
  std::uint64_t capacity = 0;
  std::string unit;
  PoolRules rules;
  PoolScale scale;
};
struct RemoveResource {
  std::uint32_t resource = 0;
};
struct SetWeight {
  std::uint32_t agent = 0;
  std::uint32_t weight = 1;  // 1..1000000
};
struct Allocate {
  std::uint32_t agent = 0;
  std::uint32_t resource = 0;
  std::uint64_t quantity = 0;
  std::uint32_t priority = 0;  // 0..10, larger is more urgent
  Nanos lease{0};              // 0: the resource's
  std::string purpose;
  bool allow_partial = false;
  Nanos wait{0};
  std::uint32_t station = 0;
};
struct Item {
  std::uint32_t resource = 0;
  std::uint64_t quantity = 0;
};
// All of it or nothing; at most kItemsMax resources, each once.
struct Gang {
  std::uint32_t agent = 0;
  std::vector<Item> items;
  std::uint32_t priority = 0;
  Nanos lease{0};  // 0: the shortest of the resources'
  Nanos wait{0};
  std::uint32_t station = 0;
};
struct Release {
  std::uint64_t reservation = 0;
  std::uint32_t station = 0;
};
struct Renew {
  std::uint64_t reservation = 0;
  Nanos lease{0};  // 0: as it was taken
  std::uint32_t station = 0;
};
struct Resize {
  std::uint64_t reservation = 0;
  std::uint64_t quantity = 0;
  std::uint32_t station = 0;
};
struct Cancel {
  std::uint64_t ticket = 0;
  std::uint32_t station = 0;
};
// Units at a later time: a reservation of their own when it comes.
struct Book {
  std::uint32_t agent = 0;
  std::uint32_t resource = 0;
  std::uint64_t quantity = 0;
  Nanos start{0};
  Nanos duration{0};
  std::uint32_t station = 0;
};
struct CancelBooking {
  std::uint64_t booking = 0;
  std::uint32_t station = 0;
};
struct Validate {
  std::uint32_t resource = 0;
  std::uint64_t fence = 0;
};
struct WantCredit {  // of a quota, to be spent by the station without asking
  std::uint32_t resource = 0;
  std::uint32_t station = 0;
  std::uint64_t quantity = 0;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace pool

// The usual pools, to be changed before they are added.
[[nodiscard]] pool::AddResource compute_pool(std::string id, std::uint64_t capacity);
[[nodiscard]] pool::AddResource connection_pool(std::string id, std::uint64_t capacity);
[[nodiscard]] pool::AddResource quota_pool(std::string id, std::uint64_t limit, Nanos window);

enum class PoolNotice : std::uint8_t {
  granted,    // to a ticket
  begun,      // a booking: its reservation is there
  timed_out,  // a ticket
  warned,     // will be preempted when the grace is over
  preempted,
  expired,
  closed,  // its station is
};
constexpr PoolNotice last_of(PoolNotice) noexcept { return PoolNotice::closed; }
[[nodiscard]] std::string_view to_string(PoolNotice notice) noexcept;

struct PoolNews {
  PoolNotice kind = PoolNotice::granted;
  std::uint32_t agent = 0;
  std::uint32_t station = 0;
  std::uint32_t resource = 0;
  std::uint64_t ticket = 0;  // or booking
  std::uint64_t reservation = 0;
  std::uint64_t fence = 0;
  std::uint64_t quantity = 0;
  Nanos expires{0};
};
struct PoolGrant {
  std::uint32_t resource = 0;
  std::uint64_t reservation = 0;
  std::uint64_t fence = 0;
};

struct ResourcePoolReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  std::uint32_t resource = 0;
  std::uint64_t granted = 0;
  std::uint64_t reservation = 0;  // of Book: its booking
  std::uint64_t fence = 0;
  std::uint64_t ticket = 0;
  std::uint64_t free = 0;
  Nanos expires{0};
  Nanos retry_after{0};
  std::vector<PoolGrant> grants;  // of Gang
  std::vector<PoolNews> news;
};

struct ResourcePoolCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t reservations = 0;
  std::uint64_t released = 0;
  std::uint64_t expired = 0;
  std::uint64_t preempted = 0;
  std::uint64_t closed = 0;  // by their station
  std::uint64_t partial = 0;
  std::uint64_t waits = 0;
  std::uint64_t served = 0;
  std::uint64_t timeouts = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t would_block = 0;
  std::uint64_t rejected_policy = 0;
  std::uint64_t quota_exhausted = 0;
  std::uint64_t credited = 0;
  std::uint64_t scaled_up = 0;
  std::uint64_t scaled_down = 0;
};

struct PoolView {
  std::uint64_t free = 0;
  std::uint64_t capacity = 0;
  std::uint32_t waiting = 0;
  std::uint64_t revoked_fence = 0;  // the highest that was taken back
};
struct ReservationView {
  std::uint32_t agent = 0;
  std::uint32_t resource = 0;
  std::uint64_t quantity = 0;
  std::uint64_t fence = 0;
  Nanos expires{0};
  std::string purpose;
};

struct ResourcePoolActions {
  std::vector<PoolNews> news;
  bool view_changed = false;
  Nanos next_tick{0};
};

using ResourcePoolCommand =
    std::variant<pool::Allocate, pool::Release, pool::AddResource, pool::RemoveResource,
                 pool::SetWeight, pool::Gang, pool::Renew, pool::Resize, pool::Cancel, pool::Book,
                 pool::CancelBooking, pool::Validate, pool::WantCredit, pool::StationClosed>;

}  // namespace mesh::coordination
