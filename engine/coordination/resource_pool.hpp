// ResourcePoolManager: countable things for a time: GPU slots, connections, calls of a quota.
//
//   allocate --fits--> reserved --release | lease over | preempted | station closed--> free
//      |--does not--> waiting --units come free, and it is its turn--> reserved; or timed out
//   book --start--> reserved until its end
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free. Ordering: what is due at `now` happens before the command.
// Cost        allocate and release 60 ns where nobody waits and nothing is booked; else the length
//             of the queue. Allocates nothing after construction but a reply's news and grants.
// Units       units are whole; ppm; Nanos; agents are numbers below agents_max, resources by the
//             number that AddResource answers. A larger priority is more urgent.
// Guarantees  a unit is never reserved twice, now or at any later instant that is booked. Whoever
//             is preempted is warned grace_ns before, and only if the victims suffice: lower
//             priority first, the most recent first. Several resources at once: all or nothing,
//             and a wait for them holds nothing meanwhile, so there is no deadlock. fair: the agent
//             with the smallest dominant share by weight is served first (DRF).
// If the      holder stalls: its lease ends and its fence is refused. Its station dies: its units
// other side  are free at once. Credits of a quota lapse unspent: they count as used.
// dies
// Invariants  active + free == capacity, with overcommitment, after every command. No agent is
//             above its maximum. Each reservation ends once.
// Errors      invalid_id, invalid_argument, already_exists, not_found, no_such_agent, capacity
//             (queue, tables), insufficient_quantity (more than there is at all), not_owner (a
//             second release), expired, stale_token (preempted), wrong_state, not_authorized.
//             Refusal::rejected_policy: above the agent's maximum; would_block; quota_exhausted.
// Source      Ghodsi et al. 2011 (DRF); leases: Gray & Cheriton 1989; fences: Kleppmann 2016.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/pool_terms.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class ResourcePoolManager final
    : public ServiceForm<ResourcePoolManager, ResourcePoolConfig, ResourcePoolCommand,
                         ResourcePoolReply, ResourcePoolCounters, ResourcePoolActions> {
 public:
  // preempted: a agent, b reservation, c fence. scaled: a resource, b from, c to.
  enum class Event : std::uint16_t { preempted = 1, expired, scaled };
  static constexpr std::size_t kItemsMax = 4;
  static constexpr std::uint32_t kPriorityMax = 10;
  static constexpr std::uint64_t kUnitsMax = std::uint64_t{1} << 40;

  static Status validate(const Config& config);
  explicit ResourcePoolManager(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  // The number of a resource, or kNoResource.
  static constexpr std::uint32_t kNoResource = 0xFFFF'FFFF;
  [[nodiscard]] std::uint32_t find(std::string_view resource) const noexcept;
  [[nodiscard]] PoolView view(std::uint32_t resource) const noexcept;
  [[nodiscard]] Result<ReservationView> inspect(std::uint64_t reservation) const;
  [[nodiscard]] std::uint64_t held(std::uint32_t agent, std::uint32_t resource) const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"resource_pool", 1};
  static constexpr std::string_view kWho = "resource pool";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;

  struct Link {
    std::uint32_t next = kNone;
    std::uint32_t last = kNone;
  };
  struct Resource {
    std::uint64_t capacity = 0;
    std::uint64_t active = 0;  // quota: used in this window
    std::uint64_t fence = 0;
    std::uint64_t revoked_fence = 0;
    std::uint32_t first = kNone;  // its reservations, oldest first
    std::uint32_t last = kNone;
    std::uint32_t count = 0;
    std::uint32_t waiting = 0;
    std::uint32_t bookings = 0;
    std::int64_t window_ends_ns = 0;
    std::int64_t above_since_ns = -1;
    std::int64_t below_since_ns = -1;
    std::int64_t scaled_ns = -1;
    PoolKind kind = PoolKind::compute;
    PoolRules rules;
    PoolScale scale;
    std::array<char, kNameBytesMax> name{};
    std::array<char, kNameBytesMax> unit{};
    std::uint8_t name_size = 0;
    std::uint8_t unit_size = 0;
  };
  struct Reservation {
    std::uint64_t id = 0;
    std::uint64_t fence = 0;
    std::uint64_t quantity = 0;
    std::int64_t start_ns = 0;
    std::int64_t expires_ns = 0;
    std::int64_t lease_ns = 0;
    std::int64_t revoke_ns = kNever;
    std::uint32_t agent = 0;
    std::uint32_t resource = 0;
    std::uint32_t station = 0;
    std::uint32_t priority = 0;
    std::uint32_t account = kNone;
    Link link;
  };
  // What one agent has of one resource.
  struct Account {
    std::uint64_t held = 0;
    std::uint64_t booked = 0;
    std::uint32_t agent = kNone;
    std::uint32_t resource = kNone;
    Link link;  // of the agent's
  };
  struct Request {
    std::uint64_t ticket = 0;
    std::int64_t since_ns = 0;
    std::int64_t deadline_ns = 0;
    std::int64_t lease_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t station = 0;
    std::uint32_t priority = 0;
    std::uint32_t count = 0;
    std::array<pool::Item, kItemsMax> items{};
    bool allow_partial = false;
    bool preempts = false;  // what its victims give up is for it
    Link link;
  };
  struct Booking {
    std::uint64_t id = 0;
    std::uint64_t quantity = 0;
    std::int64_t start_ns = 0;
    std::int64_t end_ns = 0;
    std::uint32_t agent = 0;
    std::uint32_t resource = 0;
    std::uint32_t station = 0;
  };
  enum class Fit : std::uint8_t { yes, not_now, never, too_much };

  // resource_pool.cpp: commands.
  Reply on(const pool::Allocate& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Release& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::AddResource& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::RemoveResource& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::SetWeight& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Gang& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Renew& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Resize& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Cancel& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Book& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::CancelBooking& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::Validate& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::WantCredit& order, std::int64_t now_ns) noexcept;
  Reply on(const pool::StationClosed& order, std::int64_t now_ns) noexcept;
  Reply run(const Command& command, std::int64_t now_ns) noexcept;
  Reply granted_now(const Request& request, std::int64_t now_ns) noexcept;
  Reply released(std::uint32_t slot, std::int64_t now_ns) noexcept;
  Reply ask(Request& request, Nanos wait, std::int64_t now_ns) noexcept;
  Reply take_quota(const pool::Allocate& order, std::int64_t now_ns) noexcept;
  Reply decline(Refusal refusal, std::uint32_t resource, Nanos retry_after) noexcept;
  [[nodiscard]] Errc check(const Request& request) const noexcept;
  [[nodiscard]] Errc find_mine(std::uint64_t id, std::uint32_t station,
                               std::uint32_t& slot) const noexcept;
  [[nodiscard]] bool is_resource(std::uint32_t resource) const noexcept {
    return resource_slots_.is_used(resource);
  }

  // pool_queue.cpp: what fits, whose turn it is, what ends.
  [[nodiscard]] std::uint64_t limit_of(const Resource& on) const noexcept;
  [[nodiscard]] std::uint64_t agent_max(const Resource& on) const noexcept;
  [[nodiscard]] std::uint64_t peak(std::uint32_t resource, std::int64_t from_ns,
                                   std::int64_t until_ns) const noexcept;
  [[nodiscard]] std::uint64_t available(const Request& request, std::uint32_t resource,
                                        std::int64_t now_ns) const noexcept;
  [[nodiscard]] Fit fits(const Request& request, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool must_queue(const Request& request, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool has_starving(std::uint32_t resource, std::int64_t now_ns) const noexcept;
  [[nodiscard]] static bool asks_for(const Request& request, std::uint32_t resource) noexcept;
  std::uint64_t grant(const Request& request, std::int64_t now_ns, Reply* reply) noexcept;
  std::uint32_t reserve(const Request& request, std::size_t item, std::uint64_t quantity,
                        std::int64_t now_ns) noexcept;
  [[nodiscard]] static bool yields(const Reservation& one, std::uint32_t priority) noexcept;
  [[nodiscard]] std::uint32_t victim_of(std::uint32_t resource,
                                        std::uint32_t priority) const noexcept;
  void warn(std::uint32_t slot, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool preempt(const Request& request, std::int64_t now_ns) noexcept;
  void enqueue(const Request& request) noexcept;
  void dequeue(std::uint32_t slot) noexcept;
  void mark_dirty(std::uint32_t resource) noexcept;
  void hand_out(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t next_served(std::uint32_t resource,
                                          std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool goes_before(const Request& a, const Request& b,
                                 QueuePolicy policy) const noexcept;
  [[nodiscard]] int compare_shares(std::uint32_t a, std::uint32_t b) const noexcept;
  void end(std::uint32_t slot, PoolNotice why, std::int64_t now_ns) noexcept;
  void remember_end(std::uint64_t id, PoolNotice why) noexcept;
  [[nodiscard]] std::uint32_t account_of(std::uint32_t agent,
                                         std::uint32_t resource) const noexcept;
  std::uint32_t open_account(std::uint32_t agent, std::uint32_t resource) noexcept;
  void close_account(std::uint32_t account) noexcept;
  void end_booking(std::uint32_t slot) noexcept;
  void begin_booking(std::uint32_t slot, std::int64_t now_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  void roll_windows(std::uint32_t resource, std::int64_t now_ns) noexcept;
  void note_load(std::uint32_t resource, std::int64_t now_ns) noexcept;
  void scale(std::uint32_t resource, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::int64_t scale_due_ns(const Resource& on) const noexcept;

  // resource_pool_form.cpp: bytes, and what must hold.
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  template <class Load>
  void load_slots(StateReader& reader, SlotSet& slots, Load&& load);
  [[nodiscard]] bool load_resource(StateReader& reader, std::uint32_t slot);
  [[nodiscard]] bool load_reservation(StateReader& reader, std::uint32_t slot);
  [[nodiscard]] bool load_request(StateReader& reader, std::uint32_t slot);
  [[nodiscard]] bool is_whole(std::uint32_t resource) const;
  [[nodiscard]] bool are_accounts_right() const;
  [[nodiscard]] bool is_bookable() const;
  [[nodiscard]] bool is_queue_right() const;

  std::vector<Resource> resources_;
  SlotSet resource_slots_;
  IdTable resource_index_;
  std::vector<Reservation> reservations_;
  std::vector<std::array<char, kNameBytesMax>> purposes_;
  std::vector<std::uint8_t> purpose_sizes_;
  SlotSet reservation_slots_;
  IdTable reservation_index_;
  std::vector<Account> accounts_;
  SlotSet account_slots_;
  std::vector<std::uint32_t> first_account_;  // of an agent
  std::vector<std::uint32_t> weights_;
  std::vector<Request> requests_;
  SlotSet request_slots_;
  std::uint32_t first_request_ = kNone;  // by ticket
  std::uint32_t last_request_ = kNone;
  std::vector<Booking> bookings_;
  SlotSet booking_slots_;
  DeadlineHeap lease_ends_;
  DeadlineHeap wait_ends_;
  DeadlineHeap booking_starts_;
  std::vector<std::uint8_t> is_dirty_;
  std::uint32_t dirty_count_ = 0;
  std::vector<PoolNews> news_;
  struct Ended {
    std::uint64_t id = 0;
    PoolNotice why = PoolNotice::expired;
  };
  std::array<Ended, 256> ended_{};  // that others ended, lately
  std::uint64_t ended_count_ = 0;
  std::uint64_t last_id_ = 0;
  std::uint64_t last_ticket_ = 0;
  bool view_changed_ = true;
};

static_assert(DurableService<ResourcePoolManager>);

extern template class ServiceForm<ResourcePoolManager, ResourcePoolConfig, ResourcePoolCommand,
                                  ResourcePoolReply, ResourcePoolCounters, ResourcePoolActions>;

}  // namespace mesh::coordination
