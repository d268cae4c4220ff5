// Outbox: a change of state and the events that tell of it in one commit, and a relay that brings
// each event to its sink at least once, in the order of its key.
//
//   appended --> pending --dispatch--> dispatched --confirm--> confirmed --retention--> compacted
//                  ^---- retry at t, timeout, worker gone ----|--> dead --replay--> pending
//                                                                   |---purge--> gone
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable: the
//             record of a Commit, synced, is the commit point.
// Progress    wait-free. Commit, Confirm, Fail: O(what they name). tick: O(partitions + due); a
//             change of workers and a compaction walk the retained events.
// Cost        an append of 256 bytes 1,000 ns before the journal. Allocates nothing after
//             construction but the bytes of a reply, and the host's list of deliveries once.
// Units       Nanos of the host clock; bytes; a sequence counts from 1 in its partition.
// Guarantees  a Commit is there wholly or not at all, events and state together. Each event reaches
//             the sink at least once with the same id; a sink that asks an IdempotencyRegistry, or
//             is an outbox itself and names it in its Commit, applies it once. Of one key
//             (block_key), of one partition (block_partition), the next leaves only when the one
//             before is confirmed or dead.
// If the      worker stalls: confirm_timeout_ns and heartbeat_timeout_ns send its events again; its
// other side  own late report then has an old fence and is stale_token. It dies: StationClosed does
// dies        so at once. The sink dies before or after its acknowledgement: the event comes again.
// Invariants  pending + dispatched + confirmed + dead + purged == appended. Nothing is compacted
//             at or above the offset of a cursor that is not stale. Fences only increase.
// Errors      invalid_id, invalid_argument, conflict (a version is not as expected: nothing is
//             done), capacity (with retry_after), not_found, stale_token, wrong_state, expired
//             (a cursor below the floor, with the floor), already_exists.
// Source      transactional outbox (Richardson), change data capture as in Debezium, partitions and
//             compaction as in Kafka, rendezvous hashing (Thaler & Ravishankar 1998).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/deadline_heap.hpp"
#include "engine/coordination/blocks/fence_counter.hpp"
#include "engine/coordination/blocks/id_table.hpp"
#include "engine/coordination/blocks/idempotency_registry.hpp"
#include "engine/coordination/blocks/log_histogram.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/outbox_terms.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

class Outbox final : public ServiceForm<Outbox, OutboxConfig, OutboxCommand, OutboxReply,
                                        OutboxCounters, OutboxActions> {
 public:
  // died: a event, b attempts. dead_full: a event, its key stands still. worker_lost: a worker, b
  // events taken back. cursor_stale: a cursor.
  enum class Event : std::uint16_t { died = 1, dead_full = 2, worker_lost = 3, cursor_stale = 4 };
  static constexpr std::uint32_t kNone = IdTable::kNone;
  static constexpr std::uint32_t kPartitionsMax = 1'024;

  static Status validate(const Config& config);
  explicit Outbox(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  [[nodiscard]] std::uint32_t partition_of(std::string_view key) const noexcept;
  [[nodiscard]] static constexpr std::uint32_t partition_of(std::uint64_t event) noexcept {
    return static_cast<std::uint32_t>(event >> 48);
  }
  [[nodiscard]] static constexpr std::uint64_t sequence_of(std::uint64_t event) noexcept {
    return event & 0xFFFF'FFFF'FFFFU;  // 8.9 years at a million a second
  }
  [[nodiscard]] Result<LogRecord> event(std::uint64_t id) const;
  [[nodiscard]] Result<EntityState> entity(std::string_view name) const;
  // All of the state, and the sequences up to which it goes: a consumer whose cursor has expired
  // takes this and goes on behind them.
  [[nodiscard]] StateCopy state() const;
  [[nodiscard]] std::vector<DeadEvent> dead(std::size_t max) const;
  // Up to `max` records after the cursor's offset, in the order of commit. What is read counts only
  // once Advance says so.
  [[nodiscard]] Result<std::vector<LogRecord>> read(std::string_view cursor,
                                                    std::uint32_t partition, std::size_t max) const;
  [[nodiscard]] Result<std::uint64_t> lag(std::string_view cursor, std::uint32_t partition) const;
  [[nodiscard]] OutboxView view(std::uint32_t partition) const noexcept;
  // From append to confirmation; of this life, it is not part of a snapshot.
  [[nodiscard]] const LogHistogram& latency(std::uint32_t partition) const noexcept {
    return partitions_[partition].latency;
  }
  [[nodiscard]] std::uint32_t owner(std::uint32_t partition) const noexcept {
    return partitions_[partition].owner;
  }
  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"outbox", 2};
  static constexpr std::string_view kWho = "outbox";

  // In the log of its partition until it is compacted; in the chain of its key while it is not
  // confirmed; in a ready list, or under a deadline, while it waits.
  struct Record {
    std::uint64_t id = 0;  // 0: free
    IdHash key;            // of a change: its entity
    EventState state = EventState::unknown;
    bool is_change = false;
    bool in_log = false;
    std::uint32_t attempts = 0;
    std::uint32_t replays = 0;
    std::uint32_t worker = kNone;
    std::uint64_t fence = 0;
    std::uint64_t rank = 0;        // its place among the ready ones; 0: it is none
    std::uint64_t chain_rank = 0;  // its place in its chain; 0: it is in none
    std::int64_t appended_ns = 0;
    std::int64_t due_ns = 0;   // pending: not before; dispatched: confirmed by; confirmed: when
    std::int64_t wait_ns = 0;  // the last one before a retry
    std::uint64_t hash_before = 0;
    std::uint64_t hash_after = 0;
    ChunkStore::Bytes body;  // a LogBody
    ChunkStore::Bytes first_error;
    ChunkStore::Bytes last_error;
    std::uint32_t log_next = kNone;
    std::uint32_t log_last = kNone;
    std::uint32_t chain = kNone;
    std::uint32_t chain_next = kNone;
    std::uint32_t ready_next = kNone;
  };
  struct Partition {
    std::uint64_t sequence = 0;
    std::uint64_t floor = 0;
    std::uint64_t epoch = 0;
    std::uint32_t owner = kNone;
    std::uint32_t log_first = kNone;
    std::uint32_t log_last = kNone;
    std::uint32_t ready_first = kNone;
    std::uint32_t ready_last = kNone;
    std::uint64_t pending = 0;
    std::uint64_t dispatched = 0;
    std::uint64_t confirmed = 0;
    std::uint64_t dead = 0;  // with those that stand still for want of a place
    LogHistogram latency;
  };
  struct Chain {
    IdHash key;
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
  };
  struct Entity {
    std::string name;  // empty: free
    std::uint64_t version = 0;
    std::uint64_t hash = 0;
    ChunkStore::Bytes value;
  };
  struct Worker {
    std::string name;  // empty: free
    std::uint64_t hash = 0;
    std::uint32_t station = 0;
    bool is_draining = false;
    std::int64_t heard_ns = 0;
  };
  struct Cursor {
    std::string name;  // empty: free
    bool is_stale = false;
    std::int64_t moved_ns = 0;
    std::vector<std::uint64_t> offsets;
  };
  struct Topic {
    std::string name;
    std::uint32_t schema = 0;
  };
  // What an append says, wherever its bytes stand.
  struct Item {
    std::string_view key;
    std::string_view topic;
    std::span<const std::byte> payload;
    std::span<const std::byte> metadata;
    std::uint32_t schema = 0;
  };
  static Item item_of(const outbox::Append& append) noexcept {
    return {append.key, append.topic, append.payload, append.metadata, append.schema};
  }
  struct Need {
    std::size_t records = 0;
    std::size_t chunks = 0;
    std::size_t entities = 0;
  };

  // Commits.
  Reply commit(const outbox::Commit& command, std::int64_t now_ns) noexcept;
  Reply append_event(const outbox::AppendEvent& command, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(std::span<const outbox::Put> puts) const noexcept;
  [[nodiscard]] Errc check(const Item& item) const noexcept;
  [[nodiscard]] static std::size_t chunks_of(const Item& item) noexcept;
  [[nodiscard]] Nanos wait_for(const Need& need, std::int64_t now_ns) const noexcept;
  [[nodiscard]] Nanos wait_for(const outbox::Commit& command, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_backed_up(std::string_view key) const noexcept;
  [[nodiscard]] Errc check(const outbox::Commit& command) const noexcept;
  void consume(std::uint64_t event, std::int64_t now_ns) noexcept;
  Reply refuse_consumed(const IdempotencyRegistry::Verdict& verdict) noexcept;
  Reply refuse_full(Nanos retry_after) noexcept;
  [[nodiscard]] bool is_as_expected(const outbox::Commit& command, Reply& reply) const noexcept;
  void put(const outbox::Put& put, std::int64_t now_ns) noexcept;
  std::uint64_t append(const Item& item, std::int64_t now_ns) noexcept;
  ChunkStore::Bytes store_body(const Item& item, std::uint32_t schema) noexcept;
  std::uint32_t new_record(std::uint32_t partition, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t schema_of(const Item& item) const noexcept;

  // Reports, dead letters.
  [[nodiscard]] std::pair<Errc, std::uint32_t> dispatched(std::uint64_t event,
                                                          std::uint64_t fence) const noexcept;
  Reply confirm(const outbox::Confirm& report, std::int64_t now_ns) noexcept;
  Reply failed(const outbox::Fail& report, std::int64_t now_ns) noexcept;
  void try_again(std::uint32_t at, std::int64_t now_ns) noexcept;
  void note_error(Record& record, std::string_view error) noexcept;
  void bury(std::uint32_t at, std::int64_t now_ns) noexcept;
  void bury_stuck(std::int64_t now_ns) noexcept;
  Reply replay(const outbox::Replay& command, std::int64_t now_ns) noexcept;
  void revive(std::uint32_t at, std::int64_t now_ns) noexcept;
  Reply purge(const outbox::Purge& command, std::int64_t now_ns) noexcept;

  // Workers, dispatch.
  Reply add_worker(const outbox::AddWorker& command, std::int64_t now_ns) noexcept;
  Reply of_worker(const Command& command, std::int64_t now_ns) noexcept;
  Reply close_station(std::uint32_t station, std::int64_t now_ns) noexcept;
  std::uint64_t lose_worker(std::uint32_t worker, std::int64_t now_ns) noexcept;
  void assign() noexcept;
  [[nodiscard]] std::uint32_t worker_named(std::string_view name) const noexcept;
  void undispatch(Record& record) noexcept;
  void make_ready(std::uint32_t at) noexcept;
  void wait_until(std::uint32_t at, std::int64_t due_ns) noexcept;
  void dispatch(Partition& partition, std::int64_t now_ns, Actions& out) noexcept;
  void expire(std::int64_t now_ns) noexcept;

  // The chain of a key: who is first may leave.
  void into_chain(std::uint32_t at) noexcept;
  void out_of_chain(std::uint32_t at) noexcept;
  [[nodiscard]] bool is_first_of_chain(std::uint32_t at) const noexcept;

  // The log, its cursors.
  void into_log(std::uint32_t at) noexcept;
  void out_of_log(std::uint32_t at) noexcept;
  void free_record(std::uint32_t at) noexcept;
  void compact(std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint64_t held_up_at(std::uint32_t partition) const noexcept;
  [[nodiscard]] bool is_last_of_key(std::uint32_t at) const noexcept;
  Reply of_cursor(const Command& command, std::int64_t now_ns) noexcept;
  Reply set_topic(const outbox::SetTopic& topic) noexcept;
  Reply advance(const outbox::Advance& command, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::uint32_t cursor_named(std::string_view name) const noexcept;
  [[nodiscard]] std::uint32_t after(const Partition& partition, std::uint64_t id) const noexcept;
  [[nodiscard]] LogRecord shown(const Record& record) const;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void save_record(std::uint32_t at, StateWriter& writer) const;
  void load_record(StateReader& reader);
  void save_tables(StateWriter& writer) const;
  void load_tables(StateReader& reader);
  void relink();
  [[nodiscard]] bool is_counted() const;
  [[nodiscard]] bool is_record_sound(std::uint32_t at) const;
  [[nodiscard]] bool is_log_sound(std::uint32_t partition, std::size_t& listed) const;
  [[nodiscard]] std::size_t chunks_in_use() const;

  std::vector<Partition> partitions_;
  std::vector<Record> records_;
  std::vector<std::uint32_t> free_records_;
  IdTable index_;   // of events and changes, by id
  IdTable latest_;  // with key_compaction: the last event of each key
  std::vector<Chain> chains_;
  std::vector<std::uint32_t> free_chains_;
  IdTable chain_index_;
  DeadlineHeap deadlines_;
  ChunkStore store_;
  std::vector<Entity> entities_;
  std::vector<std::uint32_t> free_entities_;
  IdTable entity_index_;
  std::vector<Worker> workers_;
  std::vector<Cursor> cursors_;
  std::vector<Topic> topics_;
  IdempotencyRegistry inbox_;
  FenceCounter fence_;
  std::uint64_t version_ = 0;  // of the last commit that changed state
  std::uint64_t rank_ = 0;     // of the last one that became ready
  std::uint64_t pending_ = 0;
  std::uint64_t dispatched_ = 0;
  std::uint64_t dead_ = 0;
  std::uint64_t stuck_ = 0;
  std::int64_t next_poll_ns_ = 0;
  std::int64_t next_compaction_ns_ = 0;
  bool view_changed_ = true;
  Rng rng_;
  StateWriter scratch_;  // of a body on its way into the store
};

static_assert(DurableService<Outbox>);

extern template class ServiceForm<Outbox, OutboxConfig, OutboxCommand, OutboxReply, OutboxCounters,
                                  OutboxActions>;

}  // namespace mesh::coordination
