// ExactlyOnceQueue: tasks that are accepted once, leased to one worker at a time, and completed
// once.
//
//   ready --claim--> leased --complete (current fence)--> completed
//     ^  delayed ------^ |---- nack, lease over, release --> ready, delayed
//   dead(attempts, poison, expired_ttl, rejected) --redrive--> ready, --purge--> gone
//
// Callers     one thread, which owns the machine; hosted by JournaledService it is durable.
// Progress    wait-free.
// Cost        enqueue 400 ns, claim 300 ns, complete 150 ns before the journal. Allocates nothing
//             after construction but the bytes of a reply.
// Units       Nanos of the host clock; ppm; payloads and results in bytes.
// Guarantees  effectively once: an id is accepted once in the dedup window, and one completion
//             commits, because the fence is checked in the step that changes the state.
//             producer_seq: one of {producer, epoch, sequence} for ever, in 136 bytes a producer.
// If the      worker stalls: its lease runs out, and another's claim makes its fence stale; until
// other side  then its completion counts. Its station dies: station_closed ends the leases at
// dies        once; a task that has seen poison_stations of them die is dead.
// Invariants  ready + delayed + leased + dead + completed + purged == accepted. Fences only
//             increase. strict affinity: never two of a key in flight.
// Errors      invalid_id, invalid_argument; duplicate (with the first's state and result), conflict
//             (same id, other payload), capacity (with the wait until the oldest id is forgotten),
//             stale_token, not_found, wrong_state. An empty claim is Refusal::would_block.
// Source      visibility timeout and dead letters (SQS), fencing (Kleppmann 2016), Bloom 1970.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/coordination/blocks/bloom_filter.hpp"
#include "engine/coordination/blocks/chunk_store.hpp"
#include "engine/coordination/blocks/fingerprint_index.hpp"
#include "engine/coordination/blocks/gcra_bucket.hpp"
#include "engine/coordination/blocks/lease_queue.hpp"
#include "engine/coordination/blocks/refusal.hpp"
#include "engine/coordination/blocks/rng.hpp"
#include "engine/coordination/blocks/sequence_window.hpp"
#include "engine/coordination/blocks/service_form.hpp"
#include "engine/coordination/service.hpp"

namespace mesh::coordination {

enum class DedupMode : std::uint8_t { ids, producer_seq };
enum class TaskState : std::uint8_t { unknown, ready, delayed, leased, completed, dead };
constexpr TaskState last_of(TaskState) noexcept { return TaskState::dead; }

[[nodiscard]] std::string_view to_string(TaskState state) noexcept;

struct ExactlyOnceQueueConfig {
  std::uint32_t capacity = 65'536;
  Nanos visibility_ns{30'000'000'000};
  std::uint32_t attempts_max = 5;
  std::uint32_t poison_stations = 3;
  Nanos dedup_window_ns{3'600'000'000'000};
  std::uint32_t dedup_capacity = 1'000'000;
  std::uint32_t expected_rate_per_s = 277;  // new ids; the window must hold that many
  std::uint32_t bloom_rate_ppm = 0;         // 0: ask the exact set alone, which is faster in memory
  std::uint32_t priority_levels = 4;        // a higher number is more urgent
  Nanos aging_ns{10'000'000'000};
  Affinity affinity = Affinity::none;
  Nanos steal_after_ns{1'000'000'000};
  bool preserve_order = false;
  Nanos retry_base_ns{1'000'000'000};  // after a nack without a delay of its own
  Nanos retry_cap_ns{60'000'000'000};
  std::uint32_t retry_jitter = 0;  // 1: full jitter
  Nanos ttl_ns{0};                 // of a task that names none; 0: for ever
  std::uint32_t redrive_rate_per_s =
      0;  // dead tasks that go back a second; 0: as many as are named
  DedupMode dedup_mode = DedupMode::ids;
  std::uint32_t producers_max = 1'024;
  std::uint32_t workers_max = 256;
  std::uint32_t claim_burst_max = 64;
  std::uint32_t payload_bytes_max = 65'536;
  std::uint64_t store_bytes = 64U << 20;  // names, payloads and results together
  std::uint32_t events_max = 256;

  static Result<ExactlyOnceQueueConfig> preset(std::string_view name);
  static std::span<const std::string_view> names() noexcept;
};

namespace once {
using Bytes = std::vector<std::byte>;
struct Enqueue {
  std::string id;
  std::string affinity_key;
  std::uint32_t priority = 0;
  Bytes payload;
  Nanos delay{0};
  Nanos ttl{0};
  std::uint64_t producer = 0;  // these three with DedupMode::producer_seq
  std::uint32_t epoch = 0;
  std::uint64_t sequence = 0;
};
struct Claim {
  std::string worker;
  std::uint32_t station = 0;
  std::uint32_t max = 1;
  bool is_ahead = false;  // held by the station for its workers; Begin when one starts it
};
struct Begin {
  std::string task;
  std::uint64_t fence = 0;
};
struct Renew {
  std::string task;
  std::uint64_t fence = 0;
  Nanos extra{0};  // 0: the queue's visibility
};
struct Complete {
  std::string task;
  std::uint64_t fence = 0;
  Bytes result;
};
// A burst of completions, each as if by itself: what one of them lacks does not hold up the others.
struct CompleteAll {
  std::vector<Complete> tasks;  // claim_burst_max of them at most
};
struct Nack {
  std::string task;
  std::uint64_t fence = 0;
  bool is_permanent = false;  // dead at once
  Nanos delay{0};             // 0: by the config
};
struct Release {
  std::string task;
  std::uint64_t fence = 0;
};
struct Redrive {
  std::string task;  // empty: the oldest `max` dead ones
  std::uint32_t max = 1;
};
struct Purge {
  std::string task;
};
struct RemoveWorker {
  std::string worker;
};
struct StationClosed {
  std::uint32_t station = 0;
};
}  // namespace once

struct ClaimedTask {
  std::string id;
  std::uint64_t fence = 0;
  std::uint32_t attempt = 0;
  Nanos expires{0};
  once::Bytes payload;
};

struct ExactlyOnceQueueReply {
  Errc code = Errc::ok;
  Refusal refusal = Refusal::none;
  TaskState state = TaskState::unknown;
  DeathReason reason = DeathReason::none;
  std::uint32_t count = 0;  // of what the command moved
  Nanos expires{0};
  Nanos retry_after{0};
  once::Bytes result;
  std::vector<ClaimedTask> tasks;
  std::vector<Errc> codes;  // CompleteAll: of each, `count` of them ok
};

struct ExactlyOnceQueueCounters {
  std::uint64_t commands = 0;
  std::uint64_t refused = 0;
  std::uint64_t accepted = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t conflicts = 0;
  std::uint64_t stale_tokens = 0;
  std::uint64_t claims = 0;
  std::uint64_t empty_claims = 0;
  std::uint64_t completed = 0;
  std::uint64_t completed_again = 0;  // with the same fence
  std::uint64_t nacks = 0;
  std::uint64_t released = 0;
  std::uint64_t expired = 0;  // leases, delays and ttl
  std::uint64_t ended_by_station = 0;
  std::uint64_t deaths = 0;
  std::uint64_t redriven = 0;
  std::uint64_t purged = 0;
  std::uint64_t forgotten = 0;      // ids older than the window
  std::uint64_t redrives_held = 0;  // by redrive_rate_per_s
};

struct ExactlyOnceQueueView {
  LeaseCounts counts;
  std::uint64_t completed = 0;
  std::uint64_t last_fence = 0;
  // Of each priority, one that is lent included: how many are ready, and since when the first is.
  std::array<LeaseQueue::Ready, LeaseQueue::kLevelsMax> ready{};
};

struct ExactlyOnceQueueActions {
  bool view_changed = false;
  Nanos next_tick{0};  // when something is due; the largest Nanos: nothing
};

using ExactlyOnceQueueCommand =
    std::variant<once::Enqueue, once::Claim, once::Begin, once::Renew, once::Complete, once::Nack,
                 once::Release, once::Redrive, once::Purge, once::RemoveWorker, once::StationClosed,
                 once::CompleteAll>;

class ExactlyOnceQueue final
    : public ServiceForm<ExactlyOnceQueue, ExactlyOnceQueueConfig, ExactlyOnceQueueCommand,
                         ExactlyOnceQueueReply, ExactlyOnceQueueCounters, ExactlyOnceQueueActions> {
 public:
  // died: a how many, of whatever reason, b dead in all. poisoned: a how many of those that have
  // just died have seen too many stations die, b the last of these.
  enum class Event : std::uint16_t { died = 1, poisoned = 2 };

  static Status validate(const Config& config);
  explicit ExactlyOnceQueue(const Config& config, std::uint64_t seed = 0);

  Reply apply(const Command& command, Nanos now) noexcept;
  void tick(Nanos now, Actions& out) noexcept;

  // State, fence as `expires` tells, result; not_found for an id that is not remembered.
  [[nodiscard]] Reply inspect(std::string_view id) const;
  // The most urgent task that is ready, as of the last command: in `tasks` as a claim would give
  // it, but without a fence, and nothing moves; would_block where none is. A claim may give
  // another one: where the task's key is another worker's. Copies the payload.
  [[nodiscard]] Reply peek() const;
  [[nodiscard]] ExactlyOnceQueueView view() const noexcept;

  [[nodiscard]] Status verify() const;

 private:
  friend ServiceForm;
  static constexpr SnapshotKind kKind{"exactly_once_queue", 2};
  static constexpr std::string_view kWho = "exactly-once queue";
  static constexpr std::uint32_t kNone = IdTable::kNone;
  // A remembered id, in one line. While its task lives `slot` is its place in the queue, and name
  // and body are its id and payload; afterwards `state` says how it ended, and body is the result.
  struct alignas(64) Entry {
    IdHash id;
    std::uint64_t payload_hash = 0;
    std::uint64_t fence = 0;  // that completed it
    std::int64_t expires_ns = 0;
    std::uint32_t slot = kNone;
    std::uint32_t next = kNone;  // by age
    ChunkStore::Bytes body;      // the payload, or the result
    std::uint32_t name_first = ChunkStore::kNone;
    std::uint8_t name_bytes = 0;
    TaskState state = TaskState::unknown;

    [[nodiscard]] ChunkStore::Bytes name() const noexcept { return {name_first, name_bytes}; }
    void set_name(const ChunkStore::Bytes& name) noexcept {
      name_first = name.first;
      name_bytes = static_cast<std::uint8_t>(name.size_bytes);  // at most kNameBytesMax
    }
  };
  static_assert(sizeof(Entry) == 64);
  struct Producer {
    std::uint64_t id = 0;
    std::uint32_t epoch = 0;
    SequenceWindow window;
  };

  using ServiceForm::refuse;
  Reply refuse(Errc code, Nanos retry_after) noexcept;
  Reply refuse_stale() noexcept;
  Reply enqueue(const once::Enqueue& task, std::int64_t now_ns) noexcept;
  [[nodiscard]] Errc check(const once::Enqueue& task) const noexcept;
  [[nodiscard]] Errc judge_producer(const once::Enqueue& task) const noexcept;
  void accept_producer(const once::Enqueue& task) noexcept;
  Reply known(std::uint32_t entry, std::uint64_t payload_hash) noexcept;
  Reply claim(const once::Claim& claim, std::int64_t now_ns) noexcept;
  Reply complete(const once::Complete& done, std::int64_t now_ns) noexcept;
  Reply complete_all(const once::CompleteAll& done, std::int64_t now_ns) noexcept;
  Reply of_lease(const Command& command, std::int64_t now_ns) noexcept;
  Reply nack(std::uint32_t slot, const once::Nack& nack, std::int64_t now_ns) noexcept;
  Reply redrive(const once::Redrive& redrive, std::int64_t now_ns) noexcept;
  Reply purge(const once::Purge& purge) noexcept;
  Reply close_station(std::uint32_t station, std::int64_t now_ns) noexcept;

  [[nodiscard]] std::uint32_t find(const IdHash& id, std::int64_t now_ns) const noexcept;
  [[nodiscard]] bool is_over(const Entry& entry, std::int64_t now_ns) const noexcept {
    return entry.slot == kNone && entry.expires_ns <= now_ns;
  }
  [[nodiscard]] TaskState state_of(const Entry& entry) const noexcept;
  [[nodiscard]] bool has_room(std::int64_t now_ns) const noexcept;
  void make_room() noexcept;
  void forget_old(std::int64_t now_ns) noexcept;
  void forget_oldest() noexcept;
  void to_tail(std::uint32_t entry) noexcept;
  std::uint32_t take_oldest() noexcept;
  void drop_bytes(Entry& entry) noexcept;
  void copy_task(std::uint32_t slot, ClaimedTask& into) const;
  void prefetch_behind(std::uint32_t claimed) const noexcept;
  void remember(const IdHash& id) noexcept;
  void rotate(std::int64_t now_ns) noexcept;
  void note_deaths(std::int64_t now_ns) noexcept;
  void expire(std::int64_t now_ns) noexcept;

  void save_state(StateWriter& writer) const;
  void load_state(StateReader& reader);
  void load_entry(StateReader& reader);

  LeaseQueue queue_;
  ChunkStore store_;
  FingerprintIndex index_;
  BloomFilter bloom_;
  static constexpr std::int64_t kNotKnown = -1;  // as after a restore: nothing is rotated out
  std::int64_t bloom_window_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_entries_;
  std::vector<std::uint32_t> entry_of_slot_;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::vector<Producer> producers_;
  IdTable producer_index_;
  Rng rng_;
  GcraBucket redrives_;
  bool view_changed_ = true;
};

static_assert(DurableService<ExactlyOnceQueue>);

extern template class ServiceForm<ExactlyOnceQueue, ExactlyOnceQueueConfig, ExactlyOnceQueueCommand,
                                  ExactlyOnceQueueReply, ExactlyOnceQueueCounters,
                                  ExactlyOnceQueueActions>;

}  // namespace mesh::coordination
