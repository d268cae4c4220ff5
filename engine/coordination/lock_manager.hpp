// LockManager: leases on named resources, with fencing tokens, in a hierarchy, without deadlocks
// that last.
//
//   acquire --free--> granted --release / lease over / wounded, grace over / station closed--> free
//      |                 ^  |
//      | taken           |  --stronger mode: conversion--> waiting, still held as it was
//      --> waiting ------+  handed over by the command that frees it; or timed out, cancelled,
//                           victim of a deadlock: never both that and granted
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free. An agent waits for one lock at a time.
// Ordering    a grant to a waiter is part of the command that frees the lock: there is no moment
//             in which nobody, or two, hold it. What is due at `now` happens before the command;
//             the news of a reply are in the order in which things happened.
// Cost        acquire and release, nobody waiting: 50 ns before the journal. Waiting: the length of
//             the queue. Allocates nothing after construction but a reply's notices.
// Units       agents are numbers below agents_max: in a mesh rows. Resources are paths "a/b/c", at
//             most eight deep. Nanos. A larger priority is more urgent; an earlier timestamp older.
// Guarantees  all holders of a resource stand together, always. A mode below needs intention above:
//             taken from the root down, given back from the leaf up, by the manager itself. Tokens
//             of a resource only increase, over restarts and forgotten resources too. Whoever
//             waits is granted, or told why not, by its deadline; a deadlock ends within
//             detection_ns. wound_wait: no cycle among those that may be wounded.
// If the      holder stalls: its lease ends, and the next token makes its writes stale. Its station
// other side  dies: station_closed frees its locks at once. It is suspected dead (AgentDead): after
// dies        phantom_grace_ns. The owner dies: snapshot and journal give every holder back.
// Errors      invalid_id, invalid_argument (mode, lease, agent), capacity (queue, locks,
//             resources), wrong_state (parent before children; an agent that waits), not_owner,
//             expired, not_found, stale_token, deadlock_victim, conflict (a version),
//             not_authorized. Taken: Refusal::would_block, with a ticket unless the timeout is 0.
// Source      Gray et al. 1976; wound-wait, wait-die: Rosenkrantz, Stearns & Lewis 1978; fencing:
//             Kleppmann 2016. Between hosts: lock_quorum.hpp, redlock.hpp; threads: bakery.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/names.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/blocks/slot_set.hpp"
#include "engine/coordination/lock_terms.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class LockManager final : public ServiceForm<LockManager, LockManagerConfig, LockCommand, LockReply,
                                             LockCounters, LockActions> {
 public:
  // a: agent; b: its grant, or ticket; c: its token. coarsened: b how many locks it stands for.
  enum class Event : std::uint16_t { phantom = 1, victim, wounded, revoked, coarsened };
  static constexpr std::size_t kDepthMax = 8;
  static constexpr std::uint32_t kPriorityMax = 100;

  static Status validate(const Config& config);
  explicit LockManager(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] LockView view(std::string_view resource) const noexcept;
  // The agent's ticket, or 0: it does not wait.
  [[nodiscard]] std::uint64_t waits(std::uint32_t agent) const noexcept;
  // What became of a ticket its agent is told; this is for who asks why it waits. O(agents).
  [[nodiscard]] LockWaitView poll(std::uint64_t ticket) const;
  [[nodiscard]] std::uint32_t locks_of(std::uint32_t agent) const noexcept;  // intentions too
  [[nodiscard]] LockMode mode_of(std::uint32_t agent, std::string_view resource) const noexcept;
  // ok: somebody holds it under this token now. stale_token: older, or never given out.
  [[nodiscard]] Errc judge(std::string_view resource, std::uint64_t fence) const noexcept;
  [[nodiscard]] std::uint64_t read_version(std::string_view resource) const noexcept;
  // True: some agents wait for each other.
  [[nodiscard]] bool has_deadlock() const noexcept;
  // The profiler: most waited for first; how long locks were held. Not part of a snapshot.
  [[nodiscard]] std::vector<ContendedResource> top_contended(std::size_t count) const;
  [[nodiscard]] const LogHistogram& hold_times() const noexcept { return hold_times_; }

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"lock_manager", 1};
  static constexpr std::string_view kWho = "lock manager";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::int64_t kNever = INT64_MAX;

  struct Link {
    std::uint32_t next = kNone;
    std::uint32_t last = kNone;
  };
  // A name that is in use, or was. Idle ones are forgotten when room is needed.
  struct Resource {
    IdHash id;
    std::uint64_t fence = 0;
    std::uint64_t version = 0;
    std::uint64_t contended = 0;
    std::uint32_t parent = kNone;
    std::uint32_t refs = 0;  // locks, waits and children; 0: idle
    std::uint32_t first_holder = kNone;
    std::uint32_t last_holder = kNone;
    std::uint32_t first_waiter = kNone;  // an agent
    std::uint32_t last_waiter = kNone;
    std::uint32_t waiting = 0;
    std::uint32_t depth = 0;
    std::array<std::uint32_t, kLockModes> held{};  // holders in each mode
    LockModes held_modes = 0;
    bool is_dirty = false;
  };
  // One agent's lock on one resource. own: how often it was asked for; children: locks of the same
  // agent that stand on it.
  struct Lock {
    std::uint64_t grant = 0;
    std::uint64_t fence = 0;
    std::int64_t expires_ns = kNever;
    std::int64_t revoke_ns = kNever;
    std::int64_t lease_ns = 0;
    std::int64_t since_ns = 0;
    std::int64_t window_ns = 0;  // since when children count towards coarsening
    std::uint32_t window_count = 0;
    std::uint32_t agent = kNone;
    std::uint32_t resource = kNone;
    std::uint32_t station = 0;
    std::uint32_t own = 0;
    std::uint32_t children = 0;
    Link holder;
    Link sibling;
    LockMode mode = LockMode::none;
    LockMode base = LockMode::none;  // coarsened: what it was before
    bool is_folded = false;          // its parent stands for it: it is no holder of its resource
    bool is_preemptible = true;
  };
  // The order of a queue: conversions, then by fairness.
  struct Key {
    std::uint8_t group = 1;
    std::int64_t order = 0;
    std::uint64_t tie = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Wait {
    std::uint64_t ticket = 0;  // 0: it has not queued
    Key key;
    std::int64_t lease_ns = 0;
    std::int64_t deadline_ns = 0;
    std::uint32_t leaf = kNone;
    std::uint32_t at = kNone;  // the resource that it is queued at
    std::uint32_t priority = 0;
    std::uint32_t station = 0;
    Link queue;
    LockMode mode = LockMode::none;    // of the leaf
    LockMode wanted = LockMode::none;  // at `at`
    bool is_preemptible = true;
  };
  struct Agent {
    std::int64_t timestamp_ns = 0;
    std::uint32_t first_lock = kNone;
    std::uint32_t lock_count = 0;
    Wait wait;
  };
  // A path taken apart: its levels, root first, and what is there of them.
  struct Path {
    std::size_t count = 0;
    std::array<std::uint64_t, 2 * kDepthMax> id_words;  // the first `count` of each; not zeroed
    std::array<std::size_t, kDepthMax> ends;
    std::array<std::uint32_t, kDepthMax> resources;

    [[nodiscard]] IdHash id(std::size_t level) const noexcept {
      return {id_words[2 * level], id_words[2 * level + 1]};
    }
    void set_id(std::size_t level, const IdHash& id) noexcept {
      id_words[2 * level] = id.low;
      id_words[2 * level + 1] = id.high;
    }
  };

  // lock_manager.cpp: commands.
  Reply run(const Command& command, std::int64_t now_ns) noexcept;
  Reply dispatch(const Command& command, std::int64_t now_ns) noexcept;
  void catch_up(std::int64_t now_ns) noexcept;
  Reply acquire(const lock::Acquire& wanted, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const lock::Acquire& wanted) const noexcept;
  [[nodiscard]] bool is_plain(const lock::Acquire& wanted, const Path& path) const noexcept;
  Reply take_plain(const lock::Acquire& wanted, std::uint32_t resource,
                   std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc room_for(std::uint32_t agent, const Path& path) const noexcept;
  [[nodiscard]] Wait as_wait(const lock::Acquire& wanted, std::int64_t now_ns) const noexcept;
  [[nodiscard]] static LockMode mode_at(LockMode leaf, std::size_t level,
                                        const Path& path) noexcept {
    return level + 1 == path.count ? leaf : intention_of(leaf);
  }
  [[nodiscard]] std::size_t blocked_at(std::uint32_t agent, const Wait& wait,
                                       const Path& path) const noexcept;
  [[nodiscard]] Errc may_wait(const lock::Acquire& wanted, const Wait& wait,
                              std::uint32_t at) const noexcept;
  [[nodiscard]] std::size_t find_block(const lock::Acquire& wanted, const Wait& wait,
                                       const Path& path, Errc& refused) noexcept;
  void refine_own(std::uint32_t agent, LockMode mode, const Path& path) noexcept;
  [[nodiscard]] bool refine_others(std::uint32_t agent, std::uint32_t resource,
                                   LockMode mode) noexcept;
  Reply release(const lock::Release& order, std::int64_t now_ns) noexcept;
  Reply released(std::uint32_t lock, std::int64_t now_ns) noexcept;
  Reply renew(const lock::Renew& order, std::int64_t now_ns) noexcept;
  Reply cancel(const lock::Cancel& order, std::int64_t now_ns) noexcept;
  Reply raise(const lock::RaiseVersion& order) noexcept;
  Reply close_station(std::uint32_t station, std::int64_t now_ns) noexcept;
  Reply suspect(std::uint32_t agent, bool is_dead, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc find_grant(std::uint64_t grant, std::uint32_t station,
                                std::uint32_t& lock) const noexcept;

  // lock_table.cpp: resources, and locks on them.
  [[nodiscard]] bool take_apart(std::string_view name, Path& path) const noexcept;
  void create(std::string_view name, Path& path) noexcept;
  [[nodiscard]] std::uint32_t place_for_resource() noexcept;
  void add_ref(std::uint32_t resource) noexcept;
  void drop_ref(std::uint32_t resource) noexcept;
  [[nodiscard]] std::uint32_t lock_of(std::uint32_t agent, std::uint32_t resource) const noexcept;
  std::uint32_t take(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                     std::int64_t now_ns) noexcept;
  void set_mode(std::uint32_t lock, LockMode mode) noexcept;
  void link_holder(std::uint32_t lock) noexcept;
  void unlink_holder(std::uint32_t lock) noexcept;
  void count_mode(std::uint32_t resource, LockMode mode, bool more) noexcept;
  void arm(std::uint32_t lock) noexcept;
  void give_up(std::uint32_t lock, std::int64_t now_ns) noexcept;
  void give_up_unused(std::uint32_t agent, std::uint32_t resource, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool is_needed(std::uint32_t agent, std::uint32_t resource) const noexcept;
  [[nodiscard]] bool is_under(std::uint32_t resource, std::uint32_t above) const noexcept;
  void revoke(std::uint32_t lock, LockNotice why, std::int64_t now_ns) noexcept;
  void revoke_below(std::uint32_t lock, LockNotice why, std::int64_t now_ns) noexcept;
  void expire(std::uint32_t lock, std::int64_t now_ns) noexcept;
  void end_grant(std::uint32_t lock, LockNotice why) noexcept;
  void weaken(std::uint32_t lock) noexcept;
  void consider_coarsening(std::uint32_t parent, std::int64_t now_ns) noexcept;
  [[nodiscard]] LockMode coarse_mode(std::uint32_t lock) const noexcept;
  void refine(std::uint32_t lock) noexcept;
  void tell(LockNotice kind, std::uint32_t agent, std::uint64_t ticket) noexcept;

  // lock_wait.cpp: the queues.
  [[nodiscard]] bool is_free(std::uint32_t agent, std::uint32_t resource,
                             LockMode mode) const noexcept;
  [[nodiscard]] bool is_grantable(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                                  const Key& key) const noexcept;
  [[nodiscard]] Key key_at(const Wait& wait, bool is_conversion) const noexcept;
  [[nodiscard]] std::int64_t timestamp_of(std::uint32_t agent,
                                          const lock::Acquire& wanted) const noexcept;
  [[nodiscard]] bool is_older(std::uint32_t a, std::uint32_t b) const noexcept;
  void advance(std::uint32_t agent, std::size_t from, std::int64_t now_ns) noexcept;
  std::uint32_t grant_at(std::uint32_t agent, std::uint32_t resource, LockMode mode,
                         std::int64_t now_ns) noexcept;
  void block(std::uint32_t agent, std::uint32_t resource, LockMode wanted,
             std::int64_t now_ns) noexcept;
  void enqueue(std::uint32_t agent, std::uint32_t resource, LockMode wanted) noexcept;
  void dequeue(std::uint32_t agent) noexcept;
  void wound(std::uint32_t agent, std::uint32_t resource, LockMode mode,
             std::int64_t now_ns) noexcept;
  void end_wait(std::uint32_t agent, LockNotice why, std::int64_t now_ns) noexcept;
  void finish(std::uint32_t agent, std::uint32_t lock, std::int64_t now_ns) noexcept;
  void mark_dirty(std::uint32_t resource) noexcept;
  void hand_over(std::int64_t now_ns) noexcept;
  void pump(std::uint32_t resource, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t next_blocker(std::uint32_t agent, std::uint32_t& cursor,
                                           bool& in_queue) const noexcept;
  [[nodiscard]] bool find_cycle() const noexcept;  // into cycle_
  [[nodiscard]] bool follow(std::uint32_t agent) const noexcept;
  void break_cycles(std::int64_t now_ns, Reply* reply) noexcept;
  [[nodiscard]] std::uint32_t victim() const noexcept;

  // lock_manager_form.cpp: bytes, and what must hold.
  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_resource(StateReader& reader);
  void load_lock(StateReader& reader);
  void load_agent(StateReader& reader);
  void index_locks(StateReader& reader);
  [[nodiscard]] bool is_whole(const Resource& resource, std::uint32_t index) const noexcept;
  [[nodiscard]] bool stands(std::uint32_t lock) const noexcept;
  [[nodiscard]] bool counts_references() const;
  [[nodiscard]] bool waits_rightly(std::uint32_t agent) const noexcept;

  std::vector<Resource> resources_;
  std::vector<std::array<char, kNameBytesMax>> names_;
  std::vector<std::uint8_t> name_sizes_;
  SlotSet resource_slots_;
  IdTable resource_index_;
  std::vector<Lock> locks_;
  SlotSet lock_slots_;
  IdTable pairs_;
  std::vector<Agent> agents_;
  std::vector<std::uint64_t> waiters_;  // a bit an agent: it waits
  DeadlineHeap lease_ends_;             // a slot a lock
  DeadlineHeap wait_ends_;              // a slot an agent
  DeadlineHeap phantom_ends_;           // a slot an agent
  std::vector<std::uint32_t> dirty_;
  std::vector<LockNews> news_;
  std::array<std::uint64_t, 64> ended_{};  // grants that others ended, lately
  std::uint64_t ended_count_ = 0;
  std::uint64_t last_number_ = 0;  // of grants and tickets
  std::uint64_t fence_floor_ = 0;
  std::uint64_t version_floor_ = 0;
  std::int64_t detected_ns_ = 0;
  std::uint32_t busy_ = 0;  // resources that are not idle
  std::uint32_t hand_ = 0;
  std::uint32_t waiting_ = 0;
  bool view_changed_ = true;
  LogHistogram hold_times_;
  struct Visit {
    std::uint32_t agent;
    std::uint32_t cursor;
    bool in_queue;
  };
  mutable std::vector<std::uint8_t> colours_;
  mutable std::vector<Visit> trail_;
  mutable std::vector<std::uint32_t> cycle_;
};

static_assert(DurableService<LockManager>);

extern template class ServiceForm<LockManager, LockManagerConfig, LockCommand, LockReply,
                                  LockCounters, LockActions>;

}  // namespace mesh::coordination
