// LeaseQueue: who works on what, until when: the core of a queue whose items are handed out on
// lease.
//
//   waiting --the one before it of its key is over--> ready --claim--> leased --finish--> (free)
//   delayed --its delay is over------------------------^  ^-- give_back, nack, lease over --|
//   any of them --attempts used up, poison, ttl--> dead --revive--> ready
//
// Callers     one thread, which owns the queue; slots are its numbers for items.
// Progress    wait-free.
// Cost        insert, claim, finish: O(lanes in use + log items). No allocation after construction.
// Units       higher priority is more urgent; each aging_ns of waiting counts as one level more.
//             fence: of the queue, only ever incremented, a new one for each claim.
// Invariants  ready + waiting + delayed + leased + dead == slots in use. A key in strict
//             order has one item that is not waiting.
// If the      holder dies: end_station() ends its leases at once. Stalls: the lease runs out, and
// other side  what it then reports carries an old fence once somebody else has claimed.
// dies
// Source      visibility timeout (SQS), fencing (Kleppmann 2016), rendezvous hashing (Thaler &
//             Ravishankar 1998).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/fence_counter.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/state_codec.hpp"

namespace mesh::coordination {

enum class LeaseState : std::uint8_t { free, ready, waiting, delayed, leased, dead };
enum class DeathReason : std::uint8_t { none, attempts, poison, expired_ttl, rejected };
constexpr DeathReason last_of(DeathReason) noexcept { return DeathReason::rejected; }
// Whether an item's key says who should work on it.
enum class Affinity : std::uint8_t { none, prefer, strict };

struct LeaseQueueConfig {
  std::uint32_t capacity = 65'536;
  std::uint32_t attempts_max = 5;     // 0: without end
  std::uint32_t poison_stations = 3;  // deaths of as many stations while they held it; 0: off
  std::uint32_t priority_levels = 4;
  std::uint32_t workers_max = 256;
  std::int64_t aging_ns = 10'000'000'000;
  std::int64_t steal_after_ns = 1'000'000'000;
  Affinity affinity = Affinity::none;
  bool preserve_order = false;  // a retry keeps its place instead of going to the tail
};

struct LeaseItem {
  IdHash key;  // of affinity; zero: none
  std::uint32_t priority = 0;
  std::int64_t delay_ns = 0;
  std::int64_t ttl_ns = 0;  // 0: for ever
};

struct alignas(64) LeaseSlot {  // two lines: what a list and a fence need, and the rest
  static constexpr std::size_t kStationsMax = 4;
  LeaseState state = LeaseState::free;
  DeathReason reason = DeathReason::none;
  bool is_ahead = false;  // claimed ahead, and no worker has begun it
  std::uint8_t priority = 0;
  std::uint8_t lane = 0;
  std::uint8_t crash_count = 0;
  std::uint32_t attempt = 0;
  std::uint32_t worker = 0;
  std::uint32_t station = 0;
  std::uint32_t list_next = IdTable::kNone;  // of its ready list
  std::uint32_t list_last = IdTable::kNone;
  std::uint32_t key_next = IdTable::kNone;  // of its key, strict only
  std::uint32_t key_last = IdTable::kNone;
  std::uint64_t sequence = 0;        // of its insertion
  std::uint64_t ready_sequence = 0;  // its place in the ready list
  std::uint64_t fence = 0;
  std::int64_t ready_ns = 0;    // ready: since; delayed, waiting: from when
  std::int64_t expires_ns = 0;  // of the lease
  std::int64_t ttl_at_ns = 0;   // 0: for ever
  IdHash key;
  std::array<std::uint32_t, kStationsMax> crashed{};
};
static_assert(sizeof(LeaseSlot) == 128);

struct LeaseCounts {
  std::uint64_t ready = 0;  // those that wait for their key included
  std::uint64_t delayed = 0;
  std::uint64_t leased = 0;
  std::uint64_t dead = 0;
  [[nodiscard]] std::uint64_t sum() const noexcept { return ready + delayed + leased + dead; }
};

class LeaseQueue {
 public:
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::uint32_t kLanes = 64;  // the last one is for items without a key
  static constexpr std::uint32_t kLevelsMax = 16;

  explicit LeaseQueue(const LeaseQueueConfig& config);

  // The item's slot, or kNone where the queue is full.
  std::uint32_t insert(const LeaseItem& item, std::int64_t now_ns) noexcept;
  // The worker's number, which claim() takes; kNone where there are workers_max of them.
  std::uint32_t worker(const IdHash& name, std::uint32_t station) noexcept;
  bool remove_worker(const IdHash& name) noexcept;
  // The most urgent item that this worker may have, leased to it, or kNone.
  std::uint32_t claim(std::uint32_t worker, std::int64_t visibility_ns,
                      std::int64_t now_ns) noexcept;
  void begin(std::uint32_t slot) noexcept { slots_[slot].is_ahead = false; }
  void mark_ahead(std::uint32_t slot) noexcept { slots_[slot].is_ahead = true; }
  // Who held it has given it up: what it still reports is stale.
  void void_fence(std::uint32_t slot) noexcept { slots_[slot].fence = 0; }
  void renew(std::uint32_t slot, std::int64_t expires_ns) noexcept;
  // Back without an attempt counted.
  void give_back(std::uint32_t slot, std::int64_t now_ns) noexcept;
  // Tried and not done: again at `again_ns`, or dead when its attempts are used up.
  void retry(std::uint32_t slot, std::int64_t again_ns, std::int64_t now_ns) noexcept;
  void kill(std::uint32_t slot, DeathReason reason, std::int64_t now_ns) noexcept;
  // A dead one starts anew, its attempts and crashes forgotten.
  void revive(std::uint32_t slot, std::int64_t now_ns) noexcept;
  // Over: the slot is free.
  void finish(std::uint32_t slot, std::int64_t now_ns) noexcept;
  // Every lease, delay and ttl that is over. Returns how many items moved.
  std::uint64_t expire(std::int64_t now_ns) noexcept;
  struct Ended {
    std::uint64_t leases = 0;
    std::uint64_t poisoned = 0;  // of them: dead, for they have seen too many stations die
  };
  // The station is gone: its leases end; counts towards poison.
  Ended end_station(std::uint32_t station, std::int64_t now_ns) noexcept;

  [[nodiscard]] const LeaseSlot& slot(std::uint32_t index) const noexcept { return slots_[index]; }
  // The most urgent item that is ready, whoever may have it, or kNone: what a claim takes next
  // where no key says otherwise. Nothing moves.
  [[nodiscard]] std::uint32_t peek(std::int64_t now_ns) const noexcept;
  // The items behind one that was just claimed, in the order of its list: what later claims will
  // read, to be fetched ahead. kNone where there is none. slot() of the last one is not read.
  static constexpr std::size_t kAhead = 3;
  [[nodiscard]] std::array<std::uint32_t, kAhead> behind(std::uint32_t claimed) const noexcept;
  void prefetch(std::uint32_t index) const noexcept {
    __builtin_prefetch(&slots_[index]);
    __builtin_prefetch(&slots_[index].ready_ns);
  }
  [[nodiscard]] std::uint32_t slot_count() const noexcept {
    return static_cast<std::uint32_t>(slots_.size());
  }
  [[nodiscard]] const LeaseCounts& counts() const noexcept { return counts_; }
  struct Ready {
    std::uint64_t count = 0;     // those that wait for their key not included
    std::int64_t since_ns = -1;  // the earliest of those that are next in their lanes; -1: none is
  };
  [[nodiscard]] Ready ready(std::uint32_t priority) const noexcept;
  [[nodiscard]] std::uint64_t last_fence() const noexcept { return fence_.last(); }
  [[nodiscard]] std::uint64_t deaths() const noexcept { return deaths_; }
  [[nodiscard]] std::int64_t next_deadline_ns() const noexcept { return deadlines_.next_ns(); }
  [[nodiscard]] bool is_full() const noexcept { return counts_.sum() == slots_.size(); }

  // The queue itself; items are saved by their owner, who knows them by its own ids.
  void save(StateWriter& writer) const;
  void load(StateReader& reader);
  void save_slot(std::uint32_t index, StateWriter& writer) const;
  [[nodiscard]] std::uint32_t load_slot(StateReader& reader);
  void relink();  // after the last load_slot()
  [[nodiscard]] bool is_consistent() const;

 private:
  struct Worker {
    IdHash name;
    std::uint32_t station = 0;
    bool is_live = false;
  };
  struct List {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
  };
  List& list_of(const LeaseSlot& slot) noexcept {
    return lists_[slot.lane * config_.priority_levels + slot.priority];
  }
  void push(std::uint32_t index, bool keeps_place) noexcept;
  void unlink(std::uint32_t index) noexcept;
  void to_ready(std::uint32_t index, std::int64_t now_ns) noexcept;
  void to_waiting_or_ready(std::uint32_t index, std::int64_t at_ns, std::int64_t now_ns) noexcept;
  void leave(std::uint32_t index) noexcept;
  bool is_poisoned_by(LeaseSlot& slot, std::uint32_t station) noexcept;
  void end_lease(std::uint32_t index, std::int64_t now_ns) noexcept;
  void link_key(std::uint32_t index) noexcept;
  void unlink_key(std::uint32_t index, std::int64_t now_ns) noexcept;
  void inherit(std::uint32_t head, std::uint8_t priority) noexcept;
  void relink_keys(std::span<const std::uint32_t> used);
  [[nodiscard]] static std::int64_t deadline_of(const LeaseSlot& slot) noexcept;
  void assign_lanes() noexcept;
  [[nodiscard]] std::uint64_t own_lanes(std::uint32_t worker) const noexcept;
  // Of the lanes in `own`, a bit each; of others what may be stolen.
  [[nodiscard]] std::uint32_t pick(std::uint64_t own, std::int64_t now_ns) const noexcept;
  [[nodiscard]] std::uint64_t level_of(const LeaseSlot& slot, std::int64_t now_ns) const noexcept;
  std::uint64_t& count_of(LeaseState state) noexcept;
  void enter(std::uint32_t index, LeaseState state) noexcept;

  LeaseQueueConfig config_;
  std::vector<LeaseSlot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<List> lists_;                         // of the lane and priority
  std::array<std::uint64_t, kLevelsMax> filled_{};  // of the priority: a bit a lane
  std::array<std::uint64_t, kLevelsMax> listed_{};  // of the priority: how many
  std::array<std::uint32_t, kLanes> owners_{};      // of the lane: a worker
  std::vector<Worker> workers_;
  IdTable worker_index_;
  IdTable key_tail_;  // strict: of the key, its last item
  DeadlineHeap deadlines_;
  FenceCounter fence_;
  LeaseCounts counts_;
  std::uint64_t sequence_ = 0;
  std::uint64_t ready_sequence_ = 0;
  std::uint64_t deaths_ = 0;
};

}  // namespace mesh::coordination
